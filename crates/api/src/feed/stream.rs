//! The one connection that brings a screen everything: the board, what changes on it, and the records of a few sessions.
//!
//! Pulled: what comes next is looked for when the client has taken what came before, so that a slow one gets the newest
//! state of each row and every record, and holds nothing here. Start at [`feed`].

use super::events::{crowded, reached, session};
use super::hub::{Hub, Told};
use super::sse;
use crate::Api;
use crate::page::{Of, Param, Query};
use crate::problem::Refused;
use crate::route::Route;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use contract::journal::Stored;
use contract::{Seq, SessionId, StreamId};
use door::Caller;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::Instant;

/// Sessions that one connection follows.
const FOLLOWED: usize = 4;
/// Records of one session that are read at once.
const PAGE: usize = 200;
/// Between two states of one row.
const ROW: Duration = Duration::from_millis(250);
/// What stands in the record of a tool action's end.
const RAN: &[u8] = b"\"ran\"";
/// After so long a client asks again where the daemon was ended.
const RETRY_MS: u64 = 500;

/// What a client knows already.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// A boot, and the number of a change in it.
    pub(super) board: Option<(String, u64)>,
    pub(super) follow: Vec<(SessionId, Seq)>,
}

impl Cursor {
    /// `?board=` and `?follow=`, and above them `Last-Event-ID`.
    fn of(query: &Query, headers: &HeaderMap) -> Result<Self, Refused> {
        let mut cursor = Self::default();
        let follow = query.get("follow").unwrap_or_default();
        for one in follow.split(',').filter(|one| !one.is_empty()) {
            cursor.follow.push(followed(one)?);
        }
        if cursor.follow.len() > FOLLOWED {
            let what = format!("one connection follows at most {FOLLOWED} sessions");
            return Err(Refused::user("bad-field", what, "name fewer in `follow`"));
        }
        if let Some(board) = query.get("board").filter(|board| !board.is_empty()) {
            cursor.board = Some(revision(&board)?);
        }
        if let Some(id) = headers.get("last-event-id") {
            cursor.resume(id.to_str().unwrap_or_default())?;
        }
        Ok(cursor)
    }

    /// From where a connection broke. Which sessions are followed is the request's to say.
    fn resume(&mut self, id: &str) -> Result<(), Refused> {
        for part in id.split(';').filter(|part| !part.is_empty()) {
            if let Some(board) = part.strip_prefix("board:") {
                self.board = Some(revision(board)?);
                continue;
            }
            let (id, seq) = followed(part)?;
            for (_, known) in self.follow.iter_mut().filter(|(followed, _)| *followed == id) {
                *known = seq;
            }
        }
        Ok(())
    }
}

fn bad_cursor() -> Refused {
    let what = "this is not where a connection of ours broke";
    Refused::user("bad-cursor", what, "begin without `board` and Last-Event-ID")
}

fn revision(text: &str) -> Result<(String, u64), Refused> {
    let (boot, rev) = text.rsplit_once('.').ok_or_else(bad_cursor)?;
    Ok((boot.to_owned(), rev.parse().map_err(|_| bad_cursor())?))
}

fn followed(text: &str) -> Result<(SessionId, Seq), Refused> {
    let (id, seq) = text.split_once(':').ok_or_else(bad_cursor)?;
    Ok((session(id)?, seq.parse().map_err(|_| bad_cursor())?))
}

const PARAMS: &[Param] = &[
    Param::text("board", "`BOOT.REV`: what changed since then, instead of the whole board."),
    Param::text("follow", "`ID:SEQ,ID:SEQ`: at most four sessions, each from the event after this one on."),
    Param::new("progress", Of::Words(&["0", "1"]), "1: what runs says meanwhile, too."),
];

/// `GET /v1/feed`.
pub(super) fn row() -> Route {
    Route::get("/v1/feed", "Everything that a screen needs over one connection.", feed)
        .takes(PARAMS)
        .sends(200, "Until one side ends it; docs/api.md lists the events.", sse::TYPE)
        .refuses(&["bad-cursor", "no-session", "cursor-ahead", "store"])
}

async fn feed(
    State(api): State<Arc<Api>>,
    caller: Option<Extension<Caller>>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let cursor = Cursor::of(&query, &headers)?;
    let hub = api.hub().clone();
    for (session, after) in &cursor.follow {
        reached(&hub, *session, *after).await?;
    }
    let seat = api.logins.seat(caller.as_deref())?;
    let room = hub.room().ok_or_else(crowded)?;
    let progress = query.get("progress").is_some_and(|word| word == "1");
    let feed = Feed::new(hub, cursor, progress, room);
    let pieces = stream::unfold(feed, |mut feed| async {
        let piece = feed.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), feed))
    });
    Ok(sse::answer(pieces.take_until(seat)))
}

struct Followed {
    id: SessionId,
    after: Seq,
    grows: watch::Receiver<Seq>,
}

