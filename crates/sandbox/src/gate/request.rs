//! What a program says to a proxy: one request's head, read and looked at; and the answer where it is refused.
//! Knows no list. Start at [`read`].

use contract::limits::{GATE_CONNECT_MS, GATE_HEAD_BYTES};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Headers of one request at most.
const HEADERS: usize = 100;
/// What is between the program and us, not for the server.
const OURS: [&str; 7] =
    ["host", "connection", "proxy-connection", "proxy-authorization", "keep-alive", "upgrade", "te"];

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// In small letters, without a dot at its end.
    pub(super) host: String,
    pub(super) port: u16,
    /// A `CONNECT`.
    pub(super) tunnel: bool,
    /// What the server is told, and how many bytes follow; of a plain request.
    head: Vec<u8>,
    rest: Vec<u8>,
    body: u64,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) why: String,
    status: u16,
}

impl Refused {
    pub(super) fn new(status: u16, why: impl Into<String>) -> Self {
        Self { why: why.into(), status }
    }

    /// What the program is told.
    pub(super) fn answer(&self) -> String {
        let word = match self.status {
            403 => "Forbidden",
            400 => "Bad Request",
            411 => "Length Required",
            _ => "Bad Gateway",
        };
        let more = match self.status {
            403 => " A person can list it: `hosts` under [sandbox] in config.toml.",
            _ => "",
        };
        let text = format!("kapell: {}.{more}\n", self.why);
        format!(
            "HTTP/1.1 {} {word}\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
            self.status,
            text.len()
        )
    }
}

/// Reads a head. An error: the connection is over.
pub(super) async fn read(client: &mut TcpStream) -> io::Result<Result<Request, Refused>> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = client.read(&mut piece).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..read]);
        if let Some(parsed) = parse(&bytes).transpose() {
            return Ok(parsed);
        }
        if bytes.len() > GATE_HEAD_BYTES {
            return Ok(Err(Refused::new(400, "the head of the request is too long")));
        }
    }
}

/// A whole head; `None`: more of it is to come.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Request>, Refused> {
    let bad = |what: &str| Refused::new(400, what);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(bad(&format!("this is no request to a proxy: {error}"))),
    };
    let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let rest = bytes[length..].to_vec();
    if method == "CONNECT" {
        let (host, port) = authority(target, None).ok_or_else(|| bad("CONNECT takes HOST:PORT"))?;
        if !rest.is_empty() {
            return Err(bad("something was said before the answer"));
        }
        return Ok(Some(Request { host, port, tunnel: true, head: Vec::new(), rest, body: 0 }));
    }
    let target = target.strip_prefix("http://").ok_or_else(|| bad("a proxy is asked for http://HOST/..."))?;
    let at = target.find(['/', '?', '#']).unwrap_or(target.len());
    let (name, path) = target.split_at(at);
    let (host, port) = authority(name, Some(80)).ok_or_else(|| bad("the address has no plain host"))?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut out = format!("{method} {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n").into_bytes();
    let mut body = None;
    for header in head.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        if name == "transfer-encoding" {
            return Err(Refused::new(411, "a body must say its length (Content-Length)"));
        }
        if name == "content-length" {
            // Exactly as the other side reads it: what is longer than it seems there is a second request.
            let digits = header.value.iter().all(u8::is_ascii_digit);
            let said = std::str::from_utf8(header.value).ok().filter(|_| digits);
            let said = said.and_then(|text| text.parse::<u64>().ok());
            match (said, body) {
                (Some(said), None) => body = Some(said),
                _ => return Err(bad("the length of the body is not clear")),
            }
        }
        if !OURS.contains(&name.as_str()) {
            out.extend([header.name.as_bytes(), b": ", header.value, b"\r\n"].concat());
        }
    }
    out.extend(b"\r\n");
    Ok(Some(Request { host, port, tunnel: false, head: out, rest, body: body.unwrap_or(0) }))
}

/// `HOST:PORT`, with an address of IPv6 in brackets; nobody's name and password.
fn authority(text: &str, usual: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let port = after.strip_prefix(':');
            (host, if after.is_empty() { None } else { Some(port?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => usual?,
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(plain)).then_some((host, port))
}

impl Request {
    /// One request and one answer, and nothing after that: another one would not have been looked at.
    pub(super) async fn forward(self, client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
        server.write_all(&self.head).await?;
        let early = self.rest.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
        server.write_all(&self.rest[..early]).await?;
        let (from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut body = from_client.take(self.body - early as u64);
        let up = async {
            copy(&mut body, &mut to_server).await?;
            to_server.flush().await?;
            // Heard and passed on to nobody, until the program is gone.
            copy(&mut body.into_inner(), &mut sink()).await
        };
        let mut down = std::pin::pin!(copy(&mut from_server, &mut to_client));
        tokio::select! {
            answered = &mut down => answered.map(drop),
            gone = up => {
                gone?;
                timeout(Duration::from_millis(GATE_CONNECT_MS), down).await?.map(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Request {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_tunnel_is_to_one_host_and_port() {
        for (target, host, port) in [
            ("a.example:443", "a.example", 443),
            ("B.Example.:443", "b.example", 443),
            ("[::1]:8443", "::1", 8443),
        ] {
            let request = asked(&format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!((request.host.as_str(), request.port, request.tunnel), (host, port, true), "{target}");
        }
        for bad in ["host", "host:x", ":443", "a/b:443", "a@b:443", "host:70000"] {
            let refused = parse(format!("CONNECT {bad} HTTP/1.1\r\n\r\n").as_bytes()).unwrap_err();
            assert!(refused.answer().starts_with("HTTP/1.1 400 "), "{bad}");
        }
    }

    #[test]
    fn a_plain_request_is_told_to_its_host_and_to_no_other() {
        let text = "GET http://Example.org/a?b=c HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: x\r\n\
                    Connection: keep-alive\r\nAccept: */*\r\n\r\n";
        let request = asked(text);
        assert_eq!((request.host.as_str(), request.port, request.tunnel), ("example.org", 80, false));
        let head = String::from_utf8(request.head).unwrap();
        assert_eq!(
            head,
            "GET /a?b=c HTTP/1.1\r\nHost: Example.org\r\nConnection: close\r\nAccept: */*\r\n\r\n"
        );
        assert_eq!(
            asked("GET http://a?x HTTP/1.1\r\n\r\n").head,
            b"GET /?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let posted = asked("POST http://a:81/ HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcdGET http://evil/");
        assert_eq!((posted.body, posted.port, posted.rest.len()), (4, 81, 20));
    }

    #[test]
    fn what_cannot_be_looked_at_is_refused() {
        for (text, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET https://a/ HTTP/1.1\r\n\r\n", 400),
            ("GET http://u:p@a/ HTTP/1.1\r\n\r\n", 400),
            ("POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            ("POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            ("\u{1}\u{2}\r\n\r\n", 400),
            ("CONNECT a:443 HTTP/1.1\r\n\r\nearly", 400),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().status, status, "{text:?}");
        }
        assert_eq!(parse(b"GET http://a/ HTTP/1.1\r\nHo").unwrap(), None);
        assert!(Refused::new(403, "x is not listed").answer().contains("`hosts` under [sandbox]"));
    }
}
