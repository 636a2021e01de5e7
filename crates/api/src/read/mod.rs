//! What can be looked at: routes that change nothing.
//!
//! Translates paths and parameters into [`Read`]s. Start at [`routes`].

mod blob;
mod look;

pub use look::{Acts, Look, View};

use crate::feed::{session, texts};
use crate::page::Query;
use crate::port::{Filter, Read};
use crate::problem::Refused;
use crate::{Answered, Api};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use contract::ActionId;
use std::sync::Arc;

/// Items of a page when nobody says how many, and at most.
const USUAL: usize = 100;
const MOST: u64 = 1_000;
/// Characters that are searched for.
const WORDS_CHARS: usize = 200;

/// The routes.
pub(crate) fn routes(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/v1/sessions", get(sessions))
        .route("/v1/sessions/{id}", get(page))
        .route("/v1/sessions/{id}/transcript", get(transcript))
        .route("/v1/sessions/{id}/why", get(why))
        .route("/v1/sessions/{id}/plan", get(plan))
        .route("/v1/sessions/{id}/checks", get(checks))
        .route("/v1/sessions/{id}/diff", get(diff))
        .route("/v1/sessions/{id}/cost", get(cost))
        .route("/v1/sessions/{id}/cost/calls", get(calls))
        .route("/v1/sessions/{id}/jobs", get(jobs))
        .route("/v1/sessions/{id}/jobs/{job}/output", get(output))
        .route("/v1/sessions/{id}/blobs/{digest}", get(blob::blob))
        .route("/v1/audit", get(audit))
        .route("/v1/config", get(config))
        .route("/v1/cost", get(spent))
        .route("/v1/doctor", get(doctor))
        .route("/v1/models", get(models))
        .route("/v1/repos", get(repos))
        .route("/v1/schedules", get(schedules))
        .route("/v1/search", get(search))
        .with_state(Arc::clone(api))
}

