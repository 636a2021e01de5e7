//! One process: a governor, the sessions it holds, their actions in flight. The arbiter's loop without its runtime.
//!
//! Commits through the port exactly as the arbiter does: decide, append, and only then dispatch. Start at [`Node::step`].

use crate::cover::Cover;
use contract::action::{Effect, Run};
use contract::journal::{Class, Error, Journal, Lease};
use contract::{SessionId, Timestamp};
use engine::core::{Core, Moment, Step};
use engine::store;
use journal::Memory;
use kernel::governor::Slots;
use kernel::{Governor, Input, Session};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The in-memory journal answers at the first poll.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the in-memory journal never waits"),
    }
}

/// An action in flight.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) run: Run,
    pub(crate) ends: Timestamp,
    pub(crate) took_effect: bool,
    pub(crate) cancelled: bool,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) core: Core,
    pub(crate) lease: Lease,
    pub(crate) flight: Option<Flight>,
    pub(crate) wake_at: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) store: Memory,
    pub(crate) governor: Governor,
    pub(crate) held: BTreeMap<SessionId, Held>,
    pub(crate) alive: bool,
    /// It does not move before this moment: suspended, swapped out, a closed lid.
    pub(crate) stalled_until: Timestamp,
    pub(crate) wakes: Vec<SessionId>,
}

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    Ran,
    /// This process no longer executes the session.
    Dropped,
    /// The whole process died.
    Died,
}

impl Node {
    pub(crate) fn new(name: String, store: Memory) -> Self {
        let slots = Slots { model: 3, tool: 3, check: 2, workspace: 2 };
        let governor = Governor::new(slots);
        Self {
            name,
            store,
            governor,
            held: BTreeMap::new(),
            alive: true,
            stalled_until: Timestamp(0),
            wakes: Vec::new(),
        }
    }

    pub(crate) fn moves(&self, now: Timestamp) -> bool {
        self.alive && now >= self.stalled_until
    }

    pub(crate) fn load_ledger(&mut self, root: SessionId) -> Result<(), Error> {
        let ledger = now(store::ledger(&self.store, root))?;
        self.governor.load(root, ledger);
        Ok(())
    }

    /// Decide, commit, dispatch. Runs that were dispatched are returned, so that the world can watch them.
    pub(crate) fn step(
        &mut self,
        id: SessionId,
        input: &Input,
        rows: &[u64],
        moment: Moment,
        cover: &mut Cover,
    ) -> Result<(After, Vec<Run>), String> {
        for _ in 0..8 {
            // A failed commit of a relative may have thrown the tree's ledger away.
            let root =
                self.held.get(&id).filter(|held| held.core.state.seq > 0).map(|held| held.core.state.root());
            if let Some(root) = root.filter(|root| self.governor.peek(*root).is_none())
                && self.load_ledger(root).is_err()
            {
                return Ok((After::Dropped, Vec::new()));
            }
            let Some(held) = self.held.get_mut(&id) else { return Ok((After::Dropped, Vec::new())) };
            let step = match held.core.step(&mut self.governor, input.clone(), moment) {
                Ok(step) => step,
                Err(illegal) => {
                    return Err(format!(
                        "promise 12: the kernel contradicts itself in {id} on {input:?}: {illegal}"
                    ));
                }
            };
            match self.commit(step, rows) {
                Ok(step) => return Ok(self.dispatch(id, step)),
                Err(error) => {
                    cover.met(format!("error {}", name_of(&error)));
                    let root = self.held.get(&id).map_or(id, |held| held.core.state.root());
                    self.governor.release(id);
                    self.governor.forget(root);
                    match error {
                        Error::Closed(_) => return Ok((After::Died, Vec::new())),
                        error if error.class() != Class::Retry => {
                            self.held.remove(&id);
                            return Ok((After::Dropped, Vec::new()));
                        }
                        _ => {}
                    }
                    if self.reload(id, root).is_err() {
                        self.held.remove(&id);
                        return Ok((After::Dropped, Vec::new()));
                    }
                }
            }
        }
        self.held.remove(&id);
        Ok((After::Dropped, Vec::new()))
    }

    fn commit(&mut self, mut step: Step, rows: &[u64]) -> Result<Step, Error> {
        step.batch.consume = rows.to_vec();
        if !step.is_empty() {
            now(self.store.append(std::mem::take(&mut step.batch)))?;
        }
        Ok(step)
    }

    fn reload(&mut self, id: SessionId, root: SessionId) -> Result<(), Error> {
        let state = now(store::session(&self.store, id))?.unwrap_or_else(|| Session::new(id));
        if let Some(held) = self.held.get_mut(&id) {
            held.core.state = state;
        }
        self.load_ledger(root)
    }

    fn dispatch(&mut self, id: SessionId, step: Step) -> (After, Vec<Run>) {
        let mut runs = Vec::new();
        let Some(held) = self.held.get_mut(&id) else { return (After::Dropped, runs) };
        held.wake_at = step.wake_at;
        for effect in step.effects {
            match effect {
                Effect::Run(run) => runs.push(*run),
                Effect::Cancel { action, .. } => {
                    if let Some(flight) = held.flight.as_mut().filter(|f| f.run.action == action) {
                        flight.cancelled = true;
                    }
                }
                Effect::Wake(session) => self.wakes.push(session),
            }
        }
        if step.snapshot {
            let _ = now(store::snapshot(
                &self.store,
                contract::StreamId::Session(id),
                held.core.state.seq,
                &held.core.state,
            ));
        }
        (After::Ran, runs)
    }
}

pub(crate) fn name_of(error: &Error) -> &'static str {
    match error {
        Error::Conflict { .. } => "conflict",
        Error::Fenced { .. } => "fenced",
        Error::Full(_) => "full",
        Error::ReadOnly(_) => "read-only",
        Error::Io(_) => "io",
        Error::Corrupt(_) => "corrupt",
        Error::Newer { .. } => "newer",
        Error::Busy(_) => "busy",
        Error::Closed(_) => "closed",
        Error::Invalid(_) => "invalid",
    }
}
