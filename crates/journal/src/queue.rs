//! A bounded queue into a thread. Pushing never blocks; popping takes all that is there, up to a bound.
//! Start at [`Queue`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Something with a size, so that a group can be bounded in bytes.
pub(crate) trait Weigh {
    /// Bytes it stands for.
    fn weight(&self) -> usize;
}

/// A queue with one end for many threads and one for few.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    ready: Condvar,
    bound: usize,
    /// How long a popper looks again and again before it sleeps: waking a thread costs a good part of an fsync.
    spin: Duration,
    /// There may be something to pop; looked at without the lock while spinning.
    hint: AtomicBool,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<T>,
    closed: bool,
}

/// Why an item was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// What a wait brought.
#[derive(Debug)]
pub(crate) enum Popped<T> {
    Items(Vec<T>),
    Idle,
    Closed,
}

impl<T: Weigh> Queue<T> {
    pub(crate) fn new(bound: usize, spin: Duration) -> Self {
        let inner = Mutex::new(Inner { items: VecDeque::new(), closed: false });
        Self { inner, ready: Condvar::new(), bound, spin, hint: AtomicBool::new(false) }
    }

    /// Adds an item at the end.
    pub(crate) fn push(&self, item: T) -> Result<(), Refused> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.items.len() >= self.bound {
            return Err(Refused::Full);
        }
        inner.items.push_back(item);
        drop(inner);
        self.hint.store(true, Ordering::Release);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for items: at most `most` of them and, beyond the first, at most `bytes` together.
    /// `Idle` after `idle` without any; `Closed` when closed and empty.
    pub(crate) fn pop(&self, most: usize, bytes: usize, idle: Duration) -> Popped<T> {
        self.spin();
        let waiting = |inner: &mut Inner<T>| inner.items.is_empty() && !inner.closed;
        let (mut inner, _) =
            self.ready.wait_timeout_while(self.lock(), idle, waiting).unwrap_or_else(PoisonError::into_inner);
        let mut weight = 0;
        let mut items = Vec::new();
        while items.len() < most {
            let Some(next) = inner.items.front() else { break };
            weight += next.weight();
            if weight > bytes && !items.is_empty() {
                break;
            }
            items.extend(inner.items.pop_front());
        }
        self.hint.store(!inner.items.is_empty() || inner.closed, Ordering::Release);
        match (items.is_empty(), inner.closed) {
            (false, _) => Popped::Items(items),
            (true, true) => Popped::Closed,
            (true, false) => Popped::Idle,
        }
    }

    /// Takes nothing more; what is queued is still popped.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    /// Takes nothing more and drops what is queued, so that whoever waits for an answer learns of it.
    pub(crate) fn abandon(&self) {
        let items = {
            let mut inner = self.lock();
            inner.closed = true;
            std::mem::take(&mut inner.items)
        };
        drop(items);
        self.ready.notify_all();
    }

    /// Gives way to other threads while it looks, so that a busy machine loses nothing by it.
    fn spin(&self) {
        if self.spin.is_zero() {
            return;
        }
        let until = Instant::now() + self.spin;
        while !self.hint.load(Ordering::Acquire) && Instant::now() < until {
            thread::yield_now();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    fn pop(queue: &Queue<usize>, most: usize, bytes: usize) -> Vec<usize> {
        match queue.pop(most, bytes, Duration::ZERO) {
            Popped::Items(items) => items,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn groups_are_bounded_in_number_and_bytes_but_never_empty() {
        let queue = Queue::new(8, Duration::ZERO);
        for item in [50, 1, 2, 3, 4] {
            queue.push(item).unwrap();
        }
        assert_eq!(pop(&queue, 10, 20), [50], "a single large one still goes");
        assert_eq!(pop(&queue, 2, 20), [1, 2]);
        assert_eq!(pop(&queue, 10, 6), [3]);
        assert_eq!(pop(&queue, 10, 6), [4]);
        assert!(matches!(queue.pop(1, 1, Duration::ZERO), Popped::Idle));
    }

    #[test]
    fn full_and_closed_refuse() {
        let queue = Queue::new(1, Duration::from_micros(10));
        queue.push(1).unwrap();
        assert_eq!(queue.push(2), Err(Refused::Full));
        queue.close();
        assert_eq!(queue.push(3), Err(Refused::Closed));
        assert_eq!(pop(&queue, 9, 9), [1]);
        assert!(matches!(queue.pop(1, 1, Duration::ZERO), Popped::Closed));
    }
}
