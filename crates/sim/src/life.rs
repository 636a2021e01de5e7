//! What happens when nothing goes wrong, too: sessions open, arbiters take letters, attempts end, people write.
//!
//! Start at [`World::serve`] (one letter of one arbiter, as the engine's loop takes them) and [`World::person`].

use crate::actors::{self, Trouble};
use crate::node::{After, Flight, Held, wait};
use crate::oracle::external;
use crate::promise::{Checked, Promise};
use crate::store::INJECTED;
use crate::swarm::Fault;
use crate::world::World;
use contract::action::{End, Outcome, Run};
use contract::intent::{Intent, Source, Wish};
use contract::journal::{Error, Journal};
use contract::project::Caps;
use contract::{Amount, ProjectId, QuotaId, SessionId, StreamId};
use engine::core::Core;
use engine::{commit, store};
use kernel::fsm::Phase;
use kernel::{Input, Session};

impl World {
    /// Now and then: a new session, a session taken up that nobody holds, a process that has gone down.
    pub(crate) fn come_by(&mut self) -> Checked {
        let n = self.rng.below(self.nodes.len() as u64) as usize;
        if !self.nodes[n].moves(self.now) {
            return Ok(());
        }
        if self.nodes[n].closing {
            return self.gone_down(n);
        }
        if self.calm {
            return if self.rng.chance(100) { self.take_up(n) } else { Ok(()) };
        }
        // New work comes evenly over the run.
        let due = self.swarm.sessions * (self.steps + 100) / (self.setup.steps + 1);
        if self.opened < self.swarm.sessions && self.opened <= due && self.rng.chance(200) {
            return self.open(n);
        }
        if self.rng.chance(10) { self.take_up(n) } else { Ok(()) }
    }

    /// Somebody resumes a session that is held nowhere.
    fn take_up(&mut self, n: usize) -> Checked {
        let nodes = &self.nodes;
        let alone = |id: &SessionId| !nodes.iter().any(|node| node.alive && node.held.contains_key(id));
        let lonely: Vec<SessionId> = self.oracle.unfinished().filter(alone).collect();
        let Some(&id) = self.rng.pick(&lonely) else { return Ok(()) };
        let settle = !self.calm && self.rng.chance(100);
        self.attend(n, id, settle, false)
    }

    fn open(&mut self, n: usize) -> Checked {
        self.opened += 1;
        let moment = self.moment(n);
        let id = SessionId::v7(moment.now.0, moment.random);
        let spec = actors::spec(&mut self.rng, self.swarm.story);
        let (owner, clock) = (self.nodes[n].name.clone(), moment.now);
        let leased = wait(self.nodes[n].handle.acquire(id, owner, clock, true));
        if let Ok(Ok(lease)) = leased {
            let core = Core::new(Session::new(id), lease.fence);
            self.nodes[n].leases.add(lease);
            self.nodes[n].held.insert(id, Held::new(core, Input::Open(Box::new(spec))));
        }
        self.noted(n)
    }

    /// The next session that another one's effect named.
    pub(crate) fn wake_next(&mut self, n: usize) -> Checked {
        let at = self.rng.below(self.nodes[n].wakes.len() as u64) as usize;
        let (id, settle) = self.nodes[n].wakes.swap_remove(at);
        self.attend(n, id, settle, false)
    }

