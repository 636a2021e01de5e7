//! What a key is allowed, kept as strictly as a vendor does: requests and tokens a minute, calls at once, a window.
//!
//! Knows no clock: moments come in as milliseconds. A refused request counts in no limit. Start at [`Gate::enter`].

use std::collections::{BTreeMap, VecDeque};

/// What one key may do; 0 = as much as it likes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests that come back in a minute.
    pub requests_per_minute: u64,
    /// Requests at once after a pause; 0 = a minute's.
    pub burst: u64,
    /// Tokens that come back in a minute, what is asked and the most that may be answered.
    pub tokens_per_minute: u64,
    /// Calls in flight.
    pub concurrent: u64,
    /// So many requests in so many milliseconds, wherever they begin.
    pub window: (u64, u64),
}

/// Why a request is refused, and when it would not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Which limit.
    pub limit: &'static str,
    /// Milliseconds until it would pass, if nobody else came.
    pub retry_ms: u64,
}

/// One limit as the headers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// All there are.
    pub limit: u64,
    /// How many are left.
    pub left: u64,
    /// Milliseconds until it is full again.
    pub reset_ms: u64,
}

/// The limits of every key, and how far each is used.
#[derive(Debug, Default)]
pub struct Gate {
    limits: Limits,
    keys: BTreeMap<String, Used>,
}

#[derive(Debug)]
struct Used {
    requests: Bucket,
    tokens: Bucket,
    in_flight: u64,
    starts: VecDeque<u64>,
}

/// Holds `size` thousandths of what it counts, and fills by `per_minute` of them.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    size: u64,
    per_minute: u64,
    left: u64,
    at_ms: u64,
    /// What has come back of the next thousandth, in sixtieths.
    part: u64,
}

const MINUTE: u64 = 60_000;

impl Bucket {
    fn full(size: u64, per_minute: u64) -> Self {
        Self { size: size * 1000, per_minute, left: size * 1000, at_ms: 0, part: 0 }
    }

    fn fill(&mut self, now_ms: u64) {
        let come =
            now_ms.saturating_sub(self.at_ms).saturating_mul(self.per_minute).saturating_add(self.part);
        self.left = self.left.saturating_add(come / (MINUTE / 1000)).min(self.size);
        self.part = come % (MINUTE / 1000);
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// Milliseconds until there are so many thousandths; `None` = there are.
    fn wait(&self, thousandths: u64) -> Option<u64> {
        let missing = thousandths.min(self.size).checked_sub(self.left).filter(|missing| *missing > 0)?;
        Some((missing * (MINUTE / 1000)).div_ceil(self.per_minute.max(1)))
    }

    fn told(&self) -> Told {
        let reset_ms = self.wait(self.size).unwrap_or(0);
        Told { limit: self.size / 1000, left: self.left / 1000, reset_ms }
    }
}

impl Gate {
    /// With nothing used.
    pub fn new(limits: Limits) -> Self {
        Self { limits, keys: BTreeMap::new() }
    }

    /// A request of this key that may cost so many tokens. When it may go, it is in flight until [`Self::leave`].
    pub fn enter(&mut self, key: &str, tokens: u64, now_ms: u64) -> Result<(), Refused> {
        let limits = self.limits;
        let used = self.used(key, now_ms);
        if limits.concurrent > 0 && used.in_flight >= limits.concurrent {
            return Err(Refused { limit: "concurrency", retry_ms: 200 });
        }
        let (most, length) = limits.window;
        while used.starts.front().is_some_and(|start| now_ms.saturating_sub(*start) >= length) {
            used.starts.pop_front();
        }
        if most > 0 && used.starts.len() as u64 >= most {
            let first = used.starts.front().copied().unwrap_or(now_ms);
            return Err(Refused {
                limit: "window",
                retry_ms: (first + length).saturating_sub(now_ms).max(1),
            });
        }
        if let Some(retry_ms) = used.requests.wait(1000).filter(|_| limits.requests_per_minute > 0) {
            return Err(Refused { limit: "requests", retry_ms });
        }
        let thousandths = tokens.saturating_mul(1000);
        if let Some(retry_ms) = used.tokens.wait(thousandths).filter(|_| limits.tokens_per_minute > 0) {
            return Err(Refused { limit: "tokens", retry_ms });
        }
        used.in_flight += 1;
        used.starts.push_back(now_ms);
        used.requests.left = used.requests.left.saturating_sub(1000);
        used.tokens.left = used.tokens.left.saturating_sub(thousandths);
        Ok(())
    }

