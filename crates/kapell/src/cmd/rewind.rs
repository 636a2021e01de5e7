//! `rewind`: puts a session's workspace back to before an action.
//!
//! Start at [`run`].

use super::tell::{Taken, report, tell};
use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::Failure;
use crate::pick::{self, short};
use contract::intent::Wish;
use contract::{ActionId, SessionId};
use kernel::fsm::Phase;

/// Rewinds; the exit code.
pub(crate) async fn run(app: &App, name: &str, action: ActionId) -> Result<u8, Failure> {
    let wired = app.wire()?;
    let done = rewind(app, &wired, name, action).await;
    leave(wired).await;
    done
}

/// The session, if its workspace can go back to before this action.
pub(super) async fn ready(wired: &Wired, name: &str, action: ActionId) -> Result<SessionId, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let id = short(session);
    let state = wired.engine.look(session).await?;
    let Some(state) = state.filter(|state| state.phase != Phase::Ended) else {
        let hint = format!("kapell diff {id} shows its change; kapell run \"your goal\" starts anew");
        return Err(Failure::usage(
            "session-over",
            format!("session {id} is over; its workspace is final"),
            hint,
        ));
    };
    if !state.savepoints.iter().any(|(known, _)| *known == action) {
        let known: Vec<String> = state.savepoints.iter().map(|(known, _)| known.to_string()).collect();
        let hint = match known.is_empty() {
            true => "this session has changed nothing yet".to_owned(),
            false => format!("there are savepoints before: {}", known.join(", ")),
        };
        return Err(Failure::usage(
            "no-savepoint",
            format!("there is no savepoint of action {action}"),
            hint,
        ));
    }
    Ok(session)
}

async fn rewind(app: &App, wired: &Wired, name: &str, action: ActionId) -> Result<u8, Failure> {
    let session = ready(wired, name, action).await?;
    let id = short(session);
    let told = tell(app, wired, session, Wish::Rewind { to: action }, Vec::new()).await?;
    let done = match told.taken {
        Taken::Queued if told.holder.is_none() => {
            format!("noted: the workspace goes back to before {action} when the session goes on")
        }
        _ => format!("the workspace of {id} goes back to before {action}; rewinding the rewind undoes it"),
    };
    report(app, session, "rewind", &told, &done, &format!("kapell resume {id}"))
}
