//! Which cuts are tried, and what must hold after each: everything promised is there, and the store is exactly as after
//! the last commit that was acknowledged, or the one that was under way.
//!
//! Knows no SQL and no session's meaning. Start at [`run`].

use crate::disk::{Disk, Survival, Syncs};
use crate::promise::{Promise, promises};
use crate::record::{self, Op, What};
use crate::rng::Rng;
use crate::store::{self, Face, Truth};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// States made at one cut, at least: two without chance, the rest by it.
const VARIANTS: u64 = 8;
/// One state in this many is verified by the binary too.
const SAMPLE: u64 = 100;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Which syncs are believed.
    pub(crate) syncs: Syncs,
    /// States, about.
    pub(crate) states: u64,
    /// Where chance begins.
    pub(crate) seed: u64,
    /// Threads.
    pub(crate) jobs: u64,
    /// Only this one.
    pub(crate) at: Option<(usize, u64)>,
    /// Leave it here.
    pub(crate) keep: Option<PathBuf>,
    /// The real binary: verifies a sample of the states.
    pub(crate) binary: Option<PathBuf>,
    /// Where states are made.
    pub(crate) scratch: PathBuf,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Operations in the record that concern the store.
    pub(crate) ops: usize,
    /// Things promised to the outside.
    pub(crate) promises: usize,
    /// Of these: effects that must not begin before their start is durable.
    pub(crate) effects: usize,
    /// Syncs of the log.
    pub(crate) commits: usize,
    /// Moments at which the power went.
    pub(crate) cuts: usize,
    /// Stores opened and checked.
    pub(crate) states: u64,
    /// Of these verified by the binary too.
    pub(crate) verified: u64,
    /// States until something promised was lost.
    pub(crate) first: u64,
    /// Cut, variant, and what is wrong.
    pub(crate) found: Vec<(usize, u64, String)>,
}

/// Violations after which no more are looked for.
const ENOUGH: usize = 20;
/// How the loss of something acknowledged is said.
const LOST: &str = "was promised and is lost";

impl Report {
    /// The first loss of something that was promised.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.found.iter().map(|(_, _, why)| why.as_str()).find(|why| why.contains(LOST))
    }

    /// A control has done its work when something promised is lost.
    fn enough(&self, syncs: Syncs) -> bool {
        if syncs == Syncs::Honest { self.found.len() >= ENOUGH } else { self.lost().is_some() }
    }
}

/// A recorded run and what it came to.
struct Run {
    root: String,
    ops: Vec<Op>,
    truth: Truth,
    promises: Vec<Promise>,
    /// The store's face right after each sync of the log: what a commit leaves, once it is acknowledged.
    faces: Vec<(usize, Face)>,
}

/// Plays the plan over the record in this directory.
pub(crate) fn run(dir: &Path, plan: &Plan) -> Result<Report> {
    let run = Run::read(dir, plan)?;
    let cuts = choose(&run, plan);
    let variants = VARIANTS.max(plan.states * 2 / cuts.len().max(1) as u64);
    let report = Mutex::new(Report {
        ops: run.ours().count(),
        promises: run.promises.len(),
        effects: run.promises.iter().filter(|promise| !promise.why.starts_with('{')).count(),
        commits: run.faces.len(),
        cuts: cuts.len(),
        ..Report::default()
    });
    std::thread::scope(|scope| {
        let work = |job| {
            let own: Vec<usize> = cuts.iter().copied().skip(job).step_by(plan.jobs as usize).collect();
            run.play(plan, &own, variants, &report, job)
        };
        let workers: Vec<_> = (0..plan.jobs as usize).map(|job| scope.spawn(move || work(job))).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the check panicked")))
        })
    })?;
    let mut report = report.into_inner().map_err(|_| anyhow::anyhow!("a thread of the check panicked"))?;
    report.found.sort();
    Ok(report)
}

