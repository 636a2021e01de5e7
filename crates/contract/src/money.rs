//! What a budget counts: money, tokens, steps, time. Integers only; reservations round up.

use crate::is_default;
use serde::{Deserialize, Serialize};

/// Nano-dollars in one US dollar.
pub const NANOS_PER_USD: u64 = 1_000_000_000;

/// An amount in every unit a budget knows. `u64::MAX` in a cap means "no limit"; it is stored as `"unlimited"`,
/// because readers whose numbers end at 53 bits would round it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amount {
    /// Money in nano-dollars (10^-9 USD).
    #[serde(with = "bounded", skip_serializing_if = "is_default")]
    pub nanos: u64,
    /// Tokens, input and output together.
    #[serde(with = "bounded", skip_serializing_if = "is_default")]
    pub tokens: u64,
    /// Actions started.
    #[serde(with = "bounded", skip_serializing_if = "is_default")]
    pub steps: u64,
    /// Wall-clock milliseconds of running actions.
    #[serde(with = "bounded", skip_serializing_if = "is_default")]
    pub time_ms: u64,
}

mod bounded {
    use serde::{Deserialize, Deserializer, Serializer};

    const UNLIMITED: &str = "unlimited";

    pub(super) fn serialize<S: Serializer>(n: &u64, s: S) -> Result<S::Ok, S::Error> {
        if *n == u64::MAX { s.serialize_str(UNLIMITED) } else { s.serialize_u64(*n) }
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wire {
        Number(u64),
        Word(String),
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        match Wire::deserialize(d)? {
            Wire::Number(n) => Ok(n),
            Wire::Word(word) if word == UNLIMITED => Ok(u64::MAX),
            Wire::Word(word) => {
                Err(serde::de::Error::custom(format!("`{word}` is neither a number nor `{UNLIMITED}`")))
            }
        }
    }
}

impl Amount {
    /// A cap without limits.
    pub const UNLIMITED: Self =
        Self { nanos: u64::MAX, tokens: u64::MAX, steps: u64::MAX, time_ms: u64::MAX };
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, tokens: 0, steps: 0, time_ms: 0 };

    /// True when nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::UNLIMITED
    }

    fn zip(self, other: Self, f: fn(u64, u64) -> u64) -> Self {
        Self {
            nanos: f(self.nanos, other.nanos),
            tokens: f(self.tokens, other.tokens),
            steps: f(self.steps, other.steps),
            time_ms: f(self.time_ms, other.time_ms),
        }
    }

    /// Sum, saturating in each unit.
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// Difference, never below zero.
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// The smaller in each unit.
    pub fn min(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    /// True when no unit is larger than in `cap`.
    pub fn within(self, cap: Self) -> bool {
        self.nanos <= cap.nanos
            && self.tokens <= cap.tokens
            && self.steps <= cap.steps
            && self.time_ms <= cap.time_ms
    }

    /// The first unit that is larger than in `cap`: `money`, `tokens`, `steps` or `time`.
    pub fn exceeds(self, cap: Self) -> Option<&'static str> {
        [
            ("money", self.nanos > cap.nanos),
            ("tokens", self.tokens > cap.tokens),
            ("steps", self.steps > cap.steps),
            ("time", self.time_ms > cap.time_ms),
        ]
        .into_iter()
        .find_map(|(unit, over)| over.then_some(unit))
    }
}

/// Nano-dollars as `$1.23`, rounded up to the cent above one cent, with more digits below.
pub fn usd(nanos: u64) -> String {
    let cent = NANOS_PER_USD / 100;
    if nanos == 0 || nanos >= cent {
        let cents = nanos.div_ceil(cent);
        format!("${}.{:02}", cents / 100, cents % 100)
    } else {
        format!("$0.{:06}", nanos.div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_saturate_and_compare() {
        let cap = Amount { tokens: 10, ..Amount::UNLIMITED };
        let ask = Amount { tokens: 11, ..Amount::ZERO };
        assert_eq!(ask.exceeds(cap), Some("tokens"));
        assert!(!ask.within(cap));
        assert_eq!(Amount::UNLIMITED.plus(ask), Amount::UNLIMITED);
        assert_eq!(Amount::ZERO.minus(ask), Amount::ZERO);
    }

    #[test]
    fn no_limit_is_a_word() {
        let cap = Amount { nanos: 5, tokens: u64::MAX, ..Amount::ZERO };
        let json = serde_json::to_string(&cap).unwrap();
        assert_eq!(json, r#"{"nanos":5,"tokens":"unlimited"}"#);
        assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), cap);
        assert!(serde_json::from_str::<Amount>(r#"{"nanos":"much"}"#).is_err());
    }

    #[test]
    fn money_reads_like_money() {
        assert_eq!(usd(0), "$0.00");
        assert_eq!(usd(1_230_000_000), "$1.23");
        assert_eq!(usd(1_500), "$0.000002");
    }
}
