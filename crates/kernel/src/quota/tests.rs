//! The rules of a key together, with a clock that is set by hand.

use super::*;
use contract::model::Window as Rate;

const BY: SessionId = SessionId(1);
/// Longer than any test lasts.
const LONG: u64 = 3_600_000;

struct Key {
    quota: Quota,
    now: u64,
}

fn action(step: u32) -> ActionId {
    ActionId { turn: 1, step }
}

impl Key {
    fn with(rates: Rates) -> Self {
        let mut key = Self { quota: Quota::default(), now: 10_000_000 };
        key.fold(QuotaEvent::Declared { name: "test/key".into(), rates, by: BY });
        key
    }

    fn fold(&mut self, event: QuotaEvent) {
        self.quota.apply(Timestamp(self.now), &event).unwrap();
    }

    fn ask(&self, tokens: u64) -> Result<(), Held> {
        self.quota.verdict(Timestamp(self.now), tokens, Load::default())
    }

    fn take(&mut self, who: u128, tokens: u64) {
        let until = Timestamp(self.now + LONG);
        self.fold(QuotaEvent::Taken { session: SessionId(who), action: action(1), tokens, until });
    }

    fn settle(&mut self, who: u128, tokens: u64, end: CallEnd, meter: Meter) {
        self.fold(QuotaEvent::Settled { session: SessionId(who), action: action(1), tokens, end, meter });
    }

    /// A call from start to end.
    fn call(&mut self, who: u128, tokens: u64, end: CallEnd) {
        self.take(who, tokens);
        self.settle(who, tokens, end, Meter::default());
    }

    /// Waits until the next call may begin; how long that took.
    fn patience(&mut self, tokens: u64) -> u64 {
        let began = self.now;
        if self.quota.set_back(Timestamp(self.now)) {
            let (name, rates) = (self.quota.name.clone(), self.quota.rates);
            self.fold(QuotaEvent::Declared { name, rates, by: BY });
        }
        for _ in 0..100 {
            match self.ask(tokens) {
                Ok(()) => return self.now - began,
                Err(held) => self.now = held.until.0,
            }
        }
        panic!("never: {:?}", self.ask(tokens));
    }
}

fn why(verdict: Result<(), Held>) -> Option<Why> {
    verdict.err().map(|held| held.why)
}

#[test]
fn without_limits_ten_go_at_once_and_ten_with_each_second() {
    let mut key = Key::with(Rates::default());
    for who in 0..10 {
        assert_eq!(key.patience(1_000_000), 0);
        key.take(who, 1_000_000);
    }
    let began = key.now;
    for who in 10..110 {
        key.patience(1_000_000);
        key.take(who, 1_000_000);
    }
    assert_eq!(key.now - began, 10_000);
    assert_eq!(key.quota.under_way(Timestamp(key.now)), 110);
}

#[test]
fn a_call_under_way_when_the_clock_is_set_back_lapses_when_it_would_have() {
    let mut key = Key::with(Rates { concurrent: Some(1), ..Rates::default() });
    key.take(1, 10);
    key.now -= 7_200_000;
    assert!(key.patience(10) <= LONG, "not two hours later");
}

#[test]
fn requests_a_minute_hold_in_every_minute_and_are_used_up_within_it() {
    let mut key = Key::with(Rates { requests_per_minute: Some(60), ..Rates::default() });
    let mut taken = Vec::new();
    for who in 0..600 {
        key.patience(10);
        key.call(who, 10, CallEnd::Answered);
        taken.push(key.now);
    }
    let most =
        taken.iter().map(|end| taken.iter().filter(|at| *at <= end && end - **at < 60_000).count()).max();
    assert!(most.is_some_and(|most| most <= 60), "{most:?}");
    let minutes = (taken[599] - taken[0]) / 60_000;
    assert!((9..=10).contains(&minutes), "as fast as is allowed: {minutes} minutes");
}

#[test]
fn tokens_are_taken_at_their_most_and_given_back() {
    let mut key = Key::with(Rates { tokens_per_minute: Some(10_000), ..Rates::default() });
    key.take(1, 9_000);
    assert_eq!(why(key.ask(2_000)), Some(Why::UnderWay), "most of it may come back");
    key.settle(1, 1_000, CallEnd::Answered, Meter::default());
    assert_eq!(key.ask(2_000), Ok(()));
    // More than a minute has waits until the minute is empty, and then goes.
    assert!(key.patience(50_000) > 0);
    key.call(2, 50_000, CallEnd::Answered);
    assert_eq!(why(key.ask(1)), Some(Why::Rate));
}

