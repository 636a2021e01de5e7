//! Examples of what is stored about hooks. Start at [`all`].

use super::Example;
use super::examples::{AT, action, bare_spec, blob, call, intent_id};
use contract::action::{Call, Done, EffectClass, End, Outcome, Work};
use contract::event::{Event, Final, Notice};
use contract::handle::Handed;
use contract::hooks::{Asked, HookAnswer, HookDef, HookEvent};
use contract::policy::{Decision, Ruling};
use contract::session::SessionSpec;
use contract::{Amount, Digest};

/// Every shape.
pub(super) fn all() -> Vec<Example<Event>> {
    let hooked = Call {
        hooks: HookEvent::ALL.to_vec(),
        ruled: Some(Ruling { verdict: Decision::Ask, why: "it publishes (floor)".into(), firm: true }),
        ..call("c3-0", "shell", EffectClass::External)
    };
    let full = Asked {
        call: Some(Box::new(hooked.clone())),
        gave: Some(blob("exit 0")),
        text: Some(blob("All done.")),
        intent: Some(intent_id(4)),
        again: true,
        ..Asked::of(HookEvent::PostToolUse, "startup")
    };
    let ending = |state, code| Event::Ending { state, code, why: "the workflow is through".into() };
    vec![
        ("opened-hooks", Event::Opened { spec: Box::new(SessionSpec { hooks: defs(), ..bare_spec() }) }),
        ("opened-hooks-env", Event::Opened { spec: Box::new(SessionSpec { hooks: given(), ..bare_spec() }) }),
        ("finished-hooked-handed", done(handed(), None, None)),
        ("started-hooks", started(full)),
        ("started-hooks-bare", started(Asked::of(HookEvent::SessionEnd, ""))),
        ("finished-hooked", done(answers(), Some(blob("not run: a hook denied it: no")), Some(hooked))),
        ("finished-hooked-bare", done(Vec::new(), None, None)),
        (
            "noticed-hook",
            Event::Noticed {
                notice: Notice::Hook { event: HookEvent::Stop, text: blob("run the tests first") },
            },
        ),
        ("ending-completed", ending(Final::Completed, 0)),
        ("ending-failed", ending(Final::Failed, 3)),
    ]
}

fn defs() -> Vec<HookDef> {
    let bare = HookDef {
        event: HookEvent::Stop,
        matcher: String::new(),
        only: String::new(),
        run: "./check.sh".into(),
        timeout_ms: 60_000,
        from: "/home/ada/.config/kapell/hooks.json".into(),
        project: false,
        confined: false,
        silent: false,
        env: Vec::new(),
    };
    let full = HookDef {
        event: HookEvent::PreToolUse,
        matcher: "Bash|Edit".into(),
        only: "Bash(git *)".into(),
        project: true,
        confined: true,
        silent: true,
        ..bare.clone()
    };
    vec![bare, full]
}

/// One that is given a secret.
fn given() -> Vec<HookDef> {
    let env = vec![("LOG_TOKEN".into(), "secret:LOG".into())];
    defs().into_iter().take(1).map(|hook| HookDef { env: env.clone(), ..hook }).collect()
}

fn handed() -> Vec<HookAnswer> {
    let handed = vec![Handed { name: "LOG".into(), to: "a hook".into() }];
    answers().into_iter().take(1).map(|answer| HookAnswer { handed: handed.clone(), ..answer }).collect()
}

fn answers() -> Vec<HookAnswer> {
    let bare = HookAnswer {
        hook: 0,
        say: None,
        halt: false,
        said: String::new(),
        failed: String::new(),
        exit: None,
        ms: 12,
        handed: Vec::new(),
    };
    let say = |say| HookAnswer { say: Some(say), ..bare.clone() };
    let full = HookAnswer {
        hook: 1,
        halt: true,
        said: "no".into(),
        failed: "it took longer than 60 s".into(),
        exit: Some(2),
        ..say(Decision::Deny)
    };
    vec![bare.clone(), say(Decision::Allow), say(Decision::Ask), full]
}

fn started(asked: Asked) -> Event {
    Event::Started {
        action: action(1, 3),
        attempt: 1,
        work: Work::Hooks { asked: Box::new(asked) },
        class: EffectClass::Staged,
        why: "confined to the workspace".into(),
        deadline: AT.plus(1_800_000),
        fence: 3,
        approval: None,
        reserved: Amount::ZERO,
    }
}

fn done(answers: Vec<HookAnswer>, told: Option<Digest>, call: Option<Call>) -> Event {
    let bytes = if told.is_some() { 29 } else { 0 };
    let end = End::Done(Done::Hooked { answers, told, bytes, call: call.map(Box::new) });
    Event::Finished { outcome: Outcome::new(action(1, 3), 1, end, Amount { steps: 1, ..Amount::ZERO }) }
}
