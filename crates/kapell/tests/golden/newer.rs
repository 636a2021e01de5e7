//! What is newer than this binary is refused with advice, and not a byte of the store is changed by trying.
//!
//! Knows how a newer Kapell's traces look: a schema number, a record's version, an event's name, a snapshot's schema.
//! Start at [`a_newer_store_is_refused_whole`].

use crate::fold::{fold, now};
use crate::golden::{self, Golden, Place, image, user_version};
use crate::world::Ended;
use contract::journal::{Append, Batch, Error, Journal, Snapshot};
use contract::{SessionId, StreamId, Timestamp, limits, record};
use journal::{Options, Sqlite};
use std::fs;

/// A store that a run finished with: its log merged, nobody in it.
fn place(golden: &Golden) -> Place {
    let place = Place::restore(golden);
    drop(Sqlite::open(&place.path("kapell/data"), Options::default()).unwrap());
    place
}

fn open(place: &Place) -> Sqlite {
    Sqlite::open(&place.path("kapell/data"), Options::default()).unwrap()
}

fn id(golden: &Golden, name: &str) -> SessionId {
    golden.sessions()[name].as_str().unwrap().parse().unwrap()
}

/// Runs these commands; each must fail, say this, and leave the store as it is.
fn refused(place: &Place, says: &[&str], commands: &[&[&str]]) {
    let before = image(&place.path("kapell/data"));
    for args in commands {
        let Ended { code, out, err } = place.kapell(args);
        assert_ne!(code, 0, "{args:?}: {out}{err}");
        for words in says {
            assert!(format!("{out}{err}").contains(words), "{args:?} does not say `{words}`:\n{out}{err}");
        }
        assert_eq!(image(&place.path("kapell/data")), before, "{args:?} changed the store");
    }
}

#[test]
fn a_newer_store_is_refused_whole() {
    for golden in golden::all() {
        let place = place(&golden);
        let file = place.path("kapell/data/kapell.db");
        let mut bytes = fs::read(&file).unwrap();
        let newer = user_version(&bytes) + 1;
        bytes[60..64].copy_from_slice(&newer.to_be_bytes());
        fs::write(&file, bytes).unwrap();
        let says = [&*format!("the store has schema {newer}"), "update kapell"];
        refused(
            &place,
            &says,
            &[
                &["sessions"],
                &["verify"],
                &["events", "last"],
                &["resume", "last"],
                &["cancel", "last"],
                &["gc"],
                &["run", "-m", "builtin/fixer", "another goal"],
            ],
        );
    }
}

/// Puts a record into the stream of a session, as a newer Kapell that held it would, and dies.
fn write(place: &Place, session: SessionId, bytes: impl FnOnce(u64) -> String) {
    let store = open(place);
    let stream = StreamId::Session(session);
    let lease = now(store.acquire(session, "newer".into(), Timestamp(1), true)).unwrap().unwrap();
    let expected = now(store.head(stream)).unwrap().seq;
    let records = vec![bytes(expected + 1).into_bytes()];
    let append = Append { stream, expected, fence: Some(lease.fence), records, ended: false };
    now(store.append(Batch { appends: vec![append], ..Batch::default() })).unwrap();
    now(store.release(lease)).unwrap();
}

#[test]
fn a_newer_record_is_refused_with_its_session_and_nothing_else() {
    for golden in golden::all() {
        let place = place(&golden);
        let (newer, other) = (id(&golden, "model-billed"), id(&golden, "question"));
        let version = record::VERSION + 1;
        write(&place, newer, |seq| {
            format!(r#"{{"v":{version},"seq":{seq},"at":"2031-01-01T00:00:00.000Z","event":{{"x":{{}}}}}}"#)
        });
        let says = [&*format!("schema {version}"), "update kapell"];
        let name = newer.to_string();
        refused(&place, &says, &[&["resume", &name], &["sessions", "show", &name], &["why", &name]]);
        assert!(
            matches!(now(engine::store::session(&open(&place), newer)), Err(Error::Newer { found, .. }) if found == version)
        );
        place.kapell(&["sessions", "show", &other.to_string()]).expect(0);
        place.kapell(&["answer", &other.to_string(), "blue"]).expect(0);
    }
}

#[test]
fn an_unknown_event_is_refused_with_its_session_and_nothing_else() {
    for golden in golden::all() {
        let place = place(&golden);
        let (newer, other) = (id(&golden, "model-billed"), id(&golden, "question"));
        let version = record::VERSION;
        write(&place, newer, |seq| {
            format!(
                r#"{{"v":{version},"seq":{seq},"at":"2031-01-01T00:00:00.000Z","event":{{"teleported":{{"to":"x"}}}}}}"#
            )
        });
        let name = newer.to_string();
        let says = ["teleported", "kapell verify"];
        refused(&place, &says, &[&["resume", &name], &["sessions", "show", &name], &["why", &name]]);
        place.kapell(&["sessions", "show", &other.to_string()]).expect(0);
        place.kapell(&["answer", &other.to_string(), "blue"]).expect(0);
    }
}

#[test]
fn a_newer_snapshot_is_no_snapshot() {
    for golden in golden::all() {
        let place = place(&golden);
        let session = id(&golden, "budget");
        let stream = StreamId::Session(session);
        let store = open(&place);
        let state = fold(&store, session);
        let head = now(store.head(stream)).unwrap();
        // It says something else than the events do: who used it would be found out.
        let lie = kernel::Session { round: 77, ..state.clone() };
        for schema in [kernel::session::SCHEMA - 1, kernel::session::SCHEMA + 1] {
            let json = format!(r#"{{"schema":{schema},"state":{}}}"#, serde_json::to_string(&lie).unwrap());
            let snapshot = Snapshot { seq: head.seq, head: head.hash, json: json.into_bytes() };
            now(store.snapshot(stream, snapshot)).unwrap();
            assert_eq!(now(store.snapshots(stream)).unwrap()[0].seq, head.seq);
            assert_eq!(
                now(engine::store::session(&store, session)).unwrap().unwrap(),
                state,
                "schema {schema}"
            );
        }
        // Of today's schema it is believed: so the two above were refused for their number.
        let json = format!(
            r#"{{"schema":{},"state":{}}}"#,
            kernel::session::SCHEMA,
            serde_json::to_string(&lie).unwrap()
        );
        now(store.snapshot(stream, Snapshot { seq: head.seq, head: head.hash, json: json.into_bytes() }))
            .unwrap();
        assert_eq!(now(engine::store::session(&store, session)).unwrap().unwrap().round, 77);
        const { assert!(limits::SNAPSHOTS_KEPT > 1) };
    }
}
