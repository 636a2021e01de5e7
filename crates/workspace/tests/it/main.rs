//! The workspace against real repositories, each in a directory of its own.
//! Knows only the ports and the public API. Start at `support.rs`.

mod checks;
mod kinds;
mod landing;
mod removing;
mod savepoints;
mod storm;
mod support;
