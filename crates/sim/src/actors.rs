//! Who acts on sessions from outside: the person at any terminal, and what models, tools and checks answer.
//!
//! Everything is drawn from the seed. Start at [`spec`], [`outcome`] and [`wish`].

use crate::oracle::external;
use crate::rng::Rng;
use crate::swarm::Story;
use contract::action::{
    Call, CallResult, Control, Done, EffectClass, End, Integrated, Item, Outcome, Prepared, Run, Task, Todo,
    Work,
};
use contract::checks::{CheckRun, Flag, Report, Side, Status};
use contract::context::Sent;
use contract::error::{CONTEXT_FULL, NOT_RUN};
use contract::event::TaskState;
use contract::hooks::{Asked, HookAnswer, HookDef, HookEvent};
use contract::intent::Wish;
use contract::model::{Card, Gauge, Meter, ModelRef, Price, Quota, Rates, Stop, Usage, Window};
use contract::policy::Decision;
use contract::session::{Ask, Limits, Rights, SessionSpec, Summaries};
use contract::{ActionId, Amount, Digest, Fault, Kind, limits};
use kernel::Session;
use kernel::fsm::ApprovalState;

pub(crate) fn model(rng: &mut Rng) -> ModelRef {
    let price =
        Some(Price { input: 3_000_000, output: 15_000_000, ..Price::default() }).filter(|_| rng.chance(950));
    let context_tokens = rng.of(&[50_000, 50_000, 13_000]);
    let name = rng.of(&["sim/model", "sim/model", "sim/other"]);
    let quota = quota(rng);
    ModelRef {
        id: name.into(),
        card: Card { context_tokens, output_tokens: rng.of(&[1_000, 1_000, 4_000]), price },
        quota,
    }
}

/// A model that takes little, and counts like a real one.
const SMALL: &str = "sim/small";

fn small(rng: &mut Rng) -> ModelRef {
    let model = model(rng);
    ModelRef { id: SMALL.into(), card: Card { context_tokens: 13_000, ..model.card }, ..model }
}

/// Bytes of one of this model's tokens.
fn token_bytes(run: &Run) -> u64 {
    if long(run) { limits::BYTES_PER_TOKEN } else { limits::TOKEN_BYTES_MOST }
}

/// One of two keys, with what is declared of it; or none.
fn quota(rng: &mut Rng) -> Option<Quota> {
    let key = rng.of(&[None, None, Some("sim/key"), Some("sim/key"), Some("sim/another")])?;
    let window = Window { requests: 1 + rng.below(6), ms: rng.of(&[500, 3_000, 20_000]) };
    let rates = Rates {
        requests_per_minute: rng.of(&[None, Some(30), Some(200)]),
        tokens_per_minute: rng.of(&[None, None, Some(200_000)]),
        concurrent: rng.of(&[None, Some(1), Some(2)]),
        window: Some(window).filter(|_| rng.chance(400)),
        ..Rates::default()
    };
    Some(Quota { name: key.into(), rates })
}

pub(crate) fn spec(rng: &mut Rng, story: Story) -> SessionSpec {
    let ask = if rng.chance(story.asks) { rng.of(&[Ask::External, Ask::Writes]) } else { Ask::Never };
    let long = rng.chance(story.long);
    let speaker = if long { small(rng) } else { model(rng) };
    let summaries = match rng.below(3) {
        0 => None,
        1 if rng.chance(200) => Some(Summaries::Never),
        1 => Some(Summaries::Same),
        _ => Some(Summaries::By(Box::new(model(rng)))),
    };
    let tight = Amount { nanos: 2_000_000, tokens: 400_000, steps: 40, time_ms: u64::MAX };
    let steps = Amount { steps: 10, time_ms: 3_600_000, ..Amount::UNLIMITED };
    let fallback = if rng.chance(200) { vec![model(rng), model(rng)] } else { Vec::new() };
    let bounds = Limits {
        steps_per_turn: if long { 40 } else { rng.of(&[8, 24]) },
        depth: 2,
        children: 3,
        rounds: 2,
        same_failures: rng.of(&[2, 3]),
        call: rng.of(&[Amount::UNLIMITED, Amount::UNLIMITED, Amount { tokens: 14_000, ..Amount::UNLIMITED }]),
        ..Limits::default()
    };
    let goal = Digest::of(&rng.next().to_le_bytes());
    SessionSpec {
        goal,
        goal_bytes: 100,
        repo: "/repo".into(),
        base: None,
        target: None,
        model: speaker,
        fallback,
        summaries: summaries.filter(|_| long),
        mode: "code".into(),
        workflow: if rng.chance(100) { kernel::workflow::bare() } else { kernel::workflow::standard() },
        rights: Rights::all(ask),
        limits: bounds,
        budget: rng.of(&[Amount::UNLIMITED, Amount::UNLIMITED, Amount::UNLIMITED, tight, steps]),
        goal_checks: Vec::new(),
        hooks: hooks(goal),
        parent: None,
        task: None,
    }
}

