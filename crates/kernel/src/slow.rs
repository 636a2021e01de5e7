//! Where most of a budget is used, calls of models come more slowly, so that a person who is warned has time to act.
//!
//! Knows shares and moments, not who asks. Spec S1.1-3. Start at [`Session::slowed`].

use crate::caps::project_at_hand;
use crate::governor::Governor;
use crate::session::Session;
use contract::{Amount, Timestamp};

/// From this share of a budget on, percent, and this long after the call before, milliseconds: 100 ms, one and a half,
/// two, four and eight times.
const SLOWER: [(u64, u64); 4] = [(98, 800), (95, 400), (90, 200), (80, 150)];

/// How long after the end of a call of a model the next one begins, when this share of a budget is used.
fn pause_ms(percent: u64) -> u64 {
    SLOWER.iter().find(|(from, _)| percent >= *from).map_or(0, |(_, ms)| *ms)
}

/// The larger share of money and tokens that is used of a cap, percent.
pub(crate) fn share(used: Amount, cap: Amount) -> u64 {
    let one = |used: u64, cap: u64| match cap {
        u64::MAX => 0,
        cap => u64::try_from(u128::from(used) * 100 / u128::from(cap.max(1))).unwrap_or(u64::MAX),
    };
    one(used.nanos, cap.nanos).max(one(used.tokens, cap.tokens))
}

impl Session {
    /// The moment before which it calls no model, because most of a budget that it lives under is used.
    pub fn slowed(&self, gov: &Governor, now: Timestamp) -> Option<Timestamp> {
        let tree = gov.peek(self.root()).map_or(0, |ledger| ledger.share(self.id));
        let project = project_at_hand(self, gov).map_or(0, |project| project.share(now));
        let until = self.called_at.plus(pause_ms(tree.max(project)));
        // A clock that was set back does not prolong it.
        (self.called_at <= now && now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_is_used_the_longer_it_lasts() {
        let all = [0, 79, 80, 89, 90, 95, 97, 98, 100, 400].map(pause_ms);
        assert_eq!(all, [0, 0, 150, 150, 200, 400, 400, 800, 800, 800]);
    }

    #[test]
    fn the_larger_share_counts_and_no_cap_is_never_used() {
        let used = Amount { nanos: 50, tokens: 900, ..Amount::ZERO };
        assert_eq!(share(used, Amount::UNLIMITED), 0);
        assert_eq!(share(used, Amount { nanos: 100, ..Amount::UNLIMITED }), 50);
        assert_eq!(share(used, Amount { nanos: 100, tokens: 1_000, ..Amount::UNLIMITED }), 90);
        assert_eq!(share(used, Amount { tokens: 0, ..Amount::UNLIMITED }), 90_000);
    }
}
