//! Looks over real files and a record in memory, with sessions that only stand in a table.
//!
//! Time stands still until a test moves it. Start at [`World`].

use crate::port::{End, Host, Opening, Stand, Trust};
use crate::{Doing, Look, Looper, Place, hand_over};
use contract::board::BoardEvent;
use contract::intent::Wish;
use contract::journal::Journal;
use contract::port::Clock;
use contract::{BoxFuture, Fault, Kind, Seq, SessionId, Timestamp};
use desk::Desk;
use journal::Memory;
use kernel::looping::claim::{Task, Tasks};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const MINUTE: u64 = 60_000;

#[derive(Debug)]
struct Hands(AtomicU64, AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn random(&self) -> u128 {
        u128::from(self.1.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Unrecorded;

impl desk::Record for Unrecorded {
    fn record(&self, _: &str, _: BoardEvent) -> Result<Seq, Fault> {
        Ok(1)
    }
}

/// A session that stands in the table.
#[derive(Debug, Clone)]
struct Sitting {
    opening: Opening,
    stand: Stand,
}

struct World {
    dir: tempfile::TempDir,
    clock: Arc<Hands>,
    store: Memory,
    table: Mutex<BTreeMap<SessionId, Sitting>>,
    wishes: Mutex<Vec<(SessionId, &'static str)>>,
    /// Why no session can be opened.
    shut: Mutex<Option<Fault>>,
}

struct Process<'w>(&'w World);

impl Trust for Process<'_> {
    fn trusts(&self, _: &Doing) -> Result<bool, Fault> {
        Ok(true)
    }
}

impl Host for Process<'_> {
    fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    fn journal(&self) -> &dyn Journal {
        &self.0.store
    }

    fn refused(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn stand(&self, session: SessionId) -> BoxFuture<'_, Result<Option<Stand>, Fault>> {
        let stand = self.0.table.lock().unwrap().get(&session).map(|sitting| sitting.stand.clone());
        Box::pin(async move { Ok(stand) })
    }

    fn tasks<'a>(&'a self, _: &'a [SessionId]) -> BoxFuture<'a, Result<Tasks, Fault>> {
        let task = |(id, sitting): (&SessionId, &Sitting)| {
            let Stand { end, rests, .. } = &sitting.stand;
            (*id, Task { runs: end.is_none() && !rests, acts: true, at: self.0.clock.now() })
        };
        let tasks = Tasks(self.0.table.lock().unwrap().iter().map(task).collect());
        Box::pin(async move { Ok(tasks) })
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<(), Fault>> {
        let shut = self.0.shut.lock().unwrap().clone();
        let stand = Stand { end: None, rests: false, held: true, paused: false };
        if shut.is_none() {
            self.0.table.lock().unwrap().insert(opening.session, Sitting { opening, stand });
        }
        Box::pin(async move { shut.map_or(Ok(()), Err) })
    }

    fn go_on(&self, session: SessionId) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.wishes.lock().unwrap().push((session, "go on"));
        Box::pin(async { Ok(()) })
    }

    fn wish(&self, session: SessionId, wish: Wish, _: String) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.wishes.lock().unwrap().push((session, wish.name()));
        if let Some(sitting) = self.0.table.lock().unwrap().get_mut(&session) {
            let paused = matches!(wish, Wish::Pause);
            (sitting.stand.paused, sitting.stand.rests) = (paused, paused);
        }
        Box::pin(async { Ok(()) })
    }
}

impl World {
    fn new(schedules: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let one = |(id, more): &(&str, &str)| {
            format!(
                "{{\"id\": \"{id}\", \"mode\": \"code\", \"taskInstructions\": \"do\", \"timeInterval\": \"1\", \"timeUnit\": \"minute\"{more}}}"
            )
        };
        let all: Vec<String> = schedules.iter().map(one).collect();
        std::fs::create_dir(dir.path().join(".roo")).unwrap();
        std::fs::write(
            dir.path().join(".roo/schedules.json"),
            format!("{{\"schedules\": [{}]}}", all.join(",")),
        )
        .unwrap();
        let began = "2026-11-21T08:00:00.000Z".parse::<Timestamp>().unwrap();
        Self {
            dir,
            clock: Arc::new(Hands(AtomicU64::new(began.0), AtomicU64::new(1))),
            store: Memory::default(),
            table: Mutex::default(),
            wishes: Mutex::default(),
            shut: Mutex::default(),
        }
    }

    fn process(&self) -> Looper<'_> {
        let clock: Arc<dyn Clock> = Arc::<Hands>::clone(&self.clock);
        let desk = Desk::open(desk::Options::new(self.dir.path().to_owned()), Arc::new(Unrecorded), clock);
        let repo = self.dir.path().to_string_lossy().into_owned();
        Looper::new(Box::new(Process(self)), Arc::new(desk.unwrap()), repo, Some(Place::default()))
    }

    fn later(&self, minutes: u64) {
        self.clock.0.fetch_add(minutes * MINUTE, Ordering::Relaxed);
    }

    fn ends(&self, session: SessionId) {
        let end = Some(End { code: 0, why: "done".into(), cancelled: false });
        self.table.lock().unwrap().get_mut(&session).unwrap().stand.end = end;
    }

    fn timing(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("task_timing.tsv")).unwrap_or_default()
    }
}

fn said(look: &Look, what: &str) -> Vec<SessionId> {
    look.news.iter().filter(|news| news.what == what).filter_map(|news| news.session).collect()
}

