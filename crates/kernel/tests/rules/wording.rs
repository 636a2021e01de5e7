//! What goes out of a conversation is worded by a model where that is wanted: on record, billed, and never in the way.

use crate::make::*;
use crate::quota::keyed;
use crate::world::{ROOT, World, whole_conversation};
use contract::action::{Done, EffectClass, End, Item, Role, Work};
use contract::context::Summary;
use contract::event::{Event, Notice};
use contract::intent::{Source, Wish};
use contract::model::{ModelRef, Rates};
use contract::session::{Limits, SessionSpec, Summaries};
use contract::{Amount, Fault, Kind, QuotaId, Timestamp, limits};
use kernel::Input;

fn worded_by(summaries: Summaries) -> SessionSpec {
    let limits = Limits { steps_per_turn: 10_000, ..Limits::default() };
    SessionSpec { limits, summaries: Some(summaries), ..spec() }
}

/// Works until a model is asked for words.
fn until_asked(world: &mut World) {
    for n in 0..400 {
        match world.doing(ROOT) {
            "model" => drop(world.end(ROOT, says(vec![pure(&format!("r{n}")), pure(&format!("q{n}"))]))),
            "tools" => drop(world.tools(ROOT)),
            _ => return,
        }
    }
    panic!("never");
}

fn cuts(world: &World) -> Vec<Option<Summary>> {
    let cut = |event: &Event| match event {
        Event::Compacted { summary, .. } => Some(summary.as_deref().cloned()),
        _ => None,
    };
    world.events(ROOT).filter_map(cut).collect()
}

fn failures(world: &World) -> Vec<String> {
    let failed = |event: &Event| match event {
        Event::Failed { signature, count, then, .. } => Some(format!("{signature} {count} {then}")),
        _ => None,
    };
    world.events(ROOT).filter_map(failed).collect()
}

fn shown(world: &World) -> Vec<Item> {
    world.root().items.iter().cloned().collect()
}

#[test]
fn a_model_words_what_goes_as_an_action_of_its_own() {
    let mut world = World::working(worded_by(Summaries::Same));
    until_asked(&mut world);
    let run = world.flight(ROOT).clone();
    let Work::Summarise { model, dropped, .. } = &run.work else { panic!("{:?}", run.work) };
    assert_eq!((model.as_str(), run.class), ("test/model", EffectClass::Billed));
    assert_eq!(run.max_tokens, 1_000.min(limits::SUMMARY_REPLY_TOKENS));
    assert!(run.context.items.len() >= limits::CONTEXT_ITEMS, "it sees all of them");
    assert!(world.ledger(ROOT).held(ROOT).nanos > 0, "it is reserved for");
    let (asked, before) = (dropped.clone(), shown(&world));
    let ordinal = world.root().ordinal;
    world.end(ROOT, worded());
    assert_eq!(world.doing(ROOT), "model", "and then the work goes on");
    assert_eq!(world.root().ordinal, ordinal + 1, "a script's turns are not counted on by it");
    let Some(Event::Compacted { dropped, left, summary: Some(summary), .. }) =
        world.events(ROOT).find(|event| matches!(event, Event::Compacted { .. })).cloned()
    else {
        panic!("a cut with words")
    };
    assert_eq!((dropped, left), (asked, Vec::new()), "what was worded is what goes");
    assert_eq!((summary.text, summary.bytes), (Some(text("what came first")), 400));
    assert!(!summary.acts.is_empty(), "addresses of results are listed besides");
    let items = shown(&world);
    whole_conversation(&items);
    assert_eq!(items[0], before[0], "the goal stays word for word");
    assert!(matches!(items[1].notice.as_deref(), Some(Notice::Compacted { .. })));
    assert!(world.root().request_tokens() <= world.root().cap());

    // What went comes back.
    let evicted = world.root().evicted.iter().find(|item| item.role == Role::Tool).unwrap().no;
    world.hold = true;
    world.end(ROOT, says(vec![pure("x")]));
    world.user(Wish::Uncompact { item: Some(evicted) });
    assert!(shown(&world).iter().any(|item| item.no == evicted && item.kept));
}

