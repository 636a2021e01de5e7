//! The new root of a command, put together by descriptor: the plan says what is shown where, and no name that another
//! command of the same session exchanges meanwhile changes that.
//! Knows no profile, network or right. Start at [`Tree::place`].
//!
//! Sources are opened below the old root over no link, mounts are copied and restricted before anybody can see them, and
//! where they go is opened from the innermost mount above, again over no link. In directories of a session's own, which its
//! commands fill as they like, every directory on the way to a mount is a mount itself: nobody can move it.

use super::plan::{Entry, Show};
use crate::sys;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    mount, mount_change, move_mount, open_tree, unmount,
};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A directory that every system has; the new root is made on it, where nobody else sees it.
const BASE: &str = "/usr";
/// Where the old root hangs while the new one is filled.
const OLD: &str = "/.old";
const OPEN: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const NO_GAIN: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// The view of files as it grows.
pub(super) struct Tree {
    /// The whole view that is left.
    old: OwnedFd,
    /// Outer ones before inner ones.
    mounts: Vec<Mounted>,
    /// There was no /proc of its own to be had.
    others_seen: bool,
}

/// What is mounted.
struct Mounted {
    at: PathBuf,
    top: OwnedFd,
    /// What is there, where the plan took it from the old view and it can be written.
    source: Option<PathBuf>,
    /// A session's own: its commands rename and link in it what they like.
    loose: bool,
}

impl Tree {
    /// Leaves the old view; the new root holds devices only.
    pub(super) fn new() -> io::Result<Self> {
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        let old = open("/", OPEN | OFlags::DIRECTORY, Mode::empty())?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", BASE, "tmpfs", flags, c"mode=0755,size=16m")?;
        fs::create_dir(format!("{BASE}{OLD}"))?;
        rustix::process::pivot_root(BASE, format!("{BASE}{OLD}"))?;
        std::env::set_current_dir("/")?;
        let top = open("/", OPEN | OFlags::DIRECTORY, Mode::empty())?;
        let mut tree = Self { old, mounts: Vec::new(), others_seen: false };
        tree.mounts.push(Mounted { at: "/".into(), top, source: None, loose: false });
        tree.devices()?;
        Ok(tree)
    }

