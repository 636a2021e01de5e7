//! `cargo xtask mutants [--sample N] [--seed S] [--in-diff COMMIT]`: do the tests notice when the code is wrong?
//!
//! A seeded sample of all mutants of the crates below, or all those in what changed since a commit. Knows nothing of
//! how a mutant is made: cargo-mutants does. Start at [`run`]; which survivors were judged harmless, and why, stands in
//! `.cargo/mutants.toml`.

use crate::tools::{self, Origin};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a wrong line costs most.
const PACKAGES: [&str; 3] = ["kernel", "journal", "workspace"];
/// Mutants of a sample when nothing else is said.
const SAMPLE: usize = 300;
/// Share of the viable mutants that must be caught, per cent.
const CAUGHT: usize = 90;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, usual: usize| value(name).map_or(Ok(usual), |v| v.parse().context("a number"));
    tools::need("cargo-mutants", Origin::Crate("cargo-mutants", "27.1.0"))?;
    let out = std::env::temp_dir().join(format!("kapell-mutants-{}", std::process::id()));
    std::fs::create_dir_all(&out)?;
    let packages: Vec<&str> = match value("--package") {
        Some(only) => vec![only],
        None => PACKAGES.to_vec(),
    };
    let mut command = mutants(&packages);
    match value("--in-diff") {
        Some(base) => {
            let diff = Command::new("git").args(["diff", base]).current_dir(crate::root()?).output()?;
            ensure!(diff.status.success(), "git diff {base} failed");
            std::fs::write(out.join("change.diff"), diff.stdout)?;
            command.arg("--in-diff").arg(out.join("change.diff"));
        }
        None => {
            let all = count(&packages)?;
            let shards = all.div_ceil(number("--sample", SAMPLE)?.max(1)).max(1);
            let shard = number("--seed", 1)? % shards;
            println!("mutants: {all} in all, sample {shard}/{shards}");
            command.args(["--sharding", "round-robin", "--shard", &format!("{shard}/{shards}")]);
        }
    }
    command.args([
        "--profile",
        "mutants",
        "--timeout-multiplier",
        "5",
        "--minimum-test-timeout",
        "60",
        "--no-shuffle",
        "--output",
    ]);
    // The everyday cases of each property: the long form is for the properties themselves.
    command.arg(&out).env_remove("PROPTEST_CASES").stdin(Stdio::null());
    // It ends with a code of its own when a mutant survives; the outcomes say which.
    command.status().context("start cargo mutants")?;
    let report = Report::read(&out.join("mutants.out/outcomes.json"))?;
    report.print();
    println!("mutants: logs in {}", out.join("mutants.out").display());
    // A change may have nothing to mutate; a sample has.
    ensure!(value("--in-diff").is_some() || report.sum() != (0, 0), "no mutant of the sample was tried");
    report.judge()
}

fn mutants(packages: &[&str]) -> Command {
    let mut command = crate::cargo();
    let tool = if crate::ci::has_nextest() { "nextest" } else { "cargo" };
    command.args(["mutants", "--test-tool", tool, "--colors", "never"]);
    packages.iter().for_each(|package| {
        command.args(["--package", package]);
    });
    command
}

fn count(packages: &[&str]) -> Result<usize> {
    let listed = mutants(packages).arg("--list").current_dir(crate::root()?).output()?;
    ensure!(listed.status.success(), "cargo mutants --list: {}", String::from_utf8_lossy(&listed.stderr));
    Ok(listed.stdout.iter().filter(|&&byte| byte == b'\n').count())
}

/// What became of the mutants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    /// By package: caught (time-outs too) and missed.
    by_package: BTreeMap<String, (usize, usize)>,
    unviable: usize,
    survivors: Vec<String>,
}

impl Report {
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("no outcomes in {}", path.display()))?;
        Self::of(&serde_json::from_slice(&text)?)
    }

    fn of(outcomes: &serde_json::Value) -> Result<Self> {
        let mut report = Self::default();
        for outcome in outcomes["outcomes"].as_array().context("no list of outcomes")? {
            let mutant = &outcome["scenario"]["Mutant"];
            let Some(name) = mutant["name"].as_str() else {
                ensure!(outcome["summary"] == "Success", "the tests fail without any mutant");
                continue;
            };
            let package = mutant["package"].as_str().unwrap_or("?").to_owned();
            let row = report.by_package.entry(package).or_default();
            match outcome["summary"].as_str() {
                Some("CaughtMutant" | "Timeout") => row.0 += 1,
                Some("MissedMutant") => {
                    row.1 += 1;
                    report.survivors.push(name.to_owned());
                }
                Some("Unviable") => report.unviable += 1,
                other => bail!("unknown outcome {other:?} of {name}"),
            }
        }
        Ok(report)
    }

    fn print(&self) {
        for name in &self.survivors {
            println!("survived: {name}");
        }
        for (package, (caught, missed)) in &self.by_package {
            println!("{package}: {caught} of {} viable caught, {}", caught + missed, share(*caught, *missed));
        }
        let (caught, missed) = self.sum();
        println!(
            "mutants: {caught} of {} viable caught, {}; {} not viable",
            caught + missed,
            share(caught, missed),
            self.unviable
        );
    }

    fn sum(&self) -> (usize, usize) {
        self.by_package.values().fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1))
    }

    fn judge(&self) -> Result<()> {
        let (caught, missed) = self.sum();
        ensure!(
            caught * 100 >= (caught + missed) * CAUGHT,
            "fewer than {CAUGHT} % were caught: write a test for each survivor, or judge it in .cargo/mutants.toml"
        );
        Ok(())
    }
}

fn share(caught: usize, missed: usize) -> String {
    match caught + missed {
        0 => "none".into(),
        all => format!("{}.{} %", caught * 100 / all, caught * 1000 / all % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(name: &str, summary: &str) -> serde_json::Value {
        json!({"scenario": {"Mutant": {"name": name, "package": "kernel"}}, "summary": summary})
    }

    #[test]
    fn a_survivor_counts_against_and_a_time_out_for() {
        let mut all = vec![json!({"scenario": "Baseline", "summary": "Success"})];
        all.extend((0..8).map(|n| outcome(&format!("caught {n}"), "CaughtMutant")));
        all.push(outcome("slow", "Timeout"));
        all.push(outcome("broken", "Unviable"));
        let good = Report::of(&json!({"outcomes": all})).unwrap();
        assert!(good.judge().is_ok());
        all.extend([outcome("lives", "MissedMutant"), outcome("lives too", "MissedMutant")]);
        let bad = Report::of(&json!({"outcomes": all})).unwrap();
        assert_eq!((bad.sum(), bad.unviable), ((9, 2), 1));
        assert!(bad.judge().is_err());
    }

    #[test]
    fn failing_tests_are_no_catch() {
        let outcomes = json!({"outcomes": [{"scenario": "Baseline", "summary": "Failure"}]});
        assert!(Report::of(&outcomes).is_err());
    }
}
