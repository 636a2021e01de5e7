//! One example or more of every session event. New variant or field: add a row here.
//!
//! Knows nothing of the files. Start at [`all`].

use super::Example;
use super::examples::*;
use contract::action::{
    Call, CallResult, Control, Done, EffectClass, End, Integrated, Outcome, Prepared, Todo, Work,
};
use contract::checks::{CheckKind, Flag, Verdict};
use contract::confine::InForce;
use contract::context::{Act, Left, Sent, Summary};
use contract::event::{Answer, Dearer, Disposal, Event, Final, Notice, Other, Subject, TaskState};
use contract::handle::Handed;
use contract::intent::{ChildEnd, Intent, Source, Wish};
use contract::model::{Gauge, Meter, Rates, Usage, Window};
use contract::policy::{self, Ruling};
use contract::session::{Ask, Rights};
use contract::{Amount, Digest, Kind};

/// Every example of a session event.
pub(crate) fn all() -> Vec<Example<Event>> {
    [
        opening(),
        wishes(),
        selection(),
        works(),
        said(),
        asked(),
        ends(),
        verdicts(),
        waiting(),
        plan(),
        course(),
        limited(),
        worded(),
        super::hooks::all(),
    ]
    .concat()
}

fn worded() -> Vec<Example<Event>> {
    use contract::session::{SessionSpec, Summaries};
    let opened = |summaries| Event::Opened {
        spec: Box::new(SessionSpec { summaries: Some(summaries), ..bare_spec() }),
    };
    let started = |left| Event::Started {
        action: action(1, 7),
        attempt: 1,
        work: Work::Summarise { model: "openai/gpt-5".into(), left, dropped: vec![(2, 9)] },
        class: EffectClass::Billed,
        why: "a model call".into(),
        deadline: AT.plus(600_000),
        fence: 4,
        approval: None,
        reserved: full_amount(),
    };
    let usage = Usage { input: 1_200, output: 300, ..Usage::default() };
    let said = |request_id: &str| {
        let text = blob("the parser was changed; two tests fail");
        done(Done::Summarised { text, bytes: 38, usage, request_id: request_id.into() })
    };
    let words =
        Summary { text: Some(blob("the parser was changed; two tests fail")), bytes: 38, ..summary() };
    vec![
        ("opened-summaries-same", opened(Summaries::Same)),
        ("opened-summaries-never", opened(Summaries::Never)),
        ("opened-summaries-by", opened(Summaries::By(Box::new(priced_model())))),
        ("started-summarise", started(vec![(10, Left::Old)])),
        ("started-summarise-turns", started(Vec::new())),
        ("finished-summarised", said("req_7")),
        ("finished-summarised-bare", said("")),
        ("compacted-worded", compacted(Some(Box::new(words)))),
    ]
}

fn limited() -> Vec<Example<Event>> {
    let fell_back =
        |dearer| Event::FellBack { to: priced_model(), why: "the provider is down".into(), dearer };
    let spec = contract::session::SessionSpec { fallback: vec![priced_model()], ..bare_spec() };
    vec![
        ("opened-fallback", Event::Opened { spec: Box::new(spec) }),
        ("waits", Event::Waits { why: "rate".into(), what: "50 requests a minute".into(), until: AT }),
        ("fell-back", fell_back(Some(Dearer { input: -2_000_000_000, output: 10_000_000_000 }))),
        ("fell-back-unpriced", fell_back(None)),
    ]
}

