//! What a Chat Completions server streams, read from all of them alike: where two servers differ, both ways are read.
//!
//! Start at [`Reading`].

use super::flavour::{Back, Flavour};
use super::tags::{Tags, unopened};
use crate::dialect::draft::Draft;
use crate::dialect::layout::Layout;
use crate::dialect::read::{count, json, list, text};
use crate::dialect::thread::Names;
use crate::dialect::{Decoder, Headers, Options, Progress, fault, sse};
use contract::Fault;
use contract::model::{Broken, Reply, Request, Stop, Usage};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The last event of a stream.
const DONE: &str = "[DONE]";
/// Where thoughts stand: OpenRouter, Ollama and newer vLLM; DeepSeek, llama.cpp, LM Studio and older vLLM.
const THOUGHTS: [&str; 2] = ["reasoning_content", "reasoning"];

/// One answer being read.
#[derive(Debug)]
pub(super) struct Reading {
    draft: Draft,
    options: Options,
    flavour: Flavour,
    names: Names,
    layout: Layout,
    tags: Tags,
    thoughts: Map<String, Value>,
    details: Vec<Value>,
    places: Vec<Place>,
    refused: bool,
}

/// Where on the wire a call is.
#[derive(Debug)]
struct Place {
    index: Option<u64>,
    id: String,
    named: bool,
}

/// The event that comes most: a piece of text and nothing else that is looked at. Any other is read as a [`Value`].
#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow)]
    choices: [Choice<'a>; 1],
    #[serde(borrow, default)]
    object: Cow<'a, str>,
    usage: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Said<'a>,
    finish_reason: Option<IgnoredAny>,
    usage: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
    reasoning_content: Option<IgnoredAny>,
    reasoning: Option<IgnoredAny>,
    reasoning_details: Option<IgnoredAny>,
    refusal: Option<IgnoredAny>,
    tool_calls: Option<IgnoredAny>,
}

/// The text, if there is nothing else.
fn piece(data: &str) -> Option<Cow<'_, str>> {
    let Piece { choices: [choice], object, usage, error } = serde_json::from_str(data).ok()?;
    let Said { content, reasoning_content, reasoning, reasoning_details, refusal, tool_calls } = choice.delta;
    let other = [usage, error, choice.finish_reason, choice.usage, choice.error].iter().any(Option::is_some)
        || [reasoning_content, reasoning, reasoning_details, refusal, tool_calls].iter().any(Option::is_some);
    let plain = choice.index.unwrap_or(0) == 0 && object != "error" && !other;
    plain.then_some(content)
}

impl Reading {
    pub(super) fn new(request: &Request, options: &Options) -> Self {
        let flavour = Flavour::of(options);
        let mut draft = Draft::new(request, options);
        draft.hidden = flavour.hidden;
        Self {
            draft,
            options: options.clone(),
            flavour,
            names: Names::of(request),
            layout: Layout::default(),
            tags: Tags::default(),
            thoughts: Map::new(),
            details: Vec::new(),
            places: Vec::new(),
            refused: false,
        }
    }

    fn say(&mut self, piece: &str) -> Result<String, Fault> {
        let piece = match self.flavour.tags {
            true => {
                let (piece, thought) = self.tags.push(piece);
                self.draft.muse(&thought)?;
                piece
            }
            false => piece.to_owned(),
        };
        self.draft.say(&piece)?;
        self.layout.text(piece.len(), None);
        Ok(piece)
    }

    /// What the model says in one event; the text in it.
    fn delta(&mut self, delta: &Value) -> Result<String, Fault> {
        self.think(delta)?;
        let mut said = self.say(text(delta, "content"))?;
        for part in list(delta, "content") {
            // Some write a list of parts; a thinking part holds a list of its own.
            list(part, "thinking").iter().try_for_each(|part| self.draft.muse(text(part, "text")))?;
            said.push_str(&self.say(text(part, "text"))?);
        }
        if !text(delta, "refusal").is_empty() {
            self.refused = true;
            said.push_str(&self.say(text(delta, "refusal"))?);
        }
        for call in list(delta, "tool_calls") {
            self.call(call)?;
        }
        Ok(said)
    }

    fn thought(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes > 0 { self.draft.think(bytes) } else { Ok(()) }
    }

    fn think(&mut self, delta: &Value) -> Result<(), Fault> {
        // Several names for one thought: the first that says something counts.
        if let Some(field) = THOUGHTS.into_iter().find(|field| !text(delta, field).is_empty()) {
            let piece = text(delta, field);
            self.draft.muse(piece)?;
            match self.thoughts.get_mut(field) {
                Some(Value::String(before)) => before.push_str(piece),
                _ => drop(self.thoughts.insert(field.into(), piece.into())),
            }
        }
        for detail in list(delta, "reasoning_details") {
            self.draft.muse(text(detail, "text"))?;
            self.draft.muse(text(detail, "summary"))?;
            self.thought(text(detail, "data").len())?;
            self.detail(detail);
        }
        Ok(())
    }

