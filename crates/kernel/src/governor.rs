//! What sessions share: slots of this process and the ledgers of its trees. All or nothing, in one breath.
//!
//! Never awaits anybody: it answers at once, and remembers who came away empty-handed. Start at [`Governor::take`].

use contract::{QuotaId, SessionId, StreamId};
use std::collections::{BTreeMap, BTreeSet};

use crate::Session;
use crate::further::Book;
use crate::ledger::Ledger;
use crate::pool::{Bundle, Pools, Whose};
use crate::pressure::Level;
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
    /// Files, connections and processes, all at once.
    Pool,
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
    /// What of the pools it is for.
    want: Bundle,
    whose: Whose,
}

/// The aggregate. Volatile: slots are given anew after a restart; ledgers are folds of their streams.
#[derive(Debug)]
pub struct Governor {
    slots: Slots,
    held: BTreeMap<SessionId, Slot>,
    used: BTreeMap<Slot, usize>,
    pools: Pools,
    level: Level,
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
            pools: Pools::new(Bundle { files: u64::MAX, net: u64::MAX, processes: u64::MAX }),
            level: Level::Normal,
            waits: BTreeMap::new(),
            lines: BTreeMap::new(),
            tickets: 0,
            ledgers: BTreeMap::new(),
            books: BTreeMap::new(),
            read: BTreeMap::new(),
            loads: 0,
        }
    }

    /// So much of the machine is shared from here on. For the beginning: who holds something keeps it.
    pub fn share(&mut self, most: Bundle) {
        self.pools = Pools::new(most);
    }

    /// How short the machine is from here on. Returns who may try now.
    pub fn press(&mut self, level: Level) -> Vec<SessionId> {
        let eased = level < self.level;
        self.level = level;
        if eased { self.ready() } else { Vec::new() }
    }

    /// How short the machine is.
    pub fn level(&self) -> Level {
        self.level
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

    /// Slots of this kind that nobody holds, as far as the machine allows them.
    fn room(&self, slot: Slot, whose: Whose) -> usize {
        let most = match (self.level, whose) {
            (Level::Emergency, _) | (Level::Critical, Whose::Work) => 0,
            (Level::Warn, Whose::Work) => self.slots.of(slot).div_ceil(2),
            _ => self.slots.of(slot),
        };
        most.saturating_sub(self.used.get(&slot).copied().unwrap_or(0))
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
        self.free_for(session, slot, rank, Whose::Work)
    }

    /// The same for somebody a person may wait for: those whom the machine holds back are not in its way.
    pub fn free_for(&self, session: SessionId, slot: Slot, rank: Rank, whose: Whose) -> bool {
        let room = self.room(slot, whose);
        let held_back = |other: &SessionId| self.level >= Level::Critical && self.whose(*other) > whose;
        let before = self.before(session, Line::Slot(slot), rank).filter(|other| !held_back(other));
        before.take(room).count() < room
    }

    /// Is all of this free for this session? What those of a better place want is theirs; a person has a share.
    pub fn fits(&self, session: SessionId, want: Bundle, rank: Rank, whose: Whose) -> bool {
        let before = self.before(session, Line::Pool, rank).filter(|other| self.whose(*other) <= whose);
        let ahead = before.fold(Bundle::NONE, |sum, other| sum.plus(self.wants(other)));
        self.pools.fits(want, ahead, whose)
    }

    fn whose(&self, session: SessionId) -> Whose {
        self.waits.get(&session).map_or(Whose::Work, |place| place.whose)
    }

    fn wants(&self, session: SessionId) -> Bundle {
        self.waits.get(&session).map_or(Bundle::NONE, |place| place.want)
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
        self.take_with(session, slot, Bundle::NONE, Whose::Work)
    }

    /// The same with what [`Governor::fits`] promised.
    pub fn take_with(
        &mut self,
        session: SessionId,
        slot: Slot,
        want: Bundle,
        whose: Whose,
    ) -> Vec<SessionId> {
        let (left, held) = (self.step_out(session), self.give_back(session).map(Line::Slot));
        let pool = self.pools.give_back(session).then_some(Line::Pool);
        self.held.insert(session, slot);
        *self.used.entry(slot).or_default() += 1;
        self.pools.take(session, want, whose);
        self.others(Line::Slot(slot), [left, held, pool])
    }

    /// A session that was read again: what it has in flight keeps its slot.
    pub fn keep(&mut self, session: &Session) {
        if let Some(attempt) = &session.running {
            let want = crate::start::bundle(&attempt.work);
            self.take_with(session.id, crate::start::slot(&attempt.work), want, Whose::Work);
        }
    }

    /// Remembers that this session waits in this line, for a call of so many tokens. It keeps the best rank it had.
    /// Returns who may try now, where it stood before.
    pub fn wait(&mut self, session: SessionId, line: Line, rank: Rank, tokens: u64) -> Vec<SessionId> {
        self.wait_with(session, line, rank, tokens, Bundle::NONE, Whose::Work)
    }

    /// The same for all of this of the pools.
    pub fn wait_with(
        &mut self,
        session: SessionId,
        line: Line,
        rank: Rank,
        tokens: u64,
        want: Bundle,
        whose: Whose,
    ) -> Vec<SessionId> {
        let old = self.waits.get(&session).copied();
        let rank = old.map_or(rank, |place| place.rank.min(rank));
        if let Some(place) = old.filter(|place| place.line == line && place.rank == rank) {
            self.waits.insert(session, Place { tokens, want, whose, ..place });
            return Vec::new();
        }
        let left = self.step_out(session);
        self.tickets += 1;
        self.waits.insert(session, Place { line, rank, ticket: self.tickets, tokens, want, whose });
        self.lines.insert((line, rank, self.tickets), session);
        self.others(line, [left, None, None])
    }

    /// Who stands first in the lines that were left for this one.
    fn others(&self, line: Line, left: [Option<Line>; 3]) -> Vec<SessionId> {
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
        let pool = self.pools.give_back(session).then_some(Line::Pool);
        let mut woken: Vec<SessionId> =
            [left, held, pool].into_iter().flatten().flat_map(|line| self.next(line)).collect();
        woken.dedup();
        woken
    }

    /// The rank a session has in its line, when it would have this one if it came now.
    pub fn rank_of(&self, session: SessionId, rank: Rank) -> Rank {
        self.waits.get(&session).map_or(rank, |place| place.rank.min(rank))
    }

    /// How long a session has stood in its line, when it would stand there with this rank if it came now, milliseconds.
    pub fn waited(&self, session: SessionId, rank: Rank) -> u64 {
        self.waits.get(&session).map_or(0, |place| rank.saturating_sub(place.rank))
    }

    /// Everybody who stands first in a line with room. Whoever has lost what a decision freed tells them all.
    pub fn ready(&self) -> Vec<SessionId> {
        let slots = [Slot::Model, Slot::Tool, Slot::Check, Slot::Workspace].into_iter().map(Line::Slot);
        // The lines themselves: the ledger behind one may be lost, and is read again by who looks.
        let keys = self.lines.keys().map(|(line, ..)| *line).filter(|line| matches!(line, Line::Quota(_)));
        let quotas: BTreeSet<Line> = keys.collect();
        slots.chain([Line::Pool]).chain(quotas).flat_map(|line| self.next(line)).collect()
    }

    /// Who may try now. Who is first under a key's limits looks whether they allow it; those behind wait for that.
    pub fn next(&self, line: Line) -> Vec<SessionId> {
        let mut told = match line {
            Line::Slot(slot) => {
                let rooms = [Whose::Person, Whose::Work].map(|whose| self.room(slot, whose));
                let mut told = Vec::new();
                for session in self.line(line) {
                    if told.len() >= rooms[0] {
                        break;
                    }
                    if told.len() < rooms[self.whose(session) as usize] {
                        told.push(session);
                    }
                }
                told
            }
            Line::Pool => self.fitting(),
            Line::Quota(_) => self.line(line).take(1).collect(),
        };
        told.retain(|_| !contract::planted!(LostWakeUp));
        told
    }

    /// Those whose bundle fits now, after what those ahead of them want; a person has only people ahead.
    fn fitting(&self) -> Vec<SessionId> {
        let (mut people, mut all, mut told) = (Bundle::NONE, Bundle::NONE, Vec::new());
        for session in self.line(Line::Pool) {
            let (want, whose) = (self.wants(session), self.whose(session));
            let ahead = if whose == Whose::Person { people } else { all };
            if self.pools.fits(want, ahead, whose) {
                told.push(session);
            }
            all = all.plus(want);
            if whose == Whose::Person {
                people = people.plus(want);
            }
        }
        told
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
    fn a_thousand_bundles_are_held_whole_or_not_at_all_and_everybody_has_its_turn() {
        use std::collections::BTreeSet;
        const MOST: Bundle = Bundle { files: 100, net: 10, processes: 4 };
        let wide = Slots { model: 5_000, tool: 5_000, check: 5_000, workspace: 5_000 };
        for seed in 1..=3_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut below = |n: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % n
            };
            let mut governor = Governor::new(wide);
            governor.share(MOST);
            let whose = |n: u64| if n.is_multiple_of(7) { Whose::Person } else { Whose::Work };
            let wants: Vec<Bundle> = (0..1_000)
                .map(|_| Bundle { files: below(130), net: below(12), processes: below(6) })
                .collect();
            let (mut next, mut done) = (0, 0);
            let (mut trying, mut running) = (BTreeSet::new(), Vec::new());
            let mut sum = Bundle::NONE;
            while done < wants.len() {
                // Some come, some end, in any order; nobody tries but who comes or is told.
                if next < wants.len() as u64 && (running.is_empty() || below(3) > 0) {
                    trying.insert(SessionId(u128::from(next)));
                    next += 1;
                } else if !running.is_empty() {
                    let (ended, _): (SessionId, Bundle) =
                        running.swap_remove(below(running.len() as u64) as usize);
                    done += 1;
                    trying.extend(governor.release(ended));
                }
                while let Some(session) = trying.pop_first() {
                    let n = session.0 as u64;
                    let (want, whose) = (wants[n as usize], whose(n));
                    if running.iter().any(|(other, _)| *other == session) {
                        continue;
                    }
                    if governor.fits(session, want, 0, whose) {
                        trying.extend(governor.take_with(session, Slot::Tool, want, whose));
                        running.push((session, want));
                    } else {
                        trying.extend(governor.wait_with(session, Line::Pool, 0, 0, want, whose));
                    }
                }
                // What is held is never more than there is; what was wanted beyond it is not counted.
                let holds = |(id, want): &(SessionId, Bundle)| match whose(id.0 as u64) {
                    Whose::Person => [want.files.min(100), want.net.min(10), want.processes.min(4)],
                    Whose::Work => [want.files.min(80), want.net.min(8), want.processes.min(3)],
                };
                sum = running.iter().map(holds).fold(Bundle::NONE, |sum, [files, net, processes]| {
                    sum.plus(Bundle { files, net, processes })
                });
                assert!(sum.at_least(MOST) == MOST, "seed {seed}: {sum:?}");
                assert!(
                    !running.is_empty() || next < wants.len() as u64 || done == wants.len(),
                    "seed {seed}: stuck"
                );
            }
            assert_eq!((governor.line(Line::Pool).count(), done), (0, 1_000), "{sum:?}");
        }
    }

    #[test]
    fn what_the_machine_holds_back_goes_on_when_it_eases() {
        let mut governor = Governor::new(Slots { model: 4, tool: 4, check: 4, workspace: 4 });
        let [a, b, c] = [1, 2, 3].map(SessionId);
        let wait = |governor: &mut Governor, id, whose| {
            governor.wait_with(id, Line::Slot(Slot::Tool), 0, 0, Bundle::NONE, whose)
        };
        assert!(governor.press(Level::Emergency).is_empty());
        for (id, whose) in [(a, Whose::Work), (b, Whose::Work), (c, Whose::Person)] {
            assert!(!governor.free_for(id, Slot::Tool, 0, whose), "nothing begins");
            wait(&mut governor, id, whose);
        }
        assert_eq!(governor.press(Level::Critical), [c], "a person's goes first, though it came last");
        assert!(governor.free_for(c, Slot::Tool, 0, Whose::Person) && !governor.free(a, Slot::Tool, 0));
        governor.take_with(c, Slot::Tool, Bundle::NONE, Whose::Person);
        assert_eq!(governor.press(Level::Warn), [a], "half of the slots");
        governor.take(a, Slot::Tool);
        assert!(!governor.free(b, Slot::Tool, 0));
        assert_eq!(governor.press(Level::Normal), [b]);
        assert!(governor.free(b, Slot::Tool, 0));
        // Being looked at again and again, at the same level, tells nobody anything new.
        assert!(governor.press(Level::Normal).is_empty());
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
        // Also in the line of a key whose ledger is not at hand.
        governor.wait(b, Line::Quota(QuotaId(7)), 0, 0);
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
