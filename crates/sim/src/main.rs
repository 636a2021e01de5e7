//! `cargo xtask sim` ends here: runs seeds, prints what broke and how to see it again.

use sim::{Cover, Plant};
use std::time::Instant;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, usual: u64| value(name).and_then(|v| v.parse().ok()).unwrap_or(usual);
    let (seeds, steps) = (number("--seeds", 300), number("--steps", 400));
    let range = match value("--seed") {
        Some(_) => number("--seed", 0)..number("--seed", 0) + 1,
        None => number("--from", 0)..number("--from", 0) + seeds,
    };
    if args.iter().any(|a| a == "--plants") {
        return plants(steps);
    }
    let began = Instant::now();
    let (mut cover, mut events, mut broken, mut runs) = (Cover::default(), 0, 0, 0_u64);
    for seed in range {
        let first = sim::run(seed, steps, None);
        runs += 1;
        events += first.events;
        cover.merge(&first.cover);
        if let Some(why) = &first.broken {
            broken += 1;
            println!("seed {seed}: {why}\n  replay: cargo xtask sim --seed {seed} --steps {steps}");
        }
        let again = sim::run(seed, steps, None);
        if again.trace != first.trace {
            broken += 1;
            println!("seed {seed}: two runs differ: {} and {}", first.trace, again.trace);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{runs} seeds, each run twice and compared; {events} events; {:.1} runs/s",
        2.0 * runs as f64 / seconds
    );
    for (name, count) in &cover.0 {
        println!("  {name:<32} {count}");
    }
    println!("{} passed, {broken} failed", runs.saturating_sub(broken));
    std::process::ExitCode::from(u8::from(broken > 0))
}

/// Each planted bug must be found; how many seeds that took says how sharp the promises are.
fn plants(steps: u64) -> std::process::ExitCode {
    let mut missed = 0_u64;
    for plant in Plant::ALL {
        let found =
            (0..1_000).map(|seed| sim::run(seed, steps, Some(plant))).find(|run| run.broken.is_some());
        match found {
            Some(run) => {
                println!("{plant:?}: found by seed {} ({})", run.seed, run.broken.unwrap_or_default())
            }
            None => {
                missed += 1;
                println!("{plant:?}: NOT found in 1000 seeds");
            }
        }
    }
    println!("{} passed, {missed} failed", Plant::ALL.len() as u64 - missed);
    std::process::ExitCode::from(u8::from(missed > 0))
}
