//! What one model call may cost, what it asks for when little is left, and what it is billed for however it ends.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::{Control, Done, End, Outcome};
use contract::event::{Event, LedgerEvent};
use contract::intent::{Source, Wish};
use contract::model::{Card, ModelRef, Price, Tier, Usage};
use contract::session::{Limits, SessionSpec};
use contract::{Amount, Fault, Kind, limits};
use kernel::Input;

const UNLIMITED: Amount = Amount::UNLIMITED;

/// What the call in flight holds, and how much the model may say.
fn asked(world: &World) -> (Amount, u64) {
    (world.root().running.as_ref().unwrap().reserved, world.flight(ROOT).max_tokens)
}

fn card(output_tokens: u64, price: Price) -> ModelRef {
    let card = Card { context_tokens: 400_000, output_tokens, price: Some(price) };
    ModelRef { id: "test/model".into(), card, quota: None }
}

fn why(world: &World) -> String {
    let pause = world.root().pause.as_ref().expect("a pause");
    format!("{} {}: {}; {}", pause.code, pause.why, pause.what, pause.hint)
}

/// The action in flight ends so, having used that; what the ledger then says of it.
fn ends(world: &mut World, outcome: impl Fn(Outcome) -> Outcome) -> Vec<LedgerEvent> {
    let run = world.flight(ROOT).clone();
    let plain = Outcome::new(run.action, run.attempt, End::Cancelled, Amount::ZERO);
    world.feed(ROOT, Input::Outcome(Box::new(outcome(plain)))).ledger
}

#[test]
fn a_conversation_that_only_grew_is_bounded_by_the_providers_own_count() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![pure("r")]));
    world.tools(ROOT);
    // 120 tokens were counted; since then one result was added.
    let result = world.root().items.back().unwrap().bytes;
    let (held, _) = asked(&world);
    assert_eq!(held.tokens, 120 + result + limits::ITEM_TOKENS + 1_000);
    world.user(Wish::Pause);
    world.end(ROOT, says(vec![pure("s")]));
    world.user(Wish::Resume { model: Some(Box::new(model("other/model", Some(PRICE)))) });
    world.tools(ROOT);
    let bytes: u64 = world.root().items.iter().map(|item| item.bytes).sum();
    let (held, _) = asked(&world);
    assert_eq!(held.tokens, bytes + limits::PROMPT_TOKENS + 1_000, "another model counts otherwise");
}

#[test]
fn messages_that_join_a_call_are_reserved_for() {
    let said = |bytes: u64| Wish::Message { text: text("long"), bytes };
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![pure("r")]));
    world.user(said(3_000));
    world.user(said(2_000));
    world.tools(ROOT);
    let result = world.root().items.iter().rfind(|item| item.call.is_some()).unwrap().bytes;
    let (held, _) = asked(&world);
    assert_eq!(held.tokens, 120 + result + 5_000 + 3 * limits::ITEM_TOKENS + 1_000);
}

#[test]
fn tools_that_were_found_since_are_in_no_count() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![control("f", Control::FindTools { names: vec!["patch".into()] })]));
    let bytes: u64 = world.root().items.iter().map(|item| item.bytes).sum();
    assert_eq!(asked(&world).0.tokens, bytes + limits::PROMPT_TOKENS + 1_000);
    // What is known already changes nothing.
    world.end(ROOT, says(vec![control("g", Control::FindTools { names: vec!["patch".into()] })]));
    assert!(asked(&world).0.tokens < bytes + limits::PROMPT_TOKENS + 1_000);
}

#[test]
fn a_count_that_cannot_be_true_is_not_believed() {
    let goal_bytes = 100 * limits::TOKEN_BYTES_MOST + limits::TOKEN_BYTES_MOST;
    let mut world = World::working(SessionSpec { goal_bytes, ..spec() });
    world.end(ROOT, says(vec![pure("r")]));
    world.tools(ROOT);
    let bytes: u64 = world.root().items.iter().map(|item| item.bytes).sum();
    assert_eq!(asked(&world).0.tokens, bytes + limits::PROMPT_TOKENS + 1_000);
}