fn opening() -> Vec<Example<Event>> {
    let ask_external = Rights { ask: Ask::External, ..bare_spec().rights };
    let call = Amount { nanos: 500_000_000, tokens: 100_000, ..Amount::UNLIMITED };
    let capped = contract::session::Limits { call, ..limits() };
    let hours = contract::session::Quiet { from_min: 22 * 60, to_min: 7 * 60 };
    let quiet = contract::session::Limits { quiet: Some(hours), ..limits() };
    let few = contract::session::Limits { calls_at_once: Some(3), ..limits() };
    let task = Some("schedule/nightly".to_owned());
    let for_task = contract::session::SessionSpec { task, limits: few, ..bare_spec() };
    let unasked = contract::session::Limits { cache_misses: 0, ..limits() };
    vec![
        (
            "opened-capped-call",
            Event::Opened {
                spec: Box::new(contract::session::SessionSpec { limits: capped, ..bare_spec() }),
            },
        ),
        (
            "opened-quiet",
            Event::Opened { spec: Box::new(contract::session::SessionSpec { limits: quiet, ..bare_spec() }) },
        ),
        (
            "opened-unasked",
            Event::Opened {
                spec: Box::new(contract::session::SessionSpec { limits: unasked, ..bare_spec() }),
            },
        ),
        ("opened-for-task", Event::Opened { spec: Box::new(for_task) }),
        ("opened-bare", Event::Opened { spec: Box::new(bare_spec()) }),
        ("opened-full", Event::Opened { spec: Box::new(full_spec()) }),
        ("opened-by-the-loop", Event::Opened { spec: Box::new(unattended_spec()) }),
        (
            "opened-ask-external",
            Event::Opened {
                spec: Box::new(contract::session::SessionSpec { rights: ask_external, ..bare_spec() }),
            },
        ),
    ]
}

fn submitted(wish: Wish) -> Event {
    let source = match wish {
        Wish::SubtaskEnded { .. } => Source::Subtask,
        Wish::Initialise => Source::Recovery,
        _ => Source::User,
    };
    let intent = Intent {
        id: intent_id(1),
        session: session(0),
        source,
        wish,
        key: "cli-1".into(),
        at: AT,
        ttl_ms: None,
    };
    Event::Submitted { intent }
}

fn wishes() -> Vec<Example<Event>> {
    let ended = |commit, summary| Wish::SubtaskEnded { child: session(2), end: child_end(commit, summary) };
    let with_ttl = Intent {
        id: intent_id(2),
        session: session(0),
        source: Source::Schedule,
        wish: Wish::Continue,
        key: "schedule-nightly-1".into(),
        at: AT,
        ttl_ms: Some(60_000),
    };
    let window = Some(Window { requests: 50, ms: 60_000 });
    let windowed = half_limited_model(Rates { window, ..Rates::default() });
    let rated = half_limited_model(Rates { requests_per_minute: Some(50), ..Rates::default() });
    vec![
        ("submitted-continue-with-ttl", Event::Submitted { intent: with_ttl }),
        ("submitted-initialise", submitted(Wish::Initialise)),
        ("submitted-message", submitted(Wish::Message { text: blob("use the other one"), bytes: 17 })),
        ("submitted-cancel", submitted(Wish::Cancel)),
        ("submitted-pause", submitted(Wish::Pause)),
        ("submitted-resume", submitted(Wish::Resume { model: None })),
        ("submitted-resume-model", submitted(Wish::Resume { model: Some(Box::new(unpriced_model())) })),
        ("submitted-resume-limited", submitted(Wish::Resume { model: Some(Box::new(limited_model())) })),
        ("submitted-resume-unlimited", submitted(Wish::Resume { model: Some(Box::new(unlimited_model())) })),
        ("submitted-resume-window", submitted(Wish::Resume { model: Some(Box::new(windowed)) })),
        ("submitted-resume-tiered", submitted(Wish::Resume { model: Some(Box::new(tiered_model(true))) })),
        (
            "submitted-resume-tiered-bare",
            submitted(Wish::Resume { model: Some(Box::new(tiered_model(false))) }),
        ),
        ("submitted-resume-rate", submitted(Wish::Resume { model: Some(Box::new(rated)) })),
        (
            "submitted-approve",
            submitted(Wish::Approve { approval: "a12".into(), hash: blob("the exact content") }),
        ),
        ("submitted-deny", submitted(Wish::Deny { approval: "a12".into() })),
        (
            "submitted-answer",
            submitted(Wish::Answer { question: "q15".into(), text: blob("main"), bytes: 4 }),
        ),
        ("submitted-rewind", submitted(Wish::Rewind { to: action(1, 3) })),
        ("submitted-uncompact", submitted(Wish::Uncompact { item: Some(17) })),
        ("submitted-uncompact-all", submitted(Wish::Uncompact { item: None })),
        ("submitted-add-budget", submitted(Wish::AddBudget { amount: full_amount() })),
        ("submitted-cap-call", submitted(Wish::CapCall { call: full_amount() })),
        ("submitted-subtask-ended", submitted(ended(Some(commit('c')), Some(blob("parser written"))))),
        ("submitted-subtask-ended-bare", submitted(ended(None, None))),
        ("disposed-applied", Event::Disposed { intent: intent_id(1), how: Disposal::Applied }),
        ("disposed-merged", Event::Disposed { intent: intent_id(1), how: Disposal::Merged }),
        ("disposed-superseded", Event::Disposed { intent: intent_id(1), how: Disposal::Superseded }),
        ("disposed-expired", Event::Disposed { intent: intent_id(1), how: Disposal::Expired }),
        (
            "disposed-refused",
            Event::Disposed { intent: intent_id(1), how: Disposal::Refused("the session has ended".into()) },
        ),
    ]
}

