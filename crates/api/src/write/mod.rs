//! What can be wished: routes that leave an intent, or open a session. Nothing is done here.
//!
//! Translates bodies into [`Act`]s, each with the key that makes a repeat harmless. Start at [`table`].

pub(crate) mod order;
pub(crate) mod wish;

use crate::feed::session as whole;
use crate::port::{Act, Key};
use crate::problem::Refused;
use crate::rate::{Rate, limited};
use crate::route::Route;
use crate::shape::{session, work};
use crate::{Answer, Answered, Api, body, closing};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::{Digest, SessionId};
use order::{Order, Terminal};
use schemars::JsonSchema;
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
pub(crate) fn table() -> Vec<Route> {
    const PLACE: &[(&str, &str)] = &[("Location", "where the session is")];
    const FATES: (&str, &str) = ("It took effect.", "It waits for its turn.");
    vec![
        Route::post("/v1/sessions", "Opens a session.", open)
            .reads::<Order>()
            .answers::<session::SessionRow>(201, "It is at work.")
            .with(PLACE)
            .refuses(&["store", "key-reused", "no-session", "no-action", "no-savepoint"])
            .repeats(),
        Route::post("/v1/sessions/{id}/intents", "Wishes something for a session.", intend)
            .reads::<Intended>()
            .answers::<session::Taken>(200, FATES.0)
            .answers::<session::Taken>(202, FATES.1)
            .refuses(&["store", "no-session", "no-savepoint", "session-over", "refused", "key-reused"])
            .repeats(),
        Route::post("/v1/sessions/{id}/approvals/{approval}", "Says yes or no to what waits.", decide)
            .reads::<Decision>()
            .answers::<session::Taken>(200, FATES.0)
            .answers::<session::Taken>(202, FATES.1)
            .refuses(&[
                "store",
                "no-session",
                "no-approval",
                "several-approvals",
                "hash-differs",
                "refused",
                "key-reused",
            ])
            .repeats(),
        Route::post("/v1/sessions/{id}/jobs", "Opens a terminal for the person.", open_terminal)
            .reads::<Terminal>()
            .answers::<work::Job>(201, "It runs.")
            .with(&[("Location", "where the terminal is")])
            .refuses(&["store", "no-session", "no-workspace", "refused", "needs-yes", "key-reused"])
            .repeats()
            .gives("terminals"),
        Route::delete("/v1/sessions/{id}/jobs/{job}", "Ends a background command.", stop_job)
            .answers::<work::Job>(200, "As it is then.")
            .refuses(&["store", "no-session", "no-job", "job-ended"])
            .repeats(),
    ]
}

/// A wish and how long it holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Intended {
    /// What.
    wish: Wish,
    /// Dropped when nobody took it within this time.
    #[serde(default)]
    #[schemars(range(min = 1, max = 31_536_000_000_u64))]
    ttl_ms: Option<u64>,
}

async fn open(State(api): State<Arc<Api>>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Refused> {
    let order: Order = body::read(&headers, &bytes)?;
    order.check()?;
    let row = api.act(Act::Open(Box::new(order)), key(&api, &headers, &bytes)?).await?;
    let place = format!("/v1/sessions/{}", row["session_id"].as_str().unwrap_or_default());
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Answer(row)).into_response())
}

async fn intend(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refused> {
    let session = whole(&id)?;
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
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refused> {
    let session = whole(&id)?;
    let decision: Decision = body::read(&headers, &bytes)?;
    decision.check()?;
    told(&api, session, Act::Decide { session, approval, decision }, key(&api, &headers, &bytes)?).await
}

async fn open_terminal(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refused> {
    let session = whole(&id)?;
    let terminal: Terminal = body::read(&headers, &bytes)?;
    terminal.check()?;
    let job = api.act(Act::OpenTerminal { session, terminal }, key(&api, &headers, &bytes)?).await?;
    let place = format!("/v1/sessions/{id}/jobs/{}", job["job"].as_str().unwrap_or_default());
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Answer(job)).into_response())
}

async fn stop_job(
    State(api): State<Arc<Api>>,
    Path((id, job)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answered {
    let session = whole(&id)?;
    api.act(Act::StopJob { session, job }, key(&api, &headers, &Bytes::new())?).await.map(Answer)
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
