//! The executor as the arbiter meets it: one attempt in, one outcome out, over a faked world.
//!
//! Each part's own rules are tested beside it; here is what holds over the whole road.

use super::fake::*;
use super::stop::GRACE_MS;
use super::*;
use contract::action::{Call, Control, EffectClass, Item, Role};
use contract::cancel::Urgency;
use contract::checks::{Side, Status};
use contract::context::{Act, Left, Summary};
use contract::event::Notice;
use contract::model::{Message, Stop, Usage};
use contract::session::Parent;
use contract::tool::{Output, Stopped};
use contract::{ActionId, SessionId, Timestamp, limits};
use serde_json::{Value, json};
use std::time::Duration;

const PURE: EffectClass = EffectClass::Pure;
const STAGED: EffectClass = EffectClass::Staged;

/// A tool's run that ends by itself.
fn at_once(output: Output) -> impl Fn(Value, Cancel) -> contract::BoxFuture<'static, Output> {
    move |_, _| {
        let output = output.clone();
        Box::pin(async { output })
    }
}

/// A tool's run that ends only when it is told to.
fn until_told(_: Value, cancel: Cancel) -> contract::BoxFuture<'static, Output> {
    Box::pin(async move {
        cancel.reached(Urgency::Graceful).await;
        Output { stopped: Some(Stopped::Cancelled), exit: None, ..Output::error("half a line") }
    })
}

fn tools(calls: Vec<Call>) -> Work {
    Work::Tools { calls }
}

const MODEL: Work = Work::Model { model: String::new(), ordinal: 0 };

fn model(id: &str) -> Work {
    Work::Model { model: id.into(), ordinal: 3 }
}

fn said(end: &End) -> &[Call] {
    let End::Done(Done::Said { calls, .. }) = end else { panic!("nothing said: {end:?}") };
    calls
}

// Tools

#[tokio::test(start_paused = true)]
async fn pure_calls_run_at_the_same_time_without_a_savepoint() {
    let world = World::default();
    world.tool("read", PURE, |args, _| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Output::ok(args["n"].to_string())
        })
    });
    let call = |n: usize| world.call(&n.to_string(), "read", PURE, &json!({ "n": n }));
    let calls = (0..limits::CALLS_AT_ONCE + 1).map(call).collect();
    let finished = world.execute(world.run_of(tools(calls)), Cancel::new()).await;

    assert_eq!(finished.outcome.used, Amount { steps: 1, time_ms: 2_000, ..Amount::ZERO });
    let texts: Vec<_> = world.results(&finished.outcome.end).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    assert!(world.log().iter().all(|line| line.starts_with("run read")), "{:?}", world.log());
}

#[tokio::test(start_paused = true)]
async fn a_staged_call_runs_between_savepoint_and_record() {
    let world = World::default();
    let whole = b"line\n".repeat(1_000);
    world.tool("shell", STAGED, {
        let output = Output { full: Some(whole.clone()), exit: Some(1), ..Output::error("head ... tail") };
        at_once(output)
    });
    let call = world.call("c9-0", "shell", STAGED, &json!({}));
    let finished = world.execute(world.run_of(tools(vec![call])), Cancel::new()).await;

    let End::Done(Done::Ran { results, savepoint }) = &finished.outcome.end else { panic!("{finished:?}") };
    assert_eq!(savepoint.as_deref(), Some("commit-2.9"));
    let result = &results[0];
    assert_eq!((result.ok, result.exit, result.changed), (false, Some(1), true));
    assert_eq!(result.full, Some(Digest::of(&whole)));
    assert_eq!(world.get(result.text), format!("head ... tail\n[whole output: blob:{}]", Digest::of(&whole)));
    let key = format!("{SESSION}/2.9");
    let run = format!("run shell {key} [\"cargo fetch\", \"cargo test\", \"cargo clippy\"]");
    assert_eq!(world.log(), ["savepoint 7 2.9".to_owned(), run]);
}

#[tokio::test(start_paused = true)]
async fn another_attempt_restores_first() {
    let world = World::default();
    world.tool("edit", STAGED, at_once(Output::ok("done")));
    world.has_savepoint("2.9");
    let call = world.call("c9-0", "edit", STAGED, &json!({}));
    let run = Run { restore: true, ..world.run_of(tools(vec![call])) };
    world.end(run).await;
    assert_eq!(world.log()[..2], ["restore 2.9 true", "savepoint 7 2.9"]);
}

