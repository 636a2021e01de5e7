//! Retry policy per kind of error, as data (S1.4-2), and when to stop (DESIGN section 6).
//!
//! Knows no clock and no dice: jitter comes in as random bits. Start at [`policy`].

use contract::{Kind, limits};

/// What `Failed` says happens now, when it is tried again by itself.
pub(crate) const RETRY: &str = "retry";

/// What a kind of error allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// First delay, milliseconds.
    pub first_ms: u64,
    /// Longest delay, milliseconds.
    pub cap_ms: u64,
    /// Tries before a person is asked, or, where nothing but patience helps, before the delays grow beyond the cap.
    pub attempts: u32,
    /// May it be tried again at all without a person?
    pub retries: bool,
}

/// The table.
pub const fn policy(kind: Kind) -> Policy {
    match kind {
        Kind::Transient => Policy { first_ms: 100, cap_ms: 5_000, attempts: 5, retries: true },
        Kind::RateLimited => Policy { first_ms: 1_000, cap_ms: 60_000, attempts: 10, retries: true },
        Kind::Degraded => Policy { first_ms: 5_000, cap_ms: 30_000, attempts: 3, retries: true },
        Kind::Permanent | Kind::UserFixable => Policy { first_ms: 0, cap_ms: 0, attempts: 0, retries: false },
    }
}

/// Milliseconds until the next try after the `count`-th failure in a row (1 = the first).
/// What the other side asked for wins when it is longer; jitter is +-10 %.
pub fn delay_ms(kind: Kind, count: u32, asked_ms: Option<u64>, random: u128) -> u64 {
    shaken(policy(kind), count, random).max(asked_ms.unwrap_or(0))
}

fn shaken(policy: Policy, count: u32, random: u128) -> u64 {
    let doubled = policy.first_ms.saturating_mul(1 << count.saturating_sub(1).min(20));
    let base = doubled.min(policy.cap_ms);
    let jitter = base / 10;
    base - jitter + (random % u128::from(2 * jitter + 1)) as u64
}

/// The same where only patience helps: a limit, an outage. After its kind's attempts the delays go on growing, and what
/// was transient so often counts as degraded.
pub fn patient_ms(kind: Kind, count: u32, asked_ms: Option<u64>, random: u128) -> u64 {
    let own = policy(kind);
    if count <= own.attempts {
        return delay_ms(kind, count, asked_ms, random);
    }
    let outage = Policy { cap_ms: limits::OUTAGE_MS, ..policy(Kind::Degraded) };
    let count_as = count - own.attempts + outage.attempts;
    shaken(outage, count_as, random).max(delay_ms(kind, count, asked_ms, random))
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
    fn patience_grows_beyond_the_attempts_and_never_ends() {
        let at = |count| patient_ms(Kind::Degraded, count, None, 1);
        assert!((1..3).all(|count| at(count) <= 33_000));
        assert!((9..40).all(|count| (270_000..=330_000).contains(&at(count))), "{}", at(9));
        assert!(patient_ms(Kind::Transient, 6, None, 1) >= 4_500, "no longer transient");
        assert_eq!(patient_ms(Kind::RateLimited, 99, Some(7_200_000), 1), 7_200_000);
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
