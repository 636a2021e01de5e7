//! `demo`: makes a small repository that does not pass its checks, fixes it through the whole workflow, shows everything.
//!
//! Needs cargo and git; no key, no account, no network. The work goes the way of `run`. Start at [`run`].

use super::run::{Plan, spec, start};
use super::work::{Work, leave};
use super::{diff, why};
use crate::app::{App, Wired};
use crate::args::{Format, OutputOptions, RunOptions};
use crate::config::Config;
use crate::exit::Failure;
use crate::out;
use crate::pick::short;
use crate::show::json_line;
use crate::show::result::Summary;
use contract::{Cancel, SessionId};
use providers::Registry;
use std::path::{Path, PathBuf};

/// What is asked for.
const GOAL: &str = "make the tests and clippy pass";
/// The files of the repository.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../demo/Cargo.toml.txt")),
    ("Cargo.lock", include_str!("../demo/Cargo.lock.txt")),
    ("src/lib.rs", include_str!("../demo/lib.rs.txt")),
    ("tests/tally.rs", include_str!("../demo/tally.rs.txt")),
    (".gitignore", "/target\n"),
];
/// Names that are tried for the directory.
const NAMES: u32 = 1_000;
/// Time for one git command, milliseconds.
const GIT_MS: u64 = 60_000;
/// Actions of `why` that are shown.
const WHYS: usize = 3;

/// Shows what Kapell does; the exit code.
pub(crate) async fn run(app: &App, dir: Option<PathBuf>) -> Result<u8, Failure> {
    let work = Work::new(app, &OutputOptions::default())?;
    let done = demo(app, &work, dir).await;
    done.map_err(|failure| super::run::told(work.format, failure))
}

async fn demo(app: &App, work: &Work<'_>, dir: Option<PathBuf>) -> Result<u8, Failure> {
    let mut signals = Work::signals()?;
    let dir = make(app, dir).await?;
    if !app.global.quiet {
        out::complain(&format!(
            "a repository with a failing test and lint warnings is in {}\n",
            dir.display()
        ));
    }
    let top = crate::repo::find_text(&dir)?;
    // Its own settings: the demonstration shows the same to everybody.
    let spec = spec(GOAL, top, &Config::default(), RunOptions::default(), &Registry::default())?;
    let wired = app.wire_to_work(&app.config(None)?)?;
    let plan = Plan { goal: GOAL.to_owned(), spec, timeout: None };
    let done = match start(work, &wired, plan, &mut signals).await {
        Ok(summary) => show(work, &wired, &summary, &dir).await.map(|()| summary.code),
        Err(failure) => Err(failure),
    };
    leave(wired).await;
    done
}

async fn show(work: &Work<'_>, wired: &Wired, summary: &Summary, dir: &Path) -> Result<(), Failure> {
    if work.format != Format::Text {
        let mut record = summary.json();
        record["repo"] = dir.display().to_string().into();
        out::print(&json_line(&record));
        return Ok(());
    }
    let Some(session) = summary.session() else { return work.write(summary) };
    let heading = |text: &str| out::print(&format!("\n=== {text}\n\n"));
    heading("result");
    work.write(summary)?;
    heading("diff");
    let (diff, _) = diff::change(wired, session).await?;
    out::print(&crate::show::clean::text(&String::from_utf8_lossy(&diff)));
    heading(&format!("events (all: kapell events {})", short(session)));
    out::print(&events(wired, session).await?);
    heading(&format!("why (all: kapell why {})", short(session)));
    out::print(&why::newest(wired, session, WHYS).await?);
    out::print(&format!("\nThe repository is in {}: git -C {0} log -p\n", dir.display()));
    Ok(())
}

/// One line per kind of event, in the order of their first appearance.
async fn events(wired: &Wired, session: SessionId) -> Result<String, Failure> {
    let stream = contract::StreamId::Session(session);
    let records = engine::store::records::<contract::Event>(&*wired.store, stream).await?;
    let mut kinds: Vec<(String, u64)> = Vec::new();
    for record in &records {
        let name = crate::show::progress::name(&record.event);
        match kinds.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => kinds.push((name, 1)),
        }
    }
    let kinds: Vec<String> = kinds.iter().map(|(name, count)| format!("{count} {name}")).collect();
    Ok(format!("{} events: {}\n", records.len(), kinds.join(", ")))
}

/// A repository in a directory of its own.
async fn make(app: &App, dir: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let fault = |dir: &Path, error: &std::io::Error| {
        let what = format!("cannot make the repository in {}: {error}", dir.display());
        Failure::usage(
            "demo-directory",
            what,
            "name a directory that is empty or does not exist: kapell demo --dir DIR",
        )
    };
    let dir = match dir {
        Some(dir) => {
            std::fs::create_dir_all(&dir).map_err(|error| fault(&dir, &error))?;
            let used = std::fs::read_dir(&dir).map_err(|error| fault(&dir, &error))?.next().is_some();
            if used {
                return Err(fault(&dir, &std::io::ErrorKind::DirectoryNotEmpty.into()));
            }
            std::path::absolute(&dir).unwrap_or(dir)
        }
        None => fresh().map_err(|error| fault(&std::env::temp_dir(), &error))?,
    };
    for (name, text) in FILES {
        let path = dir.join(name);
        let made =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        made.map_err(|error| fault(&dir, &error))?;
    }
    git(app, &dir, &["init", "--quiet", "--initial-branch=main"]).await?;
    git(app, &dir, &["add", "--all"]).await?;
    git(app, &dir, &["commit", "--quiet", "--message", "A crate that does not pass its checks"]).await?;
    Ok(dir)
}

/// A directory that nobody has yet.
fn fresh() -> std::io::Result<PathBuf> {
    let temp = std::env::temp_dir();
    for n in 1..=NAMES {
        let dir = temp.join(format!("kapell-demo-{n}"));
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| dir),
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

/// A git command with an identity of its own, and nothing of the person's that could ask or run.
async fn git(app: &App, dir: &Path, args: &[&str]) -> Result<(), Failure> {
    const OWN: [&str; 9] = [
        "git",
        "-c",
        "user.name=Kapell demo",
        "-c",
        "user.email=demo@localhost",
        "-c",
        "commit.gpgSign=false",
        "-c",
        "core.hooksPath=/dev/null",
    ];
    let argv = OWN.iter().chain(args).copied();
    let command = sandbox::Command::argv(argv, dir).timeout_ms(GIT_MS).record(app.home.run_dir());
    let ended = sandbox::run(command, Cancel::new(), &mut |_| {}).await.map_err(contract::Fault::from)?;
    if ended.ok() {
        return Ok(());
    }
    let said = crate::show::clean::line(&String::from_utf8_lossy(&ended.output.into_bytes()));
    Err(Failure::failed("git-failed", format!("`git {}` failed: {said}", args.join(" ")), "kapell doctor"))
}
