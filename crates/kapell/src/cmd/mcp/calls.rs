//! What the native tools do: the same few engine calls as the commands of the same names, answered as JSON.
//!
//! A session that a call lets go on is executed here, unless somebody else holds it. Start at [`call`].

use super::find;
use crate::app::{App, Wired};
use crate::args::RunOptions;
use crate::cmd::tell::{Taken, Told, tell};
use crate::cmd::{answer, approve, cost, rewind, run, sessions, why};
use crate::exit::Failure;
use crate::pick::{self, short};
use crate::repo;
use crate::show::asked::Asked;
use crate::show::{describe, headline};
use crate::tree::{Blocker, Need, Tree};
use contract::event::Event;
use contract::intent::{Source, Wish};
use contract::journal::Journal;
use contract::money::usd;
use contract::port::Clock as _;
use contract::{Digest, SessionId, StreamId};
use engine::{Attend, Order};
use kernel::fsm::Phase;
use mcp::{Asker, Call};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks for what other processes wrote.
const LOOK: Duration = Duration::from_millis(contract::limits::INBOX_POLL_MS);
/// Sessions on the board when nobody asks for all.
const NEWEST: usize = 30;
/// Nano-dollars in a dollar.
const NANOS: f64 = 1e9;

/// One call.
pub(super) async fn call(app: &App, wired: &Wired, call: Call, asker: &Asker) -> Result<Value, Failure> {
    match call {
        Call::Start(order) => start(app, wired, order, asker).await,
        Call::Status { session, wait_seconds } => {
            let session = pick::session(&*wired.store, &session).await?;
            let mut tree = Tree::open(&wired.engine, session).await?;
            waited(app, wired, &mut tree, wait_seconds, &[], asker).await?;
            status(app, wired, session, &tree).await
        }
        Call::Events { session, after, limit } => events(wired, &session, after, limit).await,
        Call::Answer { session, text } => answered(app, wired, &session, text).await,
        Call::Approve { session, approval, hash, yes } => {
            approved(app, wired, &session, &approval, &hash, yes).await
        }
        Call::Cancel { session } => {
            let session = pick::session(&*wired.store, &session).await?;
            told(session, "cancel", tell(app, wired, session, Wish::Cancel, Vec::new()).await?)
        }
        Call::Rewind { session, action } => {
            let action = action.parse().map_err(|_| {
                Failure::usage("no-action", format!("`{action}` is no action"), "name one such as 1.4")
            })?;
            let session = rewind::ready(wired, &session, action).await?;
            let wish = Wish::Rewind { to: action };
            told(session, "rewind", tell(app, wired, session, wish, Vec::new()).await?)
        }
        Call::Why { session, action } => why::value(wired, &session, action.as_deref()).await,
        Call::Cost { session } => cost::value(wired, session.as_deref()).await,
        Call::Plan { session } => plan(wired, &session).await,
        Call::Verdict { session } => verdict(wired, &session).await,
        Call::Board { all } => {
            let most = if all { usize::MAX } else { NEWEST };
            Ok(json!({"sessions": sessions::values(app, wired, most).await?}))
        }
        Call::Search { query, limit } => find::search(wired, &query, limit).await,
    }
}

async fn start(app: &App, wired: &Wired, order: mcp::Order, asker: &Asker) -> Result<Value, Failure> {
    let wait = order.wait_seconds;
    let (session, awaited) = match &order.session {
        None => (open(app, wired, order).await?, Vec::new()),
        Some(name) => {
            let session = pick::session(&*wired.store, name).await?;
            go_on(app, wired, session, &order).await?
        }
    };
    let mut tree = Tree::open(&wired.engine, session).await?;
    waited(app, wired, &mut tree, wait, &awaited, asker).await?;
    status(app, wired, session, &tree).await
}

async fn open(app: &App, wired: &Wired, order: mcp::Order) -> Result<SessionId, Failure> {
    let goal = order.goal.unwrap_or_default();
    let top = repo::find_text(&app.cwd)?;
    let nanos = order.budget_usd.map(|usd| (usd * NANOS).ceil() as u64);
    let options = RunOptions {
        model: order.model,
        max_budget_usd: nanos,
        no_land: order.land == Some(false),
        check: order.checks,
        ..RunOptions::default()
    };
    let spec = run::ordered(app, &goal, top, options).await?;
    app.declare_caps(wired, &spec.repo).await?;
    Ok(wired.engine.open(spec, vec![goal.into_bytes()]).await?)
}

