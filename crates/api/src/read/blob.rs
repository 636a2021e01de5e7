//! The bytes behind a digest that a session names: shown as text or taken home, never run by a browser.
//!
//! Start at [`blob`].

use crate::Api;
use crate::feed::session;
use crate::problem::Refused;
use crate::route::Route;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::{Digest, SessionId};
use std::sync::Arc;

/// Bytes of a blob in one answer; the rest by `Range`.
const MOST: usize = 8 << 20;
/// Bytes by which text is told from other things.
const LOOKED_AT: usize = 4_096;

/// `GET /v1/sessions/{id}/blobs/{digest}`.
pub(super) fn row() -> Route {
    const TEXT: &str = "text/plain";
    const BYTES: &str = "application/octet-stream";
    Route::get("/v1/sessions/{id}/blobs/{digest}", "A text that the session names.", blob)
        .sends(200, "All of it; without control over what a browser does with it.", TEXT)
        .sends(200, "What is no text.", BYTES)
        .sends(206, "The part that `Range` asked for, or the first 8 MiB.", TEXT)
        .sends(206, "What is no text.", BYTES)
        .sends(304, "It is the one that the client has.", "")
        .refuses(&["store", "no-session", "no-blob", "out-of-range"])
}

async fn blob(
    State(api): State<Arc<Api>>,
    Path((id, digest)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (id, journal) = (session(&id)?, api.hub().journal());
    let digest: Digest = digest.parse().map_err(|_| unknown(id))?;
    let tag = format!("\"{digest}\"");
    if !api.named.has(&**journal, id, digest).await? {
        return Err(unknown(id));
    }
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let bytes = journal.blob(digest).await.map_err(|_| unknown(id))?;
    let all = bytes.len();
    let (from, to) =
        match headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(|text| range(text, all)) {
            Some(Some(range)) => range,
            Some(None) => return Ok(out_of_range(all)),
            None => (0, all),
        };
    let to = to.min(from.saturating_add(MOST));
    let kind = kind(&bytes);
    let place = if kind.starts_with("text/") { "inline" } else { "attachment" };
    let common = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, place.to_owned()),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
        (header::ETAG, tag),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let part = bytes[from..to].to_vec();
    if (from, to) == (0, all) {
        return Ok((common, part).into_response());
    }
    let range = format!("bytes {from}-{}/{all}", to.saturating_sub(1));
    Ok((StatusCode::PARTIAL_CONTENT, common, [(header::CONTENT_RANGE, range)], part).into_response())
}

fn unknown(id: SessionId) -> Refused {
    Refused::user("no-blob", format!("session {id} names no such text"), "its events name what it has")
}

/// Text is what is UTF-8 and has nothing in it that text does not have.
fn kind(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(LOOKED_AT)];
    let whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        // Cut in the middle of a character.
        Err(error) => error.error_len().is_none() && bytes.len() > LOOKED_AT,
    };
    if whole && !head.contains(&0) { "text/plain; charset=utf-8" } else { "application/octet-stream" }
}

/// One range: where it begins and ends. `None`: there is nothing there.
fn range(text: &str, all: usize) -> Option<(usize, usize)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.trim(), to.trim()) {
        ("", last) => (all.saturating_sub(last.parse().ok()?), all),
        (from, "") => (from.parse().ok()?, all),
        (from, to) => (from.parse().ok()?, to.parse::<usize>().ok()?.saturating_add(1).min(all)),
    };
    (from < to).then_some((from, to))
}

fn out_of_range(all: usize) -> Response {
    let what = format!("this text has {all} bytes, and none of those that were asked for");
    let refused = Refused::user("out-of-range", what, "Range: bytes=FROM-TO, one range of what is there");
    ([(header::CONTENT_RANGE, format!("bytes */{all}"))], refused).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_within_what_is_there() {
        for (text, is) in [
            ("bytes=0-9", Some((0, 10))),
            ("bytes=5-", Some((5, 100))),
            ("bytes=-5", Some((95, 100))),
            ("bytes=-500", Some((0, 100))),
            ("bytes=90-500", Some((90, 100))),
            ("bytes=100-", None),
            ("bytes=9-3", None),
            ("bytes=0-1,5-6", None),
            ("bytes=x-", None),
            ("lines=0-1", None),
            ("bytes=18446744073709551615-", None),
            ("bytes=0-18446744073709551615", Some((0, 100))),
        ] {
            assert_eq!(range(text, 100), is, "{text}");
        }
    }

    #[test]
    fn what_is_no_text_is_taken_home() {
        assert!(kind("héllo\n".as_bytes()).starts_with("text/plain"));
        assert!(kind("é".repeat(LOOKED_AT).as_bytes()).starts_with("text/plain"));
        assert_eq!(kind(b"\x89PNG\0"), "application/octet-stream");
        assert_eq!(kind(b"a\0b"), "application/octet-stream");
        assert_eq!(kind(b"a\xff"), "application/octet-stream");
    }
}
