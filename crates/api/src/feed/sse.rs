//! Event streams as bytes: one message of `text/event-stream`, and the answer that carries them.
//!
//! Knows no session. Start at [`message`] and [`answer`].

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use std::convert::Infallible;
use std::time::Duration;

/// Of such an answer.
pub(crate) const TYPE: &str = "text/event-stream";
/// So often something is said even where nothing happens.
pub(crate) const BEAT: Duration = Duration::from_secs(15);

/// A line that says nothing.
pub(crate) const COMMENT: &[u8] = b": beat\n\n";

/// Appends one message. What is said has no line break of its own: it is JSON in one line.
pub(crate) fn message(out: &mut Vec<u8>, id: Option<&str>, event: &str, data: &[u8]) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.as_bytes());
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
}

/// The answer: pieces are made when the client has taken those before, so that a slow one holds nothing here.
pub(crate) fn answer(pieces: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let headers = [
        (header::CONTENT_TYPE, TYPE),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_said_ends_a_message_early() {
        let mut out = Vec::new();
        message(&mut out, Some("7"), "record", b"{\"a\":\"b\"}");
        message(&mut out, None, "end", b"x\n\nevent: row\rdata: y");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "id: 7\nevent: record\ndata: {\"a\":\"b\"}\n\nevent: end\ndata: x\ndata: \ndata: event: row\ndata: data: y\n\n"
        );
    }
}
