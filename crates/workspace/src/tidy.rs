//! Takes away what Kapell made, and nothing else: whole session directories, by their marker.
//!
//! Knows no other place and no reason why something is needed; work that is nowhere else is parked in the user's
//! repository first. Start at [`Git::remove`].

use crate::erase::{bytes_below, remove_tree};
use crate::git::Repo;
use crate::scan::Skipped;
use crate::session::{Facts, Home, MARKER, Record, branch, io_fault, pin};
use crate::work::{fetch, taken, taken_ref};
use crate::{Git, Held};
use contract::{Fault, Kind, SessionId, limits};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a tree is called from the moment that it may go: whatever had to be kept of it has been.
const GOING: &str = "going";

/// A session's directory, for a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whose.
    pub session: SessionId,
    /// The repository it works for, once prepared.
    pub repo: Option<PathBuf>,
    /// Bytes on disk, without what is borrowed.
    pub bytes: u64,
}

/// What removing did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Work which never landed: the ref that keeps it, and the user's repository that has this ref.
    pub parked: Option<(String, PathBuf)>,
}

/// Where work of a removed workspace is kept in the user's repository.
pub fn parked(session: SessionId) -> String {
    format!("refs/kapell/parked/{session}")
}

impl Git {
    /// Every session that has a directory here, oldest first. Anything else in there is passed over.
    pub fn list(&self) -> Result<Vec<Listed>, Fault> {
        let listed = self.records()?.into_iter().map(|(home, record)| {
            let repo = record.ready.map(|facts| facts.repo);
            Listed { session: home.session, repo, bytes: bytes_below(&home.dir) }
        });
        Ok(listed.collect())
    }

