//! One answer as a list of things to do: what goes over the wire, where it stops, how it ends.
//!
//! Knows no socket and no clock: the moment comes in. Start at [`answer`].

use crate::dialect::{Context, Dialect};
use crate::fault::{At, Body, ELSEWHERE, Fault, LONG_LINE, REPEAT, Retry};
use crate::limits::Told;
use crate::script::{Call, Reply, Stop, Usage};
use crate::{date, http};
use serde_json::{Value, json};

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status, for the record; 0 = none goes out.
    pub status: u16,
    /// What is done, in this order.
    pub steps: Vec<Step>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes, at once.
    Send(Vec<u8>),
    /// These bytes so often, or until nobody listens.
    Again(Vec<u8>, usize),
    /// Nothing for so long, milliseconds.
    Pause(u64),
    /// Nothing until nobody listens.
    Hang,
    /// The connection ends.
    Close,
    /// The connection is reset.
    Reset,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// In which dialect.
    pub dialect: Dialect,
    /// For which model.
    pub model: String,
    /// How often it has spoken.
    pub turn: usize,
    /// Bytes of the request.
    pub bytes: u64,
    /// The most tokens of the reply.
    pub max_tokens: u64,
}

impl Asked {
    /// The most tokens it can cost: no token is shorter than a byte.
    pub fn most(&self) -> Usage {
        Usage { input: self.bytes, output: self.max_tokens.max(1), ..Usage::default() }
    }

    /// The tokens a reply costs whose script does not say: a quarter of its bytes, as vendors come near to.
    pub fn usual(&self, reply: &Reply) -> Usage {
        let output = (reply.bytes() as u64).div_ceil(4).max(1);
        Usage { input: self.bytes.div_ceil(4), output, ..Usage::default() }
    }
}

/// What headers tell beside the answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around {
    /// Seconds since 1970.
    pub now_s: u64,
    /// Of requests.
    pub requests: Option<Told>,
    /// Of tokens.
    pub tokens: Option<Told>,
}

/// The answer, broken in this way.
pub fn answer(asked: &Asked, reply: Reply, fault: Option<Fault>, around: &Around) -> Answer {
    let dialect = asked.dialect;
    match fault {
        Some(Fault::Status(status, body, retry)) => refusal(dialect, status, body, retry, around),
        Some(Fault::Overflow) => whole(400, vec![], &dialect.overflow()),
        Some(Fault::NoCredit) => whole(429, vec![], &no_credit(dialect)),
        Some(Fault::Hang(At::Headers)) => Answer { status: 0, steps: vec![Step::Hang] },
        Some(Fault::Reset) => Answer { status: 0, steps: vec![Step::Reset] },
        Some(Fault::Garbage) => {
            let noise = b"\x00\xff these are no headers \r\n\r\n".to_vec();
            Answer { status: 0, steps: vec![Step::Send(noise), Step::Close] }
        }
        Some(Fault::Html) => page(),
        Some(Fault::NotAStream) => whole(200, vec![], &json!({"hello": "world"})),
        Some(Fault::Redirect) => {
            let mut answer = whole(307, vec![("location".to_owned(), ELSEWHERE.to_owned())], &Value::Null);
            answer.steps.push(Step::Close);
            answer
        }
        fault => streamed(asked, reply, fault, around),
    }
}

/// A refusal by a limit.
pub fn limited(dialect: Dialect, limit: &str, retry_ms: u64, around: &Around) -> Answer {
    let mut headers = told(dialect, around);
    // Whole seconds, rounded up as vendors do.
    headers.push(("retry-after".to_owned(), retry_ms.div_ceil(1000).to_string()));
    whole(429, headers, &dialect.error(429, &format!("the limit of {limit} is reached")))
}

