//! The notes that agents leave for those who come after them: files of a folder of the project.
//!
//! Knows nothing of what they say. Start at [`path`]; `memory_read.rs` and `memory_write.rs` are the tools.
//!
//! They are files of the workspace like others, so they are imaged by savepoints, shown by `kapell diff`, and land with
//! the work they came from, confirmed and reviewed. There is no second place.

use crate::args::refuse;
use contract::Fault;
use contract::limits::MEMORY_NAME_CHARS;
use std::path::PathBuf;

/// Where they are, relative to the workspace.
pub(crate) const DIR: &str = ".kapell/memory";
/// What their names end with.
pub(crate) const END: &str = ".md";

/// The file of this name, which is letters, digits, `-`, `_` and `.`.
pub(crate) fn path(name: &str) -> Result<PathBuf, Fault> {
    let name = name.strip_suffix(END).unwrap_or(name);
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty()
        || name.starts_with('.')
        || name.chars().count() > MEMORY_NAME_CHARS
        || !name.chars().all(fits)
    {
        return Err(refuse(format!(
            "a note has a short name of letters, digits, `-` and `_` (at most {MEMORY_NAME_CHARS}), such as `build-commands`"
        )));
    }
    Ok(PathBuf::from(DIR).join(format!("{name}{END}")))
}
