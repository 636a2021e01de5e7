//! What the API asks, answered by the functions behind the commands.
//!
//! Start at [`Handle`]; what is listed is in `lists.rs`.

use super::lists;
use super::measure::Measured;
use crate::app::{App, Wired};
use crate::exit::Failure;
use api::{Host, Read, Refused};
use contract::journal::Journal;
use contract::port::Clock;
use contract::{BoxFuture, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// The daemon: an engine that lives on, and what it was wired from.
pub(super) struct Daemon {
    pub(super) app: Arc<App>,
    pub(super) wired: Arc<Wired>,
    pub(super) measured: Measured,
}

/// A handle of the daemon that calls can take along.
pub(super) struct Handle(pub(super) Arc<Daemon>);

impl Host for Handle {
    fn read(&self, read: Read) -> BoxFuture<'static, Result<Value, Refused>> {
        let daemon = Arc::clone(&self.0);
        Box::pin(async move { daemon.read(read).await.map_err(refused) })
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
    async fn read(&self, read: Read) -> Result<Value, Failure> {
        match read {
            Read::Ready => {
                // Reads the store: what is wrong with it is the answer.
                self.wired.store.inbox_sessions().await?;
                Ok(json!({"status": "ready"}))
            }
            Read::Sessions(filter, page) => lists::sessions(&self.app, &self.wired, &filter, &page).await,
            Read::Metrics => Ok(self.measured.page(&self.wired, self.app.now()).await?.into()),
            Read::Series { name, since, step_ms } => {
                Ok(self.measured.series(name.as_deref(), since, step_ms).await)
            }
        }
    }
}
