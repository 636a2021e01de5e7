//! What a shell cannot try: this test started again with a word, before anything else of it runs.
//! Each trick ends with 0 when it got what it wanted, and says the error otherwise. Start at [`trick`].
#![expect(unsafe_code, reason = "tries calls of the system that nothing wraps")]

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        let args: Vec<String> = std::env::args().collect();
        if std::env::var_os("MARK").is_none() || args.len() < 2 || args[1].starts_with("__") {
            return;
        }
        let code = match trick(
            &args[1],
            args.get(2).map_or("", String::as_str),
            args.get(3).map_or("", String::as_str),
        ) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{}: {error}", args[1]);
                1
            }
        };
        std::process::exit(code)
    }
    before_main
};

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    // SAFETY: makes a descriptor, which ends with this process.
    check(unsafe { libc::socket(family, kind, protocol) }.into()).map(drop)
}

fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: this process has one thread.
    check(unsafe { libc::unshare(flags) }.into())?;
    Ok(())
}

fn number(text: &str) -> i32 {
    text.parse().unwrap_or(-1)
}

fn ask(to: &str, bytes: &[u8]) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(bytes, format!("127.0.0.1:{to}"))?;
    socket.recv(&mut [0; 512]).map(drop)
}

type Words<'a> = (&'a str, &'a str);

/// Null, numbers, or pointers to what outlives the call.
fn call(number: libc::c_long, args: [libc::c_long; 5]) -> io::Result<libc::c_long> {
    // SAFETY: see above; a call that fails has no effect on memory.
    check(unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4]) })
}

fn trick(name: &str, one: &str, two: &str) -> io::Result<()> {
    let of = [sockets, spaces, processes, kernel, files];
    let tried = of.iter().find_map(|tricks| tricks(name, (one, two)));
    tried.unwrap_or_else(|| Err(io::Error::other(format!("no trick is called {name}"))))
}

fn sockets(name: &str, (one, _two): Words<'_>) -> Option<io::Result<()>> {
    let done = || match name {
        "unix" => UnixStream::connect(one).map(drop),
        "abstract" => UnixStream::connect_addr(&SocketAddr::from_abstract_name(one)?).map(drop),
        "tcp" => TcpStream::connect(format!("127.0.0.1:{one}")).map(drop),
        "udp" => ask(one, b"hello"),
        "dns" => ask(
            one,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06secret\x04evil\x04test\x00\x00\x01\x00\x01",
        ),
        "raw" => unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)
            .and_then(|()| socket(libc::AF_INET, libc::SOCK_RAW, 1)),
        "packet" => unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)
            .and_then(|()| socket(libc::AF_PACKET, libc::SOCK_RAW, 0x0300)),
        "netlink" => socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT),
        "alg" => socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        "server" => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            TcpStream::connect(listener.local_addr()?)?;
            listener.accept().map(drop)
        }
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let known = ["unix", "abstract", "tcp", "udp", "dns", "raw", "packet", "netlink", "alg", "server"];
    known.contains(&name).then(done)
}

fn spaces(name: &str, (_one, _two): Words<'_>) -> Option<io::Result<()>> {
    let done = || match name {
        "newuser" => unshare(libc::CLONE_NEWUSER),
        "mount" => {
            unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
            // SAFETY: constant strings that end with zero.
            let mounted = unsafe {
                libc::mount(c"t".as_ptr(), c"/proc".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null())
            };
            check(mounted.into()).map(drop)
        }
        "chroot" => {
            unshare(libc::CLONE_NEWUSER)?;
            // SAFETY: a constant string that ends with zero.
            check(unsafe { libc::chroot(c"/usr".as_ptr()) }.into()).map(drop)
        }
        "clone" => {
            let child = call(libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::SIGCHLD).into(), 0, 0, 0, 0])?;
            if child == 0 { std::process::exit(0) } else { Ok(()) }
        }
        "clone3" => {
            let mut wanted = [0_u64; 8];
            wanted[0] = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
            wanted[4] = u64::from(libc::SIGCHLD.unsigned_abs());
            let child = call(libc::SYS_clone3, [wanted.as_ptr() as libc::c_long, 64, 0, 0, 0])?;
            if child == 0 { std::process::exit(0) } else { Ok(()) }
        }
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let known = ["newuser", "mount", "chroot", "clone", "clone3"];
    known.contains(&name).then(done)
}

