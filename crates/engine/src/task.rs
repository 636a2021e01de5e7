//! The only place where tasks are born: a task has a kind, a kind has a policy.
//!
//! Knows nothing of sessions or actions. Start at [`Kind`], then [`spawn`].

use std::any::Any;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// What a task is for. The kind decides what becomes of it when nobody holds its handle any more.
///
/// | kind      | when its handle is dropped | when it panics                                     |
/// |-----------|----------------------------|----------------------------------------------------|
/// | `Arbiter` | goes on: it owns a session, and ends by `Stop` only | the session is left to recovery |
/// | `Action`  | aborted: nobody would hear its outcome | its outcome is a permanent fault       |
/// | `Watch`   | aborted: it only tells its owner something | its owner starts another or stops  |
///
/// A shutdown stops intake, cancels tokens from the top down and waits for the arbiters; whatever
/// is not an arbiter is held by one and goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A live session's loop.
    Arbiter,
    /// An attempt at an action, or one call of it.
    Action,
    /// Waits for something outside (the inbox, a lease's renewal, a timer) and reports it.
    Watch,
}

impl Kind {
    /// The name in spans and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arbiter => "arbiter",
            Self::Action => "action",
            Self::Watch => "watch",
        }
    }

    fn outlives_its_handle(self) -> bool {
        self == Self::Arbiter
    }
}

/// A running task. Resolves to what it returned, or to how it was lost.
#[derive(Debug)]
pub struct Task<T> {
    kind: Kind,
    handle: JoinHandle<T>,
}

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// It panicked; the message, bounded.
    Panicked(String),
    /// It was aborted, by the end of the runtime.
    Aborted,
}

/// Characters of a panic's message that are kept.
const PANIC_CHARS: usize = 200;

/// Starts a task inside the current span. Needs a running tokio runtime.
pub fn spawn<F>(kind: Kind, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let span = tracing::debug_span!("task", kind = kind.name());
    Task { kind, handle: tokio::spawn(future.instrument(span)) }
}

/// Runs what waits without giving way on a thread of its own. It comes to its end whoever waits for it; a panic in
/// it is a panic here.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            // Only the end of the runtime keeps it from being run, and that is the end of this future too.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Runs a future where it is awaited; a panic in it is a value here too. For work that nobody waits for elsewhere: a
/// task costs more than most tool calls that only read.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, Lost> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        // What panicked is not polled again: the answer below ends this future, and drops the other.
        match panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Lost::Panicked(message(&*payload)))),
        }
    })
    .await
}

impl<T> Future for Task<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(cx).map_err(|error| match error.try_into_panic() {
            Ok(payload) => Lost::Panicked(message(&*payload)),
            Err(_) => Lost::Aborted,
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.kind.outlives_its_handle() {
            self.handle.abort();
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    text.chars().take(PANIC_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn a_panic_is_a_value() {
        let lost = spawn(Kind::Action, async { panic!("no {}", "luck") }).await;
        assert_eq!(lost.map(|(): ()| ()), Err(Lost::Panicked("no luck".to_owned())));
    }

    #[tokio::test]
    async fn what_blocks_keeps_nobody_else_from_running() {
        let (send, receive) = std::sync::mpsc::channel();
        let other = spawn(Kind::Watch, async move { send.send(7) });
        assert_eq!(blocking(move || receive.recv()).await, Ok(7));
        assert_eq!(other.await, Ok(Ok(())));
    }

    #[tokio::test]
    async fn so_it_is_without_a_task() {
        let lost = caught(async {
            tokio::task::yield_now().await;
            panic!("no {}", "luck")
        });
        assert_eq!(lost.await.map(|(): ()| ()), Err(Lost::Panicked("no luck".to_owned())));
        assert_eq!(caught(async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn an_action_ends_with_its_handle_and_an_arbiter_does_not() {
        struct Bell(Arc<Notify>);
        impl Drop for Bell {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let gone = Arc::new(Notify::new());
        let bell = Bell(Arc::clone(&gone));
        drop(spawn(Kind::Action, async move {
            std::future::pending::<()>().await;
            drop(bell);
        }));
        gone.notified().await;

        let (send, receive) = tokio::sync::oneshot::channel();
        drop(spawn(Kind::Arbiter, async move { send.send(7) }));
        assert_eq!(receive.await, Ok(7));
    }
}
