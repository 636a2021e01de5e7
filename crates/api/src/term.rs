//! Terminals over WebSocket, as docs/api.md has them in section 7: what one shows goes out, what is typed comes in.
//!
//! Knows no terminal: the other side is a [`Line`] that the host gives. Who may come in was decided by `door`. Start at
//! [`attach`]; a slow client is waited for here and nowhere else, so the terminal goes on without it.

mod handshake;

use crate::page::{Of, Param, Query};
use crate::problem::Refused;
use crate::route::Route;
use crate::{Api, closing};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use contract::{BoxFuture, Fault, Kind};
use door::Caller;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// Connections of one login, and of all together.
const OF_ONE: usize = 8;
const OF_ALL: usize = 64;
/// Bytes of a message.
const MESSAGE_BYTES: usize = 1 << 20;
/// Bytes typed in one message.
const TYPED_BYTES: usize = 64 << 10;
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(20);
/// A client that says nothing for so long is gone.
const SILENT: Duration = Duration::from_secs(60);
/// How long the terminal's own process may take to hear something.
const HEARD: Duration = Duration::from_secs(10);
/// How long a client may take to hear that it is over.
const FAREWELL: Duration = Duration::from_secs(2);

/// A terminal that is looked at.
pub struct Line {
    /// What it shows.
    pub shows: Box<dyn Shows>,
    /// What it hears.
    pub hears: Box<dyn Hears>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// The half that shows. It is not read while the client is behind: the other side then leaves out what came meanwhile and
/// shows all of its screen.
pub trait Shows: Send {
    /// The next message, as section 7 of docs/api.md has it; `None` at the end. Giving up in the middle loses nothing.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Vec<u8>>>>;
}

/// The half that hears.
pub trait Hears: Send {
    /// Says it.
    fn say(&mut self, said: Said) -> BoxFuture<'_, io::Result<()>>;
}

/// What a client says to a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// This was typed.
    Typed(Vec<u8>),
    /// It is looked at in so many columns and rows.
    Sized(u16, u16),
    /// Stop.
    Stop,
}

/// Places for connections.
#[derive(Debug, Default)]
pub(crate) struct Seats(Arc<Mutex<HashMap<Caller, usize>>>);

/// A place; free again when it is dropped.
#[derive(Debug)]
struct Seat {
    all: Arc<Mutex<HashMap<Caller, usize>>>,
    of: Caller,
}

impl Seats {
    fn take(&self, caller: &Caller) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all: usize = taken.values().sum();
        let most = if matches!(caller, Caller::Login(_)) { OF_ONE } else { OF_ALL };
        if taken.get(caller).is_some_and(|own| *own >= most) || of_all >= OF_ALL {
            return None;
        }
        *taken.entry(caller.clone()).or_default() += 1;
        Some(Seat { all: Arc::clone(&self.0), of: caller.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

/// The routes.
pub(crate) fn table() -> Vec<Route> {
    const AFTER: &[Param] =
        &[Param::new("after", Of::Number(0, u64::MAX), "The number of the first byte that was not seen.")];
    vec![
        Route::get("/v1/sessions/{id}/jobs/{job}/attach", "Looks at a terminal, and types at it.", attach)
            .takes(AFTER)
            .sends(101, "A WebSocket, protocol `kapell.term.v1`: section 7 of docs/api.md.", "")
            .refuses(&["store", "no-session", "no-job", "job-ended"]),
    ]
}

async fn attach(
    State(api): State<Arc<Api>>,
    Path((id, job)): Path<(String, String)>,
    query: Query,
    mut request: Request,
) -> Result<Response, Refused> {
    let session = crate::feed::session(&id)?;
    let after = query.number("after");
    let answer = handshake::answer(request.headers())?;
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(handshake::no_websocket("this connection cannot become one"));
    };
    if api.is_closing() {
        return Err(closing());
    }
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anybody);
    let seat = api.seats.take(&caller).ok_or_else(crowded)?;
    let line = api.host.attach(session, job, after).await?;
    let ends = api.closing.clone();
    // tidy: allow(spawn): it ends with its connection, at the latest when the daemon does
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            serve(TokioIo::new(stream), line, ends).await;
        }
        drop(seat);
    });
    Ok(answer)
}

fn crowded() -> Refused {
    let what = "there are as many terminals looked at as this program serves";
    let mut fault = Fault::new(Kind::RateLimited, "rate-limited", what).hint("close one, or try again later");
    fault.retry_after_ms = Some(1_000);
    fault.into()
}

