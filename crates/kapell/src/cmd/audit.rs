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
use audit::export::{self, Finding, LOG, MANIFEST, Pin, Verified};
use audit::log::{self, Act, Anchor, Flaw, Tip};
use contract::event::Event;
use contract::journal::Journal;
use contract::port::Blobs;
use contract::{Digest, SessionId, StreamId, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Records read at once.
const PAGE: usize = 1_000;
/// Characters of what an act was about.
const TARGET_CHARS: usize = 160;

/// Does what was asked; the exit code.
pub(crate) async fn run(app: &App, what: AuditVerb) -> Result<u8, Failure> {
    if let AuditVerb::Verify { copy: Some(dir), key, since } = &what {
        return verdict(app, &copy(dir, Pin { key: key.as_deref(), since: *since })?);
    }
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let done = match &what {
        AuditVerb::Query(wanted) => query(app, &wired, wanted).await,
        AuditVerb::Verify { key, since, .. } => match verified(app, &wired, key.as_deref(), *since).await {
            Ok(verified) => verdict(app, &verified),
            Err(failure) => Err(failure),
        },
        AuditVerb::Export { dir } => write(app, &wired, dir).await,
    };
    leave(wired).await;
    done
}

/// How many acts fit, and those that were asked for of them.
pub(super) async fn page(
    app: &App,
    wired: &Wired,
    wanted: &AuditQuery,
) -> Result<(usize, Vec<Entry>), Failure> {
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
        found.extend(acts(&Anchors::new(&app.home), app.now())?);
    }
    for entry in &mut found {
        if let Some(args) = entry.args {
            about(wired, entry, args).await;
        }
    }
    found.retain(|entry| fits(entry, wanted));
    found.sort_by(|a, b| (&a.at, &a.session, a.seq).cmp(&(&b.at, &b.session, b.seq)));
    let all = found.len();
    Ok((all, found.into_iter().skip(wanted.offset).take(wanted.limit).collect()))
}

