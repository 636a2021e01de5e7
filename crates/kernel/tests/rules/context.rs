//! What a model is shown: the goal stays, pairs stay whole, and there is an end to it.

use crate::make::*;
use crate::world::{ROOT, World, whole_conversation};
use contract::action::{Control, Done, End, Item, Outcome, Role, Todo};
use contract::context::{Act, Left, Sent, Summary};
use contract::event::{Disposal, Event, Notice, TaskState};
use contract::intent::Wish;
use contract::model::{Stop, Usage};
use contract::session::{Limits, SessionSpec};
use contract::{Amount, limits};
use kernel::Input;
use kernel::context::misfits;

fn long() -> SessionSpec {
    SessionSpec { limits: Limits { steps_per_turn: 10_000, ..Limits::default() }, ..spec() }
}

fn cuts(world: &World) -> usize {
    world.events(ROOT).filter(|event| matches!(event, Event::Compacted { .. })).count()
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

fn result_bytes(world: &mut World, bytes: u64) {
    let mut end = ran(world.flight(ROOT), true);
    if let End::Done(Done::Ran { results, .. }) = &mut end {
        results.iter_mut().for_each(|result| result.bytes = bytes);
    }
    world.end(ROOT, end);
}

#[test]
fn large_outputs_become_references_so_that_a_request_fits() {
    let mut world = World::working(long());
    for n in 0..60 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        result_bytes(&mut world, 20_000);
        whole_conversation(&world.flight(ROOT).context.items);
        assert!(world.root().request_tokens() <= world.root().cap());
    }
    let items = &world.root().items;
    assert!(cuts(&world) > 0 && cuts(&world) < 8, "{}", cuts(&world));
    assert!(items.iter().any(|item| item.left == Some(Left::Old)));
    assert!(items.iter().rev().find(|item| item.role == Role::Tool).unwrap().left.is_none());
}

#[test]
fn one_exchange_larger_than_everything_keeps_its_calls_and_loses_outputs() {
    let mut world = World::working(long());
    world.end(ROOT, says((0..limits::CALLS_RECORDED).map(|n| pure(&format!("r{n}"))).collect()));
    result_bytes(&mut world, 1_000_000);
    let items = &world.flight(ROOT).context.items;
    whole_conversation(items);
    assert_eq!(items.len(), limits::CALLS_RECORDED + 2);
    assert!(items.iter().filter(|item| item.left == Some(Left::Large)).count() > 200);
    assert!(world.root().request_tokens() <= world.root().cap());
}

#[test]
fn the_same_call_again_makes_the_older_result_a_reference_first() {
    let mut world = World::working(long());
    let again = pure("again");
    for n in 0..200 {
        let call = if n % 2 == 0 { same(&again, &format!("s{n}")) } else { pure(&format!("r{n}")) };
        world.end(ROOT, says(vec![call]));
        result_bytes(&mut world, 9_000);
        if cuts(&world) > 0 {
            break;
        }
    }
    let left: Vec<Left> = world.root().items.iter().filter_map(|item| item.left).collect();
    assert!(matches!(left[0], Left::Superseded { .. }), "{left:?}");
    let newest = world.root().items.iter().filter(|item| item.role == Role::Tool).map(|item| item.no).max();
    assert!(left.iter().all(|why| !matches!(why, Left::Superseded { by } if Some(*by) > newest)));
}

#[test]
fn what_was_taken_out_comes_back_and_is_kept() {
    let mut world = World::working(long());
    let mut n = 0;
    while cuts(&world) == 0 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        result_bytes(&mut world, 20_000);
        n += 1;
    }
    let lost = world.root().items.iter().find(|item| item.left.is_some()).unwrap().no;
    world.user(Wish::Uncompact { item: Some(lost) });
    let queued = world.root().items.iter().find(|item| item.no == lost).unwrap();
    assert!(queued.left.is_some(), "a request under way is not changed");
    world.end(ROOT, says(vec![pure("next")]));
    result_bytes(&mut world, 10);
    let back = |world: &World| world.root().items.iter().find(|item| item.no == lost).cloned().unwrap();
    assert!(back(&world).left.is_none() && back(&world).kept);
    for m in 0..60 {
        world.end(ROOT, says(vec![pure(&format!("m{m}"))]));
        result_bytes(&mut world, 20_000);
        assert!(back(&world).left.is_none(), "what a person brought back stays");
        whole_conversation(&world.flight(ROOT).context.items);
    }
    assert!(cuts(&world) > 1);
}

