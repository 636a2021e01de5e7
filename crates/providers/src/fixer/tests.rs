//! The fixer against a small world: files in memory and a compiler made of rules, so that whole
//! conversations are played in a test. Start at [`World::play`].

use super::*;
use contract::model::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the compiler of this world says about a line that contains `word`.
struct Rule {
    word: &'static str,
    code: &'static str,
    /// Replacement of the word and how sure the compiler is.
    advice: Option<(&'static str, &'static str)>,
}

/// A project and its tools.
struct World {
    files: BTreeMap<String, String>,
    rules: Vec<Rule>,
    /// Tests that fail on these files.
    failing: fn(&BTreeMap<String, String>) -> Vec<&'static str>,
    formatted: bool,
    /// Every shell command, in order.
    ran: Vec<String>,
}

const SOUND: fn(&BTreeMap<String, String>) -> Vec<&'static str> = |_| Vec::new();

impl World {
    fn new(lib: &str, rules: Vec<Rule>) -> Self {
        let files = [("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/lib.rs", lib)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        Self { files, rules, failing: SOUND, formatted: false, ran: Vec::new() }
    }

    /// Plays from the goal to the end of the first turn; returns the arguments of `finish`.
    fn play(&mut self, goal: &str) -> Value {
        let mut messages = vec![Message::User { text: goal.into() }];
        self.go_on(&mut messages)
    }

    fn go_on(&mut self, messages: &mut Vec<Message>) -> Value {
        for ordinal in 0..100 {
            let reply = reply(&request(messages.clone(), ordinal));
            assert_eq!(reply, super::reply(&request(messages.clone(), ordinal)), "a pure function");
            let Reply { text, calls, .. } = reply;
            messages.push(Message::said(text, calls.clone()));
            let mut end = None;
            for call in calls {
                let (ok, text) = if call.tool == "finish" {
                    end = Some(call.args);
                    (true, "ended".into())
                } else {
                    self.run(&call.tool, &call.args)
                };
                messages.push(Message::result(call.id, ok, text));
            }
            if let Some(end) = end {
                return end;
            }
        }
        panic!("no end after 100 replies");
    }

    fn run(&mut self, tool: &str, args: &Value) -> (bool, String) {
        let path = args["path"].as_str().unwrap_or_default();
        match tool {
            "list" => (true, self.files.keys().cloned().collect::<Vec<_>>().join("\n")),
            "read" => self.files.get(path).map_or((false, "no such file".into()), |text| (true, shown(text))),
            "write" => {
                self.files.insert(path.into(), args["content"].as_str().unwrap().into());
                (true, "written".into())
            }
            "edit" => {
                let text = self.files.get_mut(path).expect("a file");
                for edit in args["edits"].as_array().unwrap() {
                    let (old, new) =
                        (edit["old_string"].as_str().unwrap(), edit["new_string"].as_str().unwrap());
                    assert_eq!(text.matches(old).count(), 1, "{old:?} is unique");
                    *text = text.replacen(old, new, 1);
                }
                (true, "edited".into())
            }
            "shell" => {
                let command = args["command"].as_str().unwrap().to_owned();
                self.ran.push(command.clone());
                match command.as_str() {
                    "cargo fmt --check" => (self.formatted, String::new()),
                    "cargo fmt" => (true, String::new()),
                    lint if lint.starts_with("cargo clippy") => (true, self.lint()),
                    test if test.starts_with("cargo test") => self.test(),
                    other => (false, format!("sh: {other}: not found")),
                }
            }
            other => panic!("no tool {other}"),
        }
    }

    fn lint(&self) -> String {
        let package = r#""package_id":"path+file:///x#0.1.0","target":{"kind":["lib"],"name":"x"}"#;
        let mut output = "    Checking x v0.1.0\n".to_owned();
        let mut broken = false;
        for (file, text) in self.files.iter().filter(|(file, _)| file.ends_with(".rs")) {
            for (number, line) in text.lines().enumerate() {
                for rule in self.rules.iter().filter(|rule| line.contains(rule.word)) {
                    let column = line.find(rule.word).unwrap() + 1;
                    let span = |new: Value, trust: Value| {
                        json!({"file_name": file, "line_start": number + 1, "line_end": number + 1,
                            "column_start": column, "column_end": column + rule.word.len(), "is_primary": true,
                            "suggested_replacement": new, "suggestion_applicability": trust, "expansion": null})
                    };
                    let children = rule.advice.map(|(new, trust)| {
                        json!({"message": "help", "code": null, "level": "help",
                            "spans": [span(json!(new), json!(trust))], "children": []})
                    });
                    let hard = rule.code.starts_with('E');
                    broken |= hard;
                    let message = json!({"message": format!("about {}", rule.word), "code": {"code": rule.code},
                        "level": if hard { "error" } else { "warning" },
                        "spans": [span(Value::Null, Value::Null)],
                        "children": children.into_iter().collect::<Vec<_>>()});
                    let _ =
                        writeln!(output, r#"{{"reason":"compiler-message",{package},"message":{message}}}"#);
                }
            }
        }
        // In this world a library that says so is built under another name.
        let package = match self.files["src/lib.rs"].contains("vanish") {
            true => package.replace("\"x\"}", "\"y\"}"),
            false => package.to_owned(),
        };
        if !broken {
            let _ =
                writeln!(output, r#"{{"reason":"compiler-artifact",{package},"profile":{{"test":false}}}}"#);
        }
        output
    }

    fn test(&self) -> (bool, String) {
        let uses = |rule: &&Rule| rule.code.starts_with('E');
        let broken = self.rules.iter().filter(uses).any(|rule| self.files["src/lib.rs"].contains(rule.word));
        if broken {
            return (false, "error: could not compile `x` (lib) due to 1 previous error\n".into());
        }
        let failed = (self.failing)(&self.files);
        let mut output: String = failed.iter().map(|name| format!("test {name} ... FAILED\n")).collect();
        let _ = writeln!(
            output,
            "test result: x. {} passed; {} failed; 0 ignored",
            5 - failed.len(),
            failed.len()
        );
        (failed.is_empty(), output)
    }
}

/// As the read tool shows it.
fn shown(text: &str) -> String {
    text.lines().enumerate().map(|(i, line)| format!("{:>6}\t{line}\n", i + 1)).collect()
}

fn request(messages: Vec<Message>, ordinal: u32) -> Request {
    let (model, system, key) = ("builtin/fixer".into(), String::new(), String::new());
    Request { model, system, messages, tools: vec![], max_tokens: 1_000, ordinal, key }
}

const fn rule(word: &'static str, code: &'static str, new: &'static str, trust: &'static str) -> Rule {
    Rule { word, code, advice: Some((new, trust)) }
}

const SURE: &str = "MachineApplicable";
const MAYBE: &str = "MaybeIncorrect";

#[test]
fn sure_advice_is_applied_at_once() {
    let mut world = World::new(
        "a old;\nb old;\nc odd;\n",
        vec![rule("old", "l1", "new", SURE), rule("odd", "l2", "even", SURE)],
    );
    let end = world.play("make clippy pass");
    assert_eq!(end["status"], "done", "{end}");
    assert_eq!(world.files["src/lib.rs"], "a new;\nb new;\nc even;\n");
    let lints = world.ran.iter().filter(|command| command.contains("clippy")).count();
    assert_eq!(lints, 2, "{:?}", world.ran);
}

#[test]
fn advice_that_breaks_the_build_is_taken_back_and_the_rest_stays() {
    let rules = vec![
        rule("one", "l", "uno", SURE),
        rule("two", "l", "broken", SURE),
        rule("three", "l", "tre", SURE),
        Rule { word: "broken", code: "E0001", advice: None },
    ];
    let mut world = World::new("one\n-\n-\n-\ntwo\n-\n-\n-\nthree\n", rules);
    let end = world.play("make clippy pass");
    assert_eq!((&end["status"], &end["needs"]), (&json!("blocked"), &json!("language-model")));
    assert_eq!(world.files["src/lib.rs"], "uno\n-\n-\n-\ntwo\n-\n-\n-\ntre\n");
    assert!(end["summary"].as_str().unwrap().contains("src/lib.rs:5: about two [l]"), "{end}");
}

#[test]
fn advice_that_fails_a_test_is_taken_back() {
    let rules =
        vec![rule("one", "l", "uno", SURE), rule("two", "l", "due", MAYBE), rule("ten", "l", "dieci", MAYBE)];
    let mut world = World::new("one\ntwo\nten\n", rules);
    world.failing = |files| if files["src/lib.rs"].contains("due") { vec!["t"] } else { vec![] };
    assert_eq!(world.play("make clippy pass")["status"], "blocked");
    assert_eq!(world.files["src/lib.rs"], "uno\ntwo\ndieci\n");
}

#[test]
fn a_target_that_is_no_longer_looked_at_is_not_mended() {
    let mut world = World::new("one\n", vec![rule("one", "l", "vanish", SURE)]);
    let end = world.play("make clippy pass");
    assert_eq!(end["status"], "blocked", "{end}");
    assert_eq!(world.files["src/lib.rs"], "one\n");
}

#[test]
fn without_advice_nothing_is_touched_and_that_is_said() {
    let mut world = World::new("odd\n", vec![Rule { word: "odd", code: "l", advice: None }]);
    let end = world.play("make clippy pass");
    assert_eq!((&end["status"], &end["needs"]), (&json!("blocked"), &json!("language-model")));
    assert_eq!(world.files["src/lib.rs"], "odd\n");
}

#[test]
fn a_finding_is_mended_never_silenced() {
    let mut world = World::new("odd\n", vec![rule("odd", "l", "#[allow(l)] odd", SURE)]);
    assert_eq!(world.play("make clippy pass")["status"], "blocked");
    assert_eq!(world.files["src/lib.rs"], "odd\n");
}

#[test]
fn what_does_not_compile_is_mended_first() {
    let rules = vec![rule("totl", "E0425", "total", MAYBE), rule("old", "l", "new", SURE)];
    let mut world = World::new("totl\nold\n", rules);
    assert_eq!(world.play("it does not compile")["status"], "done");
    assert_eq!(world.files["src/lib.rs"], "total\nold\n", "the lint was not asked for");
}

#[test]
fn failing_tests_are_mended_by_what_the_linter_points_at_and_nothing_else_changes() {
    let rules = vec![rule("old", "l1", "new", SURE), rule("a..z", "l2", "a..=z", MAYBE)];
    let mut world = World::new("old\na..z\n", rules);
    world.failing = |files| if files["src/lib.rs"].contains("a..z") { vec!["letters"] } else { vec![] };
    assert_eq!(world.play("fix the failing test")["status"], "done");
    assert_eq!(world.files["src/lib.rs"], "old\na..=z\n");
}

#[test]
fn formatted_code_stays_formatted() {
    let mut world = World::new("old\n", vec![rule("old", "l", "new", SURE)]);
    world.formatted = true;
    world.play("make clippy pass");
    assert_eq!(world.ran.iter().filter(|command| *command == "cargo fmt").count(), 1);
}

#[test]
fn a_second_turn_tries_nothing_twice() {
    let mut world =
        World::new("one\ntwo\n", vec![rule("one", "l", "uno", SURE), rule("two", "l", "due", SURE)]);
    world.failing = |files| if files["src/lib.rs"].contains("due") { vec!["t"] } else { vec![] };
    let mut messages = vec![Message::User { text: "make clippy pass".into() }];
    world.go_on(&mut messages);
    messages.push(Message::User { text: "Kapell ran the checks: not confirmed".into() });
    let before = world.ran.len();
    assert_eq!(world.go_on(&mut messages)["status"], "blocked");
    assert_eq!(world.ran.len(), before + 2, "one look, no trial: {:?}", world.ran);
    assert_eq!(world.files["src/lib.rs"], "uno\ntwo\n");
}

#[test]
fn a_project_of_another_kind_gets_its_checks_run() {
    let mut world = World::new("", vec![]);
    world.files.remove("Cargo.toml");
    let end = world.play("make it pass");
    assert_eq!((&end["status"], &end["needs"]), (&json!("blocked"), &json!("language-model")));
    let mut request = request(vec![Message::User { text: "go".into() }], 0);
    request.system = "# Checks\n- lint (must pass): `npm run lint`\n".into();
    let first = reply(&request);
    let listed = Message::result(first.calls[0].id.clone(), true, "package.json");
    request.messages.extend([Message::said(first.text, first.calls), listed]);
    assert_eq!(reply(&request).calls[0].args["command"], "npm run lint");
}

#[test]
fn a_linter_that_is_not_there_is_said() {
    let mut world = World::new("", vec![]);
    let mut messages = vec![Message::User { text: "make clippy pass".into() }];
    let end = loop {
        let Reply { text, calls, .. } = reply(&request(messages.clone(), 0));
        messages.push(Message::said(text, calls.clone()));
        if calls[0].tool == "finish" {
            break calls[0].args.clone();
        }
        for call in calls {
            let missing = call.args["command"].as_str().is_some_and(|command| command.contains("clippy"));
            let (ok, text) = match missing {
                true => (false, "error: no such command: `clippy`".into()),
                false => world.run(&call.tool, &call.args),
            };
            messages.push(Message::result(call.id, ok, text));
        }
    };
    assert!(end["summary"].as_str().unwrap().contains("no such command"), "{end}");
}
