//! What the arbiter takes in: intents submitted, selected, settled per second, repeated and superseded ones included.
//!
//! Floors: the same over the store in memory, bare commits of the same run, and the kernel alone. Start at [`run`].

use crate::baseline::{Kapell, MARK, Script, each};
use crate::{floor, history, measure, rig, stats};
use anyhow::{Context, Result};
use contract::action::{Effect, Outcome};
use contract::event::{Disposal, Event};
use contract::intent::{Intent, Source, Wish};
use contract::journal::{Journal, Submitted};
use contract::{Digest, SessionId, Timestamp};
use kernel::governor::Slots;
use kernel::{Ctx, Governor, Input, Session};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One size and what came of it.
struct Row {
    producers: usize,
    sessions: usize,
    submitted: u64,
    repeats: u64,
    selected: u64,
    superseded: u64,
    seconds: f64,
    cpu_us: f64,
    p50_ms: f64,
    p95_ms: f64,
}

impl Row {
    fn settled_rate(&self) -> f64 {
        self.submitted as f64 / self.seconds
    }
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let time = Duration::from_millis(if quick { 100 } else { 1_000 });
    println!(
        "intents: each fourth is a `continue` that another one supersedes, each fourth message is sent twice\n\
         producers sessions  settled/s  selected/s  superseded+merged  repeated   p50 ms   p95 ms  cpu us each  of memory twin  of bare commits  of bare group"
    );
    for (producers, sessions) in [(1, 1), (16, 1), (100, 1), (1, 100), (16, 100), (100, 100)] {
        let each = if quick { 4 } else { (2_000 / producers).clamp(20, 200) } as u32;
        let dir = tempfile::tempdir_in(".")?;
        let bare = floor::bare_commits(dir.path(), 1_200, time)?;
        let group = floor::bare_group(dir.path(), floor::Shape::one_row(1_200), 1, producers, time)?;
        let disk = row(Arc::new(journal(dir.path())?), producers, sessions, each)?;
        let memory = row(Arc::new(journal::Memory::new()), producers, sessions, each)?;
        println!(
            "{:>9} {:>8} {:>10.0} {:>11.0} {:>18} {:>9} {:>8.2} {:>8.2} {:>12.0} {:>14.0}% {:>15.0}% {:>13.0}%",
            disk.producers,
            disk.sessions,
            disk.settled_rate(),
            disk.selected as f64 / disk.seconds,
            disk.superseded,
            disk.repeats,
            disk.p50_ms,
            disk.p95_ms,
            disk.cpu_us,
            100.0 * disk.settled_rate() / memory.settled_rate(),
            100.0 * disk.settled_rate() / bare,
            100.0 * disk.settled_rate() / group,
        );
    }
    pure(if quick { 500 } else { 20_000 })
}

fn journal(dir: &Path) -> Result<journal::Sqlite> {
    let dir = dir.join("store");
    std::fs::create_dir_all(&dir)?;
    Ok(journal::Sqlite::open(&dir, journal::Options::default())?)
}

fn row(store: Arc<dyn Journal>, producers: usize, sessions: usize, long: u32) -> Result<Row> {
    let kapell = Kapell::over(store, Script::new(0), false)?;
    let ids = (0..sessions).map(|_| kapell.open("goal")).collect::<Result<Vec<SessionId>>>()?;
    ids.iter().try_for_each(|id| kapell.rest(*id))?;
    let (submitted, repeats) = (AtomicU64::new(0), AtomicU64::new(0));
    let (cpu, began) = (stats::cpu_s(), Instant::now());
    each(producers, |who| {
        for nth in 0..long {
            let id = ids[(who + nth as usize * 7) % sessions];
            let key = format!("{MARK}{who}-{nth}");
            submitted.fetch_add(1, Ordering::Relaxed);
            if nth % 4 == 3 {
                kapell.submit(id, Wish::Continue, &key)?;
                continue;
            }
            kapell.tell(id, &key)?;
            if nth % 4 == 1 {
                submitted.fetch_add(1, Ordering::Relaxed);
                let again = kapell.message(id, &key)?;
                repeats.fetch_add(u64::from(again == Submitted::Repeat), Ordering::Relaxed);
            }
        }
        Ok(())
    })?;
    ids.iter().try_for_each(|id| kapell.rest(*id))?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), stats::cpu_s() - cpu);
    let (submitted, repeats) = (submitted.into_inner(), repeats.into_inner());
    let (mut selected, mut superseded) = (0, 0);
    for id in &ids {
        for event in kapell.events(*id)? {
            match event {
                Event::Selected { intent: Some(_), .. } => selected += 1,
                Event::Disposed { how: Disposal::Superseded | Disposal::Merged, .. } => superseded += 1,
                _ => {}
            }
        }
    }
    let mut waits = kapell.script().waits();
    let mut at = |p| measure::ms(stats::percentile(&mut waits, p));
    let (p50_ms, p95_ms) = (at(50), at(95));
    kapell.shutdown();
    let cpu_us = measure::us_each(cpu, submitted);
    Ok(Row { producers, sessions, submitted, repeats, selected, superseded, seconds, cpu_us, p50_ms, p95_ms })
}

