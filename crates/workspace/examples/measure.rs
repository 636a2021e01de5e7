//! Measures what the workspace costs: `cargo run --release -p workspace --example measure [files ...]`.
//! Makes its own repositories in a temporary directory. Start at `main`.

use contract::checks::{CheckOutput, Report};
use contract::workspace::{Landing, Origin, Ready, Workspace};
use contract::{Cancel, SessionId};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use workspace::{Git, Options};

/// Repetitions per figure.
const ROUNDS: usize = 25;
/// Files per directory of a made repository.
const FILES_PER_DIRECTORY: usize = 40;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![20, 10_000, 100_000] } else { sizes };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for files in sizes {
        runtime.block_on(measure(files));
    }
}

fn git(dir: &Path, args: &[&str]) {
    let status = Command::new("/usr/bin/git").args(args).current_dir(dir).status().expect("git runs");
    assert!(status.success(), "git {args:?}");
}

fn repository(dir: &Path, files: usize) {
    std::fs::create_dir(dir).expect("a directory");
    git(dir, &["init", "-q", "-b", "main"]);
    git(dir, &["config", "user.name", "M"]);
    git(dir, &["config", "user.email", "m@localhost"]);
    for number in 0..files {
        let parent = dir.join(format!(
            "d{:03}/e{:02}",
            number / FILES_PER_DIRECTORY / 16,
            number / FILES_PER_DIRECTORY % 16
        ));
        if number % FILES_PER_DIRECTORY == 0 {
            std::fs::create_dir_all(&parent).expect("a directory");
        }
        std::fs::write(parent.join(format!("file{number}.txt")), format!("file {number}\n").repeat(20))
            .expect("a file");
    }
    std::fs::write(dir.join(".gitignore"), "target/\n*.log\n").expect("a file");
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", "start"]);
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |at: usize| times[at.min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("  {what:<34} p50 {:>8.2} ms   p95 {:>8.2} ms", ms(times.len() / 2), ms(times.len() * 95 / 100));
}

/// Processor time this process has used, milliseconds; clock ticks are 10 ms on Linux.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * 10.0
}

async fn measure(files: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let repo = dir.path().join("repo");
    repository(&repo, files);
    let state = || dir.path().join("state");
    let workspace = Git::new(state(), dir.path().join("cache"), Options::default());
    let origin = Origin { repo: repo.clone(), base: None, target: None, worked: false };
    println!("{files} files");
    let mut number = 0;
    let mut session = || {
        number += 1;
        SessionId::v7(1, number)
    };
    let rounds = if files > 1000 { 3 } else { ROUNDS };
    let mut times = Vec::new();
    for _ in 0..rounds {
        let (id, start) = (session(), Instant::now());
        workspace.prepare(id, origin.clone()).await.expect("prepared");
        times.push(start.elapsed());
    }
    show("prepare", times);
    let id = session();
    let ready = workspace.prepare(id, origin.clone()).await.expect("prepared");
    let start = Instant::now();
    workspace.savepoint(id, "0.0".into()).await.expect("saved");
    show("savepoint, first", vec![start.elapsed()]);
    let cold = Git::new(state(), dir.path().join("cache"), Options::default());
    let start = Instant::now();
    cold.savepoint(id, "0.1".into()).await.expect("saved");
    show("savepoint, first of a process", vec![start.elapsed()]);
    tokio::time::sleep(Duration::from_millis(40)).await;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        git(&ready.root, &["--no-optional-locks", "status", "--porcelain"]);
        times.push(start.elapsed());
    }
    show("for scale: git status", times);
    for (what, change) in [("savepoint, unchanged", false), ("savepoint, 1 file changed", true)] {
        let cpu = cpu_ms();
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            if change {
                std::fs::write(ready.root.join("d000/e00/file1.txt"), format!("round {round}"))
                    .expect("written");
            }
            let start = Instant::now();
            workspace.savepoint(id, format!("1.{change}{round}")).await.expect("saved");
            times.push(start.elapsed());
        }
        show(what, times);
        println!("  {:<34} {:>12.2} ms of processor", "", (cpu_ms() - cpu) / ROUNDS as f64);
    }
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        workspace.restore(id, format!("1.true{round}")).await.expect("restored");
        times.push(start.elapsed());
    }
    show("restore, 1 file", times);
    commit_and_land(&workspace, id, &origin, &ready, rounds).await;
}

async fn commit_and_land(workspace: &Git, id: SessionId, origin: &Origin, ready: &Ready, rounds: usize) {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        std::fs::write(ready.root.join("d000/e00/file1.txt"), format!("commit {round}")).expect("written");
        let start = Instant::now();
        workspace.commit(id, "work".into()).await.expect("committed");
        times.push(start.elapsed());
    }
    show("commit, 1 file changed", times);
    let (mut times, mut base) = (Vec::new(), ready.base.clone());
    for round in 0..rounds {
        std::fs::write(ready.root.join("d000/e00/file1.txt"), format!("land {round}")).expect("written");
        let result = workspace.commit(id, "work".into()).await.expect("committed");
        let start = Instant::now();
        let landing =
            Landing { base: base.clone(), result: result.clone(), target: ready.target.clone(), land: true };
        let check = |result: String| -> contract::BoxFuture<'_, _> {
            let report = Report { base: String::new(), result, same_tree: false, runs: Vec::new() };
            Box::pin(async move { Ok((true, CheckOutput { report, blobs: Vec::new() })) })
        };
        let landed =
            workspace.integrate(id, origin.clone(), landing, &check, Cancel::new()).await.expect("landed");
        assert!(landed.integrated.landed.is_some(), "{:?}", landed.integrated);
        times.push(start.elapsed());
        base = result;
    }
    show("integrate, fast-forward", times);
}
