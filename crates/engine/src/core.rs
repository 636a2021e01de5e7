//! One step of one session, without waiting for anything: input in, a batch to commit and effects out.
//!
//! The arbiter and the simulator drive this very code. Knows the kernel and how events become records; not how a
//! batch is committed. After a failed commit the state here is ahead of the journal: reload it. Start at [`Core::step`].

use contract::action::Effect;
use contract::event::Event;
use contract::journal::{Append, Batch};
use contract::{Fence, StreamId, Timestamp, limits, record};
use kernel::further::Further;
use kernel::{Ctx, Decision, Governor, Illegal, Input, Session};

/// A session as one process holds it.
#[derive(Debug)]
pub struct Core {
    /// The fold.
    pub state: Session,
    /// The lease it is held under.
    pub fence: Fence,
    /// Nothing new starts.
    pub hold: bool,
    /// Events since the newest snapshot, and when the first of them came.
    fresh: (u64, Option<Timestamp>),
}

/// What a step wants committed and done.
#[derive(Debug, Default)]
pub struct Step {
    /// Everything that becomes durable together.
    pub batch: Batch,
    /// What to do afterwards.
    pub effects: Vec<Effect>,
    /// When to look again.
    pub wake_at: Option<Timestamp>,
    /// The events of this session, for who wants to look at them.
    pub events: Vec<Event>,
    /// A snapshot is due after the commit.
    pub snapshot: bool,
    /// Ledgers of which one is due.
    pub snapshots: Vec<StreamId>,
}

impl Step {
    /// True when there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        let batch = &self.batch;
        batch.appends.is_empty()
            && batch.submit.is_empty()
            && batch.consume.is_empty()
            && batch.blobs.is_empty()
    }
}

/// The values a step needs from outside.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The wall clock.
    pub now: Timestamp,
    /// Fresh random bits.
    pub random: u128,
}

impl Core {
    /// A session as it was read, held under this lease.
    pub fn new(state: Session, fence: Fence) -> Self {
        Self { state, fence, hold: false, fresh: (0, None) }
    }

    /// Decides, and puts what was decided into a batch: this session, its tree's ledger, children, mail to others.
    pub fn step(&mut self, governor: &mut Governor, input: Input, moment: Moment) -> Result<Step, Illegal> {
        let (before, root) = (self.state.seq, self.state.root());
        let ctx = Ctx { now: moment.now, random: moment.random, fence: self.fence, hold: self.hold };
        let decision = kernel::decide(&mut self.state, governor, input, &ctx)?;
        let mut appends = Vec::new();
        if !decision.events.is_empty() {
            appends.push(Append {
                stream: StreamId::Session(self.state.id),
                expected: before,
                fence: Some(self.fence),
                records: record::encode_all(before, moment.now, &decision.events),
                ended: self.state.phase == kernel::fsm::Phase::Ended,
            });
        }
        if decision.ledger.is_empty()
            && decision.events.iter().any(wants_budget)
            && !contract::planted!(StaleNo)
        {
            // A no holds only while the budget is what was looked at: nothing is written, but the place is checked.
            let (stream, expected) = (StreamId::Tree(root), governor.ledger(root).seq);
            appends.push(Append { stream, expected, fence: None, records: Vec::new(), ended: false });
        }
        if !decision.ledger.is_empty() {
            let after = governor.ledger(root).seq;
            let expected = after - decision.ledger.len() as u64;
            let records = record::encode_all(expected, moment.now, &decision.ledger);
            appends.push(Append {
                stream: StreamId::Tree(root),
                expected,
                fence: None,
                records,
                ended: false,
            });
        }
        let snapshots = self.further(governor, &decision, moment.now, &mut appends);
        for (child, events) in &decision.children {
            let records = record::encode_all(0, moment.now, events);
            let stream = StreamId::Session(*child);
            appends.push(Append { stream, expected: 0, fence: None, records, ended: false });
        }
        let batch = Batch { appends, blobs: Vec::new(), submit: decision.submit, consume: Vec::new() };
        let snapshot = self.snapshot_due(decision.events.len() as u64, moment.now);
        Ok(Step {
            batch,
            effects: decision.effects,
            wake_at: decision.wake_at,
            events: decision.events,
            snapshot,
            snapshots,
        })
    }

    /// The ledgers that sessions of many trees share: new facts, and places that must still be what they were. Returns
    /// those that have grown enough for a snapshot.
    fn further(
        &self,
        governor: &Governor,
        decision: &Decision,
        now: Timestamp,
        appends: &mut Vec<Append>,
    ) -> Vec<StreamId> {
        let mut due = Vec::new();
        for Further { stream, facts } in &decision.further {
            let after = governor.seq(*stream);
            let expected = after - facts.count();
            let records = facts.records(expected, now);
            appends.push(Append { stream: *stream, expected, fence: None, records, ended: false });
            if expected / limits::SNAPSHOT_SHARED_EVENTS != after / limits::SNAPSHOT_SHARED_EVENTS {
                due.push(*stream);
            }
        }
        let written = |stream: &StreamId| decision.further.iter().any(|further| further.stream == *stream);
        for stream in decision.looked.iter().filter(|stream| !written(stream)) {
            let expected = governor.seq(*stream);
            let records = Vec::new();
            appends.push(Append { stream: *stream, expected, fence: None, records, ended: false });
        }
        due
    }

    /// After some seconds of activity with enough new events, and whenever the session comes to rest.
    fn snapshot_due(&mut self, events: u64, now: Timestamp) -> bool {
        let (count, since) = &mut self.fresh;
        *count += events;
        let since = *since.get_or_insert(now);
        let active = *count >= limits::SNAPSHOT_EVENTS && now.since(since) >= limits::SNAPSHOT_MS;
        // Waiting for a person is rest too: it may last for days, and be taken up by another process.
        let waits = self.state.waiting(now).is_some() || self.state.held_up(now).is_some();
        let rests = self.state.phase != kernel::fsm::Phase::Active || waits;
        let resting = events > 0 && *count >= limits::SNAPSHOT_EVENTS && rests;
        if active || resting {
            self.fresh = (0, None);
        }
        active || resting
    }

    /// Events that no snapshot contains.
    pub fn unsnapped(&self) -> u64 {
        self.fresh.0
    }
}

/// Does this say that the budget does not suffice?
fn wants_budget(event: &Event) -> bool {
    match event {
        Event::Paused { why, .. } => why == "budget",
        Event::Ended { code, .. } => *code == BUDGET_CODE,
        _ => false,
    }
}

/// Exit code of a session that its budget has ended (DESIGN section 7).
const BUDGET_CODE: u8 = 7;