/// The kernel alone: what a decision costs, and what folding its events once more costs.
fn pure(rounds: u32) -> Result<()> {
    let (spec, _) = rig::spec(u32::MAX / 4);
    let id = SessionId::v7(1, 1);
    let (mut state, mut fold) = (Session::new(id), Session::new(id));
    let mut governor = Governor::new(Slots { model: 1, tool: 1, check: 1, workspace: 1 });
    let (mut now, mut decisions, mut decided) = (Timestamp(1_700_000_000_000), 0_u32, Duration::ZERO);
    let mut events: Vec<(Timestamp, Event)> = Vec::new();
    let mut input = Input::Open(Box::new(spec));
    for random in 0..u128::from(rounds) {
        now = now.plus(1);
        let ctx = Ctx { now, random, fence: 1, hold: false };
        let began = Instant::now();
        let decision = kernel::decide(&mut state, &mut governor, input, &ctx)?;
        decided += began.elapsed();
        decisions += 1;
        events.extend(decision.events.into_iter().map(|event| (now, event)));
        let run = decision.effects.into_iter().find_map(|effect| match effect {
            Effect::Run(run) => Some(run),
            _ => None,
        });
        let outcome: Outcome = history::outcome(*run.context("the session came to rest")?)?;
        // Each third decision is about somebody's wish.
        if random % 3 == 0 {
            let wish = [Ok(wish(id, now, random))];
            let began = Instant::now();
            let decision = kernel::decide(&mut state, &mut governor, Input::Inbox(wish.into()), &ctx)?;
            decided += began.elapsed();
            decisions += 1;
            events.extend(decision.events.into_iter().map(|event| (now, event)));
        }
        input = Input::Outcome(Box::new(outcome));
    }
    let began = Instant::now();
    for (at, event) in &events {
        fold.apply(*at, event)?;
    }
    let folded = began.elapsed();
    anyhow::ensure!(fold == state, "the fold of the events is not the state that decided them");
    let began = Instant::now();
    events.iter().for_each(|event| {
        black_box(event);
    });
    let empty = began.elapsed();
    let (ns, n) = (|time: Duration, n: usize| time.as_nanos() as f64 / n as f64, events.len());
    println!(
        "kernel alone: {:.0} ns per decision (decide and apply; {decisions} decisions, {n} events); folding the events \
         again {:.0} ns each, so apply is {:.0}% of it; an empty fold {:.1} ns each",
        ns(decided, decisions as usize),
        ns(folded, n),
        100.0 * folded.as_secs_f64() / decided.as_secs_f64(),
        ns(empty, n)
    );
    Ok(())
}

fn wish(session: SessionId, at: Timestamp, random: u128) -> Intent {
    let text = Digest::of(&random.to_le_bytes());
    let wish = if random.is_multiple_of(2) { Wish::Continue } else { Wish::Message { text, bytes: 16 } };
    let (id, key) = (SessionId::v7(at.0, random ^ (1 << 70)), format!("w{random}"));
    Intent { id, session, source: Source::User, wish, key, at, ttl_ms: None }
}
