//! Command lines of a POSIX shell and of bash, read as text: what they are made of, and what they would do.
//!
//! Runs nothing, opens nothing, knows no policy. [`parse`] turns text into a [`syntax::Script`], [`print`] turns it back,
//! and [`parts`] tells everything that would be run, with its paths and hosts. What cannot be known from the text is
//! said to be unknown; nothing is guessed. Start at [`parse`].

mod ansi;
mod git;
mod host;
mod known;
mod parse;
mod path;
mod print;
#[cfg(any(test, fuzzing))]
pub mod props;
pub mod syntax;
mod unfold;
mod word;
mod wrap;

pub use parse::{Parsed, parse};
pub use path::Place;
pub use print::print;
pub use unfold::{FORK_BOMB, of_script, parts};
