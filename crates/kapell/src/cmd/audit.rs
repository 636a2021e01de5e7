//! `audit`: who did what, read off the journal; whether the journal is what was signed; a copy that can be checked anywhere.
//!
//! Changes nothing but the signed log, to which an export adds where everything stood. Start at [`run`].

use super::work::leave;
use crate::anchors::Anchors;
use crate::app::{self, App, Wired};
use crate::args::{AuditQuery, AuditVerb};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick;
use crate::show::{clean, json_page, table::table};
use audit::entry::{Category, Entry, entries};
use audit::export::{self, Finding, LOG, MANIFEST, Verified};
use audit::log::{self, Act};
use contract::event::Event;
use contract::journal::Journal;
use contract::port::Blobs;
use contract::{Digest, SessionId, StreamId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Records read at once.
const PAGE: usize = 1_000;
/// Characters of what an act was about.
const TARGET_CHARS: usize = 160;

/// Does what was asked; the exit code.
pub(crate) async fn run(app: &App, what: AuditVerb) -> Result<u8, Failure> {
    if let AuditVerb::Verify { copy: Some(dir), key } = &what {
        return verdict(app, &copy(dir, key.as_deref())?);
    }
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let done = match &what {
        AuditVerb::Query(wanted) => query(app, &wired, wanted).await,
        AuditVerb::Verify { key, .. } => match verified(app, &wired, key.as_deref()).await {
            Ok(verified) => verdict(app, &verified),
            Err(failure) => Err(failure),
        },
        AuditVerb::Export { dir } => write(app, &wired, dir).await,
    };
    leave(wired).await;
    done
}

async fn query(app: &App, wired: &Wired, wanted: &AuditQuery) -> Result<u8, Failure> {
    if let Some(name) = &wanted.category
        && Category::ALL.iter().all(|category| category.name() != name)
    {
        let known: Vec<&str> = Category::ALL.iter().map(|category| category.name()).collect();
        return Err(Failure::usage(
            "no-category",
            format!("there is no category `{name}`"),
            known.join(", "),
        ));
    }
    let sessions: Vec<SessionId> = match &wanted.session {
        Some(name) => vec![pick::session(&*wired.store, name).await?],
        None => wired.store.sessions(false).await?.into_iter().map(|listed| listed.session).collect(),
    };
    let mut found: Vec<Entry> = Vec::new();
    for session in sessions {
        for record in engine::store::records::<Event>(&*wired.store, StreamId::Session(session)).await? {
            found.extend(entries(session, &record));
        }
    }
    if wanted.session.is_none() {
        found.extend(acts(&Anchors::new(&app.home.data))?);
    }
    for entry in &mut found {
        if let Some(args) = entry.args {
            about(wired, entry, args).await;
        }
    }
    found.retain(|entry| fits(entry, wanted));
    found.sort_by(|a, b| (&a.at, &a.session, a.seq).cmp(&(&b.at, &b.session, b.seq)));
    let all = found.len();
    let page: Vec<Entry> = found.into_iter().skip(wanted.offset).take(wanted.limit).collect();
    if app.global.json {
        out::print(&json_page(&json!({"total": all, "offset": wanted.offset, "entries": page})));
    } else if wanted.csv {
        out::print(&csv(&page));
    } else {
        let rows: Vec<Vec<String>> = page.iter().map(row).collect();
        let heading = ["AT", "SESSION", "SEQ", "STEP", "CATEGORY", "ACTION", "OUTCOME", "BY", "TARGET"];
        out::print(&table(&heading, &rows, None));
        if all > page.len() {
            out::print(&format!("{} of {all}; --offset and --limit show others\n", page.len()));
        }
    }
    Ok(exit::OK)
}

/// What persons did that belongs to no session.
fn acts(anchors: &Anchors) -> Result<Vec<Entry>, Failure> {
    let (bodies, ..) = log::read(&anchors.text()?, None);
    let act = |body: log::Body| {
        let (action, target) = match body.act {
            Act::Config { what, target } => (what, target),
            Act::Key { public } => ("audit-key".into(), public),
            Act::Export { lines, .. } => ("audit-export".into(), format!("{lines} lines")),
            Act::Heads { .. } => return None,
        };
        Some(Entry {
            at: body.at.to_string(),
            session: None,
            seq: body.n,
            category: Category::Config,
            action,
            target,
            outcome: "ok".into(),
            severity: "notice",
            actor: "user".into(),
            step: String::new(),
            args: None,
        })
    };
    Ok(bodies.into_iter().filter_map(act).collect())
}

/// Adds what the call was about: its command, its path, its address.
async fn about(wired: &Wired, entry: &mut Entry, args: Digest) {
    let Ok(bytes) = wired.store.blob(args).await else { return };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let named =
        ["command", "url", "path", "query", "pattern", "name"].iter().find_map(|key| value[key].as_str());
    let said = named.map_or(text.as_str(), |named| named);
    let said: String = clean::line(said).chars().take(TARGET_CHARS).collect();
    entry.target = format!("{said} | {}", entry.target);
}

fn fits(entry: &Entry, wanted: &AuditQuery) -> bool {
    let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    same(&wanted.category, entry.category.name())
        && same(&wanted.action, &entry.action)
        && same(&wanted.outcome, &entry.outcome)
        && same(&wanted.severity, entry.severity)
        && same(&wanted.by, &entry.actor)
        && wanted.target.as_ref().is_none_or(|piece| entry.target.contains(piece.as_str()))
        // Times of one form sort as texts do, and a day is the beginning of all its moments.
        && wanted.since.as_ref().is_none_or(|since| entry.at.as_str() >= since.as_str())
        && wanted.until.as_ref().is_none_or(|until| &entry.at[..entry.at.len().min(until.len())] <= until.as_str())
}

fn row(entry: &Entry) -> Vec<String> {
    let session = entry.session.as_deref().map_or("-", |id| &id[id.len().saturating_sub(12)..]);
    vec![
        entry.at.clone(),
        session.to_owned(),
        entry.seq.to_string(),
        entry.step.clone(),
        entry.category.name().to_owned(),
        clean::line(&entry.action),
        entry.outcome.clone(),
        clean::line(&entry.actor),
        clean::line(&entry.target),
    ]
}

fn csv(page: &[Entry]) -> String {
    let cell = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut out = String::from("at,session,seq,step,category,action,outcome,severity,by,target\n");
    for entry in page {
        let seq = entry.seq.to_string();
        let session = entry.session.clone().unwrap_or_default();
        let cells = [
            entry.at.as_str(),
            &session,
            &seq,
            &entry.step,
            entry.category.name(),
            &entry.action,
            &entry.outcome,
            entry.severity,
            &entry.actor,
            &entry.target,
        ];
        out.push_str(&cells.map(cell).join(","));
        out.push('\n');
    }
    out
}

/// Compares the journal with what was signed.
async fn verified(app: &App, wired: &Wired, key: Option<&str>) -> Result<Verified, Failure> {
    let anchors = Anchors::new(&app.home.data);
    let own = anchors.public();
    let pinned = key.map(str::to_owned).or(own);
    let (bodies, tip, flaw) = log::read(&anchors.text()?, pinned.as_deref());
    let mut out = Verified { lines: tip.n, key: pinned.unwrap_or_default(), ..Verified::default() };
    let found = |file: String, line: Option<u64>, problem: String| Finding { file, line, problem };
    out.findings.extend(flaw.map(|flaw| found(LOG.into(), Some(flaw.line), flaw.problem)));
    let mut signed: BTreeMap<StreamId, Vec<(u64, Digest)>> = BTreeMap::new();
    for body in &bodies {
        if let Act::Heads { heads } = &body.act {
            heads
                .iter()
                .for_each(|(stream, seq, hash)| signed.entry(*stream).or_default().push((*seq, *hash)));
        }
    }
    for (stream, heads) in signed {
        out.streams += 1;
        let hashes = match chain(wired, stream).await {
            Ok(hashes) => hashes,
            Err(failure) => {
                out.findings.push(found(stream.to_string(), None, failure.fault.what));
                continue;
            }
        };
        out.records += hashes.len() as u64;
        for (seq, hash) in heads {
            let problem = match usize::try_from(seq).ok().and_then(|seq| hashes.get(seq.checked_sub(1)?)) {
                None => {
                    format!("it ends after event {}; {seq} were signed: its end is missing", hashes.len())
                }
                Some(is) if *is != hash => {
                    "it is not the event that was signed: the stream was written anew".into()
                }
                Some(_) => continue,
            };
            out.findings.push(found(stream.to_string(), Some(seq), problem));
            break;
        }
    }
    let listed = wired.store.sessions(false).await?;
    if bodies.is_empty() && !listed.is_empty() {
        out.findings.push(found(LOG.into(), None, "nothing was signed, or the log is missing".into()));
    }
    Ok(out)
}

/// The chain hashes of a stream; the store recomputes each of them.
async fn chain(wired: &Wired, stream: StreamId) -> Result<Vec<Digest>, Failure> {
    let (mut hashes, mut after) = (Vec::new(), 0);
    loop {
        let page = wired.store.read(stream, after, PAGE).await?;
        hashes.extend(page.iter().map(|stored| stored.hash));
        after = page.last().map_or(after, |stored| stored.seq);
        if page.len() < PAGE {
            return Ok(hashes);
        }
    }
}

/// Writes a copy: streams, log, and a signed list of both.
async fn write(app: &App, wired: &Wired, dir: &Path) -> Result<u8, Failure> {
    let fault = |error: std::io::Error| {
        let what = format!("cannot write the copy into {}: {error}", dir.display());
        Failure::usage("export", what, "name an empty directory, or one that does not exist")
    };
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(fault(std::io::ErrorKind::DirectoryNotEmpty.into()));
    }
    std::fs::create_dir_all(dir.join("streams")).map_err(fault)?;
    let anchors = Anchors::new(&app.home.data);
    anchors.anchor(&*wired.store, app.now()).await?;
    let text = anchors.text()?;
    let (bodies, tip, flaw) = log::read(&text, None);
    if let Some(flaw) = flaw {
        let what = format!("line {} of the signed log: {}", flaw.line, flaw.problem);
        return Err(Failure::failed("audit-log", what, "kapell audit verify tells more"));
    }
    let mut streams = Vec::new();
    for (stream, (signed, _)) in log::heads(&bodies) {
        let (mut bytes, mut after, mut hash) = (Vec::new(), 0, Digest::default());
        while after < signed {
            let page = wired.store.read(stream, after, PAGE).await?;
            for stored in page.iter().take_while(|stored| stored.seq <= signed) {
                bytes.extend_from_slice(&export::line(stored.hash, &stored.bytes));
                (after, hash) = (stored.seq, stored.hash);
            }
            if page.is_empty() {
                break;
            }
        }
        std::fs::write(dir.join("streams").join(export::file_name(stream)), bytes).map_err(fault)?;
        streams.push((stream, after, hash));
    }
    std::fs::write(dir.join(LOG), &text).map_err(fault)?;
    let (count, records) = (streams.len(), streams.iter().map(|(_, seq, _)| seq).sum::<u64>());
    let act = Act::Export { lines: tip.n, last: tip.hash, streams };
    let line = anchors.sign(app.now(), |_| act)?;
    std::fs::write(dir.join(MANIFEST), format!("{line}\n")).map_err(fault)?;
    let key = anchors.public().unwrap_or_default();
    if app.global.json {
        out::print(&json_page(&json!({"dir": dir, "streams": count, "records": records, "key": key})));
    } else {
        out::print(&format!(
            "{records} records of {count} streams are in {}, signed\ncheck it anywhere: kapell audit verify {} --key {key}\n",
            dir.display(),
            dir.display()
        ));
    }
    Ok(exit::OK)
}

