//! Model calls under a key's limits: what is taken and given back, who waits and until when.
//!
//! Knows only decisions and what they put on record. Start at the first story.

use crate::make::{PRICE, bare, fails, message, model, prepared, says};
use crate::world::{ROOT, World};
use contract::action::{Done, Effect, End, Outcome};
use contract::event::{Dearer, Event, Final};
use contract::intent::{Source, Wish};
use contract::model::{ModelRef, Price, Quota, Rates, Window};
use contract::quota::{CallEnd, QuotaEvent};
use contract::session::{Limits, Quiet, SessionSpec};
use contract::{Amount, Kind, QuotaId, SessionId, StreamId, Timestamp, record};
use kernel::Input;
use kernel::further::Facts;
use kernel::quota::{Load, Why};

const KEY: &str = "test/key";

pub(crate) fn keyed(rates: Rates) -> ModelRef {
    ModelRef { quota: Some(Quota { name: KEY.into(), rates }), ..model("test/model", Some(PRICE)) }
}

fn limited(rates: Rates) -> SessionSpec {
    SessionSpec { model: keyed(rates), ..bare() }
}

fn facts(world: &World) -> Vec<QuotaEvent> {
    let all = world.shared.get(&StreamId::Quota(QuotaId::of(KEY))).into_iter().flatten();
    all.flat_map(|(_, facts)| if let Facts::Quota(facts) = facts { facts.clone() } else { Vec::new() })
        .collect()
}

#[test]
fn a_call_is_on_the_keys_record_from_its_start_to_its_end() {
    let mut world = World::working(limited(Rates::default()));
    let under_way = |world: &World| {
        world.governor.quota(QuotaId::of(KEY)).map(|quota| quota.under_way(Timestamp(world.now)))
    };
    assert_eq!(world.doing(ROOT), "model");
    assert!(
        matches!(&facts(&world)[..], [QuotaEvent::Declared { name, .. }, QuotaEvent::Taken { .. }] if name == KEY)
    );
    assert_eq!(under_way(&world), Some(1));
    world.end(ROOT, says(Vec::new()));
    assert!(
        matches!(facts(&world).last(), Some(QuotaEvent::Settled { end: CallEnd::Answered, .. })),
        "{:?}",
        facts(&world)
    );
    assert_eq!(under_way(&world), Some(0));
}

#[test]
fn a_call_whose_process_died_is_given_back_when_the_session_is_taken_over() {
    let mut world = World::working(limited(Rates::default()));
    world.restart();
    let ends: Vec<_> = facts(&world)
        .into_iter()
        .filter_map(|fact| if let QuotaEvent::Settled { end, .. } = fact { Some(end) } else { None })
        .collect();
    assert_eq!(ends, [CallEnd::Unknown]);
}

#[test]
fn a_model_without_a_quota_writes_to_no_further_ledger() {
    let mut world = World::working(bare());
    world.end(ROOT, says(Vec::new()));
    assert!(world.shared.is_empty());
    let quotas = |stream: &StreamId| matches!(stream, StreamId::Quota(_));
    assert!(!kernel::further::needed(world.root(), &Input::Tick).iter().any(quotas));
    assert!(world.governor.quota(QuotaId::of(KEY)).is_none());
}

const OTHER: SessionId = SessionId(2);

#[test]
fn what_was_used_before_it_was_declared_is_told_at_once() {
    let mut world = World::working(limited(Rates::default()));
    world.end(ROOT, says(Vec::new()));
    world.open(OTHER, limited(Rates { tokens_per_week: Some(100), ..Rates::default() }));
    world.end(OTHER, prepared());
    let told =
        |event: &&Event| matches!(event, Event::Warned { what } if what.contains("tokens of this week"));
    assert_eq!(world.events(OTHER).filter(told).count(), 1);
}

