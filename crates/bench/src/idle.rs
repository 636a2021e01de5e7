//! Many sessions that wait for somebody: what they take while nothing happens, and how soon one of them answers.
//!
//! Then the same sessions on record only: what starting costs with all of them in the store. Start at [`run`].

use crate::baseline::{Kapell, MARK, Script, each};
use crate::{measure, own, stats};
use anyhow::{Context, Result};
use contract::SessionId;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The binary's path, then `--quick`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let binary = PathBuf::from(args.first().context("the path of the kapell binary")?);
    let home = tempfile::tempdir_in(".")?;
    let data = home.path().join("data");
    std::fs::create_dir_all(&data)?;
    alive(&data, if quick { 100 } else { 10_000 }, Duration::from_secs(if quick { 1 } else { 15 }))?;
    on_record(&binary, home.path(), if quick { 1 } else { 5 })
}

fn alive(data: &Path, sessions: usize, watch: Duration) -> Result<()> {
    let before = stats::rss_mb();
    let kapell = Kapell::new(data, Script::new(0), false)?;
    let empty = stats::rss_mb();
    let nothing = quiet(watch / 3);
    let (began, cpu) = (Instant::now(), stats::cpu_s());
    let lanes = 16;
    let ids = each(lanes, |lane| {
        (lane..sessions).step_by(lanes).map(|_| kapell.open("wait")).collect::<Result<Vec<SessionId>>>()
    })?;
    let ids: Vec<SessionId> = ids.into_iter().flatten().collect();
    ids.iter().try_for_each(|id| kapell.rest(*id))?;
    println!(
        "open: {sessions} sessions in {:.1} s, {:.0} cpu us each",
        began.elapsed().as_secs_f64(),
        measure::us_each(stats::cpu_s() - cpu, sessions as u64)
    );
    let full = stats::rss_mb();
    println!(
        "memory: {full:.0} MB with all of them, {empty:.0} MB with none ({before:.0} MB before the engine): {:.1} KB each",
        (full - empty) * 1024.0 / sessions as f64
    );
    let idle = quiet(watch);
    println!(
        "idle for {:.0} s: {:.1}% of a core, {:.0} KB/s to the device; an engine without sessions: {:.1}%, {:.0} KB/s",
        watch.as_secs_f64(),
        idle.0,
        idle.1,
        nothing.0,
        nothing.1
    );
    for (nth, id) in ids.iter().step_by(sessions / 50).enumerate() {
        kapell.tell(*id, &format!("{MARK}{nth}"))?;
    }
    let mut waits = kapell.script().waits();
    println!(
        "wake one of them: message to first effect p50 {:.2} ms, p95 {:.2} ms",
        measure::ms(stats::percentile(&mut waits, 50)),
        measure::ms(stats::percentile(&mut waits, 95))
    );
    let began = Instant::now();
    kapell.shutdown();
    println!("shut down: {:.2} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Nothing is asked for this long: percent of a core, and KB per second to the device.
fn quiet(time: Duration) -> (f64, f64) {
    let (cpu, written, began) = (stats::cpu_s(), stats::written(), Instant::now());
    std::thread::sleep(time);
    let seconds = began.elapsed().as_secs_f64();
    (100.0 * (stats::cpu_s() - cpu) / seconds, (stats::written() - written) as f64 / 1024.0 / seconds)
}

/// The real binary over this store, beside the same over a store without sessions.
fn on_record(binary: &Path, home: &Path, runs: u32) -> Result<()> {
    let bare = tempfile::tempdir_in(".")?;
    // Both have a store: making one is not what is measured.
    let data = bare.path().join("data");
    std::fs::create_dir_all(&data)?;
    drop(crate::rig::store(&data)?);
    for args in [
        &["sessions", "--json"][..],
        &["sessions", "tree", "--json"],
        &["sessions", "show", "last"],
        &["sessions", "--all"],
    ] {
        let with = own::best_of(runs, binary, home, args)?;
        let floor = own::best_of(runs, binary, bare.path(), &["sessions", "--json"])?;
        println!(
            "on record: `kapell {}` {:.1} ms; `kapell sessions` over an empty store {:.1} ms: x{:.1}",
            args.join(" "),
            measure::ms(with),
            measure::ms(floor),
            with.as_secs_f64() / floor.as_secs_f64()
        );
    }
    Ok(())
}
