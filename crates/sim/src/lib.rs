//! The simulator: kernel, engine and stores under a seeded scheduler, simulated time and faults, with promises checked.
//!
//! Knows nothing of threads or real time. One seed is one run, for ever the same. Start at [`run`]; `world.rs` is the
//! scheduler, `trouble.rs` what goes wrong, `oracle.rs` what must hold, `kinds.rs` what there is to be met.

mod actors;
mod books;
mod cuts;
mod kinds;
mod life;
mod node;
mod oracle;
mod projects;
mod promise;
mod quotas;
mod rng;
mod shrink;
mod store;
mod swarm;
mod trouble;
mod watch;
mod world;

pub use kinds::Cover;
pub use promise::{Broken, Promise};
pub use shrink::shrink;
pub use swarm::{Backend, Fault, Setup, Without};

use std::path::PathBuf;
use world::World;

/// How one seed went.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was asked for.
    pub setup: Setup,
    /// A hash over everything that became durable and everything that went wrong, in order.
    pub trace: u64,
    /// Scheduler steps taken, with those after the faults stopped.
    pub steps: u64,
    /// Events stored.
    pub events: u64,
    /// What was met.
    pub cover: Cover,
    /// The promise that was broken, if one was.
    pub broken: Option<Broken>,
}

/// Runs one seed to its end. `dir` gives an empty directory; only SQLite asks for one.
pub fn run(setup: Setup, dir: impl FnOnce() -> PathBuf) -> Result<Run, String> {
    let mut world = World::new(setup, dir)?;
    let broken = world.run().err();
    let (trace, events) = (world.oracle.trace.0, world.oracle.events);
    Ok(Run { setup, trace, steps: world.steps, events, cover: world.cover, broken })
}

/// Runs one seed in memory.
pub fn run_in_memory(setup: Setup) -> Run {
    let setup = Setup { backend: Backend::Memory, ..setup };
    run(setup, PathBuf::new).unwrap_or_else(|why| unreachable!("the store in memory opens: {why}"))
}

#[cfg(test)]
mod tests;
