//! Cases about the inbox.
//! Start anywhere: each function is one case.

use super::*;
use contract::journal::Submitted;
use contract::limits::{MAILBOX_INTENTS, MAILBOX_RESERVED};

fn waiting(journal: &dyn Journal, n: u64) -> Vec<(u64, String)> {
    let mail = block_on(journal.inbox(session(n))).unwrap();
    mail.into_iter().map(|mail| (mail.row, mail.intent.unwrap().key)).collect()
}

fn keys(journal: &dyn Journal, n: u64) -> Vec<String> {
    waiting(journal, n).into_iter().map(|(_, key)| key).collect()
}

pub(super) fn a_key_counts_once_for_ever(store: &Store) {
    let journal = &*store.journal;
    let lease = open(journal, 1);
    assert_eq!(block_on(journal.submit(intent(1, "a"))), Ok(Submitted::New));
    assert_eq!(block_on(journal.submit(intent(1, "a"))), Ok(Submitted::Repeat));
    assert_eq!(block_on(journal.submit(intent(2, "a"))), Ok(Submitted::New), "another session's key");
    let row = waiting(journal, 1)[0].0;
    let consume = Batch { consume: vec![row], ..batch(vec![to(stream(1), 1, Some(lease.fence), 1)]) };
    block_on(journal.append(consume)).unwrap();
    assert_eq!(block_on(journal.submit(intent(1, "a"))), Ok(Submitted::Repeat));
    let again = Batch { submit: vec![intent(1, "a"), intent(1, "b")], ..Batch::default() };
    block_on(journal.append(again)).unwrap();
    assert_eq!(keys(journal, 1), ["b"]);
}

pub(super) fn consuming_joins_the_append(store: &Store) {
    let journal = &*store.journal;
    let lease = open(journal, 1);
    for key in ["a", "b", "c"] {
        block_on(journal.submit(intent(1, key))).unwrap();
    }
    let rows: Vec<u64> = waiting(journal, 1).into_iter().map(|(row, _)| row).collect();
    let consume = |expected, fence| Batch {
        consume: rows[..2].to_vec(),
        ..batch(vec![to(stream(1), expected, Some(fence), 1)])
    };
    assert!(block_on(journal.append(consume(9, lease.fence))).is_err());
    assert!(block_on(journal.append(consume(1, lease.fence + 1))).is_err());
    assert_eq!(keys(journal, 1), ["a", "b", "c"], "a refused append consumes nothing");
    block_on(journal.append(consume(1, lease.fence))).unwrap();
    assert_eq!(keys(journal, 1), ["c"]);
    assert_eq!(block_on(journal.inbox_sessions()).unwrap(), [session(1)]);
}

pub(super) fn a_consumed_row_is_not_consumed_again(store: &Store) {
    let journal = &*store.journal;
    let lease = open(journal, 1);
    block_on(journal.submit(intent(1, "a"))).unwrap();
    let row = waiting(journal, 1)[0].0;
    let consume = |expected| Batch {
        consume: vec![row],
        ..batch(vec![to(stream(1), expected, Some(lease.fence), 1), to(tree(1), expected - 1, None, 1)])
    };
    block_on(journal.append(consume(1))).unwrap();
    let again = block_on(journal.append(consume(2)));
    assert_eq!(again, Err(Error::Conflict { stream: stream(1), expected: 2, found: 2 }));
    assert_eq!(block_on(journal.head(tree(1))).unwrap().seq, 1);
    assert!(matches!(
        block_on(journal.append(Batch { consume: vec![row, row], ..Batch::default() })),
        Err(Error::Invalid(_))
    ));
}

pub(super) fn a_flood_is_refused_but_a_cancel_is_not(store: &Store) {
    let journal = &*store.journal;
    let pending: Vec<_> = (0..MAILBOX_INTENTS).map(|n| journal.submit(intent(1, &format!("k{n}")))).collect();
    pending.into_iter().for_each(|submit| assert_eq!(block_on(submit), Ok(Submitted::New)));
    assert!(matches!(block_on(journal.submit(intent(1, "more"))), Err(Error::Busy(_))));
    assert_eq!(block_on(journal.submit(intent(1, "k0"))), Ok(Submitted::Repeat));
    assert_eq!(block_on(journal.submit(intent(2, "more"))), Ok(Submitted::New));
    let cancel = |n: usize| Intent { wish: Wish::Cancel, ..intent(1, &format!("c{n}")) };
    for n in 0..MAILBOX_RESERVED {
        assert_eq!(block_on(journal.submit(cancel(n))), Ok(Submitted::New));
    }
    assert!(matches!(block_on(journal.submit(cancel(MAILBOX_RESERVED))), Err(Error::Busy(_))));
}

pub(super) fn a_batch_leaves_intents_elsewhere(store: &Store) {
    let journal = &*store.journal;
    let child = open(journal, 2);
    let tell = |expected| Batch {
        submit: vec![intent(1, "ended/2")],
        ..batch(vec![to(stream(2), expected, Some(child.fence), 1)])
    };
    assert!(block_on(journal.append(tell(5))).is_err());
    assert_eq!(keys(journal, 1), [""; 0]);
    block_on(journal.append(tell(1))).unwrap();
    block_on(journal.append(tell(2))).unwrap();
    assert_eq!(keys(journal, 1), ["ended/2"], "told twice, left once");
}

pub(super) fn any_process_may_submit(store: &Store) {
    open(&*store.journal, 1);
    assert_eq!(block_on(store.peer.submit(intent(1, "a"))), Ok(Submitted::New));
    assert_eq!(block_on(store.journal.submit(intent(1, "a"))), Ok(Submitted::Repeat));
    assert_eq!(block_on(store.journal.inbox(session(1))).unwrap()[0].intent, Ok(intent(1, "a")));
    assert_eq!(block_on(store.journal.inbox_sessions()).unwrap(), [session(1)]);
}
