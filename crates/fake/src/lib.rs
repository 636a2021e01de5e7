//! A server that speaks the dialects of model APIs and breaks in every way one can: on purpose, and on request.
//!
//! Knows HTTP/1.1 as bytes and the wire formats as their vendors describe them; nothing of how Kapell reads them, so
//! that both cannot be wrong in the same way. Start at [`Server`] (what is started), [`Script`] (what it says),
//! [`Fault`] (how it breaks), [`Limits`] (what it allows). By hand: `cargo xtask fake-models`.
#![warn(missing_docs)]

pub mod date;
pub mod dialect;
pub mod fault;
mod http;
pub mod limits;
pub mod play;
pub mod rule;
pub mod script;
pub mod seen;
mod server;

pub use dialect::Dialect;
pub use fault::Fault;
pub use limits::Limits;
pub use rule::Rule;
pub use script::{Call, Reply, Script, Stop, Usage};
pub use seen::Seen;
pub use server::{Plan, Server, refused};