/// Lets a session go on, with a message if there is one; the keys of what it has yet to hear.
async fn go_on(
    app: &App,
    wired: &Wired,
    session: SessionId,
    order: &mcp::Order,
) -> Result<(SessionId, Vec<String>), Failure> {
    if order.model.is_some() || order.land.is_some() || !order.checks.is_empty() || order.budget_usd.is_some()
    {
        let hint = "leave them out, or start a new session without `session`";
        return Err(Failure::usage("session-set", "model, checks, land and budget of a session stay", hint));
    }
    let state = wired.engine.look(session).await?.filter(|state| state.phase != Phase::Ended);
    let Some(state) = state else {
        let what = format!("session {} is over; nothing can be added to it", short(session));
        return Err(Failure::usage("session-over", what, "start a new one: session_start with a goal"));
    };
    let (wish, blobs) = match &order.goal {
        None => (Wish::Resume { model: None }, Vec::new()),
        Some(text) => {
            let repo = state.spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
            app.secrets.refuse("message", text, Path::new(&repo))?;
            let wish = Wish::Message { text: Digest::of(text.as_bytes()), bytes: text.len() as u64 };
            (wish, vec![text.clone().into_bytes()])
        }
    };
    let key = format!("mcp/{:032x}", app.clock.random());
    let order = engine_order(session, wish, key.clone(), blobs);
    wired.engine.submit(order).await?;
    // Who holds it goes on by itself.
    let _held = wired.engine.attend(state.root(), Attend::GoOn).await?;
    Ok((session, vec![key]))
}

fn engine_order(session: SessionId, wish: Wish, key: String, blobs: Vec<Vec<u8>>) -> Order {
    Order { session, source: Source::User, wish, key: Some(key), ttl_ms: None, blobs }
}

/// Waits until the tree rests or the time is over, and tells what happens meanwhile.
async fn waited(
    app: &App,
    wired: &Wired,
    tree: &mut Tree,
    seconds: u64,
    awaited: &[String],
    asker: &Asker,
) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut seen, mut awaited) = (0, awaited.to_vec());
    while Instant::now() < until {
        let changed = wired.engine.journal().changed();
        for happened in tree.news().await? {
            seen += 1;
            match &happened.record.event {
                Event::Submitted { intent } => awaited.retain(|key| *key != intent.key),
                Event::Started { work, .. } => {
                    (asker.progress)(seen, describe::work(&*wired.store, work).await);
                }
                _ => {}
            }
        }
        // Of what was asked for and is not on record yet, rest says nothing.
        if awaited.is_empty() && tree.idle(app.now()) {
            break;
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    tree.news().await?;
    Ok(())
}

async fn status(app: &App, wired: &Wired, session: SessionId, tree: &Tree) -> Result<Value, Failure> {
    let mut value = sessions::value(app, wired, session).await?;
    let mut asked = Vec::new();
    for blocker in tree.blockers(app.now()) {
        if let Some(state) = tree.get(blocker.session) {
            asked.extend(Asked::of(&*wired.store, state, &blocker).await.iter().map(Asked::json));
        }
    }
    value["waiting"] = asked.into();
    if let Some(nanos) = value["cost_nanos"].as_u64() {
        value["cost"] = usd(nanos).into();
    }
    Ok(value)
}

async fn events(wired: &Wired, name: &str, after: u64, limit: usize) -> Result<Value, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let mut page = wired.store.read(StreamId::Session(session), after, limit + 1).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().map_or(after, |stored| stored.seq);
    let events: Vec<Value> =
        page.iter().map(|stored| serde_json::from_slice(&stored.bytes).unwrap_or_default()).collect();
    Ok(json!({"session_id": session.to_string(), "events": events, "next": next, "more": more}))
}

async fn answered(app: &App, wired: &Wired, name: &str, text: String) -> Result<Value, Failure> {
    let named = pick::session(&*wired.store, name).await?;
    let tree = Tree::open(&wired.engine, named).await?;
    let (session, question) = answer::find(&tree, named)?;
    app.secrets.refuse("answer", &text, &app.cwd)?;
    let wish = Wish::Answer { question, text: Digest::of(text.as_bytes()), bytes: text.len() as u64 };
    let said = tell(app, wired, session, wish, vec![text.into_bytes()]).await?;
    follow_up(wired, &tree, &said).await?;
    told(session, "answer", said)
}

