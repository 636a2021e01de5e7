//! So many calls, so many of them at once, and how long each took.
//!
//! Knows nothing of what is called. Start at [`drive`].

use anyhow::Result;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
// tidy: allow(spawn): its tasks end with the set, which does not outlive the round
use tokio::task::JoinSet;

/// What came out.
pub(super) struct Round {
    pub(super) times: Vec<Duration>,
    pub(super) wall: Duration,
}

/// All lanes take from the same heap of calls, each a task of its own.
pub(super) async fn drive<T, F>(
    lanes: usize,
    calls: usize,
    on: &Arc<T>,
    call: impl Fn(Arc<T>) -> F + Copy + Send + 'static,
) -> Result<Round>
where
    T: Send + Sync + 'static,
    F: Future<Output = Result<usize>> + Send,
{
    let (left, began) = (Arc::new(AtomicUsize::new(calls)), Instant::now());
    // tidy: allow(spawn): as above
    let mut set = JoinSet::new();
    for _ in 0..lanes {
        let (on, left) = (Arc::clone(on), Arc::clone(&left));
        set.spawn(async move {
            let mut times = Vec::with_capacity(calls / lanes + 1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let began = Instant::now();
                call(Arc::clone(&on)).await?;
                times.push(began.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::with_capacity(calls);
    for lane in set.join_all().await {
        times.extend(lane?);
    }
    Ok(Round { times, wall: began.elapsed() })
}
