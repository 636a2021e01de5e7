//! The first process of a command that has process numbers of its own: confines itself, starts the command, takes in what
//! it leaves behind, and ends with it, whereupon the kernel ends all the rest.
//! Knows nothing of Kapell; tells the warden. Start at [`serve`].

use super::warden::Fds;
use crate::wire::{Report, Spawn, Step};
use crate::{confine, proc, sys};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, WaitOptions, WaitStatus, set_dumpable_behavior, setsid, wait};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

/// What a shell adds to the number of a signal to make it an exit status.
const SIGNALLED: i32 = 128;

/// Ends with the command. Returns only when it could not start it.
pub(super) fn serve(
    spawn: &Spawn,
    fds: Fds,
    gate: Option<OwnedFd>,
    who: confine::Who,
    tell: &OwnedFd,
) -> (Step, io::Error) {
    // A session of its own, by which it is found when its warden is gone.
    if let Err(errno) = setsid() {
        return (Step::Session, errno.into());
    }
    // The warden's own: who waits for the warden's end must not wait for ours.
    let kept = fds.iter().chain(&gate).map(AsFd::as_fd).chain([tell.as_fd()]);
    if let Err(error) = sys::close_all_but(&kept.collect::<Vec<_>>()) {
        return (Step::Session, error);
    }
    if let Err(error) = confine::settle(who) {
        return (Step::Namespaces, error);
    }
    let [stdin, stdout, stderr, cwd] = fds;
    if let Some(Err(failed)) = spawn.plan.as_ref().map(|plan| confine::enter(plan, cwd, gate)) {
        return failed;
    }
    // The command is the same user's as this process, and has no business with its memory and its descriptors.
    if let Err(errno) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        return (Step::Session, errno.into());
    }
    let main = match command(spawn, [stdin, stdout, stderr]) {
        Ok(main) => main,
        Err(failed) => return failed,
    };
    // The warden need not know its number, which not every system shows it.
    if let Err(error) = sys::pass_on(main) {
        return (Step::Session, error);
    }
    say(tell, Report::Started { pid: 0, warden: 0 });
    let status = loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => break status,
            Err(Errno::CHILD) => std::process::exit(SIGNALLED),
            _ => {}
        }
    };
    let left = i32::try_from(proc::children().len()).unwrap_or(i32::MAX);
    say(tell, Report::Clean { killed: left, left: 0 });
    let code = status.exit_status().unwrap_or_else(|| {
        say(tell, Report::Ended { status: status.as_raw() });
        SIGNALLED + status.terminating_signal().unwrap_or(0)
    });
    std::process::exit(code)
}

/// Starts it here. What it writes to is not held any more then, so that it closes when the command does.
fn command(
    spawn: &Spawn,
    [stdin, stdout, stderr]: [OwnedFd; 3],
) -> Result<rustix::process::Pid, (Step, io::Error)> {
    let here = open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| (Step::Directory, errno.into()))?;
    let fds = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), here.as_fd()];
    sys::spawn(spawn, fds).map_err(|error| (Step::Session, error))?
}

fn say(tell: &OwnedFd, report: Report) {
    // Nobody is left to listen when this fails.
    let _gone = rustix::io::write(tell, &report.encode());
}

/// The status of the command, and how many processes it left behind, by the end and the last words of its first process.
/// The words might be the command's: they are believed only as far as the status fits.
pub(super) fn meant(told: File, status: WaitStatus) -> (i32, i32) {
    let (mut meant, mut left) = (status.as_raw(), 0);
    let mut words = Vec::new();
    let _what_there_is = told.take(2 * Report::SIZE as u64).read_to_end(&mut words);
    for word in words.as_chunks::<{ Report::SIZE }>().0 {
        match Report::decode(*word) {
            Some(Report::Clean { killed, .. }) => left = killed.max(0),
            Some(Report::Ended { status: by }) if status.exit_status() == Some(SIGNALLED + (by & 0x7f)) => {
                meant = by;
            }
            _ => {}
        }
    }
    (meant, left)
}
