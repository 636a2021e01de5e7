//! What a server's refusal means: one of the five kinds, by its status and the words it uses for types, never by
//! numbers in its sentences (spec S1.4-1, section 10 rows 17-20).
//!
//! Knows no socket. The same table serves answers ([`refused`]) and errors inside a stream ([`told`]). Start at [`RULES`].

pub mod own;

use super::{Headers, Options, limits};
use contract::error::CONTEXT_FULL;
use contract::text::bounded;
use contract::{Fault, Kind, Timestamp};
use serde_json::Value;

/// Bytes of a server's own sentence that are quoted.
const QUOTE_BYTES: usize = 300;
/// Code of the fault that a request was not understood.
pub const REQUEST_REFUSED: &str = "request-refused";
/// Code of the fault that a key is not good.
pub const KEY_REFUSED: &str = "key-refused";

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The key, or what it may do.
    Key,
    /// The account's money or quota.
    Quota,
    /// The model or the path.
    Missing,
    /// The conversation is too long.
    Context,
    /// Too many requests.
    Rate,
    /// The server is unwell.
    Unwell,
    /// It took too long to reach it.
    Slow,
    /// It went somewhere else.
    Moved,
    /// The request itself.
    Request,
    /// Something that a person has to do, as a rule of theirs says.
    Person,
    /// Something that passes, as a rule of theirs says.
    Passing,
}

/// By status, when no word says better.
const RULES: &[(&[u16], About)] = &[
    (&[401, 403, 407], About::Key),
    (&[402], About::Quota),
    (&[404, 405, 410], About::Missing),
    (&[413], About::Context),
    (&[408, 409, 425], About::Slow),
    (&[429], About::Rate),
    (&[301, 302, 303, 307, 308], About::Moved),
    (&[500, 502, 503, 504, 520, 521, 522, 523, 524, 529, 530], About::Unwell),
];

/// By the words servers use as types, codes and reasons.
const WORDS: &[(&str, About)] = &[
    ("context_length_exceeded", About::Context),
    ("exceed_context_size_error", About::Context),
    ("model_context_window_exceeded", About::Context),
    ("request_too_large", About::Context),
    ("string_above_max_length", About::Context),
    ("insufficient_quota", About::Quota),
    ("billing_error", About::Quota),
    ("billing_hard_limit_reached", About::Quota),
    ("billing_not_active", About::Quota),
    ("insufficient_balance", About::Quota),
    ("invalid_api_key", About::Key),
    ("api_key_invalid", About::Key),
    ("authentication_error", About::Key),
    ("permission_error", About::Key),
    ("permission_denied", About::Key),
    ("unauthenticated", About::Key),
    ("model_not_found", About::Missing),
    ("not_found_error", About::Missing),
    ("not_found", About::Missing),
    ("overloaded_error", About::Unwell),
    ("api_error", About::Unwell),
    ("server_error", About::Unwell),
    ("internal_server_error", About::Unwell),
    ("timeout_error", About::Unwell),
    ("unavailable_error", About::Unwell),
    ("internal", About::Unwell),
    ("unavailable", About::Unwell),
    ("deadline_exceeded", About::Unwell),
    ("rate_limit_error", About::Rate),
    ("usage_limit_reached", About::Rate),
    ("rate_limit_exceeded", About::Rate),
    ("resource_exhausted", About::Rate),
    ("too_many_requests", About::Rate),
    ("invalid_request_error", About::Request),
    ("invalid_argument", About::Request),
    ("failed_precondition", About::Request),
];

/// Sentences of servers that have no word for it: looked for only where the request itself was refused.
const PHRASES: &[(&str, About)] = &[
    ("prompt is too long", About::Context),
    ("input is too long", About::Context),
    ("maximum context length", About::Context),
    ("exceeds the context", About::Context),
    ("exceeds context", About::Context),
    ("exceed context limit", About::Context),
    ("exceeds the available context size", About::Context),
    ("exceeds the maximum number of tokens", About::Context),
    ("context window", About::Context),
    ("context length", About::Context),
    ("greater than the context", About::Context),
    ("larger than the max_model_len", About::Context),
    ("credit balance", About::Quota),
    ("insufficient balance", About::Quota),
    ("api key not valid", About::Key),
    ("api key not found", About::Key),
];

/// What a server says about an error, wherever it puts it.
#[derive(Debug, Default)]
struct Said {
    /// Types, codes, statuses and reasons, in lower case.
    words: Vec<String>,
    /// A status among them.
    status: Option<u16>,
    message: String,
    retry: Option<String>,
    /// What is used up is a day's share.
    daily: bool,
    /// The whole of it.
    raw: String,
}