    /// A piece of OpenRouter's `reasoning_details`: pieces of one detail have its type and index.
    fn detail(&mut self, piece: &Value) {
        let same = |last: &&mut Value| {
            let streams = matches!(text(piece, "type"), "reasoning.text" | "reasoning.summary");
            streams && last["type"] == piece["type"] && last["index"] == piece["index"]
        };
        let last = self.details.last_mut().filter(same).and_then(Value::as_object_mut);
        let (Some(last), Some(fields)) = (last, piece.as_object()) else {
            self.details.push(piece.clone());
            return;
        };
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match (last.get_mut(name), value) {
                (Some(Value::String(before)), Value::String(more)) if name == "text" || name == "summary" => {
                    before.push_str(more);
                }
                _ => drop(last.insert(name.clone(), value.clone())),
            }
        }
    }

    fn call(&mut self, call: &Value) -> Result<(), Fault> {
        let index = call.get("index").and_then(Value::as_u64);
        let id = text(call, "id");
        let function = &call["function"];
        let tool = text(function, "name");
        let at = match self.place(index, id, tool, &function["arguments"]) {
            Some(at) => at,
            None => {
                self.places.push(Place { index, id: id.into(), named: false });
                self.layout.call(call.get("extra_content").filter(|mark| mark.is_object()).cloned());
                self.places.len() - 1
            }
        };
        self.places[at].named |= !tool.is_empty();
        if self.places[at].id.is_empty() {
            id.clone_into(&mut self.places[at].id);
        }
        self.draft.call(at, id, self.names.own(tool))?;
        match &function["arguments"] {
            Value::Null => Ok(()),
            Value::String(piece) => self.draft.args(at, piece),
            // Whole, not in pieces and not as text.
            whole => self.draft.args(at, &whole.to_string()),
        }
    }

    /// The call this piece belongs to; `None` = it begins one.
    ///
    /// By index, but: some give every call the index 0 (another id, or a name where the one before is complete, begins
    /// another), some give a new id to every piece (without a name it is the same call), some give neither index nor id
    /// (a name begins another).
    fn place(&self, index: Option<u64>, id: &str, tool: &str, piece: &Value) -> Option<usize> {
        let known = |place: &Place| !id.is_empty() && place.id == id;
        let last = match index {
            Some(_) => self.places.iter().rposition(|place| place.index == index),
            None if !id.is_empty() => {
                let found = self.places.iter().rposition(known);
                found.or_else(|| self.places.len().checked_sub(1).filter(|_| tool.is_empty()))
            }
            None => self.places.len().checked_sub(1),
        }?;
        let place = &self.places[last];
        let other = !id.is_empty() && !place.id.is_empty() && place.id != id;
        let nameless = id.is_empty() && index.is_none();
        let full = || {
            let more =
                piece.is_object() || piece.as_str().is_some_and(|piece| piece.trim_start().starts_with('{'));
            more && self.is_complete(last)
        };
        let begins = !tool.is_empty() && place.named && (other || nameless || full());
        (!begins).then_some(last)
    }

    fn is_complete(&self, at: usize) -> bool {
        serde_json::from_str::<Map<String, Value>>(self.draft.args_so_far(at)).is_ok()
    }

    fn stop(&mut self, reason: &str) -> Result<(), Fault> {
        self.draft.stop = Some(match reason {
            "length" | "max_tokens" | "model_length" => Stop::MaxTokens,
            "content_filter" | "refusal" | "safety" => Stop::Refusal,
            "tool_calls" | "function_call" | "tool_use" => Stop::ToolUse,
            "stop_sequence" => Stop::StopSequence,
            "error" | "insufficient_system_resource" | "abort" => {
                let said = format!("the reply ended with `{reason}`");
                let error =
                    [("type", "server_error"), ("message", &said)].map(|(k, v)| (k.to_owned(), v.into()));
                return Err(fault::told(&self.options, &Value::Object(Map::from_iter(error))));
            }
            _ => Stop::EndTurn,
        });
        Ok(())
    }

    /// The stream came to its proper end, but nobody said why the reply did: it counts if all of it is whole.
    fn end_without_reason(&mut self) {
        let said = !self.draft.text().is_empty() || !self.places.is_empty();
        if self.draft.stop.is_none() && said && (0..self.places.len()).all(|at| self.is_complete(at)) {
            self.draft.stop = Some(Stop::EndTurn);
        }
    }

    /// Takes the counts there are; are there any?
    fn usage(&mut self, told: &Value) -> bool {
        let Some(prompt) = count(told, &["/prompt_tokens", "/input_tokens"]) else { return false };
        let output = count(told, &["/completion_tokens", "/output_tokens"]).unwrap_or(0);
        let read = count(
            told,
            &["/prompt_tokens_details/cached_tokens", "/prompt_cache_hit_tokens", "/cached_tokens"],
        );
        let cache_read = read.unwrap_or(0).min(prompt);
        let write = count(told, &["/prompt_tokens_details/cache_write_tokens"]).unwrap_or(0);
        let cache_write = write.min(prompt - cache_read);
        if prompt == 0 && output == 0 {
            return false;
        }
        // Some count thoughts in the total only.
        let total = count(told, &["/total_tokens"]).unwrap_or(0);
        self.draft.given = Some(Usage {
            input: prompt - cache_read - cache_write,
            cache_read,
            cache_write,
            ..Usage::default()
        });
        self.draft.output = Some(output.max(total.saturating_sub(prompt)));
        true
    }
}

