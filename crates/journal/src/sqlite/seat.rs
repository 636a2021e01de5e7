//! Where the writer sits: the thread that waits for the answer commits itself when nobody else is writing.
//!
//! Handing a request to another thread and the answer back costs two wake-ups, as much as a fast disk's fsync. So a
//! request is committed by whoever awaits it, with everything else that is queued, when the writer is free, the disk
//! is fast and no other process is in the way. In every other case the writer's own thread does it. Where others write,
//! too, they get a turn first: what they queue goes into the same commit. Knows no SQL. Start at [`Seat::lead`] and
//! [`Seat::run`].

use super::writer::{Answers, Job, Writer};
use crate::oneshot::Answer;
use crate::queue::{Queue, Woken};
use contract::journal::Error;
use contract::limits;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long the thread sleeps when nothing is due.
const ASLEEP: Duration = Duration::from_secs(3600);

/// A queue of requests and the one writer that serves it.
pub(crate) struct Seat {
    pub(crate) queue: Queue<Box<dyn Job>>,
    /// `None` once the thread has ended.
    writer: Mutex<Option<Writer>>,
    /// Commits have been fast lately: whoever waits for one may as well do it.
    swift: AtomicBool,
    /// Lately several requests were committed together: somebody else may be about to write.
    company: AtomicBool,
}

/// Closes the queue however the thread ends, so that nobody waits for an answer that cannot come, and the connection.
struct Leave<'a>(&'a Seat);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.queue.abandon();
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(writer);
    }
}

/// The seat of whoever awaits a write. What was queued while it was taken was left to it: however it is left, by a panic
/// too, the thread looks if there is something.
struct Sitting<'a> {
    of: &'a Seat,
    writer: Option<MutexGuard<'a, Option<Writer>>>,
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        drop(self.writer.take());
        if !self.of.queue.is_empty() {
            self.of.queue.call();
        }
    }
}

impl Seat {
    pub(crate) fn new(writer: Writer) -> Self {
        let queue = Queue::new(limits::JOURNAL_QUEUE);
        let (swift, company) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { queue, writer: Mutex::new(Some(writer)), swift, company }
    }

    /// The thread: does what nobody else did, merges the write-ahead log, until the queue is closed and empty.
    pub(crate) fn run(&self) {
        let _leave = Leave(self);
        let (mut commits, mut unmerged) = (0, false);
        loop {
            let idle = if unmerged { Duration::from_millis(limits::JOURNAL_IDLE_MS) } else { ASLEEP };
            let woken = self.queue.wait(idle);
            if woken == Woken::Closed {
                return;
            }
            // Poisoned: somebody panicked in the middle of a commit, and nobody knows what of it is done.
            let Ok(mut seat) = self.writer.lock() else { return };
            let Some(writer) = seat.as_mut() else { return };
            if !self.queue.is_empty() {
                seat = match self.serve(seat) {
                    Some(seat) => seat,
                    None => return,
                };
            } else if woken == Woken::Idle && unmerged && writer.commits() == commits {
                writer.settle();
            }
            let Some(writer) = seat.as_mut() else { return };
            writer.merge_if_due();
            (commits, unmerged) = (writer.commits(), writer.unmerged());
            drop(seat);
            if !self.queue.is_empty() {
                self.queue.call();
            }
        }
    }

