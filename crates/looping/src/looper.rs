//! The loop of one repository: claims the slots that have come, opens what is claimed, goes on with what a dead process
//! left, writes back what came of it.
//!
//! A producer like any other: it opens sessions and leaves wishes, and what runs is the engine's to say. Any number of
//! processes may look at the same repository at once. Start at [`Looper::look`].

use crate::modes::{self, Modes};
use crate::place::Place;
use crate::port::Host;
use crate::read::Read;
use contract::journal;
use contract::looping::{Job, LoopEvent};
use contract::{Digest, Fault, Kind, SessionId, Timestamp};
use desk::Desk;
use engine::looping::{catch_up, commit};
use kernel::looping::Loop;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The loop of one repository, as one process has it.
pub struct Looper<'a> {
    pub(crate) host: Box<dyn Host + 'a>,
    pub(crate) desk: Arc<Desk>,
    /// The top of the repository: what sessions are opened for.
    pub(crate) repo: String,
    pub(crate) place: Place,
    /// Whether it is known which zone that is.
    zone_known: bool,
    /// What this process has said already, and says no second time.
    said: BTreeSet<(String, String)>,
    pub(crate) known: Loop,
    /// When opening a session failed last: it is not tried again at once.
    pub(crate) failed: BTreeMap<SessionId, Timestamp>,
}

/// What one look came to.
#[derive(Debug, Default)]
pub struct Look {
    /// What happened, in order.
    pub news: Vec<News>,
    /// When the next slot comes; a slot that waits is looked at again by then.
    pub next: Option<Timestamp>,
    /// Jobs whose end is not written back yet, and whether each rests until a person says something.
    pub jobs: Vec<(SessionId, bool)>,
}

/// Something that happened in a look.
#[derive(Debug, Clone)]
pub struct News {
    /// `fired`, `passed`, `held`, `expired`, `ended`, `untrusted`, `inert`, `escalated`, `trouble`.
    pub what: &'static str,
    /// The schedule, or what else it is about.
    pub about: String,
    /// The session, where there is one.
    pub session: Option<SessionId>,
    /// For people.
    pub why: String,
    /// The exit code of what ended.
    pub code: Option<u8>,
}

impl News {
    pub fn new(what: &'static str, about: &str, why: impl Into<String>) -> Self {
        Self { what, about: about.to_owned(), session: None, why: why.into(), code: None }
    }
}

impl std::fmt::Debug for Looper<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looper").field("repo", &self.repo).finish_non_exhaustive()
    }
}

impl<'a> Looper<'a> {
    /// Over the repository with this top. Without a zone its wall clock is not known, and what goes by it does not fire.
    /// Reads and writes nothing yet.
    pub fn new(host: Box<dyn Host + 'a>, desk: Arc<Desk>, repo: String, zone: Option<Place>) -> Self {
        Self {
            host,
            desk,
            repo,
            zone_known: zone.is_some(),
            place: zone.unwrap_or_default(),
            said: BTreeSet::new(),
            known: Loop::default(),
            failed: BTreeMap::new(),
        }
    }

    /// One look at everything: to be called again when the next slot comes, when a file may have changed, and about once
    /// a second while jobs are under way.
    pub async fn look(&mut self) -> Result<Look, Fault> {
        let mut look = Look::default();
        self.caught_up().await?;
        Box::pin(self.jobs(&mut look)).await?;
        let fired = self.schedules(&mut look).await?;
        if fired {
            look.jobs.clear();
            Box::pin(self.jobs(&mut look)).await?;
        }
        Ok(look)
    }

    /// The schedules of the file.
    pub async fn read(&self) -> Result<Vec<Read>, Fault> {
        let all = self.at_desk(|desk| desk.schedules()).await?;
        Ok(Read::all(all, self.now(), self.zone_known))
    }

    /// The modes that the project declares.
    pub(crate) async fn modes(&self) -> Result<Modes, Fault> {
        Ok(Modes(self.at_desk(|desk| desk.modes()).await?.unwrap_or_default()))
    }

