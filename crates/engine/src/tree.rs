//! Which trees have a session that lives here: when the last one has gone, the tree's ledger is let go of.
//!
//! Knows nothing of sessions but their root; a ledger that is needed again is read again. Start at [`Present::enter`].

use crate::commit::Host;
use crate::engine::Shared;
use contract::SessionId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many arbiters each tree has here, by its root.
#[derive(Debug, Default)]
pub(crate) struct Trees(Mutex<BTreeMap<SessionId, usize>>);

impl Trees {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by an arbiter for as long as it may touch its tree's ledger.
pub(crate) struct Present {
    shared: Arc<Shared>,
    root: SessionId,
}

impl Present {
    /// One more arbiter of this tree. To be taken before the ledger is looked for: what is found then stays.
    pub(crate) fn enter(shared: &Arc<Shared>, root: SessionId) -> Self {
        *shared.trees.lock().entry(root).or_default() += 1;
        Self { shared: Arc::clone(shared), root }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut trees = self.shared.trees.lock();
        let left = trees.get(&self.root).map_or(0, |count| count - 1);
        if left > 0 {
            trees.insert(self.root, left);
            return;
        }
        trees.remove(&self.root);
        // Still under the lock: who comes now looks for the ledger afterwards.
        self.shared.governor().forget(self.root);
    }
}
