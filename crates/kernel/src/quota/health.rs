//! Is the provider well? A circuit breaker with one probe, and a back-off for everybody when several fail at once.
//!
//! Knows how calls ended, not what they were. Start at [`Health::ended`].

use contract::model::BreakerRules;
use contract::quota::CallEnd;
use contract::{ActionId, SessionId, Timestamp, limits};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What is usual (S1.4-4: llm): failures in a row that open the breaker, the share of the newest calls that does, how
/// long it stays open the first time, and probes in a row that close it again.
const USUAL: Rules = Rules { failures: 5, percent: 50, window: 20, open_ms: 30_000, probes: 3 };
/// How long it stays open at most, unless a person wants more from the first time on.
const OPEN_MOST_MS: u64 = 300_000;
/// So many sessions failing in so short a time back the provider off for everybody (spec section 9).
const TOGETHER: usize = 3;
const TOGETHER_MS: u64 = 10_000;
const BACKOFF_MS: u64 = 5_000;
const BACKOFF_MOST_MS: u64 = 60_000;
/// After a hit limit that names no time.
const LIMITED_MS: u64 = 1_000;
const LIMITED_MOST_MS: u64 = 60_000;
/// The longest that anybody's word is taken for: a month's quota.
pub(super) const ASKED_MOST_MS: u64 = 31 * 24 * 3_600_000;
/// What is let through again after a back-off, of a thousand, and how much more with each answer.
const RAMP: u64 = 100;

/// Who has a call under way.
pub(super) type Caller = (SessionId, ActionId);

/// When the breaker opens and closes: what a person declared, the rest as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    failures: u32,
    percent: u32,
    window: u32,
    open_ms: u64,
    probes: u32,
}

impl Rules {
    /// With what is declared; what cannot be meant is taken for the nearest that can.
    pub fn of(declared: Option<BreakerRules>) -> Self {
        let own = declared.unwrap_or_default();
        Self {
            failures: own.failures.unwrap_or(USUAL.failures).max(1),
            percent: own.percent.unwrap_or(USUAL.percent).clamp(1, 100),
            window: own.window.unwrap_or(USUAL.window).clamp(1, limits::BREAKER_WINDOW),
            open_ms: own.open_ms.unwrap_or(USUAL.open_ms).clamp(1, ASKED_MOST_MS),
            probes: own.probes.unwrap_or(USUAL.probes).max(1),
        }
    }
}

/// The breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Breaker {
    /// Calls go through.
    #[default]
    Closed,
    /// None does before this moment.
    Open {
        /// It.
        until: Timestamp,
    },
    /// One at a time does, to see.
    HalfOpen {
        /// Probes that went well.
        well: u32,
        /// The one under way.
        probe: Option<(SessionId, ActionId)>,
    },
}

/// Why everybody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pause {
    /// The provider said that a limit was hit.
    Limited,
    /// Several failed together, or it asked for time.
    Backoff,
}

/// Traffic comes back slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Ramp {
    /// Of a thousand.
    share: u64,
    /// Calls under way when it fell.
    peak: u64,
}

/// What is known of a provider's health.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    breaker: Breaker,
    /// Failures in a row.
    row: u32,
    /// The newest ends, one bit each, newest lowest: 1 = failed.
    ends: u32,
    seen: u32,
    /// Times it was opened since it was last closed.
    opened: u32,
    /// Newest failures.
    failed: VecDeque<(Timestamp, SessionId)>,
    /// Back-offs and hit limits since all was well.
    backoffs: u32,
    limited: u32,
    pause: Option<(Timestamp, Pause)>,
    ramp: Option<Ramp>,
}

fn grown(first: u64, times: u32, most: u64) -> u64 {
    first.saturating_mul(1 << times.min(20)).min(most)
}

impl Health {
    /// Until when nobody may call, and why, if so.
    pub fn pause(&self) -> Option<(Timestamp, Pause)> {
        self.pause
    }

    /// The breaker.
    pub fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// Calls that may be under way at once while traffic comes back.
    pub fn ramp(&self) -> u64 {
        self.ramp.map_or(u64::MAX, |ramp| (ramp.peak * ramp.share / 1_000).max(1))
    }

