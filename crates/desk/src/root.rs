//! The directory the tools work in, reached only from its open top: the kernel itself refuses every path that leads
//! outside, through `..`, links or a directory swapped meanwhile (openat2, RESOLVE_BENEATH).
//!
//! Knows no tool. Start at [`Root::open`]; a file is replaced by [`Root::write`], never in place.

use contract::{Fault, Kind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Bytes that are read of one file.
pub(crate) const FILE_BYTES: u64 = 64 << 20;
/// Tries while directories are moved about under our feet (openat2(2), EAGAIN).
const TRIES: usize = 100;
/// Tries for a name nobody has.
const NAMES: u32 = 10_000;

/// The open top.
#[derive(Debug)]
pub(crate) struct Root {
    top: OwnedFd,
    /// Where it was opened, links resolved.
    path: PathBuf,
}

/// Nobody else changes the directory's files while this lives, if they ask here too. The kernel takes the lock back when
/// its holder dies.
#[derive(Debug)]
pub(crate) struct Guard {
    #[expect(dead_code, reason = "held for its lock, which goes with it")]
    top: File,
}

/// A file or directory that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) size: u64,
    pub(crate) is_file: bool,
    pub(crate) is_dir: bool,
    /// Milliseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) changed: i64,
    pub(crate) mode: u32,
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let told = |error: std::io::Error| {
            let what = format!("the workspace {} cannot be opened: {error}", path.display());
            Fault::new(Kind::UserFixable, "no-workspace", what)
                .hint("name a directory that exists: kapell -C DIR mcp")
        };
        let path = path.canonicalize().map_err(told)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| told(errno.into()))?;
        Ok(Self { top, path })
    }

    /// The very directory that was opened, whatever stands at its path by now.
    pub(crate) fn opened(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.top.as_raw_fd()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the directory's lock, and waits for it.
    pub(crate) fn lock(&self) -> Result<Guard, Fault> {
        // A description of its own: locks of one description do not exclude each other.
        let file = File::open(&self.path).map_err(|error| fault(".", &error))?;
        file.lock().map_err(|error| fault(".", &error))?;
        Ok(Guard { top: file })
    }

    /// The path as it goes on from the top. An absolute one has to begin with it.
    pub(crate) fn relative(&self, path: &str) -> Result<PathBuf, Fault> {
        if path.contains('\0') {
            return Err(refused(&path.replace('\0', "\\0")));
        }
        let given = Path::new(path);
        let inside = given.strip_prefix(&self.path).unwrap_or(given);
        if inside.is_absolute() {
            return Err(refused(path));
        }
        // `a/../b` is `b` also where there is no `a`; what goes above the top is refused here, links by the kernel.
        let mut out = PathBuf::new();
        for part in inside.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) => out.push(name),
                Component::ParentDir if out.pop() => {}
                _ => return Err(refused(path)),
            }
        }
        Ok(if out.as_os_str().is_empty() { PathBuf::from(".") } else { out })
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.meta(path).is_ok()
    }

    pub(crate) fn meta(&self, path: &str) -> Result<Meta, Fault> {
        let fd = self.beneath(path, OFlags::PATH)?;
        Ok(meta(&rustix::fs::fstat(&fd).map_err(|errno| of(path, errno))?))
    }

    /// The content of a regular file.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, Fault> {
        // Not blocking: opening a FIFO would wait for its other end.
        let fd = self.beneath(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| of(path, errno))?;
        regular(path, &stat)?;
        let mut bytes = Vec::new();
        let read = File::from(fd).take(FILE_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| fault(path, &error))?;
        match bytes.len() as u64 > FILE_BYTES {
            false => Ok(bytes),
            true => {
                let what = format!("{path} is larger than {} MB", FILE_BYTES >> 20);
                Err(Fault::new(Kind::UserFixable, "file-large", what))
            }
        }
    }

    /// The content, or nothing where there is no file.
    pub(crate) fn read_if(&self, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        match self.read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(fault) if fault.code == "no-file" => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Names in a directory, sorted, with what they are; links are told as what they lead to inside.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<(String, Meta)>, Fault> {
        let fd = self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut all = Vec::new();
        for entry in rustix::fs::Dir::read_from(&fd).map_err(|errno| of(path, errno))? {
            let entry = entry.map_err(|errno| of(path, errno))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let own = if path.is_empty() || path == "." { name.to_owned() } else { format!("{path}/{name}") };
            // A link that leads outside is not there.
            if let Ok(meta) = self.meta(&own) {
                all.push((name.to_owned(), meta));
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// Is the last part of the path a link? Who walks a tree does not follow it.
    pub(crate) fn is_link(&self, path: &str) -> bool {
        let stat = self.parent(path, false).and_then(|(dir, name)| {
            rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| of(path, errno))
        });
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    }

    /// Replaces a file, or makes it: written beside, flushed, renamed. Directories on the way are made when asked.
    pub(crate) fn write(&self, path: &str, bytes: &[u8], make: bool) -> Result<(), Fault> {
        let path = &self.target(path)?;
        let (dir, name) = self.parent(path, make)?;
        let there = rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).ok();
        if let Some(stat) = &there {
            regular(path, stat)?;
        }
        let mode = there.map_or(Mode::from_raw_mode(0o644), |stat| Mode::from_raw_mode(stat.st_mode & 0o777));
        let spare = self.spare(&dir, path, mode)?;
        let written = (|| -> std::io::Result<()> {
            let mut file = File::from(spare.1);
            file.write_all(bytes)?;
            // The umask has no say in the place of a file that was there.
            rustix::fs::fchmod(&file, mode)?;
            file.sync_all()?;
            rustix::fs::renameat(&dir, &spare.0, &dir, &name)?;
            Ok(())
        })();
        if let Err(error) = written {
            let _gone = rustix::fs::unlinkat(&dir, &spare.0, AtFlags::empty());
            return Err(fault(path, &error));
        }
        rustix::fs::fsync(open_again(&dir)?).map_err(|errno| of(path, errno))
    }

    /// Makes a file that must not be there yet. False: it is.
    pub(crate) fn create(&self, path: &str, bytes: &[u8]) -> Result<bool, Fault> {
        let (dir, name) = self.parent(path, true)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(0o644)) {
            Ok(fd) => {
                let mut file = File::from(fd);
                let written = file.write_all(bytes).and_then(|()| file.sync_all());
                written.map(|()| true).map_err(|error| {
                    let _gone = rustix::fs::unlinkat(&dir, &name, AtFlags::empty());
                    fault(path, &error)
                })
            }
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(of(path, errno)),
        }
    }

    /// Adds to the end of a file, which is made when needed; flushed.
    pub(crate) fn append(&self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        let path = &self.target(path)?;
        let (dir, name) = self.parent(path, true)?;
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(0o644))
            .map_err(|errno| of(path, errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| of(path, errno))?;
        regular(path, &stat)?;
        let mut file = File::from(fd);
        let size = meta(&stat).size;
        // All of it or nothing: half a row would be taken for one.
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        written.map_err(|error| {
            let _as_it_was = file.set_len(size);
            fault(path, &error)
        })
    }

    /// The file that is written when this path is: a link that stays inside is followed.
    fn target(&self, path: &str) -> Result<String, Fault> {
        let relative = self.relative(path)?;
        let git = |part: Component<'_>| part.as_os_str().eq_ignore_ascii_case(".git");
        if relative.components().any(git) {
            let what = format!("{path} belongs to git: its files are programs and settings of programs");
            return Err(Fault::new(Kind::UserFixable, "path-git", what).hint("use git"));
        }
        let text = relative.to_string_lossy().into_owned();
        if !self.is_link(&text) {
            return Ok(text);
        }
        let fd = self.beneath(&text, OFlags::PATH)?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)));
        let real = real.map_err(|error| fault(path, &error))?;
        match real.strip_prefix(&self.path) {
            Ok(inside) => self.target(&inside.to_string_lossy()),
            Err(_) => Err(refused(path)),
        }
    }

    /// The directory of a path, held open, and its last part. No link on the way is followed but one that stays inside.
    fn parent(&self, path: &str, make: bool) -> Result<(OwnedFd, PathBuf), Fault> {
        let relative = self.relative(path)?;
        let name = relative.file_name().ok_or_else(|| refused(path))?;
        let dir = relative.parent().map(Path::to_owned).unwrap_or_default();
        let dir_text = dir.to_string_lossy().into_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened = match self.beneath(&dir_text, flags) {
            Err(fault) if fault.code == "no-file" && make => {
                let mut way = PathBuf::new();
                for part in dir.components() {
                    let above = self.beneath(&way.to_string_lossy(), flags)?;
                    match rustix::fs::mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => way.push(part),
                        Err(errno) => return Err(of(path, errno)),
                    }
                }
                self.beneath(&dir_text, flags)?
            }
            opened => opened?,
        };
        Ok((opened, PathBuf::from(name)))
    }

    /// A new file beside the one that is written.
    fn spare(&self, dir: &OwnedFd, path: &str, mode: Mode) -> Result<(String, OwnedFd), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        for n in 0..NAMES {
            let name = format!(".kapell-{}-{n}.tmp", std::process::id());
            match rustix::fs::openat(dir, &name, flags, mode) {
                Ok(fd) => return Ok((name, fd)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(of(path, errno)),
            }
        }
        Err(of(path, Errno::EXIST))
    }

    fn beneath(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Fault> {
        let relative = self.relative(path)?;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match rustix::fs::openat2(&self.top, &relative, flags | OFlags::CLOEXEC, Mode::empty(), how) {
                Ok(fd) => return Ok(fd),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::XDEV) => return Err(refused(path)),
                Err(errno) => return Err(of(path, errno)),
            }
        }
        Err(of(path, Errno::AGAIN))
    }
}

