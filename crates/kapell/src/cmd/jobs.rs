//! `jobs`: background commands and terminals of a session: what there is, what one wrote, and stopping one.
//!
//! From any process: everything is on disk, and a job listens on a socket in its directory. Start at [`run`].

use super::work::leave;
use crate::app::App;
use crate::exit::{self, Failure};
use crate::pick::{self, short};
use crate::quantity::span;
use crate::show::{clean, json_page, table::table};
use crate::{app, out};
use contract::SessionId;
use contract::limits::{STOP_INT_MS, STOP_KILL_MS, STOP_TERM_MS};
use sandbox::job::link::{self, Frame};
use sandbox::job::{self, Status};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of output read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// The whole ladder, and a moment to hear of it.
const LADDER: Duration = Duration::from_millis(STOP_INT_MS + STOP_TERM_MS + 2 * STOP_KILL_MS + 1_000);

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Which session
    #[arg(default_value = "last")]
    pub(crate) session: String,
    /// Print what this one wrote, such as j1
    pub(crate) job: Option<String>,
    /// Print only what it wrote from this byte on
    #[arg(long, value_name = "BYTE", default_value_t = 0, requires = "job")]
    pub(crate) after: u64,
    /// Stop it
    #[arg(long, requires = "job", conflicts_with = "after")]
    pub(crate) stop: bool,
}

/// Lists, prints or stops; the exit code.
pub(crate) async fn run(app: &App, options: &Options) -> Result<u8, Failure> {
    let session = session(app, &options.session).await?;
    let jobs = tools::Jobs::new(app.home.sessions_dir());
    let Some(name) = &options.job else { return Ok(list(app, session, &jobs.of(session))) };
    let dir = find(&jobs, session, Some(name))?.1;
    if options.stop {
        return stop(app, name, &dir).await;
    }
    let mut from = options.after;
    loop {
        let piece = piece(&dir, from)?;
        if piece.bytes.is_empty() {
            return Ok(exit::OK);
        }
        from = piece.from + piece.bytes.len() as u64;
        if app.term.stdout {
            out::print(&clean::text(&String::from_utf8_lossy(&piece.bytes)));
        } else if std::io::stdout().lock().write_all(&piece.bytes).is_err() {
            return Ok(exit::OK);
        }
    }
}

/// A piece of what one wrote, from this byte on: whole lines.
pub(crate) fn piece(dir: &Path, from: u64) -> Result<job::Piece, Failure> {
    Ok(job::read(dir, from, PIECE_BYTES).map_err(|error| unreadable(dir, &error))?.lines())
}

/// The session a person means.
pub(crate) async fn session(app: &App, name: &str) -> Result<SessionId, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let found = pick::session(&*wired.store, name).await;
    leave(wired).await;
    found
}

/// The job of this name; without a name, the newest one that runs.
pub(crate) fn find(
    jobs: &tools::Jobs,
    session: SessionId,
    name: Option<&str>,
) -> Result<(String, PathBuf), Failure> {
    let all = jobs.of(session);
    let runs = |dir: &Path| job::look(dir).is_ok_and(|status| status.ended.is_empty());
    let found = all.iter().rev().find(|(known, dir)| match name {
        Some(name) => known == name,
        None => runs(dir),
    });
    found.cloned().ok_or_else(|| {
        let id = short(session);
        let what = match name {
            Some(name) => format!("session {id} has no background command `{}`", clean::line(name)),
            None => format!("session {id} has no background command that runs"),
        };
        Failure::usage("no-job", what, format!("kapell jobs {id} lists them"))
    })
}

/// What there is, for programs.
pub(crate) fn values(session: SessionId, all: &[(String, PathBuf)]) -> Value {
    let known = all.iter().filter_map(|(name, dir)| Some(as_json(name, &job::look(dir).ok()?)));
    json!({"session_id": session.to_string(), "jobs": known.collect::<Vec<Value>>()})
}

