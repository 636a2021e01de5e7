//! The warden of a run: starts the command, passes signals on, and is done only when nothing is left below it. Then it
//! waits for the next run. Knows nothing of deadlines or output. Start at [`serve`].

use super::children;
use crate::cgroup::{Groups, Limits};
use crate::wire::{Order, PREFIX, Report, Spawn, Step};
use crate::{confine, pass, sys};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, fchdir, getpid, ioctl_tiocsctty, kill_process_group,
    set_child_subreaper, setsid, waitpid,
};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The command's standard input, output and error, and its directory.
type Fds = [OwnedFd; 4];

/// Runs one command after the other, each to its very end. The exit status means nothing; what matters was reported.
pub(super) fn serve(control: OwnedFd, groups: Option<&Groups>) -> ! {
    let control = UnixStream::from(control);
    let ready =
        set_child_subreaper(Some(getpid())).map_err(io::Error::from).and_then(|()| sys::child_signal());
    if let Ok(signals) = ready {
        let (group, mut held) = (groups.and_then(Groups::enter), Limits::default());
        while let Ok(Some((spawn, fds))) = next(&control) {
            if let Some(group) = group.as_ref().filter(|_| spawn.limits != held) {
                group.limit(spawn.limits);
                held = spawn.limits;
            }
            if oversee(&control, &signals, spawn, fds).is_err() {
                break;
            }
        }
    }
    std::process::exit(0)
}

/// Bytes taken at once: nearly every run fits.
const CHUNK: usize = 16 * 1024;

/// The next run; `None` = Kapell has closed the socket.
fn next(mut control: &UnixStream) -> io::Result<Option<(Spawn, Fds)>> {
    let mut chunk = [0; CHUNK];
    let (mut got, fds) = pass::receive(control, &mut chunk)?;
    if got == 0 {
        return Ok(None);
    }
    if got < PREFIX {
        control.read_exact(&mut chunk[got..PREFIX])?;
        got = PREFIX;
    }
    let (prefix, begun) = chunk[..got].split_first_chunk::<PREFIX>().ok_or(io::ErrorKind::InvalidData)?;
    let length = u64::from(u32::from_le_bytes(*prefix));
    let mut body = begun.to_vec();
    control.take(length.saturating_sub(body.len() as u64)).read_to_end(&mut body)?;
    let spawn = Spawn::decode(&body).ok_or(io::ErrorKind::InvalidData)?;
    let fds = Fds::try_from(fds).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Some((spawn, fds)))
}

/// One run. An error: Kapell is gone, or cannot be told any more.
fn oversee(mut control: &UnixStream, signals: &OwnedFd, spawn: Spawn, fds: Fds) -> io::Result<()> {
    let main = match start(spawn, fds)? {
        Ok(pid) => pid,
        Err((step, errno)) => return control.write_all(&Report::Failed { step, errno }.encode()),
    };
    let started = Report::Started { pid: main.as_raw_pid(), warden: getpid().as_raw_pid() };
    // A failure means that Kapell is gone, which the next read tells as well.
    let _gone = control.write_all(&started.encode());

    let mut ended = follow(control, main, signals);
    let killed = children::kill_all(&[], signals.as_fd());
    let mut dead = 0;
    for (pid, status) in killed.reaped {
        if pid == main {
            ended = Some(status);
        } else if status.terminating_signal() == Some(Signal::KILL.as_raw()) {
            dead += 1;
        }
    }
    let mut report = Vec::new();
    if let Some(status) = ended {
        report.extend(Report::Ended { status: status.as_raw() }.encode());
    }
    let mut left = killed.left;
    report.extend(Report::Clean { killed: dead, left: i32::try_from(left).unwrap_or(i32::MAX) }.encode());
    let told = control.write_all(&report);
    // What could not be killed within the limit is watched to its end all the same.
    while left > 0 {
        left = children::kill_all(&[], signals.as_fd()).left;
    }
    told
}

/// Starts the command in a session of its own: no terminal but one made for it, and a group that can be signalled as
/// one.
fn start(spawn: Spawn, fds: Fds) -> io::Result<Result<Pid, (Step, i32)>> {
    if spawn.plan.is_some() {
        return start_confined(spawn, fds);
    }
    let started = match sys::spawn(&spawn, fds.each_ref().map(AsFd::as_fd))? {
        Ok(pid) => return Ok(Ok(pid)),
        Err(failed) => failed,
    };
    Ok(Err((started.0, started.1.raw_os_error().unwrap_or(0))))
}

/// The same behind walls, which take more than a few system calls to build: a process of its own builds them.
fn start_confined(spawn: Spawn, fds: Fds) -> io::Result<Result<Pid, (Step, i32)>> {
    let (result, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(pid) = sys::fork()? else {
        drop(result);
        let (step, error) = become_command(spawn, fds);
        let report = Report::Failed { step, errno: error.raw_os_error().unwrap_or(0) };
        let _nobody_listens = File::from(tell).write_all(&report.encode());
        std::process::exit(127)
    };
    drop((tell, fds));
    let mut report = [0; Report::SIZE];
    // The pipe closes unread when exec succeeds.
    if File::from(result).read_exact(&mut report).is_ok() {
        let _status = waitpid(Some(pid), WaitOptions::empty());
        if let Some(Report::Failed { step, errno }) = Report::decode(report) {
            return Ok(Err((step, errno)));
        }
    }
    Ok(Ok(pid))
}

/// Returns only when it could not.
fn become_command(spawn: Spawn, [stdin, stdout, stderr, cwd]: Fds) -> (Step, io::Error) {
    let own = || {
        setsid()?;
        if spawn.terminal { ioctl_tiocsctty(&stdin) } else { Ok(()) }
    };
    if let Err(error) = own().map_err(io::Error::from).and_then(|()| sys::unblock_signals()) {
        return (Step::Session, error);
    }
    // Not by its name: what the name leads to may have changed.
    let went = match &spawn.plan {
        Some(plan) => confine::enter(plan, cwd),
        None => fchdir(&cwd).map_err(|error| (Step::Directory, error.into())),
    };
    if let Err(failed) = went {
        return failed;
    }
    let mut argv = spawn.argv.into_iter();
    let mut command = Command::new(&spawn.program);
    if let Some(zeroth) = argv.next() {
        command.arg0(zeroth);
    }
    command.args(argv).env_clear().envs(spawn.env);
    command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
    (Step::Exec, command.exec())
}

/// Obeys orders until the command ends; `None` = told to kill everything (or Kapell is gone) before it did.
fn follow(mut control: &UnixStream, main: Pid, signals: &OwnedFd) -> Option<WaitStatus> {
    loop {
        let [order, child] = children::either(control, signals);
        if child {
            children::quiet(signals.as_fd());
            while let Ok(Some((pid, status))) = children::reap() {
                if pid == main {
                    return Some(status);
                }
            }
        }
        if order {
            let mut byte = [0];
            let signal = match control.read(&mut byte) {
                Ok(1) => Order::decode(byte[0]),
                _ => None,
            };
            // Not waited for yet, so that the number is still this command's.
            let passed = match signal {
                Some(Order::Interrupt) => kill_process_group(main, Signal::INT),
                Some(Order::Terminate) => kill_process_group(main, Signal::TERM),
                Some(Order::Kill) | None => return None,
            };
            debug_assert!(matches!(passed, Ok(()) | Err(Errno::SRCH | Errno::PERM)));
        }
    }
}
