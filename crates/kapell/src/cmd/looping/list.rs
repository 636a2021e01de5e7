//! Schedules as they stand, without changing anything: when they come next, what would be done with them now.
//!
//! Works without a store, and without the right to write one. Start at [`schedules`].

use super::looper::{Case, Looper, decide, due, escalated, since, waits, worded};
use super::modes::Modes;
use super::place::Place;
use super::read::Read;
use super::tasks::Tasks;
use super::trusted::Trusting;
use crate::app::{App, Wired};
use crate::cmd::work::leave;
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::short;
use crate::show::{clean, json_page, table::table};
use crate::trust::Item;
use contract::board::BoardEvent;
use contract::looping::{Job, LoopEvent};
use contract::{Digest, Fault, Kind, Seq, SessionId, Timestamp};
use desk::Desk;
use kernel::looping::{Failing, Loop};
use kernel::schedule::Due;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who only looks changes no file.
#[derive(Debug)]
struct Nothing;

impl desk::Record for Nothing {
    fn record(&self, _: &str, _: BoardEvent) -> Result<Seq, Fault> {
        Err(Fault::new(Kind::Permanent, "only-looks", "this command changes no file"))
    }
}

/// What is there to be looked at.
struct Looked {
    wired: Option<Wired>,
    reads: Vec<Read>,
    modes: Modes,
    known: Loop,
    place: Place,
    trust: Trusting,
    now: Timestamp,
}

/// What the files of a repository say, without the record of its loop.
fn read(app: &App, top: &str) -> Result<(Looked, Vec<String>), Failure> {
    let clock: Arc<dyn contract::port::Clock> = Arc::<crate::clock::System>::clone(&app.clock);
    let desk = Desk::open(desk::Options::new(PathBuf::from(top)), Arc::new(Nothing), clock)?;
    let (place, wrong) = Place::here();
    let reads = Read::all(desk.schedules()?, app.now(), wrong.is_none());
    let modes = Modes(desk.modes()?.unwrap_or_default());
    let trust = Trusting::new(app.trust(), Path::new(top));
    let known = Loop::default();
    let looked = Looked { wired: None, reads, modes, known, place, trust, now: app.now() };
    Ok((looked, wrong.into_iter().collect()))
}

async fn looked(app: &App, top: &str) -> Result<Looked, Failure> {
    let (mut looked, wrong) = read(app, top)?;
    wrong.iter().for_each(|wrong| out::warn(wrong));
    looked.wired = app.look()?;
    if let Some(wired) = &looked.wired {
        engine::looping::catch_up(&*wired.store, top, &mut looked.known).await?;
    }
    Ok(looked)
}

/// All of a repository's, each with its own fields, how it stands and when it comes next.
pub(crate) async fn values(app: &App, wired: &Wired, top: &str) -> Result<Vec<Value>, Failure> {
    let (mut looked, _) = read(app, top)?;
    engine::looping::catch_up(&*wired.store, top, &mut looked.known).await?;
    let value = |read: &Read| {
        let mut value = Value::Object(read.file.fields.clone());
        for (name, told) in looked.value(read, 1).as_object_mut().into_iter().flat_map(std::mem::take) {
            value[name] = told;
        }
        value["repo"] = top.into();
        value
    };
    Ok(looked.reads.iter().map(value).collect())
}

/// What a person has to trust, as the files have it now.
pub(super) fn by_themselves(app: &App, top: &Path) -> Result<Vec<Item>, Failure> {
    let clock: Arc<dyn contract::port::Clock> = Arc::<crate::clock::System>::clone(&app.clock);
    let desk = Desk::open(desk::Options::new(top.to_owned()), Arc::new(Nothing), clock)?;
    let or_none = |fault: &Fault| out::warn(&format!("not looked at: {fault}"));
    let reads = desk.schedules().inspect_err(or_none).unwrap_or_default();
    let modes = Modes(desk.modes().inspect_err(or_none).unwrap_or_default().unwrap_or_default());
    Ok(Trusting::new(app.trust(), top).items(&Read::all(reads, app.now(), true), &modes))
}

impl Looked {
    async fn leave(self) {
        if let Some(wired) = self.wired {
            leave(wired).await;
        }
    }