/// An answer that is no reply. `now` is the moment of it.
pub fn refused(options: &Options, status: u16, headers: &Headers, body: &[u8], now: Timestamp) -> Fault {
    let read = serde_json::from_slice(body).map(|value| said(&value)).unwrap_or_default();
    let said = Said { raw: String::from_utf8_lossy(body).into_owned(), ..read };
    let mut fault = fault(options, Some(status), &said);
    let wait = limits::retry_after_ms(headers, now).or_else(|| limits::wait_ms(said.retry.as_deref()?, now));
    fault = waiting(fault, if said.daily { wait.max(Some(until_midnight_ms(now))) } else { wait });
    if let Some(to) = headers.get("location").filter(|_| fault.code == "redirected") {
        let place = to.split(['?', '#']).next().unwrap_or_default();
        fault.what = bounded(&format!("{} to {place}", fault.what), QUOTE_BYTES * 2);
    }
    fault
}

/// An error inside a stream that had begun well: its `error` value.
pub fn told(options: &Options, error: &Value) -> Fault {
    let said = Said { raw: error.to_string(), ..said(error) };
    // Nobody says here what time it is: of a moment it is not known how far away that is.
    let lasts = |text| limits::wait_ms(text, Timestamp::default()).filter(|ms| *ms < limits::MOST_MS as u64);
    let wait = said.retry.as_deref().and_then(lasts);
    waiting(fault(options, said.status, &said), wait)
}

/// Until Google's day ends, which says to come back in seconds even when a day's share is used up: midnight in
/// California, 8:00 UTC (in summer it is an hour earlier, and an hour is waited too long).
fn until_midnight_ms(now: Timestamp) -> u64 {
    const DAY_MS: u64 = 86_400_000;
    const MIDNIGHT_MS: u64 = 8 * 3_600_000;
    DAY_MS - (now.0 + DAY_MS - MIDNIGHT_MS) % DAY_MS
}

/// A quota that says when it is full again is a limit like others.
fn waiting(mut fault: Fault, wait: Option<u64>) -> Fault {
    match fault.kind {
        Kind::RateLimited | Kind::Degraded | Kind::Transient => fault.retry_after_ms = wait,
        Kind::UserFixable if fault.code == "quota-exhausted" && wait.is_some() => {
            (fault.kind, fault.retry_after_ms) = (Kind::RateLimited, wait);
        }
        _ => {}
    }
    fault
}

fn said(value: &Value) -> Said {
    // Some wrap the object in a list, some give a text.
    let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
    let mut said = Said::default();
    for key in ["type", "code", "status", "reason"] {
        match error.get(key) {
            Some(Value::String(word)) => said.words.push(word.to_ascii_lowercase()),
            Some(Value::Number(n)) => {
                said.status = n.as_u64().and_then(|n| u16::try_from(n).ok()).or(said.status)
            }
            _ => {}
        }
    }
    for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
        said.words.extend(detail["reason"].as_str().map(str::to_ascii_lowercase));
        said.retry = detail["retryDelay"].as_str().map(str::to_owned).or(said.retry);
        let mut violations = detail["violations"].as_array().into_iter().flatten();
        said.daily |= violations.any(|one| one["quotaId"].as_str().is_some_and(|id| id.contains("PerDay")));
    }
    said.retry = said.retry.or_else(|| resets(error));
    let text = error.as_str().or_else(|| error["message"].as_str()).or_else(|| value["message"].as_str());
    text.or_else(|| value["detail"].as_str()).unwrap_or_default().clone_into(&mut said.message);
    said
}

