//! Durable appends per second against a bare SQLite commit loop on the same disk in the same run.
//!
//! Usage: `cargo run --release -p journal --example steps [DIRECTORY] [SECONDS]`. Prints ratios, never a bare time.
//! Start at `main`.

use contract::journal::{Append, Batch, Journal};
use contract::{SessionId, StreamId};
use journal::conformance::block_on;
use journal::{Options, Sqlite};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A step is about five small records.
const RECORDS: usize = 5;
const RECORD_BYTES: usize = 220;
const ROUNDS: usize = 9;
const SESSIONS: [u64; 4] = [1, 8, 64, 512];

fn main() {
    let mut args = std::env::args().skip(1);
    let base = args.next().map_or_else(std::env::temp_dir, Into::into);
    let seconds = args.next().and_then(|text| text.parse().ok()).unwrap_or(0.5);
    let time = Duration::from_secs_f64(seconds);
    // Slices in turn, so that a noisy machine disturbs all alike; medians of what each round gave.
    let mut rounds: Vec<Vec<Slice>> = Vec::new();
    // One directory to the end: deleting large files slows the fsyncs that follow.
    let dir = tempfile::tempdir_in(&base).expect("a directory to work in");
    for n in 0..ROUNDS {
        let dir = dir.path().join(n.to_string());
        std::fs::create_dir(&dir).expect("a directory for the round");
        let bare = [1, 64].map(|rows| bare(&dir.join(format!("bare-{rows}.db")), time, rows));
        let store = SESSIONS.map(|tasks| store(&dir.join(format!("store-{tasks}")), tasks, time));
        rounds.push(bare.into_iter().chain(store).collect());
    }
    let median = |of: &dyn Fn(&[Slice]) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(|round| of(round)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    for (at, rows) in [(0, 1), (1, 64)] {
        let (rate, bytes) = (median(&|round| round[at].rate), median(&|round| round[at].bytes));
        println!(
            "bare loop, {rows:>2} rows a commit: {rate:>7.0} rows/s, {bytes:>6.0} bytes written per row"
        );
    }
    for (at, tasks) in (2..).zip(SESSIONS) {
        println!(
            "{tasks:>3} sessions: {:>7.0} appends/s, {:>6.0} bytes written per append; {:.2} of bare, {:.2} of bare by 64, {:.1} x one session",
            median(&|round| round[at].rate),
            median(&|round| round[at].bytes),
            median(&|round| round[at].rate / round[0].rate),
            median(&|round| round[at].rate / round[1].rate),
            median(&|round| round[at].rate / round[2].rate),
        );
    }
}

/// What one slice of time gave.
struct Slice {
    rate: f64,
    bytes: f64,
}

fn record() -> Vec<u8> {
    vec![b'r'; RECORD_BYTES]
}

/// Inserts of a whole step, so many per commit.
fn bare(file: &Path, time: Duration, per_commit: usize) -> Slice {
    let before = written();
    let conn = rusqlite::Connection::open(file).expect("opens");
    conn.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    conn.pragma_update(None, "synchronous", "FULL").expect("FULL");
    conn.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB)").expect("creates");
    let bytes = record().repeat(RECORDS);
    let (start, mut rows) = (Instant::now(), 0);
    while start.elapsed() < time {
        conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut s| s.execute([])).expect("begins");
        for _ in 0..per_commit {
            let mut insert = conn.prepare_cached("INSERT INTO t (bytes) VALUES (?1)").expect("prepares");
            rows += insert.execute([&bytes]).expect("inserts");
        }
        conn.prepare_cached("COMMIT").and_then(|mut s| s.execute([])).expect("commits");
    }
    let rate = rows as f64 / start.elapsed().as_secs_f64();
    drop(conn);
    Slice { rate, bytes: (written() - before) as f64 / rows as f64 }
}

/// Each task a session of its own, one append at a time.
fn store(dir: &Path, tasks: u64, time: Duration) -> Slice {
    let store = Arc::new(Sqlite::open(dir, Options::default()).expect("opens"));
    let stop = Arc::new(AtomicBool::new(false));
    let before = written();
    let start = Instant::now();
    let threads: Vec<_> = (0..tasks)
        .map(|n| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            thread::spawn(move || task(&store, n, &stop))
        })
        .collect();
    thread::sleep(time);
    stop.store(true, Ordering::Relaxed);
    let appends: u64 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    let rate = appends as f64 / start.elapsed().as_secs_f64();
    drop(store);
    Slice { rate, bytes: (written() - before) as f64 / appends as f64 }
}

fn task(store: &Sqlite, n: u64, stop: &AtomicBool) -> u64 {
    let session = SessionId::v7(n, u128::from(n));
    let step = |expected, fence| Batch {
        appends: vec![Append {
            stream: StreamId::Session(session),
            expected,
            fence,
            records: vec![record(); RECORDS],
            ended: false,
        }],
        ..Batch::default()
    };
    block_on(store.append(step(0, None))).expect("opens");
    let lease = block_on(store.acquire(session, "bench".into(), contract::Timestamp(1), false));
    let fence = lease.expect("answers").expect("is free").fence;
    let mut appends = 1;
    while !stop.load(Ordering::Relaxed) {
        block_on(store.append(step(appends * RECORDS as u64, Some(fence)))).expect("appends");
        appends += 1;
    }
    appends
}

/// Bytes this process has sent towards the disk (Linux).
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}
