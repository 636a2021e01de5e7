//! What the world answers: the model's two replies, the one external call, the checks. Nothing is drawn by chance.
//!
//! Knows what an action may return; not when it does. Start at [`done`].

use crate::Config;
use contract::action::{Call, CallResult, Control, Done, EffectClass, Prepared, Run, Work};
use contract::checks::Report;
use contract::model::{Card, ModelRef, Stop, Usage};
use contract::session::{Ask, Limits, Rights, SessionSpec};
use contract::{Amount, Digest};

/// A session's first model call reserves the instructions, the goal and a reply: three of them do not fit under the cap.
const CARD: Card = Card { context_tokens: 20_000, output_tokens: 10, price: None };
const CAP: Amount = Amount { nanos: u64::MAX, tokens: 20_000, steps: 64, time_ms: u64::MAX };

/// What every root session is opened with.
pub(crate) fn spec() -> SessionSpec {
    SessionSpec {
        goal: Digest::of(b"goal"),
        goal_bytes: 100,
        repo: "/repo".into(),
        base: None,
        target: None,
        model: ModelRef { id: "model/checked".into(), card: CARD, quota: None },
        fallback: Vec::new(),
        summaries: None,
        mode: "code".into(),
        workflow: kernel::workflow::bare(),
        rights: Rights::all(Ask::External),
        limits: Limits::default(),
        budget: CAP,
        goal_checks: Vec::new(),
        hooks: Vec::new(),
        parent: None,
        task: None,
    }
}

/// How work ends when it is left to end.
pub(crate) fn done(config: &Config, run: &Run) -> Done {
    match &run.work {
        Work::Prepare => Done::Prepared(Prepared {
            base: "base".into(),
            target: None,
            checks: Vec::new(),
            setup: Vec::new(),
            goal_checks: Vec::new(),
            notes: Vec::new(),
        }),
        Work::Model { ordinal, .. } => {
            let root = run.context.spec.parent.is_none();
            let calls = match ordinal {
                0 if root && config.children > 0 => (0..config.children).map(delegate).collect(),
                0 if root => vec![external()],
                _ => Vec::new(),
            };
            let stop = if calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
            let usage = Usage { input: 1, output: 1, ..Usage::default() };
            Done::said(Some(Digest::of(b"text")), 1, calls, stop, usage)
        }
        Work::Tools { calls } => {
            let result = |call: &Call| CallResult {
                call: call.id.clone(),
                ok: true,
                text: Digest::of(b"result"),
                bytes: 1,
                full: None,
                exit: None,
                changed: false,
                images: Vec::new(),
                pixels: Vec::new(),
                tokens: None,
                asked: Vec::new(),
                handed: Vec::new(),
            };
            Done::Ran { results: calls.iter().map(result).collect(), savepoint: None }
        }
        Work::Check { .. } => Done::Checked(Report {
            base: "base".into(),
            result: "base".into(),
            same_tree: true,
            runs: Vec::new(),
        }),
        Work::Inspect { .. } => Done::Inspected { flags: Vec::new(), files: 0 },
        Work::Summarise { .. }
        | Work::Integrate { .. }
        | Work::Adopt { .. }
        | Work::Rewind { .. }
        | Work::Hooks { .. } => {
            unreachable!("nothing in this script leads to {:?}", run.work)
        }
    }
}

/// The call whose effect is counted.
fn external() -> Call {
    Call {
        id: "c0".into(),
        tool: "external".into(),
        args: Digest::of(b"args"),
        class: EffectClass::External,
        why: "counted".into(),
        hash: Digest::of(b"content"),
        deadline_ms: Some(1_000),
        control: None,
        error: None,
        ruled: None,
        together: None,
        hooks: Vec::new(),
        held: None,
    }
}

fn delegate(n: usize) -> Call {
    let goal = Digest::of(format!("part {n}").as_bytes());
    let budget = Amount { tokens: 12_000, ..CAP };
    let control = Control::Delegate { goal, bytes: 6, mode: String::new(), budget, tools: None };
    let (id, tool) = (format!("d{n}"), "delegate".into());
    Call { id, tool, class: EffectClass::Pure, control: Some(control), ..external() }
}
