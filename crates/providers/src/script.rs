//! `builtin/script`: plays a conversation from a TOML file, for tests and demonstrations.
//!
//! Knows nothing of what its words do. The position is the request's ordinal, so the same model
//! action tried again gets the same reply. Start at [`Script::load`]; the format is in [`format`].

pub mod format;

use crate::{request_tokens, tokens};
use contract::cancel::Urgency;
use contract::model::{Broken, Card, Message, Model, Reply, Request, Stop, ToolUse, Usage};
use contract::port::{Delta, Sink};
use contract::{BoxFuture, Cancel, Fault, Kind};
use format::Turn;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Bytes of the last message quoted when an expectation fails.
const QUOTE_BYTES: usize = 200;
/// What a script says once all its turns were played.
const ENDED: &str = "script ended";

/// A conversation that is known beforehand.
#[derive(Debug, Clone)]
pub struct Script {
    name: String,
    card: Card,
    turns: Vec<Turn>,
}

impl Script {
    /// Reads a script from this file.
    pub fn load(path: &Path) -> Result<Self, Fault> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Fault::new(
                Kind::UserFixable,
                "script-unreadable",
                format!("cannot read the script {name}: {error}"),
            )
            .hint("check the path after `builtin/script:`; it is relative to the project")
        })?;
        Self::parse(&text, &name)
    }

    /// Reads a script from this text; `name` stands in messages about it.
    pub fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        let (card, turns) = format::parse(text, name)?;
        Ok(Self { name: name.into(), card, turns })
    }

    /// The turn this ordinal falls on, and which of its repetitions that is (first is 1).
    fn turn(&self, ordinal: u32) -> Option<(&Turn, u32)> {
        let mut before = 0;
        for turn in &self.turns {
            if ordinal - before < turn.repeat {
                return Some((turn, ordinal - before + 1));
            }
            before += turn.repeat;
        }
        None
    }

    /// Every turn can be found and filled in, whatever was said before.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn plays(&self) {
        for ordinal in [0, 1, 2, 7, u32::MAX - 1, u32::MAX] {
            let Some((turn, nth)) = self.turn(ordinal) else { continue };
            assert!((1..=turn.repeat).contains(&nth));
            let last = "{{last}} {{step}}\u{1b}[1m";
            let fill = Fill { last, step: ordinal.saturating_add(1), nth, literal: false };
            let text = fill.text(&turn.text);
            // What came from outside is not a template.
            assert_eq!(text.matches(last).count(), turn.text.matches("{{last}}").count());
            turn.calls.iter().for_each(|call| drop(fill.value(&call.args)));
        }
    }

    fn reply(&self, request: &Request, turn: &Turn, nth: u32) -> Result<Reply, Fault> {
        let last = last_text(request);
        if let Some(wanted) = turn.when.as_ref().filter(|wanted| !last.contains(wanted.as_str())) {
            return Err(self.unexpected(request.ordinal, wanted, last));
        }
        if let Some(fault) = &turn.error {
            return Err(fault.clone());
        }
        let fill = Fill { last, step: request.ordinal + 1, nth, literal: turn.literal };
        let text = fill.text(&turn.text);
        let calls: Vec<ToolUse> = (turn.calls.iter().enumerate())
            .map(|(i, call)| ToolUse {
                id: (call.id.as_ref())
                    .map_or_else(|| format!("call-{}-{}", request.ordinal + 1, i + 1), |id| fill.text(id)),
                tool: call.tool.clone(),
                args: fill.value(&call.args),
            })
            .collect();
        let written = text.len() + calls.iter().map(|call| crate::json_bytes(&call.args)).sum::<usize>();
        let stop = turn.stop.unwrap_or(if calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse });
        let counted =
            || Usage { input: request_tokens(request), output: tokens(written), ..Usage::default() };
        Ok(Reply::plain(text, calls, stop, turn.usage.unwrap_or_else(counted)))
    }

    fn unexpected(&self, ordinal: u32, wanted: &str, last: &str) -> Fault {
        let what = format!(
            "{}: turn {} expects a last message with {wanted:?}, but it was {:?}",
            self.name,
            ordinal + 1,
            cut(last)
        );
        Fault::new(Kind::Permanent, "script-unexpected", what)
            .hint("correct the script's `expect`, or what came before it")
    }
}

impl Model for Script {
    fn card(&self) -> Card {
        self.card
    }

    fn respond<'a>(
        &'a self,
        request: Request,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>> {
        Box::pin(async move {
            let Some((turn, nth)) = self.turn(request.ordinal) else {
                let usage = Usage {
                    input: request_tokens(&request),
                    output: tokens(ENDED.len()),
                    ..Usage::default()
                };
                return Ok(Reply::plain(ENDED, Vec::new(), Stop::EndTurn, usage));
            };
            if turn.delay_ms > 0 {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(turn.delay_ms)) => {}
                    () = cancel.reached(Urgency::Graceful) => {}
                }
            }
            if cancel.is_cancelled() {
                return Err(Fault::new(Kind::Transient, "cancelled", "the model call was cancelled").into());
            }
            let reply = self.reply(&request, turn, nth)?;
            for piece in reply.text.split_inclusive(' ') {
                sink.delta(Delta::Text(piece.into()));
            }
            Ok(reply)
        })
    }
}

/// What `{{last}}`, `{{step}}` and `{{n}}` stand for in one reply.
struct Fill<'a> {
    last: &'a str,
    step: u32,
    nth: u32,
    /// There is nothing to fill in.
    literal: bool,
}

impl Fill<'_> {
    fn text(&self, template: &str) -> String {
        if self.literal {
            return template.to_owned();
        }
        // `{{last}}` goes last: what came from outside is not a template.
        template
            .replace("{{step}}", &self.step.to_string())
            .replace("{{n}}", &self.nth.to_string())
            .replace("{{last}}", self.last)
    }

    fn value(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(key, value)| (key.clone(), self.value(value))).collect())
            }
            other => other.clone(),
        }
    }
}

fn last_text(request: &Request) -> &str {
    match request.messages.last() {
        Some(Message::User { text } | Message::Assistant { text, .. } | Message::Tool { text, .. }) => text,
        None => "",
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=QUOTE_BYTES.min(text.len())).rev().find(|&i| text.is_char_boundary(i));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests;
