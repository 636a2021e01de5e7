//! Pages of what there is.
//!
//! Start at [`sessions`].

use crate::app::{App, Wired};
use crate::cmd::sessions;
use crate::exit::Failure;
use crate::pick;
use crate::tree::{Blocker, Need, blocker};
use api::{Filter, Page, Refused};
use contract::journal::Journal;
use contract::{SessionId, Timestamp};
use kernel::Session;
use kernel::fsm::{ApprovalState, Phase};
use serde_json::{Value, json};

/// Sessions that are looked at for one page: where few fit, a page may hold none and name the next.
const LOOKED_AT: usize = 2_000;

/// A page of sessions as `kapell sessions --json` has them, newest first. A cursor is the last one of the page before.
pub(super) async fn sessions(
    app: &App,
    wired: &Wired,
    filter: &Filter,
    page: &Page,
) -> Result<Value, Failure> {
    let mut ids: Vec<SessionId> = match &filter.name {
        Some(name) => vec![pick::session(&*wired.store, name).await?],
        None => wired.store.sessions(false).await?.iter().map(|listed| listed.session).collect(),
    };
    if let Some(cursor) = &page.cursor {
        let last = ids.iter().position(|id| id.to_string() == *cursor);
        let last = last.ok_or_else(|| Failure::from(Refused::bad_cursor().fault).into_usage())?;
        ids.drain(..=last);
    }
    let fits = |value: &Value, key: &str, wanted: &Option<String>| {
        wanted.as_ref().is_none_or(|wanted| value[key].as_str() == Some(wanted))
    };
    let (mut items, mut next) = (Vec::new(), None);
    for (at, id) in ids.iter().enumerate() {
        if items.len() == page.limit || at == LOOKED_AT {
            next = Some(ids[at - 1].to_string());
            break;
        }
        let value = sessions::value(app, wired, *id).await?;
        if fits(&value, "state", &filter.state) && fits(&value, "repo", &filter.repo) {
            items.push(value);
        }
    }
    let mut answer = json!({"items": items});
    if let Some(next) = next {
        answer["next"] = next.into();
    }
    Ok(answer)
}

/// What it waits for, and what else is open in it: calls of one message may each have asked.
pub(super) fn waiting(state: &Session, now: Timestamp) -> Vec<Blocker> {
    let mut all: Vec<Blocker> = blocker(state, now).into_iter().collect();
    if state.phase == Phase::Active {
        let pending = state.approvals.iter().filter(|(_, approval)| approval.state == ApprovalState::Pending);
        let approvals = pending.map(|(id, _)| Need::Approval(id.clone()));
        let questions = state.questions.keys().map(|id| Need::Answer(id.clone()));
        for kind in approvals.chain(questions) {
            let other = Blocker { session: state.id, kind };
            if !all.contains(&other) {
                all.push(other);
            }
        }
    }
    all
}
