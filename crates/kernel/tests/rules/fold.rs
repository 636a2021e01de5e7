//! The fold refuses what has no place (O4): every event against every state, and random ones; it never panics.

use crate::make::*;
use crate::world::{ROOT, World, well};
use contract::action::{EffectClass, End, Outcome, Work};
use contract::checks::Verdict;
use contract::event::{Answer, Disposal, Event, Final, Notice, Subject, TaskState};
use contract::intent::{Intent, Source, Wish};
use contract::{ActionId, Amount, SessionId, Timestamp};
use kernel::Session;
use kernel::fsm::{Phase, Turn};
use proptest::prelude::*;

const AT: Timestamp = Timestamp(9_000_000);

/// One event of every kind, about things that exist in most stories: `tag` says which.
pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let action = ActionId { turn: 1, step: 3 };
    let id = SessionId(5);
    let intent = Intent {
        id,
        session: ROOT,
        source: Source::User,
        wish: message("m"),
        key: "k".into(),
        at: AT,
        ttl_ms: None,
    };
    let started = |work: Work, class, step| Event::Started {
        action: ActionId { turn: 1, step },
        attempt: 1,
        work,
        class,
        why: String::new(),
        deadline: AT,
        fence: 1,
        approval: None,
        reserved: Amount::ZERO,
    };
    let finished = |end| Event::Finished { outcome: Outcome::new(action, 1, end, Amount::ZERO) };
    let mut events = vec![
        ("opened", Event::Opened { spec: Box::new(spec()) }),
        ("submitted", Event::Submitted { intent }),
        ("disposed", Event::Disposed { intent: id, how: Disposal::Applied }),
        (
            "selected",
            Event::Selected {
                action,
                intent: None,
                source: Source::User,
                wish: "x".into(),
                why: "x".into(),
                others: vec![],
            },
        ),
        ("started-model", started(Work::Model { model: "m".into(), ordinal: 0 }, EffectClass::Billed, 3)),
        ("started-tools", started(Work::Tools { calls: vec![staged("c")] }, EffectClass::Staged, 3)),
        ("finished", finished(says(vec![staged("c")]))),
        ("finished-wrong", finished(prepared())),
        ("unknown", finished(End::Unknown)),
        ("stale", Event::Stale { outcome: Outcome::new(action, 9, End::Cancelled, Amount::ZERO) }),
        ("staged", Event::Staged { to: "validate".into(), round: 1, why: String::new() }),
        ("staged-nowhere", Event::Staged { to: "nowhere".into(), round: 1, why: String::new() }),
        ("judged", Event::Judged { verdict: Verdict::Confirmed, result: "c".into(), reasons: vec![] }),
        ("noticed", Event::Noticed { notice: Notice::ReplyCut }),
    ];
    events.extend(later(id, action));
    events
}

fn later(id: SessionId, action: ActionId) -> Vec<(&'static str, Event)> {
    let call = || "c".to_owned();
    vec![
        (
            "approval-asked",
            Event::ApprovalAsked {
                approval: "a".into(),
                subject: Subject::Call { call: call() },
                hash: text("h"),
                expires: AT,
            },
        ),
        ("granted", Event::ApprovalAnswered { approval: "a".into(), answer: Answer::Granted, by: None }),
        ("denied", Event::ApprovalAnswered { approval: "a".into(), answer: Answer::Denied, by: None }),
        (
            "asked",
            Event::Asked {
                question: "q".into(),
                text: None,
                call: Some(call()),
                why: String::new(),
                choices: vec![],
            },
        ),
        ("answered", Event::Answered { question: "q".into(), text: text("t"), bytes: 1, by: id }),
        ("call-answered", Event::CallAnswered { call: call(), ok: true, what: String::new() }),
        ("garbled", Event::Garbled { why: "?".into() }),
        ("child-opened", Event::ChildOpened { child: SessionId(8), call: call(), action }),
        ("planned", Event::Planned { tasks: vec![] }),
        ("task-moved", Event::TaskMoved { task: "t".into(), to: TaskState::Done }),
        ("cut", Event::Cut { items: 1, bytes: 1 }),
        ("compacted-nothing", dropped(vec![])),
        ("compacted-goal", dropped(vec![(1, 1)])),
        ("compacted-unknown", dropped(vec![(1_000, 1_001)])),
        ("uncompacted-unknown", Event::Uncompacted { items: vec![1_000], after: 1 }),
        ("repaired", Event::Repaired { what: "w".into(), call: None, item: None }),
        ("repaired-unknown", Event::Repaired { what: "w".into(), call: None, item: Some(1_000) }),
        ("cut-too-much", Event::Cut { items: 10_000, bytes: 1 }),
        ("paused", Event::Paused { why: "user".into(), what: String::new(), hint: String::new(), code: 0 }),
        ("warned", Event::Warned { what: "w".into() }),
        ("resumed", Event::Resumed { model: None }),
        ("failed", Event::Failed { signature: "x/y".into(), count: 1, then: "retry".into(), retry_at: None }),
        ("recovered", Event::Recovered { fence: 1, found: None, did: "nothing".into() }),
        ("recovered-stale", Event::Recovered { fence: 0, found: None, did: "nothing".into() }),
        ("cancel-asked", Event::CancelAsked { by: id }),
        ("ended", Event::Ended { state: Final::Completed, code: 0, why: String::new(), summary: None }),
    ]
}

fn dropped(dropped: Vec<(u64, u64)>) -> Event {
    Event::Compacted { why: "full".into(), left: vec![], dropped, summary: None, before: 1, after: 1, cap: 1 }
}

