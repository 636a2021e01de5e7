//! `--output-format stream-json`: what happens as JSON lines, in the shapes of FORMATS.md section 6.
//!
//! Every call is paired with a result. Knows no terminal. Start at [`Stream::init`] and [`Stream::record`]; the last
//! line is [`super::result`]'s.

use super::{json_line, text};
use crate::tree::{self, Happened, Tree};
use contract::action::{Call, Done, End, Work};
use contract::event::Event;
use contract::intent::{Intent, Wish};
use contract::model::{Stop, Usage};
use contract::port::{Blobs, Delta};
use contract::{ActionId, CallId, IntentId, QuestionId, SessionId};
use engine::engine::Progress;
use kernel::Session;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Version of what is printed; grows when something is taken away or changes its meaning.
pub(crate) const SCHEMA: u32 = 1;

/// Turns events into lines.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Pieces of what models say are told, too.
    partial: bool,
    /// Whose pieces were told last, in each session.
    speaking: BTreeMap<SessionId, (ActionId, u32)>,
    /// Calls that wait for an answer.
    questions: BTreeMap<(SessionId, QuestionId), CallId>,
    /// Calls that wait for a child's work to be taken over.
    adopting: BTreeMap<SessionId, CallId>,
    /// Ends of children on their way.
    ends: BTreeMap<IntentId, (CallId, String, bool)>,
}

impl Stream {
    /// `partial`: with pieces of what models say.
    pub(crate) fn new(partial: bool) -> Self {
        Self { partial, ..Self::default() }
    }

    /// The lines of a piece of progress: of a model's text alone, where they are wanted. The first piece of an attempt
    /// begins a message, so that a reply which broke off and is asked for again is told apart from what it said before.
    pub(crate) fn delta(&mut self, tree: &Tree, progress: &Progress) -> Vec<String> {
        self.piece(tree.get(progress.session), progress)
    }

    /// The same by the state of the session alone, where it is known.
    pub(crate) fn piece(&mut self, state: Option<&Session>, progress: &Progress) -> Vec<String> {
        let Delta::Text(text) = &progress.delta else { return Vec::new() };
        if !self.partial {
            return Vec::new();
        }
        let (id, of) = (progress.session, (progress.action, progress.attempt));
        let above = state.and_then(tree::parent).map(|parent| parent.call.clone());
        let event = |event: Value| json_line(&partial(id, of, above.as_ref(), event));
        let mut lines = Vec::new();
        if self.speaking.insert(id, of) != Some(of) {
            let model = state.and_then(|state| Some(state.model.as_ref()?.id.clone())).unwrap_or_default();
            let message = json!({
                "id": progress.action.to_string(), "type": "message", "role": "assistant", "model": model,
                "content": [],
            });
            lines.push(event(json!({"type": "message_start", "message": message})));
            let block = json!({"type": "text", "text": ""});
            lines.push(event(json!({"type": "content_block_start", "index": 0, "content_block": block})));
        }
        let delta = json!({"type": "text_delta", "text": text});
        lines.push(event(json!({"type": "content_block_delta", "index": 0, "delta": delta})));
        lines
    }

    /// The first line.
    pub(crate) fn init(session: SessionId, cwd: &str, model: &str, tools: &[String]) -> Value {
        json!({
            "type": "system",
            "subtype": "init",
            "session_id": session.to_string(),
            "cwd": cwd,
            "model": model,
            "tools": tools,
            "schema_version": SCHEMA,
        })
    }

    /// The line of something found while an action runs. Lossy: the result has all of it.
    pub(crate) fn progress(progress: &Progress) -> Option<String> {
        let (what, found) = match &progress.delta {
            Delta::Finding(finding) => ("finding", serde_json::to_value(finding).ok()?),
            Delta::Test(test) => ("test", serde_json::to_value(test).ok()?),
            _ => return None,
        };
        Some(json_line(&json!({
            "type": "progress",
            "session_id": progress.session.to_string(),
            "action": progress.action.to_string(),
            what: found,
        })))
    }

    /// The line of one event, if it has one.
    pub(crate) async fn record(
        &mut self,
        tree: &Tree,
        blobs: &dyn Blobs,
        happened: &Happened,
    ) -> Option<String> {
        let id = happened.session;
        let above = tree.get(id).and_then(tree::parent).map(|parent| parent.call.clone());
        let results = |results: Vec<Value>| Some(json_line(&user(id, above.as_ref(), results)));
        match &happened.record.event {
            Event::Finished { outcome } => match &outcome.end {
                End::Done(Done::Said { text, calls, stop, usage, .. }) => {
                    let model = tree.get(id).and_then(|state| Some(state.model.as_ref()?.id.clone()));
                    let content = spoken(blobs, *text, calls).await;
                    let model = model.unwrap_or_default();
                    let message = message(&outcome.action.to_string(), &model, content, *stop, *usage);
                    Some(json_line(&json!({
                        "type": "assistant",
                        "session_id": id.to_string(),
                        "message": message,
                        "parent_tool_use_id": above,
                    })))
                }
                End::Done(Done::Ran { results: ran, .. }) => {
                    let mut all = Vec::new();
                    for result in ran {
                        all.push(tool_result(&result.call, &shown(blobs, result.text).await, !result.ok));
                    }
                    results(all)
                }
                End::Done(Done::Adopted { clean, text, .. }) => match self.adopting.remove(&id) {
                    Some(call) => results(vec![tool_result(&call, &shown(blobs, *text).await, !clean)]),
                    None => None,
                },
                _ => None,
            },
            Event::Started { work: Work::Adopt { call, .. }, .. } => {
                self.adopting.insert(id, call.clone());
                None
            }
            Event::CallAnswered { call, ok, what } => results(vec![tool_result(call, what, !ok)]),
            Event::Answered { question, text, .. } => match self.questions.remove(&(id, question.clone())) {
                Some(call) => results(vec![tool_result(&call, &shown(blobs, *text).await, false)]),
                None => None,
            },
            Event::Submitted { intent } => {
                self.submitted(tree, blobs, id, intent).await;
                None
            }
            Event::Disposed { intent, .. } => match self.ends.remove(intent) {
                Some((call, what, ok)) => results(vec![tool_result(&call, &what, !ok)]),
                None => None,
            },
            Event::Asked { question, call, .. } => {
                if let Some(call) = call {
                    self.questions.insert((id, question.clone()), call.clone());
                }
                Some(raw(happened))
            }
            event => told_as_it_is(event).then(|| raw(happened)),
        }
    }