/// Everything for one screen.
pub(super) struct Feed {
    hub: Hub,
    revs: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    told: broadcast::Receiver<Told>,
    progress: bool,
    follow: Vec<Followed>,
    /// The boot and number the client came with.
    came: Option<(String, u64)>,
    greeted: bool,
    over: bool,
    /// Changes up to this one have been looked at.
    rev: u64,
    /// Rows that are due, each with the number it changed at first since the client had it.
    due: BTreeMap<SessionId, u64>,
    sent: BTreeMap<SessionId, Instant>,
    out: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Feed {
    pub(super) fn new(hub: Hub, cursor: Cursor, progress: bool, room: OwnedSemaphorePermit) -> Self {
        let follow = cursor.follow.into_iter();
        let follow = follow.map(|(id, after)| Followed { id, after, grows: hub.grows(id) }).collect();
        Self {
            revs: hub.revs(),
            closing: hub.closing(),
            told: hub.listen(),
            hub,
            progress,
            follow,
            came: cursor.board,
            greeted: false,
            over: false,
            rev: 0,
            due: BTreeMap::new(),
            sent: BTreeMap::new(),
            out: Vec::new(),
            _room: room,
        }
    }

    /// What comes next, or a sign of life; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        if self.over {
            return None;
        }
        if !self.greeted {
            let mut closing = self.hub.closing();
            tokio::select! {
                () = self.hub.ready() => {}
                // The sender is gone: so is the daemon.
                _ = closing.wait_for(|closing| *closing) => return None,
            }
            self.greeted = true;
            self.greet();
            return Some(std::mem::take(&mut self.out));
        }
        let beat = Instant::now() + sse::BEAT;
        loop {
            if *self.closing.borrow() {
                self.over = true;
                self.say("bye", &json!({"retry_ms": RETRY_MS}));
                return Some(std::mem::take(&mut self.out));
            }
            self.revs.borrow_and_update();
            self.follow.iter_mut().for_each(|followed| drop(followed.grows.borrow_and_update()));
            let late = self.changes();
            // The journal cannot be read: the client comes again with what it has.
            self.records().await.ok()?;
            self.heard();
            if !self.out.is_empty() {
                return Some(std::mem::take(&mut self.out));
            }
            let until = late.map_or(beat, |late| late.min(beat));
            let woken = self.woken(until).await;
            if !woken && Instant::now() >= beat {
                return Some(sse::COMMENT.to_vec());
            }
        }
    }

    /// Waits for anything to happen; false when the moment came first.
    async fn woken(&mut self, until: Instant) -> bool {
        let Self { revs, closing, told, follow, out, progress, .. } = self;
        let grown = stream_of(follow);
        tokio::select! {
            // The hub lives as long as this does.
            _ = revs.changed() => true,
            _ = closing.changed() => true,
            () = grown => true,
            heard = told.recv() => {
                if let Ok(told) = heard {
                    let followed = follow.iter().map(|followed| followed.id).collect::<Vec<_>>();
                    tell(out, &told, &followed, *progress);
                }
                true
            }
            () = tokio::time::sleep_until(until) => false,
        }
    }

    /// What happened meanwhile besides.
    fn heard(&mut self) {
        let followed: Vec<SessionId> = self.follow.iter().map(|followed| followed.id).collect();
        loop {
            match self.told.try_recv() {
                Ok(told) => tell(&mut self.out, &told, &followed, self.progress),
                // What was lost on the way is lossy by nature.
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return,
            }
        }
    }

    fn greet(&mut self) {
        let about = self.hub.about().clone();
        let hub = self.hub.clone();
        let (board, now) = (hub.board(), hub.now());
        let known = self.came.take().filter(|(boot, rev)| *boot == about.boot && board.knows(*rev));
        self.rev = board.rev();
        let hello =
            json!({"boot": about.boot, "version": about.version, "rev": self.rev, "now": now.to_string()});
        match known {
            None => {
                let items = board.trees(None, now);
                self.say("hello", &hello);
                self.say("board", &json!({"rev": self.rev, "items": items}));
            }
            Some((_, rev)) => {
                self.rev = rev;
                self.say("hello", &hello);
            }
        }
        // Also what was asked before the client left, so that nobody has to trust what a page kept. What changed since
        // follows.
        for (id, items) in board.asking() {
            self.say("asked", &json!({"rev": self.rev, "session_id": id, "items": items}));
        }
    }

    /// Rows that changed, and what is asked; when the next one may be told that has to wait.
    fn changes(&mut self) -> Option<Instant> {
        let hub = self.hub.clone();
        let (board, now, at) = (hub.board(), hub.now(), Instant::now());
        let seen = self.rev;
        for (rev, id) in board.since(seen) {
            self.due.entry(id).or_insert(rev);
        }
        self.rev = board.rev();
        for id in board.gone_since(seen) {
            self.due.remove(&id);
            self.sent.remove(&id);
            let rev = self.safe();
            self.say("gone", &json!({"rev": rev, "id": id}));
        }
        for (id, items) in board.asked_since(seen) {
            let rev = self.safe();
            self.say("asked", &json!({"rev": rev, "session_id": id, "items": items}));
        }
        let mut late: Option<Instant> = None;
        for id in self.due.keys().copied().collect::<Vec<_>>() {
            match self.sent.get(&id).map(|sent| *sent + ROW).filter(|next| *next > at) {
                Some(next) => late = Some(late.map_or(next, |late| late.min(next))),
                None => {
                    self.due.remove(&id);
                    self.sent.insert(id, at);
                    if let Some(row) = board.row(id, now) {
                        let rev = self.safe();
                        self.say("row", &json!({"rev": rev, "row": row}));
                    }
                }
            }
        }
        self.sent.retain(|id, sent| *sent + ROW > at || self.due.contains_key(id));
        late
    }

    /// The number up to which the client has everything: what is still due comes after it.
    fn safe(&self) -> u64 {
        self.due.values().min().map_or(self.rev, |first| first - 1)
    }

    /// Every record of the sessions that are followed.
    async fn records(&mut self) -> Result<(), contract::journal::Error> {
        for n in 0..self.follow.len() {
            let (id, after) = (self.follow[n].id, self.follow[n].after);
            let page = self.hub.journal().read(StreamId::Session(id), after, PAGE).await?;
            for stored in &page {
                self.follow[n].after = stored.seq;
                self.record(id, stored);
            }
        }
        Ok(())
    }

    /// Byte for byte as it is stored.
    fn record(&mut self, id: SessionId, stored: &Stored) {
        let mut data = format!("{{\"type\":\"event\",\"session_id\":\"{id}\",\"record\":").into_bytes();
        data.extend_from_slice(&stored.bytes);
        data.push(b'}');
        let place = self.place();
        sse::message(&mut self.out, Some(&place), "record", &data);
        // A tool ran: background commands and terminals may have come or gone with it.
        if stored.bytes.windows(RAN.len()).any(|window| window == RAN) {
            tell(&mut self.out, &Told::Jobs(id), &[], false);
        }
    }

    fn say(&mut self, event: &str, data: &Value) {
        let place = self.place();
        sse::message(&mut self.out, Some(&place), event, data.to_string().as_bytes());
    }

    /// What the client sends as `Last-Event-ID` to go on behind this.
    fn place(&self) -> String {
        let mut place = format!("board:{}.{}", self.hub.about().boot, self.safe());
        for followed in &self.follow {
            // Writing into a String cannot fail.
            let _ = write!(place, ";{}:{}", followed.id, followed.after);
        }
        place
    }
}

