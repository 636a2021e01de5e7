//! What Responses streams: items that open, grow and close, and a last event that says how it went.
//!
//! A server that leaves out pieces is read from what closes them. Start at [`Reading`].

use crate::dialect::draft::Draft;
use crate::dialect::layout::Layout;
use crate::dialect::read::{count, json, list, text};
use crate::dialect::thread::Names;
use crate::dialect::{Decoder, Headers, Options, Progress, fault, sse};
use contract::Fault;
use contract::model::{Broken, Reply, Request, Stop, Usage};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Fields of a reasoning item that go back; the rest (its status) is refused as input.
const REASONING: [&str; 4] = ["type", "id", "summary", "encrypted_content"];
/// Between two messages of one reply.
const BETWEEN: &str = "\n\n";

/// One answer being read.
#[derive(Debug)]
pub(super) struct Reading {
    draft: Draft,
    options: Options,
    names: Names,
    layout: Layout,
    items: Vec<Item>,
    refused: bool,
}

/// An item of the reply, as far as it has been met.
#[derive(Debug)]
struct Item {
    index: u64,
    /// Bytes of its text or arguments so far.
    bytes: usize,
    /// Which call it is.
    call: Option<usize>,
    /// Goes back with its text.
    phase: Option<Value>,
    closed: bool,
}

/// The events that come most: a piece of text or of arguments. Any other is read as a [`Value`].
#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    output_index: u64,
    #[serde(borrow)]
    delta: Cow<'a, str>,
}

impl Reading {
    pub(super) fn new(request: &Request, options: &Options) -> Self {
        let mut draft = Draft::new(request, options);
        draft.hidden = true;
        Self {
            draft,
            options: options.clone(),
            names: Names::of(request),
            layout: Layout::default(),
            items: Vec::new(),
            refused: false,
        }
    }

    /// The place of the item an event is about. `item` = as the event shows it.
    fn place(&mut self, event: &Value, item: &Value) -> usize {
        let next = self.items.iter().map(|item| item.index + 1).max().unwrap_or(0);
        let index = event.get("output_index").and_then(Value::as_u64).unwrap_or(next.saturating_sub(1));
        self.place_at(index, item)
    }

    fn place_at(&mut self, index: u64, item: &Value) -> usize {
        let place = self.items.iter().position(|item| item.index == index).unwrap_or_else(|| {
            self.items.push(Item { index, bytes: 0, call: None, phase: None, closed: false });
            self.items.len() - 1
        });
        if let Some(phase) = item.get("phase").filter(|phase| phase.is_string()) {
            self.items[place].phase = Some(phase.clone());
        }
        place
    }

    /// Text of the message at this place.
    fn say(&mut self, place: usize, piece: &str) -> Result<String, Fault> {
        if piece.is_empty() {
            return Ok(String::new());
        }
        let first = self.items[place].bytes == 0;
        let mut said = String::new();
        if first && !self.draft.text().is_empty() {
            said.push_str(BETWEEN);
            self.draft.say(BETWEEN)?;
            self.layout.text(BETWEEN.len(), None);
        }
        self.draft.say(piece)?;
        let phase = self.items[place].phase.as_ref();
        self.layout.more(
            piece.len(),
            phase.map(|phase| Map::from_iter([("phase".to_owned(), phase.clone())]).into()),
        );
        self.items[place].bytes += piece.len();
        said.push_str(piece);
        Ok(said)
    }

    /// The call at this place; opens it when it was not met before.
    fn call(&mut self, place: usize, item: &Value) -> Result<usize, Fault> {
        let at = match self.items[place].call {
            Some(at) => at,
            None => {
                self.layout.call(None);
                let at = self.draft.calls();
                self.items[place].call = Some(at);
                at
            }
        };
        let id = [text(item, "call_id"), text(item, "id")].into_iter().find(|id| !id.is_empty());
        self.draft.call(at, id.unwrap_or_default(), self.names.own(text(item, "name")))?;
        Ok(at)
    }

    /// What such an event says; `None` = it is another one.
    fn piece(&mut self, data: &str) -> Option<Result<Progress, Fault>> {
        let Piece { kind, output_index, delta } = serde_json::from_str(data).ok()?;
        match kind {
            "response.output_text.delta" => {
                let place = self.place_at(output_index, &Value::Null);
                Some(self.say(place, &delta).map(Progress::text))
            }
            "response.function_call_arguments.delta" => Some(self.written(output_index, &delta)),
            _ => None,
        }
    }

    fn written(&mut self, index: u64, piece: &str) -> Result<Progress, Fault> {
        let place = self.place_at(index, &Value::Null);
        let at = self.call(place, &Value::Null)?;
        self.write(place, at, piece).map(|()| Progress::default())
    }

    fn opened(&mut self, event: &Value) -> Result<(), Fault> {
        let item = &event["item"];
        let place = self.place(event, item);
        if text(item, "type") == "function_call" {
            let at = self.call(place, item)?;
            self.write(place, at, text(item, "arguments"))?;
        }
        Ok(())
    }

