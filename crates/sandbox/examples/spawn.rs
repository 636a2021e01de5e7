//! What running a command through the sandbox costs beside a plain one, in the same run, confined and not; and what a
//! thousand commands that leave processes behind leave of them. `cargo xtask bench spawn`; a command, never a test.
//!
//! Start at [`main`]. Plain: the standard library's, with a pipe for the output, read to its end, then waited for.

use contract::Cancel;
use contract::confine::Confinement;
use sandbox::{Command, run};
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn main() {
    sandbox::helper::dispatch();
    let quick = std::env::args().any(|arg| arg == "--quick");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        costs(if quick { 20 } else { 1_000 }).await;
        orphans(if quick { 10 } else { 1_000 }).await;
    });
}

/// One after the other in turns, so that a busy machine is busy for both.
async fn costs(rounds: usize) {
    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>6} {:>11} {:>9} {:>9}",
        "", "plain us", "ours us", "p90 us", "ratio", "confined us", "p90 us", "- plain"
    );
    let workspace = std::env::temp_dir().join(format!("kapell-bench-ws-{}", std::process::id()));
    std::fs::create_dir_all(&workspace).expect("a workspace");
    let asked = Confinement { workspace: workspace.clone(), ..Confinement::default() };
    match sandbox::in_force(&asked) {
        Ok(held) => println!("confined = {held}"),
        Err(error) => println!("SKIPPED: confined: {error}"),
    }
    let records = std::env::temp_dir().join(format!("kapell-bench-{}", std::process::id()));
    for (name, argv, record) in [
        ("/bin/true", vec!["/bin/true"], false),
        ("/bin/true, with a record on disk", vec!["/bin/true"], true),
        ("git --version", vec!["git", "--version"], true),
        ("bash -c 'ls; ls'", vec!["/bin/bash", "-c", "ls; ls"], true),
    ] {
        let (mut theirs, mut ours, mut confined) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds + 5 {
            let plain = plain(&argv);
            let mut command = Command::argv(argv.iter().copied(), "/");
            let mut held = command.clone().confine(asked.clone());
            if record {
                (command, held) = (command.record(&records), held.record(&records));
            }
            let began = Instant::now();
            let ended = run(command, Cancel::new(), &mut |_| ()).await.expect("it runs");
            assert!(ended.ok());
            // The first ones start the keeper and warm caches.
            if round >= 5 {
                theirs.push(plain);
                ours.push(began.elapsed());
            }
            let began = Instant::now();
            if let Ok(ended) = run(held, Cancel::new(), &mut |_| ()).await {
                assert!(ended.ok());
                confined.push(began.elapsed());
            }
        }
        theirs.sort_unstable();
        ours.sort_unstable();
        let us = |times: &[Duration], percent: usize| times[times.len() * percent / 100].as_micros();
        let (floor, cost) = (us(&theirs, 50), us(&ours, 50));
        let ratio = cost as f64 / floor as f64;
        confined.sort_unstable();
        let held = if confined.is_empty() { [0, 0] } else { [us(&confined, 50), us(&confined, 90)] };
        println!(
            "{name:<34} {floor:>9} {cost:>9} {:>9} {ratio:>6.2} {:>11} {:>9} {:>9}",
            us(&ours, 90),
            held[0],
            held[1],
            held[0].saturating_sub(floor)
        );
    }
    let _empty = std::fs::remove_dir(records);
    // Its git directory was made to be closed.
    let _gone = std::fs::remove_dir(workspace.join(".git"));
    let _gone = std::fs::remove_dir(workspace);
}

fn plain(argv: &[&str]) -> Duration {
    let began = Instant::now();
    let mut command = std::process::Command::new(argv[0]);
    command.args(&argv[1..]).current_dir("/").stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut output = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut output).expect("its output");
    assert!(child.wait().expect("it ends").success());
    began.elapsed()
}

/// Every way to stay behind that is known, again and again.
async fn orphans(rounds: usize) {
    let line =
        "sleep 987654 & setsid sleep 987654 & (env -i setsid sleep 987654 >/dev/null 2>&1 </dev/null &)";
    let before = descendants();
    let mut killed = 0;
    for _ in 0..rounds {
        let ended = run(Command::shell(line, "/"), Cancel::new(), &mut |_| ()).await.expect("it runs");
        assert_eq!(ended.left, 0);
        killed += ended.survivors;
    }
    println!(
        "{rounds} commands left {killed} processes behind, all killed; processes below this one before {before}, \
         after {}",
        descendants()
    );
}

/// Processes that have this one above them.
fn descendants() -> usize {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let below = |pid: &&u32| {
        let mut above = parent(**pid);
        while let Some(next) = above.filter(|next| *next > 1) {
            if next == std::process::id() {
                return true;
            }
            above = parent(next);
        }
        false
    };
    pids.iter().filter(below).count()
}
