//! What parsers find in real logs, against labels: a tool's own closing sum, which no rule for single findings reads; a
//! table made by eye; line numbers that other people gave.
//!
//! Start at [`run`].

use super::labels::{BY_EYE, Sums, sums};
use super::{archive, files, percent, recorded};
use anyhow::{Result, ensure};
use contract::found::Ending;
use output::{Digest, read};
use std::collections::BTreeMap;
use std::path::Path;

/// Share of a log's labelled lines that must be in view.
const KEPT: f64 = 80.0;
/// Share of logs that must keep theirs, percent.
const LOGS: f64 = 92.0;

/// Found against labelled, summed over logs.
#[derive(Debug, Default, Clone, Copy)]
struct Score {
    logs: u64,
    labelled: u64,
    found: u64,
    both: u64,
}

impl Score {
    fn add(&mut self, labelled: u64, found: u64) {
        self.labelled += labelled;
        self.found += found;
        self.both += labelled.min(found);
    }

    fn row(&self, name: &str, what: &str) {
        println!(
            "{name:24} {what:10} {:>5} {:>9} {:>6} {:>7.1} % {:>9.1} %",
            self.logs,
            self.labelled,
            self.found,
            percent(self.both, self.labelled),
            percent(self.both, self.found)
        );
    }
}

/// `DIR`: the data set. Fails when a figure falls below what is promised.
pub(crate) fn run(data: &Path) -> Result<()> {
    println!(
        "{:24} {:10} {:>5} {:>9} {:>6} {:>9} {:>11}",
        "logs of", "what", "logs", "labelled", "found", "recall", "precision"
    );
    rustc(data)?;
    by_eye(data)?;
    closing_sums(data)?;
    in_view(data)
}

/// Diagnostics of rustc and clippy; labels: how many they say there were.
fn rustc(data: &Path) -> Result<()> {
    let Some(dir) = archive(data, "logs/rustc-stderr.tar.xz")? else { return Ok(()) };
    let (mut errors, mut warnings) = (Score::default(), Score::default());
    for file in files(dir.path())? {
        let bytes = std::fs::read(&file)?;
        let sums = sums(&String::from_utf8_lossy(&bytes));
        let (Some(wanted_errors), Some(wanted_warnings)) = (sums.errors, sums.warnings) else { continue };
        let digest = read(&bytes, "cargo clippy");
        errors.logs += 1;
        warnings.logs += 1;
        errors.add(wanted_errors, digest.errors);
        warnings.add(wanted_warnings, digest.warnings);
    }
    errors.row("rustc and clippy", "errors");
    warnings.row("rustc and clippy", "warnings");
    Ok(())
}

/// The outputs of another tool's test set; labels: what a person counted in them.
fn by_eye(data: &Path) -> Result<()> {
    let Some(dir) = archive(data, "logs/tokf.tar.xz")? else { return Ok(()) };
    let mut scores: BTreeMap<(&str, &str), Score> = BTreeMap::new();
    let all = files(dir.path())?;
    for (tool, name, wanted) in BY_EYE {
        let file = all.iter().find(|file| file.to_string_lossy().ends_with(name));
        let Some(file) = file else { anyhow::bail!("{name} is not in the set") };
        let digest = read(&std::fs::read(file)?, "");
        let found = [
            digest.errors,
            digest.warnings,
            digest.tests.map_or(0, |t| t.passed),
            digest.tests.map_or(0, |t| t.failed),
        ];
        for (what, (wanted, found)) in
            ["errors", "warnings", "passed", "failed"].iter().zip(wanted.iter().zip(found))
        {
            let score = scores.entry((*tool, *what)).or_default();
            score.logs += 1;
            score.add(*wanted, found);
            if *wanted != found {
                println!("    {name}: {what} {found}, by eye {wanted}");
            }
        }
    }
    scores
        .iter()
        .filter(|(_, score)| score.labelled + score.found > 0)
        .for_each(|((tool, what), score)| score.row(tool, what));
    Ok(())
}

