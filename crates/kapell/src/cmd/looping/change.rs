//! What a person decides about the loop: pause, stop, continue, accept, refuse, the zone, what may be tried again.
//!
//! Each is a fact on record, so it holds in every process. Start at [`halt`].

use super::host::{looper, zone as here};
use crate::app::App;
use crate::cmd::work::leave;
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::short;
use crate::show::{clean, json_page};
use ::looping::Looper;
use contract::{Fault, SessionId};
use serde_json::json;

/// Does something with the loop of this repository.
async fn with<T>(
    app: &App,
    top: &str,
    f: impl AsyncFnOnce(&mut Looper<'_>) -> Result<T, Fault>,
) -> Result<T, Failure> {
    let wired = app.wire()?;
    let done = match looper(app, &wired, top) {
        Ok(mut looper) => f(&mut looper).await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    leave(wired).await;
    done
}

/// Halts it, or lets it go on; the exit code.
pub(super) async fn halt(app: &App, top: &str, halted: bool) -> Result<u8, Failure> {
    let changed = with(app, top, async |looper| match halted {
        true => looper.pause().await,
        false => looper.resume().await,
    })
    .await?;
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

/// Halts it with all that is under way; the exit code.
pub(super) async fn stop(app: &App, top: &str, cancel: bool) -> Result<u8, Failure> {
    let reached = with(app, top, async |looper| looper.stop(cancel).await).await?;
    let what = if cancel { "cancelled" } else { "asked to pause" };
    if app.global.json {
        let ids: Vec<String> = reached.iter().map(SessionId::to_string).collect();
        out::print(&json_page(&json!({"loop": "paused", "jobs": ids, "cancelled": cancel})));
        return Ok(exit::OK);
    }
    out::print("the loop of this repository is stopped: nothing fires or is opened; kapell loop continue\n");
    for session in reached {
        out::print(&format!("session {} is {what}\n", short(session)));
    }
    Ok(exit::OK)
}

/// Takes a person's word for tasks that were handed over; the exit code.
pub(super) async fn judge(app: &App, top: &str, which: &str, accept: bool) -> Result<u8, Failure> {
    let name = (which != "all").then_some(which);
    let judged = with(app, top, async |looper| looper.judge(name, accept).await).await?;
    if judged.is_empty() && name.is_some() {
        let what = format!("no task that waits for a word is called `{}`", clean::line(which));
        return Err(Failure::usage("no-task", what, "kapell loop status names those that ask"));
    }
    let word = if accept { "accepted" } else { "refused" };
    if app.global.json {
        let ids: Vec<String> = judged.iter().map(SessionId::to_string).collect();
        out::print(&json_page(&json!({word: ids})));
        return Ok(exit::OK);
    }
    if judged.is_empty() {
        out::print("no task waits for a word\n");
    }
    for session in judged {
        out::print(&format!("{word}: session {}\n", short(session)));
    }
    Ok(exit::OK)
}

/// Shows the zone, or changes it; the exit code.
pub(super) async fn zone(app: &App, top: &str, name: Option<&str>) -> Result<u8, Failure> {
    let (zone, changed) = match name {
        Some(name) => {
            let changed = with(app, top, async |looper| looper.zone(name).await).await?;
            (Some(name.to_owned()), changed)
        }
        None => (with(app, top, async |looper| Ok(looper.record().await?.zone.clone())).await?, false),
    };
    if app.global.json {
        out::print(&json_page(&json!({"zone": zone, "changed": changed})));
        return Ok(exit::OK);
    }
    let own = || here().and_then(|place| place.name().map(str::to_owned));
    out::print(&match (zone.as_deref().map(clean::line), changed) {
        (Some(zone), true) => format!("schedules fire by the wall clock of {zone} from here on\n"),
        (Some(zone), false) => format!("schedules fire by the wall clock of {zone}\n"),
        (None, _) => match own() {
            Some(own) => {
                format!("nothing is on record yet: the first slot is dealt with by {own}, as here\n")
            }
            None => "nothing is on record yet: kapell loop zone NAME\n".to_owned(),
        },
    });
    Ok(exit::OK)
}

/// Lets what was escalated be tried again; the exit code.
pub(super) async fn clear(app: &App, top: &str, what: &str) -> Result<u8, Failure> {
    if !with(app, top, async |looper| looper.clear(what).await).await? {
        let what = format!("nothing that failed is called `{}`", clean::line(what));
        return Err(Failure::usage("not-failing", what, "kapell loop status names what fails"));
    }
    match app.global.json {
        true => out::print(&json_page(&json!({"cleared": what}))),
        false => out::print(&format!("{} may be tried again\n", clean::line(what))),
    }
    Ok(exit::OK)
}
