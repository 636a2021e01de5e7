//! Kapell's end of the wardens: has one forked by the keeper, which is started before the first run, hands it a run,
//! and keeps it for the next one. Knows nothing of commands. Start at [`begin`]; the other ends are `helper/`.

use crate::cgroup::Group;
use crate::helper::WORD;
use crate::pass;
use crate::proc::{self, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The one keeper of this process, and wardens that wait for a run: a fact about the process, like its standard
/// output, hence a static.
static HELPERS: Mutex<Helpers> = Mutex::new(Helpers { keeper: None, idle: Vec::new() });
/// Wardens that wait for a run at most: few sessions run commands at the same time, and each takes a process.
const IDLE: usize = 4;

struct Helpers {
    keeper: Option<Keeper>,
    /// Our ends of their sockets, which say nothing meanwhile.
    idle: Vec<(UnixStream, Option<Warden>)>,
}

/// What is known of a warden once it has said who it is.
#[derive(Debug, Clone)]
pub(crate) struct Warden {
    pub(crate) stat: Stat,
    /// The kernel's group that it and its commands are in.
    pub(crate) group: Option<Group>,
}

impl Warden {
    /// The one of this number, which must live.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let stat = Pid::from_raw(pid).and_then(proc::stat)?;
        Some(Self { stat, group: Group::of(stat.pid) })
    }
}

/// A run in a warden's hands.
pub(crate) struct Begun {
    /// Our end of its socket, which does not block.
    pub(crate) socket: UnixStream,
    /// Who it is, if it has served before.
    pub(crate) warden: Option<Warden>,
    /// Bytes of the order that are still to be written.
    pub(crate) rest: usize,
}

struct Keeper {
    socket: OwnedFd,
    process: Child,
}

/// Hands a run to a warden, and the first of these bytes.
pub(crate) fn begin(bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<Begun> {
    // One that was killed meanwhile is noticed here.
    while let Some((socket, warden)) = waiting() {
        match pass::send(&socket, bytes, fds) {
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            sent => return Ok(Begun { socket, warden, rest: bytes.len() - sent? }),
        }
    }
    let (socket, theirs) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    hand_over(theirs.as_fd())?;
    let sent = pass::send(&socket, bytes, fds)?;
    Ok(Begun { socket, warden: None, rest: bytes.len() - sent })
}

fn waiting() -> Option<(UnixStream, Option<Warden>)> {
    HELPERS.lock().unwrap_or_else(PoisonError::into_inner).idle.pop()
}

/// Keeps a warden whose run is over and left nothing, and which was told nothing that it may not have heard yet.
pub(crate) fn give_back(socket: UnixStream, warden: Option<Warden>) {
    let mut helpers = HELPERS.lock().unwrap_or_else(PoisonError::into_inner);
    // One too many sees its socket close, and ends.
    if helpers.idle.len() < IDLE {
        helpers.idle.push((socket, warden));
    }
}

/// Has a warden forked that owns its end of this socket.
fn hand_over(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut helpers = HELPERS.lock().unwrap_or_else(PoisonError::into_inner);
    // A keeper that was killed is noticed here, and replaced once.
    if let Some(keeper) = helpers.keeper.as_mut() {
        match pass::send(&keeper.socket, &[0], &[socket]) {
            Err(Errno::PIPE | Errno::CONNRESET) => {
                let _status = keeper.process.wait();
            }
            sent => return sent.map(drop).map_err(io::Error::from),
        }
    }
    let keeper = helpers.keeper.insert(start()?);
    pass::send(&keeper.socket, &[0], &[socket])?;
    Ok(())
}

fn start() -> io::Result<Keeper> {
    let (socket, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let process = Command::new("/proc/self/exe")
        .arg0("kapell-helper")
        .arg(WORD)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Keeper { socket, process })
}