    /// A child without work to take over ends its call when its end is taken note of.
    async fn submitted(&mut self, tree: &Tree, blobs: &dyn Blobs, id: SessionId, intent: &Intent) {
        let Wish::SubtaskEnded { child, end } = &intent.wish else { return };
        if end.commit.is_some() {
            return;
        }
        let Some(call) = tree.get(id).and_then(|state| Some(state.children.get(child)?.call.clone())) else {
            return;
        };
        let words = match end.summary {
            Some(summary) => shown(blobs, summary).await,
            None => String::new(),
        };
        let what = format!("the child session {}: {words}", end.state);
        self.ends.insert(intent.id, (call, what, end.code == 0));
    }
}

async fn shown(blobs: &dyn Blobs, digest: contract::Digest) -> String {
    text(blobs, digest).await.unwrap_or_else(|fault| fault.what)
}

async fn spoken(blobs: &dyn Blobs, said: Option<contract::Digest>, calls: &[Call]) -> Vec<Value> {
    let mut content = Vec::new();
    if let Some(said) = said {
        content.push(json!({"type": "text", "text": shown(blobs, said).await}));
    }
    for call in calls {
        let args = shown(blobs, call.args).await;
        let input = serde_json::from_str(&args).unwrap_or(Value::String(args));
        content.push(json!({"type": "tool_use", "id": call.id, "name": call.tool, "input": input}));
    }
    content
}

fn message(id: &str, model: &str, content: Vec<Value>, stop: Stop, usage: Usage) -> Value {
    let stop = match stop {
        Stop::EndTurn => "end_turn",
        Stop::ToolUse => "tool_use",
        Stop::MaxTokens => "max_tokens",
        Stop::Refusal => "refusal",
        Stop::StopSequence => "stop_sequence",
    };
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "usage": {"input_tokens": usage.input, "output_tokens": usage.output},
    })
}

/// A piece of a reply that is under way. Lossy: what counts is the `assistant` record.
fn partial(id: SessionId, (action, attempt): (ActionId, u32), above: Option<&CallId>, event: Value) -> Value {
    json!({
        "type": "stream_event",
        "session_id": id.to_string(),
        "action": action.to_string(),
        "attempt": attempt,
        "event": event,
        "parent_tool_use_id": above,
    })
}

fn user(id: SessionId, above: Option<&CallId>, content: Vec<Value>) -> Value {
    json!({
        "type": "user",
        "session_id": id.to_string(),
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": above,
    })
}

fn tool_result(call: &str, text: &str, error: bool) -> Value {
    json!({"type": "tool_result", "tool_use_id": call, "content": text, "is_error": error})
}

/// The record itself, byte for byte as it is stored.
fn raw(happened: &Happened) -> String {
    let record = String::from_utf8_lossy(&happened.stored.bytes);
    format!("{{\"type\":\"event\",\"session_id\":\"{}\",\"record\":{record}}}\n", happened.session)
}

/// Events that have no form of their own in the stream, and matter to who follows it.
fn told_as_it_is(event: &Event) -> bool {
    matches!(
        event,
        Event::Judged { .. }
            | Event::ApprovalAsked { .. }
            | Event::ApprovalAnswered { .. }
            | Event::Paused { .. }
            | Event::Waits { .. }
            | Event::FellBack { .. }
            | Event::Staged { .. }
            | Event::Recovered { .. }
            | Event::Compacted { .. }
            | Event::Uncompacted { .. }
            | Event::Repaired { .. }
            | Event::ChildOpened { .. }
            | Event::Failed { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of FORMATS.md section 6 have exactly these fields; a reader of that page finds them here.
    #[test]
    fn lines_have_the_fields_of_the_formats_page() {
        let page = include_str!("../../../contract/FORMATS.md");
        let block = page.split("```jsonl stream\n").nth(1).unwrap().split("```").next().unwrap();
        let lines: Vec<Value> = block.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let id = SessionId(7);
        let said = message("1.2", "m", Vec::new(), Stop::ToolUse, Usage::default());
        let action = ActionId { turn: 1, step: 2 };
        let pieces = page.split("```jsonl partial\n").nth(1).unwrap().split("```").next().unwrap();
        for line in pieces.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            assert_eq!(fields(&partial(id, (action, 1), None, Value::Null)), fields(&line));
        }
        let own = [
            Stream::init(id, "/", "m", &[]),
            json!({"type": "assistant", "session_id": "", "message": said, "parent_tool_use_id": null}),
            user(id, None, vec![tool_result("c", "t", false)]),
        ];
        for (own, line) in own.iter().zip(&lines) {
            assert_eq!(fields(own), fields(line));
        }
        assert_eq!(fields(&own[1]["message"]), fields(&lines[1]["message"]));
        assert_eq!(fields(&own[2]["message"]["content"][0]), fields(&lines[2]["message"]["content"][0]));
    }
}
