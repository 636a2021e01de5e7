//! Flipped bits and cut files: nothing is replayed across damage, and what is sound can still be read.
//! Start at `any_flipped_bit_is_noticed_or_harmless`.

mod common;

use common::*;
use contract::intent::{Intent, Source, Wish};
use contract::journal::{Batch, Error, Journal, Lease, Listed, Mail, Snapshot, Stored};
use contract::port::Blobs;
use contract::{Digest, StreamId, Timestamp, limits};
use journal::Sqlite;
use journal::conformance::block_on;
use rusqlite::OptionalExtension;
use std::fs;
use std::path::Path;

/// Flips and cuts per test. More by hand: the seed is fixed, so a failure comes back.
const TRIES: usize = 150;

/// A store with something of everything, closed. Its directory and what it held.
struct Sample {
    dir: tempfile::TempDir,
    streams: Vec<StreamId>,
    blobs: Vec<Vec<u8>>,
    content: Content,
}

/// Everything a store answers.
#[derive(Debug, PartialEq)]
struct Content {
    records: Vec<Vec<Stored>>,
    sessions: Vec<Listed>,
    open: Vec<Listed>,
    snapshots: Vec<Vec<Snapshot>>,
    mail: Vec<Mail>,
    holder: Option<Lease>,
    blobs: Vec<Vec<u8>>,
}

impl Sample {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let streams = vec![tree(1), tree(2), StreamId::Session(session(3)), StreamId::Session(session(4))];
        let blobs = vec![b"text ".repeat(400), vec![7; 2 * limits::BLOB_ROW_BYTES], b"tiny".to_vec()];
        // Long enough for the sparse index and for a table of heads that lags behind the log.
        let frames = 2 * limits::JOURNAL_HEADS_FRAMES + 10;
        let pending: Vec<_> =
            (0..frames).map(|n| store.append(batch(streams[(n % 2) as usize], 2 * (n / 2), 2))).collect();
        pending.into_iter().for_each(|append| assert!(block_on(append).is_ok()));
        for stream in &streams[2..] {
            let with = Batch { blobs: blobs.clone(), ..batch(*stream, 0, 3) };
            let head = block_on(store.append(with)).unwrap()[0];
            let snapshot = Snapshot { seq: head.seq, head: head.hash, json: b"{\"state\":1}".to_vec() };
            block_on(store.snapshot(*stream, snapshot)).unwrap();
        }
        lease(&store, 3);
        block_on(store.submit(intent("k"))).unwrap();
        drop(store);
        assert!(!dir.path().join("kapell.db-wal").exists(), "closing merges the log");
        let store = Sqlite::open_read_only(dir.path()).unwrap();
        let content = content(&store, &streams, &blobs).unwrap();
        assert_eq!(block_on(store.verify()).unwrap().damage, []);
        drop(store);
        Self { dir, streams, blobs, content }
    }

    fn file(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("kapell.db")).unwrap()
    }

    /// A directory with this file and the sample's blobs.
    fn with(&self, file: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("blobs")).unwrap();
        for entry in fs::read_dir(self.dir.path().join("blobs")).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), dir.path().join("blobs").join(entry.file_name())).unwrap();
        }
        fs::write(dir.path().join("kapell.db"), file).unwrap();
        dir
    }

    /// Damage is refused, found or harmless: never other content.
    fn judge(&self, dir: &Path, what: &str) -> bool {
        let Ok(store) = Sqlite::open_read_only(dir) else { return true };
        let found = block_on(store.verify());
        if found.as_ref().is_ok_and(|found| found.damage.is_empty()) {
            assert_eq!(content(&store, &self.streams, &self.blobs).as_ref(), Ok(&self.content), "{what}");
            return false;
        }
        // Found: then whatever is read is still either right or refused.
        for (stream, records) in self.streams.iter().zip(&self.content.records) {
            if let Ok(read) = block_on(store.read(*stream, 0, usize::MAX)) {
                assert!(records.starts_with(&read), "{what}: {stream} reads differently");
            }
        }
        for raw in &self.blobs {
            if let Ok(read) = block_on(store.blob(Digest::of(raw))) {
                assert_eq!(&read, raw, "{what}");
            }
        }
        true
    }
}

