//! `gc`: removes what is not needed any more, and nothing else; `--dry-run` shows it first.
//!
//! Workspaces of ended sessions (work that never landed is parked first), stale locks and records, caches that nobody
//! uses, blobs that nobody mentions. Start at [`run`].

use super::events::mentioned;
use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::short;
use crate::quantity::bytes;
use crate::show::json_page;
use contract::event::Event;
use contract::journal::{Error, Journal};
use contract::record::decode;
use contract::{Digest, Fault, Kind, SessionId, StreamId};
use engine::Guard;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use workspace::bytes_below;

/// Records read at once.
const PAGE: usize = 1_000;

/// Something that goes, went, or had to stay.
struct Item {
    kind: &'static str,
    name: String,
    bytes: u64,
    /// Why it stays, when it does.
    stays: Option<String>,
}

impl Item {
    fn new(kind: &'static str, name: impl Into<String>, bytes: u64) -> Self {
        Self { kind, name: name.into(), bytes, stays: None }
    }

    fn stays(mut self, why: impl Into<String>) -> Self {
        self.stays = Some(why.into());
        self
    }
}

/// Removes, or shows what would go; the exit code.
pub(crate) async fn run(app: &App, dry: bool) -> Result<u8, Failure> {
    if !app.home.store_file().exists() {
        out::print(if app.global.json {
            "{\"items\":[],\"bytes\":0}\n"
        } else {
            "There is nothing to remove.\n"
        });
        return Ok(exit::OK);
    }
    let wired = app.wire()?;
    let mut items = Vec::new();
    let collected = collect(app, &wired, dry, &mut items).await;
    leave(wired).await;
    // What went is told whatever came after it: it may name where work was put.
    if collected.is_ok() || !items.is_empty() {
        print(app, &items, dry);
    }
    collected.map(|()| exit::OK)
}

async fn collect(app: &App, wired: &Wired, dry: bool, items: &mut Vec<Item>) -> Result<(), Failure> {
    workspaces(wired, dry, items).await?;
    // Removing may have taken minutes: who is at work, and what is unfinished, is asked now.
    let unfinished: BTreeSet<SessionId> =
        wired.store.sessions(true).await?.into_iter().map(|listed| listed.session).collect();
    items.extend(locks(app, wired, &unfinished, dry)?);
    items.extend(spooled(wired, dry));
    // Whoever works now may use a cache, and may be about to mention a blob.
    let busy = wired.locks.all_held();
    if !busy.is_empty() {
        let names: Vec<String> = busy.iter().map(|id| short(*id)).collect();
        let what = app.home.cache.display().to_string();
        items.push(Item::new("caches and blobs", what, 0).stays(format!("{} at work", names.join(", "))));
        return Ok(());
    }
    cache(app, wired, dry, items).await?;
    items.extend(blobs(wired, dry).await?);
    if !dry && let Err(error) = wired.store.compact() {
        let fault = error.fault();
        items.push(Item::new("room in the store", "", 0).stays(told(&fault)));
    }
    Ok(())
}

/// Children first: what they borrow from their parents must be there while they are parked.
async fn workspaces(wired: &Wired, dry: bool, items: &mut Vec<Item>) -> Result<(), Failure> {
    for listed in wired.git.list()?.into_iter().rev() {
        let id = listed.session;
        let mut gone = over(wired, id).await;
        let mut item = Item::new("workspace", short(id), listed.bytes);
        if gone.is_ok() && !dry {
            // Asked again with its lock in hand: somebody may have opened it a moment ago.
            gone = match wired.git.remove(id, over(wired, id)).await {
                Ok(removed) => {
                    let kept = removed.parked.map(|(parked, repo)| {
                        format!(
                            " (work kept as {parked} in {})",
                            crate::show::clean::line(&repo.display().to_string())
                        )
                    });
                    item.name.extend(kept);
                    Ok(())
                }
                Err(fault) => Err(fault),
            };
        }
        match gone {
            Err(fault) if fault.code == UNFINISHED => {}
            Err(fault) => items.push(item.stays(told(&fault))),
            Ok(()) => items.push(item),
        }
    }
    Ok(())
}

/// Says that a session is unfinished.
const UNFINISHED: &str = "session-unfinished";

