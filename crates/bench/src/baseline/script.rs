//! What the agents of both systems do, and the world they do it in: the same words, the same calls, the same effects.
//!
//! Knows neither system. A message `m-...` asks for [`Script::rounds`] calls, each with a model call of its own.
//! Start at [`Script::say`].

use contract::model::{Message, ToolUse};
use serde_json::json;
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What goes wrong inside a victim, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    Nothing,
    /// A model call fails and would pass when tried again.
    ModelFails,
    /// A tool panics before its effect.
    ToolPanics,
}

/// An agent's script, and what came of it.
pub(crate) struct Script {
    /// Calls for one message.
    pub(crate) rounds: u32,
    /// Where each effect leaves a line; `None` = effects leave nothing.
    effects: Option<PathBuf>,
    plant: Plant,
    model_calls: AtomicU64,
    tool_calls: AtomicU64,
    sent: Mutex<HashMap<String, (Instant, Sender<()>)>>,
    waits: Mutex<Vec<Duration>>,
}

/// Something that a person would write begins so; everything else is the system talking.
pub(crate) const MARK: &str = "m-";

/// The model call, or the tool call, at which the plant grows.
const PLANTED_AT: u64 = 7;

impl Script {
    pub(crate) fn new(rounds: u32) -> Self {
        Self {
            rounds,
            effects: None,
            plant: Plant::Nothing,
            model_calls: AtomicU64::new(0),
            tool_calls: AtomicU64::new(0),
            sent: Mutex::default(),
            waits: Mutex::default(),
        }
    }

    pub(crate) fn with_effects(self, effects: PathBuf, plant: Plant) -> Self {
        Self { effects: Some(effects), plant, ..self }
    }

    /// The model: the next call, or nothing when the message has been answered. `Err`: try again.
    pub(crate) fn say(&self, messages: &[Message]) -> Result<Option<ToolUse>, &'static str> {
        let nth = self.model_calls.fetch_add(1, Ordering::Relaxed) + 1;
        if self.plant == Plant::ModelFails && nth == PLANTED_AT {
            return Err("the model is overloaded");
        }
        let (mut done, mut key) = (0, None);
        for message in messages.iter().rev() {
            match message {
                Message::User { text } => {
                    key = key.or_else(|| marked(text).next_back());
                    marked(text).for_each(|key| self.entered(key));
                }
                // What came before the messages is no answer to them.
                _ if key.is_some() => break,
                // What failed is called for again.
                Message::Tool { ok, .. } => done += u32::from(*ok),
                Message::Assistant { .. } => {}
            }
        }
        let Some(key) = key.filter(|_| done < self.rounds) else { return Ok(None) };
        let what = format!("{key}/{done}");
        let args = json!({ "what": what, "path": "src/lib.rs", "text": "a line of some forty characters, as it may be" });
        Ok(Some(ToolUse { id: format!("call-{what}"), tool: "work".into(), args }))
    }

    /// The tool. Who passes a key may call twice: the world then does it once.
    pub(crate) fn work(&self, args: &serde_json::Value, key: Option<&str>) -> String {
        let nth = self.tool_calls.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(self.plant != Plant::ToolPanics || nth != PLANTED_AT, "the tool has a bug");
        let what = args["what"].as_str().unwrap_or_default();
        if let Some(path) = &self.effects {
            leave(path, &format!("{what} {}\n", key.unwrap_or("-")));
        }
        format!("done: {what}")
    }

    /// Somebody sends this now; the answer comes when a model call has it.
    pub(crate) fn sends(&self, key: &str) -> Receiver<()> {
        let (tell, told) = channel();
        lock(&self.sent).insert(key.to_owned(), (Instant::now(), tell));
        told
    }

    fn entered(&self, key: &str) {
        if let Some((since, tell)) = lock(&self.sent).remove(key) {
            lock(&self.waits).push(since.elapsed());
            // Whoever does not wait for it has dropped the other end.
            let _ = tell.send(());
        }
    }

    /// Something was sent that no model call has seen.
    pub(crate) fn expects_more(&self) -> bool {
        !lock(&self.sent).is_empty()
    }

    /// How long each message waited for its first effect, so far.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        lock(&self.waits).clone()
    }

    /// Model and tool calls so far.
    pub(crate) fn actions(&self) -> u64 {
        self.model_calls.load(Ordering::Relaxed) + self.tool_calls.load(Ordering::Relaxed)
    }
}

fn marked(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split_whitespace().filter(|word| word.starts_with(MARK))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line at the end of a file, in one write: a kill leaves it whole or absent.
pub(crate) fn leave(path: &std::path::Path, line: &str) {
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("bench: {}: {error}", path.display());
        std::process::exit(70);
    }
}