fn content(store: &Sqlite, streams: &[StreamId], blobs: &[Vec<u8>]) -> Result<Content, Error> {
    let read = |stream: &StreamId| block_on(store.read(*stream, 0, usize::MAX));
    Ok(Content {
        records: streams.iter().map(read).collect::<Result<_, _>>()?,
        sessions: block_on(store.sessions(false))?,
        open: block_on(store.sessions(true))?,
        snapshots: streams
            .iter()
            .map(|stream| block_on(store.snapshots(*stream)))
            .collect::<Result<_, _>>()?,
        mail: block_on(store.inbox(session(3)))?,
        holder: block_on(store.holder(session(3)))?,
        blobs: blobs.iter().filter_map(|raw| block_on(store.blob(Digest::of(raw))).ok()).collect(),
    })
}

fn intent(key: &str) -> Intent {
    Intent {
        id: session(9),
        session: session(3),
        source: Source::User,
        wish: Wish::Continue,
        key: key.into(),
        at: Timestamp(1),
        ttl_ms: None,
    }
}

/// Where these bytes are in the file.
fn find(file: &[u8], bytes: &[u8]) -> usize {
    file.windows(bytes.len()).position(|window| window == bytes).expect("the bytes are in the file")
}

#[test]
fn any_flipped_bit_is_noticed_or_harmless() {
    let sample = Sample::new();
    let file = sample.file();
    let mut random = Random(1);
    let mut noticed = 0;
    for n in 0..TRIES {
        let (at, bit) = (random.below(file.len()), random.below(8));
        let mut damaged = file.clone();
        damaged[at] ^= 1 << bit;
        noticed +=
            usize::from(sample.judge(sample.with(&damaged).path(), &format!("try {n}: byte {at} bit {bit}")));
    }
    assert!(noticed > TRIES / 2, "most of a store is not empty space: {noticed} of {TRIES}");
}

#[test]
fn any_cut_is_noticed() {
    let sample = Sample::new();
    let file = sample.file();
    let mut random = Random(2);
    for n in 0..TRIES / 10 {
        let length = random.below(file.len());
        let dir = sample.with(&file[..length]);
        assert!(sample.judge(dir.path(), &format!("try {n}: cut at {length}")), "try {n}: cut at {length}");
    }
}

#[test]
fn a_zeroed_page_is_noticed() {
    let sample = Sample::new();
    let file = sample.file();
    const PAGE: usize = 2048;
    for page in (0..file.len() / PAGE).step_by(5) {
        let mut damaged = file.clone();
        damaged[page * PAGE..][..PAGE].fill(0);
        sample.judge(sample.with(&damaged).path(), &format!("page {page}"));
    }
}

#[test]
fn a_damaged_stream_is_named_and_the_others_are_read() {
    let sample = Sample::new();
    let dir = sample.with(&sample.file());
    // Events 101 and 102 of the first stream, in the part of the log that the table of heads covers.
    let other = rusqlite::Connection::open(dir.path().join("kapell.db")).unwrap();
    let mut records: Vec<u8> =
        other.query_row("SELECT records FROM log WHERE id = 101", [], |row| row.get(0)).unwrap();
    *records.last_mut().unwrap() ^= 1;
    other.execute("UPDATE log SET records = ?1 WHERE id = 101", [records]).unwrap();
    drop(other);
    let store = open(dir.path());
    let (hurt, sound) = (sample.streams[0], sample.streams[1]);
    assert_eq!(block_on(store.read(sound, 0, usize::MAX)).unwrap(), sample.content.records[1]);
    assert_eq!(block_on(store.read(hurt, 0, 100)).unwrap(), sample.content.records[0][..100]);
    let error = block_on(store.read(hurt, 0, 101)).unwrap_err();
    assert_eq!(error, Error::Corrupt(format!("{hurt}: event 101: its bytes are not what was written")));
    let found = block_on(store.verify()).unwrap();
    assert_eq!(found.damage.len(), 1, "{found:?}");
    assert_eq!((found.damage[0].what.as_str(), found.damage[0].seq), (hurt.to_string().as_str(), Some(101)));
    append(&store, sound, sample.content.records[1].len() as u64, 1).unwrap();
}

#[test]
fn a_lost_frame_is_named_and_what_came_before_is_read() {
    let sample = Sample::new();
    let dir = sample.with(&sample.file());
    let lost: i64 = 101;
    let other = rusqlite::Connection::open(dir.path().join("kapell.db")).unwrap();
    other.execute("DELETE FROM log WHERE id = ?1", [lost]).unwrap();
    let store = open(dir.path());
    // Frames of two events alternate between two streams, so row 101 held events 101 and 102 of the first.
    let hurt = sample.streams[0];
    assert_eq!(block_on(store.read(hurt, 0, 100)).unwrap(), sample.content.records[0][..100]);
    assert!(
        matches!(block_on(store.read(hurt, 0, 200)), Err(Error::Corrupt(why)) if why.contains("event 101"))
    );
    let found = block_on(store.verify()).unwrap().damage;
    assert!(found.iter().any(|damage| damage.what == "log" && damage.problem.contains("row 101 is missing")));
    let named = found.iter().find(|damage| damage.what == hurt.to_string()).unwrap();
    assert_eq!(
        (named.seq, named.problem.as_str()),
        (Some(101), "events before it are missing or out of order")
    );
}