/// The hash binds the yes to what the client was shown: of anything else it is none.
async fn approved(
    app: &App,
    wired: &Wired,
    name: &str,
    approval: &str,
    hash: &str,
    yes: bool,
) -> Result<Value, Failure> {
    let named = pick::session(&*wired.store, name).await?;
    let tree = Tree::open(&wired.engine, named).await?;
    let (session, approval) = approve::find(&tree, named, Some(approval))?;
    let blocker = Blocker { session, kind: Need::Approval(approval.clone()) };
    let asked = match tree.get(session) {
        Some(state) => Asked::of(&*wired.store, state, &blocker).await,
        None => None,
    };
    let shown = asked.and_then(|asked| asked.hash);
    let Some(shown) = shown.filter(|shown| shown.to_string() == hash) else {
        let what = format!("approval {approval} is about something else than what has this hash");
        return Err(Failure::usage(
            "other-hash",
            what,
            "look again with session_status, and show it to the user",
        ));
    };
    let wish = match yes {
        true => Wish::Approve { approval, hash: shown },
        false => Wish::Deny { approval },
    };
    let verb = wish.name();
    let said = tell(app, wired, session, wish, Vec::new()).await?;
    follow_up(wired, &tree, &said).await?;
    told(session, verb, said)
}

/// After an answer the session goes on: here, where nobody else has it. Who had it and did not take the answer may have
/// been a process on its way out, whose programs keep the lock a moment longer than it lived.
async fn follow_up(wired: &Wired, tree: &Tree, said: &Told) -> Result<(), Failure> {
    let nobody = said.holder.is_none() || matches!(said.taken, Taken::Waiting);
    if nobody && !matches!(said.taken, Taken::Refused(_)) {
        let _held = wired.engine.attend(tree.root().root(), Attend::GoOn).await?;
    }
    Ok(())
}

fn told(session: SessionId, verb: &str, told: Told) -> Result<Value, Failure> {
    let taken = match told.taken {
        Taken::Applied => "applied",
        Taken::Queued => "queued",
        Taken::Waiting => "waiting",
        Taken::Refused(why) => {
            let hint = "session_status tells how it stands";
            return Err(Failure::failed("refused", format!("{verb} was refused: {why}"), hint));
        }
    };
    Ok(json!({"session_id": session.to_string(), "taken": taken, "holder": told.holder}))
}

async fn plan(wired: &Wired, name: &str) -> Result<Value, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let state = wired.engine.look(session).await?.unwrap_or_else(|| kernel::Session::new(session));
    let todo = sessions::todo(&*wired.store, &state).await;
    let mut tasks = Vec::new();
    for (task, at) in &state.plan.tasks {
        let mut value = serde_json::to_value(task).unwrap_or_default();
        value["state"] = serde_json::to_value(at).unwrap_or_default();
        tasks.push(value);
    }
    let goal = match &state.spec {
        Some(spec) => headline(&*wired.store, spec.goal).await,
        None => String::new(),
    };
    Ok(json!({
        "session_id": session.to_string(),
        "goal": goal,
        "stage": state.stage().map(|stage| &stage.name),
        "round": state.round,
        "todo": todo.iter().map(|(state, text)| json!({"state": state, "text": text})).collect::<Vec<_>>(),
        "tasks": tasks,
    }))
}

async fn verdict(wired: &Wired, name: &str) -> Result<Value, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let state = wired.engine.look(session).await?.unwrap_or_else(|| kernel::Session::new(session));
    let judged = state.verdict.as_ref();
    let checks = state.prepared.as_ref().map(|prepared| &prepared.checks);
    Ok(json!({
        "session_id": session.to_string(),
        "verdict": judged.map(|judged| judged.verdict.name()),
        "reasons": judged.map(|judged| judged.reasons.clone()).unwrap_or_default(),
        "checks": checks.map(|checks| serde_json::to_value(checks).unwrap_or_default()).unwrap_or_else(|| json!([])),
        "result": judged.map(|judged| &judged.result),
        "flags": state.flags.iter().map(|flag| json!({"path": flag.path, "what": flag.what})).collect::<Vec<_>>(),
        "landed": state.landed,
        "left_on": state.left_on,
    }))
}
