//! Makes a session's clone: looks at the origin, pins the base there, borrows its objects, checks the base out.
//!
//! Safe to repeat at any point: what is half made is made anew. Start at [`Git::prepare_session`].

use crate::erase::remove_tree;
use crate::git::{Binary, Repo, pieces};
use crate::object::{Fresh, TEMP, read_plain};
use crate::origin::Origin;
use crate::session::{Facts, Home, Open, Record, STAGE, io_fault, pin};
use crate::{Git, Guard, Held, blocking};
use contract::workspace::{self, Ready};
use contract::{Fault, Kind, SessionId};
use std::path::{Path, PathBuf};

impl Git {
    pub(crate) async fn prepare_session(
        &self,
        session: SessionId,
        origin: workspace::Origin,
    ) -> Result<Ready, Fault> {
        self.binary.ready().await?;
        let mut guard = self.opened(session).await?;
        let home = self.home(session);
        if guard.is_none() {
            if origin.worked {
                return Err(lost(&home));
            }
            guard = self.make(guard, home, origin).await?;
        }
        let held = Held(guard);
        held.guard(&self.binary)?;
        let Facts { base, target, notes, .. } = held.facts.clone();
        Ok(Ready { root: held.home.tree.clone(), base, target, notes })
    }

    /// File work takes the session's lock along: it goes on when this future is dropped, and nobody else may begin.
    async fn make(&self, guard: Guard, home: Home, wanted: workspace::Origin) -> Result<Guard, Fault> {
        let binary = self.binary.of(home.session);
        let (repo, parent) = self.origin_repo(&binary, &wanted.repo)?;
        let base = match (&wanted.base, parent) {
            (None, Some(parent)) => Some(self.save(parent, format!("child.{}", home.session)).await?),
            (base, _) => base.clone(),
        };
        let origin =
            Origin::look(&repo, base.as_deref(), wanted.target.as_deref(), self.ignore.as_deref()).await?;
        let facts = facts(&repo, &origin, parent.is_some())?;
        let open = Open { facts, home: home.staged(), image: None, last: None, fresh: Fresh::default() };
        let fault = |error: std::io::Error| io_fault("making", &self.sessions, &error);
        let dir = repo.dir().to_path_buf();
        // Who removes an unfinished workspace finds in its marker where its pin is.
        let (guard, home, marked) = blocking(move || {
            let marked = mark(&home, dir);
            (guard, home, marked)
        })
        .await?;
        marked.map_err(fault)?;
        let pin = pin(home.session);
        let pinned = ["update-ref", &pin, &origin.base];
        let ended = repo.change(pinned).await?;
        if ended.code != Some(0) {
            return Err(repo.failed(&pinned, &ended));
        }
        let (guard, founded) = blocking(move || {
            let founded = found(&home, &open, &origin).map(|()| (home, open, origin));
            (guard, founded)
        })
        .await?;
        let (home, mut open, origin) = founded.map_err(fault)?;
        let own = Repo::own(&binary, &open.home.git, &open.home.tree);
        let checkout = ["-c", "checkout.workers=0", "read-tree", "-m", "-u", &open.facts.base];
        let dirty = async {
            match origin.bare || parent.is_some() {
                true => Ok(0),
                false => uncommitted(&repo).await,
            }
        };
        let (checked_out, dirty) = tokio::join!(own.call(checkout), dirty);
        checked_out?;
        open.facts.notes = self.notes(&open, dirty?, &origin);
        let (mut guard, finished) = blocking(move || (guard, finish(home, open, &origin))).await?;
        *guard = Some(finished.map_err(fault)?);
        Ok(guard)
    }

    /// The repository worked for: Kapell's own one when it is another session's workspace.
    fn origin_repo(&self, binary: &Binary, dir: &Path) -> Result<(Repo, Option<SessionId>), Fault> {
        if let Some(parent) = self.session_of(dir) {
            let home = self.home(parent);
            return Ok((Repo::own(binary, &home.git, &home.tree), Some(parent)));
        }
        if !dir.is_dir() {
            let what = format!("there is no directory {}", dir.display());
            return Err(Fault::new(Kind::UserFixable, "no-such-directory", what).hint("check the path"));
        }
        Ok((Repo::theirs(binary, dir), None))
    }

    /// Whose workspace a directory is, if it is one.
    pub(crate) fn session_of(&self, dir: &Path) -> Option<SessionId> {
        let id = dir.strip_prefix(&self.sessions).ok()?.components().next()?;
        let id: SessionId = id.as_os_str().to_str()?.parse().ok()?;
        let home = self.home(id);
        (dir.starts_with(&home.tree) && home.record().ok()??.ready.is_some()).then_some(id)
    }

    fn notes(&self, open: &Open, dirty: usize, origin: &Origin) -> Vec<String> {
        let mut notes = Vec::new();
        if dirty > 0 {
            let (s, are) = if dirty == 1 { ("", "is") } else { ("s", "are") };
            notes.push(format!(
                "{dirty} uncommitted change{s} in your tree {are} not seen; the work starts from the commit"
            ));
        }
        if open.home.tree.join(".gitmodules").is_file() {
            notes.push("submodules are left empty and unchanged in the workspace".to_owned());
        }
        let attributes =
            read_plain(&open.home.tree.join(".gitattributes")).ok().flatten().unwrap_or_default();
        let attributes = String::from_utf8_lossy(&attributes);
        if attributes.contains("filter=") || attributes.contains("eol=crlf") {
            notes.push(
                "filters (such as LFS) and line-end conversion are off in the workspace: files are as git stores them"
                    .to_owned(),
            );
        }
        if origin.shallow.is_some() {
            notes.push("the repository is shallow; history ends where it ends there".to_owned());
        }
        notes
    }
}

