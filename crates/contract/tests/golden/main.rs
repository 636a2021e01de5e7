//! The stored schema, held still: every event ever written must decode for ever.
//!
//! Knows the examples (`events.rs`, `ledger.rs`) and the files in `v1/`: one record per file, byte for byte.
//! To add one: write the example, run `UPDATE_GOLDEN=1 cargo test -p contract --test golden`; only missing files are
//! written, a file that exists is never changed.

mod board;
mod coverage;
mod events;
mod examples;
mod hooks;
mod ledger;
mod looping;
mod project;
mod quota;
mod schema;
mod versions;

use contract::record::{self, Record, Storable};
use contract::{
    Event, board::BoardEvent, event::LedgerEvent, looping::LoopEvent, project::ProjectEvent,
    quota::QuotaEvent,
};
use examples::AT;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

/// An example: the file's name without `.json`, and what stands in it.
type Example<E> = (&'static str, E);

/// Where the files of the current version are.
fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{}", record::VERSION))
}

/// Sequence number of an example: its place in the list would change with every new one, so its name decides.
fn seq(name: &str) -> u64 {
    name.bytes().fold(0, |sum, byte| sum + u64::from(byte)) % 1000 + 1
}

/// May missing files be written?
#[expect(
    clippy::disallowed_methods,
    reason = "a test is started by a person, who says so in the environment"
)]
fn may_add() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Both ways: the example encodes to the file's bytes, the file decodes to the example.
fn check<E: Storable + PartialEq + Debug>(examples: &[Example<E>]) {
    let mut missing = Vec::new();
    for (name, event) in examples {
        let path = directory().join(format!("{name}.json"));
        let bytes = record::encode(seq(name), AT, event);
        if may_add() && !path.exists() {
            std::fs::create_dir_all(directory()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let Ok(stored) = std::fs::read(&path) else {
            missing.push(*name);
            continue;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            text(&bytes),
            text(&stored),
            "{name}: what would be written differs from the golden file. A stored schema is for ever: \
             make new fields optional, or raise record::VERSION and upcast"
        );
        let record = Record { seq: seq(name), at: AT, event };
        let decoded: Record<E> = record::decode(&stored).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (decoded.seq, decoded.at, &decoded.event),
            (record.seq, record.at, record.event),
            "{name}"
        );
    }
    assert!(
        missing.is_empty(),
        "no golden file for {missing:?}: run `UPDATE_GOLDEN=1 cargo test -p contract --test golden`"
    );
}

#[test]
fn events_are_stored_as_ever() {
    check::<Event>(&events::all());
}

#[test]
fn ledger_events_are_stored_as_ever() {
    check::<LedgerEvent>(&ledger::all());
}

#[test]
fn project_events_are_stored_as_ever() {
    check::<ProjectEvent>(&project::all());
}

#[test]
fn board_events_are_stored_as_ever() {
    check::<BoardEvent>(&board::all());
}

#[test]
fn loop_events_are_stored_as_ever() {
    check::<LoopEvent>(&looping::all());
}

#[test]
fn quota_events_are_stored_as_ever() {
    check::<QuotaEvent>(&quota::all());
}

#[test]
fn every_file_has_its_example_and_every_name_is_unique() {
    let events = events::all().into_iter().map(|e| e.0);
    let ledgers = ledger::all().into_iter().map(|e| e.0).chain(quota::all().into_iter().map(|e| e.0));
    let ledgers = ledgers.chain(project::all().into_iter().map(|e| e.0));
    let ledgers = ledgers.chain(board::all().into_iter().map(|e| e.0));
    let ledgers = ledgers.chain(looping::all().into_iter().map(|e| e.0));
    let names: Vec<&str> = events.chain(ledgers).collect();
    let unique: BTreeSet<String> = names.iter().map(|name| format!("{name}.json")).collect();
    assert_eq!(unique.len(), names.len(), "two examples share a name");
    // Missing files are the other tests' matter.
    let entries = std::fs::read_dir(directory()).into_iter().flatten().flatten();
    let files: BTreeSet<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let lost: Vec<&String> = files.difference(&unique).collect();
    assert!(lost.is_empty(), "golden files without an example are no longer checked: {lost:?}");
}
