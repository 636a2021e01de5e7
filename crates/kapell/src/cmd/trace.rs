//! `trace`: a session and everything below it as spans of OpenTelemetry, in OTLP's JSON.
//!
//! What a collector would be sent, and no more: no prompts, arguments, outputs or goals. Start at [`run`].

use super::work::leave;
use crate::app::{self, App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick;
use crate::show::json_page;
use contract::event::Event;
use contract::{SessionId, StreamId};
use serde_json::Value;
use telemetry::otlp::trace::{Tracer, request};

/// Prints them; the exit code.
pub(crate) async fn run(app: &App, name: &str) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let spans = spans(&wired, name).await;
    leave(wired).await;
    out::print(&json_page(&request(spans?, env!("CARGO_PKG_VERSION"))));
    Ok(exit::OK)
}

async fn spans(wired: &Wired, name: &str) -> Result<Vec<Value>, Failure> {
    let mut open: Vec<SessionId> = vec![pick::session(&*wired.store, name).await?];
    let mut spans = Vec::new();
    while let Some(id) = open.pop() {
        let (mut tracer, mut ended) = (Tracer::new(id), false);
        engine::store::each::<Event>(&*wired.store, StreamId::Session(id), 0, |record, _| {
            match &record.event {
                Event::ChildOpened { child, .. } => open.push(*child),
                Event::Ended { .. } => ended = true,
                _ => {}
            }
            spans.extend(tracer.record(&record));
            Ok(())
        })
        .await?;
        if !ended {
            spans.extend(tracer.unfinished());
        }
    }
    Ok(spans)
}