type Stream = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Both ways, until either side or the daemon ends.
async fn serve(stream: TokioIo<hyper::upgrade::Upgraded>, line: Line, mut ends: watch::Receiver<bool>) {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES))
        .max_write_buffer_size(4 * MESSAGE_BYTES);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
    let (mut out, mut into) = socket.split();
    let alive = watch::Sender::new(Instant::now());
    let why = tokio::select! {
        why = hear(&mut into, line.hears, &alive) => why,
        why = show(&mut out, line.shows, alive.subscribe()) => why,
        // The next daemon shows the same terminal again.
        _ = ends.wait_for(|ends| *ends) => Some((CloseCode::Restart, "this daemon is ending")),
    };
    let Some((code, reason)) = why else { return };
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let farewell = async move {
        out.send(close).await?;
        while into.next().await.is_some_and(|message| message.is_ok()) {}
        // What was sent and not read would take our last word along.
        if let Ok(mut socket) = out.reunite(into) {
            let stream = socket.get_mut();
            stream.shutdown().await?;
            while stream.read(&mut [0; 4_096]).await? > 0 {}
        }
        Ok::<_, Error>(())
    };
    // Whoever does not answer it is gone.
    drop(timeout(FAREWELL, farewell).await);
}

/// Why a connection ends, if the client is still to be told.
type Why = Option<(CloseCode, &'static str)>;

/// What the client says.
async fn hear(
    from: &mut SplitStream<Stream>,
    mut line: Box<dyn Hears>,
    alive: &watch::Sender<Instant>,
) -> Why {
    while let Some(message) = from.next().await {
        alive.send_replace(Instant::now());
        let said = match message {
            Ok(Message::Binary(bytes)) => match said(&bytes) {
                Some(said) => said,
                None => return Some((CloseCode::Protocol, "docs/api.md says which frames there are")),
            },
            Ok(Message::Text(_)) => return Some((CloseCode::Unsupported, "frames are binary")),
            Err(Error::ConnectionClosed | Error::Io(_)) => return None,
            // A farewell is answered while the next one is read, which is the end.
            Ok(_) => continue,
            Err(Error::Capacity(_)) => return Some((CloseCode::Size, "a message has at most 1 MiB")),
            Err(_) => return Some((CloseCode::Protocol, "this is no WebSocket")),
        };
        if !matches!(timeout(HEARD, line.say(said)).await, Ok(Ok(()))) {
            return Some((CloseCode::Again, "the terminal does not listen; it may have ended"));
        }
    }
    None
}

/// What the terminal shows, and signs of life.
async fn show(
    to: &mut SplitSink<Stream, Message>,
    mut line: Box<dyn Shows>,
    alive: watch::Receiver<Instant>,
) -> Why {
    let mut beat = interval(BEAT);
    loop {
        let message = tokio::select! {
            shown = line.next() => match shown {
                Ok(Some(bytes)) => Message::Binary(bytes.into()),
                Ok(None) => return Some((CloseCode::Normal, "the terminal has ended")),
                Err(_) => return Some((CloseCode::Again, "the terminal is gone")),
            },
            _ = beat.tick() => {
                if alive.borrow().elapsed() > SILENT {
                    return Some((CloseCode::Away, "nothing was heard of you"));
                }
                Message::Ping(Default::default())
            }
        };
        // A client that takes nothing is cut off by the listener after a while.
        to.send(message).await.ok()?;
    }
}

/// A message of a client; `None` where it is none.
fn said(message: &[u8]) -> Option<Said> {
    let (kind, body) = message.split_first()?;
    match (kind, body) {
        (b'i', typed) if typed.len() <= TYPED_BYTES => Some(Said::Typed(typed.to_vec())),
        (b'r', &[a, b, c, d]) => {
            let (columns, rows) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            // A terminal without a row or a column shows nothing, and one that large holds all memory.
            Some(Said::Sized(columns.clamp(2, 1_000), rows.clamp(2, 1_000)))
        }
        (b'x', []) => Some(Said::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_some_and_all_others() {
        assert_eq!(said(b"iecho\n"), Some(Said::Typed(b"echo\n".to_vec())));
        assert_eq!(said(b"i"), Some(Said::Typed(Vec::new())));
        assert_eq!(said(&[b'r', 80, 0, 24, 0]), Some(Said::Sized(80, 24)));
        assert_eq!(said(&[b'r', 0, 0, 255, 255]), Some(Said::Sized(2, 1_000)));
        assert_eq!(said(b"x"), Some(Said::Stop));
        let long = [&b"i"[..], &vec![b'x'; TYPED_BYTES + 1]].concat();
        for wrong in [&b""[..], b"r", b"r123", b"r12345", b"xx", b"o", b"s", b"q", &long] {
            assert_eq!(said(wrong), None, "{:?}", &wrong[..wrong.len().min(8)]);
        }
    }

    #[test]
    fn one_login_takes_not_all_places() {
        let seats = Seats::default();
        let ada = Caller::Login("ada".into());
        let mut taken: Vec<_> = (0..OF_ONE).map(|_| seats.take(&ada).unwrap()).collect();
        assert!(seats.take(&ada).is_none());
        taken.extend((OF_ONE..OF_ALL).map(|_| seats.take(&Caller::Peer).unwrap()));
        assert!(seats.take(&Caller::Peer).is_none() && seats.take(&Caller::Login("eve".into())).is_none());
        drop(taken);
        assert!(seats.0.lock().unwrap().is_empty());
        assert!(seats.take(&ada).is_some());
    }
}
