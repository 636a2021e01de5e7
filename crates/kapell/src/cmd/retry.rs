//! `models --retry`: a person says that a provider is well again; whoever waits for it tries it now.
//!
//! What was learned of its limits stays, and what is declared. Start at [`run`].

use super::models::{Held, chosen, held};
use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::show::json_page;
use contract::SessionId;
use contract::intent::{Source, Wish};
use contract::journal::Journal;
use contract::port::Clock;
use engine::{Order, keys};
use kernel::Session;
use serde_json::json;

/// Lifts what holds up the calls to this provider; the exit code.
pub(crate) async fn run(app: &App, provider: &str) -> Result<u8, Failure> {
    let wired = app.wire()?;
    let done = retry(app, &wired, provider).await;
    leave(wired).await;
    done
}

async fn retry(app: &App, wired: &Wired, provider: &str) -> Result<u8, Failure> {
    let lines = chosen(&wired.models, Some(provider))?;
    let Some(line) = lines.get(provider) else { return Ok(exit::OK) };
    let (key, now) = (line.provider.quota(), app.now());
    let before = held(&*wired.store, &key, now).await?;
    let called = keys::lift(&*wired.store, &key, now).await?;
    let after = held(&*wired.store, &key, now).await?;
    let waiting = waiting(wired, &key, app).await?;
    for session in &waiting {
        let key = Some(format!("retry/{:032x}", app.clock.random()));
        let (wish, blobs) = (Wish::Continue, Vec::new());
        let order = Order { session: *session, source: Source::User, wish, key, ttl_ms: None, blobs };
        wired.engine.submit(order).await?;
    }
    if app.global.json {
        let told: Vec<String> = waiting.iter().map(ToString::to_string).collect();
        let (before, after) = (before.as_ref().map(Held::json), after.as_ref().map(Held::json));
        out::print(&json_page(&json!({"provider": provider, "held": before, "left": after, "told": told})));
        return Ok(exit::OK);
    }
    let was = match before {
        None if !called => format!("{provider}: nobody has called it with this key yet"),
        None => format!("{provider}: nothing held its calls up"),
        Some(held) => format!("{provider}: lifted: {}", held.what()),
    };
    let still =
        after.map_or_else(String::new, |held| format!("\nwhat is declared still holds: {}", held.what()));
    let told = match waiting.len() {
        0 => String::new(),
        1 => "\n1 session that waited tries it now".to_owned(),
        n => format!("\n{n} sessions that waited try it now"),
    };
    out::print(&format!("{was}{still}{told}\n"));
    Ok(exit::OK)
}

/// Sessions that wait for a call under this key.
async fn waiting(wired: &Wired, key: &str, app: &App) -> Result<Vec<SessionId>, Failure> {
    let waits = |state: &Session| {
        let own = state.model.as_ref().and_then(|model| model.quota.as_ref());
        let now = app.now();
        own.is_some_and(|quota| quota.name == key)
            && (state.held_up(now).is_some() || state.not_before(now).is_some())
    };
    let mut found = Vec::new();
    for listed in wired.store.sessions(true).await? {
        if wired.engine.look(listed.session).await?.as_ref().is_some_and(waits) {
            found.push(listed.session);
        }
    }
    Ok(found)
}
