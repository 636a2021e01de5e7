//! What the headers of an answer tell about the key's limits: how much is left, and when to come back.
//!
//! Knows no clock: the moment of the answer comes in. Start at [`meter`] and [`retry_after_ms`].

use super::Headers;
use contract::Timestamp;
use contract::model::{Gauge, Meter};

/// Names of one limit's headers: all there are, left, until it is full again.
type Names = [&'static str; 3];

const REQUESTS: [Names; 4] = [
    [
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ],
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
];
/// The first that is told: what a call is measured by is mostly input. A row for all tokens is at times one of the others.
const TOKENS: [Names; 3] = [
    [
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ],
    [
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ],
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
];
/// Of output alone: a call that may say so much is not held up by it, as few say all they may.
const OUTPUT: Names = [
    "anthropic-ratelimit-output-tokens-limit",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
];
/// Of a subscription's windows of hours and days: whether one is full, and when it is not any more.
const UNIFIED: [&str; 2] = ["anthropic-ratelimit-unified-status", "anthropic-ratelimit-unified-reset"];
/// Bare numbers from here on are moments, seconds or milliseconds since 1970; below they are durations in seconds.
const EPOCH_SECONDS: f64 = 1e9;
const EPOCH_MILLIS: f64 = 1e11;
/// Longest wait that is believed, milliseconds (a year).
pub(super) const MOST_MS: f64 = 365.0 * 86_400_000.0;

/// What is left. `now` is the person's clock; an answer that has a date is dated by that.
pub fn meter(headers: &Headers, now: Timestamp) -> Meter {
    let now = answered(headers, now);
    let gauge = |names: &Names| gauge(headers, names, now);
    // Of several limits of requests the one that binds first.
    let requests = REQUESTS.iter().filter_map(gauge).min_by_key(|gauge| gauge.left);
    Meter { requests, tokens: TOKENS.iter().find_map(gauge) }
}

fn gauge(headers: &Headers, names: &Names, now: Timestamp) -> Option<Gauge> {
    let number = |name: &str| headers.get(name)?.parse::<f64>().ok().filter(|n| *n >= 0.0).map(|n| n as u64);
    let left = number(names[1])?;
    let reset_ms = headers.get(names[2]).and_then(|text| wait_ms(text, now));
    Some(Gauge { limit: number(names[0]), left, reset_ms })
}

/// When to come back, milliseconds from now: what the answer says in so many words, else when what is used up is full.
pub fn retry_after_ms(headers: &Headers, now: Timestamp) -> Option<u64> {
    let exact = headers.get("retry-after-ms").and_then(|text| whole(text.parse().ok()?));
    let said = || headers.get("retry-after").and_then(|text| wait_ms(text, answered(headers, now)));
    let used_up = || {
        let now = answered(headers, now);
        let all = REQUESTS.iter().chain(&TOKENS).chain([&OUTPUT]);
        let gauges = all.filter_map(|names| gauge(headers, names, now));
        gauges.filter(|gauge| gauge.left == 0).filter_map(|gauge| gauge.reset_ms).max()
    };
    let plan = || {
        let full = headers.get(UNIFIED[0]) == Some("rejected");
        headers.get(UNIFIED[1]).filter(|_| full).and_then(|text| wait_ms(text, answered(headers, now)))
    };
    exact.or_else(said).or_else(plan).or_else(used_up)
}

/// The moment of the answer: its own date, so that a clock that is off does not make waits too short.
fn answered(headers: &Headers, now: Timestamp) -> Timestamp {
    headers.get("date").and_then(moment).unwrap_or(now)
}

/// A wait as some server writes it: seconds, `6m0s`, `20ms`, a moment in RFC 3339, an HTTP date, or seconds or
/// milliseconds since 1970. A moment that has passed is no wait.
pub fn wait_ms(text: &str, now: Timestamp) -> Option<u64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let at = |ms: f64| whole((ms - now.0 as f64).max(0.0));
        return match number {
            n if n >= EPOCH_MILLIS => at(n),
            n if n >= EPOCH_SECONDS => at(n * 1000.0),
            n => whole(n * 1000.0),
        };
    }
    duration(text).or_else(|| moment(text).map(|at| at.since(now).min(MOST_MS as u64)))
}

fn whole(ms: f64) -> Option<u64> {
    (ms.is_finite() && ms >= 0.0).then(|| ms.min(MOST_MS).ceil() as u64)
}

/// `1h2m3.5s`, `20ms`: numbers with units, one behind the other.
fn duration(text: &str) -> Option<u64> {
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let tail = &rest[end..];
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        sum += number
            * match &tail[..unit] {
                "d" => 86_400_000.0,
                "h" => 3_600_000.0,
                "m" => 60_000.0,
                "s" => 1000.0,
                "ms" => 1.0,
                "us" | "µs" => 0.001,
                "ns" => 0.000_001,
                _ => return None,
            };
        rest = &tail[unit..];
    }
    if text.is_empty() { None } else { whole(sum) }
}