    /// Takes a session over and goes on with it here. `snatch`: although somebody else holds it.
    pub(crate) fn attend(&mut self, n: usize, id: SessionId, settle: bool, snatch: bool) -> Checked {
        if let Some(held) = self.nodes[n].held.get_mut(&id) {
            held.poked = true;
            return Ok(());
        }
        let elsewhere = self.nodes.iter().any(|node| node.alive && node.held.contains_key(&id));
        // The lock of the operating system keeps a living holder's session; without one, its lease does.
        if elsewhere && self.swarm.locks && !snatch {
            return Ok(());
        }
        let handle = self.nodes[n].handle.clone();
        let Ok(Some(state)) = wait(store::session(&*handle, id)) else { return self.noted(n) };
        let force = snatch || !elsewhere;
        let (owner, clock) = (self.nodes[n].name.clone(), self.nodes[n].clock(self.now));
        let Ok(Ok(lease)) = wait(handle.acquire(id, owner, clock, force)) else { return self.noted(n) };
        for other in 0..self.nodes.len() {
            // Taking over kills what the old holder left running.
            let flight = self.nodes[other].held.get_mut(&id).and_then(|held| held.flight.take());
            self.killed(flight)?;
        }
        if wait(commit::ensure_ledger(&self.nodes[n], &state)).is_err() {
            return self.noted(n);
        }
        let mut core = Core::new(state, lease.fence);
        core.hold = settle || self.nodes[n].closing;
        self.nodes[n].leases.add(lease);
        self.nodes[n].held.insert(id, Held::new(core, Input::Recover));
        self.noted(n)
    }

    /// One letter of one arbiter.
    pub(crate) fn serve(&mut self, n: usize, id: SessionId) -> Checked {
        let clock = self.nodes[n].clock(self.now);
        let Some(held) = self.nodes[n].held.get_mut(&id) else { return Ok(()) };
        if let Some(first) = held.first.take() {
            held.inbox = true;
            // Taking over starts nothing before the inbox was heard.
            held.taking_over = matches!(first, Input::Recover);
            let hold = held.core.hold;
            held.core.hold |= held.taking_over;
            self.step(n, id, first, Vec::new())?;
            if let Some(held) = self.nodes[n].held.get_mut(&id) {
                held.core.hold = hold;
                let (settle, children) =
                    (held.core.hold, held.core.state.live_children().collect::<Vec<_>>());
                children.into_iter().for_each(|child| self.nodes[n].wake(child, settle));
            }
            return Ok(());
        }
        if std::mem::take(&mut held.inbox) {
            return self.fetch_mail(n, id);
        }
        if held.lost {
            self.cover.met(&Error::Fenced { session: id });
            self.nodes[n].let_go(id, false);
            return self.stopped(n, id);
        }
        if std::mem::take(&mut held.stop) {
            held.core.hold = true;
            return self.step(n, id, Input::Stop, Vec::new());
        }
        if let Some(outcome) = held.outcomes.pop_front() {
            let own = |flight: &mut Flight| {
                (flight.run.action, flight.run.attempt) == (outcome.action, outcome.attempt)
            };
            held.flight.take_if(own);
            return self.step(n, id, Input::Outcome(Box::new(outcome)), Vec::new());
        }
        if std::mem::take(&mut held.poked) {
            held.inbox = true;
            return self.step(n, id, Input::Tick, Vec::new());
        }
        if held.wake_at.is_some_and(|at| at <= clock) {
            held.wake_at = None;
            return self.step(n, id, Input::Tick, Vec::new());
        }
        Ok(())
    }

    fn fetch_mail(&mut self, n: usize, id: SessionId) -> Checked {
        let began = self.nodes[n].held.get_mut(&id).is_some_and(|held| std::mem::take(&mut held.taking_over));
        match wait(self.nodes[n].handle.inbox(id)) {
            Ok(mail) if mail.is_empty() && began => self.step(n, id, Input::Tick, Vec::new()),
            Ok(mail) if mail.is_empty() => self.over(n, id),
            Ok(mail) => {
                let rows = mail.iter().map(|m| m.row).collect();
                let letters = mail.into_iter().map(|m| m.intent).collect();
                self.step(n, id, Input::Inbox(letters), rows)
            }
            Err(error) => {
                self.cover.met(&error);
                self.nodes[n].let_go(id, false);
                self.stopped(n, id)
            }
        }
    }

