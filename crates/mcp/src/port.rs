//! What this surface may ask Kapell: one closed list of calls, each answered by one JSON object or a fault.
//!
//! Start at [`Conductor`].

use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Answers calls. Sessions, inbox and leases are its matter.
pub trait Conductor: Send + Sync + 'static {
    /// One call. Dropping the future ends the waiting, not what was asked for.
    fn call(&self, call: Call, asker: Asker) -> BoxFuture<'static, Result<Value, Fault>>;

    /// Takes secrets out of what files say, before a client sees it. `anew` when files were just written.
    fn clean(&self, shown: &mut Value, anew: bool);

    /// What takes them out at present: as long as it is the same one, so is what it made. `None`: there is nothing to take
    /// out.
    fn cleaner(&self) -> Option<Arc<dyn std::any::Any + Send + Sync>>;

    /// Why nothing with these arguments is written: they hold what stands in a secret's place where it is shown.
    fn written_back(&self, args: &Value) -> Option<String>;
}

/// Who asks, and may lose patience.
#[derive(Clone)]
pub struct Asker {
    /// Nobody waits for the answer any more.
    pub cancel: Cancel,
    /// Tells how far it is: a number that grows, and words.
    pub progress: Arc<dyn Fn(u64, String) + Send + Sync>,
}

impl Default for Asker {
    /// Somebody who waits and wants to hear nothing meanwhile.
    fn default() -> Self {
        Self { cancel: Cancel::new(), progress: Arc::new(|_, _| {}) }
    }
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}

/// A new session, or going on with one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What is to be reached; for a session that is there, a message to it.
    #[serde(default)]
    pub goal: Option<String>,
    /// Go on with this one.
    #[serde(default)]
    pub session: Option<String>,
    /// By its id.
    #[serde(default)]
    pub model: Option<String>,
    /// Commands that must pass in the end.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Does what is confirmed come into the branch?
    #[serde(default)]
    pub land: Option<bool>,
    /// What it may cost.
    #[serde(default)]
    pub budget_usd: Option<f64>,
    /// Wait this long for its end or its next question.
    #[serde(default)]
    pub wait_seconds: u64,
}

/// A call. Sessions are named by id, the end of one, or `last`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the tools of the same names say what they are")]
pub enum Call {
    Start(Order),
    Status { session: String, wait_seconds: u64 },
    Events { session: String, after: u64, limit: usize },
    Answer { session: String, text: String },
    Approve { session: String, approval: String, hash: String, yes: bool },
    Cancel { session: String },
    Rewind { session: String, action: String },
    Why { session: String, action: Option<String> },
    Cost { session: Option<String> },
    Plan { session: String },
    Verdict { session: String },
    Board { all: bool },
    Search { query: String, limit: usize },
}
