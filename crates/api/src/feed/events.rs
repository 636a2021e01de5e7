//! One session's records: a page of them as they are stored, or an event stream that begins where a client left off.
//!
//! Everything comes from the journal, so that a stream goes on over restarts. Start at [`events`].

use super::hub::Hub;
use super::sse;
use super::texts;
use crate::Api;
use crate::page::{Of, Param, Query};
use crate::problem::Refused;
use crate::route::Route;
use crate::shape::work as shape;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use contract::event::Event;
use contract::journal::Stored;
use contract::{Fault, Kind, Seq, SessionId, StreamId, record};
use door::Caller;
use futures_util::{StreamExt, stream};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// Records that are read at once for a stream.
const PAGE: usize = 200;
/// Records of a page when nobody says how many.
const USUAL: usize = 500;
/// Records of a page at most.
const MOST: u64 = 1_000;
/// Records that are looked through for those of some kinds, in one answer.
const SCANNED: usize = 20_000;

/// What is asked for.
struct Ask {
    /// The number of the last one known.
    after: Seq,
    limit: usize,
    /// Kinds of events; none = all.
    kinds: Vec<String>,
    /// Bytes of each text that is named, to be sent along.
    texts: Option<usize>,
}

/// The number of a session's last event, if there is one and this one is not behind it.
pub(super) async fn reached(hub: &Hub, id: SessionId, after: Seq) -> Result<Seq, Refused> {
    let head = hub.journal().head(StreamId::Session(id)).await.map_err(|error| error.fault())?.seq;
    if head == 0 {
        return Err(missing(id).into());
    }
    if after > head {
        let what = format!("event {after} of session {id} is behind the last one, {head}: another store?");
        return Err(Fault::new(Kind::UserFixable, "cursor-ahead", what)
            .hint("begin again with after=0")
            .into());
    }
    Ok(head)
}

const PARAMS: &[Param] = &[
    Param::new("after", Of::Number(0, Seq::MAX), "The number of the last event known."),
    Param::new("limit", Of::Number(1, MOST), "At most so many records; 500 when nobody says."),
    Param::text("kind", "Only events of these kinds, with commas."),
    texts::PARAM,
];

/// `GET /v1/sessions/{id}/events`.
pub(super) fn row() -> Route {
    let path = "/v1/sessions/{id}/events";
    Route::get(path, "A session's records, as a page or as they come.", events)
        .takes(PARAMS)
        .answers::<shape::Records>(200, "A page; or a stream, for who accepts one.")
        .sends(200, "As they come.", sse::TYPE)
        .refuses(&["bad-cursor", "no-session", "cursor-ahead", "store"])
}

async fn events(
    State(api): State<Arc<Api>>,
    caller: Option<Extension<Caller>>,
    Path(id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (hub, id) = (api.hub(), session(&id)?);
    let wants_stream = accepts(&headers, sse::TYPE);
    let after = match headers.get("last-event-id").filter(|_| wants_stream) {
        Some(id) => number(id.to_str().unwrap_or_default())?,
        None => query.number("after").unwrap_or(0),
    };
    let head = reached(hub, id, after).await?;
    if wants_stream {
        return follow(&api, caller.as_deref(), id, after);
    }
    let kinds = query.get("kind").map(|kinds| kinds.split(',').map(str::to_owned).collect());
    let ask = Ask {
        after,
        limit: query.number("limit").map_or(USUAL, |limit| limit as usize),
        kinds: kinds.unwrap_or_default(),
        texts: texts::asked(&query),
    };
    page(hub, id, head, &ask).await
}

/// A session by its full id.
pub(crate) fn session(text: &str) -> Result<SessionId, Fault> {
    let hyphens = text.len() == 36;
    text.parse().ok().filter(|_| hyphens).ok_or_else(|| {
        let what = "a session is named by its full id here";
        Fault::new(Kind::UserFixable, "bad-request", what).hint("GET /v1/sessions?name= finds one by its end")
    })
}

pub(crate) fn missing(id: SessionId) -> Fault {
    let what = format!("there is no session {id}");
    Fault::new(Kind::UserFixable, "no-session", what).hint("kapell sessions lists them")
}

/// Does the client want this type of answer?
pub(crate) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|one| one.split(';').next().is_some_and(|one| one.trim() == kind))
}

fn number(text: &str) -> Result<Seq, Fault> {
    let what = "Last-Event-ID is the number of an event here";
    text.parse().map_err(|_| Fault::new(Kind::UserFixable, "bad-cursor", what))
}