#[test]
fn dropped_turns_leave_a_summary_and_come_back_whole() {
    let mut world = World::working(long());
    for n in 0..250 {
        world.end(ROOT, says(vec![pure(&format!("r{n}")), pure(&format!("q{n}"))]));
        result_bytes(&mut world, 10);
    }
    let summaries = |world: &World| -> Vec<Summary> {
        let of = |item: &Item| match item.notice.as_deref() {
            Some(Notice::Compacted { summary }) => Some((**summary).clone()),
            _ => None,
        };
        world.root().items.iter().filter_map(of).collect()
    };
    assert!(cuts(&world) > 1);
    let [summary] = summaries(&world).try_into().expect("one stands for all that went");
    let shown = world.root().items.len() as u64 - 1;
    assert_eq!(summary.entries + shown, world.root().items.back().unwrap().no - cuts(&world) as u64);
    assert!((1..=limits::SUMMARY_ACTS).contains(&summary.acts.len()));
    assert_eq!(summary.acts.len() as u64 + summary.more, summary.entries / 3 * 2, "every call is counted");
    let evicted = world.root().evicted.iter().find(|item| item.role == Role::Tool).unwrap().no;
    world.hold = true;
    world.end(ROOT, says(vec![pure("x")]));
    world.user(Wish::Uncompact { item: Some(evicted) });
    let items: Vec<Item> = world.root().items.iter().cloned().collect();
    assert_eq!(items.iter().filter(|item| item.kept).count(), 3, "a message and its two results");
    assert_eq!(misfits(&items[..items.len() - 1]), (vec![], vec![]));
    let refused = |world: &World| {
        world.events(ROOT).filter(|e| matches!(e, Event::Disposed { how: Disposal::Refused(_), .. })).count()
    };
    world.user(Wish::Uncompact { item: Some(1) });
    assert_eq!(refused(&world), 1, "the goal was never taken out");
    world.user(Wish::Uncompact { item: None });
    assert!(world.root().items.len() > items.len());
}

#[test]
fn what_was_reported_is_believed_and_learned_from() {
    let mut world = World::working(long());
    let usage = |input| Usage { input, output: 10, ..Usage::default() };
    let mut given = 5_000;
    for n in 0..10 {
        let sent = Sent {
            request: text("r"),
            prompt: text("p"),
            prompt_bytes: 12_000,
            prompt_tokens: None,
            repairs: vec!["mended on the way".into()],
            warnings: Vec::new(),
        };
        let done = Done::said(None, 4, vec![pure(&format!("r{n}"))], Stop::ToolUse, usage(given));
        let run = world.flight(ROOT);
        let outcome = Outcome {
            sent: Some(sent),
            ..Outcome::new(run.action, run.attempt, End::Done(done), Amount::ZERO)
        };
        world.feed(ROOT, Input::Outcome(Box::new(outcome)));
        result_bytes(&mut world, 10_000);
        given += 2_500;
        let off = world.root().request_tokens().abs_diff(given);
        assert!(n < 3 || off < 1_000, "{n}: {}", world.root().request_tokens());
    }
    let gauge = world.root().gauge();
    assert!((230..330).contains(&gauge.per_kb) && gauge.off_permille < 100, "{gauge:?}");
    let mended = world.events(ROOT).filter(|event| matches!(event, Event::Repaired { .. })).count();
    assert_eq!(mended, 10);
}

#[test]
fn a_message_that_can_never_fit_is_refused_and_a_model_that_is_too_small_is_said_to_be() {
    let mut world = World::working(long());
    world.user(Wish::Message { text: text("huge"), bytes: 4_000_000 });
    world.end(ROOT, says(vec![pure("r")]));
    world.tools(ROOT);
    let why = world.events(ROOT).find_map(|event| match event {
        Event::Disposed { how: Disposal::Refused(why), .. } => Some(why.clone()),
        _ => None,
    });
    assert!(why.unwrap().contains("shorten it"));
    let spec = SessionSpec { goal_bytes: 3_000_000, ..spec() };
    let mut world = World::new();
    world.open(ROOT, spec);
    world.play();
    let pause = world.root().pause.clone().unwrap();
    assert_eq!((pause.why.as_str(), pause.code), ("failure", 8));
    assert!(pause.what.contains("goal") && pause.hint.contains("--model"), "{pause:?}");
}