    /// A call begins. With an open breaker whose time has come, it is the probe.
    pub(super) fn began(&mut self, now: Timestamp, caller: Caller) {
        self.breaker = match self.breaker {
            Breaker::Open { until } if now >= until => Breaker::HalfOpen { well: 0, probe: Some(caller) },
            Breaker::HalfOpen { well, .. } => Breaker::HalfOpen { well, probe: Some(caller) },
            other => other,
        };
    }

    /// A call ended; `under_way` counts it.
    pub(super) fn ended(
        &mut self,
        now: Timestamp,
        caller: Caller,
        end: CallEnd,
        under_way: u64,
        rules: Rules,
    ) {
        let probed = matches!(self.breaker, Breaker::HalfOpen { probe: Some(probe), .. } if probe == caller);
        match end {
            CallEnd::Answered => self.answered(now, probed, rules),
            CallEnd::Down { retry_after_ms } => {
                self.down(now, probed, rules);
                self.back_off(now, caller.0, retry_after_ms, under_way);
            }
            CallEnd::Limited { retry_after_ms: Some(asked) } => {
                self.stop(now.plus(asked.min(ASKED_MOST_MS)), Pause::Limited, under_way);
            }
            // Those that were under way together hit it together: that is one hit.
            CallEnd::Limited { .. } if self.pauses(now) => {}
            CallEnd::Limited { .. } => {
                let own = grown(LIMITED_MS, self.limited, LIMITED_MOST_MS);
                self.limited += 1;
                self.stop(now.plus(own), Pause::Limited, under_way);
            }
            CallEnd::Refused | CallEnd::Unknown => {}
        }
        if probed && let Breaker::HalfOpen { well, .. } = self.breaker {
            self.breaker = Breaker::HalfOpen { well, probe: None };
        }
    }

    fn pauses(&self, now: Timestamp) -> bool {
        self.pause.is_some_and(|(until, _)| now < until)
    }

    fn answered(&mut self, now: Timestamp, probed: bool, rules: Rules) {
        self.row = 0;
        self.limited = 0;
        self.remember(0);
        // Calls that were under way when all was stopped say nothing of what comes after.
        let stopped = self.pauses(now);
        if let Some(ramp) = self.ramp.as_mut().filter(|_| !stopped) {
            ramp.share += RAMP;
            if ramp.share >= 1_000 {
                (self.ramp, self.backoffs) = (None, 0);
            }
        }
        match self.breaker {
            Breaker::HalfOpen { well, .. } if probed && well + 1 >= rules.probes => {
                self.breaker = Breaker::Closed;
                (self.opened, self.ends, self.seen) = (0, 0, 0);
            }
            Breaker::HalfOpen { well, probe } if probed => {
                self.breaker = Breaker::HalfOpen { well: well + 1, probe };
            }
            _ => {}
        }
    }

    fn remember(&mut self, bit: u32) {
        self.ends = self.ends << 1 | bit;
        self.seen = (self.seen + 1).min(limits::BREAKER_WINDOW);
    }

    /// Did so many of the newest calls fail that it counts as failing?
    fn fails_often(&self, rules: Rules) -> bool {
        let newest = self.ends & (u32::MAX >> (limits::BREAKER_WINDOW - rules.window));
        self.seen >= rules.window && newest.count_ones() * 100 >= rules.percent * rules.window
    }

    fn down(&mut self, now: Timestamp, probed: bool, rules: Rules) {
        self.row = self.row.saturating_add(1);
        self.remember(1);
        let often = self.row >= rules.failures || self.fails_often(rules);
        if probed || often && self.breaker == Breaker::Closed {
            let most = OPEN_MOST_MS.max(rules.open_ms);
            self.breaker = Breaker::Open { until: now.plus(grown(rules.open_ms, self.opened, most)) };
            self.opened += 1;
            (self.ends, self.seen, self.row) = (0, 0, 0);
        }
    }

