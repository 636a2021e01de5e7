//! The only home of concurrency: an arbiter per live session, the executor, timers, leases, recovery, subscriptions.
//!
//! Knows ports and the kernel; no SQL, no git, no vendor, no surface. Start at [`engine::Engine`] (what surfaces
//! call), then [`commit`] and [`core`] (the step that the simulator drives too) and `arbiter` (the loop around it).

mod arbiter;
pub mod board;
mod breakdown;
pub mod caps;
pub mod commit;
pub mod core;
pub mod engine;
pub mod executor;
pub mod guard;
pub mod keys;
pub mod lease;
pub mod looping;
pub mod meter;
mod named;
#[cfg(any(test, fuzzing))]
pub mod props;
mod recent;
#[cfg(test)]
mod shared_key;
pub mod store;
pub mod task;
#[cfg(test)]
mod tests;
mod tree;
pub mod watch;

pub use crate::breakdown::GIVEN_UP;
pub use crate::core::Core;
pub use crate::engine::{Attend, Engine, Options, Order};
pub use crate::executor::{Plain, Ports, Rules, Secrets};
pub use crate::guard::Guard;
pub use crate::watch::Watch;
