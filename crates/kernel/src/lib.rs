//! The rules of Kapell as pure functions: state + input + now -> events and effects.
//!
//! Knows no I/O, no clock, no randomness, no async, no log. Time, ids and random bits come in as values.
//! Start at [`decide`] (what happens with one input), then [`session`] (the state it folds) and [`arbiter`].

pub mod arbiter;
pub mod circle;
pub mod compact;
pub mod context;
pub mod cost;
pub mod decide;
pub mod fsm;
pub mod further;
pub mod governor;
pub mod hooks;
pub mod keep;
pub mod ledger;
pub mod looping;
pub mod picture;
pub mod plan;
pub mod policy;
pub mod pool;
pub mod pressure;
pub mod project;
pub mod quota;
pub mod retry;
pub mod schedule;
pub mod session;
pub mod verdict;
pub mod view;
pub mod workflow;

mod apply;
mod attempt;
mod budget;
mod calls;
mod caps;
mod crowd;
mod finish;
mod next;
mod recover;
mod slow;
mod stages;
mod start;
mod traffic;
mod wording;

pub use decide::{Ctx, Decision, Input, decide};
pub use fsm::Illegal;
pub use governor::Governor;
pub use session::Session;
