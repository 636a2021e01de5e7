//! The few system calls that have no safe wrapper. All `unsafe` of Kapell is in this file.
//! Knows nothing of what they are used for. Start at [`fork`].

use rustix::process::Pid;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Forks; `None` in the child.
///
/// The caller must be a process with one thread: only then may the child go on running ordinary code.
/// The helper is such a process: it starts no thread.
#[expect(unsafe_code, reason = "fork has no safe wrapper; the helper has one thread")]
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: called in the single-threaded helper only, so that no lock can be held by a thread that the
    // child does not have.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Blocks every signal and puts those that a parent may have set to "ignore" back to their default, so that
/// a command started from here gets them as usual once [`unblock_signals`] was called.
#[expect(unsafe_code, reason = "signal masks and dispositions have no safe wrapper")]
pub(crate) fn block_signals() -> io::Result<()> {
    // SAFETY: the set is written by sigfillset before it is read; SIG_DFL installs no handler.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut set);
        check(libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()))?;
        // The ordinary ones; SIGKILL and SIGSTOP refuse, which is as good.
        for signal in 1..=libc::SIGSYS {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
    Ok(())
}

/// Lets every signal through again. A mask is inherited by exec: a program started with SIGTERM blocked could
/// not be asked to end.
#[expect(unsafe_code, reason = "signal masks have no safe wrapper")]
pub(crate) fn unblock_signals() -> io::Result<()> {
    // SAFETY: the set is written by sigemptyset before it is read.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        check(libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()))
    }
}

/// A descriptor that is readable when a child has ended. SIGCHLD must be blocked.
#[expect(unsafe_code, reason = "signalfd has no safe wrapper")]
pub(crate) fn child_signal() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use; the returned descriptor is new and owned by nobody else.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Has a descriptor watched by the runtime.
#[expect(unsafe_code, reason = "tokio asks for a promise that the descriptor stays open")]
pub(crate) fn watch(fd: Owned, interest: Interest) -> io::Result<AsyncFd<Owned>> {
    // SAFETY: `Owned` always gives the same descriptor, and keeps it open until it is dropped, which the result does.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// A descriptor with several owners.
#[derive(Debug, Clone)]
pub(crate) struct Owned(pub(crate) Arc<OwnedFd>);

impl AsRawFd for Owned {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Closes every descriptor above standard error except this one.
#[expect(unsafe_code, reason = "closes descriptors nobody in this process owns")]
pub(crate) fn close_all_but(keep: BorrowedFd<'_>) -> io::Result<()> {
    let keep = keep.as_raw_fd().unsigned_abs();
    const FIRST: u32 = 3;
    // SAFETY: called at the helper's start, when `keep` is the only descriptor above 2 that anything owns.
    unsafe {
        if keep > FIRST {
            check(libc::close_range(FIRST, keep - 1, 0))?;
        }
        check(libc::close_range(keep + 1, u32::MAX, 0))
    }
}

/// Leaves what is shared with other processes behind, by `CLONE_NEW...` flags.
#[expect(unsafe_code, reason = "the safe wrapper is deprecated for a flag that is not among these")]
pub(crate) fn unshare(flags: u32) -> io::Result<()> {
    debug_assert_eq!(flags & libc::CLONE_FILES.unsigned_abs(), 0, "descriptors stay shared with nobody");
    // SAFETY: namespaces only: no memory and no descriptor changes its owner.
    check(unsafe { libc::unshare(flags.cast_signed()) })
}

/// Which version of Landlock's interface the kernel has; 0 = none.
#[expect(unsafe_code, reason = "the crate for it does not tell")]
pub(crate) fn landlock_version() -> u32 {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no memory and makes no descriptor.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

pub(crate) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub(crate) const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub(crate) const NODEV: u64 = libc::MOUNT_ATTR_NODEV;

/// Takes rights from a mount, and from all below it.
#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]
pub(crate) fn restrict_mount(at: &Path, limits: u64, below: bool) -> io::Result<()> {
    let path = CString::new(at.as_os_str().as_bytes())?;
    let attributes = libc::mount_attr { attr_set: limits, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: both pointers are to live values, and the size is that of the second.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Switches the loopback of this network on.
#[expect(unsafe_code, reason = "flags of an interface are set by ioctl")]
pub(crate) fn loopback_up() -> io::Result<()> {
    let kind = rustix::net::SocketType::DGRAM;
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(rustix::net::AddressFamily::INET, kind, flags, None)?;
    // SAFETY: zero is a valid value of every field; the name is shorter than its field and ends with a zero byte.
    unsafe {
        let mut request = std::mem::zeroed::<libc::ifreq>();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request))
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs [`crate::helper::dispatch`] before `main`, so that any program that links this crate can be its own
/// helper, test binaries included. Where the C library hands over no arguments here (static musl), the
/// call at the top of `main` does it.
#[expect(unsafe_code, reason = "places a function pointer among the initialisers")]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        crate::helper::dispatch();
    }
    before_main
};
