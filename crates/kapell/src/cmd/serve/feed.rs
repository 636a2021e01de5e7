//! What the feed asks of this program, and the progress of what runs here.
//!
//! Start at [`Watched`] and [`tell`].

use super::host::Daemon;
use super::lists;
use crate::show::asked::Asked;
use crate::show::headline;
use crate::show::stream::Stream;
use api::{Hub, Source, Told};
use contract::journal::Journal;
use contract::port::Delta;
use contract::workspace::Workspace;
use contract::{BoxFuture, Digest, Fault, SessionId, Timestamp};
use engine::Engine;
use kernel::Session;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// Sessions as the daemon sees them.
pub(super) struct Watched(pub(super) Arc<Daemon>);

impl Source for Watched {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(self.0.wired.engine.journal())
    }

    fn look(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, Fault>> {
        Box::pin(self.0.wired.engine.look(id))
    }

    fn held(&self, id: SessionId) -> bool {
        self.0.wired.locks.held(id)
    }

    fn headline(&self, text: Digest) -> BoxFuture<'_, String> {
        Box::pin(async move { headline(&*self.0.wired.store, text).await })
    }

    fn asked<'a>(&'a self, state: &'a Session) -> BoxFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let mut values = Vec::new();
            for blocker in lists::waiting(state, self.now()) {
                if let Some(asked) = Asked::of(&*self.0.wired.store, state, &blocker).await {
                    let mut value = asked.json();
                    self.0.about(state, &mut value).await;
                    values.push(value);
                }
            }
            values
        })
    }

    fn now(&self) -> Timestamp {
        self.0.app.now()
    }
}

impl Daemon {
    /// Adds where it would run and what its part of the tree has cost, where that is known.
    pub(super) async fn about(&self, state: &Session, asked: &mut Value) {
        if asked["kind"] == "approval" && state.prepared.is_some() {
            asked["cwd"] = self.wired.git.root(state.id).display().to_string().into();
        }
        if let Ok(ledger) = self.wired.engine.ledger(state.root()).await {
            asked["used_with_children"] = json!(ledger.settled(state.id));
            asked["reserved"] = json!(ledger.held(state.id));
        }
    }
}

/// Lets the feed run, and tells it what runs here does meanwhile, until the daemon ends.
pub(super) async fn tell(engine: &Engine, hub: &Hub, mut closing: watch::Receiver<bool>) {
    tokio::select! {
        _ = async { tokio::join!(hub.clone().run(), progress(engine, hub)) } => {}
        // Whoever could say so is gone: so is the daemon.
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

async fn progress(engine: &Engine, hub: &Hub) {
    let mut progress = engine.progress();
    let mut stream = Stream::new(true);
    loop {
        let piece = match progress.recv().await {
            Ok(piece) => piece,
            // Lossy by nature: what counts is the record.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let id = piece.session;
        if let Some(line) = Stream::progress(&piece) {
            hub.tell(Told::Progress(id, line.into()));
        }
        if matches!(piece.delta, Delta::Text(_)) {
            let lines = hub.of(id, |state| stream.piece(Some(state), &piece));
            for line in lines.unwrap_or_default() {
                hub.tell(Told::Progress(id, line.into()));
            }
        }
    }
}
