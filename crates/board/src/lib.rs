//! The files of a project that people, editors and agents share: schedules, to-do, memory, time rows, modes.
//!
//! Pure: texts in, texts out; a text nobody changed comes out as it went in, and a change leaves everything else as it
//! was. Knows no file, no clock, no tool. Start at [`Schedules`], or at the format you came for.

mod json;
pub mod memory;
pub mod modes;
#[cfg(any(test, fuzzing))]
pub mod props;
pub mod schedules;
pub mod timing;
pub mod todo;
pub mod when;

pub use memory::Memory;
pub use modes::Mode;
pub use schedules::Schedules;
pub use timing::Timing;

/// Why a text is not what it should be: one sentence that says where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad(pub String);

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Bad {}

fn bad(what: impl Into<String>) -> Bad {
    Bad(what.into())
}
