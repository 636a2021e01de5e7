//! The children of this process: who they are, and how to be rid of them all.
//! Knows nothing of sockets. Start at [`kill_all`].

use crate::proc;
use contract::limits::STOP_KILL_MS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpgrp, kill_process, kill_process_group, wait,
};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How long to wait for a child to end before looking at all of them again: forks race with the killing.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// What killing came to.
#[derive(Debug, Default)]
pub(super) struct Killed {
    /// Every child that ended meanwhile, and how.
    pub(super) reaped: Vec<(Pid, WaitStatus)>,
    /// How many are still there: not ours to kill (another user's), or stuck in the kernel.
    pub(super) left: usize,
}

/// One ended child, if any: `Ok(None)` = all alive, `Err` = there is no child at all.
pub(super) fn reap() -> Result<Option<(Pid, WaitStatus)>, Errno> {
    match wait(WaitOptions::NOHANG) {
        Err(Errno::INTR) => Ok(None),
        other => other,
    }
}

/// Empties the descriptor that told of ended children.
pub(super) fn quiet(signals: BorrowedFd<'_>) {
    // Non-blocking: an error means that it is empty.
    let mut buffer = [0; 512];
    while rustix::io::read(signals, &mut buffer).is_ok_and(|n| n > 0) {}
}

/// Kills every child except those spared, and whatever they leave behind, until none is left or a limit
/// passes.
///
/// Children of a killed child become ours, so that killing layer by layer reaches all of them; groups are
/// killed whole, which is atomic towards forks.
pub(super) fn kill_all(spared: &[Pid], signals: BorrowedFd<'_>) -> Killed {
    let mut killed = Killed::default();
    let limit = Instant::now() + Duration::from_millis(STOP_KILL_MS);
    loop {
        loop {
            match reap() {
                Err(_) => return Killed { left: 0, ..killed },
                Ok(None) => break,
                Ok(Some(ended)) => killed.reaped.push(ended),
            }
        }
        let mut strangers = proc::children();
        strangers.retain(|pid| !spared.contains(pid));
        killed.left = strangers.len();
        // The list may miss one while others end. With nobody spared, only the kernel's "no child" counts.
        if (strangers.is_empty() && !spared.is_empty()) || Instant::now() > limit {
            return killed;
        }
        strangers.into_iter().for_each(kill);
        let mut ended = [PollFd::from_borrowed_fd(signals, PollFlags::IN)];
        let _interrupted_is_fine = poll(&mut ended, Some(&LOOK_AGAIN));
        quiet(signals);
    }
}

/// Kills a child that was not waited for yet, so that its number and its group's are still its own.
fn kill(child: Pid) {
    if let Ok(group) = getpgid(Some(child))
        && group != getpgrp()
    {
        let _gone_is_fine = kill_process_group(group, Signal::KILL);
    }
    let _gone_is_fine = kill_process(child, Signal::KILL);
}

/// Waits until a descriptor has something to say; which of the two.
pub(super) fn either(first: impl AsFd, second: impl AsFd) -> [bool; 2] {
    let mut fds = [PollFd::new(&first, PollFlags::IN), PollFd::new(&second, PollFlags::IN)];
    while poll(&mut fds, None) == Err(Errno::INTR) {}
    [!fds[0].revents().is_empty(), !fds[1].revents().is_empty()]
}
