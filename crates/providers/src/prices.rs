//! What models cost and how much they hold: from the person's own `prices.toml`, else from a kept data set with a date.
//!
//! Knows names and prices, no wire and no configuration. Dollars become integer nano-dollars here, once, rounded up.
//! Start at [`Cards::find`]; the data set is asked in [`kept`], the person's file is read in [`own`].

mod kept;
mod own;

use crate::settings::{Facts, Source};
use contract::model::Price;
use contract::money::NANOS_PER_USD;
use contract::{Fault, Timestamp};
use std::collections::BTreeMap;

/// What is known about a model, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Tokens its context holds.
    pub context_tokens: Option<u64>,
    /// Most tokens of one reply.
    pub output_tokens: Option<u64>,
    /// Its price; `None` = nobody knows it.
    pub price: Option<Price>,
    /// Who says so: a file, or the data set with its version.
    pub by: String,
    /// Of which day, as `2026-11-20`; empty = nobody said.
    pub date: String,
}

impl From<Known> for Facts {
    fn from(known: Known) -> Self {
        let Known { context_tokens, output_tokens, price, by, date } = known;
        let source = price.map(|_| Source { by, date });
        Self { context_tokens, output_tokens, price, source, ..Self::default() }
    }
}

/// Every card there is.
#[derive(Debug, Clone)]
pub struct Cards {
    own: BTreeMap<String, Known>,
    now: Timestamp,
}

impl Cards {
    /// The kept data as of this moment: prices change on dates that are known beforehand.
    pub fn new(now: Timestamp) -> Self {
        Self { own: BTreeMap::new(), now }
    }

    /// Puts what a person's file says above the kept data; `name` stands in messages about it.
    pub fn read(&mut self, text: &str, name: &str) -> Result<(), Fault> {
        self.own.extend(own::parse(text, name)?);
        Ok(())
    }

    /// Who says what models cost, in the order in which they are believed: the person's files, then the kept data.
    pub fn sources(&self) -> Vec<Source> {
        let own = self.own.values().filter(|known| known.price.is_some());
        let mut all: Vec<Source> =
            own.map(|known| Source { by: known.by.clone(), date: known.date.clone() }).collect();
        all.sort_by(|a, b| (&a.by, &a.date).cmp(&(&b.by, &b.date)));
        all.dedup();
        all.push(kept::source());
        all
    }

    /// What is known about this model. `url` finds a provider that goes by a name of the person's own.
    ///
    /// What the person's file leaves out (a context, a reply's length) is taken from the kept data; a price is taken
    /// whole from one of them.
    pub fn find(&self, provider: &str, model: &str, url: Option<&str>) -> Option<Known> {
        let kept = kept::find(provider, model, url, self.now);
        let Some(own) = self.own.get(&format!("{provider}/{model}")) else { return kept };
        let kept = kept.as_ref();
        Some(Known {
            context_tokens: own.context_tokens.or_else(|| kept?.context_tokens),
            output_tokens: own.output_tokens.or_else(|| kept?.output_tokens),
            ..own.clone()
        })
    }
}

