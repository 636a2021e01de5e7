//! The daemon itself: one for each installation, where it is found, and what it says of itself.
//!
//! Knows a directory of run files and no session. Start at [`Run`] (files) and [`table`] (what it says).

use crate::problem::Refused;
use crate::route::{JSON, Route};
use crate::shape::daemon;
use crate::{Answer, Answered, Api, Read, closing};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contract::{Fault, Kind};
use door::Caller;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// How often a lock that is held is tried again, and after how long.
const TRIES: u32 = 20;
const MOMENT: Duration = Duration::from_millis(10);

/// The directory of run files: a lock, a socket, and how to reach who has them.
#[derive(Debug, Clone)]
pub struct Run {
    dir: PathBuf,
}

/// A daemon as other programs find it: `daemon.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Of this file.
    pub v: u32,
    /// Of this start.
    pub boot: String,
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub socket: PathBuf,
    /// Where it listens on the loopback, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Lets programs in over the loopback.
    pub token: String,
}

/// That this process is the daemon. Goes with its value, also when the process dies.
#[derive(Debug)]
pub struct Reign {
    run: Run,
    #[expect(dead_code, reason = "held for its lock, which goes with it")]
    lock: File,
    found: Option<Found>,
}

impl Run {
    /// In this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where a daemon listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("kapell.sock")
    }

    fn file(&self) -> PathBuf {
        self.dir.join("daemon.json")
    }

    /// What was written of a daemon; whether it lives is told by its socket.
    pub fn found(&self) -> Option<Found> {
        let text = std::fs::read(self.file()).ok()?;
        serde_json::from_slice(&text).ok().filter(|found: &Found| found.v == 1)
    }

    /// Is there a daemon? Its lock goes with its process, whatever files stay.
    pub fn is_ruled(&self) -> bool {
        let file = File::open(self.dir.join("daemon.lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Becomes the daemon of this directory, which is there. Refused while another process is.
    pub fn reign(&self) -> Result<Reign, Fault> {
        let path = self.dir.join("daemon.lock");
        let fault = |error: &dyn std::fmt::Display| {
            let what = format!("cannot lock {}: {error}", path.display());
            Fault::new(Kind::UserFixable, "no-lock", what)
                .hint("make the state directory writable, or set KAPELL_HOME")
        };
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(|error| fault(&error))?;
        // Who only looks whether there is a daemon holds it for a moment.
        let mut tries = 0;
        let mut taken = lock.try_lock();
        while matches!(taken, Err(TryLockError::WouldBlock)) && tries < TRIES {
            std::thread::sleep(MOMENT);
            tries += 1;
            taken = lock.try_lock();
        }
        match taken {
            Ok(()) => Ok(Reign { run: self.clone(), lock, found: None }),
            Err(TryLockError::WouldBlock) => {
                let who = self
                    .found()
                    .map_or_else(|| "another process".to_owned(), |found| format!("process {}", found.pid));
                let what = format!("{who} is the daemon here already");
                Err(Fault::new(Kind::UserFixable, "daemon-runs", what)
                    .hint("kapell status shows it; kapell down ends it"))
            }
            Err(TryLockError::Error(error)) => Err(fault(&error)),
        }
    }
}

impl Reign {
    /// Tells others how to reach this process. To be called once it listens and before it accepts.
    pub fn tell(&mut self, found: Found) -> Result<(), Fault> {
        let file = self.run.file();
        let text = serde_json::to_vec(&found).unwrap_or_default();
        door::write_private(&file, &text).map_err(|error| {
            Fault::new(Kind::UserFixable, "no-run-file", format!("cannot write {}: {error}", file.display()))
                .hint("make the state directory writable, or set KAPELL_HOME")
        })?;
        self.found = Some(found);
        Ok(())
    }
}

impl Drop for Reign {
    fn drop(&mut self) {
        // While the lock is held nobody else writes it.
        if self.found.is_some() {
            drop(std::fs::remove_file(self.run.file()));
        }
    }
}

/// The routes.
pub(crate) fn table() -> Vec<Route> {
    vec![
        Route::get("/v1", "What this daemon is and can do.", about).answers::<daemon::About>(200, "It."),
        Route::get("/v1/openapi.json", "This document.", document)
            .answers::<daemon::Document>(200, "OpenAPI 3.1."),
        Route::get("/v1/health", "Does it answer?", health).answers::<daemon::Health>(200, "It does.").open(),
        Route::get("/v1/ready", "Does it work?", ready)
            .answers::<daemon::Health>(200, "It does.")
            .refuses(&["degraded", "store"])
            .open(),
    ]
}

async fn about(State(api): State<Arc<Api>>) -> Answer {
    let gives = crate::table().into_iter().filter_map(|route| route.gives);
    let capabilities: BTreeSet<&str> = gives.collect();
    Answer(json!({
        "version": api.about.version, "boot": api.about.boot, "schema_version": api.about.schema,
        "now": api.host.now().to_string(), "capabilities": capabilities,
    }))
}

async fn document() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(crate::openapi);
    ([("content-type", JSON)], TEXT.as_str()).into_response()
}

async fn health() -> Answer {
    Answer(json!({"status": "ok"}))
}

/// Strangers hear that it does not work, and not what of this machine is short.
async fn ready(State(api): State<Arc<Api>>, caller: Option<Extension<Caller>>) -> Answered {
    if api.is_closing() {
        return Err(closing());
    }
    let stranger = caller.is_none_or(|Extension(caller)| caller == Caller::Anybody);
    api.read(Read::Ready).await.map_err(|refused| {
        if !stranger {
            return refused;
        }
        let fault = Fault::new(refused.fault.kind, &refused.fault.code, "this daemon holds work back");
        Refused { fault: fault.hint("kapell doctor says why"), ..refused }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn found() -> Found {
        Found { v: 1, boot: "b".into(), pid: 7, socket: "/s".into(), url: None, token: "t".into() }
    }

    #[test]
    fn one_rules_and_is_found_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path().to_owned());
        assert!(!run.is_ruled() && run.found().is_none());
        let mut reign = run.reign().unwrap();
        assert!(run.is_ruled());
        reign.tell(found()).unwrap();
        assert_eq!(run.found(), Some(found()));
        let mode = std::fs::metadata(run.file()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let other = run.reign().unwrap_err();
        assert!(other.code == "daemon-runs" && other.what.contains("process 7"), "{other:?}");
        drop(reign);
        assert!(!run.is_ruled() && run.found().is_none());
        drop(run.reign().unwrap());
    }

    #[test]
    fn who_looks_keeps_nobody_from_ruling() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path().to_owned());
        drop(run.reign().unwrap());
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    run.is_ruled();
                }
            });
            let ruled = (0..20).all(|_| run.reign().is_ok());
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(ruled);
        });
    }

    #[test]
    fn what_a_killed_one_left_is_no_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path().to_owned());
        std::fs::write(run.file(), serde_json::to_vec(&found()).unwrap()).unwrap();
        assert!(!run.is_ruled() && run.found().is_some());
        std::fs::write(run.file(), "half").unwrap();
        assert!(run.found().is_none());
        drop(run.reign().unwrap());
    }
}
