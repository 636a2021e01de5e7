//! What Kapell believes a worktree holds: per directory its files, their ids, and the stat data that tells
//! whether a file may have changed since it was hashed.
//!
//! Touches no worktree and runs nothing; it only reads index bytes and writes tree objects. Start at [`Table`].

use crate::object::{Entry, Format, GITLINK, Oid, Store, TREE};
use std::collections::{BTreeSet, HashMap};
use std::io;

/// Longest path of the system (PATH_MAX), bytes, with the zero at its end.
const PATH_BYTES: usize = 4096;

/// What `lstat` says about a file, cut to what git's own index keeps. The change time cannot be set by a program,
/// so equal stat data older than the last look mean equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) mtime_ns: i128,
    pub(crate) ctime_ns: i128,
    pub(crate) ino: u32,
    pub(crate) size: u32,
}

/// A file, link or submodule.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) name: Box<[u8]>,
    pub(crate) mode: u32,
    pub(crate) oid: Oid,
    /// `None`: look at the bytes next time.
    pub(crate) stat: Option<Stat>,
    /// It is part of the base commit: ignore rules do not apply to it.
    pub(crate) base: bool,
}

/// The id of a directory's tree, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cached {
    #[default]
    Stale,
    /// Nothing in it, so git keeps nothing of it.
    Empty,
    Is(Oid),
}

/// A directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dir {
    /// Sorted by name.
    pub(crate) files: Vec<File>,
    /// Sorted names of the directories below that the table holds.
    pub(crate) dirs: Vec<Box<[u8]>>,
    pub(crate) tree: Cached,
}

impl Dir {
    /// The file of this name.
    pub(crate) fn file(&self, name: &[u8]) -> Option<&File> {
        self.files.binary_search_by(|file| (*file.name).cmp(name)).ok().map(|at| &self.files[at])
    }

    /// Is there a directory of this name?
    pub(crate) fn has_dir(&self, name: &[u8]) -> bool {
        self.dirs.binary_search_by(|dir| (**dir).cmp(name)).is_ok()
    }
}

/// The whole worktree; directories by path, the top one is the empty path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) dirs: HashMap<Box<[u8]>, Dir>,
    /// Paths of the base commit that are not there now; if they come back, ignore rules do not apply to them.
    pub(crate) gone: BTreeSet<Vec<u8>>,
    /// Files in it.
    pub(crate) count: usize,
}

impl Table {
    /// From the bytes of a git index (version 2 or 3) that a checkout of the base commit has just written.
    /// Files changed at or after `racy_ns` are looked at again.
    pub(crate) fn from_index(bytes: &[u8], format: Format, racy_ns: i128) -> Option<Self> {
        let mut table = Self::default();
        table.dirs.insert(Box::default(), Dir::default());
        let mut at = Cursor { bytes, at: 0 };
        if at.take(4)? != b"DIRC" || !matches!(at.u32()?, 2 | 3) {
            return None;
        }
        for _ in 0..at.u32()? {
            let start = at.at;
            let nanos = |s: u32, ns: u32| i128::from(s) * 1_000_000_000 + i128::from(ns);
            let ctime_ns = nanos(at.u32()?, at.u32()?);
            let mtime_ns = nanos(at.u32()?, at.u32()?);
            let (_dev, ino, mode) = (at.u32()?, at.u32()?, at.u32()?);
            let (_uid, _gid, size) = (at.u32()?, at.u32()?, at.u32()?);
            let oid = Oid::of(at.take(format.bytes())?);
            let extended = at.take(2)?[0] & 0x40 != 0;
            at.take(if extended { 2 } else { 0 })?;
            let length = at.bytes[at.at..].iter().position(|&b| b == 0)?;
            let path = Some(at.take(length)?).filter(|path| is_inside(path))?;
            // Entries are padded with 1 to 8 zero bytes to a multiple of 8.
            at.at = start + ((at.at - start) / 8 + 1) * 8;
            let stat = Stat { mtime_ns, ctime_ns, ino, size };
            let stat = (ctime_ns < racy_ns).then_some(stat);
            table.set(path, mode, oid, stat, true);
        }
        while let Some(name) = at.take(4) {
            let Some(size) = at.u32() else { break };
            let Some(body) = at.take(usize::try_from(size).ok()?) else { break };
            if name == b"TREE" {
                table.known_trees(&mut Cursor { bytes: body, at: 0 }, None, format);
            }
        }
        Some(table)
    }

    /// Takes over the ids of the index's own tree cache: pre-order, `path NUL entries SP subtrees LF id`.
    fn known_trees(&mut self, at: &mut Cursor<'_>, parent: Option<&[u8]>, format: Format) -> Option<()> {
        let path = match (parent, at.until(0)?) {
            (None, b"") => Vec::new(),
            (Some(parent), name) if !name.is_empty() => join(parent, name),
            _ => return None,
        };
        // The names of all levels above are in it, so this bounds the depth too.
        if path.len() > PATH_BYTES {
            return None;
        }
        let entries: i64 = std::str::from_utf8(at.until(b' ')?).ok()?.parse().ok()?;
        let subtrees: u32 = std::str::from_utf8(at.until(b'\n')?).ok()?.parse().ok()?;
        if entries >= 0 {
            let oid = Oid::of(at.take(format.bytes())?);
            if let Some(dir) = self.dirs.get_mut(path.as_slice()) {
                dir.tree = Cached::Is(oid);
            }
        }
        for _ in 0..subtrees {
            self.known_trees(at, Some(&path), format)?;
        }
        Some(())
    }

