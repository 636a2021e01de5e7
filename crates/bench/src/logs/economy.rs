//! How many tokens of recorded outputs an agent would be shown, and whether the lines the recorded agent went on to use
//! would still have been in view. Used: twenty characters or more that later stand verbatim in what it said or did.
//!
//! Outputs of commands go through the digest. What reads a file on request shows what was asked for; it is listed to be
//! seen, not to be counted. Start at [`run`].

use super::{percent, recorded};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// An output above so many tokens is a large one.
const LARGE_TOKENS: u64 = 2_000;
/// Characters from which a line can be told to be used.
const USED_CHARS: usize = 20;
/// A model whose tokens are counted exactly.
const COUNTED_BY: &str = "openai/gpt-5";
/// Tokens that large outputs of commands must save, and used lines that all must keep, percent.
const SAVED: f64 = 60.0;
const KEPT: f64 = 98.0;

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    outputs: u64,
    raw: u64,
    shown: u64,
    used: u64,
    kept: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.outputs += other.outputs;
        self.raw += other.raw;
        self.shown += other.shown;
        self.used += other.used;
        self.kept += other.kept;
    }

    fn row(&self, name: &str) {
        println!(
            "{name:34} {:>7} {:>9} {:>9} {:>8.1} % {:>7} {:>9.1} %",
            self.outputs,
            self.raw,
            self.shown,
            100.0 - percent(self.shown, self.raw),
            self.used,
            percent(self.kept, self.used)
        );
    }
}

/// `DIR`: the data set. Fails when a figure falls below what is promised.
pub(crate) fn run(data: &Path) -> Result<()> {
    let talks = recorded::read(data)?;
    if talks.is_empty() {
        return Ok(());
    }
    let mut sums: BTreeMap<(bool, &str), Sum> = BTreeMap::new();
    for talk in &talks {
        for output in &talk.outputs {
            let digested = !output.command.is_empty() || output.tool == "taskoutput";
            let shown = if digested {
                output::read(output.text.as_bytes(), &output.command).text
            } else {
                output.text.clone()
            };
            let view: HashSet<&str> = shown.lines().map(str::trim).collect();
            let later = talk.after(output);
            let lines: HashSet<&str> = output.text.lines().map(bare).collect();
            let used =
                lines.iter().filter(|line| line.chars().count() >= USED_CHARS && later.contains(**line));
            let (mut all, mut kept) = (0, 0);
            for line in used {
                all += 1;
                kept += u64::from(
                    !digested || view.contains(line) || view.iter().any(|seen| bare(seen) == *line),
                );
            }
            let raw = tokens(&output.text)?;
            let sum = Sum { outputs: 1, raw, shown: tokens(&shown)?, used: all, kept };
            if digested && raw > LARGE_TOKENS {
                let first: String = output.command.chars().filter(|c| !c.is_control()).take(64).collect();
                println!("    {raw:>6} -> {:>5}  {first}", sum.shown);
            }
            let kind = if digested { "commands" } else { "files, searches, pages, edits" };
            sums.entry((raw > LARGE_TOKENS, kind)).or_default().add(sum);
        }
    }
    println!(
        "{:34} {:>7} {:>9} {:>9} {:>10} {:>7} {:>11}",
        "tokens (o200k)", "outputs", "raw", "shown", "saved", "used", "in view"
    );
    for ((large, kind), sum) in &sums {
        sum.row(&format!("{kind}, {} {LARGE_TOKENS}", if *large { "above" } else { "up to" }));
    }
    let of = |large: bool| sums.get(&(large, "commands")).copied().unwrap_or_default();
    let (large, mut all) = (of(true), of(true));
    all.add(of(false));
    all.row("commands, all");
    ensure!(
        100.0 - percent(large.shown, large.raw) >= SAVED,
        "large outputs of commands must save {SAVED} % of their tokens"
    );
    ensure!(
        percent(all.kept, all.used) >= KEPT,
        "{KEPT} % of the lines used of commands' outputs must be in view"
    );
    Ok(())
}

fn tokens(text: &str) -> Result<u64> {
    providers::count::tokens(COUNTED_BY, text).context("the tokenizer is not there")
}

/// A line without the number some tools put in front.
fn bare(line: &str) -> &str {
    let line = line.trim();
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = rest.len() < line.len();
    match rest.strip_prefix('→').or(rest.strip_prefix('\t')) {
        Some(rest) if numbered => rest.trim(),
        _ => line,
    }
}
