//! `cargo xtask fuzz [--seconds N] [--keep] [TARGET...]`: libFuzzer over the properties in each crate's `props.rs`.
//!
//! Builds the one program of `fuzz/` (stable Rust, so without sanitizers), runs two of its targets at a time and prints
//! what each came to. `--keep` adds the inputs that reach new code to the committed corpora, which ordinary tests replay. Knows
//! nothing of the properties. Start at [`run`].

use crate::tools::{self, Origin};
use anyhow::{Context, Result, bail, ensure};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Seconds per target when nothing else is said.
const SECONDS: u64 = 60;
/// The variable that tells the program which of its targets to be.
const CHOICE: &str = "KAPELL_FUZZ";
/// Targets that run at the same time.
const AT_ONCE: usize = 2;
/// One input may take so long before it counts as a finding, seconds.
const INPUT_SECONDS: u64 = 10;
/// Memory one target may take, MiB.
const MEMORY_MIB: u64 = 2048;
/// Largest input made, bytes.
const INPUT_BYTES: u64 = 16 * 1024;
/// Largest input that is committed, bytes: corpora stay small.
const KEPT_BYTES: u64 = 4 * 1024;
/// Lists of hostile input outside the project, one per line, and the targets they are for.
const DATA: [(&str, &[&str]); 3] = [
    ("attacks/path-traversal.txt", &["paths", "name", "objects"]),
    ("attacks/command-injection.txt", &["cleaning", "name", "sessions", "pattern"]),
    ("attacks/everyday-commands.txt", &["cleaning", "checks"]),
];

/// Where things of one run are.
struct Place {
    fuzz: PathBuf,
    /// Build output, working corpora, findings.
    out: PathBuf,
    program: PathBuf,
    seconds: u64,
}

/// What one target came to.
struct Row {
    target: String,
    runs: u64,
    per_second: u64,
    corpus: u64,
    cov_before: u64,
    cov: u64,
    crash: Option<String>,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut seconds = SECONDS;
    let (mut wanted, mut keep) = (Vec::new(), false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => seconds = args.next().context("--seconds needs a number")?.parse()?,
            "--keep" => keep = true,
            flag if flag.starts_with('-') => {
                bail!("there is no flag {flag}: [--seconds N] [--keep] [TARGET...]")
            }
            target => wanted.push(target.to_owned()),
        }
    }
    let fuzz = crate::root()?.join("fuzz");
    let all = targets(&std::fs::read_to_string(fuzz.join("src/main.rs"))?);
    for target in &wanted {
        ensure!(all.contains(target), "there is no target {target}; there are {}", all.join(", "));
    }
    ensure!(!all.is_empty(), "the table of the program names no target");
    let chosen: VecDeque<String> =
        all.into_iter().filter(|target| wanted.is_empty() || wanted.contains(target)).collect();
    let out = crate::programs::target_dir()?.join("fuzz");
    let program = build(&fuzz, &out)?;
    let place = Place { fuzz, out, program, seconds };
    seeds(&place)?;
    let rows = all_of(&place, chosen)?;
    if keep {
        rows.iter().try_for_each(|row| place.keep(&row.target))?;
    }
    report(&rows, &place)
}

/// The names in the program's table, a row each.
fn targets(source: &str) -> Vec<String> {
    let rows = source.lines().filter_map(|line| line.trim().strip_prefix("(\""));
    rows.filter_map(|row| Some(row.split_once('"')?.0.to_owned())).collect()
}

/// Builds the program; where it is.
fn build(fuzz: &Path, out: &Path) -> Result<PathBuf> {
    tools::need("cargo-fuzz", Origin::Crate("cargo-fuzz", "0.13.2"))?;
    let status = crate::cargo()
        // The default sanitizer needs a nightly compiler; coverage does not.
        .args(["fuzz", "build", "--sanitizer", "none", "--fuzz-dir"])
        .arg(fuzz)
        .arg("--target-dir")
        .arg(out)
        .current_dir(crate::root()?)
        .status()
        .context("start cargo fuzz")?;
    ensure!(status.success(), "cargo fuzz build ended with {status}");
    let rustc = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let said = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(out.join(host).join("release/fuzz"))
}

/// Input from outside the project, where there is any.
fn seeds(place: &Place) -> Result<()> {
    let dir = crate::data()?;
    for (file, targets) in DATA {
        let Ok(text) = std::fs::read(dir.join(file)) else {
            println!("SKIPPED 1 list: {file} is not in KAPELL_DATA");
            continue;
        };
        for target in targets {
            let to = place.corpus(target);
            std::fs::create_dir_all(&to)?;
            for (at, line) in text.split(|byte| *byte == b'\n').enumerate().take(500) {
                std::fs::write(to.join(format!("data-{}-{at}", file.len())), line)?;
            }
        }
    }
    Ok(())
}

fn all_of(place: &Place, chosen: VecDeque<String>) -> Result<Vec<Row>> {
    let (queue, rows) = (Mutex::new(chosen), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(target) = next() {
                    eprintln!("fuzz: {target} for {} s", place.seconds);
                    let row = place.run(&target);
                    rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                }
            });
        }
    });
    let rows: Result<Vec<Row>> =
        rows.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect();
    let mut rows = rows?;
    rows.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(rows)
}

impl Place {
    /// Inputs of this machine's runs so far.
    fn corpus(&self, target: &str) -> PathBuf {
        self.out.join("corpus").join(target)
    }

