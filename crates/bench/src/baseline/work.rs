//! The workloads, each run by a process of its own on either system: what was done, in what time, with what.
//!
//! Both systems are driven by the same threads. B0 answers when the agent's turn is over, Kapell when the message has
//! had its first effect; the clock stops when everything has come to rest. Start at [`run`].

use super::kapell::Kapell;
use super::naive::Naive;
use super::script::{MARK, Script};
use super::{System, faults, victim};
use crate::{measure, stats};
use anyhow::{Context, Result, bail};
use contract::SessionId;
use contract::event::Event;
use contract::intent::Wish;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// What one run of a workload came to.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// What was done: intents settled, transitions, operations, actions, sessions.
    pub(crate) done: f64,
    pub(crate) seconds: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_mb: f64,
    /// From a message to its first effect.
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
}

/// A workload and its size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// Sessions, producers or users.
    pub(crate) wide: usize,
    /// Messages or rounds for each.
    pub(crate) long: u32,
}

/// The worker process: runs one workload and prints its figures.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let [system, name, wide, long, rest @ ..] = args else { bail!("worker SYSTEM WORKLOAD WIDE LONG") };
    let system = System::named(system)?;
    let (wide, long): (usize, u32) = (wide.parse()?, long.parse()?);
    if name == faults::VICTIM {
        return victim::run(system, wide, long, rest);
    }
    let dir = tempfile::tempdir_in(".")?;
    let cpu = stats::cpu_s();
    let mut figures = match name.as_str() {
        "intents" => intents(system, dir.path(), wide, long),
        "run" => whole(system, dir.path(), wide, long),
        "manage" => manage(system, dir.path(), wide, long),
        "talk" => talk(system, dir.path(), wide, long),
        "queued" => queued(system, dir.path(), wide),
        _ => bail!("there is no workload `{name}`"),
    }?;
    figures.cpu_s = stats::cpu_s() - cpu;
    if figures.peak_mb == 0.0 {
        figures.peak_mb = measure::peak_mb();
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// The same for each of `n` threads.
pub(crate) fn each<T: Send>(n: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..n).map(|at| scope.spawn(move || work(at))).collect();
        threads.into_iter().map(|thread| thread.join().ok().context("a thread panicked")?).collect()
    })
}

fn timed(script: &Script, done: f64, began: Instant) -> Figures {
    let seconds = began.elapsed().as_secs_f64();
    let mut waits = script.waits();
    let mut at = |p| measure::ms(stats::percentile(&mut waits, p));
    Figures { done, seconds, p50_ms: at(50), p95_ms: at(95), ..Figures::default() }
}

/// One session, `wide` producers, each sending `long` messages one after the other.
fn intents(system: System, dir: &Path, wide: usize, long: u32) -> Result<Figures> {
    let key = |who: usize, nth: u32| format!("{MARK}{who}-{nth}");
    match system {
        System::B0 => {
            let b0 = Naive::new(dir, Script::new(0));
            b0.open("one", "goal")?;
            let began = Instant::now();
            each(wide, |who| {
                (0..long).try_for_each(|nth| {
                    drop(b0.script().sends(&key(who, nth)));
                    b0.message("one", &key(who, nth), || {})
                })
            })?;
            Ok(timed(b0.script(), wide as f64 * f64::from(long), began))
        }
        System::Kapell => {
            let kapell = Kapell::new(dir, Script::new(0), false)?;
            let id = kapell.open("goal")?;
            kapell.rest(id)?;
            let began = Instant::now();
            each(wide, |who| (0..long).try_for_each(|nth| kapell.tell(id, &key(who, nth))))?;
            kapell.rest(id)?;
            let mut figures = timed(kapell.script(), 0.0, began);
            figures.done = settled(&kapell, id)? as f64;
            kapell.shutdown();
            Ok(figures)
        }
    }
}

/// Intents that were selected, or left the queue otherwise.
fn settled(kapell: &Kapell, id: SessionId) -> Result<usize> {
    let settles =
        |event: &Event| matches!(event, Event::Selected { intent: Some(_), .. } | Event::Disposed { .. });
    Ok(kapell.events(id)?.iter().filter(|event| settles(event)).count())
}

/// `wide` sessions at once, each from its opening through `long` rounds (model, tool) to its end.
fn whole(system: System, dir: &Path, wide: usize, long: u32) -> Result<Figures> {
    let goal = |at: usize| format!("{MARK}goal-{at}");
    match system {
        System::B0 => {
            let b0 = Naive::new(dir, Script::new(long));
            let began = Instant::now();
            each(wide, |at| {
                let id = format!("s{at}");
                b0.open(&id, &goal(at))?;
                b0.close(&id)
            })?;
            Ok(timed(b0.script(), b0.script().actions() as f64, began))
        }
        System::Kapell => {
            let kapell = Kapell::new(dir, Script::new(long), true)?;
            let began = Instant::now();
            each(wide, |at| kapell.ended(kapell.open(&goal(at))?))?;
            let figures = timed(kapell.script(), kapell.script().actions() as f64, began);
            kapell.shutdown();
            Ok(figures)
        }
    }
}