    /// Tells it, unless this process has.
    pub(crate) fn say_once(&mut self, news: News, look: &mut Look) {
        if self.said.insert((news.about.clone(), news.why.clone())) {
            look.news.push(news);
        }
    }

    /// What is on record of the loop.
    pub async fn record(&mut self) -> Result<&Loop, Fault> {
        self.caught_up().await?;
        Ok(&self.known)
    }

    /// The clock's now.
    pub fn now(&self) -> Timestamp {
        self.host.clock().now()
    }

    async fn caught_up(&mut self) -> Result<(), Fault> {
        catch_up(self.host.journal(), &self.repo, &mut self.known).await.map_err(failed)
    }

    /// Adds what `decide` makes of the record; what was added.
    pub(crate) async fn commit(
        &mut self,
        decide: impl FnMut(&Loop) -> Vec<LoopEvent> + Send,
    ) -> Result<Vec<LoopEvent>, Fault> {
        let now = self.now();
        let journal = self.host.journal();
        commit(journal, &self.repo, &mut self.known, now, Vec::new(), decide).await.map_err(failed)
    }

    /// Halts the loop, or lets it go on; false when it is so already.
    pub async fn halt(&mut self, halted: bool) -> Result<bool, Fault> {
        let why = "a person said so".to_owned();
        let event = if halted { LoopEvent::Halted { why } } else { LoopEvent::Continued { why } };
        let done = self.commit(|known| match known.halted.is_some() == halted {
            true => Vec::new(),
            false => vec![event.clone()],
        });
        Ok(!done.await?.is_empty())
    }

    /// Lets what was escalated be tried again; false when nothing of that name was.
    pub async fn clear(&mut self, what: &str) -> Result<bool, Fault> {
        let done = self.commit(|known| match known.failing().any(|(name, _)| name == what) {
            true => vec![LoopEvent::Cleared { what: what.to_owned() }],
            false => Vec::new(),
        });
        Ok(!done.await?.is_empty())
    }

    /// Does something with the project's files, on a thread that may block.
    pub(crate) async fn at_desk<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Desk) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let desk = Arc::clone(&self.desk);
        let done = tokio::task::spawn_blocking(move || f(&desk)).await;
        done.unwrap_or_else(|error| {
            Err(Fault::new(Kind::Permanent, "project-files", error.to_string()).hint("try again"))
        })
    }
}

impl Look {
    /// Looks again by then.
    pub(crate) fn at(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// A store's error as who called hears of it.
pub(crate) fn failed(error: journal::Error) -> Fault {
    error.fault()
}

/// Puts a task on record for whoever runs the loop of this repository; the session it will be.
pub async fn hand_over(host: &dyn Host, repo: &str, task: desk::Task<'_>) -> Result<SessionId, Fault> {
    let modes = Modes(task.modes);
    let wrong = |code: &str, what: String| Fault::new(Kind::UserFixable, code, what);
    let mode = modes.find(task.mode).ok_or_else(|| {
        wrong("no-mode", format!("there is no mode `{}`; there are {}", task.mode, modes.names()))
            .hint("name one of these as target_mode, or declare it in .roomodes")
    })?;
    let goal = modes::worded(&mode, task.text);
    if let Some(why) = host.refused("task_description", &goal) {
        return Err(wrong("secret", why).hint("say where it stands instead, as ${NAME}"));
    }
    let now = host.clock().now();
    let session = SessionId::v7(now.0, host.clock().random());
    let job =
        Job { session, mode: mode.slug.clone(), goal: Digest::of(goal.as_bytes()), bytes: goal.len() as u64 };
    let fact = LoopEvent::Delegated {
        repo: repo.to_owned(),
        task: task.id.to_owned(),
        priority: task.priority.to_owned(),
        job,
    };
    let (mut known, blobs) = (Loop::default(), vec![goal.into_bytes()]);
    commit(host.journal(), repo, &mut known, now, blobs, |_| vec![fact.clone()]).await.map_err(failed)?;
    Ok(session)
}
