//! The museum: bugs other conductors shipped, each as a test that fails when we have it too. Comments name the source;
//! `docs/museum.md` is the whole list, with what is shown elsewhere.
//!
//! Knows only decisions. Start at any test.

use crate::make::*;
use crate::world::{ROOT, World, whole_conversation};
use contract::action::{End, Role, Work};
use contract::event::{Event, Final, LedgerEvent};
use contract::intent::{Source, Wish};
use contract::session::{Limits, SessionSpec};
use contract::{Amount, Kind, SessionId, Timestamp};
use kernel::Input;
use kernel::fsm::Phase;
use kernel::governor::Slots;

fn child_of(world: &World, parent: SessionId) -> SessionId {
    *world.state(parent).children.keys().next_back().expect("a child")
}

fn starts(world: &World, id: SessionId) -> usize {
    world.events(id).filter(|event| matches!(event, Event::Started { .. })).count()
}

/// CC 2.1.200: a turn cancelled with Esc was run again after a stall and a respawn.
#[test]
fn a_cancelled_turn_is_not_run_again_after_a_stall_and_a_respawn() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![external("x")]));
    world.user(Wish::Cancel);
    let before = starts(&world, ROOT);
    // It stalls: the cancel never comes through, the process dies, another one takes over. Twice.
    for _ in 0..2 {
        world.restart();
        world.wish(ROOT, Source::Recovery, Wish::Continue);
        world.play();
    }
    assert_eq!(starts(&world, ROOT), before);
    assert_eq!(world.root().end.as_ref().unwrap().state, Final::Cancelled);
}

/// CC 2.1.199: `stop` was undone by a respawn that raced with it.
#[test]
fn a_stop_is_not_undone_by_a_respawn_that_races_with_it() {
    for stop_first in [true, false] {
        let mut world = World::working(spec());
        let stop = world.intent(ROOT, Source::User, Wish::Cancel);
        let respawn = world.intent(ROOT, Source::Recovery, Wish::Resume { model: None });
        let both = if stop_first { vec![Ok(stop), Ok(respawn)] } else { vec![Ok(respawn), Ok(stop)] };
        world.restart();
        let before = starts(&world, ROOT);
        world.feed(ROOT, Input::Inbox(both));
        world.user(resume());
        world.play();
        assert_eq!(world.root().end.as_ref().unwrap().state, Final::Cancelled, "{stop_first}");
        assert_eq!(starts(&world, ROOT), before, "{stop_first}");
    }
}

/// CC 2.1.203: reopening a session ran its prompt from scratch.
#[test]
fn reopening_does_not_run_the_prompt_from_scratch() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![external("x")]));
    world.tools(ROOT);
    let said = world.flight(ROOT).context.items.len();
    world.restart();
    world.end(ROOT, prepared());
    let run = world.flight(ROOT);
    assert!(matches!(run.work, Work::Model { ordinal: 1, .. }), "{:?}", run.work);
    assert_eq!(run.context.items.len(), said, "all that was said and done is known");
    assert_eq!(world.effects.len(), 1);
}

/// CC 2.1.211: agents a user had killed were spawned again with stale prompts.
#[test]
fn what_was_wished_of_a_killed_session_is_not_wished_of_it_again() {
    let mut world = World::working(spec());
    let old = world.intent(ROOT, Source::User, message("old prompt"));
    world.feed(ROOT, Input::Inbox(vec![Ok(old.clone())]));
    world.user(Wish::Cancel);
    world.end(ROOT, End::Cancelled);
    let before = starts(&world, ROOT);
    world.restart();
    world.feed(ROOT, Input::Inbox(vec![Ok(old)]));
    world.wish(ROOT, Source::Schedule, message("stale prompt"));
    world.play();
    assert_eq!(starts(&world, ROOT), before);
    assert_eq!(world.root().phase, Phase::Ended);
}

