//! A server at an address: each message is a request, its answer JSON or a stream of events.
//! Knows no method but those it answers. Start at [`Remote::ask`].
//!
//! No redirect is followed and no answer is read past its bound: who asks says for how long it waits, and ends it by
//! dropping the future.

use crate::frame::{Answer, FRAME_BYTES, Frame, read};
use crate::process::answered;
use contract::{Fault, Kind};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// The name of the session that a server gives.
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision that was agreed on.
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Bytes of an answer that is an error, in what is said of it.
const SHOWN: usize = 300;
/// Requests of the server's that are answered within one stream.
const ASKED: usize = 16;

/// One server.
pub(crate) struct Remote {
    client: Client,
    url: Url,
    headers: HeaderMap,
    roots: Option<String>,
    /// Its session and revision, once they are known.
    agreed: Mutex<HeaderMap>,
    stale: AtomicBool,
}

impl Remote {
    /// Connects to nothing yet.
    pub(crate) fn new(url: &str, headers: &[(String, String)], roots: Option<String>) -> Result<Self, Fault> {
        let wrong = |what: String| {
            Fault::new(Kind::UserFixable, "mcp-address", what)
                .hint("correct it where the server is declared: kapell mcp list")
        };
        let shown = contract::text::bounded(url, SHOWN);
        let url: Url = url.parse().map_err(|error| wrong(format!("`{shown}` is no address: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(format!("`{shown}` is no address of the web")));
        }
        let home = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() == "http" && !home && !headers.is_empty() {
            return Err(wrong(format!(
                "`{shown}` would be sent its headers for everybody to read: use https"
            )));
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let (Ok(key), Ok(mut held)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
                return Err(wrong(format!(
                    "the header `{}` cannot be sent",
                    contract::text::bounded(name, 64)
                )));
            };
            held.set_sensitive(true);
            map.insert(key, held);
        }
        // The one that is chosen first stays; the providers choose the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = Client::builder()
            .user_agent(concat!("kapell/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true);
        if home {
            builder = builder.no_proxy();
        }
        if url.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| failed(&error))?;
        Ok(Self { client, url, headers: map, roots, agreed: Mutex::default(), stale: AtomicBool::new(false) })
    }

    /// The host, for rules.
    pub(crate) fn host(url: &str) -> Option<String> {
        Some(url.parse::<Url>().ok()?.host_str()?.trim_end_matches('.').to_owned())
    }

    /// From here on every request names this revision.
    pub(crate) fn agree(&self, version: &str) {
        if let Ok(version) = version.parse() {
            self.agreed.lock().unwrap_or_else(PoisonError::into_inner).insert(VERSION, version);
        }
    }

    /// Asks under this number.
    pub(crate) async fn ask(&self, id: u64, message: &Value) -> Result<Answer, Fault> {
        let mut response = self.send(message).await?;
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let bytes = body(&mut response, FRAME_BYTES).await?;
            let mut answers = read(&bytes).into_iter();
            let own = answers.find_map(|frame| match frame {
                Frame::Answer(of, answer) if of == id => Some(answer),
                _ => None,
            });
            return own.ok_or_else(|| odd("it answered something else than it was asked"));
        }
        self.streamed(id, response).await
    }

    async fn streamed(&self, id: u64, mut response: Response) -> Result<Answer, Fault> {
        let (mut events, mut asked) = (Events::default(), 0);
        while let Some(piece) = response.chunk().await.map_err(|error| failed(&error))? {
            for data in events.push(&piece)? {
                for frame in read(data.as_bytes()) {
                    match frame {
                        Frame::Answer(of, answer) if of == id => return Ok(answer),
                        Frame::Answer(..) => {}
                        Frame::Told(method) => {
                            self.stale
                                .fetch_or(method == "notifications/tools/list_changed", Ordering::Relaxed);
                        }
                        Frame::Asked(of, method) => {
                            asked += 1;
                            if asked > ASKED {
                                return Err(odd("it asks more than it answers"));
                            }
                            self.send(&answered(&of, &method, self.roots.as_deref())).await?;
                        }
                    }
                }
            }
        }
        Err(odd("its answer ended before it was whole"))
    }

    /// Tells it something.
    pub(crate) async fn tell(&self, message: &Value) -> Result<(), Fault> {
        self.send(message).await.map(drop)
    }

    /// Has it said since this was asked last that its list of tools is another one?
    pub(crate) fn stale(&self) -> bool {
        self.stale.swap(false, Ordering::Relaxed)
    }

    async fn send(&self, message: &Value) -> Result<Response, Fault> {
        let agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).headers(agreed);
        let request = request
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .body(message.to_string());
        let mut response = request.send().await.map_err(|error| failed(&error))?;
        if let Some(session) = response.headers().get(SESSION).filter(|it| it.len() <= SHOWN) {
            let session = session.clone();
            self.agreed.lock().unwrap_or_else(PoisonError::into_inner).insert(SESSION, session);
        }
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said = body(&mut response, SHOWN).await.unwrap_or_default();
        let said = contract::text::bounded(&String::from_utf8_lossy(&said), SHOWN);
        let (kind, code, hint) = match status {
            StatusCode::NOT_FOUND => (Kind::Transient, "mcp-gone", String::new()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
                Kind::UserFixable,
                "mcp-login",
                "give it a token: `bearer_token_env_var` or `http_headers` in mcp.toml".to_owned(),
            ),
            StatusCode::TOO_MANY_REQUESTS => (Kind::RateLimited, "mcp-limit", String::new()),
            status if status.is_server_error() => (Kind::Degraded, "mcp-unwell", String::new()),
            _ => (Kind::Permanent, "mcp-answer", String::new()),
        };
        Err(Fault::new(
            kind,
            code,
            format!("{} answered {status}: {said}", self.url.host_str().unwrap_or("it")),
        )
        .hint(hint))
    }
}

/// What an answer holds, which may be no more than this.
async fn body(response: &mut Response, most: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failed(&error))? {
        if bytes.len() + piece.len() > most {
            if most == SHOWN {
                bytes.extend_from_slice(&piece[..most - bytes.len()]);
                return Ok(bytes);
            }
            return Err(odd(&format!("its answer has more than {} MiB", most >> 20)));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Data of events out of a stream, as the standard of HTML has it; of an event nothing but its data counts.
#[derive(Default)]
struct Events {
    held: Vec<u8>,
    data: String,
    bytes: usize,
}

impl Events {
    fn push(&mut self, piece: &[u8]) -> Result<Vec<String>, Fault> {
        self.bytes += piece.len();
        if self.bytes > FRAME_BYTES {
            return Err(odd(&format!("its answer has more than {} MiB", FRAME_BYTES >> 20)));
        }
        self.held.extend_from_slice(piece);
        let (mut whole, mut from) = (Vec::new(), 0);
        while let Some(end) = self.held[from..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.held[from..from + end]).into_owned();
            from += end + 1;
            let line = line.trim_end_matches('\r');
            if line.is_empty() && !self.data.is_empty() {
                whole.push(std::mem::take(&mut self.data));
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        self.held.drain(..from);
        Ok(whole)
    }
}

fn odd(what: &str) -> Fault {
    Fault::new(Kind::Degraded, "mcp-answer", format!("the server broke the protocol: {what}"))
}

fn failed(error: &reqwest::Error) -> Fault {
    let why = std::iter::successors(std::error::Error::source(error), |error| error.source()).last();
    let why = why.map_or_else(|| error.to_string(), ToString::to_string);
    Fault::new(Kind::Transient, "mcp-unreachable", format!("the server cannot be reached: {why}"))
        .hint("see that it runs, then: kapell mcp list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_events_comes_out_of_any_pieces() {
        let text = b": word\nevent: message\nid: 1\ndata: {\"a\":\r\ndata: 1}\r\n\r\n\ndata:x\n\ndata: cut";
        for size in [1, 2, 7, 1000] {
            let mut events = Events::default();
            let got: Vec<String> = text.chunks(size).flat_map(|piece| events.push(piece).unwrap()).collect();
            assert_eq!(got, ["{\"a\":\n1}", "x"], "{size}");
        }
        let mut events = Events::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..17).any(|_| events.push(&piece).is_err()), "without an end it is not held");
    }

    #[test]
    fn addresses_are_looked_at_and_headers_are_not_sent_in_the_open() {
        let headers = [("Authorization".to_owned(), "Bearer x".to_owned())];
        for (url, headers, good) in [
            ("http://127.0.0.1:1/mcp", &headers[..], true),
            ("https://x.example/mcp", &headers[..], true),
            ("http://x.example/mcp", &[][..], true),
            ("http://x.example/mcp", &headers[..], false),
            ("file:///etc/passwd", &[][..], false),
            ("nothing", &[][..], false),
        ] {
            assert_eq!(Remote::new(url, headers, None).is_ok(), good, "{url}");
        }
        assert!(Remote::new("https://x.example", &[("a b".into(), "c".into())], None).is_err());
        assert_eq!(Remote::host("https://X.example./mcp").as_deref(), Some("x.example"));
    }
}
