//! `diff`: the change a session has made so far, as a unified diff.
//!
//! Start at [`run`].

use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::pick::{self, short};
use crate::show::{clean, diffstat::Stat, json_page};
use crate::{app, out};
use contract::workspace::Workspace;
use contract::{ActionId, Fault, SessionId};
use engine::Guard;
use serde_json::{Value, json};
use std::path::Path;

/// The message of the commit that holds work in progress; nobody else sees it.
const MESSAGE: &str = "work in progress";

/// Shows the change; the exit code.
pub(crate) async fn run(app: &App, name: &str) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let done = diff(app, &wired, name).await;
    leave(wired).await;
    done
}

async fn diff(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let (bytes, of) = change(wired, session).await?;
    if app.global.json {
        out::print(&json_page(&document(session, &bytes, &of)));
    } else if app.term.stdout {
        out::print(&clean::text(&String::from_utf8_lossy(&bytes)));
    } else {
        // For `git apply`: the very bytes.
        out::print_bytes(&bytes);
    }
    if !app.global.quiet && !app.global.json && app.term.stderr {
        out::complain(&format!("{} ({of})\n", Stat::of(&bytes).summary()));
    }
    Ok(exit::OK)
}

/// The change for programs: of the whole session, or of one action.
pub(super) async fn value(
    wired: &Wired,
    session: SessionId,
    action: Option<ActionId>,
) -> Result<Value, Failure> {
    let (bytes, of) = match action {
        None => change(wired, session).await?,
        Some(action) => step(wired, session, action).await?,
    };
    Ok(document(session, &bytes, &of))
}

fn document(session: SessionId, bytes: &[u8], of: &str) -> Value {
    let stat = Stat::of(bytes);
    let (added, removed) = stat.lines();
    json!({
        "session_id": session.to_string(), "of": of, "files": stat.files.len(),
        "added": added, "removed": removed, "diff": String::from_utf8_lossy(bytes),
    })
}

/// What one action changed: from its savepoint to the next one, or to how it stands.
async fn step(wired: &Wired, session: SessionId, action: ActionId) -> Result<(Vec<u8>, String), Failure> {
    let state = wired.engine.look(session).await?.unwrap_or_else(|| kernel::Session::new(session));
    let mut after = state.savepoints.iter().skip_while(|(at, _)| *at != action).map(|(_, image)| image);
    let Some(from) = after.next() else {
        let what = format!("there is no savepoint of action {action} any more");
        return Err(Failure::usage("no-savepoint", what, format!("kapell diff {}", short(session))));
    };
    let (to, of) = match after.next() {
        Some(to) => (to.clone(), format!("action {action}")),
        None => match wired.locks.claim(session)? {
            Some(_alone) => {
                (wired.git.commit(session, MESSAGE.to_owned()).await?, format!("since action {action}"))
            }
            None => {
                let what = format!("what action {action} changed is known when it has ended");
                return Err(Failure::failed("busy", what, "try again in a moment"));
            }
        },
    };
    Ok((wired.git.diff(session, from.clone(), to).await?, of))
}

/// The change, and of which moment it is.
pub(crate) async fn change(wired: &Wired, session: SessionId) -> Result<(Vec<u8>, String), Failure> {
    let id = short(session);
    let state = wired.engine.look(session).await?;
    let Some((state, prepared)) = state.and_then(|state| Some((state.clone(), state.prepared?))) else {
        let hint = format!("kapell sessions show {id} tells how it stands");
        return Err(Failure::failed("no-workspace", format!("session {id} has no workspace yet"), hint));
    };
    match present(wired, session, &state, &prepared.base).await {
        Err(gone) if gone.code == "workspace-missing" => {
            removed(wired, session, &state, &prepared.base, gone).await
        }
        other => Ok(other?),
    }
}

/// What is left of it in the repository it worked for, once its workspace is gone.
async fn removed(
    wired: &Wired,
    session: SessionId,
    state: &kernel::Session,
    base: &str,
    gone: Fault,
) -> Result<(Vec<u8>, String), Failure> {
    let Some(spec) = &state.spec else { return Err(gone.into()) };
    let judged = state.verdict.as_ref().map(|judged| judged.result.clone());
    let names: Vec<String> =
        [Some(workspace::parked(session)), judged, state.landed.clone()].into_iter().flatten().collect();
    match wired.git.remains(Path::new(&spec.repo), base, &names).await? {
        Some((bytes, name)) => {
            Ok((bytes, format!("its workspace was removed; this is {name} of {}", spec.repo)))
        }
        None if state.end.is_some() => {
            Ok((Vec::new(), "its workspace was removed, and there was no change in it".to_owned()))
        }
        None => Err(gone.into()),
    }
}

/// As long as its workspace is there.
async fn present(
    wired: &Wired,
    session: SessionId,
    state: &kernel::Session,
    base: &str,
) -> Result<(Vec<u8>, String), Fault> {
    let judged = state.verdict.as_ref().map(|judged| judged.result.clone());
    // With the lock in hand nobody else works on the tree, and it can be taken as it is.
    let lock = wired.locks.claim(session)?;
    let (tip, of) = match (judged, lock.is_some(), state.end.is_some()) {
        (Some(result), _, true) => (result, "what was checked".to_owned()),
        (_, true, _) => (wired.git.commit(session, MESSAGE.to_owned()).await?, "as it stands".to_owned()),
        (judged, false, _) => match (state.savepoints.back(), judged) {
            (Some((action, savepoint)), _) => {
                (savepoint.clone(), format!("before action {action}, which may still run"))
            }
            (None, Some(result)) => (result, "what was checked last".to_owned()),
            (None, None) => (base.to_owned(), "nothing was changed yet".to_owned()),
        },
    };
    Ok((wired.git.diff(session, base.to_owned(), tip).await?, of))
}