#[test]
fn words_about_words_take_their_place() {
    let mut world = World::working(worded_by(Summaries::Same));
    for round in 1..=10 {
        until_asked(&mut world);
        world.end(ROOT, worded());
        assert_eq!(cuts(&world).len(), round);
        let summaries = shown(&world).iter().filter(|item| item.role == Role::Notice).count();
        assert_eq!(summaries, 1, "one stands for all that went");
        whole_conversation(&shown(&world));
        assert_eq!(shown(&world)[0].text, Some(text("mend it")));
    }
}

#[test]
fn three_failures_cut_without_words_and_the_next_time_it_is_tried_again() {
    let mut world = World::working(worded_by(Summaries::Same));
    until_asked(&mut world);
    for _ in 0..3 {
        assert_eq!((world.doing(ROOT), cuts(&world).len()), ("summarise", 0));
        world.end(ROOT, fails(Kind::Transient, "blip"));
        world.now += 60_000;
        world.feed(ROOT, Input::Tick);
    }
    assert_eq!(
        failures(&world),
        ["summarise/blip 1 retry", "summarise/blip 2 retry", "summarise/blip 3 cut"]
    );
    assert_eq!(world.doing(ROOT), "model");
    let [Some(cut)] = &cuts(&world)[..] else { panic!("one cut") };
    assert_eq!(cut.text, None);
    until_asked(&mut world);
    world.end(ROOT, worded());
    assert_eq!(cuts(&world).len(), 2);
}

#[test]
fn different_failures_add_up_and_one_that_cannot_be_mended_is_enough() {
    let mut world = World::working(worded_by(Summaries::Same));
    until_asked(&mut world);
    for code in ["blip", "other", "third"] {
        world.end(ROOT, fails(Kind::Transient, code));
        world.now += 60_000;
        world.feed(ROOT, Input::Tick);
    }
    assert_eq!(failures(&world).last().unwrap(), "summarise/third 1 cut");
    for end in [fails(Kind::UserFixable, "key-refused"), fails(Kind::Permanent, "context-full")] {
        let mut world = World::working(worded_by(Summaries::Same));
        until_asked(&mut world);
        world.end(ROOT, end);
        assert_eq!((world.doing(ROOT), cuts(&world).len()), ("model", 1));
    }
}

#[test]
fn a_crash_in_the_middle_asks_again_and_a_message_meanwhile_is_not_lost() {
    let mut world = World::working(worded_by(Summaries::Same));
    until_asked(&mut world);
    world.user(message("and the tests, too"));
    let action = world.flight(ROOT).action;
    world.restart();
    world.end(ROOT, prepared());
    assert_eq!(
        (world.doing(ROOT), world.flight(ROOT).action, world.flight(ROOT).attempt),
        ("summarise", action, 2)
    );
    world.end(ROOT, worded());
    assert_eq!(world.doing(ROOT), "model");
    let said = |item: &Item| item.role == Role::User && item.text == Some(text("and the tests, too"));
    assert!(shown(&world).iter().any(said));
}

#[test]
fn another_model_may_be_the_one_with_the_words_and_want_of_budget_stops_nobody() {
    let other = model("other/model", Some(PRICE));
    let mut world = World::working(worded_by(Summaries::By(Box::new(other))));
    until_asked(&mut world);
    assert!(matches!(world.work(ROOT), Work::Summarise { model, .. } if model == "other/model"));

    let mut world = World::working(worded_by(Summaries::By(Box::new(model("dear/model", None)))));
    until_cut(&mut world);
    let [Some(cut)] = &cuts(&world)[..] else { panic!("one cut") };
    assert_eq!((cut.text, world.doing(ROOT)), (None, "model"), "a price that is not known asks nobody");
}

/// Works until something was taken out.
fn until_cut(world: &mut World) {
    for n in 0..400 {
        if !cuts(world).is_empty() {
            return;
        }
        match world.doing(ROOT) {
            "model" => drop(world.end(ROOT, says(vec![pure(&format!("r{n}")), pure(&format!("q{n}"))]))),
            "tools" => drop(world.tools(ROOT)),
            other => panic!("{other}"),
        }
    }
    panic!("never");
}

