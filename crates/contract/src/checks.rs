//! Checks: what is run to find out whether a change holds, and the verdict over the runs.

use crate::confine::{HostAsked, InForce};
use crate::{BoxFuture, Cancel, Digest, Fault, SessionId, port::Sink};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One declared or detected check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDef {
    /// Unique name, such as `test` or `clippy`.
    pub name: String,
    /// The command, for `sh -c`.
    pub run: String,
    /// What it looks at.
    pub kind: CheckKind,
    /// Longest run, milliseconds.
    pub timeout_ms: u64,
    /// Where it comes from: `.kapell/config.toml`, `Cargo.toml` ...
    pub from: String,
}

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// Does it compile?
    Build,
    /// Do the tests pass?
    Test,
    /// Is the linter content?
    Lint,
    /// Is it formatted?
    Format,
    /// Anything else that was declared.
    Other,
}

/// The checks of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suite {
    /// Run first, in order; a failure means the checks could not run.
    pub setup: Vec<String>,
    /// The checks, in order.
    pub checks: Vec<CheckDef>,
}

/// Which tree a check ran on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The commit the work started from.
    Base,
    /// The work.
    Result,
}

/// How one run of a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Exit status 0.
    Passed,
    /// Another exit status.
    Failed,
    /// Did not start, set-up failed, or ran out of time.
    CouldNotRun,
    /// Two runs on the same tree disagree.
    Flaky,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRun {
    /// Which check.
    pub check: String,
    /// On which tree.
    pub side: Side,
    /// How it ended.
    pub status: Status,
    /// Exit status, when it ran to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// Its output.
    pub log: Digest,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Tests passed and failed, when the output says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
    /// What confined it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<InForce>,
    /// Hosts that it asked for through the proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<HostAsked>,
}

/// Counted tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tests {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Ignored or skipped.
    pub ignored: u64,
}

/// What the checks said. The verdict over it is computed by the kernel, never stored here by an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The commit the work started from.
    pub base: String,
    /// The commit that was checked.
    pub result: String,
    /// True when base and result have the same tree.
    pub same_tree: bool,
    /// Runs, base first.
    pub runs: Vec<CheckRun>,
}

/// Kapell's own judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The goal's checks pass and nothing green on base is red.
    Confirmed,
    /// Otherwise.
    Refuted,
    /// No check found, could not run, or flaky.
    Inconclusive,
}

impl Verdict {
    /// The stored and printed name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "CONFIRMED",
            Self::Refuted => "REFUTED",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }
}

/// Something about the change itself that a person must see before it lands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// `test-deleted`, `test-weakened`, `test-ignored`, `check-changed`, `lint-silenced`.
    pub code: String,
    /// The file, lossily decoded for show.
    pub path: String,
    /// One line about it, in Kapell's words.
    pub what: String,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct CheckJob {
    /// Whose.
    pub session: SessionId,
    /// Repository that holds both commits (the session's workspace).
    pub repo: PathBuf,
    /// Base commit.
    pub base: String,
    /// Result commit.
    pub result: String,
    /// Base runs are on record already.
    pub base_known: bool,
    /// What to run: the definitions of the base commit.
    pub suite: Suite,
    /// Key for throw-away directories and process records.
    pub key: String,
}

/// What running gave: a report and the bytes it refers to.
#[derive(Debug, Clone)]
pub struct CheckOutput {
    /// The report.
    pub report: Report,
    /// The logs.
    pub blobs: Vec<Vec<u8>>,
}

/// The port: finds checks and runs them in throw-away checkouts. Judges nothing.
pub trait Checks: Send + Sync {
    /// Checks declared or detected in this commit.
    fn find(&self, repo: PathBuf, commit: String) -> BoxFuture<'_, Result<Suite, Fault>>;
    /// Runs them.
    fn run<'a>(
        &'a self,
        job: CheckJob,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<CheckOutput, Fault>>;
}
