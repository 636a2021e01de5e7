//! Who is let in: programs that know the token of this start, and no page of a browser but those served here.
//!
//! A page can make a browser send requests here (drive-by), under a name that was made to lead here (DNS rebinding); it
//! cannot change what the browser says of it: `Host`, `Origin`, `Sec-Fetch-Site`. Start at [`pass`].

use crate::limits::Limits;
use crate::problem::Problem;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
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

/// What a request is measured by.
pub(crate) struct Guard {
    address: SocketAddr,
    token: Digest,
    limits: Limits,
    /// KiB of bodies.
    room: Arc<Semaphore>,
}

/// Room for a body, kept as long as its request's extensions are.
#[derive(Debug, Clone)]
struct Held {
    #[expect(dead_code, reason = "held for its room, which goes back with it")]
    permit: Arc<OwnedSemaphorePermit>,
}

/// One request: refused, or passed on with its whole body.
pub(crate) async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if let Some(problem) = guard.refusal(&request) {
        return problem.into_response();
    }
    match guard.whole(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Guard {
    pub(crate) fn new(address: SocketAddr, token: Digest, limits: Limits) -> Self {
        Self { address, token, limits, room: Arc::new(Semaphore::new(kib(limits.held_bytes))) }
    }

    fn refusal(&self, request: &Request) -> Option<Problem> {
        let headers = request.headers();
        if let Some(problem) = self.foreign_host(request) {
            return Some(problem);
        }
        if let Some(problem) = self.foreign_page(headers) {
            return Some(problem);
        }
        if request.uri().path().starts_with(WELL_KNOWN) {
            return Some(Problem::new(
                StatusCode::NOT_FOUND,
                "no-login",
                "there is no login here; the token is in a file",
            ));
        }
        (!self.knows_the_token(headers)).then(|| {
            let what = "send `Authorization: Bearer TOKEN`; the file that holds the token was named when this server started";
            Problem::new(StatusCode::UNAUTHORIZED, "no-token", what).with(header::WWW_AUTHENTICATE, "Bearer")
        })
    }

    fn foreign_host(&self, request: &Request) -> Option<Problem> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Some(Problem::new(StatusCode::BAD_REQUEST, "bad-host", "a request names one host"));
        };
        let named = host.to_str().ok().is_some_and(|host| self.is_ours(host));
        let meant = request.uri().authority().is_none_or(|authority| self.is_ours(authority.as_str()));
        (!named || !meant).then(|| {
            let what = format!("this server is http://{}, and goes by no other name", self.address);
            Problem::new(StatusCode::FORBIDDEN, "foreign-host", what)
        })
    }

    fn foreign_page(&self, headers: &HeaderMap) -> Option<Problem> {
        let ours = |origin: &str| origin.strip_prefix("http://").is_some_and(|host| self.is_ours(host));
        let origin = headers.get_all(header::ORIGIN).iter().all(|value| value.to_str().is_ok_and(ours));
        let site = headers.get_all(FETCH_SITE).iter().all(|value| value == "same-origin" || value == "none");
        (!origin || !site).then(|| {
            Problem::new(StatusCode::FORBIDDEN, "foreign-page", "pages of other sites have no business here")
        })
    }

    /// One of the names of the loopback, and this port.
    fn is_ours(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let ip = self.address.ip();
        let named = host.eq_ignore_ascii_case("localhost") || host.parse() == Ok(ip);
        let port = authority.port_u16().unwrap_or(80);
        named && port == self.address.port() && !authority.as_str().contains('@')
    }

    fn knows_the_token(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(given), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, token)) = given.to_str().ok().and_then(|given| given.split_once(' ')) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && Digest::of(token.trim().as_bytes()) == self.token
    }

    /// The request with all of its body, and the room that takes.
    async fn whole(&self, request: Request) -> Result<Request, Problem> {
        let (mut parts, body) = request.into_parts();
        let told = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if told == Some(0) {
            return Ok(Request::from_parts(parts, body));
        }
        let waits = parts.headers.contains_key(header::EXPECT);
        let limit = self.limits.body_bytes;
        if told.is_some_and(|bytes| bytes > limit) && waits {
            return Err(too_long(limit));
        }
        let room = kib(told.unwrap_or(limit).min(limit));
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

    fn guard(address: &str) -> Guard {
        Guard::new(address.parse().unwrap(), Digest::of(b"secret"), Limits::default())
    }

    fn asked(guard: &Guard, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard
            .refusal(&request.body(Body::empty()).unwrap())
            .map_or(200, |problem| problem.into_response().status().as_u16())
    }

    #[test]
    fn hosts_that_are_ours_and_all_others() {
        let v4 = guard("127.0.0.1:8000");
        for ours in ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000"] {
            assert!(v4.is_ours(ours), "{ours}");
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
            assert!(!v4.is_ours(other), "{other}");
        }
        let v6 = guard("[::1]:8000");
        assert!(v6.is_ours("[::1]:8000") && v6.is_ours("localhost:8000") && !v6.is_ours("127.0.0.1:8000"));
        assert!(guard("127.0.0.1:80").is_ours("localhost"));
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
}
