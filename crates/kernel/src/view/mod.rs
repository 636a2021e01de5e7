//! What people and programs look at: pure projections of events and states, as plain values that serialise.
//!
//! Knows no wording of a screen, no blobs, no store; texts are digests. Start with [`transcript`] (who said what),
//! [`board`] (what goes on), [`cost`] (what it took) or [`why`] (who wanted it and why it won).

mod board;
mod cost;
mod spend;
mod transcript;
mod waits;
mod why;

pub use board::{Doing, Row, board, short};
pub use cost::{Cost, Part, SessionCost, cost};
pub use spend::{Axis, Break, Differs, ModelCall, Sum, breaks, calls, differs, sums};
pub use transcript::{Entry, Made, Outcome, transcript};
pub use waits::{Waits, waits};
pub use why::{AttemptTold, Chosen, Fate, Unchosen, Why, why};