/// Nothing needs a session's workspace any more: it has ended, and no parent that goes on still has to take its result.
async fn over(wired: &Wired, id: SessionId) -> Result<(), Fault> {
    let lost = |error: Error| error.fault();
    let unfinished = wired.store.sessions(true).await.map_err(lost)?;
    let unfinished = |id: SessionId| unfinished.iter().any(|listed| listed.session == id);
    if unfinished(id) {
        return Err(Fault::new(Kind::UserFixable, UNFINISHED, format!("session {id} is unfinished")));
    }
    let first = wired.store.read(StreamId::Session(id), 0, 1).await.map_err(lost)?;
    let open = wired.jobs.terminals(id);
    if !open.is_empty() {
        let what = format!("session {id} has open terminals: {}", open.join(", "));
        let hint = format!("kapell jobs {id} {} --stop ends one", open[0]);
        return Err(Fault::new(Kind::UserFixable, "terminal-open", what).hint(hint));
    }
    let Some(first) = first.first() else { return Ok(()) };
    let opened = decode::<Event>(&first.bytes).map_err(|error| {
        Fault::new(Kind::Permanent, "event-unreadable", format!("event 1 of {id}: {error}"))
    })?;
    let Event::Opened { spec } = opened.event else { return Ok(()) };
    let Some(parent) = spec.parent.map(|parent| parent.session).filter(|parent| unfinished(*parent)) else {
        return Ok(());
    };
    if wired.engine.look(parent).await?.is_none_or(|state| state.awaits(id)) {
        let what = format!("session {parent}, which goes on, has not taken its result yet");
        let hint = format!("kapell resume {parent}, or kapell cancel {parent}");
        return Err(Fault::new(Kind::UserFixable, "result-awaited", what).hint(hint));
    }
    Ok(())
}

/// A fault in one line.
fn told(fault: &Fault) -> String {
    if fault.hint.is_empty() { fault.what.clone() } else { format!("{}; {}", fault.what, fault.hint) }
}

/// Lock files of sessions that are over and that nobody holds, with their directories of records.
fn locks(
    app: &App,
    wired: &Wired,
    unfinished: &BTreeSet<SessionId>,
    dry: bool,
) -> Result<Vec<Item>, Failure> {
    let (mut count, mut size) = (0u64, 0);
    let entries = std::fs::read_dir(app.home.run_dir()).into_iter().flatten().flatten();
    let over = |path: &Path| {
        let id = path.file_stem().and_then(|stem| stem.to_str()?.parse::<SessionId>().ok());
        id.filter(|id| !unfinished.contains(id))
    };
    for id in entries.filter_map(|entry| over(&entry.path())).collect::<BTreeSet<_>>() {
        let paths = [wired.locks.path(id), wired.locks.records(id)];
        let there = paths.iter().filter(|path| path.exists());
        let (files, bytes) = there.fold((0, 0), |(n, sum), path| (n + 1, sum + size_of(path)));
        if wired.locks.held(id) {
            continue;
        }
        // Claiming makes the file and ends what a dead holder left running: that is more than looking.
        let lock = if dry { None } else { wired.locks.claim(id)? };
        if lock.is_none() && !dry {
            continue;
        }
        count += files;
        size += bytes;
        if !dry {
            // A directory goes when it is empty; a record that is still there names something alive. The lock goes
            // last, while it is held: whoever waits for it finds that its file is another one by then.
            let _ = std::fs::remove_dir(&paths[1]);
            let _ = std::fs::remove_file(&paths[0]);
        }
    }
    Ok(if count > 0 { vec![Item::new("locks and records", count.to_string(), size)] } else { Vec::new() })
}

/// Outputs whose command died with its Kapell while it wrote.
fn spooled(wired: &Wired, dry: bool) -> Vec<Item> {
    let item = |path: std::path::PathBuf| {
        let mut item = Item::new("half an output", path.display().to_string(), size_of(&path));
        if !dry {
            item.stays = std::fs::remove_file(&path).err().map(|error| error.to_string());
        }
        item
    };
    wired.locks.spooled().into_iter().map(item).collect()
}

fn size_of(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |meta| meta.len())
}

