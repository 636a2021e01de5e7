//! Kapell's own cancel token: cheap to clone, woken at once, with children. Knows no runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

/// How hard to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Start the ladder: ask, wait, insist, wait, kill.
    Graceful,
    /// Kill at once.
    Now,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    urgency: Option<Urgency>,
    wakers: Vec<Waker>,
    children: Vec<Weak<Inner>>,
}

/// A token that is cancelled at most once per urgency and tells everyone who waits.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Inner>);

impl Cancel {
    /// A fresh token.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled with this one, and can be cancelled alone.
    pub fn child(&self) -> Self {
        let child = Self::new();
        let mut state = self.lock();
        match state.urgency {
            Some(urgency) => {
                drop(state);
                child.cancel(urgency);
            }
            None => {
                state.children.retain(|weak| weak.strong_count() > 0);
                state.children.push(Arc::downgrade(&child.0));
            }
        }
        child
    }

    /// Cancels this token and its children. A higher urgency overrides a lower one.
    pub fn cancel(&self, urgency: Urgency) {
        let (wakers, children) = {
            let mut state = self.lock();
            if state.urgency >= Some(urgency) {
                return;
            }
            state.urgency = Some(urgency);
            (std::mem::take(&mut state.wakers), state.children.clone())
        };
        wakers.into_iter().for_each(Waker::wake);
        children.iter().filter_map(Weak::upgrade).for_each(|inner| Self(inner).cancel(urgency));
    }

    /// How urgently it was cancelled, if it was.
    pub fn urgency(&self) -> Option<Urgency> {
        self.lock().urgency
    }

    /// True once cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.urgency().is_some()
    }

    /// Resolves when the token reaches at least this urgency.
    pub fn reached(&self, urgency: Urgency) -> Reached {
        Reached { token: self.clone(), urgency }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Future of [`Cancel::reached`].
#[derive(Debug)]
pub struct Reached {
    token: Cancel,
    urgency: Urgency,
}

impl Future for Reached {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.token.lock();
        if state.urgency >= Some(self.urgency) {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_follow_and_urgency_only_grows() {
        let parent = Cancel::new();
        let early = parent.child();
        parent.cancel(Urgency::Now);
        parent.cancel(Urgency::Graceful);
        let late = parent.child();
        for token in [&parent, &early, &late] {
            assert_eq!(token.urgency(), Some(Urgency::Now));
        }
    }

    #[test]
    fn a_child_can_stop_alone() {
        let parent = Cancel::new();
        parent.child().cancel(Urgency::Graceful);
        assert!(!parent.is_cancelled());
    }
}
