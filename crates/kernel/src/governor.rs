//! What sessions share: slots of this process and the ledgers of its trees. All or nothing, in one breath.
//!
//! Never awaits anybody: it answers at once, and remembers who came away empty-handed. Start at [`Governor::take`].

use contract::{SessionId, StreamId};
use std::collections::BTreeMap;

use crate::Session;
use crate::further::Book;
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
    used: BTreeMap<Slot, usize>,
    /// Who stands where in which line.
    waits: BTreeMap<SessionId, (Slot, u64)>,
    /// The lines, first come first served.
    lines: BTreeMap<(Slot, u64), SessionId>,
    tickets: u64,
    ledgers: BTreeMap<SessionId, Ledger>,
    /// The ledgers that sessions of many trees share.
    pub(crate) books: BTreeMap<StreamId, Book>,
}

impl Governor {
    /// With these bounds and no ledgers.
    pub fn new(slots: Slots) -> Self {
        Self {
            slots,
            held: BTreeMap::new(),
            used: BTreeMap::new(),
            waits: BTreeMap::new(),
            lines: BTreeMap::new(),
            tickets: 0,
            ledgers: BTreeMap::new(),
            books: BTreeMap::new(),
        }
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

    /// Slots of this kind that nobody holds.
    fn room(&self, slot: Slot) -> usize {
        self.slots.of(slot).saturating_sub(self.used.get(&slot).copied().unwrap_or(0))
    }

    fn line(&self, slot: Slot) -> impl Iterator<Item = SessionId> {
        self.lines.range((slot, 0)..=(slot, u64::MAX)).map(|(_, session)| *session)
    }

    /// Is a slot free for this session? First come, first served: those who waited longer go first.
    pub fn free(&self, session: SessionId, slot: Slot) -> bool {
        let room = self.room(slot);
        let mut first = self.line(slot).take(room);
        if self.waits.get(&session).is_some_and(|(kind, _)| *kind == slot) {
            return first.any(|other| other == session);
        }
        first.count() < room
    }

    /// Takes the slot that [`Governor::free`] promised. Returns who may try now: it may have stood in another line, and
    /// been the only one there who was told of a free slot.
    pub fn take(&mut self, session: SessionId, slot: Slot) -> Vec<SessionId> {
        let (left, held) = (self.step_out(session), self.give_back(session));
        self.held.insert(session, slot);
        *self.used.entry(slot).or_default() += 1;
        self.others(slot, [left, held])
    }

    /// A session that was read again: what it has in flight keeps its slot.
    pub fn keep(&mut self, session: &Session) {
        if let Some(attempt) = &session.running {
            self.take(session.id, crate::start::slot(&attempt.work));
        }
    }

    /// Remembers that this session waits for a slot. Returns who may try now, as [`Governor::take`] does.
    pub fn wait(&mut self, session: SessionId, slot: Slot) -> Vec<SessionId> {
        if self.waits.get(&session).is_some_and(|(kind, _)| *kind == slot) {
            return Vec::new();
        }
        let left = self.step_out(session);
        self.tickets += 1;
        self.waits.insert(session, (slot, self.tickets));
        self.lines.insert((slot, self.tickets), session);
        self.others(slot, [left, None])
    }

    /// Who stands first in the lines that were left for this one.
    fn others(&self, slot: Slot, left: [Option<Slot>; 2]) -> Vec<SessionId> {
        left.into_iter().flatten().filter(|other| *other != slot).flat_map(|other| self.next(other)).collect()
    }

    /// A session that wants nothing any more leaves its place in the line. Returns who may try now.
    pub fn leave(&mut self, session: SessionId) -> Vec<SessionId> {
        let left = self.step_out(session);
        left.map(|slot| self.next(slot)).unwrap_or_default()
    }

    /// Gives back what a session holds or waits for. Returns who may try now.
    pub fn release(&mut self, session: SessionId) -> Vec<SessionId> {
        let (left, held) = (self.step_out(session), self.give_back(session));
        let mut woken: Vec<SessionId> =
            [left, held].into_iter().flatten().flat_map(|slot| self.next(slot)).collect();
        woken.dedup();
        woken
    }

    /// Everybody who stands first in a line with room. Whoever has lost what a decision freed tells them all.
    pub fn ready(&self) -> Vec<SessionId> {
        [Slot::Model, Slot::Tool, Slot::Check, Slot::Workspace]
            .into_iter()
            .flat_map(|slot| self.next(slot))
            .collect()
    }

    fn next(&self, slot: Slot) -> Vec<SessionId> {
        self.line(slot).take(self.room(slot)).filter(|_| !contract::planted!(LostWakeUp)).collect()
    }

    fn step_out(&mut self, session: SessionId) -> Option<Slot> {
        let (slot, ticket) = self.waits.remove(&session)?;
        self.lines.remove(&(slot, ticket));
        Some(slot)
    }

    fn give_back(&mut self, session: SessionId) -> Option<Slot> {
        let slot = self.held.remove(&session)?;
        if let Some(used) = self.used.get_mut(&slot) {
            *used = used.saturating_sub(1);
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Slots = Slots { model: 1, tool: 1, check: 1, workspace: 1 };

    #[test]
    fn slots_are_bounded_and_served_in_order() {
        let mut governor = Governor::new(ONE);
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

    #[test]
    fn who_leaves_the_line_does_not_block_it() {
        let mut governor = Governor::new(ONE);
        let [a, b, c] = [1, 2, 3].map(SessionId);
        governor.take(a, Slot::Model);
        governor.wait(b, Slot::Model);
        governor.wait(c, Slot::Model);
        assert_eq!(governor.release(a), vec![b]);
        assert_eq!(governor.leave(b), vec![c], "b was told, wants nothing, and c is next");
        assert!(governor.free(c, Slot::Model));
    }

    #[test]
    fn who_could_try_is_known_also_when_nobody_was_told() {
        let mut governor = Governor::new(ONE);
        let [a, b] = [1, 2].map(SessionId);
        governor.take(a, Slot::Model);
        governor.wait(b, Slot::Model);
        assert!(governor.ready().is_empty());
        // The commit that freed it fails, and with it goes the word to `b`.
        drop(governor.release(a));
        assert!(governor.release(a).is_empty());
        assert_eq!(governor.ready(), vec![b]);
    }

    #[test]
    fn who_leaves_one_line_for_another_does_not_leave_a_free_slot_to_nobody() {
        let one = Slots { model: 1, tool: 1, check: 1, workspace: 1 };
        let [a, b, c, d] = [1, 2, 3, 4].map(SessionId);
        for waits in [false, true] {
            let mut governor = Governor::new(one);
            governor.take(a, Slot::Model);
            governor.wait(b, Slot::Model);
            governor.wait(c, Slot::Model);
            assert_eq!(governor.release(a), [b], "one slot, so one is told");
            let told = match waits {
                true => {
                    governor.take(d, Slot::Workspace);
                    governor.wait(b, Slot::Workspace)
                }
                false => governor.take(b, Slot::Workspace),
            };
            assert_eq!(told, [c], "who was told wants something else by now");
        }
    }

    #[test]
    fn a_session_stands_in_one_line_only() {
        let mut governor = Governor::new(ONE);
        let [a, b] = [1, 2].map(SessionId);
        governor.take(a, Slot::Model);
        governor.wait(b, Slot::Model);
        governor.wait(b, Slot::Tool);
        assert!(governor.release(a).is_empty());
        assert!(governor.free(a, Slot::Model));
        assert!(!governor.free(a, Slot::Tool), "b is first there");
    }
}
