//! Failures: retry, backoff, three of a kind, the same failing call, replies that are cut (DESIGN section 6, K1-4).

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::{Call, Work};
use contract::event::{Event, Notice};
use contract::intent::{Source, Wish};
use contract::model::Stop;
use contract::session::{Limits, SessionSpec};
use contract::{Fault, Kind, Timestamp, limits};
use kernel::Input;

fn why(world: &World) -> (&str, u8) {
    let pause = world.root().pause.as_ref().expect("a pause");
    (pause.why.as_str(), pause.code)
}

fn thens(world: &World) -> Vec<(String, u32)> {
    let failed = |event: &Event| match event {
        Event::Failed { then, count, .. } => Some((then.clone(), *count)),
        _ => None,
    };
    world.events(ROOT).filter_map(failed).collect()
}

/// Waits for the retry.
fn later(world: &mut World) {
    world.now = world.sessions[&ROOT].wake_at.expect("a retry").0;
    world.feed(ROOT, Input::Tick);
}

/// The calls of one message and the one that follows it, always the same.
fn round(world: &mut World, n: usize, tools: [&str; 2], ok: bool) {
    for tool in tools {
        assert_eq!(world.doing(ROOT), "model", "{}", world.brief(ROOT));
        let own = Call { tool: tool.into(), args: text(tool), ..pure(&format!("{tool}{n}")) };
        world.end(ROOT, says(vec![own]));
        let run = world.flight(ROOT).clone();
        world.end(ROOT, ran(&run, ok));
    }
}

/// How often the agent was told of the circle it is in.
fn told(world: &World) -> usize {
    let workaround = |event: &&Event| matches!(event, Event::Noticed { notice: Notice::Workaround { signature } } if signature == "loop/same-calls");
    world.events(ROOT).filter(workaround).count()
}

#[test]
fn two_calls_that_fail_in_turn_are_a_circle_and_a_failure_long_ago_hides_none() {
    let mut world = World::working(bare());
    (0..5).for_each(|n| round(&mut world, n, ["read", "grep"], false));
    assert_eq!((told(&world), world.root().pause.clone().unwrap().code), (1, 5));
    let mut world = World::working(bare());
    world.end(ROOT, says(vec![Call { args: text("once"), ..pure("x1") }]));
    let run = world.flight(ROOT).clone();
    world.end(ROOT, ran(&run, false));
    (0..5).for_each(|n| round(&mut world, n, ["read", "grep"], true));
    assert_eq!(world.root().pause.clone().unwrap().why, "stuck");
}

#[test]
fn an_agent_that_goes_round_in_a_circle_is_told_and_then_a_person_is_asked() {
    let mut world = World::working(bare());
    (0..3).for_each(|n| round(&mut world, n, ["read", "grep"], true));
    assert_eq!((told(&world), world.root().pause.is_some()), (1, false));
    (3..5).for_each(|n| round(&mut world, n, ["read", "grep"], true));
    let pause = world.root().pause.clone().unwrap();
    assert_eq!((pause.why.as_str(), pause.code), ("stuck", 5));
    assert!(pause.what.contains("(grep, the last of 2 messages) 5 times"), "{pause:?}");
    world.wish(ROOT, Source::User, resume());
    (5..7).for_each(|n| round(&mut world, n, ["read", "grep"], true));
    assert_eq!(told(&world), 1, "it begins anew");
    round(&mut world, 7, ["read", "list"], true);
    assert_eq!(world.doing(ROOT), "model");
}

/// The same with a wait between call and result, and between the rounds.
fn slow_rounds(rounds: usize, call_ms: u64, model_ms: u64) -> World {
    let mut world = World::working(bare());
    for n in 0..rounds {
        assert_eq!(world.doing(ROOT), "model", "{n}: {}", world.brief(ROOT));
        world.now += model_ms;
        world.end(ROOT, says(vec![Call { args: text("gh pr checks"), ..pure(&format!("c{n}")) }]));
        let run = world.flight(ROOT).clone();
        world.now += call_ms;
        world.end(ROOT, ran(&run, true));
    }
    world
}

#[test]
fn who_waits_for_something_is_told_and_not_stopped() {
    for (call_ms, model_ms) in [(60_000, 2_000), (10_000, 2_000), (0, 40_000)] {
        let world = slow_rounds(12, call_ms, model_ms);
        assert_eq!((told(&world), world.root().pause.is_some()), (1, false), "{call_ms} {model_ms}");
    }
    let world = slow_rounds(5, 1_000, 8_000);
    assert_eq!(world.root().pause.clone().unwrap().why, "stuck");
}

#[test]
fn being_told_of_a_circle_is_not_being_told_of_a_call_that_fails() {
    let mut world = World::working(bare());
    (0..3).for_each(|n| round(&mut world, n, ["read", "grep"], false));
    assert_eq!(told(&world), 1);
    let warned = world.root().repeat.clone().unwrap();
    assert_eq!((warned.warned_at_tokens, warned.warned_at_count), (None, 0), "{warned:?}");
}