/// A store with 40 frames in turn on four streams, none of them in the table of heads yet. Rows from 1.
struct Tail(tempfile::TempDir);

impl Tail {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for n in 0..40 {
            append(&store, tree(n % 4 + 1), n / 4, 1).unwrap();
        }
        Self(dir)
    }

    fn sql(&self, sql: &str) -> i64 {
        let conn = rusqlite::Connection::open(self.0.path().join("kapell.db")).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).optional().unwrap().unwrap_or_default()
    }

    fn open(&self) -> Sqlite {
        open(self.0.path())
    }
}

#[test]
fn a_stream_with_a_damaged_end_is_kept_apart_and_the_others_go_on() {
    for damage in [
        // Whatever is altered in the last frame of stream 4, row 40: two of its columns, or its seal, say whose it is.
        "UPDATE log SET ended = 1 WHERE id = 40 RETURNING 0",
        "UPDATE log SET first = 99 WHERE id = 40 RETURNING 0",
        "UPDATE log SET nth = 7, count = 3, hash = x'00' WHERE id = 40 RETURNING 0",
        "UPDATE log SET stream = 2 WHERE id = 40 RETURNING 0",
        "UPDATE log SET stream = 77 WHERE id = 40 RETURNING 0",
        "UPDATE log SET prev = 35 WHERE id = 40 RETURNING 0",
    ] {
        let tail = Tail::new();
        tail.sql(damage);
        let store = tail.open();
        let refused = append(&store, tree(4), 10, 1).unwrap_err();
        assert!(refused.to_string().contains("event 10: row 40 of the log"), "{damage}: {refused}");
        assert_eq!(
            block_on(store.read(tree(4), 0, 9)).unwrap().len(),
            9,
            "{damage}: what is sound can be read"
        );
        assert!(matches!(block_on(store.read(tree(4), 0, 10)), Err(Error::Corrupt(_))), "{damage}");
        // Beyond what would bring the table of heads up to date, and in a process that comes later.
        for n in 0..limits::JOURNAL_HEADS_FRAMES + 20 {
            append(&store, tree(n % 3 + 1), 10 + n / 3, 1).unwrap();
        }
        append(&store, tree(9), 0, 1).expect("a new one");
        let held = lease(&store, 9);
        block_on(store.release(held)).unwrap();
        drop(store);
        let store = tail.open();
        assert!(matches!(append(&store, tree(4), 10, 1), Err(Error::Corrupt(_))), "{damage}: still");
        assert!(matches!(append(&store, tree(4), 9, 1), Err(Error::Corrupt(_))), "{damage}: nor before it");
        append(&store, tree(9), 1, 1).unwrap();
        let found = block_on(store.verify()).unwrap().damage;
        assert!(found.iter().any(|damage| damage.problem.contains("row 40")), "{damage}: {found:?}");
        assert!(
            matches!(store.mark(), Err(Error::Corrupt(_))),
            "what the damaged record mentions is not swept"
        );
    }
}

#[test]
fn where_nobody_can_tell_whose_row_is_lost_only_those_go_on_that_cannot_have_lost_it() {
    for damage in [
        "DELETE FROM log WHERE id = 38 RETURNING 0",
        "UPDATE log SET stream = 77, prev = 1 WHERE id = 38 RETURNING 0",
    ] {
        let tail = Tail::new();
        tail.sql(damage);
        let store = tail.open();
        // Row 38 was the last of stream 2. Streams 3 and 4 have newer frames in an unbroken line; 1 ends before it.
        for (stream, goes_on) in [(1, false), (2, false), (3, true), (4, true)] {
            let seq = block_on(store.head(tree(stream))).unwrap().seq;
            assert_eq!(append(&store, tree(stream), seq, 1).is_ok(), goes_on, "{damage}: stream {stream}");
            assert_eq!(block_on(store.read(tree(stream), 0, 9)).unwrap().len(), 9, "{damage}: reading");
        }
    }
}

