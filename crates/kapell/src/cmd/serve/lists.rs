//! Pages of what there is.
//!
//! Start at [`sessions`].

use crate::app::{App, Wired};
use crate::cmd::sessions;
use crate::exit::Failure;
use crate::pick;
use crate::show::asked::Asked;
use crate::tree::{Blocker, Need, blocker};
use api::{Filter, Page, Refused};
use contract::journal::Journal;
use contract::{SessionId, Timestamp};
use kernel::Session;
use kernel::fsm::{ApprovalState, Phase};
use serde_json::{Value, json};

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
        if items.len() == page.limit {
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

/// A page of what waits for a person, oldest first. A cursor names the last one of the page before.
pub(super) async fn approvals(
    app: &App,
    wired: &Wired,
    of: Option<SessionId>,
    page: &Page,
) -> Result<Value, Failure> {
    let after = page.cursor.as_deref().map(Place::read).transpose()?;
    let ids: Vec<SessionId> = match of {
        Some(id) => vec![pick::session(&*wired.store, &id.to_string()).await?],
        None => wired.store.sessions(true).await?.iter().map(|listed| listed.session).collect(),
    };
    let mut all = Vec::new();
    for id in ids {
        // One that cannot be read asks nothing; the list of sessions says what is wrong with it.
        let Ok(Some(state)) = wired.engine.look(id).await else { continue };
        for blocker in waiting(&state, app.now()) {
            all.extend(
                Asked::of(&*wired.store, &state, &blocker).await.map(|asked| (Place::of(&asked), asked)),
            );
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
    let more = all.len() > page.limit;
    all.truncate(page.limit);
    let mut answer = json!({"items": all.iter().map(|(_, asked)| asked.json()).collect::<Vec<_>>()});
    if let Some((last, _)) = all.last().filter(|_| more) {
        answer["next"] = last.text().into();
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

/// Where something stands in the list of what waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// RFC 3339, which sorts by time.
    asked: String,
    session: SessionId,
    id: String,
}

impl Place {
    fn of(asked: &Asked) -> Self {
        let at = asked.more.get("asked_at").and_then(Value::as_str).unwrap_or_default();
        Self { asked: at.to_owned(), session: asked.session, id: asked.id.clone() }
    }

    fn text(&self) -> String {
        format!("{}/{}/{}", self.asked, self.session, self.id)
    }

    fn read(text: &str) -> Result<Self, Failure> {
        let parse = || {
            let mut parts = text.splitn(3, '/');
            let asked = parts.next()?.to_owned();
            Some(Self { asked, session: parts.next()?.parse().ok()?, id: parts.next()?.to_owned() })
        };
        parse().ok_or_else(|| Failure::from(Refused::bad_cursor().fault).into_usage())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_and_read_again() {
        let place = Place { asked: "2026".into(), session: SessionId(9), id: "a1".into() };
        assert_eq!(Place::read(&place.text()).unwrap(), place);
        assert!(place < Place { asked: "2027".into(), session: SessionId(1), id: String::new() });
        for bad in ["", "7", "7/x/a1", "7/00000000-0000-0000-0000-000000000009"] {
            assert_eq!(Place::read(bad).unwrap_err().fault.code, "bad-cursor", "{bad}");
        }
    }
}
