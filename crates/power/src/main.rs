//! `cargo xtask power` ends here: plays power cuts over a recorded run and checks what every one of them leaves.
//!
//! Knows the recorded operations and the journal crate; starts no session. Start at [`main`], then `cuts.rs`.
//!
//! The arguments: DIR of the record (`ops`, `data`, `root`), `--binary PATH` (verifies a sample too), `--states N`, `--seed S`, `--jobs N`,
//! `--control normal|nosync`, `--at CUT:VARIANT`, `--keep DIR` (with `--at`: leaves the state there).

mod cuts;
mod disk;
mod promise;
mod record;
mod rng;
mod store;

use anyhow::{Context, Result};
use cuts::{Plan, Report};
use disk::Syncs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("power: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, usual: u64| {
        value(name).map_or(Ok(usual), |v| v.parse().with_context(|| name.to_owned()))
    };
    let dir = PathBuf::from(args.first().context("name the directory of a record")?);
    let syncs = match value("--control").map(String::as_str) {
        None => Syncs::Honest,
        Some("normal") => Syncs::Normal,
        Some("nosync") => Syncs::Ignored,
        Some(other) => anyhow::bail!("there is no control `{other}`; there are normal, nosync"),
    };
    let at = match value("--at") {
        None => None,
        Some(at) => {
            let (cut, variant) = at.split_once(':').context("--at CUT:VARIANT")?;
            Some((cut.parse()?, variant.parse()?))
        }
    };
    let plan = Plan {
        syncs,
        states: number("--states", 400)?,
        seed: number("--seed", 1)?,
        jobs: number("--jobs", 2)?,
        at,
        keep: value("--keep").map(PathBuf::from),
        binary: value("--binary").map(PathBuf::from),
        scratch: PathBuf::from(value("--scratch").map_or("/tmp", String::as_str)),
    };
    let began = Instant::now();
    let report = cuts::run(&dir, &plan)?;
    tell(&dir, &args, &report, began.elapsed().as_secs_f32());
    Ok(if syncs == Syncs::Honest { report.found.is_empty() } else { report.lost().is_some() })
}

fn tell(dir: &std::path::Path, args: &[String], report: &Report, seconds: f32) {
    let control = args.iter().position(|a| a == "--control").and_then(|at| args.get(at + 1));
    println!(
        "power: {} operations, {} promises ({} effects), {} commits; {} states at {} cuts in {seconds:.0} s, {} of them verified by the binary; {} violations",
        report.ops,
        report.promises,
        report.effects,
        report.commits,
        report.states,
        report.cuts,
        report.verified,
        report.found.len()
    );
    if let Some(control) = control {
        match report.lost() {
            Some(why) => {
                println!(
                    "power: control {control}: found after {} states, as it must be: {why}",
                    report.first
                )
            }
            None => println!("power: control {control}: NOT FOUND: the harness is blind"),
        }
        return;
    }
    for (cut, variant, why) in &report.found {
        println!(
            "VIOLATION: power cut after operation {cut}, variant {variant}: {why}\n  replay: cargo xtask power --record {} --at {cut}:{variant}",
            dir.display()
        );
    }
}
