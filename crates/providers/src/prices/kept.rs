//! The kept data set: the crate `genai-prices`, asked what given amounts of tokens cost, from which the prices follow.
//!
//! Knows no file and no person. It is decoded when first asked. Start at [`find`].

use super::{Known, nanos};
use crate::settings::Source;
use contract::Timestamp;
use contract::model::{Price, Tier};
use genai_prices::{Calculator, PriceRequest, Usage, UsageKey};
use std::time::{Duration, UNIX_EPOCH};

/// Version of the data set, as in Cargo.lock, and the day it came out.
const VERSION: &str = "0.2.1";
const DATE: &str = "2026-10-30";
/// Tokens given to find out whether long conversations have prices of their own, where the context is not known.
const LONG: u64 = 1 << 21;
/// Hours of a day, and milliseconds of an hour: some prices depend on them.
const HOURS: u64 = 24;
const HOUR_MS: u64 = 3_600_000;

/// Longest replies: provider, beginning of the model's name, tokens. The first that fits; none of them refuses what
/// stands here. From the providers' own pages.
const REPLIES: [(&str, &str, u64); 14] = [
    ("anthropic", "claude-2", 4_096),
    ("anthropic", "claude-3-5", 8_192),
    ("anthropic", "claude-3-7", 32_000),
    ("anthropic", "claude-3", 4_096),
    ("anthropic", "claude", 32_000),
    ("openai", "gpt-3.5", 4_096),
    ("openai", "gpt-4o", 16_384),
    ("openai", "gpt-4.1", 32_000),
    ("openai", "gpt-4", 4_096),
    ("openai", "gpt", 32_000),
    ("openai", "o", 32_000),
    ("google", "gemini-1", 8_192),
    ("google", "gemini-2.0", 8_192),
    ("google", "gemini", 32_000),
];

/// Its name, version and date.
pub(super) fn source() -> Source {
    Source { by: format!("genai-prices {VERSION}"), date: DATE.to_owned() }
}

/// What the data set knows about this model at this time.
pub(super) fn find(provider: &str, model: &str, url: Option<&str>, now: Timestamp) -> Option<Known> {
    let data = Calculator::bundled();
    let named = data.find_provider(Some(provider), None).ok()?;
    let found = match (named, url) {
        (Some(named), _) => named,
        (None, url) => data.find_provider(None, Some(url?)).ok()??,
    };
    let asked = Asked { data, provider: found.id(), model, at: now };
    let name = asked.name()?;
    let context_tokens =
        found.models().find(|known| known.id() == name).and_then(|known| known.context_window());
    let replies = REPLIES.iter().find(|(of, begins, _)| *of == asked.provider && model.starts_with(begins));
    let asked = asked.at_the_dearest_hour()?;
    let Source { by, date } = source();
    Some(Known {
        context_tokens,
        output_tokens: replies.map(|(_, _, tokens)| *tokens),
        price: asked.price(context_tokens.unwrap_or(LONG)),
        by,
        date,
    })
}

/// Questions about one model at one time.
#[derive(Clone, Copy)]
struct Asked<'a> {
    data: &'a Calculator,
    provider: &'a str,
    model: &'a str,
    at: Timestamp,
}

/// Nano-dollars for a million tokens each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rates {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
}

impl Asked<'_> {
    /// Dollars for input and output of this usage, and for what is neither.
    fn dollars(self, usage: &Usage) -> Option<(f64, f64, f64)> {
        let at = UNIX_EPOCH + Duration::from_millis(self.at.0);
        let request = PriceRequest::new(self.model, usage).with_provider_id(self.provider).with_timestamp(at);
        let price = self.data.calculate(&request).ok()?;
        let other = price.total_price - price.input_price - price.output_price;
        Some((price.input_price, price.output_price, other))
    }

    /// The data set's name for the model.
    fn name(self) -> Option<String> {
        let usage = Usage::new();
        let request = PriceRequest::new(self.model, &usage).with_provider_id(self.provider);
        Some(self.data.calculate(&request).ok()?.model_id)
    }

    /// Of a price that depends on the hour the highest is kept: who reserves cannot choose when the call ends.
    fn at_the_dearest_hour(self) -> Option<Self> {
        let both = Usage::from([(UsageKey::INPUT_TOKENS, 1.0), (UsageKey::OUTPUT_TOKENS, 1.0)]);
        let midnight = self.at.0 - self.at.0 % (HOURS * HOUR_MS);
        let hours = (0..HOURS).map(|hour| Self { at: Timestamp(midnight + hour * HOUR_MS), ..self });
        let priced = hours.filter_map(|asked| {
            let (input, output, _) = asked.dollars(&both)?;
            Some((input + output, asked))
        });
        priced.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, asked)| asked)
    }

    /// Its price; `None` when there is a fee besides tokens that no reservation would cover.
    fn price(self, most: u64) -> Option<Price> {
        let (_, _, fee) = self.dollars(&Usage::new())?;
        if fee > 0.0 {
            return None;
        }
        let (base, long) = (self.rates(1)?, self.rates(most)?);
        let tier = if base == long { None } else { Some(self.tier(base, long, most)?) };
        let Rates { input, output, cache_read, cache_write } = base;
        let other = |nanos: u64, input: u64| (nanos != input).then_some(nanos);
        Some(Price {
            input,
            output,
            cache_read: other(cache_read, input),
            cache_write: other(cache_write, input),
            tier,
        })
    }

    /// Where the other prices begin, and what they are at their highest: there may be more than two kinds.
    fn tier(self, base: Rates, long: Rates, most: u64) -> Option<Tier> {
        // The prices of `low` are the base's, those of `high` are not.
        let (mut low, mut high) = (1, most);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.rates(middle)? == base { low = middle } else { high = middle }
        }
        let first = self.rates(high)?;
        let (input, other) = (first.input.max(long.input), |a: u64, b: u64| Some(a.max(b)));
        Some(Tier {
            above: low,
            input,
            output: first.output.max(long.output),
            cache_read: other(first.cache_read, long.cache_read).filter(|nanos| *nanos != input),
            cache_write: other(first.cache_write, long.cache_write).filter(|nanos| *nanos != input),
        })
    }

    /// The prices of a call that is given so many tokens.
    fn rates(self, given: u64) -> Option<Rates> {
        let tokens = given as f64;
        let input = |kind: Option<UsageKey>| {
            let mut usage = Usage::from([(UsageKey::INPUT_TOKENS, tokens)]);
            if let Some(kind) = kind {
                usage.insert(kind, tokens);
            }
            nanos(self.dollars(&usage)?.0 / tokens * 1e6)
        };
        let said = Usage::from([(UsageKey::INPUT_TOKENS, tokens), (UsageKey::OUTPUT_TOKENS, 1.0)]);
        Some(Rates {
            input: input(None)?,
            output: nanos(self.dollars(&said)?.1 * 1e6)?,
            cache_read: input(Some(UsageKey::CACHE_READ_TOKENS))?,
            cache_write: input(Some(UsageKey::CACHE_WRITE_TOKENS))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_linked() {
        let lock = include_str!("../../../../Cargo.lock");
        let wanted = format!("name = \"genai-prices\"\nversion = \"{VERSION}\"\n");
        assert!(lock.contains(&wanted), "set VERSION and DATE to what Cargo.lock has");
    }
}
