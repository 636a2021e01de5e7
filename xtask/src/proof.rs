//! `cargo xtask proof [--long] [LAYER...]`: every layer of the proof, one after the other, with its figures.
//!
//! The short form is what a change is tried with beyond the gates; the long form goes into `docs/proof.md`, row by
//! row, with date, commit and command. Knows how each layer is started and which line of its output is the figure.
//! Start at [`LAYERS`]: a new layer is a row.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// One layer of the proof.
struct Layer {
    name: &'static str,
    /// What it tries to break.
    about: &'static str,
    short: &'static [&'static str],
    long: &'static [&'static str],
    /// Random cases of each property, where the layer has properties.
    cases: Option<&'static str>,
    figure: Figure,
}

/// What of the output is the figure.
#[derive(Debug, Clone, Copy)]
enum Figure {
    /// The last line that begins like this.
    Last(&'static str),
    /// Every line that begins like this.
    Every(&'static str),
    /// The sums of all `test result:` lines.
    Tests,
}

/// How a line with the figures of one test program begins.
const TESTS: &str = "test result: ";

/// From the quickest to the slowest.
const LAYERS: &[Layer] = &[
    Layer {
        name: "sim",
        about: "kernel and engine under a seeded scheduler with faults",
        short: &["xtask", "sim", "--seeds", "1000"],
        long: &["xtask", "sim", "--seeds", "20000", "--steps", "2000"],
        cases: None,
        figure: Figure::Last("sim: "),
    },
    Layer {
        name: "plants",
        about: "known bugs put into the real code",
        short: &["xtask", "sim", "--plants"],
        long: &["xtask", "sim", "--plants"],
        cases: None,
        figure: Figure::Last("plants: "),
    },
    Layer {
        name: "model",
        about: "every order of workers, crashes, outcomes and people within bounds",
        short: &["xtask", "model"],
        long: &["xtask", "model"],
        cases: None,
        figure: Figure::Every("model: "),
    },
    Layer {
        name: "stories",
        about: "random stories through the kernel's rules",
        short: &["test", "-p", "kernel", "--test", "rules", "property"],
        long: &["test", "-p", "kernel", "--test", "rules", "property"],
        cases: Some("20000"),
        figure: Figure::Tests,
    },
    Layer {
        name: "properties",
        about: "random and kept input to every parser",
        short: &["test", "--workspace", "--lib", "props"],
        long: &["test", "--workspace", "--lib", "props"],
        cases: Some("2000"),
        figure: Figure::Tests,
    },
    Layer {
        name: "differential",
        about: "the same random commands to SQLite and its twin in memory",
        short: &["test", "-p", "journal", "--test", "differential", "--", "--nocapture"],
        long: &["test", "-p", "journal", "--test", "differential", "--", "--nocapture"],
        cases: Some("300"),
        figure: Figure::Last("differential: "),
    },
    Layer {
        name: "fuzz",
        about: "coverage-guided input to every decoder",
        short: &["xtask", "fuzz", "--seconds", "5"],
        long: &["xtask", "fuzz", "--seconds", "60"],
        cases: None,
        figure: Figure::Last("fuzz: "),
    },
    Layer {
        name: "faults",
        about: "a crash or an error at every write of the real binary",
        short: &["xtask", "faults", "--points", "30"],
        long: &["xtask", "faults", "--long"],
        cases: None,
        figure: Figure::Last("faults: "),
    },
    Layer {
        name: "power",
        about: "power cuts over a recorded run, with unsynced sectors lost",
        short: &["xtask", "power"],
        long: &["xtask", "power", "--long"],
        cases: None,
        figure: Figure::Last("power: "),
    },
    Layer {
        name: "crash",
        about: "the real binary killed at random moments",
        short: &["xtask", "crash", "--kills", "200"],
        long: &["xtask", "crash", "--kills", "20000"],
        cases: None,
        figure: Figure::Last("crash: "),
    },
    Layer {
        name: "coverage",
        about: "lines no test runs",
        short: &["xtask", "coverage"],
        long: &["xtask", "coverage"],
        cases: None,
        figure: Figure::Last("coverage: "),
    },
    Layer {
        name: "mutants",
        about: "do the tests notice wrong code",
        short: &["xtask", "mutants", "--in-diff", "HEAD~1"],
        long: &["xtask", "mutants", "--sample", "300"],
        cases: None,
        figure: Figure::Last("mutants: "),
    },
];

/// The page, and where the rows of the last long run stand in it.
const PAGE: &str = "docs/proof.md";
const BEGIN: &str = "<!-- rows of the last long run: written by cargo xtask proof --long -->";
const END: &str = "<!-- end of the rows -->";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let long = args.iter().any(|arg| arg == "--long");
    let names: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--long").collect();
    for name in &names {
        let known: Vec<&str> = LAYERS.iter().map(|layer| layer.name).collect();
        ensure!(known.contains(name), "there is no layer `{name}`; there are {}", known.join(", "));
    }
    let mut failed = Vec::new();
    for layer in LAYERS.iter().filter(|layer| names.is_empty() || names.contains(&layer.name)) {
        eprintln!("proof: {}: {}", layer.name, layer.about);
        // The commit it was built from, whatever is committed while it runs.
        let (began, commit) = (Instant::now(), commit()?);
        let figure = layer.run(long);
        let seconds = began.elapsed().as_secs();
        match &figure {
            Ok(figure) => println!("proof: {}: held in {seconds} s: {figure}", layer.name),
            Err(error) => {
                println!("proof: {}: FAILED after {seconds} s: {error:#}", layer.name);
                failed.push(layer.name);
            }
        }
        if long {
            let row =
                layer.row(&commit, &figure.unwrap_or_else(|error| format!("FAILED: {error:#}")), seconds)?;
            let page = crate::root()?.join(PAGE);
            let text = std::fs::read_to_string(&page).with_context(|| format!("read {PAGE}"))?;
            std::fs::write(&page, placed(&text, layer.name, &row)?)?;
        }
    }
    if !failed.is_empty() {
        bail!("layers that do not hold: {}", failed.join(", "));
    }
    Ok(())
}

impl Layer {
    fn args(&self, long: bool) -> &'static [&'static str] {
        if long { self.long } else { self.short }
    }

