//! Wire dialects: how one conversation is written for a server, and how its stream is read. One file per dialect.
//!
//! Knows no socket, no clock, no key and no file: bytes in, bytes out, so that every dialect is tested on recorded
//! bytes. Start at [`Codec`]; what the dialects share is in [`draft`], [`fault`], [`limits`], [`pairs`] and [`args`].

pub mod anthropic;
pub mod args;
mod body;
#[cfg(test)]
mod conformance;
pub mod draft;
pub mod fault;
pub mod gemini;
mod layout;
pub mod limits;
pub mod openai_chat;
pub mod openai_responses;
pub mod pairs;
pub mod picture;
mod read;
#[cfg(any(test, fuzzing))]
pub(crate) mod rules;
pub mod sse;
mod thread;

use contract::Fault;
use contract::model::{Broken, Reply, Request};
use serde_json::{Map, Value};
use std::fmt::Debug;

/// What a dialect needs to know of the model it speaks to, beside the request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The model's full id, `provider/name`: what [`contract::model::Private::producer`] says.
    pub id: String,
    /// Its provider, for sentences.
    pub provider: String,
    /// Its name on the wire.
    pub name: String,
    /// Variable of the environment the key comes from; empty = the server wants none.
    pub key_env: String,
    /// Program that prints the key; empty = none does.
    pub key_command: String,
    /// Which program answers: each has deviations of its own.
    pub server: Server,
    /// What the person says its refusals mean.
    pub errors: fault::own::Rules,
    /// Fields that the server said it does not know: they are left out.
    pub without: Vec<&'static str>,
    /// Further parameters of the request's body, as the user's configuration has them. What Kapell itself sets stays.
    pub parameters: Map<String, Value>,
}

/// Programs whose ways differ from their dialect's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Server {
    /// The vendor whose dialect it is, or somebody who keeps to it.
    #[default]
    Vendor,
    /// Ollama.
    Ollama,
    /// `llama-server` of llama.cpp.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// OpenRouter.
    OpenRouter,
    /// LM Studio.
    LmStudio,
    /// DeepSeek.
    DeepSeek,
}

impl Server {
    /// Those with ways of their own, as configurations write them.
    pub const NAMED: [(&str, Self); 6] = [
        ("ollama", Self::Ollama),
        ("llamacpp", Self::LlamaCpp),
        ("vllm", Self::Vllm),
        ("openrouter", Self::OpenRouter),
        ("lmstudio", Self::LmStudio),
        ("deepseek", Self::DeepSeek),
    ];

    /// Does it run on the person's own machines, with a model that has to be loaded first?
    pub fn is_local(self) -> bool {
        matches!(self, Self::Ollama | Self::LlamaCpp | Self::Vllm | Self::LmStudio)
    }
}

/// Where a key goes in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// A header of this name, which is the key alone.
    Header(&'static str),
}

/// One request as it goes out. The driver adds the base URL, the key and the configured headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Behind the base URL, beginning with `/`.
    pub path: String,
    /// Headers of the dialect; lower case, `content-type` is the driver's.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

/// Headers of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// From pairs of name and value.
    pub fn new<N: AsRef<str>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let lower = |(name, value): (N, V)| (name.as_ref().to_ascii_lowercase(), value.into());
        Self(pairs.into_iter().map(lower).collect())
    }

    /// The first value of this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.trim())
    }
}

/// What one event of a stream brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Text for whoever watches.
    pub text: String,
    /// The reply is complete: nothing that follows counts.
    pub done: bool,
}

impl Progress {
    /// This text, and more to come.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), done: false }
    }

    /// The end.
    pub fn done() -> Self {
        Self { done: true, ..Self::default() }
    }
}

/// Headers that name the attempt (`SESSION/TURN.STEP/ATTEMPT`) where a server takes one and writes it down, so that its
/// operator finds the call (K1-3): OpenAI's `X-Client-Request-Id`, vLLM's `X-Request-Id`.
fn named(request: &Request, server: Server) -> Vec<(&'static str, String)> {
    let header = match server {
        Server::Vendor => "x-client-request-id",
        Server::Vllm => "x-request-id",
        _ => return Vec::new(),
    };
    if request.key.is_empty() { Vec::new() } else { vec![(header, request.key.clone())] }
}

/// A dialect.
pub trait Codec: Debug + Send + Sync {
    /// Where the key goes.
    fn auth(&self) -> Auth;
    /// The request in bytes; it always asks for a stream.
    fn encode(&self, request: &Request, options: &Options) -> Wire;
    /// Reads the answer to this request.
    fn decoder(&self, request: &Request, options: &Options) -> Box<dyn Decoder>;
}

/// Reads one answer.
pub trait Decoder: Send {
    /// The answer's headers, before any event: the name of the exchange.
    fn headers(&mut self, headers: &Headers);
    /// One event. An error is what the server itself says is wrong, or a bound that was passed: nothing more is read.
    fn event(&mut self, event: &sse::Event) -> Result<Progress, Fault>;
    /// What a person is to be told of while it is read, until there is nothing more.
    fn notice(&mut self) -> Option<String>;
    /// The stream is over. `why` = it was broken off; without it, a reply that is not complete is a cut stream.
    /// The meter is left empty: it is in the headers, which the driver reads.
    fn finish(self: Box<Self>, why: Option<Fault>) -> Result<Reply, Broken>;
}
