//! Spans of a session: session, turn, action, call, with the names of the gen_ai conventions.
//!
//! A fold of one session's records; texts are digests there, and stay behind. Start at [`Tracer::record`].

use super::{flag, nanos, number, provider, resource, scope, text};
use crate::fold::{end_name, model_label};
use contract::action::{Done, End, Outcome, Work};
use contract::event::{Event, Final};
use contract::model::{CACHED, Stop, Usage};
use contract::record::Record;
use contract::session::SessionSpec;
use contract::{ActionId, Digest, SessionId, Timestamp};
use serde_json::{Value, json};

/// Hex digits of a span's id.
const SPAN_DIGITS: usize = 16;
/// Inside of the process, and a call to somebody else (OTLP's `SpanKind`).
const INTERNAL: u32 = 1;
const CLIENT: u32 = 3;

/// An attempt in flight.
#[derive(Debug, Clone)]
struct Open {
    action: ActionId,
    attempt: u32,
    work: Work,
    at: Timestamp,
}

/// The spans of one session.
#[derive(Debug)]
pub struct Tracer {
    session: SessionId,
    root: SessionId,
    parent: Option<String>,
    spec: Option<Box<SessionSpec>>,
    opened: Timestamp,
    last: Timestamp,
    turn: Option<(u32, Timestamp)>,
    open: Option<Open>,
}

/// The span of a session: the second half of its id.
fn session_span(session: SessionId) -> String {
    format!("{:016x}", session.0 as u64)
}

fn derived(name: &str) -> String {
    Digest::of(name.as_bytes()).to_string().chars().take(SPAN_DIGITS).collect()
}

fn turn_span(session: SessionId, turn: u32) -> String {
    derived(&format!("{session}/turn/{turn}"))
}

/// The span of an attempt. The first one has the action's own: what an action opened does not know its attempt.
fn action_span(session: SessionId, action: ActionId, attempt: u32) -> String {
    match attempt {
        1 => derived(&format!("{session}/{action}")),
        other => derived(&format!("{session}/{action}/{other}")),
    }
}

impl Tracer {
    /// Of this session, before its first record.
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            root: session,
            parent: None,
            spec: None,
            opened: Timestamp(0),
            last: Timestamp(0),
            turn: None,
            open: None,
        }
    }

    /// Takes a record in; the spans that it ends.
    pub fn record(&mut self, record: &Record<Event>) -> Vec<Value> {
        self.last = record.at;
        let mut spans = Vec::new();
        match &record.event {
            Event::Opened { spec } => {
                (self.opened, self.root) = (record.at, spec.root(self.session));
                self.parent =
                    spec.parent.as_ref().map(|parent| action_span(parent.session, parent.action, 1));
                self.spec = Some(spec.clone());
            }
            Event::Started { action, attempt, work, .. } => {
                if self.turn.is_none_or(|(turn, _)| turn != action.turn) {
                    spans.extend(self.turn_ended(record.at, true));
                    self.turn = Some((action.turn, record.at));
                }
                let (action, attempt, work) = (*action, *attempt, work.clone());
                self.open = Some(Open { action, attempt, work, at: record.at });
            }
            Event::Finished { outcome } => spans.extend(self.finished(record.at, outcome)),
            Event::Ended { state, code, .. } => {
                spans.extend(self.turn_ended(record.at, true));
                spans.push(self.session_ended(record.at, Some((*state, *code))));
            }
            _ => {}
        }
        spans
    }

    /// What is not over yet, as if it ended with the newest record; for a look at an unfinished session.
    pub fn unfinished(&mut self) -> Vec<Value> {
        let mut spans: Vec<Value> = self.turn_ended(self.last, false).into_iter().collect();
        spans.push(self.session_ended(self.last, None));
        spans
    }

    fn span(&self, id: String, parent: Option<String>, name: &str, from: Timestamp, to: Timestamp) -> Value {
        let mut span = json!({
            "traceId": format!("{:032x}", self.root.0), "spanId": id, "name": name, "kind": INTERNAL,
            "startTimeUnixNano": nanos(from), "endTimeUnixNano": nanos(to), "attributes": [], "status": {},
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = parent.into();
        }
        put(&mut span, text("kapell.session.id", &self.session.to_string()));
        span
    }

    fn session_ended(&self, at: Timestamp, end: Option<(Final, u8)>) -> Value {
        let mode = self.spec.as_ref().map_or("", |spec| spec.mode.as_str());
        let (id, name) = (session_span(self.session), format!("invoke_agent {mode}"));
        let mut span = self.span(id, self.parent.clone(), &name, self.opened, at);
        put(&mut span, text("gen_ai.operation.name", "invoke_agent"));
        put(&mut span, text("gen_ai.agent.name", mode));
        put(&mut span, text("gen_ai.conversation.id", &self.session.to_string()));
        if let Some(spec) = &self.spec {
            model(&mut span, &spec.model.id);
        }
        match end {
            Some((state, code)) => {
                put(&mut span, text("kapell.session.state", state.name()));
                put(&mut span, number("kapell.exit_code", u64::from(code)));
                status(&mut span, code == 0, &format!("exit code {code}"));
            }
            None => put(&mut span, flag("kapell.unfinished", true)),
        }
        span
    }

    fn turn_ended(&mut self, at: Timestamp, over: bool) -> Option<Value> {
        let (turn, from) = self.turn.take()?;
        let name = format!("turn {turn}");
        let parent = Some(session_span(self.session));
        let mut span = self.span(turn_span(self.session, turn), parent, &name, from, at);
        put(&mut span, number("kapell.turn", u64::from(turn)));
        if !over {
            put(&mut span, flag("kapell.unfinished", true));
        }
        Some(span)
    }

    fn finished(&mut self, at: Timestamp, outcome: &Outcome) -> Vec<Value> {
        let Some(open) = self.open.take_if(|open| open.action == outcome.action) else { return Vec::new() };
        let id = action_span(self.session, open.action, open.attempt);
        let parent = Some(turn_span(self.session, open.action.turn));
        let name = match &open.work {
            Work::Model { model, .. } | Work::Summarise { model, .. } => {
                format!("chat {}", model_name(model))
            }
            other => other.name().to_owned(),
        };
        let mut span = self.span(id.clone(), parent, &name, open.at, at);
        put(&mut span, text("kapell.action.id", &open.action.to_string()));
        put(&mut span, text("kapell.action.kind", open.work.name()));
        put(&mut span, number("kapell.attempt", u64::from(open.attempt)));
        put(&mut span, text("kapell.outcome", end_name(&outcome.end)));
        match &outcome.end {
            End::Done(_) => {}
            End::Failed(fault) => {
                put(&mut span, text("error.type", &fault.code));
                status(&mut span, false, &fault.code);
            }
            end => {
                put(&mut span, text("error.type", end_name(end)));
                status(&mut span, false, end_name(end));
            }
        }
        let mut spans = Vec::new();
        match &open.work {
            Work::Model { model, .. } | Work::Summarise { model, .. } => chat(&mut span, model, outcome),
            Work::Tools { calls } => {
                for call in calls {
                    spans.push(self.call(&open, at, &id, &call.id, &call.tool, outcome));
                }
            }
            _ => {}
        }
        spans.insert(0, span);
        spans
    }

    /// One call of an action. Records tell when the action began and ended, not each call of a batch.
    fn call(
        &self,
        open: &Open,
        at: Timestamp,
        parent: &str,
        id: &str,
        tool: &str,
        outcome: &Outcome,
    ) -> Value {
        let name = format!("execute_tool {tool}");
        let mut span =
            self.span(derived(&format!("{parent}/{id}")), Some(parent.to_owned()), &name, open.at, at);
        put(&mut span, text("gen_ai.operation.name", "execute_tool"));
        put(&mut span, text("gen_ai.tool.name", tool));
        put(&mut span, text("gen_ai.tool.call.id", id));
        put(&mut span, text("kapell.action.id", &open.action.to_string()));
        if let End::Done(Done::Ran { results, .. }) = &outcome.end {
            let result = results.iter().find(|result| result.call == id);
            let ok = result.is_some_and(|result| result.ok);
            if !ok {
                put(&mut span, text("error.type", "tool_error"));
            }
            status(&mut span, ok, "the tool told an error");
        } else {
            put(&mut span, text("error.type", end_name(&outcome.end)));
            status(&mut span, false, end_name(&outcome.end));
        }
        span
    }
}

