//! One process: a governor, the sessions it holds, their actions in flight. The engine's shell without its runtime.
//!
//! Decides and commits by the engine's own `commit::step`, leases by its `lease::Leases`; what is here is only the
//! order in which letters are taken. Start at [`Node::step`].

use crate::kinds::Cover;
use crate::store::{Handle, Health};
use contract::action::{Effect, Outcome, Run};
use contract::journal::{Error, Journal};
use contract::{SessionId, StreamId, Timestamp, limits};
use engine::commit::{self, Committed, Host};
use engine::core::{Core, Moment};
use engine::lease::Leases;
use engine::store;
use kernel::governor::Slots;
use kernel::{Governor, Input};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use journal::conformance::block_on as wait;

/// An action in flight.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) run: Run,
    /// When its end is told; `None`: never.
    pub(crate) ends: Option<Timestamp>,
    /// When its effect shows outside; `None`: at its end, if at all.
    pub(crate) effect_at: Option<Timestamp>,
    pub(crate) took_effect: bool,
    /// False: the executor could not even begin it.
    pub(crate) begun: bool,
    pub(crate) cancelled: bool,
    /// Its end is in the mailbox.
    pub(crate) told: bool,
}

/// A session as its arbiter has it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) core: Core,
    pub(crate) first: Option<Input>,
    pub(crate) flight: Option<Flight>,
    pub(crate) wake_at: Option<Timestamp>,
    /// Outcomes in the mailbox.
    pub(crate) outcomes: VecDeque<Outcome>,
    pub(crate) poked: bool,
    /// It looks into its inbox before it waits again.
    pub(crate) inbox: bool,
    /// It has not heard its inbox since it was taken over.
    pub(crate) taking_over: bool,
    pub(crate) stop: bool,
    pub(crate) lost: bool,
}

impl Held {
    pub(crate) fn new(core: Core, first: Input) -> Self {
        Self {
            core,
            first: Some(first),
            flight: None,
            wake_at: None,
            outcomes: VecDeque::new(),
            poked: false,
            inbox: false,
            taking_over: false,
            stop: false,
            lost: false,
        }
    }

    /// Does its arbiter have something to do at this moment?
    pub(crate) fn due(&self, now: Timestamp) -> bool {
        let timer = self.wake_at.is_some_and(|at| at <= now);
        let mail = self.poked || self.inbox || self.stop || self.lost || !self.outcomes.is_empty();
        self.first.is_some() || mail || timer
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) handle: Arc<Handle>,
    governor: Mutex<Governor>,
    moment: Mutex<Moment>,
    pokes: Mutex<Vec<SessionId>>,
    pub(crate) held: BTreeMap<SessionId, Held>,
    pub(crate) leases: Leases,
    pub(crate) alive: bool,
    /// It goes down in order: nothing new starts.
    pub(crate) closing: bool,
    /// It does not move before this moment: suspended, swapped out, a closed lid.
    pub(crate) stalled_until: Timestamp,
    /// What its clock is ahead (or behind), milliseconds.
    pub(crate) skew: i64,
    pub(crate) renew_at: Timestamp,
    /// The inbox is looked at for all sessions here from this moment on.
    pub(crate) poll_at: Timestamp,
    /// Mail it has seen, of all there was.
    pub(crate) mail_seen: u64,
    /// Sessions to attend, and whether only to settle them.
    pub(crate) wakes: Vec<(SessionId, bool)>,
}

/// What became of a step.
#[derive(Debug)]
pub(crate) enum After {
    /// It is committed; these runs begin.
    Ran(Vec<Run>),
    /// This process no longer executes the session.
    Dropped(Error),
    /// It did not hold it.
    Gone,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host for Node {
    fn journal(&self) -> &dyn Journal {
        &*self.handle
    }

    fn governor(&self) -> MutexGuard<'_, Governor> {
        lock(&self.governor)
    }

    fn moment(&self) -> Moment {
        *lock(&self.moment)
    }

    fn poke_all(&self, sessions: Vec<SessionId>) {
        lock(&self.pokes).extend(sessions);
    }
}

impl Node {
    pub(crate) fn new(name: String, handle: Arc<Handle>, slots: u64, now: Timestamp) -> Self {
        let most = slots as usize;
        let slots = Slots { model: most, tool: most, check: most, workspace: most };
        Self {
            name,
            handle,
            governor: Mutex::new(Governor::new(slots)),
            moment: Mutex::new(Moment { now, random: 0 }),
            pokes: Mutex::default(),
            held: BTreeMap::new(),
            leases: Leases::default(),
            alive: true,
            closing: false,
            stalled_until: Timestamp(0),
            skew: 0,
            renew_at: Timestamp(0),
            poll_at: Timestamp(0),
            mail_seen: 0,
            wakes: Vec::new(),
        }
    }

