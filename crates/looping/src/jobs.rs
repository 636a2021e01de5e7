//! What was claimed: each job is opened once under the name its claim gave it, gone on with, and written back.
//!
//! Every step can be done again by whoever comes next, in this process or another one. Start at [`Looper::jobs`].

use crate::looper::{Look, Looper, News};
use crate::modes::{self, Modes};
use crate::port::{End, Opening, Stand};
use crate::slots::fields;
use crate::trusted;
use board::modes::Mode;
use board::when;
use contract::looping::LoopEvent;
use contract::{Fault, Kind, SessionId};
use desk::Timed;
use kernel::looping::claim::{Do, Stands};
use kernel::looping::{Loop, Open, Origin};
use kernel::view::short;

/// What the time of a scheduled job is booked under.
const PRIORITY: &str = "schedule";
/// Failures of one kind in a row before a person has to look.
const LIMIT: u32 = contract::limits::SAME_FAILURES;
/// Exit code of a job that was never opened.
const FAILURE: u8 = 1;
/// Opening that failed is tried again after this long, milliseconds.
const RETRY_MS: u64 = 60_000;

impl Looper<'_> {
    /// Opens, goes on with and writes back what is on record.
    pub(crate) async fn jobs(&mut self, look: &mut Look) -> Result<(), Fault> {
        let open: Vec<Open> = self.known.jobs().cloned().collect();
        for job in open {
            let id = job.job.session;
            match self.job(&job, look).await {
                Ok(()) => {}
                Err(fault) => {
                    self.failed.insert(id, self.now());
                    let news = News::new("trouble", &about(&job), fault.to_string());
                    look.news.push(News { session: Some(id), ..news });
                    if !self.gave_up(&job, &fault, look).await? {
                        look.jobs.push((id, true));
                    }
                }
            }
        }
        Ok(())
    }

    async fn job(&mut self, open: &Open, look: &mut Look) -> Result<(), Fault> {
        let (id, now) = (open.job.session, self.now());
        if self.failed.get(&id).is_some_and(|at| now.since(*at) < RETRY_MS) {
            look.jobs.push((id, true));
            return Ok(());
        }
        let (mut mode, mut untrusted) = (None, None);
        let stand = self.host.stand(id).await?;
        let stands = match &stand {
            Some(Stand { end: Some(_), .. }) => Stands::Ended,
            Some(Stand { rests, held, .. }) => Stands::Open { rests: *rests, held: *held },
            None => {
                let modes = self.modes().await?;
                let found = found(open, &modes)?;
                untrusted = trusted::mode_refused(&*self.host, &found, &modes)?;
                mode = Some(found);
                Stands::Unopened { trusted: untrusted.is_none() }
            }
        };
        let done = self.known.job(open, stands, busy(look));
        match done {
            Do::Open => {
                if let Some(mode) = mode {
                    self.begin(open, &mode).await?;
                }
            }
            // Somebody else may be quicker, which is as good.
            Do::GoOn => self.host.go_on(id).await?,
            Do::Finish => {
                if let Some(end) = stand.and_then(|stand| stand.end) {
                    self.finish(open, &end, look).await?;
                }
                return Ok(());
            }
            Do::Distrust => {
                let why = untrusted.unwrap_or_default();
                self.say_once(News::new("untrusted", &about(open), why), look);
            }
            Do::Await | Do::Rest => {}
        }
        look.jobs.push((id, matches!(done, Do::Rest | Do::Distrust)));
        Ok(())
    }

    /// On record in the project's files first, then open: whoever of several gets there opens it.
    async fn begin(&mut self, open: &Open, mode: &Mode) -> Result<(), Fault> {
        let (id, slug, task) = (open.job.session.to_string(), open.job.mode.clone(), about(open));
        let priority = priority(open);
        self.at_desk(move |desk| {
            desk.began(Timed { id: &id, task: &task, mode: &slug, priority: &priority })
        })
        .await?;
        self.stamped(open).await?;
        let tools = modes::tools(mode);
        let (session, goal, mode) = (open.job.session, open.job.goal, open.job.mode.clone());
        self.host.open(Opening { session, goal, mode, tools }).await
    }

    /// The file says what ran, unless it says so already, or something newer.
    async fn stamped(&self, open: &Open) -> Result<(), Fault> {
        let Origin::Schedule { id, .. } = &open.origin else { return Ok(()) };
        let read = self.read().await?.into_iter().find(|read| read.file.id == *id);
        let Some(read) = read.filter(|read| read.ran.is_none_or(|ran| ran < open.at)) else {
            return Ok(());
        };
        let next = self.next(&read, open.at);
        let mut fields = fields([("lastExecutionTime", Some(open.at)), ("nextExecutionTime", next)]);
        fields.insert("lastTaskId".into(), open.job.session.to_string().into());
        self.stamp(id.clone(), fields).await
    }

    async fn finish(&mut self, open: &Open, end: &End, look: &mut Look) -> Result<(), Fault> {
        let (session, code) = (open.job.session, end.code);
        let result = match code {
            0 => "completed".to_owned(),
            code => format!("failed: {} (exit {code})", end.why),
        };
        let (id, mode, task) = (session.to_string(), open.job.mode.clone(), about(open));
        let (told, priority) = (result.clone(), priority(open));
        let words = self.words(open).await;
        self.at_desk(move |desk| {
            desk.ended(Timed { id: &id, task: &task, mode: &mode, priority: &priority }, &told)?;
            match words.filter(|_| code == 0) {
                Some(words) => desk.tick(&words).map(drop),
                None => Ok(()),
            }
        })
        .await?;
        // Who cancels wanted that: it is no failure.
        let signature = (code != 0 && !end.cancelled).then(|| format!("exit {code}"));
        if self.closed(open, code, signature.as_deref(), look).await? {
            let why = format!("session {}: {result}", short(session));
            look.news.push(News {
                session: Some(session),
                code: Some(code),
                ..News::new("ended", &about(open), why)
            });
        }
        Ok(())
    }

    /// The first line of a task, which may stand in the list of what is to be done; a schedule's never does.
    async fn words(&self, open: &Open) -> Option<String> {
        let Origin::Task { .. } = open.origin else { return None };
        let text = self.host.journal().blob(open.job.goal).await.ok()?;
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    }

    /// Puts the end of a job on record, and its failure if it was one. False: somebody else has.
    async fn closed(
        &mut self,
        open: &Open,
        code: u8,
        signature: Option<&str>,
        look: &mut Look,
    ) -> Result<bool, Fault> {
        let (session, what) = (open.job.session, open.origin.name());
        let facts = |known: &Loop| {
            if !known.jobs().any(|open| open.job.session == session) {
                return Vec::new();
            }
            let mut facts = vec![LoopEvent::Closed { session, code }];
            facts
                .extend(signature.map(|signature| known.failed(&what, signature, LIMIT)).unwrap_or_default());
            facts
        };
        let done = self.commit(facts).await?;
        self.escalated(&done, look).await;
        Ok(!done.is_empty())
    }

    /// A job that cannot be opened, again and again, is given up. True: it is.
    async fn gave_up(&mut self, open: &Open, fault: &Fault, look: &mut Look) -> Result<bool, Fault> {
        if self.host.stand(open.job.session).await?.is_some() {
            return Ok(false);
        }
        let (session, what) = (open.job.session, open.origin.name());
        let (signature, code) = (fault.code.clone(), FAILURE);
        let facts = |known: &Loop| {
            if !known.jobs().any(|open| open.job.session == session) {
                return Vec::new();
            }
            let mut facts = known.failed(&what, &signature, LIMIT);
            if facts.len() > 1 || known.escalated(&what).is_some() {
                facts.push(LoopEvent::Closed { session, code });
            }
            facts
        };
        let done = self.commit(facts).await?;
        self.escalated(&done, look).await;
        Ok(done.iter().any(|fact| matches!(fact, LoopEvent::Closed { .. })))
    }

    /// What a person has to look at is told, and noted where the next one looks.
    async fn escalated(&self, done: &[LoopEvent], look: &mut Look) {
        for fact in done {
            let LoopEvent::Escalated { what, why, .. } = fact else { continue };
            let hint = format!("{why}; when you have looked: kapell loop clear {what}");
            look.news.push(News::new("escalated", what, hint.clone()));
            let note = format!("Finding: {what} is not tried any more: {hint}");
            // The record says it in any case.
            if let Err(fault) = self.at_desk(move |desk| desk.remark("escalation", &note)).await {
                tracing::warn!(%fault, "not noted");
            }
        }
    }
}