    /// A request that was let in is over; what it did not cost comes back.
    pub fn leave(&mut self, key: &str, unused_tokens: u64, now_ms: u64) {
        let used = self.used(key, now_ms);
        used.in_flight = used.in_flight.saturating_sub(1);
        used.tokens.left = used.tokens.left.saturating_add(unused_tokens * 1000).min(used.tokens.size);
    }

    /// What headers tell of requests and tokens; `None` where there is no limit.
    pub fn told(&mut self, key: &str, now_ms: u64) -> (Option<Told>, Option<Told>) {
        let limits = self.limits;
        let used = self.used(key, now_ms);
        let requests = (limits.requests_per_minute > 0).then(|| used.requests.told());
        (requests, (limits.tokens_per_minute > 0).then(|| used.tokens.told()))
    }

    fn used(&mut self, key: &str, now_ms: u64) -> &mut Used {
        let limits = self.limits;
        let used = self.keys.entry(key.to_owned()).or_insert_with(|| {
            let burst = if limits.burst > 0 { limits.burst } else { limits.requests_per_minute };
            Used {
                requests: Bucket::full(burst, limits.requests_per_minute),
                tokens: Bucket::full(limits.tokens_per_minute, limits.tokens_per_minute),
                in_flight: 0,
                starts: VecDeque::new(),
            }
        });
        used.requests.fill(now_ms);
        used.tokens.fill(now_ms);
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut gate = Gate::new(Limits { requests_per_minute: 600, burst: 5, ..Limits::default() });
        let passed = (0..9).filter(|_| gate.enter("k", 0, 0).is_ok()).count();
        assert_eq!(passed, 5);
        let refused = gate.enter("k", 0, 0).unwrap_err();
        assert_eq!(refused, Refused { limit: "requests", retry_ms: 100 });
        assert!(gate.enter("k", 0, 99).is_err() && gate.enter("k", 0, 100).is_ok());
        assert!(gate.enter("other", 0, 100).is_ok(), "each key has its own");
        assert_eq!(gate.told("k", 100).0, Some(Told { limit: 5, left: 0, reset_ms: 500 }));
    }

    #[test]
    fn who_looks_often_finds_as_much_as_who_looks_once() {
        let (mut often, mut once) = (Bucket::full(10, 59), Bucket::full(10, 59));
        (often.left, once.left) = (0, 0);
        (1..=1_000).for_each(|ms| often.fill(ms));
        once.fill(1_000);
        assert_eq!((often.left, once.left), (983, 983));
    }

    #[test]
    fn tokens_that_were_not_used_come_back() {
        let mut gate = Gate::new(Limits { tokens_per_minute: 1000, ..Limits::default() });
        assert!(gate.enter("k", 800, 0).is_ok());
        assert_eq!(gate.enter("k", 800, 0).unwrap_err().limit, "tokens");
        gate.leave("k", 700, 0);
        assert!(gate.enter("k", 800, 0).is_ok());
        assert!(gate.told("k", 0).1.is_some_and(|told| told.left == 100));
    }

    #[test]
    fn a_window_slides_and_calls_are_counted_while_they_last() {
        let mut gate = Gate::new(Limits { window: (2, 1000), ..Limits::default() });
        assert!(gate.enter("k", 0, 0).is_ok() && gate.enter("k", 0, 400).is_ok());
        assert_eq!(gate.enter("k", 0, 900).unwrap_err(), Refused { limit: "window", retry_ms: 100 });
        assert!(gate.enter("k", 0, 1000).is_ok());
        let mut gate = Gate::new(Limits { concurrent: 1, ..Limits::default() });
        assert!(gate.enter("k", 0, 0).is_ok() && gate.enter("k", 0, 0).is_err());
        gate.leave("k", 0, 0);
        assert!(gate.enter("k", 0, 0).is_ok());
    }
}