/// Two sessions on one key; the first has its call under way.
fn two(rates: Rates) -> World {
    let mut world = World::working(limited(rates));
    world.open(OTHER, limited(rates));
    world.end(OTHER, prepared());
    world
}

fn waits(world: &World, id: SessionId) -> Vec<(String, Timestamp)> {
    let told = |event: &Event| match event {
        Event::Waits { why, until, .. } => Some((why.clone(), *until)),
        _ => None,
    };
    world.events(id).filter_map(told).collect()
}

#[test]
fn who_finds_the_key_in_use_waits_and_is_woken_by_the_end_of_a_call() {
    let mut world = two(Rates { concurrent: Some(1), ..Rates::default() });
    assert_eq!((world.doing(ROOT), world.doing(OTHER)), ("model", "-"));
    assert!(waits(&world, OTHER).is_empty(), "a turn that may come any moment is no matter for the record");
    world.now += 1_500;
    world.feed(OTHER, Input::Tick);
    assert!(waits(&world, OTHER).is_empty());
    for _ in 0..3 {
        world.now += 1_000;
        world.feed(OTHER, Input::Tick);
    }
    let told = waits(&world, OTHER);
    assert!(matches!(&told[..], [(why, _)] if why == "concurrency"), "once, when it lasts: {told:?}");
    let decision = world.end(ROOT, says(Vec::new()));
    assert!(decision.effects.contains(&Effect::Wake(OTHER)), "{:?}", decision.effects);
    world.feed(OTHER, Input::Tick);
    assert_eq!(world.doing(OTHER), "model");
}

#[test]
fn a_wait_for_a_limit_is_on_record_has_its_moment_and_ends_by_itself() {
    let mut world = two(Rates { requests_per_minute: Some(1), ..Rates::default() });
    let [(why, until)] = &waits(&world, OTHER)[..] else { panic!("{:?}", waits(&world, OTHER)) };
    assert_eq!(why, "rate");
    assert!((60_000..=62_000).contains(&until.since(Timestamp(world.now))));
    let woken = world.sessions[&OTHER].wake_at.unwrap();
    assert!(
        (*until..=until.plus(1_000)).contains(&woken),
        "by a timer, not all at the very moment: {woken:?}"
    );
    assert_eq!(world.state(OTHER).status(Timestamp(world.now)), "waiting");
    let shown = kernel::view::waits(world.state(OTHER), Timestamp(world.now)).unwrap();
    assert_eq!((shown.kind, shown.until), ("limit", Some(*until)));
    // Looking again before changes nothing, and after a restart it goes on waiting.
    world.now += 1_000;
    world.feed(OTHER, Input::Tick);
    world.end(ROOT, says(Vec::new()));
    world.restart();
    world.end(OTHER, prepared());
    assert_eq!(waits(&world, OTHER).len(), 1);
    world.now = until.0;
    world.feed(OTHER, Input::Tick);
    assert_eq!((world.doing(OTHER), world.state(OTHER).held_up.as_ref()), ("model", None));
}

#[test]
fn a_session_that_waits_for_a_limit_can_be_cancelled_and_leaves_the_line() {
    let mut world = two(Rates { requests_per_minute: Some(1), ..Rates::default() });
    world.wish(OTHER, Source::User, Wish::Cancel);
    assert_eq!(world.state(OTHER).end.as_ref().map(|end| end.state), Some(Final::Cancelled));
    let line = kernel::governor::Line::Quota(QuotaId::of(KEY));
    assert_eq!(world.governor.line(line).count(), 0);
}

/// The call breaks, and what it cost is known.
fn breaks(world: &mut World, kind: Kind, code: &str, tokens: u64) {
    let plain = world.outcome(ROOT, fails(kind, code));
    let used = Amount { tokens, ..plain.used };
    world.now += 10;
    world.feed(ROOT, Input::Outcome(Box::new(Outcome { metered: true, used, ..plain })));
}

