//! Brings a worktree from one tree to another, touching only the paths in which they differ.
//!
//! Knows no savepoint. Never follows a link, never deletes a directory that is not empty, and never touches a file
//! that the image does not know. Start at [`between`], then [`Changes::apply`].

use crate::git::{Repo, pieces};
use crate::image::Image;
use crate::inside::{Inside, is_dir, look, write_new};
use crate::object::{EXEC, GITLINK, LINK, Oid, Store};
use crate::scan::Skipped;
use crate::table::{is_inside, join, split};
use contract::{Fault, Kind};
use rustix::fs::AtFlags;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Contents asked from git in one call.
const BATCH: usize = 512;
/// Permission bits of new files before the umask.
const PLAIN_BITS: u32 = 0o666;
const EXEC_BITS: u32 = 0o777;

/// One path in which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: Vec<u8>,
    /// Mode and content before; `None` = it was not there.
    pub(crate) old: Option<(u32, Oid)>,
    /// Mode and content after; `None` = it is to go.
    pub(crate) new: Option<(u32, Oid)>,
}

/// The paths in which two trees (or commits) differ.
pub(crate) async fn between(repo: &Repo, from: &str, to: &str) -> Result<Vec<Change>, Fault> {
    if from == to {
        return Ok(Vec::new());
    }
    differences(&repo.call(DIFFER.into_iter().chain([from, to])).await?)
}

/// The same of images. One of an earlier Kapell's may hold what no worktree can, which is passed over: nothing of it
/// was ever there to be put back.
pub(crate) async fn between_images(repo: &Repo, from: &str, to: &str) -> Result<Vec<Change>, Fault> {
    if from == to {
        return Ok(Vec::new());
    }
    let mut changes = listed(&repo.call(DIFFER.into_iter().chain([from, to])).await?)?;
    changes.retain(|change| is_inside(&change.path));
    Ok(changes)
}

const DIFFER: [&str; 6] = ["diff-tree", "-r", "-z", "--raw", "--full-index", "--no-renames"];

/// What `diff-tree -z --raw` answered, if a worktree can hold all of it.
pub(crate) fn differences(answer: &[u8]) -> Result<Vec<Change>, Fault> {
    let changes = listed(answer)?;
    match changes.iter().find(|change| !is_inside(&change.path)) {
        None => Ok(changes),
        Some(out) => {
            let what = format!("a commit holds the path `{}`", String::from_utf8_lossy(&out.path));
            Err(Fault::new(Kind::Permanent, "path-outside", what)
                .hint("no worktree can hold it: make the commit anew without it"))
        }
    }
}

fn listed(answer: &[u8]) -> Result<Vec<Change>, Fault> {
    let mut changes = Vec::new();
    let mut parts = pieces(answer);
    while let (Some(head), Some(path)) = (parts.next(), parts.next()) {
        // `:100644 100755 <oid> <oid> M`
        let head = String::from_utf8_lossy(head).into_owned();
        let fields: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
        let [old_mode, new_mode, old, new, _] = fields.as_slice() else {
            return Err(Fault::new(
                Kind::Permanent,
                "git-answer",
                format!("git's answer is not a diff: {head}"),
            ));
        };
        let side = |mode: &str, oid: &str| {
            let mode = u32::from_str_radix(mode, 8).ok().filter(|&mode| mode != 0)?;
            Some((mode, Oid::parse(oid)?))
        };
        changes.push(Change { path: path.to_vec(), old: side(old_mode, old), new: side(new_mode, new) });
    }
    Ok(changes)
}