#[test]
fn writing_to_a_cache_is_the_dearest_that_input_can_become() {
    let price = Price { cache_write: Some(3_750_000_000), cache_read: Some(300_000_000), ..PRICE };
    let world = World::working(SessionSpec { model: card(1_000, price), ..spec() });
    let written = Usage { cache_write: limits::PROMPT_TOKENS + 7, output: 1_000, ..Usage::default() };
    assert_eq!(asked(&world).0.nanos, price.cost(written));
}

#[test]
fn the_highest_tier_that_can_apply_is_reserved_and_the_one_that_did_is_settled() {
    let tier = Tier { above: 8_006, input: 6_000_000_000, output: 30_000_000_000, ..Tier::default() };
    let price = Price { tier: Some(tier), ..PRICE };
    let mut world = World::working(SessionSpec { model: card(1_000, price), ..spec() });
    assert_eq!(asked(&world).0.nanos, 8_007 * 6_000 + 1_000 * 30_000);
    let used = Usage { input: 8_000, output: 10, ..Usage::default() };
    ends(&mut world, |plain| {
        let used = Amount { nanos: price.cost(used), tokens: used.total(), ..Amount::ZERO };
        Outcome { end: says(vec![]), used, ..plain }
    });
    assert_eq!(world.ledger(ROOT).settled(ROOT).nanos, 8_000 * 3_000 + 10 * 15_000);
}

#[test]
fn when_little_is_left_a_shorter_reply_is_asked_for() {
    let tokens = limits::PROMPT_TOKENS + 7 + 5_000;
    let budget = Amount { tokens, ..UNLIMITED };
    let world = World::working(SessionSpec { model: card(32_000, PRICE), budget, ..spec() });
    let (held, said) = asked(&world);
    assert_eq!((held.tokens, said), (tokens, 5_000));

    let nanos = 24_021_000 + limits::REPLY_TOKENS * 15_000;
    let budget = Amount { nanos, ..UNLIMITED };
    let world = World::working(SessionSpec { model: card(32_000, PRICE), budget, ..spec() });
    assert_eq!((asked(&world).0.nanos, asked(&world).1), (nanos, limits::REPLY_TOKENS));

    let budget = Amount { nanos: nanos - 1, ..UNLIMITED };
    let world = World::working(SessionSpec { model: card(32_000, PRICE), budget, ..spec() });
    assert!(
        why(&world).starts_with("7 budget: what is left of this session's budget of money"),
        "{}",
        why(&world)
    );
}

#[test]
fn one_call_has_a_cap_of_its_own() {
    let capped = |call| SessionSpec {
        model: card(32_000, PRICE),
        limits: Limits { call, ..Limits::default() },
        ..spec()
    };
    let world = World::working(capped(Amount { tokens: 12_007, ..UNLIMITED }));
    assert_eq!((asked(&world).0.tokens, asked(&world).1), (12_007, 4_000));
    let world = World::working(capped(Amount { nanos: 1_000, ..UNLIMITED }));
    assert!(why(&world).contains("one model call would take more money than a call may"), "{}", why(&world));
    assert!(why(&world).contains("per_call_usd"));
}

#[test]
fn a_cap_of_one_call_that_stopped_a_session_is_raised_by_the_command_that_it_names() {
    let limits = Limits { call: Amount { nanos: 1_000, ..UNLIMITED }, ..Limits::default() };
    let mut world = World::working(SessionSpec { model: card(32_000, PRICE), limits, ..spec() });
    let pause = world.root().pause.clone().unwrap();
    let said = pause.hint.split("--per-call-usd ").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
    let (dollars, cents) = said.split_once('.').unwrap();
    let nanos = (dollars.parse::<u64>().unwrap() * 100 + cents.parse::<u64>().unwrap()) * 10_000_000;
    let raise = |nanos| Wish::CapCall { call: Amount { nanos, ..UNLIMITED } };
    world.wish(ROOT, Source::Planner, raise(nanos));
    assert!(world.root().pause.is_some(), "only a person raises it");
    world.wish(ROOT, Source::User, raise(nanos));
    assert_eq!((world.root().pause.clone(), world.doing(ROOT)), (None, "model"), "{}", pause.hint);
    assert!(asked(&world).0.nanos <= nanos && world.root().limits().call.nanos == nanos);
}

