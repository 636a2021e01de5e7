//! One look at a worktree: which directories differ from what the table says, by `lstat` alone.
//!
//! Reads no file contents (ignore files aside), writes nothing, follows no link. Start at [`scan`].

use crate::ignored::Rules;
use crate::inside::{Inside, elsewhere, look};
use crate::object::{EXEC, FILE, GITLINK, LINK};
use crate::table::{Dir, Stat, Table, join, unfit};
use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Below this many known files one thread is faster than several.
const FILES_WORTH_THREADS: usize = 2_000;
/// Room for the names of a directory, read in one system call.
const DIRENTS_BYTES: usize = 16 * 1024;
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
    /// What was left out, and why; a directory stands for all in it.
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
pub(crate) fn scan(tree: &Arc<Inside>, exclude: &[u8], table: &Table, largest: u64) -> io::Result<Scan> {
    let threads = match table.count < FILES_WORTH_THREADS {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS)),
    };
    let look = Look { tree, table, largest, queue: Mutex::default(), more: Condvar::new() };
    look.push(vec![Rules::top(tree, exclude)]);
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
    tree: &'a Inside,
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
        if let Some(known) = known
            && self.as_known(known, rules).unwrap_or(false)
        {
            if !known.dirs.is_empty() {
                self.push(known.dirs.iter().map(|name| rules.below(name)).collect());
            }
            return Ok(());
        }
        let dir = match self.tree.dir(rules.dir()) {
            Ok(dir) => dir,
            // Gone since its parent was read, or something else by now: as if it had never been there.
            Err(error) if elsewhere(error) && !rules.dir().is_empty() => return Ok(()),
            Err(Errno::ACCESS) if !rules.dir().is_empty() => {
                let base = known.is_some();
                scan.skipped.push(Skipped { path: rules.dir().to_vec(), why: "unreadable", base });
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let (mut files, mut dirs): (Vec<Seen>, Vec<Box<[u8]>>) = (Vec::new(), Vec::new());
        let mut buffer = [const { MaybeUninit::uninit() }; DIRENTS_BYTES];
        let mut entries = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b".." | b".git") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match look(&dir, name)? {
                    Some(found) => FileType::from_raw_mode(found.st_mode),
                    None => continue,
                },
                kind => kind,
            };
            match kind {
                FileType::Directory if self.counts_dir(known, rules, name) => {
                    match unfit(rules.dir(), name) {
                        None => dirs.push(name.into()),
                        Some(why) => {
                            scan.skipped.push(Skipped { path: join(rules.dir(), name), why, base: false });
                        }
                    }
                }
                FileType::RegularFile | FileType::Symlink => {
                    files.extend(self.counts_file(known, rules, name, &dir, scan)?);
                }
                _ => {}
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

    /// Is a directory exactly as the table has it? The usual answer, hence without keeping anything of what is read.
    /// Trouble of any kind is a no: the thorough look that follows names it.
    fn as_known(&self, known: &Dir, rules: &Rules) -> rustix::io::Result<bool> {
        let dir = self.tree.dir(rules.dir())?;
        let mut buffer = [const { MaybeUninit::uninit() }; DIRENTS_BYTES];
        let mut entries = RawDir::new(&dir, &mut buffer);
        let (mut files, mut dirs) = (0, 0);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b".." | b".git") {
                continue;
            }
            match entry.file_type() {
                FileType::Directory if known.has_dir(name) => dirs += 1,
                FileType::Directory if self.counts_dir(Some(known), rules, name) => return Ok(false),
                FileType::RegularFile | FileType::Symlink => match known.file(name) {
                    Some(file) => {
                        let found = rustix::fs::statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                        if file.stat != Some(stat(&found)) || file.mode != mode(found.st_mode) {
                            return Ok(false);
                        }
                        files += 1;
                    }
                    None if rules.ignores(name, false)
                        && !self.table.was_base(&join(rules.dir(), name), false) => {}
                    None => return Ok(false),
                },
                FileType::Unknown => return Ok(false),
                _ => {}
            }
        }
        let expected = known.files.iter().filter(|file| file.mode != GITLINK).count();
        Ok(files == expected && dirs == known.dirs.len())
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
        name: &[u8],
        dir: &OwnedFd,
        scan: &mut Scan,
    ) -> io::Result<Option<Seen>> {
        let file = known.and_then(|known| known.file(name));
        let base = match file {
            Some(file) => file.base,
            None => {
                let path = join(rules.dir(), name);
                let base = !self.table.gone.is_empty() && self.table.was_base(&path, false);
                if !base && rules.ignores(name, false) {
                    return Ok(None);
                }
                base
            }
        };
        if let Some(why) = unfit(rules.dir(), name) {
            scan.skipped.push(Skipped { path: join(rules.dir(), name), why, base });
            return Ok(None);
        }
        let Some(found) = look(dir, name)? else { return Ok(None) };
        if !base && u64::try_from(found.st_size).unwrap_or_default() > self.largest {
            scan.skipped.push(Skipped { path: join(rules.dir(), name), why: "too large", base });
            return Ok(None);
        }
        Ok(Some(Seen { name: name.into(), mode: mode(found.st_mode), stat: stat(&found) }))
    }
}

/// The mode git would give a file or link of this mode.
fn mode(of: u32) -> u32 {
    match (of & 0o170_000 == LINK, of & 0o100 != 0) {
        (true, _) => LINK,
        (false, true) => EXEC,
        (false, false) => FILE,
    }
}

/// The part of the metadata that says whether a file may have changed.
pub(crate) fn stat(found: &rustix::fs::Stat) -> Stat {
    let nanos = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    Stat {
        mtime_ns: nanos(found.st_mtime, found.st_mtime_nsec.cast_signed()),
        ctime_ns: nanos(found.st_ctime, found.st_ctime_nsec.cast_signed()),
        // Git's index keeps the low halves only; both sides are cut alike.
        ino: found.st_ino as u32,
        size: found.st_size as u32,
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
