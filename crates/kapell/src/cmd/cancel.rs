//! `cancel`: ends a session for good, with everything below it, from any terminal.
//!
//! Start at [`run`].

use super::tell::{Taken, report, tell};
use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::Failure;
use crate::pick::{self, short};
use contract::SessionId;
use contract::event::Event;
use contract::intent::Wish;
use contract::{StreamId, record::Record};
use std::time::Duration;

/// The whole stop ladder, and what it takes to write down its end.
const LADDER: Duration = Duration::from_millis(
    contract::limits::STOP_INT_MS + contract::limits::STOP_TERM_MS + contract::limits::STOP_KILL_MS + 5_000,
);

/// Cancels; the exit code.
pub(crate) async fn run(app: &App, name: &str) -> Result<u8, Failure> {
    let wired = app.wire_to_tell()?;
    let done = cancel(app, &wired, name).await;
    leave(wired).await;
    done
}

async fn cancel(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let told = tell(app, wired, session, Wish::Cancel, Vec::new()).await?;
    let ended = match told.taken {
        Taken::Applied | Taken::Queued => {
            tokio::time::timeout(LADDER, ended(wired, session)).await.ok().transpose()?
        }
        _ => None,
    };
    let id = short(session);
    let (done, next) = match ended {
        Some(()) => {
            (format!("session {id} is cancelled; its work so far is kept"), format!("kapell diff {id}"))
        }
        None => (format!("session {id} is being stopped"), format!("kapell sessions show {id}")),
    };
    report(app, session, "cancel", &told, &done, &next)
}

/// Resolves when the session has ended.
async fn ended(wired: &Wired, session: SessionId) -> Result<(), Failure> {
    let mut watch = wired.engine.watch(session, 0);
    loop {
        for stored in watch.next().await? {
            let stream = StreamId::Session(session);
            let record: Record<Event> = engine::store::decode(stream, stored.seq, &stored.bytes)?;
            if matches!(record.event, Event::Ended { .. }) {
                return Ok(());
            }
        }
    }
}