/// What goes wrong inside an attempt: per hundred thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trouble {
    pub(crate) failure: u64,
    pub(crate) wrong: u64,
    pub(crate) overbill: u64,
    /// The providers are down.
    pub(crate) outage: bool,
}

/// How an attempt ends, if it is left to end.
pub(crate) fn outcome(rng: &mut Rng, run: &Run, trouble: Trouble, story: Story) -> Outcome {
    if trouble.outage && matches!(run.work, Work::Model { .. }) && rng.chance(900) {
        let mut outcome = Outcome::new(run.action, run.attempt, unwell(rng), Amount::ZERO);
        outcome.metered = rng.chance(800);
        return outcome;
    }
    let end = if rng.rarely(trouble.failure) {
        failure(rng, run)
    } else {
        End::Done(done(rng, run, trouble, story))
    };
    let mut used = Amount { steps: 1, time_ms: rng.below(500), ..Amount::ZERO };
    if let End::Done(Done::Said { usage, .. } | Done::Summarised { usage, .. }) = &end {
        used.tokens = usage.input + usage.output;
        used.nanos = run.context.spec.model.card.price.map_or(0, |price| price.cost(*usage));
    }
    let mut outcome = Outcome::new(run.action, run.attempt, end, used);
    if !matches!(outcome.end, End::Done(_)) && matches!(run.work, Work::Model { .. }) && rng.chance(300) {
        // What a broken call has cost is known; or only that it cannot have been more than too much.
        (outcome.metered, outcome.estimated) = (true, rng.chance(500));
        outcome.used.tokens = if outcome.estimated { 10_000_000 } else { rng.below(500) };
    }
    if matches!(run.work, Work::Model { .. }) && rng.chance(300) {
        outcome.sent = Some(sent(rng));
    }
    if matches!(run.work, Work::Model { .. }) && rng.chance(150) {
        let gauge = Gauge { limit: Some(40), left: rng.below(4), reset_ms: Some(rng.below(5_000)) };
        outcome.meter = Meter { requests: Some(gauge), tokens: None };
    }
    outcome
}

/// What the adapter tells of the request it made.
fn sent(rng: &mut Rng) -> Sent {
    let repairs = if rng.chance(100) { vec!["a part of the request was mended".into()] } else { Vec::new() };
    let digest = Digest::of(&rng.next().to_le_bytes());
    Sent {
        request: digest,
        prompt: digest,
        prompt_bytes: 6_000,
        prompt_tokens: None,
        repairs,
        warnings: Vec::new(),
    }
}

/// The end of an attempt that never began. Of tools that is certain; of other work nobody is as careful to say so.
pub(crate) fn not_begun(rng: &mut Rng, run: &Run) -> Outcome {
    let kind = rng.of(&[Kind::Transient, Kind::Degraded, Kind::UserFixable]);
    let certain = matches!(run.work, Work::Tools { .. });
    let code = if certain { format!("{NOT_RUN}-simulated") } else { "simulated".into() };
    let end = End::Failed(Fault::new(kind, &code, "it could not be started"));
    Outcome::new(run.action, run.attempt, end, Amount::ZERO)
}

/// Tokens by the provider's own count: the same for what was counted before, and never more than there are bytes.
fn counted(run: &Run) -> u64 {
    let each = token_bytes(run);
    let bytes = |item: &Item| if item.left.is_some() { limits::LEFT_BYTES } else { item.bytes };
    let items = run.context.items.iter().map(|item| bytes(item) / each).sum::<u64>();
    (2_000 + items).min(run.context.spec.model.card.context_tokens)
}

