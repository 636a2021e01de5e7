//! What happens, as it happens: the board in memory, the feed of a screen, the records of one session.
//!
//! Everything that is told was read from the journal after it was durable. Start at [`table`]; who follows the journal for
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

use crate::page::{Of, Param, Query};
use crate::route::Route;
use crate::shape::session as shape;
use crate::{Answer, Answered, Api};
use axum::extract::State;
use serde_json::json;
use std::sync::Arc;

/// The routes.
pub(crate) fn table() -> Vec<Route> {
    const ROOT: &[Param] = &[Param::new("root", Of::Session, "Only this session and what is below it.")];
    vec![
        Route::get("/v1/board", "What goes on: trees of sessions.", whole)
            .takes(ROOT)
            .answers::<shape::Board>(200, "The newest first.")
            .refuses(&["no-session"]),
        stream::row(),
        events::row(),
    ]
}

/// The board as it is now.
async fn whole(State(api): State<Arc<Api>>, query: Query) -> Answered {
    let root = query.get("root").map(|root| session(&root)).transpose()?;
    let hub = api.hub();
    hub.whole().await;
    let (board, now) = (hub.board(), hub.now());
    if let Some(root) = root.filter(|root| !board.lists(*root)) {
        return Err(missing(root).into());
    }
    Ok(Answer(json!({"rev": board.rev(), "items": board.trees(root, now)})))
}
