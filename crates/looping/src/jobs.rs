//! What was claimed: each job is opened once under the name its claim gave it, gone on with, and written back.
//!
//! Every step can be done again by whoever comes next, in this process or another one. Start at [`Looper::jobs`].

use crate::looper::{Look, Looper, News, PRIORITY};
use crate::modes::{self, Modes};
use crate::port::{End, Opening, Stand};
use crate::slots::fields;
use crate::trusted;
use board::modes::Mode;
use board::when;
use contract::intent::Wish;
use contract::looping::LoopEvent;
use contract::{Fault, Kind, SessionId};
use desk::Timed;
use kernel::looping::claim::{Do, Stands};
use kernel::looping::{Loop, Open, Origin};
use kernel::view::short;

/// Failures of one kind in a row before a person has to look.
const LIMIT: u32 = contract::limits::SAME_FAILURES;
/// How long the run of a schedule may work (spec S3 2.3), milliseconds.
const RUN_MS: u64 = 2 * 3_600_000;
/// And a task of the list of what is to be done.
const TODO_MS: u64 = 3_600_000;
/// What failed for a session that is open is tried again after this long, milliseconds.
const RETRY_MS: u64 = 60_000;

impl Looper<'_> {
    /// Opens, goes on with and writes back what is on record.
    pub(crate) async fn jobs(&mut self, look: &mut Look) -> Result<(), Fault> {
        let open: Vec<Open> = self.known.jobs().cloned().collect();
        for job in open {
            if let Err(fault) = self.job(&job, look).await {
                self.troubled(&job, &fault, look).await?;
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
        let stand = self.host.stand(id).await?;
        let stands = match &stand {
            Some(Stand { end: Some(_), .. }) => Stands::Ended,
            Some(Stand { rests, held, .. }) => Stands::Open { rests: *rests, held: *held },
            None => Stands::Unopened { trusted: true },
        };
        let mut done = self.known.job(open, stands, busy(look), now);
        if matches!(done, Do::Later(_)) && !self.tried.contains(&id) {
            // A person may have mended what was in the way; failing again so soon counts for nothing.
            done = Do::Open;
        }
        match done {
            Do::Open if !self.opened(open, look).await? => done = Do::Distrust,
            // Somebody else may be quicker, which is as good.
            Do::GoOn => self.host.go_on(id).await?,
            Do::Finish => {
                if let Some(end) = stand.and_then(|stand| stand.end) {
                    self.finish(open, &end, look).await?;
                }
                return Ok(());
            }
            Do::Ask => {
                let why =
                    format!("it was handed over and waits for a person: kapell loop accept {}", short(id));
                self.say_once(News::new("asked", &about(open), why), look);
            }
            Do::Later(at) => look.at(at),
            Do::Open | Do::Await | Do::Rest | Do::Distrust => {}
        }
        let rests = matches!(done, Do::Rest | Do::Distrust | Do::Ask | Do::Later(_));
        look.jobs.push((id, rests));
        Ok(())
    }

    /// Opens it; false: nobody trusts the mode it would work in.
    async fn opened(&mut self, open: &Open, look: &mut Look) -> Result<bool, Fault> {
        let modes = self.modes().await?;
        let mode = found(open, &modes)?;
        if let Some(why) = trusted::mode_refused(&*self.host, &mode, &modes)? {
            self.say_once(News::new("untrusted", &about(open), why), look);
            return Ok(false);
        }
        self.begin(open, &mode).await?;
        Ok(true)
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
        let (session, goal) = (open.job.session, open.job.goal);
        // What runs finishes its action in flight, and goes on when this has ended.
        for other in &open.interrupts {
            self.host.wish(*other, Wish::Pause, format!("loop/{session}/pause")).await?;
        }
        let (tools, writes, time_ms) = (modes::tools(mode), modes::writes(mode), time_ms(open));
        let (mode, task) = (open.job.mode.clone(), open.origin.name());
        self.host.open(Opening { session, goal, mode, tools, writes, time_ms, task }).await
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
        self.ended(open, &result).await?;
        if let Some(words) = self.words(open).await.filter(|_| code == 0) {
            self.at_desk(move |desk| desk.tick(&words).map(drop)).await?;
        }
        self.go_on_with_interrupted(open, look).await;
        let signature = signature(open, end);
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

    /// Sessions that waited for this job go on. One that cannot is told of, and is in nobody's way.
    async fn go_on_with_interrupted(&self, open: &Open, look: &mut Look) {
        for other in &open.interrupts {
            let key = format!("loop/{}/resume", open.job.session);
            if let Err(fault) = self.released(*other, &key).await {
                let why = format!("it does not go on by itself: {fault}; kapell resume {}", short(*other));
                look.news.push(News { session: Some(*other), ..News::new("trouble", &about(open), why) });
            }
        }
    }

    /// Something could not be done for a job. One that cannot be opened, again and again, is given up.
    async fn troubled(&mut self, open: &Open, fault: &Fault, look: &mut Look) -> Result<(), Fault> {
        let id = open.job.session;
        look.news.push(News { session: Some(id), ..News::new("trouble", &about(open), fault.to_string()) });
        if self.host.stand(id).await?.is_some() {
            self.failed.insert(id, self.now());
            look.jobs.push((id, true));
            return Ok(());
        }
        self.tried.insert(id);
        let passing = matches!(fault.kind, Kind::Transient | Kind::RateLimited | Kind::Degraded);
        let (signature, now) = (fault.code.clone(), self.now());
        let closes = |facts: &[LoopEvent]| facts.iter().any(|fact| matches!(fact, LoopEvent::Closed { .. }));
        // Its time is written back before it is closed: nobody comes back to it afterwards.
        if closes(&self.known.not_opened(id, &signature, passing, now)) {
            self.go_on_with_interrupted(open, look).await;
            self.ended(open, &format!("failed: {}", fault.what)).await?;
        }
        let done = self.commit(|known| known.not_opened(id, &signature, passing, now)).await?;
        self.escalated(&done, look).await;
        if !closes(&done) {
            look.jobs.push((id, true));
        }
        Ok(())
    }

    /// The row of time that says how it ended, if one says that it began.
    async fn ended(&self, open: &Open, result: &str) -> Result<(), Fault> {
        let (id, mode, task) = (open.job.session.to_string(), open.job.mode.clone(), about(open));
        let (told, priority) = (result.to_owned(), priority(open));
        let timed = move |desk: &desk::Desk| {
            desk.ended(Timed { id: &id, task: &task, mode: &mode, priority: &priority }, &told)
        };
        self.at_desk(timed).await
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

/// In which way it failed, if that counts: who cancels wanted that, and a task comes once.
fn signature(open: &Open, end: &End) -> Option<String> {
    let counts = end.code != 0 && !end.cancelled && matches!(open.origin, Origin::Schedule { .. });
    let landed = !end.why.starts_with("confirmed, but not landed");
    counts.then(|| if landed { format!("exit {}", end.code) } else { "not landed".to_owned() })
}

fn time_ms(open: &Open) -> u64 {
    if priority(open) == "todo" { TODO_MS } else { RUN_MS }
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
        let open =
            Open { job, origin, at: Timestamp(0), accepted: true, interrupts: Vec::new(), unopened: None };
        assert_eq!(about(&open), "schedule 17, slot 2026-11-20T06:07:24.123Z");
        assert!(settled(&[]) && settled(&[(SessionId(7), true)]) && !settled(&[(SessionId(7), false)]));
    }
}
