//! Takes away what Kapell made, and nothing else: whole session directories, by their marker.
//!
//! Knows no other place; work that is nowhere else is parked in the user's repository first. Start at [`Git::remove`].

use crate::git::Repo;
use crate::session::{Open, branch, io_fault};
use crate::work::{fetch, taken};
use crate::{Git, Held};
use contract::{Fault, Kind, SessionId};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Tries to remove a directory while something still writes into it.
const REMOVE_TRIES: u32 = 5;

/// A session's directory, for a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whose.
    pub session: SessionId,
    /// The repository it works for, once prepared.
    pub repo: Option<std::path::PathBuf>,
    /// Bytes on disk, without what is borrowed.
    pub bytes: u64,
}

/// What removing did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// The ref in the user's repository that keeps work which never landed.
    pub parked: Option<String>,
}

impl Git {
    /// Every session that has a directory here, oldest first. Anything else in there is passed over.
    pub fn list(&self) -> Result<Vec<Listed>, Fault> {
        let entries = match std::fs::read_dir(&self.sessions) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_fault("listing", &self.sessions, &error)),
        };
        let mut listed = Vec::new();
        for entry in entries.flatten() {
            let Some(session) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let home = self.home(session);
            if let Ok(Some(record)) = home.record() {
                let repo = record.ready.map(|facts| facts.repo);
                listed.push(Listed { session, repo, bytes: bytes_below(&home.dir) });
            }
        }
        listed.sort_unstable_by_key(|listed| listed.session);
        Ok(listed)
    }

    /// Removes a session's directory and unpins its base. Work that never landed is first parked in the user's
    /// repository under `refs/kapell/parked/<session>`. Refused while the session is executed or a program of it
    /// cannot be ended, and while another session borrows objects from it.
    pub async fn remove(&self, session: SessionId) -> Result<Removed, Fault> {
        let refuse = |code: &str, what: &str, hint: &str| {
            Err(Fault::new(Kind::UserFixable, code, format!("the workspace of session {session} {what}"))
                .hint(hint))
        };
        let Some(alone) = self.alone(session).await? else {
            return refuse("workspace-in-use", "is in use by a running program", "`kapell cancel` ends it");
        };
        let home = self.home(session);
        match home.record() {
            Ok(Some(_)) => {}
            Ok(None) => {
                return refuse(
                    "workspace-foreign",
                    "has no marker of Kapell",
                    "remove it yourself if it is yours",
                );
            }
            Err(error) => return Err(io_fault("reading", &home.dir, &error)),
        }
        if std::fs::symlink_metadata(&home.dir).is_ok_and(|meta| meta.is_symlink()) {
            return refuse("workspace-foreign", "is a link", "remove it yourself if it is yours");
        }
        if self.lends(session)? {
            return refuse("workspace-lends", "lends objects to a child session", "remove the child first");
        }
        let ready =
            Open::load(home.clone()).map_err(|error| io_fault("reading", &home.dir, &error))?.is_some();
        let removed = if ready { self.park(session).await? } else { Removed::default() };
        let mut slot = self.slot(session).lock_owned().await;
        *slot = None;
        let dir = home.dir.clone();
        let gone = crate::blocking(move || {
            let _locked = (slot, alone);
            // The marker goes last, so that an interrupted removal can be taken up again.
            remove_tree(&home.tree)?;
            remove_tree(&home.git)?;
            remove_tree(&home.dir)
        })
        .await?;
        gone.map_err(|error| io_fault("removing", &dir, &error))?;
        Ok(removed)
    }

    /// Takes the lock of whoever executes the session, and ends what an earlier holder that died left running.
    /// `None`: somebody executes it, or something cannot be ended.
    async fn alone(&self, session: SessionId) -> Result<Option<std::fs::File>, Fault> {
        let slot = self.slot(session).lock_owned().await;
        let records = self.records.clone();
        let taken = crate::blocking(move || {
            std::fs::create_dir_all(&records)?;
            let Some(lock) = locked(&records.join(format!("{session}.lock")))? else { return Ok(None) };
            let swept = sandbox::sweep(&records.join(session.to_string()))?;
            Ok((swept.left == 0).then_some(lock))
        })
        .await?;
        drop(slot);
        taken.map_err(|error| io_fault("sweeping", &self.records, &error))
    }

    /// Does a session here borrow objects from this one?
    fn lends(&self, session: SessionId) -> Result<bool, Fault> {
        let objects = self.home(session).git.join("objects");
        let others = self.list()?.into_iter().filter(|other| other.session != session);
        let borrowed = others.filter_map(|other| self.home(other.session).record().ok().flatten()?.ready);
        Ok(borrowed.into_iter().any(|facts| facts.borrowed.contains(&objects)))
    }

    async fn park(&self, session: SessionId) -> Result<Removed, Fault> {
        let mut held = self.hold(session).await?;
        let origin = self.lender(&held);
        let pin = format!("refs/kapell/base/{session}");
        // An origin that is gone can neither keep nor lose anything.
        if !held.facts.repo.is_dir() {
            return Ok(Removed::default());
        }
        let mut removed = Removed::default();
        if held.home.tree.is_dir() {
            let repo = held.guard(&self.binary)?;
            held.imaged(&repo).await?;
            let (mut after, _) = taken(held).await?;
            let commit = after.commit("parked by kapell: work that did not land");
            let commit = commit.map_err(|error| io_fault("committing in", &after.home.dir, &error))?;
            let facts = &after.facts;
            let safe =
                commit == facts.base || facts.landed.as_ref().is_some_and(|landed| landed.commit == commit);
            if !safe {
                let parked = format!("refs/kapell/parked/{session}");
                let spec = format!("+refs/heads/{}:{parked}", branch(session));
                fetch(&origin, &after.home.git, &spec).await?;
                removed.parked = Some(parked);
            }
        }
        origin.change(["update-ref", "-d", &pin]).await?;
        Ok(removed)
    }

    fn lender(&self, held: &Held) -> Repo {
        match self.session_of_git(&held.facts.common) {
            Some(parent) => {
                let home = self.home(parent);
                Repo::own(&self.binary.of(parent), &home.git, &home.tree)
            }
            None => Repo::theirs(&self.binary.of(held.home.session), &held.facts.repo),
        }
    }

    fn session_of_git(&self, git: &Path) -> Option<SessionId> {
        let id = git.strip_prefix(&self.sessions).ok()?.components().next()?;
        id.as_os_str().to_str()?.parse().ok()
    }
}

