//! `loop` and `schedules`: what a repository's `.roo/schedules.json` makes run by itself, and when.
//!
//! Words and exit codes (`change.rs`, `list.rs`), and what the loop asks of this process (`host.rs`); the loop itself is the crate `looping`.
//! Start at [`run`].

mod change;
mod host;
mod list;

use super::work::{Work, leave};
use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::show::{clean, json_line};
use crate::signals::Signals;
use crate::trust::Item;
use crate::{out, repo};
use ::looping::{Came, News, serve, to_the_end};
pub(crate) use host::{Here, looper};
pub(crate) use list::values;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// How long what runs may take to be stopped in order.
const STOP: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) what: Option<What>,
    /// Fire what is due now, follow it to its end, and leave
    #[arg(long)]
    pub(crate) once: bool,
    /// Only show what would be done now
    #[arg(long, conflicts_with = "once")]
    pub(crate) dry_run: bool,
}

/// What else can be done with the loop.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Show whether it is paused, what is under way, and what comes next
    Status,
    /// Fire and open nothing more in this repository, in any process, until `continue`; what runs goes on
    Pause,
    /// The same, and have what runs finish its action in flight and wait, until `continue`
    Stop {
        /// End it instead, for good
        #[arg(long)]
        cancel: bool,
    },
    /// Let it go on
    Continue,
    /// Let tasks be worked on that a client handed over
    Accept {
        /// A session or task as `loop status` names it, or `all`
        which: String,
    },
    /// Let them never be
    Refuse {
        /// A session or task as `loop status` names it, or `all`
        which: String,
    },
    /// Show by which wall clock schedules fire, or have them fire by another one
    Zone {
        /// Such as Europe/Berlin
        name: Option<String>,
    },
    /// Let a schedule or task be tried again that failed three times in the same way, once you have looked
    Clear {
        /// As `loop status` names it, such as schedule/1770843427038
        what: String,
    },
}

/// Runs the loop in the foreground, or does what is asked; the exit code.
pub(crate) async fn run(app: &App, options: &Options) -> Result<u8, Failure> {
    let top = repo::find_text(&app.cwd)?;
    match &options.what {
        Some(What::Clear { what }) => change::clear(app, &top, what).await,
        Some(What::Status) => list::status(app, &top).await,
        Some(What::Pause) => change::halt(app, &top, true).await,
        Some(What::Continue) => change::halt(app, &top, false).await,
        Some(What::Stop { cancel }) => change::stop(app, &top, *cancel).await,
        Some(What::Accept { which }) => change::judge(app, &top, which, true).await,
        Some(What::Refuse { which }) => change::judge(app, &top, which, false).await,
        Some(What::Zone { name }) => change::zone(app, &top, name.as_deref()).await,
        None if options.dry_run => list::dry_run(app, &top).await,
        None => {
            let mut signals = Work::signals()?;
            let wired = app.wire_to_work(&app.config(Some(Path::new(&top)))?)?;
            wired.warnings.iter().for_each(|why| out::warn(why));
            let done = Box::pin(follow(app, &wired, &top, options.once, &mut signals)).await;
            leave(wired).await;
            done
        }
    }
}

/// What of this repository's loop runs only where a person trusts it. A file that cannot be read is said, and has none.
pub(crate) fn by_themselves(app: &App, top: &Path) -> Result<Vec<Item>, Failure> {
    list::by_themselves(app, top)
}

/// Lists the schedules with the slots that come next; the exit code.
pub(crate) async fn schedules(app: &App, next: usize) -> Result<u8, Failure> {
    let top = repo::find_text(&app.cwd)?;
    list::schedules(app, &top, next).await
}

/// In the foreground, until a signal or, once, until nothing is left to do.
async fn follow(
    app: &App,
    wired: &Wired,
    top: &str,
    once: bool,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let mut looper = host::looper(app, wired, top)?;
    let told = |news: &News| tell(app, news);
    if once {
        let mut code = None;
        tokio::select! {
            done = to_the_end(&mut looper, told) => code = Some(once_code(done?)),
            stopped = signals.next() => drop(code.replace(stopped)),
        }
        return Ok(code.unwrap_or(exit::FAILURE));
    }
    let mut code = exit::OK;
    if !app.global.quiet && !app.global.json {
        out::complain(&format!("the loop of {}: ^C stops it\n", clean::line(top)));
    }
    let stop = async { code = signals.next().await };
    serve(&mut looper, told, stop).await;
    stopped(wired, signals).await;
    Ok(code)
}

/// The exit code of what was followed to its end: that of the first job that failed.
fn once_code(came: Came) -> u8 {
    match came {
        Came { code: exit::OK, troubled: true, .. } => exit::FAILURE,
        Came { code: exit::OK, waits: true, .. } => exit::NEEDS_YOU,
        Came { code, .. } => code,
    }
}

/// Stops what runs in order; asked again, kills it.
async fn stopped(wired: &Wired, signals: &mut Signals) {
    let shutdown = async { drop(tokio::time::timeout(STOP, wired.engine.shutdown()).await) };
    tokio::pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => {}
        _ = signals.next() => {
            wired.engine.force().await;
            shutdown.await;
        }
    }
}

/// One line for each thing that happened.
fn tell(app: &App, news: &News) {
    if app.global.json {
        out::print(&json_line(&json!({
            "type": news.what, "about": news.about, "session_id": news.session.map(|id| id.to_string()),
            "what": news.why, "exit_code": news.code,
        })));
    } else if !app.global.quiet || news.what == "trouble" {
        out::print(&format!("{:<8} {}: {}\n", news.what, clean::line(&news.about), clean::line(&news.why)));
    }
}
