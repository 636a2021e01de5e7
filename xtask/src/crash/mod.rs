//! `cargo xtask crash`: the real binary, killed at random moments, in every kind of case there is (`scenario.rs`).
//!
//! `--kills N` (40), `--seed S` (1), `--lanes L` (6), `--only NAME`, `--case N` plays one case of a seed again,
//! `--continue` goes on with a run of that seed that was itself stopped. Start at [`run`], then `case.rs`.

mod case;
mod look;
mod people;
mod process;
mod record;
mod rng;
mod scenario;
mod script;
mod tally;
mod theirs;

use anyhow::{Context, Result, bail, ensure};
use case::Case;
use rng::Rng;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tally::Tally;

/// Cases at once: they mostly wait, for a moment to kill at or for the disk.
const LANES: u64 = 6;
/// Kills of one case: many in a long run, few in a short one, so that it meets every kind.
const KILLS_PER_CASE: (u64, u64) = (3, 25);
/// Kills between two lines about how far it is.
const EVERY: u64 = 500;

/// What the arguments say.
struct Options {
    kills: u64,
    seed: u64,
    lanes: u64,
    only: Option<String>,
    case: Option<u64>,
    go_on: bool,
}

impl Options {
    fn read(args: &[String]) -> Result<Self> {
        let mut options = Self { kills: 40, seed: 1, lanes: LANES, only: None, case: None, go_on: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--continue" {
                options.go_on = true;
                continue;
            }
            let value = args.next().with_context(|| format!("{arg} needs a value"))?;
            let number = || value.parse::<u64>().with_context(|| format!("{arg} {value} is no number"));
            match arg.as_str() {
                "--kills" => options.kills = number()?,
                "--seed" => options.seed = number()?,
                "--lanes" => options.lanes = number()?.max(1),
                "--case" => options.case = Some(number()?),
                "--only" => options.only = Some(value.clone()),
                _ => bail!(
                    "crash knows --kills N, --seed S, --lanes L, --only NAME, --case N, --continue; not {arg}"
                ),
            }
        }
        if let Some(name) = &options.only {
            let names: Vec<&str> = scenario::SCENARIOS.iter().map(|scenario| scenario.name).collect();
            ensure!(
                names.contains(&name.as_str()),
                "there is no kind of case `{name}`; there are {}",
                names.join(", ")
            );
        }
        Ok(options)
    }

    /// How to play a case again.
    fn replay(&self, case: u64) -> String {
        let only = self.only.as_ref().map(|name| format!(" --only {name}")).unwrap_or_default();
        format!("cargo xtask crash --kills {} --seed {}{only} --case {case}", self.kills, self.seed)
    }
}

/// What all lanes share.
struct Run {
    options: Options,
    binary: PathBuf,
    saved: PathBuf,
    tally: Tally,
    next: AtomicU64,
    /// Cases begun and not ended: what goes on later begins with the oldest.
    open: Mutex<BTreeSet<u64>>,
    failed: AtomicBool,
    began: Instant,
    before: u64,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::read(args)?;
    let binary = crate::programs::build("kapell", false)?;
    let saved = std::env::temp_dir().join(format!("kapell-crash-seed-{}.json", options.seed));
    let tally = Tally::default();
    let next = if options.go_on { tally.load(&saved)? } else { options.case.unwrap_or(0) };
    let before = tally.of("kills");
    let lanes = if options.case.is_some() { 1 } else { options.lanes };
    let run = Run {
        options,
        binary,
        saved,
        tally,
        next: AtomicU64::new(next),
        open: Mutex::default(),
        failed: AtomicBool::new(false),
        began: Instant::now(),
        before,
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(|| run.lane())).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or_else(|_| bail!("a lane panicked")))
    })?;
    run.tally.add("run kills", run.tally.of("kills") - run.before);
    run.tally.print(run.began.elapsed().as_secs_f32());
    println!("{} passed, 0 failed", run.tally.of("cases"));
    Ok(())
}

impl Run {
    /// Case after case, until there were kills enough or another lane failed.
    fn lane(&self) -> Result<()> {
        while self.tally.of("kills") < self.options.kills && !self.failed.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            if let Err(error) = self.case(number) {
                self.failed.store(true, Ordering::Relaxed);
                return Err(error.context(format!("replay: {}", self.options.replay(number))));
            }
            self.done(number)?;
            if self.options.case.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn case(&self, number: u64) -> Result<()> {
        let mut rng = Rng::of(self.options.seed, number);
        let kinds = scenario::SCENARIOS.len() as u64;
        // Each kind once, then by weight.
        let drawn = scenario::at(rng.below(scenario::weights()));
        let drawn = scenario::SCENARIOS.get(number as usize).unwrap_or(drawn);
        let most = (self.options.kills / kinds).clamp(KILLS_PER_CASE.0, KILLS_PER_CASE.1);
        let wanted = self.options.only.as_deref();
        let scenario = scenario::SCENARIOS.iter().find(|s| Some(s.name) == wanted).unwrap_or(drawn);
        let mut case = Case::new(
            &self.binary,
            scenario,
            rng,
            &self.tally,
            &format!("{}-{number}", self.options.seed),
            most,
        )?;
        let played = case.play().with_context(|| format!("case {number}, {}", scenario.name));
        match played {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(format!("everything of it is in {}", case.keep().display()))),
        }
    }

    /// A case has ended: says how far it is, and writes down from where to go on.
    fn done(&self, number: u64) -> Result<()> {
        self.tally.add("cases", 1);
        let kills = self.tally.of("kills");
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&number);
        let oldest = open.first().copied().unwrap_or_else(|| self.next.load(Ordering::Relaxed));
        if self.options.case.is_none() {
            self.tally.save(&self.saved, oldest)?;
        }
        let told = self.tally.of("told lines");
        if kills / EVERY > told {
            self.tally.add("told lines", kills / EVERY - told);
            let seconds = self.began.elapsed().as_secs_f32();
            let rate = (kills - self.before) as f32 / seconds.max(0.001);
            println!(
                "crash: {kills} of {} kills, {} cases, {rate:.1} kills a second",
                self.options.kills,
                self.tally.of("cases")
            );
        }
        Ok(())
    }
}

/// A directory of a case's own, removed at the end unless it is to be looked at.
#[derive(Debug)]
pub(crate) struct Temp {
    path: PathBuf,
    kept: bool,
}

impl Temp {
    fn new(name: &str) -> Result<Self> {
        // No name is the beginning of another: it is what processes are known by.
        let path = std::env::temp_dir().join(format!("kapell-crash-{}-{name}-case", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self { path, kept: false })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is.
    fn keep(&mut self) -> PathBuf {
        self.kept = true;
        self.path.clone()
    }

    /// What every process of the case carries.
    fn mark(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.kept {
            // tidy: allow(recursive-delete): made by `Temp::new` with create_dir, so it is ours alone
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
