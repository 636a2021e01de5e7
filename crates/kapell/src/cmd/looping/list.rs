//! Schedules as they stand, for people and programs: when they come next, what would be done with them now.
//!
//! Changes nothing, and works without a store. Start at [`schedules`].

use super::host::{Here, Trusting, desk, zone};
use crate::app::{App, Wired};
use crate::cmd::work::leave;
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::short;
use crate::show::{clean, json_page, table::table};
use crate::trust::Item;
use ::looping::{HINT, Host, Modes, Place, Read, Seen, Status, by_themselves as told};
use contract::board::BoardEvent;
use contract::{Fault, Kind, Seq, SessionId};
use kernel::looping::claim::Tasks;
use kernel::looping::{Failing, Loop, Open};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Who only looks changes no file.
#[derive(Debug)]
struct Nothing;

impl desk::Record for Nothing {
    fn record(&self, _: &str, _: BoardEvent) -> Result<Seq, Fault> {
        Err(Fault::new(Kind::Permanent, "only-looks", "this command changes no file"))
    }
}

/// The record of a repository's loop, where there is a store.
async fn record(wired: Option<&Wired>, top: &str) -> Result<Loop, Failure> {
    let mut known = Loop::default();
    if let Some(wired) = wired {
        engine::looping::catch_up(&*wired.store, top, &mut known).await?;
    }
    Ok(known)
}

fn seen<'t>(
    app: &App,
    trusting: &'t Trusting,
    top: &str,
    of: (Option<Place>, Loop),
) -> Result<Seen<'t>, Failure> {
    let desk = desk(app, top, Arc::new(Nothing))?;
    Ok(Seen::of(trusting, &desk, of, app.now())?)
}

/// All of a repository's, each with its own fields, how it stands and when it comes next.
pub(crate) async fn values(app: &App, wired: &Wired, top: &str) -> Result<Vec<Value>, Failure> {
    let trusting = Trusting::new(app, Path::new(top));
    let known = record(Some(wired), top).await?;
    let seen = seen(app, &trusting, top, (Place::here().ok(), known))?;
    let value = |read: &Read| {
        let mut value = Value::Object(read.file.fields.clone());
        for (name, told) in seen.value(read, 1).as_object_mut().into_iter().flat_map(std::mem::take) {
            value[name] = told;
        }
        value["repo"] = top.into();
        value
    };
    Ok(seen.reads.iter().map(value).collect())
}

/// What a person has to trust, as the files have it now.
pub(super) fn by_themselves(app: &App, top: &Path) -> Result<Vec<Item>, Failure> {
    let files = desk(app, &top.to_string_lossy(), Arc::new(Nothing))?;
    let or_none = |fault: &Fault| out::warn(&format!("not looked at: {fault}"));
    let reads = files.schedules().inspect_err(or_none).unwrap_or_default();
    let modes = Modes(files.modes().inspect_err(or_none).unwrap_or_default().unwrap_or_default());
    let trusting = Trusting::new(app, top);
    let all = told(&Read::all(reads, app.now(), true), &modes);
    Ok(all.iter().map(|doing| trusting.item(doing)).collect())
}

/// Lists them; the exit code.
pub(super) async fn schedules(app: &App, top: &str, most: usize) -> Result<u8, Failure> {
    let wired = app.look()?;
    let trusting = Trusting::new(app, Path::new(top));
    let seen = seen(app, &trusting, top, (zone(), record(wired.as_ref(), top).await?))?;
    let paused = seen.known.halted.is_some();
    if app.global.json {
        let all: Vec<Value> = seen.reads.iter().map(|read| seen.value(read, most)).collect();
        out::print(&json_page(&json!({"schedules": all, "paused": paused})));
    } else if seen.reads.is_empty() {
        out::print(
            "there are no schedules: .roo/schedules.json declares them, and `manage_schedules` of kapell mcp\n",
        );
    } else {
        if paused {
            out::print("paused: nothing fires until kapell loop continue\n");
        }
        out::print(&shown(&seen, most, app.term.stdout.then(|| app.term.width())));
        why_not(&seen);
    }
    left(wired).await;
    Ok(exit::OK)
}

async fn left(wired: Option<Wired>) {
    if let Some(wired) = wired {
        leave(wired).await;
    }
}

/// What a person can do about those that do not fire.
fn why_not(seen: &Seen<'_>) {
    for read in seen.reads.iter().filter(|read| !read.inert.is_empty() && read.file.is_active()) {
        out::print(&format!("{}: {}\n", clean::line(read.name()), read.inert));
    }
    if seen.reads.iter().any(|read| seen.stands(read, 1).0 == "untrusted") {
        out::print(&format!("untrusted ones fire nothing: {HINT}\n"));
    }
}

fn shown(seen: &Seen<'_>, most: usize, width: Option<usize>) -> String {
    let row = |read: &Read| {
        let (state, next) = seen.stands(read, most);
        let next: Vec<String> = next.iter().map(|at| seen.place.shown(*at)).collect();
        let last = seen.known.schedule(&read.file.id).and_then(|known| known.session);
        [
            read.file.id.clone(),
            clean::line(read.file.text("mode")),
            state.to_owned(),
            last.map_or_else(|| "-".into(), short),
            clean::line(read.name()),
            if next.is_empty() { "-".into() } else { next.join(", ") },
        ]
        .to_vec()
    };
    let rows: Vec<Vec<String>> = seen.reads.iter().map(row).collect();
    table(&["ID", "MODE", "STATE", "LAST", "NAME", "NEXT"], &rows, width)
}

