//! The world around the sessions: processes that die and stall, a store that fails, people who type, time that jumps.
//!
//! Start at [`World::run`]: a phase with faults, then one without in which everything must come to an end.

use crate::actors;
use crate::cover::Cover;
use crate::node::{After, Flight, Held, Node, now};
use crate::promises;
use crate::rng::Rng;
use contract::action::{End, Outcome, Run, Work};
use contract::event::Event;
use contract::intent::{Intent, Source, Wish};
use contract::journal::Journal;
use contract::record::Record;
use contract::{SessionId, StreamId, Timestamp, limits};
use engine::core::{Core, Moment};
use engine::store;
use journal::{Inject, Memory, Op};
use kernel::{Input, Session};
use std::collections::{BTreeMap, BTreeSet};

/// Known bugs, put into the world around the kernel to see whether the promises notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A second process executes without having the lease.
    NoLease,
    /// An effect starts before its commit.
    EffectFirst,
    /// An external effect is taken for one that may run again.
    WrongClass,
    /// What was acknowledged was not on the disk.
    AckBeforeSync,
    /// A late outcome is passed off as the current attempt's.
    StaleApplied,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NoLease, Self::EffectFirst, Self::WrongClass, Self::AckBeforeSync, Self::StaleApplied];
}

/// How rough this seed is: each drawn once (swarm testing, Groce et al. 2012).
#[derive(Debug, Clone, Copy)]
struct Swarm {
    nodes: u64,
    crash: u64,
    stall: u64,
    store_faults: u64,
    failures: u64,
    duplicates: u64,
    jumps: u64,
    person: u64,
}

/// One seed's world.
#[derive(Debug)]
pub struct World {
    rng: Rng,
    now: Timestamp,
    plant: Option<Plant>,
    swarm: Swarm,
    eyes: Memory,
    nodes: Vec<Node>,
    sessions: BTreeSet<SessionId>,
    /// How often each external call really happened.
    effects: BTreeMap<(SessionId, String), u64>,
    /// Outcomes that are delivered once more, late.
    echoes: Vec<(SessionId, Outcome)>,
    resumed: BTreeMap<SessionId, u32>,
    /// Where every stream stood when somebody was last told so.
    acknowledged: BTreeMap<SessionId, u64>,
    calm: bool,
    /// Scheduler steps taken.
    pub steps: u64,
    /// What was met.
    pub cover: Cover,
}