/// When a limit is reset, where the body says it: ChatGPT's plans in seconds and as a moment, OpenRouter as the header
/// that its own upstream would have sent.
fn resets(error: &Value) -> Option<String> {
    let own = ["resets_in_seconds", "resets_at"].into_iter().map(|key| &error[key]);
    let headers = error["metadata"]["headers"].as_object();
    let reset = |(name, _): &(&String, &Value)| name.eq_ignore_ascii_case("x-ratelimit-reset");
    let told = headers.and_then(|headers| headers.iter().find(reset)).map(|(_, value)| value);
    own.chain(told).find_map(|value| match value {
        Value::Number(n) => Some(n.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    })
}

/// What the answer is about, and whether the server said so itself in words that mean one thing only.
fn about(status: Option<u16>, said: &Said) -> (About, bool) {
    let by_status = status.and_then(|status| RULES.iter().find(|(all, _)| all.contains(&status)));
    let by_status = by_status.map(|(_, about)| *about);
    let word = |word: &String| WORDS.iter().find(|(known, _)| known == word).map(|(_, about)| *about);
    let by_word = said.words.iter().filter_map(word).min_by_key(|about| match about {
        // What is said more exactly than the status can.
        About::Context | About::Quota | About::Key => 0,
        About::Request => 2,
        _ => 1,
    });
    let general = matches!(by_word, None | Some(About::Request));
    let open = matches!(status, None | Some(400 | 413 | 422 | 500)) && (general || status == Some(500));
    let message = said.message.to_ascii_lowercase();
    let phrase = PHRASES.iter().find(|(phrase, _)| open && message.contains(phrase)).map(|(_, about)| *about);
    let exact =
        phrase.or(by_word.filter(|about| matches!(about, About::Context | About::Quota | About::Key)));
    let about = exact.or(by_status).or(by_word).unwrap_or(match status {
        Some(300..400) => About::Moved,
        Some(501 | 505) => About::Request,
        Some(500..) => About::Unwell,
        _ => About::Request,
    });
    (about, exact.is_some())
}

/// What the person's own rules say it is. What a server says in so many words about the length of a conversation or about
/// a key is mended by Kapell itself: a rule that looks at nothing but the status does not stand in the way of that.
fn by_own_rules(options: &Options, status: Option<u16>, said: &Said, mended: bool) -> Option<Kind> {
    let words = said.words.iter().map(String::as_str);
    let texts: Vec<&str> = words.chain([said.message.as_str(), said.raw.as_str()]).collect();
    options.errors.kind(status.or(said.status), &texts, mended)
}

fn meant(kind: Kind) -> About {
    match kind {
        Kind::Transient => About::Passing,
        Kind::RateLimited => About::Rate,
        Kind::Degraded => About::Unwell,
        Kind::Permanent => About::Request,
        Kind::UserFixable => About::Person,
    }
}

fn fault(options: &Options, status: Option<u16>, said: &Said) -> Fault {
    let (who, id) = (&options.provider, &options.id);
    let answered = status.map_or_else(String::new, |status| format!(" ({status})"));
    let quote = bounded(said.message.trim(), QUOTE_BYTES);
    let quoted = if quote.is_empty() { String::new() } else { format!(": {quote}") };
    let (about, exact) = about(status, said);
    let mended = exact && matches!(about, About::Context | About::Key);
    let own = by_own_rules(options, status, said, mended).map(meant);
    match own.unwrap_or(about) {
        About::Person => Fault::new(
            Kind::UserFixable,
            "refused",
            format!("{who} wants something of you{answered}{quoted}"),
        )
        .hint("do what it asks for, then: kapell resume"),
        About::Passing => {
            let what = format!("{who} could not do it this time{answered}{quoted}");
            Fault::new(Kind::Transient, "refused-for-now", what)
        }
        About::Key => key_refused(options, &format!("{who} refuses the key{answered}{quoted}")),
        About::Quota => Fault::new(
            Kind::UserFixable,
            "quota-exhausted",
            format!("{who} says that the account has nothing left to spend{answered}{quoted}"),
        )
        .hint("add credit or raise the limit in the provider's console, then: kapell resume"),
        About::Missing => Fault::new(
            Kind::UserFixable,
            "model-unknown",
            format!("{who} knows no model `{}`, or not at this address{answered}{quoted}", options.name),
        )
        .hint(format!("kapell models lists what {who} has; base_url in config.toml is where it is asked")),
        About::Context => Fault::new(
            Kind::Permanent,
            CONTEXT_FULL,
            format!("the conversation is too long for {id}{answered}{quoted}"),
        ),
        About::Rate => {
            let what = format!("{who} allows no more requests for now{answered}{quoted}");
            Fault::new(Kind::RateLimited, "rate-limited", what)
        }
        About::Unwell => {
            let what = format!("{who} is unwell{answered}{quoted}");
            Fault::new(Kind::Degraded, "provider-unwell", what)
        }
        About::Slow => {
            let what = format!("{who} gave up on the request before it was read{answered}{quoted}");
            Fault::new(Kind::Transient, "request-timeout", what)
        }
        About::Moved => Fault::new(
            Kind::UserFixable,
            "redirected",
            format!("{who} redirects{answered}, which Kapell does not follow with a key in hand"),
        )
        .hint(format!(
            "set base_url of `{who}` in config.toml to the address it redirects to, if you trust it"
        )),
        About::Request => Fault::new(
            Kind::Permanent,
            REQUEST_REFUSED,
            format!("{who} does not take this request{answered}{quoted}"),
        )
        .hint("another model may take it: kapell models"),
    }
}

/// The key is not taken: the person's to mend.
fn key_refused(options: &Options, what: &str) -> Fault {
    let who = &options.provider;
    let hint = match options.key_env.as_str() {
        _ if !options.key_command.is_empty() => {
            format!(
                "see what `{}` prints (key_command in config.toml), then: kapell auth {who}",
                options.key_command
            )
        }
        "" => format!("give `{who}` a key_env in config.toml, then: kapell auth {who}"),
        name => format!("set {name} to a valid key, then: kapell auth {who}"),
    };
    Fault::new(Kind::UserFixable, KEY_REFUSED, what).hint(hint)
}

/// There is no key to send.
pub fn no_key(options: &Options) -> Fault {
    let who = &options.provider;
    let what = format!("there is no key for {who}: {} is not set", options.key_env);
    Fault::new(Kind::UserFixable, "key-missing", what)
        .hint(format!("export {}=..., then: kapell auth {who}", options.key_env))
}

#[cfg(test)]
mod tests;
