//! How many requests a minute a key seems to allow, where nobody declared it: from answers and from hit limits (S1.1-1).
//!
//! Integers only; knows neither time nor calls. Start at [`Learned::hit`].

use super::pace::Flow;
use serde::{Deserialize, Serialize};

/// Thousandths of a request: what is counted in.
const MILLI: u64 = 1_000;
/// Before anything is known: ten a second (S1.1-1: refill), and so many at once.
const UNKNOWN: u64 = 600 * MILLI;
const AT_ONCE: u64 = 10;
/// It grows to a thousand a second.
const FASTEST: u64 = 60_000 * MILLI;
/// After a hit: least, most, and the least that the first one is taken for.
const LEAST: u64 = 5 * MILLI;
const MOST: u64 = 200 * MILLI;
const FIRST: u64 = 50 * MILLI;
/// Answers after which it grows by a twentieth; below a hit nobody knows where from, by a half.
const AFTER: u32 = 10;
/// Answers after which it grows beyond where the last limit was hit: a hit costs a call, so they are to stay rare.
const BEYOND: u32 = 16 * AFTER;
/// Answers at the most after which the hits are forgotten.
const FORGOTTEN: u32 = 64 * AFTER;

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Thousandths of a request a minute.
    milli: u64,
    /// Where the limit was hit when it had been hit before; `None` = not yet, or once.
    edge: Option<u64>,
    hit: bool,
    /// Answers since the last change.
    answers: u32,
}

impl Default for Learned {
    fn default() -> Self {
        Self { milli: UNKNOWN, edge: None, hit: false, answers: 0 }
    }
}

impl Learned {
    /// How fast calls may follow each other.
    pub fn flow(&self) -> Flow {
        let per_minute = self.milli / MILLI;
        Flow { per_minute, burst: (per_minute / super::BURSTS).clamp(1, AT_ONCE) }
    }

    /// Has a limit been hit that still counts?
    pub fn was_hit(&self) -> bool {
        self.hit
    }

    /// A limit was hit, with so many calls in the last minute.
    pub fn hit(&mut self, seen: u64) {
        let seen = seen.saturating_mul(MILLI);
        let (at, edge) = match self.hit {
            // The first one may be of anything: a burst, tokens, somebody else's calls.
            false => (seen.max(FIRST), None),
            true => (seen.min(self.milli), Some(seen.min(self.milli))),
        };
        *self = Self { milli: (at / 100 * 95).clamp(LEAST, MOST), edge, hit: true, answers: 0 };
    }

    /// A call was answered.
    pub fn answered(&mut self) {
        self.answers += 1;
        let grown = match (self.hit, self.edge) {
            (true, None) => self.milli / 2 * 3,
            _ => self.milli / 100 * 105,
        };
        let after = match self.edge {
            _ if self.hit && self.milli >= MOST => FORGOTTEN,
            Some(edge) if grown >= edge => BEYOND,
            _ => AFTER,
        };
        if self.answers < after {
            return;
        }
        self.answers = 0;
        if after == FORGOTTEN {
            *self = Self::default();
        } else if self.hit {
            self.milli = grown.min(MOST);
            // Beyond the edge nothing happened: it lies further off.
            self.edge = self.edge.map(|edge| if grown >= edge { grown / 2 * 3 } else { edge });
        } else {
            self.milli = grown.min(FASTEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_minute(learned: &Learned) -> u64 {
        learned.flow().per_minute
    }

    fn answers(learned: &mut Learned, n: u32) -> u64 {
        (0..n).for_each(|_| learned.answered());
        per_minute(learned)
    }

    #[test]
    fn an_unknown_key_is_called_ten_times_a_second_and_more_often_as_it_answers() {
        let mut learned = Learned::default();
        assert_eq!(learned.flow(), Flow { per_minute: 600, burst: AT_ONCE });
        assert!((900..1_000).contains(&answers(&mut learned, 100)), "{learned:?}");
    }

    #[test]
    fn the_first_hit_is_a_guess_that_is_left_fast() {
        let mut learned = Learned::default();
        learned.hit(20);
        assert_eq!(per_minute(&learned), 47);
        assert_eq!(answers(&mut learned, 40), 200);
    }

    #[test]
    fn a_second_hit_is_believed_and_its_edge_is_crossed_rarely() {
        let mut learned = Learned::default();
        (0..2).for_each(|_| learned.hit(60));
        assert_eq!(per_minute(&learned), 54, "no more than it was let do, less a twentieth");
        let mut hits = 0;
        // A key that allows 55 a minute.
        for _ in 0..1_000 {
            learned.answered();
            if per_minute(&learned) > 55 {
                hits += 1;
                learned.hit(55);
            }
        }
        assert!((3..=7).contains(&hits), "{hits} of 1,000");
    }

    #[test]
    fn hits_that_no_longer_matter_are_forgotten() {
        let mut learned = Learned::default();
        (0..40).for_each(|_| learned.hit(1));
        assert_eq!(per_minute(&learned), 5);
        (0..6_000).for_each(|_| learned.answered());
        assert!(!learned.was_hit(), "{learned:?}");
    }
}
