//! What is measured: the page for Prometheus, and points for charts.
//!
//! Knows no measure. Start at [`routes`].

use crate::page::Query;
use crate::{Answered, Api, Read, Refused};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contract::Timestamp;
use std::sync::Arc;

/// The format of such pages.
const PAGE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes.
pub(crate) fn routes(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .route("/v1/metrics/series", get(series))
        .with_state(Arc::clone(api))
}

async fn page(State(api): State<Arc<Api>>) -> Result<Response, Refused> {
    let page = api.host.read(Read::Metrics).await?;
    Ok(([("content-type", PAGE)], page.as_str().unwrap_or_default().to_owned()).into_response())
}

async fn series(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Answered {
    let query = Query::read(raw.as_deref(), &["name", "since", "step_ms"])?;
    let since = match query.get("since").map(|text| text.parse::<Timestamp>()) {
        None => Timestamp(0),
        Some(Ok(since)) => since,
        Some(Err(_)) => {
            let hint = "write it as 2026-11-20T06:07:24.123Z, or leave it out";
            return Err(Refused::user("bad-field", "`since` is no time", hint));
        }
    };
    let step_ms = query.number("step_ms", 1, u64::MAX)?.unwrap_or_default();
    api.read(Read::Series { name: query.get("name"), since, step_ms }).await
}
