//! What a provider keeps of a conversation from call to call: found again, or read and paid anew.
//!
//! Knows the provider's counts only; what changed the conversation is on record as events. Start at [`Cache::after`].

use crate::Illegal;
use crate::decide::Draft;
use crate::fsm::{Phase, Turn};
use crate::session::Cache;
use contract::model::Usage;
use contract::{Timestamp, limits};

/// How long a provider keeps what it was given, at least, milliseconds: Anthropic for five minutes, OpenAI for five to ten,
/// from the call on that found it last. Some of it passes before a request is there.
const KEPT_MS: u64 = 4 * 60_000;
/// Why a session pauses whose calls find nothing of it.
const LOST: &str = "cache";

impl Cache {
    /// As it is after a call with these counts, which began then. A provider that tells of no cache is believed to have
    /// none, and one that was not called for some minutes to have kept nothing.
    #[must_use]
    pub fn after(mut self, began: Timestamp, usage: Usage) -> Self {
        if began.since(self.at) > KEPT_MS {
            self.forget();
        }
        let kept = usage.cache_read.saturating_add(usage.cache_write);
        // Some tell what was read and never what was written: from then on all that was given is there.
        let tokens = match (kept, self.tokens) {
            (0, 0) => 0,
            (0, _) => usage.given(),
            (kept, _) if usage.cache_write == 0 => kept.max(usage.given()),
            (kept, _) => kept,
        };
        let found = usage.cache_read.saturating_mul(10) >= self.tokens;
        let missed = self.tokens >= limits::CACHE_TOKENS && !found;
        // Of one that did not count at all nothing is known.
        let misses = if missed { self.misses.saturating_add(1) } else { 0 };
        if usage.estimated { Self { at: began, ..self } } else { Self { tokens, misses, at: began, ..self } }
    }

    /// The conversation begins otherwise from here on, or another model has the word: that nothing of it is found
    /// again says nothing.
    pub(crate) fn forget(&mut self) {
        self.tokens = 0;
    }

    /// A person had the session go on that was paused for this reason. Who goes on all the same is not asked again.
    pub(crate) fn resumed(&mut self, why: &str) {
        *self = Self { settled: self.settled || why == LOST, ..Self::default() };
    }
}

impl Draft<'_> {
    /// One call after the other has paid for all of the conversation: a person is asked before the next one does.
    pub(crate) fn cache_lost(&mut self) -> Result<bool, Illegal> {
        let (most, Cache { tokens, misses, settled, .. }) = (self.s.limits().cache_misses, self.s.cache);
        if most == 0
            || settled
            || misses < most
            || self.s.phase != Phase::Active
            || self.s.turn != Turn::Model
        {
            return Ok(false);
        }
        let id = self.s.id;
        let what = format!(
            "{misses} calls in a row have paid for all of the conversation (about {tokens} tokens), although its \
             provider had kept it"
        );
        let hint = format!(
            "kapell cost {id} --cache names the first message that changed; kapell resume {id} goes on all the same, \
             and does not ask again ([budget] cache_misses in config.toml is for new sessions: 0 = never ask)"
        );
        self.pause(LOST, &what, &hint, 8)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(input: u64, cache_read: u64, cache_write: u64) -> Usage {
        Usage { input, cache_read, cache_write, output: 10, estimated: false }
    }

    fn misses(calls: &[Usage]) -> u32 {
        calls.iter().fold(Cache::default(), |cache, usage| cache.after(Timestamp(1), *usage)).misses
    }

    #[test]
    fn what_was_kept_and_is_written_again_is_a_miss_and_what_is_found_ends_the_row() {
        let written = call(10, 0, 20_000);
        assert_eq!(misses(&[written]), 0);
        assert_eq!(misses(&[written, call(500, 20_000, 500)]), 0);
        assert_eq!(misses(&[written, call(10, 0, 21_000), call(10, 100, 22_000)]), 2);
        assert_eq!(misses(&[written, call(10, 0, 21_000), call(10, 21_000, 500)]), 0);
    }

    #[test]
    fn a_provider_that_tells_of_reading_only_is_known_to_keep_what_it_was_given() {
        assert_eq!(
            misses(&[call(20_000, 0, 0), call(21_000, 0, 0), call(22_000, 0, 0)]),
            0,
            "it keeps nothing"
        );
        let found = call(2_000, 20_000, 0);
        assert_eq!(misses(&[found, call(23_000, 0, 0), call(24_000, 0, 0)]), 2);
    }

    #[test]
    fn little_is_not_worth_a_word() {
        assert_eq!(misses(&[call(10, 0, 2_000), call(10, 0, 2_100), call(10, 0, 2_200)]), 0);
        let mut cache = Cache::default().after(Timestamp(1), call(10, 0, 20_000));
        cache.forget();
        assert_eq!(cache.after(Timestamp(1), call(10, 0, 9_000)).misses, 0, "it was cut");
    }

    #[test]
    fn what_is_not_asked_for_in_time_is_not_missed() {
        let misses = |minutes: u64| {
            let calls = (1..=4).map(|n| (Timestamp(n * minutes * 60_000), call(10, 0, 20_000 + n)));
            calls.fold(Cache::default(), |cache, (at, usage)| cache.after(at, usage)).misses
        };
        assert_eq!([3, 4, 5, 60].map(misses), [3, 3, 0, 0]);
    }
}
