//! What a program's output comes to: findings and tests in a common form, and the lines worth reading within a limit.
//!
//! Sans-IO and pure: bytes go in as they come, memory stays bounded whatever they are. Knows no process, no file and no
//! model. Start at [`Reader`]; what a tool's lines mean is one file in `parsers/`.
#![warn(missing_docs)]

mod custom;
mod digest;
mod keep;
mod lines;
mod parsers;
#[cfg(any(test, fuzzing))]
pub mod props;
mod reader;
mod rules;
mod shown;
#[cfg(test)]
mod tests;
mod tool;
mod weigh;

pub use custom::{Custom, PATTERN_BYTES, PATTERNS, Written, accept};
pub use digest::{Digest, ending, severity};
pub use reader::{Event, FINDINGS, Options, Reader};

/// Reads an output that is here already. `command`: its command line, or the name of its tool.
pub fn read(bytes: &[u8], command: &str) -> Digest {
    let mut reader = Reader::new(Options { command: command.to_owned(), ..Options::default() });
    reader.push(bytes, &mut |_| ());
    reader.finish(&mut |_| ())
}

/// Compiles the patterns of all parsers, which otherwise the first output waits for.
pub fn ready() {
    drop(read(b"error: expected `;`\n", ""));
}

/// The names of the built-in parsers.
pub fn parsers() -> Vec<&'static str> {
    parsers::REGISTRY.iter().map(|table| table.name).collect()
}