async fn sessions(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Answered {
    let query = Query::read(raw.as_deref(), &["state", "repo", "name", "limit", "cursor"])?;
    let filter = Filter { state: query.get("state"), repo: query.get("repo"), name: query.get("name") };
    api.read(Read::Sessions(filter, query.page()?)).await
}

type Asked = State<Arc<Api>>;
type Raw = RawQuery;

/// One session, without parameters.
async fn view(api: &Api, id: &str, raw: Option<String>, view: View) -> Answered {
    Query::read(raw.as_deref(), &[])?;
    api.read(Read::Look(Look::Session(session(id)?, view))).await
}

async fn page(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    view(&api, &id, raw, View::Page).await
}

async fn plan(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    view(&api, &id, raw, View::Plan).await
}

async fn checks(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    view(&api, &id, raw, View::Checks).await
}

async fn cost(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    view(&api, &id, raw, View::Cost).await
}

async fn calls(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    view(&api, &id, raw, View::Calls).await
}

async fn jobs(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    view(&api, &id, raw, View::Jobs).await
}

async fn output(State(api): Asked, Path((id, job)): Path<(String, String)>, RawQuery(raw): Raw) -> Answered {
    let query = Query::read(raw.as_deref(), &["after"])?;
    let after = query.number("after", 0, u64::MAX)?.unwrap_or(0);
    api.read(Read::Look(Look::Session(session(&id)?, View::Output(job, after)))).await
}

async fn transcript(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    let query = Query::read(raw.as_deref(), &["before", "cursor", "limit", "texts"])?;
    // A page's `next` is the number that its older neighbour ends before.
    let before = match query.number("before", 0, u64::MAX)? {
        Some(before) => Some(before),
        None => query.number("cursor", 0, u64::MAX)?,
    };
    let view = View::Transcript { before, limit: limit(&query)? };
    with_texts(&api, Look::Session(session(&id)?, view), &query).await
}

async fn why(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    let query = Query::read(raw.as_deref(), &["action", "before", "limit", "texts"])?;
    let (action, before) = (action(&query, "action")?, action(&query, "before")?);
    let view = View::Why { action, before, limit: limit(&query)? };
    with_texts(&api, Look::Session(session(&id)?, view), &query).await
}

async fn diff(State(api): Asked, Path(id): Path<String>, RawQuery(raw): Raw) -> Answered {
    let query = Query::read(raw.as_deref(), &["of"])?;
    let of = action(&query, "of")?;
    api.read(Read::Look(Look::Session(session(&id)?, View::Diff(of)))).await
}

async fn audit(State(api): Asked, RawQuery(raw): Raw) -> Answered {
    let names = ["session", "category", "action", "outcome", "severity", "by", "target", "since", "until"];
    let query = Query::read(raw.as_deref(), &[&names[..], &["limit", "cursor"]].concat())?;
    let [session, category, action, outcome, severity, by, target, since, until] =
        names.map(|name| query.get(name));
    let acts = Acts { session, category, action, outcome, severity, by, target, since, until };
    api.read(Read::Look(Look::Audit(acts, query.page()?))).await
}

async fn config(State(api): Asked, RawQuery(raw): Raw) -> Answered {
    // All of it is one page.
    let query = Query::read(raw.as_deref(), &["repo", "limit", "cursor"])?;
    api.read(Read::Look(Look::Config(query.get("repo")))).await
}

async fn schedules(State(api): Asked, RawQuery(raw): Raw) -> Answered {
    // All of it is one page.
    let query = Query::read(raw.as_deref(), &["repo", "limit", "cursor"])?;
    api.read(Read::Look(Look::Schedules(query.get("repo")))).await
}

async fn spent(State(api): Asked, RawQuery(raw): Raw) -> Answered {
    plain(&api, raw, Look::Spent).await
}

async fn doctor(State(api): Asked, RawQuery(raw): Raw) -> Answered {
    plain(&api, raw, Look::Doctor).await
}

async fn models(State(api): Asked, RawQuery(raw): Raw) -> Answered {
    plain(&api, raw, Look::Models).await
}

async fn repos(State(api): Asked, RawQuery(raw): Raw) -> Answered {
    plain(&api, raw, Look::Repos).await
}

async fn plain(api: &Api, raw: Option<String>, look: Look) -> Answered {
    Query::read(raw.as_deref(), &[])?;
    api.read(Read::Look(look)).await
}

async fn search(State(api): Asked, RawQuery(raw): Raw) -> Answered {
    let query = Query::read(raw.as_deref(), &["q", "limit"])?;
    let words = query.get("q").unwrap_or_default();
    if words.trim().is_empty() || words.chars().count() > WORDS_CHARS {
        let what = format!("`q` is what is looked for, in at most {WORDS_CHARS} characters");
        return Err(Refused::user("bad-field", what, "GET /v1/search?q=words"));
    }
    api.read(Read::Look(Look::Search { words, limit: limit(&query)? })).await
}

fn limit(query: &Query) -> Result<usize, Refused> {
    Ok(query.number("limit", 1, MOST)?.map_or(USUAL, |limit| limit as usize))
}

fn action(query: &Query, name: &str) -> Result<Option<ActionId>, Refused> {
    let parsed = query.get(name).map(|text| text.parse::<ActionId>());
    parsed.transpose().map_err(|_| {
        Refused::user(
            "bad-field",
            format!("`{name}` is an action, such as 1.4"),
            "change it, or leave it out",
        )
    })
}

/// With the beginnings of the texts it names, when they are asked for.
async fn with_texts(api: &Api, look: Look, query: &Query) -> Answered {
    let bytes = texts::asked(query)?;
    let mut answer = api.read(Read::Look(look)).await?;
    if let Some(bytes) = bytes {
        let named = texts::named(std::iter::once(answer.0.to_string().as_bytes()));
        answer.0["texts"] = texts::texts(api.hub().journal(), named, bytes).await;
    }
    Ok(answer)
}