/// Resolves when one of them has grown; never when there is none.
async fn stream_of(follow: &mut [Followed]) {
    let grown = follow.iter_mut().map(|followed| Box::pin(followed.grows.changed()));
    let mut grown: Vec<_> = grown.collect();
    std::future::poll_fn(|cx| {
        for one in &mut grown {
            if one.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(());
            }
        }
        std::task::Poll::Pending
    })
    .await;
}

/// Lossy: without a place of its own in the stream.
fn tell(out: &mut Vec<u8>, told: &Told, followed: &[SessionId], progress: bool) {
    match told {
        Told::Progress(id, line) if progress && followed.contains(id) => {
            sse::message(out, None, "progress", line.trim_end().as_bytes());
        }
        Told::Progress(..) => {}
        Told::Jobs(id) => sse::message(out, None, "jobs", json!({"session_id": id}).to_string().as_bytes()),
        Told::Schedules => sse::message(out, None, "schedules", b"{}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(raw: &str, last: Option<&str>) -> Result<Cursor, String> {
        let query = Query::read(Some(raw), PARAMS).map_err(|r| r.fault.code)?;
        let headers = last.map(|last| ("last-event-id".parse().unwrap(), last.parse().unwrap()));
        Cursor::of(&query, &headers.into_iter().collect()).map_err(|refused| refused.fault.code)
    }

    #[test]
    fn where_a_connection_broke_wins_over_what_was_asked_for() {
        let (a, b) = (SessionId::v7(1, 1), SessionId::v7(1, 2));
        let asked = cursor(&format!("board=x.y.7&follow={a}:3,{b}:4"), None).unwrap();
        assert_eq!(asked, Cursor { board: Some(("x.y".into(), 7)), follow: vec![(a, 3), (b, 4)] });
        let resumed =
            cursor(&format!("board=x.7&follow={a}:3"), Some(&format!("board:z.9;{a}:5;{b}:6"))).unwrap();
        assert_eq!(resumed, Cursor { board: Some(("z".into(), 9)), follow: vec![(a, 5)] });
        assert_eq!(cursor("", None).unwrap(), Cursor::default());
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let id = SessionId::v7(1, 1);
        for bad in ["board=7", "board=x.y", &format!("follow={id}"), &format!("follow={id}:x")] {
            assert_eq!(cursor(bad, None).unwrap_err(), "bad-cursor", "{bad}");
        }
        assert_eq!(cursor("follow=last:1", None).unwrap_err(), "bad-request");
        let many = vec![format!("{id}:1"); FOLLOWED + 1].join(",");
        assert_eq!(cursor(&format!("follow={many}"), None).unwrap_err(), "bad-field");
        assert_eq!(cursor("", Some("zzz")).unwrap_err(), "bad-cursor");
    }
}
