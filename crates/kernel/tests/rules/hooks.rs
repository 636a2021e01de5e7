//! Hooks: asked before rules and people are, told of what happened, and never more than a word within the policy.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::{Call, Done, EffectClass, End, Work};
use contract::event::{Answer, Disposal, Event, Final, Notice};
use contract::hooks::{HookAnswer, HookDef, HookEvent};
use contract::policy::{Decision, Ruling};
use contract::session::{Ask, SessionSpec};
use contract::{Kind, limits};
use kernel::Input;
use kernel::fsm::Phase;

pub(crate) fn hook(event: HookEvent) -> HookDef {
    HookDef {
        event,
        matcher: String::new(),
        only: String::new(),
        run: "./hook".into(),
        timeout_ms: 1_000,
        from: "hooks.json".into(),
        project: false,
        confined: true,
        silent: false,
        env: Vec::new(),
    }
}

fn with(events: &[HookEvent], ask: Ask) -> SessionSpec {
    SessionSpec { hooks: events.iter().copied().map(hook).collect(), ..asking(ask) }
}

fn about(call: Call, events: &[HookEvent]) -> Call {
    Call { hooks: events.to_vec(), ..call }
}

pub(crate) fn answer(say: Option<Decision>) -> HookAnswer {
    HookAnswer {
        hook: 0,
        say,
        halt: false,
        said: "so it is".into(),
        failed: String::new(),
        exit: Some(0),
        ms: 1,
        handed: Vec::new(),
    }
}

pub(crate) fn answered(answers: Vec<HookAnswer>, told: Option<&str>, call: Option<Call>) -> End {
    let bytes = told.map_or(0, |told| told.len() as u64);
    End::Done(Done::Hooked { answers, told: told.map(text), bytes, call: call.map(Box::new) })
}

fn says_of(say: Decision) -> End {
    answered(vec![answer(Some(say))], (say == Decision::Deny).then_some("not run: a hook denied it"), None)
}

fn asked(world: &World) -> HookEvent {
    let Work::Hooks { asked } = world.work(ROOT) else { panic!("{:?}", world.work(ROOT)) };
    asked.event
}

fn pre(ask: Ask) -> World {
    let mut world = World::working(with(&[HookEvent::PreToolUse], ask));
    world.end(ROOT, says(vec![about(external("x"), &[HookEvent::PreToolUse])]));
    assert_eq!((world.doing(ROOT), asked(&world)), ("hooks", HookEvent::PreToolUse));
    world
}

#[test]
fn a_hook_is_asked_before_a_person_is_and_its_no_is_the_calls_answer() {
    let mut world = pre(Ask::External);
    assert!(world.root().pending_approval().is_none());
    world.end(ROOT, says_of(Decision::Deny));
    assert_eq!(world.doing(ROOT), "model");
    assert!(world.effects.is_empty() && world.root().pending_approval().is_none());
    let item = world.root().items.back().unwrap();
    assert_eq!((item.ok, item.text), (false, Some(text("not run: a hook denied it"))));
}

#[test]
fn a_hooks_yes_stands_for_a_persons_but_not_for_the_floors() {
    let mut world = pre(Ask::External);
    world.end(ROOT, says_of(Decision::Allow));
    assert_eq!(world.doing(ROOT), "tools");
    assert!(world.flight(ROOT).approved.is_some(), "bound to what was judged");
    for firm in [false, true] {
        let mut world = World::working(with(&[HookEvent::PreToolUse], Ask::Never));
        let ruled = Some(Ruling { verdict: Decision::Ask, why: "it publishes".into(), firm });
        world.end(ROOT, says(vec![Call { ruled, ..about(external("x"), &[HookEvent::PreToolUse]) }]));
        world.end(ROOT, says_of(Decision::Allow));
        assert_eq!(world.root().pending_approval().is_some(), firm);
    }
}

#[test]
fn a_hook_that_asks_makes_a_person_decide_and_one_that_failed_has_said_no() {
    let mut world = pre(Ask::Never);
    world.end(ROOT, says_of(Decision::Ask));
    assert!(world.root().pending_approval().is_some());
    let mut world = pre(Ask::Never);
    let failed = HookAnswer { failed: "it took longer than 60 s".into(), ..answer(None) };
    world.end(ROOT, answered(vec![failed], None, None));
    assert_eq!(world.doing(ROOT), "model");
    assert!(world.effects.is_empty());
}