impl World {
    /// A world of this seed with its first sessions open.
    pub fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut rng = Rng::new(seed);
        let mut up_to = |n: u64| rng.below(n + 1);
        let swarm = Swarm {
            nodes: 1 + up_to(2),
            crash: up_to(8),
            stall: up_to(8),
            store_faults: up_to(10),
            failures: up_to(200),
            duplicates: up_to(100),
            jumps: up_to(5),
            person: 5 + up_to(60),
        };
        let eyes = Memory::new();
        let mut world = Self {
            rng,
            now: Timestamp(1_800_000_000_000),
            plant,
            swarm,
            nodes: Vec::new(),
            eyes,
            sessions: BTreeSet::new(),
            effects: BTreeMap::new(),
            echoes: Vec::new(),
            resumed: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            calm: false,
            steps: 0,
            cover: Cover::default(),
        };
        for n in 0..swarm.nodes {
            let store = world.store();
            world.nodes.push(Node::new(format!("node-{n}"), store));
        }
        world
    }

    /// Faults for this many steps, then none until everything has come to rest. Err: the promise that was broken.
    pub fn run(&mut self, steps: u64) -> Result<(), String> {
        for _ in 0..1 + self.rng.below(4) {
            self.open()?;
        }
        for _ in 0..steps {
            self.one_step()?;
        }
        self.calm = true;
        for n in 0..self.nodes.len() {
            self.restart(n)?;
        }
        for _ in 0..20_000 {
            if self.at_rest()? {
                return promises::at_rest(&self.eyes, &self.sessions);
            }
            self.one_step()?;
        }
        let stuck = self.unfinished()?;
        let tails: Vec<String> = stuck.iter().map(|&id| promises::tail(&self.eyes, id)).collect();
        Err(format!("liveness: {} session(s) never come to an end:\n{}", stuck.len(), tails.join("\n")))
    }

    /// A hash over everything stored, and how many events that is.
    pub fn trace(&self) -> (String, u64) {
        let (mut hasher, mut count) = (blake3::Hasher::new(), 0);
        let roots: BTreeSet<StreamId> =
            self.sessions.iter().flat_map(|&id| [StreamId::Session(id), StreamId::Tree(id)]).collect();
        for stream in roots {
            for stored in now(self.eyes.read(stream, 0, usize::MAX)).unwrap_or_default() {
                hasher.update(&stored.bytes);
                count += 1;
            }
        }
        (hasher.finalize().to_hex()[..16].to_owned(), count)
    }

    fn store(&mut self) -> Memory {
        let store = self.eyes.peer();
        if self.calm || self.swarm.store_faults == 0 {
            return store;
        }
        let (mut rng, rate) = (Rng::new(self.rng.next()), self.swarm.store_faults);
        store.set_faults(move |_, op| {
            let hit = rng.chance(rate);
            let durable = rng.chance(500);
            let faults =
                [Inject::Lost, Inject::ReplyLost, Inject::Conflict, Inject::Io { durable }, Inject::Full];
            let fault = *rng.pick(&faults)?;
            (hit && op == Op::Append).then_some(fault)
        });
        store
    }

    fn moment(&mut self) -> Moment {
        Moment { now: self.now, random: self.rng.wide() }
    }

    fn one_step(&mut self) -> Result<(), String> {
        self.steps += 1;
        self.now = self.now.plus(1 + self.rng.below(40));
        if !self.calm {
            self.disturb()?;
        }
        if self.rng.chance(if self.calm { 200 } else { self.swarm.person }) {
            self.person()?;
        }
        for n in 0..self.nodes.len() {
            self.wakes(n)?;
        }
        let moving: Vec<usize> = (0..self.nodes.len()).filter(|&n| self.nodes[n].moves(self.now)).collect();
        let Some(&n) = self.rng.pick(&moving) else {
            self.now = self.now.plus(500);
            return Ok(());
        };
        self.adopt_orphans(n)?;
        let held: Vec<SessionId> = self.nodes[n].held.keys().copied().collect();
        let Some(&id) = self.rng.pick(&held) else { return Ok(()) };
        self.turn(n, id)
    }

    /// Something goes wrong outside.
    fn disturb(&mut self) -> Result<(), String> {
        let n = self.rng.below(self.nodes.len() as u64) as usize;
        if self.rng.chance(self.swarm.crash) && self.nodes[n].alive {
            self.cover.met("fault crash");
            self.die(n)?;
        }
        if self.rng.chance(30) && !self.nodes[n].alive {
            self.restart(n)?;
        }
        if self.rng.chance(self.swarm.stall) {
            self.cover.met("fault stall");
            self.nodes[n].stalled_until = self.now.plus(self.rng.below(3 * limits::LEASE_MS));
        }
        if self.rng.chance(self.swarm.jumps) {
            self.cover.met("fault clock jump");
            let by = self.rng.below(600_000);
            self.now = if self.rng.chance(500) {
                self.now.plus(by)
            } else {
                Timestamp(self.now.0.saturating_sub(by))
            };
        }
        Ok(())
    }

    /// One thing happens to one session: an outcome, mail, a timer, a renewal.
    fn turn(&mut self, n: usize, id: SessionId) -> Result<(), String> {
        self.renew(n, id);
        let (now_, Some(held)) = (self.now, self.nodes[n].held.get_mut(&id)) else { return Ok(()) };
        if let Some(flight) = held.flight.clone() {
            if now_ >= flight.ends || flight.cancelled {
                return self.land(n, id, flight);
            }
            if !flight.took_effect && self.rng.chance(300) {
                if let Some(flight) = self.nodes[n].held.get_mut(&id).and_then(|held| held.flight.as_mut()) {
                    flight.took_effect = true;
                }
                return self.take_effect(&flight.run);
            }
        }
        if self.rng.chance(self.swarm.duplicates)
            && let Some(at) = self.echoes.iter().position(|(session, _)| *session == id)
        {
            let (_, mut outcome) = self.echoes.swap_remove(at);
            self.cover.met("fault duplicate outcome");
            if self.plant == Some(Plant::StaleApplied)
                && let Some(running) =
                    self.nodes[n].held.get(&id).and_then(|held| held.core.state.running.clone())
            {
                (outcome.action, outcome.attempt) = (running.action, running.attempt);
            }
            return self.step(n, id, Input::Outcome(Box::new(outcome)), &[]);
        }
        let mail = now(self.nodes[n].store.inbox(id)).unwrap_or_default();
        if !mail.is_empty() {
            let rows: Vec<u64> = mail.iter().map(|m| m.row).collect();
            return self.step(n, id, Input::Inbox(mail.into_iter().map(|m| m.intent).collect()), &rows);
        }
        self.step(n, id, Input::Tick, &[])
    }

    fn step(&mut self, n: usize, id: SessionId, input: Input, rows: &[u64]) -> Result<(), String> {
        let moment = self.moment();
        let before = self.nodes[n].held.get(&id).map(|held| held.core.state.seq);
        self.early_effect(n, id, &input, moment)?;
        let (after, runs) = self.nodes[n].step(id, &input, rows, moment, &mut self.cover)?;
        match after {
            After::Ran => self.acknowledge(n, id, before),
            After::Dropped => {}
            After::Died => self.die(n)?,
        }
        for run in runs {
            self.cover.met(format!("work {} {}", run.work.name(), run.class.name()));
            promises::started(&self.eyes, &run, before.unwrap_or_default())?;
            self.launch(n, id, run)?;
        }
        let over = self.nodes[n]
            .held
            .get(&id)
            .is_some_and(|held| held.flight.is_none() && held.core.state.end.is_some());
        if over && let Some(held) = self.nodes[n].held.remove(&id) {
            self.nodes[n].governor.release(id);
            let _ = now(self.nodes[n].store.release(held.lease));
        }
        Ok(())
    }

    /// The planted bug of running before committing: done on a copy, then the real step follows.
    fn early_effect(&self, n: usize, id: SessionId, input: &Input, moment: Moment) -> Result<(), String> {
        if self.plant != Some(Plant::EffectFirst) {
            return Ok(());
        }
        let Some(held) = self.nodes[n].held.get(&id) else { return Ok(()) };
        let mut copy = Core::new(held.core.state.clone(), held.core.fence);
        let root = copy.state.root();
        let ledger = self.nodes[n].governor.peek(root).cloned();
        let mut governor =
            kernel::Governor::new(kernel::governor::Slots { model: 9, tool: 9, check: 9, workspace: 9 });
        if let Some(ledger) = ledger {
            governor.load(root, ledger);
        }
        let step = copy.step(&mut governor, input.clone(), moment).map_err(|e| e.to_string())?;
        for effect in &step.effects {
            if let contract::action::Effect::Run(run) = effect {
                promises::started(&self.eyes, run, held.core.state.seq)?;
            }
        }
        Ok(())
    }

    fn launch(&mut self, n: usize, id: SessionId, run: Run) -> Result<(), String> {
        for other in (0..self.nodes.len()).filter(|&other| other != n) {
            let flying = self.nodes[other].held.get(&id).is_some_and(|held| held.flight.is_some());
            if flying {
                return Err(format!(
                    "promise 3: {id} runs on {} and on {}",
                    self.nodes[n].name, self.nodes[other].name
                ));
            }
        }
        let ends = self.now.plus(self.rng.below(400));
        let Some(held) = self.nodes[n].held.get_mut(&id) else { return Ok(()) };
        if held.flight.is_some() {
            return Err(format!("promise 3: {id} has two actions in flight"));
        }
        held.flight = Some(Flight { run, ends, took_effect: false, cancelled: false });
        Ok(())
    }

    fn take_effect(&mut self, run: &Run) -> Result<(), String> {
        let Work::Tools { calls } = &run.work else { return Ok(()) };
        let Some(call) = calls.iter().find(|call| call.tool == "external") else { return Ok(()) };
        let times = self.effects.entry((run.session, call.id.clone())).or_default();
        *times += 1;
        let times = *times;
        promises::effect(&self.eyes, run, times)
    }

    /// An attempt ends and its outcome arrives.
    fn land(&mut self, n: usize, id: SessionId, flight: Flight) -> Result<(), String> {
        let wrong = self.plant == Some(Plant::WrongClass);
        let failures = if self.calm { 0 } else { self.swarm.failures };
        let mut outcome = actors::outcome(&mut self.rng, &flight.run, failures, wrong);
        if flight.cancelled {
            outcome.end = End::Cancelled;
        }
        let not_run = matches!(&outcome.end, End::Failed(fault) if fault.code == contract::error::NOT_RUN);
        if not_run && flight.took_effect {
            outcome.end = End::Unknown;
        }
        let did = matches!(outcome.end, End::Done(_)) || self.rng.chance(500);
        if did && !flight.took_effect && !not_run {
            self.take_effect(&flight.run)?;
        }
        if let Some(held) = self.nodes[n].held.get_mut(&id) {
            held.flight = None;
        }
        self.cover.met(format!("end {}", end_name(&outcome.end)));
        if self.rng.chance(self.swarm.duplicates) {
            self.echoes.push((id, outcome.clone()));
        }
        self.step(n, id, Input::Outcome(Box::new(outcome)), &[])
    }

    fn open(&mut self) -> Result<(), String> {
        let n = self.rng.below(self.nodes.len() as u64) as usize;
        let moment = self.moment();
        let id = SessionId::v7(moment.now.0, moment.random);
        let spec = actors::spec(&mut self.rng);
        let owner = self.nodes[n].name.clone();
        let Ok(Ok(lease)) = now(self.nodes[n].store.acquire(id, owner, self.now, false)) else {
            return Ok(());
        };
        let core = Core::new(Session::new(id), lease.fence);
        self.nodes[n].held.insert(id, Held { core, lease, flight: None, wake_at: None });
        self.step(n, id, Input::Open(Box::new(spec)), &[])?;
        let exists = now(self.eyes.head(StreamId::Session(id))).is_ok_and(|head| head.seq > 0);
        if exists {
            self.sessions.insert(id);
        }
        Ok(())
    }

    /// Children just born, parents with a result: whoever was named is attended.
    fn wakes(&mut self, n: usize) -> Result<(), String> {
        if !self.nodes[n].moves(self.now) {
            return Ok(());
        }
        for id in std::mem::take(&mut self.nodes[n].wakes) {
            self.sessions.insert(id);
            self.attend(n, id)?;
        }
        Ok(())
    }

    /// Unfinished sessions that nobody holds are taken up by whoever comes by.
    fn adopt_orphans(&mut self, n: usize) -> Result<(), String> {
        if !self.rng.chance(if self.calm { 500 } else { 50 }) {
            return Ok(());
        }
        let listed = now(self.eyes.sessions(true)).unwrap_or_default();
        let listed: Vec<SessionId> = listed.iter().map(|l| l.session).collect();
        for id in listed {
            self.sessions.insert(id);
            self.attend(n, id)?;
        }
        Ok(())
    }

    fn attend(&mut self, n: usize, id: SessionId) -> Result<(), String> {
        if self.nodes[n].held.contains_key(&id) {
            return Ok(());
        }
        let owner = self.nodes[n].name.clone();
        let holder = now(self.eyes.holder(id)).ok().flatten();
        // The lock of the operating system tells that a holder is dead; otherwise only time does.
        let dead = holder.as_ref().is_some_and(|lease| {
            !self
                .nodes
                .iter()
                .any(|node| node.alive && node.name == lease.owner && node.held.contains_key(&id))
        });
        let force = dead || self.plant == Some(Plant::NoLease);
        if !force && holder.is_some_and(|lease| lease.until > self.now) {
            return Ok(());
        }
        let Ok(Some(state)) = now(store::session(&self.nodes[n].store, id)) else { return Ok(()) };
        if state.end.is_some() {
            return Ok(());
        }
        let Ok(Ok(lease)) = now(self.nodes[n].store.acquire(id, owner, self.now, force)) else {
            return Ok(());
        };
        if self.plant != Some(Plant::NoLease) {
            self.kill_elsewhere(n, id)?;
        }
        let root = state.root();
        if self.nodes[n].load_ledger(root).is_err() {
            return Ok(());
        }
        let children: Vec<SessionId> = state.live_children().collect();
        let core = Core::new(state, lease.fence);
        self.nodes[n].held.insert(id, Held { core, lease, flight: None, wake_at: None });
        self.nodes[n].wakes.extend(children);
        self.cover.met("recovery");
        self.step(n, id, Input::Recover, &[])
    }

    /// Taking over kills what the old holder left running; it may have taken effect a moment before.
    fn kill_elsewhere(&mut self, n: usize, id: SessionId) -> Result<(), String> {
        for other in (0..self.nodes.len()).filter(|&other| other != n) {
            let flight = self.nodes[other].held.get_mut(&id).and_then(|held| held.flight.take());
            if let Some(flight) = flight
                && !flight.took_effect
                && self.rng.chance(500)
            {
                self.take_effect(&flight.run)?;
            }
        }
        Ok(())
    }

    fn renew(&mut self, n: usize, id: SessionId) {
        let Some(held) = self.nodes[n].held.get(&id) else { return };
        let kept = now(self.nodes[n].store.renew(vec![held.lease.clone()], self.now)).unwrap_or_default();
        match (kept.into_iter().next(), self.nodes[n].held.get_mut(&id)) {
            (Some(lease), Some(held)) => held.lease = lease,
            _ if self.plant == Some(Plant::NoLease) => {}
            _ => {
                self.cover.met("lease lost");
                self.nodes[n].governor.release(id);
                self.nodes[n].held.remove(&id);
            }
        }
    }

    /// A process dies: what it had in flight may or may not have taken effect.
    fn die(&mut self, n: usize) -> Result<(), String> {
        let held = std::mem::take(&mut self.nodes[n].held);
        for (_, held) in held {
            if let Some(flight) = held.flight
                && !flight.took_effect
                && self.rng.chance(500)
            {
                self.take_effect(&flight.run)?;
            }
        }
        self.nodes[n].alive = false;
        self.nodes[n].wakes.clear();
        drop(self.nodes[n].store.crash());
        self.check_acknowledged()
    }

    fn restart(&mut self, n: usize) -> Result<(), String> {
        if self.nodes[n].alive && !self.calm {
            return Ok(());
        }
        if self.nodes[n].alive {
            self.die(n)?;
        }
        let store = self.store();
        self.nodes[n] = Node::new(self.nodes[n].name.clone(), store);
        Ok(())
    }

    /// Somebody was told that these events are durable. The planted bug tells so one event too early.
    fn acknowledge(&mut self, n: usize, id: SessionId, before: Option<u64>) {
        let Some(seq) = self.nodes[n].held.get(&id).map(|held| held.core.state.seq) else { return };
        let early =
            u64::from(self.plant == Some(Plant::AckBeforeSync) && before < Some(seq) && self.rng.chance(100));
        let known = self.acknowledged.entry(id).or_default();
        *known = (*known).max(seq + early);
    }

    fn check_acknowledged(&self) -> Result<(), String> {
        for (&id, &seq) in &self.acknowledged {
            let head = now(self.eyes.head(StreamId::Session(id))).map_err(|e| e.to_string())?;
            if head.seq < seq {
                return Err(format!(
                    "promise 1: {id} was acknowledged up to {seq}, the store has {}",
                    head.seq
                ));
            }
        }
        Ok(())
    }

    /// A person at some terminal.
    fn person(&mut self) -> Result<(), String> {
        let all: Vec<SessionId> = self.sessions.iter().copied().collect();
        let Some(&id) = self.rng.pick(&all) else { return Ok(()) };
        let Ok(Some(state)) = now(store::session(&self.eyes, id)) else { return Ok(()) };
        if state.end.is_some() {
            return Ok(());
        }
        let Some(mut wish) = actors::wish(&mut self.rng, &state, self.calm) else { return Ok(()) };
        let tries = self.resumed.entry(id).or_default();
        if self.calm && matches!(wish, Wish::Resume { .. } | Wish::AddBudget { .. }) {
            *tries += 1;
            // Only the root's budget can be raised, and nobody is patient for ever.
            if *tries > 4 || matches!(wish, Wish::AddBudget { .. }) && state.root() != id {
                wish = Wish::Cancel;
            }
        }
        self.cover.met(format!("wish {}", wish.name()));
        let moment = self.moment();
        let intent_id = SessionId::v7(moment.now.0, moment.random);
        let ttl_ms = (!self.calm && self.rng.chance(200)).then(|| self.rng.below(5_000));
        let intent = Intent {
            id: intent_id,
            session: id,
            source: Source::User,
            wish,
            key: intent_id.to_string(),
            at: self.now,
            ttl_ms,
        };
        for _ in 0..1 + u64::from(self.rng.chance(self.swarm.duplicates)) {
            let _ = now(self.eyes.submit(intent.clone()));
        }
        if self.rng.chance(20) {
            self.eyes.submit_raw(id, &format!("raw-{}", self.steps), "{\"source\":\"somebody\"}");
        }
        Ok(())
    }

    fn unfinished(&self) -> Result<Vec<SessionId>, String> {
        let listed = now(self.eyes.sessions(true)).map_err(|e| e.to_string())?;
        Ok(listed.iter().map(|l| l.session).collect())
    }

    fn at_rest(&mut self) -> Result<bool, String> {
        if !self.steps.is_multiple_of(16) || !self.unfinished()?.is_empty() {
            return Ok(false);
        }
        let sessions: Vec<SessionId> = self.sessions.iter().copied().collect();
        for id in sessions {
            let events: Vec<Record<Event>> = promises::records(&self.eyes, id)?;
            events.iter().for_each(|record| self.cover.met(format!("event {}", event_name(&record.event))));
        }
        Ok(true)
    }
}

fn event_name(event: &Event) -> String {
    let json = serde_json::to_value(event).unwrap_or_default();
    json.as_object().and_then(|map| map.keys().next().cloned()).unwrap_or_default()
}

fn end_name(end: &End) -> &'static str {
    match end {
        End::Done(_) => "done",
        End::Failed(_) => "failed",
        End::Cancelled => "cancelled",
        End::TimedOut => "timed-out",
        End::Unknown => "unknown",
    }
}
