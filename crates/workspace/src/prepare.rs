//! Makes a session's clone: looks at the origin, pins the base there, borrows its objects, checks the base out.
//!
//! Safe to repeat at any point: what is half made is made anew. Start at [`Git::prepare_session`].

use crate::git::{Binary, Repo, pieces};
use crate::object::read_plain;
use crate::origin::Origin;
use crate::session::{Facts, Home, Open, Record, io_fault};
use crate::{Git, Held, blocking};
use contract::workspace::{self, Ready};
use contract::{Fault, Kind, SessionId};
use std::path::Path;

impl Git {
    pub(crate) async fn prepare_session(
        &self,
        session: SessionId,
        origin: workspace::Origin,
    ) -> Result<Ready, Fault> {
        self.binary.ready().await?;
        let mut guard = self.slot(session).lock_owned().await;
        let home = self.home(session);
        let dir = home.dir.clone();
        let fault = |error: std::io::Error| io_fault("preparing", &dir, &error);
        if guard.is_none() {
            *guard = Open::load(home.clone()).map_err(fault)?;
        }
        if guard.is_none() {
            *guard = Some(self.make(home, origin).await?);
        }
        let held = Held(guard);
        held.guard(&self.binary)?;
        let Facts { base, target, notes, .. } = held.facts.clone();
        Ok(Ready { root: held.home.tree.clone(), base, target, notes })
    }

    async fn make(&self, home: Home, wanted: workspace::Origin) -> Result<Open, Fault> {
        let binary = self.binary.of(home.session);
        let (repo, parent) = self.origin_repo(&binary, &wanted.repo)?;
        let base = match (&wanted.base, parent) {
            (None, Some(parent)) => Some(self.save(parent, format!("child.{}", home.session)).await?),
            (base, _) => base.clone(),
        };
        let origin =
            Origin::look(&repo, base.as_deref(), wanted.target.as_deref(), self.ignore.as_deref()).await?;
        let pin = format!("refs/kapell/base/{}", home.session);
        let pinned = ["update-ref", &pin, &origin.base];
        let ended = repo.change(pinned).await?;
        if ended.code != Some(0) {
            return Err(repo.failed(&pinned, &ended));
        }
        let open = Open { facts: facts(&repo, &origin, parent.is_some())?, home, image: None, last: None };
        let open = blocking(move || found(open, &origin).map(|open| (open, origin))).await?;
        let (mut open, origin) = open.map_err(|error| io_fault("making", &self.sessions, &error))?;
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
        let finished = blocking(move || finish(open, &origin)).await?;
        finished.map_err(|error| io_fault("making", &self.sessions, &error))
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
        notes.push("savepoints leave out what git ignores and untracked files above 64 MiB".to_owned());
        notes
    }
}

fn facts(repo: &Repo, origin: &Origin, child: bool) -> Result<Facts, Fault> {
    let unfit = || {
        let what = format!("the path {} is not UTF-8", repo.dir().display());
        Fault::new(Kind::UserFixable, "path-not-utf8", what).hint("rename that directory")
    };
    origin.common.to_str().ok_or_else(unfit)?;
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

/// Makes the session's directory with marker and repository; what an earlier try left is removed first.
fn found(open: Open, origin: &Origin) -> std::io::Result<Open> {
    let home = &open.home;
    if let Some(parent) = home.dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::create_dir(&home.dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let ours = home.record()?.is_some() || std::fs::read_dir(&home.dir)?.next().is_none();
            if !ours {
                return Err(std::io::Error::other("it exists and was not made by Kapell; move it away"));
            }
        }
        other => other?,
    }
    home.save(&Record { session: home.session, ready: None })?;
    for dir in [&home.tree, &home.git] {
        crate::tidy::remove_tree(dir)?;
    }
    open.found(&origin.exclude, origin.shallow.as_deref())?;
    Ok(open)
}

/// The agent's repository, then the record that says all of it stands.
fn finish(open: Open, origin: &Origin) -> std::io::Result<Open> {
    open.found_agents(&origin.exclude, origin.shallow.as_deref())?;
    open.home.save(&Record { session: open.home.session, ready: Some(open.facts.clone()) })?;
    Ok(open)
}

/// Entries of the user's tree that differ from its HEAD.
async fn uncommitted(repo: &Repo) -> Result<usize, Fault> {
    let answer =
        repo.call(["status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal"]).await?;
    Ok(pieces(&answer).count())
}
