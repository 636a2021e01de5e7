//! The keeper: forks a warden for every run Kapell asks for, and nothing else.
//! Knows nothing of commands. Start at [`serve`].
//!
//! It exists because forking a small process with one thread is quick and safe, and forking Kapell is neither.

use super::{children, warden};
use crate::sys;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, WaitStatus, getpid, set_child_subreaper, setsid};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// What a warden is given: its socket to Kapell, the command's standard input, output and error, and its directory.
pub(crate) const FDS: usize = 5;

/// Serves until Kapell closes the socket (standard input) or dies; then waits until every warden is done.
pub(super) fn serve() -> ! {
    let code = match prepare().and_then(|(socket, signals)| keep(socket, &signals)) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    std::process::exit(code)
}

fn prepare() -> io::Result<(OwnedFd, OwnedFd)> {
    sys::block_signals()?;
    // Fails only for the leader of a group, which has left Kapell's group already.
    let _session = setsid();
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    sys::close_all_but(socket.as_fd())?;
    // 0, 1 and 2 stay taken, so that no other descriptor lands there and is overwritten before an exec.
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    set_child_subreaper(Some(getpid()))?;
    Ok((socket, sys::child_signal()?))
}

fn keep(socket: OwnedFd, signals: &OwnedFd) -> io::Result<()> {
    let mut wardens: Vec<Pid> = Vec::new();
    loop {
        let [asked, ended] = children::either(&socket, signals);
        if ended {
            children::quiet(signals.as_fd());
            reap(&mut wardens, signals);
        }
        if asked {
            match receive(&socket)? {
                None => break,
                Some(fds) => match <[OwnedFd; FDS]>::try_from(fds).map(|fds| (sys::fork(), fds)) {
                    Ok((Ok(Some(pid)), _)) => wardens.push(pid),
                    // Some did not come, or there is no room for a process: who asked sees its own socket close. The
                    // other runs go on.
                    Err(_) | Ok((Err(_), _)) => {}
                    Ok((Ok(None), fds)) => {
                        // Kapell must see the keeper's end of this socket close when the keeper dies.
                        drop(socket);
                        warden::watch(fds)
                    }
                },
            }
        }
    }
    // Kapell is gone, which every warden sees for itself; what a killed warden left is ours.
    loop {
        let killed = children::kill_all(&wardens, signals.as_fd());
        forget(&mut wardens, killed.reaped);
        if wardens.is_empty() {
            children::kill_all(&[], signals.as_fd());
            return Ok(());
        }
        children::either(signals, signals);
        children::quiet(signals.as_fd());
    }
}

/// Takes note of ended wardens. One that was killed has left its command to us.
fn reap(wardens: &mut Vec<Pid>, signals: &OwnedFd) {
    let mut ended = Vec::new();
    while let Ok(Some(child)) = children::reap() {
        ended.push(child);
    }
    let orphans = ended.iter().any(|(_, status)| status.signaled());
    forget(wardens, ended);
    if orphans {
        let killed = children::kill_all(wardens, signals.as_fd());
        forget(wardens, killed.reaped);
    }
}

fn forget(wardens: &mut Vec<Pid>, ended: Vec<(Pid, WaitStatus)>) {
    wardens.retain(|warden| ended.iter().all(|(pid, _)| pid != warden));
}

/// The descriptors of the next run; `None` = the socket is closed.
fn receive(socket: &OwnedFd) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let message = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten();
    Ok(Some(fds.collect()))
}
