//! What can be looked at: routes that change nothing.
//!
//! Translates paths and parameters into [`Read`]s. Start at [`table`].

mod blob;
mod look;
mod named;
mod waiting;

pub use look::{Acts, Look, View};
pub(crate) use named::Named;

use crate::feed::{session as whole, texts};
use crate::page::{CURSOR, LIMIT, Of, Param, Query};
use crate::port::{Filter, Read};
use crate::problem::Refused;
use crate::route::Route;
use crate::shape::{List, Page, daemon, session, work};
use crate::{Answered, Api};
use axum::extract::{Path, State};
use contract::ActionId;
use std::sync::Arc;

/// Items of a page when nobody says how many.
const USUAL: usize = 100;
/// Characters that are searched for.
const WORDS_CHARS: usize = 200;

const BEFORE: Param = Param::new("before", Of::Number(0, u64::MAX), "What was said before this event.");
const OLDER: Param = Param::new("cursor", Of::Number(0, u64::MAX), "The same, as `next` of a page said it.");
const REPO: Param = Param::text("repo", "Only of this repository: an absolute path.");
/// Of a store that cannot be read, or of a session that cannot.
const OF_STORE: &[&str] = &["store"];
const OF_SESSION: &[&str] = &["store", "no-session"];

/// The routes.
pub(crate) fn table() -> Vec<Route> {
    let mut all = of_sessions();
    all.extend(of_one());
    all.extend(of_all());
    all
}

fn of_sessions() -> Vec<Route> {
    const SESSIONS: &[Param] = &[
        Param::new("state", Of::Words(STATES), "Only those that stand so."),
        REPO,
        Param::text("name", "The one whose id ends so, or `last`."),
        LIMIT,
        CURSOR,
    ];
    vec![
        Route::get("/v1/sessions", "Sessions, newest first.", sessions)
            .takes(SESSIONS)
            .answers::<Page<session::SessionRow>>(200, "A page.")
            .refuses(&["store", "bad-cursor", "no-session", "ambiguous-session"]),
    ]
}

/// What `state` of a list takes: every word that a session's `state` can be.
const STATES: &[&str] =
    &["created", "active", "running", "waiting", "paused", "stopped", "completed", "failed", "cancelled"];

/// One session, seen in every way.
fn of_one() -> Vec<Route> {
    const TRANSCRIPT: &[Param] = &[BEFORE, OLDER, LIMIT, texts::PARAM];
    const WHY: &[Param] = &[
        Param::new("action", Of::Action, "Only this action."),
        Param::new("before", Of::Action, "Actions before this one."),
        LIMIT,
        texts::PARAM,
    ];
    const DIFF: &[Param] = &[Param::new("of", Of::Action, "Only of this action.")];
    const OUTPUT: &[Param] = &[Param::new("after", Of::Number(0, u64::MAX), "From this byte on.")];
    vec![
        Route::get("/v1/sessions/{id}", "One session in full.", page)
            .answers::<session::SessionPage>(200, "It.")
            .refuses(OF_SESSION),
        Route::get("/v1/sessions/{id}/transcript", "Who said what.", transcript)
            .takes(TRANSCRIPT)
            .answers::<work::Transcript>(200, "The newest page, or the one before `before`.")
            .refuses(OF_SESSION),
        Route::get("/v1/sessions/{id}/why", "Who wanted what, and why it won.", why)
            .takes(WHY)
            .answers::<work::Why>(200, "The newest actions, or those before `before`.")
            .refuses(&["store", "no-session", "no-action"]),
        Route::get("/v1/sessions/{id}/plan", "Its plan, and the agent's own list.", plan)
            .answers::<work::Plan>(200, "Both may be empty.")
            .refuses(OF_SESSION),
        Route::get("/v1/sessions/{id}/checks", "The newest verdict, and what it rests on.", checks)
            .answers::<work::Checks>(200, "Nulls before there is one.")
            .refuses(OF_SESSION),
        Route::get("/v1/sessions/{id}/diff", "The change.", diff)
            .takes(DIFF)
            .answers::<work::Diff>(200, "All of it, or of one action.")
            .refuses(&["store", "no-session", "no-savepoint", "no-workspace", "busy"]),
        Route::get("/v1/sessions/{id}/cost", "What its tree cost.", cost)
            .answers::<work::Cost>(200, "The tree's account.")
            .refuses(OF_SESSION),
        Route::get("/v1/sessions/{id}/cost/calls", "Its model calls, and what made a cache useless.", calls)
            .answers::<work::Calls>(200, "In order.")
            .refuses(OF_SESSION),
        Route::get("/v1/sessions/{id}/jobs", "Background commands and terminals.", jobs)
            .answers::<work::Jobs>(200, "Oldest first.")
            .refuses(OF_SESSION),
        Route::get("/v1/sessions/{id}/jobs/{job}/output", "What one of them wrote.", output)
            .takes(OUTPUT)
            .answers::<work::Output>(200, "A piece of at most 64 KiB.")
            .refuses(&["store", "no-session", "no-job"]),
        blob::row(),
        waiting::row(),
    ]
}

