//! Removes and measures whole directories, however deep somebody made them.
//!
//! Knows neither sessions nor why. Holds two directories open at most, follows no link. Start at [`remove_tree`].

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Tries to remove a directory while something still writes into it.
const REMOVE_TRIES: u32 = 5;
/// Names that directories get on their way out begin with this.
const FLAT: &str = ".kapell-flat-";

/// Removes a directory that Kapell made and all below; links are removed, never followed. Directories that were
/// made read-only (module caches do that) are opened first.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_dir() => return std::fs::remove_file(dir),
        Ok(_) => {}
    }
    let remove = || {
        // tidy: allow(recursive-delete): callers pass parts of a session's directory after its marker was read, or
        // parts of a check slot whose lock they hold; links inside are removed, never followed.
        std::fs::remove_dir_all(dir)
    };
    let mut tries = 0;
    loop {
        match remove() {
            Err(error) if tries < REMOVE_TRIES => match error.kind() {
                io::ErrorKind::NotFound => return Ok(()),
                // A program that was killed a moment ago wrote one more file.
                io::ErrorKind::DirectoryNotEmpty => {}
                _ if too_deep(&error) || error.kind() == io::ErrorKind::PermissionDenied => flatten(dir)?,
                _ => return Err(error),
            },
            other => return other,
        }
        tries += 1;
    }
}

/// More levels than descriptors, or than fit into a path.
fn too_deep(error: &io::Error) -> bool {
    let codes = [Errno::MFILE, Errno::NFILE, Errno::NAMETOOLONG];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

/// Empties a directory level by level: what is below a directory in it moves up beside it, so that nothing is ever
/// deeper than two levels.
fn flatten(dir: &Path) -> io::Result<()> {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    let top = open(rustix::fs::CWD, dir.as_os_str())?;
    let mut number = 0u64;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if !is_dir(top.as_fd(), &name)? {
                unlink(top.as_fd(), &name, AtFlags::empty())?;
                continue;
            }
            let below = opened(top.as_fd(), &name)?;
            for inner in self::names(&below)? {
                if !is_dir(below.as_fd(), &inner)? {
                    unlink(below.as_fd(), &inner, AtFlags::empty())?;
                    continue;
                }
                // A directory can be moved only by who may write into it.
                rustix::fs::chmodat(&below, &inner, Mode::RWXU, AtFlags::empty())?;
                loop {
                    number += 1;
                    let to = format!("{FLAT}{number}");
                    match rustix::fs::renameat(&below, &inner, &top, &to) {
                        // Its own name from a try before this one, or somebody else's.
                        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                        other => break other?,
                    }
                }
            }
            unlink(top.as_fd(), &name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Bytes of everything below a directory, or of a file; links are not followed.
pub fn bytes_below(path: &Path) -> u64 {
    let Ok(meta) = path.symlink_metadata() else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let (mut sum, mut waiting) = (0u64, vec![path.to_path_buf()]);
    while let Some(dir) = waiting.pop() {
        let Ok(open) = long(&dir) else { continue };
        for name in names(&open).unwrap_or_default() {
            let Ok(found) = rustix::fs::statat(&open, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => waiting.push(dir.join(OsStr::from_bytes(name.to_bytes()))),
                _ => sum = sum.saturating_add(u64::try_from(found.st_size).unwrap_or_default()),
            }
        }
    }
    sum
}

/// Opens a directory whose path may be longer than a path may be, a part at a time.
fn long(path: &Path) -> io::Result<OwnedFd> {
    match open(rustix::fs::CWD, path.as_os_str()) {
        Err(Errno::NAMETOOLONG) => {}
        other => return Ok(other?),
    }
    let mut at: Option<OwnedFd> = None;
    let mut part = PathBuf::new();
    let mut names = path.components().peekable();
    while let Some(name) = names.next() {
        part.push(name);
        let next = names.peek().map_or(usize::MAX, |next| next.as_os_str().len());
        if part.as_os_str().len().saturating_add(next) >= PART {
            at = Some(open(at.as_ref().map_or(rustix::fs::CWD, OwnedFd::as_fd), part.as_os_str())?);
            part = PathBuf::new();
        }
    }
    at.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// Bytes of a path that are looked up at once where all of it is too long.
const PART: usize = 2_048;

fn open(at: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// The same, after making it readable where it is not.
fn opened(at: BorrowedFd<'_>, name: &CString) -> io::Result<OwnedFd> {
    let plain = OsStr::from_bytes(name.to_bytes());
    rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty())?;
    Ok(open(at, plain)?)
}

fn names(dir: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn is_dir(at: BorrowedFd<'_>, name: &CString) -> io::Result<bool> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn unlink(at: BorrowedFd<'_>, name: &CString, flags: AtFlags) -> io::Result<()> {
    match rustix::fs::unlinkat(at, name, flags) {
        // Something that was written meanwhile: the next look finds it.
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a chain of directories deeper than any path, with a file at its end.
    fn chain(top: &Path, levels: usize, name: &str) {
        let mut at = open(rustix::fs::CWD, top.as_os_str()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            at = open(at.as_fd(), OsStr::new(name)).unwrap();
        }
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = rustix::fs::openat(&at, "end", flags, Mode::RUSR | Mode::WUSR).unwrap();
        rustix::io::write(&file, b"twelve bytes").unwrap();
    }

    #[test]
    fn what_is_deeper_than_a_path_is_measured_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (top, outside) = (dir.path().join("top"), dir.path().join("outside"));
        std::fs::create_dir(&top).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("keep"), "").unwrap();
        chain(&top, 3_000, "deep");
        std::os::unix::fs::symlink(&outside, top.join("link")).unwrap();
        let link = outside.as_os_str().len() as u64;
        assert_eq!(bytes_below(&top), 12 + link);
        remove_tree(&top).unwrap();
        assert!(!top.exists() && outside.join("keep").exists());
    }

    #[test]
    fn flattening_takes_what_is_read_only_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (top, outside) = (dir.path().join("top"), dir.path().join("outside"));
        std::fs::create_dir_all(top.join("a/b/c")).unwrap();
        std::fs::create_dir_all(top.join(format!("{FLAT}1/in the way"))).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("keep"), "").unwrap();
        std::fs::write(top.join("a/b/c/file"), "").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("a/b/link")).unwrap();
        for shut in ["a/b/c", "a/b", "a"] {
            std::fs::set_permissions(top.join(shut), std::fs::Permissions::from_mode(0o500)).unwrap();
        }
        flatten(&top).unwrap();
        assert_eq!(std::fs::read_dir(&top).unwrap().count(), 0);
        assert!(outside.join("keep").exists());
    }
}
