//! Facts about what a surface does in a project for a person or a client: files it changes (to-do, schedules, memory, time
//! rows), terminals it opens beside sessions.
//!
//! Shared by every process of the installation. Knows no format of these files. Start at [`BoardEvent`].

use crate::record::Storable;
use crate::{Digest, Seq, SessionId};
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
    /// A person gets a terminal in a session's workspace. Durable before anything of it runs.
    Terminal {
        /// The session.
        session: SessionId,
        /// Its name there, such as `t1`.
        job: String,
        /// The command at it.
        command: Digest,
        /// How much of that.
        bytes: u64,
        /// What holds it, in a few words.
        held: String,
        /// What the rules said of it.
        ruling: String,
        /// The person has said yes to exactly this, where the rules ask.
        asked: bool,
    },
}

impl Storable for BoardEvent {
    fn upcast(_version: u32, event: Value) -> Value {
        event
    }
}