/// The mode that a job works in, as the project has it now.
fn found(open: &Open, modes: &Modes) -> Result<Mode, Fault> {
    let slug = &open.job.mode;
    modes.find(slug).ok_or_else(|| {
        let what = format!("there is no mode `{slug}` any more; there are {}", modes.names());
        Fault::new(Kind::Permanent, "no-mode", what).hint(format!("declare `{slug}` in .roomodes"))
    })
}

/// Jobs that go on by themselves.
fn busy(look: &Look) -> usize {
    look.jobs.iter().filter(|(_, rests)| !rests).count()
}

fn priority(open: &Open) -> String {
    match &open.origin {
        Origin::Schedule { .. } => PRIORITY.to_owned(),
        Origin::Task { priority, .. } => priority.clone(),
    }
}

/// What a job is about, in a few words.
fn about(open: &Open) -> String {
    match &open.origin {
        Origin::Schedule { id, slot } => {
            format!("schedule {id}, slot {}", when::written_ms(i64::try_from(slot.0).unwrap_or(i64::MAX)))
        }
        Origin::Task { id, .. } => format!("task {id}"),
    }
}

/// Where the jobs of a look stand: all ended or at rest?
pub(crate) fn settled(jobs: &[(SessionId, bool)]) -> bool {
    jobs.iter().all(|(_, rests)| *rests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::looping::Job;
    use contract::{Digest, Timestamp};

    #[test]
    fn a_job_says_what_it_is_about() {
        let job = Job { session: SessionId(7), mode: "code".into(), goal: Digest::of(b"x"), bytes: 1 };
        let origin = Origin::Schedule { id: "17".into(), slot: Timestamp(1_795_154_844_123) };
        let open = Open { job, origin, at: Timestamp(0) };
        assert_eq!(about(&open), "schedule 17, slot 2026-11-20T06:07:24.123Z");
        assert!(settled(&[]) && settled(&[(SessionId(7), true)]) && !settled(&[(SessionId(7), false)]));
    }
}
