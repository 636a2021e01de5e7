//! The loop's record as a fold: slots once, jobs until they are closed, failures until a person has looked.
//!
//! Start at [`Told`].

use contract::looping::{Job, LoopEvent};
use contract::{Digest, SessionId, Timestamp};
use kernel::looping::claim::{Case, Do, Filed, Stands, Task, Tasks, decide};
use kernel::looping::{Loop, Open};
use kernel::schedule::{Days, Due, Every, Meets, Missed, Schedule, Unit, Wall, Zone};

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
    LoopEvent::Fired {
        schedule: "s".into(),
        slot: Timestamp(nth),
        missed: 0,
        job: job(nth),
        interrupts: Vec::new(),
    }
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
    let other = LoopEvent::Fired {
        schedule: "s".into(),
        slot: Timestamp(2),
        missed: 0,
        job: job(1),
        interrupts: Vec::new(),
    };
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
        let since = told.since("s", None, (true, None), later);
        assert_eq!((since.at, since.ran, since.recent.len()), (now, false, 1));
    }
    assert!(told.apply(now, &fired(999_000_000)).is_err(), "a slot twice");
    // What was dealt with by a clock that went right stays where slots are counted from.
    let mut told = met();
    told.say(fired(1));
    let before = told.0.since("s", None, (false, None), now);
    told.0.apply(now, &seen).unwrap();
    assert_eq!(told.0.since("s", None, (false, None), now), before);
}

const MINUTE: u64 = 60_000;

/// A wall that shows UTC.
struct Utc;

impl Zone for Utc {
    fn wall(&self, at: Timestamp) -> Wall {
        (at.0 / MINUTE).cast_signed()
    }

    fn moment(&self, wall: Wall) -> Timestamp {
        Timestamp(wall.unsigned_abs() * MINUTE)
    }
}

fn minutes(count: u32, meets: Meets, missed: Missed) -> Schedule {
    Schedule {
        active: true,
        every: Some(Every { count, unit: Unit::Minute }),
        days: Days::default(),
        start: None,
        at: 0,
        expires: None,
        meets,
        needs_activity: false,
        missed,
    }
}

fn filed<'f>(id: &'f str, time: &'f Schedule) -> Filed<'f> {
    Filed { id, time, told: None, ran: None }
}

fn delegated(nth: u64) -> LoopEvent {
    LoopEvent::Delegated {
        repo: "/r".into(),
        task: format!("t{nth}"),
        priority: "todo".into(),
        job: job(nth),
    }
}

fn the(known: &Loop, nth: u64) -> Open {
    known.jobs().find(|open| open.job.session == session(nth)).unwrap().clone()
}

#[test]
fn opening_that_fails_is_tried_later_and_counts_once_over_all_processes() {
    let mut told = met();
    told.say(fired(1));
    let open = |told: &Told, at| told.0.job(&the(&told.0, 1), Stands::Unopened { trusted: true }, 0, at);
    let mut at = Timestamp(10 * MINUTE);
    let (mut waits, mut facts) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        assert_eq!(open(&told, at), Do::Open);
        facts = told.0.not_opened(session(1), "no-mode", false, at);
        facts.iter().for_each(|fact| told.0.apply(at, fact).unwrap());
        if told.0.jobs().count() == 0 {
            break;
        }
        // Seven other processes fail in the same second: that is the same failure.
        assert_eq!(told.0.not_opened(session(1), "no-mode", false, at.plus(999)), []);
        let Do::Later(until) = open(&told, at.plus(1)) else { panic!("it waits") };
        waits.push(until.since(at) / MINUTE);
        at = until;
    }
    assert_eq!(waits, [1, 2]);
    assert!(matches!(facts.last(), Some(LoopEvent::Closed { code: 1, .. })), "{facts:?}");
    assert!(told.0.escalated("schedule/s").unwrap().contains("3 times in a row: no-mode"));
}

#[test]
fn what_passes_by_itself_is_waited_for_and_another_kind_counts_anew() {
    let mut told = met();
    told.say(fired(1));
    let mut at = Timestamp(10 * MINUTE);
    let mut fail = |told: &mut Told, signature, passing| {
        let facts = told.0.not_opened(session(1), signature, passing, at);
        facts.iter().for_each(|fact| told.0.apply(at, fact).unwrap());
        at = told.0.jobs().next().and_then(|open| open.unopened.clone()).map_or(at, |last| last.until());
    };
    for _ in 0..2 {
        fail(&mut told, "no-mode", false);
    }
    for n in 1..=9 {
        fail(&mut told, "provider-down", true);
        assert_eq!((told.0.jobs().count(), told.0.escalated("schedule/s")), (1, None), "after {n}");
    }
    fail(&mut told, "provider-down", true);
    assert!(told.0.jobs().count() == 0 && told.0.escalated("schedule/s").is_some());
}

#[test]
fn what_was_handed_over_waits_for_a_person_and_is_bounded() {
    let mut told = Told::default();
    told.say(delegated(1));
    let open = |told: &Told, busy| {
        told.0.job(&the(&told.0, 1), Stands::Unopened { trusted: true }, busy, Timestamp(0))
    };
    assert_eq!(open(&told, 0), Do::Ask);
    assert!(told.refused(&LoopEvent::Accepted { session: session(2) }), "nobody handed it over");
    told.say(LoopEvent::Accepted { session: session(1) });
    assert_eq!((open(&told, 0), open(&told, 4)), (Do::Open, Do::Await));
    told.say(LoopEvent::Halted { why: "stop".into() });
    assert_eq!(open(&told, 0), Do::Rest);
    assert!((2..=51).all(|nth| {
        let takes = told.0.takes_tasks();
        told.say(delegated(nth));
        takes
    }));
    assert!(!told.0.takes_tasks(), "fifty wait");
}

