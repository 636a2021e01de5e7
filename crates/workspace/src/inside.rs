//! Reaches what lies below a directory and nothing else, whatever somebody exchanges there meanwhile.
//!
//! A path is not looked at first and used then: it is resolved once, below the directory, over no link. Knows no tree
//! of git's and no session. Start at [`Inside::dir`].

use crate::table::split;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What is opened on the way, and how a directory is opened.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe that stands where a file was is not waited for.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const NEW: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// A directory that stays the same one under whatever name.
#[derive(Debug)]
pub(crate) struct Inside {
    root: OwnedFd,
}

impl Inside {
    /// The directory of this path, which is Kapell's own to say.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: rustix::fs::open(root, DIRECTORY, Mode::empty())? })
    }

    /// A directory below; `""` is the one itself. See [`elsewhere`] for what is no directory in there.
    pub(crate) fn dir(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        self.at(if path.is_empty() { b"." } else { path }, DIRECTORY)
    }

    /// The bytes of a file below. A link is not followed, a pipe has no bytes.
    pub(crate) fn read(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut File::from(self.at(path, READ)?), &mut bytes)?;
        Ok(bytes)
    }

    /// The same of what is a plain file; nothing of anything else, and of what is not there.
    pub(crate) fn read_plain(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut file = File::from(self.at(path, READ).ok()?);
        let mut bytes = Vec::new();
        let plain = file.metadata().ok()?.is_file();
        (plain && io::Read::read_to_end(&mut file, &mut bytes).is_ok()).then_some(bytes)
    }

    /// Where a link below points.
    pub(crate) fn read_link(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (dir, name) = split(path);
        Ok(rustix::fs::readlinkat(self.dir(dir)?, OsStr::from_bytes(name), Vec::new())?.into_bytes())
    }

    /// The directory above a path, made with all above it where it is not there; `None` when something that is no
    /// directory stands in the way.
    pub(crate) fn parent_made(&self, path: &[u8]) -> io::Result<Option<OwnedFd>> {
        let above = split(path).0;
        match self.dir(above) {
            Ok(dir) => return Ok(Some(dir)),
            Err(Errno::NOENT) => {}
            Err(error) if elsewhere(error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut at = self.dir(b"")?;
        for part in above.split(|&b| b == b'/').map(OsStr::from_bytes) {
            match rustix::fs::mkdirat(&at, part, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            at = match rustix::fs::openat(&at, part, DIRECTORY, Mode::empty()) {
                Ok(dir) => dir,
                Err(error) if elsewhere(error) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Some(at))
    }

    /// Removes a file or link, then the directories above it that this emptied. What is not there, or a directory, is
    /// left as it is.
    pub(crate) fn remove_file(&self, path: &[u8]) -> io::Result<()> {
        let (mut above, name) = split(path);
        match self
            .dir(above)
            .and_then(|dir| rustix::fs::unlinkat(dir, OsStr::from_bytes(name), AtFlags::empty()))
        {
            Err(error) if !elsewhere(error) && error != Errno::ISDIR => return Err(error.into()),
            _ => {}
        }
        while !above.is_empty() {
            let (next, name) = split(above);
            let emptied = self
                .dir(next)
                .and_then(|dir| rustix::fs::unlinkat(dir, OsStr::from_bytes(name), AtFlags::REMOVEDIR));
            if emptied.is_err() {
                break;
            }
            above = next;
        }
        Ok(())
    }

    fn at(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        match rustix::fs::openat2(&self.root, OsStr::from_bytes(path), flags, Mode::empty(), BELOW) {
            // Older kernels do not know it, and some filters of system calls keep it from us.
            Err(Errno::NOSYS | Errno::PERM) => self.step_by_step(path, flags),
            other => other,
        }
    }

    /// The same by hand.
    fn step_by_step(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let (above, name) = split(path);
        let mut at: Option<OwnedFd> = None;
        for part in above.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
            let from = at.as_ref().unwrap_or(&self.root);
            at = Some(rustix::fs::openat(from, OsStr::from_bytes(part), DIRECTORY, Mode::empty())?);
        }
        rustix::fs::openat(at.as_ref().unwrap_or(&self.root), OsStr::from_bytes(name), flags, Mode::empty())
    }
}

/// Makes a new file with these bytes and permission bits (before the umask) in an open directory.
pub(crate) fn write_new(dir: impl AsFd, name: &[u8], bits: u32, bytes: &[u8]) -> io::Result<()> {
    let file = rustix::fs::openat(dir, OsStr::from_bytes(name), NEW, Mode::from_raw_mode(bits))?;
    io::Write::write_all(&mut File::from(file), bytes)
}

/// What an open directory has under a name, which is not followed when it is a link.
pub(crate) fn look(dir: impl AsFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Is it a directory?
pub(crate) fn is_dir(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

/// Does this say that there is no such directory in there: nothing, a file, a link, or a way out?
pub(crate) fn elsewhere(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_a_way_out_with_either_way_to_open() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        std::fs::write(root.join("a/b/file"), "text").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("a/link")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), root.join("a/file")).unwrap();
        let inside = Inside::open(&root).unwrap();
        for open in [Inside::at, Inside::step_by_step] {
            assert!(open(&inside, b"a/b/file", READ).is_ok() && open(&inside, b"a/b", DIRECTORY).is_ok());
            for way_out in [&b"a/link/secret"[..], b"a/file"] {
                assert!(open(&inside, way_out, READ).is_err());
            }
            assert!(elsewhere(open(&inside, b"a/link", DIRECTORY).unwrap_err()));
        }
        assert_eq!(inside.read(b"a/b/file").unwrap(), b"text");
        assert_eq!(inside.read_link(b"a/link").unwrap(), outside.as_os_str().as_bytes());
        assert_eq!(inside.read_plain(b"a/b"), None);
        inside.remove_file(b"a/link/secret").unwrap();
        assert!(inside.parent_made(b"a/link/new").unwrap().is_none());
        assert!(inside.parent_made(b"a/link/new/er").unwrap().is_none());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        // And what is inside is made and removed.
        let made = inside.parent_made(b"c/d/new").unwrap().unwrap();
        write_new(&made, b"new", 0o644, b"new").unwrap();
        assert_eq!(std::fs::read(root.join("c/d/new")).unwrap(), b"new");
        assert!(write_new(&made, b"new", 0o644, b"newer").is_err());
        inside.remove_file(b"c/d/new").unwrap();
        assert!(!root.join("c").exists());
    }
}
