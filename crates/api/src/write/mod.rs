//! What can be wished: routes that leave an intent, or open a session. Nothing is done here.
//!
//! Translates bodies into [`Act`]s, each with the key that makes a repeat harmless. Start at [`routes`].

pub(crate) mod order;
pub(crate) mod wish;

use crate::page::Query;
use crate::port::{Act, Key, Read};
use crate::problem::Refused;
use crate::rate::{Rate, limited};
use crate::{Answer, Answered, Api, body, closing};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use contract::{Digest, SessionId};
use order::Order;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use wish::{Decision, Wish};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of a key.
const KEY_CHARS: usize = 128;
/// What a session may be told.
const INTENTS: Rate = Rate { burst: 20, milli_per_second: 5_000 };
/// A wish lives for a year at most.
const TTL_MS: u64 = 365 * 24 * 3_600_000;

/// The routes.
pub(crate) fn routes(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/v1/sessions", post(open))
        .route("/v1/sessions/{id}/intents", post(intend))
        .route("/v1/sessions/{id}/approvals/{approval}", post(decide))
        .route("/v1/sessions/{id}/jobs/{job}", delete(stop_job))
        .route("/v1/approvals", get(approvals))
        .with_state(Arc::clone(api))
}

/// A wish and how long it holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Intended {
    wish: Wish,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

async fn open(
    State(api): State<Arc<Api>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refused> {
    Query::read(raw.as_deref(), &[])?;
    let order: Order = body::read(&headers, &bytes)?;
    order.check()?;
    let row = api.act(Act::Open(Box::new(order)), key(&api, &headers, &bytes)?).await?;
    let place = format!("/v1/sessions/{}", row["session_id"].as_str().unwrap_or_default());
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Answer(row)).into_response())
}

async fn intend(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refused> {
    Query::read(raw.as_deref(), &[])?;
    let session = session(&id)?;
    let Intended { wish, ttl_ms } = body::read(&headers, &bytes)?;
    if ttl_ms.is_some_and(|ms| !(1..=TTL_MS).contains(&ms)) {
        return Err(Refused::user(
            "bad-field",
            format!("`ttl_ms` is from 1 to {TTL_MS}"),
            "change it, or leave it out",
        ));
    }
    told(&api, session, Act::Wish { session, wish, ttl_ms }, key(&api, &headers, &bytes)?).await
}

async fn decide(
    State(api): State<Arc<Api>>,
    Path((id, approval)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refused> {
    Query::read(raw.as_deref(), &[])?;
    let session = session(&id)?;
    let decision: Decision = body::read(&headers, &bytes)?;
    decision.check()?;
    told(&api, session, Act::Decide { session, approval, decision }, key(&api, &headers, &bytes)?).await
}

async fn stop_job(
    State(api): State<Arc<Api>>,
    Path((id, job)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Answered {
    Query::read(raw.as_deref(), &[])?;
    let session = session(&id)?;
    api.act(Act::StopJob { session, job }, key(&api, &headers, &Bytes::new())?).await.map(Answer)
}

async fn approvals(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Answered {
    let query = Query::read(raw.as_deref(), &["session", "limit", "cursor"])?;
    let of = query.get("session").map(|id| session(&id)).transpose()?;
    api.read(Read::Approvals(of, query.page()?)).await
}

/// Leaves an intent; the status says what became of it.
async fn told(api: &Api, session: SessionId, act: Act, key: Key) -> Result<Response, Refused> {
    let bucket = format!("intents/{session}");
    api.rates.take(&bucket, INTENTS, api.host.now()).map_err(|ms| limited("wishes for one session", ms))?;
    let told = api.act(act, key).await?;
    let status = if told["taken"] == "applied" { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Answer(told)).into_response())
}

impl Api {
    async fn act(&self, act: Act, key: Key) -> Result<Value, Refused> {
        if self.is_closing() {
            return Err(closing());
        }
        self.host.act(act, key).await
    }
}

/// A session's whole id.
pub(crate) fn session(id: &str) -> Result<SessionId, Refused> {
    id.parse().map_err(|_| {
        Refused::user(
            "bad-request",
            "this is no whole id of a session",
            "GET /v1/sessions?name= finds one by its end",
        )
    })
}

/// The client's key, else a fresh one.
fn key(api: &Api, headers: &HeaderMap, bytes: &Bytes) -> Result<Key, Refused> {
    let body = Digest::of(bytes);
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(Key { text: format!("http/{:032x}", api.host.random()), body, given: false }),
        (Some(key), None) => match key.to_str() {
            Ok(text)
                if (1..=KEY_CHARS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Key { text: format!("http/{text}"), body, given: true })
            }
            _ => Err(bad_key()),
        },
        (Some(_), Some(_)) => Err(bad_key()),
    }
}

fn bad_key() -> Refused {
    let what = "an Idempotency-Key is one word of 1 to 128 visible characters";
    Refused::user("bad-field", what, "a UUID for each request; the same one for its repeat")
}
