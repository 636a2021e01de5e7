//! Anthropic's stream: blocks that begin, grow and end, between `message_start` and `message_stop`.
//!
//! Knows no socket. Unknown events and unknown kinds of blocks mean nothing and do no harm: the vendor adds them.
//! Start at [`Reading`].

use crate::dialect::draft::Draft;
use crate::dialect::layout::Layout;
use crate::dialect::read;
use crate::dialect::sse::Event;
use crate::dialect::thread::Names;
use crate::dialect::{Decoder, Headers, Options, Progress, fault};
use contract::Fault;
use contract::model::{Broken, Reply, Request, Stop, Usage};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Blocks of one reply.
const BLOCKS: usize = 4096;

/// One answer while it is read.
#[derive(Debug)]
pub struct Reading {
    draft: Draft,
    options: Options,
    names: Names,
    blocks: Vec<(u64, Block)>,
}

#[derive(Debug)]
enum Block {
    Text(usize),
    Call,
    Thinking { text: String, signature: String },
    Redacted(String),
    Other,
}

/// The events that come most: a block grows by a piece of text or of arguments. Any other is read as a [`Value`].
#[derive(Deserialize)]
struct Growth<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    index: u64,
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    partial_json: Cow<'a, str>,
}

impl Reading {
    /// Of the answer to this request.
    pub fn new(request: &Request, options: &Options) -> Self {
        let (draft, names) = (Draft::new(request, options), Names::of(request));
        Self { draft, options: options.clone(), names, blocks: Vec::new() }
    }

    fn begin(&mut self, at: u64, block: &Value) -> Result<Progress, Fault> {
        if self.blocks.len() == BLOCKS {
            return Err(self.draft.too_much("blocks", BLOCKS));
        }
        let word = |name: &str| block[name].as_str().unwrap_or_default();
        let kind = match word("type") {
            "text" => Block::Text(0),
            "tool_use" => {
                self.draft.call(place(at), word("id"), self.names.own(word("name")))?;
                // Some servers send the arguments at once.
                if block["input"].as_object().is_some_and(|input| !input.is_empty()) {
                    self.draft.args(place(at), &block["input"].to_string())?;
                }
                Block::Call
            }
            "thinking" => {
                self.draft.muse(word("thinking"))?;
                Block::Thinking { text: word("thinking").into(), signature: word("signature").into() }
            }
            "redacted_thinking" => {
                self.draft.think(word("data").len())?;
                Block::Redacted(word("data").into())
            }
            _ => Block::Other,
        };
        let text = if matches!(kind, Block::Text(_)) { word("text").to_owned() } else { String::new() };
        self.blocks.push((at, kind));
        self.say(at, &text)
    }

    fn say(&mut self, at: u64, text: &str) -> Result<Progress, Fault> {
        if let Some(Block::Text(bytes)) = block(&mut self.blocks, at) {
            self.draft.say(text)?;
            *bytes += text.len();
            return Ok(Progress::text(text));
        }
        Ok(Progress::default())
    }

    /// What such an event changes; `None` = it is another one.
    fn grown(&mut self, data: &str) -> Option<Result<Progress, Fault>> {
        let Growth { kind: "content_block_delta", index, delta } = serde_json::from_str(data).ok()? else {
            return None;
        };
        match (delta.kind, block(&mut self.blocks, index)) {
            ("text_delta", _) => Some(self.say(index, &delta.text)),
            ("input_json_delta", Some(Block::Call)) => {
                let written = self.draft.args(place(index), &delta.partial_json);
                Some(written.map(|()| Progress::default()))
            }
            _ => None,
        }
    }

    fn grow(&mut self, at: u64, delta: &Value) -> Result<Progress, Fault> {
        let word = |name: &str| delta[name].as_str().unwrap_or_default();
        match (word("type"), block(&mut self.blocks, at)) {
            ("text_delta", _) => return self.say(at, word("text")),
            ("input_json_delta", Some(Block::Call)) => self.draft.args(place(at), word("partial_json"))?,
            ("thinking_delta", Some(Block::Thinking { text, .. })) => {
                self.draft.muse(word("thinking"))?;
                text.push_str(word("thinking"));
            }
            ("signature_delta", Some(Block::Thinking { signature, .. })) => {
                self.draft.think(word("signature").len())?;
                signature.push_str(word("signature"));
            }
            _ => {}
        }
        Ok(Progress::default())
    }

