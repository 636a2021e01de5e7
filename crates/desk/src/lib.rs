//! The twenty tools of the Loop-Orchestrator server over one directory, by their names, parameters and replies.
//!
//! Knows files and their formats (`board`), not who asks: no protocol, no engine, no environment. Every path goes
//! through [`root`], every change through [`Desk::change`]. Start at [`Desk::call`] and the table in [`spec`].

mod args;
mod change;
mod conduct;
mod develop;
mod escalate;
mod files;
mod orchestrate;
mod report;
mod root;
mod schedule;
mod search;
pub mod spec;
mod status;
mod structure;
mod sync;
mod times;
mod validate;
mod watch;

pub use change::{Record, Task};
pub use conduct::Timed;
pub use sync::Surroundings;

use crate::args::Args;
use crate::root::Root;
use contract::Fault;
use contract::port::Clock;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where things are and how much there may be of them. What the old server read from its environment.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory; nothing outside of it is read or written.
    pub workspace: PathBuf,
    /// The files, relative to it.
    pub schedules: String,
    /// Rows of tracked time.
    pub timing: String,
    /// What later tasks should know.
    pub memory: String,
    /// What is planned.
    pub todo: String,
    /// The modes.
    pub modes: String,
    /// Copies of what was changed.
    pub backups: String,
    /// Lines that the memory may have.
    pub memory_lines: usize,
    /// Failures of one kind before somebody has to look.
    pub failure_limit: u64,
    /// Copy what is about to be changed.
    pub backup: bool,
}

impl Options {
    /// The usual names.
    pub fn new(workspace: PathBuf) -> Self {
        Self {
            workspace,
            schedules: ".roo/schedules.json".into(),
            timing: "task_timing.tsv".into(),
            memory: "persistent-memory.md".into(),
            todo: "TODO.md".into(),
            modes: ".roomodes".into(),
            backups: "backups".into(),
            memory_lines: 300,
            failure_limit: 3,
            backup: true,
        }
    }
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// An object with `success` and `timestamp`.
    Done(Value),
    /// The call itself cannot be understood: which argument, and what it takes.
    Wrong(String),
    /// There is no such tool.
    Unknown,
}

/// Why a tool did not do what was asked.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Said in the reply, with what else belongs into it.
    Failed(String, Map<String, Value>),
    /// The arguments are not of the tool's form.
    Wrong(String),
}

impl Stop {
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed(what.into(), Map::new())
    }

    /// With one thing more in the reply.
    pub(crate) fn with(self, key: &str, value: impl Into<Value>) -> Self {
        match self {
            Self::Failed(what, mut more) => {
                more.insert(key.to_owned(), value.into());
                Self::Failed(what, more)
            }
            wrong => wrong,
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        let hint = if fault.hint.is_empty() { String::new() } else { format!(" ({})", fault.hint) };
        Self::failed(format!("{}{hint}", fault.what))
    }
}

impl From<board::Bad> for Stop {
    fn from(bad: board::Bad) -> Self {
        Self::failed(bad.0)
    }
}

pub(crate) type Done = Result<Value, Stop>;

/// The tools over one directory. Calls may come from many threads at once; changes are one after the other.
#[derive(Debug)]
pub struct Desk {
    options: Options,
    root: Root,
    watch: watch::Watch,
    record: Arc<dyn Record>,
    clock: Arc<dyn Clock>,
    began: i64,
    calls: AtomicU64,
    failures: AtomicU64,
}

impl Desk {
    /// Over this directory; changes are put on record there.
    pub fn open(options: Options, record: Arc<dyn Record>, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let root = Root::open(&options.workspace)?;
        let began = millis(&*clock);
        let (calls, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { options, root, watch: watch::Watch::default(), record, clock, began, calls, failures })
    }

    /// Does the directory hold files of these tools? Then whoever works there may want them listed.
    pub fn is_used(&self) -> bool {
        let Options { schedules, timing, memory, modes, .. } = &self.options;
        [schedules, timing, memory, modes].into_iter().any(|path| self.root.exists(path))
    }

    /// The shared file of this name, as it is: todo, memory, schedules, times, modes.
    pub fn file(&self, name: &str) -> Result<Vec<u8>, Fault> {
        self.root.read(self.shared(name)?)
    }

    /// A number that is another one after anything below the directory changed; `None`: nobody can tell. What was read
    /// between two looks that gave the same number is still so, mapped files and files with other names outside aside.
    pub fn generation(&self) -> Option<u64> {
        self.watch.generation(&self.root.opened())
    }

    /// The time as replies say it.
    pub fn told_at(&self) -> String {
        board::when::written(self.now())
    }

    /// A call that was answered without calling a tool.
    pub fn counted(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Is there a shared file of this name?
    pub fn has(&self, name: &str) -> bool {
        self.shared(name).is_ok_and(|path| self.root.exists(path))
    }

    fn shared(&self, name: &str) -> Result<&str, Fault> {
        let Options { schedules, timing, memory, todo, modes, .. } = &self.options;
        let files = [
            ("todo", todo),
            ("memory", memory),
            ("schedules", schedules),
            ("times", timing),
            ("modes", modes),
        ];
        let found = files.into_iter().find(|(known, _)| *known == name).map(|(_, path)| path.as_str());
        found.ok_or_else(|| {
            Fault::new(contract::Kind::UserFixable, "no-file", format!("{name} is no shared file"))
        })
    }

    /// Calls a tool by its name, with or without the suffix. Blocks.
    pub fn call(&self, name: &str, args: &Map<String, Value>) -> Reply {
        let Some(spec) = spec::find(name) else { return Reply::Unknown };
        self.calls.fetch_add(1, Ordering::Relaxed);
        let done = Args::new(spec, args).and_then(|args| (spec.run)(self, &args));
        let mut object = match done {
            Ok(Value::Object(mut object)) => {
                // Some tools report a failure they describe themselves.
                object.entry("success").or_insert(Value::Bool(true));
                object
            }
            Ok(other) => {
                [("success".to_owned(), Value::Bool(true)), ("data".to_owned(), other)].into_iter().collect()
            }
            Err(Stop::Wrong(why)) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                return Reply::Wrong(why);
            }
            Err(Stop::Failed(error, mut more)) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                more.insert("success".into(), false.into());
                more.insert("error".into(), error.into());
                if let Some(key) = spec.key
                    && let Some(value) = args.get(key)
                {
                    more.entry(key).or_insert_with(|| value.clone());
                }
                more
            }
        };
        object.insert("timestamp".into(), self.told_at().into());
        Reply::Done(Value::Object(object))
    }

    pub(crate) fn now(&self) -> i64 {
        millis(&*self.clock)
    }
}

fn millis(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now().0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
