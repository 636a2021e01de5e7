//! The Journal port on SQLite, its in-memory twin, and the conformance suite both pass.
//!
//! Knows nothing of what a record means: to it an event is bytes, a stream is a name. Knows no async runtime.
//! Start at [`Sqlite`] (the store), then `sqlite/append.rs` (what one commit does) and [`conformance`].
#![warn(missing_docs)]

mod blob;
mod body;
pub mod conformance;
mod frame;
mod memory;
mod notify;
mod oneshot;
#[cfg(any(test, fuzzing))]
pub mod props;
mod queue;
mod rules;
mod sqlite;

pub use memory::{Faults, Inject, Memory, Op, Tear};
pub use rules::genesis;
pub use sqlite::{Audit, Leased, Mark, Options, Sqlite, Stats, Swept};
