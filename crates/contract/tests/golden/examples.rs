//! Values that examples share: fixed ids, digests and amounts, and full and bare forms of nested types.
//!
//! Knows the contract's types only. "Full" has every optional field, "bare" has none.

use contract::action::{Call, Control, EffectClass, Task};
use contract::checks::{CheckDef, CheckKind, CheckRun, Report, Side, Status, Tests};
use contract::confine::{HostAsked, InForce, Network, Profile};
use contract::model::{Card, ModelRef, Price, Quota, Rates, Stop, Tier, Usage, Window};
use contract::session::{Ask, Edge, Limits, Parent, Rights, SessionSpec, Stage, StageKind, Workflow};
use contract::{ActionId, Amount, Digest, Fault, IntentId, Kind, SessionId, Timestamp};

/// 2026-11-20T06:07:24.123Z
pub(crate) const AT: Timestamp = Timestamp(1_795_154_844_123);

pub(crate) fn session(n: u64) -> SessionId {
    SessionId::v7(AT.0, u128::from(n) << 64 | u128::from(n))
}

pub(crate) fn intent_id(n: u64) -> IntentId {
    session(0x100 + n)
}

pub(crate) fn action(turn: u32, step: u32) -> ActionId {
    ActionId { turn, step }
}

/// The address of a text, as if the text were a blob.
pub(crate) fn blob(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// A commit id by its first digit.
pub(crate) fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

pub(crate) fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) fn full_amount() -> Amount {
    Amount { nanos: 1_234_567_890, tokens: 5_000, steps: 32, time_ms: 60_000 }
}

pub(crate) fn full_fault() -> Fault {
    Fault {
        kind: Kind::RateLimited,
        code: "model-limit".into(),
        what: "the provider takes no more requests for now".into(),
        hint: "wait, or `kapell resume --model NAME`".into(),
        detail: Some(blob("429 Too Many Requests")),
        retry_after_ms: Some(30_000),
    }
}

pub(crate) fn bare_fault(kind: Kind) -> Fault {
    Fault::new(kind, "tool-failed", "the tool could not run")
}

