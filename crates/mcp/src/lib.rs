//! Kapell over the Model Context Protocol: its own few tools, and the twenty of `desk`.
//!
//! A surface: translates calls and does nothing itself. What it asks Kapell goes through [`Conductor`], which the binary
//! fulfils; no engine, no store, no environment here. Start at [`Server::stdio`] and [`Server::routes`]; `handler.rs` is all
//! there is of the SDK's traits, `lines.rs` of its transport.

mod events;
mod handler;
mod http;
mod kept;
mod lines;
pub mod native;
mod port;
mod prompts;
mod resources;
mod server;

pub use http::{EVENTS, PATH};
pub use port::{Asker, Call, Conductor, Order};
pub use server::{Listed, Options, Server};
