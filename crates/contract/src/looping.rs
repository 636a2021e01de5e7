//! Facts about the loop of a project: which slot of which schedule became which session, and what stopped it.
//!
//! Shared by every process of the installation. Knows no format of schedules. Start at [`LoopEvent`].

use crate::record::Storable;
use crate::{Digest, SessionId, Timestamp, is_default};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

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
        /// Sessions that are asked to pause for it; they go on when it has ended.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        interrupts: Vec<SessionId>,
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
    /// A person wants the task that was handed over as this session: until then nothing of it is opened.
    Accepted {
        /// Its session.
        session: SessionId,
    },
    /// A claimed session could not be opened.
    Unopened {
        /// Which.
        session: SessionId,
        /// In which way.
        signature: String,
        /// It may pass by itself: a provider, a file or a lock that is away.
        #[serde(default, skip_serializing_if = "is_default")]
        passing: bool,
    },
    /// What a job relies on was looked at before one of its stages; with something wrong, the stage did not begin.
    Synced {
        /// Whose session.
        session: SessionId,
        /// Before what: `validate`, `integrate`.
        stage: String,
        /// The commit that the repository has checked out; empty: none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        head: String,
        /// Digests of the project's shared files, by path.
        files: BTreeMap<String, Digest>,
        /// Those that are not as they were at the last look.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        drift: Vec<String>,
        /// What is wrong, one sentence each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        wrong: Vec<String>,
    },
    /// By which wall clock slots are, from here on: the first one that somebody looked with, or a person's choice.
    Zoned {
        /// The project's directory.
        repo: String,
        /// Name in the database of time zones.
        zone: String,
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
