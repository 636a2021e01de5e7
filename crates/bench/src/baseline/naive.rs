//! B0, the naive conductor: our own reference, not KiloCode's and nobody else's product.
//!
//! What somebody writes in an afternoon: one lock around one recursive loop, a file of JSON lines for each session,
//! every line synced before going on, the whole history read again before each decision. No deduplication, no cache,
//! no group commit, no effect classes. It does the same work as Kapell does and sleeps nowhere. Frozen: its figures
//! are what Kapell's are compared with, so it is mended only where it is wrong. Start at [`Naive::message`].

use super::script::Script;
use anyhow::{Context, Result, anyhow};
use contract::model::{Message, ToolUse};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// One line of a session's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Opened { goal: String, at: u64 },
    Message { text: String, at: u64 },
    ModelAsked { messages: usize, at: u64 },
    ModelSaid { call: Option<Call>, at: u64 },
    ToolCalled { call: Call, at: u64 },
    ToolReturned { id: String, text: String, at: u64 },
    Closed { at: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Call {
    id: String,
    tool: String,
    args: Value,
}

/// Times a failing model call is made.
const TRIES: u32 = 3;

/// The naive conductor over a directory.
pub(crate) struct Naive {
    dir: PathBuf,
    script: Script,
    whole: Mutex<()>,
}

impl Naive {
    pub(crate) fn new(dir: &Path, script: Script) -> Self {
        Self { dir: dir.to_owned(), script, whole: Mutex::new(()) }
    }

    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    /// Nobody else does anything while this is held.
    pub(crate) fn hold(&self) -> Result<MutexGuard<'_, ()>> {
        self.whole.lock().map_err(|_| anyhow!("a thread died with the lock"))
    }

    /// Makes a session; its agent works on the goal until it waits.
    pub(crate) fn open(&self, id: &str, goal: &str) -> Result<()> {
        let _whole = self.hold()?;
        self.append(id, &Line::Opened { goal: goal.to_owned(), at: now() })?;
        self.turn(id)
    }

    /// A message; the agent works on it until it waits. `acknowledged` is called once the message is durable.
    pub(crate) fn message(&self, id: &str, text: &str, acknowledged: impl FnOnce()) -> Result<()> {
        let _whole = self.hold()?;
        self.append(id, &Line::Message { text: text.to_owned(), at: now() })?;
        acknowledged();
        self.turn(id)
    }

    /// Goes on where a stopped process was.
    pub(crate) fn resume(&self, id: &str) -> Result<()> {
        let _whole = self.hold()?;
        self.turn(id)
    }

    /// Lines of a session, read anew.
    pub(crate) fn look(&self, id: &str) -> Result<usize> {
        let _whole = self.hold()?;
        Ok(self.load(id)?.len())
    }

    pub(crate) fn close(&self, id: &str) -> Result<()> {
        let _whole = self.hold()?;
        self.append(id, &Line::Closed { at: now() })
    }

    /// The loop: read everything, do what is next, and again.
    fn turn(&self, id: &str) -> Result<()> {
        let history = self.load(id)?;
        let (next, messages) = (next(&history), conversation(&history));
        drop(history);
        match next {
            Next::Wait => Ok(()),
            Next::Model => {
                self.append(id, &Line::ModelAsked { messages: messages.len(), at: now() })?;
                let mut said = self.script.say(&messages);
                for _ in 1..TRIES {
                    said = said.or_else(|_| self.script.say(&messages));
                }
                let call = said.map_err(|why| anyhow!("{why}"))?;
                let call = call.map(|ToolUse { id, tool, args }| Call { id, tool, args });
                self.append(id, &Line::ModelSaid { call, at: now() })?;
                drop(messages);
                self.turn(id)
            }
            Next::Tool(call) => {
                drop(messages);
                self.append(id, &Line::ToolCalled { call: call.clone(), at: now() })?;
                let text = self.script.work(&call.args, None);
                self.append(id, &Line::ToolReturned { id: call.id, text, at: now() })?;
                self.turn(id)
            }
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.jsonl"))
    }

    /// One line, on the disk when this returns.
    fn append(&self, id: &str, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(id))?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        Ok(())
    }

    fn load(&self, id: &str) -> Result<Vec<Line>> {
        let text = std::fs::read_to_string(self.path(id))?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("session {id}"))).collect()
    }

    /// What is wrong with a session's history: messages that are there twice or not at all, calls without a pair.
    pub(crate) fn wrong(&self, id: &str, messages: &[String]) -> Vec<String> {
        let history = match self.load(id) {
            Ok(history) => history,
            Err(error) => return vec![format!("{id} cannot be read: {error:#}")],
        };
        let mut wrong = Vec::new();
        let count = |fits: &dyn Fn(&Line) -> bool| history.iter().filter(|line| fits(line)).count();
        for message in messages {
            match count(&|line| matches!(line, Line::Message { text, .. } if text == message)) {
                1 => {}
                n => wrong.push(format!("message {message} is on record {n} times")),
            }
        }
        let called = count(&|line| matches!(line, Line::ToolCalled { .. }));
        let returned = count(&|line| matches!(line, Line::ToolReturned { .. }));
        if called != returned {
            wrong.push(format!("{id}: {called} calls, {returned} results"));
        }
        wrong
    }
}

enum Next {
    Wait,
    Model,
    Tool(Call),
}

fn next(history: &[Line]) -> Next {
    match history.last() {
        None | Some(Line::Closed { .. } | Line::ModelSaid { call: None, .. }) => Next::Wait,
        Some(Line::ModelSaid { call: Some(call), .. } | Line::ToolCalled { call, .. }) => {
            Next::Tool(call.clone())
        }
        Some(_) => Next::Model,
    }
}

/// What the model is shown.
fn conversation(history: &[Line]) -> Vec<Message> {
    let message = |line: &Line| match line {
        Line::Opened { goal: text, .. } | Line::Message { text, .. } => {
            Some(Message::User { text: text.clone() })
        }
        Line::ModelSaid { call, .. } => {
            let calls = call.iter().map(|Call { id, tool, args }| ToolUse {
                id: id.clone(),
                tool: tool.clone(),
                args: args.clone(),
            });
            Some(Message::said("", calls.collect()))
        }
        Line::ToolReturned { id, text, .. } => Some(Message::result(id.clone(), true, text.clone())),
        Line::ModelAsked { .. } | Line::ToolCalled { .. } | Line::Closed { .. } => None,
    };
    history.iter().filter_map(message).collect()
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
