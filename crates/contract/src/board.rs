//! Facts about the files of a project that a surface changes for its clients: to-do, schedules, memory, time rows.
//!
//! Shared by every process of the installation. Knows no format of these files. Start at [`BoardEvent`].

use crate::record::Storable;
use crate::{Digest, Seq};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fact in a project's record of such changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoardEvent {
    /// A file is about to become this. Durable before the file changes, so a change nobody recorded was made by others.
    Changing {
        /// The project's directory; its digest is the stream's name.
        repo: String,
        /// The file, relative to it.
        path: String,
        /// What was called.
        tool: String,
        /// What the file held; `None` = there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Digest>,
        /// What it holds from here on.
        after: Digest,
        /// How much that is.
        bytes: u64,
        /// Where the old content was copied to, relative to the directory; appending needs no copy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup: Option<String>,
    },
    /// It did not: the file is as it was.
    Kept {
        /// The event that announced it.
        of: Seq,
        /// Why, in one sentence.
        why: String,
    },
}

impl Storable for BoardEvent {
    fn upcast(_version: u32, event: Value) -> Value {
        event
    }
}
