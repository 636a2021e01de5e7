//! What can be looked at: routes that change nothing.
//!
//! Translates paths and parameters into [`Read`]s. Start at [`routes`].

use crate::page::Query;
use crate::port::{Filter, Read};
use crate::{Answered, Api};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use std::sync::Arc;

/// The routes.
pub(crate) fn routes(api: &Arc<Api>) -> Router {
    Router::new().route("/v1/sessions", get(sessions)).with_state(Arc::clone(api))
}

async fn sessions(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Answered {
    let query = Query::read(raw.as_deref(), &["state", "repo", "name", "limit", "cursor"])?;
    let filter = Filter { state: query.get("state"), repo: query.get("repo"), name: query.get("name") };
    api.read(Read::Sessions(filter, query.page()?)).await
}
