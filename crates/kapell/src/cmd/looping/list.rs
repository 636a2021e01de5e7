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
use ::looping::{HINT, Host, Modes, Place, Read, Seen, by_themselves as told};
use contract::board::BoardEvent;
use contract::{Fault, Kind, Seq, SessionId};
use kernel::looping::Loop;
use kernel::looping::claim::Tasks;
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

fn seen<'t>(app: &App, trusting: &'t Trusting, top: &str, zone: Option<Place>) -> Result<Seen<'t>, Failure> {
    let desk = desk(app, top, Arc::new(Nothing))?;
    Ok(Seen::of(trusting, &desk, zone, app.now())?)
}

/// All of a repository's, each with its own fields, how it stands and when it comes next.
pub(crate) async fn values(app: &App, wired: &Wired, top: &str) -> Result<Vec<Value>, Failure> {
    let trusting = Trusting::new(app, Path::new(top));
    let known = record(Some(wired), top).await?;
    let seen = seen(app, &trusting, top, Place::here().ok())?.with(known);
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
    let seen = seen(app, &trusting, top, zone())?.with(record(wired.as_ref(), top).await?);
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
    let seen = seen(app, &trusting, top, zone())?.with(record(wired.as_ref(), top).await?);
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
    let seen = seen(app, &trusting, top, zone())?.with(record(wired.as_ref(), top).await?);
    let status = seen.status();
    if app.global.json {
        let failing: Vec<Value> = status
            .failing
            .iter()
            .map(|(what, of)| json!({"what": what, "signature": of.signature, "count": of.count, "escalated": of.escalated}))
            .collect();
        let jobs: Vec<Value> = status
            .jobs
            .iter()
            .map(|(id, mode)| json!({"session_id": id.to_string(), "mode": mode}))
            .collect();
        let next = status.next.map(|(at, name)| json!({"at": at.to_string(), "name": name}));
        out::print(&json_page(
            &json!({"paused": status.paused, "jobs": jobs, "failing": failing, "next": next}),
        ));
    } else {
        match status.paused {
            Some(why) => {
                out::print(&format!("paused: {}; kapell loop continue lets it go on\n", clean::line(why)))
            }
            None => out::print("not paused; kapell loop fires what is due while it runs\n"),
        }
        for (id, mode) in &status.jobs {
            out::print(&format!("under way: session {} in mode {}\n", short(*id), clean::line(mode)));
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
    }
    left(wired).await;
    Ok(exit::OK)
}
