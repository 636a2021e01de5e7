//! Processes as the kernel shows them: who is below whom, who carries a mark, and whether all of them are gone.
//!
//! Knows nothing of sessions. Start at [`below`] and [`carrying`].

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a process may live after the one that started it was killed: what changes the user's repository comes to
/// its end by itself.
const GONE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(3);

/// A process, told apart from a later one of the same number by its start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    pid: u32,
    start: u64,
}

#[derive(Debug)]
struct Stat {
    process: Process,
    parent: u32,
    dead: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, a parenthesis too.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let (parent, start) = (fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?);
    Some(Stat { process: Process { pid, start }, parent, dead: matches!(fields[0], "Z" | "X") })
}

fn all() -> Vec<Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// A process and everything below it.
pub(super) fn below(pid: u32) -> Vec<Process> {
    let all = all();
    let mut found = BTreeSet::from([pid]);
    loop {
        let before = found.len();
        found.extend(
            all.iter()
                .filter(|stat| found.contains(&stat.parent))
                .map(|stat| stat.process.pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            break;
        }
    }
    all.into_iter().map(|stat| stat.process).filter(|process| found.contains(&process.pid)).collect()
}

/// The keeper of this process, if it has one by now.
pub(super) fn keeper(pid: u32) -> Option<u32> {
    let mut children =
        all().into_iter().filter(|stat| stat.parent == pid && !stat.dead).map(|stat| stat.process.pid);
    children.find(|pid| read(*pid, "cmdline").starts_with(b"kapell-helper\0"))
}

/// Living processes that carry the mark in their environment, their arguments or their directory.
fn carrying(mark: &str) -> Vec<Process> {
    let own = std::process::id();
    let has = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
    let marked = |pid: u32| {
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        has(&read(pid, "environ")) || has(&read(pid, "cmdline")) || has(cwd.as_os_str().as_encoded_bytes())
    };
    let found = all().into_iter().filter(|stat| !stat.dead && stat.process.pid != own);
    found.filter(|stat| marked(stat.process.pid)).map(|stat| stat.process).collect()
}

fn read(pid: u32, file: &str) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn living(process: &Process) -> bool {
    stat(process.pid).is_some_and(|stat| stat.process == *process && !stat.dead)
}

/// Waits until these have ended, and fails when they do not.
pub(super) fn all_gone(known: &[Process]) -> Result<()> {
    within(|| known.iter().filter(|process| living(process)).cloned().collect())
}

/// Waits until nothing that carries the mark is alive, and fails when something stays.
pub(super) fn nothing_carries(mark: &str) -> Result<()> {
    within(|| carrying(mark))
}

fn within(mut left: impl FnMut() -> Vec<Process>) -> Result<()> {
    let began = Instant::now();
    loop {
        let alive = left();
        if alive.is_empty() {
            return Ok(());
        }
        if began.elapsed() > GONE {
            let named: Vec<String> = alive.iter().map(|process| describe(process.pid)).collect();
            bail!("still alive {} s after the kill: {}", GONE.as_secs(), named.join("; "));
        }
        std::thread::sleep(LOOK);
    }
}

fn describe(pid: u32) -> String {
    let words = read(pid, "cmdline");
    let words: Vec<_> = words.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    format!("{pid} {}", words.join(" ").trim())
}

/// Sends a SIGKILL.
pub(super) fn kill(pid: u32) -> Result<()> {
    let status = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
    // It may have ended just now.
    status.map(drop).context("the program `kill`")
}

/// Waits for its end at most this long; its exit code.
pub(super) fn wait(child: &mut Child, patience: Duration) -> Result<Option<i32>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        if began.elapsed() >= patience {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs git in a directory; its standard output.
pub(super) fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let mut command = std::process::Command::new("git");
    let out = command.args(args).current_dir(dir).output().context("start git")?;
    ensure!(
        out.status.success(),
        "git {} failed in {}: {}",
        args.join(" "),
        dir.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_found_and_seen_to_go() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 600 & wait"]).spawn().unwrap();
        let mut seen = below(child.id());
        while seen.len() < 2 {
            std::thread::yield_now();
            seen = below(child.id());
        }
        seen.iter().for_each(|process| kill(process.pid).unwrap());
        child.wait().unwrap();
        all_gone(&seen).unwrap();
    }

    #[test]
    fn a_mark_is_found_in_the_environment() {
        let mark = format!("kapell-mark-{}", std::process::id());
        let mut child =
            std::process::Command::new("sleep").arg("600").env("SOME_MARK", &mark).spawn().unwrap();
        while carrying(&mark).is_empty() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_carries(&mark).unwrap();
    }
}
