//! When schedules fire: the worked cases of Roo's scheduler, both changes of the clock, sleep, clocks that jump.
//!
//! Time zones are rules written out (POSIX), so no machine's database is asked. Start at [`table`].

use contract::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use kernel::schedule::{
    Around, DAY_MIN, Days, Due, Every, LATE_MS, Meets, Missed, Schedule, Since, Slot, Then, Unit, Wall, Zone,
};
use proptest::prelude::*;

/// Central Europe: forward on the last Sunday of March at 02:00, back on the last of October at 03:00.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const UTC: &str = "UTC0";

struct Place(TimeZone);

fn place(rules: &str) -> Place {
    Place(TimeZone::posix(rules).unwrap())
}

impl Zone for Place {
    fn wall(&self, at: Timestamp) -> Wall {
        let at = jiff::Timestamp::from_millisecond(at.0 as i64).unwrap();
        let local = at.to_zoned(self.0.clone()).datetime();
        local.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second().div_euclid(60)
    }

    fn moment(&self, wall: Wall) -> Timestamp {
        let local = jiff::Timestamp::from_second(wall * 60).unwrap().to_zoned(TimeZone::UTC).datetime();
        Timestamp(local.to_zoned(self.0.clone()).unwrap().timestamp().as_millisecond() as u64)
    }
}

/// A moment, as the wall shows it there.
fn at(zone: &Place, text: &str) -> Timestamp {
    let local: DateTime = text.parse().unwrap();
    Timestamp(local.to_zoned(zone.0.clone()).unwrap().timestamp().as_millisecond() as u64)
}

fn wall(text: &str) -> Wall {
    let local: DateTime = text.parse().unwrap();
    local.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second() / 60
}

fn every(count: u32, unit: Unit) -> Schedule {
    Schedule {
        active: true,
        every: Some(Every { count, unit }),
        days: Days::default(),
        start: None,
        at: 0,
        expires: None,
        meets: Meets::Wait { idle_ms: 60_000 },
        needs_activity: false,
        missed: Missed::Once,
    }
}

fn grid(count: u32, unit: Unit, start: &str) -> Schedule {
    let start = wall(start);
    Schedule { start: Some(start), at: start.rem_euclid(DAY_MIN), ..every(count, unit) }
}

fn days(mut schedule: Schedule, days: &[u8]) -> Schedule {
    schedule.days = days.iter().fold(Days::default(), |days, day| days.with(*day));
    schedule
}

fn ran(at: Timestamp) -> Since {
    Since { at, ran: true, held: None, recent: Vec::new() }
}

fn seen(at: Timestamp) -> Since {
    Since { ran: false, ..ran(at) }
}

const WEEK: [u8; 5] = [1, 2, 3, 4, 5];

/// Schedule, from where it counts, and the slots that come next, as the wall shows them.
#[track_caller]
fn table(rules: &str, schedule: &Schedule, since: (&str, bool), slots: &[&str]) {
    let zone = place(rules);
    let from = at(&zone, since.0);
    let since = Since { ran: since.1, ..ran(from) };
    let found = schedule.next(&since, from, &zone, slots.len());
    let wanted: Vec<Timestamp> = slots.iter().map(|slot| at(&zone, slot)).collect();
    assert_eq!(found, wanted);
    // Looked at from each slot on, the next one is the same, and it is due in its minute and not before.
    let mut since = since;
    for slot in &wanted {
        assert_eq!(schedule.due(&since, Timestamp(slot.0 - 1), &zone), Due::Later(*slot));
        assert_eq!(schedule.due(&since, *slot, &zone), Due::Now(Slot { at: *slot, missed: 0 }));
        since = ran(*slot);
    }
}

