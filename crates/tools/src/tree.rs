//! The workspace's files, reached only from its open top directory: the kernel itself refuses every path that
//! leads outside, through `..`, symbolic links or a directory swapped meanwhile (openat2, RESOLVE_BENEATH).
//! Knows nothing of tools. Start at [`Tree::open`].

use crate::args::refuse;
use crate::name::show;
use contract::{Digest, Fault, Kind, limits};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fstat, mkdirat, openat, openat2,
    renameat, renameat_with, statat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Symbolic links followed for one file that is written (as many as Linux follows).
const LINKS: usize = 40;
/// Tries while directories are moved about under our feet (openat2(2), EAGAIN).
const TRIES: usize = 100;

/// The open top of a workspace.
#[derive(Debug)]
pub(crate) struct Tree {
    top: OwnedFd,
    /// Where it was opened; only for removing it from the front of absolute paths.
    root: PathBuf,
}

/// A file about to be written: its directory, held open, and its name in it.
#[derive(Debug)]
pub(crate) struct Target {
    dir: OwnedFd,
    name: OsString,
    /// The path that was asked for.
    path: PathBuf,
    /// What is there now.
    pub(crate) now: Option<Vec<u8>>,
    /// The path ends in a link that leads here.
    pub(crate) linked: bool,
    mode: Option<Mode>,
}

/// A directory that was made on the way to a file.
#[derive(Debug)]
pub(crate) struct Made {
    parent: OwnedFd,
    name: OsString,
}

impl Made {
    /// Takes it away again, unless something lies in it by now.
    pub(crate) fn undo(&self) {
        let _in_use = rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
    }
}

