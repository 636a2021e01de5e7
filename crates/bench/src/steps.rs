//! Durable steps per second: each is decided, committed with fsync, run (at once) and its outcome committed with
//! the next one's start.
//!
//! Knows the rig and the floors. Start at [`run`]; one row is measured by [`row`].

use crate::floor::Shape;
use crate::stats::{Cost, Mark};
use crate::{floor, rig, stats};
use anyhow::{Context, Result};
use contract::StreamId;
use contract::event::Event;
use contract::journal::Journal;
use std::path::Path;
use std::time::Duration;

const FLOOR: Duration = Duration::from_secs(2);
/// Sessions and steps of each, when nothing else is said.
const ROWS: [(usize, u32); 4] = [(1, 4_000), (8, 1_500), (64, 500), (512, 100)];
/// Records read at once.
const PAGE: usize = 2_000;

/// What one row showed.
struct Row {
    sessions: usize,
    steps: u64,
    cost: Cost,
    shape: Shape,
    gaps: Vec<Duration>,
    rss_mb: f64,
}

/// That many sessions with that many steps each, to their end, in a store in `dir`.
async fn row(dir: &Path, sessions: usize, steps: u32, outputs: rig::Outputs) -> Result<Row> {
    let journal = rig::store(dir)?;
    let engine = rig::engine_of(journal, steps, outputs);
    let mark = Mark::now();
    let mut ids = Vec::with_capacity(sessions);
    for _ in 0..sessions {
        let (spec, blobs) = rig::spec(steps);
        ids.push(engine.open(spec, blobs).await?);
    }
    for &id in &ids {
        if let Some(error) = engine.stopped(id).await {
            anyhow::bail!("{id}: {error}");
        }
    }
    // Up to here it was Kapell's work; what follows reads it back.
    let (cost, rss_mb) = (mark.cost(), stats::rss_mb());
    for &id in &ids {
        let end = engine.look(id).await?.and_then(|state| state.end);
        anyhow::ensure!(end.as_ref().is_some_and(|end| end.code == 0), "{id} ended as {end:?}");
    }
    let (mut count, mut gaps) = (0_u64, Vec::new());
    for &id in &ids {
        let records = engine::store::records::<Event>(&**engine.journal(), StreamId::Session(id)).await?;
        let started = records.iter().filter(|record| matches!(record.event, Event::Started { .. }));
        let starts: Vec<u64> = started.map(|record| record.at.0).collect();
        count += starts.len() as u64;
        gaps.extend(starts.windows(2).map(|pair| Duration::from_millis(pair[1].saturating_sub(pair[0]))));
    }
    let payload = payload(&**engine.journal(), &ids).await?;
    engine.shutdown().await;
    Ok(Row { sessions, steps: count, cost, shape: Shape::of(dir, payload)?, gaps, rss_mb })
}

/// Bytes of all records of these sessions and their ledgers.
async fn payload(journal: &dyn Journal, ids: &[contract::SessionId]) -> Result<u64> {
    let mut bytes = 0;
    for stream in ids.iter().flat_map(|&id| [StreamId::Session(id), StreamId::Tree(id)]) {
        let mut after = 0;
        loop {
            let page = journal.read(stream, after, PAGE).await?;
            bytes += page.iter().map(|stored| stored.bytes.len() as u64).sum::<u64>();
            after += page.len() as u64;
            if page.len() < PAGE {
                break;
            }
        }
    }
    Ok(bytes)
}

impl Row {
    fn per_step(&self, total: f64) -> f64 {
        total / self.steps as f64
    }

    fn rate(&self) -> f64 {
        self.steps as f64 / self.cost.seconds
    }

    fn print(&mut self, floors: Option<Floors>) {
        let (p50, p99) = (stats::percentile(&mut self.gaps, 50), stats::percentile(&mut self.gaps, 99));
        let (written, payload) = (self.cost.written as f64, self.shape.payload as f64);
        print!(
            "{:>5} {:>8} {:>9.0} {:>6.0} {:>6.0} {:>7.1} {:>7.1} {:>8.0} {:>8.0} {:>6.1} {:>7.1}",
            self.sessions,
            self.steps,
            self.rate(),
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
            self.per_step(self.cost.cpu_s * 1e6),
            self.per_step(self.cost.sleeps as f64),
            self.per_step(payload),
            self.per_step(written),
            written / payload,
            self.rss_mb,
        );
        let Some(floors) = floors else { return println!() };
        let share = |floor: f64| 100.0 * self.rate() / floor;
        println!(
            " {:>8.0}% {:>7.0}% {:>7.0}%   (bare {:.0}/s, group {:.0}/s, fdatasync {:.0}/s)",
            share(floors.bare),
            share(floors.group),
            share(floors.sync),
            floors.bare,
            floors.group,
            floors.sync
        );
    }
}

/// What bare loops reach right beside a run, in steps of that run's size.
struct Floors {
    bare: f64,
    group: f64,
    sync: f64,
}

impl Floors {
    fn beside(dir: &Path, row: &Row) -> Result<Self> {
        let scratch = tempfile::tempdir_in(dir)?;
        let step_bytes = (row.shape.bytes / row.steps.max(1) as i64) as usize;
        Ok(Self {
            sync: floor::fdatasync_rate(scratch.path(), FLOOR / 2)?,
            bare: floor::bare_commits(scratch.path(), step_bytes, FLOOR)?,
            group: floor::bare_group(scratch.path(), row.shape, row.steps, row.sessions, FLOOR / 2)?,
        })
    }
}

/// `--quick`: a fifth of the steps. `--sessions N --steps M`: one row only. `--floors no`: none of them.
/// `--outputs fresh`: every call's output is a text that was never stored before.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number =
        |name: &str| value(name).map(|text| text.parse::<u32>().context(name.to_owned())).transpose();
    let quick = if args.iter().any(|arg| arg == "--quick") { 5 } else { 1 };
    let outputs = if value("--outputs").is_some_and(|it| it == "fresh") {
        rig::Outputs::Fresh
    } else {
        rig::Outputs::Same
    };
    let rows = match (number("--sessions")?, number("--steps")?) {
        (Some(sessions), steps) => vec![(sessions as usize, steps.unwrap_or(500))],
        (None, _) => ROWS.map(|(sessions, steps)| (sessions, steps / quick)).to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let floors = value("--floors").is_none_or(|it| it != "no");
    println!(
        "sessions steps   steps/s p50 ms p99 ms  cpu us  sleeps  payload  written  ampl.  RSS MB  of bare  of group of sync"
    );
    for (sessions, steps) in rows {
        let dir = tempfile::tempdir_in(".")?;
        let mut row = runtime.block_on(row(dir.path(), sessions, steps, outputs))?;
        let floors = if floors { Some(Floors::beside(dir.path(), &row)?) } else { None };
        row.print(floors);
    }
    Ok(())
}
