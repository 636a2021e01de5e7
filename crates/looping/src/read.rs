//! A schedule of the file as the kernel understands it: words and texts become numbers, what is missing its default.
//!
//! Fires nothing and writes nothing. Start at [`Read::of`].

use board::schedules::Schedule as Written;
use board::when;
use contract::Timestamp;
use kernel::looping::claim::Filed;
use kernel::schedule::{DAY_MIN, Days, Every, LATE_MS, Meets, Missed, Schedule, Unit, Wall};
use serde_json::Value;

/// Minutes that a task has done nothing before it is interrupted, where the file does not say.
const IDLE_MIN: u64 = 1;
/// Missed slots that are run one by one, where the file asks for each.
const EACH: u32 = 24;
/// The days as they are written.
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MINUTE_MS: u64 = 60_000;

/// A schedule.
#[derive(Debug, Clone)]
pub struct Read {
    /// As it stands in the file.
    pub file: Written,
    /// When it fires.
    pub time: Schedule,
    /// When the file says that it ran last, or was passed over.
    pub told: Option<Timestamp>,
    /// When the file says that it ran last.
    pub ran: Option<Timestamp>,
    /// A moment of these that has not come yet: it counts for nothing.
    pub ahead: Option<Timestamp>,
    /// Why it never fires, whatever its interval; empty: it may.
    pub inert: &'static str,
}

impl Read {
    /// The schedules of a file as they are read at this moment. An id that others have too, or none, names no record; and
    /// who does not know the time zone knows no wall clock.
    pub fn all(files: Vec<Written>, now: Timestamp, zone_known: bool) -> Vec<Self> {
        let ids: Vec<String> = files.iter().map(|file| file.id.clone()).collect();
        let mut all: Vec<Self> = files.into_iter().map(|file| Self::of(file, now)).collect();
        for read in &mut all {
            let same = ids.iter().filter(|id| **id == read.file.id).count();
            let inert = match (read.file.id.trim().is_empty(), same > 1) {
                (true, _) => "it has no id, and nothing can be on record of it",
                (_, true) => "another schedule has the same id: give it one of its own",
                _ if !zone_known && read.time.by_the_wall() => {
                    "its times are those of a wall clock, and the time zone is not known: set TZ"
                }
                _ => continue,
            };
            read.inert = inert;
            read.time.active = false;
        }
        all
    }

    fn of(file: Written, now: Timestamp) -> Self {
        let at = number(&file, "startHour").unwrap_or(0).min(23) * 60
            + number(&file, "startMinute").unwrap_or(0).min(59);
        let at = i64::try_from(at).unwrap_or(0);
        let last = |name: &str| moment(file.text(name));
        let come = |at: &Timestamp| *at <= now.plus(LATE_MS);
        let (ran, skipped) = (last("lastExecutionTime"), last("lastSkippedTime"));
        let ahead = ran.max(skipped).filter(|at| !come(at));
        let ran = ran.filter(come);
        let told = ran.max(skipped.filter(come));
        let kind = file.text("scheduleType");
        let inert = if kind.is_empty() || kind == "time" { "" } else { "only the type `time` fires" };
        let time = Schedule {
            active: file.is_active() && inert.is_empty(),
            every: every(&file),
            days: days(&file),
            start: day(file.text("startDate")).map(|day| day + at),
            at,
            expires: day(file.text("expirationDate")).map(|day| day + last_minute(&file)),
            meets: meets(&file),
            needs_activity: file.fields.get("requireActivity").and_then(Value::as_bool).unwrap_or(false),
            missed: missed(&file),
        };
        Self { file, time, told, ran, ahead, inert }
    }

    /// What of it decides about its slots.
    pub(crate) fn filed(&self) -> Filed<'_> {
        Filed { id: &self.file.id, time: &self.time, told: self.told, ran: self.ran }
    }

    /// Its name, or its id where it has none.
    pub fn name(&self) -> &str {
        Some(self.file.text("name")).filter(|name| !name.is_empty()).unwrap_or(&self.file.id)
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    Some(Timestamp(when::read(text)?.try_into().ok()?))
}

/// The first minute of a day as the wall shows it.
fn day(text: &str) -> Option<Wall> {
    when::is_day(text).then(|| when::read(text)).flatten().map(|ms| ms / MINUTE_MS as i64)
}