/// Checks a copy without a store.
fn copy(dir: &Path, key: Option<&str>) -> Result<Verified, Failure> {
    let read =
        |name: &str| std::fs::read(dir.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let manifest = read(MANIFEST).map_err(|error| {
        let what = format!("{} is no copy of a journal: {MANIFEST}: {error}", dir.display());
        Failure::usage("no-copy", what, "kapell audit export DIR makes one")
    })?;
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir.join("streams")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, std::fs::read(entry.path()).unwrap_or_default());
    }
    let log = read(LOG).unwrap_or_default();
    Ok(export::verify(&manifest, &log, &files, key, journal::genesis))
}

fn verdict(app: &App, verified: &Verified) -> Result<u8, Failure> {
    let Verified { streams, records, lines, key, findings } = verified;
    let code = if findings.is_empty() { exit::OK } else { exit::FAILURE };
    if app.global.json {
        let findings: Vec<Value> = findings
            .iter()
            .map(|it| json!({"file": it.file, "line": it.line, "problem": it.problem}))
            .collect();
        out::print(&json_page(&json!({
            "exit_code": code, "streams": streams, "records": records, "lines": lines, "key": key, "findings": findings,
        })));
        return Ok(code);
    }
    for Finding { file, line, problem } in findings {
        let at = line.map(|line| format!(":{line}")).unwrap_or_default();
        out::print(&format!("BAD  {file}{at}: {}\n", clean::line(problem)));
    }
    if findings.is_empty() {
        out::print(&format!(
            "ok   {records} records of {streams} streams agree with {lines} signed lines\n     key {key}\n"
        ));
    }
    Ok(code)
}
