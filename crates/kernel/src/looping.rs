//! The loop of a project as a fold: which slots are dealt with, which jobs are under way, whether it is halted.
//!
//! Knows no file and no session's state; what a slot means is in [`crate::schedule`]. Start at [`Loop::apply`].

pub mod claim;

use crate::Illegal;
use crate::schedule::{LATE_MS, Since};
use contract::limits::SAME_FAILURES;
use contract::looping::{Job, LoopEvent};
use contract::{Digest, SessionId, Timestamp};
use std::collections::BTreeMap;

/// Slots of a schedule that are remembered one by one: a clock that was set back meets them again.
const RECENT: usize = 64;
/// After a failed opening, milliseconds.
const AGAIN_MS: u64 = 60_000;
/// Failures to open in a row that may pass by themselves, before a person has to look: with the waits between them more
/// than four hours.
const PASSING: u32 = 10;
/// Exit code of what was never opened.
const FAILED: u8 = 1;

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
    /// A task that somebody handed over.
    Task {
        /// Its id.
        id: String,
        /// What its time is booked under.
        priority: String,
    },
}

impl Origin {
    /// The name under which its failures are counted.
    pub fn name(&self) -> String {
        match self {
            Self::Schedule { id, .. } => format!("schedule/{id}"),
            Self::Task { id, .. } => format!("task/{id}"),
        }
    }
}

/// The files that are not as they were: changed, new or gone.
pub fn drift(before: &BTreeMap<String, Digest>, after: &BTreeMap<String, Digest>) -> Vec<String> {
    let changed = after.iter().filter(|(path, digest)| before.get(*path) != Some(digest));
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let mut all: Vec<String> = changed.map(|(path, _)| path).chain(gone).cloned().collect();
    all.sort();
    all
}

/// How often in a row something failed in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// In which way.
    pub signature: String,
    /// How often.
    pub count: u32,
    /// Nothing of it is tried before a person has looked; why.
    pub escalated: Option<String>,
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
    /// A person wants it: by trusting its schedule, or by a word of its own.
    pub accepted: bool,
    /// Sessions that pause until it has ended.
    pub interrupts: Vec<SessionId>,
    /// The newest failures to open it.
    pub unopened: Option<Unopened>,
}

/// Failures in a row, of one kind, to open the session of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unopened {
    /// Of which kind.
    pub signature: String,
    /// How many.
    pub count: u32,
    /// When the last one was.
    pub at: Timestamp,
}

impl Unopened {
    /// Nobody tries again before this moment: a minute after the first, and twice as long after each other one.
    pub fn until(&self) -> Timestamp {
        const MOST: u32 = 6;
        self.at.plus(AGAIN_MS << self.count.saturating_sub(1).min(MOST))
    }
}

/// What a job relied on when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synced {
    /// When.
    pub at: Timestamp,
    /// Before which stage of which session.
    pub before: Option<(SessionId, String)>,
    /// The commit that was checked out.
    pub head: String,
    /// Digests of the project's shared files.
    pub files: BTreeMap<String, Digest>,
    /// Those that had changed since the look before.
    pub drift: Vec<String>,
    /// What was wrong.
    pub wrong: Vec<String>,
}

/// The fold of a project's loop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loop {
    /// Number of its last event.
    pub seq: u64,
    /// Why nothing fires, if nothing does.
    pub halted: Option<String>,
    /// Name of the zone by whose wall clock slots are; `None`: nobody has said.
    pub zone: Option<String>,
    /// The last look at what jobs rely on.
    pub synced: Option<Synced>,
    schedules: BTreeMap<String, Known>,
    jobs: BTreeMap<SessionId, Open>,
    failing: BTreeMap<String, Failing>,
}

impl Loop {
    /// What fails, by the name of a schedule or task.
    pub fn failing(&self) -> impl Iterator<Item = (&str, &Failing)> {
        self.failing.iter().map(|(what, failing)| (what.as_str(), failing))
    }

