//! One run, as Kapell sees it: hands the command to a warden, and says how it ended.
//! Knows nothing of how processes are killed (`helper/warden.rs`) or
//! output is read (`watch.rs`). Start at [`run`].
//!
//! Dropping the future kills everything the command started: the warden sees the socket close.

use crate::capture::Captured;
use crate::command::{Command, Input};
use crate::confine::Plan;
use crate::flow::Flow;
use crate::gate::{Gate, Log};
use crate::keeper::{self, Begun, Warden};
use crate::record::{self, Record};
use crate::waiting::Waiting;
use crate::watch::{End, Silence, Stop, Stream, Watch, Way};
use contract::cancel::Cancel;
#[cfg(doc)]
use contract::cancel::Urgency;
use contract::confine::HostAsked;
use contract::tool::Stopped;
use contract::{Fault, Kind};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::Instant;

/// How a command ended. Nothing it started is alive any more, unless `left` says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status, when it ended by itself.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it was stopped, if it was.
    pub stopped: Option<Stopped>,
    /// The last step of the ladder it was sent before it ended.
    pub stage: Option<Stage>,
    /// From start to the end of everything it started, milliseconds.
    pub duration_ms: u64,
    /// What it wrote; standard output only, when kept apart.
    pub output: Captured,
    /// Its standard error, when kept apart.
    pub stderr: Captured,
    /// Who of it waited for input, when that is why it was stopped.
    pub waited: Option<Waiting>,
    /// Processes it had left behind, killed.
    pub survivors: u32,
    /// Processes that could not be killed: another user's, or stuck in the kernel.
    pub left: u32,
    /// Whom it asked on the network, where it could ask listed hosts only; nothing, where that is told elsewhere.
    pub asked: Vec<HostAsked>,
}

impl Ended {
    /// Ended by itself with status 0.
    pub fn ok(&self) -> bool {
        self.exit == Some(0) && self.stopped.is_none()
    }
}

/// A step of the stop ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Kill => "SIGKILL",
        })
    }
}

