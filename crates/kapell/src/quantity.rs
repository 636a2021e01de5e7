//! Amounts as people write them: money, durations, sizes. Knows no context. Start at [`nanos`] and [`millis`].

use contract::Timestamp;
use contract::money::NANOS_PER_USD;

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