/// What is not of one session.
fn of_all() -> Vec<Route> {
    const SEARCH: &[Param] =
        &[Param::text("q", "What is looked for, in at most 200 characters.").needed(), LIMIT];
    const IN_ONE: &[Param] = &[REPO, LIMIT, CURSOR];
    vec![
        Route::get("/v1/audit", "Who did what.", audit)
            .takes(AUDIT)
            .answers::<daemon::Acts>(200, "A page.")
            .refuses(&["store", "bad-cursor", "no-session", "ambiguous-session"]),
        Route::get("/v1/config", "What is set, and who says so.", config)
            .takes(IN_ONE)
            .answers::<List<daemon::Setting>>(200, "All of it, in one page."),
        Route::get("/v1/cost", "What all sessions cost.", spent)
            .answers::<work::Overview>(200, "Roots, newest first.")
            .refuses(OF_STORE),
        Route::get("/v1/doctor", "What is wrong, and how to mend it.", doctor)
            .answers::<daemon::Doctor>(200, "Everything that was looked at.")
            .refuses(OF_STORE),
        Route::get("/v1/models", "What can be used now, and what it costs.", models)
            .answers::<daemon::Models>(200, "By provider.")
            .refuses(OF_STORE),
        Route::get("/v1/repos", "Repositories that sessions were opened for.", repos)
            .answers::<List<String>>(200, "Absolute paths.")
            .refuses(OF_STORE),
        Route::get("/v1/schedules", "Schedules, and how they stand.", schedules)
            .takes(IN_ONE)
            .answers::<daemon::Schedules>(200, "All of it, in one page.")
            .refuses(OF_STORE),
        Route::get("/v1/search", "Texts in which these words stand.", search)
            .takes(SEARCH)
            .answers::<daemon::Found>(200, "The newest hits, and how far was looked.")
            .refuses(OF_STORE)
            .gives("search"),
    ]
}

const AUDIT: &[Param] = &[
    Param::text("session", "Of this session: its id, the end of it, or `last`."),
    Param::text("category", "Of this kind."),
    Param::text("action", "Such as `shell`, `approval`."),
    Param::text("outcome", "Such as `ok`, `denied`."),
    Param::text("severity", "`info`, `notice` or `warning`."),
    Param::text("by", "Who."),
    Param::text("target", "What stands in what the act was about."),
    Param::text("since", "From this moment on."),
    Param::text("until", "Up to this moment."),
    LIMIT,
    CURSOR,
];

async fn sessions(State(api): State<Arc<Api>>, query: Query) -> Answered {
    let filter = Filter { state: query.get("state"), repo: query.get("repo"), name: query.get("name") };
    api.read(Read::Sessions(filter, query.page()?)).await
}

type Asked = State<Arc<Api>>;

/// One session, without parameters.
async fn view(api: &Api, id: &str, view: View) -> Answered {
    api.read(Read::Look(Look::Session(whole(id)?, view))).await
}