/// Places for checks go under their locks, all else as it is.
async fn cache(app: &App, wired: &Wired, dry: bool, items: &mut Vec<Item>) -> Result<(), Failure> {
    for used in wired.git.empty_checks(dry).await? {
        let item = Item::new("place for checks", used.dir.display().to_string(), used.bytes);
        items.push(Item { stays: used.stays, ..item });
    }
    for entry in std::fs::read_dir(&app.home.cache).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.file_name() == wired.git.checks_dir().file_name() {
            continue;
        }
        let mut item = Item::new("cache", path.display().to_string(), bytes_below(&path));
        if !dry {
            let gone = match entry.file_type() {
                // tidy: allow(recursive-delete): the cache root is Kapell's own; by its definition all of it may go
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
                _ => std::fs::remove_file(&path),
            };
            item.stays = gone.err().map(|error| error.to_string());
        }
        items.push(item);
    }
    Ok(())
}

/// The streams in which projects speak of blobs: their loops and what changed their files.
async fn of_projects(wired: &Wired) -> Result<BTreeSet<StreamId>, Failure> {
    let (mut streams, mut after) = (BTreeSet::new(), 0);
    loop {
        let page = wired.store.grown(after, PAGE).await?;
        after = page.last().map_or(after, |last| last.place);
        let project = |stream: &StreamId| matches!(stream, StreamId::Loop(_) | StreamId::Board(_));
        streams.extend(page.iter().map(|grown| grown.stream).filter(project));
        if page.len() < PAGE {
            return Ok(streams);
        }
    }
}

async fn spoken_of(wired: &Wired, stream: StreamId, live: &mut HashSet<Digest>) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let page = wired.store.read(stream, after, PAGE).await?;
        page.iter().for_each(|stored| mentioned(&stored.bytes, live));
        after = page.last().map_or(after, |last| last.seq);
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

async fn blobs(wired: &Wired, dry: bool) -> Result<Vec<Item>, Failure> {
    let mark = match wired.store.mark() {
        Ok(mark) => mark,
        // Somebody may be about to mention a blob, or what a damaged record mentions cannot be read.
        Err(error @ (Error::Busy(_) | Error::Corrupt(_))) => {
            return Ok(vec![Item::new("blobs", "", 0).stays(error.to_string())]);
        }
        Err(error) => return Err(error.into()),
    };
    let mut live: HashSet<Digest> = HashSet::new();
    for listed in wired.store.sessions(false).await? {
        spoken_of(wired, StreamId::Session(listed.session), &mut live).await?;
    }
    // What is claimed and not open yet is a session's only later.
    for stream in of_projects(wired).await? {
        spoken_of(wired, stream, &mut live).await?;
    }
    for session in wired.store.inbox_sessions().await? {
        for mail in wired.store.inbox(session).await? {
            // What cannot be understood is no reason to drop what it may speak of: its text is looked at as it is.
            let text = match mail.intent {
                Ok(intent) => serde_json::to_vec(&intent).unwrap_or_default(),
                Err(text) => text.into_bytes(),
            };
            mentioned(&text, &mut live);
        }
    }
    let swept = wired.store.sweep_blobs(&live, mark, dry)?;
    let name = format!("{} that no event mentions", swept.blobs);
    Ok(if swept.blobs > 0 { vec![Item::new("blobs", name, swept.bytes)] } else { Vec::new() })
}

fn print(app: &App, items: &[Item], dry: bool) {
    let sum = items.iter().filter(|item| item.stays.is_none()).map(|item| item.bytes).sum::<u64>();
    if app.global.json {
        let items: Vec<Value> = items
            .iter()
            .map(|item| json!({"kind": item.kind, "name": item.name, "bytes": item.bytes, "stays": item.stays}))
            .collect();
        out::print(&json_page(&json!({"dry_run": dry, "bytes": sum, "items": items})));
        return;
    }
    for item in items {
        let stays = item
            .stays
            .as_ref()
            .map_or(String::new(), |why| format!(" stays: {}", crate::show::clean::line(why)));
        out::print(&format!("{:<18} {:>10}  {}{stays}\n", item.kind, bytes(item.bytes), item.name));
    }
    match (dry, items.is_empty()) {
        (_, true) => out::print("There is nothing to remove.\n"),
        (true, _) => {
            out::print(&format!("{} would be freed; nothing was removed. next: kapell gc\n", bytes(sum)))
        }
        (false, _) => out::print(&format!("{} freed\n", bytes(sum))),
    }
}