fn processes(name: &str, (one, _two): Words<'_>) -> Option<io::Result<()>> {
    let done = || match name {
        "shm" => {
            // SAFETY: the segment is read within the length it was made with.
            let text = unsafe {
                let at = libc::shmat(number(one), std::ptr::null(), libc::SHM_RDONLY);
                if at as isize == -1 {
                    return Err(io::Error::last_os_error());
                }
                std::slice::from_raw_parts(at.cast::<u8>(), 6)
            };
            println!("{}", String::from_utf8_lossy(text));
            Ok(())
        }
        "mem" => {
            let mut byte = 0_u8;
            let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
            // Where a program of this kind has its code is in a file that says as much.
            let maps = std::fs::read_to_string(format!("/proc/{one}/maps"))?;
            let base = usize::from_str_radix(maps.split('-').next().unwrap_or("0"), 16).unwrap_or(0);
            let remote = libc::iovec { iov_base: base as *mut _, iov_len: 1 };
            // SAFETY: one byte is written to one byte of ours.
            let read =
                unsafe { libc::process_vm_readv(number(one), &raw const local, 1, &raw const remote, 1, 0) };
            check(read as libc::c_long).map(drop)
        }
        "ptrace" => {
            const SEIZE: libc::c_long = 0x4206;
            call(libc::SYS_ptrace, [SEIZE, number(one).into(), 0, 0, 0]).map(drop)
        }
        "prlimit" => {
            let mut now = [0_u64; 2];
            let (limit, at) = (libc::RLIMIT_NOFILE as libc::c_long, now.as_mut_ptr() as libc::c_long);
            call(libc::SYS_prlimit64, [number(one).into(), limit, 0, at, 0])?;
            now[0] = std::hint::black_box(5);
            std::hint::black_box(&mut now);
            call(libc::SYS_prlimit64, [number(one).into(), limit, at, 0, 0]).map(drop)
        }
        "pidfd" => {
            let process = call(libc::SYS_pidfd_open, [number(one).into(), 0, 0, 0, 0])?;
            call(libc::SYS_pidfd_getfd, [process, 0, 0, 0, 0]).map(drop)
        }
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let known = ["shm", "mem", "ptrace", "prlimit", "pidfd"];
    known.contains(&name).then(done)
}

fn kernel(name: &str, (_one, _two): Words<'_>) -> Option<io::Result<()>> {
    let done = || match name {
        "io_uring" => {
            let parameters = [0_u64; 32];
            call(libc::SYS_io_uring_setup, [4, parameters.as_ptr() as libc::c_long, 0, 0, 0]).map(drop)
        }
        "userfaultfd" => call(libc::SYS_userfaultfd, [1, 0, 0, 0, 0]).map(drop),
        "keyring" => {
            let (kind, name, text) = (c"user".as_ptr(), c"kapell-test".as_ptr(), c"x".as_ptr());
            const PROCESS: libc::c_long = -2;
            call(
                libc::SYS_add_key,
                [kind as libc::c_long, name as libc::c_long, text as libc::c_long, 1, PROCESS],
            )
            .map(drop)
        }
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let known = ["io_uring", "userfaultfd", "keyring"];
    known.contains(&name).then(done)
}

fn files(name: &str, (one, two): Words<'_>) -> Option<io::Result<()>> {
    let done = || match name {
        "swap" => swap(one),
        "exchange" => exchange(one),
        "rename-exchange" => {
            std::fs::create_dir(two)?;
            rename_exchange(one, two)
        }
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let known = ["swap", "exchange", "rename-exchange"];
    known.contains(&name).then(done)
}

const ROUNDS: usize = 5_000;

/// One writes by a name, one makes that name a directory and a link in turn.
fn swap(out: &str) -> io::Result<()> {
    let target = out.to_owned();
    let swapper = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            let _lost_is_fine = std::fs::create_dir("d");
            std::thread::yield_now();
            let _lost_is_fine = std::fs::remove_file("d/made").and(std::fs::remove_dir("d"));
            let _lost_is_fine = std::fs::remove_dir("d");
            let _lost_is_fine = std::os::unix::fs::symlink(&target, "d");
            std::thread::yield_now();
            let _lost_is_fine = std::fs::remove_file("d");
        }
    });
    while !swapper.is_finished() {
        let _lost_is_fine = std::fs::write("d/made", "x");
    }
    swapper.join().map_err(|_| io::Error::other("the other one failed"))
}

fn rename_exchange(one: &str, two: &str) -> io::Result<()> {
    let text = |path: &str| std::ffi::CString::new(path).map_err(io::Error::other);
    let (one, two) = (text(one)?, text(two)?);
    // SAFETY: both strings end with zero and outlive the call.
    let result = unsafe {
        libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, two.as_ptr(), libc::RENAME_EXCHANGE)
    };
    check(result.into()).map(drop)
}

/// One reads by a name, which is exchanged with a link all the time.
fn exchange(out: &str) -> io::Result<()> {
    std::fs::create_dir_all("d")?;
    std::os::unix::fs::symlink(out, "l")?;
    let swapper = std::thread::spawn(|| (0..ROUNDS).for_each(|_| drop(rename_exchange("d", "l"))));
    while !swapper.is_finished() {
        if let Ok(text) = std::fs::read_to_string("d/secret") {
            println!("{text}");
            break;
        }
    }
    swapper.join().map_err(|_| io::Error::other("the other one failed"))
}

/// A segment that holds this.
pub(crate) fn shared_memory(bytes: &[u8]) -> i32 {
    // SAFETY: the segment is as long as what is written.
    unsafe {
        let id = libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o666);
        let at = libc::shmat(id, std::ptr::null(), 0);
        assert!(at as isize != -1, "{}", io::Error::last_os_error());
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast::<u8>(), bytes.len());
        // Goes when this process does.
        libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
        id
    }
}

/// Another number for a descriptor, which programs started from here inherit.
pub(crate) fn leave_open(fd: i32, number: i32) {
    // SAFETY: nobody in this process uses that number.
    let made = unsafe { libc::dup2(fd, number) };
    assert_eq!(made, number, "{}", io::Error::last_os_error());
}