    /// Devices that everybody needs, terminals of its own, and the usual names for what is open.
    fn devices(&mut self) -> io::Result<()> {
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let device = Path::new("/dev").join(name);
            let copy = copied(&self.source(&device)?, 0)?;
            let on = self.target(&device, false)?;
            self.attach(copy, &device, &on, None, false)?;
        }
        fs::create_dir("/dev/pts")?;
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        mount("devpts", "/dev/pts", "devpts", flags, c"newinstance,ptmxmode=0666,mode=0620")?;
        let links = [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "fd/0"),
            ("stdout", "fd/1"),
            ("stderr", "fd/2"),
        ];
        links.iter().try_for_each(|(name, to)| std::os::unix::fs::symlink(to, format!("/dev/{name}")))
    }

    /// Shows one thing.
    pub(super) fn place(&mut self, entry: &Entry) -> io::Result<()> {
        let Entry { at, show } = entry;
        match show {
            Show::Read(source) => self.bind(at, source, sys::RDONLY | sys::NOSUID, false),
            Show::Write(source) => self.bind(at, source, sys::NOSUID | sys::NODEV, false),
            Show::Own(Some(source)) => self.bind(at, source, sys::NOSUID | sys::NODEV, true),
            Show::Own(None) => {
                let memory = made("tmpfs", &[("mode", "1777"), ("size", "25%")], &[], NO_GAIN)?;
                self.mount(at, memory)
            }
            Show::Processes => self.processes(at),
            Show::Over(below, changes) => match self.over(at, below, changes) {
                Ok(()) => Ok(()),
                // Not on this file system, or too many commands change it by now: then it stays as it is.
                Err(_) => self.bind(at, below, sys::RDONLY | sys::NOSUID, false),
            },
            Show::Link(to) => Ok(symlinkat(to, &self.top().top, at.strip_prefix("/").unwrap_or(at))?),
            Show::Nothing => self.nothing(at),
            Show::Device => Ok(()),
        }
    }

    /// Does it show what /proc tells of the processes outside?
    pub(super) fn others_seen(&self) -> bool {
        self.others_seen
    }

    /// The old view goes, and nothing is added to the root any more.
    pub(super) fn close(&mut self) -> io::Result<()> {
        unmount(OLD, UnmountFlags::DETACH)?;
        fs::remove_dir(OLD)?;
        sys::restrict_mount(self.top().top.as_fd(), sys::RDONLY | sys::NOSUID | sys::NODEV, false)
    }

    /// What is to be seen at this place, which leads over no link.
    pub(super) fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        let (above, rest) = self.above(path);
        beneath(&self.mounts[above].top, &rest)
    }

    fn top(&self) -> &Mounted {
        &self.mounts[0]
    }

    /// The innermost mount that this place is in, and the rest of the way.
    fn above(&self, at: &Path) -> (usize, PathBuf) {
        let depth = |number: &usize| self.mounts[*number].at.components().count();
        let holds = |number: &usize| at.starts_with(&self.mounts[*number].at);
        // The last of the longest: what is mounted over another hides it.
        let number = (0..self.mounts.len()).filter(holds).max_by_key(depth).unwrap_or(0);
        let rest = at.strip_prefix(&self.mounts[number].at).unwrap_or(at).to_owned();
        (number, rest)
    }

    /// A place of the old view. Over no link: the plan has it as it really is.
    fn source(&self, path: &Path) -> io::Result<OwnedFd> {
        beneath(&self.old, path.strip_prefix("/").unwrap_or(path))
    }

    fn bind(&mut self, at: &Path, source: &Path, limits: u64, loose: bool) -> io::Result<()> {
        let written = Some(source).filter(|_| limits & sys::RDONLY == 0);
        let (above, rest) = self.above(at);
        let part = self.mounts[above].source.as_ref().is_some_and(|outer| outer.join(&rest) == *source);
        if part {
            // A part of what is shown there already gets other rights: the very part that is to be seen there.
            let on = beneath(&self.mounts[above].top, &rest)?;
            return self.attach(copied(&on, limits)?, at, &on, written, loose);
        }
        let copy = copied(&self.source(source)?, limits)?;
        let is_dir = is_dir(&copy)?;
        match self.target(at, is_dir) {
            Ok(on) => self.attach(copy, at, &on, written, loose),
            // Another name for what has a place of its own: where a link of the same view is on the way, it leads there.
            Err(error) if at != source && !loose && is_link(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn mount(&mut self, at: &Path, what: OwnedFd) -> io::Result<()> {
        let on = self.target(at, true)?;
        self.attach(what, at, &on, None, false)
    }

    fn attach(
        &mut self,
        what: OwnedFd,
        at: &Path,
        on: &OwnedFd,
        source: Option<&Path>,
        loose: bool,
    ) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&what, c"", on, c"", flags)?;
        let source = source.map(Path::to_owned);
        self.mounts.push(Mounted { at: at.to_owned(), top: what, source, loose });
        Ok(())
    }

    /// Something to mount on: what is there, or what is made for it.
    fn target(&mut self, at: &Path, is_dir: bool) -> io::Result<OwnedFd> {
        let (above, rest) = self.above(at);
        let Mounted { top, loose, .. } = &self.mounts[above];
        if !loose {
            match beneath(top, &rest) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        let (loose, mut here) = (*loose, top.try_clone()?);
        let mut way = self.mounts[above].at.clone();
        let names: Vec<&OsStr> = rest.components().map(Component::as_os_str).collect();
        let Some((last, dirs)) = names.split_last() else { return Ok(here) };
        for name in dirs {
            here = directory(&here, name)?;
            way.push(name);
            if loose {
                // Nobody moves what something is mounted on.
                self.attach(copied(&here, 0)?, &way, &here, None, true)?;
                here = self.open(&way)?;
            }
        }
        if is_dir { directory(&here, last) } else { file(&here, last) }
    }

    fn processes(&mut self, at: &Path) -> io::Result<()> {
        let attributes = NO_GAIN | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY;
        match made("proc", &[], &[], attributes) {
            Ok(own) => self.mount(at, own),
            // Parts of the system's own are covered, as containers do, and must stay so.
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                self.others_seen = true;
                self.bind(at, Path::new("/proc"), sys::RDONLY | sys::NOSUID, false)
            }
            Err(error) => Err(error),
        }
    }

    /// Shows a directory of which all changes go into another one. One command at a time: two overlays over the same changes
    /// do not see each other's.
    fn over(&mut self, at: &Path, below: &Path, changes: &Path) -> io::Result<()> {
        let none = || io::Error::from(io::ErrorKind::InvalidInput);
        let (parent, name) = (changes.parent().ok_or_else(none)?, changes.file_name().ok_or_else(none)?);
        let changes = directory(&self.source(parent)?, name)?;
        let (lock, slot) = free(&changes)?;
        let [up, work] = ["up", "work"].map(|name| directory(&changes, OsStr::new(&format!("{name}{slot}"))));
        let (below, up, work) = (self.source(below)?, up?, work?);
        let [lower, upper, work] = [&below, &up, &work].map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let options = [("lowerdir", &*lower), ("upperdir", &*upper), ("workdir", &*work)];
        let whole = made("overlay", &options, &["userxattr"], NO_GAIN)?;
        self.mount(at, whole)?;
        // Held until the first process of the command ends.
        std::mem::forget(lock);
        Ok(())
    }

    /// Something that cannot be opened in place of what is there.
    fn nothing(&mut self, at: &Path) -> io::Result<()> {
        let on = match self.open(at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            there => there?,
        };
        let closed = if is_dir(&on)? {
            made("tmpfs", &[("mode", "0"), ("size", "4k")], &[], NO_GAIN | MountAttrFlags::MOUNT_ATTR_RDONLY)?
        } else {
            // A device where none may be opened.
            copied(&self.source(Path::new("/dev/null"))?, sys::RDONLY | sys::NOSUID | sys::NODEV)?
        };
        self.attach(closed, at, &on, None, false)
    }
}

