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
    /// Tokens in a UTC day that are meant to be enough: people are told, nothing waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// The same in a week, from Monday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_week: Option<u64>,
    /// The same in a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
    /// When it counts as failing; `None` = as usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerRules>,
}

/// When a provider counts as failing, and how it is tried again (S1.4-4). `None` = as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerRules {
    /// Failures in a row that open the breaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// Share of the newest calls that opens it when they failed, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// How many of the newest calls that share is of, at most [`crate::limits::BREAKER_WINDOW`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// How long it stays open the first time, milliseconds; twice as long with each probe that fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_ms: Option<u64>,
    /// Probes in a row that have to go well for it to close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
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

impl Card {
    /// Tokens kept free for the reply, and the most a request asks for: never more than half of the context.
    pub fn reply_tokens(self) -> u64 {
        self.output_tokens.min(self.context_tokens / 2)
    }
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
    /// Other prices for all of a call that was given many tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
}

/// Prices of a call that was given more tokens than this, for all of them and for all it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tier {
    /// Given tokens up to which the usual prices hold.
    pub above: u64,
    /// As in [`Price`].
    pub input: u64,
    /// As in [`Price`].
    pub output: u64,
    /// As in [`Price`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// As in [`Price`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
}

/// Tokens that a price is for.
const PRICED_TOKENS: u128 = 1_000_000;

impl Price {
    /// The prices of a call that was given so many tokens.
    pub fn at(self, given: u64) -> Self {
        match self.tier.filter(|tier| given > tier.above) {
            Some(Tier { input, output, cache_read, cache_write, .. }) => {
                Self { input, output, cache_read, cache_write, tier: None }
            }
            None => Self { tier: None, ..self },
        }
    }

    /// What this usage costs by the tier it belongs to, rounded up once.
    pub fn cost(self, usage: Usage) -> u64 {
        let price = self.at(usage.given());
        rounded_up(&[
            (usage.input, price.input),
            (usage.output, price.output),
            (usage.cache_read, price.cache_read.unwrap_or(price.input)),
            (usage.cache_write, price.cache_write.unwrap_or(price.input)),
        ])
    }

    /// The most a call can cost that is given and says no more than this: whatever is read from a cache or written to
    /// one, and whichever tier it ends in.
    pub fn most(self, given: u64, output: u64) -> u64 {
        let dearest = |price: Self, given: u64| {
            let input = price.input.max(price.cache_read.unwrap_or(0)).max(price.cache_write.unwrap_or(0));
            rounded_up(&[(given, input), (output, price.output)])
        };
        let below = self.tier.map_or(given, |tier| given.min(tier.above));
        dearest(self.at(below), below).max(dearest(self.at(given), given))
    }

    /// What the provider's cache has saved: what was read from it at the price of input, less what writing cost beyond.
    /// Below zero when more was written than ever read.
    pub fn saved(self, usage: Usage) -> i64 {
        let price = self.at(usage.given());
        let uncached = Usage { input: usage.given(), output: usage.output, ..Usage::default() };
        let signed = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
        signed(price.cost(uncached)).saturating_sub(signed(price.cost(usage)))
    }
}