fn child_end(commit: Option<String>, summary: Option<Digest>) -> ChildEnd {
    ChildEnd { state: "completed".into(), code: 0, commit, summary }
}

fn selection() -> Vec<Example<Event>> {
    let other =
        |intent, source, wish: &str| Other { intent, source, wish: wish.into(), why: "lower class".into() };
    let others = vec![
        other(Some(intent_id(2)), Source::Recovery, "continue"),
        other(Some(intent_id(3)), Source::Subtask, "subtask-ended"),
        other(Some(intent_id(4)), Source::Schedule, "continue"),
        other(None, Source::Planner, "next-task"),
        other(None, Source::MainLoop, "continue"),
    ];
    vec![
        (
            "selected",
            Event::Selected {
                action: action(1, 1),
                intent: Some(intent_id(1)),
                source: Source::User,
                wish: "message".into(),
                why: "a person goes first".into(),
                others,
            },
        ),
        (
            "selected-alone",
            Event::Selected {
                action: action(1, 2),
                intent: None,
                source: Source::MainLoop,
                wish: "continue".into(),
                why: "the only one".into(),
                others: Vec::new(),
            },
        ),
    ]
}

fn started(work: Work, class: EffectClass) -> Event {
    Event::Started {
        action: action(1, 2),
        attempt: 1,
        work,
        class,
        why: "by its kind".into(),
        deadline: AT.plus(60_000),
        fence: 3,
        approval: None,
        reserved: Amount::ZERO,
    }
}

