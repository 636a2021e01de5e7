//! Every golden journal folds to the states on record: with its snapshots, without them, and after a migration.
//!
//! The states are recorded once for each session schema, because their JSON is what a snapshot of that schema holds.
//! Start at [`every_journal_folds_to_the_states_on_record`].

use crate::golden::{self, Golden};
use contract::event::{Event, LedgerEvent};
use contract::journal::Journal;
use contract::{Digest, SessionId, StreamId};
use journal::{Options, Sqlite};
use kernel::Session;
use kernel::ledger::Ledger;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Waits for a store's answer: its threads wake this one.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// JSON with sorted keys, hashed.
fn hash(value: serde_json::Result<Value>) -> String {
    let value = value.unwrap();
    Digest::of(value.to_string().as_bytes()).to_string()
}

/// The fold of every session and every ledger, by stream; from the snapshots on or from the first event.
fn states(store: &Sqlite, snapshots: bool) -> Map<String, Value> {
    let mut found = Map::new();
    for listed in now(store.sessions(false)).unwrap() {
        let id = listed.session;
        let session = match snapshots {
            true => now(engine::store::session(store, id)).unwrap().unwrap(),
            false => fold(store, id),
        };
        let kind = json!({"status": session.status(session.at), "events": session.seq, "hash": hash(serde_json::to_value(&session))});
        found.insert(StreamId::Session(id).to_string(), kind);
        if session.root() == id {
            let ledger = match snapshots {
                true => now(engine::store::ledger(store, id)).unwrap(),
                false => fold_ledger(store, id),
            };
            assert!(ledger.sound(), "the ledger of {id}");
            let kind = json!({"held_steps": ledger.held(id).steps, "events": ledger.seq, "hash": hash(serde_json::to_value(&ledger))});
            found.insert(StreamId::Tree(id).to_string(), kind);
        }
    }
    found
}

pub(crate) fn fold(store: &Sqlite, id: SessionId) -> Session {
    let mut state = Session::new(id);
    for record in now(engine::store::records::<Event>(store, StreamId::Session(id))).unwrap() {
        state.apply(record.at, &record.event).unwrap();
    }
    state
}

fn fold_ledger(store: &Sqlite, root: SessionId) -> Ledger {
    let mut ledger = Ledger::new(root);
    for record in now(engine::store::records::<LedgerEvent>(store, StreamId::Tree(root))).unwrap() {
        ledger.apply(&record.event).unwrap();
    }
    ledger
}

/// The states on record for today's session schema; recorded when there are none and that is wanted.
fn on_record(golden: &Golden, found: &Map<String, Value>) -> Map<String, Value> {
    let file = golden.dir().join(format!("states-{}.json", kernel::session::SCHEMA));
    if let Ok(text) = std::fs::read(&file) {
        return serde_json::from_slice(&text).unwrap();
    }
    assert!(
        golden::update(),
        "session schema {} has no states for {}: UPDATE_GOLDEN=1 cargo test -p kapell --test golden, and commit them",
        kernel::session::SCHEMA,
        golden.dir().display()
    );
    std::fs::write(&file, serde_json::to_string_pretty(found).unwrap() + "\n").unwrap();
    found.clone()
}

#[test]
fn every_journal_folds_to_the_states_on_record() {
    for golden in golden::all() {
        let copy = golden.copy();
        let store = Sqlite::open(&copy.path().join("data"), Options::default()).unwrap();
        let found = states(&store, false);
        assert_eq!(states(&store, true), found, "with snapshots");
        let recorded = on_record(&golden, &found);
        for (stream, state) in &recorded {
            assert_eq!(found.get(stream), Some(state), "{stream} of {}", golden.dir().display());
        }
        assert_eq!(found.len(), recorded.len());
        let verified = now(store.verify()).unwrap();
        assert_eq!(verified.damage, []);
        assert!(verified.snapshots > 0 && verified.blobs > 0, "{verified:?}");
        drop(store);
        // The same again, from what the first opening left.
        let store = Sqlite::open(&copy.path().join("data"), Options::default()).unwrap();
        assert_eq!(states(&store, true), found, "after it was opened for writing");
    }
}

#[test]
fn every_journal_passes_verify() {
    for golden in golden::all() {
        let copy = golden.copy();
        let command = || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kapell"));
            command
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .env("KAPELL_TRUST", "all")
                .env("KAPELL_HOME", copy.path());
            command
        };
        // A store of an older schema is read once it was opened for writing.
        drop(Sqlite::open(&copy.path().join("data"), Options::default()).unwrap());
        let mut verify = command();
        verify.arg("verify");
        let ended = crate::world::finish(verify, b"").expect(0);
        assert!(ended.out.contains("All is well"), "{}", ended.out);
        let sessions = golden.sessions().len();
        assert!(ended.out.contains(&format!(" {} sessions and ", sessions + 1)), "{}", ended.out);
    }
}

/// What a golden journal is for: work in every state that a new version can meet.
#[test]
fn every_journal_has_work_in_every_state() {
    for golden in golden::all() {
        let copy = golden.copy();
        let store = Sqlite::open(&copy.path().join("data"), Options::default()).unwrap();
        let mut met = BTreeSet::new();
        for listed in now(store.sessions(false)).unwrap() {
            let id = listed.session;
            let state = fold(&store, id);
            met.insert(state.status(state.at).to_owned());
            met.extend(state.running.as_ref().map(|attempt| format!("in flight: {:?}", attempt.class)));
            met.extend(state.pending_approval().map(|_| "approval".into()));
            met.extend(state.questions.keys().next().map(|_| "question".into()));
            met.extend(state.running_children().next().map(|_| "child".into()));
            let ledger = now(engine::store::ledger(&store, state.root())).unwrap();
            met.extend((ledger.held(id).nanos > 0).then(|| "money reserved".into()));
            met.extend((!now(store.inbox(id)).unwrap().is_empty()).then(|| "inbox".into()));
            met.extend(now(store.holder(id)).unwrap().map(|_| "lease of a dead process".into()));
            let snapshots = now(store.snapshots(StreamId::Session(id))).unwrap();
            met.extend(
                (!snapshots.is_empty())
                    .then(|| format!("snapshot of a session that is {}", state.status(state.at))),
            );
        }
        let wanted = [
            "completed",
            "failed",
            "cancelled",
            "paused",
            "waiting",
            "running",
            "in flight: Keyed",
            "in flight: Billed",
            "in flight: Staged",
            "in flight: External",
            "approval",
            "question",
            "child",
            "money reserved",
            "inbox",
            "lease of a dead process",
            "snapshot of a session that is completed",
            "snapshot of a session that is paused",
        ];
        for state in wanted {
            assert!(met.contains(state), "{state} is missing in {}: {met:#?}", golden.dir().display());
        }
    }
}
