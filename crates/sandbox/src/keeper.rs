//! Kapell's end of the wardens: has one forked by the keeper, which is started before the first run, hands it a run,
//! and keeps it for the next one. Knows nothing of commands. Start at [`begin`]; the other ends are `helper/`.

use crate::helper::WORD;
use crate::pass;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
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
    idle: Vec<UnixStream>,
}

struct Keeper {
    socket: OwnedFd,
    process: Child,
}

/// Hands a run to a warden, and the first of these bytes: our end of its socket, which does not block, and how many
/// bytes are still to be written.
pub(crate) fn begin(bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<(UnixStream, usize)> {
    let rest = |sent: usize| bytes.len() - sent;
    // One that was killed meanwhile is noticed here.
    while let Some(warden) = waiting() {
        match pass::send(&warden, bytes, fds) {
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            sent => return Ok((warden, rest(sent?))),
        }
    }
    let (warden, theirs) = UnixStream::pair()?;
    warden.set_nonblocking(true)?;
    hand_over(theirs.as_fd())?;
    let sent = pass::send(&warden, bytes, fds)?;
    Ok((warden, rest(sent)))
}

fn waiting() -> Option<UnixStream> {
    HELPERS.lock().unwrap_or_else(PoisonError::into_inner).idle.pop()
}

/// Keeps a warden whose run is over and left nothing, and which was told nothing that it may not have heard yet.
pub(crate) fn give_back(warden: UnixStream) {
    let mut helpers = HELPERS.lock().unwrap_or_else(PoisonError::into_inner);
    // One too many sees its socket close, and ends.
    if helpers.idle.len() < IDLE {
        helpers.idle.push(warden);
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
