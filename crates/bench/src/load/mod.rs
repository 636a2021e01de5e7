//! `load`: many sessions that tick once a second, many followers over event streams, one daemon, which is killed in the middle.
//!
//! The daemon is the real binary. The sessions are written by this process, as any process of the machine may: what is
//! measured is the way from a commit to whoever follows, not how actions are chosen. Start at [`run`]; who follows is in
//! `follow.rs`, the daemon in `daemon.rs`.

mod daemon;
mod follow;

use crate::stats;
use anyhow::{Context, Result, bail, ensure};
use contract::event::Event;
use contract::journal::{Append, Batch, Journal};
use contract::{SessionId, StreamId, Timestamp, record};
use daemon::Daemon;
use follow::Followed;
use journal::Sqlite;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::{interval_at, sleep};

/// From commit to follower, at most, of 99 in a hundred (issue's figure).
const P99: Duration = Duration::from_millis(250);
/// Memory of the daemon that is aimed at, and the most that it may come to in eight hours, MB.
const AIM_MB: f64 = 150.0;
const MOST_MB: f64 = 2_048.0;
const EIGHT_HOURS_S: f64 = 8.0 * 3_600.0;
/// A session says something so often.
const TICK: Duration = Duration::from_secs(1);
/// Between two followers that begin: a daemon lets a hundred requests a second of one caller in.
const PACE: Duration = Duration::from_millis(12);
/// How long followers may take to hear the last event.
const LAST: Duration = Duration::from_secs(30);
/// Descriptors that a daemon may hold more of than before anybody followed: readers of the store, kept connections.
const SPARE_FILES: usize = 16;

// tidy: allow(spawn): every set ends with the measurement that made it
type Tasks = tokio::task::JoinSet<Result<()>>;

struct Options {
    sessions: usize,
    followers: usize,
    time: Duration,
    kill: bool,
}

/// The binary's path; `--sessions`, `--followers`, `--minutes`, and `--no-kill` to leave the daemon alone.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let binary = PathBuf::from(args.first().context("the path of the kapell binary")?);
    let options = Options::read(&args[1..])?;
    let home = tempfile::tempdir_in(".")?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let load = Load::begin(&options, &home.path().join("data")).await?;
        load.measure(&options, Daemon::start(&binary, home.path(), 0).await?).await
    })
}

impl Options {
    fn read(args: &[String]) -> Result<Self> {
        let mut options = Self { sessions: 50, followers: 50, time: Duration::from_secs(60), kill: true };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a number"));
            match arg.as_str() {
                "--sessions" => options.sessions = value()?.parse()?,
                "--followers" => options.followers = value()?.parse()?,
                "--minutes" => options.time = Duration::from_secs_f64(60.0 * value()?.parse::<f64>()?),
                "--no-kill" => options.kill = false,
                _ => bail!("load [--sessions N] [--followers M] [--minutes T] [--no-kill]"),
            }
        }
        ensure!(options.sessions > 0 && options.time > 10 * TICK, "at least one session, and ten seconds");
        Ok(options)
    }
}

/// A session, and when each of its events was durable.
struct Ticking {
    id: SessionId,
    fence: contract::Fence,
    committed: Mutex<Vec<Instant>>,
}

impl Ticking {
    fn at(&self, seq: u64) -> Option<Instant> {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed.get(usize::try_from(seq).ok()?.checked_sub(1)?).copied()
    }

