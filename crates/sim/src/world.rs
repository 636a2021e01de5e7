//! The world around the sessions: the scheduler, the clock, and the two phases of a run.
//!
//! Start at [`World::run`]: a phase with faults, then one without in which everything must come to an end. What goes
//! wrong is in `trouble.rs`, what people and arbiters do in `life.rs`.

use crate::kinds::Cover;
use crate::node::Node;
use crate::oracle::Oracle;
use crate::promise::{Broken, Checked, Promise};
use crate::rng::Rng;
use crate::store::{Handle, Medium, Note, Rates};
use crate::swarm::{Fault, Setup, Swarm};
use contract::action::Outcome;
use contract::{SessionId, Timestamp, limits};
use engine::core::Moment;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// One seed's world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Timestamp,
    pub(crate) setup: Setup,
    pub(crate) swarm: Swarm,
    medium: Medium,
    /// Reads what is durable; nothing goes wrong here.
    pub(crate) eyes: Arc<Handle>,
    /// What people's commands write with.
    pub(crate) hands: Arc<Handle>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) oracle: Oracle,
    pub(crate) opened: u64,
    /// Outcomes that are told once more, late.
    pub(crate) echoes: Vec<(SessionId, Outcome)>,
    /// How often somebody has helped a session on.
    pub(crate) helped: BTreeMap<SessionId, u32>,
    /// Intents left so far, by whomever.
    pub(crate) mail: u64,
    pub(crate) calm: bool,
    pub(crate) steps: u64,
    pub(crate) cover: Cover,
}

/// Scheduler steps without faults after which everything must have ended.
const REST: u64 = 40_000;

/// One thing that can happen at this moment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item {
    Wake,
    Renew,
    Poll,
    Serve(SessionId),
    Land(SessionId),
    Effect(SessionId),
}

impl World {
    /// A world of this seed. `dir`: an empty directory, for SQLite.
    pub(crate) fn new(setup: Setup, dir: impl FnOnce() -> PathBuf) -> Result<Self, String> {
        let mut rng = Rng::new(setup.seed);
        let swarm = Swarm::draw(&mut rng, &setup);
        let medium = Medium::new(setup.backend, dir);
        let open =
            |rates| Handle::open(&medium, Rng::new(setup.seed ^ 0xe7e5), rates).map_err(|e| e.to_string());
        let (eyes, hands) = (open(Rates::default())?, open(Rates::of(&swarm, setup.without))?);
        let mut world = Self {
            rng,
            now: Timestamp(1_800_000_000_000),
            setup,
            swarm,
            eyes,
            hands,
            medium,
            nodes: Vec::new(),
            oracle: Oracle::default(),
            opened: 0,
            echoes: Vec::new(),
            helped: BTreeMap::new(),
            mail: 0,
            calm: false,
            steps: 0,
            cover: Cover::default(),
        };
        for n in 0..swarm.nodes {
            let node = world.node(n as usize)?;
            world.nodes.push(node);
        }
        Ok(world)
    }

    /// A process as it starts.
    pub(crate) fn node(&mut self, n: usize) -> Result<Node, String> {
        let rates = if self.calm { Rates::default() } else { Rates::of(&self.swarm, self.setup.without) };
        let rng = Rng::new(self.rng.next());
        let handle = Handle::open(&self.medium, rng, rates).map_err(|e| e.to_string())?;
        Ok(Node::new(format!("node-{n}"), handle, self.swarm.slots, self.now))
    }

    /// Faults for so many steps, then none until everything has come to rest.
    pub(crate) fn run(&mut self) -> Checked {
        while self.steps < self.setup.steps {
            self.one_step()?;
        }
        self.quiet_down()?;
        for _ in 0..REST {
            if self.oracle.unfinished().next().is_none() {
                return self.oracle.at_rest(&*self.eyes);
            }
            self.one_step()?;
        }
        let stuck: Vec<SessionId> = self.oracle.unfinished().collect();
        let tails = self.oracle.describe(&stuck);
        Promise::Liveness.broken(format!("{} session(s) never come to an end:\n{tails}", stuck.len()))
    }

    /// Does this go wrong now? Never when it is switched off, or once the faults have stopped.
    pub(crate) fn fault(&mut self, fault: Fault, rate: u64) -> bool {
        let hit = rate > 0 && !self.calm && self.rng.rarely(rate) && !self.setup.without.has(fault);
        if hit {
            self.cover.met(&fault);
            self.oracle.trace.mix(fault as u64);
        }
        hit
    }

