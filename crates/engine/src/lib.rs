//! The only home of concurrency: an arbiter per live session, the executor, timers, leases, recovery, subscriptions.
//!
//! Knows ports and the kernel; no SQL, no git, no vendor, no surface. Start at [`engine::Engine`] (what surfaces
//! call), then [`core`] (the synchronous step that the simulator drives too) and `arbiter` (the loop around it).

mod arbiter;
pub mod core;
pub mod engine;
pub mod executor;
pub mod guard;
pub mod lease;
mod recent;
pub mod store;
pub mod task;
#[cfg(test)]
mod tests;
pub mod watch;

pub use crate::core::Core;
pub use crate::engine::{Attend, Engine, Options, Order};
pub use crate::executor::Ports;
pub use crate::guard::Guard;
pub use crate::watch::Watch;
