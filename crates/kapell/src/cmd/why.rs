//! `why`: for every action who wanted it, why it won, and why the others waited.
//!
//! Renders the kernel's own explanation ([`kernel::view::why`]); adds only what the texts behind the digests say.
//! Start at [`run`].

use super::work::leave;
use crate::app::{self, App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::quantity::{clock, span};
use crate::show::{clean, describe, json_page};
use contract::action::Work;
use contract::event::{Disposal, Event};
use contract::intent::Source;
use contract::port::Clock as _;
use contract::{ActionId, SessionId, StreamId};
use kernel::view::{Chosen, Fate, Unchosen, Why};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The explanation, and what each action does in full.
struct Told {
    why: Why,
    works: BTreeMap<ActionId, Work>,
}

/// Explains; the exit code.
pub(crate) async fn run(app: &App, name: &str, action: Option<ActionId>) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let done = why(app, &wired, name, action).await;
    leave(wired).await;
    done
}

async fn why(app: &App, wired: &Wired, name: &str, action: Option<ActionId>) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let mut told = tell(wired, session).await?;
    if let Some(action) = action {
        told.why.actions.retain(|chosen| chosen.action == action);
        told.why.intents.clear();
        if told.why.actions.is_empty() {
            let hint = format!("kapell why {} shows all of them", short(session));
            let what = format!("there is no action {action} in this session");
            return Err(Failure::usage("no-action", what, hint));
        }
    }
    if app.global.json {
        let value = serde_json::to_value(&told.why).unwrap_or_default();
        out::print(&json_page(&value));
        return Ok(exit::OK);
    }
    if told.why.actions.is_empty() {
        out::print("Nothing was selected yet.\n");
    }
    for chosen in &told.why.actions {
        out::print(&text(wired, chosen, told.works.get(&chosen.action)).await);
    }
    if action.is_none() {
        out::print(&rest(&told.why));
    }
    Ok(exit::OK)
}

/// The explanation for programs; of one action, when it is named.
pub(super) async fn value(
    wired: &Wired,
    name: &str,
    action: Option<&str>,
) -> Result<serde_json::Value, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let mut told = tell(wired, session).await?;
    if let Some(action) = action {
        told.why.actions.retain(|chosen| chosen.action.to_string() == action);
        told.why.intents.clear();
    }
    Ok(serde_json::to_value(&told.why).unwrap_or_default())
}

/// The newest actions before this one, with how many there are in all, for programs.
pub(super) async fn page(
    wired: &Wired,
    session: SessionId,
    action: Option<ActionId>,
    before: Option<ActionId>,
    most: usize,
) -> Result<serde_json::Value, Failure> {
    let mut why = tell(wired, session).await?.why;
    let total = why.actions.len();
    if let Some(action) = action {
        why.actions.retain(|chosen| chosen.action == action);
        if why.actions.is_empty() {
            let hint = format!("kapell why {} shows all of them", short(session));
            let what = format!("there is no action {action} in this session");
            return Err(Failure::usage("no-action", what, hint));
        }
    }
    if let Some(at) = before.and_then(|before| why.actions.iter().position(|it| it.action == before)) {
        why.actions.truncate(at);
    }
    let older = why.actions.len().saturating_sub(most);
    why.actions.drain(..older);
    let mut value = serde_json::to_value(&why).unwrap_or_default();
    value["total"] = total.into();
    Ok(value)
}

/// The newest few, as text.
pub(crate) async fn newest(wired: &Wired, session: SessionId, most: usize) -> Result<String, Failure> {
    let told = tell(wired, session).await?;
    let mut out = String::new();
    for chosen in told.why.actions.iter().skip(told.why.actions.len().saturating_sub(most)) {
        out.push_str(&text(wired, chosen, told.works.get(&chosen.action)).await);
    }
    Ok(out)
}

async fn tell(wired: &Wired, session: SessionId) -> Result<Told, Failure> {
    let records = engine::store::records::<Event>(&*wired.store, StreamId::Session(session)).await?;
    let why = kernel::view::why(session, &records, crate::clock::System::default().now());
    let work = |event: Event| match event {
        Event::Started { action, work, .. } => Some((action, work)),
        _ => None,
    };
    Ok(Told { why, works: records.into_iter().filter_map(|record| work(record.event)).collect() })
}

/// One action as text. Writing into a String cannot fail, here and below.
async fn text(wired: &Wired, chosen: &Chosen, work: Option<&Work>) -> String {
    let mut out = format!("{} {} {}", chosen.action, clock(chosen.at), chosen.work);
    if let Some(work) = work {
        let _ = write!(out, ": {}", describe::work(&*wired.store, work).await);
    }
    if let Some(last) = chosen.attempts.last() {
        let _ = write!(out, "\n  class {}: {}", last.class.name(), clean::line(&last.class_why));
    }
    let _ = writeln!(
        out,
        "\n  wanted by {} ({}): {}",
        word(chosen.source),
        chosen.wish,
        clean::line(&chosen.why)
    );
    for other in &chosen.others {
        let _ = writeln!(out, "  not {} of {}: {}", other.wish, word(other.source), clean::line(&other.why));
    }
    for attempt in &chosen.attempts {
        let which =
            if chosen.attempts.len() > 1 { format!("attempt {} ", attempt.attempt) } else { String::new() };
        let approval =
            attempt.approval.as_ref().map(|id| format!(" (under approval {id})")).unwrap_or_default();
        let _ = match (&attempt.end, attempt.ended) {
            (Some(end), Some(at)) => {
                writeln!(
                    out,
                    "  {which}ended after {}: {}{approval}",
                    span(at.since(attempt.at)),
                    clean::line(end)
                )
            }
            _ => writeln!(out, "  {which}runs until {} at most{approval}", clock(attempt.deadline)),
        };
    }
    for then in &chosen.then {
        let _ = writeln!(out, "  then {}", clean::line(then));
    }
    out
}

/// What never became an action, and what the session waits for now.
fn rest(why: &Why) -> String {
    let mut out = String::new();
    for intent in &why.intents {
        let _ = writeln!(out, "{}", unchosen(intent));
    }
    for (at, what) in &why.garbled {
        let _ = writeln!(out, "{} refused from the inbox: {}", clock(*at), clean::line(what));
    }
    if let Some(waits) = &why.waits {
        let _ = writeln!(out, "now: {}", clean::line(&waits.what));
        if !waits.type_next.is_empty() {
            let _ = writeln!(out, "  type: {}", clean::line(&waits.type_next));
        }
    }
    if let Some(ended) = &why.ended {
        let _ = writeln!(out, "ended: {}", clean::line(ended));
    }
    out
}

fn unchosen(intent: &Unchosen) -> String {
    let fate = match &intent.fate {
        Fate::Waits(why) => format!("still waits: {}", clean::line(why)),
        Fate::Disposed { how, .. } => match how {
            Disposal::Applied => "took effect at once".to_owned(),
            Disposal::Merged => "was delivered together with another".to_owned(),
            Disposal::Superseded => "was superseded: another one did the same".to_owned(),
            Disposal::Expired => "expired before its turn came".to_owned(),
            Disposal::Refused(why) => format!("was refused: {}", clean::line(why)),
        },
    };
    format!("{} {} of {} {fate}", clock(intent.submitted), intent.wish, word(intent.source))
}

/// The stored name of a source.
fn word(source: Source) -> String {
    serde_json::to_value(source).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
