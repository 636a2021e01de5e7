//! `cargo xtask faults [--points N | --long] [--kinds K,..] [--at KIND:POINT] [--seed S] [--jobs N]
//! [--binary PATH]`: the real binary, with a crash or an error at every single call that changes one of its files.
//!
//! Knows how to choose points and to count; what must hold is `judge.rs`'s. Start at [`run`].

mod judge;
pub(crate) mod scene;
mod traced;

use crate::shim::random;
use anyhow::{Context, Result, bail, ensure};
use judge::{Came, judge};
use scene::{Ended, Fault, Stage};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// What can happen at a call: killed before it, killed in the middle of it (half of the bytes written) or just after;
/// failed once; failed from then on.
const KINDS: [&str; 6] = ["kill", "torn", "eio", "eio-on", "enospc", "enospc-on"];

struct Options {
    points: Option<usize>,
    kinds: Vec<String>,
    at: Option<(String, u64)>,
    seed: u64,
    jobs: usize,
}

/// One thing to try.
struct Try {
    kind: String,
    point: u64,
    /// `fsync /data/kapell.db-wal`
    what: String,
}

/// What all tries came to.
#[derive(Default)]
struct Tally {
    runs: usize,
    missed: usize,
    told: usize,
    events: usize,
    unknown: usize,
    failed: usize,
    borne: usize,
    calls: BTreeMap<String, usize>,
    /// Why sessions ended as failed, and how often.
    why: BTreeMap<String, usize>,
    violations: Vec<String>,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = options(args)?;
    let began = Instant::now();
    let binary = match args.iter().position(|arg| arg == "--binary").and_then(|at| args.get(at + 1)) {
        // Any other build of the program: one that breaks its promises on purpose, say.
        Some(binary) => std::path::PathBuf::from(binary),
        None => crate::programs::build("kapell", false)?,
    };
    let stage = Stage::new(binary, 0)?;
    let calls = count(&stage)?;
    let tries = match &options.at {
        Some((kind, point)) => vec![Try { kind: kind.clone(), point: *point, what: named(&calls, *point) }],
        None => choose(&calls, &options),
    };
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(one) = tries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = attempt(&stage, one, options.seed);
                    if let Ok(mut tally) = tally.lock() {
                        tally.add(one, result);
                    }
                }
            });
        }
    });
    let mut tally = tally.into_inner().unwrap_or_default();
    ensure!(tally.runs + tally.violations.len() > 0, "nothing was run");
    // Two runs differ by a few calls; where more are not met, the harm is not done.
    if tally.missed * 4 > tally.runs {
        let (missed, runs) = (tally.missed, tally.runs);
        tally.violations.push(format!("{missed} of {runs} points were not met"));
    }
    let traced = if options.at.is_none() {
        // What was found before it is told, too.
        traced::run(&stage, &mut tally, options.points.is_none()).unwrap_or_else(|error| {
            tally.violations.push(format!("strace: {error:#}"));
            String::new()
        })
    } else {
        String::new()
    };
    report(&tally, &traced, &calls, &options, began);
    if !tally.violations.is_empty() {
        tally.violations.iter().for_each(|violation| println!("{violation}"));
        bail!("{} violation(s)", tally.violations.len());
    }
    Ok(())
}

fn report(tally: &Tally, traced: &str, calls: &[String], options: &Options, began: Instant) {
    let per: Vec<String> = tally.calls.iter().map(|(call, count)| format!("{call} {count}")).collect();
    println!("faults: {}", per.join(", "));
    tally.why.iter().for_each(|(why, count)| println!("faults: {count} x session failed: {why}"));
    if !traced.is_empty() {
        println!("faults: {traced}");
    }
    println!(
        "faults: {} calls that change files; {} runs in {:.0} s ({}); {} lines announced, all on record; {} events; {} outcomes unknown, asked about; {} sessions failed and said why; {} went on in spite of it; {} points not met again",
        calls.len(),
        tally.runs,
        began.elapsed().as_secs_f32(),
        options.kinds.join(", "),
        tally.told,
        tally.events,
        tally.unknown,
        tally.failed,
        tally.borne,
        tally.missed,
    );
    println!(
        "{} passed, {} failed, {} skipped",
        tally.runs - tally.missed,
        tally.violations.len(),
        tally.missed
    );
}

