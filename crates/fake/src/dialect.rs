//! The four dialects: where a request of each arrives, how far its conversation is, and the reply as its stream.
//!
//! Knows no socket and no fault. Written from the vendors' descriptions, not from Kapell's codecs. Start at
//! [`Dialect::of`] and [`Dialect::stream`].

mod anthropic;
mod chat;
mod gemini;
mod responses;
mod words;

use crate::script::{Call, Reply, Usage};
use serde_json::{Value, json};

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Anthropic Messages, `/v1/messages`.
    Anthropic,
    /// OpenAI Chat Completions, `/v1/chat/completions`.
    Chat,
    /// OpenAI Responses, `/v1/responses`.
    Responses,
    /// Google Gemini, `...:streamGenerateContent`.
    Gemini,
}

/// What a reply is spoken into.
#[derive(Debug, Clone)]
pub struct Context {
    /// How often the model spoke before.
    pub turn: usize,
    /// Its name.
    pub model: String,
    /// What is told about tokens; `None` = nothing.
    pub usage: Option<Usage>,
    /// Every call has this name.
    pub same_ids: bool,
}

impl Context {
    fn id(&self, nth: usize, call: &Call) -> String {
        match &call.id {
            _ if self.same_ids => "call_same".to_owned(),
            Some(id) => id.clone(),
            None => format!("call_{}_{nth}", self.turn),
        }
    }

    /// The exchange's name in the stream.
    fn exchange(&self, prefix: &str) -> String {
        format!("{prefix}_fake_{}", self.turn)
    }
}

/// Every dialect.
pub const ALL: [Dialect; 4] = [Dialect::Anthropic, Dialect::Chat, Dialect::Responses, Dialect::Gemini];