impl Tree {
    pub(crate) fn at(root: &Path) -> Result<Self, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| fault(root, errno))?;
        Ok(Self { top, root: root.to_owned() })
    }

    /// An absolute path into the workspace as a relative one; any other path as it is.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        match path.strip_prefix(&self.root) {
            Ok(rest) if rest.as_os_str().is_empty() => Path::new("."),
            Ok(rest) => rest,
            Err(_) => path,
        }
    }

    /// Opens a regular file for reading, with its size.
    pub(crate) fn open(&self, path: &Path) -> Result<(File, u64), Fault> {
        // Not blocking: opening a FIFO would wait for its other end.
        let fd = self.beneath(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = fstat(&fd).map_err(|errno| fault(path, errno))?;
        regular(path, &stat)?;
        Ok((fd.into(), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// What is there: a link itself is looked at, not followed, and must lie inside.
    pub(crate) fn kind(&self, path: &Path) -> Result<FileType, Fault> {
        let fd = self.beneath(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(FileType::from_raw_mode(fstat(&fd).map_err(|errno| fault(path, errno))?.st_mode))
    }

    /// When it was changed: seconds and nanoseconds. Of a link itself, which must lie inside.
    pub(crate) fn changed(&self, path: &Path) -> Result<(i64, u64), Fault> {
        let fd = self.beneath(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let stat = fstat(&fd).map_err(|errno| fault(path, errno))?;
        Ok((stat.st_mtime, stat.st_mtime_nsec))
    }

    /// The names in a directory that are text, in no order.
    pub(crate) fn names(&self, path: &Path) -> Result<Vec<String>, Fault> {
        let dir = self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let told = |errno| fault(path, errno);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir).map_err(told)? {
            let entry = entry.map_err(told)?;
            names.extend(
                entry
                    .file_name()
                    .to_str()
                    .ok()
                    .filter(|name| !matches!(*name, "." | ".."))
                    .map(str::to_owned),
            );
        }
        Ok(names)
    }

    /// The directory there, held open: inside, links followed.
    pub(crate) fn directory(&self, path: &Path) -> Result<OwnedFd, Fault> {
        self.beneath(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// Finds where writing this path would write, and what is there now; nothing where a directory is missing.
    /// Fails for what is not a file, and inside git's own directories.
    pub(crate) fn target(&self, path: &Path) -> Result<Option<Target>, Fault> {
        self.find(path, None)
    }

    /// The same; directories that are missing are made, and told.
    pub(crate) fn target_made(&self, path: &Path, made: &mut Vec<Made>) -> Result<Target, Fault> {
        let target = self.find(path, Some(made))?;
        target.ok_or_else(|| refuse("a directory went missing while it was made"))
    }

    fn find(&self, path: &Path, mut made: Option<&mut Vec<Made>>) -> Result<Option<Target>, Fault> {
        let mut place = self.relative(path).to_owned();
        let mut linked = false;
        for _ in 0..LINKS {
            // `a/` and `a/.` name a directory, which `file_name` would not tell.
            let bytes = place.as_os_str().as_bytes();
            let name = place.file_name().map(OsStr::to_owned);
            let Some(name) = name.filter(|name| bytes.ends_with(name.as_bytes())) else {
                return Err(refuse(format!("`{}` does not name a file", show(path))));
            };
            let gits = || refuse(format!("`{}` belongs to git; use git itself to change it", show(path)));
            if place.components().any(|part| part.as_os_str().eq_ignore_ascii_case(".git")) {
                return Err(gits());
            }
            let parent = place.parent().unwrap_or(Path::new("")).to_owned();
            let dir = match self.directory_for(&parent, made.as_deref_mut()) {
                Err(fault) if fault.code == "not-found" && made.is_none() => return Ok(None),
                other => other?,
            };
            if name.eq_ignore_ascii_case(".git")
                || self.within_git(&dir).map_err(|errno| fault(path, errno))?
            {
                return Err(refuse(format!("`{}` belongs to git; use git itself to change it", show(path))));
            }
            let stat = match statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {
                    let path = path.to_owned();
                    return Ok(Some(Target { dir, name, path, now: None, linked, mode: None }));
                }
                other => other.map_err(|errno| fault(path, errno))?,
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                let link =
                    rustix::fs::readlinkat(&dir, &name, Vec::new()).map_err(|errno| fault(path, errno))?;
                let link = PathBuf::from(OsString::from_vec(link.into_bytes()));
                // Still only text: the kernel judges it in the next round.
                place = parent.join(self.relative(&link));
                linked = true;
                continue;
            }
            regular(path, &stat)?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(&dir, &name, flags, Mode::empty()).map_err(|errno| fault(path, errno))?;
            let now = Some(read_all(path, file.into())?);
            let mode = Some(Mode::from_raw_mode(stat.st_mode));
            return Ok(Some(Target { dir, name, path: path.to_owned(), now, linked, mode }));
        }
        Err(fault(path, Errno::LOOP))
    }

    fn beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Fault> {
        self.resolve(self.relative(path), flags).map_err(|errno| self.fault(path, errno))
    }

    /// What went wrong; of what leads outside also which link does.
    fn fault(&self, path: &Path, errno: Errno) -> Fault {
        let mut told = fault(path, errno);
        if errno != Errno::XDEV {
            return told;
        }
        let mut so_far = PathBuf::new();
        for part in self.relative(path).components() {
            so_far.push(part);
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let Ok(link) = self.resolve(&so_far, flags) else { break };
            let Ok(to) = rustix::fs::readlinkat(&link, "", Vec::new()) else { continue };
            let to = PathBuf::from(OsString::from_vec(to.into_bytes()));
            if matches!(self.resolve(&so_far, OFlags::PATH), Err(Errno::XDEV)) {
                told.what.push_str(&format!(": `{}` links to `{}`", show(&so_far), show(&to)));
                break;
            }
        }
        told
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        let mut result = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            result = openat2(&self.top, path, flags, Mode::empty(), how);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result
    }

    /// Opens a directory, making what is missing of it.
    fn directory_for(&self, path: &Path, made: Option<&mut Vec<Made>>) -> Result<OwnedFd, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let made = match (self.resolve(path, flags), made) {
            (Err(Errno::NOENT), Some(made)) => made,
            (result, _) => return result.map_err(|errno| self.fault(path, errno)),
        };
        let fault = |errno| fault(path, errno);
        let mut so_far = PathBuf::new();
        let mut dir = self.resolve(&so_far, flags).map_err(fault)?;
        for part in path.components() {
            so_far.push(part);
            dir = match self.resolve(&so_far, flags) {
                Err(Errno::NOENT) => {
                    if self.within_git(&dir).map_err(fault)? || part.as_os_str().eq_ignore_ascii_case(".git")
                    {
                        return Err(refuse(format!("`{}` belongs to git", show(path))));
                    }
                    match mkdirat(&dir, part.as_os_str(), Mode::from_raw_mode(0o777)) {
                        Ok(()) => {
                            let inner = self.resolve(&so_far, flags).map_err(fault)?;
                            made.push(Made { parent: dir, name: part.as_os_str().to_owned() });
                            inner
                        }
                        Err(Errno::EXIST) => self.resolve(&so_far, flags).map_err(fault)?,
                        Err(errno) => return Err(fault(errno)),
                    }
                }
                result => result.map_err(fault)?,
            };
        }
        Ok(dir)
    }

    /// Does this directory lie in a `.git`, of this or a nested repository? Asked of the open directory and
    /// its parents by identity, so that no link and no other spelling gets round it.
    fn within_git(&self, dir: &OwnedFd) -> Result<bool, Errno> {
        let id = |stat: &Stat| (stat.st_dev, stat.st_ino);
        let top = id(&fstat(&self.top)?);
        let mut here = id(&fstat(dir)?);
        let mut at = openat(dir, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        while here != top {
            at = openat(&at, "..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            if statat(&at, ".git", AtFlags::empty()).is_ok_and(|git| id(&git) == here) {
                return Ok(true);
            }
            let parent = id(&fstat(&at)?);
            if parent == here {
                // The root of the file system: the directory was moved out of the workspace meanwhile.
                return Err(Errno::XDEV);
            }
            here = parent;
        }
        Ok(false)
    }
}

impl Target {
    /// The digest of what is there now.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.now.as_deref().map(Digest::of)
    }

    /// May it be run?
    pub(crate) fn is_executable(&self) -> bool {
        self.mode.is_some_and(|mode| mode.intersects(RUN))
    }

    /// Do both name the same file?
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        let id = |target: &Self| fstat(&target.dir).map(|stat| (stat.st_dev, stat.st_ino));
        self.name == other.name && id(self).is_ok_and(|own| id(other).is_ok_and(|other| own == other))
    }

    /// A name beside it that nobody else uses.
    pub(crate) fn spare(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let unique = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".kapell-{}-{unique}.tmp", std::process::id());
            // One of the same number may have died here: in a container they all begin with 1.
            if statat(&self.dir, &*name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                return name;
            }
        }
    }

    /// Writes these bytes beside it, with its mode.
    pub(crate) fn write(&self, spare: &str, bytes: &[u8], executable: Option<bool>) -> Result<(), Fault> {
        let told = |errno| fault(&self.path, errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.dir, spare, flags, Mode::from_raw_mode(0o666)).map_err(told)?;
        if self.mode.is_some() || executable.is_some() {
            // A new file has the mode that the process gives to all of its files.
            let new = || fstat(&fd).map(|stat| Mode::from_raw_mode(stat.st_mode));
            let mode = self.mode.map_or_else(new, Ok).map_err(told)?;
            let readers = Mode::from_raw_mode((mode.bits() & 0o444) >> 2);
            let mode = match executable {
                Some(true) => mode | readers,
                Some(false) => mode - RUN,
                None => mode,
            };
            rustix::fs::fchmod(&fd, mode & Mode::from_raw_mode(0o777)).map_err(told)?;
        }
        File::from(fd).write_all(bytes).map_err(|error| io_fault(&self.path, &error))
    }

    /// Puts the spare one in its place in one step: a reader sees the old file or the new one.
    pub(crate) fn replace_by(&self, spare: &str) -> Result<(), Fault> {
        renameat(&self.dir, spare, &self.dir, &self.name).map_err(|errno| fault(&self.path, errno))
    }

    /// Puts the spare one where nothing is.
    pub(crate) fn place(&self, spare: &str) -> Result<(), Fault> {
        match renameat_with(&self.dir, spare, &self.dir, &self.name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => self.replace_by(spare),
            result => result.map_err(|errno| fault(&self.path, errno)),
        }
    }

    /// Lets it and the spare one change places.
    pub(crate) fn exchange(&self, spare: &str) -> Result<(), Fault> {
        match renameat_with(&self.dir, spare, &self.dir, &self.name, RenameFlags::EXCHANGE) {
            // A file system that cannot: for a moment the old one has a name that is neither.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let aside = self.spare();
                let mut rename = |from: &OsStr, to: &OsStr| renameat(&self.dir, from, &self.dir, to);
                by_hand(&mut rename, &self.name, spare.as_ref(), aside.as_ref())
                    .map_err(|errno| fault(&self.path, errno))
            }
            result => result.map_err(|errno| fault(&self.path, errno)),
        }
    }

    /// Gives it the spare name.
    pub(crate) fn rename_to(&self, spare: &str) -> Result<(), Fault> {
        renameat(&self.dir, &self.name, &self.dir, spare).map_err(|errno| fault(&self.path, errno))
    }

    /// Removes it, or what has the spare name.
    pub(crate) fn remove(&self, spare: Option<&str>) {
        let name = spare.map_or(self.name.as_os_str(), OsStr::new);
        let _not_there = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
    }
}