/// One JSON document with its length.
pub fn whole(status: u16, mut headers: Vec<(String, String)>, body: &Value) -> Answer {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    if !body.is_empty() {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    headers.push(("content-length".to_owned(), body.len().to_string()));
    headers.push(("request-id".to_owned(), "req_fake".to_owned()));
    let mut bytes = http::head(status, &headers);
    bytes.extend(body);
    Answer { status, steps: vec![Step::Send(bytes)] }
}

fn page() -> Answer {
    let body = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>Sign in to the network</form></body></html>";
    let headers =
        [("content-type", "text/html; charset=utf-8".to_owned()), ("content-length", body.len().to_string())];
    let mut bytes = http::head(200, &headers.map(|(name, value)| (name.to_owned(), value)));
    bytes.extend(body.as_bytes());
    Answer { status: 200, steps: vec![Step::Send(bytes)] }
}

fn no_credit(dialect: Dialect) -> Value {
    match dialect {
        Dialect::Chat | Dialect::Responses => {
            json!({"error": {"message": "You exceeded your current quota, please check your plan and billing details.",
            "type": "insufficient_quota", "param": null, "code": "insufficient_quota"}})
        }
        Dialect::Anthropic => json!({"type": "error", "error": {"type": "billing_error",
            "message": "Your credit balance is too low to access the API."}}),
        Dialect::Gemini => {
            dialect.error(429, "You exceeded your current quota, please check your plan and billing details.")
        }
    }
}

fn refusal(dialect: Dialect, status: u16, body: Body, retry: Retry, around: &Around) -> Answer {
    let mut around = *around;
    let retry_after = |value: String| ("retry-after".to_owned(), value);
    let own = match retry {
        Retry::None => None,
        Retry::Seconds(seconds) => Some(retry_after(seconds.to_string())),
        Retry::Date(seconds) => Some(retry_after(date::http(around.now_s + seconds))),
        Retry::Reset(ms) => {
            around.requests = Some(Told { limit: 50, left: 0, reset_ms: ms });
            None
        }
    };
    let mut headers = told(dialect, &around);
    headers.extend(own);
    let body = match body {
        Body::Told => dialect.error(status, &format!("refused with {status}, as asked for")),
        Body::None => Value::Null,
    };
    whole(status, headers, &body)
}

/// The headers about limits, as each vendor writes them. Gemini tells nothing.
fn told(dialect: Dialect, around: &Around) -> Vec<(String, String)> {
    let mut headers = vec![("date".to_owned(), date::http(around.now_s))];
    for (name, told) in [("requests", around.requests), ("tokens", around.tokens)] {
        let Some(Told { limit, left, reset_ms }) = told else { continue };
        let (names, reset) = match dialect {
            Dialect::Anthropic => {
                let at = contract::Timestamp(around.now_s * 1000).plus(reset_ms.div_ceil(1000) * 1000);
                let name = |what: &str| format!("anthropic-ratelimit-{name}-{what}");
                ([name("limit"), name("remaining"), name("reset")], at.to_string())
            }
            Dialect::Chat | Dialect::Responses => {
                let name = |what: &str| format!("x-ratelimit-{what}-{name}");
                ([name("limit"), name("remaining"), name("reset")], format!("{reset_ms}ms"))
            }
            Dialect::Gemini => continue,
        };
        // Input and output have limits of their own there, and that of output is a fraction of the other's.
        let rows: &[(&str, u64)] = match (dialect, name) {
            (Dialect::Anthropic, "tokens") => &[("-tokens", 1), ("-input-tokens", 1), ("-output-tokens", 10)],
            _ => &[],
        };
        for (row, part) in rows {
            let values =
                [limit / part, left / part].map(|n| n.to_string()).into_iter().chain([reset.clone()]);
            headers.extend(names.iter().map(|name| name.replace("-tokens", row)).zip(values));
        }
        if rows.is_empty() {
            headers.extend(names.into_iter().zip([limit.to_string(), left.to_string(), reset]));
        }
    }
    headers
}

/// A reply that a fault has changed before it is spoken.
fn changed(mut reply: Reply, fault: Option<Fault>) -> Reply {
    match fault {
        Some(Fault::Empty) => Reply { usage: reply.usage, ..Reply::default() },
        Some(Fault::Refusal) => Reply {
            text: "I cannot help with that.".to_owned(),
            calls: Vec::new(),
            stop: Stop::Refusal,
            ..reply
        },
        Some(Fault::MaxTokens) => Reply { calls: Vec::new(), stop: Stop::MaxTokens, ..reply },
        Some(Fault::BadArguments) => {
            reply
                .calls
                .iter_mut()
                .for_each(|call| call.args = "{\"path\": \"a.txt\", \"content\": ".to_owned());
            reply
        }
        Some(Fault::SameIds) if reply.calls.len() == 1 => {
            let twin = reply.calls.first().map(|call| Call { tool: call.tool.clone(), ..call.clone() });
            reply.calls.extend(twin);
            reply
        }
        // Something to break in the middle of, and a character of several bytes.
        Some(Fault::Hang(_) | Fault::Cut(_) | Fault::EndEarly | Fault::ErrorEvent)
            if reply.text.is_empty() =>
        {
            Reply { text: "Schön wär’s, noch ein wörtchen mehr …".to_owned(), ..reply }
        }
        _ => reply,
    }
}

fn streamed(asked: &Asked, reply: Reply, fault: Option<Fault>, around: &Around) -> Answer {
    let dialect = asked.dialect;
    let reply = changed(reply, fault);
    let usage = match fault {
        Some(Fault::NoUsage) => None,
        Some(Fault::UsageLie) => Some(Fault::lie(asked.most())),
        _ => Some(reply.usage.unwrap_or_else(|| asked.usual(&reply))),
    };
    let same_ids = fault == Some(Fault::SameIds);
    let context = Context { turn: asked.turn, model: asked.model.clone(), usage, same_ids };
    let events = dialect.stream(&reply, &context);

    let mut headers = told(dialect, around);
    headers.push(("content-type".to_owned(), "text/event-stream; charset=utf-8".to_owned()));
    headers.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
    headers.push(("request-id".to_owned(), format!("req_fake_{}", asked.turn)));
    headers.push(("x-request-id".to_owned(), format!("req_fake_{}", asked.turn)));
    if fault == Some(Fault::Gzip) {
        headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
    }
    let mut steps = vec![Step::Send(http::head(200, &headers))];
    steps.extend(body(dialect, &events, &reply, &context, fault));
    Answer { status: 200, steps }
}

/// The events as chunks, as far as they come.
fn body(
    dialect: Dialect,
    events: &[String],
    reply: &Reply,
    context: &Context,
    fault: Option<Fault>,
) -> Vec<Step> {
    let send = |bytes: &[u8]| Step::Send(http::chunk(bytes));
    let all = |events: &[String]| events.iter().map(|event| send(event.as_bytes())).collect::<Vec<_>>();
    let end = || Step::Send(http::LAST_CHUNK.to_vec());
    let middle = middle(events, reply);
    match fault {
        Some(Fault::Hang(At::First)) => vec![Step::Hang],
        Some(Fault::Cut(At::First)) => vec![Step::Close],
        Some(Fault::Hang(_)) => [all(&events[..middle]), vec![Step::Hang]].concat(),
        Some(Fault::Cut(At::Event)) => {
            let half = &events[middle].as_bytes()[..events[middle].len() / 2];
            [all(&events[..middle]), vec![send(half), Step::Close]].concat()
        }
        Some(Fault::Cut(At::Character)) => {
            let place = events.iter().position(|event| !event.is_ascii()).unwrap_or(middle);
            let first = events[place].bytes().position(|byte| byte >= 0xc0).unwrap_or(0);
            [all(&events[..place]), vec![send(&events[place].as_bytes()[..=first]), Step::Close]].concat()
        }
        Some(Fault::Cut(_)) => [all(&events[..middle]), vec![Step::Close]].concat(),
        Some(Fault::EndEarly) => [all(&events[..middle]), vec![end()]].concat(),
        Some(Fault::ErrorEvent) => {
            [all(&events[..middle]), vec![send(dialect.broken().as_bytes()), end()]].concat()
        }
        Some(Fault::Trickle(ms)) => {
            let bytes = events.concat().into_bytes();
            let pieces = bytes.chunks(7).flat_map(|piece| [send(piece), Step::Pause(ms)]);
            pieces.chain([end()]).collect()
        }
        Some(Fault::Chopped) => {
            let bytes = events.concat().into_bytes();
            bytes.chunks(1).map(send).chain([end()]).collect()
        }
        Some(Fault::Gzip) => vec![send(&gzip(events.concat().as_bytes())), end()],
        Some(Fault::LongLine) => {
            const PIECE: usize = 50_000;
            let mut steps = all(&events[..middle]);
            steps.push(send(b"data: {\"long\": \""));
            steps.push(Step::Again(http::chunk(&[b'x'; PIECE]), LONG_LINE / PIECE));
            steps.extend([send(b"\"}\n\n"), end()]);
            steps
        }
        Some(Fault::Repeat) => {
            // The event that brings a word, as often as anybody listens: the last one before the text is over.
            let words = Reply::text("again ".repeat(64));
            let again = dialect.stream(&words, context);
            let word = again.iter().find(|event| event.contains("again ")).cloned().unwrap_or_default();
            let piece = http::chunk(word.repeat(64).as_bytes());
            let times = REPEAT / piece.len();
            let opening = again.iter().position(|event| event.contains("again ")).unwrap_or(0);
            [all(&again[..opening]), vec![Step::Again(piece, times), end()]].concat()
        }
        _ => [all(events), vec![end()]].concat(),
    }
}

/// The event in the middle of what is said, so that something was said before.
fn middle(events: &[String], reply: &Reply) -> usize {
    let last = reply.text.split_inclusive(' ').next_back().unwrap_or_default().trim();
    let found = events.iter().position(|event| !last.is_empty() && event.contains(last));
    found.unwrap_or(events.len() / 2).min(events.len() - 1)
}

/// A gzip file (RFC 1952) of blocks that are stored as they are.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks: Vec<&[u8]> = bytes.chunks(0xffff).collect();
    for (at, block) in blocks.iter().enumerate() {
        file.push(u8::from(at + 1 == blocks.len()));
        let length = block.len() as u16;
        file.extend(length.to_le_bytes());
        file.extend((!length).to_le_bytes());
        file.extend_from_slice(block);
    }
    let crc = bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    file.extend((!crc).to_le_bytes());
    file.extend((bytes.len() as u32).to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::ALL;
    use crate::fault::TABLE;

    fn asked(dialect: Dialect) -> Asked {
        Asked { dialect, model: "m".into(), turn: 0, bytes: 100, max_tokens: 50 }
    }

    fn reply() -> Reply {
        Reply::text("Ein Wörtchen noch dazu").and_call("list", &json!({"path": "."}))
    }

    fn sent(answer: &Answer) -> Vec<u8> {
        let step = |step: &Step| match step {
            Step::Send(bytes) => bytes.clone(),
            _ => Vec::new(),
        };
        answer.steps.iter().flat_map(step).collect()
    }

    /// Every fault changes the answer, in every dialect; those in the middle say something first.
    #[test]
    fn every_fault_does_something_in_every_dialect() {
        let around = Around::default();
        for dialect in ALL {
            let good = answer(&asked(dialect), reply(), None, &around);
            assert!(good.steps.len() > 5 && good.status == 200);
            for (name, fault, _) in TABLE {
                let broken = answer(&asked(dialect), reply(), Some(*fault), &around);
                assert!(!broken.steps.is_empty(), "{name}");
                // Gemini's calls have no names, and its headers tell no limits.
                if dialect != Dialect::Gemini || *name != "same-ids" {
                    assert_ne!(broken, good, "{name} {dialect:?}");
                }
                if let Fault::Hang(At::Middle) | Fault::Cut(At::Middle | At::Event) = fault {
                    assert!(String::from_utf8_lossy(&sent(&broken)).contains("noch"), "{name} {dialect:?}");
                }
            }
        }
    }

    #[test]
    fn a_cut_character_is_cut() {
        for dialect in ALL {
            let broken =
                answer(&asked(dialect), reply(), Some(Fault::Cut(At::Character)), &Around::default());
            let Some(Step::Send(last)) = broken.steps.iter().rev().nth(1) else { panic!("nothing sent") };
            let text = &last[..last.len() - 2];
            assert!(std::str::from_utf8(text).is_err_and(|error| error.error_len().is_none()), "{dialect:?}");
        }
    }

    #[test]
    fn refusals_tell_when_to_come_back() {
        let around = Around { now_s: 784_111_775, ..Around::default() };
        let text = |name: &str, dialect| {
            let fault = Fault::parse(name).unwrap();
            String::from_utf8(sent(&answer(&asked(dialect), reply(), Some(fault), &around))).unwrap()
        };
        assert!(text("429-seconds", Dialect::Chat).contains("\r\nretry-after: 1\r\n"));
        assert!(text("429-date", Dialect::Chat).contains("retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
        assert!(text("429-reset", Dialect::Chat).contains("x-ratelimit-reset-requests: 600ms\r\n"));
        let anthropic = text("429-reset", Dialect::Anthropic);
        assert!(anthropic.contains("anthropic-ratelimit-requests-reset: 1994-11-06T08:49:36"), "{anthropic}");
        assert!(text("529-silent", Dialect::Anthropic).ends_with("\r\n\r\n"));
    }

    #[test]
    fn gzip_is_what_the_rfc_says() {
        let file = gzip(b"123456789");
        assert_eq!(&file[10..15], [1, 9, 0, 0xf6, 0xff]);
        // The check value of CRC-32.
        assert_eq!(file[file.len() - 8..file.len() - 4], 0xcbf4_3926_u32.to_le_bytes());
    }
}
