//! What Gemini streams: pieces of one answer, each a whole response; the last one says why it ended.
//!
//! Start at [`Reading`].

use crate::dialect::draft::Draft;
use crate::dialect::layout::Layout;
use crate::dialect::read::{count, json, list, text};
use crate::dialect::thread::Names;
use crate::dialect::{Decoder, Headers, Options, Progress, fault, sse};
use contract::model::{Broken, Reply, Request, Stop, Usage};
use contract::{Fault, Kind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// One answer being read.
#[derive(Debug)]
pub(super) struct Reading {
    draft: Draft,
    options: Options,
    names: Names,
    layout: Layout,
}

/// The event that comes most: a piece of text, and what was counted so far. Any other is read as a [`Value`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(borrow)]
    candidates: [Candidate<'a>; 1],
    usage_metadata: Option<Counts>,
    prompt_feedback: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    content: Content<'a>,
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    parts: [Part<'a>; 1],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    thought: Option<IgnoredAny>,
    thought_signature: Option<IgnoredAny>,
    function_call: Option<IgnoredAny>,
}

/// What the provider has counted.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Counts {
    prompt_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    total_token_count: Option<u64>,
}

impl Counts {
    fn of(told: &Value) -> Self {
        let part = |field| count(told, &[field]);
        Self {
            prompt_token_count: part("/promptTokenCount"),
            tool_use_prompt_token_count: part("/toolUsePromptTokenCount"),
            cached_content_token_count: part("/cachedContentTokenCount"),
            candidates_token_count: part("/candidatesTokenCount"),
            thoughts_token_count: part("/thoughtsTokenCount"),
            total_token_count: part("/totalTokenCount"),
        }
    }
}

/// The text, and the counts beside it, if there is nothing else.
fn piece(data: &str) -> Option<(Cow<'_, str>, Option<Counts>)> {
    let Piece { candidates: [candidate], usage_metadata, prompt_feedback, error } =
        serde_json::from_str(data).ok()?;
    let Part { text, thought, thought_signature, function_call } = {
        let [part] = candidate.content.parts;
        part
    };
    let other = [prompt_feedback, error, candidate.finish_reason, thought, thought_signature, function_call];
    let plain = candidate.index.unwrap_or(0) == 0 && other.iter().all(Option::is_none);
    plain.then_some((text, usage_metadata))
}

impl Reading {
    pub(super) fn new(request: &Request, options: &Options) -> Self {
        let mut draft = Draft::new(request, options);
        draft.hidden = true;
        Self { draft, options: options.clone(), names: Names::of(request), layout: Layout::default() }
    }

    /// One part.
    fn part(&mut self, part: &Value) -> Result<(), Fault> {
        let signature = part.get("thoughtSignature").filter(|signature| signature.is_string());
        let said = text(part, "text");
        if part["thought"].as_bool() == Some(true) {
            self.draft.muse(said)?;
            self.thought(part, said, signature.is_some());
        } else if let Some(call) = part.get("functionCall").filter(|call| call.is_object()) {
            self.call(call, signature)?;
        } else {
            self.draft.say(said)?;
            let mark = signature.map(|signature| mark([("thoughtSignature", signature)]));
            self.layout.text(said.len(), mark);
        }
        Ok(())
    }

    /// A thought goes back as it came; unsigned pieces are one.
    fn thought(&mut self, part: &Value, said: &str, signed: bool) {
        let open = |last: &&mut Value| !signed && last.get("thoughtSignature").is_none();
        if let Some(Value::String(before)) =
            self.layout.last_own().filter(open).and_then(|last| last.get_mut("text"))
        {
            before.push_str(said);
        } else {
            self.layout.own(part.clone());
        }
    }

    fn call(&mut self, call: &Value, signature: Option<&Value>) -> Result<(), Fault> {
        if call["willContinue"] == true || call.get("partialArgs").is_some() {
            let what = format!(
                "{} streams arguments in pieces, which only comes when asked for",
                self.options.provider
            );
            let hint = "leave `streamFunctionCallArguments` out of the model's parameters in config.toml";
            return Err(Fault::new(Kind::UserFixable, "arguments-in-pieces", what).hint(hint));
        }
        let at = self.draft.calls();
        let id = call.get("id").filter(|id| id.as_str().is_some_and(|id| !id.is_empty()));
        let fields = [signature.map(|signature| ("thoughtSignature", signature)), id.map(|id| ("id", id))];
        let mark = mark(fields.into_iter().flatten());
        self.layout.call(Some(mark).filter(|mark| mark.as_object().is_some_and(|mark| !mark.is_empty())));
        self.draft.call(at, text(call, "id"), self.names.own(text(call, "name")))?;
        match &call["args"] {
            Value::Null => Ok(()),
            args => self.draft.args(at, &args.to_string()),
        }
    }

    fn stop(&mut self, candidate: &Value, reason: &str) -> Result<(), Fault> {
        let who = &self.options.provider;
        self.draft.stop = Some(match reason {
            "MAX_TOKENS" => Stop::MaxTokens,
            "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
            | "IMAGE_SAFETY" => Stop::Refusal,
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MALFORMED_RESPONSE" => {
                let told = text(candidate, "finishMessage");
                if let Some(tool) = self.draft.tool_in(told) {
                    // What it wrote goes back to it as arguments that do not fit, like anybody else's.
                    let at = self.draft.calls();
                    self.layout.call(None);
                    self.draft.call(at, "", &tool)?;
                    self.draft.args(at, told)?;
                    self.draft.stop = Some(Stop::ToolUse);
                    return Ok(());
                }
                let said = contract::text::bounded(told, QUOTE_BYTES);
                let what =
                    format!("{} wrote a call that {who} could not read ({reason}): {said}", self.options.id);
                return Err(Fault::new(Kind::Transient, "call-malformed", what).hint("it is asked again"));
            }
            "MISSING_THOUGHT_SIGNATURE" => {
                let what = format!("{who} misses the signature of a call in this conversation");
                let hint = "go on with another model: kapell models";
                return Err(Fault::new(Kind::Permanent, "request-refused", what).hint(hint));
            }
            "OTHER" if self.draft.text().is_empty() && self.draft.calls() == 0 => {
                let what = format!("{who} gave no reply and no reason for it");
                return Err(Fault::new(Kind::Transient, "reply-empty", what).hint("it is asked again"));
            }
            _ => Stop::EndTurn,
        });
        Ok(())
    }

    fn usage(&mut self, told: Counts) {
        let Some(prompt) = told.prompt_token_count else { return };
        let given = prompt.saturating_add(told.tool_use_prompt_token_count.unwrap_or(0));
        let cached = told.cached_content_token_count.unwrap_or(0).min(given);
        self.draft.given = Some(Usage { input: given - cached, cache_read: cached, ..Usage::default() });
        let output = match (told.candidates_token_count, told.thoughts_token_count) {
            (None, None) => told.total_token_count.map(|total| total.saturating_sub(given)),
            (said, thought) => Some(said.unwrap_or(0).saturating_add(thought.unwrap_or(0))),
        };
        self.draft.output = output.or(self.draft.output);
    }
}

