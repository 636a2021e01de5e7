//! The loop's record as a fold: slots once, jobs until they are closed, failures until a person has looked.
//!
//! Start at [`Told`].

use contract::looping::{Job, LoopEvent};
use contract::{Digest, SessionId, Timestamp};
use kernel::looping::Loop;

/// A record that grows by a minute with each fact.
#[derive(Default)]
struct Told(Loop);

impl Told {
    fn say(&mut self, event: LoopEvent) {
        let at = Timestamp(self.0.seq * 60_000);
        self.0.apply(at, &event).unwrap();
    }

    fn refused(&self, event: &LoopEvent) -> bool {
        self.0.clone().apply(Timestamp(0), event).is_err()
    }

    /// A job of the schedule that ends with this code.
    fn ran(&mut self, nth: u64, code: u8) {
        self.say(fired(nth));
        self.say(LoopEvent::Closed { session: session(nth), code });
        if code != 0 {
            let facts = self.0.failed("schedule/s", &format!("exit {code}"), 3);
            facts.into_iter().for_each(|fact| self.say(fact));
        }
    }
}

fn session(nth: u64) -> SessionId {
    SessionId::v7(nth, 0)
}

fn job(nth: u64) -> Job {
    Job { session: session(nth), mode: "code".into(), goal: Digest::of(b"x"), bytes: 1 }
}

fn fired(nth: u64) -> LoopEvent {
    LoopEvent::Fired { schedule: "s".into(), slot: Timestamp(nth), missed: 0, job: job(nth) }
}

fn met() -> Told {
    let mut told = Told::default();
    told.say(LoopEvent::Seen { repo: "/r".into(), schedule: "s".into() });
    told
}

#[test]
fn what_contradicts_the_record_is_refused() {
    let mut told = met();
    assert!(Told::default().refused(&fired(1)), "a slot of a schedule that nobody met");
    told.say(fired(1));
    assert!(told.refused(&fired(1)), "a slot twice");
    let other = LoopEvent::Fired { schedule: "s".into(), slot: Timestamp(2), missed: 0, job: job(1) };
    assert!(told.refused(&other), "a session twice");
    let held = |slot| LoopEvent::Held { schedule: "s".into(), slot: Timestamp(slot) };
    assert!(told.refused(&held(1)) && !told.refused(&held(2)));
    assert!(told.refused(&LoopEvent::Closed { session: session(9), code: 0 }));
    let escalated =
        LoopEvent::Escalated { what: "schedule/s".into(), signature: "x".into(), why: "x".into() };
    assert!(told.refused(&escalated), "what never failed");
}

#[test]
fn the_third_failure_of_one_kind_is_a_persons() {
    let mut told = met();
    for (nth, code, escalated) in [(1, 3, false), (2, 3, false), (3, 1, false), (4, 1, false), (5, 1, true)] {
        told.ran(nth, code);
        assert_eq!(told.0.escalated("schedule/s").is_some(), escalated, "{nth}");
    }
    assert!(told.0.escalated("schedule/s").unwrap().contains("3 times in a row in the same way: exit 1"));
    // It is said once, and lasts until somebody has looked.
    assert_eq!(told.0.failed("schedule/s", "exit 1", 3).len(), 1);
    told.ran(6, 3);
    assert!(told.0.escalated("schedule/s").is_some());
    told.say(LoopEvent::Cleared { what: "schedule/s".into() });
    assert_eq!(told.0.failing().count(), 0);
    // What goes well counts anew.
    for (nth, code) in [(7, 3), (8, 3), (9, 0), (10, 3), (11, 3)] {
        told.ran(nth, code);
        assert_eq!(told.0.escalated("schedule/s"), None, "{nth}");
    }
    assert_eq!(told.0.failing().next().unwrap().1.count, 2);
    let at_once = Loop::default().failed("task/t", "no-mode", 1);
    assert_eq!(at_once.len(), 2, "{at_once:?}");
}

#[test]
fn a_task_is_a_job_like_any_other() {
    let mut told = met();
    let delegated =
        LoopEvent::Delegated { repo: "/r".into(), task: "t".into(), priority: "todo".into(), job: job(1) };
    told.say(delegated.clone());
    assert!(told.refused(&delegated));
    let names: Vec<String> = told.0.jobs().map(|open| open.origin.name()).collect();
    assert_eq!(names, ["task/t"]);
    told.say(LoopEvent::Closed { session: session(1), code: 0 });
    assert_eq!(told.0.jobs().count(), 0);
}

#[test]
fn met_again_after_a_clock_that_was_ahead_it_counts_from_there() {
    let mut told = Loop::default();
    let (far, now) = (Timestamp(1_000_000_000), Timestamp(10_000_000));
    let seen = LoopEvent::Seen { repo: "/r".into(), schedule: "s".into() };
    told.apply(far, &seen).unwrap();
    assert!(told.ahead("s", now) && !told.ahead("s", far) && !told.ahead("other", now));
    told.apply(far, &fired(999_000_000)).unwrap();
    assert!(told.ahead("s", now));
    assert_eq!(told.job_of("s").map(|open| open.job.session), Some(session(999_000_000)));
    told.apply(now, &seen).unwrap();
    assert!(!told.ahead("s", now));
    // However often somebody looks: it is one moment that slots are counted from.
    for later in [now, now.plus(60_000), now.plus(600_000)] {
        let since = told.since("s", None, true, later);
        assert_eq!((since.at, since.ran, since.recent.len()), (now, false, 1));
    }
    assert!(told.apply(now, &fired(999_000_000)).is_err(), "a slot twice");
    // What was dealt with by a clock that went right stays where slots are counted from.
    let mut told = met();
    told.say(fired(1));
    let before = told.0.since("s", None, false, now);
    told.0.apply(now, &seen).unwrap();
    assert_eq!(told.0.since("s", None, false, now), before);
}
