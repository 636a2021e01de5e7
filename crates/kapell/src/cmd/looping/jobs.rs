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
use board::when;
use contract::SessionId;
use contract::looping::LoopEvent;
use contract::session::SessionSpec;
use desk::Timed;
use engine::Attend;
use engine::looping::commit;
use kernel::Session;
use kernel::fsm::Phase;
use kernel::looping::{Open, Origin};
use std::path::Path;

/// What the time of a scheduled job is booked under.
const PRIORITY: &str = "schedule";
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
                    self.failed.insert(job.job.session, self.app.now());
                    let session = Some(job.job.session);
                    let why = failure.fault.to_string();
                    look.news.push(News { session, ..News::new("trouble", &about(&job), why) });
                    look.jobs.push((job.job.session, true));
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
            None => {
                self.begin(open).await?;
                look.jobs.push((id, false));
            }
            Some(state) if state.phase == Phase::Ended => self.finish(open, &state, look).await?,
            Some(_) => {
                let tree = Tree::open(&self.wired.engine, id).await?;
                let rests = tree.idle(now) && tree.root().phase != Phase::Ended;
                if !rests && !self.wired.locks.held(id) {
                    // Its process is gone. Somebody else may be quicker, which is as good.
                    let _held = self.wired.engine.attend(id, Attend::GoOn).await?;
                }
                look.jobs.push((id, rests));
            }
        }
        Ok(())
    }

    /// On record in the project's files first, then open: whoever of several gets there opens it.
    async fn begin(&mut self, open: &Open) -> Result<(), Failure> {
        let spec = self.spec(open).await?;
        let (id, mode, task) = (open.job.session.to_string(), open.job.mode.clone(), about(open));
        self.at_desk(move |desk| desk.began(Timed { id: &id, task: &task, mode: &mode, priority: PRIORITY }))
            .await?;
        self.stamped(open).await?;
        self.app.declare_caps(self.wired, &self.repo).await?;
        // False: somebody else has opened it.
        self.wired.engine.open_once(open.job.session, spec, Vec::new()).await?;
        Ok(())
    }

    async fn spec(&self, open: &Open) -> Result<SessionSpec, Failure> {
        let goal = show::text(&*self.wired.store, open.job.goal).await?;
        let modes = Modes(self.at_desk(|desk| desk.modes()).await?.unwrap_or_default());
        let slug = &open.job.mode;
        let mode = modes.find(slug).ok_or_else(|| {
            let what = format!("there is no mode `{slug}` any more; there are {}", modes.names());
            Failure::failed("no-mode", what, format!("declare `{slug}` in .roomodes"))
        })?;
        let options = RunOptions { allowed_tools: modes::tools(&mode), ..RunOptions::default() };
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
        let Origin::Schedule { id, .. } = &open.origin;
        let read = self.read().await?.into_iter().find(|read| read.file.id == *id);
        let Some(read) = read.filter(|read| read.ran().is_none_or(|ran| ran < open.at)) else {
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
        let told = result.clone();
        self.at_desk(move |desk| {
            desk.ended(Timed { id: &id, task: &task, mode: &mode, priority: PRIORITY }, &told)
        })
        .await?;
        let now = self.app.now();
        let closed =
            |known: &kernel::looping::Loop| match known.jobs().any(|open| open.job.session == session) {
                true => vec![LoopEvent::Closed { session, code }],
                false => Vec::new(),
            };
        let store = &*self.wired.store;
        let done = commit(store, &self.repo, &mut self.known, now, Vec::new(), closed).await?;
        if !done.is_empty() {
            let why = format!("session {}: {result}", short(session));
            look.news.push(News {
                session: Some(session),
                code: Some(code),
                ..News::new("ended", &about(open), why)
            });
        }
        Ok(())
    }
}

/// What a job is about, in a few words.
fn about(open: &Open) -> String {
    let Origin::Schedule { id, slot } = &open.origin;
    format!("schedule {id}, slot {}", when::written_ms(i64::try_from(slot.0).unwrap_or(i64::MAX)))
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