/// Outputs that agents have met; labels: the closing sums in them.
fn closing_sums(data: &Path) -> Result<()> {
    let mut scores: BTreeMap<(&str, &str), Score> = BTreeMap::new();
    for output in recorded::commands(data)? {
        let digest = read(output.text.as_bytes(), &output.command);
        let Sums { tool, errors, warnings, failed, .. } = sums(&output.text);
        let found = [digest.errors, digest.warnings, failed_tests(&digest)];
        for (what, (wanted, found)) in
            ["errors", "warnings", "failed"].iter().zip([errors, warnings, failed].into_iter().zip(found))
        {
            let Some(wanted) = wanted else { continue };
            let score = scores.entry((tool, *what)).or_default();
            score.logs += 1;
            score.add(wanted, found);
        }
    }
    scores.iter().for_each(|((tool, what), score)| score.row(&format!("agents' {tool}"), what));
    Ok(())
}

/// Failed tests that were seen one by one, not summed up.
fn failed_tests(digest: &Digest) -> u64 {
    digest.ends.iter().filter(|test| test.ending == Ending::Failed).count() as u64
}

/// Failing builds; labels: the lines people marked as the cause.
fn in_view(data: &Path) -> Result<()> {
    let Some(dir) = archive(data, "logs/cidiff.tar.xz")? else { return Ok(()) };
    let (mut logs, mut kept, mut tails, mut shown, mut raw) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    println!("\nlogs whose marked lines are not in view (of 10 KB; at least {KEPT} % of them must be)");
    for file in files(dir.path())?.iter().filter(|file| file.ends_with("groundtruth")) {
        let log = file.with_file_name("fail.log");
        let Ok(bytes) = std::fs::read(&log) else { continue };
        let digest = read(&bytes, "");
        let text = contract::text::clean(&String::from_utf8_lossy(&bytes));
        let lines: Vec<&str> = text.lines().collect();
        let marked: Vec<&str> = marked(&std::fs::read_to_string(file)?)
            .into_iter()
            .filter_map(|at| lines.get(at - 1).copied())
            .filter(|line| !line.trim().is_empty())
            .collect();
        let share = |view: &str| {
            let view: std::collections::HashSet<&str> = view.lines().map(str::trim).collect();
            percent(
                marked.iter().filter(|line| view.contains(line.trim())).count() as u64,
                marked.len() as u64,
            )
        };
        let tail = &text[text.ceil_char_boundary(text.len().saturating_sub(10 * 1024))..];
        let (mine, last) = (share(&digest.text), share(tail));
        (logs, shown, raw) = (logs + 1, shown + digest.text.len() as u64, raw + text.len() as u64);
        kept += u64::from(mine >= KEPT);
        tails += u64::from(last >= KEPT);
        if mine < KEPT {
            let name = log.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            println!("    {name:32} {mine:>5.1} % of {} lines (last 10 KB: {last:.1} %)", marked.len());
            let view: std::collections::HashSet<&str> = digest.text.lines().map(str::trim).collect();
            for line in marked.iter().filter(|line| !view.contains(line.trim())).take(4) {
                println!("        not: {}", line.chars().take(100).collect::<String>());
            }
        }
    }
    println!(
        "{kept} of {logs} logs keep theirs: {:.1} % (the last 10 KB: {:.1} %), in {:.1} % of the bytes",
        percent(kept, logs),
        percent(tails, logs),
        percent(shown, raw)
    );
    ensure!(percent(kept, logs) > LOGS, "more than {LOGS} % of the logs must keep their marked lines");
    Ok(())
}

/// Line numbers of `E 12-34`, from 1.
fn marked(groundtruth: &str) -> Vec<usize> {
    let spans = groundtruth.lines().filter_map(|line| line.strip_prefix("E "));
    spans
        .filter_map(|span| {
            let (from, to) = span.trim().split_once('-').unwrap_or((span.trim(), span.trim()));
            Some(from.parse::<usize>().ok()?..=to.parse::<usize>().ok()?)
        })
        .flatten()
        .collect()
}
