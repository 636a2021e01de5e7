//! The one way in over HTTP: a listener for programs of the same person on the same machine.
//!
//! Knows who may come in and how much of this process they may hold, not what is served: routes are given to it. Start at
//! [`Door::open`]; who is let in is decided in `guard.rs`.

mod guard;
mod limits;
mod listen;
mod patient;
mod problem;
mod token;

pub use limits::Limits;
pub use listen::{Door, address};
pub use problem::Problem;
