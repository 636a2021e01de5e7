//! Project chores: `cargo xtask <command>`.
//!
//! Knows nothing of how Kapell works: reads the repository as text and runs cargo.
//! Start at [`COMMANDS`]; each command is one module.

mod bench;
mod ci;
mod console;
mod context;
mod coverage;
mod crash;
mod crates;
mod deploy;
mod fake_models;
mod faults;
mod fuzz;
mod live;
mod matrix;
mod mcp;
mod model;
mod mutants;
mod power;
mod programs;
mod proof;
mod schemathesis;
mod shim;
mod sim;
mod soak;
mod tidy;
mod tools;

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
        about: "seeds through kernel, engine and stores with faults; --seeds N, --seed S, --plants",
        run: sim::run,
    },
    Command {
        name: "model",
        about: "every run of the kernel within small bounds; --plants, --seconds N, --depth N",
        run: model::run,
    },
    Command {
        name: "console",
        about: "the console in Chromium over the mock and the real binary; --real",
        run: console::run,
    },
    Command {
        name: "crash",
        about: "kill the real binary at random moments; --kills N, --seed S, --continue, --case N, --only NAME",
        run: crash::run,
    },
    Command {
        name: "matrix",
        about: "the real binary on a damaged, full or read-only store",
        run: matrix::run,
    },
    Command {
        name: "mcp",
        about: "two servers on one workspace, killed at random: no acknowledged row is lost; --trials N, --calls N, --binary PATH; \
            clients [python|typescript|inspector|conformance]",
        run: mcp::run,
    },
    Command {
        name: "faults",
        about: "the real binary, crash or error at every write; --points N | --long, --at KIND:POINT",
        run: faults::run,
    },
    Command {
        name: "power",
        about: "power cuts over a recorded run of the real binary; --states N, --control normal|nosync",
        run: power::run,
    },
    Command {
        name: "crates",
        about: "real crates from the registry through the fixer, as a table",
        run: crates::run,
    },
    Command {
        name: "bench",
        about: "steps | resume | turns | arbiter | fan | idle | amplification | baseline | models | mcp; --quick runs each once, small",
        run: bench::run,
    },
    Command {
        name: "load",
        about: "sessions that tick and followers of one daemon, killed in the middle; --sessions N, --followers M, --minutes T, --no-kill",
        run: |args| bench::run(&[&["load".to_owned()], args].concat()),
    },
    Command {
        name: "deploy",
        about: "alert rules, their tests and the page of metrics before promtool; --binary PATH",
        run: deploy::run,
    },
    Command {
        name: "schemathesis",
        about: "the OpenAPI document against the real daemon; --examples N, --seed S, --binary PATH",
        run: schemathesis::run,
    },
    Command {
        name: "soak",
        about: "a terminal with real programs for MINUTES (20): clients killed, screens compared, memory and files",
        run: soak::run,
    },
    Command {
        name: "context",
        about: "context building over real transcripts: fits, whole, pinned; estimates and stable share",
        run: context::run,
    },
    Command {
        name: "mutants",
        about: "do the tests notice wrong code; --sample N, --seed S, --in-diff COMMIT",
        run: mutants::run,
    },
    Command { name: "coverage", about: "lines of the critical crates that no test runs", run: coverage::run },
    Command {
        name: "proof",
        about: "every layer of the proof with its figures; --long writes them into docs/proof.md",
        run: proof::run,
    },
    Command {
        name: "fuzz",
        about: "libFuzzer over the properties of every parser; --seconds N, --keep, TARGET...",
        run: fuzz::run,
    },
    Command {
        name: "live",
        about: "our dialects against a llama.cpp server and a proxy from PyPI, by hand; --from-source",
        run: live::run,
    },
    Command {
        name: "fake-models",
        about: "a server that speaks as models do and breaks on request; --fault RULE, --limits LIMITS, --list",
        run: fake_models::run,
    },
    Command { name: "tidy", about: "the project's own rules, each finding with what to do", run: tidy::run },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("", String::as_str);
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("usage: cargo xtask <command> [arguments]\n");
        COMMANDS.iter().for_each(|command| eprintln!("  {:11} {}", command.name, command.about));
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

/// The data set outside the project.
fn data() -> Result<PathBuf> {
    let usual = || root().map(|root| root.join("../shared/data"));
    std::env::var_os("KAPELL_DATA").map_or_else(usual, |dir| Ok(PathBuf::from(dir)))
}

/// The cargo that runs us, so that one toolchain does everything.
fn cargo() -> std::process::Command {
    std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