#[test]
fn a_provider_that_says_it_is_too_long_gets_three_quarters() {
    let mut world = World::working(long());
    for n in 0..30 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        result_bytes(&mut world, 5_000);
    }
    let conversation = |world: &World| world.root().request_tokens() - limits::PROMPT_TOKENS;
    let before = conversation(&world);
    world.end(ROOT, fails(contract::Kind::Permanent, contract::error::CONTEXT_FULL));
    let after = conversation(&world);
    assert!(after <= before * 3 / 4, "{before} {after}");
    whole_conversation(&world.flight(ROOT).context.items);
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
fn notes_and_found_tools_are_kept_and_come_back_after_a_cut() {
    let todo = |text_of: &str, state| Todo { text: text(text_of), state };
    let mut world = World::working(long());
    let find = |id: &str, names: &[&str]| {
        control(id, Control::FindTools { names: names.iter().map(|&name| name.into()).collect() })
    };
    let list = |items: Vec<Todo>| control("t", Control::Todo { items });
    world.end(ROOT, says(vec![list(vec![todo("old", TaskState::Pending)]), find("f", &["far", "web"])]));
    let items = vec![
        todo("done", TaskState::Done),
        todo("now", TaskState::Active),
        todo("later", TaskState::Pending),
    ];
    world.end(ROOT, says(vec![list(items.clone()), find("g", &["web", "note"]), find("h", &[])]));
    assert_eq!(world.doing(ROOT), "model", "Kapell itself has answered");
    assert_eq!((&world.root().todo, world.root().found.join(" ")), (&items, "far web note".into()));
    assert_eq!(world.flight(ROOT).context.found, ["far", "web", "note"]);
    let told = |call: &str| {
        let item = world.root().items.iter().find(|item| item.call.as_deref() == Some(call)).unwrap();
        let Some(Notice::Told { what }) = item.notice.as_deref() else { panic!("nothing is told") };
        (item.ok, what.clone())
    };
    assert_eq!(told("g"), (true, "you can call these from now on: web, note".into()));
    assert!(!told("h").0);
    for n in 0..300 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        world.tools(ROOT);
    }
    let summary = world.root().items.iter().find_map(|item| match item.notice.as_deref() {
        Some(Notice::Compacted { summary }) => Some(summary),
        _ => None,
    });
    let open =
        [(String::new(), text("now"), TaskState::Active), (String::new(), text("later"), TaskState::Pending)];
    assert_eq!(summary.expect("a summary").tasks, open);
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

mod any_history {
    use super::*;
    use contract::Digest;
    use contract::event::TaskState;
    use kernel::compact::{Bound, plan};
    use kernel::context::Scale;
    use proptest::prelude::*;

    /// A conversation as the kernel's own rules let it grow: the goal, then messages, notices and exchanges.
    fn histories() -> impl Strategy<Value = Vec<Item>> {
        let entry = (0..10u8, prop::collection::vec((0..6u8, 0..60_000u64, 0..8u8), 0..6), any::<bool>());
        (1..20_000u64, prop::collection::vec(entry, 0..80)).prop_map(|(goal, entries)| {
            let mut items = vec![Item { bytes: goal, text: Some(text("goal")), ..Item::by(Role::User) }];
            for (n, (what, calls, kept)) in entries.into_iter().enumerate() {
                match what {
                    0 => items.push(Item {
                        bytes: 40 * n as u64,
                        text: Some(text(&n.to_string())),
                        ..Item::by(Role::User)
                    }),
                    1 => {
                        let (task, goal) = (format!("t{}", n % 3), text("task"));
                        let notice = Some(Box::new(Notice::NextTask { task, goal }));
                        items.push(Item { notice, bytes: 900, ..Item::by(Role::Notice) });
                    }
                    2 => {
                        let act =
                            Act { tool: "read".into(), args: text(&n.to_string()), ok: true, result: None };
                        let (acts, messages) = (vec![act; calls.len()], vec![text("said"); n % 5]);
                        let summary = Box::new(Summary { entries: 9, acts, messages, ..Summary::default() });
                        let notice = Some(Box::new(Notice::Compacted { summary }));
                        items.push(Item { notice, bytes: 900, ..Item::by(Role::Notice) });
                    }
                    _ => {
                        let id = |at: usize| format!("c{n}-{at}");
                        let made = calls
                            .iter()
                            .enumerate()
                            .map(|(at, (args, ..))| (id(at), "read".to_owned(), text(&args.to_string())))
                            .collect();
                        items.push(Item {
                            calls: made,
                            bytes: 50,
                            kept: kept && n % 7 == 0,
                            ..Item::by(Role::Assistant)
                        });
                        for (at, (_, bytes, same)) in calls.iter().enumerate() {
                            let (call, text) = (Some(id(at)), Some(text(&format!("out {same}"))));
                            items.push(Item {
                                call,
                                text,
                                bytes: *bytes,
                                tokens: (bytes % 3 == 0).then_some(bytes / 4),
                                ..Item::by(Role::Tool)
                            });
                        }
                    }
                }
            }
            items.into_iter().zip(1..).map(|(item, no)| Item { no, ..item }).collect()
        })
    }

