//! The engine as surfaces meet it, over a store in memory: what must hold when arbiters come and go.
//!
//! The loop's decisions are tested in the kernel and by the simulator; here is what only the shell around them can
//! get wrong. Start at [`Stage`].

use crate::executor::fake::World;
use crate::guard::{Guard, Held};
use crate::lease::Leases;
use crate::{Attend, Engine, Options, Order};
use contract::action::Work;
use contract::event::Event;
use contract::intent::{Source, Wish};
use contract::journal::{Error, Journal};
use contract::port::Clock;
use contract::{Fault, SessionId, StreamId, Timestamp};
use journal::{Inject, Memory, Op};
use kernel::governor::Slots;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// One lock for each session, like those of the operating system.
#[derive(Debug, Default)]
struct Locks(Arc<Mutex<BTreeSet<SessionId>>>);

struct Lock(Arc<Mutex<BTreeSet<SessionId>>>, SessionId);

impl Held for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.lock().unwrap().remove(&self.1);
    }
}

impl Guard for Locks {
    fn claim(&self, id: SessionId) -> Result<Option<Box<dyn Held>>, Fault> {
        let free = self.0.lock().unwrap().insert(id);
        Ok(free.then(|| Box::new(Lock(Arc::clone(&self.0), id)) as Box<dyn Held>))
    }
}

/// Time that stands still; it can be told to fail.
#[derive(Debug, Default)]
struct Fragile {
    broken: AtomicBool,
    drawn: AtomicU64,
}

impl Clock for Fragile {
    fn now(&self) -> Timestamp {
        assert!(!self.broken.load(Ordering::SeqCst), "the clock is broken");
        Timestamp(1_000)
    }

    fn random(&self) -> u128 {
        u128::from(self.drawn.fetch_add(1, Ordering::SeqCst))
    }
}

struct Stage {
    engine: Engine,
    store: Memory,
    clock: Arc<Fragile>,
    id: SessionId,
}

/// A session that is opened and paused by a person.
async fn paused() -> Stage {
    let stage = opened(&World::default()).await;
    stage.submit(Wish::Pause).await;
    stage
}

/// A session that is opened; one model call may run at a time.
async fn opened(world: &World) -> Stage {
    let (store, clock) = (Memory::new(), Arc::new(Fragile::default()));
    let mut ports = world.ports();
    ports.clock = clock.clone();
    ports.blobs = Arc::new(store.clone());
    let options = Options { owner: "test".into(), slots: Slots { model: 1, ..Slots::for_cores(4) } };
    let engine = Engine::new(ports, Arc::new(store.clone()), Arc::new(Locks::default()), options);
    let spec = world.run_of(Work::Prepare).context.spec;
    let id = engine.open(spec, vec![crate::executor::fake::GOAL.into()]).await.unwrap();
    Stage { engine, store, clock, id }
}

impl Stage {
    async fn submit(&self, wish: Wish) {
        let order =
            Order { session: self.id, source: Source::User, wish, key: None, ttl_ms: None, blobs: vec![] };
        self.engine.submit(order).await.unwrap();
    }

    async fn recoveries(&self) -> usize {
        self.count(|event| matches!(event, Event::Recovered { .. })).await
    }

    async fn count(&self, fits: impl Fn(&Event) -> bool) -> usize {
        let records = crate::store::records::<Event>(&self.store, StreamId::Session(self.id)).await.unwrap();
        records.iter().filter(|record| fits(&record.event)).count()
    }
}

#[tokio::test(start_paused = true)]
async fn what_pokes_an_arbiter_on_its_way_out_is_looked_at_all_the_same() {
    let stage = paused().await;
    stage.engine.shutdown().await;
    assert_eq!(stage.recoveries().await, 0);
    // The second lease write of a short visit gives the lease back: then a relative pokes.
    let (engine, id, seen) = (stage.engine.clone(), stage.id, Arc::new(Mutex::new(0)));
    stage.store.set_faults(move |_, op| {
        let mut seen = seen.lock().unwrap();
        *seen += u32::from(op == Op::Lease);
        if op == Op::Lease && *seen == 2 {
            engine.shared().wake(id, Attend::Settle);
        }
        None
    });
    stage.engine.attend(id, Attend::Settle).await.unwrap().unwrap();
    let looked = async {
        while stage.recoveries().await < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), looked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_saw_an_arbiter_stop_can_start_it_again_at_once() {
    let stage = paused().await;
    stage.engine.shutdown().await;
    for _ in 0..200 {
        stage.engine.attend(stage.id, Attend::Settle).await.unwrap().unwrap();
        assert_eq!(stage.engine.stopped(stage.id).await, None);
    }
    stage.engine.shutdown().await;
    assert_eq!(stage.engine.shared().remembered(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_nothing_starts_any_more() {
    let stage = paused().await;
    stage.engine.shutdown().await;
    let started = stage.count(|event| matches!(event, Event::Started { .. })).await;
    stage.submit(Wish::Resume { model: None }).await;
    stage.engine.attend(stage.id, Attend::GoOn).await.unwrap().unwrap();
    assert_eq!(stage.engine.stopped(stage.id).await, None);
    assert_eq!(stage.recoveries().await, 1);
    assert_eq!(stage.count(|event| matches!(event, Event::Started { .. })).await, started);
}

#[tokio::test(start_paused = true)]
async fn an_arbiter_that_panicked_is_told_and_stands_in_nobodys_way() {
    let stage = paused().await;
    stage.clock.broken.store(true, Ordering::SeqCst);
    stage.engine.shared().wake(stage.id, Attend::GoOn);
    let told = stage.engine.stopped(stage.id).await;
    assert!(matches!(told, Some(Error::Closed(_))), "{told:?}");
    stage.clock.broken.store(false, Ordering::SeqCst);
    stage.engine.attend(stage.id, Attend::Settle).await.unwrap().unwrap();
    assert_eq!(stage.engine.stopped(stage.id).await, None);
    assert_eq!(stage.recoveries().await, 1);
    stage.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_keeps_its_slot_when_a_commit_is_refused() {
    let (world, calls) = (World::default(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    world.model(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    });
    let stage = opened(&world).await;
    let short = std::time::Duration::from_millis(10);
    tokio::time::sleep(short).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let mut refuse = true;
    stage.store.set_faults(move |_, op| {
        (op == Op::Append && std::mem::take(&mut refuse)).then_some(Inject::Conflict)
    });
    stage.submit(Wish::Continue).await;
    tokio::time::sleep(short).await;
    let spec = world.run_of(Work::Prepare).context.spec;
    stage.engine.open(spec, Vec::new()).await.unwrap();
    tokio::time::sleep(short).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the only slot for model calls is taken");
    stage.engine.shutdown().await;
}

#[tokio::test]
async fn a_renewal_does_not_take_what_was_given_back_and_taken_anew() {
    let (store, leases) = (Memory::new(), Arc::new(Leases::default()));
    let (id, now) = (SessionId(7), Timestamp(1_000));
    let take = || async { store.acquire(id, "test".into(), now, false).await.unwrap().unwrap() };
    let old = take().await;
    leases.add(old.clone());
    store.release(old).await.unwrap();
    let (renewed, new) = (Arc::clone(&leases), take().await);
    // It happens while the renewal is under way: after it has asked, before it hears.
    let mut anew = Some(new.clone());
    store.set_faults(move |_, op| {
        if op == Op::Lease {
            anew.take().into_iter().for_each(|lease| renewed.add(lease));
        }
        None
    });
    assert_eq!(leases.renew(&store, now).await.unwrap(), []);
    assert_eq!(leases.remove(id), Some(new));
}