    /// Runs it, its output going through as it comes, and says its figure.
    fn run(&self, long: bool) -> Result<String> {
        let mut command = crate::cargo();
        command.args(self.args(long)).current_dir(crate::root()?).stdin(Stdio::null()).stdout(Stdio::piped());
        if let (true, Some(cases)) = (long, self.cases) {
            command.env("PROPTEST_CASES", cases);
        }
        let mut child = command.spawn().context("start cargo")?;
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
            let line = line?;
            println!("{line}");
            std::io::stdout().flush()?;
            if line.trim_start().starts_with(self.figure.begins()) {
                lines.push(line.trim().to_owned());
            }
        }
        let status = child.wait()?;
        let figure = self.figure.of(&lines);
        let told = figure.as_deref().unwrap_or("none");
        ensure!(status.success(), "ended with {status}; last figure: {told}");
        figure.with_context(|| format!("no line of the output begins with `{}`", self.figure.begins()))
    }

    fn row(&self, commit: &str, figure: &str, seconds: u64) -> Result<String> {
        let date = said("date", &["-u", "+%Y-%m-%d"])?;
        let cases = self.cases.map_or(String::new(), |cases| format!("PROPTEST_CASES={cases} "));
        Ok(format!(
            "| {} | {date} | {commit} | `{cases}cargo {}` | {seconds} s | {} |",
            self.name,
            self.long.join(" "),
            figure.replace('|', "\\|").replace('\n', " ")
        ))
    }
}