/// Commands of one session that change a cache at once, each for itself: two that share it would spoil it.
const SLOTS: usize = 8;

/// The first of the changes below this directory that no other command has in hand: its lock, and the end of its names.
fn free(changes: &OwnedFd) -> io::Result<(fs::File, String)> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for slot in 0..SLOTS {
        let slot = if slot == 0 { String::new() } else { format!(".{slot}") };
        let lock = fs::File::from(openat(changes, format!("lock{slot}"), flags, Mode::RUSR | Mode::WUSR)?);
        match lock.try_lock() {
            Ok(()) => return Ok((lock, slot)),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Opens it from this directory, down and over no link.
fn beneath(dir: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(openat2(dir, path, OPEN, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH)?)
}

/// The directory of this name, made if there is none.
fn directory(dir: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        // It cannot be made here: then it has to be there.
        Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    beneath(dir, Path::new(name))
}

fn file(dir: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(dir, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST | Errno::ROFS | Errno::ACCESS | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    beneath(dir, Path::new(name))
}

/// What is there and all that is mounted in it once more, with fewer rights, not yet to be seen by anybody.
fn copied(of: &OwnedFd, limits: u64) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let copy = open_tree(of, c"", flags)?;
    if limits != 0 {
        sys::restrict_mount(copy.as_fd(), limits, true)?;
    }
    Ok(copy)
}

/// A new file system, not yet to be seen by anybody.
fn made(kind: &str, options: &[(&str, &str)], flags: &[&str], rights: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(&context, *name, *value)?;
    }
    for flag in flags {
        fsconfig_set_flag(&context, *flag)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, rights)?)
}

fn is_dir(fd: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory)
}

fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}
