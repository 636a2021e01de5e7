//! Kapell's end of the keeper: starts it before the first run and hands it the descriptors of each.
//! Knows nothing of commands. Start at [`hand_over`]; the other end is `helper/keeper.rs`.

use crate::helper::{FDS, WORD};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The one keeper of this process: a fact about the process, like its standard output, hence a static.
static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

struct Keeper {
    socket: OwnedFd,
    process: Child,
}

/// Has a warden forked that owns these: its socket to us, the command's standard input, output and error, and its directory.
pub(crate) fn hand_over(fds: [BorrowedFd<'_>; FDS]) -> io::Result<()> {
    let mut slot = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    // A keeper that was killed is noticed here, and replaced once.
    if let Some(keeper) = slot.as_mut() {
        match send(&keeper.socket, &fds) {
            Err(Errno::PIPE | Errno::CONNRESET) => {
                let _status = keeper.process.wait();
            }
            result => return Ok(result?),
        }
    }
    let keeper = slot.insert(start()?);
    Ok(send(&keeper.socket, &fds)?)
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

fn send(socket: &OwnedFd, fds: &[BorrowedFd<'_>; FDS]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(fds));
    sendmsg(socket.as_fd(), &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
