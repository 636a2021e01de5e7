//! The warden of a run: starts the command, passes signals on, and is done only when nothing is left below it. Then it
//! waits for the next run. Knows nothing of deadlines or output. Start at [`serve`].

use super::{children, first};
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
pub(super) type Fds = [OwnedFd; 4];

/// What is to be run.
struct Run {
    spawn: Spawn,
    fds: Fds,
    /// Where the listening socket of its way out goes, if it has one.
    gate: Option<OwnedFd>,
}

/// What runs.
struct Main {
    /// Our own child, which leads a group: the command, or the first process of those it counts by itself, which passes
    /// signals on.
    child: Pid,
    /// What that first process tells at its end.
    last_words: Option<File>,
}

impl From<Pid> for Main {
    fn from(child: Pid) -> Self {
        Self { child, last_words: None }
    }
}

/// Runs one command after the other, each to its very end. The exit status means nothing; what matters was reported.
pub(super) fn serve(control: OwnedFd, groups: Option<&Groups>) -> ! {
    let control = UnixStream::from(control);
    let ready =
        set_child_subreaper(Some(getpid())).map_err(io::Error::from).and_then(|()| sys::child_signal());
    if let Ok(signals) = ready {
        let (group, mut held) = (groups.and_then(Groups::enter), Limits::default());
        while let Ok(Some(run)) = next(&control) {
            if let Some(group) = group.as_ref().filter(|_| run.spawn.limits != held) {
                group.limit(run.spawn.limits);
                held = run.spawn.limits;
            }
            if oversee(&control, &signals, run).is_err() {
                break;
            }
        }
    }
    std::process::exit(0)
}

/// Bytes taken at once: nearly every run fits.
const CHUNK: usize = 16 * 1024;

/// The next run; `None` = Kapell has closed the socket.
fn next(mut control: &UnixStream) -> io::Result<Option<Run>> {
    let mut chunk = [0; CHUNK];
    let (mut got, mut fds) = pass::receive(control, &mut chunk)?;
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
    let gate = (fds.len() > 4).then(|| fds.pop()).flatten();
    let fds = Fds::try_from(fds).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Some(Run { spawn, fds, gate }))
}

/// One run. An error: Kapell is gone, or cannot be told any more.
fn oversee(mut control: &UnixStream, signals: &OwnedFd, run: Run) -> io::Result<()> {
    let main = match start(run)? {
        Ok(main) => main,
        Err((step, errno)) => return control.write_all(&Report::Failed { step, errno }.encode()),
    };
    let started = Report::Started { pid: main.child.as_raw_pid(), warden: getpid().as_raw_pid() };
    // A failure means that Kapell is gone, which the next read tells as well.
    let _gone = control.write_all(&started.encode());

    let mut ended = follow(control, &main, signals);
    let killed = children::kill_all(&[], signals.as_fd());
    let mut dead = 0;
    for (pid, status) in killed.reaped {
        if pid == main.child {
            ended = Some(status);
        } else if status.terminating_signal() == Some(Signal::KILL.as_raw()) {
            dead += 1;
        }
    }
    let mut report = Vec::new();
    if let Some(status) = ended {
        let plain = (status.as_raw(), 0);
        let (status, left_behind) = main.last_words.map_or(plain, |told| first::meant(told, status));
        dead += left_behind;
        report.extend(Report::Ended { status }.encode());
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
fn start(run: Run) -> io::Result<Result<Main, (Step, i32)>> {
    match &run.spawn.plan {
        None => {
            let started = sys::spawn(&run.spawn, run.fds.each_ref().map(AsFd::as_fd))?;
            Ok(started.map(Main::from).map_err(|(step, error)| (step, error.raw_os_error().unwrap_or(0))))
        }
        Some(plan) if plan.counts_anew() => start_counting(run),
        Some(_) => start_confined(run),
    }
}

/// The same with process numbers, files and a network of its own, which its first process makes.
fn start_counting(run: Run) -> io::Result<Result<Main, (Step, i32)>> {
    let (result, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let child = match confine::fork_first() {
        Ok((Some(child), _)) => child,
        Ok((None, who)) => {
            drop(result);
            let (step, error) = first::serve(&run.spawn, run.fds, run.gate, who, &tell);
            failed(tell, step, &error)
        }
        Err(error) => return Ok(Err((Step::Namespaces, error.raw_os_error().unwrap_or(0)))),
    };
    drop((tell, run));
    let (mut report, mut result) = ([0; Report::SIZE], File::from(result));
    match result.read_exact(&mut report).ok().and_then(|()| Report::decode(report)) {
        Some(Report::Started { .. }) => Ok(Ok(Main { child, last_words: Some(result) })),
        Some(Report::Failed { step, errno }) => {
            let _status = waitpid(Some(child), WaitOptions::empty());
            Ok(Err((step, errno)))
        }
        // It was killed before it could start anything.
        _ => Ok(Ok(Main::from(child))),
    }
}

/// The same behind walls only, which take more than a few system calls to build: a process of its own builds them.
fn start_confined(Run { spawn, fds, .. }: Run) -> io::Result<Result<Main, (Step, i32)>> {
    let (result, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(pid) = sys::fork()? else {
        drop(result);
        let (step, error) = become_command(spawn, fds);
        failed(tell, step, &error)
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
    Ok(Ok(pid.into()))
}

/// Tells why it could not be started, and ends.
fn failed(tell: OwnedFd, step: Step, error: &io::Error) -> ! {
    let report = Report::Failed { step, errno: error.raw_os_error().unwrap_or(0) };
    let _nobody_listens = File::from(tell).write_all(&report.encode());
    std::process::exit(127)
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
        Some(plan) => confine::enter(plan, cwd, None),
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
fn follow(mut control: &UnixStream, main: &Main, signals: &OwnedFd) -> Option<WaitStatus> {
    loop {
        let [order, child] = children::either(control, signals);
        if child {
            children::quiet(signals.as_fd());
            while let Ok(Some((pid, status))) = children::reap() {
                if pid == main.child {
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
                Some(Order::Interrupt) => kill_process_group(main.child, Signal::INT),
                Some(Order::Terminate) => kill_process_group(main.child, Signal::TERM),
                Some(Order::Kill) | None => return None,
            };
            debug_assert!(matches!(passed, Ok(()) | Err(Errno::SRCH | Errno::PERM)));
        }
    }
}
