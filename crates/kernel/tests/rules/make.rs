//! Short ways to say specs, calls, replies and reports.
//!
//! Knows no rules. Start at [`spec`].

use contract::action::{
    Call, CallResult, Control, Done, EffectClass, End, Integrated, Prepared, Run, Task, Work,
};
use contract::checks::{CheckRun, Flag, Report, Side, Status};
use contract::intent::Wish;
use contract::model::{Card, ModelRef, Price, Stop, Usage};
use contract::session::{Ask, Limits, Rights, SessionSpec};
use contract::{Amount, Digest, Fault, Kind};

/// The address of a text.
pub(crate) fn text(words: &str) -> Digest {
    Digest::of(words.as_bytes())
}

pub(crate) fn model(id: &str, price: Option<Price>) -> ModelRef {
    ModelRef {
        id: id.into(),
        card: Card { context_tokens: 100_000, output_tokens: 1_000, price },
        quota: None,
    }
}

/// Three dollars a million in, fifteen out.
pub(crate) const PRICE: Price =
    Price { input: 3_000_000_000, output: 15_000_000_000, cache_read: None, cache_write: None, tier: None };

/// A session with all rights, asked nothing, bounded by nothing.
pub(crate) fn spec() -> SessionSpec {
    SessionSpec {
        goal: text("mend it"),
        goal_bytes: 7,
        repo: "/repo".into(),
        base: None,
        target: None,
        model: model("test/model", Some(PRICE)),
        fallback: Vec::new(),
        summaries: None,
        mode: "code".into(),
        workflow: kernel::workflow::standard(),
        rights: Rights::all(Ask::Never),
        limits: Limits::default(),
        budget: Amount::UNLIMITED,
        goal_checks: Vec::new(),
        hooks: Vec::new(),
        parent: None,
        task: None,
    }
}

pub(crate) fn asking(ask: Ask) -> SessionSpec {
    SessionSpec { rights: Rights::all(ask), ..spec() }
}

/// The agent alone, without checks and landing.
pub(crate) fn bare() -> SessionSpec {
    SessionSpec { workflow: kernel::workflow::bare(), ..spec() }
}

fn call(id: &str, tool: &str, class: EffectClass) -> Call {
    Call {
        id: id.into(),
        tool: tool.into(),
        args: text(&format!("args of {id}")),
        class,
        why: class.name().into(),
        hash: text(&format!("{tool} {id}")),
        deadline_ms: None,
        control: None,
        error: None,
        ruled: None,
        together: None,
        hooks: Vec::new(),
        held: None,
    }
}

pub(crate) fn pure(id: &str) -> Call {
    call(id, "read", EffectClass::Pure)
}

pub(crate) fn staged(id: &str) -> Call {
    call(id, "edit", EffectClass::Staged)
}

pub(crate) fn external(id: &str) -> Call {
    call(id, "shell", EffectClass::External)
}

/// The same call (tool and arguments) under another id.
pub(crate) fn same(call: &Call, id: &str) -> Call {
    Call { id: id.into(), ..call.clone() }
}

/// A call whose arguments do not fit.
pub(crate) fn wrong(id: &str) -> Call {
    Call { error: Some(text("arguments do not fit")), args: text("bad"), ..pure(id) }
}

pub(crate) fn control(id: &str, control: Control) -> Call {
    Call { control: Some(control), ..call(id, "control", EffectClass::Pure) }
}

pub(crate) fn finish(id: &str) -> Call {
    control(id, Control::Finish { done: true, needs: String::new(), summary: text("done") })
}

pub(crate) fn give_up(id: &str, needs: &str) -> Call {
    control(id, Control::Finish { done: false, needs: needs.into(), summary: text("cannot") })
}

pub(crate) fn ask(id: &str) -> Call {
    control(id, Control::Ask { question: text("which?") })
}

pub(crate) fn delegate(id: &str, goal: &str) -> Call {
    delegate_with(id, goal, Amount::UNLIMITED, None)
}

