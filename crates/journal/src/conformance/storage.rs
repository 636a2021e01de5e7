//! Cases about blobs, listings, snapshots and verification.
//! Start anywhere: each function is one case.

use super::*;
use contract::journal::{Listed, Snapshot};
use contract::{Digest, limits};

pub(super) fn blobs_come_back_as_they_were(store: &Store) {
    let noise = |bytes: usize| -> Vec<u8> {
        (0u64..).flat_map(|n| Digest::of(&n.to_le_bytes()).0).take(bytes).collect()
    };
    let blobs = vec![
        Vec::new(),
        b"short".to_vec(),
        vec![b'a'; limits::BLOB_PLAIN_BYTES],
        noise(limits::BLOB_ROW_BYTES),
        noise(limits::BLOB_ROW_BYTES + 1),
        vec![b'z'; 3 * limits::BLOB_ROW_BYTES],
    ];
    block_on(store.journal.put(blobs[..3].to_vec())).unwrap();
    // The first three again, twice over: stored once.
    let again = Batch { blobs: [&blobs[..], &blobs[..]].concat(), ..batch(vec![to(tree(1), 0, None, 1)]) };
    block_on(store.journal.append(again)).unwrap();
    block_on(store.journal.put(blobs.clone())).unwrap();
    for raw in &blobs {
        assert_eq!(block_on(store.peer.blob(Digest::of(raw))).as_ref(), Ok(raw));
    }
    assert_eq!(block_on(store.journal.verify()).unwrap().blobs, blobs.len() as u64);
}

pub(super) fn blobs_of_a_refused_batch_are_no_obstacle(store: &Store) {
    let large = vec![b'x'; 2 * limits::BLOB_ROW_BYTES];
    let with = |expected| Batch {
        blobs: vec![b"small".to_vec(), large.clone()],
        ..batch(vec![to(tree(1), expected, None, 1)])
    };
    assert!(block_on(store.journal.append(with(4))).is_err());
    block_on(store.journal.append(with(0))).unwrap();
    assert_eq!(block_on(store.journal.blob(Digest::of(&large))), Ok(large));
}

pub(super) fn a_blob_nobody_stored_is_a_fault(store: &Store) {
    let missing = Digest::of(b"missing");
    let fault = block_on(store.journal.blob(missing)).unwrap_err();
    assert_eq!(fault.code, "blob-missing");
    assert!(fault.what.contains(&missing.to_string()), "{fault}");
}

pub(super) fn a_file_becomes_a_blob_and_is_gone(store: &Store) {
    use std::io::Read;
    let name = format!("kapell-adopt-{}-{:p}", std::process::id(), store);
    let path = std::env::temp_dir().join(name);
    let bytes = vec![b'y'; 3 * limits::BLOB_ROW_BYTES];
    let digest = Digest::of(&bytes);
    // The second time it is there already.
    for _ in 0..2 {
        std::fs::write(&path, &bytes).unwrap();
        let file = contract::tool::Spooled { path: path.clone(), digest, bytes: bytes.len() as u64 };
        block_on(store.journal.adopt(file)).unwrap();
        assert!(!path.exists());
    }
    // One that is gone concerns who brought it, and nobody else.
    let gone = contract::tool::Spooled { path, digest: Digest::of(b"gone"), bytes: 4 };
    assert!(block_on(store.journal.adopt(gone)).is_err());
    append(&*store.journal, tree(8), 0, None, 1).unwrap();
    assert_eq!(block_on(store.peer.blob(digest)).as_ref(), Ok(&bytes));
    let mut read = Vec::new();
    block_on(store.peer.open(digest)).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, bytes);
    let missing = Digest::of(b"missing");
    assert_eq!(block_on(store.peer.open(missing)).err().unwrap().code, "blob-missing");
    assert_eq!(block_on(store.journal.verify()).unwrap().damage, []);
}

pub(super) fn sessions_are_listed_newest_first(store: &Store) {
    let journal = &*store.journal;
    assert_eq!(block_on(journal.sessions(false)).unwrap(), []);
    let heads: Vec<_> = [2, 3, 1].map(|n| (n, append(journal, stream(n), 0, None, n).unwrap())).into();
    append(journal, tree(9), 0, None, 1).unwrap();
    let listed = block_on(store.peer.sessions(false)).unwrap();
    let expected: Vec<_> = [3, 2, 1]
        .map(|n| Listed {
            session: session(n),
            head: heads.iter().find(|(number, _)| *number == n).unwrap().1,
            ended: false,
        })
        .into();
    assert_eq!(listed, expected);
}

