//! The Workspace port: a session's own clone, its savepoints, and the way back into the user's repository.

use crate::action::Integrated;
use crate::checks::{CheckOutput, Flag};
use crate::{BoxFuture, Cancel, Fault, SessionId};
use std::path::PathBuf;

/// What to prepare.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The repository worked for: the user's, or a parent session's workspace.
    pub repo: PathBuf,
    /// Start here; `None` = its HEAD.
    pub base: Option<String>,
    /// Branch to land on; `None` = the one checked out.
    pub target: Option<String>,
    /// The workspace was there and may have held work: when it is gone, it is not made anew.
    pub worked: bool,
}

/// A workspace that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Its top level.
    pub root: PathBuf,
    /// Base commit.
    pub base: String,
    /// Target branch.
    pub target: Option<String>,
    /// What the person should know.
    pub notes: Vec<String>,
}

/// What to land.
#[derive(Debug, Clone)]
pub struct Landing {
    /// Base commit.
    pub base: String,
    /// The confirmed commit.
    pub result: String,
    /// The branch.
    pub target: Option<String>,
    /// May it land, or only leave a branch?
    pub land: bool,
}

/// What landing needs to check a merged tree: given the merged commit, the runs on it.
pub type CheckMerged<'a> =
    &'a (dyn Fn(String) -> BoxFuture<'a, Result<(bool, CheckOutput), Fault>> + Send + Sync);

/// What landing gave.
#[derive(Debug, Clone)]
pub struct Landed {
    /// The record.
    pub integrated: Integrated,
    /// Text of `integrated.detail` and the logs of its report.
    pub blobs: Vec<Vec<u8>>,
}

/// A change, as a person would look at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Files changed.
    pub files: u64,
    /// What must be seen before it lands.
    pub flags: Vec<Flag>,
}

/// The port. Every method is safe to call again after a crash in the middle.
pub trait Workspace: Send + Sync {
    /// Makes the session's clone, or finds it. Idempotent. A fault when it held work and is gone.
    fn prepare(&self, session: SessionId, origin: Origin) -> BoxFuture<'_, Result<Ready, Fault>>;
    /// Nobody in this process executes the session any more: ends when nothing given to the port works on its files,
    /// and what was kept of it in memory is forgotten.
    fn release(&self, _session: SessionId) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    /// Top level of the session's clone.
    fn root(&self, session: SessionId) -> PathBuf;
    /// Images the tree under this label (`turn.step`); a label that exists is left as it is. Returns the commit.
    fn savepoint(&self, session: SessionId, label: String) -> BoxFuture<'_, Result<String, Fault>>;
    /// Puts the tree back to the savepoint of this label, if there is one. Returns whether there was.
    fn restore(&self, session: SessionId, label: String) -> BoxFuture<'_, Result<bool, Fault>>;
    /// Commits the whole tree on the session's branch; returns the tip (the base when nothing changed).
    fn commit(&self, session: SessionId, message: String) -> BoxFuture<'_, Result<String, Fault>>;
    /// Judges the change from base to result; `commands` are what the checks of the base run.
    fn inspect(
        &self,
        session: SessionId,
        base: String,
        result: String,
        commands: Vec<String>,
    ) -> BoxFuture<'_, Result<Change, Fault>>;
    /// The change as a unified diff.
    fn diff(&self, session: SessionId, base: String, result: String)
    -> BoxFuture<'_, Result<Vec<u8>, Fault>>;
    /// Rebases onto the target, checks a merged tree, fast-forwards; or leaves a branch and says why.
    fn integrate<'a>(
        &'a self,
        session: SessionId,
        origin: Origin,
        landing: Landing,
        check: CheckMerged<'a>,
        cancel: Cancel,
    ) -> BoxFuture<'a, Result<Landed, Fault>>;
    /// Takes a child's commit into the tree; false and a text naming the files when it conflicts (tree untouched).
    fn adopt(
        &self,
        session: SessionId,
        child: SessionId,
        commit: String,
    ) -> BoxFuture<'_, Result<(bool, String), Fault>>;
}