/// Lets two names change places by way of a third. Where a step fails, those before it are undone.
fn by_hand(
    rename: &mut dyn FnMut(&OsStr, &OsStr) -> Result<(), Errno>,
    name: &OsStr,
    spare: &OsStr,
    aside: &OsStr,
) -> Result<(), Errno> {
    let steps = [(name, aside), (spare, name), (aside, spare)];
    for (at, (from, to)) in steps.iter().enumerate() {
        if let Err(errno) = rename(from, to) {
            for (from, to) in steps[..at].iter().rev() {
                let _nothing_else_to_try = rename(to, from);
            }
            return Err(errno);
        }
    }
    Ok(())
}

/// The bits that let somebody run a file.
const RUN: Mode = Mode::from_raw_mode(0o111);

/// All of a file that may be edited.
fn read_all(path: &Path, file: File) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let limit = limits::EDIT_BYTES as u64;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| io_fault(path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(refuse(format!("`{}` is larger than the {limit} bytes that may be edited", show(path))));
    }
    Ok(bytes)
}

fn regular(path: &Path, stat: &Stat) -> Result<(), Fault> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(refuse(format!("`{}` is a directory; use list", show(path)))),
        _ => Err(refuse(format!("`{}` is not a regular file", show(path)))),
    }
}

/// What went wrong with this path, for the model.
pub(crate) fn io_fault(path: &Path, error: &std::io::Error) -> Fault {
    match Errno::from_io_error(error) {
        Some(errno) => fault(path, errno),
        None => Fault::new(Kind::Transient, "io", format!("`{}`: {error}", show(path))),
    }
}

