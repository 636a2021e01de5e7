//! Sessions in two engines on one store, and a provider with limits: what is refused, what is honoured, who ends.
//!
//! Time is the runtime's and stands still while anybody works; the same with real processes: `cargo xtask bench limits`.
//! Start at [`run`].

use crate::executor::fake::{GOAL, World};
use crate::guard::{Guard, Held};
use crate::{Engine, Options};
use contract::action::Work;
use contract::event::Event;
use contract::journal::Journal;
use contract::model::{Broken, Gauge, Meter, Quota, Rates, Reply, Stop, Usage, Window};
use contract::port::Clock;
use contract::{Cancel, Fault, Kind, QuotaId, SessionId, StreamId, Timestamp, limits};
use journal::Memory;
use kernel::governor::Slots;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

const SESSIONS: usize = 30;
/// Calls each session makes, on average.
const CALLS: usize = 8;
const REQUESTS_A_MINUTE: usize = 60;
const TOKENS_A_MINUTE: u64 = 2_000_000;
const WINDOW: Window = Window { requests: 15, ms: 12_000 };
/// What one call uses, and how long it takes.
const USED: Usage = Usage { input: 700, output: 100, cache_read: 0, cache_write: 0, estimated: false };
/// Longest time of all of it.
const PATIENCE: Duration = Duration::from_secs(1_800);
const TAKES: Duration = Duration::from_millis(1_500);

