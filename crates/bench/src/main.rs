//! `cargo xtask bench`: figures as ratios against floors taken in the same run. Commands, never tests.
//!
//! Start at `steps.rs` (durable steps) and `turns.rs` (whole turns through the binary).

mod floor;
mod resume;
mod rig;
mod stats;
mod steps;
mod turns;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("steps") => steps::run(&args[1..]),
        Some("resume") => resume::run(),
        Some("turns") => turns::run(&args[1..]),
        _ => anyhow::bail!("what to measure: steps | resume | turns"),
    }
}
