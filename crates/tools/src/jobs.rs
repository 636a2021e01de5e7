//! The background commands and terminals of the sessions this process executes.
//! Knows nothing of arguments. Start at [`Jobs::start`]; they end with [`Jobs::end`], when a session is given up.
//!
//! Directories `ROOT/SESSION/jobs/NAME` hold what they wrote and say of themselves; names are never given twice, and
//! what a dead process ran can still be read there.

use crate::args::refuse;
use contract::confine::HostAsked;
use contract::limits::{JOBS, OUTPUT_DISK_BYTES};
use contract::{Fault, Kind, SessionId};
use sandbox::gate::Log;
use sandbox::job::{self, Job, Status};
use sandbox::{Command, Size};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All of them.
#[derive(Debug, Default)]
pub struct Jobs {
    /// One directory per session; without it there are none.
    root: Option<PathBuf>,
    /// Bytes of one's output that are kept.
    keep: u64,
    live: Mutex<HashMap<SessionId, Vec<Live>>>,
    /// Hosts that a session's jobs asked for, as it comes.
    logs: Mutex<HashMap<SessionId, Log>>,
}

/// One of a session.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) name: String,
    pub(crate) job: Arc<Job>,
    /// Number of the first byte that the agent was not shown.
    pub(crate) seen: Arc<Mutex<u64>>,
}

impl Jobs {
    /// With their directories below this one.
    pub fn new(root: PathBuf) -> Self {
        Self { root: Some(root), keep: OUTPUT_DISK_BYTES, ..Self::default() }
    }

    /// Keeps so much of one's output, the newest.
    #[must_use]
    pub fn keeping(self, bytes: u64) -> Self {
        Self { keep: bytes, ..self }
    }

    /// Kills all of a session's. Call it when nobody executes the session here any more.
    pub fn end(&self, session: SessionId) {
        self.lock().remove(&session);
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }

    /// Hosts that a session's jobs asked for since this was asked last.
    pub(crate) fn asked(&self, session: SessionId) -> Vec<HostAsked> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.get(&session).map(Log::taken).unwrap_or_default()
    }

    /// Directories of all jobs a session ever had, by name: its own, then the terminals of people, each the oldest first.
    pub fn of(&self, session: SessionId) -> Vec<(String, PathBuf)> {
        let Ok(dir) = self.dir(session) else { return Vec::new() };
        [OWN, TERMINAL].into_iter().flat_map(|kind| named(&dir, kind)).collect()
    }

    /// The session's own: what a person has at a terminal is not the agent's to see.
    fn own(&self, session: SessionId) -> Vec<(String, PathBuf)> {
        self.dir(session).map_or_else(|_| Vec::new(), |dir| named(&dir, OWN))
    }

    /// Starts one, at a terminal of this size or with a pipe.
    pub(crate) fn start(
        &self,
        session: SessionId,
        command: Command,
        size: Option<Size>,
    ) -> Result<Live, Fault> {
        let mut live = self.lock();
        let own = live.entry(session).or_default();
        // What has ended is read from its directory from now on.
        own.retain(|live| live.job.status().ended.is_empty());
        if own.len() >= JOBS {
            let names: Vec<&str> = own.iter().map(|live| live.name.as_str()).collect();
            return Err(refuse(format!("{JOBS} run already ({}): stop one of them first", names.join(", "))));
        }
        let (name, dir) = self.place(session, OWN)?;
        let log =
            self.logs.lock().unwrap_or_else(PoisonError::into_inner).entry(session).or_default().clone();
        let command = command.keep(usize::try_from(self.keep).unwrap_or(usize::MAX)).tells(log);
        let started = Live { name, job: Arc::new(Job::start(command, &dir, size)?), seen: Arc::default() };
        own.push(started.clone());
        Ok(started)
    }

    /// One that this process runs, or has run.
    pub(crate) fn live(&self, session: SessionId, name: &str) -> Option<Live> {
        self.lock().get(&session)?.iter().find(|live| live.name == name).cloned()
    }

    /// The directory of one there is or was.
    pub(crate) fn found(&self, session: SessionId, name: &str) -> Result<PathBuf, Fault> {
        let all = self.own(session);
        if let Some((_, dir)) = all.iter().find(|(known, _)| known == name) {
            return Ok(dir.clone());
        }
        let names: Vec<String> = all.into_iter().map(|(name, _)| name).collect();
        let known = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
        Err(refuse(format!("there is no background command `{name}`; known: {known}")))
    }

    /// How all of a session's are, the oldest first.
    pub(crate) fn list(&self, session: SessionId) -> Vec<(String, Status)> {
        let status = |(name, dir): (String, PathBuf)| {
            let live = self.live(session, &name).map(|live| live.job.status());
            Some((name, live.or_else(|| job::look(&dir).ok())?))
        };
        self.own(session).into_iter().filter_map(status).collect()
    }

    /// A new directory for a job of this kind, whose name nobody had or will have.
    pub(crate) fn place(&self, session: SessionId, kind: char) -> Result<(String, PathBuf), Fault> {
        let dir = self.dir(session)?;
        let failed = |dir: &Path, error: std::io::Error| {
            let what = format!("cannot make {}: {error}", dir.display());
            Fault::new(Kind::UserFixable, "no-directory", what).hint("check free disk space")
        };
        std::fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
        loop {
            let last = named(&dir, kind).last().and_then(|(name, _)| number(name, kind));
            let name = format!("{kind}{}", last.unwrap_or(0) + 1);
            let own = dir.join(&name);
            match std::fs::create_dir(&own) {
                Ok(()) => return Ok((name, own)),
                // Another process was quicker.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&own, error)),
            }
        }
    }

    /// Bytes of one's output that are kept.
    pub(crate) fn keeps(&self) -> u64 {
        self.keep
    }

    /// Every session's directory of jobs.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        let Some(root) = &self.root else { return Vec::new() };
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().join("jobs")).filter(|dir| dir.is_dir()).collect()
    }

    fn dir(&self, session: SessionId) -> Result<PathBuf, Fault> {
        let root = self.root.as_deref().ok_or_else(|| {
            Fault::new(Kind::Permanent, "no-jobs", "background commands have no place to write to here")
        })?;
        Ok(jobs_of(root, session))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Vec<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn jobs_of(root: &Path, session: SessionId) -> PathBuf {
    root.join(session.to_string()).join("jobs")
}

/// How names of a session's own jobs begin, and those of terminals that people opened beside it.
pub(crate) const OWN: char = 'j';
pub(crate) const TERMINAL: char = 't';

/// Jobs of this kind in a session's directory of them, the oldest first.
pub(crate) fn named(dir: &Path, kind: char) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let numbered = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        Some((number(&name, kind)?, name, entry.path()))
    };
    let mut found: Vec<_> = entries.filter_map(numbered).collect();
    found.sort();
    found.into_iter().map(|(_, name, path)| (name, path)).collect()
}

fn number(name: &str, kind: char) -> Option<u64> {
    name.strip_prefix(kind)?.parse().ok()
}
