//! From a goal to a landed commit, and every other way a workflow can end.

use crate::make::{self, *};
use crate::world::{ROOT, World, well};
use contract::action::{Done, End, Integrated, Work};
use contract::checks::{Report, Status, Verdict};
use contract::event::{Answer, Event, Final, Notice, TaskState};
use contract::intent::{Source, Wish};
use contract::session::{Edge, Rights, SessionSpec};
use contract::{Kind, limits};
use kernel::Input;
use kernel::fsm::Phase;

/// Ends whatever runs well until this kind of work is in flight.
fn until(world: &mut World, name: &str) {
    while world.doing(ROOT) != name {
        let run = world.flight(ROOT).clone();
        world.end(ROOT, well(&run, &run.work));
    }
}

fn stages(world: &World) -> Vec<&str> {
    let mut stages = Vec::new();
    for event in world.events(ROOT) {
        if let Event::Staged { to, .. } = event {
            stages.push(to.as_str());
        }
    }
    stages
}

fn end(world: &World) -> (Final, u8) {
    let end = world.root().end.as_ref().expect("an end");
    (end.state, end.code)
}

#[test]
fn the_whole_way_to_landing() {
    let mut world = World::new();
    world.open(ROOT, spec());
    let mut works = Vec::new();
    while world.root().end.is_none() {
        let run = world.flight(ROOT).clone();
        works.push(run.work.name());
        let end = match (&run.work, works.len()) {
            (Work::Model { .. }, 2) => says(vec![pure("r1"), pure("r2"), staged("e1"), finish("f1")]),
            (work, _) => well(&run, work),
        };
        world.end(ROOT, end);
    }
    assert_eq!(works, ["prepare", "model", "tools", "tools", "check", "inspect", "integrate"]);
    assert_eq!(stages(&world), ["validate", "quality", "integrate", "plan"]);
    assert_eq!(end(&world), (Final::Completed, 0));
    assert!(world.root().end.as_ref().unwrap().why.contains("landed as commit5"));
}

#[test]
fn what_is_refuted_comes_back_with_the_reasons_and_ends_with_3_after_the_last_round() {
    let mut world = World::new();
    world.open(ROOT, spec());
    for round in 0..=limits::ROUNDS {
        until(&mut world, "check");
        assert_eq!(world.root().round, round);
        world.end(ROOT, checked("work", Status::Passed, Status::Failed));
        if round < limits::ROUNDS {
            let told = world.root().items.back().unwrap().notice.clone().unwrap();
            let Notice::NotConfirmed { reasons, logs } = *told else { panic!("{told:?}") };
            assert_eq!((reasons.len(), logs.len()), (1, 1));
        }
    }
    assert_eq!(end(&world), (Final::Failed, 3));
}

#[test]
fn what_cannot_be_checked_ends_with_4() {
    for status in [Status::CouldNotRun, Status::Flaky] {
        let mut world = World::new();
        world.open(ROOT, spec());
        until(&mut world, "check");
        world.end(ROOT, checked("work", Status::Passed, status));
        assert_eq!(end(&world), (Final::Failed, 4));
        assert_eq!(world.root().verdict.as_ref().unwrap().verdict, Verdict::Inconclusive);
    }
}

#[test]
fn an_answer_without_a_change_needs_no_proof() {
    let mut world = World::new();
    world.open(ROOT, spec());
    until(&mut world, "check");
    let nothing = Report { base: "b".into(), result: "b".into(), same_tree: true, runs: vec![] };
    world.end(ROOT, report(nothing));
    assert_eq!(end(&world), (Final::Completed, 0));
}

#[test]
fn an_unchanged_tree_is_judged_by_the_base_runs_on_record_and_told_with_their_logs() {
    let mut world = World::new();
    world.open(ROOT, spec());
    until(&mut world, "check");
    world.end(ROOT, checked("work", Status::Failed, Status::Failed));
    until(&mut world, "check");
    assert!(matches!(world.work(ROOT), Work::Check { base_known: true }));
    let same = Report { base: "b".into(), result: "b".into(), same_tree: true, runs: vec![] };
    world.end(ROOT, report(same));
    let judged = world.root().verdict.as_ref().unwrap();
    assert_eq!((judged.verdict, judged.no_checks, judged.logs.len()), (Verdict::Refuted, false, 1));
}

#[test]
fn a_flagged_change_lands_only_after_a_yes_to_this_very_commit() {
    let mut world = World::new();
    world.open(ROOT, spec());
    until(&mut world, "inspect");
    world.end(ROOT, inspected(1));
    assert_eq!(world.doing(ROOT), "-");
    let (id, approval) = world.root().pending_approval().map(|(id, a)| (id.to_owned(), a.clone())).unwrap();
    world.user(Wish::Approve { approval: id.clone(), hash: text("something else") });
    assert_eq!(world.doing(ROOT), "-", "another content is not this one");
    world.user(Wish::Approve { approval: id, hash: approval.hash });
    assert_eq!(world.doing(ROOT), "integrate");
    world.play();
    assert_eq!(end(&world), (Final::Completed, 0));
}