    /// Commits until nothing is queued, answering in between. `None`: nobody may write any more.
    fn serve<'a>(
        &'a self,
        mut seat: MutexGuard<'a, Option<Writer>>,
    ) -> Option<MutexGuard<'a, Option<Writer>>> {
        loop {
            let writer = seat.as_mut()?;
            let answers = writer.commit(&self.queue, usize::MAX);
            self.learn(writer);
            let due = writer.merge_due();
            drop(seat);
            // Never under the lock: an answer may drop the last handle on the store, which waits for this thread.
            answers.into_iter().for_each(Answers::tell);
            seat = self.writer.lock().ok()?;
            if due || self.queue.is_empty() {
                return Some(seat);
            }
        }
    }

    /// How it goes, for whoever awaits a write next.
    fn learn(&self, writer: &Writer) {
        self.swift.store(writer.swift(), Ordering::Relaxed);
        self.company.store(writer.company(), Ordering::Relaxed);
    }

    /// `None`: somebody else is writing, and looks at the queue once more when it is done; or nobody may any more.
    fn sit(&self) -> Option<Sitting<'_>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(Sitting { of: self, writer: Some(writer) }),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => {
                self.queue.call();
                None
            }
        }
    }

    /// Commits what is queued here and now, if that can be done without making anybody wait for long; else sees to it
    /// that it is done.
    fn lead(&self) {
        let light = |weight| weight <= limits::BLOB_ROW_BYTES;
        if !self.swift.load(Ordering::Relaxed) || !self.queue.first_weight().is_none_or(light) {
            return self.queue.call();
        }
        let Some(mut seat) = self.sit() else { return };
        let writer = seat.writer.as_mut().and_then(|writer| writer.as_mut());
        let Some(writer) = writer.filter(|_| !self.queue.is_empty()) else { return };
        let clean = !writer.unmerged();
        let answers = writer.commit(&self.queue, limits::BLOB_ROW_BYTES);
        self.learn(writer);
        let due = clean || writer.merge_due() || answers.is_none();
        drop(seat);
        if due {
            self.queue.call();
        }
        answers.into_iter().for_each(Answers::tell);
    }
}

/// The answer to a write: awaiting it does the write, when nobody else is at it.
pub(crate) struct Written<T> {
    answer: Answer<Result<T, Error>>,
    seat: Arc<Seat>,
    stage: Stage,
}

/// How far the waiting has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has awaited it.
    Queued,
    /// Others have their turn.
    Yielded,
    /// It is done, or somebody sees to it.
    Seen,
}

impl<T> Written<T> {
    pub(crate) fn new(answer: Answer<Result<T, Error>>, seat: Arc<Seat>) -> Self {
        Self { answer, seat, stage: Stage::Queued }
    }
}

impl<T> Future for Written<T> {
    type Output = Option<Result<T, Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.stage != Stage::Seen {
            if self.answer.is_there() {
                self.stage = Stage::Seen;
            } else if self.stage == Stage::Queued && self.seat.company.load(Ordering::Relaxed) {
                self.stage = Stage::Yielded;
                cx.waker().wake_by_ref();
            } else {
                self.stage = Stage::Seen;
                self.seat.lead();
            }
        }
        Pin::new(&mut self.answer).poll(cx)
    }
}

