//! Amounts as people write them: money, durations, sizes. Knows no context. Start at [`nanos`] and [`millis`].

use contract::Timestamp;
use contract::money::NANOS_PER_USD;
use contract::session::Quiet;

/// Decimal places of a dollar that are kept: nano-dollars.
const PLACES: usize = 9;

/// US dollars (`5`, `0.25`, `$1.50`) as nano-dollars; further decimals are refused rather than dropped.
pub(crate) fn nanos(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not an amount of US dollars; write it like 5 or 0.25");
    let digits = text.trim().trim_start_matches('$').replace('_', "");
    let (whole, part) = digits.split_once('.').unwrap_or((&digits, ""));
    let numeric = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !numeric(whole) || !numeric(part) || part.len() > PLACES {
        return Err(bad());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
    let part: u64 = format!("{part:0<PLACES$}").parse().map_err(|_| bad())?;
    whole.checked_mul(NANOS_PER_USD).and_then(|n| n.checked_add(part)).ok_or_else(bad)
}

/// A duration ([`contract::time::duration_ms`]) in milliseconds, or what to write instead.
pub(crate) fn millis(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a duration; write it like 500ms, 30s, 10m, 2h or 7d");
    contract::time::duration_ms(text).ok_or_else(bad)
}

/// A whole number, `_` and the suffixes `k` and `M` allowed.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a whole number above 0; write it like 1000, 50k or 2M");
    let clean = text.trim().replace('_', "");
    let (digits, unit) = match clean.char_indices().last() {
        Some((at, 'k' | 'K')) => (&clean[..at], 1_000),
        Some((at, 'M')) => (&clean[..at], 1_000_000),
        _ => (clean.as_str(), 1),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(unit).filter(|n| *n > 0).ok_or_else(bad)
}

/// Quiet hours: `22:00-07:00` in UTC, `22:00-07:00 +02:00` elsewhere, `always`.
pub(crate) fn quiet(text: &str) -> Result<Quiet, String> {
    const DAY: u32 = 24 * 60;
    let bad = || {
        format!("`{text}` are no hours of a day; write them like 22:00-07:00, 22:00-07:00 +02:00 or always")
    };
    let minutes = |clock: &str| {
        let (hours, minutes) = clock.split_once(':')?;
        let digits = clock.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') && minutes.len() == 2;
        let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
        (digits && hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    };
    if text.trim() == "always" {
        return Ok(Quiet { from_min: 0, to_min: 0 });
    }
    let (hours, zone) = text.trim().split_once(' ').unwrap_or((text.trim(), "+00:00"));
    let (from, to) = hours.split_once('-').ok_or_else(bad)?;
    let east = match zone.trim().split_at_checked(1).ok_or_else(bad)? {
        ("+", zone) => minutes(zone).ok_or_else(bad)?,
        ("-", zone) => DAY - minutes(zone).ok_or_else(bad)?,
        _ => return Err(bad()),
    };
    let utc = |clock: &str| minutes(clock).map(|at| (at + DAY - east) % DAY).ok_or_else(bad);
    let quiet = Quiet { from_min: utc(from)?, to_min: utc(to)? };
    if quiet.from_min == quiet.to_min { Err(bad()) } else { Ok(quiet) }
}

/// A size as people write it: `512 MiB`, `1GiB`, `100000`. A thousand of something is 1024, as [`bytes`] shows it.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size; write it like 64 MiB or 2 GiB");
    let clean = text.trim();
    let end = clean.find(|c: char| !c.is_ascii_digit()).unwrap_or(clean.len());
    let shift = match clean[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(bad()),
    };
    let number: u64 = clean[..end].parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(bad)
}

/// Time as people read it: `0.4s`, `12.3s`, `4m05s`, `2h07m`, `3d04h`.
pub(crate) fn span(ms: u64) -> String {
    let secs = ms / 1000;
    match secs {
        0..60 => format!("{}.{}s", secs, ms % 1000 / 100),
        60..3600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h{:02}m", secs / 3600, secs / 60 % 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs / 3600 % 24),
    }
}

/// Bytes as people read them.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let steps = (0..UNITS.len() - 1).take_while(|i| n >> (10 * (i + 1)) > 0).count();
    match steps {
        0 => format!("{n} B"),
        _ => {
            let tenths = (u128::from(n) * 10) >> (10 * steps);
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[steps])
        }
    }
}

/// The time of day (UTC), `06:07:24`.
pub(crate) fn clock(at: Timestamp) -> String {
    at.to_string()[11..19].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_a_day_are_read_wherever_they_are() {
        let quiet = |text| super::quiet(text).map(|quiet| (quiet.from_min, quiet.to_min));
        assert_eq!(quiet("22:00-07:30"), Ok((1320, 450)));
        assert_eq!(quiet("22:00-07:00 +02:00"), Ok((1200, 300)));
        assert_eq!(quiet("01:00-07:00 -05:30"), Ok((390, 750)));
        assert_eq!(quiet("00:30-07:00 +01:00"), Ok((1410, 360)));
        assert_eq!(quiet("always"), Ok((0, 0)));
        for text in
            ["", "22-7", "24:00-07:00", "22:00-07:60", "22:00-22:00", "22:00-07:00 CET", "+1:00-2:00", "a"]
        {
            assert!(quiet(text).unwrap_err().contains("22:00-07:00"), "{text}");
        }
    }

    #[test]
    fn money_is_exact() {
        for (text, n) in
            [("5", 5_000_000_000), ("$0.25", 250_000_000), (".5", 500_000_000), ("0.000000001", 1)]
        {
            assert_eq!(nanos(text), Ok(n), "{text}");
        }
        for bad in ["", ".", "five", "1e3", "-1", "0.0000000001", "99999999999999999999", "1.2.3"] {
            assert!(nanos(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_name_their_unit() {
        for (text, ms) in
            [("500ms", 500), ("30", 30_000), ("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000)]
        {
            assert_eq!(millis(text), Ok(ms), "{text}");
        }
        for bad in ["", "h", "1.5h", "0", "10 weeks", "-3s", "99999999999999999d"] {
            assert!(millis(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_take_suffixes() {
        assert_eq!(count("2M"), Ok(2_000_000));
        assert_eq!(count("1_000"), Ok(1_000));
        for bad in ["", "0", "k", "1.5k", "many"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_as_they_are_shown() {
        for (text, n) in [("100", 100), ("1 KiB", 1024), ("64MiB", 64 << 20), ("2g", 2 << 30)] {
            assert_eq!(size(text), Ok(n), "{text}");
        }
        for bad in ["", "MiB", "0", "1.5 GiB", "1 XiB", "99999999999999 TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn figures_read_well() {
        let spans: Vec<String> = [0, 450, 12_340, 245_000, 7_620_000, 273_600_000].map(span).into();
        assert_eq!(spans, ["0.0s", "0.4s", "12.3s", "4m05s", "2h07m", "3d04h"]);
        let sizes: Vec<String> = [0, 1023, 1024, 1_572_864, u64::MAX].map(bytes).into();
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "16777215.9 TiB"]);
        assert_eq!(clock(Timestamp(1_795_154_844_123)), "06:07:24");
    }
}