fn works() -> Vec<Example<Event>> {
    let delegate = |tools| Control::Delegate {
        goal: blob("write the parser"),
        bytes: 16,
        mode: "code".into(),
        budget: full_amount(),
        tools,
    };
    let finish =
        Control::Finish { done: false, needs: "language-model".into(), summary: blob("no advice left") };
    let calls = vec![
        full_call(),
        call("call_3", "read", EffectClass::Pure),
        control_call(delegate(Some(strings(&["read"])))),
        control_call(delegate(None)),
        control_call(Control::Plan { tasks: tasks() }),
        control_call(finish),
    ];
    let ruled = |decision: policy::Decision| {
        let ruling =
            Ruling { verdict: decision, why: "`git push`: it publishes (built-in)".into(), firm: false };
        Call { ruled: Some(ruling), ..call("call_5", "shell", EffectClass::External) }
    };
    let ruled = [policy::Decision::Allow, policy::Decision::Ask, policy::Decision::Deny].map(ruled).to_vec();
    let lint =
        |id: &str| Call { together: Some(blob("eslint --quiet")), ..call(id, "shell", EffectClass::Staged) };
    let together = vec![lint("call_6"), lint("call_7")];
    let confined = |held: InForce| Call { held: Some(held), ..call("call_6", "shell", EffectClass::Staged) };
    let [whole, ..] = held();
    let seen = vec![confined(InForce { others_seen: true, ..whole })];
    let confined = held().map(confined).to_vec();
    let approved = Event::Started {
        action: action(2, 9),
        attempt: 2,
        work: Work::Tools { calls: vec![call("call_4", "shell", EffectClass::External)] },
        class: EffectClass::External,
        why: "not a declared check".into(),
        deadline: AT.plus(60_000),
        fence: 4,
        approval: Some("a12".into()),
        reserved: full_amount(),
    };
    let notes = Work::Tools {
        calls: vec![
            control_call(Control::Todo {
                items: vec![Todo { text: blob("read the parser"), state: TaskState::Active }],
            }),
            control_call(Control::FindTools { names: strings(&["web_fetch", "notebook_edit"]) }),
        ],
    };
    let adopt = Work::Adopt { child: session(2), commit: commit('c'), call: "call_5".into() };
    let model = Work::Model { model: "builtin/fixer".into(), ordinal: 4 };
    vec![
        ("started-prepare", started(Work::Prepare, EffectClass::Keyed)),
        ("started-model", started(model, EffectClass::Billed)),
        ("started-tools", started(Work::Tools { calls }, EffectClass::Staged)),
        ("started-tools-notes", started(notes, EffectClass::Pure)),
        ("started-tools-approved", approved),
        ("started-tools-ruled", started(Work::Tools { calls: ruled }, EffectClass::External)),
        ("started-tools-together", started(Work::Tools { calls: together }, EffectClass::Staged)),
        ("started-tools-confined", started(Work::Tools { calls: confined }, EffectClass::Staged)),
        ("started-tools-others-seen", started(Work::Tools { calls: seen }, EffectClass::Staged)),
        ("started-check", started(Work::Check { base_known: true }, EffectClass::Pure)),
        ("started-inspect", started(Work::Inspect { result: commit('b') }, EffectClass::Pure)),
        ("started-integrate", started(Work::Integrate { result: commit('b') }, EffectClass::Keyed)),
        ("started-adopt", started(adopt, EffectClass::Keyed)),
        ("started-rewind", started(Work::Rewind { to: action(1, 2) }, EffectClass::Keyed)),
    ]
}

fn outcome(end: End) -> Outcome {
    Outcome::new(action(1, 2), 1, end, Amount { steps: 1, time_ms: 250, ..Amount::ZERO })
}

fn done(done: Done) -> Event {
    Event::Finished { outcome: outcome(End::Done(done)) }
}