async fn page(State(api): Asked, Path(id): Path<String>) -> Answered {
    view(&api, &id, View::Page).await
}

async fn plan(State(api): Asked, Path(id): Path<String>) -> Answered {
    view(&api, &id, View::Plan).await
}

async fn checks(State(api): Asked, Path(id): Path<String>) -> Answered {
    view(&api, &id, View::Checks).await
}

async fn cost(State(api): Asked, Path(id): Path<String>) -> Answered {
    view(&api, &id, View::Cost).await
}

async fn calls(State(api): Asked, Path(id): Path<String>) -> Answered {
    view(&api, &id, View::Calls).await
}

async fn jobs(State(api): Asked, Path(id): Path<String>) -> Answered {
    view(&api, &id, View::Jobs).await
}

async fn output(State(api): Asked, Path((id, job)): Path<(String, String)>, query: Query) -> Answered {
    let after = query.number("after").unwrap_or(0);
    api.read(Read::Look(Look::Session(whole(&id)?, View::Output(job, after)))).await
}

async fn transcript(State(api): Asked, Path(id): Path<String>, query: Query) -> Answered {
    // A page's `next` is the number that its older neighbour ends before.
    let before = query.number("before").or_else(|| query.number("cursor"));
    let view = View::Transcript { before, limit: limit(&query) };
    with_texts(&api, Look::Session(whole(&id)?, view), &query).await
}

async fn why(State(api): Asked, Path(id): Path<String>, query: Query) -> Answered {
    let (action, before) = (action(&query, "action")?, action(&query, "before")?);
    let view = View::Why { action, before, limit: limit(&query) };
    with_texts(&api, Look::Session(whole(&id)?, view), &query).await
}

async fn diff(State(api): Asked, Path(id): Path<String>, query: Query) -> Answered {
    let of = action(&query, "of")?;
    api.read(Read::Look(Look::Session(whole(&id)?, View::Diff(of)))).await
}

async fn audit(State(api): Asked, query: Query) -> Answered {
    let names = ["session", "category", "action", "outcome", "severity", "by", "target", "since", "until"];
    let [session, category, action, outcome, severity, by, target, since, until] =
        names.map(|name| query.get(name));
    let acts = Acts { session, category, action, outcome, severity, by, target, since, until };
    api.read(Read::Look(Look::Audit(acts, query.page()?))).await
}

async fn config(State(api): Asked, query: Query) -> Answered {
    api.read(Read::Look(Look::Config(query.get("repo")))).await
}

async fn schedules(State(api): Asked, query: Query) -> Answered {
    api.read(Read::Look(Look::Schedules(query.get("repo")))).await
}

async fn spent(State(api): Asked) -> Answered {
    plain(&api, Look::Spent).await
}

async fn doctor(State(api): Asked) -> Answered {
    plain(&api, Look::Doctor).await
}

async fn models(State(api): Asked) -> Answered {
    plain(&api, Look::Models).await
}

async fn repos(State(api): Asked) -> Answered {
    plain(&api, Look::Repos).await
}

async fn plain(api: &Api, look: Look) -> Answered {
    api.read(Read::Look(look)).await
}

async fn search(State(api): Asked, query: Query) -> Answered {
    let words = query.get("q").unwrap_or_default();
    if words.trim().is_empty() || words.chars().count() > WORDS_CHARS {
        let what = format!("`q` is what is looked for, in at most {WORDS_CHARS} characters");
        return Err(Refused::user("bad-field", what, "GET /v1/search?q=words"));
    }
    api.read(Read::Look(Look::Search { words, limit: limit(&query) })).await
}

fn limit(query: &Query) -> usize {
    query.number("limit").map_or(USUAL, |limit| limit as usize)
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
    let bytes = texts::asked(query);
    let mut answer = api.read(Read::Look(look)).await?;
    if let Some(bytes) = bytes {
        let named = texts::named(std::iter::once(answer.0.to_string().as_bytes()));
        answer.0["texts"] = texts::texts(api.hub().journal(), named, bytes).await;
    }
    Ok(answer)
}
