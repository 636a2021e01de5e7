//! Refusals: a fault with the status it has over HTTP, worded once for all of them (RFC 9457).
//!
//! Knows codes and kinds, not who refuses. Start at [`Refused`]; the table is [`status`].

use crate::Api;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contract::{Fault, Kind};
use serde_json::json;
use std::sync::Arc;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Characters of a request's name.
const ID_CHARS: usize = 64;
/// The exit code of a command that was told something wrong.
const USAGE: u8 = 2;

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What happened, to what, what to do next.
    pub fault: Fault,
    /// What the command of the same name would end with.
    pub exit_code: u8,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let exit_code = match fault.kind {
            Kind::UserFixable => USAGE,
            Kind::RateLimited => 75,
            _ => 1,
        };
        Self { fault, exit_code }
    }
}

impl Refused {
    /// Something in the request.
    pub(crate) fn user(code: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Fault::new(Kind::UserFixable, code, what).hint(hint).into()
    }

    /// A cursor that no page gave.
    pub fn bad_cursor() -> Self {
        Self::user("bad-cursor", "this cursor points at nothing", "begin without one")
    }

    /// What the framework refuses by itself.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let page = "docs/api.md lists the routes; GET /v1 says what this daemon can do";
        match status {
            StatusCode::NOT_FOUND => Self::user("no-route", "there is nothing at this path", page),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::user("method", "this path takes other methods", "the header Allow lists them")
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::user("too-large", "the body of this request is too long", "a body has at most 1 MiB")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::media_type(),
            StatusCode::UNPROCESSABLE_ENTITY => {
                Self::user("bad-field", "the body of this request does not say what is needed", page)
            }
            other if other.is_client_error() => {
                Self::user("bad-request", "this request cannot be understood", page)
            }
            _ => Fault::new(Kind::Permanent, "broken", "answering this request failed")
                .hint("try again; kapell doctor looks for what is wrong")
                .into(),
        }
    }

    pub(crate) fn media_type() -> Self {
        let hint = "send JSON, and the header Content-Type: application/json";
        Self::user("media-type", "the body of this request is not said to be JSON", hint)
    }
}

/// A refusal of the listener in the same words as all others.
impl From<&door::Problem> for Refused {
    fn from(problem: &door::Problem) -> Self {
        let (code, hint) = match problem.code {
            "no-token" => {
                ("unauthorised", "kapell console logs a browser in; STATE/run/daemon.json holds the token")
            }
            "foreign-host" | "foreign-page" | "no-proof" => ("forbidden", "kapell console logs a browser in"),
            "long-body" => ("too-large", "a body has at most 1 MiB"),
            "slow-body" => ("slow-body", "send the body at once"),
            "busy" => ("busy", "try again in a moment"),
            _ => ("bad-request", "docs/api.md says how requests look"),
        };
        let kind = if code == "busy" { Kind::Transient } else { Kind::UserFixable };
        Fault::new(kind, code, problem.detail.clone()).hint(hint).into()
    }
}

/// The status of a fault: by its code where that says more than its kind.
pub(crate) fn status(fault: &Fault) -> StatusCode {
    match fault.code.as_str() {
        "no-session" | "no-job" | "no-approval" | "no-question" | "no-blob" | "no-action" | "no-schedule"
        | "no-route" => StatusCode::NOT_FOUND,
        "bad-request" | "bad-cursor" => StatusCode::BAD_REQUEST,
        "unauthorised" => StatusCode::UNAUTHORIZED,
        "forbidden" => StatusCode::FORBIDDEN,
        "method" => StatusCode::METHOD_NOT_ALLOWED,
        "slow-body" => StatusCode::REQUEST_TIMEOUT,
        "several-approvals" | "ambiguous-session" | "session-over" | "no-savepoint" | "hash-differs"
        | "key-reused" | "cursor-ahead" | "refused" | "job-ended" | "needs-yes" | "no-workspace" => {
            StatusCode::CONFLICT
        }
        "too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        "out-of-range" => StatusCode::RANGE_NOT_SATISFIABLE,
        "media-type" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "rate-limited" | "busy" => StatusCode::TOO_MANY_REQUESTS,
        "unsupported" => StatusCode::NOT_IMPLEMENTED,
        "closing" | "disk-full" => StatusCode::SERVICE_UNAVAILABLE,
        _ => match fault.kind {
            Kind::UserFixable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Kind::Transient | Kind::Degraded => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Permanent => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

impl IntoResponse for Refused {
    /// Its words are put in by [`dress`], which knows the request's name.
    fn into_response(self) -> Response {
        let mut response = status(&self.fault).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives each request a name, each answer its headers, and each refusal its words.
pub(crate) async fn dress(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let id = named(&request).unwrap_or_else(|| format!("r-{:016x}", api.host.random() as u64));
    let mut response = next.run(request).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        worded(&mut response, &id);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    response
}

/// What the client calls it, when that is a name.
fn named(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    ((1..=ID_CHARS).contains(&id.len()) && id.chars().all(plain)).then(|| id.to_owned())
}

fn worded(response: &mut Response, id: &str) {
    let refused = match (response.extensions().get::<Refused>(), response.extensions().get::<door::Problem>())
    {
        (Some(refused), _) => refused.clone(),
        (None, Some(problem)) => problem.into(),
        (None, None) => Refused::of_status(response.status()),
    };
    // A refusal of the framework keeps its status, whatever its words.
    let (fault, status) = (&refused.fault, response.status());
    let mut body = json!({
        "type": format!("urn:kapell:{}", fault.code), "title": fault.what, "status": status.as_u16(),
        "code": fault.code, "kind": fault.kind, "hint": fault.hint, "exit_code": refused.exit_code, "request_id": id,
    });
    // What a yes would be bound to.
    if let ("needs-yes", Some(hash)) = (fault.code.as_str(), fault.detail) {
        body["hash"] = hash.to_string().into();
    }
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.entry(header::WWW_AUTHENTICATE).or_insert(HeaderValue::from_static("Bearer"));
    }
    if let Some(ms) = fault.retry_after_ms {
        body["retry_after_ms"] = ms.into();
        headers.insert(header::RETRY_AFTER, ms.div_ceil(1_000).into());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(format!("{body}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_statuses_of_the_page() {
        for (kind, code, is) in [
            (Kind::UserFixable, "no-session", 404),
            (Kind::UserFixable, "bad-cursor", 400),
            (Kind::UserFixable, "hash-differs", 409),
            (Kind::Permanent, "refused", 409),
            (Kind::UserFixable, "unknown-model", 422),
            (Kind::RateLimited, "provider", 429),
            (Kind::Permanent, "store-io", 500),
            (Kind::UserFixable, "unsupported", 501),
            (Kind::UserFixable, "disk-full", 503),
            (Kind::Degraded, "anything", 503),
        ] {
            assert_eq!(status(&Fault::new(kind, code, "x")).as_u16(), is, "{code}");
        }
    }

    #[test]
    fn only_plain_names_are_taken_over() {
        let of = |id: &str| named(&Request::builder().header("request-id", id).body(Body::empty()).unwrap());
        assert_eq!(of("r-5f3a.B_").as_deref(), Some("r-5f3a.B_"));
        for bad in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