    /// Puts a file in, with the directories above it.
    pub(crate) fn set(&mut self, path: &[u8], mode: u32, oid: Oid, stat: Option<Stat>, base: bool) {
        let (parent, name) = split(path);
        self.add_dir(parent);
        self.stale(parent);
        if base {
            self.gone.remove(path);
        }
        let Some(dir) = self.dirs.get_mut(parent) else { return };
        let file = File { name: name.into(), mode, oid, stat, base };
        match dir.files.binary_search_by(|file| (*file.name).cmp(name)) {
            Ok(at) => dir.files[at] = file,
            Err(at) => {
                dir.files.insert(at, file);
                self.count += 1;
            }
        }
    }

    /// Takes a file out.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        let (parent, name) = split(path);
        self.stale(parent);
        let Some(dir) = self.dirs.get_mut(parent) else { return };
        if let Ok(at) = dir.files.binary_search_by(|file| (*file.name).cmp(name)) {
            let file = dir.files.remove(at);
            self.count -= 1;
            if file.base {
                self.gone.insert(path.to_vec());
            }
        }
    }

    /// Makes sure a directory and those above it are there.
    pub(crate) fn add_dir(&mut self, path: &[u8]) {
        if self.dirs.contains_key(path) {
            return;
        }
        self.dirs.insert(path.into(), Dir::default());
        if path.is_empty() {
            return;
        }
        let (parent, name) = split(path);
        self.add_dir(parent);
        if let Some(dir) = self.dirs.get_mut(parent)
            && let Err(at) = dir.dirs.binary_search_by(|dir| (**dir).cmp(name))
        {
            dir.dirs.insert(at, name.into());
        }
    }

    /// Forgets a directory and all below; files of the base are remembered as gone.
    pub(crate) fn remove_dir(&mut self, path: &[u8]) {
        let Some(dir) = self.dirs.remove(path) else { return };
        self.count -= dir.files.len();
        for file in dir.files.iter().filter(|file| file.base) {
            self.gone.insert(join(path, &file.name));
        }
        for name in &dir.dirs {
            self.remove_dir(&join(path, name));
        }
        let (parent, name) = split(path);
        self.stale(parent);
        if let Some(dir) = self.dirs.get_mut(parent) {
            dir.dirs.retain(|dir| &**dir != name);
        }
    }

    /// The trees of this directory and of those above it have to be made anew.
    pub(crate) fn stale(&mut self, mut path: &[u8]) {
        loop {
            if let Some(dir) = self.dirs.get_mut(path) {
                dir.tree = Cached::Stale;
            }
            if path.is_empty() {
                return;
            }
            path = split(path).0;
        }
    }

    /// Is this path, or anything below it, in the table or gone from the base?
    pub(crate) fn was_base(&self, path: &[u8], is_dir: bool) -> bool {
        if !is_dir {
            return self.gone.contains(path);
        }
        let below = join(path, b"");
        let from = [below.as_slice(), b"/"].concat();
        self.gone.range(from.clone()..).next().is_some_and(|gone| gone.starts_with(&from))
    }

    /// Is this path part of the base commit, there or not?
    pub(crate) fn knows_base(&self, path: &[u8]) -> bool {
        let (parent, name) = split(path);
        let file = self.dirs.get(parent).and_then(|dir| dir.file(name));
        file.map_or_else(|| self.gone.contains(path), |file| file.base)
    }

    /// The tree object of the whole, written where it is not known.
    pub(crate) fn tree(&mut self, store: &Store) -> io::Result<Oid> {
        match self.tree_of(b"", store)? {
            Some(oid) => Ok(oid),
            None => store.put_tree(Vec::new()),
        }
    }

    fn tree_of(&mut self, path: &[u8], store: &Store) -> io::Result<Option<Oid>> {
        let Some(dir) = self.dirs.get(path) else { return Ok(None) };
        match dir.tree {
            Cached::Is(oid) => return Ok(Some(oid)),
            Cached::Empty => return Ok(None),
            Cached::Stale => {}
        }
        let names = dir.dirs.clone();
        let mut below = Vec::with_capacity(names.len());
        for name in &names {
            if let Some(oid) = self.tree_of(&join(path, name), store)? {
                below.push((name, oid));
            }
        }
        let Some(dir) = self.dirs.get_mut(path) else { return Ok(None) };
        let files = dir.files.iter().map(|file| Entry { mode: file.mode, name: &file.name, oid: file.oid });
        let trees = below.iter().map(|(name, oid)| Entry { mode: TREE, name, oid: *oid });
        let entries: Vec<_> = files.chain(trees).collect();
        dir.tree = if entries.is_empty() { Cached::Empty } else { Cached::Is(store.put_tree(entries)?) };
        match dir.tree {
            Cached::Is(oid) => Ok(Some(oid)),
            _ => Ok(None),
        }
    }

    /// Every file that is not part of the base, with its path.
    pub(crate) fn added(&self) -> Vec<Vec<u8>> {
        let mut added = Vec::new();
        for (path, dir) in &self.dirs {
            let files = dir.files.iter().filter(|file| !file.base && file.mode != GITLINK);
            added.extend(files.map(|file| join(path, &file.name)));
        }
        added
    }
}

