//! Stop means stop (promise 10): cancel at every state; pause, resume, rewind.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::{Call, Done, End, Work};
use contract::event::{Disposal, Event, Final};
use contract::intent::{Source, Wish};
use contract::model::Stop;
use contract::session::Ask;
use contract::{ActionId, Amount, Kind};
use kernel::Input;
use kernel::fsm::{Phase, Turn};

#[test]
fn replies_that_are_cut_again_and_again_are_stuck_and_progress_is_not() {
    let cut = |calls| said(calls, Stop::MaxTokens);
    for calls in [Vec::new(), vec![wrong("w")]] {
        let mut world = World::working(spec());
        let mut asked = 0;
        while world.doing(ROOT) == "model" {
            asked += 1;
            let calls = calls.iter().map(|call| same(call, &format!("w{asked}"))).collect();
            world.end(ROOT, cut(calls));
        }
        assert_eq!(asked, 3, "not as many as a turn has steps");
        let pause = world.root().pause.clone().unwrap();
        assert_eq!((pause.why.as_str(), pause.code), ("stuck", 5));
        let failed = |event: &&Event| matches!(event, Event::Failed { signature, .. } if signature == "model/max-tokens");
        assert_eq!(world.events(ROOT).filter(failed).count(), 1);
        world.user(resume());
        assert_eq!(world.doing(ROOT), "model", "a person may let it try again");
    }
    let mut world = World::working(spec());
    for n in 0..10 {
        world.end(
            ROOT,
            cut(vec![pure(&format!("r{n}")), Call { error: Some(text("cut")), ..pure(&format!("w{n}")) }]),
        );
        world.tools(ROOT);
    }
    assert_eq!(world.doing(ROOT), "model", "what could be done was done");
}

#[test]
fn without_a_workspace_it_is_over_unless_all_it_takes_is_room() {
    let unmade = |code| {
        let mut world = World::new();
        world.open(ROOT, spec());
        world.end(ROOT, fails(Kind::UserFixable, code));
        world
    };
    assert_eq!(unmade("no-base").state(ROOT).phase, Phase::Ended);
    let mut full = unmade(contract::error::DISK_FULL);
    assert!(full.state(ROOT).pause.is_some(), "its advice is to resume it");
    full.user(Wish::Resume { model: None });
    assert!(matches!(full.work(ROOT), Work::Prepare));
}

/// A session in every state that there is, with its name.
fn states() -> Vec<(&'static str, World)> {
    let open = || {
        let mut world = World::new();
        world.open(ROOT, asking(Ask::External));
        world
    };
    let working = || World::working(asking(Ask::External));
    let said = |calls| {
        let mut world = working();
        world.end(ROOT, says(calls));
        world
    };
    let then = |mut world: World, end: End| {
        world.end(ROOT, end);
        world
    };
    let mut unknown = World::working(spec());
    unknown.end(ROOT, says(vec![external("x")]));
    unknown.end(ROOT, End::Unknown);
    let mut flagged = then(
        then(said(vec![]), checked("c", contract::checks::Status::Failed, contract::checks::Status::Passed)),
        inspected(1),
    );
    flagged.deliver();
    let mut paused = working();
    paused.user(Wish::Pause);
    paused.end(ROOT, says(vec![staged("e")]));
    let mut restarted = said(vec![staged("e")]);
    restarted.restart();
    let mut children = said(vec![delegate("d", "part")]);
    children.deliver();
    vec![
        ("preparing", open()),
        ("model", working()),
        ("tools", said(vec![staged("e")])),
        ("approval", said(vec![external("x")])),
        ("question", said(vec![ask("q")])),
        ("child", children),
        ("retry", then(working(), fails(Kind::Transient, "net"))),
        ("failure", then(working(), fails(Kind::Permanent, "no"))),
        ("unknown", unknown),
        ("checking", said(vec![])),
        ("flagged", flagged),
        ("needs", said(vec![give_up("f", "person")])),
        ("paused", paused),
        ("restarted", restarted),
    ]
}

