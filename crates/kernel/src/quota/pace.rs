//! How fast calls may follow each other: a token bucket, and a sliding window of sixty slices.
//!
//! Integers only, bounded in size; knows no calls. Limits come in as values, since they change. Start at [`Bucket`].

use contract::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A minute, milliseconds: what rates are told for. A level counts in units of one sixty-thousandth.
pub const MINUTE_MS: u64 = 60_000;

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Units a minute.
    pub per_minute: u64,
    /// Units it holds.
    pub burst: u64,
}

impl Flow {
    fn full(self) -> u64 {
        self.burst.max(1).saturating_mul(MINUTE_MS)
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    level: u64,
    at: Timestamp,
}

impl Bucket {
    /// A full one.
    pub fn full(flow: Flow, now: Timestamp) -> Self {
        Self { level: flow.full(), at: now }
    }

    /// An empty one.
    pub fn empty(now: Timestamp) -> Self {
        Self { level: 0, at: now }
    }

    fn level(&self, flow: Flow, now: Timestamp) -> u64 {
        let gained = now.since(self.at).saturating_mul(flow.per_minute);
        self.level.saturating_add(gained).min(flow.full())
    }

    /// Milliseconds until this much may be taken; more than it holds waits until it is full.
    pub fn wait_ms(&self, flow: Flow, now: Timestamp, units: u64) -> u64 {
        let most = flow.burst.max(1);
        let need = units.min(most).saturating_mul(MINUTE_MS);
        let missing = need.saturating_sub(self.level(flow, now));
        // Whoever stands behind others waits for theirs as well.
        let behind = units.saturating_sub(most).saturating_mul(MINUTE_MS);
        missing.saturating_add(behind).div_ceil(flow.per_minute.max(1))
    }

    /// Takes.
    pub fn take(&mut self, flow: Flow, now: Timestamp, units: u64) {
        let level = self.level(flow, now);
        *self = Self { level: level.saturating_sub(units.saturating_mul(MINUTE_MS)), at: now };
    }

    /// Gives back what was not used.
    pub fn give(&mut self, flow: Flow, now: Timestamp, units: u64) {
        let level = self.level(flow, now);
        *self =
            Self { level: level.saturating_add(units.saturating_mul(MINUTE_MS)).min(flow.full()), at: now };
    }

    /// The clock was set back by this much.
    pub fn turn_back(&mut self, by: u64) {
        self.at = Timestamp(self.at.0.saturating_sub(by));
    }
}

/// Slices of a window: each is counted until its last moment has left.
const SLICES: u64 = 60;
/// A call may reach the provider this much later than it is taken here: so much longer it counts, milliseconds.
pub const LATE_MS: u64 = 500;

/// What was taken in the last so many milliseconds, wherever they begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its length, milliseconds.
    pub ms: u64,
    /// Number of the slice and what was taken in it, oldest first.
    slices: VecDeque<(u64, u64)>,
}

impl Window {
    /// An empty one of this length.
    pub fn new(ms: u64) -> Self {
        Self { ms: ms.max(1), slices: VecDeque::new() }
    }

    fn slice_ms(&self) -> u64 {
        self.ms.div_ceil(SLICES).max(LATE_MS.div_ceil(SLICES))
    }

    /// When nothing of a slice counts any more.
    fn left(&self, slice: u64) -> Timestamp {
        Timestamp((slice + 1).saturating_mul(self.slice_ms()).saturating_add(self.ms)).plus(LATE_MS)
    }

    /// What counts at this moment, at least.
    pub fn sum(&self, now: Timestamp) -> u64 {
        let counts = self.slices.iter().filter(|(slice, _)| self.left(*slice) > now);
        counts.map(|(_, units)| *units).fold(0, u64::saturating_add)
    }

    /// What was taken in the last so many milliseconds, at least; no more than is remembered.
    pub fn sum_of(&self, now: Timestamp, ms: u64) -> u64 {
        let longer = self.ms.saturating_sub(ms);
        let counts =
            self.slices.iter().filter(|(slice, _)| self.left(*slice).since(Timestamp(longer)) > now.0);
        counts.map(|(_, units)| *units).fold(0, u64::saturating_add)
    }

    /// When this much more is within the limit; more than the limit waits until nothing counts any more.
    pub fn free_at(&self, limit: u64, now: Timestamp, units: u64) -> Timestamp {
        let limit = limit.max(1);
        let need = units.clamp(1, limit);
        let mut sum = self.sum(now);
        let mut at = now;
        for (slice, units) in self.slices.iter().filter(|(slice, _)| self.left(*slice) > now) {
            if sum.saturating_add(need) <= limit {
                break;
            }
            sum = sum.saturating_sub(*units);
            at = self.left(*slice);
        }
        // Whoever stands behind others waits for theirs as well.
        at.plus((units.saturating_sub(1) / limit).saturating_mul(self.ms))
    }

