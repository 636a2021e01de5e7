//! Cases about appending and reading.
//! Start anywhere: each function is one case.

use super::*;
use crate::rules::genesis;
use contract::{Digest, limits};

pub(super) fn an_append_is_read_back_with_its_chain(store: &Store) {
    let journal = &*store.journal;
    let head = append(journal, tree(1), 0, None, 3).unwrap();
    let read = block_on(journal.read(tree(1), 0, 100)).unwrap();
    let mut hash = genesis(tree(1));
    for (stored, (seq, bytes)) in read.iter().zip((1..).zip(records(1, 3))) {
        hash = Digest::chain(&hash, &bytes);
        assert_eq!((stored.seq, &stored.bytes, stored.hash), (seq, &bytes, hash));
    }
    assert_eq!((read.len(), head), (3, Head { seq: 3, hash }));
    assert_eq!(block_on(journal.head(tree(1))).unwrap(), head);
}

pub(super) fn a_stream_that_is_not_there_is_empty(store: &Store) {
    let journal = &*store.journal;
    assert_eq!(block_on(journal.head(tree(1))).unwrap(), Head { seq: 0, hash: genesis(tree(1)) });
    assert_eq!(block_on(journal.read(tree(1), 0, 10)).unwrap(), []);
}

pub(super) fn a_stale_writer_gets_a_conflict(store: &Store) {
    let journal = &*store.journal;
    append(journal, tree(1), 0, None, 2).unwrap();
    for expected in [0, 1, 3] {
        let conflict = Error::Conflict { stream: tree(1), expected, found: 2 };
        assert_eq!(append(journal, tree(1), expected, None, 1), Err(conflict));
    }
    assert_eq!(block_on(journal.head(tree(1))).unwrap().seq, 2);
}

