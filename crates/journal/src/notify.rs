//! The wake-up behind `Journal::changed`. Carries no data: who wakes reads the journal.
//! Start at [`Notify`].

use contract::BoxFuture;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Counts changes and wakes everyone who waits for the next one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notify(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    changes: u64,
    next_waiter: u64,
    waiting: BTreeMap<u64, Waker>,
}

struct Changed {
    notify: Notify,
    seen: u64,
    waiter: Option<u64>,
}

impl Notify {
    /// Something was appended or submitted.
    pub(crate) fn notify(&self) {
        let waiting = {
            let mut state = self.lock();
            state.changes += 1;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Resolves at the first change after this call.
    pub(crate) fn changed(&self) -> BoxFuture<'static, ()> {
        let seen = self.lock().changes;
        Box::pin(Changed { notify: self.clone(), seen, waiter: None })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Changed {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify.clone();
        let mut state = notify.lock();
        if state.changes != self.seen {
            return Poll::Ready(());
        }
        let waiter = *self.waiter.get_or_insert_with(|| {
            state.next_waiter += 1;
            state.next_waiter
        });
        state.waiting.insert(waiter, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.notify.lock().waiting.remove(&waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::block_on;

    #[test]
    fn a_change_after_the_call_resolves_even_when_it_came_before_the_first_poll() {
        let notify = Notify::default();
        let changed = notify.changed();
        notify.notify();
        block_on(changed);
    }

    #[test]
    fn a_forgotten_waiter_leaves_nothing_behind() {
        let notify = Notify::default();
        let mut changed = notify.changed();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(changed.as_mut().poll(&mut cx).is_pending());
        assert_eq!(notify.lock().waiting.len(), 1);
        drop(changed);
        assert!(notify.lock().waiting.is_empty());
    }
}
