//! The loop of one repository: claims the slots that have come, opens what is claimed, goes on with what a dead process
//! left, writes back what came of it.
//!
//! A producer like any other: it opens sessions and leaves wishes, and what runs is the engine's to say. Any number of
//! processes may look at the same repository at once. Start at [`Looper::look`].

use super::modes::{self, Modes};
use super::place::Place;
use super::read::Read;
use super::tasks::Tasks;
use super::trusted::Trusting;
use crate::app::{App, Wired};
use crate::exit::Failure;
use crate::out;
use crate::pick::short;
use board::when;
use contract::board::BoardEvent;
use contract::intent::{Source, Wish};
use contract::journal::Journal;
use contract::looping::{Job, LoopEvent};
use contract::port::Clock;
use contract::{Digest, Fault, Seq, SessionId, Timestamp};
use desk::Desk;
use engine::Order;
use engine::looping::{catch_up, commit};
use kernel::looping::Loop;
use kernel::schedule::{Due, Slot, Then};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A slot that waits is looked at again after this long, milliseconds.
const AGAIN_MS: u64 = 60_000;

/// The loop of one repository, as one process has it.
pub(crate) struct Looper<'a> {
    pub(super) app: &'a App,
    pub(super) wired: &'a Wired,
    pub(super) desk: Arc<Desk>,
    /// The top of the repository: what sessions are opened for.
    pub(super) repo: String,
    pub(super) place: Place,
    /// Whether it is known which zone that is.
    zone_known: bool,
    pub(super) trust: Trusting,
    /// What this process has said already, and says no second time.
    said: BTreeSet<(String, String)>,
    pub(super) known: Loop,
    /// When opening a session failed last: it is not tried again at once.
    pub(super) failed: BTreeMap<SessionId, Timestamp>,
}

/// What one look came to.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// What happened, in order.
    pub(crate) news: Vec<News>,
    /// When the next slot comes; a slot that waits is looked at again by then.
    pub(crate) next: Option<Timestamp>,
    /// Jobs whose end is not written back yet, and whether each rests until a person says something.
    pub(crate) jobs: Vec<(SessionId, bool)>,
}

/// Something that happened in a look.
#[derive(Debug, Clone)]
pub(crate) struct News {
    /// `fired`, `passed`, `held`, `expired`, `ended`, `untrusted`, `inert`, `escalated`, `trouble`.
    pub(crate) what: &'static str,
    /// The schedule, or what else it is about.
    pub(crate) about: String,
    /// The session, where there is one.
    pub(crate) session: Option<SessionId>,
    /// For people.
    pub(crate) why: String,
    /// The exit code of what ended.
    pub(crate) code: Option<u8>,
}

impl News {
    pub(crate) fn new(what: &'static str, about: &str, why: impl Into<String>) -> Self {
        Self { what, about: about.to_owned(), session: None, why: why.into(), code: None }
    }
}

impl<'a> Looper<'a> {
    /// Over the repository with this top, through this engine. Reads and writes nothing yet.
    pub(crate) fn open(app: &'a App, wired: &'a Wired, top: &str) -> Result<Self, Failure> {
        let record = Recorder {
            store: Arc::clone(&wired.store),
            clock: Arc::clone(&app.clock),
            runtime: tokio::runtime::Handle::current(),
        };
        let clock: Arc<dyn Clock> = Arc::<crate::clock::System>::clone(&app.clock);
        let desk = Desk::open(desk::Options::new(PathBuf::from(top)), Arc::new(record), clock)?;
        let (place, wrong) = Place::here();
        wrong.iter().for_each(|wrong| out::warn(wrong));
        Ok(Self {
            app,
            wired,
            desk: Arc::new(desk),
            repo: top.to_owned(),
            place,
            zone_known: wrong.is_none(),
            trust: Trusting::new(app.trust(), Path::new(top)),
            said: BTreeSet::new(),
            known: Loop::default(),
            failed: BTreeMap::new(),
        })
    }

    /// One look at everything: to be called again when the next slot comes, when a file may have changed, and about once
    /// a second while jobs are under way.
    pub(crate) async fn look(&mut self) -> Result<Look, Failure> {
        let mut look = Look::default();
        catch_up(&*self.wired.store, &self.repo, &mut self.known).await?;
        Box::pin(self.jobs(&mut look)).await?;
        let fired = self.schedules(&mut look).await?;
        if fired {
            look.jobs.clear();
            Box::pin(self.jobs(&mut look)).await?;
        }
        Ok(look)
    }

    /// The schedules of the file.
    pub(crate) async fn read(&self) -> Result<Vec<Read>, Failure> {
        let all = self.at_desk(|desk| desk.schedules()).await?;
        Ok(Read::all(all, self.app.now(), self.zone_known))
    }

