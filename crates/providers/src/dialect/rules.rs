//! What each vendor documents that it wants of a request, checked on the bytes that would go out; and every dialect and
//! server by name. For tests and fuzz targets: not part of a build that ships.
//!
//! Written from the vendors' references, independently of the codecs. Start at [`rows`] and [`check`].

use super::anthropic::Anthropic;
use super::gemini::Gemini;
use super::openai_chat::Chat;
use super::openai_responses::Responses;
use super::{Codec, Options, Server};
use serde_json::{Value, json};
use std::collections::HashSet;

/// One dialect as one server speaks it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Its streams are in the directory of this name.
    pub(crate) name: &'static str,
    /// The dialect.
    pub(crate) codec: &'static dyn Codec,
    /// The provider's part of the model's id.
    pub(crate) provider: &'static str,
    /// The model's name.
    pub(crate) model: &'static str,
    /// The server.
    pub(crate) server: Server,
    /// A thought as this producer gives it.
    pub(crate) thought: fn(&str) -> Value,
    /// Its documented rules.
    rules: fn(&Value),
}

impl Row {
    /// What the codec is told.
    pub(crate) fn options(&self) -> Options {
        Options {
            id: format!("{}/{}", self.provider, self.model),
            provider: self.provider.into(),
            name: self.model.into(),
            server: self.server,
            ..Options::default()
        }
    }
}

/// Every dialect, and Chat Completions once for each server.
pub(crate) fn rows() -> [Row; 11] {
    let chat = |name, server, rules| Row {
        name,
        codec: &Chat,
        provider: name,
        model: "m",
        server,
        thought: |thought| json!({ "reasoning_content": thought }),
        rules,
    };
    [
        Row {
            name: "anthropic",
            codec: &Anthropic,
            provider: "anthropic",
            model: "claude-x",
            server: Server::Vendor,
            thought: |thought| json!({"type": "thinking", "thinking": thought, "signature": "s"}),
            rules: anthropic,
        },
        Row {
            name: "responses",
            codec: &Responses,
            provider: "responses",
            model: "gpt-x",
            server: Server::Vendor,
            thought: |thought| json!({"type": "reasoning", "summary": [], "encrypted_content": format!("{thought}x")}),
            rules: responses,
        },
        Row {
            name: "gemini",
            codec: &Gemini,
            provider: "google",
            model: "gemini-3-pro",
            server: Server::Vendor,
            thought: |thought| json!({"text": thought, "thought": true}),
            rules: gemini,
        },
        chat("openai", Server::Vendor, chat_rules),
        chat("compatible", Server::Vendor, chat_rules),
        chat("ollama", Server::Ollama, alternating_rules),
        chat("llama-cpp", Server::LlamaCpp, alternating_rules),
        chat("vllm", Server::Vllm, alternating_rules),
        chat("openrouter", Server::OpenRouter, chat_rules),
        chat("lm-studio", Server::LmStudio, alternating_rules),
        chat("deepseek", Server::DeepSeek, deepseek_rules),
    ]
}

/// Panics over the first of the row's rules that this body breaks.
pub(crate) fn check(row: &Row, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{}: {error}", row.name));
    (row.rules)(&body);
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_else(|| panic!("no text in `{field}`: {value}"))
}

/// Letters, digits, `_` and `-`; not empty, not longer than so many bytes.
fn plain(name: &str, bytes: usize) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    assert!((1..=bytes).contains(&name.len()) && name.chars().all(plain), "`{name}` is no plain name");
}