/// How a provider that is down answers, if it does.
fn unwell(rng: &mut Rng) -> End {
    match rng.below(4) {
        0 => {
            let fault = Fault::new(Kind::RateLimited, "rate-limited", "too many");
            let retry_after_ms = Some(rng.below(20_000)).filter(|ms| *ms > 5_000);
            End::Failed(Fault { retry_after_ms, ..fault })
        }
        1 => End::Failed(Fault::new(Kind::Transient, "unreachable", "nobody answers")),
        _ => End::Failed(Fault::new(Kind::Degraded, "provider-unwell", "overloaded")),
    }
}

fn failure(rng: &mut Rng, run: &Run) -> End {
    let kinds = [Kind::Transient, Kind::RateLimited, Kind::Degraded, Kind::UserFixable, Kind::Permanent];
    let kind = rng.of(&kinds);
    match rng.below(8) {
        0 | 1 => End::TimedOut,
        2 | 3 if run.class == EffectClass::External => End::Failed(Fault::new(kind, NOT_RUN, "not begun")),
        4 if matches!(run.work, Work::Model { .. }) => {
            End::Failed(Fault::new(Kind::Permanent, CONTEXT_FULL, "too long for me"))
        }
        5 => {
            let fault = Fault::new(kind, "simulated", "it went wrong").hint("try again");
            End::Failed(Fault { retry_after_ms: Some(rng.below(20_000)), ..fault })
        }
        6 if run.class != EffectClass::External => End::Cancelled,
        _ => End::Failed(Fault::new(kind, "simulated", "it went wrong")),
    }
}

fn done(rng: &mut Rng, run: &Run, trouble: Trouble, story: Story) -> Done {
    let digest = Digest::of(&rng.next().to_le_bytes());
    if rng.rarely(trouble.wrong) {
        return Done::Rewound { to: ActionId { turn: 9, step: 999 }, undo: "of another kind".into() };
    }
    match &run.work {
        Work::Prepare => {
            let goal_checks = if rng.chance(100) { vec!["test".into()] } else { Vec::new() };
            Done::Prepared(Prepared {
                base: "base".into(),
                target: Some("main".into()),
                checks: Vec::new(),
                setup: Vec::new(),
                goal_checks,
                notes: Vec::new(),
            })
        }
        Work::Model { ordinal, .. } => said(rng, run, *ordinal, trouble, story),
        Work::Summarise { .. } => {
            let usage = Usage { input: 500, output: 50, ..Usage::default() };
            Done::Summarised { text: digest, bytes: 200, usage, request_id: String::new() }
        }
        Work::Tools { calls } => {
            let stubborn = |call: &Call| call.args == stubborn();
            let most = if long(run) { 9_000 } else { 2_000 };
            let results = calls.iter().map(|call| CallResult {
                call: call.id.clone(),
                ok: !stubborn(call) && rng.chance(850),
                text: digest,
                bytes: rng.below(most),
                full: None,
                exit: None,
                changed: false,
                images: Vec::new(),
                pixels: Vec::new(),
                tokens: None,
                asked: Vec::new(),
                handed: Vec::new(),
            });
            let results = results.collect();
            let savepoint = (run.class != EffectClass::Pure).then(|| format!("save-{}", run.action));
            Done::Ran { results, savepoint }
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
        Work::Hooks { asked } => hooked(asked, digest),
        Work::Rewind { to } => Done::Rewound { to: *to, undo: format!("undo-{}", run.action) },
    }
}

/// One session in four has a hook for every event, confined or not. By its goal: no dice are thrown for it.
fn hooks(goal: Digest) -> Vec<HookDef> {
    let hook = |event| HookDef {
        event,
        matcher: String::new(),
        only: String::new(),
        run: "simulated".into(),
        timeout_ms: 1_000,
        from: "hooks.json".into(),
        project: false,
        confined: goal.0[1] < 128,
        silent: false,
        env: Vec::new(),
    };
    if goal.0[0] < 64 { HookEvent::ALL.map(hook).to_vec() } else { Vec::new() }
}

/// The call with what the session's hooks want to hear of it.
fn heard(run: &Run, call: Call) -> Call {
    Call { hooks: run.context.spec.hooks.iter().map(|hook| hook.event).collect(), ..call }
}

/// What hooks say: mostly nothing; never a yes in a person's place, whose yeses are counted.
fn hooked(asked: &Asked, dice: Digest) -> Done {
    let say = match dice.0[0] {
        0..=24 => Some(Decision::Deny),
        25..=40 => Some(Decision::Ask),
        _ => None,
    };
    let told = (dice.0[1] < 64).then_some(dice);
    let answer = HookAnswer {
        hook: 0,
        say,
        halt: dice.0[2] < 4,
        said: "simulated".into(),
        failed: String::new(),
        exit: None,
        ms: 1,
        handed: Vec::new(),
    };
    let changed = asked.call.as_ref().filter(|_| dice.0[3] < 32);
    let call = changed.map(|call| Box::new(Call { args: dice, hash: dice, ..(**call).clone() }));
    Done::Hooked { answers: vec![answer], told, bytes: 10, call }
}

/// Arguments of a call that never goes well.
fn stubborn() -> Digest {
    Digest([7; 32])
}

fn integrated(rng: &mut Rng, result: &str) -> Integrated {
    let whys = ["conflict", "dirty", "checks", "moved", "no-branch", "not-asked", "nothing-to-land"];
    let why = rng.pick(&whys).filter(|_| rng.chance(250)).map(|why| (*why).to_owned());
    let landed = why.is_none().then(|| result.to_owned());
    Integrated { landed, branch: Some("main".into()), why, detail: None, report: None }
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
        held: None,
        asked: Vec::new(),
    };
    use Status::{CouldNotRun, Failed, Flaky, Passed};
    let result = rng.of(&[Passed, Passed, Passed, Passed, Passed, Failed, Failed, CouldNotRun, Flaky]);
    let mut report = Report {
        base: "base".into(),
        result: format!("result-{action}"),
        same_tree: rng.chance(100),
        runs: vec![run(Side::Result, result)],
    };
    if !base_known {
        report.runs.insert(0, run(Side::Base, if rng.chance(500) { Passed } else { Failed }));
    }
    if report.same_tree && rng.chance(500) {
        report.runs.clear();
    }
    report
}

