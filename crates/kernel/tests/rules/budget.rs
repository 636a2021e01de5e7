//! Never over budget (promise 5): reserve, start, settle; caps of the tree and of its parts; freezing and raising.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::{Done, End, Outcome, Work};
use contract::event::{Event, Final, LedgerEvent};
use contract::intent::{Source, Wish};
use contract::model::{Card, ModelRef, Price, Stop, Usage};
use contract::session::SessionSpec;
use contract::{Amount, SessionId, limits};
use kernel::Input;
use kernel::fsm::Phase;

fn capped(budget: Amount) -> SessionSpec {
    SessionSpec { budget, ..spec() }
}

fn why(world: &World) -> (&str, u8) {
    let pause = world.root().pause.as_ref().expect("a pause");
    (pause.why.as_str(), pause.code)
}

/// What the model call in flight holds reserved.
fn worst() -> Amount {
    let world = World::working(spec());
    world.root().running.as_ref().unwrap().reserved
}

#[test]
fn a_model_call_reserves_its_worst_case_and_settles_what_it_used() {
    let mut world = World::working(spec());
    let usage = Usage { input: limits::PROMPT_TOKENS + 7, output: 1_000, ..Usage::default() };
    let held = world.ledger(ROOT).held(ROOT);
    assert_eq!((held.tokens, held.nanos), (usage.input + usage.output, PRICE.cost(usage)));
    world.end(ROOT, says(vec![]));
    assert_eq!(world.ledger(ROOT).settled(ROOT).tokens, 120);
    assert_eq!(world.root().used.tokens, 120);
}