    fn one_step(&mut self) -> Checked {
        self.steps += 1;
        self.now = self.now.plus(self.rng.below(4));
        if !self.calm {
            self.disturb()?;
        }
        let person = if self.calm { 20_000 } else { self.swarm.person };
        if self.rng.rarely(person) {
            self.person()?;
        }
        self.come_by()?;
        let Some((n, item)) = self.choose() else {
            self.wait();
            return Ok(());
        };
        self.oracle.trace.mix(self.steps << 8 | n as u64);
        match item {
            Item::Wake => self.wake_next(n),
            Item::Renew => {
                self.nodes[n].renew(self.now, &mut self.cover);
                self.noted(n)
            }
            Item::Poll => {
                self.nodes[n].poll(self.now, self.mail, &mut self.cover);
                self.noted(n)
            }
            Item::Serve(id) => self.serve(n, id),
            Item::Land(id) => self.land(n, id),
            Item::Effect(id) => self.effect(n, id),
        }
    }

    /// Something that is due, at random: any process, anything in it.
    fn choose(&mut self) -> Option<(usize, Item)> {
        let from = self.rng.below(self.nodes.len() as u64) as usize;
        for n in (from..self.nodes.len()).chain(0..from) {
            if !self.nodes[n].moves(self.now) {
                continue;
            }
            let items = self.due(n);
            if let Some(item) = self.rng.pick(&items) {
                return Some((n, *item));
            }
        }
        None
    }

    fn due(&self, n: usize) -> Vec<Item> {
        let (node, now) = (&self.nodes[n], self.now);
        let mut items = Vec::new();
        if now >= node.renew_at && !node.held.is_empty() {
            items.push(Item::Renew);
        }
        if !node.wakes.is_empty() {
            items.push(Item::Wake);
        }
        if node.mail_seen < self.mail && now >= node.poll_at && !node.held.is_empty() {
            items.push(Item::Poll);
        }
        let clock = node.clock(now);
        for (id, held) in &node.held {
            if held.due(clock) {
                items.push(Item::Serve(*id));
            }
            let Some(flight) = held.flight.as_ref().filter(|flight| !flight.told) else { continue };
            if flight.cancelled || flight.ends.is_some_and(|ends| now >= ends) {
                items.push(Item::Land(*id));
            } else if !flight.took_effect
                && flight.effect_at.is_some_and(|at| now >= at)
                && crate::actors::shows(&flight.run)
            {
                items.push(Item::Effect(*id));
            }
        }
        items
    }

    /// Nothing is due anywhere: time passes until something is.
    fn wait(&mut self) {
        let mut next: Option<Timestamp> = None;
        for node in self.nodes.iter().filter(|node| node.alive) {
            let waits_for = |at: Timestamp| Timestamp(at.0.saturating_add_signed(-node.skew));
            let timers = node.held.values().filter_map(|held| held.wake_at).map(waits_for);
            let flights = node
                .held
                .values()
                .filter_map(|held| held.flight.as_ref().filter(|flight| !flight.told)?.ends);
            let poll = (node.mail_seen < self.mail && !node.held.is_empty()).then_some(node.poll_at);
            let here = timers.chain(flights).chain(poll).min();
            // A process that does not move does nothing before it moves again.
            let here = here.map(|at| at.0.max(node.stalled_until.0)).map(Timestamp);
            next = [next, here].into_iter().flatten().min();
        }
        let to = next.filter(|at| *at > self.now).unwrap_or_else(|| self.now.plus(100));
        // Time in which nothing happens is not slept through: whoever moves has kept its leases meanwhile.
        let third = limits::LEASE_MS / 3;
        let long = to.since(self.now) > third;
        self.now = to;
        for n in 0..self.nodes.len() {
            if long && self.nodes[n].moves(to) && !self.nodes[n].held.is_empty() {
                self.nodes[n].renew(to, &mut self.cover);
            }
        }
    }

    pub(crate) fn moment(&mut self, n: usize) -> Moment {
        Moment { now: self.nodes[n].clock(self.now), random: self.rng.wide() }
    }

    /// What a process just did to the store, told to the oracle; and what follows when it died of it.
    pub(crate) fn noted(&mut self, n: usize) -> Checked {
        let (notes, met) = self.nodes[n].handle.take_notes();
        met.iter().for_each(|fault| self.cover.met(fault));
        let (mut died, mut dark) = (false, false);
        for note in notes {
            match note {
                Note::Tried(streams) => self.oracle.tried(&*self.eyes, &streams, &mut self.cover)?,
                Note::Granted(session, fence) => self.oracle.granted(session, fence)?,
                Note::Doubt { batch, durable } => {
                    self.mail += 1;
                    died = true;
                    self.oracle.doubt(&*self.eyes, &batch, durable, &mut self.cover)?;
                }
                Note::Refused(error) => self.cover.met(&error),
                Note::PowerCut => dark = true,
            }
        }
        if dark {
            return self.power_cut();
        }
        if died && !self.nodes[n].failed() {
            return self.die(n);
        }
        Ok(())
    }

    /// A failure of the simulator's own set-up.
    pub(crate) fn cannot<T>(why: String) -> Result<T, Broken> {
        Promise::Known.broken(why)
    }
}