#[derive(Debug)]
struct Ticking {
    began: Instant,
    drawn: AtomicU64,
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp(1_800_000_000_000 + u64::try_from(self.began.elapsed().as_millis()).unwrap())
    }

    fn random(&self) -> u128 {
        u128::from(self.drawn.fetch_add(1, Ordering::SeqCst))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

#[derive(Debug)]
struct Anybody;

struct Free;

impl Held for Free {}

impl Guard for Anybody {
    fn claim(&self, _: SessionId) -> Result<Option<Box<dyn Held>>, Fault> {
        Ok(Some(Box::new(Free)))
    }
}

/// The provider: it counts what came in every stretch of time, exactly.
#[derive(Debug, Default)]
struct Server {
    taken: Vec<Instant>,
    refused: usize,
    /// Nobody should come before this moment.
    closed_until: Option<Instant>,
    impatient: usize,
    /// It is down from one moment after its first call to another.
    outage: Option<(Duration, Duration)>,
    first: Option<Instant>,
    /// Calls that came while it was down.
    in_vain: usize,
    /// It tells what is left.
    tells: bool,
}

impl Server {
    fn in_last(&self, ms: u64) -> usize {
        self.taken.iter().rev().take_while(|at| at.elapsed() < Duration::from_millis(ms)).count()
    }

    fn ask(&mut self) -> Result<Reply, Broken> {
        let since = self.first.get_or_insert_with(Instant::now).elapsed();
        if self.closed_until.is_some_and(|until| Instant::now() < until) {
            self.impatient += 1;
        }
        if self.outage.is_some_and(|(from, to)| (from..to).contains(&since)) {
            self.in_vain += 1;
            let fault = Fault::new(Kind::Degraded, "provider-unwell", "529");
            return Err(Broken { usage: Some(Usage::default()), ..fault.into() });
        }
        let tokens = self.in_last(60_000) as u64 * USED.total();
        let full = self.in_last(60_000) >= REQUESTS_A_MINUTE
            || self.in_last(WINDOW.ms) >= WINDOW.requests as usize
            || tokens + USED.total() > TOKENS_A_MINUTE;
        if full {
            self.refused += 1;
            self.closed_until = Some(Instant::now() + Duration::from_secs(5));
            let mut fault = Fault::new(Kind::RateLimited, "rate-limited", "429");
            fault.retry_after_ms = Some(5_000);
            return Err(Broken { usage: Some(Usage::default()), ..fault.into() });
        }
        self.taken.push(Instant::now());
        let more = self.taken.len() < SESSIONS * CALLS;
        let stop = if more { Stop::MaxTokens } else { Stop::EndTurn };
        let mut reply = Reply::plain("on it", Vec::new(), stop, USED);
        if self.tells {
            reply.meter = self.meter();
        }
        Ok(reply)
    }

    /// What is left of a minute, and until its oldest call no longer counts.
    fn meter(&self) -> Meter {
        let gauge = |most: usize, ms: u64| {
            let seen = self.in_last(ms);
            let oldest = self.taken[self.taken.len() - seen.max(1)].elapsed();
            let reset_ms = Some(ms.saturating_sub(oldest.as_millis() as u64) + 1);
            Gauge { limit: Some(most as u64), left: most.saturating_sub(seen) as u64, reset_ms }
        };
        let (minute, window) = (gauge(REQUESTS_A_MINUTE, 60_000), gauge(WINDOW.requests as usize, WINDOW.ms));
        Meter { requests: Some(if minute.left < window.left { minute } else { window }), tokens: None }
    }
}

struct Told {
    taken: usize,
    refused: usize,
    impatient: usize,
    took: Duration,
    waits: usize,
    in_vain: usize,
}

/// All of them over two engines, until they have ended well.
async fn run(rates: Rates, server: Server) -> Told {
    let (world, store, began) = (World::default(), Memory::new(), Instant::now());
    let server = Arc::new(Mutex::new(server));
    let asked = Arc::clone(&server);
    world.model(move |_: Cancel| {
        let asked = Arc::clone(&asked);
        Box::pin(async move {
            let answer = asked.lock().unwrap().ask();
            if answer.is_ok() {
                tokio::time::sleep(TAKES).await;
            }
            answer
        })
    });
    let clock = Arc::new(Ticking { began, drawn: AtomicU64::new(1) });
    let engine = |owner: &str| {
        let mut ports = world.ports();
        ports.clock = clock.clone();
        ports.blobs = Arc::new(store.clone());
        let options = Options { owner: owner.into(), slots: Slots::for_cores(4) };
        Engine::new(ports, Arc::new(store.clone()), Arc::new(Anybody), options)
    };
    let engines = [engine("one"), engine("two")];
    let mut spec = (*world.run_of(Work::Prepare).context.spec).clone();
    spec.model.quota = Some(Quota { name: "fake/key".into(), rates });
    spec.model.card.price = None;
    spec.model.card.context_tokens = 100_000;
    spec.budget.tokens = 1_000_000_000;
    // Replies that are cut, one after the other, are how the model here makes a session ask again.
    spec.limits.same_failures = 1_000;
    let mut ids = Vec::new();
    for n in 0..SESSIONS {
        let id = engines[n % 2].open(spec.clone(), vec![GOAL.into()]).await.unwrap();
        ids.push((n, id));
    }
    let mut waits = 0;
    for (n, id) in ids {
        let stopped = tokio::time::timeout(PATIENCE, engines[n % 2].stopped(id)).await;
        let events = crate::store::records::<Event>(&store, StreamId::Session(id)).await.unwrap();
        let last = &events.last().unwrap().event;
        assert_eq!(stopped, Ok(None), "{id}: {last:?}");
        assert!(matches!(last, Event::Ended { code: 0, .. }), "{last:?}");
        waits += events.iter().filter(|record| matches!(record.event, Event::Waits { .. })).count();
    }
    for engine in &engines {
        engine.shutdown().await;
    }
    let stream = StreamId::Quota(QuotaId::of("fake/key"));
    let head = store.head(stream).await.unwrap();
    assert!(head.seq >= 2 * (SESSIONS * CALLS) as u64, "two events for each call: {}", head.seq);
    let snapped = store.snapshots(stream).await.unwrap().first().map_or(0, |snapshot| snapshot.seq);
    assert!(head.seq - snapped < 2 * limits::SNAPSHOT_SHARED_EVENTS, "{snapped} of {}", head.seq);
    let server = server.lock().unwrap();
    Told {
        taken: server.taken.len(),
        refused: server.refused,
        impatient: server.impatient,
        took: began.elapsed(),
        waits,
        in_vain: server.in_vain,
    }
}

fn declared() -> Rates {
    Rates {
        requests_per_minute: Some(REQUESTS_A_MINUTE as u64),
        tokens_per_minute: Some(TOKENS_A_MINUTE),
        window: Some(WINDOW),
        concurrent: None,
        ..Rates::default()
    }
}

#[tokio::test(start_paused = true)]
async fn declared_limits_are_kept_and_everybody_ends() {
    let told = run(declared(), Server::default()).await;
    assert_eq!((told.refused, told.impatient), (0, 0), "of {}", told.taken);
    assert!(told.taken >= SESSIONS * CALLS && told.waits > 0, "{} calls, {} waits", told.taken, told.waits);
    // As fast as the limits let it, within a half.
    let fastest = told.taken as u64 * 60 / REQUESTS_A_MINUTE as u64;
    assert!(
        told.took.as_secs() <= fastest * 3 / 2,
        "{} s, the limits allow {fastest} s",
        told.took.as_secs()
    );
}

#[tokio::test(start_paused = true)]
async fn limits_that_the_provider_only_tells_are_learned_and_waits_it_asks_for_are_honoured() {
    let server = Server { tells: true, ..Server::default() };
    let told = run(Rates { concurrent: Some(8), ..Rates::default() }, server).await;
    assert_eq!(told.impatient, 0, "nobody comes before the moment that was named");
    assert!(told.refused * 100 <= told.taken, "{} of {} refused", told.refused, told.taken);
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_middle_is_waited_for_by_everybody_with_few_calls() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let server = Server { outage: Some((minutes(1), minutes(6))), ..Server::default() };
    let told = run(declared(), server).await;
    assert_eq!((told.refused, told.impatient), (0, 0), "of {}", told.taken);
    assert!(told.waits >= SESSIONS / 2, "{} waits on record", told.waits);
    // Those under way when it went down, those that open the breaker, and a probe now and then.
    assert!((1..=20).contains(&told.in_vain), "{} calls in five minutes", told.in_vain);
}