    /// Several sessions that fail together back off everybody; so does a provider that asks for time.
    fn back_off(&mut self, now: Timestamp, session: SessionId, asked_ms: Option<u64>, under_way: u64) {
        if let Some(asked) = asked_ms {
            self.stop(now.plus(asked.min(ASKED_MOST_MS)), Pause::Backoff, under_way);
        }
        self.failed.retain(|(at, other)| now.since(*at) < TOGETHER_MS && *other != session);
        self.failed.push_back((now, session));
        if self.failed.len() >= TOGETHER {
            self.failed.clear();
            if self.pauses(now) {
                return;
            }
            let until = now.plus(grown(BACKOFF_MS, self.backoffs, BACKOFF_MOST_MS));
            self.backoffs += 1;
            self.stop(until, Pause::Backoff, under_way);
        }
    }

    /// Nobody calls before this moment; then traffic comes back slowly.
    fn stop(&mut self, until: Timestamp, why: Pause, under_way: u64) {
        if self.pause.is_none_or(|(at, _)| at < until) {
            self.pause = Some((until, why));
        }
        let peak = self.ramp.map_or(under_way, |ramp| ramp.peak.max(under_way));
        self.ramp = Some(Ramp { share: RAMP, peak });
    }

    /// A person wants it tried: nobody waits any more, and of an open breaker the next call is the probe. What traffic
    /// there may be comes back slowly as before.
    pub(super) fn lift(&mut self, now: Timestamp) {
        if let Breaker::Open { until } = &mut self.breaker {
            *until = now;
        }
        (self.opened, self.backoffs, self.limited, self.pause) = (0, 0, 0, None);
        self.failed.clear();
    }