#[test]
fn cancel_is_final_in_every_state() {
    for (name, mut world) in states() {
        let flying = world.sessions[&ROOT].flight.clone();
        let late = flying.as_ref().map(|_| world.outcome(ROOT, says(vec![])));
        world.user(Wish::Cancel);
        if let Some(run) = flying {
            assert_eq!(world.sessions[&ROOT].cancelled, Some((run.action, false)), "{name}");
            world.user(Wish::Cancel);
            assert_eq!(world.sessions[&ROOT].cancelled, Some((run.action, true)), "{name}: no more patience");
        }
        let before = world.sessions.values().map(|live| live.state.step).sum::<u32>();
        world.play();
        let after = world.sessions.values().map(|live| live.state.step).sum::<u32>();
        assert_eq!(after, before, "{name}: nothing new started");
        let end = world.root().end.clone().unwrap_or_else(|| panic!("{name}: {}", world.brief(ROOT)));
        assert_eq!((end.state, end.code), (Final::Cancelled, 130), "{name}");
        assert_eq!(world.ledger(ROOT).held(ROOT), Amount::ZERO, "{name}");
        let Some(late) = late else { continue };
        let decision = world.feed(ROOT, Input::Outcome(Box::new(late)));
        assert!(matches!(&decision.events[..], [Event::Stale { .. }]), "{name}");
    }
}

#[test]
fn after_the_end_everything_is_refused_and_nothing_runs() {
    for (name, mut world) in states() {
        world.user(Wish::Cancel);
        world.play();
        let wishes = [
            Wish::Continue,
            Wish::Initialise,
            message("hello"),
            Wish::Cancel,
            Wish::Pause,
            resume(),
            Wish::Approve { approval: "a1".into(), hash: text("") },
            Wish::Deny { approval: "a1".into() },
            Wish::Answer { question: "q1".into(), text: text(""), bytes: 0 },
            Wish::Rewind { to: ActionId { turn: 1, step: 1 } },
            Wish::AddBudget { amount: Amount::ZERO },
        ];
        for wish in wishes {
            let decision = world.user(wish.clone());
            let refused = matches!(
                &decision.events[..],
                [Event::Submitted { .. }, Event::Disposed { how: Disposal::Refused(_), .. }]
            );
            assert!(refused && decision.effects.is_empty(), "{name}: {wish:?}");
        }
        for input in [Input::Tick, Input::Recover, Input::Stop] {
            let decision = world.feed(ROOT, input);
            assert!(decision.events.is_empty() && decision.effects.is_empty(), "{name}");
        }
    }
}

#[test]
fn every_state_survives_a_pause_a_restart_and_a_resume() {
    for (name, mut world) in states() {
        world.user(Wish::Pause);
        world.play();
        if world.root().phase == Phase::Ended {
            continue;
        }
        assert_eq!(world.root().phase, Phase::Paused, "{name}");
        world.restart();
        assert_eq!(world.doing(ROOT), "-", "{name}");
        world.user(resume());
        assert_eq!(world.root().phase, Phase::Active, "{name}");
        world.play();
        world.at_rest(ROOT);
    }
}

#[test]
fn a_pause_comes_after_the_action_in_flight_and_before_anything_else() {
    let mut world = World::working(spec());
    world.user(message("more"));
    world.user(Wish::Pause);
    world.user(Wish::Pause);
    world.end(ROOT, says(vec![delegate("d", "part")]));
    assert_eq!(world.root().phase, Phase::Paused);
    assert!(world.root().children.is_empty());
    world.user(Wish::Pause);
    world.user(resume());
    assert_eq!(world.root().phase, Phase::Active, "no pause is left over");
    assert_eq!(world.root().children.len(), 1);
}

#[test]
fn a_message_resumes_and_only_a_persons() {
    let mut world = World::working(spec());
    world.user(Wish::Pause);
    world.end(ROOT, says(vec![]));
    world.wish(ROOT, Source::Schedule, message("nightly"));
    assert_eq!(world.root().phase, Phase::Paused);
    world.user(message("go on"));
    assert_eq!(world.doing(ROOT), "model");
    assert!(world.root().queue.is_empty(), "both are in the one call");
}

#[test]
fn resuming_with_the_calls_still_open_says_nothing_in_between() {
    let mut world = World::working(spec());
    world.user(Wish::Pause);
    world.end(ROOT, says(vec![give_up("f1", "person"), ask("q")]));
    world.user(resume());
    world.play();
    assert_eq!(world.root().turn, Turn::Yielded);
    world.at_rest(ROOT);
}