fn said(rng: &mut Rng, run: &Run, ordinal: u32, trouble: Trouble, story: Story) -> Done {
    let each = token_bytes(run);
    let bytes = rng.of(&[200, 200, 9_000]).min(run.max_tokens * each);
    let output = rng.below(run.max_tokens).max(bytes / each).min(run.max_tokens);
    let mut usage = Usage { input: counted(run), output, ..Usage::default() };
    if rng.rarely(trouble.overbill) {
        usage.output += 5_000_000;
    }
    let text = Some(Digest::of(&rng.next().to_le_bytes()));
    let last = if long(run) { 24 } else { 8 };
    let more = ordinal < last && rng.chance(if long(run) { 950 } else { 800 });
    let count = if more { 1 + rng.below(3) } else { 0 };
    let calls: Vec<Call> =
        (0..count).map(|n| heard(run, call(rng, &format!("c{}.{n}", run.action.step), story))).collect();
    let stop = match (calls.is_empty(), rng.below(20)) {
        (true, 0) => Stop::Refusal,
        (true, 1) => Stop::MaxTokens,
        (true, 2) => Stop::StopSequence,
        (true, _) => Stop::EndTurn,
        (false, _) => Stop::ToolUse,
    };
    let mut done = Done::said(text, bytes, calls, stop, usage);
    if let Done::Said { private, .. } = &mut done
        && rng.chance(100)
    {
        *private = run.context.model.clone().map(|own| (own, Digest::of(b"only for its own eyes")));
    }
    done
}

/// Is this one of the sessions that talk until their conversation is cut?
fn long(run: &Run) -> bool {
    run.context.model.as_deref() == Some(SMALL)
}

