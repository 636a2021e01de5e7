//! What sessions share: slots of this process and the ledgers of its trees. All or nothing, in one breath.
//!
//! Never awaits anybody: it answers at once, and remembers who came away empty-handed. Start at [`Governor::take`].

use contract::SessionId;
use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::Ledger;

/// Kinds of work that are bounded over all sessions of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Calls to models.
    Model,
    /// Tool calls.
    Tool,
    /// Check runs: whole builds and test suites.
    Check,
    /// Work on workspaces.
    Workspace,
}

/// How many of each may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Calls to models.
    pub model: usize,
    /// Tool calls.
    pub tool: usize,
    /// Check runs.
    pub check: usize,
    /// Work on workspaces.
    pub workspace: usize,
}

impl Slots {
    /// Bounds for a machine with this many cores.
    pub fn for_cores(cores: usize) -> Self {
        let cores = cores.max(1);
        Self { model: 64, tool: cores * 4, check: cores.div_ceil(2), workspace: cores * 2 }
    }

    fn of(self, slot: Slot) -> usize {
        match slot {
            Slot::Model => self.model,
            Slot::Tool => self.tool,
            Slot::Check => self.check,
            Slot::Workspace => self.workspace,
        }
    }
}

/// The aggregate. Volatile: slots are given anew after a restart; ledgers are folds of their streams.
#[derive(Debug)]
pub struct Governor {
    slots: Slots,
    held: BTreeMap<SessionId, Slot>,
    waiting: BTreeSet<(Slot, u64, SessionId)>,
    tickets: u64,
    ledgers: BTreeMap<SessionId, Ledger>,
}

impl Governor {
    /// With these bounds and no ledgers.
    pub fn new(slots: Slots) -> Self {
        Self { slots, held: BTreeMap::new(), waiting: BTreeSet::new(), tickets: 0, ledgers: BTreeMap::new() }
    }

    /// The ledger of a tree; an empty one when none was loaded.
    pub fn ledger(&mut self, root: SessionId) -> &mut Ledger {
        self.ledgers.entry(root).or_insert_with(|| Ledger::new(root))
    }

    /// The ledger of a tree, if it is loaded.
    pub fn peek(&self, root: SessionId) -> Option<&Ledger> {
        self.ledgers.get(&root)
    }

    /// Puts a ledger in place, as read from the journal.
    pub fn load(&mut self, root: SessionId, ledger: Ledger) {
        self.ledgers.insert(root, ledger);
    }

    /// Forgets a ledger, so that the next user reads it from the journal again.
    pub fn forget(&mut self, root: SessionId) {
        self.ledgers.remove(&root);
    }

    fn used(&self, slot: Slot) -> usize {
        self.held.values().filter(|&&held| held == slot).count()
    }

    /// Is a slot free for this session? First come, first served: those who waited longer go first.
    pub fn free(&self, session: SessionId, slot: Slot) -> bool {
        let before = self.waiting.iter().filter(|w| w.0 == slot).take_while(|w| w.2 != session).count();
        let waits = self.waiting.iter().any(|w| w.0 == slot && w.2 == session);
        let ahead = if waits { before } else { self.waiting.iter().filter(|w| w.0 == slot).count() };
        self.used(slot) + ahead < self.slots.of(slot)
    }

    /// Takes the slot that [`Governor::free`] promised.
    pub fn take(&mut self, session: SessionId, slot: Slot) {
        self.waiting.retain(|w| w.2 != session);
        self.held.insert(session, slot);
    }

    /// Remembers that this session waits for a slot.
    pub fn wait(&mut self, session: SessionId, slot: Slot) {
        if !self.waiting.iter().any(|w| w.0 == slot && w.2 == session) {
            self.waiting.retain(|w| w.2 != session);
            self.tickets += 1;
            self.waiting.insert((slot, self.tickets, session));
        }
    }

    /// Gives back what a session holds or waits for. Returns who may try now.
    pub fn release(&mut self, session: SessionId) -> Vec<SessionId> {
        self.waiting.retain(|w| w.2 != session);
        match self.held.remove(&session) {
            Some(slot) => self.waiting.iter().filter(|w| w.0 == slot).take(1).map(|w| w.2).collect(),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_served_in_order() {
        let mut governor = Governor::new(Slots { model: 1, tool: 1, check: 1, workspace: 1 });
        let [a, b, c] = [1, 2, 3].map(SessionId);
        assert!(governor.free(a, Slot::Tool));
        governor.take(a, Slot::Tool);
        assert!(governor.free(b, Slot::Check), "another kind is not touched");
        assert!(!governor.free(b, Slot::Tool));
        governor.wait(b, Slot::Tool);
        governor.wait(c, Slot::Tool);
        assert_eq!(governor.release(a), vec![b]);
        assert!(!governor.free(c, Slot::Tool), "b waited longer");
        assert!(!governor.free(a, Slot::Tool), "and so did c");
        assert!(governor.free(b, Slot::Tool));
        governor.take(b, Slot::Tool);
        assert_eq!(governor.release(b), vec![c]);
    }
}