/// Dollars for a million tokens as nano-dollars, rounded up; what is only the noise of a binary fraction is not a
/// fraction of a nano-dollar.
pub(crate) fn nanos(usd: f64) -> Option<u64> {
    let exact = usd * NANOS_PER_USD as f64;
    // Beyond this the conversion would saturate; nobody's price is there.
    if !(0.0..1e18).contains(&exact) {
        return None;
    }
    let near = exact.round();
    let noise = (exact - near).abs() <= near.max(1.0) * 1e-12;
    Some(if noise { near } else { exact.ceil() } as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20
    const NOW: Timestamp = Timestamp(1_795_132_800_000);

    fn find(cards: &Cards, id: &str) -> Option<Known> {
        let (provider, model) = id.split_once('/').unwrap();
        cards.find(provider, model, None)
    }

    #[test]
    fn the_kept_data_has_the_great_providers() {
        let cards = Cards::new(NOW);
        let known = find(&cards, "anthropic/claude-sonnet-4-5").unwrap();
        let price = known.price.unwrap();
        assert_eq!((price.input, price.output), (3_000_000_000, 15_000_000_000));
        assert_eq!((price.cache_read, price.cache_write), (Some(300_000_000), Some(3_750_000_000)));
        assert!(known.by.starts_with("genai-prices ") && known.date.len() == 10, "{known:?}");
        assert_eq!(known.output_tokens, Some(32_000));
        for id in [
            "openai/gpt-5",
            "google/gemini-2.5-pro",
            "deepseek/deepseek-chat",
            "mistral/mistral-large-latest",
        ] {
            let known = find(&cards, id).unwrap_or_else(|| panic!("{id}"));
            let price = known.price.unwrap();
            assert!(price.input > 0 && price.output > price.input, "{id}: {price:?}");
            assert!(price.cache_read.is_none_or(|read| read <= price.input), "{id}: {price:?}");
        }
    }

    #[test]
    fn long_conversations_have_their_own_prices() {
        let tier = find(&Cards::new(NOW), "google/gemini-2.5-pro").unwrap().price.unwrap().tier.unwrap();
        assert_eq!((tier.above, tier.input, tier.output), (200_000, 2_500_000_000, 15_000_000_000));
    }

    #[test]
    fn what_changes_on_a_date_is_as_of_that_date() {
        // 2026-03-13: one price for the whole context.
        let at = |ms| find(&Cards::new(Timestamp(ms)), "anthropic/claude-sonnet-4-6").unwrap().price.unwrap();
        assert_eq!(at(1_770_000_000_000).tier.unwrap().above, 200_000);
        assert_eq!(at(NOW.0).tier, None);
    }

    #[test]
    fn what_depends_on_the_hour_is_taken_at_its_dearest() {
        let price =
            |hour: u64| find(&Cards::new(Timestamp(NOW.0 + hour * 3_600_000)), "deepseek/deepseek-v4-pro");
        assert!((0..24).all(|hour| price(hour) == price(0)));
    }

    #[test]
    fn a_providers_own_name_is_found_by_its_address() {
        let cards = Cards::new(NOW);
        let by_name = cards.find("anthropic", "claude-opus-4-5", None).unwrap();
        let by_url = cards.find("work", "claude-opus-4-5", Some("https://api.anthropic.com/v1")).unwrap();
        assert_eq!(by_name, by_url);
        assert_eq!(cards.find("local", "llama-3", Some("http://127.0.0.1:8080/v1")), None);
        assert_eq!(cards.find("anthropic", "no-such-model", None), None);
    }

    #[test]
    fn a_persons_file_is_above_the_kept_data() {
        let mut cards = Cards::new(NOW);
        let text = "date = \"2026-11-19\"\n[\"anthropic/claude-sonnet-4-5\"]\nprice = { input = 2.5, output = 0.0000000001 }\n";
        cards.read(text, "prices.toml").unwrap();
        let known = find(&cards, "anthropic/claude-sonnet-4-5").unwrap();
        let price = known.price.unwrap();
        assert_eq!((price.input, price.output, price.cache_read), (2_500_000_000, 1, None));
        assert_eq!((known.by.as_str(), known.date.as_str()), ("prices.toml", "2026-11-19"));
        assert!(known.context_tokens.is_some(), "the rest is as kept");
        let sources = cards.sources();
        assert_eq!((sources.len(), sources[0].date.as_str()), (2, "2026-11-19"));
        assert!(sources[1].by.starts_with("genai-prices "), "{sources:?}");
    }

    #[test]
    fn dollars_round_up_and_noise_is_not_a_nano_dollar() {
        assert_eq!(nanos(0.1 + 0.2), Some(300_000_000));
        assert_eq!(nanos(1.000_000_000_1), Some(1_000_000_001));
        assert_eq!(nanos(0.0), Some(0));
        assert_eq!((nanos(-1.0), nanos(f64::NAN), nanos(1e12)), (None, None, None));
    }
}
