//! Confines this process, which is about to become a command: its view of files, its network, what it may do to them,
//! which calls it has. Runs in the warden's child, which has one thread.
//! Knows no profile; carries out a [`Plan`]. Start at [`enter`].

use super::plan::{Entry, Plan, Show};
use super::{calls, landlock};
use crate::sys;
use crate::wire::Step;
use contract::confine::Network;
use rustix::fs::{Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
};
use rustix::process::{Resource, Rlimit, fchdir, getgid, getuid, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, capabilities, remove_capability_from_bounding_set,
    set_capabilities,
};
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A directory that every system has; the new root is made on it, where nobody else sees it.
const BASE: &str = "/usr";
/// Where the old root hangs while the new one is filled.
const OLD: &str = "/.old";
/// Processes of one command at most, where they are counted (a user namespace, a group of the kernel's).
pub(crate) const PROCESSES: u64 = 8_192;

type Failed = (Step, io::Error);

/// Confines this process and goes to its directory. Returns with an error where any layer cannot be had: whoever called
/// must end then.
pub(crate) fn enter(plan: &Plan, cwd: OwnedFd) -> Result<(), Failed> {
    let no_dump = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, no_dump).map_err(|errno| (Step::Namespaces, errno.into()))?;
    if plan.namespaces {
        let path = fs::read_link(format!("/proc/self/fd/{}", cwd.as_raw_fd()));
        let path = path.map_err(|error| (Step::Directory, error))?;
        own_namespaces(plan.network).map_err(|error| (Step::Namespaces, error))?;
        fill(&plan.entries)?;
        go(&path, &cwd).map_err(|error| (Step::Directory, error))?;
    } else {
        // Before the rules hold: it may be a place that they do not show.
        fchdir(&cwd).map_err(|errno| (Step::Directory, errno.into()))?;
    }
    drop(cwd);
    keep_few_rights().map_err(|error| (Step::Namespaces, error))?;
    landlock::hold(plan).map_err(|error| (Step::Landlock, error))?;
    calls::filter(plan).map_err(|error| (Step::Seccomp, error))
}

/// Only what this needs, to see whether the kernel grants it.
pub(super) fn probe() -> Result<(), Failed> {
    own_namespaces(Network::Off).map_err(|error| (Step::Namespaces, error))?;
    let entries = [
        Entry::new("/usr", Show::Read("/usr".into())),
        Entry::new("/proc", Show::Read("/proc".into())),
        Entry::new("/tmp", Show::Own(None)),
    ];
    fill(&entries)
}

/// A mount namespace and, unless the whole network is allowed, a network of its own, in which only the loopback is up.
/// The superuser needs no user namespace for it, and keeps the ownership of files as it is.
fn own_namespaces(network: Network) -> io::Result<()> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    if network != Network::On {
        flags |= UnshareFlags::NEWNET;
    }
    let (uid, gid) = (getuid(), getgid());
    if !(uid.is_root() && unshare(flags).is_ok()) {
        unshare(flags | UnshareFlags::NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{0} {0} 1", uid.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("{0} {0} 1", gid.as_raw()))?;
        let processes = Rlimit { current: Some(PROCESSES), maximum: Some(PROCESSES) };
        // The limit may be lower already.
        let _lower_is_fine = setrlimit(Resource::Nproc, processes);
    }
    if network != Network::On {
        sys::loopback_up()?;
    }
    Ok(())
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // Files are not unshared: the only flag for which rustix asks more.
    sys::unshare(flags.bits())
}

/// Makes a new root that holds these and nothing else.
fn fill(entries: &[Entry]) -> Result<(), Failed> {
    let step = |error: io::Error| (Step::Namespaces, error);
    new_root().map_err(step)?;
    devices().map_err(step)?;
    for (number, entry) in entries.iter().enumerate() {
        place(entry).map_err(|error| (Step::Mount(u16::try_from(number).unwrap_or(u16::MAX)), error))?;
    }
    unmount(OLD, UnmountFlags::DETACH).map_err(|errno| step(errno.into()))?;
    fs::remove_dir(OLD).map_err(step)?;
    sys::restrict_mount(Path::new("/"), sys::RDONLY | sys::NOSUID | sys::NODEV, false).map_err(step)
}

