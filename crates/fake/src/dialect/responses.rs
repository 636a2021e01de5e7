//! OpenAI Responses: items that are added, filled and done, in named and numbered events.
//!
//! Start at [`stream`].

use super::words::{pieces, words};
use super::{Context, event};
use crate::script::{Reply, Stop};
use serde_json::{Value, json};

/// A stream being written.
struct Stream {
    events: Vec<String>,
    output: Vec<Value>,
}

impl Stream {
    fn push(&mut self, name: &str, mut fields: Value) {
        fields["type"] = json!(name);
        fields["sequence_number"] = json!(self.events.len());
        self.events.push(event(name, &fields));
    }

    fn at(&self) -> usize {
        self.output.len()
    }

    fn added(&mut self, item: &Value) {
        self.push("response.output_item.added", json!({"output_index": self.at(), "item": item}));
    }

    fn done(&mut self, item: Value) {
        self.push("response.output_item.done", json!({"output_index": self.at(), "item": item}));
        self.output.push(item);
    }

    fn reasoning(&mut self, text: &str, turn: usize) {
        let (at, id) = (self.at(), format!("rs_{turn}"));
        self.added(&json!({"id": id, "type": "reasoning", "summary": []}));
        let place = |fields: Value| {
            let mut all = json!({"item_id": id, "output_index": at, "summary_index": 0});
            merge(&mut all, fields);
            all
        };
        self.push(
            "response.reasoning_summary_part.added",
            place(json!({"part": {"type": "summary_text", "text": ""}})),
        );
        for word in words(text) {
            self.push("response.reasoning_summary_text.delta", place(json!({"delta": word})));
        }
        self.push("response.reasoning_summary_text.done", place(json!({"text": text})));
        self.done(json!({"id": id, "type": "reasoning", "encrypted_content": "ZW5jcnlwdGVk",
            "summary": [{"type": "summary_text", "text": text}]}));
    }

    fn message(&mut self, text: &str, refusal: bool, turn: usize) {
        let (at, id) = (self.at(), format!("msg_{turn}"));
        let (kind, field, name) =
            if refusal { ("refusal", "refusal", "refusal") } else { ("output_text", "text", "output_text") };
        let place = |fields: Value| {
            let mut all = json!({"item_id": id, "output_index": at, "content_index": 0});
            merge(&mut all, fields);
            all
        };
        self.added(&json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}));
        self.push("response.content_part.added", place(json!({"part": {"type": kind, field: ""}})));
        for word in words(text) {
            self.push(&format!("response.{name}.delta"), place(json!({"delta": word})));
        }
        self.push(&format!("response.{name}.done"), place(json!({field: text})));
        self.push("response.content_part.done", place(json!({"part": {"type": kind, field: text}})));
        self.done(json!({"id": id, "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": kind, field: text}]}));
    }

    fn call(&mut self, tool: &str, args: &str, call_id: &str, item_id: &str) {
        let at = self.at();
        let item = |args: &str, status: &str| {
            json!({"id": item_id, "type": "function_call", "status": status, "call_id": call_id, "name": tool,
                "arguments": args})
        };
        self.added(&item("", "in_progress"));
        for part in pieces(args) {
            self.push(
                "response.function_call_arguments.delta",
                json!({"item_id": item_id, "output_index": at, "delta": part}),
            );
        }
        self.push(
            "response.function_call_arguments.done",
            json!({"item_id": item_id, "output_index": at, "arguments": args}),
        );
        self.done(item(args, "completed"));
    }
}

pub(super) fn stream(reply: &Reply, context: &Context) -> Vec<String> {
    let response = json!({"id": context.exchange("resp"), "object": "response", "created_at": 1_760_000_000,
        "model": context.model, "status": "in_progress", "output": [], "error": null, "incomplete_details": null,
        "usage": null});
    let mut stream = Stream { events: Vec::new(), output: Vec::new() };
    stream.push("response.created", json!({"response": response}));
    stream.push("response.in_progress", json!({"response": response}));
    if !reply.thinking.is_empty() {
        stream.reasoning(&reply.thinking, context.turn);
    }
    if !reply.text.is_empty() {
        stream.message(&reply.text, reply.stop == Stop::Refusal, context.turn);
    }
    for (nth, call) in reply.calls.iter().enumerate() {
        stream.call(&call.tool, &call.args, &context.id(nth, call), &format!("fc_{}_{nth}", context.turn));
    }
    let mut last = response;
    last["output"] = json!(stream.output);
    if let Some(usage) = context.usage {
        let given = usage.input + usage.cache_read + usage.cache_write;
        last["usage"] = json!({"input_tokens": given, "input_tokens_details": {"cached_tokens": usage.cache_read},
            "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + usage.output});
    }
    let cut = reply.stop == Stop::MaxTokens;
    last["status"] = json!(if cut { "incomplete" } else { "completed" });
    if cut {
        last["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    let name = if cut { "response.incomplete" } else { "response.completed" };
    stream.push(name, json!({"response": last}));
    stream.events
}

/// Adds the fields of one object to another.
fn merge(all: &mut Value, fields: Value) {
    if let (Value::Object(all), Value::Object(fields)) = (all, fields) {
        all.extend(fields);
    }
}
