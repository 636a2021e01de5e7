//! The views: what they say stands in the events, their sums are the ledger's, and nothing is left out.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::action::{End, Role};
use contract::event::{Disposal, Event, LedgerEvent, Notice};
use contract::intent::{Source, Wish};
use contract::record::Record;
use contract::session::{Ask, SessionSpec};
use contract::{Amount, Kind, SessionId, Timestamp};
use kernel::view::{self, Fate};

/// A tree with everything in it, in the middle of its work: the root waits for two children.
fn story() -> World {
    let mut world = World::working(SessionSpec {
        budget: Amount { nanos: 1 << 50, ..Amount::UNLIMITED },
        ..asking(Ask::External)
    });
    world.end(ROOT, fails(Kind::Transient, "net"));
    world.now += 60_000;
    world.feed(ROOT, kernel::Input::Tick);
    world.user(message("be quick"));
    world.end(ROOT, says(vec![pure("r1"), wrong("w1")]));
    world.tools(ROOT);
    world.end(ROOT, says(vec![external("x1"), staged("e1")]));
    let (approval, hash) = world.root().pending_approval().map(|(id, a)| (id.to_owned(), a.hash)).unwrap();
    world.user(Wish::Approve { approval, hash });
    world.tools(ROOT);
    world.tools(ROOT);
    world.end(ROOT, says(vec![delegate("d1", "one"), delegate("d2", "two")]));
    world.deliver();
    world
}

fn whole() -> World {
    let mut world = story();
    world.restart();
    world.play();
    world
}

fn events(world: &World, id: SessionId) -> &[Record<Event>] {
    &world.sessions[&id].events
}

#[test]
fn a_transcript_has_every_word_and_every_call_with_its_result() {
    let world = whole();
    let entries = view::transcript(events(&world, ROOT));
    let roles: Vec<Role> = entries.iter().map(|entry| entry.role).collect();
    use Role::{Assistant, User};
    assert_eq!(roles[..4], [User, Assistant, User, Assistant]);
    assert_eq!(entries[0].text, Some(text("mend it")));
    assert_eq!((entries[2].text, entries[2].source), (Some(text("be quick")), Some(Source::User)));
    let calls: Vec<_> = entries.iter().flat_map(|entry| &entry.calls).collect();
    assert!(calls.iter().all(|call| call.outcome.is_some()));
    let call = |id: &str| calls.iter().find(|made| made.call == id).unwrap().outcome.clone().unwrap();
    assert!(call("r1").ok && call("r1").action.is_some());
    assert_eq!((call("w1").ok, call("w1").text), (false, Some(text("arguments do not fit"))));
    assert!(matches!(call("d1").notice, Some(Notice::ChildEnded { .. })));
    assert_eq!(call("d1").text, Some(text("adopted")));
}

#[test]
fn a_transcript_is_not_cut_when_the_context_is() {
    let mut world = World::working(SessionSpec {
        limits: contract::session::Limits { steps_per_turn: 10_000, ..Default::default() },
        ..spec()
    });
    for n in 0..300 {
        world.end(ROOT, says(vec![pure(&format!("r{n}"))]));
        world.tools(ROOT);
    }
    let entries = view::transcript(events(&world, ROOT));
    assert_eq!(entries.len(), 301);
    assert!(world.root().items.len() < 600);
}

#[test]
fn a_board_shows_trees_with_what_runs_and_what_is_waited_for() {
    let mut world = story();
    world.open(SessionId(7), spec());
    let states: Vec<_> = world.sessions.values().map(|live| live.state.clone()).collect();
    let now = Timestamp(world.now + 5_000);
    let rows = view::board(&states, now);
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [SessionId(7), ROOT], "the newest first");
    let root = &rows[1];
    assert_eq!((root.status, root.stage.as_str(), root.short.as_str()), ("waiting", "implement", "00000001"));
    assert_eq!(root.waits.as_ref().unwrap().what, "2 child sessions are at work");
    assert_eq!(root.children.len(), 2);
    let doing = root.children[0].doing.clone().unwrap();
    assert_eq!((doing.work, doing.for_ms), ("prepare", 5_000));
    assert_eq!(root.used_with_children, root.used, "the children have only begun");
    let json = serde_json::to_value(root).unwrap();
    assert_eq!(json["waits"]["for"], "children");
}

#[test]
fn a_board_says_what_to_type() {
    let mut approval = World::working(asking(Ask::External));
    approval.end(ROOT, says(vec![external("x")]));
    let mut question = World::working(spec());
    question.end(ROOT, says(vec![ask("q")]));
    let mut unknown = World::working(spec());
    unknown.end(ROOT, says(vec![external("x")]));
    unknown.end(ROOT, End::Unknown);
    let mut failure = World::working(spec());
    failure.end(ROOT, fails(Kind::UserFixable, "no-key"));
    let mut retry = World::working(spec());
    retry.end(ROOT, fails(Kind::RateLimited, "429"));
    for (world, kind, what, next) in [
        (approval, "approval", "may `shell` run? It is external", "kapell approve"),
        (question, "answer", "the agent asks", "kapell answer"),
        (unknown, "approval", "nobody knows", "kapell deny"),
        (failure, "resume", "no-key happened", "kapell resume"),
        (retry, "time", "tries again in", ""),
    ] {
        let rows = view::board([world.root()], Timestamp(world.now));
        let waits = rows[0].waits.clone().unwrap();
        assert_eq!(waits.kind, kind);
        assert!(waits.what.contains(what), "{waits:?}");
        assert!(waits.type_next.contains(next), "{waits:?}");
    }
}

