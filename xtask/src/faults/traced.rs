//! The same by strace, which stands below libc: a second opinion on the shim, and real calls made to fail by the kernel.
//!
//! strace counts per thread, so its n-th call is that of whichever thread gets there first: it reaches less than the
//! shim does, and needs nothing of ours inside the process. Start at [`run`].

use super::judge::judge;
use super::scene::{Fault, Stage};
use super::{Tally, told};
use crate::tools::Origin;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// What changes a file, as the kernel calls it and as the shim does.
const CALLS: [(&str, &str); 11] = [
    ("pwrite64", "pwrite"),
    ("write", "write"),
    ("fsync", "fsync"),
    ("fdatasync", "fdatasync"),
    ("ftruncate", "ftruncate"),
    ("unlink", "unlink"),
    ("openat", "open"),
    ("rename", "rename"),
    ("mkdir", "mkdir"),
    ("fallocate", "none"),
    ("io_uring_enter", "none"),
];
/// Calls that strace is told to fail, and how many of each there are before it is too late to.
const INJECTED: [(&str, u64); 4] = [("pwrite64", 60), ("fsync", 16), ("openat", 4), ("unlink", 2)];
/// What it does to them.
const HOW: [&str; 5] = [
    "signal=SIGKILL:when=#",
    "error=EIO:when=#",
    "error=EIO:when=#+",
    "error=ENOSPC:when=#",
    "error=ENOSPC:when=#+",
];

/// Compares what strace sees with what the shim saw, then lets strace do the harm at a sample of calls.
pub(super) fn run(stage: &Stage, calls: &[String], tally: &mut Tally, every: bool) -> Result<String> {
    crate::tools::need("strace", Origin::Debian("strace"))?;
    let (seen, missing) = compare(stage, calls)?;
    ensure!(missing.is_empty(), "calls on the store's files that go past the shim: {missing:?}");
    let (mut runs, mut hit) = (0, 0);
    for (at, (call, most)) in INJECTED.iter().enumerate() {
        for (turn, how) in HOW.iter().enumerate() {
            let one = 1 + (at * 7 + turn * 13) as u64 % most;
            for n in if every { 1..=*most } else { one..=one } {
                runs += 1;
                let inject = format!("inject={call}:{}", how.replace('#', &n.to_string()));
                match attempt(stage, &inject, how.starts_with("signal"), n) {
                    Ok(met) => hit += usize::from(met),
                    Err(error) => tally.violations.push(format!("VIOLATION: strace {inject}: {error:#}")),
                }
            }
        }
    }
    tally.runs += runs;
    tally.missed += runs - hit;
    if hit * 2 < runs {
        tally.violations.push(format!("strace did its harm in {hit} of {runs} runs only"));
    }
    Ok(format!(
        "strace sees {seen} calls on the store's files, the shim the same; {runs} runs with strace, harm done in {hit}"
    ))
}

/// False: there was no such call this time, and nothing happened.
fn attempt(stage: &Stage, inject: &str, killed: bool, n: u64) -> Result<bool> {
    let scene = stage.scene(&inject.replace(|c: char| !c.is_alphanumeric(), "-"))?;
    let acts = scene.act(Fault::Strace { inject })?;
    let seen = std::fs::read(scene.path("hits"))?;
    let met =
        acts.iter().any(|act| act.code.is_none()) || String::from_utf8_lossy(&seen).contains("(INJECTED)");
    judge(&scene, &acts, killed, n).with_context(|| told(&acts))?;
    Ok(met)
}

/// Calls on files below `data`, counted by both; what only strace has is missing.
fn compare(stage: &Stage, calls: &[String]) -> Result<(usize, Vec<String>)> {
    let scene = stage.scene("watched")?;
    let names: Vec<&str> = CALLS.iter().map(|(call, _)| *call).collect();
    let acts = scene.act(Fault::Watch { trace: &format!("trace={}", names.join(",")) })?;
    ensure!(acts.len() == 3, "the scene fails under strace: {acts:?}");
    let data = format!("{}/", scene.path("home/data").display());
    let text = std::fs::read_to_string(scene.path("hits"))?;
    let mut kernel: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains(&data) && !line.contains(" resumed>")) {
        let call = CALLS.iter().find(|(call, _)| line.contains(&format!(" {call}(")));
        let Some((call, name)) = call else { continue };
        let reads =
            *call == "openat" && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| line.contains(flag));
        if !reads {
            *kernel.entry(name).or_default() += 1;
        }
    }
    let mut shim: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.contains(" /data/")) {
        *shim.entry(call.split(' ').next().unwrap_or_default()).or_default() += 1;
    }
    // Two runs differ by a commit or two: two threads may share one.
    let fits = |name: &str, count: usize| {
        let own = shim.get(name).copied().unwrap_or(0);
        own.abs_diff(count) <= 4 + count / 4 && (own > 0 || count == 0)
    };
    let missing = kernel.iter().filter(|(name, count)| !fits(name, **count));
    let missing =
        missing.map(|(name, count)| format!("{name}: strace {count}, shim {:?}", shim.get(name))).collect();
    Ok((kernel.values().sum(), missing))
}