#[test]
fn a_flagged_change_that_is_denied_or_expires_ends_with_6() {
    for expire in [false, true] {
        let mut world = World::new();
        world.open(ROOT, spec());
        until(&mut world, "inspect");
        let decision = world.end(ROOT, inspected(1));
        if expire {
            world.now = decision.wake_at.unwrap().0;
            world.feed(ROOT, kernel::Input::Tick);
        } else {
            let approval = world.root().pending_approval().unwrap().0.to_owned();
            world.user(Wish::Deny { approval });
        }
        assert_eq!(end(&world), (Final::Failed, 6));
    }
}

#[test]
fn a_denial_while_an_action_runs_ends_the_session_after_it() {
    let mut world = World::new();
    world.open(ROOT, spec());
    until(&mut world, "inspect");
    world.end(ROOT, inspected(1));
    world.restart();
    world.wish(ROOT, Source::Recovery, Wish::Initialise);
    assert_eq!(world.doing(ROOT), "prepare");
    let approval = world.root().pending_approval().unwrap().0.to_owned();
    world.user(Wish::Deny { approval });
    assert!(world.root().end.is_none());
    world.end(ROOT, prepared());
    assert_eq!(end(&world), (Final::Failed, 6));
}

#[test]
fn words_instead_of_a_yes_to_a_flagged_change_go_back_to_the_agent() {
    let mut world = World::new();
    world.open(ROOT, spec());
    until(&mut world, "inspect");
    world.end(ROOT, inspected(1));
    world.user(message("yes, but keep that test"));
    assert!(world.root().approvals.is_empty());
    assert_eq!((world.doing(ROOT), world.root().stage().unwrap().name.as_str()), ("model", "implement"));
    let withdrawn =
        |event: &Event| matches!(event, Event::ApprovalAnswered { answer: Answer::Withdrawn, .. });
    assert!(world.events(ROOT).any(withdrawn));
}

#[test]
fn a_conflict_goes_back_to_the_agent_and_a_dirty_target_ends_with_1() {
    let mut world = World::new();
    world.open(ROOT, spec());
    until(&mut world, "integrate");
    world.end(ROOT, integrated(None, Some("conflict")));
    assert_eq!((world.doing(ROOT), world.root().round), ("model", 1));
    until(&mut world, "integrate");
    world.end(ROOT, integrated(None, Some("dirty")));
    assert_eq!(end(&world), (Final::Failed, 1));
}

#[test]
fn what_may_not_land_is_left_on_a_branch_and_the_plan_goes_on() {
    let rights = Rights { land: false, ..spec().rights };
    let mut world = World::working(SessionSpec { rights, ..spec() });
    world.end(ROOT, says(vec![plan("p", &[("a", &[]), ("b", &["a"])])]));
    for _ in 0..2 {
        until(&mut world, "integrate");
        let branch = Some("kapell/x".to_owned());
        let left =
            Integrated { landed: None, branch, why: Some("not-asked".into()), detail: None, report: None };
        world.end(ROOT, End::Done(Done::Integrated(left)));
    }
    assert_eq!(end(&world), (Final::Completed, 0));
    assert!(world.root().end.as_ref().unwrap().why.contains("kapell/x"));
    assert!(world.root().plan.tasks.iter().all(|(_, state)| *state == TaskState::Done));
}

#[test]
fn a_plan_is_worked_off_in_the_order_of_its_dependencies() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![plan("p", &[("c", &["b"]), ("a", &[]), ("b", &["a"])])]));
    assert_eq!(world.root().plan.active().unwrap().id, "a");
    let mut order = vec!["a".to_owned()];
    while world.root().end.is_none() {
        let run = world.flight(ROOT).clone();
        world.end(ROOT, well(&run, &run.work));
        if let Some(active) = world.root().plan.active().map(|task| task.id.clone())
            && order.last() != Some(&active)
        {
            order.push(active);
        }
    }
    assert_eq!(order, ["a", "b", "c"]);
    assert_eq!(world.root().round, 0, "each task has its own rounds");
}

#[test]
fn tasks_behind_a_failed_one_are_skipped_through_and_through() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![plan("p", &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])])]));
    until(&mut world, "check");
    world.end(ROOT, checked("work", Status::Passed, Status::CouldNotRun));
    let states: Vec<TaskState> = world.root().plan.tasks.iter().map(|(_, state)| *state).collect();
    use TaskState::{Failed, Pending, Skipped};
    assert_eq!(states, [Failed, Skipped, Skipped, Pending]);
}

#[test]
fn a_plan_with_a_circle_is_the_calls_error() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![plan("p", &[("a", &["b"]), ("b", &["a"])])]));
    let last = world.root().items.back().unwrap();
    assert!(!last.ok && world.root().plan.tasks.is_empty());
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn who_needs_a_language_model_waits_with_8_and_goes_on_with_one() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![give_up("f", "language-model")]));
    let pause = world.root().pause.clone().unwrap();
    assert_eq!((pause.why.as_str(), pause.code), ("needs-model", 8));
    assert!(pause.hint.contains("--model"));
    let other = model("other/model", Some(PRICE));
    world.user(Wish::Resume { model: Some(Box::new(other)) });
    assert!(matches!(world.work(ROOT), Work::Model { model, .. } if model == "other/model"));
    world.play();
    assert_eq!(end(&world), (Final::Completed, 0));
}