#[test]
fn a_grid_is_fixed_from_its_start() {
    // 2026-11-20 is a Friday.
    let ten = grid(10, Unit::Minute, "2026-11-20T09:03");
    table(UTC, &ten, ("2026-11-20T10:07:42", true), &["2026-11-20T10:13", "2026-11-20T10:23"]);
    // Before it begins, its start is the first slot, whatever ran before.
    table(UTC, &ten, ("2026-11-01T00:00", true), &["2026-11-20T09:03", "2026-11-20T09:13"]);
    let six = grid(6, Unit::Hour, "2026-11-20T09:00");
    table(
        UTC,
        &six,
        ("2026-11-20T09:00", true),
        &["2026-11-20T15:00", "2026-11-20T21:00", "2026-11-21T03:00"],
    );
    let two = grid(2, Unit::Day, "2026-11-20T09:00");
    table(UTC, &two, ("2026-11-20T09:00", true), &["2026-11-22T09:00", "2026-11-24T09:00"]);
}

#[test]
fn an_interval_counts_from_the_last_run_without_its_seconds() {
    table(
        UTC,
        &every(10, Unit::Minute),
        ("2026-11-20T10:07:42", true),
        &["2026-11-20T10:17", "2026-11-20T10:27"],
    );
    table(UTC, &every(2, Unit::Hour), ("2026-11-20T23:30:59", true), &["2026-11-21T01:30"]);
    table(
        UTC,
        &every(1, Unit::Day),
        ("2026-11-20T09:07:01", true),
        &["2026-11-21T09:07", "2026-11-22T09:07"],
    );
    // What never ran counts from its time of that day, and what lies before is not made up for.
    let nine = Schedule { at: 9 * 60, ..every(1, Unit::Day) };
    table(UTC, &nine, ("2026-11-20T08:00", false), &["2026-11-20T09:00", "2026-11-21T09:00"]);
    table(UTC, &nine, ("2026-11-20T09:30", false), &["2026-11-21T09:00"]);
    table(
        UTC,
        &every(10, Unit::Minute),
        ("2026-11-20T10:07:42", false),
        &["2026-11-20T10:10", "2026-11-20T10:20"],
    );
}

#[test]
fn days_that_are_not_chosen_move_a_slot_to_the_beginning_of_the_next_that_is() {
    let six = days(grid(6, Unit::Hour, "2026-11-20T09:00"), &WEEK);
    // Friday 21:00, then Monday at the schedule's own time, then its grid again.
    table(
        UTC,
        &six,
        ("2026-11-20T15:00", true),
        &["2026-11-20T21:00", "2026-11-23T09:00", "2026-11-23T15:00"],
    );
    let daily = days(grid(1, Unit::Day, "2026-11-20T18:30"), &[0, 3]);
    table(
        UTC,
        &daily,
        ("2026-11-20T18:30", true),
        &["2026-11-22T18:30", "2026-11-25T18:30", "2026-11-29T18:30"],
    );
    let often = days(every(10, Unit::Minute), &[1]);
    table(UTC, &often, ("2026-11-22T12:00", true), &["2026-11-23T00:00"]);
    // All of them off means all of them on.
    table(UTC, &days(every(1, Unit::Day), &[]), ("2026-11-20T09:00", true), &["2026-11-21T09:00"]);
}

#[test]
fn what_expires_is_said_to_be_expired_and_its_last_minute_still_counts() {
    let zone = place(UTC);
    let mut hourly = grid(1, Unit::Hour, "2026-11-20T09:00");
    hourly.expires = Some(wall("2026-11-20T23:00"));
    let last = ran(at(&zone, "2026-11-20T22:00"));
    let slot = at(&zone, "2026-11-20T23:00");
    assert_eq!(hourly.due(&last, slot, &zone), Due::Now(Slot { at: slot, missed: 0 }));
    assert_eq!(
        hourly.due(&last, at(&zone, "2026-11-20T23:00:59"), &zone),
        Due::Now(Slot { at: slot, missed: 0 })
    );
    assert_eq!(hourly.due(&last, at(&zone, "2026-11-20T23:01"), &zone), Due::Expired);
    assert_eq!(hourly.next(&last, last.at, &zone, 5), [slot]);
    // Nothing comes before it expires any more; it is not past that minute for it.
    assert!(matches!(hourly.due(&ran(slot), slot, &zone), Due::Never(_)));
    hourly.active = false;
    assert!(matches!(hourly.due(&last, slot, &zone), Due::Never(_)));
    assert_eq!(hourly.next(&last, last.at, &zone, 5), []);
    let never = Schedule { every: None, ..every(1, Unit::Day) };
    assert!(matches!(never.due(&last, slot, &zone), Due::Never(_)));
}