fn anthropic(body: &Value) {
    assert!(body["max_tokens"].as_u64() > Some(0) && body["stream"] == true);
    let messages = list(body, "messages");
    assert!(messages[0]["role"] == "user" && messages[messages.len() - 1]["role"] == "user");
    assert!(messages.windows(2).all(|pair| pair[0]["role"] != pair[1]["role"]), "roles alternate");
    let mut ids = HashSet::new();
    let mut waiting: Vec<&str> = Vec::new();
    for message in messages {
        let blocks = list(message, "content");
        assert!(!blocks.is_empty(), "empty message");
        let results = |block: &&Value| block["type"] == "tool_result";
        let answered: Vec<&str> =
            blocks.iter().take_while(results).map(|block| text(block, "tool_use_id")).collect();
        assert_eq!(answered, waiting, "each call has its result right behind it");
        assert_eq!(blocks.iter().filter(results).count(), waiting.len(), "results stand first");
        waiting.clear();
        for block in blocks {
            match text(block, "type") {
                "text" => assert!(!text(block, "text").trim().is_empty(), "empty text"),
                "tool_use" => {
                    plain(text(block, "id"), 64);
                    plain(text(block, "name"), 128);
                    assert!(block["input"].is_object() && ids.insert(text(block, "id")), "{block}");
                    waiting.push(text(block, "id"));
                }
                "tool_result" | "thinking" | "redacted_thinking" => {}
                other => panic!("`{other}` is no block of a message"),
            }
        }
        let last = text(&blocks[blocks.len() - 1], "type");
        assert!(!last.ends_with("thinking"), "a message does not end with a thought");
    }
    assert!(waiting.is_empty(), "calls without results");
    assert!(body.to_string().matches("cache_control").count() <= 4, "four marks at most");
    list(body, "tools").iter().for_each(|tool| plain(text(tool, "name"), 128));
}

fn alternating_rules(body: &Value) {
    chat_rules(body);
    let role = |message: &Value| message["role"].clone();
    let twice = list(body, "messages")
        .windows(2)
        .any(|pair| role(&pair[0]) == role(&pair[1]) && role(&pair[0]) != "tool");
    assert!(!twice, "templates refuse one role twice in a row");
}

fn deepseek_rules(body: &Value) {
    chat_rules(body);
    let said = list(body, "messages").iter().filter(|message| message["role"] == "assistant");
    said.for_each(|message| assert!(message["reasoning_content"].is_string(), "{message}"));
    assert!(!body.to_string().contains("image_url"), "it takes text only");
}

fn chat_rules(body: &Value) {
    let limit = body["max_tokens"].as_u64().or(body["max_completion_tokens"].as_u64());
    assert!(limit > Some(0) && body["stream"] == true && body["stream_options"]["include_usage"] == true);
    let mut messages = list(body, "messages");
    if messages[0]["role"] == "system" {
        messages = &messages[1..];
    }
    assert!(messages[0]["role"] == "user" && messages[messages.len() - 1]["role"] != "assistant");
    let mut ids = HashSet::new();
    let mut waiting: Vec<&str> = Vec::new();
    for message in messages {
        let role = text(message, "role");
        if role == "tool" {
            assert!(message["content"].is_string());
            let id = text(message, "tool_call_id");
            let at = waiting.iter().position(|wanted| *wanted == id);
            waiting.remove(at.unwrap_or_else(|| panic!("nobody waits for {id}")));
            continue;
        }
        assert!(waiting.is_empty(), "calls without results: {waiting:?}");
        match role {
            "user" => match &message["content"] {
                Value::String(content) => assert!(!content.is_empty()),
                content => assert!(content.as_array().is_some_and(|parts| !parts.is_empty()), "{message}"),
            },
            "assistant" => {
                let calls = list(message, "tool_calls");
                assert!(message["content"].is_string() || !calls.is_empty(), "says nothing: {message}");
                for call in calls {
                    plain(text(call, "id"), 40);
                    plain(text(&call["function"], "name"), 64);
                    let args: Value =
                        serde_json::from_str(text(&call["function"], "arguments")).expect("JSON");
                    assert!(args.is_object() && ids.insert(text(call, "id")), "{call}");
                    waiting.push(text(call, "id"));
                }
            }
            other => panic!("`{other}` is no role here"),
        }
    }
    assert!(waiting.is_empty(), "calls without results: {waiting:?}");
    for tool in list(body, "tools") {
        plain(text(&tool["function"], "name"), 64);
        assert!(tool["function"]["parameters"].is_object());
    }
}