    /// The modes that the project declares.
    pub(super) async fn modes(&self) -> Result<Modes, Failure> {
        Ok(Modes(self.at_desk(|desk| desk.modes()).await?.unwrap_or_default()))
    }

    /// Tells it, unless this process has.
    pub(super) fn say_once(&mut self, news: News, look: &mut Look) {
        if self.said.insert((news.about.clone(), news.why.clone())) {
            look.news.push(news);
        }
    }

    /// What is on record of the loop.
    pub(crate) async fn record(&mut self) -> Result<&Loop, Failure> {
        catch_up(&*self.wired.store, &self.repo, &mut self.known).await?;
        Ok(&self.known)
    }

    /// The clock's now.
    pub(crate) fn now(&self) -> Timestamp {
        self.app.now()
    }

    /// Halts the loop, or lets it go on; false when it is so already.
    pub(crate) async fn halt(&mut self, halted: bool) -> Result<bool, Failure> {
        let now = self.app.now();
        let why = "a person said so".to_owned();
        let event = if halted { LoopEvent::Halted { why } } else { LoopEvent::Continued { why } };
        let decide = |known: &Loop| match known.halted.is_some() == halted {
            true => Vec::new(),
            false => vec![event.clone()],
        };
        let done = commit(&*self.wired.store, &self.repo, &mut self.known, now, Vec::new(), decide).await?;
        Ok(!done.is_empty())
    }

    /// Lets what was escalated be tried again; false when nothing of that name was.
    pub(crate) async fn clear(&mut self, what: &str) -> Result<bool, Failure> {
        let now = self.app.now();
        let cleared = |known: &Loop| match known.failing().any(|(name, _)| name == what) {
            true => vec![LoopEvent::Cleared { what: what.to_owned() }],
            false => Vec::new(),
        };
        let store = &*self.wired.store;
        let done = commit(store, &self.repo, &mut self.known, now, Vec::new(), cleared).await?;
        Ok(!done.is_empty())
    }