impl Figure {
    fn begins(self) -> &'static str {
        match self {
            Self::Last(begins) | Self::Every(begins) => begins,
            Self::Tests => TESTS,
        }
    }

    /// From the lines that begin so.
    fn of(self, lines: &[String]) -> Option<String> {
        let last = lines.last()?;
        Some(match self {
            Self::Last(_) => last.clone(),
            Self::Every(_) => lines.join("; "),
            Self::Tests => {
                let sum = |what: &str| -> u64 { lines.iter().filter_map(|line| count(line, what)).sum() };
                format!("{} properties held, {} failed", sum("passed"), sum("failed"))
            }
        })
    }
}

/// `3` of `test result: ok. 3 passed; 0 failed; ...`.
fn count(line: &str, what: &str) -> Option<u64> {
    let words: Vec<&str> = line.split([' ', ';']).collect();
    let at = words.iter().position(|word| *word == what)?;
    words.get(at.checked_sub(1)?)?.parse().ok()
}

/// The commit that is built, and whether something was changed since.
fn commit() -> Result<String> {
    let changed = !said("git", &["status", "--porcelain", "--", ".", ":!docs"])?.is_empty();
    let commit = said("git", &["rev-parse", "--short", "HEAD"])?;
    Ok(if changed { format!("{commit} and changes") } else { commit })
}

fn said(program: &str, args: &[&str]) -> Result<String> {
    let out = Command::new(program).args(args).current_dir(crate::root()?).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The page with this layer's row put in place of its old one; rows stand in the order of [`LAYERS`].
fn placed(page: &str, name: &str, row: &str) -> Result<String> {
    let (head, rest) = page.split_once(BEGIN).with_context(|| format!("{PAGE} has no line `{BEGIN}`"))?;
    let (rows, tail) = rest.split_once(END).with_context(|| format!("{PAGE} has no line `{END}`"))?;
    let of = |layer: &Layer| {
        let old = rows.lines().find(|line| line.starts_with(&format!("| {} |", layer.name)));
        if layer.name == name { Some(row) } else { old }
    };
    let table: Vec<&str> = LAYERS.iter().filter_map(of).collect();
    Ok(format!(
        "{head}{BEGIN}\n\n| layer | date | commit | command | time | figure |\n|---|---|---|---|---|---|\n{}\n\n{END}{tail}",
        table.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        format!("# Proof\n\n{BEGIN}\n{END}\n\nafter\n")
    }

    #[test]
    fn a_row_takes_the_place_of_its_older_self() {
        let (first, last) = (LAYERS[0].name, LAYERS[LAYERS.len() - 1].name);
        let one = placed(&page(), last, &format!("| {last} | old |")).unwrap();
        let two = placed(&one, first, &format!("| {first} | new |")).unwrap();
        let three = placed(&two, last, &format!("| {last} | new |")).unwrap();
        assert!(!three.contains("old"));
        let (first, last) = (three.find(&format!("| {first} |")), three.find(&format!("| {last} |")));
        assert!(first < last, "in the table's order");
        assert!(three.starts_with("# Proof") && three.ends_with("after\n"));
    }

    #[test]
    fn a_page_without_its_place_is_refused() {
        assert!(placed("# Proof\n", LAYERS[0].name, "").is_err());
    }

    #[test]
    fn a_figure_is_the_last_line_or_all_of_them_or_a_sum() {
        let lines = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let two = lines(&["model: one", "model: two"]);
        assert_eq!(Figure::Last("model: ").of(&two).unwrap(), "model: two");
        assert_eq!(Figure::Every("model: ").of(&two).unwrap(), "model: one; model: two");
        let tests = lines(&[
            "test result: ok. 3 passed; 0 failed; 0 ignored",
            "test result: FAILED. 4 passed; 1 failed; 0 ignored",
        ]);
        assert_eq!(Figure::Tests.of(&tests).unwrap(), "7 properties held, 1 failed");
        assert_eq!(Figure::Tests.of(&[]), None, "a layer that says nothing has no figure");
    }

    #[test]
    fn an_unknown_layer_names_the_known_ones() {
        assert!(run(&["dance".to_owned()]).unwrap_err().to_string().contains("mutants"));
    }
}
