//! Durable steps per second: each is decided, committed with fsync, run (at once) and its outcome committed with
//! the next one's start.

use crate::{floor, rig, stats};
use anyhow::Result;
use contract::StreamId;
use contract::event::Event;
use std::time::{Duration, Instant};

const FLOOR: Duration = Duration::from_secs(2);

/// One row: sessions, steps per second, against floors, latency, bytes, memory.
async fn row(sessions: usize, steps: u32) -> Result<(f64, String)> {
    let dir = tempfile::tempdir_in(".")?;
    let journal = rig::store(dir.path())?;
    let engine = rig::engine(journal, steps);
    let (wrote, cpu, began) = (stats::written(), stats::cpu_s(), Instant::now());
    let mut ids = Vec::with_capacity(sessions);
    for _ in 0..sessions {
        let (spec, blobs) = rig::spec(steps);
        ids.push(engine.open(spec, blobs).await?);
    }
    for &id in &ids {
        if let Some(error) = engine.stopped(id).await {
            anyhow::bail!("{id}: {error}");
        }
        let end = engine.look(id).await?.and_then(|state| state.end);
        anyhow::ensure!(end.as_ref().is_some_and(|end| end.code == 0), "{id} ended as {end:?}");
    }
    let seconds = began.elapsed().as_secs_f64();
    let (mut count, mut gaps) = (0_u64, Vec::new());
    for &id in &ids {
        let records = engine::store::records::<Event>(&**engine.journal(), StreamId::Session(id)).await?;
        count += records.iter().filter(|record| matches!(record.event, Event::Started { .. })).count() as u64;
        let starts: Vec<u64> =
            records.iter().filter(|r| matches!(r.event, Event::Started { .. })).map(|r| r.at.0).collect();
        gaps.extend(starts.windows(2).map(|pair| Duration::from_millis(pair[1].saturating_sub(pair[0]))));
    }
    let rate = count as f64 / seconds;
    let bytes = (stats::written() - wrote) as f64 / count as f64;
    let cpu_us = (stats::cpu_s() - cpu) * 1e6 / count as f64;
    let (p50, p99) = (stats::percentile(&mut gaps, 50), stats::percentile(&mut gaps, 99));
    let text = format!(
        "{sessions:>5} {count:>8} {rate:>10.0} {:>7.0} {:>7.0} {bytes:>10.0} {cpu_us:>8.0} {:>8.1}",
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        stats::rss_mb()
    );
    engine.shutdown().await;
    Ok((rate, text))
}

/// All rows, with the floors before and after, so that a disk that changed its mind is seen.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let dir = tempfile::tempdir_in(".")?;
    println!(
        "sessions  steps    steps/s  p50 ms  p99 ms  bytes/step  cpu us   RSS MB  of bare commits  of bare group  of fdatasync"
    );
    let mut one = None;
    for (sessions, steps) in [(1, 4_000), (8, 1_500), (64, 500), (512, 100)] {
        let steps = if quick { steps / 5 } else { steps };
        let sync = floor::fdatasync_rate(dir.path(), FLOOR / 2)?;
        let scratch = tempfile::tempdir_in(dir.path())?;
        let bare = floor::bare_commits(scratch.path(), 1_200, FLOOR)?;
        let group = floor::bare_group(scratch.path(), 1_200, sessions, FLOOR / 2)?;
        let (rate, text) = runtime.block_on(row(sessions, steps))?;
        let first = *one.get_or_insert(rate);
        println!(
            "{text} {:>16.0}% {:>13.0}% {:>12.0}%   x{:.1} of one session (bare {bare:.0}/s, group {group:.0}/s, fdatasync {sync:.0}/s)",
            100.0 * rate / bare,
            100.0 * rate / group,
            100.0 * rate / sync,
            rate / first
        );
    }
    Ok(())
}