/// The contents of these blobs, from the session's own store where they are loose there, else from git.
pub(crate) async fn contents(
    repo: &Repo,
    store: &Store,
    wanted: impl IntoIterator<Item = Oid>,
) -> Result<HashMap<Oid, Vec<u8>>, Fault> {
    let mut found = HashMap::new();
    let mut missing = Vec::new();
    for oid in wanted.into_iter().collect::<HashSet<_>>() {
        match store.loose(&oid) {
            Ok(Some(bytes)) => drop(found.insert(oid, bytes)),
            Ok(None) => missing.push(oid),
            Err(error) => return Err(Fault::new(Kind::Permanent, "object-damaged", error.to_string())),
        }
    }
    for batch in missing.chunks(BATCH) {
        let asked: String = batch.iter().map(|oid| format!("{oid}\n")).collect();
        let answer = repo.feed(["cat-file", "--batch"], asked.into_bytes()).await?;
        let mut rest = answer.as_slice();
        for oid in batch {
            let (bytes, after) = one_object(rest).ok_or_else(|| {
                let what = format!("object {oid} is not in the repository in {}", repo.dir().display());
                Fault::new(Kind::Permanent, "object-missing", what).hint("run `git fsck` in your repository")
            })?;
            found.insert(*oid, bytes.to_vec());
            rest = after;
        }
    }
    Ok(found)
}

/// One answer of `cat-file --batch`: `<oid> <type> <size> LF <bytes> LF`.
pub(crate) fn one_object(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = answer.iter().position(|&b| b == b'\n')?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let size: usize = head.split(' ').nth(2)?.parse().ok()?;
    let (bytes, rest) = answer.get(end + 1..)?.split_at_checked(size)?;
    Some((bytes, rest.strip_prefix(b"\n")?))
}

/// Changes with the contents they need.
#[derive(Debug)]
pub(crate) struct Changes {
    changes: Vec<Change>,
    blobs: HashMap<Oid, Vec<u8>>,
    over: HashSet<Vec<u8>>,
}

impl Changes {
    /// Fetches what applying needs.
    pub(crate) async fn ready(repo: &Repo, store: &Store, changes: Vec<Change>) -> Result<Self, Fault> {
        let new = changes.iter().filter_map(|change| change.new).filter(|(mode, _)| *mode != GITLINK);
        let blobs = contents(repo, store, new.map(|(_, oid)| oid)).await?;
        Ok(Self { changes, blobs, over: HashSet::new() })
    }

    /// The same over files that the image left out: they are what has become of those that are to appear.
    pub(crate) fn over(self, skipped: Vec<Skipped>) -> Self {
        Self { over: skipped.into_iter().map(|skipped| skipped.path).collect(), ..self }
    }

    /// Makes them in the worktree and in what the image knows of it. A file that git ignores and that stands where
    /// one is to appear is left alone. Safe to repeat after a crash in the middle.
    pub(crate) fn apply(&self, root: &Path, image: &mut Image) -> io::Result<()> {
        let tree = Inside::open(root)?;
        let (gone, there): (Vec<_>, Vec<_>) = self.changes.iter().partition(|change| change.new.is_none());
        // Deletions first: a file may become a directory.
        for change in gone {
            if change.old.is_some_and(|(mode, _)| mode != GITLINK) {
                tree.remove_file(&change.path)?;
            }
            image.table().remove(&change.path);
        }
        for change in there {
            let Some((mode, oid)) = change.new else { continue };
            if mode == GITLINK {
                drop(tree.parent_made(&join(&change.path, b"in it")));
            } else if !self.place(&tree, change, mode, &oid)? {
                continue;
            }
            let base = image.table().knows_base(&change.path);
            image.table().set(&change.path, mode, oid, None, base);
        }
        Ok(())
    }

    fn place(&self, tree: &Inside, change: &Change, mode: u32, oid: &Oid) -> io::Result<bool> {
        let Some(bytes) = self.blobs.get(oid) else {
            return Err(io::Error::other(format!("content {oid} was not fetched")));
        };
        let Some(dir) = tree.parent_made(&change.path)? else { return Ok(false) };
        let name = split(&change.path).1;
        match look(&dir, name)? {
            Some(_) if change.old.is_none() && !self.over.contains(&change.path) => return Ok(false),
            Some(found) if is_dir(&found) => return Ok(false),
            Some(_) => rustix::fs::unlinkat(&dir, OsStr::from_bytes(name), AtFlags::empty())?,
            None => {}
        }
        if mode == LINK {
            rustix::fs::symlinkat(OsStr::from_bytes(bytes), &dir, OsStr::from_bytes(name))?;
            return Ok(true);
        }
        write_new(&dir, name, if mode == EXEC { EXEC_BITS } else { PLAIN_BITS }, bytes).map(|()| true)
    }
}