#[test]
fn what_does_not_fit_is_not_started_and_money_makes_it_go_on() {
    let short = Amount { nanos: worst().nanos - 1, ..Amount::UNLIMITED };
    let mut world = World::working(capped(short));
    assert_eq!(world.doing(ROOT), "-");
    assert_eq!(why(&world), ("budget", 7));
    assert!(world.root().pause.as_ref().unwrap().hint.contains("--add-usd"));
    world.user(Wish::AddBudget { amount: Amount { nanos: 1, ..Amount::ZERO } });
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn every_unit_can_run_out() {
    let unlimited = Amount::UNLIMITED;
    for (budget, flag) in [
        (Amount { tokens: 10, ..unlimited }, "--add-tokens"),
        (Amount { steps: 1, ..unlimited }, "--add-steps"),
        (Amount { time_ms: 5, ..unlimited }, "--add-minutes"),
    ] {
        let world = World::working(capped(budget));
        assert_eq!(why(&world), ("budget", 7), "{flag}");
        assert!(world.root().pause.as_ref().unwrap().hint.contains(flag));
    }
}

#[test]
fn a_cap_in_steps_is_kept_over_pauses() {
    let cap = Amount { steps: 10, ..Amount::UNLIMITED };
    let mut world = World::working(capped(cap));
    for n in 0..30 {
        if world.root().phase == Phase::Paused && why(&world).0 == "budget" {
            break;
        }
        world.user(Wish::Pause);
        world.end(ROOT, says(vec![staged(&format!("c{n}"))]));
        world.user(resume());
        if world.doing(ROOT) == "tools" {
            world.tools(ROOT);
        }
    }
    assert_eq!(why(&world), ("budget", 7));
    let started = world.events(ROOT).filter(|event| matches!(event, Event::Started { .. })).count();
    assert_eq!(started, 10);
    assert_eq!(world.ledger(ROOT).settled(ROOT).steps, 10);
}

#[test]
fn people_are_warned_once_of_every_unit() {
    let unlimited = Amount::UNLIMITED;
    for (budget, said) in [
        (Amount { steps: 10, ..unlimited }, "budget of steps is used: 8 of 10"),
        (Amount { steps: 100, ..unlimited }, "budget of steps is used: 80 of 100"),
        (Amount { time_ms: 500, ..unlimited }, "budget of time is used: 0.4 s of 0.5 s"),
    ] {
        let mut world = World::working(capped(budget));
        for n in 0..200 {
            if world.root().phase == Phase::Paused {
                break;
            }
            world.end(ROOT, says(vec![staged(&format!("c{n}"))]));
            if world.doing(ROOT) == "tools" {
                world.tools(ROOT);
            }
        }
        let warned = |event: &Event| match event {
            Event::Warned { what } => Some(what.clone()),
            _ => None,
        };
        let warned: Vec<String> = world.events(ROOT).filter_map(warned).collect();
        assert_eq!(warned.len(), 1, "{budget:?}: {warned:?}");
        assert!(warned[0].contains(said), "{warned:?}");
    }
}

#[test]
fn a_cap_in_time_bounds_the_deadline() {
    let cap = Amount { time_ms: 90_000, ..Amount::UNLIMITED };
    let world = World::working(capped(cap));
    assert!(world.flight(ROOT).deadline.0 <= world.now + 90_000);
}

#[test]
fn a_price_that_is_not_known_is_refused_not_zero() {
    for (budget, goes) in [
        (Amount { nanos: 1_000_000_000, ..Amount::UNLIMITED }, false),
        (Amount { nanos: 1_000_000_000, tokens: 1_000_000, ..Amount::UNLIMITED }, false),
        (Amount::UNLIMITED, false),
        (Amount { tokens: 1_000_000, ..Amount::UNLIMITED }, true),
    ] {
        let unpriced = SessionSpec { model: model("dear/unknown", None), ..capped(budget) };
        let world = World::working(unpriced);
        assert_eq!(world.doing(ROOT) == "model", goes, "{budget:?}");
        if !goes {
            assert!(world.root().pause.as_ref().unwrap().what.contains("price"));
        }
    }
}

fn overshoot(world: &mut World, id: SessionId) {
    let run = world.flight(id).clone();
    let end = says(vec![pure("r")]);
    let used = Amount { tokens: 1_000_000, nanos: 5, ..Amount::ZERO };
    let outcome = Outcome::new(run.action, run.attempt, end, used);
    world.feed(id, Input::Outcome(Box::new(outcome)));
}

#[test]
fn a_bill_beyond_the_reservation_freezes_the_tree_until_a_person_raises_it() {
    let mut world = World::working(capped(Amount { tokens: 2_000_000, ..Amount::UNLIMITED }));
    overshoot(&mut world, ROOT);
    assert_eq!(why(&world), ("budget", 7));
    assert!(world.ledger(ROOT).frozen());
    let over = world.ledger(ROOT).over(ROOT);
    world.user(resume());
    assert_eq!(why(&world), ("budget", 7), "resuming alone does not thaw it");
    world.user(Wish::AddBudget { amount: Amount { tokens: 1, ..Amount::ZERO } });
    assert_eq!(world.doing(ROOT), "tools");
    let left = world.ledger(ROOT).left(ROOT).tokens;
    assert!(left <= 2_000_001 - over.tokens, "what was billed beyond is gone");
}

#[test]
fn a_free_model_that_bills_all_the_same_is_noticed() {
    let free = Price { input: 0, output: 0, ..Price::default() };
    let card = Card { context_tokens: 0, output_tokens: 0, price: Some(free) };
    let mut world =
        World::working(SessionSpec { model: ModelRef { id: "free".into(), card, quota: None }, ..spec() });
    overshoot(&mut world, ROOT);
    assert!(world.ledger(ROOT).frozen());
}

#[test]
fn a_childs_part_binds_the_child_and_its_end_is_told_to_the_parent() {
    let mut world = World::working(spec());
    let part = Amount { tokens: 100, ..Amount::UNLIMITED };
    world.end(ROOT, says(vec![delegate_with("d", "part", part, None)]));
    let child = *world.root().children.keys().next().unwrap();
    world.deliver();
    world.end(child, prepared());
    let end = world.state(child).end.clone().expect("nobody could raise a child's part");
    assert_eq!((end.state, end.code), (Final::Failed, 7));
    world.play();
    assert_eq!(world.root().end.as_ref().unwrap().code, 0, "a child's failure is not the parent's");
}

#[test]
fn the_trees_cap_binds_children_with_larger_ones_and_raising_it_wakes_them() {
    let cap = Amount { tokens: 20_000, ..Amount::UNLIMITED };
    let mut world = World::working(capped(cap));
    world.end(ROOT, says(vec![delegate("d1", "one"), delegate("d2", "two"), delegate("d3", "three")]));
    world.deliver();
    let children: Vec<SessionId> = world.root().children.keys().copied().collect();
    for child in &children {
        world.end(*child, prepared());
    }
    let doing: Vec<_> = children.iter().map(|child| world.doing(*child)).collect();
    assert_eq!(doing, ["model", "model", "-"]);
    let pause =
        world.state(children[2]).pause.clone().unwrap_or_else(|| panic!("{}", world.brief(children[2])));
    assert!(pause.hint.contains(&ROOT.to_string()), "the money is the root's: {}", pause.hint);
    world.wish(children[2], Source::User, Wish::AddBudget { amount: cap });
    assert_eq!(world.doing(children[2]), "-", "a child has none to give");
    world.user(Wish::AddBudget { amount: Amount { tokens: 1_000_000, ..Amount::ZERO } });
    world.deliver();
    assert_eq!(world.doing(children[2]), "model");
    world.play();
    let end = world.root().end.as_ref();
    assert_eq!(end.unwrap_or_else(|| panic!("{}", world.brief(ROOT))).code, 0);
}

#[test]
fn a_resting_parent_keeps_no_steps_from_its_child() {
    let cap = Amount { steps: 16, ..Amount::UNLIMITED };
    let mut world = World::working(capped(cap));
    world.end(ROOT, says(vec![delegate("d", "part")]));
    let child = *world.root().children.keys().next().unwrap();
    world.deliver();
    assert_eq!(world.doing(child), "prepare");
}

#[test]
fn who_was_paused_by_a_person_does_not_go_on_because_of_money() {
    let short = Amount { nanos: 5, ..Amount::UNLIMITED };
    let mut world = World::working(capped(short));
    world.user(Wish::Pause);
    assert_eq!(why(&world).0, "user");
    world.user(Wish::AddBudget { amount: Amount { nanos: 1_000_000_000, ..Amount::ZERO } });
    assert_eq!(world.doing(ROOT), "-");
}

#[test]
fn every_reservation_stands_before_its_start_and_is_settled_with_its_end() {
    let mut world = World::working(spec());
    let decision = world.end(ROOT, says(vec![pure("r")]));
    assert!(matches!(decision.ledger[..], [LedgerEvent::Settled { .. }]), "{:?}", decision.ledger);
    let decision = world.tools(ROOT);
    assert!(matches!(decision.ledger[..], [LedgerEvent::Reserved { .. }]), "{:?}", decision.ledger);
    assert!(matches!(world.work(ROOT), Work::Model { .. }));
    let end = End::Done(Done::said(None, 0, vec![], contract::model::Stop::EndTurn, Usage::default()));
    world.end(ROOT, end);
    world.play();
    assert_eq!(world.ledger(ROOT).held(ROOT), Amount::ZERO);
}

/// A call of a model with this many tokens, and the tool behind it, in no time: how long the next call is away, if it has
/// not begun.
fn called(world: &mut World, n: usize, tokens: u64) -> Option<u64> {
    let usage = Usage { input: tokens - 1, output: 1, ..Usage::default() };
    let said = Done::said(Some(text("hm")), 2, vec![pure(&format!("c{n}"))], Stop::ToolUse, usage);
    let outcome = world.outcome(ROOT, End::Done(said));
    world.feed(ROOT, Input::Outcome(Box::new(outcome)));
    let run = world.flight(ROOT).clone();
    let outcome = world.outcome(ROOT, ran(&run, true));
    let decision = world.feed(ROOT, Input::Outcome(Box::new(outcome)));
    decision.wake_at.filter(|_| world.doing(ROOT) == "-").map(|at| at.0 - world.now)
}

#[test]
fn where_most_of_a_budget_is_used_the_next_call_comes_a_little_later() {
    let budget = Amount { tokens: 100_000, ..Amount::UNLIMITED };
    let mut world = World::working(SessionSpec { budget, ..bare() });
    let all: Vec<Option<u64>> = (0..10).map(|n| called(&mut world, n, 8_000)).collect();
    assert_eq!(all, [[None; 9].as_slice(), &[Some(150)]].concat());
    world.now += 149;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "-");
    world.now += 1;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "model");
    // A clock that was set back does not prolong it.
    assert_eq!(called(&mut world, 10, 1_000), Some(150));
    world.now -= 10;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "model");
}