/// The workspace is not there, and what the session did was in it.
fn lost(home: &Home) -> Fault {
    let (session, dir) = (home.session, home.dir.display());
    let what =
        format!("the workspace of session {session} is gone, with the work in it that had not landed: {dir}");
    let hint = format!("`kapell cancel {session}` ends the session; to go on, put that directory back");
    Fault::new(Kind::UserFixable, "workspace-lost", what).hint(hint)
}

fn facts(repo: &Repo, origin: &Origin, child: bool) -> Result<Facts, Fault> {
    let unfit = || {
        let what = format!("the path {} is not UTF-8", repo.dir().display());
        Fault::new(Kind::UserFixable, "path-not-utf8", what).hint("rename that directory")
    };
    let common = origin.common.to_str().ok_or_else(unfit)?;
    if common.contains('\n') || repo.dir().as_os_str().as_encoded_bytes().contains(&b'\n') {
        // Git answers in lines, and lists in lines what is borrowed.
        let what = format!("the path {:?} has a line feed in it", repo.dir());
        return Err(Fault::new(Kind::UserFixable, "path-line-feed", what).hint("rename that directory"));
    }
    let mut borrowed = vec![origin.common.join("objects")];
    if child {
        // Git follows alternates of alternates only so far: a child names all of them itself.
        let inherited = read_plain(&origin.common.join("objects/info/alternates"));
        let inherited =
            inherited.map_err(|error| io_fault("reading", &origin.common, &error))?.unwrap_or_default();
        let lines = inherited.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        borrowed.extend(lines.map(crate::git::path));
    }
    Ok(Facts {
        repo: repo.dir().to_path_buf(),
        common: origin.common.clone(),
        bare: origin.bare,
        format: origin.format.name().to_owned(),
        base: origin.base.clone(),
        base_tree: origin.base_tree.clone(),
        target: origin.target.clone(),
        author: origin.author.clone(),
        notes: Vec::new(),
        borrowed,
        work: None,
        landed: None,
        landing: None,
        left: None,
    })
}

/// Makes the session's directory with its marker.
fn mark(home: &Home, origin: PathBuf) -> std::io::Result<()> {
    if let Some(parent) = home.dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::create_dir(&home.dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if home.record()?.is_none() && !only_leftovers(&home.dir)? {
                return Err(std::io::Error::other("it exists and was not made by Kapell; move it away"));
            }
        }
        other => other?,
    }
    home.save(&Record { session: home.session, ready: None, origin: Some(origin) })
}

/// Makes the repository to check out with. What an earlier try left is removed.
fn found(home: &Home, open: &Open, origin: &Origin) -> std::io::Result<()> {
    remove_tree(&home.tree)?;
    remove_tree(&home.git)?;
    clear_stages(home);
    open.found(&origin.exclude, origin.shallow.as_deref())
}

/// True when a try that died before its marker stood left nothing but the marker's unfinished file; that is removed.
fn only_leftovers(dir: &Path) -> std::io::Result<bool> {
    let entries: Vec<_> = std::fs::read_dir(dir)?.collect::<Result<_, _>>()?;
    let ours = entries.iter().all(|entry| entry.file_name().as_encoded_bytes().starts_with(TEMP.as_bytes()));
    if ours {
        entries.iter().try_for_each(|entry| std::fs::remove_file(entry.path()))?;
    }
    Ok(ours)
}

/// Moves the parts to where they belong, adds the agent's repository, and then the record that says all of it stands.
fn finish(home: Home, open: Open, origin: &Origin) -> std::io::Result<Open> {
    std::fs::rename(&open.home.git, &home.git)?;
    std::fs::rename(&open.home.tree, &home.tree)?;
    let open = Open { home, ..open };
    open.found_agents(&origin.exclude, origin.shallow.as_deref())?;
    clear_stages(&open.home);
    open.home.save(&Record::ready(open.home.session, open.facts.clone()))?;
    Ok(open)
}

/// Removes stages, as far as that goes: in one a program may still be dying. The rest goes with the session.
fn clear_stages(home: &Home) {
    for entry in std::fs::read_dir(&home.dir).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(STAGE.as_bytes()) {
            drop(remove_tree(&entry.path()));
        }
    }
}

/// Entries of the user's tree that differ from its HEAD.
async fn uncommitted(repo: &Repo) -> Result<usize, Fault> {
    let answer =
        repo.call(["status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal"]).await?;
    Ok(pieces(&answer).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_marker_is_ours_and_anything_else_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(format!("{TEMP}1-0")), "half").unwrap();
        assert!(only_leftovers(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        for name in ["file", &format!("{TEMP}2-0")] {
            std::fs::write(dir.path().join(name), "somebody's").unwrap();
        }
        assert!(!only_leftovers(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
