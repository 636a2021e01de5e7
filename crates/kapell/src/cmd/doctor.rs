//! `doctor`: looks at everything Kapell needs, and says what is wrong and how to mend it.
//!
//! Mends nothing itself. Start at [`run`]; every line is a [`Finding`].

mod cage;
mod disk;
pub(super) mod places;

use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::finding::{Finding, Level, worst};
use crate::quantity::bytes;
use crate::show::json_page;
use crate::{out, repo};
use contract::journal::Journal;
use contract::model::Models;
use kernel::fsm::Phase;
use serde_json::json;

/// A program that does not tell its version in this time is broken, milliseconds.
const VERSION_MS: u64 = 10_000;

/// Looks around; exit code 1 when something is wrong.
pub(crate) async fn run(app: &App) -> Result<u8, Failure> {
    let mut findings = around(app).await;
    match app.look() {
        Ok(None) => findings.push(Finding::ok("store", "none yet; the first run makes it")),
        Ok(Some(wired)) => {
            findings.extend(store(app, &wired).await?);
            super::work::leave(wired).await;
        }
        Err(failure) => findings.push(Finding::bad("store", failure.fault.what, failure.fault.hint)),
    }
    let code = if worst(&findings) == Level::Bad { exit::FAILURE } else { exit::OK };
    print(app, &findings, code);
    Ok(code)
}

/// The same over a store that is open, for programs.
pub(super) async fn value(app: &App, wired: &Wired) -> Result<serde_json::Value, Failure> {
    let mut findings = around(app).await;
    findings.extend(store(app, wired).await?);
    Ok(json!({"findings": findings.iter().map(Finding::json).collect::<Vec<_>>()}))
}

/// Everything but the store.
async fn around(app: &App) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("kapell", env!("CARGO_PKG_VERSION"))];
    findings.extend(programs(app).await);
    findings.push(groups());
    findings.extend(cage::findings(app));
    findings.extend(roots(app));
    findings.extend(config(app));
    findings
}

fn print(app: &App, findings: &[Finding], code: u8) {
    if app.global.json {
        let findings: Vec<_> = findings.iter().map(Finding::json).collect();
        return out::print(&json_page(&json!({"exit_code": code, "findings": findings})));
    }
    let paint = app.term.paint();
    out::print(&findings.iter().map(|finding| finding.text(paint)).collect::<String>());
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
        let bad = if needed { Finding::bad } else { Finding::note };
        findings.push(match ended {
            Ok(ended) if ended.ok() => Finding::ok(name, first_line(ended.output.into_bytes())),
            Ok(ended) => bad(name, format!("does not work: {}", first_line(ended.output.into_bytes())), hint),
            Err(error) => bad(name, error.to_string(), hint),
        });
    }
    findings
}

/// Whether commands can be held to limits. Nothing else depends on it.
fn groups() -> Finding {
    match sandbox::groups() {
        Ok(what) => Finding::ok("cgroup", what),
        Err(why) => Finding::note(
            "cgroup",
            format!("{why}: commands have no limit of memory, and are ended one by one"),
            "run kapell under `systemd-run --user --scope -p Delegate=yes` to have one",
        ),
    }
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
        findings.push(Finding::ok(name, what));
    }
    findings.extend(disk::free(home));
    if home.data.is_dir() {
        findings.push(disk::commits(&home.data));
    }
    findings
}

fn config(app: &App) -> Vec<Finding> {
    let top = repo::find(&app.cwd).ok();
    let project = match &top {
        Some(top) => Finding::ok("project", top.display().to_string()),
        None => Finding::note("project", "not inside a git repository", "cd to one, or: git init"),
    };
    let config = match app.config(top.as_deref()) {
        Err(failure) => {
            return vec![project, Finding::bad("settings", failure.fault.what, failure.fault.hint)];
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
    findings.extend(settings.into_iter().chain(capped).map(|what| Finding::ok("settings", what)));
    let (_, bad) = app.parsers(&config);
    let hint = "correct [parsers] in config.toml, or remove the file in the state directory";
    findings.extend(bad.into_iter().map(|why| Finding::note("parsers", why, hint)));
    let top = top.unwrap_or_default();
    let opened = app.models(&config).map_err(|failure| failure.fault);
    if let Err(fault) = opened.and_then(|models| models.open(&config.model.value, &top).map(drop)) {
        findings.push(Finding::bad("model", fault.what, fault.hint));
    }
    findings
}

/// The store, its sessions, and what lies on disk for them.
async fn store(app: &App, wired: &Wired) -> Result<Vec<Finding>, Failure> {
    let stats = wired.store.stats()?;
    let what = format!(
        "schema {}, {} in {} streams and {} blobs, log {}; kapell verify recomputes all of it",
        stats.schema,
        bytes(stats.file_bytes),
        stats.streams,
        stats.blobs,
        bytes(stats.wal_bytes)
    );
    let mut findings = vec![Finding::ok("store", what)];
    let (mut held, mut stopped, mut waiting, mut broken) = (0, 0, 0, Vec::new());
    let mut owners = places::Owners::new();
    for listed in wired.store.sessions(false).await? {
        let mut owner = places::owner(wired, listed.session).await;
        if !listed.ended {
            owner.ended = false;
            match wired.engine.look(listed.session).await {
                Err(fault) => broken.push(fault),
                Ok(state) => {
                    owner.prepared = state.as_ref().is_some_and(|state| state.prepared.is_some());
                    let waits = |state: &kernel::Session| {
                        state.phase == Phase::Paused || state.waiting(app.now()).is_some()
                    };
                    match state {
                        _ if wired.locks.held(listed.session) => held += 1,
                        Some(state) if waits(&state) => waiting += 1,
                        _ => stopped += 1,
                    }
                }
            }
        }
        owners.insert(listed.session, owner);
    }
    let what = format!("{held} at work, {waiting} waiting, {stopped} stopped in the middle");
    findings.push(match stopped {
        0 => Finding::ok("sessions", what),
        _ => Finding::note(
            "sessions",
            what,
            "kapell resume --all goes on with them; kapell sessions lists them",
        ),
    });
    for fault in broken {
        findings.push(Finding::bad(
            "sessions",
            fault.what,
            "kapell verify tells what is damaged and what can be done",
        ));
    }
    for session in wired.store.audit()?.damaged_leases()? {
        let whose = session.map_or("one".to_owned(), |id| format!("that of session {id}"));
        let what = format!("{whose} is not what was written");
        findings.push(Finding::bad("leases", what, super::verify::take_over(session)));
    }
    findings.extend(places::look(app, wired, &owners).await?);
    Ok(findings)
}