#[test]
fn an_end_without_a_bill_is_the_whole_reservation_and_one_with_a_bill_is_the_bill() {
    let transient = || End::Failed(Fault::new(Kind::Transient, "stream-cut", "cut"));
    let used = Amount { nanos: 9_000, tokens: 300, ..Amount::ZERO };
    for end in [End::Cancelled, End::TimedOut, End::Unknown, transient()] {
        let mut world = World::working(spec());
        let (held, _) = asked(&world);
        ends(&mut world, |plain| Outcome { end: end.clone(), ..plain });
        let settled = world.ledger(ROOT).settled(ROOT);
        assert_eq!(
            (settled.nanos, settled.tokens),
            (held.nanos, held.tokens),
            "{end:?}: nobody saw the bill"
        );

        let mut world = World::working(spec());
        ends(&mut world, |plain| Outcome { end: end.clone(), used, metered: true, ..plain });
        let settled = world.ledger(ROOT).settled(ROOT);
        assert_eq!((settled.nanos, settled.tokens), (used.nanos, used.tokens), "{end:?}");
        assert_eq!(world.ledger(ROOT).over(ROOT), Amount::ZERO);
    }
}

#[test]
fn a_call_that_was_refused_costs_nothing() {
    for fault in [
        Fault::new(Kind::RateLimited, "429", "slow down"),
        Fault::new(Kind::UserFixable, "401", "the key is not valid"),
        Fault::new(Kind::Permanent, contract::error::CONTEXT_FULL, "too long"),
    ] {
        let mut world = World::working(spec());
        ends(&mut world, |plain| Outcome { end: End::Failed(fault.clone()), ..plain });
        assert_eq!(world.ledger(ROOT).settled(ROOT).nanos, 0, "{fault:?}");
    }
}

#[test]
fn a_bound_beyond_the_reservation_is_no_overshoot_and_a_bill_is() {
    let used = Amount { nanos: u64::MAX / 4, tokens: 50_000_000, ..Amount::ZERO };
    let mut world = World::working(spec());
    let (held, _) = asked(&world);
    let ledger = ends(&mut world, |plain| Outcome {
        end: End::TimedOut,
        used,
        metered: true,
        estimated: true,
        ..plain
    });
    assert!(ledger.iter().all(|event| !matches!(event, LedgerEvent::Overshoot { .. })), "{ledger:?}");
    assert_eq!(world.ledger(ROOT).settled(ROOT).nanos, held.nanos);
    assert!(!world.ledger(ROOT).frozen());

    let mut world = World::working(spec());
    let ledger = ends(&mut world, |plain| Outcome { end: End::TimedOut, used, metered: true, ..plain });
    assert!(ledger.iter().any(|event| matches!(event, LedgerEvent::Overshoot { .. })), "{ledger:?}");
    assert!(world.ledger(ROOT).frozen());
}

#[test]
fn a_person_is_warned_once_before_the_budget_ends() {
    let budget = Amount { tokens: 20_000, ..UNLIMITED };
    let mut world = World::working(SessionSpec { budget, ..spec() });
    for n in 0..6 {
        if world.doing(ROOT) != "model" {
            break;
        }
        ends(&mut world, |plain| {
            let usage = Usage { input: 2_900, output: 100, ..Usage::default() };
            let calls = vec![pure(&format!("r{n}"))];
            let end = End::Done(Done::said(None, 0, calls, contract::model::Stop::ToolUse, usage));
            Outcome { end, used: Amount { tokens: usage.total(), ..Amount::ZERO }, ..plain }
        });
        world.tools(ROOT);
    }
    let warned: Vec<&str> = world
        .events(ROOT)
        .filter_map(|event| match event {
            Event::Warned { what } => Some(what.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(warned, ["80 % of this session's budget of tokens is used: 18000 of 20000"]);
}

#[test]
fn what_the_next_call_costs_is_known_before_it() {
    let mut world = World::working(spec());
    assert_eq!(world.root().next_call(), None, "nothing has been asked yet");
    world.end(ROOT, says(vec![pure("c")]));
    world.tools(ROOT);
    let next = world.root().next_call().unwrap();
    assert!((120..200).contains(&next.tokens), "{next:?}");
    assert_eq!(next.nanos, Some(next.tokens * 3_000));
}
