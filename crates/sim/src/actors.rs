//! Who acts on sessions from outside: the person at any terminal, and what models, tools and checks answer.
//!
//! Everything is drawn from the seed. Start at [`outcome`] and [`wish`].

use crate::rng::Rng;
use contract::action::{
    Call, CallResult, Control, Done, EffectClass, End, Integrated, Outcome, Prepared, Run, Task, Work,
};
use contract::checks::{CheckRun, Flag, Report, Side, Status};
use contract::intent::Wish;
use contract::model::{Card, ModelRef, Price, Stop, Usage};
use contract::session::{Ask, Limits, Rights, SessionSpec};
use contract::{ActionId, Amount, Digest, Fault, Kind};
use kernel::Session;
use kernel::fsm::ApprovalState;

pub(crate) fn spec(rng: &mut Rng) -> SessionSpec {
    let card = Card {
        context_tokens: 50_000,
        output_tokens: 1_000,
        price: Some(Price { input: 3_000_000, output: 15_000_000 }),
    };
    let ask = if rng.chance(300) { Ask::External } else { Ask::Never };
    let tight = Amount { nanos: 2_000_000, tokens: 400_000, steps: 40, time_ms: u64::MAX };
    let limits = Limits { steps_per_turn: 12, depth: 2, children: 3, rounds: 2, same_failures: 3 };
    SessionSpec {
        goal: Digest::of(&rng.next().to_le_bytes()),
        goal_bytes: 100,
        repo: "/repo".into(),
        base: None,
        target: None,
        model: ModelRef { id: "sim/model".into(), card },
        mode: "code".into(),
        workflow: if rng.chance(100) { kernel::workflow::bare() } else { kernel::workflow::standard() },
        rights: Rights::all(ask),
        limits,
        budget: if rng.chance(300) { tight } else { Amount::UNLIMITED },
        goal_checks: Vec::new(),
        parent: None,
    }
}

/// How an attempt ends, if it is left to end.
pub(crate) fn outcome(rng: &mut Rng, run: &Run, fault_rate: u64, wrong_class: bool) -> Outcome {
    let end = if rng.chance(fault_rate) { failure(rng, run) } else { End::Done(done(rng, run, wrong_class)) };
    let mut used = Amount { steps: 1, time_ms: rng.below(500), ..Amount::ZERO };
    if let End::Done(Done::Said { usage, .. }) = &end {
        used.tokens = usage.input + usage.output;
        used.nanos = run.context.spec.model.card.price.map_or(0, |price| price.cost(*usage));
    }
    Outcome { action: run.action, attempt: run.attempt, end, used }
}

fn failure(rng: &mut Rng, run: &Run) -> End {
    let kinds = [Kind::Transient, Kind::RateLimited, Kind::Degraded, Kind::UserFixable, Kind::Permanent];
    let kind = *rng.pick(&kinds).unwrap_or(&Kind::Transient);
    match rng.below(4) {
        0 => End::TimedOut,
        1 if run.class == EffectClass::External => {
            End::Failed(Fault::new(kind, contract::error::NOT_RUN, "not begun"))
        }
        _ => End::Failed(Fault::new(kind, "simulated", "it went wrong")),
    }
}

fn done(rng: &mut Rng, run: &Run, wrong_class: bool) -> Done {
    let digest = Digest::of(&rng.next().to_le_bytes());
    match &run.work {
        Work::Prepare => Done::Prepared(Prepared {
            base: "base".into(),
            target: Some("main".into()),
            checks: Vec::new(),
            setup: Vec::new(),
            goal_checks: Vec::new(),
            notes: Vec::new(),
        }),
        Work::Model { ordinal, .. } => said(rng, run, *ordinal, wrong_class),
        Work::Tools { calls } => {
            let results = calls.iter().map(|call| CallResult {
                call: call.id.clone(),
                ok: rng.chance(850),
                text: digest,
                bytes: rng.below(2_000),
                full: None,
                exit: None,
                changed: false,
            });
            let results = results.collect();
            Done::Ran {
                results,
                savepoint: (run.class != EffectClass::Pure).then(|| format!("save-{}", run.action)),
            }
        }
        Work::Check { base_known } => Done::Checked(report(rng, *base_known, run.action)),
        Work::Inspect { .. } => {
            let flag = Flag { code: "test-deleted".into(), path: "t".into(), what: "a test is gone".into() };
            Done::Inspected { flags: if rng.chance(150) { vec![flag] } else { Vec::new() }, files: 1 }
        }
        Work::Integrate { result } => Done::Integrated(integrated(rng, result)),
        Work::Adopt { child, .. } => {
            Done::Adopted { child: *child, clean: rng.chance(800), text: digest, bytes: 10 }
        }
        Work::Rewind { to } => Done::Rewound { to: *to, undo: format!("undo-{}", run.action) },
    }
}

fn integrated(rng: &mut Rng, result: &str) -> Integrated {
    let mut end =
        Integrated { landed: None, branch: Some("main".into()), why: None, detail: None, report: None };
    match rng.below(10) {
        0 => end.why = Some("conflict".into()),
        1 => end.why = Some("dirty".into()),
        _ => end.landed = Some(result.to_owned()),
    }
    end
}

