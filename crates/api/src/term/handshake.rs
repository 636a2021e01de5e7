//! How a request becomes a WebSocket (RFC 6455, section 4.2): what it must say, and what it is answered.
//!
//! Knows headers only; frames are the library's. Start at [`answer`].

use crate::problem::Refused;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What clients and we speak.
const PROTOCOL: &str = "kapell.term.v1";
/// Of section 1.3: nobody but a WebSocket server would put it behind a key.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key.
const KEY_BYTES: usize = 16;

/// The answer that opens it, or why not.
pub(super) fn answer(headers: &HeaderMap) -> Result<Response, Refused> {
    if !lists(headers, header::UPGRADE, "websocket") || !lists(headers, header::CONNECTION, "upgrade") {
        return Err(no_websocket("it does not ask for one"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(no_websocket("its version is not 13"));
    }
    if !lists(headers, header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL) {
        return Err(no_websocket("it does not offer the protocol kapell.term.v1"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes());
    let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES));
    let key = key.ok_or_else(|| no_websocket("its key is none"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = accepted(key).parse().map_err(|_| no_websocket("its key is none"))?;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, header::HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

pub(super) fn no_websocket(why: &str) -> Refused {
    let hint = "connect with a WebSocket client that offers the protocol kapell.term.v1";
    Refused::user("bad-request", format!("this request opens no WebSocket: {why}"), hint)
}

/// Is this word in the list that a header holds?
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// What proves that the key was read.
fn accepted(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn asked(headers: &[(&str, &str)]) -> Result<Response, Refused> {
        let own = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
        answer(&headers.iter().map(|(name, value)| (own(name), value.parse().unwrap())).collect())
    }

    #[test]
    fn the_example_of_the_standard() {
        let response = asked(&[
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "kapell.term.v1, kapell.proof.abc"),
            ("sec-websocket-key", KEY),
        ])
        .unwrap();
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["sec-websocket-protocol"], PROTOCOL, "the proof is not sent back");
    }

    #[test]
    fn whatever_is_missing_it_is_none() {
        let whole = [
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "kapell.term.v1"),
            ("sec-websocket-key", KEY),
        ];
        assert!(asked(&whole).is_ok());
        for at in 0..whole.len() {
            let mut less = whole.to_vec();
            let (name, _) = less.remove(at);
            assert_eq!(asked(&less).unwrap_err().fault.code, "bad-request", "{name}");
            less.push((name, "x"));
            assert!(asked(&less).is_err(), "{name}");
        }
    }
}
