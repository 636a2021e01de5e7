//! What becomes of a slot that has come: fired, passed over, held, or nothing, decided on the record it is added to.
//!
//! Knows a schedule as its file has it and the tasks of the repository; opens nothing. Start at [`decide`].

use super::Loop;
use crate::schedule::{Around, Due, Every, Missed, Schedule, Since, Slot, Then, Zone};
use contract::looping::{Job, LoopEvent};
use contract::{SessionId, Timestamp};
use std::collections::BTreeMap;

/// A schedule as its file has it.
#[derive(Debug, Clone, Copy)]
pub struct Filed<'f> {
    /// Its id.
    pub id: &'f str,
    /// When it fires.
    pub time: &'f Schedule,
    /// When the file says that it ran last, or was passed over.
    pub told: Option<Timestamp>,
    /// When the file says that it ran last.
    pub ran: Option<Timestamp>,
}

/// A root session of the repository with everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// It goes on by itself.
    pub runs: bool,
    /// An action of it is in flight: however long that takes, it is not idle.
    pub acts: bool,
    /// Its newest event, anywhere in its tree.
    pub at: Timestamp,
}

/// The tasks of a repository.
#[derive(Debug, Clone, Default)]
pub struct Tasks(pub BTreeMap<SessionId, Task>);

impl Tasks {
    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = SessionId> {
        self.0.iter().filter(|(_, task)| task.runs).map(|(id, _)| *id)
    }

    /// What a slot of this schedule meets. A job that is claimed and not open yet runs.
    fn around(&self, known: &Loop, filed: Filed<'_>, own: Option<SessionId>, now: Timestamp) -> Around {
        let claimed = known.jobs().filter(|open| open.accepted && !self.0.contains_key(&open.job.session));
        let idle = |task: &Task| if task.acts { 0 } else { now.since(task.at) };
        let idle = self.0.values().filter(|task| task.runs).map(idle);
        let last = known.schedule(filed.id).and_then(|known| known.last).map(|(_, at)| at);
        let last = last.filter(|_| own.is_some()).max(filed.ran);
        let since = |task: &Task| last.is_none_or(|last| task.at > last);
        Around {
            runs_idle_ms: idle.min(),
            claimed: claimed.count() > 0 || known.jobs().filter(|open| open.accepted).count() >= JOBS,
            active: self.0.iter().any(|(id, task)| Some(*id) != own && since(task)),
            ran: last.is_some(),
            open: known.job_of(filed.id).is_some(),
        }
    }
}

/// What a slot is judged by.
#[derive(Clone, Copy)]
pub struct Case<'c> {
    /// The schedule.
    pub filed: Filed<'c>,
    /// What else goes on.
    pub tasks: &'c Tasks,
    /// How the wall clock goes.
    pub zone: &'c (dyn Zone + Sync),
    /// The project's directory.
    pub repo: &'c str,
    /// Why nothing of it can be run; empty: nothing stands in the way.
    pub wrong: &'c str,
    /// The clock's now.
    pub now: Timestamp,
}

impl std::fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("filed", &self.filed).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Loop {
    /// Why nothing of a schedule is fired before a person has looked, if so.
    pub fn schedule_escalated(&self, id: &str) -> Option<&str> {
        self.escalated(&format!("schedule/{id}"))
    }

    /// From where its slots are counted.
    pub fn counts(&self, filed: Filed<'_>, now: Timestamp) -> Since {
        let each = matches!(filed.time.missed, Missed::All(_)).then_some(filed.time.every).flatten();
        let count = (filed.time.start.is_some(), each.map(Every::step_ms));
        self.since(filed.id, filed.told, count, now)
    }

    /// How it stands.
    pub fn due(&self, filed: Filed<'_>, now: Timestamp, zone: &dyn Zone) -> Due {
        filed.time.due(&self.counts(filed, now), now, zone)
    }
}

