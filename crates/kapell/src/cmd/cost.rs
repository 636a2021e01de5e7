//! `cost`: what was spent, is reserved and is left, over the whole tree.
//!
//! Renders the ledger; the kernel keeps it. Start at [`run`].

use super::work::leave;
use crate::app::{self, App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::quantity::span;
use crate::show::{clean, headline, json_page, table::table};
use contract::journal::Journal;
use contract::money::usd;
use contract::{Amount, SessionId};
use kernel::ledger::Ledger;
use serde_json::{Value, json};

/// Characters of a goal.
const GOAL: usize = 60;

/// Shows what things cost; the exit code.
pub(crate) async fn run(app: &App, name: Option<&str>) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let done = match name {
        Some(name) => one(app, &wired, name).await,
        None => all(app, &wired).await,
    };
    leave(wired).await;
    done
}

async fn one(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let state = wired.engine.look(session).await?;
    let root = state.as_ref().map_or(session, kernel::Session::root);
    let ledger = wired.engine.ledger(root).await?;
    let mut rows = Vec::new();
    let mut open = vec![(0, session)];
    while let Some((depth, id)) = open.pop() {
        let Some(state) = wired.engine.look(id).await? else { continue };
        open.extend(state.children.keys().rev().map(|child| (depth + 1, *child)));
        rows.push((depth, id, state.used));
    }
    if app.global.json {
        let own: Vec<Value> = rows
            .iter()
            .map(|(_, id, used)| json!({"session_id": id.to_string(), "used": amount(*used)}))
            .collect();
        let mut value = figures(&ledger, session);
        value["root"] = root.to_string().into();
        value["frozen"] = ledger.frozen().into();
        value["sessions"] = own.into();
        out::print(&json_page(&value));
        return Ok(exit::OK);
    }
    let (settled, held, cap, left) =
        (ledger.settled(session), ledger.held(session), ledger.cap(session), ledger.left(session));
    let line = |name: &str, of: Amount| {
        vec![name.to_owned(), money(of.nanos), number(of.tokens), number(of.steps), time(of.time_ms)]
    };
    let lines = [line("spent", settled), line("reserved", held), line("cap", cap), line("left", left)];
    out::print(&table(&["", "MONEY", "TOKENS", "STEPS", "TIME"], &lines, None));
    if ledger.frozen() {
        out::print(&format!(
            "frozen: more was billed than reserved; kapell resume {} --add-usd 1 goes on\n",
            short(root)
        ));
    }
    if rows.len() > 1 {
        out::print("\neach session by itself:\n");
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|(depth, id, used)| {
                let name = format!("{}{}", "  ".repeat(*depth), short(*id));
                vec![name, money(used.nanos), number(used.tokens), number(used.steps), time(used.time_ms)]
            })
            .collect();
        out::print(&table(&["SESSION", "MONEY", "TOKENS", "STEPS", "TIME"], &cells, None));
    }
    Ok(exit::OK)
}

async fn all(app: &App, wired: &Wired) -> Result<u8, Failure> {
    let listed = wired.store.sessions(false).await?;
    let (mut sum, mut cells, mut values) = (Amount::ZERO, Vec::new(), Vec::new());
    for (listed, spec) in pick::roots(&*wired.store, &listed, usize::MAX).await? {
        let ledger = wired.engine.ledger(listed.session).await?;
        let spent = ledger.settled(listed.session);
        sum = sum.plus(spent);
        let goal = headline(&*wired.store, spec.goal).await;
        cells.push(vec![
            short(listed.session),
            money(spent.nanos),
            number(spent.tokens),
            number(spent.steps),
            clean::cut(&goal, GOAL),
        ]);
        values.push(figures(&ledger, listed.session));
    }
    if app.global.json {
        out::print(&json_page(&json!({"total": amount(sum), "sessions": values})));
        return Ok(exit::OK);
    }
    cells.push(vec![
        "total".to_owned(),
        money(sum.nanos),
        number(sum.tokens),
        number(sum.steps),
        String::new(),
    ]);
    out::print(&table(
        &["SESSION", "MONEY", "TOKENS", "STEPS", "GOAL"],
        &cells,
        app.term.stdout.then(|| app.term.width()),
    ));
    Ok(exit::OK)
}

fn figures(ledger: &Ledger, session: SessionId) -> Value {
    json!({
        "session_id": session.to_string(),
        "settled": amount(ledger.settled(session)),
        "held": amount(ledger.held(session)),
        "cap": amount(ledger.cap(session)),
        "left": amount(ledger.left(session)),
    })
}

/// Units by name; what has no limit is null.
fn amount(of: Amount) -> Value {
    let unit = |n: u64| (n != u64::MAX).then_some(n);
    json!({"nanos": unit(of.nanos), "tokens": unit(of.tokens), "steps": unit(of.steps), "time_ms": unit(of.time_ms)})
}

fn unless_unlimited(n: u64, words: impl FnOnce(u64) -> String) -> String {
    if n == u64::MAX { "no limit".to_owned() } else { words(n) }
}

fn money(nanos: u64) -> String {
    unless_unlimited(nanos, usd)
}

fn number(n: u64) -> String {
    unless_unlimited(n, |n| n.to_string())
}

fn time(ms: u64) -> String {
    unless_unlimited(ms, span)
}
