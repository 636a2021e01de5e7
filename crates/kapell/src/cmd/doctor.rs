//! `doctor`: looks at everything Kapell needs, and says what is wrong and how to mend it.
//!
//! Mends nothing itself. Start at [`run`]; every line is a [`Finding`].

use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::quantity::bytes;
use crate::show::{clean, json_page};
use crate::{out, repo};
use contract::journal::Journal;
use kernel::fsm::Phase;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Note,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    level: Level,
    name: &'static str,
    what: String,
    /// What to type, when something is to be done.
    hint: String,
}

/// Less free disk than this is worth a word.
const LOW_DISK: u64 = 1 << 30;
/// Commits that are measured.
const COMMITS: u32 = 20;
/// A commit faster than this did not reach a disk, milliseconds per commit.
const NO_DISK_US: u128 = 20;
/// A program that does not tell its version in this time is broken, milliseconds.
const VERSION_MS: u64 = 10_000;

fn finding(level: Level, name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding { level, name, what: what.into(), hint: hint.into() }
}

/// Looks around; exit code 1 when something is wrong.
pub(crate) async fn run(app: &App) -> Result<u8, Failure> {
    let mut findings = vec![finding(Level::Ok, "kapell", env!("CARGO_PKG_VERSION"), "")];
    findings.extend(programs(app).await);
    findings.extend(roots(app));
    findings.extend(config(app));
    match app.look() {
        Ok(None) => findings.push(finding(Level::Ok, "store", "none yet; the first run makes it", "")),
        Ok(Some(wired)) => {
            findings.extend(store(app, &wired).await?);
            super::work::leave(wired).await;
        }
        Err(failure) => findings.push(finding(Level::Bad, "store", failure.fault.what, failure.fault.hint)),
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let code = if worst == Level::Bad { exit::FAILURE } else { exit::OK };
    print(app, &findings, code);
    Ok(code)
}

fn print(app: &App, findings: &[Finding], code: u8) {
    let word = |level| match level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Bad => "BAD",
    };
    if app.global.json {
        let findings = findings.iter().map(|f| {
            json!({"name": f.name, "level": word(f.level).to_lowercase(), "what": f.what, "hint": f.hint})
        });
        out::print(&json_page(&json!({"exit_code": code, "findings": findings.collect::<Vec<_>>()})));
        return;
    }
    let paint = app.term.paint();
    for finding in findings {
        let level = format!("{:<4}", word(finding.level));
        let level = match finding.level {
            Level::Ok => paint.good(&level),
            Level::Note => paint.warn(&level),
            Level::Bad => paint.bad(&level),
        };
        out::print(&format!("{level} {:<11} {}\n", finding.name, clean::line(&finding.what)));
        if !finding.hint.is_empty() {
            out::print(&format!("                 {}\n", clean::line(&finding.hint)));
        }
    }
}

/// git must be there; cargo and its tools only help.
async fn programs(app: &App) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, args, needed, hint) in [
        ("git", &["git", "--version"][..], true, "install git 2.39 or newer (Debian: sudo apt install git)"),
        ("cargo", &["cargo", "--version"], false, "only for Rust projects: https://rustup.rs"),
        (
            "clippy",
            &["cargo", "clippy", "--version"],
            false,
            "only for Rust projects: rustup component add clippy",
        ),
        (
            "rustfmt",
            &["cargo", "fmt", "--version"],
            false,
            "only for Rust projects: rustup component add rustfmt",
        ),
    ] {
        let command = sandbox::Command::argv(args.iter().copied(), &app.cwd).timeout_ms(VERSION_MS);
        let ended = sandbox::run(command, contract::Cancel::new(), &mut |_| {}).await;
        let bad = if needed { Level::Bad } else { Level::Note };
        findings.push(match ended {
            Ok(ended) if ended.ok() => finding(Level::Ok, name, first_line(ended.output.into_bytes()), ""),
            Ok(ended) => {
                finding(bad, name, format!("does not work: {}", first_line(ended.output.into_bytes())), hint)
            }
            Err(error) => finding(bad, name, error.to_string(), hint),
        });
    }
    findings
}

fn first_line(output: Vec<u8>) -> String {
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}

/// The roots, what is free, and what a commit costs.
fn roots(app: &App) -> Vec<Finding> {
    let home = &app.home;
    let origin = if crate::app::variable("KAPELL_HOME").is_some_and(|v| !v.is_empty()) {
        "KAPELL_HOME"
    } else {
        "XDG"
    };
    let mut findings = Vec::new();
    for (name, dir) in
        [("config", &home.config), ("data", &home.data), ("state", &home.state), ("cache", &home.cache)]
    {
        let what =
            format!("{} ({origin}{})", dir.display(), if dir.is_dir() { "" } else { ", not made yet" });
        findings.push(finding(Level::Ok, name, what, ""));
    }
    findings.push(disk(&home.data));
    if home.data.is_dir() {
        findings.push(commits(&home.data));
    }
    findings
}

fn disk(data: &Path) -> Finding {
    let there = data.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let what = format!("{} free", bytes(free));
            match free < LOW_DISK {
                true => finding(
                    Level::Note,
                    "disk",
                    what,
                    "free some space; kapell gc --dry-run shows what can go",
                ),
                false => finding(Level::Ok, "disk", what, ""),
            }
        }
        Err(error) => finding(Level::Note, "disk", format!("free space is not known: {error}"), ""),
    }
}