    /// How one schedule stands: a word, and the slots that come next.
    fn stands(&self, read: &Read, most: usize) -> (&'static str, Vec<Timestamp>) {
        let since = since(&self.known, read, self.now);
        let next = read.time.next(&since, self.now, &self.place, most);
        let held = since.held.is_some();
        // A record of trust that cannot be read trusts nothing.
        let untrusted = || self.trust.schedule_refused(read, &self.modes).map_or(true, |why| why.is_some());
        let word = match due(&self.known, read, self.now, &self.place) {
            _ if !read.inert.is_empty() => "inert",
            _ if !read.time.active => "inactive",
            _ if escalated(&self.known, read).is_some() => "escalated",
            Due::Never(_) => "inert",
            _ if untrusted() => "untrusted",
            Due::Expired => "expired",
            Due::Later(_) => "waits",
            Due::Now(_) | Due::Late(_) if held => "held",
            Due::Now(_) | Due::Late(_) => "due",
        };
        (word, next)
    }

    fn value(&self, read: &Read, most: usize) -> Value {
        let (state, next) = self.stands(read, most);
        let known = self.known.schedule(&read.file.id);
        let session = known.and_then(|known| known.session).map(|id| id.to_string());
        json!({
            "id": read.file.id, "name": read.name(), "mode": read.file.text("mode"), "state": state,
            "next": next.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "last_slot": known.and_then(|known| known.last).map(|(slot, _)| slot.to_string()),
            "last_session": session,
        })
    }
}

/// Lists them; the exit code.
pub(super) async fn schedules(app: &App, top: &str, most: usize) -> Result<u8, Failure> {
    let looked = looked(app, top).await?;
    if app.global.json {
        let all: Vec<Value> = looked.reads.iter().map(|read| looked.value(read, most)).collect();
        let paused = looked.known.halted.is_some();
        out::print(&json_page(&json!({"schedules": all, "paused": paused})));
    } else if looked.reads.is_empty() {
        out::print(
            "there are no schedules: .roo/schedules.json declares them, and `manage_schedules` of kapell mcp\n",
        );
    } else {
        if looked.known.halted.is_some() {
            out::print("paused: nothing fires until kapell loop continue\n");
        }
        out::print(&shown(&looked, most, app.term.stdout.then(|| app.term.width())));
        why_not(&looked);
    }
    looked.leave().await;
    Ok(exit::OK)
}

/// What a person can do about those that do not fire.
fn why_not(looked: &Looked) {
    for read in looked.reads.iter().filter(|read| !read.inert.is_empty() && read.file.is_active()) {
        out::print(&format!("{}: {}\n", clean::line(read.name()), read.inert));
    }
    if looked.reads.iter().any(|read| looked.stands(read, 1).0 == "untrusted") {
        out::print(&format!("untrusted ones fire nothing: {}\n", super::trusted::HINT));
    }
}

