//! How the servers that speak Chat Completions deviate from its description, and from each other.
//!
//! Only what changes a request, or cannot be told apart when it is read, stands here: everything else is read from every
//! server alike (see [`super::decode`]). Start at [`Flavour::of`].

use crate::dialect::{Options, Server};

/// One server's ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flavour {
    /// The field that bounds the reply.
    pub(crate) limit: Limit,
    /// Takes `prompt_cache_key`.
    pub(crate) cache_key: bool,
    /// Has to be told that calls may come in parallel.
    pub(crate) parallel: bool,
    /// Takes `content: null` beside calls; else an empty text stands there.
    pub(crate) null_text: bool,
    /// Takes pictures.
    pub(crate) images: bool,
    /// Its templates may refuse two messages of one role in a row.
    pub(crate) alternates: bool,
    /// Thoughts may stand in the text, between `<think>` tags.
    pub(crate) tags: bool,
    /// When its thoughts go back to it.
    pub(crate) back: Back,
    /// A field of thoughts that all the model's messages have to have, though there were none.
    pub(crate) owed: Option<&'static str>,
    /// There can be thoughts that are billed and not shown.
    pub(crate) hidden: bool,
}

/// The field that bounds a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `max_tokens`.
    Tokens,
    /// `max_completion_tokens`, which counts thoughts too.
    Completion,
}

/// When thoughts go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// With messages that call tools.
    WithCalls,
    /// With every message they came with.
    Always,
}

/// Somebody who keeps to the description and hides nothing.
const COMPATIBLE: Flavour = Flavour {
    limit: Limit::Tokens,
    cache_key: false,
    parallel: false,
    null_text: true,
    images: true,
    alternates: false,
    tags: false,
    back: Back::WithCalls,
    owed: None,
    hidden: true,
};

/// OpenAI itself: its reasoning models refuse `max_tokens`.
const OPENAI: Flavour = Flavour { limit: Limit::Completion, cache_key: true, ..COMPATIBLE };

/// Templates decide about roles and tags; nothing is hidden.
const OLLAMA: Flavour = Flavour { alternates: true, tags: true, hidden: false, ..COMPATIBLE };

/// Calls one tool at a time unless `parallel_tool_calls` is set.
const LLAMA_CPP: Flavour = Flavour { parallel: true, ..OLLAMA };

/// As Ollama; a reasoning parser that is not switched on leaves tags in the text.
const VLLM: Flavour = OLLAMA;

/// Its check of messages wants a text everywhere.
const LM_STUDIO: Flavour = Flavour { null_text: false, ..OLLAMA };

/// Thoughts come as `reasoning_details`, which go back as they came, or the next call is refused by some of the
/// providers behind it.
const OPEN_ROUTER: Flavour = Flavour { back: Back::Always, ..COMPATIBLE };

/// Refuses a turn with calls in which a message has no `reasoning_content` (an empty one is one); where there were no
/// calls it looks at none. Takes text only.
const DEEP_SEEK: Flavour =
    Flavour { images: false, back: Back::Always, owed: Some("reasoning_content"), ..COMPATIBLE };

impl Flavour {
    /// The ways of the server that answers.
    pub(crate) fn of(options: &Options) -> Self {
        match options.server {
            Server::Vendor if options.provider == "openai" => OPENAI,
            Server::Vendor => COMPATIBLE,
            Server::Ollama => OLLAMA,
            Server::LlamaCpp => LLAMA_CPP,
            Server::Vllm => VLLM,
            Server::LmStudio => LM_STUDIO,
            Server::OpenRouter => OPEN_ROUTER,
            Server::DeepSeek => DEEP_SEEK,
        }
    }
}
