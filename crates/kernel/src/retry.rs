//! Retry policy per kind of error, as data (S1.4-2), and when to stop (DESIGN section 6).
//!
//! Knows no clock and no dice: jitter comes in as random bits. Start at [`policy`].

use contract::Kind;

/// What `Failed` says happens now, when it is tried again by itself.
pub(crate) const RETRY: &str = "retry";

/// What a kind of error allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// First delay, milliseconds.
    pub first_ms: u64,
    /// Longest delay, milliseconds.
    pub cap_ms: u64,
    /// May it be tried again at all without a person?
    pub retries: bool,
}

/// The table.
pub const fn policy(kind: Kind) -> Policy {
    match kind {
        Kind::Transient => Policy { first_ms: 100, cap_ms: 5_000, retries: true },
        Kind::RateLimited => Policy { first_ms: 1_000, cap_ms: 60_000, retries: true },
        Kind::Degraded => Policy { first_ms: 5_000, cap_ms: 30_000, retries: true },
        Kind::Permanent | Kind::UserFixable => Policy { first_ms: 0, cap_ms: 0, retries: false },
    }
}

/// Milliseconds until the next try after the `count`-th failure in a row (1 = the first).
/// What the other side asked for wins when it is longer; jitter is +-10 %.
pub fn delay_ms(kind: Kind, count: u32, asked_ms: Option<u64>, random: u128) -> u64 {
    let policy = policy(kind);
    let doubled = policy.first_ms.saturating_mul(1 << count.saturating_sub(1).min(20));
    let base = doubled.min(policy.cap_ms);
    let jitter = base / 10;
    let shaken = base - jitter + (random % u128::from(2 * jitter + 1)) as u64;
    shaken.max(asked_ms.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_within_ten_percent() {
        for (count, want) in [(1, 100), (2, 200), (3, 400), (40, 5_000)] {
            for random in [0, 1, u128::MAX] {
                let got = delay_ms(Kind::Transient, count, None, random);
                assert!(got >= want * 9 / 10 && got <= want * 11 / 10, "{count}: {got}");
            }
        }
    }

    #[test]
    fn both_ends_of_the_jitter_are_reached() {
        assert_eq!(delay_ms(Kind::Transient, 1, None, 0), 90);
        assert_eq!(delay_ms(Kind::Transient, 1, None, 20), 110);
    }

    #[test]
    fn the_other_sides_word_wins() {
        assert_eq!(delay_ms(Kind::RateLimited, 1, Some(90_000), 7), 90_000);
    }
}
