//! `sessions transcript`: who said what, from the first word to the last, each call with its result.
//!
//! Renders the kernel's view ([`kernel::view::transcript`]) with the texts behind its digests. Start at [`run`].

use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick;
use crate::quantity::clock;
use crate::show::{self, clean, json_page};
use contract::action::Role;
use contract::event::{Event, Notice};
use contract::{CallId, Digest, SessionId, StreamId};
use kernel::Session;
use kernel::view::{Entry, Made};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Bytes of one text that are shown; the rest is in `events --export`.
const SHOWN: usize = 4 * 1024;

/// Prints the conversation; the exit code.
pub(super) async fn run(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let records = engine::store::records::<Event>(&*wired.store, StreamId::Session(session)).await?;
    let entries = kernel::view::transcript(&records);
    if app.global.json {
        out::print(&json_page(&serde_json::to_value(&entries).unwrap_or_default()));
        return Ok(exit::OK);
    }
    let state = wired.engine.look(session).await?;
    let hidden = state.as_ref().map(hidden).unwrap_or_default();
    for entry in &entries {
        out::print(&text(wired, entry, &hidden).await);
    }
    if let Some(state) = state.filter(|_| !hidden.is_empty()) {
        let id = pick::short(session);
        out::print(&format!(
            "marked * and a number: not shown to the model any more; kapell uncompact {id} NUMBER shows it again\n{}\n",
            size(&state)
        ));
    }
    Ok(exit::OK)
}

/// The newest entries before this event, for programs.
pub(super) async fn value(
    wired: &Wired,
    session: SessionId,
    before: Option<u64>,
    most: usize,
) -> Result<serde_json::Value, Failure> {
    let records = engine::store::records::<Event>(&*wired.store, StreamId::Session(session)).await?;
    let mut entries = kernel::view::transcript(&records);
    entries.retain(|entry| before.is_none_or(|before| entry.seq < before));
    let older = entries.len().saturating_sub(most);
    let next = entries.get(older).filter(|_| older > 0).map(|entry| entry.seq.to_string());
    let mut value = serde_json::json!({"items": entries.split_off(older)});
    if let Some(next) = next {
        value["next"] = next.into();
    }
    Ok(value)
}

/// How large the conversation is, and how well that is known.
pub(super) fn size(state: &Session) -> String {
    let (gauge, cap) = (state.gauge(), state.cap());
    let known = match (gauge.replies, gauge.prompt_tokens) {
        (0 | 1, _) => "an estimate, nothing reported yet".to_owned(),
        (_, Some(_)) => format!("counted; off by {} % from what was reported", tenths(gauge.off_permille)),
        (n, None) => {
            format!("estimates were off by {} % from what {n} replies reported", tenths(gauge.off_permille))
        }
    };
    let cap = if cap == u64::MAX { "unknown".to_owned() } else { cap.to_string() };
    format!("about {} tokens of {cap}; {known}", state.request_tokens())
}

fn tenths(permille: u64) -> String {
    format!("{}.{}", permille / 10, permille % 10)
}

/// Entries that the model is not shown any more: results by their call, the rest by its text.
fn hidden(state: &Session) -> Hidden {
    let mut hidden = Hidden::default();
    for item in state.items.iter().filter(|item| item.left.is_some()).chain(&state.evicted) {
        match (&item.call, item.text) {
            (Some(call), _) => drop(hidden.calls.insert(call.clone(), item.no)),
            (None, Some(text)) => drop(hidden.texts.insert(text, item.no)),
            (None, None) => {}
        }
    }
    hidden
}

#[derive(Default)]
struct Hidden {
    calls: BTreeMap<CallId, u64>,
    texts: BTreeMap<Digest, u64>,
}

impl Hidden {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.texts.is_empty()
    }
}

fn mark(no: Option<&u64>) -> String {
    no.map(|no| format!(" *{no}")).unwrap_or_default()
}

/// One contribution. Writing into a String cannot fail.
async fn text(wired: &Wired, entry: &Entry, hidden: &Hidden) -> String {
    let who = match entry.role {
        Role::User => "you",
        Role::Notice => "kapell",
        Role::Assistant | Role::Tool => "agent",
    };
    let action = entry.action.map(|action| format!(" {action}")).unwrap_or_default();
    let no = entry.text.and_then(|text| hidden.texts.get(&text));
    let mut out = format!("{}{action} {who}{}\n", clock(entry.at), mark(no));
    if let Some(partial) = &entry.partial {
        let why = clean::line(&partial.why);
        let _ =
            writeln!(out, "  [partial: attempt {} broke off ({why}); it was asked again]", partial.attempt);
    }
    if let Some(digest) = entry.text {
        out.push_str(&indented(&blob(wired, digest).await, "  "));
    }
    if let Some(notice) = &entry.notice {
        out.push_str(&indented(&told(notice), "  "));
    }
    for made in &entry.calls {
        out.push_str(&call(wired, made, hidden).await);
    }
    out
}

async fn call(wired: &Wired, made: &Made, hidden: &Hidden) -> String {
    let mut out =
        format!("  -> {} {}\n", clean::line(&made.tool), clean::line(&blob(wired, made.args).await));
    match &made.outcome {
        None => out.push_str("  <- nothing yet\n"),
        Some(outcome) => {
            let exit = outcome.exit.map(|code| format!(", exit {code}")).unwrap_or_default();
            let mark = mark(hidden.calls.get(&made.call));
            let _ = writeln!(out, "  <- {}{exit}{mark}", if outcome.ok { "ok" } else { "error" });
            if let Some(digest) = outcome.text {
                out.push_str(&indented(&blob(wired, digest).await, "     "));
            }
            if let Some(notice) = &outcome.notice {
                out.push_str(&indented(&told(notice), "     "));
            }
        }
    }
    out
}

/// A notice by its facts; the agent gets it worded.
fn told(notice: &Notice) -> String {
    match notice {
        Notice::Hook { event, .. } => format!("a hook ({}) said this", event.name()),
        Notice::Told { what } => what.clone(),
        Notice::Compacted { summary } => format!(
            "[from here on this stands for {} earlier entries, {} calls among them]",
            summary.entries,
            summary.acts.len() as u64 + summary.more
        ),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

async fn blob(wired: &Wired, digest: Digest) -> String {
    match show::text(&*wired.store, digest).await {
        Ok(text) => text,
        Err(fault) => format!("[{}]", fault.what),
    }
}

fn indented(text: &str, by: &str) -> String {
    let end = text.floor_char_boundary(SHOWN);
    let mut out: String = clean::text(&text[..end]).lines().map(|line| format!("{by}{line}\n")).collect();
    if end < text.len() {
        let _ = writeln!(out, "{by}[{} bytes more]", text.len() - end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character_and_say_so() {
        let text = "é".repeat(SHOWN);
        let shown = indented(&text, "  ");
        assert!(shown.ends_with(&format!("[{} bytes more]\n", SHOWN)), "{}", &shown[shown.len() - 40..]);
        assert_eq!(indented("a\nb\u{1b}[31m", "> "), "> a\n> b\n");
    }
}
