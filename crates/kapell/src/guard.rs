//! One lock file per session (flock), and the sweep of what a dead holder left running.
//!
//! The kernel drops the lock when its holder dies, so having it proves that nobody on this machine executes the
//! session. Start at [`Locks`].

use crate::home::create_private;
use contract::{Fault, Kind, SessionId};
use engine::Guard;
use engine::guard::Held;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tools::{Jobs, Place};

/// Locks under one directory.
#[derive(Debug)]
pub(crate) struct Locks {
    dir: PathBuf,
    jobs: Arc<Jobs>,
    servers: Option<Arc<client::Servers>>,
    spool: Place,
}

/// A session that is executed here. With it end the background commands it started.
struct Lock {
    session: SessionId,
    jobs: Arc<Jobs>,
    servers: Option<Arc<client::Servers>>,
    #[expect(dead_code, reason = "held for its lock, which goes with it")]
    file: File,
}

impl Held for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the lock is given back, which happens with the file.
        self.jobs.end(self.session);
        self.servers.iter().for_each(|servers| servers.end(self.session));
    }
}

impl Locks {
    /// Locks in `dir`, which is made when needed; these jobs end with a session that is given back.
    pub(crate) fn new(dir: PathBuf, jobs: Arc<Jobs>, spool: Place) -> Self {
        Self { dir, jobs, servers: None, spool }
    }

    /// These end with it, too.
    pub(crate) fn with(self, servers: &Arc<client::Servers>) -> Self {
        Self { servers: Some(Arc::clone(servers)), ..self }
    }

    /// Half-written outputs of sessions that nobody executes.
    pub(crate) fn spooled(&self) -> Vec<PathBuf> {
        let left = self.spool.all().into_iter().filter(|(session, _)| !self.held(*session));
        left.map(|(_, path)| path).collect()
    }

    /// Is a living process of this machine executing the session? A lease outlives its process, the lock does not.
    pub(crate) fn held(&self, session: SessionId) -> bool {
        let file = File::open(self.path(session));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Every session that a living process of this machine is executing, whatever the store says of it.
    pub(crate) fn all_held(&self) -> Vec<SessionId> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let locks =
            entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".lock")?.parse().ok());
        locks.filter(|session| self.held(*session)).collect()
    }

    /// The lock file of a session.
    pub(crate) fn path(&self, session: SessionId) -> PathBuf {
        self.dir.join(format!("{session}.lock"))
    }

    /// Where the processes of a session are recorded while they run.
    pub(crate) fn records(&self, session: SessionId) -> PathBuf {
        self.dir.join(session.to_string())
    }
}

/// Times an exclusive lock is tried while others only look.
const TRIES: u32 = 1_000;
/// Times a holder must be seen before it counts as one, a millisecond apart: a program that is being started has the
/// lock of its parent until it is another program.
const SEEN: u32 = 25;

/// Takes the lock; false when somebody has it. Who only looks ([`Locks::held`]) holds it shared, for a moment.
fn taken(file: &File) -> std::io::Result<bool> {
    let mut seen = 0;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        match file.try_lock_shared() {
            Ok(()) => file.unlock()?,
            Err(TryLockError::WouldBlock) if seen == SEEN => return Ok(false),
            Err(TryLockError::WouldBlock) => {
                seen += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        std::thread::yield_now();
    }
    Ok(false)
}

/// The lock file, locked; `None` when somebody has it. Who removes a session's lock file holds it meanwhile: a lock on a
/// file that is not there any more keeps nobody out, so it is taken again on the one that is.
fn locked(path: &Path) -> std::io::Result<Option<File>> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        if !taken(&file)? {
            return Ok(None);
        }
        let ours = file.metadata()?;
        match std::fs::metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino()) => return Ok(Some(file)),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

impl Guard for Locks {
    fn claim(&self, session: SessionId) -> Result<Option<Box<dyn Held>>, Fault> {
        create_private(&self.dir)?;
        let path = self.path(session);
        let fault = |error: &std::io::Error| {
            let what = format!("cannot lock {}: {error}", path.display());
            Fault::new(Kind::UserFixable, "no-lock", what)
                .hint("make the state directory writable, or set KAPELL_HOME")
        };
        let Some(file) = locked(&path).map_err(|e| fault(&e))? else { return Ok(None) };
        let records = self.records(session);
        let swept = sandbox::sweep(&records).map_err(|error| {
            let what = format!("cannot look for left-over programs in {}: {error}", records.display());
            Fault::new(Kind::UserFixable, "no-sweep", what)
                .hint("make the state directory readable and writable")
        })?;
        for path in self.spool.left(session) {
            // What cannot be removed now is shown and removed by `gc`.
            let _later = std::fs::remove_file(path);
        }
        if swept.left > 0 {
            tracing::warn!(left = swept.left, %session, "programs of an earlier run cannot be killed");
        }
        Ok(Some(Box::new(Lock {
            session,
            jobs: Arc::clone(&self.jobs),
            servers: self.servers.clone(),
            file,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (
            Locks::new(dir.path().join("run"), Arc::default(), Place::new("/nowhere")),
            Locks::new(dir.path().join("run"), Arc::default(), Place::new("/nowhere")),
        );
        let session = SessionId(7);
        assert!(!one.held(session));
        let lock = one.claim(session).unwrap().unwrap();
        assert!(other.held(session) && other.claim(session).unwrap().is_none());
        assert_eq!(other.all_held(), [session]);
        drop(lock);
        assert_eq!(other.all_held(), []);
        assert!(!other.held(session) && other.claim(session).unwrap().is_some());
    }

    #[test]
    fn a_lock_file_that_is_removed_while_it_is_held_lets_no_two_in() {
        use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let session = SessionId(7);
        let (inside, over) = (AtomicU32::new(0), AtomicBool::new(false));
        let claims = |remove: bool| {
            let locks = Locks::new(dir.path().join("run"), Arc::default(), Place::new("/nowhere"));
            let mut got = 0;
            while !over.load(Ordering::Relaxed) && got < 3_000 {
                let Some(_lock) = locks.claim(session).unwrap() else { continue };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                got += 1;
                std::thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                // The last thing its holder does.
                if remove {
                    std::fs::remove_file(locks.path(session)).unwrap();
                }
            }
            over.store(true, Ordering::Relaxed);
        };
        std::thread::scope(|scope| {
            let others = [true, false, false].map(|remove| scope.spawn(move || claims(remove)));
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }

    #[test]
    fn who_only_looks_keeps_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let (locks, looking) = (
            Locks::new(dir.path().join("run"), Arc::default(), Place::new("/nowhere")),
            Locks::new(dir.path().join("run"), Arc::default(), Place::new("/nowhere")),
        );
        let session = SessionId(7);
        drop(locks.claim(session).unwrap());
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    looking.held(session);
                }
            });
            let claimed = (0..2_000).filter(|_| locks.claim(session).unwrap().is_some()).count();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(claimed, 2_000);
        });
    }
}
