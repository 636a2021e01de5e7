//! `status`: is there a daemon, and what goes on; in one line for the prompt of a shell.
//!
//! Asks the daemon where there is one, and looks at the newest sessions of the store otherwise, for a moment only. Start
//! at [`status`].

use super::client::Client;
use crate::app::App;
use crate::exit::{self, Failure};
use crate::guard::Locks;
use crate::out;
use crate::show::json_page;
use crate::tree::blocker;
use api::life::Run;
use contract::journal::Journal;
use journal::Sqlite;
use kernel::fsm::Phase;
use kernel::view;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the store is looked at: a prompt must not wait.
const LOOK: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StatusOptions {
    /// One short line, and none when nothing goes on: for the prompt of a shell
    #[arg(long, conflicts_with = "json")]
    pub(crate) line: bool,
}

/// Unfinished sessions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// At work, or waiting for what comes by itself.
    running: usize,
    /// A person is asked.
    asks: usize,
    /// Unfinished, and nobody runs them.
    stopped: usize,
    /// There are more that were not looked at.
    more: bool,
}

/// Shows it; the exit code.
pub(crate) async fn status(app: &App, options: &StatusOptions) -> Result<u8, Failure> {
    let client = Client::find(app);
    let counts = match &client {
        Some(client) => of_board(&client.get("/v1/board")?["items"]),
        // A prompt must not wait; who asks wants to know.
        None => of_store(app, options.line.then_some(LOOK)).await?,
    };
    if options.line {
        let line = counts.line();
        if !line.is_empty() {
            out::print(&format!("{line}\n"));
        }
        return Ok(exit::OK);
    }
    let found = client.as_ref().and_then(|_| Run::new(app.home.run_dir()).found());
    let pid = client.as_ref().map(|client| client.pid.as_raw_nonzero());
    let url = found.and_then(|found| found.url);
    if app.global.json {
        out::print(&json_page(&json!({
            "running": client.is_some(), "pid": pid, "url": url,
            "sessions": {
                "running": counts.running, "needs_you": counts.asks, "stopped": counts.stopped, "more": counts.more,
            },
        })));
        return Ok(exit::OK);
    }
    match pid {
        Some(pid) => {
            let at = url.map(|url| format!(" at {url}")).unwrap_or_default();
            out::print(&format!("the daemon is up, process {pid}{at}\n"));
        }
        None => out::print("there is no daemon: kapell up starts it\n"),
    }
    out::print(&format!("{}\n", counts.words()));
    Ok(exit::OK)
}

impl Counts {
    fn line(&self) -> String {
        let parts = [(self.running, "running"), (self.asks, "needs you"), (self.stopped, "stopped")];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        if parts.is_empty() { String::new() } else { format!("kapell: {}", parts.join(", ")) }
    }

    fn words(&self) -> String {
        let more = if self.more { ", and more: kapell sessions --all" } else { "" };
        let Self { running, asks, stopped, .. } = self;
        format!("sessions: {running} running, {asks} waiting for you, {stopped} stopped{more}")
    }

    fn add(&mut self, status: &str, asks: bool) {
        match status {
            "completed" | "failed" | "cancelled" => {}
            _ if asks => self.asks += 1,
            "stopped" => self.stopped += 1,
            _ => self.running += 1,
        }
    }
}

/// From what the daemon keeps of all trees.
fn of_board(items: &Value) -> Counts {
    let mut counts = Counts::default();
    let mut open: Vec<&Value> = items.as_array().into_iter().flatten().collect();
    while let Some(row) = open.pop() {
        open.extend(row["children"].as_array().into_iter().flatten());
        let asks = row["waits"]["type_next"].as_str().is_some_and(|next| !next.is_empty());
        counts.add(row["status"].as_str().unwrap_or_default(), asks);
    }
    counts
}

/// From the store, the newest first, as far as the moment goes if there is only one.
async fn of_store(app: &App, most: Option<Duration>) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    if !app.home.store_file().exists() {
        return Ok(counts);
    }
    // The store alone: nothing that could run anything is wired for a prompt.
    let store = Sqlite::open_read_only(&app.home.data).map_err(|e| e.fault())?;
    let locks = Locks::new(app.home.run_dir(), Arc::default(), tools::Place::new(app.home.spool_dir()));
    let began = Instant::now();
    for listed in store.sessions(true).await? {
        if most.is_some_and(|most| began.elapsed() > most) {
            counts.more = true;
            break;
        }
        let Ok(Some(state)) = engine::store::session(&store, listed.session).await else { continue };
        let held = locks.held(listed.session);
        let asks = blocker(&state, app.now()).is_some() && view::waits(&state, app.now()).is_some();
        let idle = !held && !asks && state.phase != Phase::Ended;
        counts.add(if idle { "stopped" } else { state.status(app.now()) }, asks);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_counted_with_its_children() {
        let board = json!([
            {"status": "running", "children": [
                {"status": "waiting", "waits": {"for": "approval", "what": "x", "type_next": "kapell approve"}},
                {"status": "completed"},
            ]},
            {"status": "waiting", "waits": {"for": "limit", "what": "x"}},
            {"status": "stopped"},
        ]);
        let counts = of_board(&board);
        assert_eq!(counts, Counts { running: 2, asks: 1, stopped: 1, more: false });
        assert_eq!(counts.line(), "kapell: 2 running, 1 needs you, 1 stopped");
        assert_eq!(Counts::default().line(), "");
    }
}
