//! The Model port: something that answers a conversation with text and tool calls.

use crate::{BoxFuture, CallId, Cancel, Fault, is_default, port::Sink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A model and the facts about it that budgets need, as recorded when the session opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// `provider/name`, such as `builtin/fixer` or `builtin/script:path`.
    pub id: String,
    /// Its card.
    pub card: Card,
    /// The limits of the key it is called with; `None` = nothing outside limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// What a provider allows to one key, shared by every session of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Names the provider and the key: `anthropic/` and a short hash, never the key.
    pub name: String,
    /// What the person declared; what the provider itself tells is kept in the quota's ledger.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rates: Rates,
}

/// Declared limits; `None` = not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Tokens in a minute, input and output together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Calls in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u64>,
    /// Requests in a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// So many requests in so long a time, wherever it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Requests.
    pub requests: u64,
    /// Length of the window, milliseconds.
    pub ms: u64,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Price {
    /// Input that is not read from a cache and not written to one.
    pub input: u64,
    /// Output, what was only thought included.
    pub output: u64,
    /// Input that the provider had in its cache; `None` = as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// Input that the provider put into its cache; `None` = as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
}

impl Price {
    /// What this usage costs, rounded up.
    pub fn cost(self, usage: Usage) -> u64 {
        let part = |tokens: u64, price: u64| (u128::from(tokens) * u128::from(price)).div_ceil(1_000_000);
        let sum = part(usage.input, self.input)
            + part(usage.output, self.output)
            + part(usage.cache_read, self.cache_read.unwrap_or(self.input))
            + part(usage.cache_write, self.cache_write.unwrap_or(self.input));
        u64::try_from(sum).unwrap_or(u64::MAX)
    }
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens that were neither read from the provider's cache nor written to it.
    pub input: u64,
    /// Output tokens, what was only thought included.
    pub output: u64,
    /// Input tokens read from the provider's cache.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cache_read: u64,
    /// Input tokens written to the provider's cache.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cache_write: u64,
    /// The provider told nothing, or not all: an upper bound in its place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub estimated: bool,
}

impl Usage {
    /// All tokens the model was given.
    pub fn given(self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// All tokens, given and said.
    pub fn total(self) -> u64 {
        self.given().saturating_add(self.output)
    }
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
    /// It came to a word it was told to stop at.
    #[expect(clippy::enum_variant_names, reason = "what providers call it, and stored as such")]
    StopSequence,
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
    /// Most tokens of the reply; what was reserved holds for no more.
    pub max_tokens: u64,
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
        /// What only its producer may see again.
        private: Option<Private>,
    },
    /// The result of one call.
    Tool {
        /// Which call.
        call: CallId,
        /// Did it go well?
        ok: bool,
        /// What the model sees.
        text: String,
        /// Pictures it sees besides.
        images: Vec<Image>,
    },
}

impl Message {
    /// What a model said, nothing of it private.
    pub fn said(text: impl Into<String>, calls: Vec<ToolUse>) -> Self {
        Self::Assistant { text: text.into(), calls, private: None }
    }

    /// The result of a call, without pictures.
    pub fn result(call: impl Into<CallId>, ok: bool, text: impl Into<String>) -> Self {
        Self::Tool { call: call.into(), ok, text: text.into(), images: Vec::new() }
    }
}

/// Parts of a message that mean something to their producer alone: thinking blocks, signatures, encrypted reasoning.
/// Sent back to it as they came, and to nobody else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Private {
    /// Who made it: the dialect and the model, such as `anthropic/claude-sonnet-5`.
    pub producer: String,
    /// As the dialect wants it back.
    pub blocks: Value,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Such as `image/png`.
    pub media_type: String,
    /// The file.
    pub bytes: Vec<u8>,
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
    /// What only its producer may see again.
    pub private: Option<Private>,
    /// The provider's name for the exchange; empty = it has none.
    pub request_id: String,
    /// What the answer told about the key's limits.
    pub meter: Meter,
}

impl Reply {
    /// A reply of a model that has neither caches nor limits.
    pub fn plain(text: impl Into<String>, calls: Vec<ToolUse>, stop: Stop, usage: Usage) -> Self {
        let (request_id, meter) = (String::new(), Meter::default());
        Self { text: text.into(), calls, stop, usage, private: None, request_id, meter }
    }
}

/// What an answer told about the limits of the key, whether it was a reply or a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Meter {
    /// Of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Gauge>,
    /// Of tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Gauge>,
}

/// One limit as the provider tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Gauge {
    /// How many there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How many are left.
    pub left: u64,
    /// Until it is full again, milliseconds from the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
}

/// A call that gave no reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    /// Why.
    pub fault: Fault,
    /// What had been said before it broke; calls that were not complete are not part of it.
    pub text: String,
    /// What it has cost as far as that is known; `None` = nobody knows.
    pub usage: Option<Usage>,
    /// What the answer told about the key's limits.
    pub meter: Meter,
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self { fault, text: String::new(), usage: None, meter: Meter::default() }
    }
}

/// The port. A model never panics and never throws: it ends in a reply or a fault.
pub trait Model: Send + Sync {
    /// The facts about it.
    fn card(&self) -> Card;
    /// Tokens in this text, when its tokenizer is public.
    fn count(&self, _text: &str) -> Option<u64> {
        None
    }
    /// Answers. Deltas are lossy progress; the reply is what counts.
    fn respond<'a>(
        &'a self,
        request: Request,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>>;
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
