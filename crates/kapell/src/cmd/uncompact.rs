//! `uncompact`: shows a session's model again what was taken out of its conversation.
//!
//! Start at [`run`].

use super::tell::{Taken, report, tell};
use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::Failure;
use crate::pick::{self, short};
use contract::intent::Wish;
use kernel::fsm::Phase;

/// Brings entries back; the exit code.
pub(crate) async fn run(app: &App, name: &str, entry: Option<u64>) -> Result<u8, Failure> {
    let wired = app.wire()?;
    let done = uncompact(app, &wired, name, entry).await;
    leave(wired).await;
    done
}

async fn uncompact(app: &App, wired: &Wired, name: &str, item: Option<u64>) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let id = short(session);
    let state = wired.engine.look(session).await?;
    if state.is_none_or(|state| state.phase == Phase::Ended) {
        let hint = format!("kapell sessions transcript {id} shows everything that was said");
        return Err(Failure::usage("session-over", format!("session {id} is over"), hint));
    }
    let told = tell(app, wired, session, Wish::Uncompact { item }, Vec::new()).await?;
    let done = match told.taken {
        Taken::Queued => "noted: it is shown again from the next request on".to_owned(),
        _ => format!("the model of {id} is shown it again; it goes last when room is needed"),
    };
    report(app, session, "uncompact", &told, &done, &format!("kapell resume {id}"))
}
