//! One look at a worktree: which directories differ from what the table says, by `lstat` alone.
//!
//! Reads no file contents (ignore files aside), writes nothing, follows no link. Start at [`scan`].

use crate::ignored::Rules;
use crate::object::{EXEC, FILE, GITLINK, LINK};
use crate::table::{Dir, Stat, Table, join};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Below this many known files one thread is faster than several.
const FILES_WORTH_THREADS: usize = 2_000;
/// Threads beyond this do not help a directory walk.
const THREADS: usize = 8;

/// A file as the directory shows it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) name: Box<[u8]>,
    pub(crate) mode: u32,
    pub(crate) stat: Stat,
}

/// A directory that differs from the table.
#[derive(Debug)]
pub(crate) struct Differs {
    pub(crate) dir: Vec<u8>,
    /// All its files that count, sorted by name.
    pub(crate) files: Vec<Seen>,
    /// All its directories that count, sorted by name.
    pub(crate) dirs: Vec<Box<[u8]>>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) differs: Vec<Differs>,
    /// Untracked files that were left out, and why.
    pub(crate) skipped: Vec<Skipped>,
}

/// A path that is not imaged although git does not ignore it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) path: Vec<u8>,
    pub(crate) why: &'static str,
    /// It is part of the base commit, so leaving it out of a commit would delete it.
    pub(crate) base: bool,
}

/// Compares a worktree with the table.
pub(crate) fn scan(root: &Path, exclude: &[u8], table: &Table, largest: u64) -> io::Result<Scan> {
    let threads = match table.count < FILES_WORTH_THREADS {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS)),
    };
    let look = Look { root, table, largest, queue: Mutex::default(), more: Condvar::new() };
    look.push(vec![Rules::top(root, exclude)]);
    if threads == 1 {
        return look.work();
    }
    let parts: Vec<io::Result<Scan>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| look.work())).collect();
        let died = || Err(io::Error::other("a thread of the directory walk died"));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| died())).collect()
    });
    let mut whole = Scan::default();
    for part in parts {
        let part = part?;
        whole.differs.extend(part.differs);
        whole.skipped.extend(part.skipped);
    }
    Ok(whole)
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Arc<Rules>>,
    /// Directories queued or being read.
    open: usize,
}

struct Look<'a> {
    root: &'a Path,
    table: &'a Table,
    largest: u64,
    queue: Mutex<Queue>,
    more: Condvar,
}

impl Look<'_> {
    fn push(&self, dirs: Vec<Arc<Rules>>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.open += dirs.len();
        queue.waiting.extend(dirs);
        drop(queue);
        self.more.notify_all();
    }

    fn pop(&self) -> Option<Arc<Rules>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(dir) = queue.waiting.pop() {
                return Some(dir);
            }
            if queue.open == 0 {
                return None;
            }
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.open -= 1;
        if queue.open == 0 {
            self.more.notify_all();
        }
    }

    fn work(&self) -> io::Result<Scan> {
        let mut scan = Scan::default();
        let mut failed = Ok(());
        while let Some(rules) = self.pop() {
            // After an error the rest is only drained, so that every worker ends.
            if failed.is_ok() {
                failed = self.directory(&rules, &mut scan);
            }
            self.done();
        }
        failed.map(|()| scan)
    }

    fn directory(&self, rules: &Arc<Rules>, scan: &mut Scan) -> io::Result<()> {
        let known = self.table.dirs.get(rules.dir());
        let path: PathBuf = self.root.join(OsStr::from_bytes(rules.dir()));
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // Gone since its parent was read: as if it had never been there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !rules.dir().is_empty() => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !rules.dir().is_empty() => {
                let base = known.is_some();
                scan.skipped.push(Skipped { path: rules.dir().to_vec(), why: "unreadable", base });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name().into_vec();
            if name == b".git" {
                continue;
            }
            if kind.is_dir() {
                if self.counts_dir(known, rules, &name) {
                    dirs.push(name.into_boxed_slice());
                }
            } else if kind.is_file() || kind.is_symlink() {
                files.extend(self.counts_file(known, rules, name, &entry, scan)?);
            }
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        dirs.sort_unstable();
        self.push(dirs.iter().map(|name| rules.below(name)).collect());
        if !known.is_some_and(|known| same(known, &files, &dirs)) {
            scan.differs.push(Differs { dir: rules.dir().to_vec(), files, dirs });
        }
        Ok(())
    }

    fn counts_dir(&self, known: Option<&Dir>, rules: &Rules, name: &[u8]) -> bool {
        if known.is_some_and(|known| known.has_dir(name)) {
            return true;
        }
        // What is in a submodule is that submodule's own business.
        if known.and_then(|known| known.file(name)).is_some_and(|file| file.mode == GITLINK) {
            return false;
        }
        !rules.ignores(name, true) || self.table.was_base(&join(rules.dir(), name), true)
    }

    fn counts_file(
        &self,
        known: Option<&Dir>,
        rules: &Rules,
        name: Vec<u8>,
        entry: &std::fs::DirEntry,
        scan: &mut Scan,
    ) -> io::Result<Option<Seen>> {
        let file = known.and_then(|known| known.file(&name));
        let base = match file {
            Some(file) => file.base,
            None => {
                let path = join(rules.dir(), &name);
                let base = !self.table.gone.is_empty() && self.table.was_base(&path, false);
                if !base && rules.ignores(&name, false) {
                    return Ok(None);
                }
                base
            }
        };
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !base && meta.len() > self.largest {
            scan.skipped.push(Skipped { path: join(rules.dir(), &name), why: "too large", base });
            return Ok(None);
        }
        let mode = match (meta.is_symlink(), meta.mode() & 0o100 != 0) {
            (true, _) => LINK,
            (false, true) => EXEC,
            (false, false) => FILE,
        };
        Ok(Some(Seen { name: name.into_boxed_slice(), mode, stat: stat(&meta) }))
    }
}

/// The part of the metadata that says whether a file may have changed.
pub(crate) fn stat(meta: &std::fs::Metadata) -> Stat {
    let nanos = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    Stat {
        mtime_ns: nanos(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: nanos(meta.ctime(), meta.ctime_nsec()),
        // Git's index keeps the low halves only; both sides are cut alike.
        ino: meta.ino() as u32,
        size: meta.len() as u32,
    }
}

fn same(known: &Dir, files: &[Seen], dirs: &[Box<[u8]>]) -> bool {
    // A submodule stays as it is whether its directory is there or not.
    let expected = known.files.iter().filter(|file| file.mode != GITLINK);
    let mut seen = files.iter();
    let alike = expected.into_iter().all(|file| {
        seen.next().is_some_and(|seen| {
            seen.name == file.name && seen.mode == file.mode && file.stat == Some(seen.stat)
        })
    });
    alike && seen.next().is_none() && known.dirs == dirs
}
