//! How long it takes to take a session up again, by its length.

use crate::{rig, stats};
use anyhow::Result;
use engine::store;
use std::time::Instant;

/// 1k, 10k and 100k steps: write them, then read the session back with and without snapshots in mind.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("  steps   events   open store ms   fold ms   RSS MB");
    for steps in [1_000_u32, 10_000, 100_000] {
        let dir = tempfile::tempdir_in(".")?;
        let id = runtime.block_on(async {
            let engine = rig::engine(rig::store(dir.path())?, steps);
            let (spec, blobs) = rig::spec(steps);
            let id = engine.open(spec, blobs).await?;
            engine.stopped(id).await.map_or(Ok(id), |error| Err(anyhow::anyhow!("{error}")))
        })?;
        let began = Instant::now();
        let journal = rig::store(dir.path())?;
        let opened = began.elapsed();
        let began = Instant::now();
        let state = runtime.block_on(store::session(&*journal, id))?;
        let folded = began.elapsed();
        let events = state.map_or(0, |state| state.seq);
        println!(
            "{:>7} {events:>8} {:>15.1} {:>9.1} {:>8.1}",
            steps,
            opened.as_secs_f64() * 1e3,
            folded.as_secs_f64() * 1e3,
            stats::rss_mb()
        );
    }
    Ok(())
}
