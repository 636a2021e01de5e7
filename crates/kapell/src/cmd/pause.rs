//! `pause`: lets a session finish the action in flight and then wait for its person, from any terminal.
//!
//! Start at [`run`].

use super::tell::{report, tell};
use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::Failure;
use crate::pick::{self, short};
use contract::intent::Wish;

/// Pauses; the exit code.
pub(crate) async fn run(app: &App, name: &str) -> Result<u8, Failure> {
    let wired = app.wire_to_tell()?;
    let done = pause(app, &wired, name).await;
    leave(wired).await;
    done
}

async fn pause(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let told = tell(app, wired, session, Wish::Pause, Vec::new()).await?;
    let id = short(session);
    let done = format!("session {id} is paused, or will be when its action in flight has ended");
    report(app, session, "pause", &told, &done, &format!("kapell resume {id}"))
}
