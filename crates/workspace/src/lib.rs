//! A session's own clone of a repository: savepoints, the way back, and checks in throw-away checkouts.
//! Implements `contract::workspace::Workspace` and `contract::checks::Checks` by calling `git`; knows no engine.
//! Start at [`Git`]; where things lie is in `session.rs`, what a landing does in `land.rs`.
//!
//! # What happens with which repository
//!
//! | the user's repository | what Kapell does |
//! |---|---|
//! | clean, branch checked out | lands by fast-forward; branch, index and files move together |
//! | with uncommitted changes | works from the commit and says so; lands unless a changed file is in the way (`dirty`) |
//! | branch checked out in a linked worktree | lands in that worktree by the same rules when the session was opened there, else leaves a branch (`no-branch`) |
//! | branch not checked out | moves the branch by compare-and-swap |
//! | HEAD detached | leaves the branch `kapell/<id>` (`no-branch`) |
//! | bare | with a named target moves it by compare-and-swap (checked out in a linked worktree: `no-branch`), else leaves the branch |
//! | without commits | refused: `no-commits`, with what to type |
//! | partial clone | refused: `partial-clone`, with what to type |
//! | shallow | works; the cut is copied |
//! | SHA-256 objects | works |
//! | with submodules | left empty in the workspace, their entries are kept as they are; said so |
//! | with filters (LFS) or line-end attributes | the workspace holds the bytes git stores; nothing is converted, no filter runs |
//! | with what landed taken back by the user | does not land it again: leaves the branch (`taken-back`) |
//! | below a directory with a line feed in its name | refused: `path-line-feed`, with what to type |
//! | with hooks | never run, not in the workspace and not at landing |
//!
//! Nothing is written to the user's repository before `integrate`, except the one ref `refs/kapell/base/<session>`
//! that keeps a garbage collection there from dropping objects that the session borrows. When a workspace is removed,
//! work that never landed goes there, as `refs/kapell/parked/<session>`.

mod apply;
mod audit;
mod checks;
mod committed;
mod erase;
mod git;
mod ignored;
mod image;
mod inside;
mod inspect;
mod land;
mod object;
mod origin;
mod port;
mod prepare;
mod process;
#[cfg(any(test, fuzzing))]
pub mod props;
mod scan;
mod session;
mod table;
mod target;
mod tidy;
mod work;

pub use audit::{Found, Pin, Pinned, Slots, Standing};
pub use checks::slot::Used;
pub use committed::{Committed, Listing, below};
pub use erase::{bytes_below, remove_tree};
pub use session::{borrowed, branch};
pub use tidy::{Listed, Removed, parked};

use contract::confine::Confinement;
use contract::{Fault, Kind, SessionId};
use session::{Home, Open};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// What may be different from the usual.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where running programs leave their process records, in one directory per session; `None` = `run` in the state
    /// directory.
    pub records: Option<PathBuf>,
    /// The git program; `None` = the distribution's own, else the first on the search path.
    pub git: Option<PathBuf>,
    /// The user's own ignore rules where git's settings name none (`$XDG_CONFIG_HOME/git/ignore`).
    pub ignore: Option<PathBuf>,
    /// What confines set-up and check commands, all but the place they work in; `None`: nothing does.
    pub confined: Option<Confinement>,
    /// Added to the environment of set-up and check commands, over what is inherited.
    pub env: Vec<(OsString, OsString)>,
}

/// Workspaces and checks, by git.
#[derive(Debug)]
pub struct Git {
    binary: git::Binary,
    sessions: PathBuf,
    /// The same with links resolved, as git answers it.
    resolved: PathBuf,
    checks: PathBuf,
    records: PathBuf,
    env: Vec<(OsString, OsString)>,
    ignore: Option<PathBuf>,
    confined: Option<Confinement>,
    open: Mutex<HashMap<SessionId, Slot>>,
}

/// One session's state in this process; whoever works on the session holds the lock.
type Slot = Arc<tokio::sync::Mutex<Option<Open>>>;

/// The lock on a session's state.
type Guard = OwnedMutexGuard<Option<Open>>;

/// A session that is ready, locked.
struct Held(Guard);

