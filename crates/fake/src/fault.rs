//! How the server breaks, each way by name.
//!
//! Knows no bytes: what a fault does to an answer is in [`crate::play`]. Start at [`TABLE`].

use crate::script::Usage;

/// One way to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A refusal with this status.
    Status(u16, Body, Retry),
    /// Too long a conversation.
    Overflow,
    /// An account without money: a 429 that no waiting helps.
    NoCredit,
    /// Silence from here on.
    Hang(At),
    /// The connection ends here.
    Cut(At),
    /// The stream ends in good order, but before the reply does.
    EndEarly,
    /// The stream says that the server broke.
    ErrorEvent,
    /// Seven bytes at a time, so many milliseconds apart.
    Trickle(u64),
    /// Every byte a chunk of its own.
    Chopped,
    /// 200, and a page to log in.
    Html,
    /// 200, and one JSON document instead of a stream.
    NotAStream,
    /// Compressed.
    Gzip,
    /// 307 to another place of this server, [`ELSEWHERE`].
    Redirect,
    /// Bytes that are no HTTP.
    Garbage,
    /// The connection is reset before a byte.
    Reset,
    /// An event of 50 MB without an end.
    LongLine,
    /// The same word again and again, until nobody listens any more.
    Repeat,
    /// Arguments that are no JSON.
    BadArguments,
    /// Every call of the conversation has the same name.
    SameIds,
    /// No word about tokens.
    NoUsage,
    /// Ten times the tokens that there can be.
    UsageLie,
    /// The model refuses.
    Refusal,
    /// A reply without anything in it.
    Empty,
    /// The reply is cut at its limit of tokens.
    MaxTokens,
}

/// Where in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before its headers.
    Headers,
    /// Behind them, before the first token.
    First,
    /// In the middle, between two events.
    Middle,
    /// In the middle of an event.
    Event,
    /// In the middle of a character.
    Character,
}

/// Does a refusal say anything?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// The vendor's JSON.
    Told,
    /// Nothing.
    None,
}

/// When to come back, as told by a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing is told.
    None,
    /// `Retry-After` in seconds.
    Seconds(u64),
    /// `Retry-After` as a date, so many seconds from now.
    Date(u64),
    /// The headers of limits say that none is left, and when it is full again, in milliseconds.
    Reset(u64),
}

/// Where [`Fault::Redirect`] leads.
pub const ELSEWHERE: &str = "/elsewhere/v1/messages";
/// Bytes of [`Fault::LongLine`].
pub const LONG_LINE: usize = 50_000_000;
/// Bytes after which [`Fault::Repeat`] ends although somebody still listens.
pub const REPEAT: usize = 200_000_000;

/// Every fault that has a name, and what it is.
pub const TABLE: &[(&str, Fault, &str)] = {
    use Fault as F;
    const fn refused(status: u16) -> Fault {
        Fault::Status(status, Body::Told, Retry::None)
    }
    const fn silent(status: u16) -> Fault {
        Fault::Status(status, Body::None, Retry::None)
    }
    &[
        ("429", refused(429), "too many requests, without a word when to come back"),
        ("429-seconds", F::Status(429, Body::Told, Retry::Seconds(1)), "too many requests; Retry-After: 1"),
        (
            "429-date",
            F::Status(429, Body::Told, Retry::Date(2)),
            "too many requests; Retry-After with a date, 2 s on",
        ),
        (
            "429-reset",
            F::Status(429, Body::Told, Retry::Reset(600)),
            "too many requests; ratelimit headers, full in 600 ms",
        ),
        (
            "429-hour",
            F::Status(429, Body::Told, Retry::Seconds(3600)),
            "too many requests; Retry-After: 3600",
        ),
        ("no-credit", F::NoCredit, "429 that means: the account has no money"),
        ("401", refused(401), "the key is wrong"),
        ("403", refused(403), "the key may not do this"),
        ("404", refused(404), "there is no such model"),
        ("400", refused(400), "the request is wrong"),
        ("500", refused(500), "the server broke"),
        ("502", refused(502), "a gateway got no answer"),
        ("503", refused(503), "unavailable"),
        ("504", refused(504), "a gateway waited in vain"),
        ("529", refused(529), "overloaded"),
        ("500-silent", silent(500), "500 without a body"),
        ("502-silent", silent(502), "502 without a body"),
        ("503-silent", silent(503), "503 without a body"),
        ("504-silent", silent(504), "504 without a body"),
        ("529-silent", silent(529), "529 without a body"),
        ("529-seconds", F::Status(529, Body::Told, Retry::Seconds(1)), "overloaded; Retry-After: 1"),
        ("overflow", F::Overflow, "the conversation is too long"),
        ("hang-headers", F::Hang(At::Headers), "silence before the headers"),
        ("hang-first", F::Hang(At::First), "silence before the first token"),
        ("hang-middle", F::Hang(At::Middle), "silence in the middle"),
        ("cut-first", F::Cut(At::First), "the connection ends before the first token"),
        ("cut-middle", F::Cut(At::Middle), "the connection ends between two events"),
        ("cut-event", F::Cut(At::Event), "the connection ends in the middle of an event"),
        ("cut-character", F::Cut(At::Character), "the connection ends in the middle of a character"),
        ("end-early", F::EndEarly, "the stream ends in good order, before the reply"),
        ("error-event", F::ErrorEvent, "the stream says that the server is overloaded"),
        ("trickle", F::Trickle(5), "seven bytes every 5 ms"),
        ("chopped", F::Chopped, "every byte a chunk of its own"),
        ("html", F::Html, "200 and a page to log in"),
        ("not-a-stream", F::NotAStream, "200 and one JSON document"),
        ("gzip", F::Gzip, "a compressed stream"),
        ("redirect", F::Redirect, "307 to another place"),
        ("garbage", F::Garbage, "bytes that are no HTTP"),
        ("reset", F::Reset, "the connection is reset"),
        ("long-line", F::LongLine, "an event of 50 MB"),
        ("repeat", F::Repeat, "the same word without end"),
        ("bad-arguments", F::BadArguments, "arguments that are no JSON"),
        ("same-ids", F::SameIds, "all calls have one name"),
        ("no-usage", F::NoUsage, "no word about tokens"),
        ("usage-lie", F::UsageLie, "ten times the tokens that can be"),
        ("refusal", F::Refusal, "the model refuses"),
        ("empty", F::Empty, "a reply with nothing in it"),
        ("max-tokens", F::MaxTokens, "a reply cut at its limit"),
    ]
};

impl Fault {
    /// The fault of this name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = TABLE.iter().find(|(known, ..)| *known == name);
        found.map(|(_, fault, _)| *fault).ok_or_else(|| {
            let guess = contract::text::suggestion(name, TABLE.iter().map(|(known, ..)| *known));
            format!("there is no fault `{name}`: {guess}`--list` prints all of them")
        })
    }

    /// The tokens of a lie about a request that can cost at most this much.
    pub(crate) fn lie(most: Usage) -> Usage {
        Usage {
            input: most.input.saturating_mul(10),
            output: most.output.saturating_mul(10),
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_near_ones_offered() {
        assert_eq!(Fault::parse("429-seconds"), Ok(Fault::Status(429, Body::Told, Retry::Seconds(1))));
        assert!(Fault::parse("cut-evnt").unwrap_err().contains("`cut-event`"));
        let mut names: Vec<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
