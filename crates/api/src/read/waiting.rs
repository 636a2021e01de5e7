//! What waits for a person, over all sessions: from the board's states where they are the newest, so that a list costs
//! one question to the store and not a look at every session.
//!
//! Knows not what is asked; [`Source`](crate::Source) says it. Start at [`approvals`].

use crate::feed::{missing, session};
use crate::page::{CURSOR, LIMIT, Of, Param, Query};
use crate::problem::Refused;
use crate::route::Route;
use crate::shape::{Page, session as shape};
use crate::{Answer, Answered, Api};
use axum::extract::State;
use contract::SessionId;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /v1/approvals`.
pub(super) fn row() -> Route {
    const PARAMS: &[Param] = &[Param::new("session", Of::Session, "Only of this session."), LIMIT, CURSOR];
    Route::get("/v1/approvals", "What waits for a person.", approvals)
        .takes(PARAMS)
        .answers::<Page<shape::Asked>>(200, "A page, oldest first.")
        .refuses(&["store", "bad-cursor", "no-session"])
}

async fn approvals(State(api): State<Arc<Api>>, query: Query) -> Answered {
    let of = query.get("session").map(|id| session(&id)).transpose()?;
    let page = query.page()?;
    let after = page.cursor.as_deref().map(Place::read).transpose()?;
    let asked = api.hub().asked(of).await?;
    let asked = match (asked, of) {
        (None, Some(id)) => return Err(missing(id).into()),
        (asked, _) => asked.unwrap_or_default(),
    };
    let mut all: Vec<(Place, Value)> = asked.into_iter().map(|asked| (Place::of(&asked), asked)).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
    let more = all.len() > page.limit;
    all.truncate(page.limit);
    let next = all.last().filter(|_| more).map(|(last, _)| last.text());
    let items: Vec<Value> = all.into_iter().map(|(_, asked)| asked).collect();
    let mut answer = json!({"items": items});
    if let Some(next) = next {
        answer["next"] = next.into();
    }
    Ok(Answer(answer))
}

/// Where something stands in the list: a cursor names the last one of the page before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// RFC 3339, which sorts by time.
    asked: String,
    session: SessionId,
    id: String,
}

impl Place {
    fn of(asked: &Value) -> Self {
        let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let session = text("session_id").parse().unwrap_or(SessionId(0));
        Self { asked: text("asked_at"), session, id: text("id") }
    }

    fn text(&self) -> String {
        format!("{}/{}/{}", self.asked, self.session, self.id)
    }

    fn read(text: &str) -> Result<Self, Refused> {
        let parse = || {
            let mut parts = text.splitn(3, '/');
            let asked = parts.next()?.to_owned();
            Some(Self { asked, session: parts.next()?.parse().ok()?, id: parts.next()?.to_owned() })
        };
        parse().ok_or_else(Refused::bad_cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_and_read_again() {
        let asked = json!({"asked_at": "2026", "session_id": SessionId(9).to_string(), "id": "a1"});
        let place = Place::of(&asked);
        assert_eq!(Place::read(&place.text()).unwrap(), place);
        assert!(place < Place { asked: "2027".into(), session: SessionId(1), id: String::new() });
        for bad in ["", "7", "7/x/a1", "7/00000000-0000-0000-0000-000000000009"] {
            assert_eq!(Place::read(bad).unwrap_err().fault.code, "bad-cursor", "{bad}");
        }
    }
}