/// A session with two savepoints, its agent in the middle of a turn.
fn changed() -> (World, ActionId) {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![staged("e1")]));
    let first = world.flight(ROOT).action;
    world.tools(ROOT);
    world.end(ROOT, says(vec![staged("e2")]));
    world.tools(ROOT);
    (world, first)
}

#[test]
fn a_rewind_waits_for_the_step_boundary_and_the_agent_is_told() {
    let (mut world, first) = changed();
    world.user(Wish::Rewind { to: first });
    world.end(ROOT, says(vec![pure("r")]));
    assert_eq!(world.doing(ROOT), "tools", "the agent's calls get their results first");
    world.tools(ROOT);
    assert!(matches!(world.work(ROOT), Work::Rewind { to } if *to == first));
    let rewind = world.flight(ROOT).action;
    world.end(ROOT, End::Done(Done::Rewound { to: first, undo: "undo".into() }));
    assert_eq!(world.doing(ROOT), "model");
    world.end(ROOT, says(vec![]));
    world.user(Wish::Rewind { to: rewind });
    world.play();
    assert!(
        world.root().savepoints.iter().any(|(action, _)| *action == rewind),
        "and the rewind can be rewound"
    );
}

#[test]
fn a_rewind_to_nowhere_is_refused_with_advice() {
    let (mut world, _) = changed();
    world.user(Wish::Rewind { to: ActionId { turn: 7, step: 77 } });
    world.end(ROOT, says(vec![]));
    let refused = world.events(ROOT).any(|event| matches!(event, Event::Disposed { how: Disposal::Refused(why), .. } if why.contains("kapell events")));
    assert!(refused);
}

#[test]
fn a_rewind_of_a_paused_session_leaves_it_paused_and_a_failed_one_harms_nothing() {
    for end in [
        End::Done(Done::Rewound { to: ActionId::default(), undo: "undo".into() }),
        fails(Kind::UserFixable, "no-savepoint"),
    ] {
        let (mut world, first) = changed();
        world.user(Wish::Pause);
        world.end(ROOT, says(vec![]));
        world.user(Wish::Rewind { to: first });
        assert_eq!(world.doing(ROOT), "rewind");
        let end = match end.clone() {
            End::Done(Done::Rewound { undo, .. }) => End::Done(Done::Rewound { to: first, undo }),
            other => other,
        };
        let went = matches!(end, End::Done(_));
        world.end(ROOT, end);
        assert_eq!((world.root().phase, world.doing(ROOT)), (Phase::Paused, "-"));
        world.user(resume());
        assert_eq!(world.doing(ROOT), if went { "model" } else { "check" });
    }
}

#[test]
fn a_rewind_does_not_wait_for_checks_that_cannot_run() {
    let (mut world, first) = changed();
    world.end(ROOT, says(vec![]));
    world.end(ROOT, fails(Kind::UserFixable, "unreadable"));
    world.user(Wish::Rewind { to: first });
    assert_eq!(world.doing(ROOT), "rewind");
    world.end(ROOT, End::Done(Done::Rewound { to: first, undo: "undo".into() }));
    world.user(resume());
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn a_rewind_that_fails_for_a_moment_is_tried_again() {
    let (mut world, first) = changed();
    world.user(Wish::Rewind { to: first });
    world.end(ROOT, says(vec![]));
    world.end(ROOT, fails(Kind::Transient, "git-lock"));
    world.now = world.sessions[&ROOT].wake_at.unwrap().0;
    world.feed(ROOT, Input::Tick);
    assert_eq!((world.doing(ROOT), world.flight(ROOT).attempt), ("rewind", 2));
}

#[test]
fn a_rewind_after_the_work_was_done_gives_the_agent_the_word() {
    let (mut world, first) = changed();
    world.end(ROOT, says(vec![]));
    world.user(Wish::Rewind { to: first });
    world.end(ROOT, fails(Kind::Transient, "disk"));
    assert_eq!(world.doing(ROOT), "rewind", "what is undone need not be checked first");
    world.end(ROOT, End::Done(Done::Rewound { to: first, undo: "undo".into() }));
    assert_eq!((world.doing(ROOT), world.root().stage().unwrap().name.as_str()), ("model", "implement"));
}