    /// One input, committed and dispatched; then what the oracle thinks of it.
    fn step(&mut self, n: usize, id: SessionId, input: Input, rows: Vec<u64>) -> Checked {
        let moment = self.moment(n);
        self.nodes[n].set_moment(moment);
        let seq = |world: &Self| world.nodes[n].held.get(&id).map(|held| held.core.state.seq);
        let before = seq(self);
        let after = self.nodes[n].step(id, input, rows, &mut self.cover);
        self.mail += 1;
        let alive = |world: &Self| world.nodes[n].alive;
        self.noted(n)?;
        match after {
            After::Ran(runs) => {
                // What was not committed may be of another time: a holder that does not know that it is none any more.
                if let Some(held) = self.nodes[n].held.get(&id).filter(|_| seq(self) != before) {
                    self.oracle.same(&held.core.state)?;
                }
                for run in runs {
                    self.launch(n, id, run)?;
                }
                self.over(n, id)
            }
            After::Dropped(error) if alive(self) => {
                if let Error::Corrupt(why) = &error
                    && !why.starts_with(INJECTED)
                {
                    let tail = self.oracle.describe(&[id]);
                    return Promise::Fold.broken(format!("{id} contradicts itself: {why}\n{tail}"));
                }
                self.stopped(n, id)
            }
            After::Dropped(_) | After::Gone => Ok(()),
        }
    }

    /// An arbiter that has nothing left to do lets go.
    fn over(&mut self, n: usize, id: SessionId) -> Checked {
        let Some(held) = self.nodes[n].held.get(&id) else { return Ok(()) };
        let ended = held.core.state.phase == Phase::Ended;
        if held.inbox || held.flight.is_some() || !(held.core.hold || ended) {
            return Ok(());
        }
        let poked = held.poked && !ended;
        let settle = held.core.hold;
        self.nodes[n].let_go(id, true);
        self.stopped(n, id)?;
        if poked {
            self.nodes[n].wake(id, settle);
        }
        Ok(())
    }

    /// An arbiter has stopped: nothing of it is left here.
    fn stopped(&mut self, n: usize, id: SessionId) -> Checked {
        if let Some(mut held) = self.nodes[n].held.remove(&id) {
            let flight = held.flight.take();
            self.killed(flight)?;
        }
        self.noted(n)
    }

    /// What was in flight dies with its process, or a moment after its effect.
    pub(crate) fn killed(&mut self, flight: Option<Flight>) -> Checked {
        match flight {
            Some(flight)
                if flight.begun
                    && !flight.took_effect
                    && actors::shows(&flight.run)
                    && self.rng.chance(500) =>
            {
                self.oracle.effect(&flight.run)
            }
            _ => Ok(()),
        }
    }

    fn launch(&mut self, n: usize, id: SessionId, run: Run) -> Checked {
        self.oracle.launched(&run)?;
        for other in (0..self.nodes.len()).filter(|&other| other != n) {
            let flying = self.nodes[other].held.get(&id).is_some_and(|held| held.flight.is_some());
            let both = || format!("{id} runs on {} and on {}", self.nodes[n].name, self.nodes[other].name);
            Promise::Once.holds(!flying, both)?;
        }
        let begun = !self.fault(Fault::NotBegun, self.swarm.not_begun);
        let lost = self.fault(Fault::LostMessage, self.swarm.lost);
        let late = self.fault(Fault::LateOutcome, self.swarm.late);
        let ends = match (lost, late) {
            (true, _) => None,
            (_, true) => Some(self.now.plus(self.rng.below(1_200_000))),
            _ => Some(self.now.plus(self.rng.below(400))),
        };
        let early = begun && self.rng.chance(500);
        let effect_at = Some(self.now.plus(self.rng.below(400))).filter(|_| early);
        let Some(held) = self.nodes[n].held.get_mut(&id) else { return Ok(()) };
        let begins = begun.then(|| run.clone());
        let flight =
            Flight { run, ends, effect_at, took_effect: false, begun, cancelled: false, told: false };
        let old = held.flight.replace(flight);
        // An attempt that was given up is killed when the next one begins; any other would be a second one.
        let given_up = old.as_ref().is_none_or(|old| old.cancelled);
        Promise::Once.holds(given_up, || format!("{id} has two actions in flight"))?;
        self.killed(old)?;
        begins.map_or(Ok(()), |run| self.oracle.begun(&run))
    }