    /// Does something with the project's files, on a thread that may block.
    pub(super) async fn at_desk<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Desk) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Failure> {
        let desk = Arc::clone(&self.desk);
        let done = tokio::task::spawn_blocking(move || f(&desk)).await;
        let done = done.map_err(|error| Failure::failed("project-files", error.to_string(), "try again"))?;
        Ok(done?)
    }

    /// True when something was claimed.
    async fn schedules(&mut self, look: &mut Look) -> Result<bool, Failure> {
        let (mut tasks, mut fired) = (None, false);
        let (all, modes) = (self.read().await?, self.modes().await?);
        for read in all {
            match self.schedule(&read, &modes, &mut tasks, look).await {
                Ok(claimed) => fired |= claimed,
                // One schedule that cannot be fired keeps no other one.
                Err(failure) => {
                    look.news.push(News::new("trouble", read.name(), failure.fault.to_string()));
                    look.at(self.app.now().plus(AGAIN_MS));
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
    ) -> Result<bool, Failure> {
        let now = self.app.now();
        if self.known.halted.is_some() || escalated(&self.known, read).is_some() {
            return Ok(false);
        }
        if !self.may(read, modes, look)? {
            return Ok(false);
        }
        match due(&self.known, read, now, &self.place) {
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
            *tasks = Some(Tasks::of(self, now).await?);
        }
        let Some(tasks) = tasks.as_ref() else { return Ok(false) };
        self.claim(read, modes, tasks, now, look).await
    }

    /// Whether its slots mean anything: it is active, something can be on record of it, and a person trusts it. Where
    /// not, nothing is written about it, and it is said once.
    fn may(&mut self, read: &Read, modes: &Modes, look: &mut Look) -> Result<bool, Failure> {
        if !read.inert.is_empty() && read.file.is_active() {
            self.say_once(News::new("inert", read.name(), read.inert), look);
        }
        if !read.time.active || read.time.every.is_none() {
            return Ok(false);
        }
        if let Some(why) = self.trust.schedule_refused(read, modes)? {
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
    ) -> Result<bool, Failure> {
        let (goal, wrong) = self.goal(read, modes);
        let rebased = self.known.ahead(&read.file.id, now);
        let job = Job {
            session: SessionId::v7(now.0, self.app.clock.random()),
            mode: read.file.text("mode").to_owned(),
            goal: Digest::of(goal.as_bytes()),
            bytes: goal.len() as u64,
        };
        let (place, repo) = (self.place.clone(), self.repo.clone());
        let case = Case { read, tasks, place: &place, repo: &repo, wrong: &wrong, now };
        // The goal's text is durable before the claim that names it; most looks claim nothing.
        let stored =
            !matches!(decide(&case, &self.known, &job).0.first(), None | Some(LoopEvent::Held { .. }));
        if stored {
            self.wired.store.put(vec![goal.into_bytes()]).await?;
        }
        let mut interrupt = false;
        let mut decide = |known: &Loop| {
            let (facts, interrupts) = decide(&case, known, &job);
            interrupt = interrupts;
            // It was not to be run a moment ago: the next look sees to it.
            let unready = !stored && matches!(facts.first(), Some(LoopEvent::Fired { .. }));
            if unready { Vec::new() } else { facts }
        };
        let mut claimed = false;
        loop {
            let store = &*self.wired.store;
            let done = commit(store, &self.repo, &mut self.known, now, Vec::new(), &mut decide).await?;
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
        if claimed && interrupt {
            self.interrupt(tasks, job.session).await?;
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
        let refused = self.app.secrets.refuse("taskInstructions", &goal, Path::new(&self.repo));
        (goal, refused.err().map(|failure| failure.fault.what).unwrap_or_default())
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

    /// What runs finishes its action in flight and waits for a person then.
    async fn interrupt(&self, tasks: &Tasks, by: SessionId) -> Result<(), Failure> {
        for session in tasks.running() {
            let key = Some(format!("loop/{by}/pause"));
            let order = Order {
                session,
                source: Source::Schedule,
                wish: Wish::Pause,
                key,
                ttl_ms: None,
                blobs: vec![],
            };
            self.wired.engine.submit(order).await?;
        }
        Ok(())
    }

    /// The file says when it comes next: unless another scheduler has said so already.
    async fn announce(&self, read: &Read, next: Timestamp, now: Timestamp) -> Result<(), Failure> {
        let said = when::read(read.file.text("nextExecutionTime"));
        if said.is_none_or(|said| said <= millis(now)) {
            self.stamp(read.file.id.clone(), fields([("nextExecutionTime", Some(next))])).await?;
        }
        Ok(())
    }

    async fn skipped(&self, read: &Read, now: Timestamp) -> Result<(), Failure> {
        let next = self.next(read, now);
        self.stamp(
            read.file.id.clone(),
            fields([("lastSkippedTime", Some(now)), ("nextExecutionTime", next)]),
        )
        .await
    }

    async fn expired(&self, read: &Read, look: &mut Look) -> Result<(), Failure> {
        let mut fields = fields([("nextExecutionTime", None)]);
        fields.insert("active".into(), false.into());
        self.stamp(read.file.id.clone(), fields).await?;
        look.news.push(News::new("expired", read.name(), "its last minute is over: it is no longer active"));
        Ok(())
    }

    /// When the next slot comes.
    pub(crate) fn next(&self, read: &Read, after: Timestamp) -> Option<Timestamp> {
        let since = since(&self.known, read, after);
        read.time.next(&since, after, &self.place, 1).first().copied()
    }

    pub(super) async fn stamp(&self, id: String, fields: Map<String, Value>) -> Result<(), Failure> {
        self.at_desk(move |desk| desk.stamp(&id, &fields)).await.map(drop)
    }
}

impl Look {
    /// Looks again by then.
    pub(super) fn at(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// Moments as the file holds them; `None` takes a field out.
pub(super) fn fields<const N: usize>(of: [(&str, Option<Timestamp>); N]) -> Map<String, Value> {
    let written = |at: Option<Timestamp>| at.map_or(Value::Null, |at| json!(when::written_ms(millis(at))));
    of.into_iter().map(|(name, at)| (name.to_owned(), written(at))).collect()
}

pub(super) fn since(known: &Loop, read: &Read, now: Timestamp) -> kernel::schedule::Since {
    known.since(&read.file.id, read.told, read.time.start.is_some(), now)
}

/// Why a schedule is not fired before a person has looked, if so.
pub(super) fn escalated<'k>(known: &'k Loop, read: &Read) -> Option<&'k str> {
    known.escalated(&format!("schedule/{}", read.file.id))
}

/// How a schedule stands.
pub(crate) fn due(known: &Loop, read: &Read, now: Timestamp, place: &Place) -> Due {
    read.time.due(&since(known, read, now), now, place)
}

/// The task of a schedule as its agent reads it, or why there is none.
pub(super) fn worded(read: &Read, modes: &Modes) -> Result<String, String> {
    let (task, slug) = (read.file.text("taskInstructions"), read.file.text("mode"));
    if task.trim().is_empty() {
        return Err("it has no taskInstructions".into());
    }
    let found = modes.find(slug).map(|mode| modes::worded(&mode, task.trim_start()));
    found.ok_or_else(|| format!("there is no mode `{slug}`; there are {}", modes.names()))
}

/// What a slot of a schedule waits for.
pub(super) fn waits(known: &Loop, id: &str) -> String {
    known.job_of(id).map_or_else(
        || "a task is running".to_owned(),
        |open| {
            let session = short(open.job.session);
            format!("its last session {session} has not ended (kapell sessions show {session})")
        },
    )
}

/// What a slot is judged by.
pub(super) struct Case<'c> {
    pub(super) read: &'c Read,
    pub(super) tasks: &'c Tasks,
    pub(super) place: &'c Place,
    pub(super) repo: &'c str,
    /// Why nothing of it can be run; empty: nothing stands in the way.
    pub(super) wrong: &'c str,
    pub(super) now: Timestamp,
}

/// The facts that follow, and whether what runs is to be interrupted.
pub(super) fn decide(case: &Case<'_>, known: &Loop, job: &Job) -> (Vec<LoopEvent>, bool) {
    let Case { read, tasks, now, .. } = *case;
    let schedule = read.file.id.clone();
    if known.halted.is_some() || escalated(known, read).is_some() {
        return (Vec::new(), false);
    }
    let Some(met) = known.schedule(&schedule).filter(|_| !known.ahead(&schedule, now)) else {
        return (vec![LoopEvent::Seen { repo: case.repo.to_owned(), schedule }], false);
    };
    let passed = |slot: Slot, why: &str| LoopEvent::Passed {
        schedule: schedule.clone(),
        slot: slot.at,
        missed: slot.missed,
        why: why.to_owned(),
    };
    let slot = match due(known, read, now, case.place) {
        Due::Now(slot) => slot,
        Due::Late(slot) => return (vec![passed(slot, "it was missed, and missed runs are skipped")], false),
        _ => return (Vec::new(), false),
    };
    if !case.wrong.is_empty() {
        return (vec![passed(slot, case.wrong)], false);
    }
    match read.time.then(tasks.around(known, read, met.session, now)) {
        then @ (Then::Run | Then::Interrupt) => {
            let (slot, missed, job) = (slot.at, slot.missed, job.clone());
            (vec![LoopEvent::Fired { schedule, slot, missed, job }], then == Then::Interrupt)
        }
        Then::Hold if met.held.is_some() => (Vec::new(), false),
        Then::Hold => (vec![LoopEvent::Held { schedule, slot: slot.at }], false),
        Then::Pass(why) => (vec![passed(slot, why)], false),
    }
}

/// Puts a task on record for whoever runs the loop of this repository; the session it will be.
pub(crate) async fn hand_over(
    app: &App,
    store: &journal::Sqlite,
    repo: &str,
    task: desk::Task<'_>,
) -> Result<SessionId, Failure> {
    let modes = Modes(task.modes);
    let mode = modes.find(task.mode).ok_or_else(|| {
        let what = format!("there is no mode `{}`; there are {}", task.mode, modes.names());
        Failure::usage("no-mode", what, "name one of these as target_mode, or declare it in .roomodes")
    })?;
    let goal = modes::worded(&mode, task.text);
    app.secrets.refuse("task_description", &goal, Path::new(repo))?;
    let now = app.now();
    let session = SessionId::v7(now.0, app.clock.random());
    let job =
        Job { session, mode: mode.slug.clone(), goal: Digest::of(goal.as_bytes()), bytes: goal.len() as u64 };
    let fact = LoopEvent::Delegated {
        repo: repo.to_owned(),
        task: task.id.to_owned(),
        priority: task.priority.to_owned(),
        job,
    };
    let mut known = Loop::default();
    commit(store, repo, &mut known, now, vec![goal.into_bytes()], |_| vec![fact.clone()]).await?;
    Ok(session)
}

/// Puts changes of files on record, for the desk. Called from threads that may block.
struct Recorder {
    store: Arc<journal::Sqlite>,
    clock: Arc<crate::clock::System>,
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl desk::Record for Recorder {
    fn record(&self, repo: &str, event: BoardEvent) -> Result<Seq, Fault> {
        let now = self.clock.now();
        let recorded = self.runtime.block_on(engine::board::record(&*self.store, repo, &event, now));
        recorded.map_err(|error| Failure::from(error).fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decides on the record as it is at this moment, and adds what follows.
    fn look(known: &mut Loop, read: &Read, now: Timestamp) -> Vec<LoopEvent> {
        let (tasks, place) = (Tasks::default(), Place::here().0);
        let job =
            Job { session: SessionId::v7(now.0, 0), mode: "code".into(), goal: Digest::of(b"x"), bytes: 1 };
        let case = Case { read, tasks: &tasks, place: &place, repo: "/r", wrong: "", now };
        let facts = decide(&case, known, &job).0;
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
