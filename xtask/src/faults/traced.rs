//! The same by strace, which stands below libc: a second opinion on the shim, and real calls made to fail by the kernel.
//!
//! strace counts per thread, so its n-th call is that of whichever thread gets there first: it reaches less than the
//! shim does, and needs nothing of ours inside the process. Start at [`run`].

use super::judge::judge;
use super::scene::{Fault, SHIM_HITS, STORE, Stage};
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
/// Calls that strace is told to fail, and at how many of each at most.
const INJECTED: [(&str, u64); 3] = [("pwrite64", 60), ("fsync", 16), ("openat", 4)];
/// What it does to them.
const HOW: [&str; 5] = [
    "signal=SIGKILL:when=#",
    "error=EIO:when=#",
    "error=EIO:when=#+",
    "error=ENOSPC:when=#",
    "error=ENOSPC:when=#+",
];

/// Compares what strace sees with what the shim saw, then lets strace do the harm at a sample of calls.
pub(super) fn run(stage: &Stage, tally: &mut Tally, every: bool) -> Result<String> {
    crate::tools::need("strace", Origin::Debian("strace"))?;
    let Watched { seen, missing, reached } = compare(stage)?;
    ensure!(missing.is_empty(), "calls on the store's files that go past the shim: {missing:?}");
    let (mut runs, mut hit) = (0, 0);
    for (at, (call, most)) in INJECTED.iter().enumerate() {
        // What no thread got to while nothing was wrong, none gets to now.
        let most = reached.get(call).copied().unwrap_or(0).min(*most);
        ensure!(most > 0, "strace saw no {call} on the store's files");
        for (turn, how) in HOW.iter().enumerate() {
            let one = 1 + (at * 7 + turn * 13) as u64 % most;
            for n in if every { 1..=most } else { one..=one } {
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

/// What strace saw of a run in which nothing goes wrong.
struct Watched {
    /// Calls on files below `data`.
    seen: usize,
    /// What only strace has.
    missing: Vec<String>,
    /// By call: how many the busiest thread made on the store's own files.
    reached: BTreeMap<&'static str, u64>,
}

/// Calls on files below `data`, counted by both in one run.
fn compare(stage: &Stage) -> Result<Watched> {
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
    let calls = scene.calls(SHIM_HITS)?;
    for call in calls.iter().filter(|call| call.contains(" /data/")) {
        *shim.entry(call.split(' ').next().unwrap_or_default()).or_default() += 1;
    }
    // What the shim sees besides is no harm: one call of libc's may come to nothing.
    let missing = kernel.iter().filter(|(name, count)| shim.get(*name).is_none_or(|own| own < count));
    let missing =
        missing.map(|(name, count)| format!("{name}: strace {count}, shim {:?}", shim.get(name))).collect();
    let files: Vec<String> = STORE.iter().map(|file| format!("{data}{file}")).collect();
    Ok(Watched { seen: kernel.values().sum(), missing, reached: busiest(&text, &files) })
}

/// From strace's lines (`PID call(...`), one process or thread each: the most calls any made on one of these files.
fn busiest(text: &str, files: &[String]) -> BTreeMap<&'static str, u64> {
    let mut threads: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    for line in text.lines().filter(|line| files.iter().any(|file| names(line, file))) {
        let call = INJECTED.iter().find(|(call, _)| line.contains(&format!(" {call}(")));
        if let (Some((call, _)), Some(thread)) = (call, line.split_whitespace().next()) {
            *threads.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in threads {
        most.entry(call).and_modify(|most: &mut u64| *most = count.max(*most)).or_insert(count);
    }
    most
}

/// Does the line name this very file, as a path or as what a descriptor stands for?
fn names(line: &str, file: &str) -> bool {
    line.match_indices(file).any(|(at, _)| line[at + file.len()..].starts_with(['"', '>']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_thread_says_how_far_one_can_count() {
        let text = "7 pwrite64(9</d/kapell.db-wal>, \"x\", 4096, 0) = 4096\n\
                    7 pwrite64(9</d/kapell.db-wal>, \"x\", 4096, 0) = 4096\n\
                    8 pwrite64(9</d/kapell.db-wal>, \"x\", 4096, 0) = 4096\n\
                    8 pwrite64(9</d/other>, \"x\", 4096, 0) = 4096\n\
                    8 openat(AT_FDCWD, \"/d/kapell.db\", O_RDWR) = 9\n\
                    8 openat(AT_FDCWD, \"/d/kapell.db-shm\", O_RDWR) = 10\n";
        let files = ["/d/kapell.db".to_owned(), "/d/kapell.db-wal".to_owned()];
        assert_eq!(busiest(text, &files), BTreeMap::from([("pwrite64", 2), ("openat", 1)]));
    }
}
