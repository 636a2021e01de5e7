//! The loop of a project as a fold: which slots are dealt with, which jobs are under way, whether it is halted.
//!
//! Knows no file and no session's state; what a slot means is in [`crate::schedule`]. Start at [`Loop::apply`].

use crate::Illegal;
use crate::schedule::Since;
use contract::looping::{Job, LoopEvent};
use contract::{SessionId, Timestamp};
use std::collections::BTreeMap;

/// Slots of a schedule that are remembered one by one: a clock that was set back meets them again.
const RECENT: usize = 64;

/// What is known of one schedule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// When it was met first.
    pub seen: Timestamp,
    /// The newest slot that is dealt with, and when that was.
    pub last: Option<(Timestamp, Timestamp)>,
    /// The newest session it became.
    pub session: Option<SessionId>,
    /// A slot that waits for a task that runs.
    pub held: Option<Timestamp>,
    recent: Vec<Timestamp>,
}

/// Where a job comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A slot of a schedule.
    Schedule {
        /// Its id.
        id: String,
        /// The slot.
        slot: Timestamp,
    },
}

/// A job whose end is not written back yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// It.
    pub job: Job,
    /// Where it comes from.
    pub origin: Origin,
    /// When it was claimed.
    pub at: Timestamp,
}

/// The fold of a project's loop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loop {
    /// Number of its last event.
    pub seq: u64,
    /// Why nothing fires, if nothing does.
    pub halted: Option<String>,
    schedules: BTreeMap<String, Known>,
    jobs: BTreeMap<SessionId, Open>,
}

impl Loop {
    /// What is known of this schedule; `None`: it was never met.
    pub fn schedule(&self, id: &str) -> Option<&Known> {
        self.schedules.get(id)
    }

    /// Jobs whose end is not written back yet, oldest session first.
    pub fn jobs(&self) -> impl Iterator<Item = &Open> {
        self.jobs.values()
    }

    /// From where the slots of this schedule are counted. `told` is when its file says that it last ran, or was passed
    /// over: another scheduler may work on the same file. On a grid the slot counts, else the moment of the run.
    pub fn since(&self, id: &str, told: Option<Timestamp>, grid: bool, now: Timestamp) -> Since {
        let Some(known) = self.schedules.get(id) else {
            return Since { at: told.unwrap_or(now), ran: told.is_some(), held: None, recent: Vec::new() };
        };
        // A slot that is held was stamped as skipped, and is not dealt with for that.
        let own = known.last.map(|(slot, done)| if grid { slot } else { slot.max(done) });
        let dealt = known.last.map(|(_, done)| done);
        let ran = own.max(told.filter(|told| known.held.is_none() && dealt.is_none_or(|done| *told > done)));
        Since {
            at: ran.unwrap_or(known.seen),
            ran: ran.is_some(),
            held: known.held,
            recent: known.recent.clone(),
        }
    }

    /// One more fact.
    pub fn apply(&mut self, at: Timestamp, event: &LoopEvent) -> Result<(), Illegal> {
        match event {
            LoopEvent::Seen { schedule, .. } => {
                let known = self.schedules.entry(schedule.clone()).or_default();
                known.seen = at;
            }
            LoopEvent::Fired { schedule, slot, job, .. } => {
                let origin = Origin::Schedule { id: schedule.clone(), slot: *slot };
                self.dealt(schedule, *slot, at)?.session = Some(job.session);
                let open = Open { job: job.clone(), origin, at };
                if self.jobs.insert(job.session, open).is_some() {
                    return Err(Illegal::new(job.session, event));
                }
            }
            LoopEvent::Passed { schedule, slot, .. } => {
                self.dealt(schedule, *slot, at)?;
            }
            LoopEvent::Held { schedule, slot } => {
                let known = self.met(schedule)?;
                if known.recent.contains(slot) {
                    return Err(Illegal::new(known, event));
                }
                known.held = Some(*slot);
            }
            LoopEvent::Closed { session, .. } => {
                if self.jobs.remove(session).is_none() {
                    return Err(Illegal::new(session, event));
                }
            }
            LoopEvent::Halted { why } => self.halted = Some(why.clone()),
            LoopEvent::Continued { .. } => self.halted = None,
        }
        self.seq += 1;
        Ok(())
    }

    fn met(&mut self, schedule: &str) -> Result<&mut Known, Illegal> {
        self.schedules.get_mut(schedule).ok_or_else(|| Illegal::new(schedule, "a slot before it was seen"))
    }

    /// A slot is dealt with, once.
    fn dealt(&mut self, schedule: &str, slot: Timestamp, at: Timestamp) -> Result<&mut Known, Illegal> {
        let known = self.met(schedule)?;
        if known.recent.contains(&slot) {
            return Err(Illegal::new(slot, "the same slot again"));
        }
        if known.recent.len() == RECENT {
            known.recent.remove(0);
        }
        known.recent.push(slot);
        known.last = Some((slot, at));
        known.held = None;
        Ok(known)
    }
}