impl Git {
    /// Sessions go below `state`, throw-away checkouts and build caches below `cache`. Touches nothing yet.
    pub fn new(state: PathBuf, cache: PathBuf, options: Options) -> Self {
        // Git is called from other directories than ours.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let (state, cache) = (absolute(state), absolute(cache));
        let records = options.records.unwrap_or_else(|| state.join("run"));
        let binary = match options.git {
            Some(path) => git::Binary::at(path, records.clone()),
            None => git::Binary::new(records.clone()),
        };
        let sessions = state.join("sessions");
        Self {
            binary,
            resolved: resolved(&sessions),
            sessions,
            checks: cache.join("checks"),
            records,
            env: options.env,
            ignore: options.ignore,
            confined: options.confined,
            open: Mutex::default(),
        }
    }

    fn home(&self, session: SessionId) -> Home {
        Home::new(&self.sessions, session)
    }

    fn slot(&self, session: SessionId) -> Slot {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(open.entry(session).or_default())
    }

    /// Forgets what it knows of a session that nobody here executes any more, once no file work of it is left: the next
    /// process to execute it may change all of it.
    pub(crate) async fn let_go(&self, session: SessionId) {
        let slot = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&session).map(Arc::clone);
        let Some(slot) = slot else { return };
        let mut guard = slot.lock_owned().await;
        *guard = None;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Ours and the map's: nobody waits for it, and nobody can begin to while the map is locked.
        if open.get(&session).is_some_and(|slot| Arc::strong_count(slot) == 2) {
            open.remove(&session);
        }
    }

    /// Locks a session, with what is on record about it by now: another process may have gone on with it.
    async fn opened(&self, session: SessionId) -> Result<Guard, Fault> {
        let mut guard = self.slot(session).lock_owned().await;
        let home = self.home(session);
        let dir = home.dir.clone();
        let now = match Open::load(home) {
            // Where its directory is not what it was, the guard says so.
            Err(error) if guard.is_some() && !session::passes(&error) => None,
            other => other.map_err(|error| session::io_fault("reading", &dir, &error))?,
        };
        if now.is_some() && now.as_ref().map(|now| &now.facts) != guard.as_ref().map(|open| &open.facts) {
            *guard = now;
        }
        Ok(guard)
    }

    /// Locks a session that was prepared, by this process or an earlier one.
    async fn hold(&self, session: SessionId) -> Result<Held, Fault> {
        let guard = self.opened(session).await?;
        match guard.is_some() {
            true => Ok(Held(guard)),
            false => {
                let what = format!("session {session} has no workspace");
                let dir = self.home(session).dir;
                let hint = format!("put {} back; `kapell doctor` says what else there is", dir.display());
                Err(Fault::new(Kind::Permanent, "workspace-missing", what).hint(hint))
            }
        }
    }
}

impl std::ops::Deref for Held {
    type Target = Open;
    fn deref(&self) -> &Open {
        // Only `hold` and `prepare` make one, and both fill it first.
        self.0.as_ref().unwrap_or_else(|| unreachable!("a held session is open"))
    }
}

impl std::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Open {
        self.0.as_mut().unwrap_or_else(|| unreachable!("a held session is open"))
    }
}

/// A path with its links resolved, as far as it exists by now.
fn resolved(path: &Path) -> PathBuf {
    let real = |above: &Path| Some(above.canonicalize().ok()?.join(path.strip_prefix(above).ok()?));
    path.ancestors().find_map(real).unwrap_or_else(|| path.to_path_buf())
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Fault::new(Kind::Permanent, "workspace-task", format!("a file task ended badly: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn what_is_let_go_of_is_forgotten_once_nothing_works_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(dir.path().join("state"), dir.path().join("cache"), Options::default());
        let session = SessionId(7);
        let count = || git.open.lock().unwrap().len();
        let working = git.slot(session).lock_owned().await;
        let mut gone = std::pin::pin!(git.let_go(session));
        assert!(tokio::time::timeout(Duration::ZERO, &mut gone).await.is_err(), "file work is waited for");
        drop(working);
        gone.await;
        assert_eq!(count(), 0);
        // Somebody waits for it: theirs stays the one that everybody waits for.
        let waits = git.slot(session);
        git.let_go(session).await;
        assert!(count() == 1 && Arc::ptr_eq(&waits, &git.slot(session)));
        drop(waits);
        git.let_go(session).await;
        assert_eq!(count(), 0);
    }
}
