//! What sessions share: slots of this process and the ledgers of its trees. All or nothing, in one breath.
//!
//! Never awaits anybody: it answers at once, and remembers who came away empty-handed. Start at [`Governor::take`].

use contract::{QuotaId, SessionId, StreamId};
use std::collections::BTreeMap;

use crate::Session;
use crate::further::Book;
use crate::ledger::Ledger;
use crate::quota::Load;

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

/// What somebody can stand in line for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// A slot of this process.
    Slot(Slot),
    /// A call under a key's limits.
    Quota(QuotaId),
}

/// Where somebody stands: whoever has less goes first, and among equals who came first.
pub type Rank = u64;

/// A place in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: Line,
    rank: Rank,
    ticket: u64,
    /// Tokens of the call it is for.
    tokens: u64,
}

/// The aggregate. Volatile: slots are given anew after a restart; ledgers are folds of their streams.
#[derive(Debug)]
pub struct Governor {
    slots: Slots,
    held: BTreeMap<SessionId, Slot>,
    used: BTreeMap<Slot, usize>,
    /// Who stands where in which line.
    waits: BTreeMap<SessionId, Place>,
    /// The lines in the order in which they are served.
    lines: BTreeMap<(Line, Rank, u64), SessionId>,
    tickets: u64,
    ledgers: BTreeMap<SessionId, Ledger>,
    /// The ledgers that sessions of many trees share.
    pub(crate) books: BTreeMap<StreamId, (u64, Book)>,
    /// The same as they were last read.
    pub(crate) read: BTreeMap<StreamId, Book>,
    /// How often one was read.
    pub(crate) loads: u64,
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
            read: BTreeMap::new(),
            loads: 0,
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

    /// The line a session stands in.
    pub fn stands(&self, session: SessionId) -> Option<Line> {
        self.waits.get(&session).map(|place| place.line)
    }

    /// Those in a line, first to be served first.
    pub fn line(&self, line: Line) -> impl Iterator<Item = SessionId> {
        self.lines.range((line, 0, 0)..=(line, Rank::MAX, u64::MAX)).map(|(_, session)| *session)
    }

    /// Those who are served before somebody of this rank: who stands in the line already keeps the better place.
    fn before(&self, session: SessionId, line: Line, rank: Rank) -> impl Iterator<Item = SessionId> {
        // The rank it would stand there with: it brings along the best one it had, also from another line.
        let place = self.waits.get(&session);
        let rank = place.map_or(rank, |place| place.rank.min(rank));
        let own = place.filter(|place| (place.line, place.rank) == (line, rank));
        let ticket = own.map_or(u64::MAX, |place| place.ticket);
        let ahead = self.lines.range((line, 0, 0)..(line, rank, ticket)).map(|(_, session)| *session);
        ahead.filter(move |other| *other != session)
    }

    /// Is a slot free for this session? Those of a better rank, or who waited longer, go first.
    pub fn free(&self, session: SessionId, slot: Slot, rank: Rank) -> bool {
        let room = self.room(slot);
        self.before(session, Line::Slot(slot), rank).take(room).count() < room
    }

    /// Calls that go before this session's, and their tokens.
    pub fn ahead(&self, session: SessionId, quota: QuotaId, rank: Rank) -> Load {
        let tokens = |id: SessionId| self.waits.get(&id).map_or(0, |place| place.tokens);
        let sum =
            |load: Load, id| Load { calls: load.calls + 1, tokens: load.tokens.saturating_add(tokens(id)) };
        self.before(session, Line::Quota(quota), rank).fold(Load::default(), sum)
    }

    /// Takes the slot that [`Governor::free`] promised. Returns who may try now: it may have stood in another line, and
    /// been the only one there who was told of a free slot.
    pub fn take(&mut self, session: SessionId, slot: Slot) -> Vec<SessionId> {
        let (left, held) = (self.step_out(session), self.give_back(session).map(Line::Slot));
        self.held.insert(session, slot);
        *self.used.entry(slot).or_default() += 1;
        self.others(Line::Slot(slot), [left, held])
    }

    /// A session that was read again: what it has in flight keeps its slot.
    pub fn keep(&mut self, session: &Session) {
        if let Some(attempt) = &session.running {
            self.take(session.id, crate::start::slot(&attempt.work));
        }
    }

    /// Remembers that this session waits in this line, for a call of so many tokens. It keeps the best rank it had.
    /// Returns who may try now, where it stood before.
    pub fn wait(&mut self, session: SessionId, line: Line, rank: Rank, tokens: u64) -> Vec<SessionId> {
        let old = self.waits.get(&session).copied();
        let rank = old.map_or(rank, |place| place.rank.min(rank));
        if let Some(place) = old.filter(|place| place.line == line && place.rank == rank) {
            self.waits.insert(session, Place { tokens, ..place });
            return Vec::new();
        }
        let left = self.step_out(session);
        self.tickets += 1;
        self.waits.insert(session, Place { line, rank, ticket: self.tickets, tokens });
        self.lines.insert((line, rank, self.tickets), session);
        self.others(line, [left, None])
    }