fn call(rng: &mut Rng, id: &str, story: Story) -> Call {
    let digest = Digest::of(&rng.next().to_le_bytes());
    let inside = rng.of(&[EffectClass::Pure, EffectClass::Pure, EffectClass::Staged]);
    let class = if rng.chance(story.acts) { EffectClass::External } else { inside };
    let control = control(rng, digest);
    let tool = if class == EffectClass::External { "external" } else { "other" };
    let class = if control.is_some() { EffectClass::Pure } else { class };
    let error = (control.is_none() && rng.chance(30)).then_some(digest);
    let args = if class == EffectClass::Pure && rng.chance(250) { stubborn() } else { digest };
    let tool = if control.is_some() { "control" } else { tool };
    Call {
        id: id.to_owned(),
        tool: tool.into(),
        args,
        class,
        why: "simulated".into(),
        hash: digest,
        deadline_ms: Some(1_000),
        control,
        error,
        ruled: None,
        together: None,
        hooks: Vec::new(),
        held: None,
    }
}

fn control(rng: &mut Rng, digest: Digest) -> Option<Control> {
    match rng.below(24) {
        0 => Some(Control::Ask { question: digest }),
        1 => Some(Control::Plan { tasks: plan(rng, digest) }),
        2 | 3 => Some(Control::Delegate {
            goal: digest,
            bytes: 10,
            mode: String::new(),
            budget: rng.of(&[Amount::UNLIMITED, Amount { steps: 20, ..Amount::UNLIMITED }]),
            tools: None,
        }),
        4 => Some(Control::Finish {
            done: rng.chance(700),
            needs: rng.of(&["language-model", "you", ""]).into(),
            summary: digest,
        }),
        5 => Some(Control::Todo { items: vec![Todo { text: digest, state: TaskState::Active }] }),
        6 => Some(Control::FindTools { names: vec!["glob".into(); rng.below(2) as usize] }),
        _ => None,
    }
}

/// Up to four tasks in any order, sometimes in a circle.
fn plan(rng: &mut Rng, goal: Digest) -> Vec<Task> {
    let count = rng.below(5);
    let mut tasks: Vec<Task> = Vec::new();
    for n in 0..count {
        let after: Vec<String> =
            tasks.iter().filter(|_| rng.chance(400)).map(|task| task.id.clone()).collect();
        tasks.push(Task { id: format!("t{n}"), goal, after });
    }
    if let Some(first) = tasks.first_mut()
        && rng.chance(80)
    {
        first.after = vec![format!("t{}", count - 1)];
    }
    for at in (1..tasks.len()).rev() {
        tasks.swap(at, rng.below(at as u64 + 1) as usize);
    }
    tasks
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
            "budget" if pause.hint.contains("--per-call") => Wish::CapCall { call: Amount::UNLIMITED },
            "budget" => Wish::AddBudget {
                amount: Amount { nanos: 50_000_000, tokens: 1_000_000, steps: 100, time_ms: 3_600_000 },
            },
            _ => Wish::Resume { model: None },
        });
    }
    Some(match rng.below(26) {
        0 => Wish::Cancel,
        1 | 2 => Wish::Pause,
        3..=6 => Wish::Resume { model: None },
        7 => Wish::Resume { model: Some(Box::new(model(rng))) },
        8 | 9 => Wish::Rewind {
            to: state.savepoints.back().map_or(ActionId { turn: 1, step: 1 }, |(action, _)| *action),
        },
        10 | 11 => Wish::Continue,
        12 | 13 => Wish::AddBudget { amount: Amount { tokens: 100_000, steps: 20, ..Amount::ZERO } },
        14 => Wish::Approve { approval: "a1".into(), hash: text },
        15 => Wish::Initialise,
        16 => Wish::Uncompact { item: None },
        17 => Wish::Uncompact { item: Some(rng.below(40)) },
        18 => Wish::CapCall { call: Amount { tokens: 12_000, ..Amount::UNLIMITED } },
        _ => Wish::Message { text, bytes: 10 },
    })
}

/// Did this attempt do something outside, given how it ended?
pub(crate) fn not_run(outcome: &Outcome) -> bool {
    matches!(&outcome.end, End::Failed(fault) if fault.code == NOT_RUN)
}

/// Has it an effect that shows outside?
pub(crate) fn shows(run: &Run) -> bool {
    external(run).is_some()
}