/// Records byte for byte as they are stored.
async fn page(hub: &Hub, id: SessionId, head: Seq, ask: &Ask) -> Result<Response, Refused> {
    let (most, kinds) = (ask.limit, &ask.kinds);
    let (mut items, mut at) = (Vec::new(), ask.after);
    let mut scanned = 0;
    while items.len() < most && at < head && scanned < SCANNED {
        let want = if kinds.is_empty() { most - items.len() } else { MOST as usize };
        let read =
            hub.journal().read(StreamId::Session(id), at, want).await.map_err(|error| error.fault())?;
        if read.is_empty() {
            break;
        }
        for stored in read {
            if items.len() == most {
                break;
            }
            at = stored.seq;
            scanned += 1;
            if kinds.is_empty() || kind(&stored.bytes).is_some_and(|kind| kinds.contains(&kind)) {
                items.push(stored);
            }
        }
    }
    let mut body = b"{\"items\":[".to_vec();
    for (n, stored) in items.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&stored.bytes);
    }
    body.extend_from_slice(format!("],\"head\":{head}").as_bytes());
    if at < head {
        body.extend_from_slice(format!(",\"next\":\"{at}\"").as_bytes());
    }
    if let Some(bytes) = ask.texts {
        let named = texts::named(items.iter().map(|stored| &stored.bytes[..]));
        let texts = texts::texts(hub.journal(), named, bytes).await;
        body.extend_from_slice(format!(",\"texts\":{texts}").as_bytes());
    }
    body.push(b'}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The name of a record's event.
fn kind(bytes: &[u8]) -> Option<String> {
    let record: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    match record.get("event")? {
        serde_json::Value::String(kind) => Some(kind.clone()),
        event => event.as_object()?.keys().next().cloned(),
    }
}

/// A session's records from one on, for one client.
pub(super) struct Follow {
    hub: Hub,
    id: SessionId,
    after: Seq,
    grows: watch::Receiver<Seq>,
    closing: watch::Receiver<bool>,
    over: bool,
    _room: OwnedSemaphorePermit,
}

fn follow(api: &Api, caller: Option<&Caller>, id: SessionId, after: Seq) -> Result<Response, Refused> {
    let seat = api.logins.seat(caller)?;
    let room = api.hub().room().ok_or_else(crowded)?;
    let follow = Follow::new(api.hub().clone(), id, after, room);
    let pieces = stream::unfold(follow, |mut follow| async {
        let piece = follow.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), follow))
    });
    Ok(sse::answer(pieces.take_until(seat)))
}

pub(crate) fn crowded() -> Fault {
    let what = "there are as many event streams as this program serves";
    let mut fault = Fault::new(Kind::RateLimited, "rate-limited", what).hint("close one, or try again later");
    fault.retry_after_ms = Some(1_000);
    fault
}

impl Follow {
    pub(super) fn new(hub: Hub, id: SessionId, after: Seq, room: OwnedSemaphorePermit) -> Self {
        let (grows, closing) = (hub.grows(id), hub.closing());
        Self { hub, id, after, grows, closing, over: false, _room: room }
    }

    /// What comes next, or a sign of life; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        if self.over {
            return None;
        }
        let beat = tokio::time::Instant::now() + sse::BEAT;
        loop {
            if *self.closing.borrow() {
                return None;
            }
            // Marked as seen before reading, so that what comes in between wakes.
            self.grows.borrow_and_update();
            let Ok(page) = self.hub.journal().read(StreamId::Session(self.id), self.after, PAGE).await else {
                // The client comes again with the number of the last one it has.
                return None;
            };
            if !page.is_empty() {
                return Some(self.told(&page));
            }
            tokio::select! {
                grown = self.grows.changed() => grown.ok()?,
                _ = self.closing.changed() => {}
                () = tokio::time::sleep_until(beat) => return Some(sse::COMMENT.to_vec()),
            }
        }
    }

    fn told(&mut self, page: &[Stored]) -> Vec<u8> {
        let mut out = Vec::new();
        for stored in page {
            sse::message(&mut out, Some(&stored.seq.to_string()), "record", &stored.bytes);
            self.after = stored.seq;
        }
        if page.last().is_some_and(ended) {
            sse::message(&mut out, None, "end", b"{}");
            self.over = true;
        }
        out
    }
}

/// Is this a session's last word?
pub(crate) fn ended(stored: &Stored) -> bool {
    // Most records are ruled out without being read.
    let could = stored.bytes.windows(b"\"ended\"".len()).any(|window| window == b"\"ended\"");
    could
        && record::decode::<Event>(&stored.bytes)
            .is_ok_and(|record| matches!(record.event, Event::Ended { .. }))
}
