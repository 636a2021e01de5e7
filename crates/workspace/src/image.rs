//! Keeps a table in step with a worktree and turns it into tree objects.
//!
//! Knows no refs and no sessions; runs no program. Start at [`Image::take`].

use crate::ignored::Rules;
use crate::inside::{Inside, elsewhere};
use crate::object::{GITLINK, Kind, LINK, Oid, Store};
use crate::scan::{Differs, Seen, Skipped, scan};
use crate::table::{Cached, File, Table, join, split};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Coarsest step of a file system's clock: a file changed within it of our look may change again unseen.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// A worktree and what is known of it.
#[derive(Debug)]
pub(crate) struct Image {
    root: PathBuf,
    exclude: Vec<u8>,
    store: Store,
    table: Table,
    largest: u64,
}

/// What the worktree is now.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) tree: Oid,
    pub(crate) skipped: Vec<Skipped>,
}

impl Image {
    /// An image whose table is what was last known. `exclude`: ignore rules besides `.gitignore` files.
    /// Untracked files above `largest` bytes are left out.
    pub(crate) fn new(root: PathBuf, exclude: Vec<u8>, store: Store, table: Table, largest: u64) -> Self {
        Self { root, exclude, store, table, largest }
    }

    /// The table, for what another process knows of the worktree.
    pub(crate) fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Looks at the worktree and writes what changed. Files git ignores are not in it, unless an earlier image
    /// or the base has them: what was once imaged stays rewindable.
    pub(crate) fn take(&mut self) -> io::Result<Taken> {
        let racy_ns = nanos(SystemTime::now() - CLOCK_STEP);
        let tree = Arc::new(Inside::open(&self.root)?);
        let mut scan = scan(&tree, &self.exclude, &self.table, self.largest)?;
        // Parents first, so that a directory that became a file is gone before its name is used again.
        scan.differs.sort_unstable_by(|a, b| a.dir.cmp(&b.dir));
        for differs in scan.differs {
            self.update(&tree, differs, racy_ns, &mut scan.skipped)?;
        }
        Ok(Taken { tree: self.table.tree(&self.store)?, skipped: scan.skipped })
    }

    /// The tree to commit: the image without what git ignores by now and the base does not have.
    pub(crate) fn committable(&mut self) -> io::Result<Oid> {
        let top = Rules::top(&Arc::new(Inside::open(&self.root)?), &self.exclude);
        let ignored: Vec<_> = self.table.added().into_iter().filter(|path| ignored(&top, path)).collect();
        if ignored.is_empty() {
            return self.table.tree(&self.store);
        }
        let mut table = self.table.clone();
        ignored.iter().for_each(|path| table.remove(path));
        table.tree(&self.store)
    }

    fn update(
        &mut self,
        tree: &Inside,
        differs: Differs,
        racy_ns: i128,
        skipped: &mut Vec<Skipped>,
    ) -> io::Result<()> {
        let Differs { dir: path, files, dirs } = differs;
        self.table.add_dir(&path);
        let old = self.table.dirs.get(path.as_slice()).cloned().unwrap_or_default();
        for gone in old.dirs.iter().filter(|name| dirs.binary_search(name).is_err()) {
            self.table.remove_dir(&join(&path, gone));
        }
        let mut now = Vec::with_capacity(files.len());
        let mut changed = false;
        for seen in files {
            let known = old.file(&seen.name);
            if let Some(known) =
                known.filter(|known| known.stat == Some(seen.stat) && known.mode == seen.mode)
            {
                now.push(known.clone());
                continue;
            }
            let at = join(&path, &seen.name);
            let base = known.map_or_else(|| self.table.was_base(&at, false), |known| known.base);
            match self.store_file(tree, &at, &seen)? {
                Some(oid) => {
                    changed |= known.is_none_or(|known| known.oid != oid || known.mode != seen.mode);
                    let stat = (seen.stat.ctime_ns < racy_ns).then_some(seen.stat);
                    now.push(File { name: seen.name, mode: seen.mode, oid, stat, base });
                }
                None => skipped.push(Skipped { path: at, why: "unreadable", base }),
            }
        }
        let links = old.files.iter().filter(|file| file.mode == GITLINK).cloned();
        let links: Vec<_> =
            links.filter(|link| now.binary_search_by(|file| file.name.cmp(&link.name)).is_err()).collect();
        now.extend(links);
        now.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.replace(&path, &old.files, now, changed);
        dirs.iter().for_each(|name| self.table.add_dir(&join(&path, name)));
        Ok(())
    }

    fn replace(&mut self, path: &[u8], old: &[File], now: Vec<File>, changed: bool) {
        let gone: Vec<&File> =
            old.iter().filter(|file| now.binary_search_by(|n| n.name.cmp(&file.name)).is_err()).collect();
        let moved = changed || !gone.is_empty() || now.len() != old.len();
        self.table.count = self.table.count + now.len() - old.len();
        for file in gone.iter().filter(|file| file.base) {
            self.table.gone.insert(join(path, &file.name));
        }
        for file in now.iter().filter(|file| file.base) {
            if !self.table.gone.is_empty() {
                self.table.gone.remove(&join(path, &file.name));
            }
        }
        if moved || self.table.dirs.get(path).is_some_and(|dir| dir.tree == Cached::Stale) {
            self.table.stale(path);
        }
        if let Some(dir) = self.table.dirs.get_mut(path) {
            dir.files = now;
        }
    }

    /// The id of a file's bytes, written; `None` when it cannot be read.
    fn store_file(&self, tree: &Inside, path: &[u8], seen: &Seen) -> io::Result<Option<Oid>> {
        let bytes = match seen.mode {
            LINK => tree.read_link(path),
            _ => tree.read(path),
        };
        match bytes {
            Ok(bytes) => self.store.put(Kind::Blob, &bytes).map(Some),
            Err(error) if unreadable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Errors of one file that must not stop the image of all others.
fn unreadable(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, WouldBlock};
    // A link where a file or a directory above it was: the next look sees it as what it is.
    let swapped = rustix::io::Errno::from_io_error(error).is_some_and(elsewhere);
    swapped || matches!(error.kind(), NotFound | PermissionDenied | WouldBlock | InvalidInput)
}

/// Would git ignore this path were it untracked?
fn ignored(top: &Arc<Rules>, path: &[u8]) -> bool {
    let (dir, name) = split(path);
    let parts = dir.split(|&b| b == b'/').filter(|part| !part.is_empty());
    parts.fold(Arc::clone(top), |rules, part| rules.below(part)).ignores(name, false)
}

/// Nanoseconds since 1970.
pub(crate) fn nanos(time: SystemTime) -> i128 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Format;

    #[test]
    fn what_is_too_large_or_cannot_be_read_is_left_out_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let (root, git) = (dir.path().join("tree"), dir.path().join("git"));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(git.join("objects")).unwrap();
        std::fs::write(root.join("small"), "x").unwrap();
        std::fs::write(root.join("large"), "x".repeat(11)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
        let store = Store::new(&git, Format::Sha1);
        let mut image = Image::new(root, Vec::new(), store.clone(), Table::default(), 10);
        let taken = image.take().unwrap();
        let skipped: Vec<_> =
            taken.skipped.iter().map(|skipped| (skipped.path.as_slice(), skipped.why)).collect();
        assert_eq!(skipped, [(b"large".as_slice(), "too large")]);
        assert!(store.loose(&taken.tree).unwrap().unwrap().starts_with(b"100644 small\0"));
        // Still told the next time, when nothing else differs.
        assert_eq!(image.take().unwrap().skipped.len(), 1);
    }
}
