//! What else goes on in the repository: which tasks run, since when they have done nothing, and what happened lately.
//!
//! Read once in a look, and only where a slot has come. Start at [`Tasks::of`].

use super::looper::Looper;
use super::read::Read;
use crate::exit::Failure;
use crate::pick;
use crate::tree::Tree;
use contract::journal::Journal;
use contract::{SessionId, Timestamp};
use kernel::fsm::Phase;
use kernel::looping::Loop;
use kernel::schedule::Around;
use std::collections::BTreeMap;

/// Sessions of the repository that are looked at, the newest.
const SESSIONS: usize = 200;

/// One task: a root session with everything below it.
#[derive(Debug, Clone, Copy)]
struct Task {
    /// It goes on by itself.
    runs: bool,
    /// Its newest event, anywhere in its tree.
    at: Timestamp,
}

/// The tasks of a repository.
#[derive(Debug, Default)]
pub(crate) struct Tasks(BTreeMap<SessionId, Task>);

impl Tasks {
    /// As the journal has them now.
    pub(super) async fn of(looper: &Looper<'_>, now: Timestamp) -> Result<Self, Failure> {
        let (store, engine) = (&*looper.wired.store, &looper.wired.engine);
        let mut tasks = BTreeMap::new();
        let listed = store.sessions(false).await?;
        for (listed, spec) in pick::roots(store, &listed, SESSIONS).await? {
            if spec.repo != looper.repo {
                continue;
            }
            let id = listed.session;
            let task = if listed.ended {
                Task { runs: false, at: engine.look(id).await?.map_or(Timestamp(0), |state| state.at) }
            } else {
                let tree = Tree::open(engine, id).await?;
                let ours = looper.known.jobs().any(|open| open.job.session == id);
                // What a dead process left runs when somebody goes on with it: the loop does so with its own.
                let runs = !tree.idle(now) && (ours || looper.wired.locks.held(id));
                let at = tree.sessions().map(|state| state.at).max().unwrap_or_default();
                Task { runs: runs && tree.root().phase != Phase::Ended, at }
            };
            tasks.insert(id, task);
        }
        Ok(Self(tasks))
    }

    /// Those that run.
    pub(super) fn running(&self) -> impl Iterator<Item = SessionId> {
        self.0.iter().filter(|(_, task)| task.runs).map(|(id, _)| *id)
    }

    /// What a slot of this schedule meets. A job that is claimed and not open yet runs.
    pub(super) fn around(&self, known: &Loop, read: &Read, own: Option<SessionId>, now: Timestamp) -> Around {
        let claimed = known.jobs().map(|open| open.job.session).filter(|id| !self.0.contains_key(id));
        let idle = self.0.values().filter(|task| task.runs).map(|task| now.since(task.at));
        let last = known.schedule(&read.file.id).and_then(|known| known.last).map(|(_, at)| at);
        let last = last.filter(|_| own.is_some()).max(read.ran);
        let since = |task: &Task| last.is_none_or(|last| task.at > last);
        Around {
            runs_idle_ms: idle.chain(claimed.map(|_| 0)).min(),
            active: self.0.iter().any(|(id, task)| Some(*id) != own && since(task)),
            ran: last.is_some(),
            open: known.job_of(&read.file.id).is_some(),
        }
    }
}
