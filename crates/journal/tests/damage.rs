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
    const PAGE: usize = 4096;
    for page in (0..file.len() / PAGE).step_by(5) {
        let mut damaged = file.clone();
        damaged[page * PAGE..][..PAGE].fill(0);
        sample.judge(sample.with(&damaged).path(), &format!("page {page}"));
    }
}

#[test]
fn a_damaged_stream_is_named_and_the_others_are_read() {
    let sample = Sample::new();
    let mut file = sample.file();
    // Event 101 of the first stream, in the part of the log that the table of heads covers.
    let at = find(&file, &sample.content.records[0][100].bytes) + 30;
    file[at] ^= 1;
    let dir = sample.with(&file);
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
    assert!(found.iter().any(|damage| damage.what == hurt.to_string() && damage.seq == Some(101)));
}

#[test]
fn nothing_is_built_on_a_damaged_end() {
    let sample = Sample::new();
    let dir = sample.with(&sample.file());
    let (hurt, sound) = (sample.streams[0], sample.streams[1]);
    let other = rusqlite::Connection::open(dir.path().join("kapell.db")).unwrap();
    let number = |sql: &str| other.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    // One frame later than what the table of heads accounts for (the first append may be the one that updates it).
    let mut last = sample.content.records[0].len() as u64;
    while number("SELECT max(id) FROM log WHERE stream = 1") <= number("SELECT log FROM flushed") {
        last = append(&open(dir.path()), hurt, last, 1).unwrap().seq;
    }
    // It now claims to end a session.
    other
        .execute("UPDATE log SET ended = 1 WHERE id = (SELECT max(id) FROM log WHERE stream = 1)", [])
        .unwrap();
    let store = open(dir.path());
    assert!(matches!(block_on(store.head(hurt)), Err(Error::Corrupt(_))));
    assert_eq!(block_on(store.read(sound, 0, usize::MAX)).unwrap(), sample.content.records[1]);
    for (stream, at) in [(hurt, last), (sound, sample.content.records[1].len() as u64)] {
        assert!(matches!(append(&store, stream, at, 1), Err(Error::Corrupt(_))));
    }
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