    /// What is left of the entries after the cut, as the fold leaves it.
    fn after(items: &[Item], cut: &kernel::compact::Cut) -> Vec<Item> {
        let gone = |no: u64| cut.dropped.iter().any(|(first, last)| (*first..=*last).contains(&no));
        let left = |item: &Item| cut.left.iter().find(|(no, _)| *no == item.no).map(|(_, why)| *why);
        items
            .iter()
            .filter(|item| !gone(item.no))
            .map(|item| Item { left: left(item).or(item.left), ..item.clone() })
            .collect()
    }

    proptest! {
        #[test]
        fn fits_and_is_whole_and_keeps_what_is_pinned(
            items in histories(), cap in 2_000..60_000u64, per_kb in 100..1_000u64, counted in any::<bool>(),
        ) {
            let scale = Scale { per_kb, counted, sight: kernel::picture::Sight::Unknown };
            let fixed = cap / 8;
            let bound = Bound { cap, target: cap / 100 * 60, fixed, factor: 1_000, words: 0 };
            let tasks = vec![("t1".to_owned(), text("task"), TaskState::Active), ("t2".to_owned(), text("two"), TaskState::Done)];
            let cut = plan(&items, tasks.clone(), scale, bound);
            let shown = after(&items, &cut);
            // Numbers rise here, so that each run is as long as it can be.
            let whole = |(one, next): (&(u64, u64), &(u64, u64))| {
                shown.iter().any(|item| one.1 < item.no && item.no < next.0)
            };
            prop_assert!(cut.dropped.iter().zip(cut.dropped.iter().skip(1)).all(whole), "{:?}", cut.dropped);
            let summary = cut.summary.as_ref().map_or(0, |s| {
                let lines = 1 + s.acts.len() + s.tasks.len() + s.messages.len();
                scale.bytes(limits::SUMMARY_LINE_BYTES * lines as u64) + limits::MESSAGE_TOKENS
            });
            let weight = shown.iter().map(|item| scale.item(item)).sum::<u64>() + fixed + summary;
            prop_assert!(weight <= cut.after, "{weight} {}", cut.after);
            prop_assert_eq!(misfits(&shown), (vec![], vec![]));
            let has = |item: &Item| shown.iter().any(|shown| shown == item);
            prop_assert!(has(&items[0]), "the goal");
            let newest = |role| items.iter().rfind(|item| item.role == role);
            prop_assert!(newest(Role::User).is_none_or(has), "the newest message");
            prop_assert!(newest(Role::Assistant).is_none_or(has), "the newest exchange");
            let task = |item: &&Item| matches!(item.notice.as_deref(), Some(Notice::NextTask { task, .. }) if task == "t1");
            prop_assert!(items.iter().rfind(task).is_none_or(has), "the task");
            // Only what nothing can be done about stays too large: what is pinned, and outputs hardly longer than a line.
            if cut.after > cap {
                let line = 2 * (limits::LEFT_TOKENS + limits::MESSAGE_TOKENS);
                prop_assert!(shown.iter().filter(|item| item.role == Role::Tool && item.left.is_none()).all(|item| scale.item(item) <= line));
                // What came after the newest exchange was not answered yet.
                let newest = items.iter().rfind(|item| item.role == Role::Assistant).map_or(u64::MAX, |item| item.no);
                let older = |role| shown.iter().filter(|item| item.role == role && item.no < newest).count();
                prop_assert!(older(Role::Assistant) == 0 && older(Role::User) <= 2);
            }
            // The person's words go only when nothing else is left to go.
            let said = |items: &[Item]| items.iter().filter(|item| item.role == Role::User).count();
            if said(&shown) < said(&items) {
                prop_assert!(shown.iter().filter(|item| item.role == Role::Assistant && !item.kept).count() <= 1);
            }
            let digests: Vec<Digest> = cut.summary.iter().flat_map(|s| s.acts.iter().map(|act| act.args)).collect();
            prop_assert!(digests.len() <= limits::SUMMARY_ACTS);
            // Again: nothing more to do.
            if cut.after <= bound.target {
                prop_assert_eq!(plan(&shown, tasks, scale, Bound { fixed: fixed + summary, ..bound }).dropped, vec![]);
            }
        }
    }
}