    /// Later counts replace earlier ones; what is not said again stays.
    fn count(&mut self, usage: &Value) {
        let told = |name: &str| usage[name].as_u64();
        if let Some(output) = told("output_tokens") {
            self.draft.output = Some(output);
        }
        let given =
            [told("input_tokens"), told("cache_read_input_tokens"), told("cache_creation_input_tokens")];
        if given.iter().any(Option::is_some) {
            let before = self.draft.given.unwrap_or_default();
            self.draft.given = Some(Usage {
                input: given[0].unwrap_or(before.input),
                cache_read: given[1].unwrap_or(before.cache_read),
                cache_write: given[2].unwrap_or(before.cache_write),
                ..Usage::default()
            });
        }
    }
}

/// A block's place, as the draft names calls.
fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn block(blocks: &mut [(u64, Block)], at: u64) -> Option<&mut Block> {
    blocks.iter_mut().rev().find(|(own, _)| *own == at).map(|(_, block)| block)
}

fn stop(reason: &str) -> Stop {
    match reason {
        "tool_use" => Stop::ToolUse,
        // What filled the window was cut as well.
        "max_tokens" | "model_context_window_exceeded" => Stop::MaxTokens,
        "stop_sequence" => Stop::StopSequence,
        "refusal" => Stop::Refusal,
        // `end_turn`; `pause_turn` (it may be asked to go on, which is what happens after any turn); what is new.
        _ => Stop::EndTurn,
    }
}

impl Decoder for Reading {
    fn headers(&mut self, headers: &Headers) {
        headers.get("request-id").unwrap_or_default().clone_into(&mut self.draft.request_id);
    }

    fn event(&mut self, event: &Event) -> Result<Progress, Fault> {
        if event.data.trim().is_empty() {
            return Ok(Progress::default());
        }
        if let Some(grown) = self.grown(&event.data) {
            return grown;
        }
        let value = read::json(&event.data, &self.options)?;
        let at = value["index"].as_u64().unwrap_or_default();
        match value["type"].as_str().unwrap_or_default() {
            "message_start" => {
                if self.draft.request_id.is_empty() {
                    value["message"]["id"]
                        .as_str()
                        .unwrap_or_default()
                        .clone_into(&mut self.draft.request_id);
                }
                self.count(&value["message"]["usage"]);
                // Of what is to come this says nothing yet.
                self.draft.output = None;
            }
            "content_block_start" => return self.begin(at, &value["content_block"]),
            "content_block_delta" => return self.grow(at, &value["delta"]),
            "message_delta" => {
                self.count(&value["usage"]);
                if let Some(reason) = value["delta"]["stop_reason"].as_str() {
                    self.draft.stop = Some(stop(reason));
                }
            }
            "message_stop" => return Ok(Progress::done()),
            "error" => return Err(fault::told(&self.options, &value["error"])),
            _ => {}
        }
        Ok(Progress::default())
    }

    fn notice(&mut self) -> Option<String> {
        self.draft.notice()
    }

    fn finish(mut self: Box<Self>, why: Option<Fault>) -> Result<Reply, Broken> {
        let mut layout = Layout::default();
        for (_, block) in std::mem::take(&mut self.blocks) {
            match block {
                Block::Text(bytes) => layout.text(bytes, None),
                Block::Call => layout.call(None),
                Block::Thinking { text, signature } => {
                    layout.own(json!({"type": "thinking", "thinking": text, "signature": signature}));
                }
                Block::Redacted(data) => layout.own(json!({"type": "redacted_thinking", "data": data})),
                Block::Other => {}
            }
        }
        self.draft.private = layout.kept();
        self.draft.end(why)
    }
}
