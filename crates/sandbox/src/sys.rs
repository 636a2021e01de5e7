//! The few system calls that have no safe wrapper. All `unsafe` of Kapell is in this file.
//! Knows nothing of what they are used for. Start at [`fork`].

use crate::wire::{Spawn, Step};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
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

/// Forks into namespaces of its own, by `CLONE_NEW...` flags; `None` in the child. The same holds as for [`fork`].
#[expect(unsafe_code, reason = "clone has no safe wrapper; the helper has one thread")]
pub(crate) fn fork_into(flags: u32) -> io::Result<Option<Pid>> {
    let flags = libc::c_long::from(flags) | libc::c_long::from(libc::SIGCHLD);
    // SAFETY: without a stack and without shared memory it is a fork; called in the single-threaded helper only.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(i32::try_from(pid).ok().and_then(Pid::from_raw)),
    }
}

/// What a new process needs to become a program; all of it is made before there is one.
struct Becoming {
    path: *const c_char,
    argv: *const *const c_char,
    env: *const *const c_char,
    /// Standard input, output and error, and the directory.
    fds: [RawFd; 4],
    terminal: bool,
    /// Which step failed, and with which number.
    failed: Option<(Step, c_int)>,
}

/// Starts a command in a session of its own, in this directory, with these as standard input, output and error (the
/// directory is the last); at the terminal that its input is, where it is one. Inside: the step that failed.
///
/// The new process borrows our memory until it is another program, and we stand still meanwhile: copying page tables
/// costs more than all else here. So it does nothing but system calls. The caller must have one thread and all signals
/// blocked.
#[expect(unsafe_code, reason = "clone has no safe wrapper, and what runs before exec shares our memory")]
pub(crate) fn spawn(spawn: &Spawn, fds: [BorrowedFd<'_>; 4]) -> io::Result<Result<Pid, (Step, io::Error)>> {
    let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
    // Without a slash it would be searched for.
    let path = match spawn.program.as_bytes().contains(&b'/') {
        true => text(&spawn.program)?,
        false => text(Path::new(".").join(&spawn.program).as_os_str())?,
    };
    let argv = spawn.argv.iter().map(|word| text(word)).collect::<io::Result<Vec<_>>>()?;
    let entry = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).map_err(io::Error::from)
    };
    let env = spawn.env.iter().map(entry).collect::<io::Result<Vec<_>>>()?;
    let pointers = |texts: &[CString]| -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&env));
    let mut becoming = Becoming {
        path: path.as_ptr(),
        argv: argv_pointers.as_ptr(),
        env: env_pointers.as_ptr(),
        fds: fds.map(|fd| fd.as_raw_fd()),
        terminal: spawn.terminal,
        failed: None,
    };
    // A script without a first line is given to a shell by the C library, which copies the arguments' pointers.
    const STACK: usize = 64 * 1024;
    let mut stack: Vec<u128> = Vec::with_capacity((STACK + path.count_bytes()) / 16 + argv_pointers.len());
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    let becoming = &raw mut becoming;
    // SAFETY: the stack is ours, aligned, and used by nobody else; everything pointed to outlives the call, which returns
    // only once the new process has its own memory or has ended. It runs system calls only. We have one thread.
    let (pid, failed) = unsafe {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = libc::clone(become_program, top.cast(), flags, becoming.cast());
        check(pid)?;
        (pid, std::ptr::read_volatile(&raw const (*becoming).failed))
    };
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
    let Some((step, errno)) = failed else { return Ok(Ok(pid)) };
    let _status = waitpid(Some(pid), WaitOptions::empty());
    Ok(Err((step, io::Error::from_raw_os_error(errno))))
}

/// Runs in the new process, on a stack of its own in its parent's memory. Returns only when it failed.
#[expect(unsafe_code, reason = "between clone and exec only bare system calls may be made")]
extern "C" fn become_program(becoming: *mut c_void) -> c_int {
    // SAFETY: the pointer is that given to `clone` above, whose caller waits; every call is async-signal-safe, nothing
    // allocates, and no signal can come before the mask is emptied, for which no handler is installed.
    unsafe {
        let becoming = &mut *becoming.cast::<Becoming>();
        let [stdin, stdout, stderr, cwd] = becoming.fds;
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut none);
        let step = if libc::setsid() == -1
            || (becoming.terminal && libc::ioctl(stdin, libc::TIOCSCTTY, 0) == -1)
            || libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) == -1
        {
            Step::Session
        } else if libc::fchdir(cwd) == -1 {
            // Not by its name: what the name leads to may have changed.
            Step::Directory
        } else if libc::dup2(stdin, 0) == -1 || libc::dup2(stdout, 1) == -1 || libc::dup2(stderr, 2) == -1 {
            Step::Session
        } else {
            libc::execvpe(becoming.path, becoming.argv, becoming.env);
            Step::Exec
        };
        becoming.failed = Some((step, io::Error::last_os_error().raw_os_error().unwrap_or(0)));
        libc::_exit(127)
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

/// The group that [`pass_on`] passes signals on to.
static PASSED_TO: AtomicI32 = AtomicI32::new(0);

/// From here on a request to end that this process gets is one to this group. As the first process of its numbers, it
/// gets none that it does not handle.
#[expect(unsafe_code, reason = "signal handlers have no safe wrapper")]
pub(crate) fn pass_on(group: Pid) -> io::Result<()> {
    extern "C" fn pass(signal: libc::c_int) {
        // SAFETY: nothing but a number read and a system call, both allowed in a handler.
        unsafe { libc::kill(-PASSED_TO.load(Ordering::Relaxed), signal) };
    }
    PASSED_TO.store(group.as_raw_pid(), Ordering::Relaxed);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the action is whole before it is read, and its handler is a function that lives for ever.
        unsafe {
            let mut action = std::mem::zeroed::<libc::sigaction>();
            action.sa_sigaction = pass as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            check(libc::sigaction(signal, &action, std::ptr::null_mut()))?;
        }
    }
    unblock_signals()
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

/// Closes every descriptor above standard error except these.
#[expect(unsafe_code, reason = "closes descriptors nobody in this process uses any more")]
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    const FIRST: u32 = 3;
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    keep.sort_unstable();
    let mut from = FIRST;
    for fd in keep.into_iter().filter(|fd| *fd >= FIRST).chain([u32::MAX]) {
        if fd > from {
            let last = if fd == u32::MAX { fd } else { fd - 1 };
            // SAFETY: called where a process begins, in which nothing but what is kept is used, and no owner of another one
            // is dropped: it ends by exit.
            check(unsafe { libc::close_range(from, last, 0) })?;
        }
        from = fd.saturating_add(1);
    }
    Ok(())
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

/// Takes rights from the mount that this is the top of, and from all below it.
#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]
pub(crate) fn restrict_mount(top: BorrowedFd<'_>, limits: u64, below: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: limits, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: both pointers are to live values, and the size is that of the second.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            top.as_raw_fd(),
            c"".as_ptr(),
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
