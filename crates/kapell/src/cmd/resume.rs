//! `resume`, `-c` and `-r`: go on with a session, or follow it when a living process has it.
//!
//! Start at [`run`].

use super::run::{OWN_MODEL, told};
use super::work::{Start, Work, leave};
use crate::app::{App, Wired};
use crate::args::{Format, ResumeOptions, joined};
use crate::exit::{self, Failure};
use crate::pick::{self, short};
use crate::show::result::Summary;
use crate::signals::Signals;
use crate::tree::Tree;
use crate::{out, repo, words};
use contract::intent::{Source, Wish};
use contract::journal::Journal;
use contract::model::Models;
use contract::money::usd;
use contract::port::Clock;
use contract::session::Ask;
use contract::{Digest, Fault, SessionId};
use engine::{Attend, Order};
use kernel::Session;
use kernel::fsm::Phase;
use std::path::Path;
use std::time::Duration;

/// Goes on with a session, or with all that can; the exit code.
pub(crate) async fn run(app: &App, options: ResumeOptions) -> Result<u8, Failure> {
    let output = options.output.clone();
    let work = Work::new(app, &output)?;
    let done =
        if options.all { everything(app, &work, &options).await } else { one(app, &work, &options).await };
    done.map_err(|failure| told(work.format, failure))
}

async fn one(app: &App, work: &Work<'_>, options: &ResumeOptions) -> Result<u8, Failure> {
    let mut signals = Work::signals()?;
    let message = match joined(&options.message) {
        None => None,
        words => Some(words::read(words, "message", std::io::stdin())?),
    };
    let wired = app.wire_to_work(&app.config(None)?)?;
    let session = match &options.session {
        Some(name) => pick::session(&*wired.store, name).await,
        None => newest(app, &wired).await,
    };
    let summary = match session {
        Ok(session) => go_on(app, work, &wired, session, options, message, &mut signals).await,
        Err(failure) => Err(failure),
    };
    leave(wired).await;
    let summary = summary?;
    work.write(&summary)?;
    Ok(summary.code)
}

/// The newest unfinished session of the repository one stands in; of all, when one stands in none.
async fn newest(app: &App, wired: &Wired) -> Result<SessionId, Failure> {
    let here = repo::find_text(&app.cwd).ok();
    let unfinished = wired.store.sessions(true).await?;
    let roots = pick::roots(&*wired.store, &unfinished, usize::MAX).await?;
    let fits = |repo: &str| here.as_deref().is_none_or(|here| here == repo);
    let found = roots.iter().find(|(_, spec)| fits(&spec.repo)).map(|(listed, _)| listed.session);
    found.ok_or_else(|| {
        let place = if here.is_some() { " for this repository" } else { "" };
        let hint = "kapell sessions shows all; kapell run \"your goal\" starts one";
        Failure::usage("no-session", format!("there is no unfinished session{place}"), hint)
    })
}

async fn go_on(
    app: &App,
    work: &Work<'_>,
    wired: &Wired,
    session: SessionId,
    options: &ResumeOptions,
    message: Option<String>,
    signals: &mut Signals,
) -> Result<Summary, Failure> {
    let state = look(wired, session).await?;
    if state.phase == Phase::Ended {
        return Err(over(&state));
    }
    if let Some(id) = &options.model {
        wired.models.look(id).await;
    }
    let orders = orders(app, &*wired.models, &state, options, message)?;
    declare_caps(app, wired, &state).await?;
    // Read before anything is asked for, so that nothing of what follows is missed.
    let tree = Tree::open(&wired.engine, state.root()).await?;
    let awaited = orders.iter().filter_map(|order| Some((order.key.clone()?, order.session))).collect();
    for order in orders {
        wired.engine.submit(order).await?;
    }
    let mut notes: Vec<String> = expected(&state, options.model.as_deref()).into_iter().collect();
    let held = wired.engine.attend(tree.root, Attend::GoOn).await?;
    if let Err(lease) = &held {
        notes.push(format!("{} runs this session already ({}); following it", lease.owner, short(tree.root)));
    }
    let timeout = options.timeout.map(Duration::from_millis);
    work.follow(wired, Start { tree, ours: held.is_ok(), awaited, notes, timeout }, signals).await
}

/// What the next call sends and what that costs, before it does: after a pause a provider has rarely kept anything.
fn expected(state: &Session, model: Option<&str>) -> Option<String> {
    let next = state.next_call().filter(|_| model.is_none())?;
    let money =
        next.nanos.map_or_else(|| "at an unknown price".to_owned(), |nanos| format!("up to {}", usd(nanos)));
    Some(format!(
        "the next call sends about {} tokens of conversation: {money} if the provider has kept nothing of it",
        next.tokens
    ))
}

/// What the person's configuration says now holds from here on.
async fn declare_caps(app: &App, wired: &Wired, state: &Session) -> Result<(), Failure> {
    match &state.spec {
        Some(spec) => app.declare_caps(wired, &spec.repo).await,
        None => Ok(()),
    }
}

async fn look(wired: &Wired, session: SessionId) -> Result<Session, Failure> {
    let state = wired.engine.look(session).await?;
    state.ok_or_else(|| {
        Failure::usage("no-session", format!("there is no session {session}"), "kapell sessions")
    })
}

fn over(state: &Session) -> Failure {
    let id = short(state.id);
    let how = state.end.as_ref().map_or("ended", |end| end.state.name());
    let hint = format!(
        "kapell run \"your goal\" starts a new one; kapell diff {id} and kapell why {id} show this one"
    );
    Failure::usage("session-over", format!("session {id} is over ({how}); nothing can be added to it"), hint)
}