#[test]
fn a_day_keeps_its_time_and_an_hour_its_length_when_clocks_change() {
    // Forward: 2026-03-29 02:00 becomes 03:00.
    let nine = grid(1, Unit::Day, "2026-03-27T09:00");
    table(BERLIN, &nine, ("2026-03-28T09:00", true), &["2026-03-29T09:00", "2026-03-30T09:00"]);
    let gap = grid(1, Unit::Day, "2026-03-27T02:30");
    table(BERLIN, &gap, ("2026-03-28T02:30", true), &["2026-03-29T03:30", "2026-03-30T02:30"]);
    let zone = place(BERLIN);
    let hours = grid(6, Unit::Hour, "2026-03-28T18:00").next(
        &ran(at(&zone, "2026-03-28T18:00")),
        at(&zone, "2026-03-28T18:00"),
        &zone,
        2,
    );
    assert_eq!(hours, ["2026-03-29T00:00", "2026-03-29T07:00"].map(|text| at(&zone, text)));
    // Back: 2026-10-25 03:00 becomes 02:00, so 02:30 comes twice, and fires once.
    let fold = grid(1, Unit::Day, "2026-10-23T02:30");
    table(BERLIN, &fold, ("2026-10-24T02:30", true), &["2026-10-25T02:30", "2026-10-26T02:30"]);
    let first = at(&zone, "2026-10-25T02:30");
    let second = first.plus(3_600_000);
    assert_eq!(zone.wall(first), zone.wall(second));
    let next = at(&zone, "2026-10-26T02:30");
    for now in [first, first.plus(1), second, second.plus(60_000)] {
        assert_eq!(fold.due(&ran(first), now, &zone), Due::Later(next), "{now:?}");
    }
    // What runs every half hour runs in both of them.
    let half = every(30, Unit::Minute);
    let slots = half.next(&ran(first), first, &zone, 3);
    assert_eq!(slots, [1_800_000, 3_600_000, 5_400_000].map(|ms| first.plus(ms)));
}

#[test]
fn three_days_of_sleep_come_to_one_run_to_none_or_to_a_few() {
    let zone = place(UTC);
    let last = ran(at(&zone, "2026-11-17T10:00"));
    let now = at(&zone, "2026-11-20T10:05");
    let mut ten = grid(10, Unit::Minute, "2026-11-01T00:00");
    let newest = at(&zone, "2026-11-20T10:00");
    assert_eq!(ten.due(&last, now, &zone), Due::Now(Slot { at: newest, missed: 431 }));
    ten.missed = Missed::Skip;
    assert_eq!(ten.due(&last, now, &zone), Due::Late(Slot { at: newest, missed: 431 }));
    // One that has just come is none that was missed.
    let soon = newest.plus(LATE_MS);
    assert_eq!(ten.due(&last, soon, &zone), Due::Now(Slot { at: newest, missed: 431 }));
    ten.missed = Missed::All(3);
    let (mut since, mut told) = (last.clone(), Vec::new());
    while let Due::Now(slot) = ten.due(&since, now, &zone) {
        told.push(slot);
        since = ran(slot.at);
    }
    let slot = |text: &str, missed| Slot { at: at(&zone, text), missed };
    assert_eq!(
        told,
        [slot("2026-11-20T09:40", 429), slot("2026-11-20T09:50", 0), slot("2026-11-20T10:00", 0)]
    );
    // A minute's grid over forty years is not counted to its end, and answers all the same.
    let old = grid(1, Unit::Minute, "1985-01-01T00:00");
    let Due::Now(slot) = old.due(&ran(at(&zone, "1986-01-01T00:00")), now, &zone) else { panic!() };
    assert_eq!((slot.at, slot.missed), (now, 9_999));
    // An interval has one slot that is late, and counts on from there.
    let interval = every(1, Unit::Day);
    let Due::Now(slot) = interval.due(&last, now, &zone) else { panic!() };
    assert_eq!(slot, Slot { at: newest, missed: 2 });
}