fn rounded_up(parts: &[(u64, u64)]) -> u64 {
    let sum: u128 = parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum();
    u64::try_from(sum.div_ceil(PRICED_TOKENS)).unwrap_or(u64::MAX)
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
    /// Names the attempt: `SESSION/TURN.STEP/ATTEMPT`.
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

impl Message {
    /// Appends everything it says, so that different messages never give the same bytes. For hashing: it is read by
    /// nobody, stored nowhere, and may change with the program.
    pub fn canonical(&self, into: &mut Vec<u8>) {
        match self {
            Self::User { text } => parts(into, b'u', &[text.as_bytes()]),
            Self::Assistant { text, calls, private } => {
                let producer = private.as_ref().map_or("", |private| &private.producer);
                let blocks = private.as_ref().map(|private| private.blocks.to_string()).unwrap_or_default();
                parts(into, b'a', &[text.as_bytes(), producer.as_bytes(), blocks.as_bytes()]);
                for ToolUse { id, tool, args } in calls {
                    parts(into, b'c', &[id.as_bytes(), tool.as_bytes(), args.to_string().as_bytes()]);
                }
            }
            Self::Tool { call, ok, text, images } => {
                parts(into, if *ok { b't' } else { b'e' }, &[call.as_bytes(), text.as_bytes()]);
                for image in images {
                    parts(into, b'i', &[image.media_type.as_bytes(), &image.bytes]);
                }
            }
        }
    }
}

impl ToolSpec {
    /// As [`Message::canonical`].
    pub fn canonical(&self, into: &mut Vec<u8>) {
        let schema = self.schema.to_string();
        parts(into, b's', &[self.name.as_bytes(), self.description.as_bytes(), schema.as_bytes()]);
    }
}

/// A kind and its parts, each after its length.
fn parts(into: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    into.push(kind);
    for part in parts {
        into.extend_from_slice(&(part.len() as u64).to_le_bytes());
        into.extend_from_slice(part);
    }
}

/// What a model was shown, by hashes alone: enough to find the first message that differs from an earlier call's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Hash of the instructions.
    pub system: String,
    /// Hash of the tools.
    pub tools: String,
    /// How many messages.
    pub messages: u64,
    /// So many messages stand behind each further hash of the chain.
    pub stride: u64,
    /// Who speaks last in a beginning of the conversation (`u`ser, `a`ssistant, `t`ool, `e`rror of a tool) and the hash
    /// of that beginning: of the first `stride` messages, of twice as many, and so on.
    pub chain: Vec<String>,
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

/// Said in place of a result that is not on record.
pub const NO_RESULT: &str =
    "no result recorded: this call may or may not have run; look before you repeat it";

/// What the name of an exchange begins with whose reply was kept from an earlier one: nobody was asked.
pub const CACHED: &str = "cache:";

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
    /// Tokens in this text for the model of this id, when its tokenizer is public.
    fn count(&self, _id: &str, _text: &str) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price {
        input: 3_000_000_000,
        output: 15_000_000_000,
        cache_read: Some(300_000_000),
        cache_write: Some(3_750_000_000),
        tier: Some(Tier {
            above: 200_000,
            input: 6_000_000_000,
            output: 22_500_000_000,
            cache_read: Some(600_000_000),
            cache_write: None,
        }),
    };

    #[test]
    fn the_tier_that_applies_prices_all_of_a_call() {
        let usage = |input| Usage { input, output: 1_000_000, ..Usage::default() };
        assert_eq!(PRICE.cost(usage(200_000)), 600_000_000 + 15_000_000_000);
        assert_eq!(PRICE.cost(usage(200_001)), 1_200_006_000 + 22_500_000_000);
        let cached = Usage { input: 1, cache_read: 200_000, ..Usage::default() };
        assert_eq!(PRICE.cost(cached), 6_000 + 120_000_000, "what was read from a cache was given too");
    }

    #[test]
    fn the_most_is_never_less_than_what_any_split_costs() {
        for given in [0, 1, 7, 199_999, 200_000, 200_001, 1_000_000] {
            for output in [0, 1, 333] {
                let most = PRICE.most(given, output);
                for (read, written) in [(0, 0), (given, 0), (0, given), (given / 3, given / 3)] {
                    let input = given - read - written;
                    let usage =
                        Usage { input, output, cache_read: read, cache_write: written, estimated: false };
                    assert!(PRICE.cost(usage) <= most, "{usage:?} costs more than {most}");
                }
            }
        }
    }

    #[test]
    fn a_fraction_of_a_nano_dollar_is_rounded_up_once() {
        let price = Price { input: 1, output: 1, ..Price::default() };
        let usage = Usage { input: 1, output: 1, cache_read: 1, cache_write: 1, estimated: false };
        assert_eq!((price.cost(usage), price.most(3, 1)), (1, 1));
    }

    #[test]
    fn what_a_cache_saves_counts_what_writing_cost() {
        let write = Usage { cache_write: 100_000, ..Usage::default() };
        let read = Usage { cache_read: 100_000, ..Usage::default() };
        assert_eq!(PRICE.saved(write), -75_000_000);
        assert_eq!(PRICE.saved(read), 270_000_000);
        assert_eq!(PRICE.saved(Usage { input: 9, output: 9, ..Usage::default() }), 0);
    }
}