/// What happens while it runs. Lossy; may be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A line of output, decoded lossily, without its end.
    Line(&'a str),
    /// The bytes it wrote, as they come: all of them, unlike lines.
    Output(&'a [u8]),
    /// It waits for input: told again and again, and `None` once it goes on without a word.
    Waits(Option<&'a Waiting>),
    /// It runs, as this process.
    Started(i32),
    /// The next step of the ladder was taken.
    Stopping(Stage),
    /// The last step worked: nothing of it is alive.
    Killed,
}

/// Why a command did not run, or why nobody knows how it ended.
#[derive(Debug)]
pub enum Error {
    /// There is no such program.
    NoProgram {
        /// Its name.
        program: String,
    },
    /// An argument, a variable or the directory holds a zero byte.
    Nul {
        /// The program.
        program: String,
    },
    /// The working directory cannot be entered.
    Directory {
        /// Which.
        cwd: String,
        /// Why.
        source: io::Error,
    },
    /// The program cannot be executed.
    Exec {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// This system cannot confine it as far as its profile asks for.
    Unconfined {
        /// The profile.
        profile: &'static str,
        /// What is not there.
        missing: String,
    },
    /// It could not be confined, and was not started.
    Confine {
        /// Which layer.
        layer: String,
        /// Why.
        source: io::Error,
    },
    /// A place of its own view of files could not be made; becomes [`Error::Confine`] once it has a name.
    Mount {
        /// Its number in the plan.
        number: usize,
        /// Why.
        source: io::Error,
    },
    /// The machinery around it failed: pipes, records, the helper process.
    System {
        /// While doing what.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The command's warden was killed from outside; what the command started was killed then.
    Lost {
        /// The program.
        program: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram { program } => write!(f, "program `{program}` was not found"),
            Self::Nul { program } => write!(f, "`{program}` was given text with a zero byte"),
            Self::Directory { cwd, source } => write!(f, "cannot work in `{cwd}`: {source}"),
            Self::Exec { program, source } => write!(f, "cannot execute `{program}`: {source}"),
            Self::Unconfined { profile, missing } => {
                write!(f, "this system cannot confine commands to `{profile}`: it lacks {missing}")
            }
            Self::Confine { layer, source } => {
                write!(f, "a command could not be confined ({layer}): {source}")
            }
            Self::Mount { number, source } => {
                write!(f, "a command could not be confined (mount {number}): {source}")
            }
            Self::System { doing, source } => write!(f, "cannot run a command: {doing}: {source}"),
            Self::Lost { program } => write!(f, "the process that watches over `{program}` was killed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory { source, .. }
            | Self::Exec { source, .. }
            | Self::Confine { source, .. }
            | Self::Mount { source, .. }
            | Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let (kind, code, hint) = match &error {
            Error::NoProgram { program } => {
                (Kind::UserFixable, "no-program", format!("install `{program}` or correct PATH"))
            }
            Error::Nul { .. } => (Kind::Permanent, "nul-byte", String::new()),
            Error::Directory { .. } => (Kind::UserFixable, "no-directory", "check that it exists".to_owned()),
            Error::Exec { .. } => {
                (Kind::UserFixable, "not-executable", "check the file's mode and its first line".to_owned())
            }
            Error::Unconfined { .. } => (
                Kind::UserFixable,
                "unconfined",
                "allow them to your user, or accept less with `degraded = true` under [sandbox] in config.toml; \
                 `kapell sandbox` shows what there is"
                    .to_owned(),
            ),
            Error::Confine { .. } | Error::Mount { .. } => {
                (Kind::UserFixable, "not-confined", "`kapell sandbox -- true` tries it; report what it says".to_owned())
            }
            Error::System { .. } => {
                (Kind::Transient, "sandbox", "check `ulimit -a` and free disk space".to_owned())
            }
            Error::Lost { .. } => (Kind::Transient, "warden-killed", "run it again".to_owned()),
        };
        Self::new(kind, code, error.to_string()).hint(hint)
    }
}

/// Runs a command to its end and leaves nothing alive.
///
/// A token that is cancelled already starts nothing. On cancel or time-out it climbs the ladder SIGINT,
/// SIGTERM, SIGKILL over the command's whole group; [`Urgency::Now`] goes to SIGKILL at once. When the
/// command itself has ended, whatever it left behind is killed without grace.
pub async fn run(
    command: Command,
    cancel: Cancel,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Ended, Error> {
    let start = Instant::now();
    if cancel.is_cancelled() {
        return Ok(Ended { stopped: Some(Stopped::Cancelled), ..Ended::nothing(&command) });
    }
    let directory = open_directory(&command)?;
    let token = record::token();
    let spawn = command.spawn(&token)?;
    let (plan, spawn) = (spawn.plan.clone(), spawn.encode());
    let record = command.record.as_deref().map(|dir| Record::open(dir, &token)).transpose();
    let record = record.map_err(failed("writing its record"))?;
    let log = command.log.clone().unwrap_or_default();
    let (gate, theirs) = way_out(plan.as_ref()).map_err(failed("making a way out"))?;
    let pipes = begin(&command, &directory, theirs, &spawn);
    if let (Err(_), Some(record)) = (&pipes, &record) {
        record.close().map_err(failed("removing its record"))?;
    }
    let Pipes { mut control, rest, warden, output, stderr } = pipes.map_err(failed("starting the helper"))?;
    drop(directory);
    let gate = served(&command, &log, gate);
    // Our copy of a terminal's slave would keep its master from ever telling the end.
    let command = Command { input: Input::Bytes(Vec::new()), ..command };
    // An error here means that the warden is gone, which reading tells as well.
    let _gone = control.write_all(&spawn[spawn.len() - rest..]).await;

    let mut watch = Watch {
        control,
        reports: Vec::new(),
        stop: Stop::new(&command, start),
        silence: Silence::new(&command, start),
        outputs: [Stream::new(output, command.keep), Stream::new(stderr, command.keep)],
        end: End::default(),
        record: record.as_ref(),
        warden,
        progress,
        gate,
    };
    let result = watch.follow(&cancel).await;
    let Watch { control, stop, silence, outputs: [output, stderr], end, warden, .. } = watch;
    let serves_again = result.is_ok() && stop.stage.is_none() && end.clean == Some(0);
    if let Some(socket) = serves_again.then(|| control.into_std().ok()).flatten() {
        keeper::give_back(socket, warden);
    } else if let (Err(Error::Lost { .. }), Some(group)) = (&result, warden.and_then(|warden| warden.group)) {
        // It is dead or does not listen: nobody else sees to what it started.
        group.kill();
    }
    let never_ran = result.as_ref().is_err_and(Error::came_first);
    if let Some(record) = record.as_ref().filter(|_| never_ran || end.clean == Some(0)) {
        record.close().map_err(failed("removing its record"))?;
    }
    result.map_err(|error| error.about(&command, plan.as_ref()))?;
    let status = end.status.map(ExitStatus::from_raw);
    Ok(Ended {
        exit: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        stopped: stop.why,
        stage: stop.stage,
        duration_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        output: output.captured,
        stderr: stderr.captured,
        waited: silence.waited.filter(|_| stop.why == Some(Stopped::NeedsInput)),
        survivors: end.survivors,
        left: end.clean.unwrap_or(0),
        asked: if command.log.is_some() { Vec::new() } else { log.taken() },
    })
}

impl Ended {
    fn nothing(command: &Command) -> Self {
        let none = Captured::new(command.keep);
        Self {
            exit: None,
            signal: None,
            stopped: None,
            stage: None,
            duration_ms: 0,
            output: none.clone(),
            stderr: none,
            waited: None,
            survivors: 0,
            left: 0,
            asked: Vec::new(),
        }
    }
}

impl Error {
    /// Nothing of the command ran.
    fn came_first(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::Exec { .. } | Self::Confine { .. } | Self::Mount { .. })
    }

    /// Adds names that the watching half does not know.
    fn about(mut self, command: &Command, plan: Option<&Plan>) -> Self {
        if let Self::Mount { number, source } = self {
            let place = plan.and_then(|plan| plan.place(number));
            let layer = place.map_or_else(|| format!("mount {number}"), |place| place.display().to_string());
            let link = source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
            let source = if link { io::Error::other("a symbolic link is in its way") } else { source };
            return Self::Confine { layer, source };
        }
        match &mut self {
            Self::Directory { cwd, .. } => *cwd = command.cwd.to_string_lossy().into_owned(),
            Self::Exec { program, .. } | Self::Lost { program } => *program = command.name(),
            _ => {}
        }
        self
    }
}

pub(crate) fn failed(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System { doing, source }
}

/// What connects us to a run.
struct Pipes {
    control: UnixStream,
    /// Who watches, if that is known already.
    warden: Option<Warden>,
    /// Bytes of the order that did not go yet.
    rest: usize,
    output: Option<Flow>,
    stderr: Option<Flow>,
}

/// The directory it is to work in, held open: renaming or replacing it meanwhile changes nothing.
fn open_directory(command: &Command) -> Result<Arc<OwnedFd>, Error> {
    if let Some(directory) = &command.directory {
        return Ok(Arc::clone(directory));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&command.cwd, flags, Mode::empty());
    opened.map(Arc::new).map_err(|errno| match errno {
        // A zero byte in the path.
        rustix::io::Errno::INVAL => Error::Nul { program: command.name() },
        errno => Error::Directory { cwd: command.cwd.to_string_lossy().into_owned(), source: errno.into() },
    })
}

/// Both ends of what the listening socket of its way out comes over, where it gets one.
fn way_out(plan: Option<&Plan>) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    if !plan.is_some_and(Plan::has_gate) {
        return Ok((None, None));
    }
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Some(pair.0), Some(pair.1)))
}

/// What answers at the listening socket that comes over this one.
fn served(command: &Command, log: &Log, gate: Option<OwnedFd>) -> Way {
    let hosts = command.confined.as_ref().map(|(asked, _)| asked.hosts.clone()).unwrap_or_default();
    match gate {
        Some(socket) => Box::pin(Gate::new(hosts, log.clone()).open(socket)),
        None => Box::pin(std::future::pending()),
    }
}

/// Makes the pipes and gives a warden the order. Our copies of the command's ends close here.
fn begin(command: &Command, directory: &OwnedFd, gate: Option<OwnedFd>, order: &[u8]) -> io::Result<Pipes> {
    let given = |fds: &[BorrowedFd<'_>]| -> io::Result<(UnixStream, Option<Warden>, usize)> {
        let fds: Vec<_> = fds.iter().copied().chain(gate.as_ref().map(AsFd::as_fd)).collect();
        let Begun { socket, warden, rest } = keeper::begin(order, &fds)?;
        Ok((UnixStream::from_std(socket)?, warden, rest))
    };
    if let Input::Terminal { slave, master } = &command.input {
        let slave = slave.as_fd();
        let (control, warden, rest) = given(&[slave, slave, slave, directory.as_fd()])?;
        let output = Some(Flow::reader(Arc::clone(master))?);
        return Ok(Pipes { control, warden, rest, output, stderr: None });
    }
    let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let apart = command.apart.then(|| pipe_with(PipeFlags::CLOEXEC)).transpose()?;
    let (stderr, stderr_end) = apart.unzip();
    let stdin = input(&command.input)?;
    let stderr_end = stderr_end.as_ref().unwrap_or(&stdout);
    let (control, warden, rest) =
        given(&[stdin.as_fd(), stdout.as_fd(), stderr_end.as_fd(), directory.as_fd()])?;
    let stderr = stderr.map(|pipe| Flow::reader(Arc::new(pipe))).transpose()?;
    Ok(Pipes { control, warden, rest, output: Some(Flow::reader(Arc::new(output))?), stderr })
}

/// What the command reads: nothing, or a file in memory, which unlike a pipe cannot block anybody; or a pipe.
fn input(input: &Input) -> io::Result<Arc<OwnedFd>> {
    let bytes = match input {
        Input::Pipe(pipe) => return Ok(Arc::clone(pipe)),
        Input::Terminal { slave, .. } => return Ok(Arc::clone(slave)),
        Input::Bytes(bytes) => bytes,
    };
    if bytes.is_empty() {
        static NOTHING: OnceLock<Arc<OwnedFd>> = OnceLock::new();
        if let Some(nothing) = NOTHING.get() {
            return Ok(Arc::clone(nothing));
        }
        let nothing = Arc::new(File::open("/dev/null")?.into());
        return Ok(Arc::clone(NOTHING.get_or_init(|| nothing)));
    }
    let mut file = File::from(memfd_create("kapell-stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(Arc::new(file.into()))
}