/// Writes and syncs a small file again and again: what every durable step has to pay.
fn commits(data: &Path) -> Finding {
    let path = data.join(format!(".doctor-{}", std::process::id()));
    let measured = measure(&path);
    // It was made a moment ago by this process; when it stays, the next doctor says nothing wrong.
    let _ = std::fs::remove_file(&path);
    match measured {
        Ok(us) if us < NO_DISK_US => {
            let what = format!("a commit takes {us} µs: nothing seems to reach a disk");
            finding(
                Level::Note,
                "commit",
                what,
                "after a power cut the newest events may be gone; use a real disk for KAPELL_HOME",
            )
        }
        Ok(us) => {
            let rate = 1_000_000 / us.max(1);
            finding(
                Level::Ok,
                "commit",
                format!(
                    "{}.{} ms, {rate} durable steps per second for one session",
                    us / 1000,
                    us % 1000 / 100
                ),
                "",
            )
        }
        Err(error) => {
            let hint = "make the data directory writable, or set KAPELL_HOME=/some/directory";
            finding(Level::Bad, "commit", format!("cannot write in {}: {error}", data.display()), hint)
        }
    }
}

fn measure(path: &Path) -> std::io::Result<u128> {
    let mut file = std::fs::File::create(path)?;
    let began = Instant::now();
    for _ in 0..COMMITS {
        file.write_all(b"commit\n")?;
        file.sync_data()?;
    }
    Ok(began.elapsed().as_micros() / u128::from(COMMITS))
}

fn config(app: &App) -> Vec<Finding> {
    let top = repo::find(&app.cwd).ok();
    let project = match &top {
        Some(top) => finding(Level::Ok, "project", top.display().to_string(), ""),
        None => finding(Level::Note, "project", "not inside a git repository", "cd to one, or: git init"),
    };
    let config = match app.config(top.as_deref()) {
        Err(failure) => {
            return vec![project, finding(Level::Bad, "settings", failure.fault.what, failure.fault.hint)];
        }
        Ok(config) => config,
    };
    let settings = [
        format!("model = {} ({})", config.model.value, config.model.origin),
        format!("ask = {} ({})", format!("{:?}", config.ask.value).to_lowercase(), config.ask.origin),
        format!("mode = {} ({})", config.mode.value, config.mode.origin),
        format!("land = {} ({})", config.land.value, config.land.origin),
    ];
    let budget = [
        ("money", &config.nanos),
        ("tokens", &config.tokens),
        ("steps", &config.steps),
        ("time", &config.time_ms),
    ];
    let capped = budget.into_iter().filter(|(_, of)| of.value != u64::MAX);
    let capped = capped.map(|(name, of)| format!("budget of {name} = {} ({})", of.value, of.origin));
    let mut findings = vec![project];
    findings.extend(settings.into_iter().chain(capped).map(|what| finding(Level::Ok, "settings", what, "")));
    let top = top.unwrap_or_default();
    if let Err(fault) = providers::open(&config.model.value, &top) {
        findings.push(finding(Level::Bad, "model", fault.what, fault.hint));
    }
    findings
}

/// The store, unfinished sessions, workspaces.
async fn store(app: &App, wired: &Wired) -> Result<Vec<Finding>, Failure> {
    let stats = wired.store.stats()?;
    let what = format!(
        "schema {}, {} in {} streams and {} blobs, log {}",
        stats.schema,
        bytes(stats.file_bytes),
        stats.streams,
        stats.blobs,
        bytes(stats.wal_bytes)
    );
    let mut findings = vec![finding(Level::Ok, "store", what, "")];
    let (mut held, mut stopped, mut waiting, mut broken) = (0, 0, 0, Vec::new());
    for listed in wired.store.sessions(true).await? {
        match wired.engine.look(listed.session).await {
            Err(fault) => broken.push(fault),
            Ok(_) if wired.locks.held(listed.session) => held += 1,
            Ok(Some(state)) if state.phase == Phase::Paused || state.waiting(app.now()).is_some() => {
                waiting += 1
            }
            Ok(_) => stopped += 1,
        }
    }
    let what = format!("{held} at work, {waiting} waiting, {stopped} stopped in the middle");
    findings.push(match stopped {
        0 => finding(Level::Ok, "sessions", what, ""),
        _ => finding(
            Level::Note,
            "sessions",
            what,
            "kapell resume --all goes on with them; kapell sessions lists them",
        ),
    });
    for fault in broken {
        findings.push(finding(Level::Bad, "sessions", fault.what, "kapell verify"));
    }
    let workspaces = wired.git.list()?;
    let size = workspaces.iter().map(|workspace| workspace.bytes).sum();
    let what = format!("{} with {}", workspaces.len(), bytes(size));
    findings.push(finding(
        Level::Ok,
        "workspaces",
        what,
        if workspaces.is_empty() { "" } else { "kapell gc removes those of ended sessions" },
    ));
    let left = records(&app.home.run_dir());
    if left > 0 && held == 0 {
        let what = format!("{left} records of programs that were running when Kapell died");
        findings.push(finding(
            Level::Note,
            "processes",
            what,
            "kapell resume ends what is left of them; kapell gc removes stale records",
        ));
    }
    Ok(findings)
}

/// Records of running programs, here and one level below.
fn records(dir: &Path) -> usize {
    let count = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "run")).count()
    };
    let below = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| count(&entry.path()))
        .sum::<usize>();
    count(dir) + below
}
