//! How long it takes to take a session up again, by its length: the fold alone, going on with it, and the whole
//! process beyond its start-up; with a snapshot and without one.
//!
//! The histories come from `history.rs`. Start at [`run`].

use crate::{history, measure, own, rig, stats};
use anyhow::{Context, Result};
use contract::event::Event;
use contract::{SessionId, StreamId};
use engine::{Attend, store};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The binary's path, then `--quick` or `--events N`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let binary = PathBuf::from(args.first().context("the path of the kapell binary")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let empty = tempfile::tempdir_in(".")?;
    let data = empty.path().join("data");
    std::fs::create_dir_all(&data)?;
    drop(rig::store(&data)?);
    println!(
        "   events    steps  snapshot  open store ms   fold ms   to next action ms   RSS MB   process: show ms  events --after ms  (start-up ms)"
    );
    let only = args.iter().position(|arg| arg == "--events").and_then(|at| args.get(at + 1));
    let sizes = match only {
        Some(events) => vec![events.parse().context("--events takes a number")?],
        None if quick => vec![1_000],
        None => vec![3_000, 30_000, 300_000, 1_000_000],
    };
    for events in sizes {
        let home = tempfile::tempdir_in(".")?;
        let data = home.path().join("data");
        std::fs::create_dir_all(&data)?;
        let id = {
            let journal = rig::store(&data)?;
            let id = runtime.block_on(history::write(&*journal, events))?;
            let state = runtime.block_on(store::session(&*journal, id))?.context("nothing was written")?;
            runtime.block_on(store::snapshot(&*journal, StreamId::Session(id), state.seq, &state))?;
            let ledger = runtime.block_on(store::ledger(&*journal, id))?;
            runtime.block_on(store::snapshot(&*journal, StreamId::Tree(id), ledger.seq, &ledger))?;
            id
        };
        let place = Place { binary: &binary, home: home.path(), empty: empty.path(), id };
        // With the snapshot first: going on without one makes a new one.
        row(&runtime, &place, "warm")?;
        rusqlite::Connection::open(data.join("kapell.db"))?.execute("DELETE FROM snapshots", [])?;
        row(&runtime, &place, "none")?;
    }
    Ok(())
}

struct Place<'a> {
    binary: &'a Path,
    home: &'a Path,
    empty: &'a Path,
    id: SessionId,
}

fn row(runtime: &tokio::runtime::Runtime, place: &Place<'_>, snapshot: &str) -> Result<()> {
    let (id, data) = (place.id, place.home.join("data"));
    // The processes only read: what follows finds the same store.
    let startup = own::best_of(5, place.binary, place.empty, &["sessions"])?;
    let show = own::best_of(3, place.binary, place.home, &["sessions", "show", &id.to_string()])?;
    let journal = rig::store(&data)?;
    let head = runtime.block_on(contract::journal::Journal::head(&*journal, StreamId::Session(id)));
    let after = head.map_err(|error| error.fault())?.seq.saturating_sub(10).to_string();
    drop(journal);
    let tail = own::best_of(3, place.binary, place.home, &["events", &id.to_string(), "--after", &after])?;

    let began = Instant::now();
    let journal = rig::store(&data)?;
    let opened = began.elapsed();
    let began = Instant::now();
    let state = runtime.block_on(store::session(&*journal, id))?.context("the session is not there")?;
    let folded = began.elapsed();
    let next = runtime.block_on(go_on(journal, id, state.seq))?;
    let beyond = |time: Duration| measure::ms(time.saturating_sub(startup));
    println!(
        "{:>9} {:>8}  {snapshot:<8} {:>14.1} {:>9.1} {:>19.1} {:>8.1} {:>18.1} {:>18.1} {:>13.1}",
        state.seq,
        state.step,
        measure::ms(opened),
        measure::ms(folded),
        measure::ms(next),
        stats::rss_mb(),
        beyond(show),
        beyond(tail),
        measure::ms(startup)
    );
    Ok(())
}

/// From nothing in memory to the next action that is started, then everything stops.
async fn go_on(journal: std::sync::Arc<journal::Sqlite>, id: SessionId, after: u64) -> Result<Duration> {
    let began = Instant::now();
    // Nothing is left to do but one model call, so that this adds next to nothing to the history.
    let engine = rig::engine(journal, 0);
    let mut watch = engine.watch(id, after);
    anyhow::ensure!(engine.attend(id, Attend::GoOn).await?.is_ok(), "session {id} is held");
    loop {
        for stored in watch.next().await.map_err(|error| error.fault())? {
            let record = store::decode::<Event>(StreamId::Session(id), stored.seq, &stored.bytes);
            if matches!(record?.event, Event::Started { .. }) {
                let took = began.elapsed();
                engine.shutdown().await;
                return Ok(took);
            }
        }
    }
}
