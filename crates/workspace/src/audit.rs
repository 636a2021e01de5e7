//! Looks at what Kapell keeps on disk beside the store: workspaces, pins in the user's repositories, check slots.
//!
//! Changes nothing and says what is, not what to think of it. Start at [`Git::audit`].

use crate::Git;
use crate::checks::slot;
use crate::git::Repo;
use crate::object::read_plain;
use crate::session::{Facts, Home};
use contract::{Fault, SessionId};
use std::io;
use std::path::{Path, PathBuf};

/// An entry of the directory of workspaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub dir: PathBuf,
    /// Whose it is, by its name.
    pub session: Option<SessionId>,
    /// What it is.
    pub standing: Standing,
}

/// What an entry of the directory of workspaces is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A workspace.
    Whole(Pinned),
    /// Its making never came to its end; the next try makes it anew.
    Unfinished,
    /// A workspace of Kapell with something wrong, and what.
    Broken(String),
    /// Not made by Kapell.
    Foreign,
}

/// What a workspace needs of the repository it works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The repository it works for; another workspace for a child session.
    pub repo: PathBuf,
    /// The commit it started from.
    pub base: String,
    /// Is the repository another session's workspace?
    pub child: bool,
}

/// A ref of Kapell in a user's repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Its full name.
    pub name: String,
    /// The commit.
    pub commit: String,
}

/// Places where checks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slots {
    /// All of them.
    pub all: u64,
    /// In use.
    pub held: u64,
    /// Free, with checkouts of a run that died.
    pub left: u64,
}

impl Git {
    /// Every entry of the directory of workspaces.
    pub fn audit(&self) -> Result<Vec<Found>, Fault> {
        let entries = match std::fs::read_dir(&self.sessions) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(crate::session::io_fault("listing", &self.sessions, &error)),
        };
        let mut found: Vec<Found> = entries
            .flatten()
            .map(|entry| {
                let session = entry.file_name().to_str().and_then(|name| name.parse().ok());
                let standing = session.map_or(Standing::Foreign, |session| self.standing(session));
                Found { dir: entry.path(), session, standing }
            })
            .collect();
        found.sort_unstable_by(|a, b| a.dir.cmp(&b.dir));
        Ok(found)
    }

    /// What a session's directory is; `None`: there is none.
    pub fn audit_one(&self, session: SessionId) -> Option<Found> {
        let dir = self.home(session).dir;
        dir.symlink_metadata().ok()?;
        Some(Found { dir, session: Some(session), standing: self.standing(session) })
    }

    fn standing(&self, session: SessionId) -> Standing {
        let home = self.home(session);
        if !home.dir.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Standing::Foreign;
        }
        let facts = match home.record() {
            Ok(None) if home.dir.join("session.json").exists() => {
                return Standing::Broken("its session.json is of another session".into());
            }
            Ok(None) => return Standing::Foreign,
            Err(error) => return Standing::Broken(format!("its session.json cannot be read: {error}")),
            Ok(Some(record)) => match record.ready {
                None => return Standing::Unfinished,
                Some(facts) => facts,
            },
        };
        match broken(&home, &facts) {
            Some(why) => Standing::Broken(why),
            None => {
                let child = self.session_at(&facts.common).is_some();
                Standing::Whole(Pinned { repo: facts.repo, base: facts.base, child })
            }
        }
    }

    /// Kapell's refs in a repository.
    pub async fn pins(&self, repo: &Path) -> Result<Vec<Pin>, Fault> {
        let repo = Repo::theirs(&self.binary.quiet(), repo);
        let answer = repo.call(["for-each-ref", "--format=%(refname) %(objectname)", "refs/kapell"]).await?;
        let pin = |line: &str| {
            let (name, commit) = line.split_once(' ')?;
            Some(Pin { name: name.to_owned(), commit: commit.to_owned() })
        };
        Ok(String::from_utf8_lossy(&answer).lines().filter_map(pin).collect())
    }

    /// Does a repository have this commit, with its tree?
    pub async fn has_commit(&self, repo: &Path, commit: &str) -> Result<bool, Fault> {
        let repo = Repo::theirs(&self.binary.quiet(), repo);
        let tree = format!("{}^{{tree}}", crate::git::revision(commit)?);
        Ok(repo.ask(["cat-file", "-e", &tree]).await?.code == Some(0))
    }

    /// The places where checks run.
    pub fn audit_slots(&self) -> Slots {
        slot::audit(&self.checks)
    }
}

/// What is wrong with a workspace that has its marker.
fn broken(home: &Home, facts: &Facts) -> Option<String> {
    for dir in [&home.git, &home.tree] {
        if !std::fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir()) {
            return Some(format!("{} is missing", dir.display()));
        }
    }
    for stray in ["commondir", "gitdir", "config.worktree"] {
        if home.git.join(stray).symlink_metadata().is_ok() {
            return Some(format!("its repository has a file `{stray}` that Kapell did not make"));
        }
    }
    let lent = facts.borrowed.iter().find(|dir| !dir.is_dir());
    if let Some(dir) = lent {
        return Some(format!("the objects it borrows are gone from {}", dir.display()));
    }
    match read_plain(&home.git.join("objects/info/alternates")) {
        Ok(Some(lines)) if lines == facts.alternates(None) => None,
        Ok(_) => Some("its list of borrowed objects is not what Kapell wrote".into()),
        Err(error) => Some(format!("its list of borrowed objects cannot be read: {error}")),
    }
}
