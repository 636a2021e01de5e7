//! Kill it anywhere (promise 1), never silently twice (promise 2).

use crate::make::*;
use crate::world::{ROOT, World, fold, well};
use contract::action::{Effect, EffectClass, End, Work};
use contract::event::{Event, LedgerEvent};
use contract::intent::{Source, Wish};
use contract::{Kind, SessionId};
use kernel::Input;
use kernel::fsm::Phase;

/// A story with every kind of action in it. Returns how many inputs it took.
fn story(kill_after: Option<usize>) -> (World, usize) {
    let mut world = World::new();
    world.open(ROOT, spec());
    let mut inputs = 0;
    for _ in 0..400 {
        if kill_after == Some(inputs) {
            world.restart();
            world.inbox_again();
        }
        inputs += 1;
        if world.deliver() {
            continue;
        }
        if let Some((id, hash)) = world.root().pending_approval().map(|(id, a)| (id.to_owned(), a.hash)) {
            world.user(Wish::Approve { approval: id, hash });
            continue;
        }
        let flying = world.sessions.iter().find(|(_, live)| live.flight.is_some()).map(|(id, _)| *id);
        let Some(id) = flying else { break };
        let run = world.flight(id).clone();
        let end = match (&run.work, id) {
            (Work::Model { .. }, ROOT) => says(said_by(&world)),
            (work, _) => well(&run, work),
        };
        world.end(id, end);
    }
    (world, inputs)
}

/// What the agent says next, by what it has been told so far: the same after any restart.
fn said_by(world: &World) -> Vec<contract::action::Call> {
    let answered = |id: &str| world.root().items.iter().any(|item| item.call.as_deref() == Some(id));
    let next = [
        ("r1", vec![pure("r1"), pure("r2"), staged("e1")]),
        ("x1", vec![external("x1")]),
        ("p1", vec![plan("p1", &[("a", &[]), ("b", &["a"])])]),
        ("d1", vec![delegate("d1", "part one"), delegate("d2", "part two")]),
    ];
    let said = next.into_iter().find(|(first, _)| !answered(first)).map(|(_, calls)| calls);
    let turn = world.root().turn_no;
    said.unwrap_or_else(|| vec![finish(&format!("f{turn}"))])
}

#[test]
fn killed_at_every_edge_of_the_journal_it_goes_on_to_the_same_end() {
    let (whole, inputs) = story(None);
    let landed = whole.root().end.clone().expect("an end");
    assert_eq!(landed.code, 0);
    for kill in 0..=inputs {
        let (world, _) = story(Some(kill));
        let end =
            world.root().end.as_ref().unwrap_or_else(|| panic!("killed after {kill}: {}", world.brief(ROOT)));
        assert_eq!((end.state, end.code), (landed.state, landed.code), "killed after {kill}");
        let done = |world: &World| world.root().plan.tasks.clone();
        assert_eq!(done(&world), done(&whole), "killed after {kill}");
        let children =
            |world: &World| world.root().children.values().map(|child| child.ended).collect::<Vec<_>>();
        assert_eq!(children(&world), children(&whole), "killed after {kill}");
        external_twice_only_if_asked(&world);
    }
}

fn external_twice_only_if_asked(world: &World) {
    let starts = world
        .events(ROOT)
        .filter(|event| matches!(event, Event::Started { class: EffectClass::External, .. }));
    let asked = world.events(ROOT).filter(|event| matches!(event, Event::ApprovalAsked { .. }));
    assert_eq!(starts.count(), 1 + asked.count());
}

#[test]
fn killed_twice_at_every_edge_and_while_preparing_nothing_is_forgotten() {
    for works in [vec![staged("e")], vec![external("x")], vec![pure("r")]] {
        let mut world = World::working(spec());
        world.end(ROOT, says(works.clone()));
        let action = world.flight(ROOT).action;
        world.restart();
        world.restart();
        if world.doing(ROOT) == "-" {
            let (id, hash) = world.root().pending_approval().map(|(id, a)| (id.to_owned(), a.hash)).unwrap();
            world.user(Wish::Approve { approval: id, hash });
        }
        assert_eq!(world.doing(ROOT), "prepare");
        world.restart();
        world.end(ROOT, prepared());
        let run = world.flight(ROOT).clone();
        assert_eq!((run.action, run.attempt), (action, 2), "the same action, under its own name");
        assert_eq!(run.restore, run.class == EffectClass::Staged);
        world.play();
        assert_eq!(world.root().end.as_ref().unwrap().code, 0);
    }
}