    fn write(&mut self, place: usize, at: usize, piece: &str) -> Result<(), Fault> {
        self.items[place].bytes += piece.len();
        self.draft.args(at, piece)
    }

    /// What closes an item has it whole: what was not streamed is taken from here.
    fn closed(&mut self, event: &Value, item: &Value) -> Result<String, Fault> {
        let place = self.place(event, item);
        if std::mem::replace(&mut self.items[place].closed, true) {
            return Ok(String::new());
        }
        match text(item, "type") {
            "function_call" => {
                let at = self.call(place, item)?;
                if self.items[place].bytes == 0 {
                    self.write(place, at, text(item, "arguments"))?;
                }
                Ok(String::new())
            }
            "message" if self.items[place].bytes == 0 => {
                let mut said = String::new();
                for part in list(item, "content") {
                    self.refused |= text(part, "type") == "refusal";
                    said.push_str(&self.say(place, text(part, "text"))?);
                    said.push_str(&self.say(place, text(part, "refusal"))?);
                }
                Ok(said)
            }
            "reasoning" => {
                self.draft.think(text(item, "encrypted_content").len())?;
                let fields = item.as_object().into_iter().flatten();
                let kept =
                    fields.filter(|(name, value)| REASONING.contains(&name.as_str()) && !value.is_null());
                let kept: Map<String, Value> =
                    kept.map(|(name, value)| (name.clone(), value.clone())).collect();
                if kept.contains_key("encrypted_content") {
                    self.layout.own(kept.into());
                }
                Ok(String::new())
            }
            _ => Ok(String::new()),
        }
    }

    /// The last event but for a failure: usage, why it ended, and items nobody closed.
    fn ended(&mut self, event: &Value) -> Result<Progress, Fault> {
        let response = &event["response"];
        self.usage(&response["usage"]);
        let mut said = String::new();
        for (index, item) in list(response, "output").iter().enumerate() {
            let place = Map::from_iter([("output_index".to_owned(), Value::from(index))]).into();
            said.push_str(&self.closed(&place, item)?);
        }
        let reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str);
        self.draft.stop = Some(match reason {
            _ if self.refused => Stop::Refusal,
            Some("content_filter") => Stop::Refusal,
            Some(_) => Stop::MaxTokens,
            None if text(event, "type") == "response.incomplete" => Stop::MaxTokens,
            None => Stop::EndTurn,
        });
        Ok(Progress { text: said, done: true })
    }

    fn usage(&mut self, told: &Value) {
        let Some(input) = count(told, &["/input_tokens", "/prompt_tokens"]) else { return };
        let cached = count(told, &["/input_tokens_details/cached_tokens"]).unwrap_or(0).min(input);
        let output = count(told, &["/output_tokens", "/completion_tokens"]).unwrap_or(0);
        if input > 0 || output > 0 {
            self.draft.given = Some(Usage { input: input - cached, cache_read: cached, ..Usage::default() });
            self.draft.output = Some(output);
        }
    }
}

impl Decoder for Reading {
    fn headers(&mut self, headers: &Headers) {
        headers.get("x-request-id").unwrap_or_default().clone_into(&mut self.draft.request_id);
    }

    fn event(&mut self, event: &sse::Event) -> Result<Progress, Fault> {
        let data = event.data.trim();
        if data.is_empty() || data == "[DONE]" {
            return Ok(Progress::default());
        }
        if let Some(said) = self.piece(data) {
            return said;
        }
        let event = json(data, &self.options)?;
        let delta = text(&event, "delta");
        match text(&event, "type") {
            "response.created" | "response.in_progress" if self.draft.request_id.is_empty() => {
                text(&event["response"], "id").clone_into(&mut self.draft.request_id);
                Ok(Progress::default())
            }
            "response.output_item.added" => self.opened(&event).map(|()| Progress::default()),
            "response.output_text.delta" => {
                let place = self.place(&event, &Value::Null);
                self.say(place, delta).map(Progress::text)
            }
            "response.refusal.delta" => {
                self.refused = true;
                let place = self.place(&event, &Value::Null);
                self.say(place, delta).map(Progress::text)
            }
            "response.function_call_arguments.delta" => {
                let place = self.place(&event, &Value::Null);
                let at = self.call(place, &Value::Null)?;
                self.write(place, at, delta).map(|()| Progress::default())
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.draft.muse(delta).map(|()| Progress::default())
            }
            "response.output_item.done" => self.closed(&event, &event["item"]).map(Progress::text),
            "response.completed" | "response.incomplete" => self.ended(&event),
            "response.failed" => {
                self.usage(&event["response"]["usage"]);
                Err(fault::told(&self.options, &event["response"]))
            }
            "error" => Err(fault::told(&self.options, &event)),
            "" if event.get("error").is_some_and(|error| !error.is_null()) => {
                Err(fault::told(&self.options, &event))
            }
            _ => Ok(Progress::default()),
        }
    }

    fn notice(&mut self) -> Option<String> {
        self.draft.notice()
    }

    fn finish(mut self: Box<Self>, why: Option<Fault>) -> Result<Reply, Broken> {
        self.draft.private = self.layout.kept();
        self.draft.end(why)
    }
}