/// A directory that was opened only as a place, for reading.
fn open_again(dir: &OwnedFd) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, Mode::empty()).map_err(|errno| of(".", errno))
}

fn meta(stat: &Stat) -> Meta {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let ms = |s: i64, ns: i64| s.saturating_mul(1000).saturating_add(ns / 1_000_000);
    Meta {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        is_file: kind == FileType::RegularFile,
        is_dir: kind == FileType::Directory,
        modified: ms(stat.st_mtime, stat.st_mtime_nsec as i64),
        changed: ms(stat.st_ctime, stat.st_ctime_nsec as i64),
        mode: stat.st_mode & 0o7777,
    }
}

fn regular(path: &str, stat: &Stat) -> Result<(), Fault> {
    let (code, what) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => ("is-directory", format!("{path} is a directory")),
        _ => ("no-regular", format!("{path} is no regular file")),
    };
    Err(Fault::new(Kind::UserFixable, code, what))
}

fn refused(path: &str) -> Fault {
    let what = format!("{path} is outside the workspace");
    Fault::new(Kind::UserFixable, "path-outside", what).hint("name a path inside, relative to the workspace")
}

fn of(path: &str, errno: Errno) -> Fault {
    fault(path, &errno.into())
}

fn fault(path: &str, error: &std::io::Error) -> Fault {
    let path = if path == "." { "the workspace" } else { path };
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Fault::new(Kind::UserFixable, "no-file", format!("{path} does not exist"))
        }
        _ => Fault::new(Kind::UserFixable, "file", format!("{path}: {error}")),
    }
}