#[test]
fn what_a_hook_changed_is_what_is_approved_and_runs() {
    let mut world = pre(Ask::External);
    let changed = Call { args: text("other"), hash: text("other content"), ..about(external("x"), &[]) };
    let changed = Call { id: world.root().calls[0].call.id.clone(), ..changed };
    world.end(ROOT, answered(vec![answer(None)], Some("changed"), Some(changed.clone())));
    let (id, approval) = world.root().pending_approval().expect("a question");
    assert_eq!(approval.hash, changed.hash);
    let (id, hash) = (id.to_owned(), approval.hash);
    world.user(contract::intent::Wish::Approve { approval: id, hash });
    let Work::Tools { calls } = world.work(ROOT) else { panic!() };
    assert_eq!(calls[0].args, changed.args);
    // What it said stands behind the result, never between the call and it.
    world.tools(ROOT);
    let notices = world.root().items.iter().filter(|item| item.notice.is_some()).count();
    assert_eq!(notices, 1);
}

#[test]
fn another_calls_outcome_is_no_answer() {
    let mut world = pre(Ask::Never);
    world.end(ROOT, answered(vec![answer(None)], None, Some(external("another"))));
    assert!(world.effects.is_empty());
    assert_ne!(world.doing(ROOT), "tools");
}

#[test]
fn a_person_is_asked_only_after_the_hooks_for_that() {
    let mut world = World::working(with(&[HookEvent::PermissionRequest], Ask::External));
    world.end(ROOT, says(vec![about(external("x"), &[HookEvent::PermissionRequest])]));
    assert_eq!(asked(&world), HookEvent::PermissionRequest);
    world.end(ROOT, answered(vec![answer(None)], None, None));
    assert!(world.root().pending_approval().is_some());
    // Nobody would be asked: neither are they.
    let mut world = World::working(with(&[HookEvent::PermissionRequest], Ask::Never));
    world.end(ROOT, says(vec![about(external("x"), &[HookEvent::PermissionRequest])]));
    assert_eq!(world.doing(ROOT), "tools");
}

#[test]
fn results_are_told_one_by_one_before_the_model_goes_on() {
    let after = [HookEvent::PostToolUse, HookEvent::PostToolUseFailure];
    let mut world = World::working(with(&after, Ask::Never));
    world.end(ROOT, says(vec![about(staged("a"), &after), about(staged("b"), &after)]));
    world.tools(ROOT);
    assert_eq!(asked(&world), HookEvent::PostToolUse);
    world.end(ROOT, answered(vec![answer(Some(Decision::Deny))], Some("format it"), None));
    assert_eq!(world.doing(ROOT), "tools");
    let run = world.flight(ROOT).clone();
    world.end(ROOT, ran(&run, false));
    assert_eq!(asked(&world), HookEvent::PostToolUseFailure);
    world.end(ROOT, answered(Vec::new(), None, None));
    assert_eq!(world.doing(ROOT), "model");
    let words = world.root().items.iter().filter_map(|item| item.notice.as_deref());
    assert_eq!(words.filter(|notice| matches!(notice, Notice::Hook { .. })).count(), 1);
}

#[test]
fn a_goal_and_a_message_pass_the_hooks_first() {
    let mut world = World::working(with(&[HookEvent::UserPromptSubmit], Ask::Never));
    assert_eq!(asked(&world), HookEvent::UserPromptSubmit);
    world.end(ROOT, answered(vec![answer(None)], Some("it is Monday"), None));
    assert_eq!(world.doing(ROOT), "model");
    world.user(message("use tabs"));
    world.end(ROOT, says(vec![staged("a")]));
    world.tools(ROOT);
    assert_eq!(asked(&world), HookEvent::UserPromptSubmit);
    world.end(ROOT, says_of(Decision::Deny));
    let refused = |event: &Event| matches!(event, Event::Disposed { how: Disposal::Refused(why), .. } if why.contains("hook"));
    assert!(world.events(ROOT).any(refused));
    assert!(!world.root().items.iter().any(|item| item.text == Some(text("use tabs"))));
    assert_eq!(world.doing(ROOT), "model");

    let mut world = World::working(with(&[HookEvent::UserPromptSubmit], Ask::Never));
    world.end(ROOT, says_of(Decision::Deny));
    let end = world.root().end.clone().unwrap();
    assert_eq!((end.state, end.code), (Final::Failed, 6));
    assert_eq!(world.root().ordinal, 0, "no model has seen it");
}

#[test]
fn an_agent_is_kept_at_work_but_not_for_ever() {
    let mut world = World::working(with(&[HookEvent::Stop], Ask::Never));
    for n in 0..limits::HOOK_KEEPS {
        world.end(ROOT, says(vec![finish(&format!("f{n}"))]));
        assert_eq!(asked(&world), HookEvent::Stop);
        let Work::Hooks { asked } = world.work(ROOT) else { panic!() };
        assert_eq!(asked.again, n > 0);
        world.end(ROOT, answered(vec![answer(Some(Decision::Deny))], Some("run the tests"), None));
        assert_eq!(world.doing(ROOT), "model");
    }
    world.end(ROOT, says(vec![finish("last")]));
    world.end(ROOT, answered(vec![answer(Some(Decision::Deny))], Some("run the tests"), None));
    assert_eq!(world.doing(ROOT), "check");
}