    /// Why nothing of it is tried before a person has looked, if so.
    pub fn escalated(&self, what: &str) -> Option<&str> {
        self.failing.get(what)?.escalated.as_deref()
    }

    /// The facts of one more failure of it: that it failed, and at the limit that a person has to look. Another way of
    /// failing counts from one.
    pub fn failed(&self, what: &str, signature: &str, limit: u32) -> Vec<LoopEvent> {
        let known = self.failing.get(what).filter(|failing| failing.signature == signature);
        let count = known.map_or(0, |failing| failing.count).saturating_add(1);
        let (what, signature) = (what.to_owned(), signature.to_owned());
        let mut facts = vec![LoopEvent::Failed { what: what.clone(), signature: signature.clone(), count }];
        if count >= limit.max(1) && self.escalated(&what).is_none() {
            let why = format!("it failed {count} times in a row in the same way: {signature}");
            facts.push(LoopEvent::Escalated { what, signature, why });
        }
        facts
    }

    /// The facts of one more failure to open this job: that it failed, and at the limit that it is given up and a person
    /// has to look. None where another process tried a moment ago: that was this failure too.
    pub fn not_opened(
        &self,
        session: SessionId,
        signature: &str,
        passing: bool,
        now: Timestamp,
    ) -> Vec<LoopEvent> {
        let Some(open) = self.jobs.get(&session) else { return Vec::new() };
        if open.unopened.as_ref().is_some_and(|unopened| now < unopened.until()) {
            return Vec::new();
        }
        let mut facts = vec![LoopEvent::Unopened { session, signature: signature.to_owned(), passing }];
        let before = open.unopened.as_ref().filter(|unopened| unopened.signature == signature);
        let count = before.map_or(0, |unopened| unopened.count).saturating_add(1);
        if count >= if passing { PASSING } else { SAME_FAILURES } {
            let (what, signature) = (open.origin.name(), signature.to_owned());
            let why = format!("its session could not be opened, {count} times in a row: {signature}");
            facts.push(LoopEvent::Failed { what: what.clone(), signature: signature.clone(), count });
            facts.push(LoopEvent::Escalated { what, signature, why });
            facts.push(LoopEvent::Closed { session, code: FAILED });
        }
        facts
    }

    /// What is known of this schedule; `None`: it was never met.
    pub fn schedule(&self, id: &str) -> Option<&Known> {
        self.schedules.get(id)
    }

    /// Was this schedule dealt with, or met, by a clock that was ahead of this one? It is to be met again then: nothing
    /// of it would come before that moment.
    pub fn ahead(&self, id: &str, now: Timestamp) -> bool {
        let newest = |known: &Known| known.last.map_or(known.seen, |(_, done)| done);
        self.schedules.get(id).is_some_and(|known| newest(known) > now.plus(LATE_MS))
    }

    /// The job of this schedule whose end is not written back yet.
    pub fn job_of(&self, id: &str) -> Option<&Open> {
        self.jobs.values().find(|open| matches!(&open.origin, Origin::Schedule { id: of, .. } if of == id))
    }

    /// Jobs whose end is not written back yet, oldest session first.
    pub fn jobs(&self) -> impl Iterator<Item = &Open> {
        self.jobs.values()
    }