    /// Who stands first in the lines that were left for this one.
    fn others(&self, line: Line, left: [Option<Line>; 2]) -> Vec<SessionId> {
        left.into_iter().flatten().filter(|other| *other != line).flat_map(|other| self.next(other)).collect()
    }

    /// A session that wants nothing any more leaves its place in the line. Returns who may try now.
    pub fn leave(&mut self, session: SessionId) -> Vec<SessionId> {
        let left = self.step_out(session);
        left.map(|line| self.next(line)).unwrap_or_default()
    }

    /// Gives back what a session holds or waits for. Returns who may try now.
    pub fn release(&mut self, session: SessionId) -> Vec<SessionId> {
        let (left, held) = (self.step_out(session), self.give_back(session).map(Line::Slot));
        let mut woken: Vec<SessionId> =
            [left, held].into_iter().flatten().flat_map(|line| self.next(line)).collect();
        woken.dedup();
        woken
    }

    /// Everybody who stands first in a line with room. Whoever has lost what a decision freed tells them all.
    pub fn ready(&self) -> Vec<SessionId> {
        let slots = [Slot::Model, Slot::Tool, Slot::Check, Slot::Workspace].into_iter().map(Line::Slot);
        let quotas = self.books.keys().filter_map(|stream| match stream {
            StreamId::Quota(id) => Some(Line::Quota(*id)),
            _ => None,
        });
        slots.chain(quotas).flat_map(|line| self.next(line)).collect()
    }

    /// Who may try now. Who is first under a key's limits looks whether they allow it; those behind wait for that.
    pub fn next(&self, line: Line) -> Vec<SessionId> {
        let many = match line {
            Line::Slot(slot) => self.room(slot),
            Line::Quota(_) => 1,
        };
        self.line(line).take(many).filter(|_| !contract::planted!(LostWakeUp)).collect()
    }

