//! Stories of sessions, told as records, and what is counted of them. Knows the fold alone. Start at [`Told::story`].

use super::*;
use crate::prometheus;
use contract::action::{Call, CallResult, EffectClass, Prepared};
use contract::intent::Source;
use contract::model::{Card, Price, Stop};
use contract::session::{Ask, Limits, Rights, SessionSpec};
use contract::{Digest, Fault, Kind};

const ID: SessionId = SessionId(7);

fn spec() -> SessionSpec {
    let price = Some(Price { input: 1, output: 1, ..Price::default() });
    let card = Card { context_tokens: 1_000, output_tokens: 100, price };
    SessionSpec {
        goal: Digest::default(),
        goal_bytes: 1,
        repo: "/r".into(),
        base: None,
        target: None,
        model: ModelRef { id: "acme/x".into(), card, quota: None },
        fallback: Vec::new(),
        summaries: None,
        mode: "code".into(),
        workflow: kernel::workflow::standard(),
        rights: Rights::all(Ask::Never),
        limits: Limits::default(),
        budget: Amount { nanos: 1_000, ..Amount::UNLIMITED },
        goal_checks: Vec::new(),
        hooks: Vec::new(),
        parent: None,
        task: None,
    }
}

/// A session's records, and the moment of the last one, 10 ms after the one before.
#[derive(Default)]
struct Told {
    measures: Measures,
    seq: u64,
    at: u64,
}

impl Told {
    fn tell(&mut self, event: Event) {
        (self.seq, self.at) = (self.seq + 1, self.at + 10);
        let record = Record { seq: self.seq, at: Timestamp(self.at), event };
        assert!(self.measures.session(ID, &record), "{record:?}");
    }

    fn begin(&mut self, step: u32, work: Work) {
        let (action, source) = (ActionId { turn: 1, step }, Source::MainLoop);
        let (wish, why) = (String::new(), String::new());
        self.tell(Event::Selected { action, intent: None, source, wish, why, others: Vec::new() });
        self.tell(Event::Started {
            action,
            attempt: 1,
            work,
            class: EffectClass::Pure,
            why: String::new(),
            deadline: Timestamp(u64::MAX),
            fence: 0,
            approval: None,
            reserved: Amount::ZERO,
        });
    }

    fn end(&mut self, step: u32, end: End) {
        let action = ActionId { turn: 1, step };
        self.tell(Event::Finished { outcome: Outcome::new(action, 1, end, Amount::ZERO) });
    }

    fn ledger(&mut self, event: LedgerEvent) {
        let record = Record { seq: 0, at: Timestamp(self.at), event };
        self.measures.tree(ID, &record);
    }

    fn said(calls: Vec<Call>) -> End {
        let usage = Usage { input: 5, output: 3, cache_read: 2, ..Usage::default() };
        End::Done(Done::said(None, 0, calls, Stop::ToolUse, usage))
    }

    /// Prepared, one call of a model that wants a tool, and the tool fails.
    fn story() -> Self {
        let mut told = Self::default();
        told.tell(Event::Opened { spec: Box::new(spec()) });
        told.begin(1, Work::Prepare);
        told.end(
            1,
            End::Done(Done::Prepared(Prepared {
                base: "b".into(),
                target: None,
                checks: Vec::new(),
                setup: Vec::new(),
                goal_checks: Vec::new(),
                notes: Vec::new(),
            })),
        );
        told.begin(2, Work::Model { model: "acme/x".into(), ordinal: 0 });
        let call = Call {
            id: "c".into(),
            tool: "shell".into(),
            args: Digest::default(),
            class: EffectClass::Pure,
            why: String::new(),
            hash: Digest::default(),
            deadline_ms: None,
            control: None,
            error: None,
            ruled: None,
            together: None,
            hooks: Vec::new(),
            held: None,
        };
        told.end(2, Self::said(vec![call.clone()]));
        told.begin(3, Work::Tools { calls: vec![call] });
        told
    }
}