#[test]
fn a_provider_that_bills_what_it_breaks_off_is_not_asked_for_ever() {
    for (kind, most) in [(Kind::Degraded, 3), (Kind::RateLimited, 10)] {
        let mut world = World::working(limited(Rates::default()));
        let mut tries = 0;
        while world.root().pause.is_none() {
            if world.doing(ROOT) == "model" {
                tries += 1;
                breaks(&mut world, kind, "broken-off", 100);
            } else {
                world.now = world.sessions[&ROOT].wake_at.expect("a timer").0;
                world.feed(ROOT, Input::Tick);
            }
        }
        assert_eq!((tries, world.root().pause.as_ref().unwrap().why.as_str()), (most, "failure"), "{kind:?}");
    }
}

/// How the newest call ended, as far as the key's record tells.
fn settled(world: &World) -> Option<CallEnd> {
    facts(world).into_iter().rev().find_map(|fact| match fact {
        QuotaEvent::Settled { end, .. } => Some(end),
        _ => None,
    })
}

#[test]
fn what_says_nothing_of_the_provider_is_not_held_against_it() {
    for (kind, code, end) in [
        (Kind::Transient, "stream-cut", CallEnd::Down { retry_after_ms: None }),
        (Kind::Transient, "not-run-store-busy", CallEnd::Refused),
        (Kind::Transient, "field-refused", CallEnd::Refused),
        (Kind::Transient, "call-malformed", CallEnd::Refused),
        (Kind::Transient, "reply-empty", CallEnd::Refused),
    ] {
        let mut world = World::working(limited(Rates::default()));
        world.end(ROOT, fails(kind, code));
        assert_eq!(settled(&world), Some(end), "{code}");
    }
    // A deadline tells of a provider only when a call had all the time that calls have.
    for (left, end) in [(u64::MAX, CallEnd::Down { retry_after_ms: None }), (90_000, CallEnd::Unknown)] {
        let budget = Amount { time_ms: left, ..Amount::UNLIMITED };
        let mut world = World::working(SessionSpec { budget, ..limited(Rates::default()) });
        world.end(ROOT, End::TimedOut);
        assert_eq!(settled(&world), Some(end), "{left}");
    }
    // A reply that was kept from before is no sign of life.
    let mut world = World::working(limited(Rates::default()));
    let mut kept = says(Vec::new());
    if let End::Done(Done::Said { request_id, .. }) = &mut kept {
        "cache:1234".clone_into(request_id);
    }
    world.end(ROOT, kept);
    assert_eq!(settled(&world), Some(CallEnd::Refused));
}

#[test]
fn an_outage_that_lasts_ends_nothing_and_is_tried_ever_more_rarely() {
    let mut world = World::working(limited(Rates::default()));
    let began = world.now;
    for kind in [Kind::Degraded, Kind::RateLimited].into_iter().cycle().take(60) {
        assert_eq!(world.doing(ROOT), "model", "{}", world.brief(ROOT));
        breaks(&mut world, kind, "529", 0);
        while world.doing(ROOT) == "-" {
            assert!(world.root().pause.is_none() && world.root().end.is_none(), "{}", world.brief(ROOT));
            let at = world.sessions[&ROOT].wake_at.expect("a timer");
            assert!(at.since(Timestamp(world.now)) <= 330_000);
            world.now = at.0;
            world.feed(ROOT, Input::Tick);
        }
    }
    assert!(world.now - began > 3 * 3_600_000, "{} ms", world.now - began);
    assert!(waits(&world, ROOT).len() >= 50);
    world.end(ROOT, says(Vec::new()));
    assert!(world.root().failures.is_empty());
}

#[test]
fn a_broken_stream_costs_each_time_and_is_not_repeated_for_ever() {
    let mut world = World::working(limited(Rates::default()));
    while world.root().pause.is_none() {
        world.end(ROOT, fails(Kind::Transient, "stream-cut"));
        world.now += 60_000;
        world.feed(ROOT, Input::Tick);
    }
    assert_eq!(world.root().pause.as_ref().unwrap().why, "failure");
}

