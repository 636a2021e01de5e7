//! When a fault happens: by the request's number, by how far its conversation is, by its path, or by chance.
//!
//! Knows no socket and no dice: chance is the seed and the request's number. Start at [`Rule::parse`].

use crate::Fault;
use std::ops::RangeInclusive;

/// A fault and when it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which one.
    pub fault: Fault,
    /// To which requests.
    pub on: On,
    /// Only at paths that begin with this.
    pub path: String,
}

/// To which requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// All of them.
    Always,
    /// Those with these numbers; the first one the server got is 1.
    Requests(RangeInclusive<u64>),
    /// Those in which the model has spoken so often.
    Turn(usize),
    /// So many of a hundred.
    Chance {
        /// Of a hundred.
        percent: u64,
        /// The same seed chooses the same numbers.
        seed: u64,
    },
}

impl Rule {
    /// To all requests.
    pub fn always(fault: Fault) -> Self {
        Self { fault, on: On::Always, path: String::new() }
    }

    /// To the first so many.
    pub fn first(fault: Fault, requests: u64) -> Self {
        Self { fault, on: On::Requests(1..=requests), path: String::new() }
    }

    /// `NAME`, then any of `@2` `@1-3` (numbers), `@turn:1`, `@10%` `@10%:SEED`, `@/v1/messages`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('@');
        let mut rule = Self::always(Fault::parse(parts.next().unwrap_or_default())?);
        for part in parts {
            match part {
                _ if part.starts_with('/') => part.clone_into(&mut rule.path),
                _ => {
                    rule.on = on(part).ok_or_else(|| {
                        format!("`@{part}` is none of @2, @1-3, @turn:1, @10%, @10%:SEED, @/path")
                    })?
                }
            }
        }
        Ok(rule)
    }

    /// Does it happen to this request?
    pub fn hits(&self, number: u64, turn: usize, path: &str) -> bool {
        path.starts_with(&self.path)
            && match &self.on {
                On::Always => true,
                On::Requests(numbers) => numbers.contains(&number),
                On::Turn(own) => *own == turn,
                On::Chance { percent, seed } => random(seed.wrapping_add(number)) % 100 < *percent,
            }
    }
}

fn on(text: &str) -> Option<On> {
    if let Some(turn) = text.strip_prefix("turn:") {
        return turn.parse().ok().map(On::Turn);
    }
    if let Some((percent, seed)) = text.split_once('%') {
        let seed = if seed.is_empty() { 0 } else { seed.strip_prefix(':')?.parse().ok()? };
        return Some(On::Chance { percent: percent.parse().ok()?, seed });
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some(On::Requests(from.parse().ok()?..=to.parse().ok()?))
}

/// SplitMix64.
fn random(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_when() {
        let hits = |text: &str, number, turn, path| Rule::parse(text).unwrap().hits(number, turn, path);
        assert!(hits("500", 7, 3, "/v1/x"));
        assert!(hits("500@2", 2, 0, "/") && !hits("500@2", 3, 0, "/"));
        assert!(hits("500@1-3", 3, 0, "/") && !hits("500@1-3", 4, 0, "/"));
        assert!(hits("500@turn:1", 9, 1, "/") && !hits("500@turn:1", 9, 0, "/"));
        assert!(hits("500@1@/v1/m", 1, 0, "/v1/messages") && !hits("500@1@/v1/m", 1, 0, "/v1/responses"));
        assert!(Rule::parse("500@soon").unwrap_err().contains("@10%"));
    }

    #[test]
    fn chance_keeps_its_word() {
        let rule = Rule::parse("500@10%:42").unwrap();
        let hits = (0..10_000).filter(|number| rule.hits(*number, 0, "/")).count();
        assert!((900..1100).contains(&hits), "{hits}");
    }
}
