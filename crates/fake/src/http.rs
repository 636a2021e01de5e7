//! HTTP/1.1 as bytes: requests in, heads and chunks out. Enough for clients of model APIs, exact where it is used.
//!
//! Knows nothing of models. Start at [`Wire`].

use std::io::{self, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a head.
const HEAD_BYTES: usize = 64 * 1024;
/// Bytes of a body.
const BODY_BYTES: usize = 64 * 1024 * 1024;

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What came instead of a request.
#[derive(Debug)]
pub(crate) enum Other {
    /// The first bytes of a TLS handshake.
    Tls,
    /// The end of the connection.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Small pieces are the point of it. A connection that is gone already says so at the next read.
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new() }
    }

    /// The next request.
    pub(crate) async fn request(&mut self) -> io::Result<Result<Asked, Other>> {
        let end = loop {
            if self.buffer.first() == Some(&0x16) {
                return Ok(Err(Other::Tls));
            }
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if self.buffer.len() > HEAD_BYTES {
                return Err(ErrorKind::InvalidData.into());
            }
            if self.more().await? == 0 {
                return Ok(Err(Other::Closed));
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let mut asked = head_of(&String::from_utf8_lossy(&head)).ok_or(ErrorKind::InvalidData)?;
        let length = asked.headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        if length > BODY_BYTES {
            return Err(ErrorKind::InvalidData.into());
        }
        while self.buffer.len() < length {
            if self.more().await? == 0 {
                return Ok(Err(Other::Closed));
            }
        }
        asked.body = self.buffer.drain(..length).collect();
        Ok(Ok(asked))
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Comes back when the other side has gone.
    pub(crate) async fn gone(&mut self) {
        while matches!(self.more().await, Ok(1..)) {}
    }

    /// Ends the connection in good order, as far as TCP goes.
    pub(crate) async fn close(mut self) {
        // Whoever is gone already needs no farewell.
        let _ = self.stream.shutdown().await;
    }

    /// Ends it with a reset.
    pub(crate) fn reset(self) {
        // Without it the connection ends in good order, which the test that looks for a reset will say.
        let _ = self.stream.set_zero_linger();
    }
}

fn head_of(text: &str) -> Option<Asked> {
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Asked { method, path, headers, body: Vec::new() })
}

/// The head of an answer.
pub(crate) fn head(status: u16, headers: &[(String, String)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// One chunk.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// What ends the chunks.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Overloaded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_and_written() {
        let asked = head_of("POST /v1/messages HTTP/1.1\r\nX-Api-Key: k\r\nHost: a:1\r\n\r\n").unwrap();
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/messages"));
        assert_eq!(asked.headers, [("x-api-key".into(), "k".into()), ("host".into(), "a:1".into())]);
        let text = String::from_utf8(head(429, &[("retry-after".into(), "1".into())])).unwrap();
        assert_eq!(text, "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\n\r\n");
        assert_eq!(chunk(b"hello there"), b"b\r\nhello there\r\n");
    }
}
