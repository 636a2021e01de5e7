//! `cargo xtask power [--states N | --long] [--seed S] [--control normal|nosync] [--binary PATH]`: what a power cut may
//! leave of a run of the real binary. `--record DIR --at CUT:VARIANT [--keep DIR]` plays one cut again.
//!
//! Records the run here, below libc; `crates/power` plays the cuts over the record. Without `--control` both controls run
//! too: they break the promise on purpose and must be found out. Start at [`run`].

use crate::faults::scene::{Fault, Scene, Stage};
use crate::shim::quick_dir;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// States of a short and of a long run.
const SHORT: &str = "600";
const LONG: &str = "6000";
/// Turns before the plot: enough events for a snapshot, and a log that is merged while it grows.
const LOOKS: usize = 30;
/// Runs that are killed in a commit, in the short form.
const KILLS: u64 = 3;
/// Syncs of the log before the first event.
const FIRST: usize = 5;
/// States a control may take to be found out.
const CONTROL: &str = "400";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
    let (binary, checker) = match value("--binary") {
        // Any other build of the program: one that breaks its promises on purpose, say.
        Some(binary) => (PathBuf::from(binary), crate::programs::build("power", false)?),
        None => (crate::programs::build("kapell", false)?, crate::programs::build("power", false)?),
    };
    let long = args.iter().any(|arg| arg == "--long");
    let states = value("--states").map_or(if long { LONG } else { SHORT }, String::as_str);
    let seed = value("--seed").map_or("1", String::as_str);
    let seen = std::cell::Cell::new(Seen::default());
    let check = |record: &Path, states: &str, more: &[&str]| -> Result<bool> {
        let out = Command::new(&checker)
            .arg(record)
            .args(["--states", states, "--seed", seed, "--jobs", "2", "--scratch"])
            .arg(quick_dir())
            .arg("--binary")
            .arg(&binary)
            .args(more)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("start {}", checker.display()))?;
        let said = String::from_utf8_lossy(&out.stdout);
        print!("{said}");
        if !more.contains(&"--control") {
            seen.set(seen.get().and(&said));
        }
        Ok(out.status.success())
    };
    if let Some(record) = value("--record") {
        let at = value("--at").context("--record DIR --at CUT:VARIANT")?;
        let mut more = vec!["--at", at];
        more.extend(value("--keep").into_iter().flat_map(|dir| ["--keep", dir.as_str()]));
        ensure!(check(Path::new(record), states, &more)?, "it does not hold");
        return Ok(());
    }
    let whole = Kept::whole(&binary)?;
    if let Some(control) = value("--control") {
        ensure!(check(&whole.dir, states, &["--control", control])?, "the control was not found out");
        return Ok(());
    }
    // Of a violation the record must stay: another run is another order of things.
    let held = |mut run: Kept, states: &str| -> Result<bool> {
        run.keep = !check(&run.dir, states, &[])?;
        Ok(!run.keep)
    };
    for control in ["nosync", "normal"] {
        ensure!(check(&whole.dir, CONTROL, &["--control", control])?, "a control was not found out");
    }
    ensure!(held(whole, states)?, "the promise does not hold");
    // A process that is killed while it commits, and one that reads what it left.
    let kills = if long { KILLS * 4 } else { KILLS };
    for nth in 0..kills {
        let run = Kept::killed(&binary, seed.parse::<u64>()? + nth)?;
        ensure!(held(run, &(states.parse::<u64>()? / KILLS / 2).to_string())?, "the promise does not hold");
    }
    let Seen { states, cuts } = seen.get();
    println!(
        "power: {states} states at {cuts} cuts of a whole run and {kills} killed ones: no violation; both controls found out"
    );
    Ok(())
}

/// What all checks together looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    states: u64,
    cuts: u64,
}

impl Seen {
    /// With what one more said: `...; 11100 states at 450 cuts in ...`.
    fn and(self, said: &str) -> Self {
        let words: Vec<&str> = said.split_whitespace().collect();
        let before = |what: &[&str]| -> u64 {
            let at = words.windows(what.len()).position(|part| part == what);
            at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
        };
        Self { states: self.states + before(&["states", "at"]), cuts: self.cuts + before(&["cuts", "in"]) }
    }
}

/// A recorded run: the operations and the store at the end.
struct Kept {
    dir: PathBuf,
    keep: bool,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.keep {
            // tidy: allow(recursive-delete): made by `Kept::of` with create_dir
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

impl Kept {
    /// The plot from its beginning to its end.
    fn whole(binary: &Path) -> Result<Self> {
        let stage = Stage::new(binary.to_owned(), LOOKS)?;
        let scene = stage.scene("scene")?;
        let acts = scene.act(Fault::Record { kill: 0 })?;
        let codes: Vec<_> = acts.iter().map(|act| act.code).collect();
        ensure!(codes == [Some(8), Some(0), Some(0)], "the scene itself fails: {acts:?}");
        Self::of(&scene)
    }

    /// Killed while it waits for the sync of a commit: the bytes are there, and may yet be lost. Who comes next reads
    /// them, and tells.
    fn killed(binary: &Path, nth: u64) -> Result<Self> {
        let stage = Stage::new(binary.to_owned(), 0)?;
        let scene = stage.scene("scene")?;
        let opening = scene.opening();
        let opening: Vec<&str> = opening.iter().map(String::as_str).collect();
        let count = stage.scene("count")?;
        count.step(Fault::Record { kill: 0 }, "run", &opening)?;
        let hits = std::fs::read_to_string(count.path("hits"))?;
        let syncs = hits.lines().filter(|line| line.contains("sync /home/data/kapell.db-wal"));
        let syncs: Vec<u64> = syncs.filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
        ensure!(syncs.len() > FIRST + 3, "only {} commits were counted", syncs.len());
        std::fs::remove_file(scene.record())?;
        let kill = syncs[FIRST + (nth as usize * 2 + nth as usize / 3) % (syncs.len() - FIRST)];
        let told = scene.step(Fault::Record { kill }, "run", &opening)?;
        ensure!(told.code.is_none(), "it was to be killed and ended with {:?}", told.code);
        let record = Fault::Record { kill: 0 };
        scene.step(record, "events", &["events", "last"])?;
        for round in ["resume-0", "resume-1", "resume-2", "resume-3"] {
            let ended = scene.step(record, round, &["resume", "last", "--output-format", "stream-json"])?;
            match ended.code {
                Some(0) => return Self::of(&scene),
                Some(8) => drop(scene.step(record, "approve", &["approve", "last", "--unseen", "--json"])?),
                other => bail!("resume ended with {other:?}: {}", ended.err),
            }
        }
        bail!("the session does not come to an end")
    }

    fn of(scene: &Scene<'_>) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = quick_dir().join(format!("kapell-power-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let kept = Self { dir, keep: false };
        std::fs::rename(scene.record(), kept.dir.join("ops"))?;
        std::fs::rename(scene.path("home/data"), kept.dir.join("data"))?;
        std::fs::write(kept.dir.join("root"), scene.path("").display().to_string().trim_end_matches('/'))?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_cuts_add_up() {
        let one =
            Seen::default().and("power: 9 operations, 3 promises; 600 states at 45 cuts in 7 s, 2 of them\n");
        assert_eq!(one, Seen { states: 600, cuts: 45 });
        assert_eq!(one.and("nothing of the kind"), one);
        assert_eq!(one.and("power: 1 states at 2 cuts in 3 s"), Seen { states: 601, cuts: 47 });
    }
}
