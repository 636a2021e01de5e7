//! `why`: for every action who wanted it, why it won, and why the others waited.
//!
//! Renders what stands in the journal. Start at [`run`].

use super::work::leave;
use crate::app::{self, App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::quantity::{clock, span};
use crate::show::{clean, describe, json_page};
use contract::action::{EffectClass, Work};
use contract::event::{Event, Other};
use contract::intent::Source;
use contract::record::Record;
use contract::{ActionId, SessionId, StreamId, Timestamp};
use serde_json::{Value, json};

/// One selection and what came of it.
struct Choice {
    action: ActionId,
    at: Timestamp,
    source: Source,
    wish: String,
    why: String,
    others: Vec<Other>,
    started: Option<(Work, EffectClass, String)>,
    ends: Vec<(u32, String, u64)>,
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
    let mut choices = choices(wired, session).await?;
    if let Some(action) = action {
        choices.retain(|choice| choice.action == action);
        if choices.is_empty() {
            let hint = format!("kapell why {} shows all of them", short(session));
            return Err(Failure::usage(
                "no-action",
                format!("there is no action {action} in this session"),
                hint,
            ));
        }
    }
    if app.global.json {
        out::print(&json_page(&choices.iter().map(json).collect()));
        return Ok(exit::OK);
    }
    if choices.is_empty() {
        out::print("Nothing was selected yet.\n");
    }
    for choice in &choices {
        out::print(&text(wired, choice).await);
    }
    Ok(exit::OK)
}

/// The newest few, as text.
pub(crate) async fn newest(
    _app: &App,
    wired: &Wired,
    session: SessionId,
    most: usize,
) -> Result<String, Failure> {
    let choices = choices(wired, session).await?;
    let mut out = String::new();
    for choice in choices.iter().skip(choices.len().saturating_sub(most)) {
        out.push_str(&text(wired, choice).await);
    }
    Ok(out)
}

async fn choices(wired: &Wired, session: SessionId) -> Result<Vec<Choice>, Failure> {
    let records = engine::store::records::<Event>(&*wired.store, StreamId::Session(session)).await?;
    let mut choices: Vec<Choice> = Vec::new();
    for Record { at, event, .. } in records {
        match event {
            Event::Selected { action, source, wish, why, others, .. } => {
                choices.push(Choice {
                    action,
                    at,
                    source,
                    wish,
                    why,
                    others,
                    started: None,
                    ends: Vec::new(),
                });
            }
            Event::Started { action, work, class, why, .. } => {
                if let Some(choice) = choices.iter_mut().rfind(|choice| choice.action == action) {
                    choice.started = Some((work, class, why));
                }
            }
            Event::Finished { outcome } => {
                if let Some(choice) = choices.iter_mut().rfind(|choice| choice.action == outcome.action) {
                    let (_, how) = describe::end(&outcome.end);
                    choice.ends.push((outcome.attempt, how, at.since(choice.at)));
                }
            }
            _ => {}
        }
    }
    Ok(choices)
}

async fn text(wired: &Wired, choice: &Choice) -> String {
    let source = word(choice.source);
    let mut out = format!("{} {}", choice.action, clock(choice.at));
    if let Some((work, class, why)) = &choice.started {
        let what = describe::work(&*wired.store, work).await;
        out.push_str(&format!(" {}: {what}\n  class {}: {}", work.name(), class.name(), clean::line(why)));
    }
    out.push_str(&format!("\n  wanted by {source} ({}): {}\n", choice.wish, clean::line(&choice.why)));
    for other in &choice.others {
        out.push_str(&format!(
            "  not {} of {}: {}\n",
            other.wish,
            word(other.source),
            clean::line(&other.why)
        ));
    }
    for (attempt, how, took) in &choice.ends {
        let which = if choice.ends.len() > 1 { format!("attempt {attempt} ") } else { String::new() };
        out.push_str(&format!("  {which}ended after {}: {}\n", span(*took), clean::line(how)));
    }
    out
}

fn json(choice: &Choice) -> Value {
    let started = choice.started.as_ref();
    let others = choice.others.iter().map(|other| {
        json!({"source": word(other.source), "wish": other.wish, "why": other.why, "intent": other.intent.map(|id| id.to_string())})
    });
    json!({
        "action": choice.action.to_string(),
        "at": choice.at.to_string(),
        "source": word(choice.source),
        "wish": choice.wish,
        "why": choice.why,
        "work": started.map(|(work, ..)| work.name()),
        "class": started.map(|(_, class, _)| class.name()),
        "class_why": started.map(|(.., why)| why),
        "others": others.collect::<Vec<_>>(),
        "ends": choice.ends.iter().map(|(attempt, how, ms)| json!({"attempt": attempt, "how": how, "ms": ms})).collect::<Vec<_>>(),
    })
}

/// The stored name of a source.
fn word(source: Source) -> String {
    serde_json::to_value(source).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
