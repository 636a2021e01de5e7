//! What the API asks, answered by the functions behind the commands.
//!
//! Start at [`Handle`]; what is listed is in `lists.rs`, what is wished in `acts.rs`.

use super::lists;
use super::measure::Measured;
use super::requests::Requests;
use super::terminals;
use crate::app::{App, Wired};
use crate::cmd::tell::ANSWER;
use crate::exit::Failure;
use api::{Act, Host, Key, Line, Read, Refused};
use contract::journal::Journal;
use contract::port::Clock;
use contract::{BoxFuture, Fault, Kind, SessionId, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::time::timeout;

/// What is under way when the daemon ends may take so long: an answer is waited for a little less.
const ACTS: Duration = ANSWER.saturating_add(Duration::from_secs(1));

/// The daemon: an engine that lives on, and what it was wired from.
pub(super) struct Daemon {
    pub(super) app: Arc<App>,
    pub(super) wired: Arc<Wired>,
    pub(super) measured: Measured,
    /// Requests that may come again.
    pub(super) requests: Requests,
    /// Read by whoever acts, written by who ends it all.
    acting: Arc<RwLock<()>>,
    /// One of those that may come again at a time.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// Roots that were taken up here: nobody else looks after them.
    ours: Mutex<BTreeSet<SessionId>>,
    /// What keeps work from beginning.
    degraded: Mutex<Option<Fault>>,
}

/// A handle of the daemon that calls can take along.
pub(super) struct Handle(pub(super) Arc<Daemon>);

impl Host for Handle {
    fn read(&self, read: Read) -> BoxFuture<'static, Result<Value, Refused>> {
        let daemon = Arc::clone(&self.0);
        Box::pin(async move { daemon.read(read).await.map_err(refused) })
    }

    fn act(&self, act: Act, key: Key) -> BoxFuture<'static, Result<Value, Refused>> {
        let daemon = Arc::clone(&self.0);
        let Ok(acting) = Arc::clone(&daemon.acting).try_read_owned() else {
            let fault = Fault::new(Kind::Transient, "closing", "this daemon is ending");
            return Box::pin(async { Err(fault.hint("ask the next one").into()) });
        };
        // A client that goes away in the middle has still asked for it: what was begun is not left half done.
        let done = tokio::spawn(async move {
            let done = daemon.act(act, key).await.map_err(refused);
            drop(daemon);
            drop(acting);
            done
        });
        Box::pin(async move {
            let broken = |_| {
                Refused::from(Failure::failed("broken", "answering this request failed", "try again").fault)
            };
            done.await.map_err(broken)?
        })
    }

    fn attach(
        &self,
        session: SessionId,
        job: String,
        after: Option<u64>,
    ) -> BoxFuture<'static, Result<Line, Refused>> {
        let jobs = tools::Jobs::new(self.0.app.home.sessions_dir());
        Box::pin(async move { terminals::attached(&jobs, session, &job, after).await.map_err(refused) })
    }

    fn now(&self) -> Timestamp {
        self.0.app.now()
    }

    fn random(&self) -> u128 {
        self.0.app.clock.random()
    }
}

/// With the exit code that the command of the same name would have.
fn refused(failure: Failure) -> Refused {
    Refused { fault: failure.fault, exit_code: failure.code }
}

impl Daemon {
    pub(super) fn new(app: Arc<App>, wired: Arc<Wired>) -> Self {
        let now = app.now();
        let requests = Requests::new(app.home.run_dir().join("requests"));
        Self {
            app,
            wired,
            measured: Measured::new(now),
            requests,
            acting: Arc::default(),
            opening: tokio::sync::Mutex::default(),
            ours: Mutex::default(),
            degraded: Mutex::default(),
        }
    }

    /// Nothing is begun any more, and what was begun has ended, or had its time.
    pub(super) async fn ended(&self) {
        drop(timeout(ACTS, self.acting.write()).await);
    }

    /// Roots that were taken up here.
    pub(super) fn ours(&self) -> MutexGuard<'_, BTreeSet<SessionId>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What keeps work from beginning.
    pub(super) fn degraded(&self) -> MutexGuard<'_, Option<Fault>> {
        self.degraded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, read: Read) -> Result<Value, Failure> {
        match read {
            Read::Ready => {
                // Reads the store: what is wrong with it is the answer.
                self.wired.store.inbox_sessions().await?;
                if let Some(fault) = self.degraded().clone() {
                    return Err(fault.into());
                }
                Ok(json!({"status": "ready"}))
            }
            Read::Look(look) => Box::pin(self.show(look)).await,
            Read::Sessions(filter, page) => lists::sessions(&self.app, &self.wired, &filter, &page).await,
            Read::Metrics => Ok(self.measured.page(&self.wired, self.app.now()).await?.into()),
            Read::Series { name, since, step_ms } => {
                Ok(self.measured.series(name.as_deref(), since, step_ms).await)
            }
        }
    }
}
