//! What a model is shown: the goal stays, pairs stay whole, and there is an end to it.

use crate::make::*;
use crate::world::{ROOT, World, whole_conversation};
use contract::action::Role;
use contract::event::{Event, Notice};
use contract::limits;
use contract::session::{Limits, SessionSpec};

fn long() -> SessionSpec {
    SessionSpec { limits: Limits { steps_per_turn: 10_000, ..Limits::default() }, ..spec() }
}

fn cuts(world: &World) -> usize {
    world.events(ROOT).filter(|event| matches!(event, Event::Cut { .. })).count()
}

#[test]
fn a_long_conversation_is_cut_to_bounds_and_keeps_goal_and_pairs() {
    let mut world = World::working(long());
    for n in 0..300 {
        let calls = (0..3).map(|m| pure(&format!("r{n}.{m}"))).collect();
        world.end(ROOT, says(calls));
        world.tools(ROOT);
        let items = &world.flight(ROOT).context.items;
        whole_conversation(items);
        assert_eq!(items[0].text, Some(text("mend it")), "the goal stays");
        assert!(items.len() <= limits::CONTEXT_ITEMS);
        assert_eq!(
            items.last().unwrap().call.as_deref(),
            Some(format!("r{n}.2").as_str()),
            "the newest stays"
        );
    }
    assert!(cuts(&world) >= 2, "and it is cut rarely, not at every call");
    assert!(cuts(&world) <= 15);
}

#[test]
fn large_outputs_are_cut_by_bytes_so_that_a_request_fits() {
    let mut world = World::working(long());
    let card = world.root().model.clone().unwrap().card;
    for n in 0..60 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        let mut end = ran(world.flight(ROOT), true);
        if let contract::action::End::Done(contract::action::Done::Ran { results, .. }) = &mut end {
            results[0].bytes = 20_000;
        }
        world.end(ROOT, end);
        let run = world.flight(ROOT);
        whole_conversation(&run.context.items);
        let bytes: u64 = run.context.items.iter().map(|item| item.bytes).sum();
        assert!(bytes <= card.context_tokens * 3, "{bytes}");
    }
    assert!(cuts(&world) > 0);
}

#[test]
fn one_exchange_larger_than_everything_is_kept_whole() {
    let mut world = World::working(long());
    world.end(ROOT, says((0..limits::CALLS_RECORDED).map(|n| pure(&format!("r{n}"))).collect()));
    let mut end = ran(world.flight(ROOT), true);
    if let contract::action::End::Done(contract::action::Done::Ran { results, .. }) = &mut end {
        results.iter_mut().for_each(|result| result.bytes = 1_000_000);
    }
    world.end(ROOT, end);
    let items = &world.flight(ROOT).context.items;
    whole_conversation(items);
    assert_eq!(items.len(), limits::CALLS_RECORDED + 2);
}

#[test]
fn the_task_being_worked_on_is_told_again_when_it_was_cut() {
    let mut world = World::working(long());
    world.end(ROOT, says(vec![plan("p", &[("a", &[]), ("b", &["a"])])]));
    while world.root().plan.active().is_none_or(|task| task.id != "b") {
        let run = world.flight(ROOT).clone();
        world.end(ROOT, crate::world::well(&run, &run.work));
    }
    let told = |world: &World| {
        let next = |item: &&contract::action::Item| matches!(item.notice.as_deref(), Some(Notice::NextTask { task, .. }) if task == "b");
        world.root().items.iter().filter(next).count()
    };
    for n in 0..300 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        world.tools(ROOT);
        assert_eq!(told(&world), 1, "after {n}");
    }
    assert!(cuts(&world) > 0);
}

#[test]
fn calls_that_do_not_fit_are_answered_and_only_the_others_run() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![wrong("w"), pure("r")]));
    assert_eq!(world.doing(ROOT), "tools");
    world.tools(ROOT);
    let items = &world.flight(ROOT).context.items;
    let answers: Vec<bool> =
        items.iter().filter(|item| item.role == Role::Tool).map(|item| item.ok).collect();
    assert_eq!(answers, [false, true]);
}

#[test]
fn two_calls_of_one_name_are_a_failure_of_the_executor_not_a_broken_conversation() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![pure("r"), pure("r")]));
    assert_eq!(world.root().pause.as_ref().unwrap().why, "failure");
    assert!(world.root().calls.is_empty());
}

#[test]
fn arguments_count_in_what_is_reserved() {
    let mut world = World::working(spec());
    let before = world.root().items.iter().map(|item| item.bytes).sum::<u64>();
    let usage = contract::model::Usage { input: 100, output: 900, ..Default::default() };
    let calls = vec![staged("write a large file")];
    let said = contract::action::Done::said(None, 0, calls, contract::model::Stop::ToolUse, usage);
    world.end(ROOT, contract::action::End::Done(said));
    let after = world.root().items.iter().map(|item| item.bytes).sum::<u64>();
    assert_eq!(after - before, 900 * limits::BYTES_PER_TOKEN);
}