#[test]
fn what_may_pass_is_tried_again_after_a_growing_while_and_three_of_a_kind_ask() {
    for (kind, code) in [(Kind::Transient, 1), (Kind::RateLimited, 75), (Kind::Degraded, 1)] {
        let mut world = World::working(spec());
        let mut waits = Vec::new();
        for _ in 0..2 {
            world.end(ROOT, fails(kind, "net"));
            assert_eq!(world.doing(ROOT), "-");
            waits.push(world.sessions[&ROOT].wake_at.unwrap().0 - world.now);
            later(&mut world);
            assert_eq!(world.doing(ROOT), "model");
        }
        assert!(waits[1] > waits[0] * 3 / 2, "{waits:?}");
        world.end(ROOT, fails(kind, "net"));
        assert_eq!(why(&world), ("failure", code));
        assert_eq!(thens(&world), [("retry".into(), 1), ("retry".into(), 2), ("ask".into(), 3)]);
        world.user(resume());
        assert_eq!(world.doing(ROOT), "model", "and a person may have it tried again");
    }
}

#[test]
fn what_never_passes_is_asked_at_once() {
    for (kind, code) in [(Kind::Permanent, 1), (Kind::UserFixable, 8)] {
        let mut world = World::working(spec());
        world.end(ROOT, fails(kind, "no"));
        assert_eq!(why(&world), ("failure", code));
    }
}

#[test]
fn the_other_sides_word_about_when_is_kept() {
    let mut world = World::working(spec());
    let mut fault = Fault::new(Kind::RateLimited, "429", "slow down");
    fault.retry_after_ms = Some(90_000);
    world.end(ROOT, contract::action::End::Failed(fault));
    assert_eq!(world.sessions[&ROOT].wake_at, Some(Timestamp(world.now + 90_000)));
    world.user(message("now"));
    assert_eq!(world.doing(ROOT), "model", "a person's word does not wait for it");
}

#[test]
fn a_success_in_between_starts_the_counting_anew() {
    let mut world = World::working(spec());
    for n in 0..5 {
        world.end(ROOT, fails(Kind::Transient, "net"));
        later(&mut world);
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        world.tools(ROOT);
    }
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn signatures_name_the_layer_and_the_code() {
    let mut world = World::working(spec());
    world.end(ROOT, fails(Kind::Transient, "net"));
    let found = world
        .events(ROOT)
        .any(|event| matches!(event, Event::Failed { signature, .. } if signature == "model/net"));
    assert!(found);
}

#[test]
fn a_workspace_that_cannot_be_made_ends_the_session() {
    let mut world = World::new();
    world.open(ROOT, spec());
    world.end(ROOT, fails(Kind::UserFixable, "not-a-repository"));
    assert_eq!(world.root().end.as_ref().unwrap().code, 1);
}

/// A session whose turns may be long.
fn long() -> SessionSpec {
    SessionSpec { limits: Limits { steps_per_turn: 10_000, ..Limits::default() }, ..spec() }
}

/// The agent makes this call again, and it fails again.
fn again(world: &mut World, call: &Call, n: usize) {
    let id = format!("again{n}");
    world.end(ROOT, says(vec![same(call, &id)]));
    if world.doing(ROOT) == "tools" {
        let end = ran(world.flight(ROOT), false);
        world.end(ROOT, end);
    }
}

#[test]
fn the_same_failing_call_brings_a_warning_then_a_person() {
    for call in [staged("x"), wrong("x"), delegate("x", "mend it")] {
        let mut world = World::working(spec());
        for n in 0..3 {
            again(&mut world, &call, n);
        }
        let told = world.root().items.back().unwrap().notice.clone().expect("a notice");
        assert!(matches!(*told, Notice::Workaround { .. }), "{told:?}");
        for n in 3..6 {
            assert_eq!(world.doing(ROOT), "model", "after {n}");
            again(&mut world, &call, n);
        }
        assert_eq!(why(&world), ("stuck", 5));
        assert_eq!(thens(&world), [("workaround".into(), 3), ("ask".into(), 6)]);
        world.user(message("try it like this"));
        assert_eq!(world.doing(ROOT), "model");
    }
}

#[test]
fn who_takes_another_way_after_the_warning_is_left_alone_whatever_it_costs() {
    let mut world = World::working(long());
    for n in 0..3 {
        again(&mut world, &staged("x"), n);
    }
    for n in 0..100 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        world.tools(ROOT);
    }
    assert!(world.root().used.tokens > limits::WORKAROUND_TOKENS);
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn the_way_around_has_a_budget_of_tokens() {
    let mut world = World::working(long());
    for n in 0..3 {
        again(&mut world, &staged("x"), n);
    }
    for n in 0..84 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        world.tools(ROOT);
    }
    assert!(world.root().used.tokens > limits::WORKAROUND_TOKENS);
    again(&mut world, &staged("x"), 3);
    assert_eq!(why(&world), ("stuck", 5), "the fourth failure, after the tokens are spent");
}

