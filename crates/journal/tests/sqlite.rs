//! What only the SQLite store does: crashes, full and read-only disks, migrations, upkeep.
//! Start at `common`; each test is self-contained.

mod common;

use common::*;
use contract::journal::{Batch, Error, Journal};
use contract::port::Blobs;
use contract::{Digest, limits};
use journal::conformance::block_on;
use journal::{Options, Sqlite};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn whatever_of_the_log_survives_every_acknowledged_append_in_it_is_there() {
    // A pause of a second would merge the log in between; then try again.
    let (base, log, acknowledged) = (0..5).find_map(|_| undisturbed()).expect("a quiet moment");
    let dir = tempfile::tempdir().unwrap();
    for cut in (0..=24).map(|part| log.len() * part / 24).chain([32, log.len() - 1, log.len() - 4096]) {
        let copy = dir.path().join(cut.to_string());
        fs::create_dir(&copy).unwrap();
        fs::write(copy.join("kapell.db"), &base).unwrap();
        fs::write(copy.join("kapell.db-wal"), &log[..cut]).unwrap();
        let store = open(&copy);
        let due = acknowledged.iter().filter(|length| **length <= cut as u64).count() as u64;
        let head = block_on(store.head(tree(1))).unwrap();
        assert!(head.seq >= due, "cut at {cut}: {} of {due} events", head.seq);
        assert_eq!(block_on(store.verify()).unwrap().damage, [], "cut at {cut}");
        append(&store, tree(1), head.seq, 1).unwrap();
    }
}

/// The file before a run of appends, the log after it, and the log's length at each acknowledgement.
fn undisturbed() -> Option<(Vec<u8>, Vec<u8>, Vec<u64>)> {
    let dir = tempfile::tempdir().unwrap();
    let (file, log) = (dir.path().join("kapell.db"), dir.path().join("kapell.db-wal"));
    let store = open(dir.path());
    let base = fs::read(&file).unwrap();
    let acknowledged: Vec<u64> = (0..40)
        .map(|n| {
            append(&store, tree(1), n, 1).unwrap();
            fs::metadata(&log).unwrap().len()
        })
        .collect();
    let log = fs::read(&log).unwrap();
    (fs::read(&file).unwrap() == base).then_some((base, log, acknowledged))
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options { max_bytes: Some(256 * 1024) }).unwrap();
    let lease = lease(&store, 1);
    let mut seq = 0;
    let full = loop {
        match append(&store, tree(1), seq, 20) {
            Ok(head) => seq = head.seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full(_)), "{full}");
    assert_eq!(block_on(store.head(tree(1))).unwrap().seq, seq);
    // What needs no space still works, and so does everything once there is space.
    block_on(store.release(lease)).unwrap();
    assert_eq!(block_on(store.verify()).unwrap().damage, []);
    drop(store);
    append(&open(dir.path()), tree(1), seq, 20).unwrap();
}

#[test]
fn one_conflict_does_not_disturb_the_rest_of_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let pending: Vec<_> =
        (0..100).map(|n| store.append(batch(tree(n % 10), if n % 3 == 0 { 999 } else { 0 }, 1))).collect();
    let won = pending.into_iter().map(block_on).filter(Result::is_ok).count();
    assert_eq!(won, 10, "each of the ten streams was opened once");
    assert_eq!(block_on(store.verify()).unwrap().events, 10);
}

#[test]
fn opened_for_reading_it_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Sqlite::open_read_only(dir.path()).is_err(), "nothing there");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "and nothing made");
    append(&open(dir.path()), tree(1), 0, 3).unwrap();
    let store = Sqlite::open_read_only(dir.path()).unwrap();
    assert_eq!(block_on(store.read(tree(1), 0, 9)).unwrap().len(), 3);
    assert_eq!(block_on(store.verify()).unwrap().damage, []);
    assert!(matches!(append(&store, tree(1), 3, 1), Err(Error::ReadOnly(_))));
    assert!(matches!(block_on(store.put(vec![vec![1]])), Err(Error::ReadOnly(_))));
    // It sees what another process writes meanwhile.
    append(&open(dir.path()), tree(1), 3, 1).unwrap();
    assert_eq!(block_on(store.head(tree(1))).unwrap().seq, 4);
}

