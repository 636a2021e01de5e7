//! What happens, as it happens: the board in memory, the feed of a screen, the records of one session.
//!
//! Everything that is told was read from the journal after it was durable. Start at [`routes`]; who follows the journal for
//! all of them is [`Hub`].

mod board;
mod events;
mod hub;
mod source;
mod sse;
mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod texts;

pub(crate) use events::{missing, session};
pub use hub::{Hub, Told};
pub use source::Source;

use crate::page::Query;
use crate::{Answer, Answered, Api};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;

/// The routes.
pub(crate) fn routes(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/v1/board", get(whole))
        .route("/v1/feed", get(stream::feed))
        .route("/v1/sessions/{id}/events", get(events::events))
        .with_state(Arc::clone(api))
}

/// The board as it is now.
async fn whole(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Answered {
    let query = Query::read(raw.as_deref(), &["root"])?;
    let root = query.get("root").map(|root| session(&root)).transpose()?;
    let hub = api.hub();
    hub.whole().await;
    let (board, now) = (hub.board(), hub.now());
    if let Some(root) = root.filter(|root| !board.lists(*root)) {
        return Err(missing(root).into());
    }
    Ok(Answer(json!({"rev": board.rev(), "items": board.trees(root, now)})))
}
