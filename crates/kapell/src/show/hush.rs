//! What passes by itself is not told, unless it comes often: three short failures in ten seconds, and then once a minute
//! (spec S1.4-2, section 10 row 19).
//!
//! Knows events and moments, no texts but those it holds back. Start at [`Hush::hear`].

use contract::action::End;
use contract::event::Event;
use contract::{Kind, SessionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// So many in so long a time are worth a word, milliseconds.
const OFTEN: usize = 3;
const OFTEN_MS: u64 = 10_000;
/// And no second one before this has passed, milliseconds.
const AGAIN_MS: u64 = 60_000;

/// Lines for the person, in order.
pub(super) type Lines = Vec<String>;

/// Short failures of late.
#[derive(Debug, Default)]
pub(super) struct Hush {
    /// When attempts failed that were made again at once.
    failed: VecDeque<Timestamp>,
    told: Option<Timestamp>,
    /// What a session's attempt failed with, until it is known what follows.
    held: BTreeMap<SessionId, String>,
    /// Sessions whose next attempt is no news.
    again: BTreeSet<SessionId>,
}

impl Hush {
    /// What is told of an event. `head` = what its lines begin with, `told` = what it says by itself.
    pub(super) fn hear(
        &mut self,
        (who, at): (SessionId, Timestamp),
        event: &Event,
        head: &str,
        told: Option<String>,
    ) -> Lines {
        let line = told.map(|told| format!("{head}{told}"));
        match event {
            Event::Finished { outcome } if passes(&outcome.end) => {
                let before = line.and_then(|line| self.held.insert(who, line));
                before.into_iter().collect()
            }
            Event::Failed { then, .. } if then == "retry" && self.held.contains_key(&who) => {
                let what = self.held.remove(&who).unwrap_or_default();
                self.again.insert(who);
                self.failed.push_back(at);
                self.failed.retain(|other| at.since(*other) < OFTEN_MS);
                let often = self.failed.len() >= OFTEN;
                if !often || self.told.is_some_and(|told| at.since(told) < AGAIN_MS) {
                    return Lines::new();
                }
                self.told = Some(at);
                let count = self.failed.len();
                vec![what, format!("{head}note: {count} short failures in ten seconds, tried again")]
            }
            Event::Started { attempt: 2.., .. } if self.again.remove(&who) => Lines::new(),
            _ => self.held.remove(&who).into_iter().chain(line).collect(),
        }
    }
}

/// Is that an end that is gone when it is tried again?
fn passes(end: &End) -> bool {
    matches!(end, End::Failed(fault) if fault.kind == Kind::Transient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::action::Outcome;
    use contract::{ActionId, Amount, Fault};

    const ONE: SessionId = SessionId(1);

    fn fails(kind: Kind) -> Event {
        let action = ActionId { turn: 1, step: 1 };
        let end = End::Failed(Fault::new(kind, "lost", "the connection was lost"));
        Event::Finished { outcome: Outcome::new(action, 1, end, Amount::ZERO) }
    }

    fn then(then: &str) -> Event {
        Event::Failed { signature: "model/lost".into(), count: 1, then: then.into(), retry_at: None }
    }

    /// The lines of a failure at this second and of what follows.
    fn heard(hush: &mut Hush, second: u64, kind: Kind, follows: &str) -> Lines {
        let at = Timestamp(second * 1_000);
        let mut lines = hush.hear((ONE, at), &fails(kind), "", Some("failed".into()));
        lines.extend(hush.hear((ONE, at), &then(follows), "", Some(follows.into())));
        lines
    }

    #[test]
    fn a_short_failure_is_silent_and_a_third_within_ten_seconds_is_not() {
        let mut hush = Hush::default();
        let mut told = |second| heard(&mut hush, second, Kind::Transient, "retry").len();
        let seconds = [1, 5, 12, 14, 15, 20, 70, 72, 73, 74, 76];
        // The newest failure, and how many there were.
        assert_eq!(seconds.map(&mut told), [0, 0, 0, 2, 0, 0, 0, 0, 0, 2, 0]);
    }

    #[test]
    fn what_does_not_pass_is_told_whole() {
        let mut hush = Hush::default();
        assert_eq!(heard(&mut hush, 1, Kind::Transient, "ask"), ["failed", "ask"]);
        assert_eq!(heard(&mut hush, 2, Kind::Degraded, "retry"), ["failed", "retry"]);
        hush.hear((ONE, Timestamp(3)), &fails(Kind::Transient), "3 ", Some("failed".into()));
        let other = Event::Warned { what: "x".into() };
        let next = hush.hear((ONE, Timestamp(4)), &other, "4 ", Some("note".into()));
        assert_eq!(next, ["3 failed", "4 note"], "nothing is lost when it was not tried again");
    }
}