fn list(app: &App, session: SessionId, all: &[(String, PathBuf)]) -> u8 {
    if app.global.json {
        out::print(&json_page(&values(session, all)));
        return exit::OK;
    }
    let known: Vec<(&str, Status)> =
        all.iter().filter_map(|(name, dir)| Some((name.as_str(), job::look(dir).ok()?))).collect();
    if known.is_empty() {
        out::complain(&format!("session {} has no background commands\n", short(session)));
        return exit::OK;
    }
    let now = app.now();
    let ago = |ms: u64| span(now.since(contract::Timestamp(ms)));
    let rows: Vec<Vec<String>> = known
        .iter()
        .map(|(name, status)| {
            let kind = if status.terminal { "terminal" } else { "background" };
            let state = match (status.ended.as_str(), status.waits.as_str()) {
                ("", "") => {
                    format!("runs since {}, silent for {}", ago(status.started_ms), ago(status.said_ms))
                }
                ("", waits) => clean::line(waits),
                (ended, _) => format!("ended: {}", clean::line(ended)),
            };
            vec![
                (*name).to_owned(),
                kind.to_owned(),
                status.bytes.to_string(),
                state,
                clean::line(&status.command),
            ]
        })
        .collect();
    let width = app.term.stdout.then(|| app.term.width());
    out::print(&table(&["JOB", "KIND", "BYTES", "STATE", "COMMAND"], &rows, width));
    exit::OK
}

fn as_json(name: &str, status: &Status) -> Value {
    json!({
        "job": name, "command": status.command, "terminal": status.terminal, "pid": status.pid,
        "started_ms": status.started_ms, "beat_ms": status.beat_ms, "said_ms": status.said_ms,
        "bytes": status.bytes, "running": status.ended.is_empty(), "waits": status.waits, "ended": status.ended,
    })
}

async fn stop(app: &App, name: &str, dir: &Path) -> Result<u8, Failure> {
    let how = stopped(name, dir).await?;
    if app.global.json {
        out::print(&json_page(&json!({"job": name, "ended": how})));
    } else if !app.global.quiet {
        out::print(&format!("{name} {}\n", clean::line(&how)));
    }
    Ok(exit::OK)
}

/// One for programs, as it is now.
pub(crate) fn value(name: &str, dir: &Path) -> Result<Value, Failure> {
    let status = job::look(dir).map_err(|error| unreadable(dir, &error))?;
    Ok(as_json(name, &status))
}

/// Ends one, and waits until it has; how it ended.
pub(crate) async fn stopped(name: &str, dir: &Path) -> Result<String, Failure> {
    let (mut hears, mut says) = link::connect(dir).await.map_err(|_| gone(name, dir))?;
    says.say(&Frame::Stop).await.map_err(|_| gone(name, dir))?;
    let ended = async {
        while let Ok(Some(frame)) = hears.next().await {
            if let Frame::Ended(how) = frame {
                return how;
            }
        }
        job::look(dir).map_or_else(|_| "gone".to_owned(), |status| status.ended)
    };
    let how = tokio::time::timeout(LADDER, ended).await.map_err(|_late| {
        Failure::failed("not-stopped", format!("{name} does not end"), "kapell cancel ends its session")
    })?;
    if how.is_empty() {
        let what = format!("{name} did not say that it has ended");
        return Err(Failure::failed(
            "not-stopped",
            what,
            "kapell jobs SESSION tells how it is; then try again",
        ));
    }
    Ok(how)
}

/// Nobody answers for it.
pub(crate) fn gone(name: &str, dir: &Path) -> Failure {
    let ended = job::look(dir).map_or_else(|_| "unknown".to_owned(), |status| status.ended);
    let what = format!("{name} does not run: {}", clean::line(&ended));
    Failure::usage("job-ended", what, format!("kapell jobs SESSION {name} prints what it wrote"))
}

fn unreadable(dir: &Path, error: &std::io::Error) -> Failure {
    let what = format!("the output in {} cannot be read: {error}", dir.display());
    Failure::failed("job-unreadable", what, "kapell jobs lists what there is")
}