fn new_root() -> io::Result<()> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    tmpfs(Path::new(BASE), c"mode=0755,size=16m")?;
    fs::create_dir(format!("{BASE}{OLD}"))?;
    rustix::process::pivot_root(BASE, format!("{BASE}{OLD}"))?;
    std::env::set_current_dir("/")
}

fn tmpfs(at: &Path, options: &CStr) -> io::Result<()> {
    Ok(mount("tmpfs", at, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options)?)
}

/// Devices that everybody needs, terminals of its own, and the usual names for what is open.
fn devices() -> io::Result<()> {
    fs::create_dir("/dev")?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let at = PathBuf::from(format!("/dev/{name}"));
        fs::write(&at, "")?;
        mount_bind_recursive(format!("{OLD}{}", at.display()), &at)?;
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

fn place(Entry { at, show }: &Entry) -> io::Result<()> {
    let bind = |source: &Path, limits: u64| {
        let source = before(source);
        let is_dir = fs::symlink_metadata(&source)?.is_dir();
        stand_in(at, is_dir)?;
        mount_bind_recursive(&source, at)?;
        sys::restrict_mount(at, limits, true)
    };
    match show {
        Show::Read(source) => bind(source, sys::RDONLY | sys::NOSUID),
        Show::Write(source) | Show::Own(Some(source)) => bind(source, sys::NOSUID | sys::NODEV),
        Show::Own(None) => {
            stand_in(at, true)?;
            tmpfs(at, c"mode=1777,size=25%")
        }
        Show::Link(to) => std::os::unix::fs::symlink(to, at),
        Show::Nothing if fs::symlink_metadata(at).is_ok_and(|meta| meta.is_dir()) => {
            tmpfs(at, c"mode=0,size=4k")?;
            sys::restrict_mount(at, sys::RDONLY, false)
        }
        // A device where none may be opened.
        Show::Nothing => bind(Path::new("/dev/null"), sys::RDONLY | sys::NOSUID | sys::NODEV),
        Show::Device => Ok(()),
    }
}

fn before(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

/// Something to mount on.
fn stand_in(at: &Path, is_dir: bool) -> io::Result<()> {
    if fs::symlink_metadata(at).is_ok() {
        return Ok(());
    }
    if is_dir {
        return fs::create_dir_all(at);
    }
    at.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(at, "")
}

/// To the same directory by its name: the open one belongs to the view that was left, in which everything is still
/// there.
fn go(path: &Path, open: &OwnedFd) -> io::Result<()> {
    std::env::set_current_dir(path)?;
    if path == Path::new("/") {
        return Ok(());
    }
    let here = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let (here, wanted) = (fstat(&here)?, fstat(open)?);
    match (here.st_dev, here.st_ino) == (wanted.st_dev, wanted.st_ino) {
        true => Ok(()),
        // Somebody exchanged it meanwhile.
        false => Err(Errno::STALE.into()),
    }
}

/// Whatever a program may gain by being the superuser's, it keeps only rights over files it can reach.
fn keep_few_rights() -> io::Result<()> {
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::KILL
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID;
    for one in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(one) {
            // Unknown to this kernel.
            Ok(()) | Err(Errno::INVAL) => {}
            // Not ours to give away for good. What it has not now it does not gain: it gains nothing by any program.
            Err(Errno::PERM) => return give_up(kept),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn give_up(kept: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    let few = |set: CapabilitySet| set.intersection(kept);
    let (effective, permitted) = (few(now.effective), few(now.permitted));
    Ok(set_capabilities(None, CapabilitySets { effective, permitted, inheritable: few(now.inheritable) })?)
}