    pub(crate) fn moves(&self, now: Timestamp) -> bool {
        self.alive && now >= self.stalled_until
    }

    /// The wall clock as this process sees it.
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add_signed(self.skew))
    }

    /// Writes fail for good: it is of no use any more.
    pub(crate) fn failed(&self) -> bool {
        self.handle.health() == Health::Failed
    }

    pub(crate) fn set_moment(&self, moment: Moment) {
        *lock(&self.moment) = moment;
    }

    /// One input of one session, as its arbiter takes it.
    pub(crate) fn step(&mut self, id: SessionId, input: Input, rows: Vec<u64>, cover: &mut Cover) -> After {
        let Some(mut held) = self.held.remove(&id) else { return After::Gone };
        cover.met(&input);
        let done = wait(commit::step(self, &mut held.core, input, Vec::new(), rows));
        self.held.insert(id, held);
        let after = match done {
            Ok(committed) => After::Ran(self.dispatch(id, committed)),
            Err(error) => {
                cover.met(&error);
                self.let_go(id, false);
                After::Dropped(error)
            }
        };
        self.hand_out_pokes();
        after
    }

    fn hand_out_pokes(&mut self) {
        for id in std::mem::take(&mut *lock(&self.pokes)) {
            if let Some(held) = self.held.get_mut(&id) {
                held.poked = true;
            }
        }
    }

    /// Wakes a session that is here; others are to be attended.
    pub(crate) fn wake(&mut self, id: SessionId, settle: bool) {
        match self.held.get_mut(&id) {
            Some(held) => held.poked = true,
            None => self.wakes.push((id, settle)),
        }
    }

    fn dispatch(&mut self, id: SessionId, committed: Committed) -> Vec<Run> {
        let mut runs = Vec::new();
        let Some(held) = self.held.get_mut(&id) else { return runs };
        let (step, settle) = (committed.step, held.core.hold);
        held.wake_at = step.wake_at;
        let mut woken = Vec::new();
        for effect in step.effects {
            match effect {
                Effect::Run(run) => runs.push(*run),
                Effect::Cancel { action, .. } => {
                    if let Some(flight) = held.flight.as_mut().filter(|f| f.run.action == action) {
                        flight.cancelled = true;
                    }
                }
                Effect::Wake(session) => woken.push(session),
            }
        }
        if step.snapshot {
            self.snapshot(id);
        }
        for stream in step.snapshots {
            let _ = wait(store::snapshot_book(&*self.handle, stream));
        }
        woken.into_iter().for_each(|session| self.wake(session, settle));
        runs
    }

    /// A cache: when it cannot be written, nothing is lost.
    fn snapshot(&self, id: SessionId) {
        let Some(held) = self.held.get(&id) else { return };
        let (state, root) = (&held.core.state, held.core.state.root());
        let _ = wait(store::snapshot(&*self.handle, StreamId::Session(id), state.seq, state));
        if let Ok(ledger) = wait(store::ledger(&*self.handle, root))
            && ledger.seq >= limits::SNAPSHOT_EVENTS
        {
            let _ = wait(store::snapshot(&*self.handle, StreamId::Tree(root), ledger.seq, &ledger));
        }
    }

    /// Its arbiter stops: what it held is given back. The action in flight, if any, is killed by the caller.
    pub(crate) fn let_go(&mut self, id: SessionId, sound: bool) {
        let woken = lock(&self.governor).release(id);
        self.poke_all(woken);
        let Some(held) = self.held.get(&id) else { return };
        if sound && held.core.unsnapped() >= limits::SNAPSHOT_EVENTS {
            self.snapshot(id);
        }
        if let Some(lease) = self.leases.remove(id) {
            // The lease lapses by itself.
            let _ = wait(self.handle.release(lease));
        }
        self.hand_out_pokes();
    }

    /// Prolongs what it holds; tells the arbiters whose session is another one's now.
    pub(crate) fn renew(&mut self, now: Timestamp, cover: &mut Cover) {
        self.renew_at = now.plus(limits::LEASE_MS / 3);
        match wait(self.leases.renew(&*self.handle, self.clock(now))) {
            Ok(lost) => {
                for id in lost {
                    if let Some(held) = self.held.get_mut(&id) {
                        held.lost = true;
                    }
                }
            }
            Err(error) => cover.met(&error),
        }
    }

    /// Looks for mail from elsewhere.
    pub(crate) fn poll(&mut self, now: Timestamp, mail: u64, cover: &mut Cover) {
        self.poll_at = now.plus(limits::INBOX_POLL_MS);
        match wait(self.handle.inbox_sessions()) {
            Ok(sessions) => {
                self.mail_seen = mail;
                for id in sessions {
                    if let Some(held) = self.held.get_mut(&id) {
                        held.poked = true;
                    }
                }
            }
            Err(error) => cover.met(&error),
        }
    }
}