fn responses(body: &Value) {
    assert!(body["max_output_tokens"].as_u64() > Some(0) && body["stream"] == true && body["store"] == false);
    let input = list(body, "input");
    assert!(input[0]["role"] == "user" && input[input.len() - 1]["role"] != "assistant");
    let mut ids = HashSet::new();
    let mut waiting: Vec<&str> = Vec::new();
    for (item, next) in input.iter().zip(input.iter().skip(1).map(Some).chain([None])) {
        match text(item, "type") {
            "message" => {
                assert!(waiting.is_empty(), "calls without results: {waiting:?}");
                assert!(!list(item, "content").is_empty());
            }
            "function_call" => {
                plain(text(item, "call_id"), 64);
                plain(text(item, "name"), 64);
                let args: Value = serde_json::from_str(text(item, "arguments")).expect("JSON");
                assert!(args.is_object() && ids.insert(text(item, "call_id")), "{item}");
                waiting.push(text(item, "call_id"));
            }
            "function_call_output" => {
                let id = text(item, "call_id");
                let at = waiting.iter().position(|wanted| *wanted == id);
                waiting.remove(at.unwrap_or_else(|| panic!("nobody waits for {id}")));
            }
            "reasoning" => {
                assert!(!text(item, "encrypted_content").is_empty() && item["summary"].is_array());
                let kind = next.map(|next| text(next, "type"));
                let led = kind == Some("reasoning") || kind == Some("function_call");
                let said = next.is_some_and(|next| next["role"] == "assistant");
                assert!(led || said, "reasoning that led to nothing");
            }
            other => panic!("`{other}` is no item here"),
        }
    }
    assert!(waiting.is_empty(), "calls without results: {waiting:?}");
    list(body, "tools").iter().for_each(|tool| plain(text(tool, "name"), 64));
}

fn gemini(body: &Value) {
    assert!(body["generationConfig"]["maxOutputTokens"].as_u64() > Some(0));
    let contents = list(body, "contents");
    assert!(contents[0]["role"] == "user" && contents[contents.len() - 1]["role"] == "user");
    assert!(contents.windows(2).all(|pair| pair[0]["role"] != pair[1]["role"]), "roles alternate");
    let mut waiting: Vec<(&Value, &Value)> = Vec::new();
    for content in contents {
        let parts = list(content, "parts");
        assert!(!parts.is_empty(), "empty content");
        let ids = |kind: &str| -> Vec<(&Value, &Value)> {
            parts.iter().filter_map(|part| part.get(kind)).map(|call| (&call["name"], &call["id"])).collect()
        };
        assert_eq!(ids("functionResponse"), waiting, "each call has its result right behind it, in order");
        waiting = ids("functionCall");
        for part in parts {
            if let Some(call) = part.get("functionCall") {
                plain(text(call, "name"), 64);
                assert!(call["args"].is_object() && content["role"] == "model");
            }
            if let Some(response) = part.get("functionResponse") {
                assert!(response["response"].is_object());
            }
        }
        let first = parts.iter().find(|part| part.get("functionCall").is_some());
        let signed = first.is_none_or(|part| part["thoughtSignature"].is_string());
        assert!(signed, "Gemini 3 wants the first call of a step signed");
    }
    assert!(waiting.is_empty(), "calls without results");
    for tool in list(body, "tools").iter().flat_map(|tools| list(tools, "functionDeclarations")) {
        plain(text(tool, "name"), 64);
        tool.get("parameters").into_iter().for_each(schema);
    }
}

/// The subset of OpenAPI 3.0 that Gemini documents for parameters.
fn schema(schema: &Value) {
    const KNOWN: &[&str] = &[
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "maxItems",
        "minItems",
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "example",
        "anyOf",
        "propertyOrdering",
        "default",
        "items",
        "minimum",
        "maximum",
    ];
    let object = schema.as_object().unwrap_or_else(|| panic!("{schema} is no schema"));
    object.keys().for_each(|word| assert!(KNOWN.contains(&word.as_str()), "`{word}` is refused"));
    assert!(schema["type"].is_string() || schema["anyOf"].is_array(), "no type: {schema}");
    assert!(schema["type"] != "array" || schema["items"].is_object(), "a list of what? {schema}");
    let texts = schema
        .get("enum")
        .is_none_or(|all| all.as_array().is_some_and(|all| all.iter().all(Value::is_string)));
    assert!(texts, "only texts can be chosen from");
    let properties = schema["properties"].as_object();
    for name in list(schema, "required") {
        assert!(
            properties.is_some_and(|all| all.contains_key(name.as_str().unwrap_or_default())),
            "{schema}"
        );
    }
    properties.into_iter().flatten().for_each(|(_, inner)| self::schema(inner));
    schema.get("items").into_iter().for_each(self::schema);
    list(schema, "anyOf").iter().for_each(self::schema);
}
