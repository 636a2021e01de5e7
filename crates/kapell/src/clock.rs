//! The real clock and the real dice.

use contract::Timestamp;
use contract::port::Clock;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine's own.
#[derive(Debug, Default)]
pub(crate) struct System {
    drawn: AtomicU64,
}

impl Clock for System {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Ids and jitter, not secrets: the standard library's per-process random keys, a counter and the time.
    fn random(&self) -> u128 {
        let n = self.drawn.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let half = |salt: u64| u128::from(RandomState::new().hash_one((salt, n, now, std::process::id())));
        half(1) << 64 | half(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        let clock = System::default();
        let drawn: std::collections::BTreeSet<u128> = (0..10_000).map(|_| clock.random()).collect();
        assert_eq!(drawn.len(), 10_000);
    }
}