fn chained() -> SessionSpec {
    let price = Price { input: 1_000_000_000, output: 20_000_000_000, ..PRICE };
    SessionSpec { fallback: vec![model("other/model", Some(price))], ..limited(Rates::default()) }
}

fn fell_back(world: &World) -> Option<(String, Option<Dearer>)> {
    world.events(ROOT).find_map(|event| match event {
        Event::FellBack { to, dearer, .. } => Some((to.id.clone(), *dearer)),
        _ => None,
    })
}

#[test]
fn a_declared_chain_is_followed_when_the_provider_is_down_and_its_price_is_told() {
    let mut world = World::working(chained());
    let dearer = Some(Dearer { input: -2_000_000_000, output: 5_000_000_000 });
    while fell_back(&world).is_none() {
        world.end(ROOT, fails(Kind::Degraded, "529"));
        while world.doing(ROOT) == "-" {
            world.now = world.sessions[&ROOT].wake_at.expect("a timer").0;
            world.feed(ROOT, Input::Tick);
        }
    }
    assert_eq!(fell_back(&world), Some(("other/model".into(), dearer)));
    assert_eq!(world.root().model.as_ref().unwrap().id, "other/model");
    assert_eq!(world.doing(ROOT), "model", "and it is asked at once");
    let price = world.flight(ROOT).card.and_then(|card| card.price);
    assert_eq!(price.map(|price| price.output), Some(20_000_000_000), "and settled by its own price");
    assert!(world.root().failures.is_empty(), "the failures of the first are none of the second's");
}

#[test]
fn a_model_of_unknown_price_is_no_way_out_where_money_is_capped() {
    for (nanos, falls) in [(u64::MAX, true), (10_000_000_000, false)] {
        let budget = Amount { nanos, tokens: 10_000_000, ..Amount::UNLIMITED };
        let fallback = vec![model("other/model", None)];
        let mut world = World::working(SessionSpec { fallback, budget, ..limited(Rates::default()) });
        world.end(ROOT, fails(Kind::UserFixable, "key-refused"));
        assert_eq!((fell_back(&world).is_some(), world.root().pause.is_some()), (falls, !falls));
    }
}

#[test]
fn a_person_gives_a_session_that_waits_for_a_limit_to_another_model() {
    let mut world = two(Rates { requests_per_minute: Some(1), ..Rates::default() });
    let other = || Wish::Resume { model: Some(Box::new(model("other/model", Some(PRICE)))) };
    world.wish(ROOT, Source::User, other());
    assert_eq!(world.root().model.as_ref().unwrap().id, "test/model", "not in the middle of a call");
    assert_eq!(world.doing(OTHER), "-");
    world.wish(OTHER, Source::User, other());
    assert_eq!(
        (world.doing(OTHER), world.state(OTHER).model.as_ref().unwrap().id.as_str()),
        ("model", "other/model")
    );
}

#[test]
fn a_refused_key_falls_back_too_and_the_last_of_the_chain_asks_a_person() {
    let mut world = World::working(chained());
    world.end(ROOT, fails(Kind::UserFixable, "key-refused"));
    assert_eq!(fell_back(&world).map(|(to, _)| to), Some("other/model".into()));
    world.end(ROOT, fails(Kind::UserFixable, "key-refused"));
    assert_eq!(world.root().pause.as_ref().map(|pause| pause.code), Some(8));
}

#[test]
fn without_a_declared_chain_the_model_never_changes() {
    let mut world = World::working(limited(Rates::default()));
    world.end(ROOT, fails(Kind::UserFixable, "key-refused"));
    assert_eq!((fell_back(&world), world.root().model.as_ref().unwrap().id.as_str()), (None, "test/model"));
    assert!(world.root().pause.is_some());
}

