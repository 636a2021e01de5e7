//! The keeper: forks a warden whenever Kapell asks for one, and nothing else.
//! Knows nothing of commands. Start at [`serve`].
//!
//! It exists because forking a small process with one thread is quick and safe, and forking Kapell is neither.

use super::{children, warden};
use crate::cgroup::Groups;
use crate::{pass, sys};
use rustix::process::{Pid, WaitStatus, getpid, set_child_subreaper, setsid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

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
    sys::close_all_but(&[socket.as_fd()])?;
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
    let groups = Groups::make();
    loop {
        let [asked, ended] = children::either(&socket, signals);
        if ended {
            children::quiet(signals.as_fd());
            reap(&mut wardens, signals, groups.as_ref());
        }
        if asked {
            let (bytes, fds) = pass::receive(&socket, &mut [0])?;
            if bytes == 0 {
                break;
            }
            // It did not come: who asked sees its own socket close. The other runs go on.
            let Some(control) = fds.into_iter().next() else { continue };
            match sys::fork() {
                Ok(Some(pid)) => wardens.push(pid),
                // No room for a process: the same.
                Err(_) => {}
                Ok(None) => {
                    // Kapell must see the keeper's end of this socket close when the keeper dies.
                    drop(socket);
                    warden::serve(control, groups.as_ref())
                }
            }
        }
    }
    // Kapell is gone, which every warden sees for itself; what a killed warden left is ours.
    loop {
        let killed = children::kill_all(&wardens, signals.as_fd());
        forget(&mut wardens, killed.reaped, groups.as_ref());
        if wardens.is_empty() {
            children::kill_all(&[], signals.as_fd());
            return Ok(());
        }
        children::either(signals, signals);
        children::quiet(signals.as_fd());
    }
}

/// Takes note of ended wardens. One that was killed has left its command to us.
fn reap(wardens: &mut Vec<Pid>, signals: &OwnedFd, groups: Option<&Groups>) {
    let mut ended = Vec::new();
    while let Ok(Some(child)) = children::reap() {
        ended.push(child);
    }
    let orphans = ended.iter().any(|(_, status)| status.signaled());
    forget(wardens, ended, groups);
    if orphans {
        let killed = children::kill_all(wardens, signals.as_fd());
        forget(wardens, killed.reaped, groups);
    }
}

fn forget(wardens: &mut Vec<Pid>, ended: Vec<(Pid, WaitStatus)>, groups: Option<&Groups>) {
    wardens.retain(|warden| {
        let is_gone = ended.iter().any(|(pid, _)| pid == warden);
        if let (true, Some(groups)) = (is_gone, groups) {
            groups.forget(*warden);
        }
        !is_gone
    });
}
