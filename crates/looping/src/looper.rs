//! The loop of one repository: claims the slots that have come, opens what is claimed, goes on with what a dead process
//! left, writes back what came of it.
//!
//! A producer like any other: it opens sessions and leaves wishes, and what runs is the engine's to say. Any number of
//! processes may look at the same repository at once. Start at [`Looper::look`].

use crate::modes::{self, Modes};
use crate::place::Place;
use crate::port::Host;
use crate::read::Read;
use contract::intent::Wish;
use contract::journal;
use contract::looping::{Job, LoopEvent};
use contract::{Digest, Fault, Kind, SessionId, Timestamp};
use desk::Desk;
use engine::looping::{catch_up, commit};
use kernel::looping::{Loop, Open, Origin};
use kernel::view::short;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the time of a scheduled job is booked under.
pub(crate) const PRIORITY: &str = "schedule";
/// Exit code of a task that a person did not want (DESIGN section 7).
const REFUSED: u8 = 6;
/// Exit code of what was stopped before it was opened.
const CANCELLED: u8 = 130;

/// The loop of one repository, as one process has it.
pub struct Looper<'a> {
    pub(crate) host: Box<dyn Host + 'a>,
    pub(crate) desk: Arc<Desk>,
    /// The top of the repository: what sessions are opened for.
    pub(crate) repo: String,
    pub(crate) place: Place,
    /// Whether it is known which zone that is.
    pub(crate) zone_known: bool,
    /// What this process has said already, and says no second time.
    said: BTreeSet<(String, String)>,
    pub(crate) known: Loop,
    /// Sessions that this process has tried to open, in vain.
    pub(crate) tried: BTreeSet<SessionId>,
    /// When something failed last for a session that is open: it is not tried again at once.
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
    /// `fired`, `passed`, `held`, `expired`, `ended`, `untrusted`, `asked`, `inert`, `escalated`, `zone`, `trouble`.
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
            tried: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    /// One look at everything: to be called again when the next slot comes, when a file may have changed, and about once
    /// a second while jobs are under way.
    pub async fn look(&mut self) -> Result<Look, Fault> {
        let mut look = Look::default();
        self.caught_up().await?;
        self.by_record(&mut look);
        Box::pin(self.jobs(&mut look)).await?;
        let fired = self.schedules(&mut look).await?;
        if fired {
            look.jobs.clear();
            Box::pin(self.jobs(&mut look)).await?;
        }
        Ok(look)
    }

    /// Slots go by the wall clock that is on record, whatever this process's own shows.
    pub(crate) fn by_record(&mut self, look: &mut Look) {
        let Some(name) = self.known.zone.clone().filter(|name| self.place.name() != Some(name)) else {
            return;
        };
        let own = self.place.name().map(str::to_owned);
        let (place, why) = match Place::named(&name) {
            Ok(place) => {
                let own = own.filter(|_| self.zone_known);
                self.zone_known = true;
                let hint = |own| {
                    format!("slots go by {name}, not by {own} as here: kapell loop zone {own} changes it")
                };
                (place, own.map(hint))
            }
            Err(wrong) => {
                self.zone_known = false;
                (Place::default(), Some(format!("{wrong}: kapell loop zone NAME names another one")))
            }
        };
        self.place = place;
        if let Some(why) = why {
            self.say_once(News::new("zone", "loop", why), look);
        }
    }

    /// Puts on record by which wall clock slots go, unless somebody has.
    pub(crate) async fn on_record(&mut self, look: &mut Look) -> Result<(), Fault> {
        let Some(own) = self.place.name().filter(|_| self.zone_known && self.known.zone.is_none()) else {
            return Ok(());
        };
        let zoned = LoopEvent::Zoned { repo: self.repo.clone(), zone: own.to_owned() };
        self.commit(|known| if known.zone.is_none() { vec![zoned.clone()] } else { Vec::new() }).await?;
        self.by_record(look);
        Ok(())
    }

    /// Lets slots go by the wall clock of this zone from here on; false when they do so already.
    pub async fn zone(&mut self, name: &str) -> Result<bool, Fault> {
        let wrong = |what: String| Fault::new(Kind::UserFixable, "no-zone", what);
        let place = Place::named(name)
            .map_err(|what| wrong(what).hint("a name such as Europe/Berlin, America/New_York or UTC"))?;
        let zone = place.name().unwrap_or(name).to_owned();
        let zoned = LoopEvent::Zoned { repo: self.repo.clone(), zone: zone.clone() };
        let done = self.commit(|known| match known.zone.as_ref() == Some(&zone) {
            true => Vec::new(),
            false => vec![zoned.clone()],
        });
        Ok(!done.await?.is_empty())
    }

    /// Tasks that were handed over and wait for a person's word: by this name (a session's id or the end of it, a task's
    /// id), or all. Accepted, they are opened; refused, they never are. Which they were.
    pub async fn judge(&mut self, name: Option<&str>, accept: bool) -> Result<Vec<SessionId>, Fault> {
        let named = |open: &Open| {
            let id = open.job.session.to_string();
            let task = matches!(&open.origin, Origin::Task { id, .. } if Some(id.as_str()) == name);
            name.is_none_or(|name| task || id == name || short(open.job.session) == name)
        };
        let decide = |known: &Loop| {
            let waiting = known.jobs().filter(|open| !open.accepted && named(open));
            let fact = |open: &Open| match accept {
                true => LoopEvent::Accepted { session: open.job.session },
                false => LoopEvent::Closed { session: open.job.session, code: REFUSED },
            };
            waiting.map(fact).collect()
        };
        let done = self.commit(decide).await?;
        let session = |fact: &LoopEvent| match fact {
            LoopEvent::Accepted { session } | LoopEvent::Closed { session, .. } => Some(*session),
            _ => None,
        };
        Ok(done.iter().filter_map(session).collect())
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

    /// Halts the loop; false when it is so already.
    pub async fn pause(&mut self) -> Result<bool, Fault> {
        let event = LoopEvent::Halted { why: "a person said so".to_owned() };
        let done = self.commit(|known| match known.halted.is_some() {
            true => Vec::new(),
            false => vec![event.clone()],
        });
        Ok(!done.await?.is_empty())
    }

    /// Lets it go on, with the jobs that were paused when it was stopped; false when it does so already.
    pub async fn resume(&mut self) -> Result<bool, Fault> {
        self.caught_up().await?;
        let stopped = self.known.seq;
        let event = LoopEvent::Continued { why: "a person said so".to_owned() };
        let done = self.commit(|known| match known.halted.is_some() {
            true => vec![event.clone()],
            false => Vec::new(),
        });
        if done.await?.is_empty() {
            return Ok(false);
        }
        for session in self.open_jobs() {
            self.released(session, &format!("loop/continue/{stopped}/{session}")).await?;
        }
        Ok(true)
    }

    /// Halts the loop, and has every job that is under way finish its action in flight and wait, or end (`cancel`); what
    /// was claimed and is not open never will be then. The jobs that were reached.
    pub async fn stop(&mut self, cancel: bool) -> Result<Vec<SessionId>, Fault> {
        self.pause().await?;
        let stopped = self.known.seq;
        let mut reached = Vec::new();
        for session in self.open_jobs() {
            match self.host.stand(session).await? {
                Some(stand) if stand.end.is_some() => continue,
                Some(_) => {
                    let (wish, word) = if cancel { (Wish::Cancel, "cancel") } else { (Wish::Pause, "pause") };
                    self.host.wish(session, wish, format!("loop/stop/{stopped}/{session}/{word}")).await?;
                }
                None if cancel => {
                    let closed = LoopEvent::Closed { session, code: CANCELLED };
                    let facts = |known: &Loop| {
                        known
                            .jobs()
                            .find(|open| open.job.session == session)
                            .map(|_| closed.clone())
                            .into_iter()
                            .collect()
                    };
                    self.commit(facts).await?;
                }
                // Nobody opens it while the loop is halted.
                None => {}
            }
            reached.push(session);
        }
        Ok(reached)
    }

    fn open_jobs(&self) -> Vec<SessionId> {
        self.known.jobs().map(|open| open.job.session).collect()
    }

    /// Lets a session go on that was asked to pause, unless it has ended or somebody let it.
    pub(crate) async fn released(&self, session: SessionId, key: &str) -> Result<(), Fault> {
        let stand = self.host.stand(session).await?;
        if stand.is_some_and(|stand| stand.paused && stand.end.is_none()) {
            self.host.wish(session, Wish::Resume { model: None }, key.to_owned()).await?;
            self.host.go_on(session).await?;
        }
        Ok(())
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
    // What runs first is for schedules to say.
    let priority = if task.priority == PRIORITY { "normal" } else { task.priority }.to_owned();
    let fact = LoopEvent::Delegated { repo: repo.to_owned(), task: task.id.to_owned(), priority, job };
    let (mut known, blobs) = (Loop::default(), vec![goal.into_bytes()]);
    let decide = |known: &Loop| if known.takes_tasks() { vec![fact.clone()] } else { Vec::new() };
    let done = commit(host.journal(), repo, &mut known, now, blobs, decide).await.map_err(failed)?;
    match done.is_empty() {
        true => Err(wrong("too-many-tasks", "as many tasks as there may be wait for a person's word".into())
            .hint("kapell loop status shows them, kapell loop accept or refuse decides")),
        false => Ok(session),
    }
}