/// A moment in RFC 3339, or in one of the three forms of an HTTP date (RFC 9110, 5.6.7).
fn moment(text: &str) -> Option<Timestamp> {
    rfc3339(text).or_else(|| http_date(text))
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = (text.get(..19)?, text.get(19..)?);
    let digits =
        rest.strip_prefix('.').map_or(0, |f| f.find(|c: char| !c.is_ascii_digit()).unwrap_or(f.len()));
    let zone = if digits == 0 { rest } else { &rest[digits + 1..] };
    let millis = format!("{:0<3}", rest.get(1..1 + digits.min(3)).filter(|_| digits > 0).unwrap_or_default());
    let at: Timestamp = format!("{}T{}.{millis}Z", date.get(..10)?, date.get(11..)?).parse().ok()?;
    if matches!(zone, "Z" | "z") {
        return Some(at);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = (hours.parse::<u64>().ok()?.min(24) * 60 + minutes.parse::<u64>().ok()?.min(59)) * 60_000;
    match zone.as_bytes()[0] {
        b'+' => Some(Timestamp(at.0.checked_sub(offset)?)),
        b'-' => Some(at.plus(offset)),
        _ => None,
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match words[..] {
        [_, day, month, year, time, "GMT" | "UTC"] => (day, month, year, time),
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (day, year): (u32, u32) = (day.parse().ok()?, year.parse().ok()?);
    // Two digits of a year: a date that is far ahead means the past century (RFC 9110).
    let year = match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        year => year,
    };
    format!("{year:04}-{month:02}-{day:02}T{time}.000Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20T06:07:24Z.
    const NOW: Timestamp = Timestamp(1_795_154_844_000);

    #[test]
    fn waits_in_every_form() {
        for (text, ms) in [
            ("0", Some(0)),
            ("30", Some(30_000)),
            ("1.5", Some(1_500)),
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("20ms", Some(20)),
            ("34.074824224s", Some(34_075)),
            ("1h2m3.5s", Some(3_723_500)),
            ("1d", Some(86_400_000)),
            ("Fri, 20 Nov 2026 06:08:24 GMT", Some(60_000)),
            ("Friday, 20-Nov-26 06:08:24 GMT", Some(60_000)),
            ("Fri Nov 20 06:08:24 2026", Some(60_000)),
            ("Fri, 20 Nov 2020 06:08:24 GMT", Some(0)),
            ("2026-11-20T06:07:34Z", Some(10_000)),
            ("2026-11-20T06:07:34.25Z", Some(10_250)),
            ("2026-11-20T07:07:34+01:00", Some(10_000)),
            ("2026-11-20T05:07:34.123456-01:00", Some(10_123)),
            ("1795154854", Some(10_000)),
            ("1795154854000", Some(10_000)),
            ("1e300", Some(MOST_MS as u64)),
            ("-1", None),
            ("", None),
            ("soon", None),
            ("NaN", None),
            ("5 apples", None),
            ("2026-13-20T06:07:34Z", None),
        ] {
            assert_eq!(wait_ms(text, NOW), ms, "{text}");
        }
    }

    #[test]
    fn the_answers_own_date_counts() {
        let headers = Headers::new([
            ("Date", "Fri, 20 Nov 2026 05:07:24 GMT"),
            ("Retry-After", "Fri, 20 Nov 2026 05:07:54 GMT"),
        ]);
        assert_eq!(retry_after_ms(&headers, NOW), Some(30_000));
    }

    #[test]
    fn what_is_left() {
        let headers = Headers::new([
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-11-20T06:07:25Z"),
            ("anthropic-ratelimit-tokens-remaining", "700"),
            ("anthropic-ratelimit-input-tokens-limit", "1000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-20T06:08:24Z"),
        ]);
        let meter = meter(&headers, NOW);
        assert_eq!(meter.requests, Some(Gauge { limit: Some(50), left: 49, reset_ms: Some(1_000) }));
        assert_eq!(meter.tokens, Some(Gauge { limit: Some(1000), left: 0, reset_ms: Some(60_000) }));
        assert_eq!(retry_after_ms(&headers, NOW), Some(60_000), "when what is used up is full again");
    }

    #[test]
    fn output_of_a_low_tier_holds_up_no_call_and_says_when_to_come_back() {
        let row = |kind: &str, left: &str, reset: &str| {
            let name = |what: &str| format!("anthropic-ratelimit-{kind}-{what}");
            [(name("remaining"), left.to_owned()), (name("reset"), reset.to_owned())]
        };
        let told = |output: &str| {
            let rows = [
                row("requests", "49", "2026-11-20T06:07:25Z"),
                row("tokens", "7000", "2026-11-20T06:07:54Z"),
                row("input-tokens", "28000", "2026-11-20T06:07:34Z"),
                row("output-tokens", output, "2026-11-20T06:08:14Z"),
            ];
            let rows: Vec<(String, String)> = rows.into_iter().flatten().collect();
            Headers::new(rows.iter().map(|(name, value)| (name.as_str(), value.clone())))
        };
        let input = Gauge { limit: None, left: 28_000, reset_ms: Some(10_000) };
        assert_eq!(meter(&told("3000"), NOW).tokens, Some(input));
        assert_eq!(retry_after_ms(&told("3000"), NOW), None);
        assert_eq!(retry_after_ms(&told("0"), NOW), Some(50_000));
    }

    #[test]
    fn other_vendors_names() {
        let openai = Headers::new([
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-tokens", "6m0s"),
            ("retry-after-ms", "1200"),
            ("retry-after", "7"),
        ]);
        let told = meter(&openai, NOW);
        assert_eq!(told.requests, Some(Gauge { limit: Some(60), left: 0, reset_ms: Some(1_000) }));
        assert_eq!(told.tokens, Some(Gauge { limit: None, left: 149_984, reset_ms: Some(360_000) }));
        assert_eq!(retry_after_ms(&openai, NOW), Some(1_200));
        let router = Headers::new([("X-RateLimit-Remaining", "3"), ("X-RateLimit-Reset", "1795154904000")]);
        assert_eq!(
            meter(&router, NOW).requests,
            Some(Gauge { limit: None, left: 3, reset_ms: Some(60_000) })
        );
        assert_eq!(meter(&Headers::default(), NOW), Meter::default());
    }
}