impl Decoder for Reading {
    fn headers(&mut self, headers: &Headers) {
        let id = headers.get("x-request-id").or_else(|| headers.get("x-generation-id"));
        self.draft.request_id = id.unwrap_or_default().to_owned();
    }

    fn event(&mut self, event: &sse::Event) -> Result<Progress, Fault> {
        let data = event.data.trim();
        if data.is_empty() {
            return Ok(Progress::default());
        }
        if data == DONE {
            self.end_without_reason();
            return Ok(Progress::done());
        }
        let known = !self.draft.request_id.is_empty() && event.name != "error";
        if let Some(text) = known.then(|| piece(data)).flatten() {
            return Ok(Progress { text: self.say(&text)?, done: false });
        }
        let chunk = json(data, &self.options)?;
        let failed = ["/error", "/choices/0/error"].into_iter().find_map(|at| chunk.pointer(at));
        if let Some(error) = failed.filter(|error| !error.is_null()) {
            return Err(fault::told(&self.options, error));
        }
        if event.name == "error" || text(&chunk, "object") == "error" {
            return Err(fault::told(&self.options, &chunk));
        }
        if self.draft.request_id.is_empty() {
            text(&chunk, "id").clone_into(&mut self.draft.request_id);
        }
        let mut counted = self.usage(&chunk["usage"]);
        let first = |choice: &&Value| choice["index"].as_u64().unwrap_or(0) == 0;
        let Some(choice) = list(&chunk, "choices").iter().find(first) else {
            return Ok(Progress { done: counted && self.draft.stop.is_some(), ..Progress::default() });
        };
        counted |= self.usage(&choice["usage"]);
        // A server that does not stream sends the whole message.
        let delta = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        let said = self.delta(delta)?;
        let reason = text(choice, "finish_reason");
        if !reason.is_empty() {
            self.stop(reason)?;
        }
        // Why it ended and what it cost: nothing else can come, though some keep the line open.
        Ok(Progress { text: said, done: counted && self.draft.stop.is_some() })
    }

    fn notice(&mut self) -> Option<String> {
        self.draft.notice()
    }

    fn finish(mut self: Box<Self>, why: Option<Fault>) -> Result<Reply, Broken> {
        let (held, thought) = self.tags.rest();
        let why = why.or(self.draft.muse(&thought).and_then(|()| self.draft.say(&held)).err());
        self.layout.text(held.len(), None);
        let thoughts = if self.flavour.tags { unopened(self.draft.text()) } else { 0 };
        let why = why.or(self.draft.rethink(thoughts).err());
        self.layout.less(thoughts);
        if self.refused && self.draft.stop.is_some() {
            self.draft.stop = Some(Stop::Refusal);
        }
        let wanted = self.flavour.back == Back::Always || !self.places.is_empty();
        if !self.details.is_empty() {
            // They say the same, and what they are signed with.
            self.thoughts = Map::from_iter([("reasoning_details".to_owned(), Value::Array(self.details))]);
        }
        if wanted && !self.thoughts.is_empty() {
            self.layout.first_own(Value::Object(self.thoughts));
        }
        self.draft.private = self.layout.kept();
        self.draft.end(why)
    }
}

#[cfg(test)]
mod tests {
    use super::piece;

    #[test]
    fn a_piece_of_text_is_read_as_such_and_nothing_else_is() {
        let chunk = |delta: &str, rest: &str| {
            format!(
                r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":null,"choices":[{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":null}}],"usage":null,"obfuscation":"q"{rest}}}"#
            )
        };
        assert_eq!(piece(&chunk(r#""content":"a\n""#, "")).as_deref(), Some("a\n"));
        assert_eq!(piece(&chunk(r#""content":"a","reasoning_content":null"#, "")).as_deref(), Some("a"));
        for (delta, rest) in [
            ("", ""),
            (r#""content":null"#, ""),
            (r#""content":["a"]"#, ""),
            (r#""content":"a","reasoning":"b""#, ""),
            (r#""content":"a","tool_calls":[]"#, ""),
            (r#""content":"a""#, r#","error":{"message":"x"}"#),
        ] {
            assert_eq!(piece(&chunk(delta, rest)), None, "{delta} {rest}");
        }
    }
}