fn said() -> Vec<Example<Event>> {
    let reply = |(name, stop)| {
        let calls = vec![call("call_1", "read", EffectClass::Pure)];
        (name, done(Done::said(Some(blob("Looking.")), 8, calls, stop, usage())))
    };
    let silent = Done::said(None, 0, Vec::new(), contract::model::Stop::EndTurn, Default::default());
    let thought = Done::Said {
        text: Some(blob("Looking.")),
        bytes: 8,
        calls: Vec::new(),
        stop: contract::model::Stop::EndTurn,
        usage: Usage { cache_read: 90_000, cache_write: 1_500, estimated: true, ..usage() },
        private: Some(("anthropic/claude-sonnet-5".into(), blob("[]"))),
        request_id: "req_011CSHoEeqs5C35K2UUqR7Fy".into(),
        shown: None,
        again: None,
        tokens: None,
    };
    let gauge = |limit, left, reset_ms| Some(Gauge { limit, left, reset_ms });
    let metered = |end, meter| Event::Finished { outcome: Outcome { meter, metered: true, ..outcome(end) } };
    let shown = contract::model::Shown {
        system: "0f3c6a5d".into(),
        tools: "b1946ac9".into(),
        messages: 3,
        stride: 1,
        chain: strings(&["u5d41402a", "a7d793037", "t8b1a9953"]),
    };
    let seen = Done::Said {
        text: None,
        bytes: 0,
        calls: Vec::new(),
        stop: contract::model::Stop::EndTurn,
        usage: usage(),
        private: None,
        request_id: String::new(),
        shown: Some(Box::new(shown)),
        again: None,
        tokens: None,
    };
    let bounded = Outcome { metered: true, estimated: true, ..outcome(End::TimedOut) };
    let estimated = Event::Finished { outcome: bounded };
    let both = Meter { requests: gauge(Some(50), 49, Some(1_200)), tokens: gauge(None, 12_000, None) };
    let requests = Meter { tokens: None, ..both };
    let tokens = Meter { requests: None, ..both };
    STOPS
        .into_iter()
        .map(reply)
        .chain([
            ("finished-said-nothing", done(silent)),
            ("finished-said-metered", metered(End::Done(thought), both)),
            ("finished-metered-requests", metered(End::Cancelled, requests)),
            ("finished-metered-tokens", metered(End::Cancelled, tokens)),
            ("finished-said-shown", done(seen)),
            ("finished-metered-estimated", estimated),
        ])
        .collect()
}

/// What a model was asked, and how large it was.
fn asked() -> Vec<Example<Event>> {
    let sized = Done::Said {
        text: None,
        bytes: 0,
        calls: Vec::new(),
        stop: contract::model::Stop::EndTurn,
        usage: usage(),
        private: None,
        request_id: String::new(),
        shown: None,
        again: Some(2_400),
        tokens: Some(611),
    };
    let asked = |prompt_tokens, repairs: &[&str]| Sent {
        request: blob("the request"),
        prompt: blob("the instructions"),
        prompt_bytes: 9_000,
        prompt_tokens,
        repairs: strings(repairs),
        warnings: Vec::new(),
    };
    let warned =
        Sent { warnings: strings(&["80 % of the text that one reply may have"]), ..asked(None, &[]) };
    let sent = |sent| Event::Finished { outcome: Outcome { sent: Some(sent), ..outcome(End::Cancelled) } };
    vec![
        ("finished-said-sized", done(sized)),
        ("finished-sent", sent(asked(None, &[]))),
        ("finished-sent-warned", sent(warned)),
        ("finished-sent-counted", sent(asked(Some(2_100), &["5 calls beyond the limit were dropped"]))),
    ]
}

fn prepared() -> Vec<Example<Event>> {
    let kinds = [
        ("build", CheckKind::Build),
        ("test", CheckKind::Test),
        ("clippy", CheckKind::Lint),
        ("fmt", CheckKind::Format),
        ("licences", CheckKind::Other),
    ];
    let full = Prepared {
        base: commit('a'),
        target: Some("main".into()),
        checks: kinds.into_iter().map(|(name, kind)| check_def(name, kind)).collect(),
        setup: strings(&["cargo fetch --locked"]),
        goal_checks: strings(&["test"]),
        notes: strings(&["2 files with uncommitted changes are left out"]),
    };
    let bare = Prepared {
        target: None,
        checks: Vec::new(),
        setup: Vec::new(),
        goal_checks: Vec::new(),
        notes: Vec::new(),
        ..full.clone()
    };
    vec![
        ("finished-prepared", done(Done::Prepared(full))),
        ("finished-prepared-bare", done(Done::Prepared(bare))),
    ]
}

