//! The one way in over HTTP: listeners for programs and pages of the same person on the same machine.
//!
//! Knows who may come in and how much of this process they may hold, not what is served: routes are given to it. Start at
//! [`Door::open`] (the loopback) and [`Hatch::open`] (a socket); who is let in is decided in `guard.rs`.

mod guard;
mod limits;
mod listen;
mod login;
mod patient;
mod problem;
mod token;

pub use guard::Caller;
pub use limits::Limits;
pub use listen::{Door, Hatch, address};
pub use login::{Login, Logins, cookie_name};
pub use problem::Problem;
pub use token::{secret, write_private};