fn report(rng: &mut Rng, base_known: bool, action: ActionId) -> Report {
    let run = |side, status| CheckRun {
        check: "test".into(),
        side,
        status,
        exit: None,
        log: Digest::default(),
        ms: 1,
        tests: None,
    };
    let result = *rng
        .pick(&[Status::Passed, Status::Passed, Status::Passed, Status::Failed, Status::CouldNotRun])
        .unwrap_or(&Status::Passed);
    let mut runs = vec![run(Side::Result, result)];
    if !base_known {
        runs.insert(0, run(Side::Base, if rng.chance(500) { Status::Passed } else { Status::Failed }));
    }
    Report { base: "base".into(), result: format!("result-{action}"), same_tree: false, runs }
}

fn said(rng: &mut Rng, run: &Run, ordinal: u32, wrong_class: bool) -> Done {
    let card = run.context.spec.model.card;
    let usage = Usage { input: rng.below(5_000), output: rng.below(card.output_tokens) };
    let text = Some(Digest::of(&rng.next().to_le_bytes()));
    let more = ordinal < 8 && rng.chance(800);
    let count = if more { 1 + rng.below(3) } else { 0 };
    let calls: Vec<Call> =
        (0..count).map(|n| call(rng, &format!("c{}.{n}", run.action.step), wrong_class)).collect();
    let stop = match (calls.is_empty(), rng.below(20)) {
        (true, 0) => Stop::Refusal,
        (true, 1) => Stop::MaxTokens,
        (true, _) => Stop::EndTurn,
        (false, _) => Stop::ToolUse,
    };
    Done::Said { text, bytes: 200, calls, stop, usage }
}

fn call(rng: &mut Rng, id: &str, wrong_class: bool) -> Call {
    let digest = Digest::of(&rng.next().to_le_bytes());
    let class = *rng
        .pick(&[EffectClass::Pure, EffectClass::Pure, EffectClass::Staged, EffectClass::External])
        .unwrap_or(&EffectClass::Pure);
    let control = match rng.below(24) {
        0 => Some(Control::Ask { question: digest }),
        1 => Some(Control::Plan {
            tasks: vec![
                Task { id: "a".into(), goal: digest, after: vec![] },
                Task { id: "b".into(), goal: digest, after: vec!["a".into()] },
            ],
        }),
        2 | 3 => Some(Control::Delegate {
            goal: digest,
            bytes: 10,
            mode: String::new(),
            budget: Amount::UNLIMITED,
            tools: None,
        }),
        4 => Some(Control::Finish { done: rng.chance(700), needs: "language-model".into(), summary: digest }),
        _ => None,
    };
    let tool = if class == EffectClass::External { "external" } else { "other" };
    // The planted bug: an external effect that calls itself harmless.
    let class = if wrong_class && class == EffectClass::External { EffectClass::Staged } else { class };
    let class = if control.is_some() { EffectClass::Pure } else { class };
    let error = (control.is_none() && rng.chance(30)).then_some(digest);
    Call {
        id: id.to_owned(),
        tool: tool.into(),
        args: digest,
        class,
        why: "simulated".into(),
        hash: digest,
        deadline_ms: Some(1_000),
        control,
        error,
    }
}

/// What the person wants next. `helpful` answers what is asked and lets things go on.
pub(crate) fn wish(rng: &mut Rng, state: &Session, helpful: bool) -> Option<Wish> {
    let text = Digest::of(&rng.next().to_le_bytes());
    let pending = state.approvals.iter().find(|(_, approval)| approval.state == ApprovalState::Pending);
    if let Some((id, approval)) = pending
        && (helpful || rng.chance(500))
    {
        let wrong = !helpful && rng.chance(200);
        let hash = if wrong { Digest::of(b"another content") } else { approval.hash };
        let yes = rng.chance(if helpful { 800 } else { 500 });
        return Some(if yes {
            Wish::Approve { approval: id.clone(), hash }
        } else {
            Wish::Deny { approval: id.clone() }
        });
    }
    if let Some(question) = state.questions.keys().next()
        && (helpful || rng.chance(500))
    {
        return Some(Wish::Answer { question: question.clone(), text, bytes: 10 });
    }
    if helpful {
        let pause = state.pause.as_ref()?;
        return Some(match pause.why.as_str() {
            "budget" => Wish::AddBudget {
                amount: Amount { nanos: 50_000_000, tokens: 1_000_000, steps: 100, time_ms: 0 },
            },
            _ => Wish::Resume { model: None },
        });
    }
    Some(match rng.below(12) {
        0 => Wish::Cancel,
        1 => Wish::Pause,
        2 | 3 => Wish::Resume { model: None },
        4 => Wish::Rewind {
            to: state.savepoints.back().map_or(ActionId { turn: 1, step: 1 }, |(action, _)| *action),
        },
        5 => Wish::Continue,
        6 => Wish::AddBudget { amount: Amount { tokens: 1_000, ..Amount::ZERO } },
        7 => Wish::Approve { approval: "a1".into(), hash: text },
        8 => Wish::Initialise,
        _ => Wish::Message { text, bytes: 10 },
    })
}