/// Does this path lie in the worktree, outside of git's own directory, and is it one the system can name? Git's own
/// commands refuse the others too, but trees can be written by anyone.
pub(crate) fn is_inside(path: &[u8]) -> bool {
    path.len() < PATH_BYTES && !path.contains(&0) && path.split(|&b| b == b'/').all(is_name)
}

/// Why no commit can hold what a directory of the worktree has under this name, if none can: the same rule.
pub(crate) fn unfit(dir: &[u8], name: &[u8]) -> Option<&'static str> {
    match () {
        () if dir.len() + 1 + name.len() >= PATH_BYTES => Some("too deep"),
        () if !is_name(name) => Some("a name that git keeps for itself"),
        () => None,
    }
}

fn is_name(part: &[u8]) -> bool {
    !matches!(part, b"" | b"." | b"..") && !is_dot_git(part)
}

/// Would some system take this name for git's own directory? On none does git check such a name out (`is_ntfs_dotgit`
/// in its `path.c`, with `core.protectNTFS`, which is on everywhere).
fn is_dot_git(name: &[u8]) -> bool {
    name.split(|&b| b == b'\\').any(|part| {
        let part = part.split(|&b| b == b':').next().unwrap_or_default();
        [&b".git"[..], b"git~1"].iter().any(|own| match part.split_at_checked(own.len()) {
            Some((head, rest)) => head.eq_ignore_ascii_case(own) && rest.iter().all(|b| b". ".contains(b)),
            None => false,
        })
    })
}

/// `dir/name`, or `name` at the top.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match (dir.is_empty(), name.is_empty()) {
        (true, _) => name.to_vec(),
        (_, true) => dir.to_vec(),
        _ => [dir, b"/", name].concat(),
    }
}

/// The directory part and the last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let length = self.bytes.get(self.at..)?.iter().position(|&b| b == end)?;
        let taken = self.take(length)?;
        self.at += 1;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_and_go_with_their_files() {
        let mut table = Table::default();
        let oid = Oid::of(&[7; 20]);
        table.set(b"a/b/c", crate::object::FILE, oid, None, true);
        table.set(b"a/d", crate::object::FILE, oid, None, false);
        assert_eq!(table.count, 2);
        assert_eq!(table.added(), [b"a/d".to_vec()]);
        table.remove_dir(b"a/b");
        assert!(table.was_base(b"a/b", true) && table.was_base(b"a/b/c", false));
        assert!(!table.was_base(b"a/bc", true));
        assert!(!table.dirs[b"a".as_slice()].has_dir(b"b"));
        table.set(b"a/b/c", crate::object::FILE, oid, None, true);
        assert!(!table.was_base(b"a/b", true));
        table.remove(b"a/b/c");
        assert!(table.was_base(b"a/b/c", false));
    }

    #[test]
    fn what_git_would_not_check_out_is_not_inside() {
        for name in [
            ".git",
            ".GIT",
            ".Git",
            "git~1",
            "GIT~1",
            ".git.",
            ".git ",
            ".git. .",
            "git~1.",
            ".git:x",
            ".git::$INDEX",
            r"a\.git",
            r".git\hooks",
            r"a\GIT~1 ",
        ] {
            assert!(unfit(b"d", name.as_bytes()).is_some(), "{name}");
            assert!(!is_inside(format!("d/{name}/x").as_bytes()), "{name}");
        }
        for name in [".gitignore", ".github", "git", "git~2", ".git-x", "x.git", "a:.git", "git~10", r"a\b"] {
            assert!(unfit(b"d", name.as_bytes()).is_none(), "{name}");
            assert!(is_inside(format!("d/{name}/x").as_bytes()), "{name}");
        }
        let dir = [b'd'; PATH_BYTES - 3];
        assert_eq!((unfit(&dir, b"f"), unfit(&dir, b"ff")), (None, Some("too deep")));
        assert!(is_inside(&join(&dir, b"f")) && !is_inside(&join(&dir, b"ff")));
    }

    #[test]
    fn nonsense_is_not_an_index() {
        assert!(Table::from_index(b"DIRC\0\0\0\x02\0\0\0\x09", Format::Sha1, 0).is_none());
        assert!(Table::from_index(b"", Format::Sha1, 0).is_none());
    }
}
