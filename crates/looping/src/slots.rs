//! The slots of the schedules: each is claimed once, passed over or held, and its file told.
//!
//! Start at `Looper::schedules`.

use crate::looper::{Look, Looper, News, failed};
use crate::modes::{self, Modes};
use crate::read::Read;
use crate::trusted;
use board::when;
use contract::looping::{Job, LoopEvent};
use contract::{Digest, Fault, SessionId, Timestamp};
use kernel::looping::Loop;
use kernel::looping::claim::{Case, Tasks, decide};
use kernel::schedule::Due;
use kernel::view::short;
use serde_json::{Map, Value, json};

/// A slot that waits is looked at again after this long, milliseconds.
const AGAIN_MS: u64 = 60_000;

impl Looper<'_> {
    /// True when something was claimed.
    pub(crate) async fn schedules(&mut self, look: &mut Look) -> Result<bool, Fault> {
        let (mut tasks, mut fired) = (None, false);
        let (all, modes) = (self.read().await?, self.modes().await?);
        for read in all {
            match self.schedule(&read, &modes, &mut tasks, look).await {
                Ok(claimed) => fired |= claimed,
                // One schedule that cannot be fired keeps no other one.
                Err(fault) => {
                    look.news.push(News::new("trouble", read.name(), fault.to_string()));
                    look.at(self.now().plus(AGAIN_MS));
                }
            }
        }
        Ok(fired)
    }

    async fn schedule(
        &mut self,
        read: &Read,
        modes: &Modes,
        tasks: &mut Option<Tasks>,
        look: &mut Look,
    ) -> Result<bool, Fault> {
        let now = self.now();
        if self.known.halted.is_some() || self.known.schedule_escalated(&read.file.id).is_some() {
            return Ok(false);
        }
        if !self.may(read, modes, look)? {
            return Ok(false);
        }
        if read.time.by_the_wall() {
            self.on_record(look).await?;
        }
        match self.known.due(read.filed(), now, &self.place) {
            Due::Never(_) => return Ok(false),
            Due::Expired => {
                self.expired(read, look).await?;
                return Ok(false);
            }
            Due::Later(at) => {
                look.at(at);
                let rebased = self.known.ahead(&read.file.id, now);
                if !rebased {
                    self.announce(read, at, now).await?;
                }
                if !rebased && self.known.schedule(&read.file.id).is_some() {
                    return Ok(false);
                }
            }
            Due::Now(_) | Due::Late(_) => {}
        }
        if tasks.is_none() {
            *tasks = Some(self.tasks().await?);
        }
        let Some(around) = tasks.as_ref() else { return Ok(false) };
        let claimed = self.claim(read, modes, around, now, look).await?;
        if claimed {
            // What runs is another matter now.
            *tasks = None;
        }
        Ok(claimed)
    }

    /// Whether its slots mean anything: it is active, something can be on record of it, and a person trusts it. Where
    /// not, nothing is written about it, and it is said once.
    fn may(&mut self, read: &Read, modes: &Modes, look: &mut Look) -> Result<bool, Fault> {
        if !read.inert.is_empty() && read.file.is_active() {
            self.say_once(News::new("inert", read.name(), read.inert), look);
        }
        if !read.time.active || read.time.every.is_none() {
            return Ok(false);
        }
        if let Some(why) = trusted::schedule_refused(&*self.host, read, modes)? {
            self.say_once(News::new("untrusted", read.name(), why), look);
            return Ok(false);
        }
        if let Some(ahead) = read.ahead {
            let why = format!(
                "its file says that it ran or was passed over at {ahead}, which has not come: ignored"
            );
            self.say_once(News::new("trouble", read.name(), why), look);
        }
        Ok(true)
    }

    /// What becomes of a slot is decided on the very record it is added to.
    async fn claim(
        &mut self,
        read: &Read,
        modes: &Modes,
        tasks: &Tasks,
        now: Timestamp,
        look: &mut Look,
    ) -> Result<bool, Fault> {
        let (goal, wrong) = self.goal(read, modes);
        let rebased = self.known.ahead(&read.file.id, now);
        let job = Job {
            session: SessionId::v7(now.0, self.host.clock().random()),
            mode: read.file.text("mode").to_owned(),
            goal: Digest::of(goal.as_bytes()),
            bytes: goal.len() as u64,
        };
        let (place, repo) = (self.place.clone(), self.repo.clone());
        let case = Case { filed: read.filed(), tasks, zone: &place, repo: &repo, wrong: &wrong, now };
        // The goal's text is durable before the claim that names it; most looks claim nothing.
        let stored = !matches!(decide(&case, &self.known, &job).first(), None | Some(LoopEvent::Held { .. }));
        if stored {
            self.host.journal().put(vec![goal.into_bytes()]).await.map_err(failed)?;
        }
        let mut decide = |known: &Loop| {
            let facts = decide(&case, known, &job);
            // It was not to be run a moment ago: the next look sees to it.
            let unready = !stored && matches!(facts.first(), Some(LoopEvent::Fired { .. }));
            if unready { Vec::new() } else { facts }
        };
        let mut claimed = false;
        loop {
            let done = self.commit(&mut decide).await?;
            claimed |= self.told(read, &done, look);
            match done.first() {
                Some(LoopEvent::Seen { .. }) => {}
                Some(LoopEvent::Passed { .. } | LoopEvent::Held { .. }) => {
                    self.skipped(read, now).await?;
                    break;
                }
                _ => break,
            }
        }
        if rebased && !claimed {
            let next = self.next(read, now);
            self.stamp(read.file.id.clone(), fields([("nextExecutionTime", next)])).await?;
        }
        if self.known.schedule(&read.file.id).is_some_and(|known| known.held.is_some()) {
            look.at(now.plus(AGAIN_MS));
        }
        Ok(claimed)
    }

    /// The task as its agent will read it, or why nobody should.
    fn goal(&self, read: &Read, modes: &Modes) -> (String, String) {
        let goal = match worded(read, modes) {
            Ok(goal) => goal,
            Err(wrong) => return (String::new(), wrong),
        };
        let refused = self.host.refused("taskInstructions", &goal);
        (goal, refused.unwrap_or_default())
    }

    fn told(&self, read: &Read, done: &[LoopEvent], look: &mut Look) -> bool {
        let about = read.name();
        let mut claimed = false;
        for event in done {
            let (what, slot, missed, why, session) = match event {
                LoopEvent::Fired { slot, missed, job, .. } => {
                    claimed = true;
                    ("fired", slot, *missed, format!("session {}", short(job.session)), Some(job.session))
                }
                LoopEvent::Passed { slot, missed, why, .. } => ("passed", slot, *missed, why.clone(), None),
                LoopEvent::Held { slot, .. } => ("held", slot, 0, waits(&self.known, &read.file.id), None),
                _ => continue,
            };
            let missed = if missed == 0 { String::new() } else { format!(", and {missed} missed before it") };
            let why = format!("{} ({}{missed})", why, self.place.shown(*slot));
            look.news.push(News { session, ..News::new(what, about, why) });
        }
        claimed
    }

    pub(crate) async fn tasks(&self) -> Result<Tasks, Fault> {
        let ours: Vec<SessionId> = self.known.jobs().map(|open| open.job.session).collect();
        self.host.tasks(&ours).await
    }

    /// The file says when it comes next: unless another scheduler has said so already.
    async fn announce(&self, read: &Read, next: Timestamp, now: Timestamp) -> Result<(), Fault> {
        let said = when::read(read.file.text("nextExecutionTime"));
        if said.is_none_or(|said| said <= millis(now)) {
            self.stamp(read.file.id.clone(), fields([("nextExecutionTime", Some(next))])).await?;
        }
        Ok(())
    }

    async fn skipped(&self, read: &Read, now: Timestamp) -> Result<(), Fault> {
        let next = self.next(read, now);
        self.stamp(
            read.file.id.clone(),
            fields([("lastSkippedTime", Some(now)), ("nextExecutionTime", next)]),
        )
        .await
    }

    async fn expired(&self, read: &Read, look: &mut Look) -> Result<(), Fault> {
        let mut fields = fields([("nextExecutionTime", None)]);
        fields.insert("active".into(), false.into());
        self.stamp(read.file.id.clone(), fields).await?;
        look.news.push(News::new("expired", read.name(), "its last minute is over: it is no longer active"));
        Ok(())
    }

    /// When the next slot comes.
    pub(crate) fn next(&self, read: &Read, after: Timestamp) -> Option<Timestamp> {
        let since = self.known.counts(read.filed(), after);
        read.time.next(&since, after, &self.place, 1).first().copied()
    }

    pub(crate) async fn stamp(&self, id: String, fields: Map<String, Value>) -> Result<(), Fault> {
        self.at_desk(move |desk| desk.stamp(&id, &fields)).await.map(drop)
    }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// Moments as the file holds them; `None` takes a field out.