#[test]
fn a_directory_without_write_permission_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    append(&open(&home), tree(1), 0, 3).unwrap();
    let mode = |bits| fs::set_permissions(&home, fs::Permissions::from_mode(bits)).unwrap();
    mode(0o555);
    if fs::write(home.join("probe"), "").is_ok() {
        println!("SKIPPED: this user may write everywhere");
        return;
    }
    assert!(matches!(Sqlite::open(&home.join("deeper"), Options::default()), Err(Error::ReadOnly(_))));
    let store = Sqlite::open_read_only(&home).unwrap();
    assert_eq!(block_on(store.read(tree(1), 0, 9)).unwrap().len(), 3);
    drop(store);
    mode(0o755);
}

#[test]
fn nobody_else_may_look_inside() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("a/b");
    let store = open(&home);
    block_on(store.put(vec![vec![1; 2 * limits::BLOB_ROW_BYTES]])).unwrap();
    let mut checked = 0;
    for path in [home.clone(), home.join("blobs")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        for entry in fs::read_dir(&path).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
            checked += 1;
        }
    }
    assert!(checked >= 4, "database, log, lock, blob");
}

#[test]
fn a_store_that_became_newer_while_open_takes_no_more_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, tree(1), 0, 1).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("kapell.db")).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(append(&store, tree(1), 1, 1), Err(Error::Newer { found: 99, known: 2 }));
    assert_eq!(
        Sqlite::open(dir.path(), Options::default()).unwrap_err(),
        Error::Newer { found: 99, known: 2 }
    );
}

#[test]
fn a_backup_taken_while_writing_is_a_sound_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir.path().join("home")));
    let large = vec![5; 2 * limits::BLOB_ROW_BYTES];
    block_on(store.append(Batch { blobs: vec![large.clone()], ..batch(tree(2), 0, 1) })).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut seq = 0;
            while !stop.load(Ordering::Relaxed) {
                seq = append(&store, tree(1), seq, 2).unwrap().seq;
            }
        })
    };
    while block_on(store.head(tree(1))).unwrap().seq < 10 {
        block_on(store.changed());
    }
    let to = dir.path().join("backup");
    store.backup(&to).unwrap();
    assert!(matches!(store.backup(&to), Err(Error::Invalid(_))), "a backup replaces nothing");
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let copy = open(&to);
    assert_eq!(block_on(copy.verify()).unwrap().damage, []);
    assert!(block_on(copy.head(tree(1))).unwrap().seq >= 10);
    assert_eq!(block_on(copy.blob(Digest::of(&large))), Ok(large));
}

#[test]
fn a_sweep_takes_what_nobody_refers_to_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let large = |byte: u8| vec![byte; 2 * limits::BLOB_ROW_BYTES];
    let blobs =
        [b"live".to_vec(), b"dead".to_vec(), b"again".to_vec(), large(1), large(2), large(3), large(4)];
    let digest = |n: usize| Digest::of(&blobs[n]);
    block_on(store.put(blobs.to_vec())).unwrap();
    let mark = store.mark().unwrap();
    // After the mark: one is put again, one is named by a record, one is new.
    block_on(store.put(vec![blobs[2].clone()])).unwrap();
    let mut named = batch(tree(1), 0, 0);
    named.appends[0].records = vec![format!("{{\"output\":\"{}\"}}", digest(4)).into_bytes()];
    block_on(store.append(named)).unwrap();
    block_on(store.put(vec![b"new".to_vec()])).unwrap();
    fs::write(dir.path().join("blobs").join(Digest::of(b"orphan").to_string()), "x").unwrap();
    fs::write(dir.path().join("blobs/notes.txt"), "somebody's").unwrap();
    let live: HashSet<Digest> = [digest(0), digest(3)].into();

    let would = store.sweep_blobs(&live, mark, true).unwrap();
    assert_eq!((would.blobs, would.bytes), (3, 4 + 2 * large(5).len() as u64));
    assert_eq!(store.stats().unwrap().blobs, 8, "a dry run removes nothing");
    let did = store.sweep_blobs(&live, mark, false).unwrap();
    assert_eq!((did.blobs, did.bytes, did.files), (would.blobs, would.bytes, 3));
    for (n, kept) in [(0, true), (1, false), (2, true), (3, true), (4, true), (5, false), (6, false)] {
        assert_eq!(block_on(store.blob(digest(n))).is_ok(), kept, "blob {n}");
    }
    assert!(dir.path().join("blobs/notes.txt").exists(), "what is not ours stays");
    assert_eq!(block_on(store.verify()).unwrap().damage, []);
    // A blob that was swept can come back.
    block_on(store.put(blobs.to_vec())).unwrap();
    assert_eq!(block_on(store.blob(digest(6))), Ok(large(4)));
}

