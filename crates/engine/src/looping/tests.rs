//! Many processes, one store, schedules that are due: each slot becomes one session, whoever dies in between.
//!
//! Processes are handles of one store in memory that can die at any write, before it is durable or after. Start at
//! [`Process`].

use super::{catch_up, commit, stream};
use crate::Engine;
use crate::executor::fake::{GOAL, World};
use crate::guard::{Guard, Held};
use crate::store;
use contract::action::Work;
use contract::event::Event;
use contract::journal::{Error, Journal};
use contract::looping::{Job, LoopEvent};
use contract::port::Clock;
use contract::session::SessionSpec;
use contract::{Digest, Fault, SessionId, StreamId, Timestamp};
use journal::{Inject, Memory};
use kernel::governor::Slots;
use kernel::looping::Loop;
use kernel::schedule::{Days, Due, Every, Meets, Missed, Schedule, Unit, Wall, Zone};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const REPO: &str = "/home/ada/project";
/// Nobody is asked for the day: slots count from the beginning of time.
const BEGAN: Timestamp = Timestamp(60_000 * 60 * 24 * 365);

struct Utc;

impl Zone for Utc {
    fn wall(&self, at: Timestamp) -> Wall {
        (at.0 / 60_000) as Wall
    }

    fn moment(&self, wall: Wall) -> Timestamp {
        Timestamp(wall.unsigned_abs() * 60_000)
    }
}

/// A grid of minutes, each slot of which is to be run.
fn schedule() -> Schedule {
    Schedule {
        active: true,
        every: Some(Every { count: 1, unit: Unit::Minute }),
        days: Days::default(),
        start: Some(0),
        at: 0,
        expires: None,
        meets: Meets::Skip,
        needs_activity: false,
        missed: Missed::All(100),
    }
}

/// What goes on in the process next.
fn decide(known: &Loop, now: Timestamp, session: SessionId) -> Vec<LoopEvent> {
    let schedule = schedule();
    if known.schedule("s").is_none() {
        return vec![LoopEvent::Seen { repo: REPO.into(), schedule: "s".into() }];
    }
    match schedule.due(&known.since("s", None, (true, None), now), now, &Utc) {
        Due::Now(slot) => {
            let job = Job { session, mode: "code".into(), goal: Digest::of(GOAL.as_bytes()), bytes: 4 };
            vec![LoopEvent::Fired {
                schedule: "s".into(),
                slot: slot.at,
                missed: slot.missed,
                job,
                interrupts: Vec::new(),
            }]
        }
        _ => Vec::new(),
    }
}

/// The facts of the loop, and every session with its number of openings.
async fn told(store: &Memory) -> (Vec<LoopEvent>, BTreeMap<SessionId, usize>) {
    let facts = store::records::<LoopEvent>(store, stream(REPO)).await.unwrap();
    let mut opened = BTreeMap::new();
    for listed in store.sessions(false).await.unwrap() {
        let records = store::records::<Event>(store, StreamId::Session(listed.session)).await.unwrap();
        let openings = records.iter().filter(|record| matches!(record.event, Event::Opened { .. })).count();
        opened.insert(listed.session, openings);
    }
    (facts.into_iter().map(|record| record.event).collect(), opened)
}

fn slots(facts: &[LoopEvent]) -> Vec<(Timestamp, SessionId)> {
    let fired = facts.iter().filter_map(|fact| match fact {
        LoopEvent::Fired { slot, job, .. } => Some((*slot, job.session)),
        _ => None,
    });
    fired.collect()
}

/// A process that claims and opens, until it dies.
struct Process {
    store: Memory,
    known: Loop,
}