fn shown(looked: &Looked, most: usize, width: Option<usize>) -> String {
    let row = |read: &Read| {
        let (state, next) = looked.stands(read, most);
        let next: Vec<String> = next.iter().map(|at| looked.place.shown(*at)).collect();
        let last = looked.known.schedule(&read.file.id).and_then(|known| known.session);
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
    let rows: Vec<Vec<String>> = looked.reads.iter().map(row).collect();
    table(&["ID", "MODE", "STATE", "LAST", "NAME", "NEXT"], &rows, width)
}

/// What the loop would do now; the exit code.
pub(super) async fn dry_run(app: &App, top: &str) -> Result<u8, Failure> {
    let mut looked = looked(app, top).await?;
    let tasks = match &looked.wired {
        Some(wired) => {
            let mut looper = Looper::open(app, wired, top)?;
            looper.record().await?;
            Tasks::of(&looper, looked.now).await?
        }
        None => Tasks::default(),
    };
    let mut all = Vec::new();
    for read in std::mem::take(&mut looked.reads) {
        let would = would(&looked, &read, &tasks, top);
        let next = looked.stands(&read, 1).1.first().copied();
        all.push((read, would, next));
    }
    if app.global.json {
        let value = |(read, would, next): &(Read, String, Option<Timestamp>)| json!({"id": read.file.id, "name": read.name(), "would": would, "next": next.map(|at| at.to_string())});
        out::print(&json_page(&json!({"schedules": all.iter().map(value).collect::<Vec<_>>()})));
    } else {
        for (read, would, next) in &all {
            let next = next.map_or_else(String::new, |at| format!("; next {}", looked.place.shown(at)));
            out::print(&format!("{} ({}): {would}{next}\n", clean::line(read.name()), read.file.id));
        }
    }
    looked.leave().await;
    Ok(exit::OK)
}

fn would(looked: &Looked, read: &Read, tasks: &Tasks, top: &str) -> String {
    match looked.stands(read, 1).0 {
        "untrusted" => return format!("nothing: untrusted; {}", super::trusted::HINT),
        "inert" if !read.inert.is_empty() => return format!("nothing: {}", read.inert),
        _ => {}
    }
    let mut known = looked.known.clone();
    let job = Job { session: SessionId(0), mode: String::new(), goal: Digest::of(b""), bytes: 0 };
    let wrong = worded(read, &looked.modes).err().unwrap_or_default();
    let case = Case { read, tasks, place: &looked.place, repo: top, wrong: &wrong, now: looked.now };
    let mut facts = decide(&case, &known, &job);
    // Met for the first time, it is judged once it is on record.
    if let Some(seen @ LoopEvent::Seen { .. }) = facts.0.first()
        && known.apply(looked.now, seen).is_ok()
    {
        facts = decide(&case, &known, &job);
    }
    let slot = |at: &Timestamp, missed: u32| match missed {
        0 => format!("the slot of {}", looked.place.shown(*at)),
        n => format!("the slot of {} and {n} before it", looked.place.shown(*at)),
    };
    match (facts.0.first(), facts.1) {
        (Some(LoopEvent::Fired { slot: at, missed, .. }), false) => {
            format!("would fire {}", slot(at, *missed))
        }
        (Some(LoopEvent::Fired { slot: at, missed, .. }), true) => {
            format!("would pause what runs and fire {}", slot(at, *missed))
        }
        (Some(LoopEvent::Passed { slot: at, missed, why, .. }), _) => {
            format!("would pass over {}: {}", slot(at, *missed), clean::line(why))
        }
        (Some(LoopEvent::Held { slot: at, .. }), _) => {
            format!("would wait with {}: {}", slot(at, 0), waits(&known, &read.file.id))
        }
        _ if known.halted.is_some() => "nothing: the loop is paused".into(),
        _ => match looked.stands(read, 1).0 {
            "held" => format!("nothing: its slot waits: {}", waits(&known, &read.file.id)),
            state => format!("nothing: {state}"),
        },
    }
}

/// How the loop stands; the exit code.
pub(super) async fn status(app: &App, top: &str) -> Result<u8, Failure> {
    let looked = looked(app, top).await?;
    let jobs: Vec<(SessionId, String)> =
        looked.known.jobs().map(|open| (open.job.session, open.job.mode.clone())).collect();
    let next = looked
        .reads
        .iter()
        .filter_map(|read| Some((looked.stands(read, 1).1.first().copied()?, read.name().to_owned())));
    let next = next.min();
    let failing: Vec<(&str, &Failing)> = looked.known.failing().collect();
    if app.global.json {
        let failing: Vec<Value> = failing
            .iter()
            .map(|(what, of)| json!({"what": what, "signature": of.signature, "count": of.count, "escalated": of.escalated}))
            .collect();
        let under_way: Vec<Value> =
            jobs.iter().map(|(id, mode)| json!({"session_id": id.to_string(), "mode": mode})).collect();
        let next = next.map(|(at, name)| json!({"at": at.to_string(), "name": name}));
        let paused = looked.known.halted.clone();
        out::print(&json_page(
            &json!({"paused": paused, "jobs": under_way, "failing": failing, "next": next}),
        ));
    } else {
        match &looked.known.halted {
            Some(why) => {
                out::print(&format!("paused: {}; kapell loop continue lets it go on\n", clean::line(why)))
            }
            None => out::print("not paused; kapell loop fires what is due while it runs\n"),
        }
        for (id, mode) in &jobs {
            out::print(&format!("under way: session {} in mode {}\n", short(*id), clean::line(mode)));
        }
        for (what, of) in &failing {
            let what = clean::line(what);
            let count =
                format!("{what} failed {} time(s) in a row: {}", of.count, clean::line(&of.signature));
            match of.escalated {
                Some(_) => out::print(&format!("{count}; not tried any more: kapell loop clear {what}\n")),
                None => out::print(&format!("{count}\n")),
            }
        }
        if let Some((at, name)) = next {
            out::print(&format!("next: {} at {}\n", clean::line(&name), looked.place.shown(at)));
        }
    }
    looked.leave().await;
    Ok(exit::OK)
}