/// What is asked for, in the order in which it should be heard.
fn orders(
    app: &App,
    models: &dyn Models,
    state: &Session,
    options: &ResumeOptions,
    message: Option<String>,
) -> Result<Vec<Order>, Failure> {
    let order = |session, wish, blobs| {
        let key = Some(format!("resume/{:032x}", app.clock.random()));
        Order { session, source: Source::User, wish, key, ttl_ms: None, blobs }
    };
    let mut orders = Vec::new();
    if let Some(amount) = options.more.amount() {
        orders.push(order(state.root(), Wish::AddBudget { amount }, Vec::new()));
    }
    if let Some(call) = options.call(state.limits().call) {
        orders.push(order(state.id, Wish::CapCall { call }, Vec::new()));
    }
    let model = match &options.model {
        None => None,
        Some(id) => {
            let repo = state.spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
            let (model, _) = models.open(id, Path::new(&repo)).map_err(|f| Failure::from(f).into_usage())?;
            unasked(state, id)?;
            Some(Box::new(model))
        }
    };
    if model.is_some() || message.is_none() {
        orders.push(order(state.id, Wish::Resume { model }, Vec::new()));
    }
    if let Some(message) = message {
        let repo = state.spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
        app.secrets.refuse("message", &message, Path::new(&repo))?;
        let wish = Wish::Message { text: Digest::of(message.as_bytes()), bytes: message.len() as u64 };
        orders.push(order(state.id, wish, vec![message.into_bytes()]));
    }
    Ok(orders)
}

/// A session that nobody is asked about because Kapell's own model works in it cannot go to another model as it is.
pub(super) fn unasked(state: &Session, model: &str) -> Result<(), Failure> {
    let own =
        state.spec.as_ref().is_some_and(|spec| spec.model.id == OWN_MODEL && spec.rights.ask == Ask::Never);
    if !own || model == OWN_MODEL {
        return Ok(());
    }
    let what = format!(
        "session {} was opened for {OWN_MODEL}, whose commands need no approval; another model's do",
        short(state.id)
    );
    Err(Failure::usage("rights-of-own-model", what, format!("kapell run -m {model} \"your goal\"")))
}

/// Every unfinished session that does not wait for a person, one after the other on the screen, all at once in work.
async fn everything(app: &App, work: &Work<'_>, options: &ResumeOptions) -> Result<u8, Failure> {
    let mut signals = Work::signals()?;
    let wired = app.wire_to_work(&app.config(None)?)?;
    let mut started = Vec::new();
    let unfinished = wired.store.sessions(true).await?;
    let mut code = exit::OK;
    for (listed, _) in pick::roots(&*wired.store, &unfinished, usize::MAX).await? {
        match one_of_all(app, &wired, listed.session, options).await {
            Ok(start) => started.extend(start),
            // The others go on: what is wrong with one is none of theirs.
            Err(failure) => first_failure(app, listed.session, &failure, &mut code),
        }
    }
    if started.is_empty() && code == exit::OK {
        note(app, "there is nothing to go on with");
    }
    let mut all = Vec::new();
    for start in started {
        let session = start.tree.root;
        match work.follow(&wired, start, &mut signals).await {
            Ok(summary) => {
                // The first that did not go well counts.
                code = if code == exit::OK { summary.code } else { code };
                match work.format {
                    Format::Json => all.push(summary.json()),
                    _ => work.write(&summary)?,
                }
            }
            Err(failure) => first_failure(app, session, &failure, &mut code),
        }
        // What stops one session of this process stops them all.
        if wired.engine.is_closing() {
            break;
        }
    }
    if work.format == Format::Json {
        out::print(&crate::show::json_line(&serde_json::Value::Array(all)));
    }
    leave(wired).await;
    Ok(code)
}

fn first_failure(app: &App, session: SessionId, failure: &Failure, code: &mut u8) {
    let Fault { what, hint, .. } = &failure.fault;
    note(app, format!("{}: {what}; {hint}", short(session)).trim_end_matches("; "));
    *code = if *code == exit::OK { failure.code } else { *code };
}

/// Takes one of them up; `None`: it waits for a person, or somebody else runs it.
async fn one_of_all(
    app: &App,
    wired: &Wired,
    session: SessionId,
    options: &ResumeOptions,
) -> Result<Option<Start>, Failure> {
    let tree = Tree::open(&wired.engine, session).await?;
    let blocked = tree.idle(app.now()) && tree.blockers(app.now()).iter().all(|b| b.code() != exit::WAITING);
    if blocked {
        note(app, &format!("{} waits for you: kapell sessions show {0}", short(session)));
        return Ok(None);
    }
    let mut orders = orders(app, &*wired.models, tree.root(), options, None)?;
    // Nobody has looked at what this one asks for: what lies below it goes on.
    if tree.root().waits_for_a_cut() && options.model.is_none() {
        orders.retain(|order| !matches!(order.wish, Wish::Resume { .. }));
    }
    declare_caps(app, wired, tree.root()).await?;
    let awaited = orders.iter().filter_map(|order| Some((order.key.clone()?, order.session))).collect();
    for order in orders {
        wired.engine.submit(order).await?;
    }
    if let Err(lease) = wired.engine.attend(session, Attend::GoOn).await? {
        note(app, &format!("{} is run by {}", short(session), lease.owner));
        return Ok(None);
    }
    let timeout = options.timeout.map(Duration::from_millis);
    Ok(Some(Start { tree, ours: true, awaited, notes: Vec::new(), timeout }))
}

fn note(app: &App, line: &str) {
    if !app.global.quiet {
        out::complain(&format!("{line}\n"));
    }
}