/// CC 2.1.217: the budget did not stop agents in the background.
#[test]
fn a_budget_that_is_used_up_stops_children_too() {
    let cap = Amount { tokens: 12_000, ..Amount::UNLIMITED };
    let mut world = World::working(SessionSpec { budget: cap, ..spec() });
    world.end(ROOT, says(vec![delegate("d1", "one"), delegate("d2", "two")]));
    world.deliver();
    let children: Vec<SessionId> = world.root().children.keys().copied().collect();
    for child in &children {
        world.end(*child, prepared());
    }
    assert!(children.iter().any(|child| world.doing(*child) == "-"), "there is enough for one only");
    for _ in 0..90 {
        let busy = children.iter().find(|child| world.doing(**child) == "model").copied();
        let Some(child) = busy else { break };
        world.end(child, said(vec![], contract::model::Stop::MaxTokens));
    }
    assert!(children.iter().all(|child| world.doing(*child) == "-"), "nobody calls a model any more");
    let ledger = world.ledger(ROOT);
    assert!(ledger.sound() && ledger.settled(ROOT).tokens <= 12_000);
}

/// CC 2.1.205: a message sent when the turn had reached its limit was lost.
#[test]
fn a_message_sent_at_the_turn_limit_is_not_lost() {
    let limits = Limits { steps_per_turn: 2, ..Limits::default() };
    let mut world = World::working(SessionSpec { limits, ..spec() });
    world.user(message("mind the gap"));
    world.end(ROOT, says(vec![pure("r")]));
    world.user(message("and the doors"));
    while world.doing(ROOT) == "tools" {
        world.tools(ROOT);
    }
    world.user(resume());
    for _ in 0..20 {
        match world.doing(ROOT) {
            "model" => drop(world.end(ROOT, says(vec![]))),
            _ => break,
        }
    }
    for words in ["mind the gap", "and the doors"] {
        let heard =
            |item: &&contract::action::Item| item.role == Role::User && item.text == Some(text(words));
        assert_eq!(world.root().items.iter().filter(heard).count(), 1, "{words}: {}", world.brief(ROOT));
    }
}

/// CC 2.1.199: an API error of a sub-agent was reported to its parent as a success.
#[test]
fn a_childs_provider_error_is_not_reported_as_success() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part")]));
    let child = child_of(&world, ROOT);
    world.deliver();
    world.end(child, prepared());
    world.end(child, fails(Kind::Permanent, "api-error"));
    // It waits for a person about it; the person gives it up.
    world.wish(child, Source::User, Wish::Cancel);
    world.deliver();
    let told = world.root().items.iter().find(|item| item.call.as_deref() == Some("d")).expect("a result");
    assert!(!told.ok, "{told:?}");
    assert_ne!(world.state(child).end.as_ref().unwrap().code, 0);
}

/// CC 2.1.211: a parent made up the results of a child that was still running.
#[test]
fn a_parent_has_no_word_while_its_child_runs() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![delegate("d", "part"), pure("r")]));
    while world.doing(ROOT) == "tools" {
        world.tools(ROOT);
    }
    let child = child_of(&world, ROOT);
    world.deliver();
    world.wish(ROOT, Source::MainLoop, Wish::Continue);
    world.wish(ROOT, Source::User, message("is it done?"));
    world.restart();
    assert!(world.doing(ROOT) != "model", "no model is asked while call d has no result");
    world.inbox_again();
    world.play();
    assert_eq!(world.state(child).end.as_ref().unwrap().code, 0);
    let items: Vec<_> = world.root().items.iter().cloned().collect();
    whole_conversation(&items);
}

/// OpenCode#14546: two stores were written at different times, and a crash in between left one without the other.
#[test]
fn parent_child_and_budget_are_written_in_one_piece() {
    let mut world = World::working(spec());
    let decision = world.end(ROOT, says(vec![delegate("d", "part")]));
    let opened = decision.events.iter().find_map(|event| match event {
        Event::ChildOpened { child, .. } => Some(*child),
        _ => None,
    });
    let (child, facts) = &decision.children[0];
    assert_eq!(Some(*child), opened);
    assert!(matches!(facts[0], Event::Opened { .. }));
    let admits =
        |event: &LedgerEvent| matches!(event, LedgerEvent::Admitted { session, .. } if session == child);
    assert!(decision.ledger.iter().any(admits), "{:?}", decision.ledger);
}

