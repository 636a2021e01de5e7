//! Who is let in: programs that know the token of this start or are of the same person, and no page of a browser but
//! those served here, to whoever logged in.
//!
//! A page can make a browser send requests here (drive-by), under a name that was made to lead here (DNS rebinding); it
//! cannot change what the browser says of it: `Host`, `Origin`, `Sec-Fetch-Site`. Start at [`pass`].

use crate::limits::Limits;
use crate::login::{self, Logins, PROOF};
use crate::problem::Problem;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contract::Digest;
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Clients look there for a login before they say that one is needed; there is none.
const WELL_KNOWN: &str = "/.well-known/";
/// Of a body that is too long so many bytes are passed over, times what is taken, so that its sender reads the answer.
const PASSED_OVER: usize = 8;

/// Bytes of a body whose sender shows no credential: a login, or a report of a page.
const STRANGERS: usize = 16 * 1024;

/// Who asks, as far as it was looked at. In the extensions of every request that is let in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A process of the same person, over the socket.
    Peer,
    /// A program that knows the token.
    Token,
    /// A browser that logged in; the login's name.
    Login(String),
    /// Nobody looked: what was asked for is open to all.
    Anybody,
}

/// What a request is measured by.
pub(crate) struct Guard {
    way: Way,
    limits: Limits,
    /// KiB of bodies.
    room: Arc<Semaphore>,
}

/// Which way requests come.
pub(crate) enum Way {
    /// From processes that were looked at when they connected.
    Socket,
    /// Over the loopback, where anybody's program and page can send something.
    Loopback {
        /// What it goes by.
        address: SocketAddr,
        /// Of this start.
        token: Digest,
        /// Where there are pages: who logged in.
        logins: Option<Arc<dyn Logins>>,
    },
}

/// Room for a body, kept as long as its request's extensions are.
#[derive(Debug, Clone)]
struct Held {
    #[expect(dead_code, reason = "held for its room, which goes back with it")]
    permit: Arc<OwnedSemaphorePermit>,
}

