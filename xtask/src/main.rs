//! Project chores: `cargo xtask <command>`.
//!
//! Knows nothing of how Kapell works: reads the repository as text and runs cargo.
//! Start at [`COMMANDS`]; each command is one module.

mod bench;
mod ci;
mod crash;
mod crates;
mod matrix;
mod programs;
mod sim;
mod tidy;

use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::ExitCode;

/// One chore.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

/// Every chore there is. A new one is a module and a row.
const COMMANDS: &[Command] = &[
    Command { name: "ci", about: "every gate, in order, stopping at the first failure", run: ci::run },
    Command {
        name: "sim",
        about: "seeds through kernel and engine with faults; --seeds N, --seed S, --plants",
        run: sim::run,
    },
    Command {
        name: "crash",
        about: "kill the real binary at random moments; --kills N, --seed S",
        run: crash::run,
    },
    Command {
        name: "matrix",
        about: "the real binary on a damaged, full or read-only store",
        run: matrix::run,
    },
    Command {
        name: "crates",
        about: "real crates from the registry through the fixer, as a table",
        run: crates::run,
    },
    Command {
        name: "bench",
        about: "steps | resume | turns, as ratios to floors of the same run",
        run: bench::run,
    },
    Command { name: "tidy", about: "the project's own rules, each finding with what to do", run: tidy::run },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("", String::as_str);
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("usage: cargo xtask <command> [arguments]\n");
        COMMANDS.iter().for_each(|command| eprintln!("  {:8} {}", command.name, command.about));
        return if matches!(name, "help" | "--help" | "-h") { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    match (command.run)(&args[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Top level of the repository: the directory above this crate.
fn root() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask ...`")?;
    let own = PathBuf::from(own);
    Ok(own.parent().context("xtask has no directory above it")?.to_owned())
}

/// The cargo that runs us, so that one toolchain does everything.
fn cargo() -> std::process::Command {
    std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