fn full_result() -> CallResult {
    CallResult {
        call: "call_1".into(),
        ok: false,
        text: blob("head and tail"),
        bytes: 13,
        full: Some(blob("the whole output")),
        exit: Some(101),
        changed: true,
        images: Vec::new(),
        pixels: Vec::new(),
        tokens: None,
        asked: Vec::new(),
        handed: Vec::new(),
    }
}

fn ends() -> Vec<Example<Event>> {
    let ended = |end| Event::Finished { outcome: outcome(end) };
    let failed = |kind| ended(End::Failed(bare_fault(kind)));
    let full_result = full_result();
    let bare_result = CallResult { ok: true, full: None, exit: None, changed: false, ..full_result.clone() };
    let images = vec![("image/png".to_owned(), blob("a picture"))];
    let seen = CallResult { images, ..bare_result.clone() };
    let measured = CallResult { pixels: vec![(640, 480)], ..seen.clone() };
    let counted = CallResult { tokens: Some(4), ..bare_result.clone() };
    let knocked = CallResult { asked: asked_for(), ..bare_result.clone() };
    let to = "`gh`".to_owned();
    let handed = CallResult { handed: vec![Handed { name: "GITHUB".into(), to }], ..bare_result.clone() };
    let stopped = Outcome { written: vec![full_result.clone()], ..outcome(End::Cancelled) };
    let ran = |results, savepoint| done(Done::Ran { results, savepoint });
    let landed = Integrated {
        landed: Some(commit('d')),
        branch: Some("main".into()),
        why: None,
        detail: None,
        report: Some(report()),
    };
    let left = Integrated {
        landed: None,
        branch: Some("kapell/0193".into()),
        why: Some("conflict".into()),
        detail: Some(blob("src/lib.rs")),
        report: None,
    };
    let flag =
        Flag { code: "test-deleted".into(), path: "tests/a.rs".into(), what: "one test is gone".into() };
    let adopted = Done::Adopted { child: session(2), clean: true, text: blob("3 files"), bytes: 7 };
    let full_outcome =
        Outcome { end: End::Failed(full_fault()), used: full_amount(), ..outcome(End::Unknown) };
    [
        prepared(),
        vec![
            ("finished-ran", ran(vec![full_result, bare_result.clone()], Some(commit('e')))),
            ("finished-ran-pure", ran(vec![bare_result], None)),
            ("finished-ran-images", ran(vec![seen], None)),
            ("finished-ran-pixels", ran(vec![measured], None)),
            ("finished-ran-counted", ran(vec![counted], None)),
            ("finished-ran-asked", ran(vec![knocked], None)),
            ("finished-ran-handed", ran(vec![handed], None)),
            ("finished-checked", done(Done::Checked(report()))),
            ("finished-checked-confined", done(Done::Checked(confined_report()))),
            ("finished-inspected", done(Done::Inspected { flags: vec![flag], files: 3 })),
            ("finished-integrated", done(Done::Integrated(landed))),
            ("finished-integrated-not", done(Done::Integrated(left))),
            ("finished-integrated-nothing", done(Done::Integrated(nothing_landed()))),
            ("finished-adopted", done(adopted)),
            ("finished-rewound", done(Done::Rewound { to: action(1, 2), undo: commit('f') })),
            ("finished-failed-full", Event::Finished { outcome: full_outcome }),
            ("finished-failed-transient", failed(Kind::Transient)),
            ("finished-failed-permanent", failed(Kind::Permanent)),
            ("finished-failed-user-fixable", failed(Kind::UserFixable)),
            ("finished-failed-degraded", failed(Kind::Degraded)),
            ("finished-cancelled", ended(End::Cancelled)),
            ("finished-cancelled-written", Event::Finished { outcome: stopped }),
            ("finished-timed-out", ended(End::TimedOut)),
            ("finished-unknown", ended(End::Unknown)),
            ("stale", Event::Stale { outcome: outcome(End::Cancelled) }),
        ],
    ]
    .concat()
}

