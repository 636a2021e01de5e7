//! What to run: program, directory, environment, input, time, output. A value; running it is [`crate::run()`].
//! Knows nothing of processes. Start at [`Command`].

use crate::cgroup::Limits;
use crate::confine::{self, Offers};
use crate::environ;
use crate::gate::Log;
use crate::patience::Patience;
use crate::pty::{Size, Terminal};
use crate::run::Error;
use crate::wire::Spawn;
use contract::confine::{Confinement, Profile};
use contract::limits;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A program to run, or a line for the shell.
#[derive(Debug, Clone)]
pub struct Command {
    pub(crate) argv: Vec<OsString>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<Arc<OwnedFd>>,
    pub(crate) input: Input,
    pub(crate) patience: Option<Patience>,
    pub(crate) waits: Waits,
    pub(crate) grace: Grace,
    pub(crate) keep: usize,
    pub(crate) apart: bool,
    pub(crate) record: Option<PathBuf>,
    pub(crate) confined: Option<(Confinement, Offers)>,
    pub(crate) limits: Limits,
    pub(crate) log: Option<Log>,
    pub(crate) given: Given,
}

/// Variables that hold secrets; shown nowhere.
#[derive(Clone, Default)]
pub(crate) struct Given(Vec<(OsString, OsString)>);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What a command reads.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// These bytes, and then its end.
    Bytes(Vec<u8>),
    /// Whatever is written into the other end of this pipe.
    Pipe(Arc<OwnedFd>),
    /// This terminal, which is also what it writes to; what it writes is read from the terminal's master.
    Terminal { slave: Arc<OwnedFd>, master: Arc<OwnedFd> },
}

/// What becomes of a command that waits for input, by the evidence of [`crate::Waiting`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// It is stopped: nobody can give it any.
    Stop,
    /// It is told as [`crate::Progress::Waits`]: somebody may write.
    Tell,
}

/// How long each step of the stop ladder waits for the command to end (S2.1-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// After SIGINT, milliseconds.
    pub int_ms: u64,
    /// After SIGTERM, milliseconds. Then comes SIGKILL.
    pub term_ms: u64,
}

impl Default for Grace {
    fn default() -> Self {
        Self { int_ms: limits::STOP_INT_MS, term_ms: limits::STOP_TERM_MS }
    }
}

