//! The engine as surfaces meet it, over a store in memory: what must hold when arbiters come and go.
//!
//! The loop's decisions are tested in the kernel and by the simulator; here is what only the shell around them can
//! get wrong. Start at [`Stage`].

use crate::commit::Host;
use crate::executor::fake::World;
use crate::guard::{Guard, Held};
use crate::lease::Leases;
use crate::{Attend, Engine, Options, Order};
use contract::action::Work;
use contract::event::{Event, LedgerEvent};
use contract::intent::{Intent, Source, Wish};
use contract::journal::{Append, Batch, Error, Journal};
use contract::port::Clock;
use contract::session::Parent;
use contract::{Fault, SessionId, StreamId, Timestamp, limits};
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

/// A lock that somebody waits for: says when, and takes it when told to.
#[derive(Debug)]
struct Slow {
    asked: tokio::sync::mpsc::UnboundedSender<()>,
    go: Mutex<std::sync::mpsc::Receiver<()>>,
    locks: Locks,
}

impl Guard for Slow {
    fn claim(&self, id: SessionId) -> Result<Option<Box<dyn Held>>, Fault> {
        self.asked.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        self.locks.claim(id)
    }
}

/// Time that stands still, unless it is moved; it can be told to fail.
#[derive(Debug, Default)]
struct Fragile {
    broken: AtomicBool,
    drawn: AtomicU64,
    ahead: AtomicU64,
}

impl Clock for Fragile {
    fn now(&self) -> Timestamp {
        Timestamp(1_000 + self.ahead.load(Ordering::SeqCst))
    }