#[test]
fn a_success_of_the_call_forgets_its_failures() {
    let mut world = World::working(spec());
    let call = staged("x");
    for n in 0..9 {
        again(&mut world, &call, n);
        if n % 2 == 1 {
            world.end(ROOT, says(vec![same(&call, &format!("good{n}"))]));
            world.tools(ROOT);
        }
    }
    assert!(thens(&world).iter().all(|(then, _)| then == "workaround"), "{:?}", thens(&world));
}

#[test]
fn a_turn_has_a_limit_that_a_person_can_renew_and_cut_replies_count() {
    let spec = || SessionSpec { limits: Limits { steps_per_turn: 6, ..Limits::default() }, ..spec() };
    let mut world = World::working(spec());
    for n in 0..20 {
        match world.doing(ROOT) {
            "model" => world.end(ROOT, says(vec![pure(&format!("r{n}"))])),
            "tools" => world.tools(ROOT),
            _ => break,
        };
    }
    assert_eq!(why(&world), ("limit", 5));
    assert_eq!(world.root().steps_in_turn, 6);
    world.user(resume());
    assert_ne!(world.doing(ROOT), "-");

    let mut world = World::working(spec());
    for _ in 0..20 {
        if world.doing(ROOT) == "model" {
            world.end(ROOT, said(vec![], Stop::MaxTokens));
        }
    }
    assert_eq!(why(&world), ("stuck", 5), "a reply that is cut for ever does not go on for ever");
    assert_eq!(world.root().turn_no, 1);
}

#[test]
fn a_refusal_waits_for_other_words() {
    let mut world = World::working(spec());
    world.end(ROOT, said(vec![], Stop::Refusal));
    assert_eq!(why(&world), ("failure", 8));
    world.user(resume());
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn a_check_that_fails_to_run_is_taken_up_again_as_a_check() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![]));
    world.end(ROOT, fails(Kind::Permanent, "disk"));
    assert_eq!(why(&world).0, "failure");
    world.user(resume());
    assert_eq!(world.doing(ROOT), "check");
    assert_eq!(world.flight(ROOT).attempt, 2);
}

#[test]
fn an_agent_can_be_told_to_mend_what_keeps_the_checks_from_running() {
    for crashed in [false, true] {
        let mut world = World::working(spec());
        world.end(ROOT, says(vec![]));
        match crashed {
            true => world.restart(),
            false => drop(world.end(ROOT, fails(Kind::UserFixable, "unreadable"))),
        }
        world.user(message("make that file readable"));
        if crashed {
            world.end(ROOT, prepared());
        }
        assert_eq!(world.doing(ROOT), "model", "the words wait for nothing");
        let checks = |world: &World| {
            world
                .events(ROOT)
                .filter(|e| matches!(e, Event::Started { work: Work::Check { .. }, .. }))
                .count()
        };
        assert_eq!(checks(&world), 1);
        world.play();
        assert_eq!(world.root().end.as_ref().unwrap().code, 0, "and then the work is checked");
        assert_eq!(checks(&world), 2);
    }
}

#[test]
fn a_batch_has_time_for_all_its_rounds() {
    let mut world = World::working(spec());
    world.end(ROOT, says((0..20).map(|n| pure(&format!("r{n}"))).collect()));
    let Work::Tools { calls } = world.work(ROOT) else { panic!() };
    let rounds = calls.len().div_ceil(limits::CALLS_AT_ONCE) as u64;
    assert_eq!(world.flight(ROOT).deadline.0, world.now + rounds * limits::TOOL_MS);
}

#[test]
fn an_adoption_that_fails_is_tried_again_and_waits_for_no_other_child() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d1", "one"), delegate("d2", "two")]));
    let children: Vec<_> = world.root().children.keys().copied().collect();
    for (child, failed) in children.iter().zip(["not-run", "git"]) {
        let end = contract::intent::ChildEnd {
            state: "completed".into(),
            code: 0,
            commit: Some("abc".into()),
            summary: None,
        };
        world.wish(ROOT, contract::intent::Source::Subtask, Wish::SubtaskEnded { child: *child, end });
        world.end(ROOT, fails(Kind::Transient, failed));
        assert_eq!(world.doing(ROOT), "-");
        later(&mut world);
        assert_eq!(world.doing(ROOT), "adopt");
        let adopted =
            contract::action::Done::Adopted { child: *child, clean: true, text: text("ok"), bytes: 2 };
        world.end(ROOT, contract::action::End::Done(adopted));
    }
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn a_conversation_that_is_too_long_is_cut_by_a_quarter_at_most_twice() {
    let mut world = World::working(spec());
    for n in 0..40 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        world.tools(ROOT);
    }
    let mut sizes = vec![world.root().items.len()];
    for _ in 0..3 {
        world.end(ROOT, fails(Kind::Permanent, contract::error::CONTEXT_FULL));
        sizes.push(world.root().items.len());
    }
    assert!(sizes[1] < sizes[0] * 4 / 5 && sizes[2] < sizes[1] * 4 / 5, "{sizes:?}");
    assert_eq!(sizes[3], sizes[2]);
    assert_eq!(why(&world), ("failure", 1));
}
