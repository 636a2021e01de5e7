//! What happens to a session's tree while it is worked on: savepoint, restore, commit, diff, and a child's work taken in.
//!
//! A savepoint that finds nothing changed starts no program at all. Start at [`Git::save`].

use crate::apply::{Changes, between, between_images};
use crate::git::{Repo, line, pieces, revision};
use crate::image::{Image, Taken, nanos};
use crate::object::{Oid, Stamp, read_plain};
use crate::session::{Open, Point, Record, branch, io_fault, now, save_ref};
use crate::table::Table;
use crate::{Git, Held, blocking};
use contract::error::CHILD_GONE;
use contract::{Fault, Kind, SessionId, limits};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The last image, as a commit.
const IMAGE_REF: &str = "refs/kapell/image";
/// How git says that there is nothing to fetch.
const ABSENT: [&str; 2] = ["couldn't find remote ref", "does not appear to be a git repository"];
/// Names in a message that lists paths.
const NAMED: usize = 20;
/// Files whose change time is this close to the index's may have changed after it was written.
const INDEX_SLACK: Duration = Duration::from_millis(20);

impl Git {
    /// Images the tree under a label. Git calls: none, but for the first savepoint of a process in a session that
    /// has savepoints already (one).
    pub(crate) async fn save(&self, session: SessionId, label: String) -> Result<String, Fault> {
        let name = save_ref(&label)?;
        let mut held = self.hold(session).await?;
        let repo = held.guard(&self.binary)?;
        if let Some(there) = held.home.read_ref(&name).map_err(|error| fault(&held, &error))? {
            return Ok(there.to_string());
        }
        held.imaged(&repo).await?;
        let (held, commit) = blocking(move || {
            let commit = held.save_as(&name, &label);
            (held, commit)
        })
        .await?;
        commit.map(|oid| oid.to_string()).map_err(|error| fault(&held, &error))
    }

    /// Puts the tree back to a savepoint. Git calls: one, and one more for contents that are only in the user's packs.
    pub(crate) async fn put_back(&self, session: SessionId, label: String) -> Result<bool, Fault> {
        let name = save_ref(&label)?;
        let mut held = self.hold(session).await?;
        let repo = held.guard(&self.binary)?;
        let Some(commit) = held.home.read_ref(&name).map_err(|error| fault(&held, &error))? else {
            return Ok(false);
        };
        held.imaged(&repo).await?;
        let (held, taken) = taken(held).await?;
        let mut changes = between_images(&repo, &taken.tree.to_string(), &commit.to_string()).await?;
        // What the savepoint has not a byte of may have stood there: it is not taken for new.
        let message = held.store().loose(&commit).map_err(|error| fault(&held, &error))?.unwrap_or_default();
        let message = String::from_utf8_lossy(&message);
        let unsaved = left_out(&message);
        changes.retain(|change| change.new.is_some() || !holds(&unsaved, &change.path));
        let changes = Changes::ready(&repo, &held.store(), changes).await?.over(taken.skipped);
        move_tree(held, changes).await?;
        Ok(true)
    }

    /// Commits the tree on the session's branch, as one commit on the base (or on what landed last). No git calls.
    pub(crate) async fn commit_work(&self, session: SessionId, message: String) -> Result<String, Fault> {
        let mut held = self.hold(session).await?;
        let repo = held.guard(&self.binary)?;
        held.imaged(&repo).await?;
        let (mut held, taken) = taken(held).await?;
        if let Some(lost) = taken.skipped.iter().find(|skipped| skipped.base) {
            let path = String::from_utf8_lossy(&lost.path).into_owned();
            let what = format!("`{path}` cannot be read, so committing would delete it");
            return Err(Fault::new(Kind::UserFixable, "unreadable", what).hint(format!("`chmod u+r {path}`")));
        }
        let (held, commit) = blocking(move || {
            let commit = held.commit(&message);
            (held, commit)
        })
        .await?;
        commit.map_err(|error| fault(&held, &error))
    }

    /// The change as a unified diff.
    pub(crate) async fn diff_text(
        &self,
        session: SessionId,
        base: &str,
        result: &str,
    ) -> Result<Vec<u8>, Fault> {
        let repo = self.hold(session).await?.guard(&self.binary)?;
        unified(repo, base, result).await
    }

