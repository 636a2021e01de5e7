//! Leaves an intent in a session's inbox and waits until it is seen what became of it.
//!
//! Works from any terminal: a living holder takes it; when there is none, the session is taken up just long enough to
//! put it on record. Start at [`tell`].

use crate::app::{App, Wired};
use crate::exit::Failure;
use crate::out;
use crate::pick::short;
use crate::show::{clean, json_page};
use contract::event::{Disposal, Event};
use contract::intent::{Source, Wish};
use contract::journal::Submitted;
use contract::port::Clock;
use contract::record::Record;
use contract::{IntentId, SessionId, StreamId};
use engine::{Attend, Engine, Order};
use serde_json::json;
use std::time::Duration;

/// How long the answer of a living holder is waited for.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It took effect.
    Applied,
    /// It became an action, or waits in the session's queue for its turn.
    Queued,
    /// It cannot be done; this is why.
    Refused(String),
    /// Its holder has not looked yet.
    Waiting,
}

/// The answer to a command.
pub(crate) struct Told {
    /// What became of it.
    pub(crate) taken: Taken,
    /// A living process has the session.
    pub(crate) holder: Option<String>,
}

/// Submits a wish and waits for its fate.
pub(crate) async fn tell(
    app: &App,
    wired: &Wired,
    session: SessionId,
    wish: Wish,
    blobs: Vec<Vec<u8>>,
) -> Result<Told, Failure> {
    let engine = &wired.engine;
    let key = format!("{}/{:032x}", wish.name(), app.clock.random());
    let after = engine.journal().head(StreamId::Session(session)).await?.seq;
    let order = Order {
        session,
        source: Source::User,
        wish: wish.clone(),
        key: Some(key.clone()),
        ttl_ms: None,
        blobs,
    };
    let lives = engine.lives(session);
    engine.submit(order).await?;
    let holder = engine.attend(session, Attend::Settle).await?.err().map(|lease| lease.owner);
    // One that lives here takes it by itself, and stops when it ends.
    if holder.is_none()
        && !lives
        && let Some(error) = engine.stopped(session).await
    {
        return Err(error.into());
    }
    let taken = tokio::time::timeout(ANSWER, fate(wired, session, after, &key, &wish)).await;
    let taken = taken.ok().transpose()?.map_or(Taken::Waiting, |(taken, _)| taken);
    Ok(Told { taken, holder })
}

/// The same in a process that lives on: unless somebody has the session it is taken up here, and goes on with what was
/// wished. The same key again is told the fate of the first, if that wished the same. Also says which intent it became.
pub(crate) async fn tell_here(wired: &Wired, order: Order) -> Result<(Told, Option<IntentId>), Failure> {
    let (engine, session) = (&wired.engine, order.session);
    let (key, wish) = (order.key.clone().unwrap_or_default(), order.wish.clone());
    let head = engine.journal().head(StreamId::Session(session)).await?.seq;
    let after = match engine.submit(order).await? {
        Submitted::New => head,
        Submitted::Repeat => 0,
    };
    let root = engine.look(session).await?.map_or(session, |state| state.root());
    let mut holder = engine.attend(root, Attend::GoOn).await?.err();
    if session != root && holder.is_none() {
        holder = engine.attend(session, Attend::GoOn).await?.err();
    }
    let fate = tokio::time::timeout(ANSWER, fate(wired, session, after, &key, &wish));
    let told = tokio::select! {
        told = fate => told.ok().transpose()?,
        error = broke(engine, session), if holder.is_none() => return Err(error.into()),
    };
    let (taken, intent) = told.map_or((Taken::Waiting, None), |(taken, intent)| (taken, Some(intent)));
    Ok((Told { taken, holder: holder.map(|lease| lease.owner) }, intent))
}

/// Resolves when the session stops here because something is wrong.
async fn broke(engine: &Engine, session: SessionId) -> contract::journal::Error {
    match engine.stopped(session).await {
        Some(error) => error,
        None => std::future::pending().await,
    }
}

/// Reads on until the intent of this key was taken; which one that is. What it did not wish is not its to answer for.
async fn fate(
    wired: &Wired,
    session: SessionId,
    after: u64,
    key: &str,
    wish: &Wish,
) -> Result<(Taken, IntentId), Failure> {
    let mut watch = wired.engine.watch(session, after);
    let mut own: Option<IntentId> = None;
    loop {
        let mut taken = None;
        for stored in watch.next().await? {
            let stream = StreamId::Session(session);
            let record: Record<Event> = engine::store::decode(stream, stored.seq, &stored.bytes)?;
            match record.event {
                Event::Submitted { intent } if intent.key == key => {
                    if intent.wish != *wish {
                        let (first, now) = (intent.wish.name(), wish.name());
                        let what =
                            format!("this key was that of another wish ({first}); this {now} was not taken");
                        return Err(Failure::failed("key-reused", what, "each wish has a key of its own"));
                    }
                    own = Some(intent.id);
                    taken = Some(Taken::Queued);
                }
                Event::Disposed { intent, how } if own == Some(intent) => {
                    taken = Some(match how {
                        Disposal::Applied | Disposal::Merged | Disposal::Superseded => Taken::Applied,
                        Disposal::Expired => Taken::Refused("its time ran out".into()),
                        Disposal::Refused(why) => Taken::Refused(why),
                    });
                }
                _ => {}
            }
        }
        // What follows from an intent stands in the same append: it was all in this page.
        if let (Some(taken), Some(own)) = (taken, own) {
            return Ok((taken, own));
        }
    }
}

/// Prints what became of a wish; the exit code.
pub(crate) fn report(
    app: &App,
    session: SessionId,
    wish: &str,
    told: &Told,
    done: &str,
    next: &str,
) -> Result<u8, Failure> {
    let (word, why) = match &told.taken {
        Taken::Applied => ("applied", String::new()),
        Taken::Queued => ("queued", String::new()),
        Taken::Waiting => ("waiting", String::new()),
        Taken::Refused(why) => ("refused", clean::line(why)),
    };
    if let Taken::Refused(why) = &told.taken {
        let hint = format!("kapell sessions show {} tells how it stands", short(session));
        return Err(Failure::failed("refused", format!("{wish} was refused: {}", clean::line(why)), hint));
    }
    // A living holder goes on by itself.
    let next = if told.holder.is_some() { "" } else { next };
    if app.global.json {
        out::print(&json_page(&json!({
            "session_id": session.to_string(), "wish": wish, "taken": word, "why": why,
            "holder": told.holder, "next": next,
        })));
        return Ok(crate::exit::OK);
    }
    let line = match &told.taken {
        Taken::Waiting => {
            format!("{wish} is in the inbox of {}; its process has not looked yet\n", short(session))
        }
        _ => format!("{done}\n"),
    };
    out::print(&line);
    if !next.is_empty() {
        out::print(&format!("next: {next}\n"));
    }
    Ok(crate::exit::OK)
}

/// Is an intent of this key on record there already?
pub(crate) async fn heard(wired: &Wired, session: SessionId, key: &str) -> Result<bool, Failure> {
    let stream = StreamId::Session(session);
    let mut watch = wired.engine.watch(session, 0);
    loop {
        let page = watch.now().await?;
        if page.is_empty() {
            return Ok(false);
        }
        for stored in page {
            let record: Record<Event> = engine::store::decode(stream, stored.seq, &stored.bytes)?;
            if matches!(record.event, Event::Submitted { intent } if intent.key == key) {
                return Ok(true);
            }
        }
    }
}
