//! Model calls under a key's limits: what is taken and given back, who waits and until when.
//!
//! Knows only decisions and what they put on record. Start at the first story.

use crate::make::{PRICE, bare, fails, message, model, prepared, says};
use crate::world::{ROOT, World};
use contract::action::Effect;
use contract::event::{Dearer, Event, Final};
use contract::intent::{Source, Wish};
use contract::model::{ModelRef, Price, Quota, Rates};
use contract::quota::{CallEnd, QuotaEvent};
use contract::session::SessionSpec;
use contract::{Kind, QuotaId, SessionId, StreamId, Timestamp};
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

#[test]
fn an_outage_that_lasts_ends_nothing_and_is_tried_ever_more_rarely() {
    let mut world = World::working(limited(Rates::default()));
    let began = world.now;
    for kind in [Kind::Degraded, Kind::RateLimited].into_iter().cycle().take(60) {
        assert_eq!(world.doing(ROOT), "model", "{}", world.brief(ROOT));
        world.end(ROOT, fails(kind, "529"));
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
        world.end(ROOT, fails(Kind::Degraded, "529"));
        world.now = world.sessions[&ROOT].wake_at.expect("a timer").0;
        world.feed(ROOT, Input::Tick);
    }
    world.end(ROOT, fails(Kind::Degraded, "529"));
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
    world.end(ROOT, fails(Kind::Degraded, "529"));
    assert_eq!(held(&world), Some(Why::Breaker));
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