#[tokio::test]
async fn eight_processes_that_cannot_open_a_job_are_one_failure_and_its_time_is_written_back() {
    let world = World::new(&[("7", "")]);
    *world.shut.lock().unwrap() = Some(Fault::new(Kind::Permanent, "no-model", "there is no such model"));
    let mut all: Vec<Looper<'_>> = (0..8).map(|_| world.process()).collect();
    all[0].look().await.unwrap();
    world.later(1);
    for minutes in [0, 1, 2] {
        world.later(minutes);
        for (nth, looper) in all.iter_mut().enumerate() {
            let look = looper.look().await.unwrap();
            let escalated = look.news.iter().any(|news| news.what == "escalated");
            assert_eq!(escalated, minutes == 2 && nth == 0, "process {nth} after {minutes}");
        }
    }
    let known = all[0].record().await.unwrap();
    assert_eq!(known.jobs().count(), 0);
    assert!(known.escalated("schedule/7").unwrap().contains("3 times"));
    let timing = world.timing();
    assert_eq!(timing.matches("\tstarted\t").count(), 1, "{timing}");
    assert_eq!(timing.matches("\tfailed: there is no such model\t").count(), 1, "{timing}");
}

#[tokio::test]
async fn what_passes_by_itself_costs_no_slot() {
    let world = World::new(&[("7", "")]);
    *world.shut.lock().unwrap() = Some(Fault::new(Kind::Transient, "provider-down", "away for a moment"));
    let mut looper = world.process();
    looper.look().await.unwrap();
    world.later(1);
    for minutes in [0, 1, 2, 4, 8] {
        world.later(minutes);
        let look = looper.look().await.unwrap();
        assert!(look.news.iter().all(|news| news.what != "escalated"), "{look:?}");
    }
    *world.shut.lock().unwrap() = None;
    world.later(16);
    looper.look().await.unwrap();
    assert_eq!(world.table.lock().unwrap().len(), 1);
    assert!(looper.record().await.unwrap().failing().next().is_none());
}

#[tokio::test]
async fn what_is_interrupted_goes_on_when_the_interrupter_has_ended() {
    let world = World::new(&[("1", ""), ("2", ", \"taskInteraction\": \"interrupt\"")]);
    let mut looper = world.process();
    looper.look().await.unwrap();
    world.later(1);
    let first = said(&looper.look().await.unwrap(), "fired");
    world.later(1);
    let second = said(&looper.look().await.unwrap(), "fired");
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(*world.wishes.lock().unwrap(), [(first[0], "pause")]);
    // While it is paused for the other, it is nobody else's to go on with.
    looper.look().await.unwrap();
    assert_eq!(world.wishes.lock().unwrap().len(), 1);
    world.ends(second[0]);
    looper.look().await.unwrap();
    assert_eq!(world.wishes.lock().unwrap()[1..], [(first[0], "resume"), (first[0], "go on")]);
}

#[tokio::test]
async fn stopping_reaches_every_job_and_continuing_those_that_were_paused() {
    let world = World::new(&[("1", "")]);
    let mut looper = world.process();
    looper.look().await.unwrap();
    world.later(1);
    let fired = said(&looper.look().await.unwrap(), "fired");
    // Another process says so.
    let mut other = world.process();
    assert_eq!(other.stop(false).await.unwrap(), fired);
    assert_eq!(*world.wishes.lock().unwrap(), [(fired[0], "pause")]);
    world.later(10);
    assert!(looper.look().await.unwrap().news.is_empty());
    assert!(other.resume().await.unwrap() && !other.resume().await.unwrap());
    assert_eq!(world.wishes.lock().unwrap()[1..], [(fired[0], "resume"), (fired[0], "go on")]);
    // For good: what is not open yet never is.
    let task = desk::Task { id: "t", text: "do", mode: "code", priority: "schedule", modes: Vec::new() };
    let repo = world.dir.path().to_string_lossy().into_owned();
    let handed = hand_over(&Process(&world), &repo, task).await.unwrap();
    assert_eq!(other.stop(true).await.unwrap(), [fired[0], handed]);
    assert_eq!(world.wishes.lock().unwrap().last(), Some(&(fired[0], "cancel")));
    let left: Vec<SessionId> = other.record().await.unwrap().jobs().map(|open| open.job.session).collect();
    assert_eq!(left, fired);
}

#[tokio::test]
async fn a_task_is_opened_once_a_person_wants_it_and_never_as_a_schedule() {
    let world = World::new(&[]);
    let mut looper = world.process();
    let repo = world.dir.path().to_string_lossy().into_owned();
    let task = |id| desk::Task { id, text: "do", mode: "architect", priority: "schedule", modes: Vec::new() };
    let wanted = hand_over(&Process(&world), &repo, task("a")).await.unwrap();
    let unwanted = hand_over(&Process(&world), &repo, task("b")).await.unwrap();
    let look = looper.look().await.unwrap();
    assert_eq!(look.news.iter().filter(|news| news.what == "asked").count(), 2);
    assert_eq!(looper.judge(Some("nosuch"), true).await.unwrap(), []);
    assert_eq!(looper.judge(Some("a"), true).await.unwrap(), [wanted]);
    assert_eq!(looper.judge(None, false).await.unwrap(), [unwanted]);
    looper.look().await.unwrap();
    let table = world.table.lock().unwrap().clone();
    let opened = &table[&wanted].opening;
    assert_eq!((table.len(), &opened.writes), (1, &vec![r"\.md$".to_owned()]));
    assert!(world.timing().contains("\tnormal"), "{}", world.timing());
    assert_eq!(looper.record().await.unwrap().jobs().count(), 1);
}