#[test]
fn a_clock_that_jumps_fires_nothing_twice_and_silences_nothing() {
    let zone = place(UTC);
    let hourly = grid(1, Unit::Hour, "2026-11-01T00:00");
    let ten = at(&zone, "2026-11-20T10:00");
    // Back by half an hour: the next slot is the one after, not the same.
    assert_eq!(
        hourly.due(&ran(ten), at(&zone, "2026-11-20T09:30"), &zone),
        Due::Later(at(&zone, "2026-11-20T11:00"))
    );
    // It was years ahead once, and ran then. That neither silences it now nor runs again what had run before.
    let far = at(&zone, "2040-01-01T00:00");
    let since = Since { recent: vec![ten, far], ..ran(far) };
    let now = at(&zone, "2026-11-20T09:30");
    let eleven = at(&zone, "2026-11-20T11:00");
    assert_eq!(hourly.due(&since, now, &zone), Due::Later(eleven));
    assert_eq!(hourly.due(&since, ten, &zone), Due::Later(eleven));
    assert_eq!(
        hourly.due(&Since { recent: vec![ten], ..ran(ten) }, eleven, &zone),
        Due::Now(Slot { at: eleven, missed: 0 })
    );
    let interval = every(10, Unit::Minute);
    let next = interval.due(&Since { recent: vec![far], ..ran(far) }, now, &zone);
    assert_eq!(next, Due::Later(at(&zone, "2026-11-20T09:40")));
}

#[test]
fn what_runs_decides_as_the_schedule_says() {
    let idle = |ms| Around { runs_idle_ms: Some(ms), active: true, ran: true, open: false, claimed: false };
    let none = Around { runs_idle_ms: None, ..idle(0) };
    let mut schedule = every(10, Unit::Minute);
    schedule.meets = Meets::Wait { idle_ms: 180_000 };
    assert_eq!(schedule.then(none), Then::Run);
    assert_eq!(schedule.then(idle(179_999)), Then::Hold);
    assert_eq!(schedule.then(idle(180_000)), Then::Interrupt);
    schedule.meets = Meets::Interrupt;
    assert_eq!((schedule.then(none), schedule.then(idle(0))), (Then::Run, Then::Interrupt));
    schedule.meets = Meets::Skip;
    assert_eq!(
        (schedule.then(none), schedule.then(idle(999_999))),
        (Then::Run, Then::Pass("a task was running"))
    );
    schedule.needs_activity = true;
    let quiet = Around { active: false, ..none };
    assert!(matches!(schedule.then(quiet), Then::Pass(why) if why.contains("nothing happened")));
    // Before its first run there is nothing to compare with.
    assert_eq!(schedule.then(Around { ran: false, ..quiet }), Then::Run);
    // Its own last session is waited for, whether it runs or rests.
    let own = every(1, Unit::Hour);
    for meets in [Meets::Wait { idle_ms: 60_000 }, Meets::Interrupt, Meets::Skip] {
        let own = Schedule { meets, ..own.clone() };
        assert_eq!(own.then(Around { open: true, ..none }), Then::Hold);
        let runs = if meets == Meets::Skip { Then::Pass("a task was running") } else { Then::Hold };
        assert_eq!(own.then(Around { open: true, ..idle(3_600_000) }), runs);
    }
}

