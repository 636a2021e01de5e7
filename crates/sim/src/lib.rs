//! The simulator: kernel and engine's step under a seeded scheduler, simulated time and faults, with promises checked.
//!
//! Knows the Core step, the in-memory journal and nothing of threads or real time. One seed is one run, for ever the
//! same. Start at [`run`]; `world.rs` is what goes on outside, `promises.rs` what must hold.

mod actors;
mod cover;
mod node;
mod promises;
mod rng;
mod world;

pub use cover::Cover;
pub use world::{Plant, World};

/// How one seed went.
#[derive(Debug, Clone)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// Hash over everything that was stored, in order.
    pub trace: String,
    /// Scheduler steps taken.
    pub steps: u64,
    /// Events stored.
    pub events: u64,
    /// What was met.
    pub cover: Cover,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
}

/// Runs one seed to its end. `plant` puts a known bug into the world around the kernel.
pub fn run(seed: u64, steps: u64, plant: Option<Plant>) -> Run {
    let mut world = World::new(seed, plant);
    let broken = world.run(steps).err();
    let (trace, events) = world.trace();
    Run { seed, trace, steps: world.steps, events, cover: world.cover, broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_hold_on_many_seeds_and_runs_repeat() {
        for seed in 0..60 {
            let first = run(seed, 400, None);
            assert_eq!(first.broken, None, "replay with: cargo xtask sim --seed {seed}");
            if seed % 10 == 0 {
                assert_eq!(
                    run(seed, 400, None).trace,
                    first.trace,
                    "seed {seed} ran differently the second time"
                );
            }
        }
    }

    #[test]
    fn every_planted_bug_is_found() {
        for plant in Plant::ALL {
            let found = (0..1_000).map(|seed| run(seed, 400, Some(plant))).find(|run| run.broken.is_some());
            assert!(found.is_some(), "{plant:?} was not found in 1000 seeds");
        }
    }
}
