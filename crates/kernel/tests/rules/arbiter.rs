//! The arbiter's acceptance set (spec section 14): many producers, one action, a reason for everybody else.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::{Call, Effect, EffectClass, Work};
use contract::event::{Disposal, Event};
use contract::intent::{ChildEnd, Intent, Source, Wish};
use contract::session::{Ask, SessionSpec};
use contract::{ActionId, SessionId, Timestamp, limits};
use kernel::Input;
use kernel::fsm::Phase;
use kernel::governor::Slots;

fn runs(decision: &kernel::Decision) -> usize {
    decision.effects.iter().filter(|effect| matches!(effect, Effect::Run(_))).count()
}

fn disposal(world: &World, id: SessionId) -> Option<&Disposal> {
    world.events(ROOT).find_map(|event| match event {
        Event::Disposed { intent, how } if *intent == id => Some(how),
        _ => None,
    })
}

/// A session whose agent waits for a child; returns the child.
fn delegating() -> (World, SessionId) {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part")]));
    let child = *world.root().children.keys().next().unwrap();
    (world, child)
}

fn ended(child: SessionId, commit: Option<&str>) -> Wish {
    let end = ChildEnd {
        state: "completed".into(),
        code: 0,
        commit: commit.map(Into::into),
        summary: Some(text("did it")),
    };
    Wish::SubtaskEnded { child, end }
}

#[test]
fn two_producers_at_once_give_one_action() {
    let mut world = World::new();
    world.open(ROOT, spec());
    world.end(ROOT, fails(contract::Kind::Transient, "git"));
    let both = vec![
        Ok(world.intent(ROOT, Source::MainLoop, Wish::Continue)),
        Ok(world.intent(ROOT, Source::Planner, Wish::Continue)),
    ];
    world.now += 10_000;
    let decision = world.feed(ROOT, Input::Inbox(both));
    assert_eq!(runs(&decision), 1);
}

#[test]
fn the_loop_a_childs_end_and_a_message_give_one_action_and_three_reasons() {
    let (mut world, child) = delegating();
    let three = vec![
        Ok(world.intent(ROOT, Source::MainLoop, Wish::Continue)),
        Ok(world.intent(ROOT, Source::Subtask, ended(child, Some("abc")))),
        Ok(world.intent(ROOT, Source::User, message("how is it going?"))),
    ];
    let decision = world.feed(ROOT, Input::Inbox(three));
    assert_eq!(runs(&decision), 1);
    assert!(matches!(world.work(ROOT), Work::Adopt { .. }));
    let Some(Event::Selected { source, others, .. }) =
        decision.events.iter().find(|event| matches!(event, Event::Selected { .. }))
    else {
        panic!("nothing selected")
    };
    assert_eq!((*source, others.len()), (Source::Subtask, 3), "{others:?}");
    let adopted = contract::action::Done::Adopted { child, clean: true, text: text("ok"), bytes: 2 };
    let decision = world.end(ROOT, contract::action::End::Done(adopted));
    assert_eq!(runs(&decision), 1);
    let items = &world.flight(ROOT).context.items;
    assert_eq!(
        items.last().unwrap().text,
        Some(text("how is it going?")),
        "and the message is in the one call"
    );
}

#[test]
fn of_two_equal_continuations_the_second_does_not_run() {
    let mut world = World::working(spec());
    world.end(ROOT, fails(contract::Kind::Transient, "net"));
    let ids: Vec<Intent> = (0..3).map(|_| world.intent(ROOT, Source::Schedule, Wish::Continue)).collect();
    let names: Vec<SessionId> = ids.iter().map(|intent| intent.id).collect();
    world.now += 10_000;
    let decision = world.feed(ROOT, Input::Inbox(ids.into_iter().map(Ok).collect()));
    assert_eq!(runs(&decision), 1);
    assert_eq!(disposal(&world, names[0]), None, "the first was selected");
    assert_eq!(disposal(&world, names[1]), Some(&Disposal::Superseded));
    assert_eq!(disposal(&world, names[2]), Some(&Disposal::Superseded));
    assert!(world.root().queue.is_empty());
}

#[test]
fn a_hundred_sessions_run_side_by_side() {
    let mut world = World::new();
    for id in 1..=100 {
        world.open(SessionId(id), spec());
    }
    world.play();
    for id in 1..=100 {
        assert_eq!(world.state(SessionId(id)).end.as_ref().unwrap().code, 0);
    }
}