pub(super) fn several_streams_move_together_or_not_at_all(store: &Store) {
    let journal = &*store.journal;
    append(journal, tree(2), 0, None, 1).unwrap();
    let both = |second| batch(vec![to(tree(1), 0, None, 2), to(tree(2), second, None, 1)]);
    assert!(block_on(journal.append(both(0))).is_err());
    assert_eq!(block_on(journal.head(tree(1))).unwrap().seq, 0);
    let heads = block_on(journal.append(both(1))).unwrap();
    assert_eq!(heads.iter().map(|head| head.seq).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(heads[0], block_on(journal.head(tree(1))).unwrap());
}

pub(super) fn an_append_without_records_only_checks(store: &Store) {
    let journal = &*store.journal;
    let head = append(journal, tree(1), 0, None, 2).unwrap();
    assert_eq!(append(journal, tree(1), 2, None, 0), Ok(head));
    assert!(append(journal, tree(1), 1, None, 0).is_err());
    assert_eq!(append(journal, tree(2), 0, None, 0).unwrap().seq, 0);
}

pub(super) fn reading_starts_and_stops_anywhere(store: &Store) {
    let journal = &*store.journal;
    let mut seq = 0;
    for count in [1, 4, 2, 5, 3] {
        append(journal, tree(1), seq, None, count).unwrap();
        seq += count;
    }
    let all = block_on(journal.read(tree(1), 0, 100)).unwrap();
    assert_eq!(all.len() as u64, seq);
    for after in 0..=seq + 1 {
        for limit in [0, 1, 2, 7, 100] {
            let part = block_on(journal.read(tree(1), after, limit)).unwrap();
            let expected: Vec<_> = all.iter().skip(after as usize).take(limit).cloned().collect();
            assert_eq!(part, expected, "after {after}, at most {limit}");
        }
    }
}

pub(super) fn long_streams_interleave(store: &Store) {
    let journal = &*store.journal;
    // Enough frames for several entries of a sparse index, and one stream that is rarely written.
    let frames = 5 * limits::JOURNAL_MARK_FRAMES + 3;
    let mut pending = Vec::new();
    for n in 0..frames {
        pending.push(journal.append(batch(vec![to(tree(1), 2 * n, None, 2), to(tree(2), n, None, 1)])));
        if n % 100 == 0 {
            pending.push(journal.append(batch(vec![to(tree(3), n / 100, None, 1)])));
        }
    }
    pending.into_iter().for_each(|append| assert!(block_on(append).is_ok()));
    for (stream, events) in [(tree(1), 2 * frames), (tree(2), frames), (tree(3), frames / 100 + 1)] {
        for from in [0, 1, events / 2, events - 1] {
            let read = block_on(store.peer.read(stream, from, usize::MAX)).unwrap();
            let seqs: Vec<Seq> = read.iter().map(|stored| stored.seq).collect();
            assert_eq!(seqs, (from + 1..=events).collect::<Vec<_>>());
            assert_eq!(read.last().unwrap().bytes, records(events, 1)[0]);
        }
    }
}

pub(super) fn many_streams_move_on_again_and_again(store: &Store) {
    // Each append alone is a good part of what lies between two updates of a table of heads.
    const ROUNDS: u64 = 8;
    let streams = limits::JOURNAL_HEADS_FRAMES / 3;
    for round in 0..ROUNDS {
        let journal = if round % 3 == 2 { &store.peer } else { &store.journal };
        let all = (0..streams).map(|n| to(tree(n), round, None, 1)).collect();
        block_on(journal.append(batch(all))).unwrap();
    }
    for journal in [&store.journal, &store.peer] {
        for n in 0..streams {
            let read = block_on(journal.read(tree(n), 0, usize::MAX)).unwrap();
            assert_eq!(read.len() as u64, ROUNDS, "stream {n}");
        }
    }
    assert_eq!(block_on(store.journal.verify()).unwrap().damage, []);
}

pub(super) fn appends_of_one_caller_keep_their_order(store: &Store) {
    let pending: Vec<_> =
        (0..200).map(|n| store.journal.append(batch(vec![to(tree(1), n, None, 1)]))).collect();
    // Awaited backwards: the order of the calls counts, not that of the waiting.
    for (n, append) in pending.into_iter().enumerate().rev() {
        assert_eq!(block_on(append).unwrap()[0].seq, n as u64 + 1);
    }
}

pub(super) fn work_is_queued_at_the_call(store: &Store) {
    // The first future is never polled, yet the second append builds on it.
    drop(store.journal.append(batch(vec![to(tree(1), 0, None, 1)])));
    assert_eq!(append(&*store.journal, tree(1), 1, None, 1).unwrap().seq, 2);
}

pub(super) fn of_many_writers_one_wins_each_number(store: &Store) {
    const ROUNDS: u64 = 25;
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let journal = Arc::clone(if n % 2 == 0 { &store.journal } else { &store.peer });
            thread::spawn(move || {
                let mut won = 0;
                while won < ROUNDS {
                    let at = block_on(journal.head(tree(1))).unwrap().seq;
                    match append(&*journal, tree(1), at, None, 1) {
                        Ok(head) => {
                            assert_eq!(head.seq, at + 1);
                            won += 1;
                        }
                        Err(error) => assert!(matches!(error, Error::Conflict { .. }), "{error}"),
                    }
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let read = block_on(store.journal.read(tree(1), 0, usize::MAX)).unwrap();
    assert_eq!(read.len() as u64, 6 * ROUNDS);
}

pub(super) fn two_processes_take_turns(store: &Store) {
    for n in 0..20 {
        let journal = if n % 2 == 0 { &store.journal } else { &store.peer };
        append(&**journal, tree(1), n, None, 1).unwrap();
        append(&**journal, tree(2 + n), 0, None, 1).unwrap();
        assert_eq!(block_on(store.journal.head(tree(1))).unwrap().seq, n + 1);
        assert_eq!(block_on(store.peer.head(tree(1))).unwrap().seq, n + 1);
    }
}

pub(super) fn records_are_bytes_whoever_wrote_them(store: &Store) {
    let strange: Vec<Vec<u8>> =
        vec![br#"{"v":999,"seq":1,"event":"from the future"}"#.to_vec(), vec![], vec![0, 255, 10, 0]];
    let append = Append { records: strange.clone(), ..to(tree(1), 0, None, 0) };
    block_on(store.journal.append(batch(vec![append]))).unwrap();
    let read = block_on(store.journal.read(tree(1), 0, 10)).unwrap();
    assert_eq!(read.into_iter().map(|stored| stored.bytes).collect::<Vec<_>>(), strange);
}

pub(super) fn broken_batches_are_refused(store: &Store) {
    let large = Append { records: vec![vec![b' '; limits::RECORD_BYTES + 1]], ..to(tree(1), 0, None, 0) };
    let never = Batch { consume: vec![77], ..batch(vec![to(tree(1), 0, None, 1)]) };
    for broken in [batch(vec![to(tree(1), 0, None, 1), to(tree(1), 1, None, 1)]), batch(vec![large]), never] {
        assert!(matches!(block_on(store.journal.append(broken)), Err(Error::Invalid(_))));
    }
    assert_eq!(block_on(store.journal.head(tree(1))).unwrap().seq, 0);
}

pub(super) fn a_change_wakes_who_waits(store: &Store) {
    let journal = &store.journal;
    let first = journal.changed();
    append(&**journal, tree(1), 0, None, 1).unwrap();
    block_on(first);
    let second = journal.changed();
    let submit = {
        let journal = Arc::clone(journal);
        thread::spawn(move || block_on(journal.submit(intent(1, "k"))).unwrap())
    };
    block_on(second);
    submit.join().unwrap();
}

pub(super) fn what_grew_is_told_in_the_order_of_the_commits(store: &Store) {
    let journal = &*store.journal;
    assert_eq!(block_on(journal.place()), Ok(0));
    append(journal, tree(1), 0, None, 2).unwrap();
    block_on(journal.append(batch(vec![to(tree(2), 0, None, 1), to(tree(1), 2, None, 3)]))).unwrap();
    assert!(append(journal, tree(1), 0, None, 1).is_err());
    append(&*store.peer, tree(2), 1, None, 1).unwrap();
    for journal in [&store.journal, &store.peer] {
        let all = block_on(journal.grown(0, 100)).unwrap();
        let told: Vec<_> = all.iter().map(|grown| (grown.stream, grown.seq)).collect();
        assert_eq!(told, [(tree(1), 2), (tree(2), 1), (tree(1), 5), (tree(2), 2)]);
        assert!(all.windows(2).all(|two| two[0].place < two[1].place));
        assert_eq!(block_on(journal.place()), Ok(all[3].place));
        assert_eq!(block_on(journal.grown(all[0].place, 2)).unwrap(), all[1..3]);
        assert_eq!(block_on(journal.grown(all[3].place, 2)).unwrap(), []);
        assert_eq!(block_on(journal.grown(u64::MAX, 2)).unwrap(), []);
    }
}
