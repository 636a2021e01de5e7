//! `cost`: what was spent, is reserved and is left, over the whole tree.
//!
//! Renders the kernel's account ([`kernel::view::cost`]) and its ledgers. Start at [`run`].

use super::work::leave;
use super::{models, spend};
use crate::app::{self, App, Wired};
use crate::args::CostOptions;
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::quantity::span;
use crate::show::{clean, headline, json_page, table::table};
use contract::event::{Event, LedgerEvent};
use contract::journal::Journal;
use contract::money::usd;
use contract::{Amount, SessionId, StreamId};
use kernel::ledger::Ledger;
use kernel::view::{Cost, Part};
use providers::settings::Source;
use serde_json::{Value, json};

/// Characters of a goal.
const GOAL: usize = 60;

/// Shows what things cost; the exit code.
pub(crate) async fn run(app: &App, options: &CostOptions) -> Result<u8, Failure> {
    let Some(wired) = app.look()? else { return Err(app::no_sessions()) };
    let done = match (options.session.as_deref(), options.by) {
        (name, Some(by)) => spend::by(app, &wired, name, by).await,
        (Some(name), None) if options.cache => spend::cache(app, &wired, name).await,
        (Some(name), None) => one(app, &wired, name).await,
        (None, None) => all(app, &wired).await,
    };
    leave(wired).await;
    done
}

async fn one(app: &App, wired: &Wired, name: &str) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let root = wired.engine.look(session).await?.map_or(session, |state| state.root());
    let cost = account(wired, root).await?;
    if app.global.json {
        out::print(&json_page(&serde_json::to_value(&cost).unwrap_or_default()));
        return Ok(exit::OK);
    }
    let line = |name: &str, of: Amount| {
        vec![name.to_owned(), money(of.nanos), number(of.tokens), number(of.steps), time(of.time_ms)]
    };
    let left = cost.cap.minus(cost.total.settled.plus(cost.total.held));
    let left = unlimited_stays(cost.cap, left);
    let lines = [
        line("spent", cost.total.settled),
        line("reserved", cost.total.held),
        line("cap", cost.cap),
        line("left", left),
    ];
    out::print(&table(&["", "MONEY", "TOKENS", "STEPS", "TIME"], &lines, None));
    if cost.frozen {
        let hint = format!("kapell resume {} --add-usd 1", short(root));
        out::print(&format!("frozen: more was billed than reserved; {hint} goes on\n"));
    }
    let part = |part: &Part| {
        let of = part.settled;
        vec![
            clean::line(&part.name),
            part.calls.to_string(),
            money(of.nanos),
            number(of.tokens),
            number(of.steps),
        ]
    };
    for (title, parts) in [("MODEL", &cost.models), ("ACTION", &cost.kinds)] {
        let cells: Vec<Vec<String>> = parts.iter().map(part).collect();
        out::print(&format!("\n{}", table(&[title, "CALLS", "MONEY", "TOKENS", "STEPS"], &cells, None)));
    }
    if cost.sessions.len() > 1 {
        let cells: Vec<Vec<String>> = cost
            .sessions
            .iter()
            .map(|one| {
                let mark = if one.session == session { " *" } else { "" };
                let parent = one.parent.map(short).unwrap_or_default();
                let of = one.own.settled;
                vec![
                    format!("{}{mark}", short(one.session)),
                    parent,
                    money(of.nanos),
                    number(of.tokens),
                    number(of.steps),
                ]
            })
            .collect();
        out::print(&format!("\n{}", table(&["SESSION", "OF", "MONEY", "TOKENS", "STEPS"], &cells, None)));
    }
    Ok(exit::OK)
}

/// The account of one session's tree, or of every tree together, for programs.
pub(super) async fn value(wired: &Wired, name: Option<&str>) -> Result<Value, Failure> {
    let Some(name) = name else {
        let listed = wired.store.sessions(false).await?;
        let (mut sum, mut values) = (Amount::ZERO, Vec::new());
        for (listed, _) in pick::roots(&*wired.store, &listed, usize::MAX).await? {
            let ledger = wired.engine.ledger(listed.session).await?;
            sum = sum.plus(ledger.settled(listed.session));
            values.push(figures(&ledger, listed.session));
        }
        return Ok(json!({"total": amount(sum), "sessions": values}));
    };
    let session = pick::session(&*wired.store, name).await?;
    let root = wired.engine.look(session).await?.map_or(session, |state| state.root());
    Ok(serde_json::to_value(account(wired, root).await?).unwrap_or_default())
}

/// The whole tree's account: its ledger, and the events of everybody in it for what the money was for.
async fn account(wired: &Wired, root: SessionId) -> Result<Cost, Failure> {
    let ledger = engine::store::records::<LedgerEvent>(&*wired.store, StreamId::Tree(root)).await?;
    let mut sessions = vec![root];
    sessions.extend(ledger.iter().filter_map(|record| match &record.event {
        LedgerEvent::Admitted { session, .. } => Some(*session),
        _ => None,
    }));
    let mut events = Vec::with_capacity(sessions.len());
    for id in sessions {
        events.push((id, engine::store::records::<Event>(&*wired.store, StreamId::Session(id)).await?));
    }
    Ok(kernel::view::cost(&ledger, events.iter().map(|(id, records)| (*id, records.as_slice()))))
}

/// What has no cap has no rest either.
fn unlimited_stays(cap: Amount, left: Amount) -> Amount {
    let unit = |cap: u64, left: u64| if cap == u64::MAX { cap } else { left };
    Amount {
        nanos: unit(cap.nanos, left.nanos),
        tokens: unit(cap.tokens, left.tokens),
        steps: unit(cap.steps, left.steps),
        time_ms: unit(cap.time_ms, left.time_ms),
    }
}

/// Every tree with the caps of the project one stands in and who says what models cost, for programs.
pub(super) async fn overview(app: &App, wired: &Wired) -> Result<Value, Failure> {
    let mut value = value(wired, None).await?;
    value["project"] = spend::caps(app, wired).await?.into();
    value["prices"] = prices(app).iter().map(models::source).collect();
    Ok(value)
}

async fn all(app: &App, wired: &Wired) -> Result<u8, Failure> {
    let listed = wired.store.sessions(false).await?;
    if app.global.json {
        out::print(&json_page(&overview(app, wired).await?));
        return Ok(exit::OK);
    }
    let (mut sum, mut cells) = (Amount::ZERO, Vec::new());
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
    let prices: Vec<String> = prices(app).iter().map(models::told).collect();
    out::print(&format!("prices of new calls: what config.toml says, then {}\n", prices.join("; ")));
    if let Some(serde_json::Value::Object(spans)) = spend::caps(app, wired).await? {
        for (span, of) in &spans {
            let spent = |unit: &str| of[unit]["spent"].as_u64().unwrap_or(0);
            if let Some(cap) = of["nanos"]["cap"].as_u64() {
                out::print(&format!("this project, {span}: {} of {}\n", usd(spent("nanos")), usd(cap)));
            }
            if let Some(cap) = of["tokens"]["cap"].as_u64() {
                out::print(&format!("this project, {span}: {} of {cap} tokens\n", spent("tokens")));
            }
        }
    }
    Ok(exit::OK)
}

/// Who says what models cost now. A file of prices with a mistake is in nobody's way here: `models` tells it.
fn prices(app: &App) -> Vec<Source> {
    app.cards().map(|cards| cards.sources()).unwrap_or_default()
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
