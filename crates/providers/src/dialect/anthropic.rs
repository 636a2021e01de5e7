//! Anthropic Messages (`/v1/messages`, version 2023-06-01).
//!
//! Knows no socket and no key. What was thought goes back to the same model in the very order it came in; to another
//! it is never shown. Start at [`Anthropic`]; the answer is read in [`reading`].

pub mod reading;

use super::{Auth, Codec, Decoder, Options, Wire, pairs, picture};
use contract::model::{Image, Message, Request, ToolUse};
use serde_json::{Map, Value, json};

/// Longest id of a call.
const ID_BYTES: usize = 64;
/// Turns of the person that get a mark for the cache: this one's for the next call, the one before's for this.
const MARKED_TURNS: usize = 2;
/// What Kapell sets itself.
const OWN: [&str; 6] = ["model", "max_tokens", "stream", "system", "messages", "tools"];

/// The dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anthropic;

impl Codec for Anthropic {
    fn auth(&self) -> Auth {
        Auth::Header("x-api-key")
    }

    fn encode(&self, request: &Request, options: &Options) -> Wire {
        let mut body = Map::new();
        for (name, value) in options.parameters.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
            body.insert(name.clone(), value.clone());
        }
        body.insert("model".into(), options.name.as_str().into());
        body.insert("max_tokens".into(), request.max_tokens.into());
        body.insert("stream".into(), true.into());
        if !request.system.trim().is_empty() {
            let mut block = json!({"type": "text", "text": request.system});
            mark(&mut block);
            body.insert("system".into(), json!([block]));
        }
        if !request.tools.is_empty() {
            body.insert("tools".into(), Value::Array(tools(request)));
        }
        body.insert("messages".into(), Value::Array(messages(request)));
        Wire {
            path: "/v1/messages".into(),
            headers: vec![("anthropic-version", "2023-06-01".into()), ("accept", "text/event-stream".into())],
            body: Value::Object(body).to_string().into_bytes(),
        }
    }

    fn decoder(&self, request: &Request, options: &Options) -> Box<dyn Decoder> {
        Box::new(reading::Reading::new(request, options))
    }
}

/// The cache may end here: all before is the same in the next call.
fn mark(block: &mut Value) {
    block["cache_control"] = json!({"type": "ephemeral"});
}

fn tools(request: &Request) -> Vec<Value> {
    let tool = |tool: &contract::model::ToolSpec| json!({"name": tool.name, "description": tool.description, "input_schema": tool.schema});
    let mut tools: Vec<Value> = request.tools.iter().map(tool).collect();
    tools.last_mut().into_iter().for_each(mark);
    tools
}

/// Turns by turn: what several messages say for the person is one turn.
fn messages(request: &Request) -> Vec<Value> {
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for message in pairs::paired(&request.messages) {
        let (role, blocks) = match message.as_ref() {
            Message::User { text } => ("user", vec![json!({"type": "text", "text": text})]),
            Message::Assistant { text, calls, private } => {
                ("assistant", said(text, calls, pairs::own(private, request)))
            }
            Message::Tool { call, ok, text, images } => ("user", vec![result(call, *ok, text, images)]),
        };
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    let marked = turns.iter_mut().rev().filter(|(role, _)| *role == "user").take(MARKED_TURNS);
    marked.filter_map(|(_, blocks)| blocks.last_mut()).for_each(mark);
    turns.into_iter().map(|(role, blocks)| json!({"role": role, "content": blocks})).collect()
}

fn result(call: &str, ok: bool, text: &str, images: &[Image]) -> Value {
    let mut content = Vec::new();
    if !text.trim().is_empty() {
        content.push(json!({"type": "text", "text": text}));
    }
    content.extend(images.iter().map(|image| match picture::is_seen(image) {
        true => {
            let source =
                json!({"type": "base64", "media_type": image.media_type, "data": picture::base64(&image.bytes)});
            json!({"type": "image", "source": source})
        }
        false => json!({"type": "text", "text": picture::unseen(image)}),
    }));
    let mut block = json!({"type": "tool_result", "tool_use_id": pairs::wire_id(call, ID_BYTES)});
    if !content.is_empty() {
        block["content"] = Value::Array(content);
    }
    if !ok {
        block["is_error"] = true.into();
    }
    block
}

fn used(call: &ToolUse) -> Value {
    json!({
        "type": "tool_use",
        "id": pairs::wire_id(&call.id, ID_BYTES),
        "name": pairs::wire_id(&call.tool, ID_BYTES),
        "input": pairs::arguments(call),
    })
}

fn words(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
}

/// What the model said, as it said it; without what it thought where that is not to be shown or not known.
fn said(text: &str, calls: &[ToolUse], private: Option<&Value>) -> Vec<Value> {
    let plain = || words(text).into_iter().chain(calls.iter().map(used)).collect::<Vec<_>>();
    let Some(layout) = private.and_then(Value::as_array) else { return plain() };
    let exact = in_order(text, calls, layout);
    let mut blocks = exact.unwrap_or_else(|| {
        let thought = layout.iter().filter(|block| is_thought(block)).cloned();
        thought.chain(plain()).collect()
    });
    // Thoughts that led to nothing are no message.
    if blocks.iter().all(is_thought) {
        blocks.clear();
    }
    blocks
}

fn is_thought(block: &Value) -> bool {
    matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"))
}

/// The blocks as [`reading`] noted their order; `None` = text or calls are not those of then.
fn in_order(text: &str, calls: &[ToolUse], layout: &[Value]) -> Option<Vec<Value>> {
    let (mut rest, mut calls) = (text, calls.iter());
    let mut blocks = Vec::with_capacity(layout.len());
    for block in layout {
        if is_thought(block) {
            blocks.push(block.clone());
        } else if let Some(bytes) = block["text"].as_u64() {
            let (piece, behind) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
            blocks.extend(words(piece));
            rest = behind;
        } else {
            blocks.push(used(calls.next()?));
        }
    }
    (rest.is_empty() && calls.next().is_none()).then_some(blocks)
}

/// The order of a reply's blocks, kept with what was thought.
pub(super) fn layout_of_text(bytes: usize) -> Value {
    json!({"text": bytes})
}

/// As above, of the next call.
pub(super) fn layout_of_call() -> Value {
    json!({"call": true})
}

#[cfg(test)]
mod tests;