#[test]
fn no_sweep_begins_while_somebody_may_be_about_to_mention_a_blob() {
    let dir = tempfile::tempdir().unwrap();
    let (store, other) = (open(dir.path()), open(dir.path()));
    // Stored before the mark, mentioned only after the sweep would be over.
    block_on(other.put(vec![b"a goal".to_vec()])).unwrap();
    assert!(matches!(store.mark(), Err(Error::Busy(_))));
    drop(Sqlite::open_read_only(dir.path()).unwrap());
    drop(other);
    let mark = store.mark().unwrap();
    // Who comes after the mark is safe.
    let other = open(dir.path());
    block_on(other.put(vec![b"another".to_vec(), b"a goal".to_vec()])).unwrap();
    assert_eq!(store.sweep_blobs(&HashSet::new(), mark, false).unwrap().blobs, 0);
    assert!(
        matches!(store.mark(), Err(Error::Busy(_))),
        "its own lock is back after a mark, and the other's counts"
    );
}

#[test]
fn compacting_gives_space_back_while_the_store_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let noise: Vec<Vec<u8>> = (0..200u32).map(|n| Digest::of(&n.to_le_bytes()).0.repeat(500)).collect();
    let noise: Vec<Vec<u8>> = noise.into_iter().enumerate().map(|(n, bytes)| scramble(n, bytes)).collect();
    block_on(store.put(noise)).unwrap();
    append(&store, tree(1), 0, 5).unwrap();
    store.sweep_blobs(&HashSet::new(), store.mark().unwrap(), false).unwrap();
    store.compact().unwrap();
    let stats = store.stats().unwrap();
    assert!(stats.file_bytes < 400_000 && stats.wal_bytes == 0 && stats.free_bytes == 0, "{stats:?}");
    append(&store, tree(1), 5, 1).unwrap();
    assert_eq!(block_on(store.verify()).unwrap().damage, []);
}

/// Bytes that do not compress.
fn scramble(seed: usize, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut random = Random(seed as u64 + 1);
    bytes.iter_mut().for_each(|byte| *byte ^= random.next() as u8);
    bytes
}

#[test]
fn a_reader_that_hangs_does_not_stop_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, tree(1), 0, 1).unwrap();
    let hanging = rusqlite::Connection::open(dir.path().join("kapell.db")).unwrap();
    hanging.execute_batch("BEGIN; SELECT count(*) FROM log").unwrap();
    let pending: Vec<_> = (0..3_000).map(|n| store.append(batch(tree(1), 1 + 5 * n, 5))).collect();
    pending.into_iter().for_each(|append| assert!(block_on(append).is_ok()));
    drop(hanging);
    // One of the store's own readers may still stand in the way of the first try.
    let cut_off = (0..100).any(|_| store.compact().is_ok() && store.stats().unwrap().wal_bytes == 0);
    assert!(cut_off, "{} bytes of log are left", store.stats().unwrap().wal_bytes);
}