    /// From where the slots of this schedule are counted. `told` is when its file says that it last ran, or was passed
    /// over: another scheduler may work on the same file. On a grid the slot counts, and where each missed one is run, for
    /// as long as one had come when the last was dealt with (`each`: what lies between two); else the moment of the run.
    pub fn since(
        &self,
        id: &str,
        told: Option<Timestamp>,
        (grid, each): (bool, Option<u64>),
        now: Timestamp,
    ) -> Since {
        let Some(known) = self.schedules.get(id) else {
            return Since { at: told.unwrap_or(now), ran: told.is_some(), held: None, recent: Vec::new() };
        };
        // A slot that is held was stamped as skipped, and is not dealt with for that.
        let more = |slot: Timestamp, done| each.is_some_and(|step_ms| slot.plus(step_ms) <= done);
        let own = known.last.map(|(slot, done)| if grid || more(slot, done) { slot } else { slot.max(done) });
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
                // Met again, it counts from here on; slots that were dealt with stay so.
                known.last = known.last.filter(|(_, done)| *done <= at);
                known.held = known.held.filter(|held| *held <= at);
            }
            LoopEvent::Fired { schedule, slot, job, interrupts, .. } => {
                let origin = Origin::Schedule { id: schedule.clone(), slot: *slot };
                self.dealt(schedule, *slot, at)?.session = Some(job.session);
                let interrupts = interrupts.clone();
                let open = Open { job: job.clone(), origin, at, accepted: true, interrupts, unopened: None };
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
            LoopEvent::Delegated { task, priority, job, .. } => {
                let origin = Origin::Task { id: task.clone(), priority: priority.clone() };
                let open = Open {
                    job: job.clone(),
                    origin,
                    at,
                    accepted: false,
                    interrupts: Vec::new(),
                    unopened: None,
                };
                if self.jobs.insert(job.session, open).is_some() {
                    return Err(Illegal::new(job.session, event));
                }
            }
            LoopEvent::Closed { session, code } => {
                let open = self.jobs.remove(session).ok_or_else(|| Illegal::new(session, event))?;
                if *code == 0 {
                    self.failing.remove(&open.origin.name());
                }
            }
            LoopEvent::Accepted { .. } | LoopEvent::Unopened { .. } => self.waiting(at, event)?,
            LoopEvent::Synced { session, stage, head, files, drift, wrong } => {
                self.synced = Some(Synced {
                    at,
                    before: Some((*session, stage.clone())),
                    head: head.clone(),
                    files: files.clone(),
                    drift: drift.clone(),
                    wrong: wrong.clone(),
                });
            }
            LoopEvent::Zoned { zone, .. } => self.zone = Some(zone.clone()),
            LoopEvent::Failed { .. } | LoopEvent::Escalated { .. } | LoopEvent::Cleared { .. } => {
                self.failure(event)?;
            }
            LoopEvent::Halted { why } => self.halted = Some(why.clone()),
            LoopEvent::Continued { .. } => self.halted = None,
        }
        self.seq += 1;
        Ok(())
    }

    /// What becomes of a job that is not open.
    fn waiting(&mut self, at: Timestamp, event: &LoopEvent) -> Result<(), Illegal> {
        match event {
            LoopEvent::Accepted { session } => {
                self.jobs.get_mut(session).ok_or_else(|| Illegal::new(session, event))?.accepted = true;
            }
            LoopEvent::Unopened { session, signature, .. } => {
                let open = self.jobs.get_mut(session).ok_or_else(|| Illegal::new(session, event))?;
                let before = open.unopened.take().filter(|unopened| unopened.signature == *signature);
                let count = before.map_or(0, |unopened| unopened.count).saturating_add(1);
                open.unopened = Some(Unopened { signature: signature.clone(), count, at });
            }
            _ => {}
        }
        Ok(())
    }

    /// What fails, and whether it is tried.
    fn failure(&mut self, event: &LoopEvent) -> Result<(), Illegal> {
        match event {
            LoopEvent::Failed { what, signature, count } => {
                let escalated = self.escalated(what).map(str::to_owned);
                let failing = Failing { signature: signature.clone(), count: *count, escalated };
                self.failing.insert(what.clone(), failing);
            }
            LoopEvent::Escalated { what, why, .. } => {
                let failing = self.failing.get_mut(what).ok_or_else(|| Illegal::new(what, event))?;
                failing.escalated = Some(why.clone());
            }
            LoopEvent::Cleared { what } => {
                self.failing.remove(what);
            }
            _ => {}
        }
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