/// What the loop would do now; the exit code.
pub(super) async fn dry_run(app: &App, top: &str) -> Result<u8, Failure> {
    let wired = app.look()?;
    let trusting = Trusting::new(app, Path::new(top));
    let seen = seen(app, &trusting, top, (zone(), record(wired.as_ref(), top).await?))?;
    let tasks = match &wired {
        Some(wired) => {
            let ours: Vec<SessionId> = seen.known.jobs().map(|open| open.job.session).collect();
            Here::new(app, wired, top).tasks(&ours).await?
        }
        None => Tasks::default(),
    };
    let next = |read: &Read| seen.stands(read, 1).1.first().copied();
    if app.global.json {
        let value = |read: &Read| json!({"id": read.file.id, "name": read.name(), "would": seen.would(read, &tasks, top), "next": next(read).map(|at| at.to_string())});
        out::print(&json_page(&json!({"schedules": seen.reads.iter().map(value).collect::<Vec<_>>()})));
    } else {
        for read in &seen.reads {
            let would = clean::line(&seen.would(read, &tasks, top));
            let next = next(read).map_or_else(String::new, |at| format!("; next {}", seen.place.shown(at)));
            out::print(&format!(
                "{} ({}): {would}{next}\n",
                clean::line(read.name()),
                clean::line(&read.file.id)
            ));
        }
    }
    left(wired).await;
    Ok(exit::OK)
}

/// How the loop stands; the exit code.
pub(super) async fn status(app: &App, top: &str) -> Result<u8, Failure> {
    let wired = app.look()?;
    let trusting = Trusting::new(app, Path::new(top));
    let seen = seen(app, &trusting, top, (zone(), record(wired.as_ref(), top).await?))?;
    let status = seen.status();
    if app.global.json {
        out::print(&json_page(&documented(&seen, status)));
    } else {
        match status.paused {
            Some(why) => {
                out::print(&format!("paused: {}; kapell loop continue lets it go on\n", clean::line(why)))
            }
            None => out::print("not paused; kapell loop fires what is due while it runs\n"),
        }
        for open in &status.jobs {
            out::print(&format!("{}\n", job(open, &seen.place)));
        }
        for (what, of) in &status.failing {
            let what = clean::line(what);
            let count =
                format!("{what} failed {} time(s) in a row: {}", of.count, clean::line(&of.signature));
            match of.escalated {
                Some(_) => out::print(&format!("{count}; not tried any more: kapell loop clear {what}\n")),
                None => out::print(&format!("{count}\n")),
            }
        }
        if let Some((at, name)) = status.next {
            out::print(&format!("next: {} at {}\n", clean::line(&name), seen.place.shown(at)));
        }
        if let Some(zone) = &seen.known.zone {
            out::print(&format!("slots go by the wall clock of {}\n", clean::line(zone)));
        }
        synced(&seen);
    }
    left(wired).await;
    Ok(exit::OK)
}

/// The same for programs.
fn documented(seen: &Seen<'_>, status: Status<'_>) -> Value {
    let failing = |(what, of): &(&str, &Failing)| json!({"what": what, "signature": of.signature, "count": of.count, "escalated": of.escalated});
    let job = |open: &&Open| {
        let tries = open.unopened.as_ref().map(|unopened| {
            json!({"signature": unopened.signature, "count": unopened.count, "again": unopened.until().to_string()})
        });
        json!({
            "session_id": open.job.session.to_string(), "mode": open.job.mode, "of": open.origin.name(),
            "accepted": open.accepted, "unopened": tries,
        })
    };
    let synced = seen.known.synced.as_ref().map(|synced| {
        let (session, stage) = synced.before.clone().unzip();
        json!({
            "at": synced.at.to_string(), "session_id": session.map(|id| id.to_string()), "before": stage,
            "head": synced.head, "files": synced.files, "drift": synced.drift, "wrong": synced.wrong,
        })
    });
    json!({
        "paused": status.paused,
        "zone": seen.known.zone,
        "jobs": status.jobs.iter().map(job).collect::<Vec<_>>(),
        "failing": status.failing.iter().map(failing).collect::<Vec<_>>(),
        "next": status.next.map(|(at, name)| json!({"at": at.to_string(), "name": name})),
        "synced": synced,
    })
}

/// One job, in a line.
fn job(open: &Open, place: &Place) -> String {
    let (session, mode) = (short(open.job.session), clean::line(&open.job.mode));
    let of = clean::line(&open.origin.name());
    match &open.unopened {
        _ if !open.accepted => format!("asks: {of}, in mode {mode}: kapell loop accept {session}, or refuse"),
        Some(unopened) => {
            let (why, n) = (clean::line(&unopened.signature), unopened.count);
            let again = place.shown(unopened.until());
            format!("not opened: session {session} of {of}, {n} time(s): {why}; again at {again}")
        }
        None => format!("under way: session {session} in mode {mode}"),
    }
}

/// What the last look at what jobs rely on found.
fn synced(seen: &Seen<'_>) {
    let Some(synced) = &seen.known.synced else { return };
    let before = synced.before.as_ref().map_or_else(String::new, |(session, stage)| {
        format!(", before {} of session {}", clean::line(stage), short(*session))
    });
    let listed = |of: &[String]| of.iter().map(|one| clean::line(one)).collect::<Vec<_>>().join(", ");
    let found = match (synced.wrong.is_empty(), synced.drift.is_empty()) {
        (false, _) => format!("wrong: {}", listed(&synced.wrong)),
        (true, false) => format!("in order; changed since the look before: {}", listed(&synced.drift)),
        (true, true) => "in order".to_owned(),
    };
    out::print(&format!("surroundings at {}{before}: {found}\n", seen.place.shown(synced.at)));
}
