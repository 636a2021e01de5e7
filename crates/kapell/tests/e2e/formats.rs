//! Every way to end, in every output format: one result, the right code (users.md pain 8).
//!
//! Start at [`CASES`].

use crate::world::{DONE, Ended, World, call, fixes, shell, write};
use serde_json::Value;

/// Name, turns, extra arguments, exit code, `termination_reason`, `subtype`.
type Case = (&'static str, fn() -> String, &'static [&'static str], i32, &'static str, &'static str);

const CASES: &[Case] = &[
    ("ok", fixes, &[], 0, "completed", "success"),
    ("refuted", lies, &[], 3, "refuted", "error_during_execution"),
    ("gave up", gives_up, &[], 8, "needs_you", "error_during_execution"),
    ("asks", asks, &[], 8, "needs_you", "error_during_execution"),
    ("approval", outside, &[], 8, "needs_you", "error_during_execution"),
    ("budget", fixes, &["--max-steps", "1"], 7, "budget", "error_max_budget_usd"),
    ("limit", rate_limited, &[], 75, "waiting", "error_during_execution"),
    ("broken", broken, &[], 1, "failed", "error_during_execution"),
    ("steps", fixes, &["--max-turns", "1"], 5, "stuck", "error_max_turns"),
    ("timeout", slow, &["--timeout", "400ms"], 124, "timeout", "error_during_execution"),
    ("bad model", fixes, &["-m", "no/such"], 2, "usage", "error_during_execution"),
    ("bad flag", fixes, &["--no-such-flag"], 2, "usage", "error_during_execution"),
    ("bad base", fixes, &["--base", "no-such-rev"], 1, "failed", "error_during_execution"),
];

fn lies() -> String {
    format!("{}{}", write("fixed.txt", "no"), DONE.repeat(5))
}

fn gives_up() -> String {
    call("finish", "status = \"blocked\", needs = \"language-model\", summary = \"too hard\"")
}

fn asks() -> String {
    call("ask", "question = \"which?\"")
}

fn outside() -> String {
    shell("touch /nonexistent/x")
}

fn rate_limited() -> String {
    "[[turn]]\nrepeat = 9\nerror = { kind = \"rate-limited\", code = \"slow\", what = \"too fast\", retry_after_ms = 1 }\n".into()
}

fn broken() -> String {
    "[[turn]]\nrepeat = 9\nerror = { kind = \"permanent\", code = \"gone\", what = \"no such thing\" }\n"
        .into()
}

fn slow() -> String {
    "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n".into()
}

fn check_result(name: &str, result: &Value, case: &Case) {
    let (_, _, _, code, reason, subtype) = case;
    assert_eq!(result["type"], "result", "{name}");
    assert_eq!(result["exit_code"], *code, "{name}: {result:#}");
    assert_eq!(result["termination_reason"], *reason, "{name}: {result:#}");
    assert_eq!(result["subtype"], *subtype, "{name}: {result:#}");
    assert_eq!(result["schema_version"], 1, "{name}");
    assert_eq!(result["is_error"], *code != 0, "{name}");
}

#[test]
fn every_end_in_text() {
    CASES.iter().for_each(|case| {
        let ended = play(case, "text");
        assert!(!ended.out.contains("{\"type\""), "{}", case.0);
    });
}

#[test]
fn every_end_in_json() {
    CASES.iter().for_each(|case| check_result(case.0, &play(case, "json").json(), case));
}

#[test]
fn every_end_in_stream_json() {
    for case in CASES {
        let lines = play(case, "stream-json").lines();
        check_result(case.0, lines.last().unwrap(), case);
        assert_eq!(lines.iter().filter(|line| line["type"] == "result").count(), 1, "{}", case.0);
        if lines.len() > 1 {
            let first = (&lines[0]["type"], &lines[0]["subtype"]);
            assert_eq!(first, (&"system".into(), &"init".into()), "{}", case.0);
        }
    }
}

fn play(case: &Case, format: &str) -> Ended {
    let (_, turns, extra, code, ..) = case;
    let world = World::unconfined();
    let model = world.script("play", &turns());
    let mut args = vec!["run", "make the test pass", "--output-format", format];
    if !extra.contains(&"-m") {
        args.extend(["-m", &model]);
    }
    args.extend(*extra);
    world.run(&args).expect(*code)
}

#[test]
fn every_call_in_the_stream_has_its_result() {
    let world = World::new();
    let turns = format!("{}{}{}", call("read", "path = \"readme.txt\""), shell("true"), fixes());
    let model = world.script("play", &turns);
    let lines = world
        .run(&["run", "-m", &model, "--ask", "never", "make the test pass", "--output-format", "stream-json"])
        .expect(0)
        .lines();
    let blocks = |kind: &str, of: &str, key: &str| -> Vec<String> {
        let lines = lines.iter().filter(|line| line["type"] == kind);
        let content = lines.flat_map(|line| line["message"]["content"].as_array().unwrap().clone());
        content
            .filter(|block| block["type"] == of)
            .map(|block| block[key].as_str().unwrap().to_owned())
            .collect()
    };
    let calls = blocks("assistant", "tool_use", "id");
    assert_eq!(calls.len(), 4, "{lines:#?}");
    assert_eq!(calls, blocks("user", "tool_result", "tool_use_id"));
    assert!(
        lines.iter().any(
            |line| line["type"] == "event" && line["record"]["event"]["judged"]["verdict"] == "CONFIRMED"
        )
    );
}

#[test]
fn the_result_goes_to_a_file_too() {
    let world = World::new();
    let model = world.script("play", &fixes());
    let file = world.path("result.json");
    let ended = world
        .run(&["run", "-m", &model, "make the test pass", "--json", "-o", file.to_str().unwrap()])
        .expect(0);
    assert_eq!(world.read("result.json"), ended.out);
    assert!(!ended.out.contains('\x1b'));
}

#[test]
fn every_command_has_json() {
    let world = World::new();
    let model = world.script("play", &fixes());
    for args in [&["sessions"][..], &["sessions", "tree"], &["gc"], &["verify"], &["doctor"]] {
        let ended = world.run(&[args, &["--json"]].concat());
        ended.json();
    }
    let error = world.run(&["why", "last", "--json"]).expect(2).json();
    assert_eq!(error["error"]["exit_code"], 2);
    assert!(error["error"]["hint"].as_str().unwrap().contains("kapell run"));
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    for args in [
        &["sessions"][..],
        &["sessions", "list"],
        &["sessions", "show", "last"],
        &["sessions", "tree", "last"],
        &["events", "last"],
        &["why", "last"],
        &["cost"],
        &["cost", "last"],
        &["diff", "last"],
        &["verify"],
        &["gc", "--dry-run"],
    ] {
        world.run(&[&["--json"], args].concat()).expect(0).json();
        let text = world.run(args).expect(0);
        assert!(!text.out.is_empty() && !text.out.contains('\x1b'), "{args:?}");
    }
}