#[test]
fn a_hundred_sessions_share_two_slots_and_all_get_there() {
    let mut world = World::with_slots(Slots { model: 2, tool: 1, check: 1, workspace: 1 });
    for id in 1..=100 {
        world.open(SessionId(id), spec());
        let models = world.sessions.values().filter(|live| live.flight.is_some()).count();
        assert!(models <= 5);
    }
    world.play();
    for id in 1..=100 {
        assert_eq!(world.state(SessionId(id)).phase, Phase::Ended, "{}", world.brief(SessionId(id)));
    }
}

#[test]
fn who_was_cancelled_in_the_line_does_not_block_it() {
    let mut world = World::with_slots(Slots { model: 1, tool: 1, check: 1, workspace: 3 });
    for id in 1..=3 {
        world.open(SessionId(id), spec());
    }
    for id in 1..=3 {
        world.end(SessionId(id), prepared());
    }
    assert_eq!([1, 2, 3].map(|id| world.doing(SessionId(id))), ["model", "-", "-"]);
    world.wish(SessionId(2), Source::User, Wish::Cancel);
    world.end(SessionId(1), says(vec![finish("f")]));
    world.deliver();
    assert_eq!(world.doing(SessionId(3)), "model");
}

#[test]
fn twenty_rapid_messages_are_one_call_each_kept_in_order() {
    let mut world = World::working(spec());
    for n in 0..20 {
        let decision = world.user(message(&format!("m{n}")));
        assert_eq!(runs(&decision), 0);
    }
    world.end(ROOT, says(vec![]));
    assert_eq!(world.doing(ROOT), "model");
    let texts: Vec<_> = world.flight(ROOT).context.items.iter().skip(2).map(|item| item.text).collect();
    assert_eq!(texts, (0..20).map(|n| Some(text(&format!("m{n}")))).collect::<Vec<_>>());
}

#[test]
fn yes_twice_is_two_messages() {
    let mut world = World::working(spec());
    world.user(message("yes"));
    world.user(message("yes"));
    world.end(ROOT, says(vec![]));
    let yes = world.flight(ROOT).context.items.iter().filter(|item| item.text == Some(text("yes"))).count();
    assert_eq!(yes, 2);
}

#[test]
fn a_full_queue_answers_busy_but_takes_a_stop_and_a_childs_end() {
    let (mut world, child) = delegating();
    for n in 0..limits::MAILBOX_INTENTS + 5 {
        world.user(message(&format!("m{n}")));
    }
    assert_eq!(world.root().queue.len(), limits::MAILBOX_INTENTS);
    let last = world.events(ROOT).next_back().unwrap();
    assert!(matches!(last, Event::Disposed { how: Disposal::Refused(why), .. } if why.contains("busy")));
    let end = world.intent(ROOT, Source::Subtask, ended(child, None));
    let id = end.id;
    world.feed(ROOT, Input::Inbox(vec![Ok(end)]));
    assert_eq!(disposal(&world, id), Some(&Disposal::Applied));
    world.user(Wish::Cancel);
    assert!(world.root().cancel);
}

#[test]
fn a_thousand_sessions_stay_small() {
    let mut world = World::new();
    let mut largest = 0;
    for id in 1..=1000 {
        world.open(SessionId(id), spec());
        let live = &world.sessions[&SessionId(id)];
        largest = largest.max(serde_json::to_vec(&live.state).unwrap().len());
    }
    assert!(largest < 6_000, "{largest} bytes for a session that has only begun");
}

#[test]
fn a_long_session_keeps_its_state_bounded() {
    let limits = contract::session::Limits { steps_per_turn: u32::MAX, ..Default::default() };
    let mut world = World::working(contract::session::SessionSpec { limits, ..bare() });
    let mut sizes = Vec::new();
    for n in 0..1_200 {
        let decision = world.end(ROOT, says(vec![staged(&format!("c{n}"))]));
        assert_eq!(runs(&decision), 1);
        world.tools(ROOT);
        if n % 300 == 299 {
            sizes.push(serde_json::to_vec(world.root()).unwrap().len());
        }
    }
    assert!(sizes[3] < sizes[1] * 11 / 10, "{sizes:?}");
}

#[test]
fn what_runs_out_while_blocked_is_dropped_and_said_so() {
    let (mut world, _) = delegating();
    let mut late = world.intent(ROOT, Source::User, message("soon"));
    late.ttl_ms = Some(5_000);
    let id = late.id;
    let decision = world.feed(ROOT, Input::Inbox(vec![Ok(late)]));
    assert_eq!(decision.wake_at, Some(Timestamp(world.now + 5_000)));
    world.now += 5_000;
    world.feed(ROOT, Input::Tick);
    assert_eq!(disposal(&world, id), Some(&Disposal::Expired));
}