#[test]
fn the_strictest_rule_has_the_last_word() {
    let window = Rate { requests: 3, ms: 3_600_000 };
    let mut key =
        Key::with(Rates { requests_per_minute: Some(600), window: Some(window), ..Rates::default() });
    (0..3).for_each(|who| key.call(who, 1, CallEnd::Answered));
    assert_eq!(why(key.ask(1)), Some(Why::Window));
    assert!((3_600_000..=3_660_000).contains(&key.patience(1)));
}

#[test]
fn calls_under_way_are_counted_until_they_end_or_lapse() {
    let mut key = Key::with(Rates { concurrent: Some(2), ..Rates::default() });
    key.take(1, 1);
    key.take(2, 1);
    assert_eq!(key.ask(1), Err(Held { why: Why::UnderWay, until: Timestamp(key.now + LONG) }));
    key.settle(2, 1, CallEnd::Unknown, Meter::default());
    assert_eq!(key.ask(1), Ok(()));
    key.take(3, 1);
    key.now += LONG;
    assert_eq!(key.ask(1), Ok(()), "what a killed process held lapses");
}

#[test]
fn what_the_provider_says_is_left_counts_until_it_is_reset() {
    let mut key = Key::with(Rates::default());
    key.take(1, 1);
    key.take(2, 1);
    // The other call may not be counted in it yet.
    let requests = Some(Gauge { limit: Some(50), left: 3, reset_ms: Some(30_000) });
    key.now += 100;
    key.settle(1, 1, CallEnd::Answered, Meter { requests, tokens: None });
    key.take(3, 1);
    assert_eq!(key.ask(1), Ok(()));
    key.take(4, 1);
    assert_eq!(key.ask(1), Err(Held { why: Why::Reset, until: Timestamp(key.now + 30_000) }));
    key.now += 30_000;
    assert_eq!(key.ask(1), Ok(()));
}

#[test]
fn a_hit_limit_stops_everybody_for_as_long_as_was_said_and_then_few_go_first() {
    let mut key = Key::with(Rates::default());
    (0..20).for_each(|who| key.take(who, 1));
    (0..20).for_each(|who| {
        key.settle(who, 0, CallEnd::Limited { retry_after_ms: Some(12_000) }, Meter::default())
    });
    assert_eq!(key.ask(1), Err(Held { why: Why::Limited, until: Timestamp(key.now + 12_000) }));
    key.now += 12_000;
    // A learned limit of the calls that were seen, and a tenth of the traffic.
    key.now += 60_000;
    (0..2).for_each(|who| key.take(who, 1));
    assert_eq!(why(key.ask(1)), Some(Why::UnderWay));
}

#[test]
fn when_a_told_moment_has_come_one_call_finds_out_what_is_there_again() {
    let told = |left, reset_ms| Meter {
        requests: Some(Gauge { limit: Some(2), left, reset_ms: Some(reset_ms) }),
        tokens: None,
    };
    let mut key = Key::with(Rates::default());
    key.take(1, 1);
    key.settle(1, 1, CallEnd::Answered, told(0, 5_000));
    assert_eq!(key.patience(1), 5_000);
    key.take(2, 1);
    assert_eq!(why(key.ask(1)), Some(Why::UnderWay), "it may have been one only");
    // One of two is left: it was full. From here on that is known.
    key.settle(2, 1, CallEnd::Answered, told(1, 5_000));
    key.take(3, 1);
    let waited = key.patience(1);
    assert!((5_000..=7_000).contains(&waited), "{waited}");
    key.take(4, 1);
    key.take(5, 1);
    assert_eq!(why(key.ask(1)), Some(Why::Reset), "two are all there are");
    // Until a limit is hit all the same.
    key.settle(4, 1, CallEnd::Limited { retry_after_ms: None }, Meter::default());
    key.now += 60_000;
    key.take(6, 1);
    assert_eq!(why(key.ask(1)), Some(Why::UnderWay));
    // One whose oldest call only no longer counts is asked one call at a time.
    key.settle(6, 1, CallEnd::Answered, told(0, 1_000));
    key.now += 1_000;
    key.take(7, 1);
    key.settle(7, 1, CallEnd::Answered, told(0, 1_000));
    key.now += 1_000;
    key.take(8, 1);
    assert_eq!(why(key.ask(1)), Some(Why::UnderWay));
    key.now += 2 * TOLD_FOR_MS;
    key.call(9, 1, CallEnd::Answered);
    assert_eq!(key.quota.told_requests, None, "nobody has told anything for long");
}

#[test]
fn what_an_older_call_was_told_does_not_replace_what_a_newer_one_was() {
    let mut key = Key::with(Rates::default());
    let left = |left| Meter {
        requests: Some(Gauge { limit: Some(50), left, reset_ms: Some(30_000) }),
        tokens: None,
    };
    key.take(1, 1);
    key.now += 10_000;
    key.take(2, 1);
    key.settle(2, 1, CallEnd::Answered, left(0));
    key.settle(1, 1, CallEnd::Answered, left(40));
    assert_eq!(why(key.ask(1)), Some(Why::Reset));
}