async fn query(app: &App, wired: &Wired, wanted: &AuditQuery) -> Result<u8, Failure> {
    let (all, page) = page(app, wired, wanted).await?;
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

/// What persons did that belongs to no session. Where the log is damaged, the rest of it is not known: that is listed.
fn acts(anchors: &Anchors, now: Timestamp) -> Result<Vec<Entry>, Failure> {
    let (bodies, _, flaw) = log::read(&anchors.text()?, None);
    let entry = |at: Timestamp, n: u64, (action, target): (String, String), outcome: &str| Entry {
        at: at.to_string(),
        session: None,
        seq: n,
        category: Category::Config,
        action,
        target,
        outcome: outcome.into(),
        severity: if outcome == "ok" { "notice" } else { "warning" },
        actor: "user".into(),
        step: String::new(),
        args: None,
    };
    let act = |body: log::Body| {
        let (done, outcome) = match body.act {
            Act::Config { what, target } => ((what, target), "ok"),
            Act::Key { public } => (("audit-key".into(), public), "ok"),
            Act::Export { lines, .. } => (("audit-export".into(), format!("{lines} lines")), "ok"),
            Act::Gap { lines, .. } => (("audit-gap".into(), format!("{lines} lines were gone")), "failed"),
            Act::Heads { .. } => return None,
        };
        Some(entry(body.at, body.n, done, outcome))
    };
    let mut acts: Vec<Entry> = bodies.into_iter().filter_map(act).collect();
    acts.extend(flaw.map(|Flaw { line, problem }| {
        let target = format!("line {line}: {problem}; what stands behind it is not listed");
        entry(now, line, ("audit-log".into(), target), "failed")
    }));
    Ok(acts)
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
async fn verified(
    app: &App,
    wired: &Wired,
    key: Option<&str>,
    since: Option<Tip>,
) -> Result<Verified, Failure> {
    let anchors = Anchors::new(&app.home);
    // Before the log: what another process adds meanwhile is kept after it is written.
    let kept = anchors.kept();
    let pinned = key.map(str::to_owned).or_else(|| anchors.public());
    let (bodies, tip, flaw) = log::read(&anchors.text()?, pinned.as_deref());
    let mut out = Verified { lines: tip.n, head: tip, pinned: true, ..Verified::default() };
    out.flawed(flaw);
    out.flawed(since.and_then(|since| log::taken_back(&bodies, tip, since)));
    out.flawed(log::gaps(&bodies, since.map_or(0, |since| since.n)));
    // A sound log that is not the one whose head was kept last: cut, put back, or begun anew.
    if let Some(kept) = kept.filter(|_| out.findings.is_empty()) {
        let place = anchors.kept_at().display();
        out.flawed(
            log::taken_back(&bodies, tip, kept.tip)
                .map(|Flaw { line, problem }| Flaw { line, problem: format!("{problem} (in {place})") }),
        );
    }
    out.key = pinned.unwrap_or_default();
    let (signed, flaws) = log::anchors(&bodies);
    out.flawed(flaws);
    let finding = |stream: StreamId, line, problem| Finding { file: stream.to_string(), line, problem };
    for (stream, anchored) in &signed {
        out.streams += 1;
        let hashes = match chain(wired, *stream).await {
            Ok(hashes) => hashes,
            Err(failure) => {
                out.findings.push(finding(*stream, None, failure.fault.what));
                continue;
            }
        };
        out.records += hashes.len() as u64;
        let last = anchored.keys().last().copied().unwrap_or_default();
        out.unsigned += (hashes.len() as u64).saturating_sub(last);
        let wrong = log::contradiction(&hashes, anchored);
        out.findings.extend(wrong.map(|(seq, problem)| finding(*stream, Some(seq), problem)));
    }
    let listed = wired.store.sessions(false).await?;
    if bodies.is_empty() && !listed.is_empty() {
        let problem = "nothing was signed, or the log is missing".to_owned();
        out.findings.push(Finding { file: LOG.into(), line: None, problem });
    }
    let sessions = listed.into_iter().map(|listed| StreamId::Session(listed.session));
    out.loose = sessions.filter(|stream| !signed.contains_key(stream)).collect();
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
    let anchors = Anchors::new(&app.home);
    anchors.anchor(&*wired.store, app.now()).await?;
    std::fs::create_dir_all(dir.join("streams")).map_err(fault)?;
    let text = anchors.text()?;
    let (bodies, tip, flaw) = log::read(&text, None);
    let (anchored, flaws) = log::anchors(&bodies);
    if let Some(flaw) = flaw.into_iter().chain(flaws).next() {
        let what = format!("line {} of the signed log: {}", flaw.line, flaw.problem);
        return Err(Failure::failed("audit-log", what, "kapell audit verify tells more"));
    }
    let mut streams = Vec::new();
    for (stream, anchored) in anchored {
        let (bytes, signed, hash) = signed_part(wired, stream, &anchored).await?;
        std::fs::write(dir.join("streams").join(export::file_name(stream)), bytes).map_err(fault)?;
        streams.push((stream, signed, hash));
    }
    let (count, records) = (streams.len(), streams.iter().map(|(_, seq, _)| seq).sum::<u64>());
    // Its list is the log's next line: every copy has a number of its own.
    let mut lines = String::new();
    let line = anchors.append_with(app.now(), |at| {
        lines = log::lines(&text)
            .take(usize::try_from(at.n).unwrap_or(usize::MAX))
            .fold(String::new(), |all, line| all + line + "\n");
        Act::Export { lines: at.n, last: at.hash, streams }
    })?;
    if log::read(&lines, None).1 != tip {
        let what = "the signed log went on while the copy was made".to_owned();
        return Err(Failure::failed("audit-busy", what, "empty the directory and try again"));
    }
    let head = Tip { n: tip.n + 1, hash: Digest::of(line.as_bytes()) };
    std::fs::write(dir.join(LOG), &lines).map_err(fault)?;
    std::fs::write(dir.join(MANIFEST), format!("{line}\n")).map_err(fault)?;
    let key = anchors.public().unwrap_or_default();
    if app.global.json {
        let head = head.to_string();
        out::print(&json_page(
            &json!({"dir": dir, "streams": count, "records": records, "key": key, "head": head}),
        ));
    } else {
        out::print(&format!(
            "{records} records of {count} streams are in {0}, signed\n\
             check it anywhere: kapell audit verify {0} --key {key}\n\
             keep this elsewhere: {head}\n  what is taken back later shows by: kapell audit verify --since {head}\n",
            dir.display()
        ));
    }
    Ok(exit::OK)
}

/// A stream up to what was signed of it, as it stands in a copy; number and hash of its last record there.
async fn signed_part(
    wired: &Wired,
    stream: StreamId,
    anchored: &BTreeMap<u64, Anchor>,
) -> Result<(Vec<u8>, u64, Digest), Failure> {
    let signed = anchored.keys().last().copied().unwrap_or_default();
    let (mut bytes, mut hashes) = (Vec::new(), Vec::new());
    while (hashes.len() as u64) < signed {
        let page = wired.store.read(stream, hashes.len() as u64, PAGE).await?;
        for stored in page.iter().take_while(|stored| stored.seq <= signed) {
            bytes.extend_from_slice(&export::line(stored.hash, &stored.bytes));
            hashes.push(stored.hash);
        }
        if page.is_empty() {
            break;
        }
    }
    // To sign a list of what is left would make it look whole.
    if let Some((seq, problem)) = log::contradiction(&hashes, anchored) {
        let what = format!("{stream}, event {seq}: {problem}");
        return Err(Failure::failed("audit-contradicted", what, "kapell audit verify tells more"));
    }
    Ok((bytes, signed, hashes.last().copied().unwrap_or_default()))
}

/// Checks a copy without a store.
fn copy(dir: &Path, pin: Pin<'_>) -> Result<Verified, Failure> {
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
    Ok(export::verify(&manifest, &log, &files, pin, journal::genesis))
}

fn verdict(app: &App, verified: &Verified) -> Result<u8, Failure> {
    let Verified { streams, records, lines, key, findings, unsigned, .. } = verified;
    let code = if findings.is_empty() { exit::OK } else { exit::FAILURE };
    let head = verified.head.to_string();
    if app.global.json {
        let findings: Vec<Value> = findings
            .iter()
            .map(|it| json!({"file": it.file, "line": it.line, "problem": it.problem}))
            .collect();
        out::print(&json_page(&json!({
            "exit_code": code, "streams": streams, "records": records, "unsigned": unsigned, "not_signed": verified.loose,
            "lines": lines, "key": key, "key_checked": verified.pinned, "head": head, "findings": findings,
        })));
        return Ok(code);
    }
    for Finding { file, line, problem } in findings {
        let at = line.map(|line| format!(":{line}")).unwrap_or_default();
        out::print(&format!("BAD  {file}{at}: {}\n", clean::line(problem)));
    }
    if !findings.is_empty() {
        return Ok(code);
    }
    let signed = records.saturating_sub(*unsigned);
    out::print(&format!("ok   {signed} records of {streams} streams agree with {lines} signed lines\n"));
    if *unsigned > 0 || !verified.loose.is_empty() {
        let loose = verified.loose.len();
        out::print(&format!(
            "     not signed yet: {unsigned} newer records of them, and {loose} whole sessions\n"
        ));
    }
    let whose = if verified.pinned {
        ""
    } else {
        "; the copy itself says so: give --key or --since to know whose it is"
    };
    out::print(&format!("     key {key}{whose}\n     head {head}\n"));
    Ok(code)
}