#[test]
fn a_persons_message_goes_before_what_nobody_waits_for() {
    let one = || limited(Rates { concurrent: Some(1), ..Rates::default() });
    let mut world = World::working(one());
    for n in 3..6 {
        world.open(SessionId(n), one());
        world.end(SessionId(n), prepared());
    }
    let asked = SessionId(9);
    let rights = contract::session::Rights::all(contract::session::Ask::Writes);
    world.open(asked, SessionSpec { rights, ..one() });
    world.end(asked, prepared());
    world.wish(asked, Source::User, message("and this?"));
    let line = kernel::governor::Line::Quota(QuotaId::of(KEY));
    let order: Vec<SessionId> = world.governor.line(line).collect();
    assert_eq!(order, [9, 3, 4, 5].map(SessionId));
}

#[test]
fn a_person_has_what_waits_for_its_moment_tried_now() {
    let mut world = World::working(limited(Rates::default()));
    for _ in 0..4 {
        breaks(&mut world, Kind::Degraded, "529", 0);
        world.now = world.sessions[&ROOT].wake_at.expect("a timer").0;
        world.feed(ROOT, Input::Tick);
    }
    breaks(&mut world, Kind::Degraded, "529", 0);
    assert_eq!(world.doing(ROOT), "-", "the breaker is open, and the session waits by itself");
    let held = |world: &World| {
        let quota = world.governor.quota(QuotaId::of(KEY)).unwrap();
        quota.verdict(Timestamp(world.now), 0, Load::default()).err().map(|held| held.why)
    };
    assert_eq!(held(&world), Some(Why::Breaker));

    world.now += 1;
    world.lift(QuotaId::of(KEY));
    assert_eq!(held(&world), None);
    world.feed(ROOT, Input::Tick);
    world.wish(ROOT, Source::User, Wish::Continue);
    assert_eq!((world.doing(ROOT), world.root().not_before(Timestamp(world.now))), ("model", None));
    // That call is the one that tries it: while it is under way nobody else does, and a failure shuts it again.
    assert_eq!(held(&world), Some(Why::UnderWay));
    breaks(&mut world, Kind::Degraded, "529", 0);
    assert_eq!(held(&world), Some(Why::Breaker));
}

/// Ten in the evening to seven in the morning.
const NIGHT: Quiet = Quiet { from_min: 22 * 60, to_min: 7 * 60 };

fn quiet(quiet: Quiet) -> SessionSpec {
    let limits = Limits { quiet: Some(quiet), ..Limits::default() };
    SessionSpec { limits, ..limited(Rates::default()) }
}

fn at(clock: &str) -> u64 {
    format!("2026-11-20T{clock}:00.000Z").parse::<Timestamp>().unwrap().0
}

/// The call hits a limit that lasts so long.
fn limited_for(world: &mut World, ms: u64) {
    let mut fault = contract::Fault::new(Kind::RateLimited, "rate-limited", "429");
    fault.retry_after_ms = Some(ms);
    world.end(ROOT, End::Failed(fault));
}

#[test]
fn a_long_wait_that_ends_in_quiet_hours_goes_on_behind_them_and_a_person_is_asked_nothing() {
    let mut world = World::working(quiet(NIGHT));
    world.now = at("21:00");
    limited_for(&mut world, 2 * 3_600_000);
    let morning = Timestamp(at("07:00") + 24 * 3_600_000);
    assert_eq!(waits(&world, ROOT).last(), Some(&("retry".to_owned(), morning)));
    world.now = at("23:30");
    world.feed(ROOT, Input::Tick);
    assert_eq!((world.doing(ROOT), world.sessions[&ROOT].wake_at), ("-", Some(morning)));
    world.now = morning.0;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "model");
    // A short wait is over before anybody sleeps, and a person may have it tried at any time.
    world.now = at("23:00") + 24 * 3_600_000;
    limited_for(&mut world, 60_000);
    let told = waits(&world, ROOT).last().unwrap().1;
    assert!(told.since(Timestamp(world.now)) < 120_000, "{told}");
    world.now = told.0;
    world.feed(ROOT, Input::Tick);
    limited_for(&mut world, 3_600_000);
    world.wish(ROOT, Source::User, Wish::Continue);
    assert_eq!(world.doing(ROOT), "-", "its key is closed");
    world.lift(QuotaId::of(KEY));
    world.now += 20_000;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "model", "it is wanted by a person: {}", world.brief(ROOT));
}