/// One request: refused, or passed on with its whole body.
pub(crate) async fn pass(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let caller = match guard.caller(&request) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let known = caller != Caller::Anybody;
    request.extensions_mut().insert(caller);
    match guard.whole(request, known).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Guard {
    pub(crate) fn new(way: Way, limits: Limits) -> Self {
        Self { way, limits, room: Arc::new(Semaphore::new(kib(limits.held_bytes))) }
    }

    fn caller(&self, request: &Request) -> Result<Caller, Problem> {
        let headers = request.headers();
        if !self.limits.chunked && headers.contains_key(header::TRANSFER_ENCODING) {
            let what = "a body is announced by one Content-Length; Transfer-Encoding is not taken";
            return Err(
                Problem::new(StatusCode::BAD_REQUEST, "bad-body", what).with(header::CONNECTION, "close")
            );
        }
        let Way::Loopback { address, token, logins } = &self.way else { return Ok(Caller::Peer) };
        named_ours(*address, request)?;
        match logins {
            None => program(*address, *token, request),
            Some(logins) => person(*address, *token, &**logins, request),
        }
    }

    /// The request with all of its body, and the room that takes. Of somebody who is not known a body is short, and takes
    /// no room from those who are.
    async fn whole(&self, request: Request, known: bool) -> Result<Request, Problem> {
        let (mut parts, body) = request.into_parts();
        let told = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if told == Some(0) {
            return Ok(Request::from_parts(parts, body));
        }
        let waits = parts.headers.contains_key(header::EXPECT);
        let limit = if known { self.limits.body_bytes } else { self.limits.body_bytes.min(STRANGERS) };
        if told.is_some_and(|bytes| bytes > limit) && waits {
            return Err(too_long(limit));
        }
        let room = if known { kib(told.unwrap_or(limit).min(limit)) } else { 0 };
        let taken = async {
            let permit =
                Arc::clone(&self.room).acquire_many_owned(u32::try_from(room).unwrap_or(u32::MAX)).await;
            let permit = permit.map_err(|_| Problem::busy("this server is ending"))?;
            Ok((permit, collected(body, limit).await?))
        };
        let (permit, bytes) = timeout(self.limits.body, taken).await.map_err(|_| {
            let what =
                format!("the body of a request has to come within {} seconds", self.limits.body.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", what).with(header::CONNECTION, "close")
        })??;
        parts.extensions.insert(Held { permit: Arc::new(permit) });
        Ok(Request::from_parts(parts, Body::from(bytes)))
    }
}

/// Programs only: no page has any business here but one of ours, and none is served.
fn program(address: SocketAddr, token: Digest, request: &Request) -> Result<Caller, Problem> {
    let headers = request.headers();
    let site = headers.get_all(FETCH_SITE).iter().all(|value| value == "same-origin" || value == "none");
    if !from_our_origin(address, headers) || !site {
        return Err(foreign_page());
    }
    if request.uri().path().starts_with(WELL_KNOWN) {
        let what = "there is no login here; the token is in a file";
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-login", what));
    }
    if knows(token, headers) { Ok(Caller::Token) } else { Err(no_token()) }
}

/// Programs with the token, and our own pages for who logged in.
fn person(
    address: SocketAddr,
    token: Digest,
    logins: &dyn Logins,
    request: &Request,
) -> Result<Caller, Problem> {
    let (headers, method, path) = (request.headers(), request.method(), request.uri().path());
    let reads = method == Method::GET || method == Method::HEAD;
    let is_page = reads && logins.is_page(path);
    let site = |value: &header::HeaderValue| value == "same-origin" || (is_page && value == "none");
    if !from_our_origin(address, headers) || !headers.get_all(FETCH_SITE).iter().all(site) {
        return Err(foreign_page());
    }
    if is_page || logins.is_open(method, path) {
        return Ok(Caller::Anybody);
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return if knows(token, headers) { Ok(Caller::Token) } else { Err(no_token()) };
    }
    let cookie = login::cookie_name(address.port());
    let Some(secret) = login::cookie(headers, &cookie) else { return Err(no_token()) };
    let socket = headers.contains_key(header::UPGRADE);
    if socket && !headers.contains_key(header::ORIGIN) {
        return Err(foreign_page());
    }
    let proof = if socket { login::proof_of_socket(headers) } else { single(headers, &PROOF) };
    match (logins.login(secret), proof) {
        (None, _) => Err(no_token()),
        (Some(login), Some(proof)) if login.is_proof(proof) => Ok(Caller::Login(login.name)),
        (Some(_), _) => {
            let what = "the cookie is right and the proof of this page is not; log in again: kapell console";
            Err(Problem::new(StatusCode::FORBIDDEN, "no-proof", what))
        }
    }
}

fn no_token() -> Problem {
    let what = "send `Authorization: Bearer TOKEN`; the file that holds the token was named when this server started";
    Problem::new(StatusCode::UNAUTHORIZED, "no-token", what).with(header::WWW_AUTHENTICATE, "Bearer")
}

fn foreign_page() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "foreign-page", "pages of other sites have no business here")
}

/// One host, and it is this one.
fn named_ours(address: SocketAddr, request: &Request) -> Result<(), Problem> {
    let Some(host) = single(request.headers(), &header::HOST) else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-host", "a request names one host"));
    };
    let meant = request.uri().authority().is_none_or(|authority| is_ours(address, authority.as_str()));
    if is_ours(address, host) && meant {
        return Ok(());
    }
    let what = format!("this server is http://{address}, and goes by no other name");
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign-host", what))
}

/// One of the names of the loopback, and this port.
fn is_ours(address: SocketAddr, authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let named = host.eq_ignore_ascii_case("localhost") || host.parse() == Ok(address.ip());
    let port = authority.port_u16().unwrap_or(80);
    named && port == address.port() && !authority.as_str().contains('@')
}

/// A page of ours comes from the very host that it asks: what answers at another name of the loopback may be somebody else.
fn from_our_origin(address: SocketAddr, headers: &HeaderMap) -> bool {
    let asked = single(headers, &header::HOST).unwrap_or_default();
    let ours = |origin: &str| {
        let host = origin.strip_prefix("http://").unwrap_or_default();
        is_ours(address, host) && host.eq_ignore_ascii_case(asked)
    };
    headers.get_all(header::ORIGIN).iter().all(|value| value.to_str().is_ok_and(ours))
}

fn knows(token: Digest, headers: &HeaderMap) -> bool {
    let given = single(headers, &header::AUTHORIZATION).and_then(|given| given.split_once(' '));
    let Some((scheme, given)) = given else { return false };
    scheme.eq_ignore_ascii_case("bearer") && Digest::of(given.trim().as_bytes()) == token
}