/// Bytes of the provider's own words that are quoted.
const QUOTE_BYTES: usize = 300;

fn mark<'v>(fields: impl IntoIterator<Item = (&'static str, &'v Value)>) -> Value {
    Map::from_iter(fields.into_iter().map(|(name, value)| (name.to_owned(), value.clone()))).into()
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
        let known = !self.draft.request_id.is_empty();
        if let Some((text, counts)) = known.then(|| piece(data)).flatten() {
            self.usage(counts.unwrap_or_default());
            self.draft.say(&text)?;
            self.layout.text(text.len(), None);
            return Ok(Progress::text(text));
        }
        let chunk = json(data, &self.options)?;
        // Without `alt=sse`, and for some errors, the whole is a list.
        let chunk = chunk.as_array().and_then(|list| list.first()).unwrap_or(&chunk);
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(fault::told(&self.options, chunk));
        }
        if self.draft.request_id.is_empty() {
            text(chunk, "responseId").clone_into(&mut self.draft.request_id);
        }
        self.usage(Counts::of(&chunk["usageMetadata"]));
        let blocked = chunk.pointer("/promptFeedback/blockReason").and_then(Value::as_str);
        if blocked.is_some_and(|reason| reason != "BLOCK_REASON_UNSPECIFIED") {
            self.draft.stop = Some(Stop::Refusal);
        }
        let first = |candidate: &&Value| candidate["index"].as_u64().unwrap_or(0) == 0;
        let Some(candidate) = list(chunk, "candidates").iter().find(first) else {
            return Ok(Progress::default());
        };
        let from = self.draft.text().len();
        for part in list(&candidate["content"], "parts") {
            self.part(part)?;
        }
        let reason = text(candidate, "finishReason");
        if !reason.is_empty() && reason != "FINISH_REASON_UNSPECIFIED" {
            self.stop(candidate, reason)?;
        }
        Ok(Progress::text(&self.draft.text()[from..]))
    }

    fn notice(&mut self) -> Option<String> {
        self.draft.notice()
    }

    fn finish(mut self: Box<Self>, why: Option<Fault>) -> Result<Reply, Broken> {
        self.draft.private = self.layout.kept();
        self.draft.end(why)
    }
}
