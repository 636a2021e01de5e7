//! UTC instants with millisecond resolution, stored as RFC 3339 text.

use crate::id::{ascii, decimal};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Milliseconds since 1970-01-01T00:00:00Z. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The last moment that can be written down: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// This instant and `ms` milliseconds more, at most [`Self::MAX`].
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms)).min(Self::MAX)
    }

    /// Milliseconds from `earlier` to here; 0 when the clock went backwards.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

impl Timestamp {
    /// The first moment of its hour, UTC.
    pub fn hour(self) -> Self {
        Self(self.0 - self.0 % HOUR_MS)
    }

    /// The first moment of the hour after.
    pub fn next_hour(self) -> Self {
        self.hour().plus(HOUR_MS)
    }

    /// The first moment of its day, UTC.
    pub fn day(self) -> Self {
        Self(self.0 - self.0 % DAY_MS)
    }

    /// The first moment of the day after.
    pub fn next_day(self) -> Self {
        self.day().plus(DAY_MS)
    }

    /// The first moment of its month, UTC.
    pub fn month(self) -> Self {
        let (_, _, day) = civil(self.0 / DAY_MS);
        Self(self.day().0 - (day - 1) * DAY_MS)
    }

    /// The first moment of the month after.
    pub fn next_month(self) -> Self {
        // No month is longer than 31 days, none shorter than 28.
        self.month().plus(31 * DAY_MS).month()
    }
}

/// A duration as people write it (`500ms`, `30s`, `10m`, `2h`, `7d`; a bare number counts seconds) in milliseconds;
/// `None` = it is none, or nothing, or too long for a number.
pub fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let unit = match &text[end..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit).filter(|ms| *ms > 0)
}

/// Civil date of a day number (days since 1970-01-01). Proleptic Gregorian; Howard Hinnant's algorithm.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let y = year.checked_sub(u64::from(month <= 2))?;
    let era = y / 400;
    let yoe = y % 400;
    let mp = if month > 2 { month - 3 } else { month + 9 };
    let doy = (153 * mp + 2) / 5 + day - 1;
    (era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy).checked_sub(719_468)
}

impl Timestamp {
    /// Calls `f` with the text. Without a formatter: several stand in every record.
    fn with_text<R>(self, f: impl FnOnce(&str) -> R) -> R {
        // A year of five digits could be written but never read again.
        let at = self.0.min(Self::MAX.0);
        let (secs, ms) = (at / 1000, at % 1000);
        let (year, month, day) = civil(secs / 86_400);
        let (h, m, s) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
        let mut text = *SHAPE;
        for (n, end) in [(year, 4), (month, 7), (day, 10), (h, 13), (m, 16), (s, 19), (ms, 23)] {
            decimal(n, &mut text, end);
        }
        f(ascii(&text))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

/// How a moment is written; 0 = any digit.
const SHAPE: &[u8; 24] = b"0000-00-00T00:00:00.000Z";

impl FromStr for Timestamp {
    type Err = crate::id::BadId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let n = |from: usize, to: usize| s.get(from..to)?.parse::<u64>().ok();
            let b = s.as_bytes();
            // `parse` alone would take a sign.
            let fits = |(c, shape): (&u8, &u8)| if *shape == b'0' { c.is_ascii_digit() } else { c == shape };
            if b.len() != SHAPE.len() || !b.iter().zip(SHAPE).all(fits) {
                return None;
            }
            let (month, day, h, m, sec) = (n(5, 7)?, n(8, 10)?, n(11, 13)?, n(14, 16)?, n(17, 19)?);
            if !(1..=12).contains(&month) || !(1..=31).contains(&day) || h > 23 || m > 59 || sec > 59 {
                return None;
            }
            let year = n(0, 4)?;
            // Not every month has that day.
            let day_number = days(year, month, day).filter(|number| civil(*number) == (year, month, day))?;
            Some(Self((day_number * 86_400 + h * 3600 + m * 60 + sec) * 1000 + n(20, 23)?))
        };
        parse().ok_or_else(|| crate::id::BadId(s.chars().take(64).collect()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| s.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_begin_at_midnight() {
        for (at, day, month, next) in [
            ("2026-11-20T06:07:24.123Z", "2026-11-20", "2026-11-01", "2026-12-01"),
            ("2026-12-31T23:59:59.999Z", "2026-12-31", "2026-12-01", "2027-01-01"),
            ("2028-01-31T00:00:00.000Z", "2028-01-31", "2028-01-01", "2028-02-01"),
            ("2028-02-29T00:00:00.000Z", "2028-02-29", "2028-02-01", "2028-03-01"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            let midnight = |date: &str| format!("{date}T00:00:00.000Z");
            assert_eq!(at.day().to_string(), midnight(day));
            assert_eq!(at.month().to_string(), midnight(month));
            assert_eq!(at.next_month().to_string(), midnight(next));
            assert_eq!(at.next_day().0, at.day().0 + 86_400_000);
        }
    }

    #[test]
    fn known_instants() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_154_844_123, "2026-11-20T06:07:24.123Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(ms).to_string(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap(), Timestamp(ms));
        }
    }

    #[test]
    fn every_day_of_four_centuries_round_trips() {
        for day in 0..146_097 {
            let t = Timestamp(day * 86_400_000 + 1);
            assert_eq!(t.to_string().parse::<Timestamp>().unwrap(), t);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "2026-11-20",
            "2026-13-01T00:00:00.000Z",
            "2026-02-29T00:00:00.000Z",
            "+026-11-20T06:07:24.123Z",
            "2026-11-20T06:07:60.123Z",
            "2026-11-20T06:07:24,123Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