/// Numbers are texts in this file; some write them as numbers all the same.
fn number(file: &Written, name: &str) -> Option<u64> {
    match file.fields.get(name)? {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

fn every(file: &Written) -> Option<Every> {
    let count = number(file, "timeInterval").filter(|count| *count > 0)?;
    let unit = match file.text("timeUnit") {
        "minute" => Unit::Minute,
        "hour" => Unit::Hour,
        "day" => Unit::Day,
        _ => return None,
    };
    Some(Every { count: u32::try_from(count).ok()?, unit })
}

fn days(file: &Written) -> Days {
    let chosen = file.fields.get("selectedDays").and_then(Value::as_object);
    let on = |name: &str| chosen.and_then(|days| days.get(name)).and_then(Value::as_bool).unwrap_or(false);
    (0_u8..).zip(DAYS).filter(|(_, name)| on(name)).fold(Days::default(), |days, (at, _)| days.with(at))
}

fn last_minute(file: &Written) -> Wall {
    let hour = number(file, "expirationHour").unwrap_or(23).min(23);
    let minute = number(file, "expirationMinute").unwrap_or(59).min(59);
    i64::try_from(hour * 60 + minute).unwrap_or(DAY_MIN - 1)
}

fn meets(file: &Written) -> Meets {
    match file.text("taskInteraction") {
        "interrupt" => Meets::Interrupt,
        "skip" => Meets::Skip,
        _ => Meets::Wait {
            idle_ms: number(file, "inactivityDelay").unwrap_or(IDLE_MIN).saturating_mul(MINUTE_MS),
        },
    }
}

/// A field of our own; other schedulers leave it where it is.
fn missed(file: &Written) -> Missed {
    match file.text("missedRuns") {
        "skip" => Missed::Skip,
        "all" => Missed::All(EACH),
        _ => Missed::Once,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use board::Schedules;

    fn all(text: &str, zone_known: bool) -> Vec<Read> {
        let file = Schedules::parse(&format!("{{\"schedules\": [{text}]}}")).unwrap();
        Read::all(file.all(), moment("2026-11-21T00:00:00.000Z").unwrap(), zone_known)
    }

    fn read(text: &str) -> Read {
        all(text, true).remove(0)
    }

    #[test]
    fn moments_that_have_not_come_count_for_nothing() {
        let one = read(
            r#"{"id": "1", "lastExecutionTime": "2099-01-01T00:00:00.000Z",
                "lastSkippedTime": "2026-11-20T09:50:00.000Z"}"#,
        );
        assert_eq!((one.ran, one.told), (None, moment("2026-11-20T09:50:00.000Z")));
        assert_eq!(one.ahead, moment("2099-01-01T00:00:00.000Z"));
        // Another machine's clock is a little ahead.
        let near = read(r#"{"id": "1", "lastExecutionTime": "2026-11-21T00:01:00.000Z"}"#);
        assert_eq!((near.ran, near.ahead), (moment("2026-11-21T00:01:00.000Z"), None));
    }

    #[test]
    fn without_an_id_of_its_own_or_a_wall_clock_it_never_fires() {
        let every = r#""timeInterval": "1", "timeUnit": "minute""#;
        let text = ["\"id\": \"a\",", "\"id\": \"a\",", "", "\"id\": 7,"]
            .map(|id| format!("{{{id} {every}}}"))
            .join(",");
        let inert: Vec<bool> = all(&text, true).iter().map(|read| !read.inert.is_empty()).collect();
        assert_eq!(inert, [true, true, true, false]);
        assert!(all(&text, true).iter().all(|read| read.time.active == read.inert.is_empty()));
        assert!(all(&text, false)[3].time.active, "minutes pass everywhere");
        for wall in [
            r#"{"id": "1", "timeInterval": "1", "timeUnit": "day"}"#,
            r#"{"id": "1", "timeInterval": "1", "timeUnit": "hour", "startDate": "2026-01-01"}"#,
            r#"{"id": "1", "timeInterval": "1", "timeUnit": "hour", "selectedDays": {"sun": true}}"#,
            r#"{"id": "1", "timeInterval": "1", "timeUnit": "hour", "expirationDate": "2027-01-01"}"#,
        ] {
            assert!(all(wall, true)[0].time.active, "{wall}");
            assert!(all(wall, false)[0].inert.contains("set TZ"), "{wall}");
        }
    }

    #[test]
    fn texts_and_numbers_either_way_and_every_default() {
        let one = read(
            r#"{"id": "1", "name": "n", "mode": "m", "scheduleType": "time", "timeInterval": "10", "timeUnit": "minute",
                "selectedDays": {"sun": true, "wed": true, "mon": false}, "startDate": "2026-11-20", "startHour": "09",
                "startMinute": 30, "expirationDate": "2026-11-30", "requireActivity": true, "taskInteraction": "wait",
                "inactivityDelay": "3", "lastExecutionTime": "2026-11-20T09:40:00.000Z",
                "lastSkippedTime": "2026-11-20T09:50:00.000Z", "missedRuns": "all"}"#,
        );
        let start = day("2026-11-20").unwrap() + 9 * 60 + 30;
        assert_eq!((one.time.start, one.time.at), (Some(start), 570));
        assert_eq!(one.time.every, Some(Every { count: 10, unit: Unit::Minute }));
        assert_eq!(one.time.days, Days::default().with(0).with(3));
        assert_eq!(one.time.expires, Some(day("2026-11-30").unwrap() + DAY_MIN - 1));
        assert_eq!((one.time.meets, one.time.missed), (Meets::Wait { idle_ms: 180_000 }, Missed::All(EACH)));
        assert!(one.time.needs_activity && one.time.active && one.inert.is_empty());
        assert_eq!(one.told, moment("2026-11-20T09:50:00.000Z"));
        let bare = read(r#"{"id": "2", "mode": "m", "timeInterval": 2, "timeUnit": "day", "startDate": ""}"#);
        assert_eq!((bare.time.start, bare.time.at, bare.time.expires, bare.told), (None, 0, None, None));
        assert_eq!((bare.time.meets, bare.time.missed), (Meets::Wait { idle_ms: 60_000 }, Missed::Once));
        assert_eq!((bare.name(), bare.time.active), ("2", true));
    }

    #[test]
    fn what_is_no_interval_or_no_time_never_fires() {
        for none in [
            r#"{"id": "1", "timeUnit": "day"}"#,
            r#"{"id": "1", "timeInterval": "0", "timeUnit": "day"}"#,
            r#"{"id": "1", "timeInterval": "1", "timeUnit": "week"}"#,
            r#"{"id": "1", "timeInterval": "soon", "timeUnit": "day"}"#,
        ] {
            assert_eq!(read(none).time.every, None, "{none}");
        }
        let cron = read(r#"{"id": "1", "scheduleType": "cron", "timeInterval": "1", "timeUnit": "day"}"#);
        assert!(!cron.time.active && !cron.inert.is_empty());
        assert!(!read(r#"{"id": "1", "active": false, "timeInterval": "1", "timeUnit": "day"}"#).time.active);
    }
}
