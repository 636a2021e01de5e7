//! What a provider keeps of a conversation: calls that find nothing of it, one after the other.
//!
//! Knows only decisions and what they put on record. Start at the first story.

use crate::make::{bare, message, pure, ran, text};
use crate::world::{ROOT, World};
use contract::action::{Done, End};
use contract::intent::{Source, Wish};
use contract::model::{Stop, Usage};
use contract::session::{Limits, SessionSpec};

/// A goal of many bytes: what is read and written of a cache is within what was reserved.
fn large() -> SessionSpec {
    SessionSpec { goal_bytes: 60_000, ..bare() }
}

/// A reply that read so much of what was kept and wrote so much of it, with a call that goes on.
fn says(n: u32, cache_read: u64, cache_write: u64) -> End {
    let usage = Usage { input: 10, output: 20, cache_read, cache_write, estimated: false };
    let calls = vec![pure(&format!("c{n}"))];
    End::Done(Done::said(Some(text("hm")), 2, calls, Stop::ToolUse, usage))
}

/// The call, and the tool behind it.
fn step(world: &mut World, n: u32, cache_read: u64, cache_write: u64) {
    assert_eq!(world.doing(ROOT), "model", "{n}: {}", world.brief(ROOT));
    world.end(ROOT, says(n, cache_read, cache_write));
    let run = world.flight(ROOT).clone();
    world.end(ROOT, ran(&run, true));
}

#[test]
fn a_person_is_asked_before_the_fourth_call_in_a_row_that_would_pay_for_everything() {
    let mut world = World::working(large());
    step(&mut world, 1, 0, 20_000);
    step(&mut world, 2, 20_000, 500);
    for n in 3..6 {
        step(&mut world, n, 0, 21_000);
    }
    let pause = world.root().pause.clone().unwrap();
    assert_eq!((pause.why.as_str(), pause.code, world.doing(ROOT)), ("cache", 8, "-"));
    assert!(
        pause.what.starts_with("3 calls in a row")
            && pause.hint.contains("kapell cost")
            && pause.hint.contains("--cache names"),
        "{pause:?}"
    );
    world.wish(ROOT, Source::User, Wish::Resume { model: None });
    // Who has it go on all the same is not asked about it again.
    for n in 6..16 {
        step(&mut world, n, 0, 21_000);
    }
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn a_message_is_an_answer_too_and_another_pause_is_none() {
    let mut world = World::working(large());
    let lost = |world: &mut World, all: std::ops::Range<u32>| all.for_each(|n| step(world, n, 0, 21_000));
    step(&mut world, 1, 0, 20_000);
    world.wish(ROOT, Source::User, Wish::Pause);
    world.end(ROOT, says(2, 20_000, 0));
    assert_eq!(world.root().pause.clone().unwrap().why, "user");
    world.wish(ROOT, Source::User, Wish::Resume { model: None });
    let run = world.flight(ROOT).clone();
    world.end(ROOT, ran(&run, true));
    step(&mut world, 3, 0, 20_000);
    lost(&mut world, 4..7);
    assert_eq!(world.root().pause.clone().unwrap().why, "cache");
    world.wish(ROOT, Source::User, message("go on"));
    lost(&mut world, 7..15);
    assert_eq!(world.doing(ROOT), "model");
}

#[test]
fn what_was_not_asked_for_in_time_is_not_missed() {
    let mut world = World::working(large());
    for n in 1..9 {
        assert_eq!(world.doing(ROOT), "model", "{n}");
        world.end(ROOT, says(n, 0, 21_000));
        let run = world.flight(ROOT).clone();
        // A build of five minutes: nothing is kept that long.
        world.now += 300_000;
        world.end(ROOT, ran(&run, true));
    }
    assert!(world.root().pause.is_none());
}

#[test]
fn who_does_not_want_to_be_asked_is_not() {
    let limits = Limits { cache_misses: 0, ..Limits::default() };
    let mut world = World::working(SessionSpec { limits, ..large() });
    (1..12).for_each(|n| step(&mut world, n, 0, 20_000));
    assert_eq!(world.doing(ROOT), "model");
}