/// The states the table speaks of: an agent that was asked for the second time, with something of everything.
fn states() -> Vec<(&'static str, Session)> {
    let idle = || {
        let mut world = World::working(spec());
        world.hold = true;
        world.end(ROOT, says(vec![staged("c")]));
        world
    };
    let mut running = World::working(spec());
    running.end(ROOT, says(vec![staged("c")]));
    let mut yielded = World::working(spec());
    yielded.hold = true;
    yielded.end(ROOT, says(vec![]));
    let mut paused = idle();
    paused.user(Wish::Pause);
    let mut ended = World::working(spec());
    ended.user(Wish::Cancel);
    ended.play();
    let calls = idle().root().clone();
    vec![
        ("new", Session::new(ROOT)),
        ("calls", calls),
        ("running", running.root().clone()),
        ("yielded", yielded.root().clone()),
        ("paused", paused.root().clone()),
        ("ended", ended.root().clone()),
    ]
}

#[test]
fn exactly_the_pairs_of_the_table_are_taken() {
    let anywhere = "submitted stale garbled";
    let open = "failed recovered cancel-asked staged judged planned warned";
    for (name, state) in states() {
        let own = match name {
            "new" => "opened".to_owned(),
            "calls" => format!(
                "{anywhere} {open} selected approval-asked asked call-answered child-opened cut compacted-nothing repaired paused ended"
            ),
            "running" => {
                format!("{anywhere} {open} unknown cut compacted-nothing repaired paused call-answered")
            }
            "yielded" => {
                format!("{anywhere} {open} selected noticed cut compacted-nothing repaired paused ended")
            }
            "paused" => format!(
                "{anywhere} {open} selected approval-asked asked call-answered child-opened cut compacted-nothing repaired resumed ended"
            ),
            "ended" => anywhere.to_owned(),
            other => panic!("{other}"),
        };
        let taken: Vec<&str> = events()
            .into_iter()
            .filter(|(_, event)| state.clone().apply(AT, event).is_ok())
            .map(|(tag, _)| tag)
            .collect();
        let mut expected: Vec<&str> = own.split_whitespace().collect();
        let order = |tag: &&str| events().iter().position(|(name, _)| name == tag);
        expected.sort_by_key(order);
        assert_eq!(taken, expected, "in state {name}");
    }
}

#[test]
fn a_second_start_a_second_selection_and_a_foreign_attempt_are_refused() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![staged("c")]));
    let state = world.root().clone();
    let started =
        world.events(ROOT).rev().find(|event| matches!(event, Event::Started { .. })).unwrap().clone();
    assert!(state.clone().apply(AT, &started).is_err(), "two at once");
    let mut after = state;
    let run = world.flight(ROOT).clone();
    let outcome = Outcome::new(run.action, 1, well(&run, &run.work), Amount::ZERO);
    let foreign = Outcome { attempt: 2, ..outcome.clone() };
    assert!(after.clone().apply(AT, &Event::Finished { outcome: foreign }).is_err(), "another attempt");
    after.apply(AT, &Event::Finished { outcome: outcome.clone() }).unwrap();
    assert!(after.clone().apply(AT, &Event::Finished { outcome }).is_err(), "twice");
    assert!(after.clone().apply(AT, &started).is_err(), "the same action again, unselected");
    let Event::Started { action, attempt, work, class, why, deadline, approval, reserved, .. } = started
    else {
        unreachable!()
    };
    let stale = Event::Started { action, attempt, work, class, why, deadline, fence: 0, approval, reserved };
    assert!(after.apply(AT, &stale).is_err(), "under an old lease");
}

#[test]
fn an_answer_that_was_missing_stands_behind_those_that_are_there() {
    let mut world = World::working(spec());
    world.hold = true;
    world.end(ROOT, says(vec![staged("c"), staged("d")]));
    let mut state = world.root().clone();
    let before = state.items.len();
    for call in ["d", "c"] {
        let missing = Event::Repaired { what: "lost".into(), call: Some(call.into()), item: None };
        state.apply(AT, &missing).unwrap();
    }
    let answers: Vec<&str> =
        state.items.iter().skip(before).filter_map(|item| item.call.as_deref()).collect();
    assert_eq!(answers, ["d", "c"]);
}

#[test]
fn a_state_is_the_same_after_a_trip_through_its_snapshot() {
    for (name, mut state) in states() {
        for cut_replies in [0, 2] {
            state.cut_replies = cut_replies;
            let stored = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<Session>(&stored).unwrap(), state, "{name}");
        }
    }
}

#[test]
fn a_refused_event_leaves_sequence_and_time_alone() {
    for (_, state) in states() {
        for (tag, event) in events() {
            let mut tried = state.clone();
            if tried.apply(AT, &event).is_err() {
                assert_eq!((tried.seq, tried.at), (state.seq, state.at), "{tag}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order, the fold says yes or no and never panics.
    #[test]
    fn random_events_on_random_states_never_panic(start in 0usize..6, order in prop::collection::vec(0usize..34, 0..60)) {
        let mut state = states().swap_remove(start).1;
        let events = events();
        for pick in order {
            let (_, event) = &events[pick % events.len()];
            let before = state.clone();
            if state.apply(AT, event).is_err() {
                // A session whose journal contradicts itself is stopped; here it goes on from before.
                state = before;
            }
            prop_assert!(state.running.is_none() || state.phase != Phase::Ended);
            prop_assert!(state.turn == Turn::Calls || state.calls.is_empty());
        }
    }
}
