//! `cargo xtask model [--seconds N] [--depth N] [--plants]`: searches, with figures.
//!
//! Knows how results are printed. Start at [`main`].

use model::{Config, Found, Met, Parts, Plant};
use std::process::ExitCode;
use std::time::Duration;

/// When a search gives up.
const SECONDS: u64 = 60;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)?.parse::<u64>().ok())
    };
    let most = Duration::from_secs(value("--seconds").unwrap_or(SECONDS));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if args.iter().any(|arg| arg == "--plants") {
        return plants(threads, most);
    }
    let mut sound = true;
    // What one session can be is what each of several can be: see `Parts`.
    let met: &'static Met = Box::leak(Box::default());
    for mut config in Config::ALL {
        if config.name == Config::ONE.name {
            config.parts = Parts::Kept(met);
        } else if config.name == Config::THREE.name {
            config.parts = Parts::Within(met);
        }
        if let (Some(depth), Some(_)) = (value("--depth"), config.depth) {
            config.depth = usize::try_from(depth).ok();
        }
        let found = config.check(threads, most);
        sound &= print(&config, &found);
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One line of figures, and what was found. True when every promise held and everything possible happened.
fn print(config: &Config, found: &Found) -> bool {
    let extent = match (found.whole, config.depth) {
        (true, None) => "every run".to_owned(),
        (true, Some(depth)) => {
            let depth = depth - 1;
            format!("each session whole, as searched alone; together every run of up to {depth} actions")
        }
        (false, _) => "NOT finished in time".to_owned(),
    };
    println!(
        "model: {}: {} workers x {} sessions x {} leases: {extent}: {} unique states, {} generated, depth {}, {:.1} s ({:.0} k unique/s)",
        config.name,
        config.workers,
        config.trees * (1 + config.children),
        config.leases,
        found.unique,
        found.generated,
        found.depth,
        found.took.as_secs_f64(),
        found.unique as f64 / found.took.as_secs_f64() / 1_000.0
    );
    if let Some((why, actions)) = &found.broken {
        println!("BROKEN after {} actions: {why}", actions.len());
        actions.iter().for_each(|action| println!("    {action:?}"));
    }
    // A bounded search need not get to everything.
    for name in found.never.iter().filter(|_| config.depth.is_none()) {
        println!("NEVER: {name}");
    }
    found.whole && found.broken.is_none() && (config.depth.is_some() || found.never.is_empty())
}

/// Every planted bug must be found.
fn plants(threads: usize, most: Duration) -> ExitCode {
    let mut all = true;
    for plant in Plant::ALL {
        let found = Config { plant: Some(plant), ..Config::ONE }.check(threads, most);
        match &found.broken {
            Some((why, actions)) => {
                println!(
                    "model: {plant:?} found after {} actions, {} unique states: {why}",
                    actions.len(),
                    found.unique
                );
                actions.iter().for_each(|action| println!("    {action:?}"));
            }
            None => println!("model: {plant:?} NOT found in {} unique states", found.unique),
        }
        all &= found.broken.is_some();
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