pub(crate) fn fields<const N: usize>(of: [(&str, Option<Timestamp>); N]) -> Map<String, Value> {
    let written = |at: Option<Timestamp>| at.map_or(Value::Null, |at| json!(when::written_ms(millis(at))));
    of.into_iter().map(|(name, at)| (name.to_owned(), written(at))).collect()
}

/// The task of a schedule as its agent reads it, or why there is none.
pub(crate) fn worded(read: &Read, modes: &Modes) -> Result<String, String> {
    let (task, slug) = (read.file.text("taskInstructions"), read.file.text("mode"));
    if task.trim().is_empty() {
        return Err("it has no taskInstructions".into());
    }
    let found = modes.find(slug).map(|mode| modes::worded(&mode, task.trim_start()));
    found.ok_or_else(|| format!("there is no mode `{slug}`; there are {}", modes.names()))
}

/// What a slot of a schedule waits for.
pub(crate) fn waits(known: &Loop, id: &str) -> String {
    known.job_of(id).map_or_else(
        || "a task is running".to_owned(),
        |open| {
            let session = short(open.job.session);
            format!("its last session {session} has not ended (kapell sessions show {session})")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    /// Decides on the record as it is at this moment, and adds what follows.
    fn look(known: &mut Loop, read: &Read, now: Timestamp) -> Vec<LoopEvent> {
        let (tasks, place) = (Tasks::default(), Place::default());
        let job =
            Job { session: SessionId::v7(now.0, 0), mode: "code".into(), goal: Digest::of(b"x"), bytes: 1 };
        let case = Case { filed: read.filed(), tasks: &tasks, zone: &place, repo: "/r", wrong: "", now };
        let facts = decide(&case, known, &job);
        facts.iter().for_each(|fact| known.apply(now, fact).unwrap());
        facts
    }

    #[test]
    fn a_clock_that_was_ahead_once_silences_nothing_for_good() {
        let text = r#"{"schedules": [{"id": "1", "timeInterval": "1", "timeUnit": "minute"}]}"#;
        let files = board::Schedules::parse(text).unwrap().all();
        let now = "2026-11-21T08:00:00.000Z".parse::<Timestamp>().unwrap();
        let read = Read::all(files, now, true).remove(0);
        let mut known = Loop::default();
        let minutes = |n: u64| now.plus(n * 60_000);
        let far = minutes(365 * 24 * 60);
        look(&mut known, &read, far);
        let fired = look(&mut known, &read, far.plus(120_000));
        let [LoopEvent::Fired { job, .. }] = &fired[..] else { panic!("{fired:?}") };
        known.apply(far.plus(180_000), &LoopEvent::Closed { session: job.session, code: 0 }).unwrap();
        // It is right again.
        assert!(matches!(look(&mut known, &read, now)[..], [LoopEvent::Seen { .. }]));
        assert!(look(&mut known, &read, now.plus(1_000)).is_empty());
        assert!(matches!(look(&mut known, &read, minutes(1))[..], [LoopEvent::Fired { .. }]));
    }
}
