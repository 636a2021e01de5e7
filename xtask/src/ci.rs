//! Every gate of the project, in order: `cargo xtask ci [STEP...]`.
//!
//! Knows how each gate is started, not what it checks. Start at [`STEPS`]: a new gate is a row.
//! Output of the gates goes straight through, so that a test runner's own closing lines stand in the log.

use anyhow::{Context, Result, bail, ensure};
use std::process::Stdio;
use std::time::Instant;

/// One gate.
struct Step {
    name: &'static str,
    gate: Gate,
}

enum Gate {
    /// `cargo` with these arguments.
    Cargo(&'static [&'static str]),
    /// The test runner over these packages: nextest if it is installed, else `cargo test`.
    Tests(&'static [&'static str]),
    /// Another chore of this crate, with these arguments.
    Chore(fn(&[String]) -> Result<()>, &'static [&'static str]),
}

/// From the quickest to the slowest; the first failure ends the run.
const STEPS: &[Step] = &[
    Step { name: "fmt", gate: Gate::Cargo(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", gate: Gate::Chore(crate::tidy::run, &[]) },
    Step {
        name: "clippy",
        gate: Gate::Cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    },
    Step { name: "core-tests", gate: Gate::Tests(&["-p", "kernel", "-p", "contract"]) },
    Step { name: "tests", gate: Gate::Tests(&["--workspace"]) },
    Step { name: "sim", gate: Gate::Chore(crate::sim::run, &["--seeds", "1000"]) },
    Step { name: "model", gate: Gate::Chore(crate::model::run, &[]) },
    Step { name: "plants", gate: Gate::Chore(crate::sim::run, &["--plants"]) },
    Step { name: "matrix", gate: Gate::Chore(crate::matrix::run, &[]) },
    Step { name: "power", gate: Gate::Chore(crate::power::run, &[]) },
    Step { name: "faults", gate: Gate::Chore(crate::faults::run, &["--points", "8"]) },
    Step { name: "crash", gate: Gate::Chore(crate::crash::run, &["--kills", "40"]) },
];

/// Runs the named steps, or all of them.
pub(crate) fn run(args: &[String]) -> Result<()> {
    for arg in args {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        ensure!(names.contains(&arg.as_str()), "there is no step `{arg}`; there are {}", names.join(", "));
    }
    let begin = Instant::now();
    let wanted: Vec<&Step> =
        STEPS.iter().filter(|step| args.is_empty() || args.iter().any(|arg| arg == step.name)).collect();
    for (at, step) in wanted.iter().enumerate() {
        eprintln!("ci: {}/{} {}", at + 1, wanted.len(), step.name);
        let begin = Instant::now();
        step.gate.run().with_context(|| {
            format!("step `{0}` failed; run it alone with `cargo xtask ci {0}`", step.name)
        })?;
        eprintln!("ci: {} passed in {:.1} s", step.name, begin.elapsed().as_secs_f32());
    }
    eprintln!(
        "ci: {} of {} steps passed in {:.1} s",
        wanted.len(),
        STEPS.len(),
        begin.elapsed().as_secs_f32()
    );
    Ok(())
}

impl Gate {
    fn run(&self) -> Result<()> {
        match self {
            Self::Cargo(args) => cargo(args),
            Self::Tests(packages) if has_nextest() => cargo(&[&["nextest", "run"], *packages].concat()),
            Self::Tests(packages) => cargo(&[&["test", "--no-fail-fast"], *packages].concat()),
            Self::Chore(run, args) => run(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()),
        }
    }
}

fn cargo(args: &[&str]) -> Result<()> {
    let status = crate::cargo()
        .args(args)
        .current_dir(crate::root()?)
        .stdin(Stdio::null())
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("`cargo {}` ended with {status}", args.join(" "));
    }
    Ok(())
}

pub(crate) fn has_nextest() -> bool {
    let asked =
        crate::cargo().args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_step_names_the_known_ones() {
        let error = run(&["dance".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("fmt, tidy, clippy"), "{error}");
    }

    #[test]
    fn step_names_are_unique() {
        for (at, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..at].iter().all(|other| other.name != step.name), "{}", step.name);
        }
    }
}