impl Command {
    /// A program and its arguments, taken as they are. A name without a slash is searched in the child's PATH.
    pub fn argv(argv: impl IntoIterator<Item = impl Into<OsString>>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            cwd: cwd.into(),
            env: Vec::new(),
            directory: None,
            input: Input::Bytes(Vec::new()),
            patience: None,
            waits: Waits::Stop,
            grace: Grace::default(),
            keep: limits::OUTPUT_KEEP_BYTES,
            apart: false,
            record: None,
            confined: None,
            limits: Limits::default(),
            log: None,
            given: Given::default(),
        }
    }

    /// A line for `/bin/sh -c`.
    pub fn shell(line: impl Into<OsString>, cwd: impl Into<PathBuf>) -> Self {
        Self::argv(["/bin/sh".into(), "-c".into(), line.into()], cwd)
    }

    /// Adds a variable, over what is inherited. Names that hold secrets are dropped (see [`crate::is_secret`]).
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds a variable whose value it is meant to have, whatever its name: a person has said so.
    #[must_use]
    pub fn given(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.given.0.push((name.into(), value.into()));
        self
    }

    /// Adds variables.
    #[must_use]
    pub fn envs<N: Into<OsString>, V: Into<OsString>>(self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        pairs.into_iter().fold(self, |command, (name, value)| command.env(name, value))
    }

    /// What it reads; otherwise its standard input is empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// It reads what is written into the other end of this pipe, for as long as that is open.
    #[must_use]
    pub fn reads(mut self, pipe: OwnedFd) -> Self {
        self.input = Input::Pipe(Arc::new(pipe));
        self
    }

    /// Gives it a terminal of its own, in place of what it would read and write.
    pub fn terminal(mut self, size: Size) -> io::Result<(Self, Terminal)> {
        let (terminal, slave) = Terminal::open(size)?;
        self.input = Input::Terminal { slave: Arc::new(slave), master: terminal.master() };
        Ok((self, terminal))
    }

    /// Works in this open directory, whatever its name leads to by then; the path is for messages only.
    #[must_use]
    pub fn at(mut self, directory: OwnedFd) -> Self {
        self.directory = Some(Arc::new(directory));
        self
    }

    /// What becomes of it when it waits for input.
    #[must_use]
    pub fn waits(mut self, waits: Waits) -> Self {
        self.waits = waits;
        self
    }

    /// Stops it after this long, milliseconds.
    #[must_use]
    pub fn timeout_ms(self, ms: u64) -> Self {
        self.patience(Patience::exactly(ms))
    }

    /// Stops it when its time is over, which what it says may prolong.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Another patience than the usual one.
    #[must_use]
    pub fn grace(mut self, grace: Grace) -> Self {
        self.grace = grace;
        self
    }

    /// Keeps this many bytes of each output instead of [`limits::OUTPUT_KEEP_BYTES`].
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Standard error apart from standard output, and no part of [`crate::Progress::Output`]. Otherwise both come in the
    /// order they were written.
    #[must_use]
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Leaves a record in this directory while it runs, for [`crate::sweep`] after a crash.
    #[must_use]
    pub fn record(mut self, dir: impl Into<PathBuf>) -> Self {
        self.record = Some(dir.into());
        self
    }

    /// Keeps it to what this says, by what the system offers.
    #[must_use]
    pub fn confine(mut self, confinement: Confinement) -> Self {
        let processes = if confinement.processes == 0 { confine::PROCESSES } else { confinement.processes };
        self.limits = Limits { memory: confinement.memory, processes };
        if confinement.profile == Profile::Full {
            return self;
        }
        let offers = confine::offers().clone();
        self.confine_with(confinement, offers)
    }

    /// Tells here, as it comes, whom it asks on the network; otherwise at its end.
    #[must_use]
    pub fn tells(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// The same with no more than these offers, to see what less comes to.
    #[must_use]
    pub fn confine_with(mut self, confinement: Confinement, offers: Offers) -> Self {
        self.confined = Some((confinement, offers));
        self
    }

    /// The program's name, for messages.
    pub(crate) fn name(&self) -> String {
        self.argv.first().map_or(String::new(), |name| name.to_string_lossy().into_owned())
    }

    /// As the warden needs it: environment complete, program found.
    pub(crate) fn spawn(&self, token: &str) -> Result<Spawn, Error> {
        let terminal = matches!(self.input, Input::Terminal { .. });
        let mut env = environ::child(std::env::vars_os(), &self.env, token, terminal);
        env.retain(|(name, _)| !self.given.0.iter().any(|(given, _)| given == name));
        env.extend(self.given.0.iter().cloned());
        let confined = self.confined.as_ref();
        let plan =
            confined.map(|(asked, offers)| confine::plan(asked, offers, &mut env)).transpose()?.flatten();
        let texts = self.argv.iter().chain(env.iter().flat_map(|(name, value)| [name, value]));
        if texts.chain([self.cwd.as_os_str().to_owned()].iter()).any(|text| text.as_bytes().contains(&0)) {
            return Err(Error::Nul { program: self.name() });
        }
        let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        let program = self.argv.first().and_then(|name| find(name, path, &self.cwd));
        let program = program.ok_or_else(|| Error::NoProgram { program: self.name() })?;
        Ok(Spawn { terminal, program, argv: self.argv.clone(), env, plan, limits: self.limits })
    }
}

/// The first executable file of this name, as a shell would find it.
fn find(name: &OsStr, path: Option<&OsStr>, cwd: &Path) -> Option<OsString> {
    if name.as_bytes().contains(&b'/') {
        return Some(name.to_owned());
    }
    let runs = |file: &PathBuf| {
        let file = cwd.join(file);
        file.is_file() && rustix::fs::access(&file, rustix::fs::Access::EXEC_OK).is_ok()
    };
    std::env::split_paths(path?).map(|dir| dir.join(name)).find(runs).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let path = dir.path().as_os_str();
        let find = |name: &str| find(name.as_ref(), Some(path), Path::new("/"));
        assert_eq!(find("plain"), None, "not executable");
        assert_eq!(find("folder"), None);
        assert_eq!(find("./plain").unwrap(), "./plain");
        let sh = super::find("sh".as_ref(), Some("/nowhere:/bin".as_ref()), Path::new("/"));
        assert_eq!(sh.unwrap(), "/bin/sh");
    }

    #[test]
    fn what_cannot_be_run_is_refused_before_anything_starts() {
        let refused = |argv: &[&str]| Command::argv(argv.iter().copied(), "/").spawn("t");
        assert!(matches!(refused(&[]), Err(Error::NoProgram { .. })));
        assert!(matches!(refused(&["no-such-program-anywhere"]), Err(Error::NoProgram { .. })));
        assert!(matches!(refused(&["sh", "a\0b"]), Err(Error::Nul { .. })));
    }
}