fn options(args: &[String]) -> Result<Options> {
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, usual: usize| {
        value(name).map_or(Ok(usual), |v| v.parse().with_context(|| name.to_owned()))
    };
    let kinds = match value("--kinds") {
        Some(list) => list.split(',').map(str::to_owned).collect(),
        None => KINDS.map(str::to_owned).to_vec(),
    };
    let at = match value("--at").map(|at| at.split_once(':').context("--at KIND:POINT")) {
        Some(at) => {
            let (kind, point) = at?;
            Some((kind.to_owned(), point.parse()?))
        }
        None => None,
    };
    let unknown = kinds.iter().chain(at.iter().map(|at| &at.0)).find(|kind| !KINDS.contains(&kind.as_str()));
    ensure!(unknown.is_none(), "there is no kind {unknown:?}; there are {}", KINDS.join(", "));
    ensure!(at.as_ref().is_none_or(|at| at.1 > 0), "calls are counted from 1");
    let long = args.iter().any(|arg| arg == "--long");
    let points = if long { None } else { Some(number("--points", 10)?) };
    Ok(Options { points, kinds, at, seed: number("--seed", 1)? as u64, jobs: number("--jobs", 2)? })
}

/// The scene once without a fault: every call that changes a file, in order.
fn count(stage: &Stage) -> Result<Vec<String>> {
    let scene = stage.scene("count")?;
    let acts = scene.act(Fault::Count)?;
    ensure!(acts.len() == 3, "the scene itself fails: {acts:?}");
    judge(&scene, &acts, false, 0).context("the scene without a fault")?;
    let calls = scene.calls("hits")?;
    ensure!(calls.len() > 100, "only {} calls were seen: is the shim loaded?", calls.len());
    Ok(calls)
}

/// Every point for every kind, or an even sample: one from each stretch, by the seed.
fn choose(calls: &[String], options: &Options) -> Vec<Try> {
    let all = calls.len() as u64;
    let mut rng = options.seed;
    let mut tries = Vec::new();
    for kind in &options.kinds {
        let wanted = options.points.map_or(all, |points| (points as u64).min(all));
        for n in 0..wanted {
            let (from, to) = (n * all / wanted, (n + 1) * all / wanted);
            let point = from + 1 + random(&mut rng, to - from);
            tries.push(Try { kind: kind.clone(), point, what: named(calls, point) });
        }
    }
    tries
}

fn named(calls: &[String], point: u64) -> String {
    calls.get(point as usize - 1).cloned().unwrap_or_default()
}

/// One scene under one fault. `None`: the call was not met this time.
fn attempt(stage: &Stage, one: &Try, seed: u64) -> Result<Option<Came>> {
    let scene = stage.scene(&format!("{}-{}", one.kind, one.point))?;
    let acts = scene.act(Fault::Shim { kind: &one.kind, point: one.point })?;
    let killed = matches!(one.kind.as_str(), "kill" | "torn");
    let met = std::fs::read_to_string(scene.path("hits")).is_ok_and(|hits| !hits.is_empty());
    ensure!(!killed || !met || acts.iter().any(|act| act.code.is_none()), "not killed: {acts:?}");
    let came = judge(&scene, &acts, killed, seed ^ one.point).with_context(|| told(&acts))?;
    Ok(met.then_some(came))
}

fn told(acts: &[Ended]) -> String {
    let one = |act: &Ended| {
        let lines: Vec<&str> = act.err.lines().rev().take(3).collect();
        format!("{} ended with {:?} ({})", act.name, act.code, lines.join(" / "))
    };
    acts.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Tally {
    fn add(&mut self, one: &Try, result: Result<Option<Came>>) {
        match result {
            Ok(came) => {
                self.runs += 1;
                self.missed += usize::from(came.is_none());
                let came = came.unwrap_or_default();
                self.told += came.told;
                self.events += came.events;
                self.unknown += came.unknown;
                self.failed += usize::from(came.failed.is_some());
                self.borne += came.borne;
                if let Some(why) = came.failed {
                    // What differs from one to the next are the paths.
                    let words: Vec<&str> = why.split(' ').filter(|word| !word.contains('/')).collect();
                    *self.why.entry(words.join(" ")).or_default() += 1;
                }
                let call = one.what.split(' ').next().unwrap_or_default();
                *self.calls.entry(call.to_owned()).or_default() += 1;
            }
            Err(error) => self.violations.push(format!(
                "VIOLATION: {} at call {} ({}): {error:#}\n  replay: cargo xtask faults --at {}:{}",
                one.kind, one.point, one.what, one.kind, one.point
            )),
        }
    }
}