#[tokio::test(start_paused = true)]
async fn what_changed_since_the_decision_does_not_run() {
    let world = World::default();
    world.tool("shell", STAGED, at_once(Output::ok("ran")));
    let call = |args: Value| world.call("c9-0", "shell", STAGED, &args);
    let approved = |hash: &Value, args: Value| Run {
        approved: Some(Digest::of(hash.to_string().as_bytes())),
        ..world.run_of(tools(vec![call(args)]))
    };
    let args = json!({"run": "make"});
    let end = world.end(approved(&args, args.clone())).await;
    assert_eq!(world.results(&end), [(true, "ran".to_owned())]);

    for (run, says) in [
        (approved(&args, json!({"run": "rm"})), "changed since it was approved"),
        (
            world.run_of(tools(vec![call(json!({"class": "external"}))])),
            "allowed as staged, but would now be external",
        ),
        (world.run_of(tools(vec![call(json!({"bad": 1}))])), "`bad` does not fit\n  hint: leave it out"),
        (world.run_of(tools(vec![world.call("c", "gone", STAGED, &json!({}))])), "has no tool `gone`"),
    ] {
        let end = world.end(run).await;
        let End::Done(Done::Ran { results, .. }) = &end else { panic!("{end:?}") };
        let text = world.get(results[0].text);
        assert!(!results[0].ok && !results[0].changed && text.contains(says), "{text}");
    }
    assert_eq!(world.log().iter().filter(|line| line.starts_with("run")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_runs_out_of_time_is_a_result() {
    let world = World::default();
    world.tool("shell", STAGED, until_told);
    let own = Call { deadline_ms: Some(5_000), ..world.call("c9-0", "shell", STAGED, &json!({})) };
    let common = Call { deadline_ms: Some(limits::TOOL_MS + 1), ..own.clone() };
    for (call, secs) in [(own, 5), (common, 60)] {
        let end = world.end(world.run_of(tools(vec![call]))).await;
        let text = format!("timed out after {secs} s; partial output follows\nhalf a line");
        assert_eq!(world.results(&end), [(false, text)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_from_outside_is_cancelled_and_what_was_finished_counts() {
    let world = World::default();
    world.tool("shell", STAGED, until_told);
    let cancel = Cancel::new();
    let later = cancel.clone();
    world.tool("edit", STAGED, move |_, _| {
        later.cancel(Urgency::Graceful);
        Box::pin(async { Output::ok("done") })
    });
    let edit = world.call("c9-0", "edit", STAGED, &json!({}));
    let finished = world.execute(world.run_of(tools(vec![edit])), cancel.clone()).await;
    assert_eq!(world.results(&finished.outcome.end), [(true, "done".to_owned())]);

    // The token is cancelled now: nothing starts any more.
    let shell = world.call("c9-1", "shell", STAGED, &json!({}));
    let before = world.log().len();
    let finished = world.execute(world.run_of(tools(vec![shell.clone()])), cancel).await;
    assert_eq!((finished.outcome.end, world.log().len()), (End::Cancelled, before));

    let cancel = Cancel::new();
    let stopping = world.execute(world.run_of(tools(vec![shell])), cancel.clone());
    let (finished, ()) = tokio::join!(stopping, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel(Urgency::Graceful);
    });
    assert_eq!((finished.outcome.end, finished.outcome.used.time_ms), (End::Cancelled, 1_000));
}

#[tokio::test(start_paused = true)]
async fn who_ignores_a_stop_is_dropped() {
    let world = World::default();
    world.tool("deaf", STAGED, |_, _| Box::pin(std::future::pending()));
    world.model(|_| Box::pin(std::future::pending()));
    let call = world.call("c9-0", "deaf", STAGED, &json!({}));
    let deaf = || world.run_of(tools(vec![call.clone()]));

    let finished = world.execute(deaf(), Cancel::new()).await;
    let patience = GRACE_MS + limits::STOP_NOW_MS;
    assert!(patience < limits::OVERDUE_MS, "the kernel hears of it before it gives the action up");
    let waited = limits::TOOL_MS + patience;
    assert_eq!((finished.outcome.end, finished.outcome.used.time_ms), (End::TimedOut, waited));

    for (run, urgency, waited) in [
        (deaf(), Urgency::Graceful, patience),
        (deaf(), Urgency::Now, limits::STOP_NOW_MS),
        (world.run_of(model("fake/model")), Urgency::Graceful, limits::STOP_NOW_MS),
    ] {
        let cancel = Cancel::new();
        let stopping = world.execute(run, cancel.clone());
        let (finished, ()) = tokio::join!(stopping, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            cancel.cancel(urgency);
        });
        assert_eq!((finished.outcome.end, finished.outcome.used.time_ms), (End::Cancelled, waited + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_permanent_fault() {
    let world = World::default();
    world.tool("bad", PURE, |_, _| panic!("out of cheese"));
    world.model(|_| panic!("no mind"));
    let call = world.call("c9-0", "bad", PURE, &json!({}));
    for (run, says) in [
        (world.run_of(tools(vec![call])), "the tool `bad` panicked: out of cheese"),
        (world.run_of(model("fake/model")), "a model action panicked: no mind"),
    ] {
        let End::Failed(fault) = world.end(run).await else { panic!("it did not fail") };
        assert_eq!((fault.kind, fault.code.as_str(), fault.what.as_str()), (Kind::Permanent, "panic", says));
    }
}

#[tokio::test(start_paused = true)]
async fn an_external_effect_that_never_began_is_not_unknown() {
    let external = EffectClass::External;
    let world = World::default();
    world.tool("shell", external, until_told);
    let call = || world.call("c9-0", "shell", external, &json!({}));
    let run = |calls| Run { class: external, ..world.run_of(tools(calls)) };
    let not_run = |end: End, code: &str| {
        let End::Failed(fault) = end else { panic!("{end:?}") };
        assert_eq!(fault.code, code);
    };

    let cancelled = Cancel::new();
    cancelled.cancel(Urgency::Graceful);
    not_run(world.execute(run(vec![call()]), cancelled).await.outcome.end, "not-run");
    not_run(world.end(Run { deadline: Timestamp(0), ..run(vec![call()]) }).await, "not-run");
    let lost = Call { args: Digest::of(b"gone"), ..call() };
    not_run(world.end(run(vec![lost])).await, "not-run-blob-missing");
    assert!(world.log().iter().all(|line| !line.starts_with("run")), "{:?}", world.log());

    // Once it has begun, a stop leaves the outcome unknown and a panic is no excuse.
    let cancel = Cancel::new();
    let stopping = world.execute(run(vec![call()]), cancel.clone());
    let (finished, ()) = tokio::join!(stopping, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel(Urgency::Graceful);
    });
    assert_eq!(finished.outcome.end, End::Cancelled);
    // What it had given by then is on record.
    let [partial] = finished.outcome.written.as_slice() else { panic!("{:?}", finished.outcome) };
    assert_eq!(
        (partial.call.as_str(), partial.ok, partial.text),
        ("c9-0", false, Digest::of(b"half a line"))
    );
    assert!(finished.blobs.contains(&b"half a line".to_vec()));
    world.tool("bad", external, |_, _| panic!("half way"));
    not_run(world.end(run(vec![world.call("c", "bad", external, &json!({}))])).await, "panic");
}

#[tokio::test(start_paused = true)]
async fn past_its_deadline_nothing_starts() {
    let world = World::default();
    let run = Run { deadline: Timestamp(0), ..world.run_of(Work::Prepare) };
    assert_eq!(world.end(run).await, End::TimedOut);
    assert!(world.log().is_empty());
}

// Models

#[tokio::test(start_paused = true)]
async fn a_reply_is_judged_and_priced() {
    let world = World::default();
    world.tool("shell", EffectClass::External, until_told);
    world.tool("secret", PURE, until_told);
    world.model_says(
        "I see.",
        vec![
            wants("same", "shell", json!({"z": 1, "a": 2})),
            wants("same", "shel", json!({})),
            wants("", "finish", json!({"status": "done", "summary": "all good"})),
            wants("x", "shell", json!("{\"run\": ")),
            wants("x", "shell", json!({"bad": true})),
            wants("y", "secret", json!({})),
            wants("z", "shell", Value::Null),
        ],
    );
    let mut run = world.run_of(model("fake/model"));
    Arc::make_mut(&mut run.context.spec).rights.tools = Some(vec!["shell".into()]);
    let finished = world.execute(run, Cancel::new()).await;

    let calls = said(&finished.outcome.end);
    let ids: Vec<_> = calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["c9-0", "c9-1", "c9-2", "c9-3", "c9-4", "c9-5", "c9-6"]);
    assert_eq!(world.get(calls[0].args), r#"{"a":2,"z":1}"#, "canonical: sorted keys");
    assert_eq!(calls[0].class, EffectClass::External);
    assert_eq!((calls[0].why.as_str(), calls[0].deadline_ms), ("a fake", Some(5_000)));
    let summary = Digest::of(b"all good");
    assert_eq!(calls[2].control, Some(Control::Finish { done: true, needs: String::new(), summary }));
    for (call, says) in [
        (
            1,
            "there is no tool `shel` here; did you mean `shell`?\nYou can call: shell, finish, ask, plan, todo, delegate",
        ),
        (3, "must be a JSON object; they are not valid JSON (EOF"),
        (4, "`bad` does not fit\n  hint: leave it out"),
        (5, "there is no tool `secret` here"),
    ] {
        let error = world.get(calls[call].error.unwrap());
        assert!(error.contains(says), "{error}");
        assert_eq!(calls[call].class, PURE);
    }
    assert_eq!(calls[6].error, None);

    let End::Done(Done::Said { text, bytes, usage, stop, .. }) = &finished.outcome.end else {
        unreachable!()
    };
    assert_eq!((world.get(text.unwrap()).as_str(), *bytes, *stop), ("I see.", 6, Stop::ToolUse));
    assert_eq!(*usage, Usage { input: 1_000, output: 500, ..Usage::default() });
    // 1000 tokens at $3 and 500 at $15 per million.
    assert_eq!((finished.outcome.used.tokens, finished.outcome.used.nanos), (1_500, 10_500_000));

    let asked = world.asked();
    assert_eq!((asked.ordinal, asked.key), (3, format!("{SESSION}/2.9/1")));
    let names: Vec<_> = asked.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["shell", "finish", "ask", "plan", "todo", "delegate"]);
    assert!(asked.system.contains("- clippy (must pass): `cargo clippy`\n"), "{}", asked.system);
    assert!(asked.system.contains("- test: `cargo test`\n"), "{}", asked.system);
    assert_eq!(asked.messages, [Message::User { text: GOAL.into() }]);
}

#[tokio::test(start_paused = true)]
async fn too_many_calls_are_answered_with_errors_and_bounded() {
    let world = World::default();
    world.tool("read", PURE, until_told);
    world.model_says("", (0..limits::CALLS_RECORDED + 9).map(|_| wants("a", "read", json!({}))).collect());
    let end = world.end(world.run_of(model("fake/model"))).await;
    let calls = said(&end);
    assert_eq!(calls.len(), limits::CALLS_RECORDED);
    let run = calls.iter().take_while(|call| call.error.is_none()).count();
    assert_eq!(run, limits::CALLS_PER_MESSAGE);
    assert!(calls[run..].iter().all(|call| call.error.is_some()));
    let End::Done(Done::Said { text: None, bytes: 0, .. }) = end else { panic!("{end:?}") };
}

#[tokio::test(start_paused = true)]
async fn of_many_tools_some_are_shown_when_they_are_found_and_the_beginning_stays() {
    let world = World::default();
    for name in ["read", "edit"] {
        world.tool(name, PURE, until_told);
    }
    let far: Vec<&'static str> = (0..limits::TOOLS_SHOWN).map(|n| &*format!("far_{n:02}").leak()).collect();
    far.iter().for_each(|name| world.tool(name, PURE, until_told));
    let names = |request: &Request| request.tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>();

    let query = json!({"query": "far_07, far_03"});
    world.model_says("", vec![wants("1", "find_tools", query), wants("2", "far_05", json!({"bad": 1}))]);
    let end = world.end(world.run_of(model("fake/model"))).await;
    let shown = ["read", "edit", "finish", "ask", "plan", "todo", "delegate", "find_tools"];
    let before = world.asked();
    assert_eq!(names(&before), shown);
    assert!(before.tools[7].description.contains(&far.join(", ")));
    let found = Control::FindTools { names: vec!["far_03".into(), "far_07".into()] };
    assert_eq!(said(&end)[0].control, Some(found));
    let error = world.get(said(&end)[1].error.unwrap());
    assert!(
        error.contains("`bad` does not fit") && error.contains(r#"What it takes: {"type":"object"}"#),
        "{error}"
    );

    // What stands on record is all it takes to build the same request again.
    let mut run = world.run_of(model("fake/model"));
    run.context.found = vec!["far_07".into(), "gone".into(), "far_03".into(), "read".into()];
    world.model_says("", vec![wants("1", "far_07", json!({}))]);
    let end = world.end(run.clone()).await;
    let after = world.asked();
    assert_eq!(names(&after), [&shown[..], &["far_07", "far_03"]].concat());
    assert_eq!(after.tools[..8], before.tools[..]);
    assert!(said(&end)[0].error.is_none());
    let (again, _) = rebuild(&world.ports(), run.clone()).await.unwrap().unwrap();
    assert_eq!(again.tools, after.tools);

    // Who may call few is shown them all.
    Arc::make_mut(&mut run.context.spec).rights.tools = Some(vec!["far_01".into()]);
    world.end(run).await;
    assert_eq!(names(&world.asked()), ["far_01", "finish", "ask", "plan", "todo", "delegate"]);
}

#[tokio::test(start_paused = true)]
async fn the_decisions_of_one_message_fit_into_its_record() {
    let world = World::default();
    let id = |n: usize| format!("task-{n:050}");
    let task = |n: usize| json!({"id": id(n), "goal": "g", "after": (0..n).map(id).collect::<Vec<_>>()});
    let tasks: Vec<Value> = (0..limits::PLAN_TASKS).map(task).collect();
    let small = json!({"tasks": [{"id": "a", "goal": "g"}]});
    world.model_says("", vec![wants("1", "plan", json!({ "tasks": tasks })), wants("2", "plan", small)]);
    let end = world.end(world.run_of(model("fake/model"))).await;
    let calls = said(&end);
    assert!(calls[0].error.is_some() && calls[0].control.is_none());
    assert!(calls[1].control.is_some());
    assert!(serde_json::to_vec(&end).unwrap().len() < limits::RECORD_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_settled_by_the_card_it_was_reserved_by_and_not_by_what_is_known_now() {
    let world = World::default();
    world.model_says("hm", Vec::new());
    let run = world.run_of(model("fake/other"));
    // The model that is found has no price: only the list of its vendor told it, when the session was opened.
    let price = run.card.and_then(|card| card.price).unwrap();
    let finished = world.execute(run, Cancel::new()).await;
    let nanos = price.cost(Usage { input: 1_000, output: 500, ..Usage::default() });
    assert_eq!((finished.outcome.used.tokens, finished.outcome.used.nanos), (1_500, nanos));
}

#[tokio::test(start_paused = true)]
async fn what_fails_before_a_model_is_asked_has_not_run_and_costs_nothing() {
    let world = World::default();
    world.model_says("hm", Vec::new());
    let unsent = |finished: Finished| match finished.outcome.end {
        End::Failed(fault) => (fault.code, finished.outcome.metered, finished.outcome.used.tokens),
        end => panic!("{end:?}"),
    };
    let finished = world.execute(world.run_of(MODEL), Cancel::new()).await;
    assert_eq!(unsent(finished), ("not-run-unknown-model".into(), true, 0));
    for work in [
        model("fake/model"),
        Work::Summarise { model: "fake/model".into(), left: vec![], dropped: vec![(1, 9)] },
    ] {
        let mut run = world.run_of(work);
        run.context.items = vec![Item { no: 1, text: Some(Digest::of(b"gone")), ..Item::by(Role::User) }];
        let finished = world.execute(run, Cancel::new()).await;
        assert_eq!(unsent(finished), ("not-run-blob-missing".into(), true, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_is_always_valid() {
    let world = World::default();
    world.model_says("hm", Vec::new());
    let args = world.put(r#"{"a":1}"#);
    let call = |id: &str| (id.to_owned(), "read".to_owned(), args);
    let assistant = |calls| Item { calls, ..world.item(Role::Assistant, "") };
    let child = Item {
        notice: Some(Box::new(Notice::Told { what: "child ended".into() })),
        call: Some("b".into()),
        ..world.item(Role::Tool, "adopted")
    };
    let result = |id: &str, ok| Item { call: Some(id.into()), ok, ..world.item(Role::Tool, id) };
    let notice =
        Item { text: None, notice: Some(Box::new(Notice::ReplyCut)), ..world.item(Role::Notice, "") };

    let mut run = world.run_of(model("fake/model"));
    run.context.items = vec![
        result("lost", true),
        assistant(vec![call("a"), call("b"), call("c"), call("d")]),
        world.item(Role::User, "wait"),
        result("c", false),
        child,
        result("a", true),
        result("a", true),
        notice,
        assistant(Vec::new()),
        world.item(Role::Assistant, "so"),
    ];
    world.end(run).await;

    let user = |text: &str| Message::User { text: text.into() };
    let tool = |id: &str, ok, text: &str| Message::result(id, ok, text);
    let uses = ["a", "b", "c", "d"].map(|id| wants(id, "read", json!({"a": 1}))).to_vec();
    assert_eq!(
        world.asked().messages,
        [
            user(GOAL),
            Message::said("", uses),
            tool("a", true, "a"),
            tool("b", true, "child ended\nadopted"),
            tool("c", false, "c"),
            tool(
                "d",
                false,
                "no result recorded: this call may or may not have run; look before you repeat it"
            ),
            user("wait"),
            user("Your reply was cut at its limit. Go on where it stopped, in smaller pieces."),
            Message::said("so", Vec::new()),
            user("Go on. When nothing is left to do, call `finish`."),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn notices_are_worded_within_their_bound() {
    let world = World::default();
    world.model_says("hm", Vec::new());
    let log = world.put("error: one\n".repeat(10_000));
    let goal = world.put("é".repeat(20_000));
    let end =
        contract::intent::ChildEnd { state: "failed".into(), code: 3, commit: None, summary: Some(goal) };
    let notices = [
        Notice::NotConfirmed {
            reasons: vec!["`test` fails on the result".into(); 2_000],
            logs: (0..9).map(|n| (format!("check{n}"), log)).collect(),
        },
        Notice::NotConfirmed { reasons: vec!["`test` fails".into()], logs: vec![("test".into(), log)] },
        Notice::NotIntegrated { why: "conflict".into(), detail: Some(log) },
        Notice::Workaround { signature: "tools/exit".into() },
        Notice::NextTask { task: "t1".into(), goal },
        Notice::Rewound { to: ActionId { turn: 1, step: 2 } },
        Notice::ChildEnded { child: SessionId(1), end },
        Notice::Told { what: "no".repeat(20_000) },
    ];
    let mut run = world.run_of(model("fake/model"));
    let item = |notice: &Notice| Item {
        text: None,
        notice: Some(Box::new(notice.clone())),
        ..world.item(Role::Notice, "")
    };
    run.context.items = notices.iter().map(item).collect();
    // The kernel gives a child's last words as text, too; they are told once.
    run.context.items[6].text = Some(goal);
    world.end(run).await;

    let messages = world.asked().messages;
    assert_eq!(messages.len(), notices.len());
    let text = |message: &Message| match message {
        Message::User { text } => text.clone(),
        other => panic!("{other:?}"),
    };
    for message in &messages {
        assert!(text(message).len() as u64 <= limits::NOTICE_BYTES);
    }
    let last_words = "never the checks, and call `finish` again.";
    assert!(text(&messages[0]).ends_with(last_words), "the advice survives any number of logs");
    assert!(text(&messages[1]).contains("- `test` fails\n\n`test`, the end of its log, blob:"));
    assert!(text(&messages[6]).contains("has ended: failed (exit code 3). It left nothing"));
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_is_a_line_and_what_was_dropped_a_summary() {
    let world = World::default();
    world.model_says("hm", Vec::new());
    let args = world.put(json!({"path": "a.txt"}).to_string());
    let output = world.put("the whole output");
    let call = |id: &str| (id.to_owned(), "read".to_owned(), args);
    let assistant = |id: &str| Item { text: None, calls: vec![call(id)], ..world.item(Role::Assistant, "") };
    let result = |id: &str, left| Item {
        call: Some(id.to_owned()),
        left,
        images: vec![("image/png".to_owned(), output)],
        ..world.item(Role::Tool, "the whole output")
    };
    let summary = Summary {
        entries: 9,
        acts: vec![
            Act { tool: "read".into(), args, ok: true, result: Some(output) },
            Act { tool: "shell".into(), args: world.put("x".repeat(9_000)), ok: false, result: None },
        ],
        more: 3,
        messages: vec![world.put("use\ntabs")],
        tasks: vec![("t1".into(), world.put("Write it."), contract::event::TaskState::Active)],
        ..Summary::default()
    };
    let lines = 1 + summary.acts.len() + summary.messages.len() + summary.tasks.len();
    let notice = Notice::Compacted { summary: Box::new(summary) };
    let mut run = world.run_of(model("fake/model"));
    run.context.items = vec![
        world.item(Role::User, "goal"),
        Item { text: None, notice: Some(Box::new(notice)), ..world.item(Role::Notice, "") },
        assistant("a"),
        result("a", Some(Left::Old)),
        assistant("b"),
        result("b", None),
    ];
    world.end(run).await;
    let messages = world.asked().messages;
    let Message::User { text } = &messages[1] else { panic!("{messages:?}") };
    assert!(text.len() as u64 <= limits::SUMMARY_LINE_BYTES * lines as u64, "{text}");
    for part in [
        "9 earlier entries",
        "3 calls before",
        "- read {\"path\":\"a.txt\"}: ok, blob:",
        "- shell xxx",
        "failed",
        "wrote: use tabs",
        "task `t1` of the plan is being worked on: Write it.",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let Message::Tool { text, images, .. } = &messages[3] else { panic!("{messages:?}") };
    assert_eq!(*text, format!("[16 bytes left out: to make room. The whole: read blob:{output}]"));
    assert!(images.is_empty());
    let Message::Tool { text, images, .. } = &messages[5] else { panic!("{messages:?}") };
    assert_eq!((text.as_str(), images.len()), ("the whole output", 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_is_on_record_and_can_be_built_anew() {
    let world = World::default();
    world.model_says("hm", vec![wants("x", "read", json!({"a": 1}))]);
    let mut run = world.run_of(model("fake/model"));
    run.context.items = vec![world.item(Role::User, "goal"), world.item(Role::Assistant, "so")];
    let finished = world.execute(run.clone(), Cancel::new()).await;
    let sent = finished.outcome.sent.expect("a model was asked");
    assert!(sent.prompt_bytes > 1_000 && sent.prompt_tokens.is_none() && sent.repairs.is_empty());
    let End::Done(Done::Said { again, tokens, .. }) = finished.outcome.end else { panic!("it spoke") };
    assert_eq!((again, tokens), (Some("hmread{\"a\":1}".len() as u64), None));
    let (_, anew) = super::rebuild(&world.ports(), run.clone()).await.unwrap().unwrap();
    assert_eq!(anew, sent);
    run.context.items.push(world.item(Role::User, "more"));
    let (_, other) = super::rebuild(&world.ports(), run.clone()).await.unwrap().unwrap();
    assert!(other.request != sent.request && other.prompt == sent.prompt);
    run.work = Work::Prepare;
    assert!(super::rebuild(&world.ports(), run).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_mended_on_the_way_is_told() {
    let world = World::default();
    world.model_says(
        "hm",
        (0..limits::CALLS_RECORDED + 2).map(|n| wants(&n.to_string(), "read", json!({}))).collect(),
    );
    let mut run = world.run_of(model("fake/model"));
    let args = world.put("{}");
    let lost = Item { calls: vec![("c9".into(), "read".into(), args)], ..world.item(Role::Assistant, "x") };
    let orphan = Item { call: Some("c8".into()), ..world.item(Role::Tool, "y") };
    run.context.items = vec![world.item(Role::User, "goal"), lost, orphan];
    let repairs = world.execute(run, Cancel::new()).await.outcome.sent.unwrap().repairs;
    assert_eq!(repairs.len(), 3, "{repairs:?}");
    for (repair, part) in
        repairs.iter().zip(["call c9 had no result", "result of c8 came without", "2 calls of one message"])
    {
        assert!(repair.contains(part), "{repair}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_text_is_a_fault_not_a_guess() {
    let world = World::default();
    let mut run = world.run_of(model("fake/model"));
    run.context.items = vec![Item { text: Some(Digest::of(b"gone")), ..world.item(Role::User, "") }];
    let End::Failed(fault) = world.end(run).await else { panic!("it did not fail") };
    assert_eq!(fault.code, "not-run-blob-missing");
}

// Workspace

#[tokio::test(start_paused = true)]
async fn prepare_names_the_goals_checks() {
    let world = World::default();
    let End::Done(Done::Prepared(prepared)) = world.end(first_prepare(&world)).await else {
        panic!("not prepared")
    };
    assert_eq!((prepared.base.as_str(), prepared.target.as_deref()), ("head", Some("main")));
    assert_eq!((prepared.checks.len(), prepared.goal_checks), (2, vec!["clippy".to_owned()]));
    assert_eq!(world.log(), ["prepare /repo None", "find /clones/7 head"]);

    let mut run = first_prepare(&world);
    Arc::make_mut(&mut run.context.spec).goal_checks = vec!["tset".into()];
    let End::Failed(fault) = world.end(run).await else { panic!("it did not fail") };
    assert_eq!((fault.kind, fault.code.as_str()), (Kind::UserFixable, "unknown-check"));
}

/// Nothing was prepared before.
fn first_prepare(world: &World) -> Run {
    let mut run = world.run_of(Work::Prepare);
    run.context.base = None;
    run
}

#[tokio::test(start_paused = true)]
async fn what_was_prepared_once_is_prepared_from_the_same_base() {
    for worked in [false, true] {
        let world = World::default();
        let mut run = world.run_of(Work::Prepare);
        run.context.worked = worked;
        world.end(run).await;
        let again = if worked { "again: " } else { "" };
        assert_eq!(world.log()[0], format!("{again}prepare /repo Some(\"base\")"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_works_for_its_parents_clone() {
    let world = World::default();
    let mut run = first_prepare(&world);
    let parent = SessionId(3);
    Arc::make_mut(&mut run.context.spec).parent = Some(Parent {
        session: parent,
        root: parent,
        ancestors: vec![parent],
        goals: Vec::new(),
        action: ACTION,
        call: "c1-0".into(),
    });
    world.end(run).await;
    assert_eq!(world.log()[0], "prepare /clones/3 None");
}

#[tokio::test(start_paused = true)]
async fn check_commits_and_runs_on_both_sides() {
    let world = World::default();
    let End::Done(Done::Checked(report)) = world.end(world.run_of(Work::Check { base_known: false })).await
    else {
        panic!("not checked")
    };
    assert_eq!((report.result.as_str(), report.runs.len()), ("result", 4));
    assert_eq!(world.get(report.runs[0].log), "a log");
    let checks = format!("checks {SESSION}/2.9 base..result known=false");
    assert_eq!(world.log(), [format!("commit {GOAL}"), checks]);

    let mut run = world.run_of(Work::Check { base_known: true });
    run.context.base = None;
    let End::Failed(fault) = world.end(run).await else { panic!("it did not fail") };
    assert_eq!(fault.code, "not-prepared");
}

#[tokio::test(start_paused = true)]
async fn what_was_green_must_be_green_when_merged() {
    use Status::{Failed, Passed};
    let land = async |test_base, test_result, clippy| {
        let world = World::default();
        world.check_is("test", Side::Base, test_base);
        world.check_is("test", Side::Result, test_result);
        world.check_is("clippy", Side::Result, clippy);
        let end = world.end(world.run_of(Work::Integrate { result: "result".into() })).await;
        let End::Done(Done::Integrated(integrated)) = end else { panic!("{end:?}") };
        assert_eq!(world.log()[0], "integrate /repo result land=true");
        integrated.landed.is_some()
    };
    assert!(land(Passed, Passed, Passed).await);
    assert!(land(Failed, Failed, Passed).await, "red before, and not what the goal is about");
    assert!(!land(Passed, Failed, Passed).await);
    assert!(!land(Passed, Passed, Failed).await);
    assert!(!land(Passed, Status::Flaky, Passed).await);
}

#[tokio::test(start_paused = true)]
async fn checks_that_were_stopped_say_nothing_about_the_work() {
    let integrate = Work::Integrate { result: "result".into() };
    for work in [Work::Check { base_known: false }, integrate] {
        let world = World::default();
        world.check_is("test", Side::Result, Status::CouldNotRun);
        let cancel = Cancel::new();
        world.stop_during_checks(&cancel);
        let finished = world.execute(world.run_of(work), cancel).await;
        assert_eq!(finished.outcome.end, End::Cancelled);
    }
}

#[tokio::test(start_paused = true)]
async fn inspect_and_adopt_put_their_answers_on_record() {
    let world = World::default();
    let end = world.end(world.run_of(Work::Inspect { result: "result".into() })).await;
    assert_eq!(end, End::Done(Done::Inspected { flags: Vec::new(), files: 3 }));

    let child = SessionId(4);
    let adopt = Work::Adopt { child, commit: "theirs".into(), call: "c1-0".into() };
    let end = world.end(world.run_of(adopt)).await;
    let text = "conflicts in a.rs";
    let digest = Digest::of(text.as_bytes());
    assert_eq!(end, End::Done(Done::Adopted { child, clean: false, text: digest, bytes: text.len() as u64 }));
    assert_eq!(world.log(), ["inspect base..result", "savepoint 7 2.9", "adopt 4 theirs"]);
}

#[tokio::test(start_paused = true)]
async fn a_rewind_can_be_rewound() {
    let world = World::default();
    let rewind = |to| world.run_of(Work::Rewind { to });
    let to = ActionId { turn: 1, step: 4 };
    let End::Failed(fault) = world.end(rewind(to)).await else { panic!("it did not fail") };
    assert_eq!((fault.kind, fault.code.as_str()), (Kind::UserFixable, "no-savepoint"));

    world.has_savepoint("1.4");
    let end = world.end(rewind(to)).await;
    assert_eq!(end, End::Done(Done::Rewound { to, undo: "commit-undo-2.9".into() }));

    let end = world.end(Run { action: ActionId { turn: 3, step: 10 }, ..rewind(ACTION) }).await;
    assert_eq!(end, End::Done(Done::Rewound { to: ACTION, undo: "commit-undo-3.10".into() }));
    assert_eq!(world.log().last().map(String::as_str), Some("restore undo-2.9 true"));
}