pub(crate) fn delegate_with(id: &str, goal: &str, budget: Amount, tools: Option<Vec<String>>) -> Call {
    let (goal, bytes) = (text(goal), goal.len() as u64);
    control(id, Control::Delegate { goal, bytes, mode: String::new(), budget, tools })
}

pub(crate) fn plan(id: &str, tasks: &[(&str, &[&str])]) -> Call {
    let task = |(id, after): &(&str, &[&str])| Task {
        id: (*id).into(),
        goal: text(id),
        after: after.iter().map(|&id| id.into()).collect(),
    };
    control(id, Control::Plan { tasks: tasks.iter().map(task).collect() })
}

/// The model speaks and makes these calls.
pub(crate) fn says(calls: Vec<Call>) -> End {
    let stop = if calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
    said(calls, stop)
}

pub(crate) fn said(calls: Vec<Call>, stop: Stop) -> End {
    let usage = Usage { input: 100, output: 20, ..Usage::default() };
    End::Done(Done::said(Some(text("hm")), 2, calls, stop, usage))
}

/// A model has worded what is to go.
pub(crate) fn worded() -> End {
    let usage = Usage { input: 900, output: 90, ..Usage::default() };
    End::Done(Done::Summarised {
        text: text("what came first"),
        bytes: 400,
        usage,
        request_id: String::new(),
    })
}

/// Every call of a tool action, with this success.
pub(crate) fn ran(run: &Run, ok: bool) -> End {
    let Work::Tools { calls } = &run.work else { panic!("{} is no tool action", run.work.name()) };
    let result = |call: &Call| CallResult {
        call: call.id.clone(),
        ok,
        text: text("output"),
        bytes: 6,
        full: None,
        exit: None,
        changed: run.class != EffectClass::Pure,
        images: Vec::new(),
        pixels: Vec::new(),
        tokens: None,
        asked: Vec::new(),
        handed: Vec::new(),
    };
    let savepoint = (run.class != EffectClass::Pure).then(|| format!("savepoint {}", run.action));
    End::Done(Done::Ran { results: calls.iter().map(result).collect(), savepoint })
}

pub(crate) fn prepared() -> End {
    End::Done(Done::Prepared(Prepared {
        base: "base".into(),
        target: Some("main".into()),
        checks: Vec::new(),
        setup: Vec::new(),
        goal_checks: Vec::new(),
        notes: Vec::new(),
    }))
}

/// One check, on base and on result.
pub(crate) fn checked(result: &str, base: Status, status: Status) -> End {
    let run = |side, status| CheckRun {
        check: "test".into(),
        side,
        status,
        exit: None,
        log: text("log"),
        ms: 1,
        tests: None,
        held: None,
        asked: Vec::new(),
    };
    let runs = vec![run(Side::Base, base), run(Side::Result, status)];
    report(Report { base: "base".into(), result: result.into(), same_tree: false, runs })
}

pub(crate) fn report(report: Report) -> End {
    End::Done(Done::Checked(report))
}

pub(crate) fn inspected(flags: usize) -> End {
    let flag = Flag { code: "test-deleted".into(), path: "t.rs".into(), what: "a test is gone".into() };
    End::Done(Done::Inspected { flags: vec![flag; flags], files: 1 })
}

pub(crate) fn landed(commit: &str) -> End {
    integrated(Some(commit), None)
}

pub(crate) fn integrated(commit: Option<&str>, why: Option<&str>) -> End {
    End::Done(Done::Integrated(Integrated {
        landed: commit.map(Into::into),
        branch: Some("main".into()),
        why: why.map(Into::into),
        detail: None,
        report: None,
    }))
}

pub(crate) fn fails(kind: Kind, code: &str) -> End {
    End::Failed(Fault::new(kind, code, format!("{code} happened")))
}

pub(crate) fn message(words: &str) -> Wish {
    Wish::Message { text: text(words), bytes: words.len() as u64 }
}

pub(crate) fn resume() -> Wish {
    Wish::Resume { model: None }
}