fn fault(path: &Path, errno: Errno) -> Fault {
    let path = show(path);
    let (kind, code, what) = match errno {
        Errno::NOENT => (Kind::Permanent, "not-found", format!("`{path}` does not exist")),
        Errno::XDEV => (Kind::Permanent, "outside", format!("`{path}` leads out of the workspace")),
        Errno::NOTDIR => (
            Kind::Permanent,
            "not-a-directory",
            format!("`{path}` goes through something that is no directory"),
        ),
        Errno::LOOP => {
            (Kind::Permanent, "link-loop", format!("`{path}` goes through too many symbolic links"))
        }
        Errno::NAMETOOLONG => (Kind::Permanent, "name-too-long", "the path is too long".to_owned()),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            let what = format!("`{path}`: no permission");
            return Fault::new(Kind::UserFixable, "no-permission", what)
                .hint("check its owner and mode with `ls -l`");
        }
        Errno::NOSPC | Errno::DQUOT => {
            let what = format!("`{path}`: the disk is full");
            return Fault::new(Kind::UserFixable, "disk-full", what).hint("free some space, then try again");
        }
        Errno::NOSYS => {
            let what = "this kernel cannot open paths safely (openat2 is missing)";
            return Fault::new(Kind::UserFixable, "kernel-too-old", what).hint("use Linux 5.6 or newer");
        }
        errno => (Kind::Transient, "io", format!("`{path}`: {errno}")),
    };
    Fault::new(kind, code, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_change_places_or_stay() {
        let before = BTreeMap::from([("new".to_owned(), 2), ("old".to_owned(), 1)]);
        for fails in 0..4 {
            let (mut files, mut count) = (before.clone(), 0);
            let mut rename = |from: &OsStr, to: &OsStr| {
                count += 1;
                if count == fails {
                    return Err(Errno::IO);
                }
                let name = |name: &OsStr| name.to_string_lossy().into_owned();
                let file = files.remove(&name(from)).ok_or(Errno::NOENT)?;
                files.insert(name(to), file);
                Ok(())
            };
            let done = by_hand(&mut rename, "old".as_ref(), "new".as_ref(), "aside".as_ref());
            let swapped = BTreeMap::from([("new".to_owned(), 1), ("old".to_owned(), 2)]);
            assert_eq!(
                (done.is_ok(), &files),
                (fails == 0, if fails == 0 { &swapped } else { &before }),
                "{fails}"
            );
        }
    }
}
