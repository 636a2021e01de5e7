//! A failing seed made small: fewer steps, fewer faults, fewer processes and sessions, as long as it breaks the same promise.
//!
//! Knows setups, not why they break. Start at [`shrink`].

use crate::promise::Promise;
use crate::swarm::{Fault, Setup};
use crate::{Run, run_in_memory};

/// Runs it may take.
const TRIES: u32 = 120;

/// The smallest run found that breaks the promise that `failed` broke, and how many runs that took.
pub fn shrink(failed: Run) -> (Run, u32) {
    let Some(promise) = failed.broken.as_ref().map(|broken| broken.promise) else { return (failed, 0) };
    let mut tries = 0;
    let mut best = failed;
    loop {
        let before = best.setup;
        let faults = Fault::ALL.map(|fault| Setup { without: before.without.and(fault), ..before });
        let mut smaller: Vec<Setup> = faults.into_iter().filter(|setup| *setup != before).collect();
        smaller.extend((1..before.nodes.unwrap_or(3)).map(|nodes| Setup { nodes: Some(nodes), ..before }));
        let sessions = before.sessions.unwrap_or(24);
        smaller.extend(
            [1, 2, 4, 8, 16]
                .iter()
                .filter(|n| **n < sessions)
                .map(|n| Setup { sessions: Some(*n), ..before }),
        );
        for change in smaller {
            let setup = merge(best.setup, before, change);
            try_one(&mut best, setup, promise, &mut tries);
        }
        for eighths in 1..8 {
            let setup = Setup { steps: best.setup.steps * eighths / 8, ..best.setup };
            if try_one(&mut best, setup, promise, &mut tries) {
                break;
            }
        }
        if best.setup == before || tries >= TRIES {
            return (best, tries);
        }
    }
}

/// The change from `before`, made to what is best by now.
fn merge(best: Setup, before: Setup, change: Setup) -> Setup {
    let off = Fault::ALL.into_iter().find(|fault| change.without.has(*fault) && !before.without.has(*fault));
    Setup {
        without: off.map_or(best.without, |fault| best.without.and(fault)),
        nodes: if change.nodes != before.nodes { change.nodes } else { best.nodes },
        sessions: if change.sessions != before.sessions { change.sessions } else { best.sessions },
        ..best
    }
}

fn try_one(best: &mut Run, setup: Setup, promise: Promise, tries: &mut u32) -> bool {
    if *tries >= TRIES || setup == best.setup {
        return false;
    }
    *tries += 1;
    let run = run_in_memory(setup);
    let same = run.broken.as_ref().is_some_and(|broken| broken.promise == promise);
    if same {
        *best = run;
    }
    same
}
