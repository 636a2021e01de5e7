//! Caps of a day, a month and a project: shared by sessions of many trees, reserved before and settled after.

use crate::make::*;
use crate::world::{ROOT, World};
use contract::event::Event;
use contract::intent::Wish;
use contract::project::{Caps, ProjectEvent};
use contract::{Amount, ProjectId, SessionId, StreamId, Timestamp};
use kernel::further::{Book, Facts};
use kernel::project::{Project, Span};

const OTHER: SessionId = SessionId(2);
const DAY: u64 = 86_400_000;

fn stream() -> StreamId {
    StreamId::Project(ProjectId::of(&spec().repo))
}

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, ..Amount::UNLIMITED }
}

/// A world whose project has these caps.
fn capped(caps: Caps) -> World {
    let mut world = World::new();
    cap(&mut world, caps);
    world.open(ROOT, spec());
    world.end(ROOT, prepared());
    world
}

fn cap(world: &mut World, caps: Caps) {
    let mut project = match world.refolded(stream()) {
        Book::Project(project) => project,
        other => panic!("{other:?}"),
    };
    let event = ProjectEvent::Capped { caps, repo: spec().repo };
    let at = Timestamp(world.now);
    project.apply(at, &event).unwrap();
    world.shared.entry(stream()).or_default().push((at, Facts::Project(vec![event])));
    world.governor.put(stream(), Book::Project(project));
}

fn project(world: &World) -> &Project {
    world.governor.project(stream()).expect("a project")
}

fn why(world: &World, id: SessionId) -> String {
    let pause = world.state(id).pause.as_ref().expect("a pause");
    format!("{} {}: {}; {}", pause.code, pause.why, pause.what, pause.hint)
}

#[test]
fn sessions_of_two_trees_share_the_day() {
    let mut world = capped(Caps { day: tokens(17_000), ..Caps::NONE });
    let now = |world: &World| Timestamp(world.now);
    let (held, _) = project(&world).used(Span::Day, now(&world));
    assert_eq!(held.tokens, world.root().running.as_ref().unwrap().reserved.tokens);
    world.open(OTHER, spec());
    world.end(OTHER, prepared());
    assert_eq!(world.doing(OTHER), "-");
    let told = why(&world, OTHER);
    assert!(
        told.starts_with(
            "7 budget: what is left of this project's budget of tokens for today (7993 of 17000)"
        ),
        "{told}"
    );
    assert!(told.contains("begins anew at 1970-01-02T00:00:00.000Z"), "{told}");
    // What costs nothing first.
    let ways = [
        format!("; 1. kapell resume {ROOT}, if nobody runs that session any more"),
        format!("; 2. kapell resume {OTHER} after 1970-01-02T00:00:00.000Z"),
        format!("; 3. a higher [budget] day_tokens in config.toml, then kapell resume {OTHER}"),
    ];
    ways.iter().for_each(|way| assert!(told.contains(way), "{told}"));

    world.end(ROOT, says(vec![pure("r")]));
    assert_eq!(
        project(&world).used(Span::Day, now(&world)),
        (Amount::ZERO, Amount { tokens: 120, nanos: 600_000, ..Amount::ZERO })
    );
    world.wish(OTHER, contract::intent::Source::User, resume());
    assert_eq!(world.doing(OTHER), "model", "there is room again");
}

#[test]
fn the_next_day_is_a_new_one_and_a_raised_cap_helps_at_once() {
    let mut world = capped(Caps { day: tokens(9_000), ..Caps::NONE });
    assert_eq!(world.doing(ROOT), "-");
    world.user(resume());
    assert_eq!(world.doing(ROOT), "-", "{}", why(&world, ROOT));
    cap(&mut world, Caps { day: tokens(9_500), ..Caps::NONE });
    world.user(resume());
    assert_eq!(world.doing(ROOT), "model");

    let mut world = capped(Caps { day: tokens(9_100), ..Caps::NONE });
    world.end(ROOT, says(vec![pure("r")]));
    world.tools(ROOT);
    world.end(ROOT, says(vec![pure("s")]));
    world.tools(ROOT);
    world.user(Wish::Pause);
    world.end(ROOT, says(vec![]));
    world.now += DAY;
    let (held, spent) = project(&world).used(Span::Day, Timestamp(world.now));
    assert_eq!((held, spent), (Amount::ZERO, Amount::ZERO));
}