/// A lock file, locked; `None` when somebody has it. One that was removed before it was locked keeps nobody out.
fn locked(path: &Path) -> io::Result<Option<std::fs::File>> {
    loop {
        let lock = std::fs::File::options().create(true).truncate(false).write(true).open(path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        let ours = lock.metadata()?;
        match std::fs::metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino()) => return Ok(Some(lock)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

/// Removes a directory that Kapell made and all below; links are removed, never followed. Directories that were
/// made read-only (module caches do that) are opened first.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_dir() => return std::fs::remove_file(dir),
        Ok(_) => {}
    }
    let remove = || {
        // tidy: allow(recursive-delete): callers pass parts of a session's directory after its marker was read, or
        // checkouts in a check slot whose lock they hold; links inside are removed, never followed.
        std::fs::remove_dir_all(dir)
    };
    let mut tries = 0;
    loop {
        match remove() {
            Err(error) if tries < REMOVE_TRIES => match error.kind() {
                io::ErrorKind::PermissionDenied => make_writable(dir)?,
                // A program that was killed a moment ago wrote one more file.
                io::ErrorKind::DirectoryNotEmpty => {}
                io::ErrorKind::NotFound => return Ok(()),
                _ => return Err(error),
            },
            other => return other,
        }
        tries += 1;
    }
}

fn make_writable(dir: &Path) -> io::Result<()> {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(of).sum()
}