    fn head(&self) -> u64 {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    async fn append(&self, store: &Sqlite, event: &Event, blobs: Vec<Vec<u8>>) -> Result<()> {
        let expected = self.head();
        let records = vec![record::encode(expected + 1, now(), event)];
        let stream = StreamId::Session(self.id);
        let append = Append { stream, expected, fence: Some(self.fence), records, ended: false };
        store.append(Batch { appends: vec![append], blobs, ..Batch::default() }).await?;
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        Ok(())
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Everything that ticks.
struct Load {
    store: Arc<Sqlite>,
    all: Vec<Arc<Ticking>>,
    over: Arc<AtomicBool>,
}

impl Load {
    async fn begin(options: &Options, data: &std::path::Path) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let store = crate::rig::store(data)?;
        let mut all = Vec::new();
        for n in 0..options.sessions {
            let id = SessionId::v7(now().0, (n as u128 + 1) << 8);
            let lease = store.acquire(id, "load".to_owned(), now(), false).await?;
            let fence = lease.map_err(|_| anyhow::anyhow!("a new session has a holder"))?.fence;
            let ticking = Ticking { id, fence, committed: Mutex::default() };
            let (spec, blobs) = crate::rig::spec(1);
            ticking.append(&store, &Event::Opened { spec: Box::new(spec) }, blobs).await?;
            all.push(Arc::new(ticking));
        }
        Ok(Self { store, all, over: Arc::default() })
    }

    /// Lets every session tick until it is over. The first failure ends it.
    fn tick(&self) -> Tasks {
        let mut ticking = Tasks::new();
        for (n, session) in self.all.iter().enumerate() {
            let (session, store, over) =
                (Arc::clone(session), Arc::clone(&self.store), Arc::clone(&self.over));
            let first = tokio::time::Instant::now() + TICK.mul_f64(n as f64 / self.all.len() as f64);
            ticking.spawn(async move {
                let mut ticks = interval_at(first, TICK);
                while !over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let what = format!("tick {}", session.head());
                    session.append(&store, &Event::Warned { what }, Vec::new()).await?;
                }
                Ok(())
            });
        }
        ticking
    }

    async fn measure(&self, options: &Options, mut daemon: Daemon) -> Result<()> {
        let files = daemon.files()?;
        let mut ticking = self.tick();
        let mut following = Tasks::new();
        let followers: Vec<Arc<Followed>> = (0..options.followers)
            .map(|n| Arc::new(Followed::new(Arc::clone(&self.all[n % self.all.len()]))))
            .collect();
        for (n, followed) in followers.iter().enumerate() {
            let (followed, place) = (Arc::clone(followed), daemon.place());
            let begins = PACE * u32::try_from(n)?;
            following.spawn(async move {
                sleep(begins).await;
                followed.follow(place).await
            });
        }
        let mut watched = Watched::default();
        let (began, half) = (Instant::now(), options.time / 2);
        let mut killed = None;
        while began.elapsed() < options.time {
            sleep(TICK).await;
            watched.look(&daemon)?;
            if options.kill && killed.is_none() && began.elapsed() >= half {
                watched.end();
                killed = Some(Instant::now());
                daemon = daemon.again().await?;
            }
            while let Some(failed) = following.try_join_next() {
                failed??;
            }
            ensure!(ticking.try_join_next().is_none(), "a session stopped ticking");
        }
        self.over.store(true, Ordering::Relaxed);
        while let Some(ticked) = ticking.join_next().await {
            ticked??;
        }
        let heard = until(LAST, || followers.iter().all(|one| one.is_at_the_end())).await;
        let lost: u64 = followers.iter().map(|one| one.missing()).sum();
        following.shutdown().await;
        let back = until(LAST, || daemon.files().is_ok_and(|now| now <= files + SPARE_FILES)).await;
        watched.end();
        Report { options, followers: &followers, watched, files: (files, daemon.files()?), killed, lost }
            .tell(heard && lost == 0, back)
    }
}

/// Waits for a condition; does it hold?
async fn until(limit: Duration, holds: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > limit {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}

/// Memory of a daemon, once a second, for each of its lives.
#[derive(Default)]
struct Watched {
    life: Vec<f64>,
    lives: Vec<Vec<f64>>,
}

impl Watched {
    fn look(&mut self, daemon: &Daemon) -> Result<()> {
        self.life.push(daemon.rss_mb()?);
        Ok(())
    }

    fn end(&mut self) {
        self.lives.push(std::mem::take(&mut self.life));
    }

    /// The most there ever was, MB.
    fn peak(&self) -> f64 {
        self.lives.iter().flatten().copied().fold(0.0, f64::max)
    }

    /// MB per second over the second half of the longest life: the first fills caches.
    fn slope(&self) -> f64 {
        let longest = self.lives.iter().max_by_key(|life| life.len());
        let life = longest.map_or(&[][..], |life| &life[life.len() / 2..]);
        let n = life.len() as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
        let (x, y) = (mean(&mut (0..life.len()).map(|at| at as f64)), mean(&mut life.iter().copied()));
        let (mut up, mut across) = (0.0, 0.0);
        for (at, value) in life.iter().enumerate() {
            up += (at as f64 - x) * (value - y);
            across += (at as f64 - x).powi(2);
        }
        if across > 0.0 { up / across } else { 0.0 }
    }
}

struct Report<'a> {
    options: &'a Options,
    followers: &'a [Arc<Followed>],
    watched: Watched,
    files: (usize, usize),
    killed: Option<Instant>,
    lost: u64,
}

impl Report<'_> {
    /// Prints the figures; fails where one is not as it must be.
    fn tell(&self, whole: bool, back: bool) -> Result<()> {
        let Options { sessions, followers, time, .. } = self.options;
        let mut delays: Vec<Duration> = self.followers.iter().flat_map(|one| one.delays()).collect();
        let events: u64 = self.followers.iter().map(|one| one.heard()).sum();
        println!(
            "load: {sessions} sessions at one event a second, {followers} followers, {:.0} s: {events} events heard, \
             {} lost, none twice, none out of order",
            time.as_secs_f64(),
            self.lost
        );
        let [p50, p99, worst] = [50, 99, 100].map(|p| stats::percentile(&mut delays, p));
        println!(
            "from commit to follower: p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms over {} events (p99 below {} ms)",
            crate::measure::ms(p50),
            crate::measure::ms(p99),
            crate::measure::ms(worst),
            delays.len(),
            P99.as_millis()
        );
        let (peak, slope) = (self.watched.peak(), self.watched.slope());
        let later = peak + slope.max(0.0) * EIGHT_HOURS_S;
        println!(
            "memory of the daemon: {peak:.0} MB at most (aim {AIM_MB:.0}), {:.3} MB a minute, {later:.0} MB after eight \
             hours like the last minutes (below {MOST_MB:.0})",
            slope * 60.0
        );
        println!("descriptors: {} before, {} after all followers left", self.files.0, self.files.1);
        if let Some(killed) = self.killed {
            let mut again: Vec<Duration> =
                self.followers.iter().filter_map(|one| one.resumed_after(killed)).collect();
            println!(
                "killed in the middle: {} of {followers} followers went on from their last number, the last after {:.1} s",
                again.len(),
                stats::percentile(&mut again, 100).as_secs_f64()
            );
            ensure!(again.len() == *followers, "a follower did not come back");
        }
        ensure!(whole, "events were lost");
        ensure!(p99 < P99, "p99 is {p99:?}");
        ensure!(later < MOST_MB, "it would come to {later:.0} MB in eight hours");
        ensure!(back, "descriptors were not given back");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_rises_is_seen_to_rise() {
        let rising = Watched {
            life: Vec::new(),
            lives: vec![vec![1.0], (0..100).map(|n| 50.0 + 0.5 * f64::from(n)).collect()],
        };
        assert!((rising.slope() - 0.5).abs() < 1e-9, "{}", rising.slope());
        assert!((rising.peak() - 99.5).abs() < 1e-9);
        let none = Watched::default();
        assert!(none.slope().abs() < 1e-9 && none.peak().abs() < 1e-9);
    }
}
