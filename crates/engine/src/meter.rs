//! How long decisions and commits take: counted in buckets, by atomics alone, where both happen anyway.
//!
//! Knows nothing of who reads it. Start at [`Meter`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, nanoseconds; what takes longer than all of them stands in one more.
pub const BOUNDS_NS: [u64; 17] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// Times of one engine.
#[derive(Debug, Default)]
pub struct Meter {
    /// Of decisions: from an input to events, effects and the records to be written.
    pub decisions: Times,
    /// Of commits as a session waits for them: queue, write, fsync.
    pub commits: Times,
}

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Times {
    counts: [AtomicU64; BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

impl Times {
    /// It took so long once more.
    pub fn took(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS_NS.partition_point(|bound| *bound < ns);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// How often in each bucket, and all of them together in nanoseconds.
    pub fn read(&self) -> (Vec<u64>, u64) {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        (counts, self.sum_ns.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_falls_into_one_bucket() {
        let times = Times::default();
        for ns in [1, 10_000, 10_001, 6_000_000_000] {
            times.took(Duration::from_nanos(ns));
        }
        let (counts, sum) = times.read();
        assert_eq!((counts[0], counts[1], counts[BOUNDS_NS.len()]), (2, 1, 1));
        assert_eq!((counts.iter().sum::<u64>(), sum), (4, 6_000_020_002));
    }
}
