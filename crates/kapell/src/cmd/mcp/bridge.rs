//! Between the surface and the engine: opened at the first call that needs it, left in order at the end.
//!
//! Start at [`Bridge::wired`].

use super::calls;
use crate::app::{App, Wired};
use crate::cmd::looping::Here;
use crate::cmd::work::leave;
use crate::exit::Failure;
use crate::repo;
use crate::sending::Sending;
use ::secrets::Redactor;
use contract::board::BoardEvent;
use contract::{BoxFuture, Fault, Seq, SessionId};
use mcp::{Asker, Call, Conductor};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// So long what is known of secrets counts as known: to look costs more than a call.
const KNOWN: Duration = Duration::from_millis(100);

/// The engine, once somebody needs it.
pub(super) struct Bridge {
    pub(super) app: Arc<App>,
    wired: Mutex<Option<Arc<Wired>>>,
    /// The directory the twenty tools work on.
    workspace: PathBuf,
    /// What knows its secrets, and since when.
    known: std::sync::Mutex<Option<(Instant, Arc<Redactor>)>>,
}

impl Bridge {
    pub(super) fn new(app: Arc<App>, workspace: PathBuf) -> Self {
        Self { app, wired: Mutex::new(None), workspace, known: std::sync::Mutex::default() }
    }

    /// What knows the secrets of the directory and of the repository it is in.
    fn redactor(&self, anew: bool) -> Arc<Redactor> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, redactor)) = known.as_ref()
            && !anew
            && since.elapsed() < KNOWN
        {
            return Arc::clone(redactor);
        }
        let repo = repo::find_text(&self.app.cwd).map_or_else(|_| self.app.cwd.clone(), PathBuf::from);
        let redactor = engine::Secrets::of(&*self.app.secrets, &repo, &self.workspace);
        *known = Some((Instant::now(), Arc::clone(&redactor)));
        redactor
    }

    /// The engine, configured for the repository this server was started in, if it was in one.
    pub(super) async fn wired(&self) -> Result<Arc<Wired>, Failure> {
        let mut wired = self.wired.lock().await;
        if let Some(wired) = &*wired {
            return Ok(Arc::clone(wired));
        }
        let top = repo::find_text(&self.app.cwd).ok();
        let config = self.app.config(top.as_deref().map(Path::new))?;
        let mut new = self.app.wire_with(&config)?;
        new.sending = Sending::begin(&self.app, &new, &config)?;
        let new = Arc::new(new);
        *wired = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Stops what runs here, in order.
    pub(super) async fn left(&self) {
        let Some(wired) = self.wired.lock().await.take() else { return };
        wired.engine.shutdown().await;
        // Calls that are still being answered hold it; what runs was ended above.
        if let Some(wired) = Arc::into_inner(wired) {
            leave(wired).await;
        }
    }
}

/// A handle of the bridge that calls can take along.
struct Handle(Arc<Bridge>);

impl Conductor for Handle {
    fn call(&self, call: Call, asker: Asker) -> BoxFuture<'static, Result<Value, Fault>> {
        let bridge = Arc::clone(&self.0);
        Box::pin(async move {
            let wired = bridge.wired().await.map_err(|failure| failure.fault)?;
            calls::call(&bridge.app, &wired, call, &asker).await.map_err(|failure| failure.fault)
        })
    }

    fn clean(&self, shown: &mut Value, anew: bool) {
        self.0.redactor(anew).json(shown);
    }

    fn cleaner(&self) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        Some(self.0.redactor(false))
    }

    fn written_back(&self, args: &Value) -> Option<String> {
        let text = args.to_string();
        let mark = ::secrets::masked(&text)?;
        Some(format!(
            "not done: the arguments hold `{mark}`, which stands for a secret that is not shown; the mark would take its \
             place. Leave the file that holds it to its owner, or write to another one"
        ))
    }
}

/// What the surface asks.
pub(super) fn conductor(bridge: &Arc<Bridge>) -> Arc<dyn Conductor> {
    Arc::new(Handle(Arc::clone(bridge)))
}

/// Puts changes of files on record. Called from threads that may block.
pub(super) struct Recorder {
    bridge: Arc<Bridge>,
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    pub(super) fn new(bridge: Arc<Bridge>) -> Self {
        Self { bridge, runtime: tokio::runtime::Handle::current() }
    }
}

impl desk::Record for Recorder {
    fn delegate(&self, task: desk::Task<'_>) -> Result<Option<SessionId>, Fault> {
        let handed = self.runtime.block_on(async {
            let wired = self.bridge.wired().await?;
            let repo = repo::find_text(&self.bridge.workspace)?;
            let here = Here::new(&self.bridge.app, &wired, &repo);
            looping::hand_over(&here, &repo, task).await.map_err(Failure::from)
        });
        handed.map(Some).map_err(|failure: Failure| failure.fault)
    }

    fn record(&self, repo: &str, event: BoardEvent) -> Result<Seq, Fault> {
        self.runtime.block_on(async {
            let wired = self.bridge.wired().await.map_err(|failure| failure.fault)?;
            let now = self.bridge.app.now();
            let recorded = engine::board::record(&*wired.store, repo, &event, now).await;
            recorded.map_err(|error| Failure::from(error).fault)
        })
    }
}
