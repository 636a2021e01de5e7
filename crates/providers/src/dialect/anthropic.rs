//! Anthropic Messages (`/v1/messages`, version 2023-06-01).
//!
//! Knows no socket and no key. What was thought goes back to the same model in the very order it came in; to another
//! it is never shown. Start at [`Anthropic`]; the answer is read in [`reading`].

pub mod reading;

use super::layout::{Piece, pieces};
use super::thread::{Answer, Said, Thread, Turn, name};
use super::{Auth, Codec, Decoder, Options, Wire, pairs, picture};
use contract::model::{Request, ToolSpec};
use serde_json::{Map, Value, json};

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
    let tool = |tool: &ToolSpec| json!({"name": name(&tool.name), "description": tool.description, "input_schema": tool.schema});
    let mut tools: Vec<Value> = request.tools.iter().map(tool).collect();
    tools.last_mut().into_iter().for_each(mark);
    tools
}

/// Turns by turn: what several messages say for the person is one turn.
fn messages(request: &Request) -> Vec<Value> {
    let paired = pairs::paired(&request.messages);
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for turn in &Thread::of(&paired, request).turns {
        let (role, blocks) = match turn {
            Turn::Person(texts) => ("user", texts.iter().filter_map(|text| words(text)).collect()),
            Turn::Model(words) => ("assistant", said(words)),
            Turn::Results(answers) => ("user", answers.iter().map(result).collect::<Vec<_>>()),
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

fn result(answer: &Answer<'_>) -> Value {
    let mut content = Vec::from_iter(words(answer.text));
    content.extend(answer.images.iter().map(|image| match picture::is_seen(image) {
        true => {
            let source =
                json!({"type": "base64", "media_type": image.media_type, "data": picture::base64(&image.bytes)});
            json!({"type": "image", "source": source})
        }
        false => json!({"type": "text", "text": picture::unseen(image)}),
    }));
    let mut block = json!({"type": "tool_result", "tool_use_id": answer.id});
    if !content.is_empty() {
        block["content"] = Value::Array(content);
    }
    if !answer.ok {
        block["is_error"] = true.into();
    }
    block
}

fn words(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
}

/// What the model said, as it said it; without what it thought where that is not to be shown or not known.
fn said(said: &Said<'_>) -> Vec<Value> {
    let block = |piece| match piece {
        Piece::Own(block) => Some(block.clone()),
        Piece::Text(text, _) => words(text),
        Piece::Call(call, _) => {
            Some(json!({"type": "tool_use", "id": call.id, "name": call.tool, "input": call.args}))
        }
    };
    let mut blocks: Vec<Value> = pieces(said).into_iter().filter_map(block).collect();
    // Thoughts that led to nothing are no message, and none ends with them.
    while blocks.last().is_some_and(is_thought) {
        blocks.pop();
    }
    blocks
}

fn is_thought(block: &Value) -> bool {
    matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"))
}

#[cfg(test)]
mod tests;