#[test]
fn costs_add_up_to_the_ledger() {
    for world in [story(), whole()] {
        let at = Timestamp(0);
        let ledger: Vec<Record<LedgerEvent>> = world.ledgers[&ROOT]
            .iter()
            .zip(1..)
            .map(|(event, seq)| Record { seq, at, event: event.clone() })
            .collect();
        let sessions = world.sessions.iter().map(|(id, live)| (*id, live.events.as_slice()));
        let cost = view::cost(&ledger, sessions);
        let truth = world.ledger(ROOT);
        assert_eq!((cost.total.settled, cost.total.held), (truth.settled(ROOT), truth.held(ROOT)));
        assert_eq!(cost.cap.nanos, 1 << 50);
        for part in &cost.sessions {
            assert_eq!(part.settled_with_children, truth.settled(part.session));
        }
        let sum = |parts: &[view::Part]| parts.iter().fold(Amount::ZERO, |sum, part| sum.plus(part.settled));
        assert_eq!(sum(&cost.kinds), truth.settled(ROOT));
        let own: Vec<view::Part> = cost.sessions.iter().map(|part| part.own.clone()).collect();
        assert_eq!(sum(&own), truth.settled(ROOT));
        assert_eq!(sum(&cost.models).nanos, truth.settled(ROOT).nanos, "only models cost money");
        let starts = world.sessions.values().flat_map(|live| &live.events);
        let starts = starts.filter(|record| matches!(record.event, Event::Started { .. })).count() as u64;
        assert_eq!(cost.total.calls, starts);
        assert_eq!(cost.sessions.len(), 3);
        assert!(cost.kinds.iter().all(|part| part.name != "unknown"));
    }
}

#[test]
fn every_action_and_every_intent_is_explained() {
    for world in [story(), whole()] {
        for (id, live) in &world.sessions {
            let why = view::why(*id, &live.events, Timestamp(world.now));
            let count =
                |find: fn(&Event) -> bool| live.events.iter().filter(|record| find(&record.event)).count();
            assert_eq!(why.actions.len(), count(|event| matches!(event, Event::Selected { .. })));
            let attempts: usize = why.actions.iter().map(|chosen| chosen.attempts.len()).sum();
            assert_eq!(attempts, count(|event| matches!(event, Event::Started { .. })));
            let chosen = why.actions.iter().filter(|chosen| chosen.intent.is_some()).count();
            assert_eq!(chosen + why.intents.len(), count(|event| matches!(event, Event::Submitted { .. })));
            assert!(why.actions.iter().all(|chosen| !chosen.why.is_empty() && !chosen.work.is_empty()));
        }
    }
}

#[test]
fn why_tells_of_failures_approvals_restarts_and_what_is_waited_for() {
    let world = story();
    let why = view::why(ROOT, events(&world, ROOT), Timestamp(world.now));
    let first = &why.actions[1];
    assert_eq!(
        (first.source, first.wish.as_str(), first.work.as_str()),
        (Source::MainLoop, "continue", "model")
    );
    assert_eq!(first.attempts[0].end.as_deref(), Some("failed (transient, net): net happened"));
    assert_eq!(first.then, ["model/net failed, 1 in a row; then: retry"]);
    let message = why.actions.iter().find(|chosen| chosen.wish == "message").unwrap();
    assert!(
        message.submitted.is_some() && message.others.iter().any(|other| other.source == Source::MainLoop)
    );
    let shell =
        why.actions.iter().find(|chosen| chosen.attempts.iter().any(|told| told.approval.is_some())).unwrap();
    assert_eq!(shell.attempts[0].class.name(), "external");
    assert!(
        why.intents.iter().any(|told| matches!(&told.fate, Fate::Disposed { how: Disposal::Applied, .. }))
    );
    assert_eq!(why.waits.unwrap().kind, "children");

    let mut world = World::working(spec());
    world.end(ROOT, says(vec![staged("e")]));
    world.restart();
    world.end(ROOT, prepared());
    world.wish(ROOT, Source::Schedule, Wish::Continue);
    let why = view::why(ROOT, events(&world, ROOT), Timestamp(world.now));
    let again = why.actions.iter().find(|chosen| chosen.attempts.len() == 2).unwrap();
    assert_eq!(again.attempts[0].end.as_deref(), Some("nobody saw its end"));
    assert_eq!((again.attempts[1].attempt, again.attempts[1].fence), (2, 2));
    assert_eq!(why.intents.last().unwrap().fate, Fate::Waits("an action is in flight".into()));
    assert!(why.waits.is_none(), "something runs");
    assert!(serde_json::to_string(&why).unwrap().contains("\"waits\":\"an action is in flight\""));
}