#[test]
fn what_is_no_wording_is_not_taken_for_one() {
    let mut world = World::working(worded_by(Summaries::Same));
    until_asked(&mut world);
    let Done::Summarised { text, usage, request_id, .. } = (match worded() {
        End::Done(done) => done,
        _ => unreachable!(),
    }) else {
        unreachable!()
    };
    let bytes = limits::SUMMARY_TEXT_BYTES + 1;
    world.end(ROOT, End::Done(Done::Summarised { text, bytes, usage, request_id }));
    assert_eq!(failures(&world), ["summarise/misfit 1 cut"]);
    let settled = world.ledger(ROOT).settled(ROOT);
    assert!(settled != Amount::ZERO && cuts(&world).len() == 1);
}

#[test]
fn another_model_words_under_its_own_key_and_nobody_waits_long_for_it() {
    let by =
        ModelRef { id: "other/model".into(), ..keyed(Rates { concurrent: Some(1), ..Rates::default() }) };
    let mut world = World::working(worded_by(Summaries::By(Box::new(by))));
    until_asked(&mut world);
    let under_way = |world: &World| {
        world.governor.quota(QuotaId::of("test/key")).map(|quota| quota.under_way(Timestamp(world.now)))
    };
    assert_eq!((world.doing(ROOT), under_way(&world)), ("summarise", Some(1)));
    world.end(ROOT, worded());
    assert_eq!((world.doing(ROOT), under_way(&world)), ("model", Some(0)));
    assert!(cuts(&world)[0].as_ref().unwrap().text.is_some());

    // Its key is shut for an hour: the cut is made without it, now and the next time, and the session's model goes on.
    until_asked(&mut world);
    world.end(ROOT, limited_for(3_600_000));
    assert_eq!((world.doing(ROOT), cuts(&world).len()), ("model", 2));
    for n in 0..400 {
        match world.doing(ROOT) {
            "model" => drop(world.end(ROOT, says(vec![pure(&format!("r{n}")), pure(&format!("q{n}"))]))),
            "tools" => drop(world.tools(ROOT)),
            other => panic!("{other}"),
        }
        if cuts(&world).len() == 3 {
            return;
        }
    }
    panic!("never cut again");
}

fn limited_for(ms: u64) -> End {
    let mut fault = Fault::new(Kind::RateLimited, "rate-limited", "429");
    fault.retry_after_ms = Some(ms);
    End::Failed(fault)
}

#[test]
fn off_means_off_until_a_person_says_yes_to_one_cut() {
    let mut world = World::working(worded_by(Summaries::Never));
    until_asked(&mut world);
    let pause = world.root().pause.clone().unwrap();
    assert_eq!((pause.why.as_str(), pause.code), ("context", 8));
    assert!(pause.hint.contains("kapell resume"), "{pause:?}");
    assert!(cuts(&world).is_empty());
    let all = world.root().items.len();
    world.user(resume());
    assert_eq!((cuts(&world).len(), world.doing(ROOT)), (1, "model"));
    assert!(world.root().items.len() < all);
    // The yes was for one cut.
    until_asked(&mut world);
    assert_eq!((world.root().pause.clone().unwrap().why.as_str(), cuts(&world).len()), ("context", 1));
    // A provider that says it is too long cuts nothing either.
    let mut world = World::working(worded_by(Summaries::Never));
    world.end(ROOT, says(vec![pure("r1"), pure("r2")]));
    world.tools(ROOT);
    world.end(ROOT, fails(Kind::Permanent, contract::error::CONTEXT_FULL));
    assert_eq!((world.root().pause.clone().unwrap().why.as_str(), cuts(&world).len()), ("context", 0));
}

#[test]
fn a_message_is_no_yes_to_a_cut_and_only_a_persons_resume_is() {
    let mut world = World::working(worded_by(Summaries::Never));
    until_asked(&mut world);
    world.user(message("what about the other file?"));
    assert_eq!((world.doing(ROOT), cuts(&world).len()), ("-", 0));
    assert!(world.root().waits_for_a_cut(), "{}", world.brief(ROOT));
    world.wish(ROOT, Source::Schedule, resume());
    assert_eq!((world.root().waits_for_a_cut(), cuts(&world).len()), (true, 0));
    world.user(resume());
    assert_eq!((cuts(&world).len(), world.doing(ROOT)), (1, "model"));
    assert!(world.root().queue.is_empty(), "the message is heard then");
}