impl<T> Drop for Written<T> {
    /// Whoever does not wait still wants it written.
    fn drop(&mut self) {
        if self.stage != Stage::Seen {
            self.seat.queue.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::block_on;
    use crate::notify::Notify;
    use crate::oneshot;
    use crate::sqlite::writer::{Task, Tx};
    use crate::sqlite::{Options, Sqlite, schema};
    use contract::journal::{Append, Batch, Head, Journal};
    use contract::{BoxFuture, SessionId, StreamId};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Instant;

    const STREAM: StreamId = StreamId::Tree(SessionId(1));

    fn append(
        store: &Sqlite,
        expected: u64,
    ) -> BoxFuture<'static, Result<Vec<Head>, contract::journal::Error>> {
        let records = vec![b"{}".to_vec()];
        let append = Append { stream: STREAM, expected, fence: None, records, ended: false };
        store.append(Batch { appends: vec![append], ..Batch::default() })
    }

    #[test]
    fn what_nobody_waits_for_is_written_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path(), Options::default()).unwrap();
        for seq in 0..3 {
            drop(append(&store, seq));
        }
        drop(store);
        let store = Sqlite::open(dir.path(), Options::default()).unwrap();
        assert_eq!(block_on(store.head(STREAM)).unwrap().seq, 3);
        let waiting = append(&store, 3);
        drop(append(&store, 4));
        while block_on(store.head(STREAM)).unwrap().seq < 5 {
            std::thread::yield_now();
        }
        assert!(block_on(waiting).is_ok(), "and what is asked for late is there");
    }

    #[test]
    fn who_awaits_a_write_does_not_wait_for_another_process_in_place_of_the_thread() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path(), Options::default()).unwrap();
        (0..20).for_each(|seq| drop(block_on(append(&store, seq)).unwrap()));
        let file = dir.path().join(schema::FILE);
        let other = schema::connect(&file, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut late = append(&store, 20);
        assert!(late.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(block_on(late).unwrap()[0].seq, 21);
    }

    #[test]
    fn what_is_queued_while_somebody_sits_there_for_nothing_or_panics_is_seen_to() {
        let dir = tempfile::tempdir().unwrap();
        let conn = schema::open(dir.path(), schema::STEPS).unwrap();
        let seat = Seat::new(Writer::new(conn, dir.path().to_owned(), Notify::default()));
        seat.swift.store(true, Ordering::Relaxed);
        let late = Duration::from_secs(20);
        for panics in [false, true] {
            let sitting = seat.sit().unwrap();
            let (reply, _answer) = oneshot::channel();
            let run = |_: &mut Tx<'_>| Ok(());
            seat.queue.put(Box::new(Task { weight: 0, run, result: None, reply })).unwrap();
            seat.lead();
            let leaves = AssertUnwindSafe(move || {
                let _sitting = sitting;
                assert!(!panics, "in the middle of a commit");
            });
            assert_eq!(catch_unwind(leaves).is_err(), panics);
            let began = Instant::now();
            assert_eq!(seat.queue.wait(late), Woken::Called);
            assert!(began.elapsed() < late, "the thread was called");
        }
        assert!(seat.writer.is_poisoned());
    }

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicU32);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn queued(seat: &Arc<Seat>) -> Written<()> {
        let (reply, answer) = oneshot::channel();
        let run = |_: &mut Tx<'_>| Ok(());
        seat.queue.put(Box::new(Task { weight: 0, run, result: None, reply })).unwrap();
        // However slow the disk of this test is.
        seat.swift.store(true, Ordering::Relaxed);
        Written::new(answer, Arc::clone(seat))
    }

    #[test]
    fn in_company_others_have_a_turn_before_the_commit_and_alone_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let conn = schema::open(dir.path(), schema::STEPS).unwrap();
        let seat = Arc::new(Seat::new(Writer::new(conn, dir.path().to_owned(), Notify::default())));
        let commits = || seat.writer.lock().unwrap().as_ref().unwrap().commits();
        let count = Arc::new(Count::default());
        let waker = std::task::Waker::from(Arc::clone(&count));
        let poll = |written: &mut Written<()>| Pin::new(written).poll(&mut Context::from_waker(&waker));
        assert!(poll(&mut queued(&seat)).is_ready(), "alone");
        let (mut one, mut other) = (queued(&seat), queued(&seat));
        assert!(poll(&mut one).is_ready() && poll(&mut other).is_ready());
        assert_eq!(commits(), 2, "both in one");
        let mut one = queued(&seat);
        assert!(poll(&mut one).is_pending());
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "it comes again by itself");
        let mut other = queued(&seat);
        assert!(poll(&mut other).is_pending());
        assert!(poll(&mut one).is_ready() && poll(&mut other).is_ready());
        assert_eq!(commits(), 3);
        let alone = (0..9).map(|_| {
            let mut next = queued(&seat);
            let waits = poll(&mut next).is_pending();
            assert!(!waits || poll(&mut next).is_ready());
            waits
        });
        let waits: Vec<bool> = alone.collect();
        assert!(waits[0] && !waits[8], "who is left alone does not wait for ever: {waits:?}");
        // Who gives up after its first turn is written all the same: the thread is called.
        let mut late = (queued(&seat), queued(&seat));
        assert!(poll(&mut late.0).is_ready() && poll(&mut late.1).is_ready());
        let mut given_up = queued(&seat);
        assert!(poll(&mut given_up).is_pending());
        seat.queue.wait(Duration::ZERO);
        drop(given_up);
        let (began, long) = (Instant::now(), Duration::from_secs(20));
        assert_eq!(seat.queue.wait(long), Woken::Called);
        assert!(began.elapsed() < long, "the thread was called");
    }

    #[test]
    fn many_who_await_are_all_answered() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path(), Options::default()).unwrap();
        std::thread::scope(|scope| {
            for n in 1..=8_u128 {
                let store = &store;
                scope.spawn(move || {
                    for expected in 0..50 {
                        let stream = StreamId::Tree(SessionId(n));
                        let records = vec![b"{}".to_vec()];
                        let append = Append { stream, expected, fence: None, records, ended: false };
                        block_on(store.append(Batch { appends: vec![append], ..Batch::default() })).unwrap();
                    }
                });
            }
        });
        assert_eq!(block_on(store.verify()).unwrap().damage, []);
    }
}