#[test]
fn an_interrupted_call_is_made_to_the_new_model_only() {
    let mut world = World::working(spec());
    world.restart();
    world.end(ROOT, fails(Kind::UserFixable, "git"));
    world.user(Wish::Resume { model: Some(Box::new(model("other/model", Some(PRICE)))) });
    world.end(ROOT, prepared());
    assert!(matches!(world.work(ROOT), Work::Model { model, .. } if model == "other/model"));
}

#[test]
fn a_bare_agent_ends_when_it_yields() {
    let mut world = World::working(bare());
    world.end(ROOT, says(vec![]));
    assert_eq!(end(&world), (Final::Completed, 0));
}

#[test]
fn workflows_that_would_turn_for_ever_are_not_opened() {
    let mut world = World::new();
    let mut looping = spec();
    looping.workflow.stages[2].ok = Edge::To("validate".into());
    looping.workflow.stages[1].fail = Edge::To("integrate".into());
    let mut state = kernel::Session::new(ROOT);
    let ctx = kernel::Ctx { now: contract::Timestamp(1), random: 1, fence: 1, hold: false };
    let input = kernel::Input::Open(Box::new(looping));
    let refused = kernel::decide(&mut state, &mut world.governor, input, &ctx).unwrap_err();
    assert!(refused.to_string().contains("leads back"), "{refused}");
}

#[test]
fn the_end_of_a_premature_done_and_a_message_are_one_action() {
    let mut world = World::working(spec());
    world.user(message("one more thing"));
    world.user(message("and another"));
    let decision = world.end(ROOT, says(vec![finish("f")]));
    assert_eq!(decision.effects.len(), 1);
    assert_eq!(world.doing(ROOT), "model");
    assert!(world.root().queue.is_empty(), "both messages are in the one call");
    let said: Vec<_> = world.flight(ROOT).context.items.iter().rev().take(2).map(|item| item.text).collect();
    assert_eq!(said, [Some(text("and another")), Some(text("one more thing"))]);
}

#[test]
fn a_message_after_the_check_began_is_heard_before_anything_lands() {
    let mut world = World::new();
    world.open(ROOT, spec());
    until(&mut world, "integrate");
    world.user(message("wait"));
    world.end(ROOT, landed("abc"));
    assert_eq!(world.doing(ROOT), "model");
    assert_eq!(world.root().phase, Phase::Active);
}

#[test]
fn a_result_of_another_kind_of_work_is_a_failure_not_a_fact() {
    let mut world = World::working(spec());
    world.end(ROOT, make::landed("abc"));
    assert!(world.root().landed.is_none());
    assert_eq!(world.root().pause.as_ref().unwrap().why, "failure");
}

#[test]
fn a_stage_works_as_long_as_it_may_and_each_begins_anew() {
    let limited = |implement, validate| {
        let mut spec = spec();
        spec.workflow = kernel::workflow::unattended();
        spec.workflow.stages[0].limit_ms = Some(implement);
        spec.workflow.stages[1].limit_ms = Some(validate);
        spec
    };
    // Every action takes 10 ms here: preparing, and twice the model with a tool in between.
    let mut world = World::working(limited(40, 1_000));
    world.end(ROOT, says(vec![staged("a")]));
    world.tools(ROOT);
    assert_eq!(world.doing(ROOT), "model");
    let deadline = world.events(ROOT).rev().find_map(|event| match event {
        Event::Started { deadline, .. } => Some(deadline.0),
        _ => None,
    });
    assert_eq!(deadline, Some(world.now + 10), "what is left of the stage");
    world.end(ROOT, says(vec![staged("b")]));
    assert_eq!((end(&world), world.doing(ROOT)), ((Final::Failed, 124), "-"));
    assert!(world.root().end.as_ref().unwrap().why.contains("stage `implement` has worked for"));
    // The next stage has its own time.
    let mut world = World::working(limited(30, 1));
    world.end(ROOT, says(vec![finish("f")]));
    assert_eq!(world.doing(ROOT), "check");
    world.end(ROOT, End::TimedOut);
    // It would be tried again after a while.
    world.now += 3_600_000;
    world.feed(ROOT, Input::Tick);
    assert_eq!(end(&world), (Final::Failed, 124));
    assert!(world.root().end.as_ref().unwrap().why.contains("stage `validate`"));
    // Without a limit it is as long as it takes.
    let mut world = World::working(spec());
    for n in 0..20 {
        world.end(ROOT, says(vec![staged(&format!("n{n}"))]));
        world.tools(ROOT);
    }
    assert_eq!(world.doing(ROOT), "model");
    let seconds: Vec<u64> =
        kernel::workflow::unattended().stages.iter().filter_map(|stage| stage.limit_ms).collect();
    assert_eq!(seconds, [3_600_000, 900_000, 1_800_000, 900_000, 1_800_000]);
}