    fn step_out(&mut self, session: SessionId) -> Option<Line> {
        let Place { line, rank, ticket, .. } = self.waits.remove(&session)?;
        self.lines.remove(&(line, rank, ticket));
        Some(line)
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
    use crate::traffic::Class;
    use contract::Timestamp;

    const ONE: Slots = Slots { model: 1, tool: 1, check: 1, workspace: 1 };

    #[test]
    fn slots_are_bounded_and_served_in_order() {
        let mut governor = Governor::new(ONE);
        let [a, b, c] = [1, 2, 3].map(SessionId);
        assert!(governor.free(a, Slot::Tool, 0));
        governor.take(a, Slot::Tool);
        assert!(governor.free(b, Slot::Check, 0), "another kind is not touched");
        assert!(!governor.free(b, Slot::Tool, 0));
        governor.wait(b, Line::Slot(Slot::Tool), 0, 0);
        governor.wait(c, Line::Slot(Slot::Tool), 0, 0);
        assert_eq!(governor.release(a), vec![b]);
        assert!(!governor.free(c, Slot::Tool, 0), "b waited longer");
        assert!(!governor.free(a, Slot::Tool, 0), "and so did c");
        assert!(governor.free(b, Slot::Tool, 0));
        governor.take(b, Slot::Tool);
        assert_eq!(governor.release(b), vec![c]);
    }

    #[test]
    fn who_leaves_the_line_does_not_block_it() {
        let mut governor = Governor::new(ONE);
        let [a, b, c] = [1, 2, 3].map(SessionId);
        governor.take(a, Slot::Model);
        governor.wait(b, Line::Slot(Slot::Model), 0, 0);
        governor.wait(c, Line::Slot(Slot::Model), 0, 0);
        assert_eq!(governor.release(a), vec![b]);
        assert_eq!(governor.leave(b), vec![c], "b was told, wants nothing, and c is next");
        assert!(governor.free(c, Slot::Model, 0));
    }

    #[test]
    fn who_could_try_is_known_also_when_nobody_was_told() {
        let mut governor = Governor::new(ONE);
        let [a, b] = [1, 2].map(SessionId);
        governor.take(a, Slot::Model);
        governor.wait(b, Line::Slot(Slot::Model), 0, 0);
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
            governor.wait(b, Line::Slot(Slot::Model), 0, 0);
            governor.wait(c, Line::Slot(Slot::Model), 0, 0);
            assert_eq!(governor.release(a), [b], "one slot, so one is told");
            let told = match waits {
                true => {
                    governor.take(d, Slot::Workspace);
                    governor.wait(b, Line::Slot(Slot::Workspace), 0, 0)
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
        governor.wait(b, Line::Slot(Slot::Model), 0, 0);
        governor.wait(b, Line::Slot(Slot::Tool), 0, 0);
        assert!(governor.release(a).is_empty());
        assert!(governor.free(a, Slot::Model, 0));
        assert!(!governor.free(a, Slot::Tool, 0), "b is first there");
    }

    #[test]
    fn ten_thousand_mixed_calls_go_in_order_and_one_that_leaves_is_gone() {
        const KEY: QuotaId = QuotaId(7);
        let line = Line::Quota(KEY);
        let mut governor = Governor::new(ONE);
        let mut expected: Vec<(Rank, u64, SessionId)> = Vec::new();
        for n in 0..10_000_u64 {
            // Classes as they come, the clock a millisecond on with every tenth.
            let class =
                [Class::Person, Class::Planning, Class::Execution, Class::Validation, Class::Background]
                    [(n * 2_654_435_761 % 5) as usize];
            let (session, rank) = (SessionId(u128::from(n)), class.rank(Timestamp(1_000_000 + n / 10)));
            governor.wait(session, line, rank, n % 100);
            expected.push((rank, n, session));
        }
        assert_eq!(governor.ahead(SessionId(77_777), KEY, Rank::MAX).calls, 10_000);
        let gone = SessionId(5_000);
        governor.leave(gone);
        expected.retain(|(_, _, session)| *session != gone);
        expected.sort();
        let mut popped = Vec::new();
        while let Some(first) = governor.next(line).pop() {
            assert_eq!(governor.ahead(first, KEY, Rank::MAX), Load::default());
            governor.take(first, Slot::Model);
            popped.push(first);
        }
        let expected: Vec<SessionId> = expected.into_iter().map(|(_, _, session)| session).collect();
        assert_eq!(popped, expected);
    }

    #[test]
    fn who_comes_from_another_line_with_a_better_rank_is_not_told_to_wait_behind_somebody_it_goes_before() {
        let (line, mut governor) = (Line::Quota(QuotaId(7)), Governor::new(ONE));
        let [old, new] = [1, 2].map(SessionId);
        governor.wait(old, line, 10, 0);
        governor.wait(new, Line::Slot(Slot::Model), 20, 0);
        assert!(governor.free(old, Slot::Model, 30), "it would stand first");
        assert!(governor.free(new, Slot::Model, 30));
        governor.wait(old, Line::Slot(Slot::Model), 30, 0);
        assert_eq!(governor.line(Line::Slot(Slot::Model)).collect::<Vec<_>>(), [old, new]);
    }

    #[test]
    fn nothing_starves_under_people_who_never_stop_asking() {
        let line = Line::Quota(QuotaId(7));
        let mut governor = Governor::new(ONE);
        let old = SessionId(u128::MAX);
        governor.wait(old, line, Class::Background.rank(Timestamp(0)), 0);
        // Two new calls of people with every second, one of them is served: the line only grows.
        let served = (0..10_000_u64).find(|second| {
            for n in 0..2 {
                let session = SessionId(u128::from(second * 2 + n));
                governor.wait(session, line, Class::Person.rank(Timestamp(second * 1_000)), 0);
            }
            let first = governor.next(line)[0];
            governor.take(first, Slot::Model);
            first == old
        });
        let lead = Class::Background.rank(Timestamp(0));
        assert!(served.is_some_and(|second| second * 1_000 <= 2 * lead + 1_000), "{served:?}");
    }

    #[test]
    fn who_waits_keeps_its_place_and_a_person_who_comes_in_improves_it() {
        let line = Line::Quota(QuotaId(7));
        let mut governor = Governor::new(ONE);
        let [a, b] = [1, 2].map(SessionId);
        governor.wait(a, line, Class::Execution.rank(Timestamp(10)), 5);
        governor.wait(b, line, Class::Background.rank(Timestamp(10)), 5);
        governor.wait(a, line, Class::Execution.rank(Timestamp(9_000)), 5);
        assert_eq!(governor.line(line).collect::<Vec<_>>(), [a, b]);
        governor.wait(b, line, Class::Person.rank(Timestamp(9_000)), 5);
        assert_eq!(governor.line(line).collect::<Vec<_>>(), [b, a]);
        assert_eq!(
            governor.ahead(a, QuotaId(7), Class::Execution.rank(Timestamp(9_001))),
            Load { calls: 1, tokens: 5 }
        );
        // Whoever changes lines makes room in the old one.
        assert_eq!(governor.wait(b, Line::Slot(Slot::Model), 0, 5), vec![a]);
    }
}
