//! What every store must do: the same cases over memory, SQLite, and whatever comes next.
//!
//! Knows only the port. Start at [`check`]; each case is one function in the files beside this one.

mod inbox;
mod leases;
mod storage;
mod streams;

use contract::intent::{Intent, Source, Wish};
use contract::journal::{Append, Batch, Error, Head, Journal, Lease};
use contract::{Fence, Seq, SessionId, StreamId, Timestamp};
use std::any::Any;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// An empty store as two processes see it.
pub struct Store {
    /// One process.
    pub journal: Arc<dyn Journal>,
    /// Another one over the same store.
    pub peer: Arc<dyn Journal>,
    /// What must live as long as the store: its directory, its server.
    pub keep: Box<dyn Any + Send>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("journal", &self.journal).finish_non_exhaustive()
    }
}

/// One thing a store must do.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name, a sentence.
    pub name: &'static str,
    /// Panics when the store does not.
    pub run: fn(&Store),
}

macro_rules! cases {
    ($($file:ident::$name:ident),* $(,)?) => {
        &[$(Case { name: stringify!($name), run: $file::$name }),*]
    };
}

/// All cases.
pub const CASES: &[Case] = cases![
    streams::an_append_is_read_back_with_its_chain,
    streams::a_stream_that_is_not_there_is_empty,
    streams::a_stale_writer_gets_a_conflict,
    streams::several_streams_move_together_or_not_at_all,
    streams::an_append_without_records_only_checks,
    streams::reading_starts_and_stops_anywhere,
    streams::long_streams_interleave,
    streams::many_streams_move_on_again_and_again,
    streams::appends_of_one_caller_keep_their_order,
    streams::work_is_queued_at_the_call,
    streams::of_many_writers_one_wins_each_number,
    streams::two_processes_take_turns,
    streams::records_are_bytes_whoever_wrote_them,
    streams::broken_batches_are_refused,
    streams::a_change_wakes_who_waits,
    streams::what_grew_is_told_in_the_order_of_the_commits,
    leases::a_lease_is_held_by_one,
    leases::a_lapsed_lease_is_taken_with_the_next_fence,
    leases::a_forced_lease_changes_hands,
    leases::a_released_fence_is_never_used_again,
    leases::renewing_keeps_only_what_is_still_held,
    leases::a_clock_that_went_back_does_not_lock_a_session_for_ever,
    leases::only_the_newest_fence_may_append,
    leases::a_released_session_takes_no_append,
    leases::a_session_without_a_lease_can_only_be_opened,
    inbox::a_key_counts_once_for_ever,
    inbox::consuming_joins_the_append,
    inbox::a_consumed_row_is_not_consumed_again,
    inbox::a_flood_is_refused_but_a_cancel_is_not,
    inbox::a_batch_leaves_intents_elsewhere,
    inbox::any_process_may_submit,
    storage::blobs_come_back_as_they_were,
    storage::blobs_of_a_refused_batch_are_no_obstacle,
    storage::a_blob_nobody_stored_is_a_fault,
    storage::a_file_becomes_a_blob_and_is_gone,
    storage::sessions_are_listed_newest_first,
    storage::ended_sessions_leave_the_list_of_open_ones,
    storage::the_newest_snapshots_are_kept,
    storage::a_snapshot_of_events_to_come_is_refused,
    storage::a_sound_store_verifies,
];

/// Runs every case over a fresh store, each on a thread named after it. Panics when any fails.
pub fn check(make: impl Fn() -> Store) {
    let failed: Vec<&str> = CASES
        .iter()
        .filter(|case| {
            let (store, run) = (make(), case.run);
            let thread = thread::Builder::new().name(case.name.into()).spawn(move || run(&store));
            thread.expect("a thread starts").join().is_err()
        })
        .map(|case| case.name)
        .collect();
    assert!(failed.is_empty(), "the store does not conform: {failed:#?}");
}

/// Drives a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// The `n`th session; later numbers are newer.
fn session(n: u64) -> SessionId {
    SessionId::v7(1_000 + n, u128::from(n))
}

fn stream(n: u64) -> StreamId {
    StreamId::Session(session(n))
}

fn tree(n: u64) -> StreamId {
    StreamId::Tree(session(n))
}

/// Records that say which they are.
fn records(from: Seq, count: u64) -> Vec<Vec<u8>> {
    (from..from + count).map(|seq| format!("{{\"v\":1,\"seq\":{seq}}}").into_bytes()).collect()
}

fn to(stream: StreamId, expected: Seq, fence: Option<Fence>, count: u64) -> Append {
    Append { stream, expected, fence, records: records(expected + 1, count), ended: false }
}

fn batch(appends: Vec<Append>) -> Batch {
    Batch { appends, ..Batch::default() }
}

/// One append to one stream.
fn append(
    journal: &dyn Journal,
    stream: StreamId,
    expected: Seq,
    fence: Option<Fence>,
    count: u64,
) -> Result<Head, Error> {
    block_on(journal.append(batch(vec![to(stream, expected, fence, count)]))).map(|heads| heads[0])
}

/// A session with one event, and its lease.
fn open(journal: &dyn Journal, n: u64) -> Lease {
    append(journal, stream(n), 0, None, 1).expect("a session opens");
    acquire(journal, n, "engine", 0).expect("its lease is free")
}

fn acquire(journal: &dyn Journal, n: u64, owner: &str, now: u64) -> Result<Lease, Lease> {
    block_on(journal.acquire(session(n), owner.into(), Timestamp(now), false)).expect("acquire answers")
}

fn intent(to: u64, key: &str) -> Intent {
    Intent {
        id: session(500),
        session: session(to),
        source: Source::User,
        wish: Wish::Continue,
        key: key.into(),
        at: Timestamp(7),
        ttl_ms: None,
    }
}
