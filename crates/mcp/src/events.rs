//! The transport of protocol 2024-11-05: one stream of events to the client, its messages posted beside it.
//!
//! Each stream is a pipe to a server of lines, so that what bounds and answers frames there does so here. Start at
//! [`Streams::open`].

use crate::lines::FRAME_BYTES;
use crate::server::Server;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Extensions, StatusCode, header};
use axum::response::{IntoResponse, Response};
use door::Problem;
use futures_util::stream::unfold;
use rmcp::transport::common::server_side_http::session_id;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;

/// Streams that are open at once.
const STREAMS: usize = 256;
/// Messages of one client that wait for the server to take them.
const QUEUE: usize = 64;
/// How long a message waits for its place among them.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes between the server and a stream.
const PIPE: usize = 64 << 10;
/// When nothing was said for so long, a comment keeps proxies from closing the stream.
const KEEP: Duration = Duration::from_secs(15);

/// A message, and what is held until it is taken.
struct Message {
    line: Vec<u8>,
    _held: Extensions,
}

/// The streams that are open.
pub(crate) struct Streams {
    server: Server,
    open: Mutex<BTreeMap<String, mpsc::Sender<Message>>>,
}

/// One stream: it is worked on while it is read, and ends with it.
struct Stream {
    working: Pin<Box<dyn Future<Output = ()> + Send>>,
    said: BufReader<DuplexStream>,
    line: Vec<u8>,
    greeting: Option<String>,
    _listed: Listed,
}

/// Takes a stream off the list when it ends.
struct Listed {
    streams: Arc<Streams>,
    id: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.streams.list().remove(&self.id);
    }
}

impl Streams {
    /// Where messages are posted; the first event tells it, with the stream's name.
    pub(crate) const MESSAGES: &str = "/messages";

    pub(crate) fn new(server: Server) -> Self {
        Self { server, open: Mutex::default() }
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<Message>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new stream.
    pub(crate) async fn open(State(streams): State<Arc<Self>>) -> Response {
        let id = session_id().to_string();
        let (sender, mut inbox) = mpsc::channel::<Message>(QUEUE);
        {
            let mut open = streams.list();
            if open.len() >= STREAMS {
                return Problem::busy(format!("{STREAMS} streams are open already")).into_response();
            }
            open.insert(id.clone(), sender);
        }
        let greeting = format!("event: endpoint\ndata: {}?sessionId={id}\n\n", Self::MESSAGES);
        let (mut feed, read) = tokio::io::duplex(PIPE);
        let (write, said) = tokio::io::duplex(PIPE);
        let server = streams.server.clone();
        let working = Box::pin(async move {
            let fed = async {
                while let Some(message) = inbox.recv().await {
                    if feed.write_all(&message.line).await.is_err() {
                        break;
                    }
                }
            };
            // Whichever ends, its stream does.
            tokio::select! {
                _ended = server.serve(read, write) => {}
                () = fed => {}
            }
        });
        let listed = Listed { streams, id };
        let said = BufReader::with_capacity(PIPE, said);
        let stream = Stream { working, said, line: Vec::new(), greeting: Some(greeting), _listed: listed };
        let events = unfold(stream, |mut stream| async {
            let event = stream.next().await?;
            Some((Ok::<_, Infallible>(Bytes::from(event)), stream))
        });
        let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
        (headers, Body::from_stream(events)).into_response()
    }

    /// A message for one of them. That it was taken is all the answer; the other one comes over the stream.
    pub(crate) async fn message(State(streams): State<Arc<Self>>, request: Request) -> Response {
        match streams.take(request).await {
            Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
            Err(problem) => problem.into_response(),
        }
    }

    async fn take(&self, request: Request) -> Result<(), Problem> {
        let query = request.uri().query().unwrap_or_default();
        let id = query.split('&').find_map(|pair| pair.strip_prefix("sessionId="));
        let sender = id.and_then(|id| self.list().get(id).cloned()).ok_or_else(|| {
            let what = "there is no such stream; open one by GET /sse, and post to the address its first event tells";
            Problem::new(StatusCode::NOT_FOUND, "no-stream", what)
        })?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let what = "a message is application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", what));
        }
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, FRAME_BYTES).await.map_err(|_| {
            let what = format!("a message has at most {FRAME_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "long-body", what)
        })?;
        let message = Message { line: line(&body)?, _held: parts.extensions };
        match tokio::time::timeout(PATIENCE, sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Problem::new(StatusCode::GONE, "no-stream", "the stream has ended meanwhile")),
            Err(_) => Err(Problem::busy(format!("{QUEUE} messages of this stream wait already"))),
        }
    }
}

impl Stream {
    /// The next piece to be sent; nothing when the server has ended.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting.into_bytes());
        }
        let Self { working, said, line, .. } = self;
        tokio::select! {
            biased;
            // What was read before the wait was given up stays in `line`.
            read = said.read_until(b'\n', line) => match read {
                Ok(0) | Err(_) => None,
                Ok(_) => Some([b"event: message\ndata: ", std::mem::take(line).trim_ascii_end(), b"\n\n"].concat()),
            },
            () = working => None,
            () = tokio::time::sleep(KEEP) => Some(b": still there\n\n".to_vec()),
        }
    }
}

/// A body as one line: between the parts of a JSON text a line's end is as good as a space, and within them there is none.
fn line(body: &[u8]) -> Result<Vec<u8>, Problem> {
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "not-json", format!("this is no JSON: {error}"))
    })?;
    let space = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    Ok(body.iter().map(space).chain([b'\n']).collect())
}