#[test]
fn the_question_whether_to_run_again_is_asked_once_however_often_it_dies() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![external("x")]));
    world.restart();
    for _ in 0..3 {
        world.wish(ROOT, Source::Recovery, Wish::Initialise);
        assert_eq!(world.doing(ROOT), "prepare");
        world.restart();
    }
    assert_eq!(world.root().approvals.len(), 1);
    world.wish(ROOT, Source::Recovery, Wish::Initialise);
    world.end(ROOT, fails(Kind::UserFixable, "git"));
    assert_eq!(
        world.root().pause.as_ref().unwrap().why,
        "failure",
        "another action's failure is not hidden by it"
    );
}

#[test]
fn every_prefix_of_a_journal_folds() {
    let (world, _) = story(None);
    let events = &world.sessions[&ROOT].events;
    for end in 0..=events.len() {
        assert_eq!(fold(ROOT, &events[..end]).seq, end as u64);
    }
}

#[test]
fn the_same_journal_gives_the_same_next_action_a_thousand_times() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![staged("e")]));
    let live = &world.sessions[&ROOT];
    let ctx = kernel::Ctx { now: contract::Timestamp(world.now + 5), random: 42, fence: 9, hold: false };
    let mut decisions = (0..1_000).map(|_| {
        let mut state = fold(ROOT, &live.events);
        let mut governor =
            kernel::Governor::new(kernel::governor::Slots { model: 1, tool: 1, check: 1, workspace: 1 });
        governor.load(ROOT, world.ledger(ROOT).clone());
        kernel::decide(&mut state, &mut governor, Input::Recover, &ctx).unwrap()
    });
    let first = decisions.next().unwrap();
    assert!(decisions.all(|decision| decision == first));
}

#[test]
fn an_interrupted_model_call_counts_as_spent() {
    let mut world = World::working(spec());
    let reserved = world.ledger(ROOT).held(ROOT);
    assert!(reserved.nanos > 0 && reserved.tokens > 0);
    world.restart();
    let settled = world.ledger(ROOT).settled(ROOT);
    assert_eq!((settled.nanos, settled.tokens), (reserved.nanos, reserved.tokens));
}

#[test]
fn a_failed_model_call_counts_as_spent_unless_it_surely_was_not() {
    for (kind, code, spent) in [
        (Kind::Transient, "stream-broke", true),
        (Kind::Degraded, "overloaded", true),
        (Kind::Degraded, "not-run-connect", false),
        (Kind::RateLimited, "429", false),
        (Kind::UserFixable, "no-key", false),
    ] {
        let mut world = World::working(spec());
        world.end(ROOT, fails(kind, code));
        assert_eq!(world.ledger(ROOT).settled(ROOT).tokens > 0, spent, "{code}");
    }
}

#[test]
fn the_time_of_a_lost_action_counts() {
    let mut world = World::new();
    let budget = contract::Amount { time_ms: 1_000_000, ..contract::Amount::UNLIMITED };
    world.open(ROOT, contract::session::SessionSpec { budget, ..spec() });
    world.end(ROOT, prepared());
    world.now += 7_000;
    world.restart();
    assert_eq!(world.ledger(ROOT).settled(ROOT).time_ms, 7_010);
}

#[test]
fn an_action_that_stays_silent_is_given_up_and_its_late_word_is_stale() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![staged("e")]));
    let late = world.outcome(ROOT, End::TimedOut);
    let wake = world.sessions[&ROOT].wake_at.unwrap();
    world.now = wake.0;
    let decision = world.feed(ROOT, Input::Tick);
    assert_eq!(decision.effects[0], Effect::Cancel { action: late.action, now: true });
    assert_eq!((world.flight(ROOT).attempt, world.flight(ROOT).restore), (2, true));
    let decision = world.feed(ROOT, Input::Outcome(Box::new(late)));
    assert!(matches!(&decision.events[..], [Event::Stale { .. }]));
}

