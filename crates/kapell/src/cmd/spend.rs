//! `cost --by` and `cost --cache`: model calls added up, what made a provider's cache useless, and the project's caps.
//!
//! Renders the kernel's view of calls ([`kernel::view::calls`]). Start at [`by`], [`cache`] and [`caps`].

use crate::app::{App, Wired};
use crate::args::By;
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::quantity::span;
use crate::repo;
use crate::show::{clean, json_page, table::table};
use contract::event::{Event, LedgerEvent};
use contract::journal::Journal;
use contract::money::usd;
use contract::{SessionId, StreamId};
use kernel::project::Span;
use kernel::view::{Axis, Break, ModelCall, Sum};
use serde_json::json;

/// Every model call of one tree, or of all of them, added up.
pub(crate) async fn by(app: &App, wired: &Wired, name: Option<&str>, by: By) -> Result<u8, Failure> {
    let mut calls = Vec::new();
    for root in roots(wired, name).await? {
        let tree = tree(wired, root).await?;
        calls.extend(tree.into_iter().map(|mut call| {
            if by == By::Session {
                call.session = root;
            }
            // Names of a plan's tasks say nothing outside of it; those of the loop have a place.
            if name.is_none() && !call.task.is_empty() && !call.task.contains('/') {
                call.task = format!("{}/{}", short(root), call.task);
            }
            call
        }));
    }
    let axis = match by {
        By::Session | By::Child => Axis::Session,
        By::Model => Axis::Model,
        By::Provider => Axis::Provider,
        By::Mode => Axis::Mode,
        By::Day => Axis::Day,
        By::Task => Axis::Task,
    };
    let sums = kernel::view::sums(&calls, axis);
    if app.global.json {
        out::print(&json_page(&json!({"sums": sums, "calls": calls})));
        return Ok(exit::OK);
    }
    let cells: Vec<Vec<String>> = sums.iter().map(|sum| cells(sum, axis)).collect();
    let title = format!("{by:?}").to_uppercase();
    let heads = [&title, "CALLS", "MONEY", "INPUT", "OUTPUT", "READ", "WRITTEN", "SAVED", "MEAN", "SLOWEST"];
    out::print(&table(&heads, &cells, None));
    let estimated: u64 = sums.iter().map(|sum| sum.estimated).sum();
    if estimated > 0 {
        out::print(&format!("{estimated} call(s) at an upper bound: their provider told no figures\n"));
    }
    Ok(exit::OK)
}

fn cells(sum: &Sum, axis: Axis) -> Vec<String> {
    let name = match sum.name.parse::<SessionId>() {
        Ok(id) if axis == Axis::Session => short(id),
        _ => clean::line(&sum.name),
    };
    let money = format!("{}{}", if sum.estimated > 0 { "<" } else { "" }, usd(sum.nanos));
    let tokens = [sum.input, sum.output, sum.cache_read, sum.cache_write].map(|n| n.to_string());
    let mut cells = vec![name, sum.calls.to_string(), money];
    cells.extend(tokens);
    cells.extend([signed(sum.saved), span(sum.ms / sum.calls.max(1)), span(sum.slowest_ms)]);
    cells
}

fn signed(nanos: i64) -> String {
    format!("{}{}", if nanos < 0 { "-" } else { "" }, usd(nanos.unsigned_abs()))
}

/// What made the provider's cache useless, call by call.
pub(crate) async fn cache(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let found = calls(wired, session).await?;
    if app.global.json {
        out::print(&json_page(&found.json(session)));
        return Ok(exit::OK);
    }
    for one in &found.breaks {
        out::print(&format!("{}\n", told(one)));
    }
    if found.breaks.is_empty() {
        out::print("every call began as the one before: nothing broke the provider's cache\n");
    }
    out::print(&format!("saved by the provider's cache: {}\n", signed(found.saved)));
    Ok(exit::OK)
}

/// The model calls of one session, and what they did to the provider's cache.
pub(crate) struct Calls {
    calls: Vec<ModelCall>,
    breaks: Vec<Break>,
    saved: i64,
}

impl Calls {
    /// For programs.
    pub(crate) fn json(&self, session: SessionId) -> serde_json::Value {
        let Self { calls, breaks, saved } = self;
        json!({"session_id": session.to_string(), "saved": saved, "breaks": breaks, "calls": calls})
    }
}

/// Reads them.
pub(crate) async fn calls(wired: &Wired, session: SessionId) -> Result<Calls, Failure> {
    let root = wired.engine.look(session).await?.map_or(session, |state| state.root());
    let calls: Vec<ModelCall> =
        tree(wired, root).await?.into_iter().filter(|call| call.session == session).collect();
    let breaks = kernel::view::breaks(&calls);
    let saved = calls.iter().map(|call| call.saved).fold(0, i64::saturating_add);
    Ok(Calls { calls, breaks, saved })
}

fn told(one: &Break) -> String {
    let Break { before, action, message, from, speaker, why } = one;
    let place = match (message, from) {
        (0, _) => "from the first message on".to_owned(),
        (message, from) if from == message => format!("from message {message} ({speaker}) on"),
        (message, from) => format!("from one of the messages {from} to {message} on"),
    };
    format!("{action} was read anew {place}, unlike {before}: {why}")
}

async fn roots(wired: &Wired, name: Option<&str>) -> Result<Vec<SessionId>, Failure> {
    if let Some(name) = name {
        let session = pick::session(&*wired.store, name).await?;
        return Ok(vec![wired.engine.look(session).await?.map_or(session, |state| state.root())]);
    }
    let listed = wired.store.sessions(false).await?;
    let roots = pick::roots(&*wired.store, &listed, usize::MAX).await?;
    Ok(roots.into_iter().map(|(listed, _)| listed.session).collect())
}

/// Every model call of a tree.
async fn tree(wired: &Wired, root: SessionId) -> Result<Vec<ModelCall>, Failure> {
    let ledger = engine::store::records::<LedgerEvent>(&*wired.store, StreamId::Tree(root)).await?;
    let children = ledger.iter().filter_map(|record| match &record.event {
        LedgerEvent::Admitted { session, .. } => Some(*session),
        _ => None,
    });
    let mut calls = Vec::new();
    for id in std::iter::once(root).chain(children.collect::<Vec<_>>()) {
        let events = engine::store::records::<Event>(&*wired.store, StreamId::Session(id)).await?;
        calls.extend(kernel::view::calls(id, &events, &ledger));
    }
    Ok(calls)
}

/// What the sessions on the project one stands in have spent under its caps; `None` = there are none.
pub(crate) async fn caps(app: &App, wired: &Wired) -> Result<Option<serde_json::Value>, Failure> {
    let Ok(repo) = repo::find_text(&app.cwd) else { return Ok(None) };
    let project = engine::caps::project(&*wired.store, &repo).await?;
    if !project.capped() {
        return Ok(None);
    }
    let mut spans = serde_json::Map::new();
    for span in Span::ALL {
        let (cap, (held, spent)) = (span.cap(project.caps()), project.used(span, app.now()));
        let unit = |n: u64| (n != u64::MAX).then_some(n);
        let of = json!({
            "nanos": {"spent": spent.nanos, "reserved": held.nanos, "cap": unit(cap.nanos)},
            "tokens": {"spent": spent.tokens, "reserved": held.tokens, "cap": unit(cap.tokens)},
        });
        spans.insert(span.name().to_owned(), of);
    }
    Ok(Some(serde_json::Value::Object(spans)))
}