impl Dialect {
    /// The dialect that is spoken at this path.
    pub fn of(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default();
        match path {
            _ if path.ends_with("/messages") => Some(Self::Anthropic),
            _ if path.ends_with("/chat/completions") => Some(Self::Chat),
            _ if path.ends_with("/responses") => Some(Self::Responses),
            _ if path.ends_with(":streamGenerateContent") => Some(Self::Gemini),
            _ => None,
        }
    }

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Chat => "openai-chat",
            Self::Responses => "openai-responses",
            Self::Gemini => "gemini",
        }
    }

    /// The model a request is for.
    pub fn model(self, path: &str, body: &Value) -> String {
        let in_path = path.rsplit('/').next().and_then(|last| last.split(':').next());
        let name = if self == Self::Gemini { in_path } else { body["model"].as_str() };
        name.unwrap_or("fake").to_owned()
    }

    /// Does the request ask for a stream?
    pub fn streams(self, body: &Value) -> bool {
        self == Self::Gemini || body["stream"] == json!(true)
    }

    /// The most tokens of the reply the request asks for.
    pub fn max_tokens(self, body: &Value) -> u64 {
        let told = match self {
            Self::Anthropic => &body["max_tokens"],
            Self::Chat if body["max_completion_tokens"].is_u64() => &body["max_completion_tokens"],
            Self::Chat => &body["max_tokens"],
            Self::Responses => &body["max_output_tokens"],
            Self::Gemini => &body["generationConfig"]["maxOutputTokens"],
        };
        told.as_u64().unwrap_or_default()
    }

    /// How often the model has spoken in this request. Neighbouring items of its own are one reply.
    pub fn turn(self, body: &Value) -> usize {
        let key = match self {
            Self::Anthropic | Self::Chat => "messages",
            Self::Responses => "input",
            Self::Gemini => "contents",
        };
        let (mut turns, mut inside) = (0, false);
        for item in body[key].as_array().into_iter().flatten() {
            let own = matches!(item["role"].as_str(), Some("assistant" | "model"))
                || matches!(item["type"].as_str(), Some("function_call" | "reasoning"));
            turns += usize::from(own && !inside);
            inside = own;
        }
        turns
    }

    /// The reply as server-sent events, one text each, to the one that ends it.
    pub fn stream(self, reply: &Reply, context: &Context) -> Vec<String> {
        match self {
            Self::Anthropic => anthropic::stream(reply, context),
            Self::Chat => chat::stream(reply, context),
            Self::Responses => responses::stream(reply, context),
            Self::Gemini => gemini::stream(reply, context),
        }
    }

    /// An error in the middle of a stream.
    pub fn broken(self) -> String {
        let error = self.error(529, "the server is overloaded");
        match self {
            Self::Anthropic => event("error", &error),
            Self::Responses => event(
                "response.failed",
                &json!({"type": "response.failed", "sequence_number": 9, "response": {"id": "resp_fake", "object": "response",
                    "status": "failed", "error": {"code": "server_error", "message": "the server is overloaded"}}}),
            ),
            Self::Chat | Self::Gemini => data(&error),
        }
    }

    /// The body of a refusal.
    pub fn error(self, status: u16, message: &str) -> Value {
        match self {
            Self::Anthropic => {
                let kind = match status {
                    400 | 413 => "invalid_request_error",
                    401 => "authentication_error",
                    403 => "permission_error",
                    404 => "not_found_error",
                    429 => "rate_limit_error",
                    529 => "overloaded_error",
                    _ => "api_error",
                };
                json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"})
            }
            Self::Chat | Self::Responses => {
                let (kind, code) = match status {
                    400 => ("invalid_request_error", Value::Null),
                    401 => ("invalid_request_error", json!("invalid_api_key")),
                    404 => ("invalid_request_error", json!("model_not_found")),
                    429 => ("requests", json!("rate_limit_exceeded")),
                    _ => ("server_error", Value::Null),
                };
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            }
            Self::Gemini => {
                let word = match status {
                    400 => "INVALID_ARGUMENT",
                    401 => "UNAUTHENTICATED",
                    403 => "PERMISSION_DENIED",
                    404 => "NOT_FOUND",
                    429 => "RESOURCE_EXHAUSTED",
                    500 => "INTERNAL",
                    504 => "DEADLINE_EXCEEDED",
                    _ => "UNAVAILABLE",
                };
                json!({"error": {"code": status, "message": message, "status": word}})
            }
        }
    }

    /// The refusal of a conversation that is too long, as each vendor words it.
    pub fn overflow(self) -> Value {
        match self {
            Self::Anthropic => self.error(400, "prompt is too long: 250000 tokens > 200000 maximum"),
            Self::Chat | Self::Responses => json!({"error": {
                "message": "This model's maximum context length is 128000 tokens. However, your messages resulted in 250000 tokens.",
                "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}),
            Self::Gemini => self.error(
                400,
                "The input token count (250000) exceeds the maximum number of tokens allowed (200000).",
            ),
        }
    }
}

/// What a configuration says to reach a server in this dialect, as TOML.
pub fn config(dialect: Dialect, provider: &str, url: &str) -> String {
    format!(
        "[providers.{provider}]\ndialect = \"{}\"\nbase_url = \"{url}\"\n\n[providers.{provider}.models.fake]\n\
         context = 200000\noutput = 8192\n",
        dialect.name()
    )
}

/// An event with a name.
fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// An event without one.
fn data(data: &Value) -> String {
    format!("data: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_by_what_the_model_said() {
        let chat = json!({"messages": [{"role": "user"}, {"role": "assistant"}, {"role": "tool"}, {"role": "tool"}, {"role": "assistant"}]});
        assert_eq!((Dialect::Chat.turn(&chat), Dialect::Anthropic.turn(&chat)), (2, 2));
        let items = json!({"input": [{"role": "user"}, {"type": "reasoning"}, {"type": "message", "role": "assistant"},
            {"type": "function_call"}, {"type": "function_call_output"}]});
        assert_eq!(Dialect::Responses.turn(&items), 1);
        let contents = json!({"contents": [{"role": "user"}, {"role": "model"}, {"role": "user"}]});
        assert_eq!(Dialect::Gemini.turn(&contents), 1);
    }

    #[test]
    fn paths_name_their_dialect() {
        assert_eq!(Dialect::of("/v1/messages?beta=true"), Some(Dialect::Anthropic));
        assert_eq!(Dialect::of("/v1beta/models/m:streamGenerateContent?alt=sse"), Some(Dialect::Gemini));
        assert_eq!(Dialect::of("/v1/models"), None);
        let path = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse";
        assert_eq!(Dialect::Gemini.model(path, &Value::Null), "gemini-x");
    }

    /// All the JSON of a stream, one document per event, and nothing that is none.
    #[test]
    fn every_event_is_framed_and_is_json() {
        let reply =
            Reply { thinking: "hm".into(), ..Reply::text("naïve 你好") }.and_call("t", &json!({"a": 1}));
        let context = Context { turn: 0, model: "m".into(), usage: Some(Usage::default()), same_ids: false };
        for dialect in ALL {
            for event in dialect.stream(&reply, &context).iter().chain([&dialect.broken()]) {
                assert!(event.ends_with("\n\n") || event.ends_with("\r\n\r\n"), "{event:?}");
                for line in event.lines().filter_map(|line| line.strip_prefix("data: ")) {
                    assert!(line == "[DONE]" || serde_json::from_str::<Value>(line).is_ok(), "{line}");
                }
            }
        }
    }
}