/// multica#4336: the report of a failure was sent on a context that was already cancelled, and got lost.
#[test]
fn how_a_cancelled_action_ended_is_still_put_on_record() {
    let mut world = World::working(spec());
    world.end(ROOT, says(vec![external("x")]));
    let action = world.flight(ROOT).action;
    world.user(Wish::Cancel);
    world.end(ROOT, fails(Kind::Permanent, "broke-while-stopping"));
    let recorded = world.events(ROOT).any(|event| {
        matches!(event, Event::Finished { outcome } if outcome.action == action
            && matches!(&outcome.end, End::Failed(fault) if fault.code == "broke-while-stopping"))
    });
    assert!(recorded);
    assert_eq!(world.root().end.as_ref().unwrap().state, Final::Cancelled);
}

/// multica#6305: all retries were used up within the very second of an outage.
#[test]
fn retries_are_not_burned_in_the_second_of_an_outage() {
    let mut world = World::working(spec());
    let began = world.now;
    let mut attempts = 1;
    world.end(ROOT, fails(Kind::Degraded, "outage"));
    // Everybody pokes it all the time.
    while world.now < began + 1_000 {
        world.now += 5;
        world.feed(ROOT, Input::Tick);
        world.wish(ROOT, Source::MainLoop, Wish::Continue);
        if world.doing(ROOT) == "model" {
            attempts += 1;
            world.end(ROOT, fails(Kind::Degraded, "outage"));
        }
    }
    assert!(attempts <= 2, "{attempts} attempts in a second");
    assert_eq!(world.root().phase, Phase::Active, "it still has retries");
}

/// Sylk: a limit that was hit went on only when somebody asked the limiter; a paused system asked nobody.
#[test]
fn a_rate_limit_wakes_its_session_by_itself() {
    let mut world = World::working(spec());
    world.end(ROOT, fails(Kind::RateLimited, "429"));
    let at = world.sessions[&ROOT].wake_at.expect("a moment to look again");
    world.now = at.0;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "model");
}

/// Sylk: retries kept the tier of the first error, whatever came after it.
#[test]
fn each_error_counts_by_its_own_kind() {
    let mut world = World::working(spec());
    world.end(ROOT, fails(Kind::Transient, "net"));
    world.now = world.sessions[&ROOT].wake_at.expect("a retry").0;
    world.feed(ROOT, Input::Tick);
    world.end(ROOT, fails(Kind::Permanent, "gone"));
    assert_eq!(world.doing(ROOT), "-");
    assert_eq!(world.root().phase, Phase::Paused, "what never passes is not tried again");
    assert!(world.sessions[&ROOT].wake_at.is_none_or(|at| at > Timestamp(world.now + 60_000)));
}

/// Sylk: the flag that a session was recovered was never taken back, so the second crash was not recovered.
#[test]
fn the_second_crash_is_recovered_like_the_first() {
    let mut world = World::working(spec());
    for crash in 1..=3 {
        world.end(ROOT, says(vec![staged(&format!("e{crash}"))]));
        world.restart();
        world.end(ROOT, prepared());
        let run = world.flight(ROOT).clone();
        assert!(run.restore && run.attempt == 2, "crash {crash}: {run:?}");
        world.tools(ROOT);
        assert_eq!(world.doing(ROOT), "model", "crash {crash}");
    }
}

/// Sylk: cancelling what waited in the line did nothing, and each preemption lost a slot for ever.
#[test]
fn who_is_cancelled_while_waiting_for_a_slot_ends_and_no_slot_is_lost() {
    let mut world = World::with_slots(Slots { model: 1, tool: 1, check: 1, workspace: 4 });
    let ids: Vec<SessionId> = (1..=4).map(SessionId).collect();
    for id in &ids {
        world.open(*id, spec());
    }
    for id in &ids {
        world.end(*id, prepared());
    }
    for id in &ids[1..3] {
        world.wish(*id, Source::User, Wish::Cancel);
        assert_eq!(world.state(*id).phase, Phase::Ended, "it waits for nobody");
    }
    world.play();
    let codes: Vec<u8> = ids.iter().map(|id| world.state(*id).end.as_ref().expect("an end").code).collect();
    assert_eq!(codes, [0, 130, 130, 0]);
    world.open(SessionId(9), spec());
    world.end(SessionId(9), prepared());
    assert_eq!(world.doing(SessionId(9)), "model", "the slot is free again");
}