#[test]
fn who_waits_in_line_through_quiet_hours_does_not_begin_in_them_either() {
    let mut world = World::working(limited(Rates::default()));
    world.open(OTHER, quiet(NIGHT));
    world.now = at("21:30");
    limited_for(&mut world, 3 * 3_600_000);
    world.end(OTHER, prepared());
    let morning = Timestamp(at("07:00") + 24 * 3_600_000);
    assert_eq!(waits(&world, OTHER).last(), Some(&("limited".to_owned(), morning)));
    world.now = at("23:00");
    world.lift(QuotaId::of(KEY));
    world.feed(OTHER, Input::Tick);
    assert_eq!(world.doing(OTHER), "-", "it is night, although the limit is gone");
    world.now = morning.0;
    world.feed(OTHER, Input::Tick);
    assert_eq!(world.doing(OTHER), "model");
}

#[test]
fn where_nothing_goes_on_by_itself_a_long_wait_is_a_pause_that_says_until_when() {
    let mut world = World::working(quiet(Quiet { from_min: 0, to_min: 0 }));
    limited_for(&mut world, 60_000);
    assert!(world.root().pause.is_none(), "a minute is no long wait");
    world.now += 70_000;
    world.feed(ROOT, Input::Tick);
    limited_for(&mut world, 3_600_000);
    let pause = world.root().pause.clone().unwrap();
    assert_eq!((pause.why.as_str(), pause.code), ("quiet", 75), "{pause:?}");
    assert!(pause.what.contains("until") && pause.hint.contains("kapell resume"), "{pause:?}");
    world.now += 3_700_000;
    world.feed(ROOT, Input::Tick);
    assert_eq!(world.doing(ROOT), "-");
    world.wish(ROOT, Source::User, Wish::Resume { model: None });
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn people_are_warned_once_when_most_of_a_long_window_is_used() {
    let window = Some(Window { requests: 10, ms: 5 * 3_600_000 });
    let mut world = World::working(limited(Rates { window, ..Rates::default() }));
    for n in 0..9 {
        assert_eq!(world.doing(ROOT), "model", "{n}");
        world.end(ROOT, says(vec![crate::make::ask(&format!("q{n}"))]));
        world.wish(ROOT, Source::User, message(&format!("go on, {n}")));
    }
    let warned: Vec<String> = world
        .events(ROOT)
        .filter_map(|event| if let Event::Warned { what } = event { Some(what.clone()) } else { None })
        .collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].starts_with("80 % of the calls are used (8 of 10"), "{}", warned[0]);
}

#[test]
fn only_a_person_ends_a_wait() {
    let mut world = World::working(limited(Rates::default()));
    world.end(ROOT, fails(Kind::Transient, "blip"));
    for source in [Source::Schedule, Source::MainLoop, Source::Planner] {
        world.wish(ROOT, source, Wish::Continue);
        assert_eq!(world.doing(ROOT), "-", "{source:?}");
    }
    world.wish(ROOT, Source::User, Wish::Continue);
    assert_eq!(world.doing(ROOT), "model");
    assert_eq!(waits(&world, ROOT), [("lifted".to_owned(), Timestamp(world.now))]);
}

#[test]
fn facts_are_stored_as_they_are_and_numbered_on() {
    let lifted = |why: &str| QuotaEvent::Lifted { why: why.into() };
    let records = Facts::Quota(vec![lifted("a"), lifted("b")]).records(7, Timestamp(3));
    let read = records.iter().map(|bytes| record::decode::<QuotaEvent>(bytes).unwrap());
    assert_eq!(
        read.map(|one| (one.seq, one.event)).collect::<Vec<_>>(),
        [(8, lifted("a")), (9, lifted("b"))]
    );
}

