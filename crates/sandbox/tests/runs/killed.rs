//! What is left when the process that runs the commands is itself killed.
//! Knows nothing of the inside. Start at [`nothing_outlives_a_killed_kapell`].
//!
//! The victim is this test binary, started again for one ignored test.

use super::{alive, go, shell, unique, until};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const LINE: &str = "KAPELL_TEST_LINE";
const DIR: &str = "KAPELL_TEST_DIR";

/// Runs the line it is told to, until it is killed.
#[test]
#[ignore = "a part that others start"]
fn victim() {
    if let (Ok(line), Ok(dir)) = (std::env::var(LINE), std::env::var(DIR)) {
        go(shell(&line).record(dir)).unwrap();
    }
}

/// Killed at the end, whatever becomes of the test.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _dead_already = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Starts a victim and waits until its command says so.
fn start(seconds: &str, line: &str, dir: &Path) -> Victim {
    let ready = dir.join("ready");
    rustix::fs::mkfifoat(rustix::fs::CWD, &ready, 0o600.into()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "killed::victim"])
        .env(LINE, format!("{line}; echo ready > '{}'; sleep {seconds}", ready.display()))
        .env(DIR, dir.join("records"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = String::new();
    BufReader::new(std::fs::File::open(&ready).unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told, "ready\n");
    Victim(child)
}

/// Every way out that is known: background, own session, orphaned, environment cleared, output elsewhere.
fn escapes(seconds: &str) -> String {
    format!(
        "trap '' INT TERM HUP; sleep {seconds} & setsid sleep {seconds} & nohup sleep {seconds} >/dev/null 2>&1 & \
         (env -i setsid sleep {seconds} >/dev/null 2>&1 </dev/null &) ; \
         setsid sh -c 'env -i setsid sleep {seconds} >/dev/null 2>&1 </dev/null & exit'"
    )
}

#[test]
fn nothing_outlives_a_killed_kapell() {
    let (dir, seconds) = (tempfile::tempdir().unwrap(), unique());
    let victim = start(&seconds, &escapes(&seconds), dir.path());
    assert!(alive(&seconds));
    drop(victim);
    until("everything killed", || !alive(&seconds));
    let swept = sandbox::sweep(&dir.path().join("records")).unwrap();
    // At most the warden itself, on its way out.
    assert!(swept.killed <= 1 && swept.left == 0, "{swept:?}");
}

#[test]
fn a_sweep_finds_what_outlived_the_wardens() {
    let (dir, seconds) = (tempfile::tempdir().unwrap(), unique());
    let line = format!("sleep {seconds} & setsid sleep {seconds} & env -i setsid sleep {seconds} & :");
    let victim = start(&seconds, &line, dir.path());
    // The keeper first, then the warden, then Kapell: nobody is there to kill anything.
    let records = dir.path().join("records");
    let record = std::fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let warden = || {
        let text = std::fs::read_to_string(&record).unwrap();
        let line =
            text.split_inclusive('\n').find_map(|line| line.strip_prefix("warden ")?.strip_suffix('\n'));
        line.and_then(|line| line.split(' ').next().map(str::to_owned))
    };
    until("the warden is on record", || warden().is_some());
    let warden = warden().unwrap();
    let parent = format!("$(ps -o ppid= -p {warden})");
    Command::new("sh")
        .args(["-c", &format!("kill -9 {parent} {warden} {}", victim.0.id())])
        .status()
        .unwrap();
    drop(victim);
    assert!(alive(&seconds), "this test would prove nothing");
    let swept = sandbox::sweep(&records).unwrap();
    assert!(swept.killed >= 3 && swept.left == 0, "{swept:?}");
    assert!(!alive(&seconds));
    assert_eq!(std::fs::read_dir(&records).unwrap().count(), 0);
}

#[test]
fn nothing_leaves_the_group_of_its_warden() {
    if let Err(why) = sandbox::groups() {
        return eprintln!("SKIPPED 1 case: {why}");
    }
    let (dir, seconds) = (tempfile::tempdir().unwrap(), unique());
    // Nothing of it is the command's any more: session, parents, environment.
    let daemon = format!("env -i setsid sleep {seconds} >/dev/null 2>&1 </dev/null &");
    let victim = start(&seconds, &format!("setsid sh -c '{daemon}'"), dir.path());
    let records = dir.path().join("records");
    let record = std::fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let text = || std::fs::read_to_string(&record).unwrap();
    let named = |word: &str| {
        let text = text();
        let line = text.lines().find_map(|line| line.strip_prefix(word))?;
        Some(line.split(' ').next().unwrap().to_owned())
    };
    until("its group is on record", || text().ends_with('\n') && named("group ").is_some());
    let (group, warden, leader) =
        (named("group ").unwrap(), named("warden ").unwrap(), named("leader ").unwrap());
    let parent = format!("$(ps -o ppid= -p {warden})");
    let line = format!("kill -9 {parent} {warden} {} {leader}", victim.0.id());
    Command::new("sh").args(["-c", &line]).status().unwrap();
    drop(victim);
    assert!(alive(&seconds), "this test would prove nothing");
    assert!(Path::new(&group).join("cgroup.procs").exists(), "{group}");
    let swept = sandbox::sweep(&records).unwrap();
    assert!(swept.killed >= 1 && swept.left == 0, "{swept:?}");
    assert!(!alive(&seconds) && !Path::new(&group).exists());
}