/// The value of a header that is there once, as text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut given = headers.get_all(name).iter();
    match (given.next(), given.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

async fn collected(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut whole = Vec::new();
    let mut passed = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body of this request is broken")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        passed += data.len();
        match passed {
            few if few <= limit => whole.extend_from_slice(&data),
            many if many <= limit.saturating_mul(PASSED_OVER) => whole = Vec::new(),
            _ => break,
        }
    }
    if passed > limit { Err(too_long(limit)) } else { Ok(Bytes::from(whole)) }
}

fn too_long(limit: usize) -> Problem {
    let what = format!("the body of a request has at most {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "long-body", what).with(header::CONNECTION, "close")
}

fn kib(bytes: usize) -> usize {
    bytes / 1024 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ada;

    impl Logins for Ada {
        fn login(&self, secret: &str) -> Option<crate::Login> {
            (secret == "half").then(|| crate::Login { name: "ada".into(), proof: Digest::of(b"other-half") })
        }

        fn is_page(&self, path: &str) -> bool {
            path == "/"
        }

        fn is_open(&self, _: &Method, path: &str) -> bool {
            path == "/v1/health"
        }
    }

    fn guard(address: &str) -> Guard {
        let (address, token) = (address.parse().unwrap(), Digest::of(b"secret"));
        Guard::new(Way::Loopback { address, token, logins: None }, Limits::default())
    }

    fn guard_of_pages() -> Guard {
        let (address, token) = ("127.0.0.1:8000".parse().unwrap(), Digest::of(b"secret"));
        let limits = Limits { chunked: false, ..Limits::default() };
        Guard::new(Way::Loopback { address, token, logins: Some(Arc::new(Ada)) }, limits)
    }

    fn asked(guard: &Guard, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let caller = guard.caller(&request.body(Body::empty()).unwrap());
        caller.map_or_else(|problem| problem.into_response().status().as_u16(), |_| 200)
    }

    #[test]
    fn hosts_that_are_ours_and_all_others() {
        let is_ours = |at: &str, host: &str| super::is_ours(at.parse().unwrap(), host);
        let v4 = "127.0.0.1:8000";
        for ours in ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000"] {
            assert!(is_ours(v4, ours), "{ours}");
        }
        for other in [
            "",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:08001",
            "localhost",
            "localhost.:8000",
            "localhost.evil.example:8000",
            "evil.example:8000",
            "127.0.0.1:8000@evil.example",
            "me@127.0.0.1:8000",
            "127.0.0.1.evil.example:8000",
            "127.1:8000",
            "2130706433:8000",
            "0x7f.0.0.1:8000",
            "127.0.0.2:8000",
            "0.0.0.0:8000",
            "[::1]:8000",
            "127.0.0.1:8000/",
            "127.0.0.1:8000, evil.example",
        ] {
            assert!(!is_ours(v4, other), "{other}");
        }
        let v6 = "[::1]:8000";
        assert!(is_ours(v6, "[::1]:8000") && is_ours(v6, "localhost:8000") && !is_ours(v6, "127.0.0.1:8000"));
        assert!(is_ours("127.0.0.1:80", "localhost"));
    }

    #[test]
    fn only_the_token_of_this_start_and_no_page() {
        let guard = guard("127.0.0.1:8000");
        let (host, know) = (("host", "127.0.0.1:8000"), ("authorization", "Bearer secret"));
        for (status, headers) in [
            (200, vec![host, know]),
            (200, vec![host, ("authorization", "bearer  secret")]),
            (200, vec![host, know, ("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "same-origin")]),
            (200, vec![host, know, ("sec-fetch-site", "none")]),
            (401, vec![host]),
            (401, vec![host, ("authorization", "Bearer ")]),
            (401, vec![host, ("authorization", "Bearer secre")]),
            (401, vec![host, ("authorization", "Basic secret")]),
            (401, vec![host, ("authorization", "secret")]),
            (401, vec![host, ("authorization", "Bearer x"), know]),
            (400, vec![know]),
            (400, vec![host, host, know]),
            (403, vec![("host", "evil.example:8000"), know]),
            (403, vec![host, know, ("origin", "null")]),
            (403, vec![host, know, ("origin", "http://evil.example")]),
            (403, vec![host, know, ("origin", "https://127.0.0.1:8000")]),
            (403, vec![host, know, ("origin", "http://127.0.0.1:8001")]),
            (403, vec![host, know, ("origin", "http://127.0.0.1:8000"), ("origin", "http://evil.example")]),
            (403, vec![host, know, ("sec-fetch-site", "cross-site")]),
            (403, vec![host, know, ("sec-fetch-site", "same-site")]),
        ] {
            assert_eq!(asked(&guard, "/mcp", &headers), status, "{headers:?}");
        }
        assert_eq!(asked(&guard, "http://evil.example/mcp", &[host, know]), 403);
        assert_eq!(asked(&guard, "http://127.0.0.1:8000/mcp", &[host, know]), 200);
        assert_eq!(asked(&guard, "/.well-known/oauth-protected-resource", &[host]), 404);
    }
    #[test]
    fn a_page_needs_both_halves_and_comes_from_here() {
        let guard = guard_of_pages();
        let host = ("host", "127.0.0.1:8000");
        let (half, proof) = (("cookie", "a=b; kapell-8000=half"), ("kapell-proof", "other-half"));
        let ours = ("sec-fetch-site", "same-origin");
        let socket = ("upgrade", "websocket");
        let origin = ("origin", "http://127.0.0.1:8000");
        let protocols = ("sec-websocket-protocol", "kapell.term.v1, kapell.proof.other-half");
        for (status, path, headers) in [
            (200, "/v1/sessions", vec![host, half, proof]),
            (200, "/v1/sessions", vec![host, half, proof, ours, origin]),
            (200, "/v1/sessions", vec![host, ("authorization", "Bearer secret")]),
            (401, "/v1/sessions", vec![host]),
            (401, "/v1/sessions", vec![host, proof]),
            (401, "/v1/sessions", vec![host, ("cookie", "kapell-8000=other"), proof]),
            (401, "/v1/sessions", vec![host, ("cookie", "kapell-8001=half"), proof]),
            (401, "/v1/sessions", vec![host, ("cookie", "kapell-8000=half; kapell-8000=x"), proof]),
            (401, "/v1/sessions", vec![host, half, proof, ("authorization", "Bearer x")]),
            (403, "/v1/sessions", vec![host, half]),
            (403, "/v1/sessions", vec![host, half, ("kapell-proof", "half")]),
            (403, "/v1/sessions", vec![host, half, proof, proof]),
            (403, "/v1/sessions", vec![host, half, proof, ("sec-fetch-site", "none")]),
            (403, "/v1/sessions", vec![host, half, proof, ("sec-fetch-site", "cross-site")]),
            (403, "/v1/sessions", vec![host, half, proof, ("origin", "http://evil.example")]),
            (403, "/v1/sessions", vec![("host", "evil.example:8000"), half, proof]),
            (400, "/v1/sessions", vec![host, half, proof, ("transfer-encoding", "chunked")]),
            (200, "/", vec![host]),
            (200, "/", vec![host, ("sec-fetch-site", "none")]),
            (403, "/", vec![host, ("sec-fetch-site", "cross-site")]),
            (403, "/", vec![("host", "evil.example:8000")]),
            (200, "/v1/health", vec![host]),
            (403, "/v1/health", vec![host, ("sec-fetch-site", "none")]),
            (200, "/v1/attach", vec![host, half, socket, origin, protocols]),
            (403, "/v1/attach", vec![host, half, socket, protocols]),
            (403, "/v1/attach", vec![host, half, socket, origin, proof]),
            (403, "/v1/attach", vec![host, half, socket, ("origin", "http://evil.example"), protocols]),
            (200, "/v1/attach", vec![host, socket, ("authorization", "Bearer secret")]),
        ] {
            assert_eq!(asked(&guard, path, &headers), status, "{path} {headers:?}");
        }
    }

    #[test]
    fn over_the_socket_nobody_is_asked_again() {
        let guard = Guard::new(Way::Socket, Limits { chunked: false, ..Limits::default() });
        assert_eq!(asked(&guard, "/v1/sessions", &[]), 200);
        assert_eq!(asked(&guard, "/v1/sessions", &[("host", "anything")]), 200);
        assert_eq!(asked(&guard, "/v1/sessions", &[("transfer-encoding", "chunked")]), 400);
    }
}
