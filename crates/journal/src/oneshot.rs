//! One answer from a thread to a future. Knows no runtime.
//! Start at [`channel`].

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// The sending end. Dropped without an answer it resolves the future with `None`.
#[derive(Debug)]
pub(crate) struct Reply<T>(Arc<Mutex<State<T>>>);

/// The receiving end.
#[derive(Debug)]
pub(crate) struct Answer<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
    done: bool,
}

/// Both ends.
pub(crate) fn channel<T>() -> (Reply<T>, Answer<T>) {
    let state = Arc::new(Mutex::new(State { value: None, waker: None, done: false }));
    (Reply(Arc::clone(&state)), Answer(state))
}

impl<T> Answer<T> {
    /// Nothing more has to be waited for.
    pub(crate) fn is_there(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).done
    }
}

impl<T> Reply<T> {
    /// Answers; nobody listening is no error.
    pub(crate) fn send(self, value: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).value = Some(value);
        // Dropping `self` marks it done and wakes the future.
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.done = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.done {
            return Poll::Ready(state.value.take());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::block_on;

    #[test]
    fn an_answer_from_another_thread_arrives() {
        let (reply, answer) = channel();
        let thread = std::thread::spawn(move || reply.send(7));
        assert_eq!(block_on(answer), Some(7));
        thread.join().unwrap();
    }

    #[test]
    fn a_dropped_sender_resolves_with_nothing() {
        let (reply, answer) = channel::<()>();
        drop(reply);
        assert_eq!(block_on(answer), None);
    }
}