    /// The effect of what is in flight shows outside.
    pub(crate) fn effect(&mut self, n: usize, id: SessionId) -> Checked {
        let flight = self.nodes[n].held.get_mut(&id).and_then(|held| held.flight.as_mut());
        let Some(flight) = flight else { return Ok(()) };
        flight.took_effect = true;
        self.oracle.effect(&flight.run)
    }

    /// An attempt ends, and its outcome is put into the mailbox.
    pub(crate) fn land(&mut self, n: usize, id: SessionId) -> Checked {
        let Some(held) = self.nodes[n].held.get_mut(&id) else { return Ok(()) };
        let Some(flight) = held.flight.as_mut() else { return Ok(()) };
        let (run, took, cancelled) = (flight.run.clone(), flight.took_effect, flight.cancelled);
        let begun = flight.begun;
        flight.took_effect = true;
        flight.told = true;
        let swarm = self.swarm;
        let trouble = match self.calm {
            true => Trouble::default(),
            false => Trouble {
                failure: self.rate(Fault::Failure, swarm.failure),
                wrong: self.rate(Fault::WrongShape, swarm.wrong),
                overbill: self.rate(Fault::Overbilled, swarm.overbill),
                outage: self.outage(),
            },
        };
        let mut outcome = match begun {
            true => actors::outcome(&mut self.rng, &run, trouble, swarm.story),
            false => actors::not_begun(&mut self.rng, &run),
        };
        if cancelled {
            outcome.end = End::Cancelled;
        }
        let not_run = actors::not_run(&outcome);
        if not_run && took {
            outcome.end = End::Unknown;
        }
        self.troubled(&outcome);
        let did = matches!(outcome.end, End::Done(_)) || self.rng.chance(500);
        if begun && did && !took && !not_run && external(&run).is_some() {
            self.oracle.effect(&run)?;
        }
        if self.fault(Fault::DuplicateOutcome, swarm.duplicate) {
            self.echoes.push((id, outcome.clone()));
        }
        let echo = self.echo(id);
        if let Some(held) = self.nodes[n].held.get_mut(&id) {
            held.outcomes.extend(echo);
            held.outcomes.push_back(outcome);
        }
        Ok(())
    }

    /// The providers are down for a while, now and then, in a world in which things fail.
    fn outage(&mut self) -> bool {
        let down =
            (self.now.0 / 30_000).is_multiple_of(3) && self.rate(Fault::Outage, self.swarm.failure) > 0;
        if down {
            self.cover.met(&Fault::Outage);
        }
        down
    }

    fn rate(&self, fault: Fault, rate: u64) -> u64 {
        if self.setup.without.has(fault) { 0 } else { rate }
    }

    /// Counts what went wrong inside an attempt.
    fn troubled(&mut self, outcome: &Outcome) {
        use contract::action::Done;
        match &outcome.end {
            End::Done(Done::Rewound { to, .. }) if to.step == 999 => self.cover.met(&Fault::WrongShape),
            End::Done(Done::Said { usage, .. }) if usage.output > 4_000_000 => {
                self.cover.met(&Fault::Overbilled)
            }
            End::Failed(_) | End::TimedOut => self.cover.met(&Fault::Failure),
            _ => {}
        }
    }

    /// An outcome that was told before arrives again, before the current one.
    fn echo(&mut self, id: SessionId) -> Option<Outcome> {
        let at = self.echoes.iter().position(|(session, _)| *session == id)?;
        self.rng.chance(500).then(|| self.echoes.swap_remove(at).1)
    }

