//! What is measured: the page for Prometheus, and points for charts.
//!
//! Knows no measure. Start at [`table`].

use crate::page::{Of, Param, Query};
use crate::route::Route;
use crate::shape::daemon;
use crate::{Answered, Api, Read, Refused};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contract::Timestamp;
use std::sync::Arc;

/// The format of such pages.
const PAGE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes.
pub(crate) fn table() -> Vec<Route> {
    const SERIES: &[Param] = &[
        Param::text("name", "Which; with `*` at its end all that begin so."),
        Param::new("since", Of::Time, "From this moment on."),
        Param::new("step_ms", Of::Number(1, u64::MAX), "So much time stands behind each point."),
    ];
    vec![
        Route::get("/metrics", "What is measured, for Prometheus.", page)
            .sends(200, "docs/metrics.md lists the measures.", "text/plain")
            .refuses(&["store"]),
        Route::get("/v1/metrics/series", "What is measured, as points for charts.", series)
            .takes(SERIES)
            .answers::<daemon::Series>(200, "Of the last day, at most."),
    ]
}

async fn page(State(api): State<Arc<Api>>) -> Result<Response, Refused> {
    let page = api.host.read(Read::Metrics).await?;
    Ok(([("content-type", PAGE)], page.as_str().unwrap_or_default().to_owned()).into_response())
}

async fn series(State(api): State<Arc<Api>>, query: Query) -> Answered {
    let since = match query.get("since").map(|text| text.parse::<Timestamp>()) {
        None => Timestamp(0),
        Some(Ok(since)) => since,
        Some(Err(_)) => {
            let hint = "write it as 2026-11-20T06:07:24.123Z, or leave it out";
            return Err(Refused::user("bad-field", "`since` is no time", hint));
        }
    };
    let step_ms = query.number("step_ms").unwrap_or_default();
    api.read(Read::Series { name: query.get("name"), since, step_ms }).await
}
