//! Bytes that reach the device for each byte of payload (records, blobs): at one session and at many.
//!
//! The floor is the same payload appended to a plain file with fdatasync at the same grouping. Start at [`run`].

use crate::{rig, stats};
use anyhow::Result;
use contract::StreamId;
use std::io::Write;
use std::time::Instant;

/// What is aimed at.
const AIM: f64 = 3.0;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!(
        "sessions    steps  payload bytes/step  device bytes/step  amplification  of plain appends   aim"
    );
    for (sessions, steps) in [(1, 2_000), (64, 400)] {
        let steps = if quick { steps / 20 } else { steps };
        runtime.block_on(row(sessions, steps))?;
    }
    Ok(())
}

async fn row(sessions: u64, steps: u32) -> Result<()> {
    let dir = tempfile::tempdir_in(".")?;
    let (written, began) = (stats::written(), Instant::now());
    let engine = rig::engine(rig::store(dir.path())?, steps);
    let mut ids = Vec::new();
    for _ in 0..sessions {
        let (spec, blobs) = rig::spec(steps);
        ids.push(engine.open(spec, blobs).await?);
    }
    for id in &ids {
        if let Some(error) = engine.stopped(*id).await {
            anyhow::bail!("{id}: {error}");
        }
    }
    engine.shutdown().await;
    let took = began.elapsed();
    let (mut payload, mut frames) = (0, 0);
    for id in &ids {
        let (own, count) = bytes(&engine, StreamId::Session(*id)).await?;
        let (ledger, _) = bytes(&engine, StreamId::Tree(*id)).await?;
        (payload, frames) = (payload + own + ledger, frames + count);
    }
    drop(engine);
    let device = stats::written() - written;
    let steps = frames.max(1);
    let plain = plain(dir.path(), payload / steps, steps, sessions)?;
    let (each, amplification) = (|n: u64| n as f64 / steps as f64, device as f64 / payload as f64);
    println!(
        "{sessions:>8} {steps:>8} {:>19.0} {:>18.0} {amplification:>13.1}x {:>16.1}x   <= {AIM}: {} ({:.1} s)",
        each(payload),
        each(device),
        device as f64 / plain as f64,
        if amplification <= AIM { "met" } else { "NOT MET" },
        took.as_secs_f64()
    );
    Ok(())
}

/// Bytes of a stream's records, and how many actions it started.
async fn bytes(engine: &engine::Engine, stream: StreamId) -> Result<(u64, u64)> {
    let (mut bytes, mut after, mut started) = (0, 0, 0);
    loop {
        let page = engine.journal().read(stream, after, 2_000).await.map_err(|error| error.fault())?;
        let Some(last) = page.last() else { return Ok((bytes, started)) };
        after = last.seq;
        for stored in &page {
            bytes += stored.bytes.len() as u64;
            let text = String::from_utf8_lossy(&stored.bytes);
            started += u64::from(text.contains("\"event\":{\"started\""));
        }
    }
}

/// Device bytes of the same payload appended to one file, `group` pieces to each fdatasync.
fn plain(dir: &std::path::Path, bytes: u64, pieces: u64, group: u64) -> Result<u64> {
    let written = stats::written();
    let mut file = std::fs::File::create(dir.join("plain"))?;
    let piece = vec![7_u8; bytes as usize];
    for nth in 1..=pieces {
        file.write_all(&piece)?;
        if nth % group == 0 || nth == pieces {
            file.sync_data()?;
        }
    }
    Ok((stats::written() - written).max(1))
}