/// Cuts to try, by the seed: evenly over all operations, and right after what was told or took effect.
fn choose(run: &Run, plan: &Plan) -> Vec<usize> {
    if let Some((cut, _)) = plan.at {
        return vec![cut];
    }
    let all: Vec<usize> = run.ours().map(|(at, _)| at).chain(run.promises.iter().map(|p| p.after)).collect();
    let wanted = (plan.states / VARIANTS / 2).max(1) as usize;
    let mut rng = Rng::new(plan.seed);
    let mut cuts: Vec<usize> = (0..wanted)
        .map(|n| {
            let (from, to) =
                (n * all.len() / wanted, ((n + 1) * all.len() / wanted).max(n * all.len() / wanted + 1));
            all[(from + rng.below((to - from) as u64) as usize).min(all.len() - 1)]
        })
        .collect();
    // As many again right when something had just been promised: where a lie shows.
    let mut moments: Vec<usize> = run.promises.iter().map(|promise| promise.after).collect();
    moments.dedup();
    let every = (moments.len() / wanted).max(1);
    cuts.extend(moments.iter().skip(rng.below(every as u64) as usize).step_by(every));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

impl Run {
    fn read(dir: &Path, plan: &Plan) -> Result<Self> {
        let root = std::fs::read_to_string(dir.join("root")).context("the record has no `root`")?;
        let ops = record::read(&dir.join("ops"))?;
        let truth = store::truth(&dir.join("data"))?;
        let promises = promises(&root, &ops, &truth)?;
        ensure!(promises.len() > 10, "only {} promises were recorded", promises.len());
        let mut run = Self { root, ops, truth, promises, faces: Vec::new() };
        run.faces = run.commits(plan)?;
        Ok(run)
    }

    /// Operations on the store's files.
    fn ours(&self) -> impl Iterator<Item = (usize, &Op)> {
        let disk = Disk::new(&self.root, Syncs::Honest);
        self.ops.iter().enumerate().filter(move |(_, op)| disk.ours(&op.path))
    }

    /// What each sync of the log left, as a process that was killed there would have left it.
    fn commits(&self, plan: &Plan) -> Result<Vec<(usize, Face)>> {
        let mut disk = Disk::new(&self.root, Syncs::Honest);
        let place = Place::new(plan, "commits")?;
        let mut faces = Vec::new();
        let mut frames = false;
        for (at, op) in self.ops.iter().enumerate() {
            disk.apply(op);
            let wal = op.path.ends_with("kapell.db-wal");
            frames |= wal && matches!(op.what, What::Write { at, .. } if at >= 32);
            // A log that is synced again before it is merged has nothing new.
            if wal && matches!(op.what, What::Sync { .. }) && std::mem::take(&mut frames) {
                let found =
                    place.with(&disk, Survival::All, &mut Rng::new(0), |data| store::look(data, &self.truth));
                faces.push((at, found.with_context(|| format!("after the commit at operation {at}"))?.face));
            }
        }
        Ok(faces)
    }

    /// Plays these cuts, in order, in one pass.
    fn play(
        &self,
        plan: &Plan,
        cuts: &[usize],
        variants: u64,
        report: &Mutex<Report>,
        job: usize,
    ) -> Result<()> {
        let mut disk = Disk::new(&self.root, plan.syncs);
        let place = Place::new(plan, &format!("job-{job}"))?;
        let mut done = 0;
        for &cut in cuts {
            self.ops[done..cut].iter().for_each(|op| disk.apply(op));
            done = cut;
            for variant in plan.at.map_or(0..variants, |(_, variant)| variant..variant + 1) {
                let mut rng = rng_of(plan, cut, variant);
                let result = place.with(&disk, survival(variant), &mut rng, |data| {
                    self.check(data, cut)?;
                    match &plan.binary {
                        Some(binary) if rng_of(plan, cut, variant).below(SAMPLE) == 0 => verify(binary, data),
                        _ => Ok(0),
                    }
                });
                let mut report = report.lock().map_err(|_| anyhow::anyhow!("another thread panicked"))?;
                report.states += 1;
                report.verified += result.as_ref().map_or(0, |count| *count);
                if let Err(why) = result {
                    let known = report.lost().is_some();
                    report.found.push((cut, variant, format!("{why:#}")));
                    report.first = if known { report.first } else { report.states };
                }
                if disk.is_clean() {
                    // Nothing can be lost: one state is all there is.
                    break;
                }
            }
            if report.lock().is_ok_and(|report| report.enough(plan.syncs)) {
                break;
            }
        }
        Ok(())
    }

    fn check(&self, data: &Path, cut: usize) -> Result<()> {
        let due =
            self.promises.iter().filter(|promise| promise.after <= cut).max_by_key(|promise| promise.seq);
        let found = match data.join("kapell.db").exists() {
            true => store::look(data, &self.truth)?,
            false => store::Found::default(),
        };
        if let Some(due) = due.filter(|due| due.seq > found.events) {
            anyhow::bail!("event {} {LOST} ({} are left): {}", due.seq, found.events, due.why);
        }
        let acked = self.faces.iter().rposition(|(at, _)| *at < cut);
        let next = self.faces.get(acked.map_or(0, |at| at + 1));
        let (acked, next) = (acked.map(|at| &self.faces[at].1), next.map(|(_, face)| face));
        // Before the first commit of the log there is nothing to compare with.
        let Some(acked) = acked else { return Ok(()) };
        ensure!(
            found.face == *acked || Some(&found.face) == next,
            "the store is neither as after the last acknowledged commit nor as after the next: {}",
            differs(&found.face, acked)
        );
        Ok(())
    }
}

fn rng_of(plan: &Plan, cut: usize, variant: u64) -> Rng {
    Rng::new(plan.seed ^ (cut as u64) << 20 ^ variant)
}

/// `kapell verify` over the state. How many were looked at: one.
fn verify(binary: &Path, data: &Path) -> Result<u64> {
    if !data.join("kapell.db").exists() {
        return Ok(0);
    }
    let home = data.parent().context("a store is in a home")?;
    let out = std::process::Command::new(binary)
        .arg("verify")
        .env("KAPELL_TRUST", "all")
        .env("KAPELL_HOME", home)
        .output()?;
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(out.status.success(), "kapell verify: {text}");
    Ok(1)
}

fn differs(found: &Face, acked: &Face) -> String {
    let rest: Vec<&String> = found.rest.iter().filter(|line| !acked.rest.contains(line)).collect();
    let gone: Vec<&String> = acked.rest.iter().filter(|line| !found.rest.contains(line)).collect();
    let heads = |face: &Face| face.heads.values().map(|head| head.0).collect::<Vec<_>>();
    format!("heads {:?}, acknowledged {:?}; there {rest:?}, gone {gone:?}", heads(found), heads(acked))
}

fn survival(variant: u64) -> Survival {
    match variant {
        0 => Survival::None,
        1 => Survival::All,
        2 => Survival::Newest,
        3 | 4 => Survival::Prefix,
        _ => Survival::Some,
    }
}

/// A directory in which one state after the other is made.
struct Place {
    dir: PathBuf,
    keep: bool,
}

impl Place {
    fn new(plan: &Plan, name: &str) -> Result<Self> {
        let own = plan.scratch.join(format!("power-{}-{name}", std::process::id()));
        let (dir, keep) = match &plan.keep {
            Some(dir) => (dir.join(name), true),
            None => (own, false),
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Self { dir, keep })
    }

    fn with<T>(
        &self,
        disk: &Disk,
        survival: Survival,
        rng: &mut Rng,
        look: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        let state = self.dir.join("state");
        if state.exists() {
            // tidy: allow(recursive-delete): a state this run made in its own directory
            std::fs::remove_dir_all(&state)?;
        }
        disk.cut(&state, survival, rng)?;
        look(&state.join("home/data"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            // tidy: allow(recursive-delete): made by `Place::new` for this process alone
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
