//! The Workspace port, method by method; each hands on to the file that does it.
//!
//! Decides nothing itself but how a change is read for judging. Start at the `impl`.

use crate::Git;
use crate::apply::contents;
use crate::git::{Repo, pieces, revision};
use crate::inspect::{self, FileChange};
use crate::object::{EXEC, FILE, Oid, Store};
use contract::workspace::{Change, CheckMerged, Landed, Landing, Origin, Ready, Workspace};
use contract::{BoxFuture, Cancel, Fault, Kind, SessionId};
use std::path::PathBuf;

impl Workspace for Git {
    fn prepare(&self, session: SessionId, origin: Origin) -> BoxFuture<'_, Result<Ready, Fault>> {
        Box::pin(self.prepare_session(session, origin))
    }

    fn release(&self, session: SessionId) -> BoxFuture<'_, ()> {
        Box::pin(self.let_go(session))
    }

    fn root(&self, session: SessionId) -> PathBuf {
        self.home(session).tree
    }

    fn savepoint(&self, session: SessionId, label: String) -> BoxFuture<'_, Result<String, Fault>> {
        Box::pin(self.save(session, label))
    }

    fn restore(&self, session: SessionId, label: String) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(self.put_back(session, label))
    }

    fn commit(&self, session: SessionId, message: String) -> BoxFuture<'_, Result<String, Fault>> {
        Box::pin(self.commit_work(session, message))
    }

    fn inspect(
        &self,
        session: SessionId,
        base: String,
        result: String,
        commands: Vec<String>,
    ) -> BoxFuture<'_, Result<Change, Fault>> {
        Box::pin(async move {
            let (repo, store) = {
                let held = self.hold(session).await?;
                (held.guard(&self.binary)?, held.store())
            };
            let (files, changes) = read_changes(&repo, &store, &base, &result).await?;
            let flags = crate::blocking(move || inspect::judge(&changes, &commands)).await?;
            Ok(Change { files, flags })
        })
    }

    fn diff(
        &self,
        session: SessionId,
        base: String,
        result: String,
    ) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async move { self.diff_text(session, &base, &result).await })
    }

    fn integrate<'a>(
        &'a self,
        session: SessionId,
        _origin: Origin,
        landing: Landing,
        check: CheckMerged<'a>,
        cancel: Cancel,
    ) -> BoxFuture<'a, Result<Landed, Fault>> {
        Box::pin(self.land(session, landing, check, cancel))
    }

    fn adopt(
        &self,
        session: SessionId,
        child: SessionId,
        commit: String,
    ) -> BoxFuture<'_, Result<(bool, String), Fault>> {
        Box::pin(async move { self.take_in(session, child, &commit).await })
    }
}

/// One side of a changed path.
type Side = Option<(String, Oid)>;

/// How many files differ, and the texts of those that judging wants to see.
async fn read_changes(
    repo: &Repo,
    store: &Store,
    base: &str,
    result: &str,
) -> Result<(u64, Vec<FileChange>), Fault> {
    let (base, result) = (revision(base)?, revision(result)?);
    let answer = repo.call(["diff-tree", "-r", "-z", "--raw", "--full-index", "-M", base, result]).await?;
    let mut sides: Vec<(Side, Side)> = Vec::new();
    let mut parts = pieces(&answer);
    while let (Some(head), Some(path)) = (parts.next(), parts.next()) {
        let head = String::from_utf8_lossy(head).into_owned();
        let fields: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
        let [old_mode, new_mode, old, new, status] = fields.as_slice() else {
            return Err(Fault::new(
                Kind::Permanent,
                "git-answer",
                format!("git's answer is not a diff: {head}"),
            ));
        };
        let to = if status.starts_with(['R', 'C']) { parts.next().unwrap_or(path) } else { path };
        let side = |mode: &str, oid: &str, path: &[u8]| {
            let regular = u32::from_str_radix(mode, 8).is_ok_and(|mode| matches!(mode, FILE | EXEC));
            regular.then(|| Some((String::from_utf8_lossy(path).into_owned(), Oid::parse(oid)?))).flatten()
        };
        let old = if status.starts_with('C') { None } else { side(old_mode, old, path) };
        sides.push((old, side(new_mode, new, to)));
    }
    let wanted = sides.iter().flat_map(|(old, new)| [old, new]).flatten();
    let wanted: Vec<Oid> = wanted.filter(|(path, _)| inspect::wants(path)).map(|(_, oid)| *oid).collect();
    let texts = contents(repo, store, wanted).await?;
    let text = |side: &Side| {
        let (_, oid) = side.as_ref()?;
        // Unread files still count as there.
        Some(texts.get(oid).map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    let changes = sides.iter().map(|(old, new)| FileChange {
        old_path: old.as_ref().map(|(path, _)| path.clone()),
        new_path: new.as_ref().map(|(path, _)| path.clone()),
        old: text(old),
        new: text(new),
    });
    Ok((sides.len() as u64, changes.collect()))
}
