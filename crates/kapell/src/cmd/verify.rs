//! `verify`: recomputes every hash, folds every session anew, and compares what hangs on the events with them.
//!
//! Changes nothing; works on a read-only store, and on one that is in use. Start at [`run`].

mod replay;
mod rest;

use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::finding::{Finding, Level, Progress, worst};
use crate::out;
use crate::pick;
use crate::show::json_page;
use contract::StreamId;
use contract::journal::{Damage, Journal, Verified};
use replay::Replay;
pub(super) use rest::take_over;
use serde_json::json;
use std::sync::Arc;

/// What was looked at, and what came of it.
struct Report {
    verified: Verified,
    folded: u64,
    findings: Vec<Finding>,
}

/// Verifies the store, or one session of it; exit code 1 when something is damaged.
pub(crate) async fn run(app: &App, name: Option<&str>) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else {
        if name.is_some() {
            return Err(crate::app::no_sessions());
        }
        out::print(if app.global.json {
            "{\"damage\":[],\"findings\":[],\"streams\":0}\n"
        } else {
            "There is no store yet: nothing to verify.\n"
        });
        return Ok(exit::OK);
    };
    let progress = Progress::begin(app.term);
    let done = match name {
        None => whole(app, &wired, &progress).await,
        Some(name) => one(app, &wired, name, &progress).await,
    };
    progress.clear();
    leave(wired).await;
    Ok(print(app, &done?))
}

/// Everything.
async fn whole(app: &App, wired: &Wired, progress: &Arc<Progress>) -> Result<Report, Failure> {
    let told = Arc::clone(progress);
    let verified =
        wired.store.verify_told(move |done, of| told.tell("recomputing hashes, row", done, of)).await?;
    let audit = wired.store.audit()?;
    let mut replay = Replay::new(wired, &audit, &verified.damage)?;
    let sessions = wired.store.sessions(false).await?;
    for (done, listed) in (0..).zip(&sessions) {
        progress.tell("folding anew, session", done, sessions.len() as u64);
        replay.session(listed.session, false).await?;
    }
    let replayed = replay.end();
    let folded = replayed.known.len() as u64;
    let mut findings: Vec<Finding> = verified.damage.iter().chain(&replayed.damage).map(damaged).collect();
    let sound = |name: &str, findings: &[Finding]| !findings.iter().any(|finding| finding.name == name);
    for (name, what) in [
        (
            "chain",
            format!("{} events in {} streams: every hash recomputed", verified.events, verified.streams),
        ),
        ("fold", format!("{folded} sessions and {} ledgers folded anew", replayed.ledgers)),
        (
            "snapshots",
            format!("{}: every hash recomputed; {} agree with the fold", verified.snapshots, replayed.agree),
        ),
    ] {
        if sound(name, &findings) {
            findings.push(Finding::ok(name, what));
        }
    }
    if sound("blobs", &findings) {
        let what = format!(
            "{}: every digest recomputed; {} that records refer to are there",
            verified.blobs, replayed.present
        );
        findings.push(Finding::ok("blobs", what));
    }
    findings.extend(rest::orphans(&audit, &replayed, &verified)?);
    findings.extend(rest::leases(app, wired, &audit, &replayed.known, None)?);
    findings.extend(rest::inbox(app, &audit, &replayed.known, None)?);
    findings.sort_by_key(|finding| finding.level);
    Ok(Report { verified, folded, findings })
}

