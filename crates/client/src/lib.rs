//! Other programs' tools: a client of the Model Context Protocol, over a program's pipes and over HTTP.
//! Knows nothing of policy and approval: what it offers are tools like any other. Start at [`Servers`], then `link.rs`.
//!
//! A server is a stranger. Whatever it says is bounded before it is read (`frame.rs`), cleaned before a model sees it
//! (`catalog.rs`, `show.rs`), and compared with what it said when a person took it in (`pins.rs`): what changed is not
//! offered any more. Nothing is asked of it but its tools, and nothing of what it asks is done but what a person wrote down.

mod catalog;
mod declared;
mod expand;
mod file;
mod frame;
mod http;
mod link;
mod pins;
mod process;
mod servers;
mod show;
mod tool;

pub use catalog::{Entry, Listed};
pub use declared::{Server, Way};
pub use file::{Declared, PROJECT, added, project_added, project_removed, removed};
pub use pins::Pinned;
pub use servers::{Look, Options, Servers, World};