#[test]
fn start_wait_and_end_are_told() {
    let all = [HookEvent::SessionStart, HookEvent::Notification, HookEvent::SessionEnd];
    let mut world = World::working(with(&all, Ask::External));
    assert_eq!(asked(&world), HookEvent::SessionStart);
    world.end(ROOT, answered(vec![answer(None)], Some("the build is broken"), None));
    world.end(ROOT, says(vec![external("x")]));
    assert_eq!(asked(&world), HookEvent::Notification);
    assert!(world.root().pending_approval().is_some());
    world.end(ROOT, answered(Vec::new(), None, None));
    assert_eq!(world.doing(ROOT), "-");
    let (id, hash) = world.root().pending_approval().map(|(id, it)| (id.to_owned(), it.hash)).unwrap();
    world.user(contract::intent::Wish::Approve { approval: id, hash });
    world.play();
    let names: Vec<&Event> = world.events(ROOT).collect();
    let ending = names.iter().position(|event| matches!(event, Event::Ending { .. })).expect("told");
    assert!(matches!(names.last(), Some(Event::Ended { .. })) && ending < names.len() - 1);
    let told = |event: &&&Event| matches!(event, Event::Started { work: Work::Hooks { .. }, .. });
    assert_eq!(names[ending..].iter().filter(told).count(), 1);
}

#[test]
fn an_end_comes_also_when_its_hook_is_lost() {
    for lose in [false, true] {
        let mut world = World::working(with(&[HookEvent::SessionEnd], Ask::Never));
        while !matches!(world.work(ROOT), Work::Hooks { .. }) {
            let run = world.flight(ROOT).clone();
            world.end(ROOT, crate::world::well(&run, &run.work));
        }
        assert_eq!(world.root().phase, Phase::Active);
        if lose {
            world.restart();
        } else {
            world.end(ROOT, fails(contract::Kind::Permanent, "broken"));
        }
        assert_eq!(world.root().phase, Phase::Ended, "lost: {lose}");
    }
}

#[test]
fn a_hook_may_stop_the_session_and_a_person_lets_it_go_on() {
    let mut world = pre(Ask::Never);
    let halt = HookAnswer { halt: true, ..answer(None) };
    world.end(ROOT, answered(vec![halt], None, None));
    assert_eq!(world.root().phase, Phase::Paused);
    assert!(world.root().pause.as_ref().unwrap().what.contains("so it is"));
    world.user(resume());
    assert_eq!(world.doing(ROOT), "tools");
}

#[test]
fn confined_hooks_run_again_from_what_was_before_and_others_under_the_same_name() {
    let mut world = pre(Ask::Never);
    assert_eq!(world.flight(ROOT).class, EffectClass::Staged);
    let first = world.flight(ROOT).action;
    world.restart();
    // The workspace first, which the new process has not seen yet.
    world.end(ROOT, prepared());
    let run = world.flight(ROOT).clone();
    assert_eq!((run.action, run.attempt, run.restore), (first, 2, true));
    let open = HookDef { confined: false, ..hook(HookEvent::PreToolUse) };
    let mut world = World::working(SessionSpec { hooks: vec![open], ..spec() });
    world.end(ROOT, says(vec![about(external("x"), &[HookEvent::PreToolUse])]));
    assert_eq!(world.flight(ROOT).class, EffectClass::Keyed);
}

#[test]
fn an_answer_while_the_session_is_being_cancelled_starts_nothing() {
    let mut world = pre(Ask::Never);
    world.user(contract::intent::Wish::Cancel);
    world.end(ROOT, says_of(Decision::Allow));
    assert_eq!(world.root().phase, Phase::Ended);
    assert!(world.effects.is_empty());
    world.feed(ROOT, Input::Tick);
    let answered = |event: &Event| matches!(event, Event::ApprovalAnswered { answer: Answer::Granted, .. });
    assert!(!world.events(ROOT).any(answered));
}

#[test]
fn a_notification_that_cannot_be_given_is_passed_over() {
    let mut world = World::working(with(&[HookEvent::Notification], Ask::External));
    world.end(ROOT, says(vec![external("x")]));
    assert_eq!((world.doing(ROOT), asked(&world)), ("hooks", HookEvent::Notification));
    let begun = |world: &World| {
        world
            .events(ROOT)
            .filter(|event| matches!(event, Event::Started { work: Work::Hooks { .. }, .. }))
            .count()
    };
    world.end(ROOT, fails(Kind::Permanent, "blob-missing"));
    world.feed(ROOT, Input::Tick);
    world.feed(ROOT, Input::Tick);
    assert_eq!(begun(&world), 1, "once, and not again and again");
}
