//! Cases about leases and fences.
//! Start anywhere: each function is one case.

use super::*;
use contract::limits::LEASE_MS;

fn fenced(n: u64) -> Result<Head, Error> {
    Err(Error::Fenced { session: session(n) })
}

pub(super) fn a_lease_is_held_by_one(store: &Store) {
    let lease = acquire(&*store.journal, 1, "first", 100).unwrap();
    assert_eq!(lease.until, Timestamp(100 + LEASE_MS));
    assert_eq!(acquire(&*store.peer, 1, "second", 100 + LEASE_MS - 1), Err(lease.clone()));
    assert_eq!(block_on(store.peer.holder(session(1))).unwrap(), Some(lease));
    assert_eq!(block_on(store.peer.holder(session(2))).unwrap(), None);
}

pub(super) fn a_lapsed_lease_is_taken_with_the_next_fence(store: &Store) {
    let first = acquire(&*store.journal, 1, "first", 0).unwrap();
    let second = acquire(&*store.peer, 1, "second", LEASE_MS).unwrap();
    assert_eq!((second.fence, second.owner.as_str()), (first.fence + 1, "second"));
}

pub(super) fn a_forced_lease_changes_hands(store: &Store) {
    let first = acquire(&*store.journal, 1, "first", 0).unwrap();
    let second = block_on(store.peer.acquire(session(1), "second".into(), Timestamp(1), true)).unwrap();
    assert_eq!(second.unwrap().fence, first.fence + 1);
}

pub(super) fn a_released_fence_is_never_used_again(store: &Store) {
    let mut last = 0;
    for round in 0..3 {
        let lease = acquire(&*store.journal, 1, "engine", round).unwrap();
        assert!(lease.fence > last);
        last = lease.fence;
        block_on(store.journal.release(lease.clone())).unwrap();
        assert_eq!(block_on(store.journal.holder(session(1))).unwrap(), None);
        block_on(store.journal.release(lease)).unwrap();
    }
}

pub(super) fn renewing_keeps_only_what_is_still_held(store: &Store) {
    let kept = acquire(&*store.journal, 1, "first", 0).unwrap();
    let lost = acquire(&*store.journal, 2, "first", 0).unwrap();
    acquire(&*store.peer, 2, "second", LEASE_MS).unwrap();
    let now = Timestamp(LEASE_MS);
    let renewed = block_on(store.journal.renew(vec![kept.clone(), lost.clone()], now)).unwrap();
    assert_eq!(renewed, [Lease { until: now.plus(LEASE_MS), ..kept }]);
    block_on(store.journal.release(lost)).unwrap();
    assert_eq!(block_on(store.journal.holder(session(2))).unwrap().unwrap().owner, "second");
}

pub(super) fn a_clock_that_went_back_does_not_lock_a_session_for_ever(store: &Store) {
    let hour = 3_600_000;
    acquire(&*store.journal, 1, "first", 10 * hour).unwrap();
    assert!(
        acquire(&*store.peer, 1, "second", 10 * hour - 5).is_err(),
        "clocks of two readers differ a little"
    );
    assert!(acquire(&*store.peer, 1, "second", 9 * hour).is_ok());
}

pub(super) fn only_the_newest_fence_may_append(store: &Store) {
    let (journal, peer) = (&*store.journal, &*store.peer);
    let first = open(journal, 1);
    append(journal, stream(1), 1, Some(first.fence), 1).unwrap();
    let second = block_on(peer.acquire(session(1), "second".into(), Timestamp(1), true)).unwrap().unwrap();
    assert_eq!(append(journal, stream(1), 2, Some(first.fence), 1), fenced(1));
    assert_eq!(append(journal, stream(1), 2, None, 1), fenced(1));
    assert_eq!(append(journal, stream(1), 2, Some(second.fence + 1), 1), fenced(1));
    append(peer, stream(1), 2, Some(second.fence), 1).unwrap();
    // A tree's ledger is nobody's: it moves by its number alone.
    append(journal, tree(1), 0, None, 1).unwrap();
}

pub(super) fn a_released_session_takes_no_append(store: &Store) {
    let lease = open(&*store.journal, 1);
    block_on(store.journal.release(lease.clone())).unwrap();
    assert_eq!(append(&*store.journal, stream(1), 1, Some(lease.fence), 1), fenced(1));
}

pub(super) fn a_session_without_a_lease_can_only_be_opened(store: &Store) {
    let journal = &*store.journal;
    assert_eq!(append(journal, stream(1), 0, Some(1), 1), fenced(1));
    append(journal, stream(1), 0, None, 1).unwrap();
    assert_eq!(append(journal, stream(1), 1, None, 1), fenced(1));
    // Leased before its first event: then the fence counts from the start.
    let lease = acquire(journal, 2, "engine", 0).unwrap();
    assert_eq!(append(journal, stream(2), 0, None, 1), fenced(2));
    append(journal, stream(2), 0, Some(lease.fence), 1).unwrap();
}
