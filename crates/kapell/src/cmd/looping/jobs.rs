//! What was claimed: each job is opened once under the name its claim gave it, gone on with, and written back.
//!
//! Every step can be done again by whoever comes next, in this process or another one. Start at [`Looper::jobs`].

use super::looper::{Look, Looper, News, fields};
use super::modes::{self, Modes};
use crate::args::RunOptions;
use crate::cmd::run;
use crate::exit::Failure;
use crate::pick::short;
use crate::show;
use crate::tree::Tree;
use board::modes::Mode;
use board::when;
use contract::SessionId;
use contract::event::Final;
use contract::looping::LoopEvent;
use contract::session::SessionSpec;
use desk::Timed;
use engine::Attend;
use engine::looping::commit;
use kernel::Session;
use kernel::fsm::Phase;
use kernel::looping::{Loop, Open, Origin};
use std::path::Path;

/// What the time of a scheduled job is booked under.
const PRIORITY: &str = "schedule";
/// Failures of one kind in a row before a person has to look.
const LIMIT: u32 = contract::limits::SAME_FAILURES;
/// Tasks that somebody handed over and that are worked on at a time.
const TASKS: usize = 4;
/// Opening that failed is tried again after this long, milliseconds.
const RETRY_MS: u64 = 60_000;

impl Looper<'_> {
    /// Opens, goes on with and writes back what is on record.
    pub(super) async fn jobs(&mut self, look: &mut Look) -> Result<(), Failure> {
        let open: Vec<Open> = self.known.jobs().cloned().collect();
        for job in open {
            match self.job(&job, look).await {
                Ok(()) => {}
                Err(failure) => {
                    let id = job.job.session;
                    self.failed.insert(id, self.app.now());
                    let why = failure.fault.to_string();
                    look.news.push(News { session: Some(id), ..News::new("trouble", &about(&job), why) });
                    if !self.gave_up(&job, &failure, look).await? {
                        look.jobs.push((id, true));
                    }
                }
            }
        }
        Ok(())
    }

    async fn job(&mut self, open: &Open, look: &mut Look) -> Result<(), Failure> {
        let (id, now) = (open.job.session, self.app.now());
        if self.failed.get(&id).is_some_and(|at| now.since(*at) < RETRY_MS) {
            look.jobs.push((id, true));
            return Ok(());
        }
        match self.wired.engine.look(id).await? {
            None if self.known.halted.is_some() => look.jobs.push((id, true)),
            None if matches!(open.origin, Origin::Task { .. }) && busy(look) >= TASKS => {
                look.jobs.push((id, false));
            }
            None => {
                let modes = self.modes().await?;
                let mode = mode(open, &modes)?;
                if let Some(why) = self.trust.mode_refused(&mode, &modes)? {
                    self.say_once(News::new("untrusted", &about(open), why), look);
                    look.jobs.push((id, true));
                    return Ok(());
                }
                self.begin(open, &mode).await?;
                look.jobs.push((id, false));
            }
            Some(state) if state.phase == Phase::Ended => self.finish(open, &state, look).await?,
            Some(_) => {
                let tree = Tree::open(&self.wired.engine, id).await?;
                let rests = tree.idle(now) && tree.root().phase != Phase::Ended;
                let left = !rests && !self.wired.locks.held(id);
                if left && self.known.halted.is_some() {
                    look.jobs.push((id, true));
                    return Ok(());
                }
                if left {
                    // Its process is gone. Somebody else may be quicker, which is as good.
                    let _held = self.wired.engine.attend(id, Attend::GoOn).await?;
                }
                look.jobs.push((id, rests));
            }
        }
        Ok(())
    }

    /// On record in the project's files first, then open: whoever of several gets there opens it.
    async fn begin(&mut self, open: &Open, mode: &Mode) -> Result<(), Failure> {
        let spec = self.spec(open, mode).await?;
        let (id, mode, task) = (open.job.session.to_string(), open.job.mode.clone(), about(open));
        let priority = priority(open);
        self.at_desk(move |desk| {
            desk.began(Timed { id: &id, task: &task, mode: &mode, priority: &priority })
        })
        .await?;
        self.stamped(open).await?;
        self.app.declare_caps(self.wired, &self.repo).await?;
        // False: somebody else has opened it.
        self.wired.engine.open_once(open.job.session, spec, Vec::new()).await?;
        Ok(())
    }

    async fn spec(&self, open: &Open, mode: &Mode) -> Result<SessionSpec, Failure> {
        let goal = show::text(&*self.wired.store, open.job.goal).await?;
        let slug = &open.job.mode;
        let options = RunOptions { allowed_tools: modes::tools(mode), ..RunOptions::default() };
        let config = self.app.config(Some(Path::new(&self.repo)))?;
        let models = self.app.models(&config)?;
        run::looked(&models, &config).await;
        let hooks = run::hooks(self.app, &self.repo, &config)?.hooks;
        let spec = run::spec(&goal, self.repo.clone(), &config, options, &models)?;
        // What only reads here only reads there, whatever the mode is called.
        let mode = if kernel::policy::only_reads(&spec.mode) { spec.mode } else { slug.clone() };
        Ok(SessionSpec { hooks, mode, ..spec })
    }

    /// The file says what ran, unless it says so already, or something newer.
    async fn stamped(&self, open: &Open) -> Result<(), Failure> {
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

    async fn finish(&mut self, open: &Open, state: &Session, look: &mut Look) -> Result<(), Failure> {
        let Some(end) = state.end.clone() else { return Ok(()) };
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
        let signature = (code != 0 && end.state != Final::Cancelled).then(|| format!("exit {code}"));
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
        let text = show::text(&*self.wired.store, open.job.goal).await.ok()?;
        text.lines().next().map(str::to_owned)
    }

    /// Puts the end of a job on record, and its failure if it was one. False: somebody else has.
    async fn closed(
        &mut self,
        open: &Open,
        code: u8,
        signature: Option<&str>,
        look: &mut Look,
    ) -> Result<bool, Failure> {
        let (session, what, now) = (open.job.session, open.origin.name(), self.app.now());
        let facts = |known: &Loop| {
            if !known.jobs().any(|open| open.job.session == session) {
                return Vec::new();
            }
            let mut facts = vec![LoopEvent::Closed { session, code }];
            facts
                .extend(signature.map(|signature| known.failed(&what, signature, LIMIT)).unwrap_or_default());
            facts
        };
        let store = &*self.wired.store;
        let done = commit(store, &self.repo, &mut self.known, now, Vec::new(), facts).await?;
        self.escalated(&done, look).await;
        Ok(!done.is_empty())
    }

    /// A job that cannot be opened, again and again, is given up. True: it is.
    async fn gave_up(&mut self, open: &Open, failure: &Failure, look: &mut Look) -> Result<bool, Failure> {
        if self.wired.engine.look(open.job.session).await?.is_some() {
            return Ok(false);
        }
        let (session, what, now) = (open.job.session, open.origin.name(), self.app.now());
        let (signature, code) = (failure.fault.code.clone(), failure.code);
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
        let store = &*self.wired.store;
        let done = commit(store, &self.repo, &mut self.known, now, Vec::new(), facts).await?;
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
            if let Err(failure) = self.at_desk(move |desk| desk.remark("escalation", &note)).await {
                tracing::warn!(fault = %failure.fault, "not noted");
            }
        }
    }
}

/// The mode that a job works in, as the project has it now.
fn mode(open: &Open, modes: &Modes) -> Result<Mode, Failure> {
    let slug = &open.job.mode;
    modes.find(slug).ok_or_else(|| {
        let what = format!("there is no mode `{slug}` any more; there are {}", modes.names());
        Failure::failed("no-mode", what, format!("declare `{slug}` in .roomodes"))
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