#[test]
fn half_a_change_is_still_taken_back_when_the_attempt_that_was_to_do_it_could_not_begin() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![staged("e")]));
    let action = world.flight(ROOT).action;
    let seen = |world: &World| {
        let run = world.flight(ROOT);
        (run.action, run.attempt, run.restore)
    };
    world.end(ROOT, End::TimedOut);
    for attempt in [2, 3] {
        world.now = world.sessions[&ROOT].wake_at.map_or(world.now, |at| at.0.max(world.now));
        world.feed(ROOT, Input::Tick);
        assert_eq!(seen(&world), (action, attempt, true));
        world.end(ROOT, fails(Kind::Transient, "not-run-warden-killed"));
    }
}

#[test]
fn nothing_starts_while_the_process_goes_down() {
    let mut world = World::working(spec());
    world.hold = true;
    world.feed(ROOT, Input::Stop);
    assert_eq!(world.sessions[&ROOT].cancelled.map(|(_, now)| now), Some(false));
    world.end(ROOT, End::Cancelled);
    assert_eq!(world.doing(ROOT), "-");
    world.user(message("later"));
    assert_eq!(world.doing(ROOT), "-");
    world.hold = false;
    world.restart();
    world.play();
    assert_eq!(world.root().end.as_ref().unwrap().code, 0);
}

#[test]
fn a_stop_or_a_pause_is_heard_also_by_a_process_that_starts_nothing() {
    for cancel in [true, false] {
        let mut world = World::working(spec());
        world.hold = true;
        world.restart();
        world.user(if cancel { Wish::Cancel } else { Wish::Pause });
        assert_eq!(world.root().phase, if cancel { Phase::Ended } else { Phase::Paused });
    }
}

#[test]
fn a_stale_lease_starts_nothing() {
    let mut world = World::working(spec());
    world.restart();
    world.fence = 1;
    let outcome = world.outcome(ROOT, prepared());
    let refused = world.try_feed(ROOT, Input::Outcome(Box::new(outcome))).unwrap_err();
    assert!(refused.to_string().contains("lease"), "{refused}");
}

#[test]
fn without_its_trees_ledger_nothing_is_decided() {
    let mut world = World::working(spec());
    let before = world.root().clone();
    world.governor.forget(ROOT);
    let refused = world.try_feed(ROOT, Input::Tick).unwrap_err();
    assert!(refused.to_string().contains("not loaded"), "{refused}");
    assert_eq!(*world.root(), before);
}

#[test]
fn a_clock_that_was_set_back_delays_no_retry() {
    let mut world = World::working(spec());
    world.end(ROOT, fails(Kind::RateLimited, "429"));
    assert_eq!(world.doing(ROOT), "-");
    world.now -= 500_000;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn what_was_reserved_is_settled_exactly_once_over_restarts() {
    let (world, _) = story(Some(9));
    let (mut reserved, mut settled) = (Vec::new(), Vec::new());
    for event in &world.ledgers[&ROOT] {
        match event {
            LedgerEvent::Reserved { session, action, .. } => reserved.push((*session, *action)),
            LedgerEvent::Settled { session, action, .. } => settled.push((*session, *action)),
            _ => {}
        }
    }
    reserved.sort();
    settled.sort();
    assert_eq!(reserved, settled, "nothing is held after the end");
    let held: Vec<SessionId> = world
        .ledger(ROOT)
        .sessions()
        .filter(|id| world.ledger(ROOT).held(*id) != contract::Amount::ZERO)
        .collect();
    assert!(held.is_empty());
}

#[test]
fn a_workspace_that_held_work_is_told_from_one_that_did_not() {
    let mut world = World::new();
    world.open(ROOT, spec());
    assert!(!world.flight(ROOT).context.worked);
    world.end(ROOT, prepared());
    world.restart();
    assert_eq!(world.doing(ROOT), "prepare");
    assert!(!world.flight(ROOT).context.worked, "nothing but a model was asked");
    assert_eq!(world.flight(ROOT).context.base.as_deref(), Some("base"));
    for half in [true, false] {
        let mut world = World::working(spec());
        world.end(ROOT, says(vec![staged("e")]));
        if !half {
            world.tools(ROOT);
        }
        world.restart();
        assert_eq!(world.doing(ROOT), "prepare");
        assert!(world.flight(ROOT).context.worked, "half: {half}");
    }
}
