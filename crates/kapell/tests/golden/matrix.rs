//! The table of versions in FORMATS.md is true: each row of this binary is compared with the source and tried.
//!
//! Start at [`the_table_of_versions_is_true`]; how a cell is tried is beside its words.

use crate::fold::now;
use crate::golden::{self, Golden, newest_schema, user_version};
use contract::journal::{Error, Journal, Snapshot};
use contract::{StreamId, record};
use journal::{Options, Sqlite};
use kernel::session::SCHEMA;

const PAGE: &str = include_str!("../../../contract/FORMATS.md");

/// One row: what, version, reads, writes.
type Row = [&'static str; 4];

fn rows() -> Vec<Row> {
    let table = PAGE.split("## 11. Versions").nth(1).expect("the table of versions");
    let own = format!("| {} |", env!("CARGO_PKG_VERSION"));
    let cells = |line: &'static str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        [cells[2], cells[3], cells[4], cells[5]]
    };
    table.lines().filter(|line| line.starts_with(&own)).map(cells).collect()
}

/// Versions of one thing that a row is about: those at hand.
fn versions(row: Row, newest: u32) -> Vec<u32> {
    match row[1].split_once(" and ") {
        None => vec![row[1].parse().unwrap()],
        Some((from, "newer")) => vec![from.parse().unwrap(), from.parse::<u32>().unwrap() + 7],
        Some((to, "older")) => (1..=to.parse().unwrap()).collect(),
        Some(_) => panic!("{row:?}, newest {newest}"),
    }
}

#[test]
fn the_table_of_versions_is_true() {
    let rows = rows();
    for (what, newest) in [("store", newest_schema()), ("record", record::VERSION), ("snapshot", SCHEMA)] {
        let mut told: Vec<u32> = Vec::new();
        for row in rows.iter().filter(|row| row[0] == what) {
            for version in versions(*row, newest) {
                told.push(version);
                match what {
                    "store" => store(version, row),
                    "record" => records(version, row),
                    _ => snapshot(version, row),
                }
            }
        }
        told.sort_unstable();
        assert!(
            (1..=newest + 1).all(|version| told.contains(&version)),
            "{what}: {told:?} does not reach {newest}"
        );
    }
    // Tried in newer.rs, where it takes the binary.
    assert!(rows.iter().any(|row| row[..3] == ["event", "of an unknown kind", "refuses the session"]));
}

/// A store with this schema number in its header.
fn store(version: u32, row: &Row) {
    let golden = golden::all().into_iter().find(|golden| golden.version == version);
    let found = match golden {
        Some(golden) => {
            let copy = golden.copy();
            let data = copy.path().join("data");
            drop(Sqlite::open(&data, Options::default()).unwrap());
            let now = user_version(&std::fs::read(data.join("kapell.db")).unwrap());
            assert_eq!(now, newest_schema());
            assert_eq!(data.join("backups").exists(), version < now, "a copy from before the migration");
            if version < now { ["migrates", "migrates"] } else { ["yes", "yes"] }
        }
        None => {
            let copy = Golden { version: newest_schema() }.copy();
            let (data, file) = (copy.path().join("data"), copy.path().join("data/kapell.db"));
            drop(Sqlite::open(&data, Options::default()).unwrap());
            let mut bytes = std::fs::read(&file).unwrap();
            bytes[60..64].copy_from_slice(&version.to_be_bytes());
            std::fs::write(&file, &bytes).unwrap();
            let refused = |opened: Result<Sqlite, Error>| {
                assert!(matches!(opened, Err(Error::Newer { found, .. }) if found == version), "{opened:?}");
            };
            refused(Sqlite::open(&data, Options::default()));
            refused(Sqlite::open_read_only(&data));
            assert_eq!(std::fs::read(&file).unwrap(), bytes);
            ["refuses the store", "refuses the store"]
        }
    };
    assert_eq!(row[2..], found, "store {version}");
}

/// A record of this version.
fn records(version: u32, row: &Row) {
    let event = r#"{"cancel-asked":{"by":"01a1f791-19db-7000-8000-000000000000"}}"#;
    let text = format!(r#"{{"v":{version},"seq":7,"at":"2026-11-20T06:07:24.123Z","event":{event}}}"#);
    let decoded = record::decode::<contract::event::Event>(text.as_bytes());
    let found = match &decoded {
        Ok(read) if record::encode(7, read.at, &read.event) == text.as_bytes() => ["yes", "yes"],
        Ok(_) => ["yes", "never"],
        Err(record::DecodeError::Newer(_)) => ["refuses the session", "refuses the session"],
        Err(other) => panic!("{other}"),
    };
    assert_eq!(row[2..], found, "record {version}");
}

/// A snapshot of this schema that says something else than the events do.
fn snapshot(version: u32, row: &Row) {
    let golden = golden::all().pop().unwrap();
    let copy = golden.copy();
    let store = Sqlite::open(&copy.path().join("data"), Options::default()).unwrap();
    let id = golden.sessions()["budget"].as_str().unwrap().parse().unwrap();
    let stream = StreamId::Session(id);
    let (state, head) = (crate::fold::fold(&store, id), now(store.head(stream)).unwrap());
    let lie = serde_json::to_string(&kernel::Session { round: 77, ..state }).unwrap();
    let json = format!(r#"{{"schema":{version},"state":{lie}}}"#).into_bytes();
    now(store.snapshot(stream, Snapshot { seq: head.seq, head: head.hash, json })).unwrap();
    let believed = now(engine::store::session(&store, id)).unwrap().unwrap().round == 77;
    let found = if believed { ["yes", "yes"] } else { ["ignores it and folds the events", "never"] };
    assert_eq!(row[2..], found, "snapshot {version}");
}