fn nothing_landed() -> Integrated {
    Integrated { landed: None, branch: None, why: Some("nothing-to-land".into()), detail: None, report: None }
}

fn verdicts() -> Vec<Example<Event>> {
    let judged = |verdict| Event::Judged {
        verdict,
        result: commit('b'),
        reasons: strings(&["test: failed on base, passes on result"]),
    };
    let noticed = |notice| Event::Noticed { notice };
    let not_integrated = |detail| noticed(Notice::NotIntegrated { why: "conflict".into(), detail });
    vec![
        ("judged-confirmed", judged(Verdict::Confirmed)),
        ("judged-refuted", judged(Verdict::Refuted)),
        ("judged-inconclusive", judged(Verdict::Inconclusive)),
        (
            "noticed-not-confirmed",
            noticed(Notice::NotConfirmed {
                reasons: strings(&["clippy: 2 warnings"]),
                logs: vec![("clippy".into(), blob("warning: unused"))],
            }),
        ),
        ("noticed-not-integrated", not_integrated(Some(blob("src/lib.rs")))),
        ("noticed-not-integrated-bare", not_integrated(None)),
        ("noticed-compacted", noticed(Notice::Compacted { summary: Box::new(summary()) })),
        ("noticed-workaround", noticed(Notice::Workaround { signature: "tool/shell-timeout".into() })),
        (
            "noticed-next-task",
            noticed(Notice::NextTask { task: "print".into(), goal: blob("Write the printer.") }),
        ),
        ("noticed-rewound", noticed(Notice::Rewound { to: action(1, 2) })),
        ("noticed-reply-cut", noticed(Notice::ReplyCut)),
        (
            "noticed-child-ended",
            noticed(Notice::ChildEnded { child: session(2), end: child_end(None, None) }),
        ),
        ("noticed-told", noticed(Notice::Told { what: "the plan has 2 tasks".into() })),
    ]
}

fn waiting() -> Vec<Example<Event>> {
    let asked = |subject| Event::ApprovalAsked {
        approval: "a12".into(),
        subject,
        hash: blob("the exact content"),
        expires: AT.plus(3_600_000),
    };
    let answered = |answer, by| Event::ApprovalAnswered { approval: "a12".into(), answer, by };
    let question = Event::Asked {
        question: "q15".into(),
        text: Some(blob("Which branch?")),
        call: Some("call_6".into()),
        why: "the same call failed 3 times".into(),
        choices: strings(&["try again", "another model", "stop"]),
    };
    let bare_question = Event::Asked {
        question: "q16".into(),
        text: None,
        call: None,
        why: String::new(),
        choices: Vec::new(),
    };
    vec![
        ("approval-asked-call", asked(Subject::Call { call: "call_4".into() })),
        ("approval-asked-run-again", asked(Subject::RunAgain { action: action(1, 2) })),
        ("approval-asked-land", asked(Subject::Land { result: commit('b') })),
        ("approval-answered-granted", answered(Answer::Granted, Some(intent_id(5)))),
        ("approval-answered-denied", answered(Answer::Denied, Some(intent_id(5)))),
        ("approval-answered-expired", answered(Answer::Expired, None)),
        ("approval-answered-withdrawn", answered(Answer::Withdrawn, None)),
        ("asked", question),
        ("asked-bare", bare_question),
        (
            "answered",
            Event::Answered { question: "q15".into(), text: blob("main"), bytes: 4, by: intent_id(6) },
        ),
    ]
}

fn plan() -> Vec<Example<Event>> {
    let moved = |to| Event::TaskMoved { task: "parse".into(), to };
    vec![
        (
            "child-opened",
            Event::ChildOpened { child: session(2), call: "call_5".into(), action: action(1, 4) },
        ),
        ("planned", Event::Planned { tasks: tasks() }),
        ("task-moved-pending", moved(TaskState::Pending)),
        ("task-moved-active", moved(TaskState::Active)),
        ("task-moved-done", moved(TaskState::Done)),
        ("task-moved-failed", moved(TaskState::Failed)),
        ("task-moved-skipped", moved(TaskState::Skipped)),
    ]
}