fn put(span: &mut Value, attribute: Value) {
    if let Some(attributes) = span["attributes"].as_array_mut() {
        attributes.push(attribute);
    }
}

/// 1 = ok, 2 = error.
fn status(span: &mut Value, ok: bool, why: &str) {
    span["status"] = if ok { json!({"code": 1}) } else { json!({"code": 2, "message": why}) };
}

fn model_name(id: &str) -> String {
    let label = model_label(id);
    label.split_once('/').map_or(label.clone(), |(_, name)| name.to_owned())
}

fn model(span: &mut Value, id: &str) {
    put(span, text("gen_ai.provider.name", provider(id)));
    put(span, text("gen_ai.request.model", &model_name(id)));
}

/// What is told of a model's call.
fn chat(span: &mut Value, id: &str, outcome: &Outcome) {
    span["kind"] = CLIENT.into();
    put(span, text("gen_ai.operation.name", "chat"));
    model(span, id);
    let (usage, request, stop): (&Usage, &str, Option<Stop>) = match &outcome.end {
        End::Done(Done::Said { usage, request_id, stop, .. }) => (usage, request_id, Some(*stop)),
        End::Done(Done::Summarised { usage, request_id, .. }) => (usage, request_id, None),
        _ => return,
    };
    put(span, number("gen_ai.usage.input_tokens", usage.given()));
    put(span, number("gen_ai.usage.output_tokens", usage.output));
    put(span, number("gen_ai.usage.cache_read.input_tokens", usage.cache_read));
    put(span, number("gen_ai.usage.cache_creation.input_tokens", usage.cache_write));
    put(span, number("kapell.cost_nanos", outcome.used.nanos));
    put(span, flag("kapell.estimated", usage.estimated || outcome.estimated));
    if request.starts_with(CACHED) {
        put(span, flag("kapell.reply_kept", true));
    } else if !request.is_empty() {
        put(span, text("gen_ai.response.id", request));
    }
    if let Some(stop) = stop {
        let word = match stop {
            Stop::EndTurn => "stop",
            Stop::ToolUse => "tool_call",
            Stop::MaxTokens => "length",
            Stop::Refusal => "content_filter",
            Stop::StopSequence => "stop",
        };
        let words = json!({"arrayValue": {"values": [{"stringValue": word}]}});
        put(span, json!({"key": "gen_ai.response.finish_reasons", "value": words}));
    }
}

/// A request with these spans, to be posted to `/v1/traces`.
pub fn request(spans: Vec<Value>, version: &str) -> Value {
    json!({"resourceSpans": [{
        "resource": resource(version),
        "scopeSpans": [{"scope": scope(version), "spans": spans}],
    }]})
}