/// `wide` people, each `long` times: create a session, read it, switch to one before, come back, close it.
fn manage(system: System, dir: &Path, wide: usize, long: u32) -> Result<Figures> {
    let done = wide as f64 * f64::from(long) * 5.0;
    match system {
        System::B0 => {
            let b0 = Naive::new(dir, Script::new(1));
            let began = Instant::now();
            each(wide, |who| {
                (0..long).try_for_each(|nth| {
                    let (id, before) = (format!("s{who}-{nth}"), format!("s{who}-{}", nth.saturating_sub(1)));
                    b0.open(&id, &format!("{MARK}goal-{id}"))?;
                    b0.look(&id)?;
                    b0.look(&before)?;
                    b0.look(&id)?;
                    b0.close(&id)
                })
            })?;
            Ok(timed(b0.script(), done, began))
        }
        System::Kapell => {
            let kapell = Kapell::new(dir, Script::new(1), false)?;
            let began = Instant::now();
            each(wide, |who| {
                let mut before = None;
                (0..long).try_for_each(|nth| {
                    let goal = format!("{MARK}goal-{who}-{nth}");
                    let told = kapell.script().sends(&goal);
                    let id = kapell.open(&goal)?;
                    told.recv_timeout(super::kapell::PATIENCE)?;
                    kapell.look(id)?;
                    kapell.look(before.unwrap_or(id))?;
                    kapell.look(id)?;
                    kapell.close(id)?;
                    before = Some(id);
                    Ok(())
                })
            })?;
            let figures = timed(kapell.script(), done, began);
            kapell.shutdown();
            Ok(figures)
        }
    }
}

/// What a person thinks before the next message.
const THINKS: Duration = Duration::from_millis(100);

/// `wide` people with a session each, sending `long` messages with a thought between them.
fn talk(system: System, dir: &Path, wide: usize, long: u32) -> Result<Figures> {
    let key = |who: usize, nth: u32| format!("{MARK}{who}-{nth}");
    // Not all at the same moment.
    let think = |who: usize| std::thread::sleep(THINKS.mul_f64(0.5 + (who * 37 % 100) as f64 / 100.0));
    let done = wide as f64 * f64::from(long);
    match system {
        System::B0 => {
            let b0 = Naive::new(dir, Script::new(1));
            each(wide, |who| b0.open(&format!("s{who}"), "goal"))?;
            let began = Instant::now();
            each(wide, |who| {
                (0..long).try_for_each(|nth| {
                    think(who);
                    drop(b0.script().sends(&key(who, nth)));
                    b0.message(&format!("s{who}"), &key(who, nth), || {})
                })
            })?;
            Ok(timed(b0.script(), done, began))
        }
        System::Kapell => {
            let kapell = Kapell::new(dir, Script::new(1), false)?;
            let ids = each(wide, |_| kapell.open("goal"))?;
            ids.iter().try_for_each(|id| kapell.rest(*id))?;
            let began = Instant::now();
            each(wide, |who| {
                (0..long).try_for_each(|nth| {
                    think(who);
                    kapell.tell(ids[who], &key(who, nth))
                })
            })?;
            let figures = timed(kapell.script(), done, began);
            kapell.shutdown();
            Ok(figures)
        }
    }
}

/// `wide` sessions that wait, with an intent queued at each; `peak_mb` is what they take together.
fn queued(system: System, dir: &Path, wide: usize) -> Result<Figures> {
    let began = Instant::now();
    let taken = match system {
        System::B0 => {
            let b0 = Naive::new(dir, Script::new(0));
            (0..wide).try_for_each(|at| b0.open(&format!("s{at}"), "goal"))?;
            let before = stats::rss_mb();
            std::thread::scope(|scope| {
                let busy = b0.hold()?;
                let b0 = &b0;
                for at in 0..wide {
                    let session = format!("s{at}");
                    scope.spawn(move || b0.message(&session, &format!("{MARK}{at}"), || {}));
                }
                // Until they all stand at the lock.
                let mut taken = stats::rss_mb();
                loop {
                    std::thread::sleep(Duration::from_millis(100));
                    let now = stats::rss_mb();
                    if now <= taken {
                        break;
                    }
                    taken = now;
                }
                drop(busy);
                anyhow::Ok(taken - before)
            })?
        }
        System::Kapell => {
            let kapell = Kapell::new(dir, Script::new(0), false)?;
            let before = stats::rss_mb();
            let ids = each(16, |lane| {
                (lane..wide).step_by(16).map(|_| kapell.open("goal")).collect::<Result<Vec<_>>>()
            })?;
            let ids: Vec<SessionId> = ids.into_iter().flatten().collect();
            ids.iter().try_for_each(|id| kapell.rest(*id))?;
            for (at, id) in ids.iter().enumerate() {
                kapell.submit(*id, Wish::Continue, &format!("go-{at}"))?;
            }
            ids.iter().try_for_each(|id| kapell.rest(*id))?;
            let taken = stats::rss_mb() - before;
            kapell.shutdown();
            taken
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    Ok(Figures { done: wide as f64, seconds, peak_mb: taken.max(0.1), ..Figures::default() })
}
