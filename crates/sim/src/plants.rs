//! Negative controls: each known bug must be found, in a run that holds without it; how many seeds that takes says how
//! sharp the promises are.
//!
//! Exists only under `--cfg planted`. Start at [`run`].

use contract::planted::{self, Bug};
use sim::{Run, Setup};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Every bug, looked for in at most so many seeds.
pub(crate) fn run(seeds: u64, steps: u64) -> Result<bool, String> {
    let began = Instant::now();
    let (next, found) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let first = look(*bug, seeds, steps);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((*bug, first));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(bug, _)| *bug as u64);
    println!("{:<16} {:>6}  found as", "planted bug", "seeds");
    for (bug, first) in &found {
        match first {
            Some(run) => {
                let broken = run.broken.as_ref().map_or(String::new(), ToString::to_string);
                let line: String = broken.lines().next().unwrap_or_default().chars().take(150).collect();
                println!("{:<16} {:>6}  {line}", format!("{bug:?}"), run.setup.seed + 1);
            }
            None => println!("{:<16}   none  NOT found in {seeds} seeds", format!("{bug:?}")),
        }
    }
    let missed = found.iter().filter(|(_, first)| first.is_none()).count();
    let (seconds, all) = (began.elapsed().as_secs_f64(), found.len());
    println!("plants: {} of {all} planted bugs found in {seconds:.1} s", all - missed);
    println!("{} passed, {missed} failed", all - missed);
    Ok(missed == 0)
}

fn look(bug: Bug, seeds: u64, steps: u64) -> Option<Run> {
    planted::plant(Some(bug));
    let found =
        (0..seeds).map(|seed| sim::run_in_memory(Setup::new(seed, steps))).find(|run| run.broken.is_some());
    planted::plant(None);
    // What breaks a promise without the bug, too, is not the bug's.
    found.filter(|run| sim::run_in_memory(run.setup).broken.is_none())
}