#[test]
fn a_story_of_one_session_is_counted_by_kind_and_outcome() {
    let mut told = Told::story();
    let sheet = told.measures.sheet(Timestamp(told.at + 500), 3);
    assert_eq!(sheet.number(&m::SESSIONS, &["running"]), Some(1));
    assert_eq!(sheet.number(&m::RUNNING, &["tools"]), Some(1));
    assert_eq!(sheet.number(&m::QUIET, &[]), Some(500));
    assert_eq!(sheet.number(&m::INBOX, &[]), Some(3));
    assert_eq!(sheet.number(&m::ACTIONS, &["model", "done"]), Some(1));
    assert_eq!(sheet.number(&m::TOKENS, &["acme/x", "cache_read"]), Some(2));
    let result = CallResult {
        call: "c".into(),
        ok: false,
        text: Digest::default(),
        bytes: 0,
        full: None,
        exit: Some(1),
        changed: false,
        images: Vec::new(),
        pixels: Vec::new(),
        tokens: None,
        asked: Vec::new(),
        handed: Vec::new(),
    };
    told.end(3, End::Done(Done::Ran { results: vec![result], savepoint: None }));
    told.begin(4, Work::Model { model: "acme/x".into(), ordinal: 1 });
    told.end(4, End::Failed(Fault::new(Kind::Degraded, "http-500", "acme is unwell")));
    let sheet = told.measures.sheet(Timestamp(told.at), 0);
    assert_eq!(sheet.number(&m::TOOLS, &["shell", "error"]), Some(1));
    assert_eq!(sheet.number(&m::CALLS, &["acme/x", "failed"]), Some(1));
    assert_eq!(sheet.number(&m::FAULTS, &["degraded", "http-500"]), Some(1));
    assert_eq!(sheet.number(&m::SESSIONS, &["active"]), Some(1));
    assert_eq!(told.measures.faults().all()[0].count, 1);
    let (state, code, why) = (Final::Failed, 1, "it could not".to_owned());
    told.tell(Event::Ended { state, code, why, summary: None });
    let page = prometheus::text(&told.measures.sheet(Timestamp(told.at), 0));
    for line in [
        "kapell_sessions{state=\"failed\"} 1",
        "kapell_sessions{state=\"running\"} 0",
        "kapell_sessions_ended_total{state=\"failed\",code=\"1\"} 1",
        "kapell_model_call_seconds_sum{model=\"acme/x\"} 0.02",
    ] {
        assert!(page.lines().any(|it| it == line), "{line} is not in\n{page}");
    }
}

#[test]
fn money_goes_to_the_model_it_was_paid_to_whichever_record_is_read_first() {
    let mut told = Told::story();
    let (action, session) = (ActionId { turn: 1, step: 2 }, ID);
    told.ledger(LedgerEvent::Opened { cap: spec().budget });
    told.ledger(LedgerEvent::Reserved { session, action, amount: Amount { nanos: 300, ..Amount::ZERO } });
    let sheet = told.measures.sheet(Timestamp(told.at), 0);
    assert_eq!(sheet.number(&m::RESERVED, &[]), Some(300));
    assert_eq!(sheet.number(&m::BUDGET, &["money"]), Some(300_000), "300 of 1000");
    assert_eq!(sheet.number(&m::BUDGET, &["tokens"]), None, "there is no cap");
    told.ledger(LedgerEvent::Settled { session, action, used: Amount { nanos: 250, ..Amount::ZERO } });
    // The ledger was read a little later than the session: it knows more.
    let later = ActionId { turn: 1, step: 4 };
    told.ledger(LedgerEvent::Settled { session, action: later, used: Amount { nanos: 40, ..Amount::ZERO } });
    told.measures.tidy();
    let spent = |told: &Told| told.measures.sheet(Timestamp(told.at), 0).number(&m::SPENT, &["acme/x"]);
    assert_eq!(spent(&told), Some(250));
    told.end(3, End::TimedOut);
    told.begin(4, Work::Model { model: "acme/x".into(), ordinal: 1 });
    assert_eq!(spent(&told), Some(290));
}

#[test]
fn a_record_that_does_not_fit_makes_the_session_damaged_and_nothing_else() {
    let mut told = Told::story();
    let record = Record { seq: 99, at: Timestamp(1), event: Event::Opened { spec: Box::new(spec()) } };
    let other = SessionId(8);
    let bad = Record { seq: 2, at: Timestamp(1), event: Event::Resumed { model: None } };
    assert!(told.measures.session(other, &record));
    assert!(!told.measures.session(other, &bad), "nothing was paused");
    let sheet = told.measures.sheet(Timestamp(told.at), 0);
    assert_eq!(sheet.number(&m::SESSIONS, &["damaged"]), Some(1));
    assert_eq!(sheet.number(&m::SESSIONS, &["running"]), Some(1));
}

#[test]
fn of_a_script_only_the_kind_of_model_is_shown() {
    assert_eq!(model_label("builtin/script:/home/ada/x.toml"), "builtin/script");
    assert_eq!(model_label("openrouter/a/b:free"), "openrouter/a/b:free");
}
