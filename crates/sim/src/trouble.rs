//! What goes wrong outside the kernel: processes die, stall and come back, power goes, clocks jump.
//!
//! What goes wrong inside a write is the store handle's. Start at [`World::disturb`].

use crate::node::wait;
use crate::promise::{Checked, Promise};
use crate::swarm::Fault;
use crate::world::World;
use contract::intent::{ChildEnd, Intent, Source, Wish};
use contract::journal::{Journal, Snapshot};
use contract::{Digest, SessionId, StreamId, Timestamp, limits};
use kernel::Session;

impl World {
    /// Something goes wrong, or somebody mends it.
    pub(crate) fn disturb(&mut self) -> Checked {
        let n = self.rng.below(self.nodes.len() as u64) as usize;
        let swarm = self.swarm;
        if self.nodes[n].alive {
            if self.fault(Fault::Crash, swarm.crash) {
                self.die(n)?;
            }
            if self.fault(Fault::GoDown, swarm.go_down) {
                self.go_down(n);
            }
            if self.fault(Fault::Stall, swarm.stall) {
                self.nodes[n].stalled_until = self.now.plus(self.rng.below(3 * limits::LEASE_MS));
            }
            if self.fault(Fault::Skew, swarm.clock) {
                self.nodes[n].skew = self.rng.below(60_000) as i64 - 30_000;
            }
            // A store that failed is not opened again by the same process.
            if self.nodes[n].failed() && self.rng.chance(50) {
                self.die(n)?;
            }
        } else if self.rng.chance(20) {
            self.restart(n)?;
        }
        if self.fault(Fault::PowerCut, swarm.power) {
            self.power_cut()?;
        }
        if self.fault(Fault::ClockForward, swarm.clock) {
            let days = 8 * 24 * 3_600_000;
            let by = if self.rng.chance(100) { days } else { self.rng.below(600_000) };
            self.now = self.now.plus(by);
        }
        if self.fault(Fault::ClockBack, swarm.clock) {
            self.now = Timestamp(self.now.0.saturating_sub(self.rng.below(600_000)));
        }
        if self.fault(Fault::LeaseLost, swarm.lease) {
            self.snatch(n)?;
        }
        self.oddities();
        Ok(())
    }

    /// A session changes hands although its holder lives: a machine that only looked dead, a lock that did not hold.
    fn snatch(&mut self, n: usize) -> Checked {
        let others = self.nodes.iter().enumerate().filter(|(other, node)| *other != n && node.alive);
        let held: Vec<SessionId> = others.flat_map(|(_, node)| node.held.keys().copied()).collect();
        let Some(&id) = self.rng.pick(&held) else { return Ok(()) };
        if !self.nodes[n].moves(self.now) {
            return Ok(());
        }
        self.attend(n, id, false, true)
    }

    /// Things that lie in the store and should not.
    fn oddities(&mut self) {
        let rate = self.swarm.oddities;
        if rate == 0 {
            return;
        }
        let ids: Vec<SessionId> = self.oracle.unfinished().collect();
        let Some(&id) = self.rng.pick(&ids) else { return };
        if self.fault(Fault::GarbledMail, rate) {
            self.eyes.submit_raw(id, &format!("raw-{}", self.steps));
            self.mail += 1;
        }
        if self.fault(Fault::ForeignSnapshot, rate) {
            self.foreign_snapshot(id);
        }
        if self.fault(Fault::ToldTwice, rate) {
            self.tell_twice(id);
        }
    }

    /// A snapshot of the right number and of another history.
    fn foreign_snapshot(&mut self, id: SessionId) {
        let Some(state) = self.oracle.state(id) else { return };
        let mut other = Session { step: state.step + 7, ..state.clone() };
        other.items.truncate(1);
        let state = serde_json::json!({ "schema": kernel::session::SCHEMA, "state": other });
        let snapshot =
            Snapshot { seq: other.seq, head: Digest([9; 32]), json: state.to_string().into_bytes() };
        // A cache: whether it is kept changes nothing.
        let _ = wait(self.eyes.snapshot(StreamId::Session(id), snapshot));
    }

    /// The end of a child, once more and under another key.
    fn tell_twice(&mut self, id: SessionId) {
        let Some((child, end)) = self.oracle.state(id).and_then(|state| {
            let ended = state.children.iter().filter(|(_, child)| child.ended);
            ended.map(|(id, child)| (*id, child.end.clone())).next()
        }) else {
            return;
        };
        let commit = Some("result-again".to_owned());
        let end = end.unwrap_or(ChildEnd { state: "completed".into(), code: 0, commit, summary: None });
        let own = SessionId::v7(self.now.0, self.rng.wide());
        let key = format!("again/{own}");
        let wish = Wish::SubtaskEnded { child, end };
        let (source, at) = (Source::Subtask, self.now);
        let intent = Intent { id: own, session: id, source, wish, key: key.clone(), at, ttl_ms: None };
        if wait(self.eyes.submit(intent)).is_ok() {
            self.oracle.submitted(id, &key);
            self.mail += 1;
        }
    }

    /// A process goes down in order: nothing new starts, what runs is stopped.
    fn go_down(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.closing = true;
        node.held.values_mut().for_each(|held| held.stop = true);
    }

    /// It has gone down once nothing lives in it any more.
    pub(crate) fn gone_down(&mut self, n: usize) -> Checked {
        if self.nodes[n].closing && self.nodes[n].held.is_empty() {
            return self.die(n);
        }
        Ok(())
    }

    /// A process dies: what it had in flight may or may not have taken effect.
    pub(crate) fn die(&mut self, n: usize) -> Checked {
        self.nodes[n].handle.kill();
        self.nodes[n].alive = false;
        self.nodes[n].wakes.clear();
        let held = std::mem::take(&mut self.nodes[n].held);
        for (_, mut held) in held {
            let flight = held.flight.take();
            self.killed(flight)?;
        }
        Ok(())
    }

    /// Every process dies, and what was not synced is gone.
    pub(crate) fn power_cut(&mut self) -> Checked {
        for n in 0..self.nodes.len() {
            self.die(n)?;
        }
        self.eyes.cut_power();
        self.oracle.after_crash(&*self.eyes)
    }

    pub(crate) fn restart(&mut self, n: usize) -> Checked {
        if self.nodes[n].alive {
            self.die(n)?;
        }
        match self.node(n) {
            Ok(node) => self.nodes[n] = node,
            Err(why) => return Self::cannot(why),
        }
        Ok(())
    }

    /// The faults stop: what is down comes back, what stood still moves, clocks agree.
    pub(crate) fn quiet_down(&mut self) -> Checked {
        self.calm = true;
        self.echoes.clear();
        self.hands.calm();
        for n in 0..self.nodes.len() {
            self.nodes[n].handle.calm();
            self.nodes[n].stalled_until = Timestamp(0);
            self.nodes[n].skew = 0;
            if !self.nodes[n].alive || self.nodes[n].failed() || self.nodes[n].closing {
                self.restart(n)?;
            }
        }
        Promise::Known.holds(!self.nodes.is_empty(), || "no process is left".into())
    }
}
