//! A fingerprint as Sentry takes it: an envelope with one event (develop.sentry.dev/sdk/data-model/envelopes).
//!
//! Pure; what is in it is Kapell's own sentence without names and numbers. Start at [`Dsn::parse`] and [`envelope`].

use crate::faults::Fingerprint;
use contract::{Digest, Timestamp};
use serde_json::json;

/// The same fingerprint is sent once in so long a time, milliseconds.
pub const AGAIN_MS: u64 = 3_600_000;
/// Hex digits of an event's id.
const DIGITS: usize = 32;

/// Where events go, and with which key.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    /// Where envelopes are posted to.
    pub url: String,
    key: String,
}

impl std::fmt::Debug for Dsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dsn").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Dsn {
    /// Reads `SCHEME://KEY@HOST/PATH/PROJECT`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) =
            text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
        let (key, rest) = rest.split_once('@')?;
        // An older form has a second, secret half, which is not sent any more.
        let key = key.split(':').next().unwrap_or_default();
        let (place, project) = rest.trim_end_matches('/').rsplit_once('/')?;
        let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
        let (host, path) =
            place.split_once('/').map_or((place, String::new()), |(host, path)| (host, format!("/{path}")));
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#');
        if !plain(key) || !plain(project) || host.is_empty() || place.contains(odd) {
            return None;
        }
        let url = format!("{scheme}://{host}{path}/api/{project}/envelope/");
        Some(Self { url, key: key.to_owned() })
    }

    /// `X-Sentry-Auth`.
    pub fn auth(&self, version: &str) -> String {
        format!("Sentry sentry_version=7, sentry_client=kapell/{version}, sentry_key={}", self.key)
    }
}

/// What is posted about this failure now.
pub fn envelope(one: &Fingerprint, now: Timestamp, version: &str) -> Vec<u8> {
    let name = format!("{}/{}", one.id, now.0 / AGAIN_MS);
    let id: String = Digest::of(name.as_bytes()).to_string().chars().take(DIGITS).collect();
    let event = json!({
        "event_id": id, "timestamp": one.last.to_string(), "platform": "other", "level": "error",
        "logger": "kapell", "release": format!("kapell@{version}"), "fingerprint": [one.id],
        "exception": {"values": [{"type": one.code, "value": one.what}]},
        "tags": {"kind": one.kind.name(), "code": one.code},
        "extra": {"count": one.count, "first": one.first.to_string(), "sessions": one.sessions.len()},
    })
    .to_string();
    let head = json!({"event_id": id, "sent_at": now.to_string()});
    let item = json!({"type": "event", "length": event.len(), "content_type": "application/json"});
    format!("{head}\n{item}\n{event}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Faults;
    use contract::{Fault, Kind, SessionId};
    use serde_json::Value;

    #[test]
    fn addresses_are_taken_apart_and_the_key_is_not_shown() {
        let dsn = Dsn::parse("https://abc123@o1.example.org/prefix/42").unwrap();
        assert_eq!(dsn.url, "https://o1.example.org/prefix/api/42/envelope/");
        assert!(dsn.auth("1").ends_with("sentry_key=abc123") && !format!("{dsn:?}").contains("abc123"));
        let old = Dsn::parse("http://a:b@127.0.0.1:9/7").unwrap();
        assert_eq!(old.url, "http://127.0.0.1:9/api/7/envelope/");
        for bad in [
            "",
            "abc",
            "ftp://a@h/1",
            "https://h/1",
            "https://a@h",
            "https://a@/1",
            "https://a@h/1/x y",
            "https://@h/1",
        ] {
            assert_eq!(Dsn::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_envelope_has_a_head_an_item_and_an_event_of_that_length() {
        let mut faults = Faults::default();
        faults.add(
            SessionId(1),
            Timestamp(5),
            &Fault::new(Kind::Degraded, "http-500", "`acme` is unwell, 17 times"),
        );
        let bytes = envelope(faults.all()[0], Timestamp(9), "1.0.0");
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let item: Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!((lines.len(), &item["length"]), (3, &lines[2].len().into()));
        let event: Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(event["exception"]["values"][0]["value"], "`…` is unwell, # times");
    }
}