#[test]
fn of_answers_to_calls_of_one_moment_the_smaller_word_holds_in_whatever_order_they_come() {
    let left =
        |left| Meter { requests: Some(Gauge { limit: Some(4), left, reset_ms: Some(30_000) }), tokens: None };
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut key = Key::with(Rates::default());
        (1..=3).for_each(|who| key.take(who, 1));
        // The provider saw them in the order of their numbers.
        order.into_iter().for_each(|who| key.settle(who, 1, CallEnd::Answered, left(4 - who as u64)));
        assert_eq!(key.ask(1), Ok(()), "{order:?}");
        key.take(4, 1);
        assert_eq!(why(key.ask(1)), Some(Why::Reset), "{order:?}");
    }
}

#[test]
fn calls_that_hit_a_limit_together_hit_it_once() {
    let mut key = Key::with(Rates::default());
    (0..30).for_each(|who| key.take(who, 1));
    key.now += 300;
    for who in 0..30 {
        key.settle(who, 0, CallEnd::Limited { retry_after_ms: Some(1_000) }, Meter::default());
        key.now += 5;
    }
    let first = key.quota.learned;
    key.now += 2_000;
    key.call(40, 0, CallEnd::Limited { retry_after_ms: Some(1_000) });
    assert!(key.quota.learned.flow().per_minute < first.flow().per_minute);
    assert_eq!(first.flow().per_minute, 47);
}

#[test]
fn a_clock_that_was_set_back_makes_nobody_wait_for_what_lies_ahead() {
    let rates = Rates { requests_per_minute: Some(6), concurrent: Some(50), ..Rates::default() };
    let mut key = Key::with(rates);
    (0..6).for_each(|who| {
        key.patience(1);
        key.call(who, 1, CallEnd::Answered);
    });
    let left = key.ask(1).unwrap_err().until.0 - key.now;
    key.now -= 7_200_000;
    let now = key.ask(1).unwrap_err().until.0 - key.now;
    assert!(now <= left + 1_000, "{now} after {left}");
    key.patience(1);
    key.call(9, 1, CallEnd::Answered);
}

#[test]
fn the_first_of_every_process_stands_in_one_line_and_who_does_not_come_keeps_nobody_waiting() {
    let mut key = Key::with(Rates { concurrent: Some(1), ..Rates::default() });
    let queued = |key: &mut Key, who: u128, rank: u64| {
        let until = Timestamp(key.now + 5_000);
        key.fold(QuotaEvent::Queued { session: SessionId(who), rank, tokens: 10, until });
    };
    let ahead = |key: &Key, who: u128, rank: u64| {
        let (load, lapses) = key.quota.elsewhere(Timestamp(key.now), (rank, SessionId(who)), |_| false);
        (load.calls, lapses)
    };
    key.take(1, 10);
    queued(&mut key, 2, 200);
    queued(&mut key, 3, 100);
    assert_eq!((ahead(&key, 2, 200).0, ahead(&key, 3, 100).0, ahead(&key, 4, 300).0), (1, 0, 2));
    key.settle(1, 10, CallEnd::Answered, Meter::default());
    let load = Load { calls: 1, tokens: 10 };
    assert_eq!(
        why(key.quota.verdict(Timestamp(key.now), 10, load)),
        Some(Why::UnderWay),
        "it is the other's turn"
    );
    assert_eq!(key.ask(10), Ok(()));
    key.take(3, 10);
    assert_eq!(ahead(&key, 2, 200), (0, None), "who has its call stands in no line");
    key.now += 5_000;
    assert_eq!(ahead(&key, 4, 300), (0, None), "it did not come");
    queued(&mut key, 2, 200);
    key.fold(QuotaEvent::Lifted { why: "now".into() });
    assert_eq!(ahead(&key, 4, 300).0, 0, "everybody looks anew");
}

#[test]
fn it_does_not_grow_with_the_calls() {
    let window = Some(Rate { requests: 100_000, ms: 3_600_000 });
    let rates = Rates {
        requests_per_minute: Some(6_000),
        tokens_per_minute: Some(1_000_000),
        window,
        concurrent: Some(8),
        ..Rates::default()
    };
    let mut key = Key::with(rates);
    for who in 0..20_000 {
        key.now += 37;
        let end = if who % 50 == 0 { CallEnd::Down { retry_after_ms: None } } else { CallEnd::Answered };
        key.call(who, 100, end);
    }
    let bytes = serde_json::to_vec(&key.quota).unwrap().len();
    assert!(bytes < 8 * 1024, "{bytes} bytes");
    let again: Quota = serde_json::from_slice(&serde_json::to_vec(&key.quota).unwrap()).unwrap();
    assert_eq!(again, key.quota);
}