    /// The change of a session whose workspace was removed, from the base to the first of these names that the repository
    /// it worked for has: the change and that name. Names without a commit behind them are passed over.
    ///
    /// # Errors
    /// Git's own: the repository or the base is gone.
    pub async fn remains(
        &self,
        repo: &Path,
        base: &str,
        names: &[String],
    ) -> Result<Option<(Vec<u8>, String)>, Fault> {
        let repo = self.place(repo).await?.repo;
        for name in names {
            let commit = format!("{}^{{commit}}", revision(name)?);
            let found = repo.ask(["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).await?;
            if found.code == Some(0) {
                let change = unified(repo, base, &line(&found.output)).await?;
                return Ok(Some((change, name.clone())));
            }
        }
        Ok(None)
    }

    /// Takes a child's commit into the tree, by a three-way merge of whole trees; the tree's uncommitted state is ours.
    pub(crate) async fn take_in(
        &self,
        session: SessionId,
        child: SessionId,
        commit: &str,
    ) -> Result<(bool, String), Fault> {
        let commit = revision(commit)?;
        // Nothing of the own tree is touched before all of the child's is here.
        let (child_git, child_base) = self.parts_of(child).await.map_err(gone)?;
        let mut held = self.hold(session).await?;
        let repo = held.guard(&self.binary)?;
        let (theirs, kept) = (branch(child), format!("refs/kapell/adopted/{child}"));
        fetch(&repo, &child_git, &format!("+refs/heads/{theirs}:{kept}")).await.map_err(gone)?;
        held.imaged(&repo).await?;
        let (held, taken) = taken(held).await?;
        let ours = taken.tree.to_string();
        match merge(&held, &repo, &child_base, &ours, commit).await? {
            Merged::Clean(tree) => {
                let changes = between(&repo, &ours, &tree).await?;
                let files = changes.len();
                let changes = Changes::ready(&repo, &held.store(), changes).await?;
                let held = move_tree(held, changes).await?;
                if let Some(oid) = Oid::parse(commit) {
                    held.home
                        .write_ref(&taken_ref(child), &oid, true)
                        .map_err(|error| fault(&held, &error))?;
                }
                Ok((true, format!("The child's work is in your tree: {files} files changed.")))
            }
            Merged::Conflicts(paths) => {
                Ok((false, format!("The child's work conflicts with your tree, which is as before: {paths}")))
            }
        }
    }

    /// A session's repository, and its base.
    async fn parts_of(&self, session: SessionId) -> Result<(PathBuf, String), Fault> {
        let held = self.hold(session).await?;
        held.guard(&self.binary)?;
        Ok((held.home.git.clone(), held.facts.base.clone()))
    }
}

async fn move_tree(mut held: Held, changes: Changes) -> Result<Held, Fault> {
    let (held, done) = blocking(move || {
        let root = held.home.tree.clone();
        let done = held.image.as_mut().map_or(Ok(()), |image| changes.apply(&root, image));
        (held, done)
    })
    .await?;
    match done {
        Ok(()) => Ok(held),
        Err(error) => Err(fault(&held, &error)),
    }
}

/// Before each path in a savepoint's message that it left out: the reason follows, and then the path.
const LEFT_OUT: &str = "\nleft out (";

/// The paths that a savepoint left out, as its message shows them.
fn left_out(message: &str) -> HashSet<&str> {
    let lines = message.split(LEFT_OUT).skip(1);
    lines.filter_map(|line| Some(line.split_once("): ")?.1.trim_end_matches('\n'))).collect()
}

/// Is this path, or a directory above it, one of them?
fn holds(shown: &HashSet<&str>, path: &[u8]) -> bool {
    let path = if shown.is_empty() { "".into() } else { String::from_utf8_lossy(path) };
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    ends.into_iter().any(|end| shown.contains(&path[..end]))
}

/// The fault as one about a child whose work is not there and will not be. Whatever else went wrong may pass, and then
/// the work is there: nobody is to do it anew.
fn gone(fault: Fault) -> Fault {
    let never = match fault.code.as_str() {
        "workspace-missing" | "workspace-foreign" => true,
        "git-failed" => ABSENT.iter().any(|words| fault.what.contains(words)),
        _ => false,
    };
    if never { Fault { code: CHILD_GONE.to_owned(), ..fault } } else { fault }
}

/// The ref in a parent's repository that names the work of this child's that is in its tree.
pub(crate) fn taken_ref(child: SessionId) -> String {
    format!("refs/kapell/taken/{child}")
}

/// The tree as it is now, off the async threads.
pub(crate) async fn taken(mut held: Held) -> Result<(Held, Taken), Fault> {
    let (held, taken) = blocking(move || {
        let taken = held.take();
        (held, taken)
    })
    .await?;
    match taken {
        Ok(taken) => Ok((held, taken)),
        Err(error) => Err(fault(&held, &error)),
    }
}

fn fault(held: &Held, error: &std::io::Error) -> Fault {
    io_fault("working in", &held.home.dir, error)
}

/// Copies one ref and what it needs from another repository on this machine.
pub(crate) async fn fetch(into: &Repo, from: &std::path::Path, refspec: &str) -> Result<(), Fault> {
    let fixed = [
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--end-of-options",
    ];
    let args = fixed.iter().map(std::ffi::OsStr::new).chain([from.as_os_str(), refspec.as_ref()]);
    let args: Vec<_> = args.collect();
    let ended = into.change(&args).await?;
    if ended.code == Some(0) { Ok(()) } else { Err(into.failed(&args, &ended)) }
}

/// What a merge of trees gave.
#[derive(Debug)]
pub(crate) enum Merged {
    /// The merged tree.
    Clean(String),
    /// The paths that conflict, for people.
    Conflicts(String),
}

/// Merges two trees over a third. Git 2.39 finds merge bases by history only, so the three are dressed as commits.
pub(crate) async fn merge(
    open: &Open,
    repo: &Repo,
    base: &str,
    ours: &str,
    theirs: &str,
) -> Result<Merged, Fault> {
    let spec = |rev: &str| format!("{rev}^{{tree}}");
    let trees = repo.call(["rev-parse", &spec(base), &spec(ours), &spec(theirs)]).await?;
    let trees: Vec<Oid> = line(&trees).lines().filter_map(Oid::parse).collect();
    let [base, ours, theirs] = trees.as_slice() else {
        return Err(Fault::new(Kind::Permanent, "git-answer", "git did not name three trees"));
    };
    let (store, stamp) = (open.store(), kapell(0));
    let dress = |tree: &Oid, parents: &[String]| {
        store.put_commit(tree, parents, &stamp, "merge").map(|c| c.to_string())
    };
    let io = |error| io_fault("writing to", &open.home.git, &error);
    let root = [dress(base, &[]).map_err(io)?];
    let ours = dress(ours, &root).map_err(io)?;
    let theirs = dress(theirs, &root).map_err(io)?;
    let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", &ours, &theirs];
    let ended = repo.ask(args).await?;
    let mut parts = pieces(&ended.output).map(|piece| String::from_utf8_lossy(piece).trim().to_owned());
    match (ended.code, parts.next()) {
        (Some(0), Some(tree)) => Ok(Merged::Clean(tree)),
        (Some(1), Some(_)) => Ok(Merged::Conflicts(some_of(parts.collect()))),
        _ => Err(repo.failed(&args, &ended)),
    }
}

/// A few names of many.
pub(crate) fn some_of(mut names: Vec<String>) -> String {
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let list = names.join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

/// Kapell's own signature.
pub(crate) fn kapell(seconds: u64) -> Stamp {
    Stamp { name: "Kapell".to_owned(), email: "kapell@localhost".to_owned(), seconds }
}

impl Open {
    /// Makes sure the image is there: from the index that the checkout of the base wrote, and the last savepoint.
    pub(crate) async fn imaged(&mut self, repo: &Repo) -> Result<(), Fault> {
        if self.image.is_some() {
            return Ok(());
        }
        let io = |error: std::io::Error| io_fault("reading", &self.home.git, &error);
        let mut table = match self.index_table().map_err(io)? {
            Some(table) => table,
            None => {
                // Lost or damaged: made again without stat data, so that every file is looked at.
                drop(std::fs::remove_file(self.home.git.join("index")));
                repo.call(["read-tree", &self.facts.base]).await?;
                let fresh = self.index_table().map_err(io)?;
                fresh.ok_or_else(|| {
                    Fault::new(Kind::Permanent, "git-index", "git wrote an index that is not version 2")
                })?
            }
        };
        if let Some(commit) = self.home.read_ref(IMAGE_REF).map_err(io)? {
            for change in between_images(repo, &self.facts.base_tree, &commit.to_string()).await? {
                let base = change.old.is_some();
                match change.new {
                    Some((mode, oid)) => table.set(&change.path, mode, oid, None, base),
                    None => table.remove(&change.path),
                }
            }
            self.last = self.tree_of(&commit).map_err(io)?.map(|tree| (commit, tree));
        }
        let exclude = read_plain(&self.home.git.join("info/exclude")).map_err(io)?.unwrap_or_default();
        let largest = limits::SAVEPOINT_FILE_BYTES;
        self.image = Some(Image::new(self.home.tree.clone(), exclude, self.store(), table, largest));
        Ok(())
    }

    fn index_table(&self) -> std::io::Result<Option<Table>> {
        let path = self.home.git.join("index");
        let Some(bytes) = read_plain(&path)? else { return Ok(None) };
        let written = path.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Table::from_index(
            &bytes,
            self.facts.format(),
            nanos(written) - INDEX_SLACK.as_nanos().cast_signed(),
        ))
    }

    /// The tree of a commit in our own store.
    fn tree_of(&self, commit: &Oid) -> std::io::Result<Option<Oid>> {
        let body = self.store().loose(commit)?.unwrap_or_default();
        let first = String::from_utf8_lossy(&body).lines().next().map(str::to_owned);
        Ok(first.and_then(|first| Oid::parse(first.strip_prefix("tree ")?)))
    }

    fn take(&mut self) -> std::io::Result<Taken> {
        match &mut self.image {
            Some(image) => image.take(),
            None => Err(std::io::Error::other("the session has no image yet")),
        }
    }

    fn save_as(&mut self, name: &str, label: &str) -> std::io::Result<Oid> {
        let taken = self.take()?;
        let commit = match self.last {
            Some((commit, tree)) if tree == taken.tree => commit,
            _ => {
                let mut message = format!("savepoint {label}\n");
                for skipped in &taken.skipped {
                    let path = String::from_utf8_lossy(&skipped.path);
                    message.push_str(&format!("{LEFT_OUT}{}): {path}", skipped.why));
                }
                let parents = [self.facts.base.clone()];
                let commit = self.store().put_commit(&taken.tree, &parents, &kapell(now()), &message)?;
                // The action this is the way back from starts on the strength of it.
                self.keep()?;
                self.home.write_ref(IMAGE_REF, &commit, false)?;
                commit
            }
        };
        self.last = Some((commit, taken.tree));
        self.home.write_ref(name, &commit, true)?;
        Ok(commit)
    }

    pub(crate) fn commit(&mut self, message: &str) -> std::io::Result<String> {
        let Some(image) = &mut self.image else {
            return Err(std::io::Error::other("the session has no image yet"));
        };
        let tree = image.committable()?;
        let hex = tree.to_string();
        let mut facts = self.facts.clone();
        let base = || Point { commit: facts.base.clone(), tree: facts.base_tree.clone() };
        let parent = facts.landed.clone().unwrap_or_else(base);
        let known = [Some(&parent), facts.work.as_ref()].into_iter().flatten();
        let point = match known.into_iter().find(|point| point.tree == hex) {
            Some(known) => known.clone(),
            None => {
                let commit = self.store().put_commit(
                    &tree,
                    std::slice::from_ref(&parent.commit),
                    &facts.author(),
                    message,
                )?;
                Point { commit: commit.to_string(), tree: hex }
            }
        };
        if let Some(oid) = Oid::parse(&point.commit) {
            self.keep()?;
            self.home.write_ref(&format!("refs/heads/{}", branch(self.home.session)), &oid, true)?;
        }
        facts.work = Some(point.clone());
        self.record(facts)?;
        Ok(point.commit)
    }

    /// Makes durable what the image put. When that fails nobody knows which of it is there: then nothing the image
    /// takes for stored counts, and the next one stores it anew.
    fn keep(&mut self) -> std::io::Result<()> {
        let kept = self.store().sync();
        if kept.is_err() {
            (self.image, self.last) = (None, None);
        }
        kept
    }

    /// Puts new facts on record.
    pub(crate) fn record(&mut self, facts: crate::session::Facts) -> std::io::Result<()> {
        if facts != self.facts {
            self.home.save(&Record::ready(self.home.session, facts.clone()))?;
            self.facts = facts;
        }
        Ok(())
    }
}

/// A change between two commits as text, as much of it as is kept of any output.
async fn unified(repo: Repo, base: &str, result: &str) -> Result<Vec<u8>, Fault> {
    let (base, result) = (revision(base)?, revision(result)?);
    let words = ["diff-tree", "-p", "-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color", base, result];
    repo.keep(limits::OUTPUT_KEEP_BYTES).call(words).await
}

#[cfg(test)]
mod tests;