#[test]
fn what_has_run_out_before_it_was_delivered_takes_no_effect() {
    let mut world = World::working(spec());
    let mut late = world.intent(ROOT, Source::User, Wish::Cancel);
    late.ttl_ms = Some(1);
    world.now += 10;
    world.feed(ROOT, Input::Inbox(vec![Ok(late)]));
    assert!(!world.root().cancel);
}

#[test]
fn an_unknown_source_does_not_parse_and_is_put_on_record() {
    let mut world = World::working(spec());
    let intent = world.intent(ROOT, Source::User, Wish::Continue);
    let mut json = serde_json::to_value(&intent).unwrap();
    json["source"] = "stranger".into();
    let why = serde_json::from_value::<Intent>(json).unwrap_err().to_string();
    let decision = world.feed(ROOT, Input::Inbox(vec![Err(why)]));
    assert!(matches!(&decision.events[..], [Event::Garbled { why }] if why.contains("stranger")));
}

#[test]
fn an_intent_for_somebody_else_and_a_second_delivery_are_put_on_record_only() {
    let (mut world, child) = delegating();
    let other = world.intent(child, Source::User, Wish::Cancel);
    let twice = world.intent(ROOT, Source::User, message("m"));
    world.feed(ROOT, Input::Inbox(vec![Ok(other), Ok(twice.clone()), Ok(twice)]));
    assert!(!world.root().cancel);
    assert_eq!(world.root().queue.len(), 1);
    assert_eq!(world.events(ROOT).filter(|event| matches!(event, Event::Garbled { .. })).count(), 2);
}

#[test]
fn the_same_key_while_it_waits_is_superseded() {
    let (mut world, _) = delegating();
    let first = world.intent(ROOT, Source::User, message("m"));
    let second = Intent { id: SessionId(77), ..first.clone() };
    world.feed(ROOT, Input::Inbox(vec![Ok(first), Ok(second)]));
    assert_eq!(world.root().queue.len(), 1);
    assert_eq!(disposal(&world, SessionId(77)), Some(&Disposal::Superseded));
}

#[test]
fn whoever_waited_long_enough_goes_before_a_fresh_one_of_a_higher_class() {
    let (mut world, child) = delegating();
    let old = world.intent(ROOT, Source::Schedule, message("nightly"));
    world.feed(ROOT, Input::Inbox(vec![Ok(old.clone())]));
    world.now += 10 * limits::AGEING_MS;
    let fresh = world.intent(ROOT, Source::Recovery, message("fresh"));
    world.feed(ROOT, Input::Inbox(vec![Ok(fresh)]));
    world.wish(ROOT, Source::Subtask, ended(child, None));
    let chosen = world.events(ROOT).rev().find_map(|event| match event {
        Event::Selected { intent, .. } => Some(*intent),
        _ => None,
    });
    assert_eq!(chosen, Some(Some(old.id)));
}

#[test]
fn a_person_goes_first() {
    let (mut world, child) = delegating();
    world.wish(ROOT, Source::Schedule, message("nightly"));
    world.now += 100 * limits::AGEING_MS;
    let person = world.intent(ROOT, Source::User, message("me"));
    let id = person.id;
    world.feed(ROOT, Input::Inbox(vec![Ok(person)]));
    world.wish(ROOT, Source::Subtask, ended(child, None));
    let chosen = world.events(ROOT).rev().find_map(|event| match event {
        Event::Selected { intent, .. } => Some(*intent),
        _ => None,
    });
    assert_eq!(chosen, Some(Some(id)));
}

#[test]
fn after_a_restart_the_workspace_comes_first_by_itself_then_the_childs_end() {
    let (mut world, child) = delegating();
    world.restart();
    assert_eq!(world.doing(ROOT), "-", "the parent waits for its child");
    world.wish(ROOT, Source::Subtask, ended(child, Some("abc")));
    assert!(matches!(world.work(ROOT), Work::Prepare), "O2: inserted");
    let why = world.events(ROOT).rev().find_map(|event| match event {
        Event::Selected { why, .. } => Some(why.clone()),
        _ => None,
    });
    assert_eq!(why.unwrap(), "inserted: subtask-ended of subtask waits for the workspace");
    world.end(ROOT, prepared());
    assert!(matches!(world.work(ROOT), Work::Adopt { .. }));
    let prepares = world
        .events(ROOT)
        .filter(|event| matches!(event, Event::Started { work: Work::Prepare, .. }))
        .count();
    assert_eq!(prepares, 2, "once at the beginning, once after the restart");
}