impl Process {
    /// One look: claims what is due, then opens what is claimed and not open. An error: it has died.
    async fn look(&mut self, now: Timestamp, fresh: &AtomicU64) -> Result<(), Error> {
        let store = self.store.clone();
        let id = || SessionId::v7(now.0, fresh.fetch_add(1, Ordering::SeqCst).into());
        while !commit(&store, REPO, &mut self.known, now, Vec::new(), |known| decide(known, now, id()))
            .await?
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
        for open in self.known.clone().jobs() {
            let session = open.job.session;
            if store.head(StreamId::Session(session)).await?.seq == 0 {
                tokio::task::yield_now().await;
                self.open(session, now).await?;
            }
            tokio::task::yield_now().await;
            let closed = vec![LoopEvent::Closed { session, code: 0 }];
            commit(&store, REPO, &mut self.known, now, Vec::new(), |known| {
                if known.jobs().any(|open| open.job.session == session) { closed.clone() } else { Vec::new() }
            })
            .await?;
        }
        Ok(())
    }

    /// As an engine does: the first event of a stream that must be empty.
    async fn open(&self, session: SessionId, now: Timestamp) -> Result<(), Error> {
        let spec = (*World::default().run_of(Work::Prepare).context.spec).clone();
        let records = contract::record::encode_all(0, now, &[Event::Opened { spec: Box::new(spec) }]);
        let fence = match self.store.acquire(session, "p".into(), now, true).await? {
            Ok(lease) => lease.fence,
            Err(_) => return Ok(()),
        };
        let stream = StreamId::Session(session);
        let append =
            contract::journal::Append { stream, expected: 0, fence: Some(fence), records, ended: false };
        let batch = contract::journal::Batch { appends: vec![append], ..Default::default() };
        match self.store.append(batch).await {
            Ok(_) | Err(Error::Conflict { .. } | Error::Fenced { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Eight processes at a time over these slots; each dies at the write of its own number, with the write durable or not,
/// and another one takes its place.
async fn eight(slots: u64, deaths: &[(u64, bool)]) -> (Vec<LoopEvent>, BTreeMap<SessionId, usize>) {
    let store = Memory::new();
    let mut known = Loop::default();
    let met = commit(&store, REPO, &mut known, BEGAN, Vec::new(), |known| {
        decide(known, BEGAN, SessionId::v7(0, 0))
    });
    assert_eq!(met.await.unwrap().len(), 1);
    let (fresh, minute) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
    let deaths = Arc::new(Mutex::new(deaths.to_vec()));
    let mut eight = Vec::new();
    for _ in 0..8 {
        let (store, fresh, minute, deaths) =
            (store.clone(), Arc::clone(&fresh), Arc::clone(&minute), Arc::clone(&deaths));
        eight.push(tokio::spawn(async move {
            let born = || {
                let peer = store.peer();
                if let Some((at, durable)) = deaths.lock().unwrap().pop() {
                    let how = move || if durable { Inject::ReplyLost } else { Inject::Lost };
                    peer.set_faults(move |number, _| (number == at).then(how));
                }
                Process { store: peer, known: Loop::default() }
            };
            let mut process = born();
            loop {
                // The clocks of processes differ by less than they look.
                let at = (minute.fetch_add(1, Ordering::SeqCst) / 8).min(slots);
                if process.look(BEGAN.plus(at * 60_000), &fresh).await.is_err() {
                    process = born();
                }
                if at == slots {
                    // Whoever is last leaves nothing open.
                    while process.look(BEGAN.plus(slots * 60_000), &fresh).await.is_err() {
                        process = born();
                    }
                    return;
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    for one in eight {
        one.await.unwrap();
    }
    told(&store).await
}

#[track_caller]
fn each_once(count: u64, facts: &[LoopEvent], opened: &BTreeMap<SessionId, usize>) {
    let fired = slots(facts);
    let wanted: Vec<Timestamp> = (1..=count).map(|n| BEGAN.plus(n * 60_000)).collect();
    let unique: BTreeSet<Timestamp> = fired.iter().map(|(slot, _)| *slot).collect();
    assert_eq!(fired.len(), unique.len(), "no slot twice");
    assert_eq!(unique.into_iter().collect::<Vec<_>>(), wanted, "every slot");
    let sessions: BTreeSet<SessionId> = fired.iter().map(|(_, session)| *session).collect();
    assert_eq!(sessions, opened.keys().copied().collect(), "a session for each, and no other");
    assert!(opened.values().all(|openings| *openings == 1));
    let closed = facts.iter().filter(|fact| matches!(fact, LoopEvent::Closed { .. })).count();
    assert_eq!(closed, sessions.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_processes_fire_each_of_a_thousand_slots_once() {
    let (facts, opened) = eight(1_000, &[]).await;
    each_once(1_000, &facts, &opened);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_slots_fire_once_though_two_hundred_processes_die_at_their_writes() {
    let deaths: Vec<(u64, bool)> = (0..200).map(|n| (1 + n * 7 % 23, n % 2 == 0)).collect();
    let (facts, opened) = eight(1_000, &deaths).await;
    each_once(1_000, &facts, &opened);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whenever_processes_die_each_slot_fires_once(
        deaths in prop::collection::vec((1_u64..12, any::<bool>()), 0..60),
        count in 5_u64..40,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (facts, opened) = runtime.block_on(eight(count, &deaths));
        each_once(count, &facts, &opened);
    }
}

#[tokio::test]
async fn what_the_fold_refuses_is_not_written() {
    let store = Memory::new();
    let mut known = Loop::default();
    let closed = vec![LoopEvent::Closed { session: SessionId::v7(1, 1), code: 0 }];
    let refused = commit(&store, REPO, &mut known, BEGAN, Vec::new(), |_| closed.clone()).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(store.head(stream(REPO)).await.unwrap().seq, 0);
    catch_up(&store, REPO, &mut known).await.unwrap();
    assert_eq!(known, Loop::default());
}

/// Locks of sessions, as the operating system keeps them.
#[derive(Debug, Default, Clone)]
struct Locks(Arc<Mutex<BTreeSet<SessionId>>>);

struct Lock(Locks, SessionId);

impl Held for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().remove(&self.1);
    }
}

impl Guard for Locks {
    fn claim(&self, id: SessionId) -> Result<Option<Box<dyn Held>>, Fault> {
        let free = self.0.lock().unwrap().insert(id);
        Ok(free.then(|| Box::new(Lock(self.clone(), id)) as Box<dyn Held>))
    }
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        BEGAN
    }

    fn random(&self) -> u128 {
        7
    }
}

#[tokio::test]
async fn of_many_engines_that_open_one_session_by_its_name_one_does() {
    let (store, locks) = (Memory::new(), Locks::default());
    let engine = || {
        let mut ports = World::default().ports();
        ports.clock = Arc::new(Still);
        ports.blobs = Arc::new(store.peer());
        let options = crate::Options { owner: "test".into(), slots: Slots::for_cores(4) };
        Engine::new(ports, Arc::new(store.peer()), Arc::new(locks.clone()), options)
    };
    let spec: SessionSpec = (*World::default().run_of(Work::Prepare).context.spec).clone();
    let id = SessionId::v7(BEGAN.0, 99);
    let engines: Vec<Engine> = (0..8).map(|_| engine()).collect();
    let mut opened = Vec::new();
    for one in &engines {
        let (one, spec) = (one.clone(), spec.clone());
        opened.push(tokio::spawn(async move { one.open_once(id, spec, vec![GOAL.into()]).await.unwrap() }));
    }
    let mut won = 0;
    for one in opened {
        won += usize::from(one.await.unwrap());
    }
    assert_eq!(won, 1);
    for one in &engines {
        one.shutdown().await;
    }
    // Also once nobody holds it any more.
    assert!(!engine().open_once(id, spec, vec![GOAL.into()]).await.unwrap());
    let (_, opened) = told(&store).await;
    assert_eq!(opened, BTreeMap::from([(id, 1)]));
}