/// Of this project so many calls at once.
fn crowded(most: u64, model: ModelRef) -> SessionSpec {
    let limits = Limits { calls_at_once: Some(most), ..Limits::default() };
    SessionSpec { limits, model, ..bare() }
}

fn crowd() -> QuotaId {
    QuotaId::of(&format!("project:{}", bare().repo))
}

#[test]
fn a_project_has_so_many_calls_at_once_whatever_they_are_made_with() {
    const THIRD: SessionId = SessionId(3);
    let mut world = World::working(crowded(2, keyed(Rates::default())));
    // Another key, and a model without one: it is the same project.
    world.open(OTHER, crowded(2, model("test/own", Some(PRICE))));
    world.end(OTHER, prepared());
    world.open(THIRD, crowded(2, keyed(Rates::default())));
    world.end(THIRD, prepared());
    let doing = |world: &World| [ROOT, OTHER, THIRD].map(|id| world.doing(id).to_owned());
    assert_eq!(doing(&world), ["model", "model", "-"]);
    let line = kernel::governor::Line::Quota(crowd());
    assert_eq!(world.governor.line(line).collect::<Vec<_>>(), [THIRD]);
    world.now += 3_000;
    world.feed(THIRD, Input::Tick);
    let told = world.state(THIRD).held_up.clone().expect("it is told");
    assert_eq!(told.why, "concurrency");
    assert!(told.what.contains("2 calls of this project are under way"), "{}", told.what);
    // Of a key's line it is in nobody's way.
    assert_eq!(world.governor.quota(QuotaId::of(KEY)).unwrap().under_way(Timestamp(world.now)), 1);

    let decision = world.end(OTHER, says(Vec::new()));
    assert!(decision.effects.contains(&Effect::Wake(THIRD)), "{:?}", decision.effects);
    world.feed(THIRD, Input::Tick);
    assert_eq!(world.doing(THIRD), "model");
    world.end(ROOT, says(Vec::new()));
    world.end(THIRD, says(Vec::new()));
    assert_eq!(world.governor.quota(crowd()).unwrap().under_way(Timestamp(world.now)), 0);
}

#[test]
fn a_project_s_place_of_a_process_that_died_comes_back_with_its_session_or_in_time() {
    let mut world = World::working(crowded(1, keyed(Rates::default())));
    world.open(OTHER, crowded(1, keyed(Rates::default())));
    world.end(OTHER, prepared());
    assert_eq!(world.doing(OTHER), "-");
    world.restart();
    let under_way = world.governor.quota(crowd()).unwrap().under_way(Timestamp(world.now));
    assert!(under_way <= 1);
    let mut dead = World::working(crowded(1, keyed(Rates::default())));
    dead.now += contract::limits::MODEL_MS + contract::limits::OVERDUE_MS + 1;
    assert_eq!(dead.governor.quota(crowd()).unwrap().under_way(Timestamp(dead.now)), 0);
}

#[test]
fn what_a_call_warns_of_is_put_on_record() {
    let mut world = World::working(bare());
    let plain = world.outcome(ROOT, says(Vec::new()));
    let sent = contract::context::Sent {
        request: contract::Digest::default(),
        prompt: contract::Digest::default(),
        prompt_bytes: 1,
        prompt_tokens: None,
        repairs: Vec::new(),
        warnings: vec!["most of what one reply may have is said".into()],
    };
    world.feed(ROOT, Input::Outcome(Box::new(Outcome { sent: Some(sent), ..plain })));
    let warned = |event: &Event| matches!(event, Event::Warned { what } if what.starts_with("most of what"));
    assert_eq!(world.events(ROOT).filter(|event| warned(event)).count(), 1);
}
