//! Tokens used in a UTC day, week and month beside what a person means to use: nothing waits for it, people are told.
//!
//! Knows sums and moments. Spec S1.1-1 (soft quotas) and section 9 (global quota). Start at [`Spans::after`].

use super::supply::Use;
use contract::model::Rates;
use contract::{Timestamp, limits};
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 24 * 3_600_000;
/// The first day of all was a Thursday; weeks begin with Monday.
const THURSDAY: u64 = 3;

/// How much of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
enum Level {
    #[default]
    Ok,
    /// Most of it.
    Warning,
    /// All of it.
    Exceeded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Count {
    /// When the span began.
    began: Timestamp,
    tokens: u64,
    level: Level,
    /// Its level is news since the newest event.
    news: bool,
}

/// The newest day, week and month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spans([Count; 3]);

/// When they began, and when the next ones do.
fn bounds(at: Timestamp) -> [(Timestamp, Timestamp); 3] {
    let day = at.day();
    let weekday = (day.0 / DAY_MS + THURSDAY) % 7;
    let monday = Timestamp(day.0.saturating_sub(weekday * DAY_MS));
    [(day, at.next_day()), (monday, monday.plus(7 * DAY_MS)), (at.month(), at.next_month())]
}

fn meant(rates: &Rates) -> [Option<u64>; 3] {
    [rates.tokens_per_day, rates.tokens_per_week, rates.tokens_per_month]
}

impl Count {
    /// As it is in the span that began then. A clock that was set back opens no old one again.
    fn at(self, began: Timestamp) -> Self {
        if self.began < began { Self { began, ..Self::default() } } else { self }
    }
}

impl Spans {
    /// After so many tokens more.
    #[must_use]
    pub(super) fn after(self, now: Timestamp, tokens: u64, rates: &Rates) -> Self {
        let (bounds, meant) = (bounds(now), meant(rates));
        let next = |n: usize| {
            let old = self.0[n].at(bounds[n].0);
            let tokens = old.tokens.saturating_add(tokens);
            let percent = meant[n].map_or(0, |most| u128::from(tokens) * 100 / u128::from(most.max(1)));
            let level = match percent {
                100.. => Level::Exceeded,
                _ if percent >= u128::from(limits::BUDGET_WARN_PERCENT) => Level::Warning,
                _ => Level::Ok,
            };
            Count { tokens, level, news: level > old.level, ..old }
        };
        Self([next(0), next(1), next(2)])
    }

    /// The clock was set back by this much: its own time begins there again.
    pub(super) fn turn_back(&mut self, now: Timestamp) {
        let bounds = bounds(now);
        self.0.iter_mut().zip(bounds).for_each(|(count, (began, _))| count.began = count.began.min(began));
    }

    /// What is used of what a person means to use; `news` = only what has become so with the newest event.
    pub(super) fn uses(&self, now: Timestamp, rates: &Rates, news: bool) -> Vec<Use> {
        const UNITS: [&str; 3] = ["tokens of this day", "tokens of this week", "tokens of this month"];
        let (bounds, meant) = (bounds(now), meant(rates));
        let one = |n: usize| {
            let count = self.0[n].at(bounds[n].0);
            let most = meant[n].filter(|_| count.news || !news)?;
            Some(Use { unit: UNITS[n], used: count.tokens, most, until: bounds[n].1 })
        };
        (0..3).filter_map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Rates = Rates {
        tokens_per_week: Some(1_000),
        requests_per_minute: None,
        tokens_per_minute: None,
        concurrent: None,
        window: None,
        tokens_per_day: None,
        tokens_per_month: None,
        breaker: None,
    };

    fn at(text: &str) -> Timestamp {
        format!("{text}T12:00:00.000Z").parse().unwrap()
    }

    #[test]
    fn weeks_begin_with_monday() {
        for (day, monday) in
            [("2026-11-21", "2026-11-16"), ("2026-11-16", "2026-11-16"), ("2026-11-15", "2026-11-09")]
        {
            assert_eq!(bounds(at(day))[1].0, at(monday).day(), "{day}");
        }
        assert_eq!(bounds(Timestamp(0))[1].0, Timestamp(0));
    }

    #[test]
    fn each_level_is_told_once_in_each_span() {
        let (mut spans, mut told) = (Spans::default(), Vec::new());
        for (n, (day, tokens)) in [
            ("2026-11-16", 799),
            ("2026-11-16", 1),
            ("2026-11-17", 50),
            ("2026-11-20", 200),
            ("2026-11-22", 5_000),
            ("2026-11-23", 10),
            ("2026-11-24", 2_000),
        ]
        .into_iter()
        .enumerate()
        {
            spans = spans.after(at(day), tokens, &WEEK);
            told.extend(spans.uses(at(day), &WEEK, true).into_iter().map(|used| (n, used.percent())));
        }
        assert_eq!(told, [(1, 80), (3, 105), (6, 201)]);
        assert_eq!(spans.uses(at("2026-11-25"), &WEEK, false)[0].used, 2_010);
        assert_eq!(spans.uses(at("2026-12-01"), &WEEK, false)[0].used, 0, "another week");
    }

    #[test]
    fn what_nobody_declared_is_counted_and_not_told() {
        let spans = Spans::default().after(at("2026-11-16"), 900, &Rates::default());
        assert!(spans.uses(at("2026-11-16"), &Rates::default(), false).is_empty());
        let spans = spans.after(at("2026-11-17"), 0, &WEEK);
        assert_eq!(spans.uses(at("2026-11-17"), &WEEK, true)[0].used, 900, "declared later");
    }
}