    /// The clock was set back by this much.
    pub(super) fn turn_back(&mut self, by: u64) {
        let back = |at: &mut Timestamp| at.0 = at.0.saturating_sub(by);
        if let Breaker::Open { until } = &mut self.breaker {
            back(until);
        }
        if let Some((until, _)) = &mut self.pause {
            back(until);
        }
        self.failed.iter_mut().for_each(|(at, _)| back(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: CallEnd = CallEnd::Down { retry_after_ms: None };

    fn caller(n: u128) -> Caller {
        (SessionId(n), ActionId { turn: 1, step: 1 })
    }

    fn end(health: &mut Health, now: u64, who: u128, end: CallEnd) {
        health.began(Timestamp(now), caller(who));
        health.ended(Timestamp(now), caller(who), end, 10, USUAL);
    }

    fn opened() -> Health {
        let mut health = Health::default();
        // One session's own failures: nobody else is backed off for them.
        (0..4).for_each(|n| end(&mut health, n * 1_000, 1, DOWN));
        assert_eq!(health.breaker(), Breaker::Closed);
        end(&mut health, 4_000, 1, DOWN);
        assert_eq!(health.breaker(), Breaker::Open { until: Timestamp(34_000) });
        assert_eq!(health.pause(), None);
        health
    }

    #[test]
    fn five_in_a_row_open_it_and_three_probes_close_it() {
        let mut health = opened();
        for n in 0..3 {
            health.began(Timestamp(34_000), caller(n));
            assert!(matches!(health.breaker(), Breaker::HalfOpen { probe: Some(_), .. }));
            // An old call's word does not count.
            health.ended(Timestamp(34_001), caller(99), DOWN, 1, USUAL);
            health.ended(Timestamp(34_001), caller(n), CallEnd::Answered, 1, USUAL);
        }
        assert_eq!(health.breaker(), Breaker::Closed);
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_and_one_nobody_heard_of_makes_room_for_the_next() {
        let mut health = opened();
        health.began(Timestamp(34_000), caller(7));
        health.ended(Timestamp(34_500), caller(7), CallEnd::Unknown, 1, USUAL);
        assert!(matches!(health.breaker(), Breaker::HalfOpen { probe: None, .. }));
        end(&mut health, 35_000, 8, DOWN);
        assert_eq!(health.breaker(), Breaker::Open { until: Timestamp(95_000) });
    }

    #[test]
    fn half_of_twenty_open_it_also_when_no_five_follow_each_other() {
        let mut health = Health::default();
        for n in 0..20 {
            assert_eq!(health.breaker(), Breaker::Closed, "{n}");
            end(&mut health, n * 20_000, 1, if n % 2 == 1 { DOWN } else { CallEnd::Answered });
        }
        assert!(matches!(health.breaker(), Breaker::Open { .. }));
    }

    #[test]
    fn a_person_says_when_it_opens_for_how_long_and_when_it_closes() {
        let own = |failures, percent, window, open_ms, probes| {
            let (failures, percent, window) = (Some(failures), Some(percent), Some(window));
            Rules::of(Some(BreakerRules {
                failures,
                percent,
                window,
                open_ms: Some(open_ms),
                probes: Some(probes),
            }))
        };
        let end = |health: &mut Health, now: u64, end: CallEnd, rules| {
            health.began(Timestamp(now), caller(1));
            health.ended(Timestamp(now), caller(1), end, 1, rules);
        };
        let (mut health, rules) = (Health::default(), own(2, 100, 32, 1_000, 1));
        end(&mut health, 0, DOWN, rules);
        assert_eq!(health.breaker(), Breaker::Closed);
        end(&mut health, 1, DOWN, rules);
        assert_eq!(health.breaker(), Breaker::Open { until: Timestamp(1_001) });
        end(&mut health, 1_001, CallEnd::Answered, rules);
        assert_eq!(health.breaker(), Breaker::Closed, "one probe is enough");
        // By share: three of the newest four, whatever stands between them.
        let (mut health, rules) = (Health::default(), own(99, 75, 4, 600_000, 1));
        for (n, failed) in [true, true, false, false, true, true, false, true].into_iter().enumerate() {
            assert_eq!(health.breaker(), Breaker::Closed, "{n}");
            end(&mut health, n as u64 * 20_000, if failed { DOWN } else { CallEnd::Answered }, rules);
        }
        assert_eq!(
            health.breaker(),
            Breaker::Open { until: Timestamp(740_000) },
            "longer than is usual at most"
        );
        // What cannot be meant does not stop everything, nor nothing.
        assert_eq!(own(0, 0, 0, 0, 0), own(1, 1, 1, 1, 1));
        assert_eq!(own(1, 400, 400, u64::MAX, 1), own(1, 100, 32, ASKED_MOST_MS, 1));
        assert_eq!(Rules::of(None), USUAL);
    }

    #[test]
    fn three_sessions_failing_together_back_off_everybody_once_and_traffic_comes_back_slowly() {
        let mut health = Health::default();
        (0..3).for_each(|n| end(&mut health, 1_000 + n as u64, n, DOWN));
        let (until, why) = health.pause().unwrap();
        assert_eq!((until, why), (Timestamp(6_002), Pause::Backoff));
        end(&mut health, 1_500, 3, DOWN);
        assert_eq!(health.pause(), Some((until, why)), "once for all of them");
        assert_eq!(health.ramp(), 1);
        (0..4).for_each(|n| end(&mut health, 7_000, n, CallEnd::Answered));
        assert_eq!(health.ramp(), 5);
        (0..9).for_each(|n| end(&mut health, 7_000, n, CallEnd::Answered));
        assert_eq!(health.ramp(), u64::MAX);
    }

    #[test]
    fn a_limit_without_a_time_waits_longer_each_time_and_one_with_a_time_is_taken_at_its_word() {
        let mut health = Health::default();
        let mut now = 0;
        for want in [1_000, 2_000, 4_000] {
            end(&mut health, now, 1, CallEnd::Limited { retry_after_ms: None });
            end(&mut health, now, 2, CallEnd::Limited { retry_after_ms: None });
            let (until, why) = health.pause().unwrap();
            assert_eq!((until.0 - now, why), (want, Pause::Limited));
            now = until.0;
        }
        end(&mut health, now, 1, CallEnd::Limited { retry_after_ms: Some(7_200_000) });
        assert_eq!(health.pause().unwrap().0, Timestamp(now + 7_200_000));
    }
}
