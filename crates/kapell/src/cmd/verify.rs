//! `verify`: recomputes every hash, folds every session anew, and compares with what its snapshots say.
//!
//! Changes nothing. Start at [`run`].

use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::show::{clean, json_page};
use contract::event::{Event, LedgerEvent};
use contract::journal::{Damage, Journal};
use contract::{SessionId, StreamId};
use kernel::Session;
use kernel::ledger::Ledger;
use serde_json::json;

/// Verifies the store; exit code 1 when something is wrong.
pub(crate) async fn run(app: &App) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else {
        out::print(if app.global.json {
            "{\"damage\":[],\"streams\":0}\n"
        } else {
            "There is no store yet: nothing to verify.\n"
        });
        return Ok(exit::OK);
    };
    let done = verify(app, &wired).await;
    leave(wired).await;
    done
}

async fn verify(app: &App, wired: &Wired) -> Result<u8, Failure> {
    let mut verified = wired.store.verify().await?;
    let mut folded = 0u64;
    for listed in wired.store.sessions(false).await? {
        folded += 1;
        verified.damage.extend(session(wired, listed.session).await);
    }
    let code = if verified.damage.is_empty() { exit::OK } else { exit::FAILURE };
    if app.global.json {
        let damage =
            verified.damage.iter().map(|d| json!({"what": d.what, "seq": d.seq, "problem": d.problem}));
        out::print(&json_page(&json!({
            "streams": verified.streams, "events": verified.events, "blobs": verified.blobs,
            "snapshots": verified.snapshots, "sessions_folded": folded, "exit_code": code,
            "damage": damage.collect::<Vec<_>>(),
        })));
        return Ok(code);
    }
    out::print(&format!(
        "{} streams, {} events, {} blobs, {} snapshots: hashes recomputed; {folded} sessions folded anew\n",
        verified.streams, verified.events, verified.blobs, verified.snapshots
    ));
    for damage in &verified.damage {
        let at = damage.seq.map_or(String::new(), |seq| format!(" from event {seq} on"));
        out::print(&format!("DAMAGED {}{at}: {}\n", clean::line(&damage.what), clean::line(&damage.problem)));
    }
    match code {
        exit::OK => out::print("All is well.\n"),
        _ => out::print(
            "next: restore a backup of the data directory, or kapell events SESSION --export DIR to keep what can be read\n",
        ),
    }
    Ok(code)
}

/// The fold from the first event on, and whether what snapshots lead to is the same.
async fn session(wired: &Wired, id: SessionId) -> Option<Damage> {
    let stream = StreamId::Session(id);
    let damage = |what: String, problem: String, seq| Some(Damage { what, seq, problem });
    let records = match engine::store::records::<Event>(&*wired.store, stream).await {
        Ok(records) => records,
        Err(error) => return damage(stream.to_string(), error.to_string(), None),
    };
    let mut state = Session::new(id);
    for record in &records {
        if let Err(error) = state.apply(record.at, &record.event) {
            return damage(stream.to_string(), error.to_string(), Some(record.seq));
        }
    }
    // What was appended meanwhile makes the two differ: then there is nothing to compare.
    match wired.engine.look(id).await {
        Ok(Some(seen)) if seen.seq == state.seq && seen != state => damage(
            format!("snapshot of {stream}"),
            "it does not agree with the events".into(),
            Some(seen.seq),
        ),
        Err(fault) => damage(stream.to_string(), fault.what, None),
        _ if state.root() == id => ledger(wired, id).await,
        _ => None,
    }
}

async fn ledger(wired: &Wired, root: SessionId) -> Option<Damage> {
    let stream = StreamId::Tree(root);
    let damage = |problem: String, seq| Some(Damage { what: stream.to_string(), seq, problem });
    let records = match engine::store::records::<LedgerEvent>(&*wired.store, stream).await {
        Ok(records) => records,
        Err(error) => return damage(error.to_string(), None),
    };
    let mut ledger = Ledger::new(root);
    for record in &records {
        if let Err(error) = ledger.apply(&record.event) {
            return damage(error.to_string(), Some(record.seq));
        }
    }
    match ledger.sound() {
        true => None,
        false => damage("more is settled or reserved than its cap allows".into(), None),
    }
}
