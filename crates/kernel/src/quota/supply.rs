//! How much is used of what a key allows in hours or days, and when that is worth a word.
//!
//! Knows shares, not calls. A minute's limit is used up all the time and says nothing. Start at [`Supply::after`].

use contract::{Timestamp, limits};
use serde::{Deserialize, Serialize};

/// That it was told is forgotten when less than this is used again, percent.
const EASED_PERCENT: u64 = 50;

/// Is this time long enough that running out of it is worth a warning? Milliseconds.
pub(super) fn is_long(ms: u64) -> bool {
    ms > limits::QUIET_WAIT_MS
}

/// What is used of one allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// `calls` or `tokens`.
    pub unit: &'static str,
    /// So many.
    pub used: u64,
    /// Of so many.
    pub most: u64,
    /// When all of it is there again.
    pub until: Timestamp,
}

impl Use {
    /// The share, percent.
    pub fn percent(&self) -> u64 {
        let share = u128::from(self.used) * 100 / u128::from(self.most.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Is that most of it?
    pub fn is_most(&self) -> bool {
        self.percent() >= limits::BUDGET_WARN_PERCENT
    }

    /// For people.
    pub fn words(&self) -> String {
        let Self { unit, used, most, until } = self;
        format!("{} % of the {unit} are used ({used} of {most}, all there again at {until})", self.percent())
    }
}

/// What people were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Supply {
    /// Most of it is used.
    scarce: bool,
    /// Since the newest event.
    just: bool,
}

impl Supply {
    /// After an event that leaves this much used.
    #[must_use]
    pub(super) fn after(self, used: Option<Use>) -> Self {
        let percent = used.map_or(0, |used| used.percent());
        let scarce = percent >= if self.scarce { EASED_PERCENT } else { limits::BUDGET_WARN_PERCENT };
        Self { scarce, just: scarce && !self.scarce }
    }

    /// Is it news?
    pub(super) fn just(self) -> bool {
        self.just
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_and_again_only_after_half_of_it_came_back() {
        let mut supply = Supply::default();
        let mut told = Vec::new();
        for (n, used) in [70, 79, 80, 81, 79, 85, 55, 80, 49, 60, 90].into_iter().enumerate() {
            supply = supply.after(Some(Use { unit: "calls", used, most: 100, until: Timestamp(0) }));
            if supply.just() {
                told.push(n);
            }
        }
        assert_eq!(told, [2, 10]);
        assert!(!supply.after(None).scarce);
    }
}
