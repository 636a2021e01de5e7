//! `builtin/fixer`: a rule-based model. It runs the project's checks, reads what compiler and linter
//! say, applies advice that can be applied, verifies each step, and says plainly what is left.
//!
//! It has what any model has: the conversation and tool calls, nothing else; its reply is a pure
//! function of the request. Start at [`Fixer`], then `replay` (how a program over a conversation
//! works) and `cargo` (the program for Rust projects).

mod attempt;
mod cargo;
pub(crate) mod diag;
mod goal;
mod other;
pub(crate) mod patch;
mod replay;
mod rules;
mod source;
mod tests_run;
mod wire;

use contract::cancel::Urgency;
use contract::model::{Broken, Card, Model, Price, Reply, Request, Stop, ToolUse, Usage};
use contract::port::{Delta, Sink};
use contract::{BoxFuture, Cancel, Fault, Kind};

/// The rule-based model. It has no state: the conversation is all there is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fixer;

/// Tokens of conversation it takes in: it reads all there is, so this bounds what is kept for it.
const CONTEXT_TOKENS: u64 = 8_000_000;
/// Tokens of its longest reply: a file rewritten whole.
const OUTPUT_TOKENS: u64 = 4_000_000;

impl Model for Fixer {
    fn card(&self) -> Card {
        let price = Some(Price { input: 0, output: 0, ..Price::default() });
        Card { context_tokens: CONTEXT_TOKENS, output_tokens: OUTPUT_TOKENS, price }
    }

    fn respond<'a>(
        &'a self,
        request: Request,
        cancel: Cancel,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Reply, Broken>> {
        Box::pin(async move {
            if cancel.urgency() >= Some(Urgency::Graceful) {
                return Err(Fault::new(Kind::Transient, "cancelled", "the model call was cancelled").into());
            }
            let reply = reply(&request);
            sink.delta(Delta::Text(reply.text.clone()));
            Ok(reply)
        })
    }
}

/// The next message of this conversation.
fn reply(request: &Request) -> Reply {
    let checks = goal::checks(&request.system);
    let (text, wants) = replay::reply(request, |talk| {
        let mut memory = attempt::Memory::default();
        loop {
            talk.begin_turn();
            match turn(talk, &checks, &mut memory) {
                Ok(()) | Err(replay::Pause::Interrupted) => {}
                Err(pause) => return Err(pause),
            }
        }
    });
    let number = request.ordinal + 1;
    let calls: Vec<ToolUse> = (wants.into_iter().enumerate())
        .map(|(i, want)| {
            let (tool, args) = wire::spoken(want);
            ToolUse { id: format!("call-{number}-{}", i + 1), tool: tool.into(), args }
        })
        .collect();
    let stop = if calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
    // It costs nothing and no vendor counts: tokens would be made up.
    Reply::plain(text, calls, stop, Usage::default())
}

/// One turn: from a message of the person or of Kapell to `finish`.
fn turn(
    talk: &mut replay::Talk<'_>,
    checks: &[goal::Check],
    memory: &mut attempt::Memory,
) -> Result<(), replay::Pause> {
    let goal = goal::Goal::of(checks, talk.heard());
    let top = talk.ask("Looking at the project.", vec![wire::list()])?;
    if wire::lists(&top[0], "Cargo.toml") {
        cargo::turn(talk, goal, checks, memory)
    } else {
        other::turn(talk, checks)
    }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