/// The facts that follow, with this job where it fires.
pub fn decide(case: &Case<'_>, known: &Loop, job: &Job) -> Vec<LoopEvent> {
    let Case { filed, now, .. } = *case;
    let schedule = filed.id.to_owned();
    if known.halted.is_some() || known.schedule_escalated(filed.id).is_some() {
        return Vec::new();
    }
    let Some(met) = known.schedule(&schedule).filter(|_| !known.ahead(&schedule, now)) else {
        return vec![LoopEvent::Seen { repo: case.repo.to_owned(), schedule }];
    };
    let passed = |slot: Slot, why: &str| LoopEvent::Passed {
        schedule: schedule.clone(),
        slot: slot.at,
        missed: slot.missed,
        why: why.to_owned(),
    };
    let slot = match known.due(filed, now, case.zone) {
        Due::Now(slot) => slot,
        Due::Late(slot) => return vec![passed(slot, "it was missed, and missed runs are skipped")],
        _ => return Vec::new(),
    };
    if !case.wrong.is_empty() {
        return vec![passed(slot, case.wrong)];
    }
    match filed.time.then(case.tasks.around(known, filed, met.session, now)) {
        then @ (Then::Run | Then::Interrupt) => {
            let (slot, missed, job) = (slot.at, slot.missed, job.clone());
            let interrupted = case.tasks.running().filter(|_| then == Then::Interrupt);
            vec![LoopEvent::Fired { schedule, slot, missed, job, interrupts: interrupted.collect() }]
        }
        Then::Hold if met.held.is_some() => Vec::new(),
        Then::Hold => vec![LoopEvent::Held { schedule, slot: slot.at }],
        Then::Pass(why) => vec![passed(slot, why)],
    }
}

/// Where the session of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Nobody has opened it.
    Unopened {
        /// A person trusts the mode, as it stands.
        trusted: bool,
    },
    /// It has ended.
    Ended,
    /// It is open.
    Open {
        /// It waits for a person.
        rests: bool,
        /// A living process executes it.
        held: bool,
    },
}

/// What is to be done about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Do {
    /// Open its session.
    Open,
    /// Go on with what a dead process left.
    GoOn,
    /// Write back what came of it.
    Finish,
    /// Nothing: it goes on by itself, or will be opened.
    Await,
    /// Nothing before a person does something.
    Rest,
    /// Nothing: nobody trusts what it would run in.
    Distrust,
    /// Nothing: a person has yet to say that it is wanted.
    Ask,
    /// Nothing before this moment: opening it failed.
    Later(Timestamp),
}

/// Tasks that somebody handed over and that are worked on at a time.
const TASKS: usize = 4;
/// Jobs whose end is not written back yet, of one project: beyond, slots wait.
const JOBS: usize = 16;
/// Tasks that may wait for a person's word, of one project.
const WAITING: usize = 50;

impl Loop {
    /// May one more task be handed over? There is a bound on those that nobody has accepted.
    pub fn takes_tasks(&self) -> bool {
        self.jobs().filter(|open| !open.accepted).count() < WAITING
    }

    /// What is to be done about this job, while `busy` other ones go on by themselves.
    pub fn job(&self, open: &super::Open, stands: Stands, busy: usize, now: Timestamp) -> Do {
        let halted = self.halted.is_some();
        let later = open.unopened.as_ref().map(super::Unopened::until).filter(|until| now < *until);
        match stands {
            Stands::Ended => Do::Finish,
            Stands::Unopened { .. } if halted => Do::Rest,
            Stands::Unopened { .. } if !open.accepted => Do::Ask,
            Stands::Unopened { .. } if later.is_some() => Do::Later(later.unwrap_or(now)),
            Stands::Unopened { .. } if matches!(open.origin, super::Origin::Task { .. }) && busy >= TASKS => {
                Do::Await
            }
            Stands::Unopened { trusted: false } => Do::Distrust,
            Stands::Unopened { trusted: true } => Do::Open,
            Stands::Open { rests: true, .. } => Do::Rest,
            Stands::Open { held: false, .. } if halted => Do::Rest,
            Stands::Open { held: false, .. } => Do::GoOn,
            Stands::Open { held: true, .. } => Do::Await,
        }
    }
}