#[test]
fn a_job_is_gone_on_with_written_back_or_left_alone() {
    let mut told = met();
    told.say(fired(1));
    let of = |told: &Told, stands| told.0.job(&the(&told.0, 1), stands, 0, Timestamp(0));
    let open = |rests, held| Stands::Open { rests, held };
    let all = |told: &Told| {
        [open(false, false), open(false, true), open(true, false), Stands::Ended].map(|s| of(told, s))
    };
    assert_eq!(all(&told), [Do::GoOn, Do::Await, Do::Rest, Do::Finish]);
    assert_eq!(of(&told, Stands::Unopened { trusted: false }), Do::Distrust);
    told.say(LoopEvent::Halted { why: "stop".into() });
    assert_eq!(all(&told), [Do::Rest, Do::Await, Do::Rest, Do::Finish]);
}

#[test]
fn one_is_claimed_at_a_time_and_what_acts_is_not_idle() {
    let interrupts = minutes(1, Meets::Interrupt, Missed::Once);
    let waits = minutes(1, Meets::Wait { idle_ms: MINUTE }, Missed::Once);
    let mut known = Loop::default();
    for id in ["a", "b", "c"] {
        let seen = LoopEvent::Seen { repo: "/r".into(), schedule: id.into() };
        known.apply(Timestamp(0), &seen).unwrap();
    }
    let now = Timestamp(10 * MINUTE);
    let look = |known: &mut Loop, id: &str, time: &Schedule, tasks: &[(u64, Task)], nth| {
        let tasks = Tasks(tasks.iter().map(|(nth, task)| (session(*nth), *task)).collect());
        let case = Case { filed: filed(id, time), tasks: &tasks, zone: &Utc, repo: "/r", wrong: "", now };
        let facts = decide(&case, known, &job(nth));
        facts.iter().for_each(|fact| known.apply(now, fact).unwrap());
        facts
    };
    let fired = look(&mut known, "a", &interrupts, &[], 1);
    assert!(
        matches!(&fired[..], [LoopEvent::Fired { interrupts, .. }] if interrupts.is_empty()),
        "{fired:?}"
    );
    // The first one is not open yet: nothing else is claimed, however it meets others.
    assert!(matches!(&look(&mut known, "b", &interrupts, &[], 2)[..], [LoopEvent::Held { .. }]));
    // It is open, and in the middle of a long action: that is not idle.
    let acts = |acts| Task { runs: true, acts, at: Timestamp(0) };
    assert!(matches!(&look(&mut known, "c", &waits, &[(1, acts(true))], 3)[..], [LoopEvent::Held { .. }]));
    let fired = look(&mut known, "c", &waits, &[(1, acts(false))], 3);
    assert!(
        matches!(&fired[..], [LoopEvent::Fired { interrupts, .. }] if *interrupts == [session(1)]),
        "{fired:?}"
    );
    assert_eq!(the(&known, 3).interrupts, [session(1)]);
}

#[test]
fn of_missed_ones_that_are_all_run_none_is_lost_without_a_grid() {
    let each = minutes(10, Meets::Skip, Missed::All(24));
    let mut known = Loop::default();
    known.apply(Timestamp(0), &LoopEvent::Seen { repo: "/r".into(), schedule: "s".into() }).unwrap();
    // An hour and five minutes away, then every look a minute apart.
    let mut now = Timestamp(65 * MINUTE);
    let mut slots = Vec::new();
    for nth in 1..10 {
        if let Due::Now(slot) = known.due(filed("s", &each), now, &Utc) {
            slots.push((slot.at.0 / MINUTE, slot.missed));
            let (slot, missed, job) = (slot.at, slot.missed, job(nth));
            let fired = LoopEvent::Fired { schedule: "s".into(), slot, missed, job, interrupts: Vec::new() };
            known.apply(now, &fired).unwrap();
        }
        now = now.plus(MINUTE);
    }
    assert_eq!(slots, [10, 20, 30, 40, 50, 60, 70].map(|at| (at, 0)));
}

#[test]
fn the_zone_and_the_last_look_at_what_jobs_rely_on_are_on_record() {
    let mut told = met();
    assert_eq!((&told.0.zone, &told.0.synced), (&None, &None));
    told.say(LoopEvent::Zoned { repo: "/r".into(), zone: "Europe/Berlin".into() });
    told.say(LoopEvent::Synced {
        session: session(1),
        stage: "validate".into(),
        head: "abc".into(),
        files: [("TODO.md".to_owned(), Digest::of(b"x"))].into(),
        drift: vec!["TODO.md".into()],
        wrong: Vec::new(),
    });
    assert_eq!(told.0.zone.as_deref(), Some("Europe/Berlin"));
    let synced = told.0.synced.as_ref().unwrap();
    let files = |all: &[(&str, &str)]| {
        all.iter().map(|(path, text)| ((*path).to_owned(), Digest::of(text.as_bytes()))).collect()
    };
    let (old, new) =
        (files(&[("a", "1"), ("b", "2"), ("c", "3")]), files(&[("a", "1"), ("b", "x"), ("d", "4")]));
    assert_eq!(kernel::looping::drift(&old, &new), ["b", "c", "d"]);
    assert_eq!((&synced.before, synced.drift.len()), (&Some((session(1), "validate".to_owned())), 1));
}
