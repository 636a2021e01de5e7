//! `loop` and `schedules`: what a repository's `.roo/schedules.json` makes run by itself, and when.
//!
//! Words and exit codes only; what a look does is in `looper.rs`, and [`serve`] is what any process that stays calls.
//! Start at [`run`].

mod jobs;
mod list;
mod looper;
mod modes;
mod place;
mod read;
mod tasks;
mod trusted;

use super::work::{Work, leave};
use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::show::{clean, json_line, json_page};
use crate::signals::Signals;
use crate::trust::Item;
use crate::{out, repo};
use contract::Timestamp;
pub(crate) use list::values;
pub(crate) use looper::{Looper, News, hand_over};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Between two looks while jobs are under way.
pub(crate) const BUSY: Duration = Duration::from_millis(500);
/// The longest between two looks: somebody may have changed the file.
pub(crate) const CALM: Duration = Duration::from_secs(5);
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
    /// Let it go on
    Continue,
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
        Some(What::Clear { what }) => clear(app, &top, what).await,
        Some(What::Status) => list::status(app, &top).await,
        Some(What::Pause) => halt(app, &top, true).await,
        Some(What::Continue) => halt(app, &top, false).await,
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

async fn halt(app: &App, top: &str, halted: bool) -> Result<u8, Failure> {
    let wired = app.wire()?;
    let done = match Looper::open(app, &wired, top) {
        Ok(mut looper) => looper.halt(halted).await,
        Err(failure) => Err(failure),
    };
    leave(wired).await;
    let changed = done?;
    let state = if halted { "paused" } else { "on" };
    let said = match (halted, changed) {
        (true, true) => {
            "the loop of this repository is paused: nothing fires or is opened; kapell loop continue"
        }
        (true, false) => "it was paused already",
        (false, true) => "the loop of this repository goes on",
        (false, false) => "it was not paused",
    };
    match app.global.json {
        true => out::print(&json_page(&json!({"loop": state, "changed": changed}))),
        false => out::print(&format!("{said}\n")),
    }
    Ok(exit::OK)
}

async fn clear(app: &App, top: &str, what: &str) -> Result<u8, Failure> {
    let wired = app.wire()?;
    let done = match Looper::open(app, &wired, top) {
        Ok(mut looper) => looper.clear(what).await,
        Err(failure) => Err(failure),
    };
    leave(wired).await;
    if !done? {
        let what = format!("nothing that failed is called `{}`", clean::line(what));
        return Err(Failure::usage("not-failing", what, "kapell loop status names what fails"));
    }
    match app.global.json {
        true => out::print(&json_page(&json!({"cleared": what}))),
        false => out::print(&format!("{} may be tried again\n", clean::line(what))),
    }
    Ok(exit::OK)
}

/// In the foreground, until a signal or, once, until nothing is left to do.
async fn follow(
    app: &App,
    wired: &Wired,
    top: &str,
    once: bool,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let mut looper = Looper::open(app, wired, top)?;
    let told = |news: &News| tell(app, news);
    if once {
        let mut code = None;
        tokio::select! {
            done = to_the_end(&mut looper, told) => code = Some(done?),
            stopped = signals.next() => drop(code.replace(stopped)),
        }
        return Ok(code.unwrap_or(exit::FAILURE));
    }
    let mut code = exit::OK;
    if !app.global.quiet && !app.global.json {
        out::complain(&format!("the loop of {}: ^C stops it\n", clean::line(top)));
    }
    let stop = async { code = signals.next().await };
    serve(&mut looper, told, stop).await?;
    stopped(wired, signals).await;
    Ok(code)
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

/// Looks whenever something may have come, until `stop` resolves. What goes wrong in a look is told and tried again: a
/// file that somebody is writing, a store that is busy. What runs is left to who stops the engine.
pub(crate) async fn serve(
    looper: &mut Looper<'_>,
    mut tell: impl FnMut(&News),
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    tokio::pin!(stop);
    let mut trouble = String::new();
    loop {
        // Whatever a look has not come to, the next one does, in this process or another.
        let looked = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            looked = Box::pin(looper.look()) => looked,
        };
        let wait = match looked {
            Ok(look) => {
                trouble.clear();
                look.news.iter().for_each(&mut tell);
                let busy = look.jobs.iter().any(|(_, rests)| !rests);
                if busy { BUSY } else { until(look.next, looper.now()).min(CALM) }
            }
            Err(failure) => {
                let why = failure.fault.to_string();
                if why != trouble {
                    tell(&News::new("trouble", "loop", why.clone()));
                    trouble = why;
                }
                CALM
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = &mut stop => return Ok(()),
        }
    }
}

/// How long it is until the next slot.
pub(crate) fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    next.map_or(CALM, |next| Duration::from_millis(next.since(now)))
}

/// Until nothing is due and every job has ended or waits for a person; the exit code: that of the first that failed.
async fn to_the_end(looper: &mut Looper<'_>, mut tell: impl FnMut(&News)) -> Result<u8, Failure> {
    let (mut code, mut troubled, mut untrusted) = (exit::OK, false, false);
    loop {
        let look = Box::pin(looper.look()).await?;
        for news in &look.news {
            tell(news);
            troubled |= news.what == "trouble";
            untrusted |= news.what == "untrusted";
            code = if code == exit::OK { news.code.unwrap_or(exit::OK) } else { code };
        }
        let fired = look.news.iter().any(|news| matches!(news.what, "fired" | "ended"));
        if jobs::settled(&look.jobs) && !fired {
            return Ok(match (code, troubled, look.jobs.is_empty() && !untrusted) {
                (exit::OK, true, _) => exit::FAILURE,
                (exit::OK, false, false) => exit::NEEDS_YOU,
                _ => code,
            });
        }
        tokio::time::sleep(BUSY).await;
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