    fn random(&self) -> u128 {
        assert!(!self.broken.load(Ordering::SeqCst), "the clock is broken");
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
    guarded(world, Arc::new(Locks::default())).await
}

async fn guarded(world: &World, guard: Arc<dyn Guard>) -> Stage {
    let (store, clock) = (Memory::new(), Arc::new(Fragile::default()));
    let engine = engine(world, &store, &clock, guard);
    let spec = (*world.run_of(Work::Prepare).context.spec).clone();
    let id = engine.open(spec, vec![crate::executor::fake::GOAL.into()]).await.unwrap();
    Stage { engine, store, clock, id }
}

fn engine(world: &World, store: &Memory, clock: &Arc<Fragile>, guard: Arc<dyn Guard>) -> Engine {
    let mut ports = world.ports();
    ports.clock = clock.clone();
    ports.blobs = Arc::new(store.clone());
    let options = Options { owner: "test".into(), slots: Slots { model: 1, ..Slots::for_cores(4) } };
    Engine::new(ports, Arc::new(store.clone()), guard, options)
}

impl Stage {
    /// Another process over the same store.
    fn anew(self, guard: Arc<dyn Guard>) -> Self {
        Self { engine: engine(&World::default(), &self.store, &self.clock, guard), ..self }
    }

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
    let stage = stage.anew(Arc::new(Locks::default()));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_for_a_session_that_is_just_being_taken_over() {
    let (stage, go, mut asks) = slow().await;
    stage.engine.shared().wake(stage.id, Attend::Settle);
    asks.recv().await.unwrap();
    let mut shutdown = closing(&stage.engine);
    assert!(!shutdown(), "its lease would be taken after its lock was given back");
    go.send(()).unwrap();
    while !shutdown() {
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.recoveries().await, 1, "what was taken over was given back in order");
    stage.engine.shared().wake(stage.id, Attend::Settle);
    tokio::task::yield_now().await;
    assert!(asks.try_recv().is_err(), "nobody is woken any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_for_those_who_open_and_attend_sessions() {
    for opens in [false, true] {
        let (stage, go, mut asks) = slow().await;
        let (engine, id) = (stage.engine.clone(), stage.id);
        let mut asking = polled(async move {
            let spec = (*World::default().run_of(Work::Prepare).context.spec).clone();
            match opens {
                true => drop(engine.open(spec, vec![]).await),
                false => engine.attend(id, Attend::Settle).await.unwrap().unwrap(),
            }
        });
        while asks.try_recv().is_err() {
            assert!(!asking());
            tokio::task::yield_now().await;
        }
        let mut shutdown = closing(&stage.engine);
        assert!(!shutdown(), "its lease would be taken after its lock was given back");
        go.send(()).unwrap();
        while !(shutdown() & asking()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(stage.engine.shared().remembered(), 0, "what was taken over was given back in order");
    }
}

/// A session that nobody holds, an engine whose lock is taken when told to, and who hears that it is asked for.
async fn slow() -> (Stage, std::sync::mpsc::Sender<()>, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let stage = paused().await;
    stage.engine.shutdown().await;
    let (asked, asks) = tokio::sync::mpsc::unbounded_channel();
    let (go, told) = std::sync::mpsc::channel();
    let slow = Slow { asked, go: Mutex::new(told), locks: Locks::default() };
    (stage.anew(Arc::new(slow)), go, asks)
}

fn closing(engine: &Engine) -> impl FnMut() -> bool + use<> {
    let engine = engine.clone();
    polled(async move { engine.shutdown().await })
}

/// Something to be looked at now and then: is it done?
fn polled(future: impl Future<Output = ()> + Send + 'static) -> impl FnMut() -> bool {
    let mut future: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
    let mut done = false;
    move || {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        done = done || future.as_mut().poll(&mut context).is_ready();
        done
    }
}

#[tokio::test(start_paused = true)]
async fn a_tree_in_which_nobody_lives_any_more_leaves_no_ledger_behind() {
    let stage = paused().await;
    let known = || stage.engine.shared().governor().peek(stage.id).is_some();
    assert!(known());
    stage.submit(Wish::Cancel).await;
    assert_eq!(stage.engine.stopped(stage.id).await, None);
    assert!(!known(), "the session has ended, and with it the tree");
    let other = stage
        .engine
        .open((*World::default().run_of(Work::Prepare).context.spec).clone(), vec![])
        .await
        .unwrap();
    let known = || stage.engine.shared().governor().peek(other).is_some();
    stage.engine.attend(other, Attend::GoOn).await.unwrap().unwrap();
    assert!(known(), "who lives here needs it");
    stage.engine.shutdown().await;
    assert!(!known());
    // Taken up again it is read again.
    stage.engine.attend(other, Attend::Settle).await.unwrap().unwrap();
    assert_eq!(stage.engine.stopped(other).await, None);
    assert!(!known());
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
async fn a_child_that_breaks_down_again_and_again_is_a_failure_its_parent_hears_of() {
    let stage = paused().await;
    let mut spec = (*World::default().run_of(Work::Prepare).context.spec).clone();
    let action = contract::ActionId { turn: 1, step: 1 };
    let (session, root, call) = (stage.id, stage.id, "c1".into());
    spec.parent = Some(Parent { session, root, ancestors: vec![root], goals: vec![spec.goal], action, call });
    let child = stage.engine.open(spec, Vec::new()).await.unwrap();
    stage.engine.shutdown().await;
    let stage = stage.anew(Arc::new(Locks::default()));
    let attend = || stage.engine.attend(child, Attend::GoOn);
    for _ in 0..crate::breakdown::TRIES {
        stage.clock.broken.store(true, Ordering::SeqCst);
        attend().await.unwrap().unwrap();
        assert!(stage.engine.stopped(child).await.is_some());
        stage.clock.broken.store(false, Ordering::SeqCst);
        assert_eq!(stage.store.inbox(stage.id).await.unwrap(), [], "it is tried again first");
    }
    for _ in 0..2 {
        let fault = attend().await.unwrap_err();
        assert!(fault.code == "broken-session" && fault.what.contains("panicked"), "{fault:?}");
        let mail = stage.store.inbox(stage.id).await.unwrap();
        let [mail] = &mail[..] else { panic!("told once: {mail:?}") };
        let told = &mail.intent.as_ref().unwrap().wish;
        assert!(matches!(told, Wish::SubtaskEnded { child: of, end } if *of == child && end.code == 1));
    }
    assert_eq!(stage.recoveries().await, 0);
    stage.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_raised_by_another_process_is_noticed_by_who_waits_for_it() {
    let world = World::default();
    let (store, clock) = (Memory::new(), Arc::new(Fragile::default()));
    let engine = engine(&world, &store, &clock, Arc::new(Locks::default()));
    let mut spec = (*world.run_of(Work::Prepare).context.spec).clone();
    spec.budget.steps = 1;
    let id = engine.open(spec, vec![crate::executor::fake::GOAL.into()]).await.unwrap();
    let stage = Stage { engine, store, clock, id };
    let wait = async |fits: fn(&Event) -> bool| {
        let seen = async {
            while stage.count(fits).await == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), seen).await.expect("in time");
    };
    wait(|event| matches!(event, Event::Paused { why, .. } if why == "budget")).await;
    let head = stage.store.head(StreamId::Tree(id)).await.unwrap();
    let amount = contract::Amount { steps: 100, ..contract::Amount::ZERO };
    let raised = contract::record::encode(head.seq + 1, Timestamp(1_000), &LedgerEvent::Raised { amount });
    let (stream, expected) = (StreamId::Tree(id), head.seq);
    let append = Append { stream, expected, fence: None, records: vec![raised], ended: false };
    stage.store.append(Batch { appends: vec![append], ..Batch::default() }).await.unwrap();
    wait(|event| matches!(event, Event::Resumed { .. })).await;
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
    let spec = (*world.run_of(Work::Prepare).context.spec).clone();
    stage.engine.open(spec, Vec::new()).await.unwrap();
    tokio::time::sleep(short).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the only slot for model calls is taken");
    stage.engine.shutdown().await;
}

/// Model calls that end a while after they are told to: how many began, and how many are there.
fn lingering(world: &World) -> (Arc<AtomicU64>, Arc<AtomicU64>) {
    let (began, there) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counted = (Arc::clone(&began), Arc::clone(&there));
    world.model(move |cancel| {
        let (began, there) = counted.clone();
        began.fetch_add(1, Ordering::SeqCst);
        assert_eq!(there.fetch_add(1, Ordering::SeqCst), 0, "another attempt is still there");
        Box::pin(async move {
            cancel.reached(contract::cancel::Urgency::Graceful).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            there.fetch_sub(1, Ordering::SeqCst);
            Err(Fault::new(contract::Kind::Transient, "cancelled", "cancelled").into())
        })
    });
    (began, there)
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_begins_when_nothing_is_left_of_the_one_that_was_given_up() {
    let world = World::default();
    let (began, there) = lingering(&world);
    let stage = opened(&world).await;
    let short = std::time::Duration::from_millis(10);
    tokio::time::sleep(short).await;
    assert_eq!(began.load(Ordering::SeqCst), 1);
    // The machine was asleep: the attempt is long overdue, and knows nothing of it.
    stage.clock.ahead.store(86_400_000, Ordering::SeqCst);
    stage.engine.shared().wake(stage.id, Attend::GoOn);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(began.load(Ordering::SeqCst), 1, "it slept as well, and may have something to say yet");
    tokio::time::sleep(std::time::Duration::from_millis(limits::OVERDUE_MS)).await;
    assert_eq!((began.load(Ordering::SeqCst), there.load(Ordering::SeqCst)), (2, 1));
    stage.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_while_the_machine_slept_counts() {
    let (world, calls) = (World::default(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    world.model(move |_| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if !first {
                std::future::pending::<()>().await;
            }
            // It lay in the socket; the answer is read a moment after everybody woke.
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            Err(Fault::new(contract::Kind::Permanent, "read-late", "read late").into())
        })
    });
    let stage = opened(&world).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    stage.clock.ahead.store(86_400_000, Ordering::SeqCst);
    stage.engine.shared().wake(stage.id, Attend::GoOn);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let read = stage
        .count(|event| matches!(event, Event::Failed { signature, .. } if signature.contains("read-late")));
    assert_eq!((read.await, calls.load(Ordering::SeqCst)), (1, 1));
    stage.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn who_stops_on_an_error_lets_go_when_nothing_of_its_work_is_left() {
    let world = World::default();
    let (began, there) = lingering(&world);
    let stage = opened(&world).await;
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    assert_eq!(began.load(Ordering::SeqCst), 1);
    stage.store.set_faults(move |_, op| (op == Op::Append).then_some(Inject::Full));
    stage.submit(Wish::Continue).await;
    assert!(matches!(stage.engine.stopped(stage.id).await, Some(Error::Full(_))));
    assert_eq!(there.load(Ordering::SeqCst), 0, "its files are nobody's while it is still at them");
}

#[tokio::test(start_paused = true)]
async fn who_is_given_up_keeps_nobody_from_its_slot() {
    let (world, calls) = (World::default(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    world.model(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    });
    let stage = opened(&world).await;
    let short = std::time::Duration::from_millis(10);
    tokio::time::sleep(short).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the only slot for model calls is taken");
    let mut given_up = false;
    for _ in 0..=crate::breakdown::TRIES {
        stage.clock.broken.store(true, Ordering::SeqCst);
        given_up |= stage.engine.attend(stage.id, Attend::GoOn).await.is_err();
        assert!(stage.engine.stopped(stage.id).await.is_some());
        stage.clock.broken.store(false, Ordering::SeqCst);
    }
    assert!(given_up || stage.engine.attend(stage.id, Attend::GoOn).await.is_err());
    stage.engine.open((*world.run_of(Work::Prepare).context.spec).clone(), Vec::new()).await.unwrap();
    tokio::time::sleep(short).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(stage.store.holder(stage.id).await.unwrap(), None, "its lease is given back, too");
    stage.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_attend_a_session_at_once_take_it_up_once() {
    let (stage, go, mut asks) = slow().await;
    let attend = || {
        let (engine, id) = (stage.engine.clone(), stage.id);
        polled(async move { engine.attend(id, Attend::GoOn).await.unwrap().unwrap() })
    };
    let (mut one, mut other) = (attend(), attend());
    while asks.try_recv().is_err() {
        assert!(!one());
        tokio::task::yield_now().await;
    }
    assert!(!other());
    go.send(()).unwrap();
    while !(one() & other()) {
        tokio::task::yield_now().await;
    }
    assert!(asks.try_recv().is_err(), "its lock is asked for once");
    stage.engine.shutdown().await;
    assert_eq!(stage.recoveries().await, 1);
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

#[tokio::test(start_paused = true)]
async fn a_cancel_that_waited_is_heard_before_anything_starts_anew() {
    let world = World::default();
    world.model(move |_| Box::pin(std::future::pending()));
    let stage = opened(&world).await;
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    // The process dies in a model call; whoever takes over finds a cancel waiting.
    let next = stage.store.crash();
    let order = Intent {
        id: SessionId(99),
        session: stage.id,
        source: Source::User,
        wish: Wish::Cancel,
        key: "cancel".into(),
        at: Timestamp(1_000),
        ttl_ms: None,
    };
    next.submit(order).await.unwrap();
    let mut ports = world.ports();
    ports.clock = stage.clock.clone();
    let options = Options { owner: "next".into(), slots: Slots::for_cores(4) };
    let engine = Engine::new(ports, Arc::new(next.clone()), Arc::new(Locks::default()), options);
    engine.attend(stage.id, Attend::GoOn).await.unwrap().unwrap();
    assert_eq!(engine.stopped(stage.id).await, None);
    let records = crate::store::records::<Event>(&next, StreamId::Session(stage.id)).await.unwrap();
    let taken = records.iter().position(|record| matches!(record.event, Event::Recovered { .. })).unwrap();
    let started = |record: &&contract::record::Record<Event>| matches!(record.event, Event::Started { .. });
    assert_eq!(records[taken..].iter().find(started), None);
    assert!(matches!(records.last().unwrap().event, Event::Ended { .. }), "{records:#?}");
}