    fn committed(&self, target: &str) -> PathBuf {
        self.fuzz.join("corpus").join(target)
    }

    fn program(&self, target: &str) -> Result<Command> {
        let tmp = self.out.join("tmp");
        std::fs::create_dir_all(&tmp)?;
        let mut program = Command::new(&self.program);
        program.env(CHOICE, target).env("TMPDIR", tmp).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(program)
    }

    fn run(&self, target: &str) -> Result<Row> {
        let found = self.out.join("artifacts").join(target);
        let corpus = self.corpus(target);
        std::fs::create_dir_all(&found)?;
        std::fs::create_dir_all(&corpus)?;
        let output = self
            .program(target)?
            .arg(&corpus)
            .arg(self.committed(target))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
            .arg(format!("-max_len={INPUT_BYTES}"))
            .args(["-print_final_stats=1", "-detect_leaks=0"])
            .output()
            .with_context(|| format!("start {target}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let row = read(target, &said, output.status.success());
        if row.crash.is_some() {
            eprintln!("{said}");
        }
        Ok(row)
    }

    /// Adds small inputs that reach what the committed ones do not.
    fn keep(&self, target: &str) -> Result<()> {
        let committed = self.committed(target);
        std::fs::create_dir_all(&committed)?;
        let status = self
            .program(target)?
            .args(["-merge=1", &format!("-max_len={KEPT_BYTES}")])
            .arg(&committed)
            .arg(self.corpus(target))
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "merging the corpus of {target} ended with {status}");
        Ok(())
    }
}

/// What libFuzzer said: `#12 INITED cov: 3 ft: ...`, `stat::name: value`, and where an input that failed was written.
fn read(target: &str, said: &str, well: bool) -> Row {
    let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let stat = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map_or(0, number);
    let figures: Vec<&str> = said.lines().filter(|line| line.starts_with('#')).collect();
    let cov = |line: Option<&&str>| {
        line.and_then(|line| line.split_once("cov: ")).map_or(0, |(_, rest)| number(rest))
    };
    let corpus = figures
        .last()
        .and_then(|line| line.split_once("corp: "))
        .map_or(0, |(_, rest)| number(&rest.replace('/', " ")));
    let written = said.lines().find_map(|line| Some(line.split_once("Test unit written to ")?.1.to_owned()));
    let runs = stat("stat::number_of_executed_units:");
    let crash = written
        .or_else(|| (!well).then(|| "it ended badly without writing an input".to_owned()))
        .or_else(|| (runs == 0).then(|| "it ended without trying a single input".to_owned()));
    Row {
        target: target.to_owned(),
        runs,
        per_second: stat("stat::average_exec_per_sec:"),
        corpus,
        cov_before: cov(figures.iter().find(|line| line.contains("INITED"))),
        cov: cov(figures.iter().rev().find(|line| line.contains("cov: "))),
        crash,
    }
}

fn report(rows: &[Row], place: &Place) -> Result<()> {
    println!("| target | runs | exec/s | corpus | coverage | new | crash |\n|---|---|---|---|---|---|---|");
    for row in rows {
        let Row { target, runs, per_second, corpus, cov_before, cov, crash } = row;
        let new = cov.saturating_sub(*cov_before);
        let crash = if crash.is_some() { "yes" } else { "" };
        println!("| {target} | {runs} | {per_second} | {corpus} | {cov} | {new} | {crash} |");
    }
    let runs: u64 = rows.iter().map(|row| row.runs).sum();
    let crashes: Vec<(&str, &str)> =
        rows.iter().filter_map(|row| Some((row.target.as_str(), row.crash.as_deref()?))).collect();
    for (target, file) in &crashes {
        println!("fuzz: {target} failed on {file}");
        println!("  again: {CHOICE}={target} {} {file}", place.program.display());
        println!("  mended? keep it for good: cp {file} {}/", place.committed(target).display());
    }
    let (targets, seconds, found) = (rows.len(), place.seconds, crashes.len());
    println!("fuzz: {targets} targets, {seconds} s each, {runs} runs, {found} crashes");
    ensure!(crashes.is_empty(), "{found} of {targets} targets failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_rows_of_the_table() {
        let source = "const TARGETS: &[(&str, P)] = &[\n    (\"a\", x::a),\n    (\"b\", x::b),\n];\nlet c = (\"no\", 1);\n";
        assert_eq!(targets(source), ["a", "b"]);
    }

    #[test]
    fn what_was_said_is_read() {
        let said = "#5\tINITED cov: 40 ft: 41 corp: 3/10b exec/s: 0 rss: 30Mb\n\
                    #99\tDONE   cov: 52 ft: 60 corp: 7/50b lim: 4 exec/s: 33 rss: 30Mb\n\
                    stat::number_of_executed_units: 99\nstat::average_exec_per_sec:     33\n";
        let row = read("x", said, true);
        assert_eq!((row.runs, row.per_second, row.corpus, row.cov_before, row.cov), (99, 33, 7, 40, 52));
        assert_eq!(row.crash, None);
        let crashed = read("x", "artifact_prefix='a/'; Test unit written to a/crash-1\n", false);
        assert_eq!(crashed.crash.as_deref(), Some("a/crash-1"));
        assert!(read("x", "", false).crash.is_some());
        assert!(read("x", "", true).crash.is_some(), "what tries nothing finds nothing");
    }
}
