//! Facts about the loop of a project: which slot of which schedule became which session, and what stopped it.
//!
//! Shared by every process of the installation. Knows no format of schedules. Start at [`LoopEvent`].

use crate::record::Storable;
use crate::{Digest, SessionId, Timestamp, is_default};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fact in a project's loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoopEvent {
    /// A schedule was met for the first time, or again after a clock that was ahead: what lies before this moment is
    /// not made up for.
    Seen {
        /// The project's directory; its digest is the stream's name.
        repo: String,
        /// The schedule's id.
        schedule: String,
    },
    /// A slot belongs to this job, for ever: whoever finds its session not opened opens it, under this very id.
    Fired {
        /// The schedule's id.
        schedule: String,
        /// When it was to be.
        slot: Timestamp,
        /// Slots before it that it stands for as well.
        #[serde(default, skip_serializing_if = "is_default")]
        missed: u32,
        /// What it became.
        job: Job,
    },
    /// Nothing is run for a slot.
    Passed {
        /// The schedule's id.
        schedule: String,
        /// When it was to be.
        slot: Timestamp,
        /// Slots before it for which nothing is run either.
        #[serde(default, skip_serializing_if = "is_default")]
        missed: u32,
        /// Why, in one sentence.
        why: String,
    },
    /// A slot has come and waits for a task that runs.
    Held {
        /// The schedule's id.
        schedule: String,
        /// When it was to be.
        slot: Timestamp,
    },
    /// Somebody handed a task over: it is opened like a slot that fired.
    Delegated {
        /// The project's directory.
        repo: String,
        /// The task's id, as who handed it over knows it.
        task: String,
        /// What its time is booked under: `schedule`, `todo`, `normal`.
        priority: String,
        /// What it became.
        job: Job,
    },
    /// A schedule (`schedule/ID`) or a task (`task/ID`) failed again in the same way.
    Failed {
        /// Which.
        what: String,
        /// In which way: failures of another one count anew.
        signature: String,
        /// How often in a row.
        count: u32,
    },
    /// It failed so often that nothing of it is tried again before a person has looked.
    Escalated {
        /// Which.
        what: String,
        /// In which way.
        signature: String,
        /// In one sentence.
        why: String,
    },
    /// A person has looked: it may be tried again, and counts anew.
    Cleared {
        /// Which.
        what: String,
    },
    /// What a job came to is written back to the project's files.
    Closed {
        /// Its session.
        session: SessionId,
        /// Exit code by DESIGN section 7.
        code: u8,
    },
    /// Nothing fires from here on.
    Halted {
        /// Why, in one sentence.
        why: String,
    },
    /// It goes on.
    Continued {
        /// Why, in one sentence.
        why: String,
    },
}

/// A session that the loop opens: everything that opening it needs and the schedule may have lost by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The id it is opened under, made with the claim.
    pub session: SessionId,
    /// The mode it works in, as the project calls it.
    pub mode: String,
    /// What is to be done.
    pub goal: Digest,
    /// Bytes of it.
    pub bytes: u64,
}

impl Storable for LoopEvent {
    fn upcast(_version: u32, event: Value) -> Value {
        event
    }
}