#[test]
fn a_frame_that_does_not_fit_the_one_before_it_gives_its_stream_away() {
    let tail = Tail::new();
    // Row 34 of stream 2 is gone, row 38 names it.
    tail.sql("DELETE FROM log WHERE id = 34 RETURNING 0");
    let store = tail.open();
    assert!(matches!(append(&store, tree(2), 10, 1), Err(Error::Corrupt(_))));
    assert_eq!(block_on(store.read(tree(2), 0, 8)).unwrap().len(), 8);
    for stream in [1, 3, 4] {
        append(&store, tree(stream), 10, 1).unwrap();
    }
}

#[test]
fn once_a_session_is_at_rest_the_end_of_the_log_cannot_be_cut_off_unnoticed() {
    let tail = Tail::new();
    let cut = "DELETE FROM log WHERE id > 35 RETURNING 0";
    let store = tail.open();
    let held = lease(&store, 1);
    block_on(store.release(held)).unwrap();
    assert_eq!(tail.sql("SELECT log FROM flushed"), 40);
    drop(store);
    tail.sql(cut);
    let found = block_on(tail.open().verify()).unwrap().damage;
    assert!(found.iter().any(|damage| damage.problem.contains("its end is missing")), "{found:?}");
}

#[test]
fn the_end_of_a_stream_with_a_snapshot_cannot_be_cut_off_unnoticed() {
    let tail = Tail::new();
    let store = tail.open();
    let head = block_on(store.head(tree(4))).unwrap();
    let snapshot = Snapshot { seq: head.seq, head: head.hash, json: b"{}".to_vec() };
    block_on(store.snapshot(tree(4), snapshot)).unwrap();
    assert_eq!(block_on(store.verify()).unwrap().damage, []);
    drop(store);
    tail.sql("DELETE FROM log WHERE id > 35 RETURNING 0");
    let found = block_on(tail.open().verify()).unwrap().damage;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].what.as_str(), found[0].seq), (tree(4).to_string().as_str(), Some(9)));
    assert!(found[0].problem.contains("a snapshot of event 10"), "{found:?}");
}

#[test]
fn an_audit_shows_what_the_port_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    block_on(store.put(vec![b"one".to_vec(), b"three".to_vec()])).unwrap();
    block_on(store.release(lease(&store, 3))).unwrap();
    lease(&store, 4);
    block_on(store.submit(intent("k"))).unwrap();
    let audit = store.audit().unwrap();
    let number = audit.blob(Digest::of(b"one")).unwrap().unwrap();
    assert!(number <= audit.blobs().unwrap());
    assert_eq!(audit.blob(Digest::of(b"two")), Ok(None));
    assert_eq!(audit.blobs_outside(|other| other == number), Ok((1, 5)));
    assert_eq!(audit.check_blob(Digest::of(b"one")), Ok(()));
    let (mut leases, mut mail) = (Vec::new(), Vec::new());
    audit.leases(|lease| leases.push((lease.session, lease.owner, lease.fence))).unwrap();
    audit.mail(|session, intent| mail.push((session, intent))).unwrap();
    assert_eq!(leases, [(session(3), None, 1), (session(4), Some("engine".into()), 1)]);
    assert_eq!(mail, [(session(3), Ok(intent("k")))]);
}

#[test]
fn a_damaged_blob_is_a_fault_that_names_it() {
    let sample = Sample::new();
    let (row, large) = (Digest::of(b"tiny"), Digest::of(&sample.blobs[1]));
    let mut file = sample.file();
    let at = find(&file, b"tiny");
    file[at] ^= 1;
    let dir = sample.with(&file);
    let path = dir.path().join("blobs").join(large.to_string());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = open(dir.path());
    for digest in [row, large] {
        let fault = block_on(store.blob(digest)).unwrap_err();
        assert_eq!(fault.code, "blob-damaged");
        assert!(fault.what.contains(&digest.to_string()), "{fault}");
    }
    assert_eq!(block_on(store.verify()).unwrap().damage.len(), 2);
    fs::remove_file(&path).unwrap();
    assert_eq!(block_on(store.blob(large)).unwrap_err().code, "blob-missing");
}

#[test]
fn a_damaged_snapshot_is_skipped() {
    let sample = Sample::new();
    let stream = sample.streams[2];
    let mut file = sample.file();
    let at = find(&file, b"{\"state\":1}");
    file[at] ^= 1;
    let store = open(sample.with(&file).path());
    let left = |stream| block_on(store.snapshots(stream)).unwrap().len();
    assert_eq!(left(stream) + left(sample.streams[3]), 1);
}