pub(super) fn ended_sessions_leave_the_list_of_open_ones(store: &Store) {
    let journal = &*store.journal;
    let open = |unfinished: bool| -> Vec<SessionId> {
        let listed = block_on(store.peer.sessions(unfinished)).unwrap();
        listed.into_iter().map(|listed| listed.session).collect()
    };
    let lease = super::open(journal, 1);
    let end = |n, expected, fence, ended| {
        let append = Append { ended, ..to(stream(n), expected, fence, 1) };
        block_on(journal.append(batch(vec![append]))).unwrap()
    };
    end(2, 0, None, true);
    assert_eq!((open(true), open(false)), (vec![session(1)], vec![session(2), session(1)]));
    end(1, 1, Some(lease.fence), true);
    assert_eq!(open(true), []);
    end(1, 2, Some(lease.fence), false);
    assert_eq!(open(true), [session(1)]);
    // The same through whatever table of heads the store keeps: after many appends elsewhere.
    let many = 2 * limits::JOURNAL_HEADS_FRAMES;
    let pending: Vec<_> = (0..many).map(|n| journal.append(batch(vec![to(tree(1), n, None, 1)]))).collect();
    pending.into_iter().for_each(|append| assert!(block_on(append).is_ok()));
    assert_eq!((open(true), open(false)), (vec![session(1)], vec![session(2), session(1)]));
    end(1, 3, Some(lease.fence), true);
    assert_eq!((open(true), open(false)), (vec![], vec![session(2), session(1)]));
}

pub(super) fn the_newest_snapshots_are_kept(store: &Store) {
    let journal = &*store.journal;
    append(journal, tree(1), 0, None, 9).unwrap();
    let hashes: Vec<_> =
        block_on(journal.read(tree(1), 0, 9)).unwrap().into_iter().map(|stored| stored.hash).collect();
    let snapshot =
        |seq: Seq, json: &[u8]| Snapshot { seq, head: hashes[seq as usize - 1], json: json.to_vec() };
    for seq in [2, 4, 6, 3, 8] {
        block_on(journal.snapshot(tree(1), snapshot(seq, b"{}"))).unwrap();
    }
    block_on(journal.snapshot(tree(1), snapshot(6, &[b'6'; 5_000]))).unwrap();
    let kept = block_on(store.peer.snapshots(tree(1))).unwrap();
    assert_eq!(kept, [snapshot(8, b"{}"), snapshot(6, &[b'6'; 5_000]), snapshot(4, b"{}")]);
    assert_eq!(block_on(journal.snapshots(tree(2))).unwrap(), []);
}

pub(super) fn a_snapshot_of_events_to_come_is_refused(store: &Store) {
    let snapshot = Snapshot { seq: 2, head: Digest::default(), json: b"{}".to_vec() };
    append(&*store.journal, tree(1), 0, None, 1).unwrap();
    for stream in [tree(1), tree(2)] {
        let refused = block_on(store.journal.snapshot(stream, snapshot.clone()));
        assert!(matches!(refused, Err(Error::Conflict { expected: 2, .. })), "{refused:?}");
    }
}

pub(super) fn a_sound_store_verifies(store: &Store) {
    let journal = &*store.journal;
    let lease = open(journal, 1);
    let head = append(journal, stream(1), 1, Some(lease.fence), 4).unwrap();
    append(journal, tree(1), 0, None, 2).unwrap();
    block_on(journal.put(vec![b"blob".to_vec(), vec![1; 2 * limits::BLOB_ROW_BYTES]])).unwrap();
    let snapshot = Snapshot { seq: head.seq, head: head.hash, json: b"{}".to_vec() };
    block_on(journal.snapshot(stream(1), snapshot)).unwrap();
    block_on(journal.submit(intent(1, "k"))).unwrap();
    let verified = block_on(store.peer.verify()).unwrap();
    assert_eq!(verified.damage, []);
    assert_eq!((verified.streams, verified.events), (2, 7));
    assert_eq!((verified.blobs, verified.snapshots), (2, 1));
    // A snapshot of another history does.
    let other = Snapshot { seq: 3, head: Digest::of(b"elsewhere"), json: b"{}".to_vec() };
    block_on(journal.snapshot(stream(1), other)).unwrap();
    assert_eq!(block_on(journal.verify()).unwrap().damage.len(), 1);
}
