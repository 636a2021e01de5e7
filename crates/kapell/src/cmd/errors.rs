//! `errors`: what failed, by fingerprint: how often, first and last, and in which sessions.
//!
//! Renders [`telemetry::faults`]. Start at [`run`].

use super::work::leave;
use crate::app::{self, App};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::show::{clean, json_page, table::table};
use clap::Args;
use contract::SessionId;
use serde_json::{Value, json};
use telemetry::faults::Fingerprint;
use telemetry::read::Reader;

/// Sessions named in the table.
const NAMED: usize = 3;

/// What `errors` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only those that this session met
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Show at most so many, those that came last
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// Prints them; the exit code.
pub(crate) async fn run(app: &App, options: &Options) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let mut reader = Reader::default();
    let session = match &options.session {
        Some(name) => Some(pick::session(&*wired.store, name).await?),
        None => None,
    };
    let read = reader.refresh(&*wired.store).await;
    leave(wired).await;
    read?;
    let met = |one: &&Fingerprint| session.is_none_or(|id| one.sessions.contains(&id));
    let all: Vec<&Fingerprint> = reader.measures().faults().all().into_iter().filter(met).collect();
    let page = &all[..all.len().min(options.limit)];
    if app.global.json {
        let errors: Vec<Value> = page.iter().copied().map(value).collect();
        out::print(&json_page(&json!({"total": all.len(), "errors": errors})));
        return Ok(exit::OK);
    }
    if all.is_empty() {
        out::print("nothing has failed\n");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = page.iter().copied().map(row).collect();
    let width = app.term.stdout.then(|| app.term.width());
    out::print(&table(
        &["ERROR", "COUNT", "FIRST", "LAST", "KIND", "CODE", "SESSIONS", "WHAT"],
        &rows,
        width,
    ));
    if all.len() > page.len() {
        out::print(&format!("{} of {}; --limit shows more\n", page.len(), all.len()));
    }
    Ok(exit::OK)
}

fn value(one: &Fingerprint) -> Value {
    json!({
        "id": one.id, "kind": one.kind.name(), "code": one.code, "what": one.what, "count": one.count,
        "first": one.first.to_string(), "last": one.last.to_string(),
        "sessions": one.sessions.iter().map(SessionId::to_string).collect::<Vec<String>>(),
    })
}

fn row(one: &Fingerprint) -> Vec<String> {
    let mut sessions: Vec<String> = one.sessions.iter().rev().take(NAMED).map(|id| short(*id)).collect();
    if one.sessions.len() > NAMED {
        sessions.push("...".into());
    }
    vec![
        one.id.clone(),
        one.count.to_string(),
        one.first.to_string(),
        one.last.to_string(),
        one.kind.name().to_owned(),
        clean::line(&one.code),
        sessions.join(" "),
        clean::line(&one.what),
    ]
}