pub(crate) fn full_call() -> Call {
    Call {
        id: "call_1".into(),
        tool: "shell".into(),
        args: blob(r#"{"command":"cargo test"}"#),
        class: EffectClass::Staged,
        why: "a declared check".into(),
        hash: blob("the exact content"),
        deadline_ms: Some(120_000),
        control: Some(Control::Ask { question: blob("Which branch?") }),
        error: Some(blob("`question` is missing")),
        ruled: None,
        together: None,
        hooks: Vec::new(),
        held: None,
    }
}

pub(crate) fn call(id: &str, tool: &str, class: EffectClass) -> Call {
    Call {
        id: id.into(),
        tool: tool.into(),
        class,
        why: format!("{tool} is {}", class.name()),
        deadline_ms: None,
        control: None,
        error: None,
        ..full_call()
    }
}

pub(crate) fn control_call(control: Control) -> Call {
    Call { control: Some(control), ..call("call_2", "control", EffectClass::Pure) }
}

/// What confines commands, each word once.
pub(crate) fn held() -> [InForce; 3] {
    let whole = InForce {
        profile: Profile::WorkspaceWrite,
        network: Network::Hosts,
        landlock: 7,
        seccomp: true,
        namespaces: true,
        others_seen: false,
    };
    let less = InForce { profile: Profile::ReadOnly, network: Network::Off, namespaces: false, ..whole };
    let none = InForce {
        profile: Profile::Full,
        network: Network::On,
        landlock: 0,
        seccomp: false,
        namespaces: false,
        others_seen: false,
    };
    [whole, less, none]
}

/// Hosts that a command asked for: one let through, one not.
pub(crate) fn asked_for() -> Vec<HostAsked> {
    let passed =
        HostAsked { host: "packages.example".into(), port: 443, passed: true, why: String::new(), times: 12 };
    let refused = HostAsked {
        host: "evil.example".into(),
        passed: false,
        why: "evil.example:443 is not among the hosts that commands may ask".into(),
        times: 1,
        ..passed
    };
    vec![passed, refused]
}

pub(crate) fn tasks() -> Vec<Task> {
    vec![
        Task { id: "parse".into(), goal: blob("Write the parser."), after: Vec::new() },
        Task { id: "print".into(), goal: blob("Write the printer."), after: strings(&["parse"]) },
    ]
}

pub(crate) fn check_def(name: &str, kind: CheckKind) -> CheckDef {
    CheckDef {
        name: name.into(),
        run: format!("cargo {name}"),
        kind,
        timeout_ms: 600_000,
        from: "Cargo.toml".into(),
    }
}

pub(crate) fn report() -> Report {
    let run = |check: &str, side, status, exit, tests| CheckRun {
        check: check.into(),
        side,
        status,
        exit,
        log: blob(check),
        ms: 1_234,
        tests,
        held: None,
        asked: Vec::new(),
    };
    let tests = Tests { passed: 12, failed: 1, ignored: 2 };
    Report {
        base: commit('a'),
        result: commit('b'),
        same_tree: false,
        runs: vec![
            run("test", Side::Base, Status::Failed, Some(101), Some(tests)),
            run("test", Side::Result, Status::Passed, Some(0), Some(Tests::default())),
            run("clippy", Side::Base, Status::CouldNotRun, None, None),
            run("clippy", Side::Result, Status::Flaky, Some(1), None),
        ],
    }
}

/// The same with what confined each run, and whom it asked.
pub(crate) fn confined_report() -> Report {
    let mut report = report();
    for (run, held) in report.runs.iter_mut().zip(held()) {
        (run.held, run.asked) = (Some(held), asked_for());
    }
    report
}

pub(crate) fn usage() -> Usage {
    Usage { input: 1_200, output: 40, ..Usage::default() }
}

pub(crate) fn priced_model() -> ModelRef {
    let price = Price { input: 3_000_000_000, output: 15_000_000_000, ..Price::default() };
    ModelRef {
        id: "builtin/script:demo.toml".into(),
        card: Card { context_tokens: 200_000, output_tokens: 8_192, price: Some(price) },
        quota: None,
    }
}

/// Every price there is, and limits of a key.
pub(crate) fn limited_model() -> ModelRef {
    let price = Price {
        input: 3_000_000_000,
        output: 15_000_000_000,
        cache_read: Some(300_000_000),
        cache_write: Some(3_750_000_000),
        tier: None,
    };
    let rates = Rates {
        requests_per_minute: Some(50),
        tokens_per_minute: Some(40_000),
        concurrent: Some(8),
        window: Some(Window { requests: 900, ms: 18_000_000 }),
        ..Rates::default()
    };
    ModelRef {
        id: "anthropic/claude-sonnet-5".into(),
        card: Card { context_tokens: 200_000, output_tokens: 64_000, price: Some(price) },
        quota: Some(Quota { name: "anthropic/6dcd4ce2".into(), rates }),
    }
}

/// Dearer for long conversations, by all prices or by those for input and output alone.
pub(crate) fn tiered_model(cached: bool) -> ModelRef {
    let of = |nanos: u64| cached.then_some(nanos);
    let tier = Tier {
        above: 200_000,
        input: 6_000_000_000,
        output: 22_500_000_000,
        cache_read: of(600_000_000),
        cache_write: of(7_500_000_000),
    };
    let mut model = limited_model();
    model.card.price = model.card.price.map(|price| Price { tier: Some(tier), ..price });
    model
}

/// A key whose limits nobody declared.
pub(crate) fn unlimited_model() -> ModelRef {
    let quota = Some(Quota { name: "openai/0a1b2c3d".into(), rates: Rates::default() });
    ModelRef { id: "openai/gpt-6".into(), quota, ..limited_model() }
}

/// A key of which this much is known.
pub(crate) fn half_limited_model(rates: Rates) -> ModelRef {
    let quota = Some(Quota { name: "openai/0a1b2c3d".into(), rates });
    ModelRef { id: "openai/gpt-6".into(), quota, ..limited_model() }
}

pub(crate) fn unpriced_model() -> ModelRef {
    ModelRef {
        id: "local/llama".into(),
        card: Card { context_tokens: 32_768, output_tokens: 4_096, price: None },
        quota: None,
    }
}

pub(crate) fn workflow() -> Workflow {
    let to = |name: &str| Edge::To(name.into());
    let stage = |name: &str, kind, ok, fail| Stage { name: name.into(), kind, ok, fail, limit_ms: None };
    Workflow {
        name: "default".into(),
        stages: vec![
            stage("implement", StageKind::Agent, to("validate"), Edge::End),
            stage("validate", StageKind::Check, to("quality"), to("implement")),
            stage("quality", StageKind::Inspect, to("integrate"), to("implement")),
            stage("integrate", StageKind::Integrate, to("plan"), to("implement")),
            stage("plan", StageKind::Plan, Edge::End, Edge::End),
        ],
    }
}

/// Written out, so that a changed default does not change a stored example.
pub(crate) fn limits() -> Limits {
    Limits {
        steps_per_turn: 100,
        depth: 5,
        children: 20,
        rounds: 3,
        same_failures: 3,
        call: Amount::UNLIMITED,
        cache_misses: 3,
        quiet: None,
        background: false,
        calls_at_once: None,
    }
}

pub(crate) fn bare_spec() -> SessionSpec {
    SessionSpec {
        goal: blob("fix the failing test"),
        goal_bytes: 20,
        repo: "/home/ada/project".into(),
        base: None,
        target: None,
        model: unpriced_model(),
        fallback: Vec::new(),
        summaries: None,
        mode: "code".into(),
        workflow: workflow(),
        rights: Rights { tools: None, ask: Ask::Never, land: true, delegate: true, writes: Vec::new() },
        limits: limits(),
        budget: Amount::UNLIMITED,
        goal_checks: Vec::new(),
        hooks: Vec::new(),
        parent: None,
        task: None,
    }
}

/// What nobody looks on at: it writes at some paths only, and its stages have limits.
pub(crate) fn unattended_spec() -> SessionSpec {
    let mut spec = bare_spec();
    spec.workflow.stages[0].limit_ms = Some(3_600_000);
    spec.rights.writes = strings(&["\\.md$"]);
    spec.limits.background = true;
    spec
}

pub(crate) fn full_spec() -> SessionSpec {
    SessionSpec {
        base: Some(commit('a')),
        target: Some("main".into()),
        model: priced_model(),
        rights: Rights {
            tools: Some(strings(&["read", "search"])),
            ask: Ask::Writes,
            land: false,
            delegate: false,
            writes: Vec::new(),
        },
        budget: full_amount(),
        goal_checks: strings(&["test"]),
        parent: Some(Parent {
            session: session(1),
            root: session(0),
            ancestors: vec![session(0), session(1)],
            goals: vec![blob("write the compiler"), blob("write the front end")],
            action: action(2, 7),
            call: "call_9".into(),
        }),
        ..bare_spec()
    }
}

/// Every reason a reply may end for.
pub(crate) const STOPS: [(&str, Stop); 5] = [
    ("finished-said-end-turn", Stop::EndTurn),
    ("finished-said-tool-use", Stop::ToolUse),
    ("finished-said-max-tokens", Stop::MaxTokens),
    ("finished-said-refusal", Stop::Refusal),
    ("finished-said-stop-sequence", Stop::StopSequence),
];