    /// A person at some terminal.
    pub(crate) fn person(&mut self) -> Checked {
        if self.calm || self.rng.chance(30) {
            self.cap()?;
        }
        let mut ids: Vec<SessionId> = self.oracle.unfinished().collect();
        if self.rng.chance(500) {
            // Who is asked looks there first.
            let asked = |id: &SessionId| {
                let state = self.oracle.state(*id);
                state.is_some_and(|s| s.pause.is_some() || !s.approvals.is_empty() || !s.questions.is_empty())
            };
            let asking: Vec<SessionId> = ids.iter().copied().filter(asked).collect();
            ids = if asking.is_empty() { ids } else { asking };
        }
        let Some(&id) = self.rng.pick(&ids) else { return Ok(()) };
        let Some(state) = self.oracle.state(id) else { return Ok(()) };
        let (root, calm) = (state.root(), self.calm);
        let Some(mut wish) = actors::wish(&mut self.rng, state, calm) else { return Ok(()) };
        if calm && matches!(wish, Wish::Resume { .. } | Wish::AddBudget { .. } | Wish::CapCall { .. }) {
            let tries = self.helped.entry(id).or_default();
            *tries += 1;
            // Only the root's budget can be raised, and nobody is patient for ever.
            if *tries > 4 || matches!(wish, Wish::AddBudget { .. }) && root != id {
                wish = Wish::Cancel;
            }
        }
        let own = SessionId::v7(self.now.0, self.rng.wide());
        let ttl_ms = (!self.calm && self.rng.chance(200)).then(|| self.rng.below(5_000));
        let (key, at) = (own.to_string(), self.now);
        let source = if calm { Source::User } else { self.rng.of(&SOURCES) };
        let intent = Intent { id: own, session: id, source, wish, key, at, ttl_ms };
        self.submit(intent);
        Ok(())
    }

    /// A person wants a key tried, whatever its provider told.
    fn lift(&mut self) -> Checked {
        let key = if self.steps.is_multiple_of(2) { "sim/key" } else { "sim/another" };
        if let Err(error) = wait(engine::keys::lift(&*self.eyes, key, self.now)) {
            self.cover.met(&error);
        }
        let stream = StreamId::Quota(QuotaId::of(key));
        self.oracle.absorb(&*self.eyes, stream, &mut self.cover).map(drop)
    }

    /// A person changes what all sessions on the project may spend together; who wants everything to end lifts it.
    fn cap(&mut self) -> Checked {
        if !self.calm {
            self.lift()?;
        }
        let cap = |tokens| Amount { tokens, ..Amount::UNLIMITED };
        let caps = match self.rng.below(4) {
            _ if self.calm => Caps::NONE,
            0 => Caps::NONE,
            1 => Caps { day: cap(20_000), ..Caps::NONE },
            2 => Caps { month: cap(200_000), ..Caps::NONE },
            _ => Caps { project: cap(100_000), ..Caps::NONE },
        };
        // Faults of this write are the inbox's faults over again: a sound hand writes it.
        if let Err(error) = wait(engine::caps::declare(&*self.eyes, "/repo", caps, self.now)) {
            self.cover.met(&error);
        }
        let stream = StreamId::Project(ProjectId::of("/repo"));
        self.oracle.absorb(&*self.eyes, stream, &mut self.cover).map(drop)
    }

    /// Left in the inbox, and again when nobody knows whether it is there.
    fn submit(&mut self, intent: Intent) {
        let twice = self.fault(Fault::DuplicateIntent, self.swarm.duplicate);
        let mut left = 1 + u64::from(twice);
        for _ in 0..4 {
            let told = wait(self.hands.submit(intent.clone()));
            let (_, met) = self.hands.take_notes();
            met.iter().for_each(|fault| self.cover.met(fault));
            match told {
                Ok(_) => {
                    self.oracle.submitted(intent.session, &intent.key);
                    left -= 1;
                }
                Err(error) => self.cover.met(&error),
            }
            if left == 0 {
                break;
            }
        }
        self.mail += 1;
        // Half of the time the command runs in a process that holds the session, and tells it.
        if self.rng.chance(500) {
            let holder = self.nodes.iter_mut().find_map(|node| node.held.get_mut(&intent.session));
            if let Some(held) = holder {
                held.poked = true;
            }
        }
    }
}

/// Who submits: mostly people.
const SOURCES: [Source; 10] = [
    Source::User,
    Source::User,
    Source::User,
    Source::User,
    Source::User,
    Source::User,
    Source::Schedule,
    Source::Planner,
    Source::Recovery,
    Source::MainLoop,
];
