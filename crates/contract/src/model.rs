//! The Model port: something that answers a conversation with text and tool calls.

use crate::{BoxFuture, CallId, Cancel, Fault, port::Sink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A model and the facts about it that budgets need, as recorded when the session opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// `provider/name`, such as `builtin/fixer` or `builtin/script:path`.
    pub id: String,
    /// Its card.
    pub card: Card,
}

/// What is known about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Tokens its context holds.
    pub context_tokens: u64,
    /// Most tokens of one reply.
    pub output_tokens: u64,
    /// Its price; `None` = unknown, which a budget in money refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// Nano-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Input.
    pub input: u64,
    /// Output.
    pub output: u64,
}

impl Price {
    /// What this usage costs, rounded up.
    pub fn cost(self, usage: Usage) -> u64 {
        let part = |tokens: u64, price: u64| (u128::from(tokens) * u128::from(price)).div_ceil(1_000_000);
        u64::try_from(part(usage.input, self.input) + part(usage.output, self.output)).unwrap_or(u64::MAX)
    }
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// It has said what it wanted.
    EndTurn,
    /// It wants tools to run.
    ToolUse,
    /// The reply was cut at its limit.
    MaxTokens,
    /// It refuses.
    Refusal,
}

/// What a model is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// `provider/name`.
    pub model: String,
    /// Instructions.
    pub system: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// Tools it may call.
    pub tools: Vec<ToolSpec>,
    /// How many model actions came before in this session.
    pub ordinal: u32,
    /// Idempotency key (session, turn, step).
    pub key: String,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// From the person, the parent, or Kapell itself.
    User {
        /// Its text.
        text: String,
    },
    /// From the model.
    Assistant {
        /// Its text, may be empty.
        text: String,
        /// Its calls.
        calls: Vec<ToolUse>,
    },
    /// The result of one call.
    Tool {
        /// Which call.
        call: CallId,
        /// Did it go well?
        ok: bool,
        /// What the model sees.
        text: String,
    },
}

/// A call as a model makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolUse {
    /// The model's name for it.
    pub id: CallId,
    /// Which tool.
    pub tool: String,
    /// Arguments; `Value::String` when they were not valid JSON.
    pub args: Value,
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema (2020-12) of its arguments.
    pub schema: Value,
}

/// A finished reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Its text.
    pub text: String,
    /// Its calls.
    pub calls: Vec<ToolUse>,
    /// Why it ended.
    pub stop: Stop,
    /// Tokens.
    pub usage: Usage,
}

/// The port. A model never panics and never throws: it ends in a reply or a fault.
pub trait Model: Send + Sync {
    /// The facts about it.
    fn card(&self) -> Card;
    /// Answers. Deltas are lossy progress; the reply is what counts.
    fn respond<'a>(
        &'a self,
        request: Request,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Fault>>;
}

/// Finds models by id. The binary wires the providers in behind it.
pub trait Models: Send + Sync {
    /// The model of this id; `project` is the repository, for paths inside the id. An unknown id names its nearest match.
    fn open(
        &self,
        id: &str,
        project: &std::path::Path,
    ) -> Result<(ModelRef, std::sync::Arc<dyn Model>), Fault>;
}
