//! `cargo xtask bench`: figures as ratios against floors taken in the same run. Commands, never tests.
//!
//! Start at `steps.rs` (durable steps), `turns.rs` (whole turns through the binary) and `baseline/` (Kapell beside
//! a naive conductor). What runs in a process of its own is started through [`own`].

mod amplification;
mod arbiter;
mod baseline;
mod context;
mod fan;
mod floor;
mod history;
mod idle;
mod limits;
mod load;
mod logs;
mod mcp;
mod measure;
mod models;
mod own;
mod resume;
mod rig;
mod stats;
mod steps;
mod turns;

const WHAT: &str = "steps | resume | turns | arbiter | fan | idle | amplification | baseline | models | limits | load | mcp | parsers | output";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("steps") => steps::run(rest),
        Some("resume") => resume::run(rest),
        Some("turns") => turns::run(rest),
        Some("arbiter") => arbiter::run(rest),
        Some("fan") => fan::run(rest),
        Some("idle") => idle::run(rest),
        Some("amplification") => amplification::run(rest),
        Some("baseline") => baseline::run(rest),
        Some("context") => context::run(rest),
        Some("models") => models::run(rest),
        Some("limits") => limits::run(rest),
        Some("load") => load::run(rest),
        Some("mcp") => mcp::run(rest),
        Some("parsers") => logs::parsers::run(&data(rest)),
        Some("output") => logs::economy::run(&data(rest)),
        // Only started by ourselves.
        Some("worker") => baseline::worker(rest),
        Some("models-server") => models::serve(),
        Some("fan-one") => fan::one(rest),
        Some("--quick") => quick(rest),
        _ => anyhow::bail!("what to measure: {WHAT}; all of them in their smallest form: --quick"),
    }
}

/// The data set outside the project.
fn data(args: &[String]) -> std::path::PathBuf {
    args.first().map_or_else(|| "../shared/data".into(), std::path::PathBuf::from)
}

/// Everything once, small: that each command runs at all. The path of the kapell binary comes first.
fn quick(args: &[String]) -> anyhow::Result<()> {
    let small = ["--quick".to_owned()];
    let with_binary = [args, &small].concat();
    arbiter::run(&small)?;
    fan::run(&small)?;
    idle::run(&with_binary)?;
    resume::run(&with_binary)?;
    amplification::run(&small)?;
    models::run(&small)?;
    limits::run(&with_binary)?;
    baseline::run(&small)
}
