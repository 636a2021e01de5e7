//! A bounded queue into a thread. Pushing never blocks; popping takes all that is there, up to a bound.
//!
//! Knows nothing of what is queued. A thread that lives of its queue calls [`Queue::pop`]; one that only stands in
//! for those who queued waits with [`Queue::wait`] and takes with [`Queue::take`]. Start at [`Queue`].

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<T>,
    closed: bool,
    /// Threads that sleep here: who wakes nobody makes no system call.
    sleepers: usize,
    /// Somebody wants the thread to look.
    called: bool,
}

/// Why an item was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// Why a wait is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Somebody called, or something is queued.
    Called,
    /// For all that time nobody did, and nothing is.
    Idle,
    /// Closed and empty.
    Closed,
}

/// What popping brought.
#[derive(Debug)]
pub(crate) enum Popped<T> {
    Items(Vec<T>),
    Idle,
    Closed,
}

impl<T: Weigh> Queue<T> {
    pub(crate) fn new(bound: usize) -> Self {
        let inner = Inner { items: VecDeque::new(), closed: false, sleepers: 0, called: false };
        Self { inner: Mutex::new(inner), ready: Condvar::new(), bound }
    }

    /// Adds an item at the end and wakes a thread for it.
    pub(crate) fn push(&self, item: T) -> Result<(), Refused> {
        self.put(item)?;
        if self.lock().sleepers > 0 {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Adds an item at the end and wakes nobody: who does so sees to it that somebody takes it.
    pub(crate) fn put(&self, item: T) -> Result<(), Refused> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.items.len() >= self.bound {
            return Err(Refused::Full);
        }
        inner.items.push_back(item);
        Ok(())
    }

    /// Makes the thread look, also where nothing is queued.
    pub(crate) fn call(&self) {
        let mut inner = self.lock();
        inner.called = true;
        if inner.sleepers > 0 {
            self.ready.notify_one();
        }
    }

    /// Is there something?
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Waits for items: at most `most` of them and, beyond the first, at most `bytes` together.
    /// `Idle` after `idle` without any; `Closed` when closed and empty.
    pub(crate) fn pop(&self, most: usize, bytes: usize, idle: Duration) -> Popped<T> {
        let mut inner = self.sleep(idle, |inner| inner.items.is_empty() && !inner.closed);
        let items = inner.take(most, bytes);
        match (items.is_empty(), inner.closed) {
            (false, _) => Popped::Items(items),
            (true, true) => Popped::Closed,
            (true, false) => Popped::Idle,
        }
    }

    /// Waits until the thread is called, or for `idle`, and takes nothing.
    pub(crate) fn wait(&self, idle: Duration) -> Woken {
        let mut inner = self.sleep(idle, |inner| !inner.called && !inner.closed);
        let called = std::mem::take(&mut inner.called);
        match (inner.closed, inner.items.is_empty()) {
            (true, true) => Woken::Closed,
            (false, true) if !called => Woken::Idle,
            _ => Woken::Called,
        }
    }

    /// What is there: at most `most` items and, beyond the first, at most `bytes` together.
    pub(crate) fn take(&self, most: usize, bytes: usize) -> Vec<T> {
        self.lock().take(most, bytes)
    }

    /// Bytes of the first item, if there is one.
    pub(crate) fn first_weight(&self) -> Option<usize> {
        self.lock().items.front().map(Weigh::weight)
    }

    fn sleep(
        &self,
        idle: Duration,
        mut still: impl FnMut(&mut Inner<T>) -> bool,
    ) -> MutexGuard<'_, Inner<T>> {
        let mut inner = self.lock();
        if !still(&mut inner) {
            return inner;
        }
        inner.sleepers += 1;
        let (mut inner, _) =
            self.ready.wait_timeout_while(inner, idle, still).unwrap_or_else(PoisonError::into_inner);
        inner.sleepers -= 1;
        inner
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

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Weigh> Inner<T> {
    fn take(&mut self, most: usize, bytes: usize) -> Vec<T> {
        let mut weight = 0;
        let mut items = Vec::with_capacity(self.items.len().min(most));
        while items.len() < most {
            let Some(next) = self.items.front() else { break };
            weight += next.weight();
            if weight > bytes && !items.is_empty() {
                break;
            }
            items.extend(self.items.pop_front());
        }
        items
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
        let queue = Queue::new(8);
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
        let queue = Queue::new(1);
        queue.push(1).unwrap();
        assert_eq!(queue.push(2), Err(Refused::Full));
        queue.close();
        assert_eq!(queue.push(3), Err(Refused::Closed));
        assert_eq!(pop(&queue, 9, 9), [1]);
        assert!(matches!(queue.pop(1, 1, Duration::ZERO), Popped::Closed));
    }

    #[test]
    fn a_call_is_heard_whenever_it_came_and_takes_nothing() {
        let queue = Queue::new(8);
        queue.put(1).unwrap();
        assert_eq!(queue.wait(Duration::ZERO), Woken::Called, "something is queued");
        assert_eq!(queue.take(9, 9), [1]);
        assert_eq!(queue.wait(Duration::ZERO), Woken::Idle);
        queue.call();
        assert_eq!(queue.wait(Duration::from_secs(3600)), Woken::Called, "it was called before");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| queue.wait(Duration::from_secs(3600)));
            queue.close();
            assert_eq!(waits.join().unwrap(), Woken::Closed);
        });
    }
}