    /// The records of all sessions that have a directory here, oldest first.
    fn records(&self) -> Result<Vec<(Home, Record)>, Fault> {
        let entries = match std::fs::read_dir(&self.sessions) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_fault("listing", &self.sessions, &error)),
        };
        let named =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<SessionId>().ok());
        let mut found: Vec<_> = named
            .filter_map(|session| {
                let home = self.home(session);
                let record = home.record().ok()??;
                Some((home, record))
            })
            .collect();
        found.sort_unstable_by_key(|(home, _)| home.session);
        Ok(found)
    }

    /// Removes a session's directory and unpins its base. Work that never landed is first parked in the user's
    /// repository under `refs/kapell/parked/<session>`; a child's too, in the repository its root works for. Refused
    /// while the session is executed or a program of it cannot be ended, while another session borrows objects from it,
    /// and when there is something to park and the repository is gone. `may`: the last word, heard when nobody can begin
    /// to execute it any more.
    pub async fn remove(
        &self,
        session: SessionId,
        may: impl Future<Output = Result<(), Fault>>,
    ) -> Result<Removed, Fault> {
        let refuse = |code: &str, what: &str, hint: &str| {
            Err(Fault::new(Kind::UserFixable, code, format!("the workspace of session {session} {what}"))
                .hint(hint))
        };
        let Some(alone) = self.alone(session).await? else {
            return refuse("workspace-in-use", "is in use by a running program", "`kapell cancel` ends it");
        };
        let home = self.home(session);
        let record = match home.record() {
            Ok(Some(record)) => record,
            Ok(None) => {
                return refuse(
                    "workspace-foreign",
                    "has no marker of Kapell",
                    "remove it yourself if it is yours",
                );
            }
            Err(error) => return Err(io_fault("reading", &home.dir, &error)),
        };
        if std::fs::symlink_metadata(&home.dir).is_ok_and(|meta| meta.is_symlink()) {
            return refuse("workspace-foreign", "is a link", "remove it yourself if it is yours");
        }
        may.await?;
        if self.lends(session)? {
            return refuse("workspace-lends", "lends objects to a child session", "remove the child first");
        }
        let removed = match record.ready {
            Some(_) => self.park(session).await?,
            None => {
                if let Some(origin) = &record.origin {
                    self.unpin(session, origin).await?;
                }
                Removed::default()
            }
        };
        let mut slot = self.slot(session).lock_owned().await;
        *slot = None;
        let dir = home.dir.clone();
        let gone = crate::blocking(move || {
            let _locked = (slot, alone);
            erase(&home)
        })
        .await?;
        gone.map_err(|error| io_fault("removing", &dir, &error))?;
        self.let_go(session).await;
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
        let others = self.records()?.into_iter().filter(|(home, _)| home.session != session);
        let mut borrowed = others.filter_map(|(_, record)| Some(record.ready?.borrowed)).flatten();
        Ok(borrowed.any(|dir| self.session_at(&dir) == Some(session)))
    }

    /// Keeps what is nowhere else, in the user's repository, and unpins the base.
    async fn park(&self, session: SessionId) -> Result<Removed, Fault> {
        let held = self.hold(session).await?;
        let (facts, home) = (held.facts.clone(), held.home.clone());
        let users = self.users(&facts)?;
        // An interrupted removal kept what there was to keep before it touched anything.
        let begun = home.dir.join(GOING).symlink_metadata().is_ok();
        let unsaved = match home.tree.is_dir() {
            true => self.unsaved(held).await,
            false if begun => Ok(false),
            false => Ok(facts.work.as_ref().is_some_and(|work| !self.saved(session, &facts, &work.commit))),
        };
        let users = match (users.place(), unsaved) {
            (None, Ok(false)) => return Ok(Removed::default()),
            (None, _) => {
                let (repo, tree) = (users.repo.display(), home.tree.display());
                let what = format!(
                    "the repository {repo} that session {session} worked for is gone, and work that did not land is \
                     only in {tree}"
                );
                let hint = format!("put it back where it was, or remove {} yourself", home.dir.display());
                return Err(Fault::new(Kind::UserFixable, "origin-gone", what).hint(hint));
            }
            (Some(place), unsaved) => unsaved?.then_some(place),
        };
        let mut removed = Removed::default();
        if let Some(users) = users {
            let parked = parked(session);
            let spec = format!("+refs/heads/{}:{parked}", branch(session));
            fetch(&Repo::theirs(&self.binary.of(session), &users), &home.git, &spec).await?;
            removed.parked = Some((parked, users));
        }
        self.unpin(session, facts.place().as_deref().unwrap_or(&facts.common)).await?;
        Ok(removed)
    }

    /// Commits the tree as it is. True when that commit is nowhere but here. Refused when something that git does not
    /// ignore cannot be in it.
    async fn unsaved(&self, mut held: Held) -> Result<bool, Fault> {
        let repo = held.guard(&self.binary)?;
        held.imaged(&repo).await?;
        let (mut held, taken) = taken(held).await?;
        if let Some(lost) = taken.skipped.first() {
            return Err(not_saved(&held.home, lost, taken.skipped.len() - 1));
        }
        let commit = held.commit("parked by kapell: work that did not land");
        let commit = commit.map_err(|error| io_fault("committing in", &held.home.dir, &error))?;
        Ok(!self.saved(held.home.session, &held.facts, &commit))
    }

    /// Is this commit of a session's the base, or landed, or in the tree of its parent?
    fn saved(&self, session: SessionId, facts: &Facts, commit: &str) -> bool {
        let taken_in = || {
            let parent = self.home(self.session_at(&facts.common)?);
            parent.read_ref(&taken_ref(session)).ok()?
        };
        commit == facts.base
            || facts.landed.as_ref().is_some_and(|landed| landed.commit == commit)
            || taken_in().is_some_and(|taken| taken.to_string() == commit)
    }

    /// What is on record about the user's repository, which for a child is the one that its root works for.
    fn users(&self, facts: &Facts) -> Result<Facts, Fault> {
        let mut facts = facts.clone();
        for _ in 0..=limits::DEPTH {
            let Some(parent) = self.session_at(&facts.common) else { return Ok(facts) };
            let home = self.home(parent);
            let record = home.record().map_err(|error| io_fault("reading", &home.dir, &error))?;
            facts = record.and_then(|record| record.ready).ok_or_else(|| {
                let what = format!("session {parent}, for which it worked, has no workspace any more");
                let hint = format!("put {} back, or save what you need and remove it", home.dir.display());
                Fault::new(Kind::UserFixable, "workspace-missing", what).hint(hint)
            })?;
        }
        let what = format!("{} is a child of itself", facts.common.display());
        Err(Fault::new(Kind::Permanent, "workspace-foreign", what).hint("look at its session.json"))
    }

    /// Takes away the ref that keeps a session's base in the repository it began from, if that is still there.
    async fn unpin(&self, session: SessionId, origin: &Path) -> Result<(), Fault> {
        let binary = self.binary.of(session);
        let repo = match self.session_at(origin) {
            Some(parent) => {
                let home = self.home(parent);
                Repo::own(&binary, &home.git, &home.tree)
            }
            None => Repo::theirs(&binary, origin),
        };
        match repo.dir().is_dir() {
            true => repo.change(["update-ref", "-d", &pin(session)]).await.map(drop),
            false => Ok(()),
        }
    }

    /// In whose directory a path is, whether its links were resolved or not.
    pub(crate) fn session_at(&self, path: &Path) -> Option<SessionId> {
        let below =
            [&self.sessions, &self.resolved].into_iter().find_map(|dir| path.strip_prefix(dir).ok())?;
        below.components().next()?.as_os_str().to_str()?.parse().ok()
    }
}

/// What would be gone with the workspace, and is nowhere else. `more`: how many besides it.
fn not_saved(home: &Home, lost: &Skipped, more: usize) -> Fault {
    let shown = String::from_utf8_lossy(&lost.path);
    let more = if more > 0 { format!(" (nor are {more} more)") } else { String::new() };
    let what = format!("`{shown}` of session {} is in no savepoint ({}){more}", home.session, lost.why);
    let hint = format!("move it out of {} or remove it, then again", home.tree.display());
    Fault::new(Kind::UserFixable, "not-saved", what).hint(hint)
}

/// Removes a session's directory. The marker goes last, so that an interrupted removal can be taken up again; before
/// anything of the tree goes it gets another name, so that what is left of it is never taken for work.
fn erase(home: &Home) -> io::Result<()> {
    let going = home.dir.join(GOING);
    if home.tree.symlink_metadata().is_ok() {
        remove_tree(&going)?;
        std::fs::rename(&home.tree, &going)?;
    }
    for entry in std::fs::read_dir(&home.dir)? {
        let entry = entry?;
        if entry.file_name() != MARKER && entry.file_name() != GOING {
            remove_tree(&entry.path())?;
        }
    }
    remove_tree(&going)?;
    std::fs::File::open(&home.dir)?.sync_all()?;
    remove_tree(&home.dir)
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