    /// Takes.
    pub fn take(&mut self, now: Timestamp, units: u64) {
        while self.slices.front().is_some_and(|(slice, _)| self.left(*slice) <= now) {
            self.slices.pop_front();
        }
        let slice = now.0 / self.slice_ms();
        match self.slices.back_mut() {
            Some((last, sum)) if *last >= slice => *sum = sum.saturating_add(units),
            _ => self.slices.push_back((slice, units)),
        }
    }

    /// Gives back what was taken at that moment and not used.
    pub fn give(&mut self, taken: Timestamp, units: u64) {
        let slice = taken.0 / self.slice_ms();
        if let Some((_, sum)) = self.slices.iter_mut().rev().find(|(own, _)| *own <= slice) {
            *sum = sum.saturating_sub(units);
        }
    }

    /// The clock was set back by this much.
    pub fn turn_back(&mut self, by: u64) {
        let back = by / self.slice_ms();
        self.slices.iter_mut().for_each(|(slice, _)| *slice = slice.saturating_sub(back));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_its_burst_pass_and_then_its_rate() {
        // S1.1-1: a hundred, ten a second.
        let flow = Flow { per_minute: 600, burst: 100 };
        let mut bucket = Bucket::full(flow, Timestamp(0));
        let passed = (0..150).filter(|_| {
            let free = bucket.wait_ms(flow, Timestamp(0), 1) == 0;
            if free {
                bucket.take(flow, Timestamp(0), 1);
            }
            free
        });
        assert_eq!(passed.count(), 100);
        assert_eq!(bucket.wait_ms(flow, Timestamp(0), 1), 100);
        assert_eq!(bucket.wait_ms(flow, Timestamp(99), 1), 1);
        assert_eq!(bucket.wait_ms(flow, Timestamp(1_000), 10), 0);
        assert_eq!(
            bucket.wait_ms(flow, Timestamp(0), 150),
            15_000,
            "behind others it waits for theirs as well"
        );
        bucket.give(flow, Timestamp(0), 1_000);
        assert_eq!(bucket, Bucket::full(flow, Timestamp(0)), "no more than it holds");
    }

    #[test]
    fn what_is_larger_than_a_bucket_waits_until_it_is_full() {
        let flow = Flow { per_minute: 1_000, burst: 1_000 };
        let mut bucket = Bucket::full(flow, Timestamp(0));
        bucket.take(flow, Timestamp(0), 1_000_000);
        assert_eq!(bucket.wait_ms(flow, Timestamp(0), 1_000), MINUTE_MS);
    }

    #[test]
    fn no_window_sees_more_than_its_limit() {
        for ms in [1, 7, 1_000, 60_000, 100_003] {
            let (limit, mut window, mut taken) = (5, Window::new(ms), Vec::new());
            let mut now = Timestamp(1_000_000);
            for step in 0..400_u64 {
                now = now.plus(step * 7_919 % (ms / 3 + 200));
                if window.free_at(limit, now, 1) <= now {
                    window.take(now, 1);
                    taken.push(now);
                }
                let seen = taken.iter().filter(|at| now.since(**at) < ms + LATE_MS).count() as u64;
                assert!(seen <= limit, "{seen} in {ms} ms");
            }
            assert!(taken.len() > 20, "{ms}: {}", taken.len());
            assert!(window.slices.len() <= 2 * SLICES as usize + 1);
        }
    }

    #[test]
    fn a_shorter_stretch_of_a_window_counts_what_is_in_it() {
        let mut window = Window::new(60_000);
        (0..50).for_each(|second| window.take(Timestamp(100_000 + second * 1_000), 1));
        let now = Timestamp(149_900);
        assert_eq!(window.sum_of(now, 60_000), window.sum(now));
        assert!((12..=14).contains(&window.sum_of(now, 12_000)), "{}", window.sum_of(now, 12_000));
        assert_eq!(window.sum_of(now, 3_600_000), 50, "no more than it remembers");
    }

    #[test]
    fn a_window_says_when_there_is_room_and_keeps_its_word() {
        let mut window = Window::new(60_000);
        (0..5).for_each(|n| window.take(Timestamp(n * 10_000), 1));
        let at = window.free_at(5, Timestamp(41_000), 2);
        assert!(at > Timestamp(41_000) && window.free_at(5, at, 2) == at, "{at:?}");
        assert!(window.sum(at) <= 3 && at >= Timestamp(60_000 + LATE_MS));
        window.give(Timestamp(40_000), 1);
        assert_eq!(window.sum(Timestamp(41_000)), 4);
    }
}