fn summary() -> Summary {
    let act = |ok, result| Act { tool: "read".into(), args: blob(r#"{"path":"a"}"#), ok, result };
    Summary {
        entries: 12,
        acts: vec![act(true, Some(blob("the file"))), act(false, None)],
        more: 4,
        messages: vec![blob("use tabs")],
        tasks: vec![("parse".into(), blob("Write the parser."), TaskState::Active)],
        ..Summary::default()
    }
}

fn compacted(summary: Option<Box<Summary>>) -> Event {
    let left =
        vec![(4, Left::Superseded { by: 9 }), (6, Left::Old), (8, Left::Same { item: 7 }), (31, Left::Large)];
    let (why, dropped) = ("full".to_owned(), vec![(2, 3), (12, 12)]);
    Event::Compacted { why, left, dropped, summary, before: 140_000, after: 78_000, cap: 135_904 }
}

fn bare_compacted() -> Event {
    let (left, dropped) = (Vec::new(), Vec::new());
    let why = "refused".to_owned();
    Event::Compacted { why, left, dropped, summary: None, before: 140_000, after: 105_000, cap: 105_000 }
}

fn course() -> Vec<Example<Event>> {
    let paused = |what: &str, hint: &str| Event::Paused {
        why: "budget".into(),
        what: what.into(),
        hint: hint.into(),
        code: 7,
    };
    let failed = |retry_at| Event::Failed {
        signature: "model/overloaded".into(),
        count: 2,
        then: "retry".into(),
        retry_at,
    };
    let recovered = |found, did: &str| Event::Recovered { fence: 4, found, did: did.into() };
    let ended =
        |state, code, summary| Event::Ended { state, code, why: "the workflow is through".into(), summary };
    vec![
        ("staged", Event::Staged { to: "implement".into(), round: 1, why: "checks did not confirm".into() }),
        (
            "call-answered",
            Event::CallAnswered { call: "call_7".into(), ok: false, what: "denied by you".into() },
        ),
        ("garbled", Event::Garbled { why: "unknown source `robot`".into() }),
        ("cut", Event::Cut { items: 40, bytes: 81_920 }),
        ("compacted", compacted(Some(Box::new(summary())))),
        ("compacted-bare-summary", compacted(Some(Box::new(Summary { entries: 3, ..Summary::default() })))),
        ("compacted-outputs", compacted(None)),
        ("compacted-refused", bare_compacted()),
        ("uncompacted", Event::Uncompacted { items: vec![4, 5], after: 61_000 }),
        (
            "repaired-call",
            Event::Repaired { what: "no result recorded".into(), call: Some("c4-0".into()), item: None },
        ),
        ("repaired-item", Event::Repaired { what: "taken out".into(), call: None, item: Some(17) }),
        ("paused", paused("the tree's cap is used up", "kapell resume --add-budget-usd 1")),
        ("paused-bare", paused("", "")),
        ("resumed", Event::Resumed { model: None }),
        ("resumed-model", Event::Resumed { model: Some(priced_model()) }),
        (
            "warned",
            Event::Warned { what: "80 % of this session's budget of money is used: $4.00 of $5.00".into() },
        ),
        ("failed", failed(None)),
        ("failed-retry", failed(Some(AT.plus(2_000)))),
        ("recovered-nothing", recovered(None, "nothing")),
        ("recovered-found", recovered(Some(action(1, 2)), "restored")),
        ("cancel-asked", Event::CancelAsked { by: intent_id(7) }),
        ("ended-completed", ended(Final::Completed, 0, Some(blob("Done.")))),
        ("ended-failed", ended(Final::Failed, 3, None)),
        ("ended-cancelled", ended(Final::Cancelled, 130, None)),
    ]
}