/// One session: its events, its tree's ledger, its snapshots, its blobs, its lease, its inbox, its workspace.
async fn one(app: &App, wired: &Wired, name: &str, progress: &Arc<Progress>) -> Result<Report, Failure> {
    let id = pick::session(&*wired.store, name).await?;
    let audit = wired.store.audit()?;
    let mut replay = Replay::new(wired, &audit, &[])?;
    progress.tell("folding anew, session", 0, 1);
    replay.session(id, true).await?;
    let replayed = replay.end();
    let mut findings: Vec<Finding> = replayed.damage.iter().map(damaged).collect();
    if findings.is_empty() {
        let what = format!("{} events of session {id}: every hash recomputed, folded anew", replayed.events);
        findings.push(Finding::ok("chain", what));
        findings.push(Finding::ok("snapshots", format!("{} agree with the fold", replayed.agree)));
        findings
            .push(Finding::ok("blobs", format!("{} referred to: every digest recomputed", replayed.present)));
    }
    findings.extend(rest::leases(app, wired, &audit, &replayed.known, Some(id))?);
    findings.extend(rest::inbox(app, &audit, &replayed.known, Some(id))?);
    findings.extend(super::doctor::places::workspace_of(wired, id).await?);
    findings.sort_by_key(|finding| finding.level);
    let (events, blobs, snapshots) = (replayed.events, replayed.present, replayed.agree);
    let verified = Verified { streams: 1, events, blobs, snapshots, damage: Vec::new() };
    Ok(Report { verified: Verified { damage: replayed.damage, ..verified }, folded: 1, findings })
}

/// What kind of thing is damaged, and what can be done about it.
fn damaged(damage: &Damage) -> Finding {
    let (name, hint) = match damage.what.as_str() {
        what if what.starts_with("snapshot of ") => {
            ("snapshots", "only a cache: the events are read instead; nothing is lost".to_owned())
        }
        what if what.starts_with("blob") => {
            ("blobs", "a backup of the data directory may still hold it; what refers to it cannot be shown in full".to_owned())
        }
        "inbox" => ("inbox", "it is refused and put on record as such; say it again: kapell tell SESSION ...".to_owned()),
        "leases" => {
            let whose = damage.problem.split(' ').find_map(|word| word.parse().ok());
            ("leases", take_over(whose))
        }
        what => match what.parse() {
            Ok(StreamId::Session(id)) => {
                ("chain", format!("kapell events {id} --export DIR keeps what can be read; a backup may hold the rest"))
            }
            Ok(StreamId::Tree(_)) => ("chain", "no session of that tree goes on; restore a backup of the data directory".to_owned()),
            Ok(StreamId::Quota(_)) => ("chain", "no model of that key is called; restore a backup of the data directory".to_owned()),
            Ok(StreamId::Project(_)) => ("chain", "no model is called for that project; restore a backup of the data directory".to_owned()),
            Ok(StreamId::Board(_)) => ("chain", "kapell mcp changes no file of that project; restore a backup of the data directory".to_owned()),
            Ok(StreamId::Loop(_)) => ("chain", "no schedule of that project fires; restore a backup of the data directory".to_owned()),
            Err(_) => {
                ("chain", "restore a backup of the data directory, or kapell events SESSION --export DIR to keep what can be read".to_owned())
            }
        },
    };
    let at = damage.seq.map_or(String::new(), |seq| format!(" from event {seq} on"));
    Finding::bad(name, format!("DAMAGED {}{at}: {}", damage.what, damage.problem), hint)
}

fn print(app: &App, report: &Report) -> u8 {
    let Report { verified, folded, findings } = report;
    let bad = worst(findings) == Level::Bad;
    let code = if bad { exit::FAILURE } else { exit::OK };
    if app.global.json {
        let bad = findings.iter().filter(|finding| finding.level == Level::Bad);
        let known = |what: &str| {
            verified.damage.iter().find(|damage| what.starts_with(&format!("DAMAGED {}", damage.what)))
        };
        let damage = bad.map(|finding| match known(&finding.what) {
            Some(Damage { what, seq, problem }) => json!({"what": what, "seq": seq, "problem": problem}),
            None => json!({"what": finding.name, "seq": null, "problem": finding.what}),
        });
        out::print(&json_page(&json!({
            "streams": verified.streams, "events": verified.events, "blobs": verified.blobs,
            "snapshots": verified.snapshots, "sessions_folded": folded, "exit_code": code,
            "damage": damage.collect::<Vec<_>>(),
            "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
        })));
        return code;
    }
    let paint = app.term.paint();
    out::print(&findings.iter().map(|finding| finding.text(paint)).collect::<String>());
    out::print(match worst(findings) {
        Level::Ok => "All is well.\n",
        Level::Note => "All is well; the notes say what could be tidied up.\n",
        Level::Bad => {
            "Something is damaged. next: the line below each BAD; kapell doctor looks at the disk itself\n"
        }
    });
    code
}