#[test]
fn who_stopped_for_a_days_cap_goes_on_by_itself_with_the_next_day() {
    let mut world = capped(Caps { day: tokens(12_000), ..Caps::NONE });
    for n in 0.. {
        match world.doing(ROOT) {
            "model" => world.end(ROOT, says(vec![pure(&format!("r{n}"))])),
            _ => world.tools(ROOT),
        };
        if world.root().pause.is_some() {
            break;
        }
    }
    let woken = world.sessions[&ROOT].wake_at.expect("a timer");
    assert_eq!(woken, Timestamp(world.now).next_day());
    world.now = woken.0;
    world.feed(ROOT, kernel::Input::Tick);
    assert_eq!(world.doing(ROOT), "model", "{}", world.brief(ROOT));
}

#[test]
fn who_stopped_for_an_hours_cap_goes_on_by_itself_with_the_next_hour() {
    let mut world = capped(Caps { hour: tokens(9_000), day: tokens(100_000), ..Caps::NONE });
    assert_eq!(world.doing(ROOT), "-");
    let told = why(&world, ROOT);
    assert!(told.contains("for this hour (9000 of 9000)"), "{told}");
    cap(&mut world, Caps { hour: tokens(9_500), day: tokens(100_000), ..Caps::NONE });
    let woken = world.sessions[&ROOT].wake_at.expect("a timer");
    assert_eq!(woken, Timestamp(world.now).next_hour());
    world.now = woken.0;
    world.feed(ROOT, kernel::Input::Tick);
    assert_eq!(world.doing(ROOT), "model", "{}", world.brief(ROOT));
}

#[test]
fn without_caps_nothing_is_kept_but_what_was_relied_on_is_checked() {
    let mut world = World::new();
    cap(&mut world, Caps { day: tokens(1), ..Caps::NONE });
    cap(&mut world, Caps::NONE);
    world.open(ROOT, spec());
    let decision = world.end(ROOT, prepared());
    assert!(decision.further.is_empty(), "{:?}", decision.further);
    assert_eq!(decision.looked, [stream()], "who sets a cap meanwhile is not passed over");
    // A cap that is set while the call runs does not reach back.
    cap(&mut world, Caps { day: tokens(1), ..Caps::NONE });
    world.end(ROOT, says(vec![]));
    assert_eq!(project(&world).used(Span::Project, Timestamp(world.now)), (Amount::ZERO, Amount::ZERO));
}

#[test]
fn a_bill_beyond_the_reservation_counts_and_a_person_is_warned() {
    let mut world = capped(Caps { project: tokens(100_000), ..Caps::NONE });
    let run = world.flight(ROOT).clone();
    let used = Amount { tokens: 90_000, ..Amount::ZERO };
    let outcome = contract::action::Outcome::new(run.action, run.attempt, says(vec![]), used);
    world.feed(ROOT, kernel::Input::Outcome(Box::new(outcome)));
    assert_eq!(project(&world).used(Span::Project, Timestamp(world.now)).1, used);
    let warned = |event: &Event| matches!(event, Event::Warned { what } if what == "80 % of this project's budget of tokens is used: 90000 of 100000");
    assert_eq!(world.events(ROOT).filter(|event| warned(event)).count(), 1);
}

#[test]
fn fifty_sessions_against_a_budget_for_ten_make_exactly_ten_calls() {
    let one = 9_007;
    let mut world = World::new();
    cap(&mut world, Caps { project: tokens(10 * one), ..Caps::NONE });
    let ids: Vec<SessionId> = (1..=50).map(SessionId).collect();
    for id in &ids {
        world.open(*id, spec());
        world.end(*id, prepared());
    }
    let calling: Vec<&SessionId> = ids.iter().filter(|id| world.doing(**id) == "model").collect();
    assert_eq!(calling, ids[..10].iter().collect::<Vec<_>>());
    for id in &ids[10..] {
        assert!(
            why(&world, *id).starts_with("7 budget: what is left of this project's budget of tokens (0 of")
        );
    }
    assert_eq!(project(&world).used(Span::Project, Timestamp(world.now)).0.tokens, 10 * one);
}
