//! Moments as these files hold them: read in every form that is found there, written in one.
//!
//! Knows no clock and no place: what names no zone is UTC. Start at [`read`].

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, tz::TimeZone};

/// A number this big counts milliseconds, a smaller one seconds: the line is in the year 5138, or March 1973.
const MILLIS_FROM: f64 = 100_000_000_000.0;

/// Milliseconds since 1970 for a moment: ISO 8601 with or without zone, a day, or a Unix time; `None` = it is none.
pub fn read(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    if let Ok(at) = text.parse::<DateTime>() {
        return at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp().as_millisecond());
    }
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0 && text.len() >= 9)?;
    let ms = if number < MILLIS_FROM { number * 1000.0 } else { number };
    Timestamp::from_millisecond(ms as i64).ok().map(Timestamp::as_millisecond)
}

/// Is it a day without a time? As the end of a span it means all of that day.
pub fn is_day(text: &str) -> bool {
    let text = text.trim();
    text.len() == 10 && text.parse::<Date>().is_ok()
}

/// ISO 8601, UTC, microseconds, `Z`.
pub fn written(ms: i64) -> String {
    shaped(ms, |at| format!("{at:.6}"))
}

/// The same to the millisecond, as schedulers write it.
pub fn written_ms(ms: i64) -> String {
    shaped(ms, |at| format!("{at:.3}"))
}

/// `YYYYMMDD_HHMMSS`, for names of files.
pub fn stamp(ms: i64) -> String {
    shaped(ms, |at| at.to_string().chars().take(19).filter(char::is_ascii_digit).collect::<String>())
        .chars()
        .enumerate()
        .flat_map(|(at, c)| (at == 8).then_some('_').into_iter().chain([c]))
        .collect()
}

fn shaped(ms: i64, shape: impl Fn(Timestamp) -> String) -> String {
    shape(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A span as people read it: `1h 2m 5s`.
pub fn span(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m {rest}s"),
        _ => format!("{hours}h {minutes}m {rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_is_found_is_read() {
        let at = Some(1_761_558_330_412);
        for text in [
            "2025-10-27T09:45:30.412Z",
            "2025-10-27T09:45:30.412000Z",
            "2025-10-27T10:45:30.412+01:00",
            "2025-10-27T09:45:30.412",
            "2025-10-27 09:45:30.412",
            "1761558330412",
            "1761558330.412",
        ] {
            assert_eq!(read(text), at, "{text}");
        }
        assert_eq!(read("2025-10-27"), Some(1_761_523_200_000));
        for none in ["", "soon", "12", "NaN", "inf", "2025-13-01", "2025-10-27T25:00:00Z"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert!(is_day("2025-10-27") && !is_day("2025-10-27T00:00:00Z") && !is_day("2025-10-40"));
    }

    #[test]
    fn one_form_is_written() {
        let at = 1_761_558_330_412;
        assert_eq!(written(at), "2025-10-27T09:45:30.412000Z");
        assert_eq!(written_ms(at), "2025-10-27T09:45:30.412Z");
        assert_eq!(stamp(at), "20251027_094530");
        assert_eq!((span(5), span(65), span(3_725)), ("5s".into(), "1m 5s".into(), "1h 2m 5s".into()));
    }
}