#[test]
fn a_slot_that_waits_stays_due_and_newer_ones_join_it() {
    let zone = place(UTC);
    let ten = grid(10, Unit::Minute, "2026-11-20T00:00");
    let held = at(&zone, "2026-11-20T10:00");
    let since = Since { held: Some(held), ..ran(at(&zone, "2026-11-20T09:50")) };
    let due = |schedule: &Schedule, text: &str| schedule.due(&since, at(&zone, text), &zone);
    assert_eq!(due(&ten, "2026-11-20T10:04"), Due::Now(Slot { at: held, missed: 0 }));
    let newest = at(&zone, "2026-11-20T10:20");
    assert_eq!(due(&ten, "2026-11-20T10:21"), Due::Now(Slot { at: newest, missed: 2 }));
    assert_eq!(due(&every(10, Unit::Minute), "2026-11-20T12:00"), Due::Now(Slot { at: held, missed: 0 }));
    // It is not late: it was there in time.
    let skip = Schedule { missed: Missed::Skip, ..ten };
    assert_eq!(due(&skip, "2026-11-20T10:09"), Due::Now(Slot { at: held, missed: 0 }));
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let unit = prop_oneof![Just(Unit::Minute), Just(Unit::Hour), Just(Unit::Day)];
    let start = prop::option::of(wall("2026-01-01T00:00")..wall("2027-01-01T00:00"));
    let missed = prop_oneof![Just(Missed::Once), Just(Missed::Skip), (1_u32..5).prop_map(Missed::All)];
    (1_u32..100, unit, prop::collection::vec(0_u8..7, 0..7), start, 0..DAY_MIN, missed).prop_map(
        |(count, unit, chosen, start, at, missed)| {
            let at = start.map_or(at, |start: Wall| start.rem_euclid(DAY_MIN));
            days(Schedule { start, at, missed, ..every(count, unit) }, &chosen)
        },
    )
}

proptest! {
    /// Whatever the schedule, the place and the way the clock is looked at: slots only grow, none comes twice, and what
    /// was due at one moment is dealt with at the next.
    #[test]
    fn slots_go_forward_and_none_comes_twice(
        schedule in any_schedule(),
        rules in prop_oneof![Just(BERLIN), Just(UTC), Just("NST3:30NDT,M3.2.0,M11.1.0"), Just("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")],
        looks in prop::collection::vec((0_u64..4_000, any::<bool>()), 1..60),
        from in 0_u64..525_600,
    ) {
        let zone = place(rules);
        let mut now = Timestamp(at(&zone, "2026-01-01T00:00").0 + from * 60_000);
        let mut since = seen(now);
        let mut dealt: Vec<Timestamp> = Vec::new();
        for (minutes, back) in looks {
            // Now and then the clock is set back by an hour.
            now = if back { Timestamp(now.0 - 3_600_000) } else { now.plus(minutes * 60_000) };
            for _ in 0..8 {
                match schedule.due(&since, now, &zone) {
                    Due::Now(slot) | Due::Late(slot) => {
                        prop_assert!(slot.at <= now && slot.at > since.at, "{slot:?} since {since:?}");
                        prop_assert!(!dealt.contains(&slot.at), "{slot:?} comes twice");
                        dealt.push(slot.at);
                        let done = if schedule.start.is_some() { slot.at } else { slot.at.max(now) };
                        since = Since { recent: dealt.clone(), ..ran(done) };
                    }
                    Due::Later(next) => {
                        prop_assert!(next > now.min(since.at), "{next:?}");
                        prop_assert!(!dealt.contains(&next));
                        break;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            let due = schedule.due(&since, now, &zone);
            prop_assert!(matches!(due, Due::Later(_)), "still {due:?}");
        }
    }
}
