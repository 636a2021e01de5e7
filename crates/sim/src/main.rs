//! `cargo xtask sim` ends here: runs seeds on every core, prints what broke, how to see it again, and what was never met.
//!
//! Knows arguments and threads; the runs know neither. Start at [`main`].

use sim::{Backend, Cover, Fault, Run, Setup, Without};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

#[cfg(planted)]
mod plants;

/// Every so many seeds is run a second time, once again in another process, and on SQLite.
const SAMPLE: u64 = 100;

struct Arguments(Vec<String>);

/// What has a number behind it, what has a word, and what stands alone.
const NUMBERS: [&str; 7] = ["--seeds", "--from", "--seed", "--steps", "--nodes", "--sessions", "--threads"];
const WORDS: [&str; 6] = ["--without", "--only", "--store", "--traces", "--commit", "--check-traces"];
const ALONE: [&str; 2] = ["--plants", "--met"];

impl Arguments {
    /// Nothing is passed over: a run that was asked for in other words would look like the one that was meant.
    fn known(&self) -> Result<(), String> {
        let mut arguments = self.0.iter().map(String::as_str);
        while let Some(name) = arguments.next() {
            let number = NUMBERS.contains(&name);
            if ALONE.contains(&name) {
                continue;
            }
            if !number && !WORDS.contains(&name) {
                let all = [&NUMBERS[..], &WORDS[..], &ALONE[..]].concat().join(", ");
                return Err(format!("there is no `{name}`; there are {all}"));
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            if number && value.parse::<u64>().is_err() {
                return Err(format!("{name} needs a number, not `{value}`"));
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&String> {
        self.0.iter().position(|argument| argument == name).and_then(|at| self.0.get(at + 1))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    fn setup(&self, seed: u64) -> Result<Setup, String> {
        let mut setup = Setup::new(seed, self.number("--steps").unwrap_or(2_000));
        setup.nodes = self.number("--nodes");
        setup.sessions = self.number("--sessions");
        setup.without = Without::parse(self.value("--without").map_or("", String::as_str))?;
        if let Some(only) = self.value("--only") {
            setup.without = Without::parse(only)?.others();
        }
        match self.value("--store").map(String::as_str) {
            None | Some("memory") => {}
            Some("sqlite") => setup.backend = Backend::Sqlite,
            Some(other) => return Err(format!("there is no store `{other}`: memory or sqlite")),
        }
        Ok(setup)
    }

    fn threads(&self) -> u64 {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        self.number("--threads").unwrap_or(cores).max(1)
    }
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments(std::env::args().skip(1).collect());
    let done = arguments.known().and_then(|()| {
        match (arguments.value("--check-traces"), arguments.0.iter().any(|a| a == "--plants")) {
            (Some(file), _) => check_traces(file),
            (None, true) => plants(&arguments),
            (None, false) => seeds(&arguments),
        }
    });
    match done {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(why) => {
            eprintln!("sim: {why}");
            std::process::ExitCode::from(2)
        }
    }
}

#[cfg(planted)]
fn plants(arguments: &Arguments) -> Result<bool, String> {
    plants::run(arguments.number("--seeds").unwrap_or(1_000), arguments.number("--steps").unwrap_or(600))
}

#[cfg(not(planted))]
fn plants(_: &Arguments) -> Result<bool, String> {
    Err("this build has no planted bugs: use `cargo xtask sim --plants`, which builds one that has".into())
}

/// What all threads found together.
#[derive(Default)]
struct Tally {
    cover: Cover,
    runs: u64,
    steps: u64,
    events: u64,
    sampled: u64,
    failed: Vec<Run>,
    differ: Vec<String>,
    /// By seed: the hash, and the arguments that run it again.
    traces: BTreeMap<u64, (u64, String)>,
}

fn seeds(arguments: &Arguments) -> Result<bool, String> {
    let one = arguments.number("--seed");
    let from = one.or(arguments.number("--from")).unwrap_or(0);
    let to = from + one.map_or(arguments.number("--seeds").unwrap_or(300), |_| 1);
    let (next, tally) = (AtomicU64::new(from), Mutex::new(Tally::default()));
    let began = Instant::now();
    arguments.setup(from)?;
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads() {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < to
                    && let Ok(setup) = arguments.setup(seed)
                {
                    let sample = one.is_none() && (seed - from).is_multiple_of(SAMPLE);
                    one_seed(setup, sample, &tally);
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = arguments.value("--traces") {
        let lines: Vec<String> =
            tally.traces.values().map(|(trace, again)| format!("{trace:016x} {again}\n")).collect();
        std::fs::write(file, lines.concat()).map_err(|e| format!("{file}: {e}"))?;
    }
    tally.failed.sort_by_key(|run| run.setup.seed);
    let commit = arguments.value("--commit").map_or("?", String::as_str);
    report(&tally, seconds, commit, arguments.0.iter().any(|a| a == "--met"));
    Ok(tally.failed.is_empty() && tally.differ.is_empty())
}

fn one_seed(setup: Setup, sample: bool, tally: &Mutex<Tally>) {
    let run = match sim::run(setup, || scratch(setup.seed)) {
        Ok(run) => run,
        Err(why) => return lock(tally).differ.push(format!("seed {}: {why}", setup.seed)),
    };
    let mut differ = Vec::new();
    if sample {
        let trace = |setup: Setup| {
            let run = sim::run(setup, || scratch(setup.seed)).map(|run| run.trace);
            clear(setup.seed);
            run
        };
        // Nobody can leave what is no intent in SQLite's inbox through the port.
        let clean = Setup { without: setup.without.and(Fault::GarbledMail), ..setup };
        let sqlite = Setup { backend: Backend::Sqlite, ..clean };
        for (what, one, other) in
            [("twice", Ok(run.trace), trace(setup)), ("in memory and on SQLite", trace(clean), trace(sqlite))]
        {
            if one != other {
                differ.push(format!("seed {} {what}: {one:x?} and {other:x?}", setup.seed));
            }
        }
    }
    clear(setup.seed);
    let mut tally = lock(tally);
    tally.runs += 1;
    tally.sampled += u64::from(sample);
    tally.steps += run.steps;
    tally.events += run.events;
    tally.cover.merge(&run.cover);
    if sample {
        tally.traces.insert(setup.seed, (run.trace, setup.arguments()));
    }
    tally.differ.extend(differ);
    if run.broken.is_some() {
        tally.failed.push(run);
    }
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory for one seed's SQLite, in memory where the machine has such a place.
fn scratch(seed: u64) -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let top = if shared.is_dir() { shared } else { std::env::temp_dir() };
    top.join(format!("kapell-sim-{}-{seed}", std::process::id()))
}

fn clear(seed: u64) {
    // tidy: allow(recursive-delete): the name holds this process's number and was made by `scratch`
    let _ = std::fs::remove_dir_all(scratch(seed));
}

fn report(tally: &Tally, seconds: f64, commit: &str, met: bool) {
    for run in tally.failed.iter().take(3) {
        let broken = run.broken.as_ref().map_or(String::new(), ToString::to_string);
        let first = broken.lines().next().unwrap_or_default();
        println!("seed={} commit={commit}: {first}", run.setup.seed);
        println!("  replay: cargo xtask sim {}", run.setup.arguments());
        let (small, tries) = sim::shrink(run.clone());
        println!("  smallest after {tries} runs: cargo xtask sim {}", small.setup.arguments());
        println!("  {}", small.broken.map_or(String::new(), |broken| broken.to_string()));
    }
    for run in tally.failed.iter().skip(3) {
        let broken = run.broken.as_ref().map_or(String::new(), |broken| broken.promise.to_string());
        println!("seed={}: {broken}", run.setup.seed);
    }
    tally.differ.iter().for_each(|line| println!("{line}"));
    let all = tally.cover.all();
    let never: Vec<_> = all.iter().filter(|(_, _, count)| *count == 0).collect();
    if met {
        all.iter().for_each(|(what, name, count)| println!("  {what:<24} {name:<36} {count}"));
    }
    println!("met {} of {} things there are; never met:", all.len() - never.len(), all.len());
    never.iter().for_each(|(what, name, _)| println!("  {what}: {name}"));
    println!(
        "sim: {} seeds in {seconds:.1} s: {:.1} seeds/s, {:.0} steps/s; {} steps, {} events; {} seeds run again and on SQLite",
        tally.runs,
        tally.runs as f64 / seconds,
        tally.steps as f64 / seconds,
        tally.steps,
        tally.events,
        tally.sampled,
    );
    let failed = tally.failed.len() + tally.differ.len();
    println!("{} passed, {failed} failed", tally.runs - (tally.failed.len() as u64).min(tally.runs));
}

/// Runs the seeds another process has written down, and compares.
fn check_traces(file: &str) -> Result<bool, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let mut differ = 0_u64;
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (trace, again) = (words.next().unwrap_or_default(), Arguments(words.collect()));
        let seed = again.number("--seed").ok_or_else(|| format!("{file}: `{line}`"))?;
        let run = sim::run(again.setup(seed)?, || scratch(seed))?;
        clear(seed);
        if format!("{:016x}", run.trace) != trace {
            differ += 1;
            println!("seed {seed}: {trace} in one process, {:016x} in another", run.trace);
        }
    }
    println!("traces: {} seeds run in two processes, {differ} differ", text.lines().count());
    Ok(differ == 0)
}