#[test]
fn an_outcome_delivered_a_hundred_times_is_one_write() {
    let mut world = World::working(spec());
    let outcome = world.outcome(ROOT, says(vec![staged("c")]));
    world.feed(ROOT, Input::Outcome(Box::new(outcome.clone())));
    let before = serde_json::to_value(world.root()).unwrap();
    for _ in 0..99 {
        let decision = world.feed(ROOT, Input::Outcome(Box::new(outcome.clone())));
        assert!(matches!(&decision.events[..], [Event::Stale { .. }]));
    }
    let mut after = serde_json::to_value(world.root()).unwrap();
    after["seq"] = before["seq"].clone();
    assert_eq!(after, before);
    assert_eq!(
        world.ledgers[&ROOT]
            .iter()
            .filter(|e| matches!(e, contract::event::LedgerEvent::Settled { .. }))
            .count(),
        1
    );
}

#[test]
fn a_childs_end_delivered_a_hundred_times_is_one_result() {
    let (mut world, child) = delegating();
    for _ in 0..100 {
        world.wish(ROOT, Source::Subtask, ended(child, None));
    }
    let answers = world.root().items.iter().filter(|item| item.call.as_deref() == Some("d")).count();
    assert_eq!(answers, 1);
    let mut world = delegating().0;
    let child = *world.root().children.keys().next().unwrap();
    let many = (0..100).map(|_| Ok(world.intent(ROOT, Source::Subtask, ended(child, Some("abc"))))).collect();
    let decision = world.feed(ROOT, Input::Inbox(many));
    assert_eq!(runs(&decision), 1);
    world.user(Wish::Cancel);
    let cancelled = world.end(ROOT, contract::action::End::Cancelled);
    assert!(cancelled.events.iter().any(|event| matches!(event, Event::Ended { .. })));
}

#[test]
fn a_batch_is_pure_and_keeps_the_order_around_what_is_not() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![pure("r1"), pure("r2"), staged("e1"), pure("r3"), external("x1"), pure("r4")]));
    let mut batches = Vec::new();
    while world.doing(ROOT) == "tools" {
        let Work::Tools { calls } = world.work(ROOT).clone() else { unreachable!() };
        assert!(calls.len() == 1 || calls.iter().all(|call| call.class == EffectClass::Pure));
        batches.push(calls.iter().map(|call| call.id.clone()).collect::<Vec<_>>().join(" "));
        world.tools(ROOT);
    }
    assert_eq!(batches, ["r1 r2", "e1", "r3", "x1", "r4"]);
}

#[test]
fn calls_that_may_be_one_process_stand_together_where_nobody_is_asked() {
    let lint = |call: Call| Call { together: Some(text("eslint")), ..call };
    let other = |call: Call| Call { together: Some(text("prettier")), ..call };
    let groups = |spec: SessionSpec, calls: Vec<Call>| {
        let mut world = World::working(spec);
        world.end(ROOT, says(calls));
        let mut groups = Vec::new();
        while world.doing(ROOT) == "tools" {
            let Work::Tools { calls } = world.work(ROOT).clone() else { unreachable!() };
            groups.push(calls.iter().map(|call| call.id.clone()).collect::<Vec<_>>().join(" "));
            world.tools(ROOT);
        }
        groups
    };
    let calls = vec![
        lint(staged("l1")),
        lint(staged("l2")),
        other(staged("p1")),
        staged("e1"),
        lint(external("x1")),
        lint(external("x2")),
        lint(staged("l3")),
        pure("r1"),
        lint(staged("l4")),
    ];
    assert_eq!(groups(spec(), calls.clone()), ["l1 l2", "p1", "e1", "x1", "x2", "l3", "r1", "l4"]);
    // Each waits for a yes of its own.
    assert_eq!(groups(asking(Ask::Writes), calls), [""; 0]);
    let many = (0..limits::CALLS_TOGETHER + 3).map(|n| lint(staged(&format!("m{n}")))).collect();
    let sizes: Vec<usize> = groups(spec(), many).iter().map(|ids| ids.split(' ').count()).collect();
    assert_eq!(sizes, [limits::CALLS_TOGETHER, 3]);
}

#[test]
fn keys_of_actions_count_through_the_whole_session() {
    let mut world = World::working(spec());
    let mut ids = vec![ActionId { turn: 1, step: 1 }, world.flight(ROOT).action];
    world.end(ROOT, says(vec![pure("r1")]));
    ids.push(world.flight(ROOT).action);
    world.tools(ROOT);
    world.user(message("next"));
    world.end(ROOT, says(vec![]));
    ids.push(world.flight(ROOT).action);
    let text: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["1.1", "1.2", "1.3", "2.5"]);
}
