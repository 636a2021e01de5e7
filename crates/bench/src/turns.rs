//! Whole turns through the binary: time to the first model request, time per tool turn, peak memory, what is left alive.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A conversation of `turns` tool turns, half shell and half edit.
fn script(turns: usize) -> String {
    let mut text = String::from(
        "[model]\ncontext_tokens = 1000000\noutput_tokens = 1000\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n",
    );
    for n in 0..turns {
        text.push_str("\n[[turn]]\ntext = \"\"\n[[turn.call]]\n");
        if n % 2 == 0 {
            text.push_str(&format!("tool = \"shell\"\nargs = {{ command = \"echo turn {n}\" }}\n"));
        } else {
            text.push_str(&format!(
                "tool = \"write\"\nargs = {{ path = \"notes/{n}.txt\", content = \"turn {n}\\n\" }}\n"
            ));
        }
    }
    text.push_str("\n[[turn]]\ntext = \"done\"\n");
    text
}

fn repository(dir: &Path) -> Result<PathBuf> {
    let repo = dir.join("repo");
    std::fs::create_dir_all(repo.join("src"))?;
    for n in 0..20 {
        std::fs::write(repo.join(format!("src/file{n}.txt")), "some text\n".repeat(50))?;
    }
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["add", "-A"],
        &["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "base"],
    ] {
        let status = Command::new("git").args(args).current_dir(&repo).status()?;
        if !status.success() {
            bail!("git {args:?} failed");
        }
    }
    Ok(repo)
}

/// One run of the binary: wall time, time of the first model action's start, peak memory.
fn once(binary: &Path, turns: usize) -> Result<(Duration, Duration, f64)> {
    let dir = tempfile::tempdir_in(".")?;
    let repo = repository(dir.path())?;
    let path = dir.path().join("script.toml");
    std::fs::write(&path, script(turns))?;
    let model = format!("builtin/script:{}", std::path::absolute(&path)?.display());
    let began = Instant::now();
    let wall = std::time::SystemTime::now();
    let mut child = Command::new(binary)
        .args([
            "run",
            "--no-land",
            "--ask",
            "never",
            "--output-format",
            "json",
            "--max-turns",
            "1000",
            "--model",
            &model,
            "count the turns",
        ])
        .current_dir(&repo)
        .env("KAPELL_TRUST", "all")
        .env("KAPELL_HOME", std::path::absolute(dir.path().join("home"))?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    let mut peak = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(tree_rss_mb(child.id()));
        std::thread::sleep(Duration::from_millis(2));
    };
    let took = began.elapsed();
    if !matches!(status.code(), Some(0 | 4)) {
        bail!("the run ended with {status}");
    }
    let first = first_model(binary, dir.path(), wall)?;
    Ok((took, first, peak))
}

/// When the first model action started, by the journal.
fn first_model(binary: &Path, dir: &Path, since: std::time::SystemTime) -> Result<Duration> {
    let out = Command::new(binary)
        .args(["events", "last"])
        .env("KAPELL_TRUST", "all")
        .env("KAPELL_HOME", std::path::absolute(dir.join("home"))?)
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let line = text
        .lines()
        .find(|line| line.contains("\"started\"") && line.contains("\"model\""))
        .context("no model action")?;
    let value: serde_json::Value = serde_json::from_str(line)?;
    let at: contract::Timestamp = serde_json::from_value(value["at"].clone())?;
    let since = since.duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;
    Ok(Duration::from_millis(at.0.saturating_sub(since)))
}

/// Resident memory of a process and everything below it, in MB.
fn tree_rss_mb(root: u32) -> f64 {
    let mut total = 0.0;
    let mut queue = vec![root];
    while let Some(pid) = queue.pop() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        total +=
            line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or_default() / 1024.0;
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        queue.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    total
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let binary = PathBuf::from(args.first().context("the path of the kapell binary")?);
    println!(
        "turns   first request ms   per tool turn ms   whole s   peak RSS MB (with children)   of bare spawns"
    );
    for turns in [5_usize, 50] {
        let mut runs = Vec::new();
        for _ in 0..5 {
            runs.push(once(&binary, turns)?);
        }
        runs.sort_by_key(|run| run.0);
        let (took, first, peak) = runs[runs.len() / 2];
        let per_turn = took.saturating_sub(first).as_secs_f64() * 1e3 / turns as f64;
        let bare = bare_spawn_ms()?;
        println!(
            "{turns:>5} {:>18.0} {per_turn:>18.1} {:>9.2} {peak:>29.1}   x{:.1} of one bare `sh -c` spawn ({bare:.2} ms)",
            first.as_secs_f64() * 1e3,
            took.as_secs_f64(),
            per_turn / bare
        );
    }
    Ok(())
}

/// The floor: what one shell command costs without anything around it.
fn bare_spawn_ms() -> Result<f64> {
    let began = Instant::now();
    for _ in 0..50 {
        Command::new("sh").args(["-c", "echo x"]).stdout(Stdio::null()).status()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3 / 50.0)
}
