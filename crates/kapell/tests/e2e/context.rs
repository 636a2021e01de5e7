//! The conversation from outside: cut and shown again, replayed offline, made into a script, handed to another model.
//!
//! Start at the first test; each is one story.

use crate::world::{DONE, Ended, World, call, finish, fixes, write};
use fake::{Plan, Reply, Script, Server};
use serde_json::{Value, json};

/// Calls in the order in which a model made them: tool and arguments.
fn calls(world: &World) -> Vec<(String, Value)> {
    let entries = world.run(&["sessions", "transcript", "last", "--json"]).expect(0).json();
    let dir = world.path("exported");
    let _ = std::fs::remove_dir_all(&dir);
    world.run(&["events", "last", "--export", dir.to_str().unwrap()]).expect(0);
    let made = |entry: &Value| entry["calls"].as_array().cloned().unwrap_or_default();
    let all = entries.as_array().unwrap().iter().flat_map(made);
    let one = |call: Value| {
        let args = std::fs::read(dir.join("blobs").join(call["args"].as_str().unwrap())).unwrap();
        (call["tool"].as_str().unwrap().to_owned(), serde_json::from_slice(&args).unwrap())
    };
    all.map(one).collect()
}

#[test]
fn a_record_is_replayed_and_played_again() {
    let world = World::new();
    let secret = format!("sk-ant-api03-{}", "aB3".repeat(20));
    let turns = format!(
        "[[turn]]\ntext = \"Looking. {{{{step}}}} of \\\"{{{{n}}}}\\\", key {secret}\"\n[[turn.call]]\ntool = \"read\"\nargs = {{ path = \"readme.txt\" }}\n\
         [[turn.call]]\ntool = \"read\"\nraw_args = \"not {{ json\"\n\
         [[turn]]\nerror = {{ kind = \"transient\", code = \"blip\", what = \"gone\", retry_after_ms = 1 }}\n{}",
        fixes()
    );
    let model = world.script("first", &turns);
    world.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    let first = calls(&world);
    assert_eq!(first.len(), 4);

    let told = world.run(&["replay", "last", "--json"]).expect(0).json();
    assert_eq!(told["difference"], Value::Null);
    assert!(told["requests"].as_u64().unwrap() >= 4, "{told}");
    assert_eq!(told["unknown"], 0);

    let script = world.path("recorded.toml");
    let ended = world.run(&["record", "last", "-o", script.to_str().unwrap()]).expect(0);
    assert!(ended.err.contains("1 secrets removed"), "{}", ended.err);
    let text = std::fs::read_to_string(&script).unwrap();
    assert!(text.contains("[secret removed: anthropic-key]") && !text.contains(&secret), "{text}");

    let again = World::new();
    again.write("recorded.toml", &text);
    let model = format!("builtin/script:{}", again.path("recorded.toml").display());
    again.run(&["run", "-m", &model, "make the test pass"]).expect(0);
    assert_eq!(calls(&again), first);
    again.run(&["replay", "last"]).expect(0);
}

/// A model of a small context, and turns that read the same large files again and again.
fn small(world: &World, name: &str, turns: &str) -> String {
    world.write(
        &format!("{name}.toml"),
        &format!(
            "[model]\ncontext_tokens = 24000\noutput_tokens = 1000\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n{turns}"
        ),
    );
    format!("builtin/script:{}", world.path(&format!("{name}.toml")).display())
}

#[test]
fn a_conversation_is_cut_on_record_shown_again_and_still_replays() {
    let world = World::new();
    for n in 0..8 {
        world.write(
            &format!("repo/big{n}.txt"),
            &format!("line {n} of a file that is not small\n").repeat(280),
        );
    }
    world.commit("big");
    let reads: String = (0..8).map(|n| call("read", &format!("path = \"big{n}.txt\""))).collect();
    let turns = format!("{reads}{}{}", call("ask", "question = \"go on?\""), fixes());
    let model = small(&world, "small", &turns);
    world.run(&["run", "-m", &model, "make the test pass"]).expect(8);
    let events = world.run(&["events", "last"]).expect(0);
    let cut =
        events.lines().into_iter().find(|line| line["event"]["compacted"].is_object()).expect("it was cut");
    let cut = &cut["event"]["compacted"];
    assert!(cut["after"].as_u64().unwrap() <= cut["cap"].as_u64().unwrap(), "{cut}");
    // A result that became a reference, or that of the first exchange that was dropped.
    let lost = cut["left"][0][0].as_u64().unwrap_or_else(|| cut["dropped"][0][0].as_u64().unwrap() + 1);
    let transcript = world.run(&["sessions", "transcript", "last"]).expect(0);
    assert!(transcript.out.contains(&format!("*{lost}\n")), "{}", transcript.out);

    world.run(&["uncompact", "last", "1"]).expect(1);
    let back = world.run(&["uncompact", "last", &lost.to_string()]).expect(0);
    assert!(back.out.contains("is shown it again"), "{}", back.out);
    world.run(&["answer", "last", "yes"]).expect(0);
    world.run(&["resume", "last"]).expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    let told = world.run(&["replay", "last", "--json"]).expect(0).json();
    assert_eq!((&told["difference"], &told["unknown"]), (&Value::Null, &Value::from(0)), "{told}");
    world.run(&["uncompact", "last"]).expect(2);
}

#[test]
fn a_goal_too_large_for_the_model_is_refused_with_what_to_do() {
    let world = World::new();
    let model = small(&world, "small", &fixes());
    let goal = "make the test pass ".repeat(6_000);
    let ended = world.run(&["run", "-m", &model, &goal]).expect(8);
    assert!(
        ended.out.contains("--model") && ended.out.contains("larger context"),
        "{} {}",
        ended.out,
        ended.err
    );
    let large = world.script("large", &fixes());
    world.run(&["resume", "last", "--model", &large]).expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
}

#[test]
fn another_model_goes_on_in_the_middle() {
    let world = World::new();
    let turns = format!("{}{}", write("a.txt", "a"), call("ask", "question = \"which?\""));
    let first = world.script("first", &turns);
    world.run(&["run", "-m", &first, "make the test pass"]).expect(8);
    world.run(&["answer", "last", "that"]).expect(0);
    world.run(&["pause", "last"]).expect(0);
    // The second one has turns for the ordinals that come.
    let second = world.script(
        "second",
        &format!("[[turn]]\nrepeat = 2\ntext = \"unused\"\n[[turn]]\nexpect = \"that\"\n[[turn.call]]\ntool = \"write\"\nargs = {{ path = \"fixed.txt\", content = \"fixed\\n\" }}\n{DONE}"),
    );
    world.run(&["resume", "last", "--model", &second]).expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    world.run(&["replay", "last"]).expect(0);
}

/// A model that writes much, behind a server that answers the question for notes with what it says first.
fn writer() -> Server {
    let write = |n: usize| {
        let content = format!("line {n} of a file that is not small\n").repeat(220);
        Reply::text(format!("Note {n}: the parser is in src/parse.rs."))
            .and_call("write", &json!({"path": format!("big{n}.txt"), "content": content}))
    };
    let script = Script::new((0..20).map(write).collect());
    Server::start(Plan { script, ..Plan::default() }).unwrap()
}

/// A world whose model `ours/m` is that writer, and whose words about what goes come from there.
fn with_words(compact_model: &str) -> (World, Server) {
    let (world, server) = (World::new(), writer());
    let config = format!(
        "compact_model = \"{compact_model}\"\n[providers.ours]\ndialect = \"anthropic\"\nbase_url = \"{}\"\nkey_env = \"OURS_API_KEY\"\n\
         [providers.ours.models.m]\ncontext = 30_000\noutput = 4_000\nprice = {{ input = 3, output = 15 }}\n\
         [providers.gone]\ndialect = \"openai-chat\"\nserver = \"vllm\"\nbase_url = \"http://127.0.0.1:1/v1\"\n\
         [providers.gone.models.m]\nprice = {{ input = 0, output = 0 }}\n",
        server.url()
    );
    world.write("kapell/config/config.toml", &config);
    (world, server)
}

fn keyed(world: &World, args: &[&str]) -> Ended {
    let mut command = world.kapell(args);
    command.env("OURS_API_KEY", "sk-none");
    finish(command, b"")
}

const WRITE: [&str; 8] =
    ["run", "-m", "ours/m", "--max-budget-usd", "5", "--max-turns", "36", "make the test pass"];

/// What happened in a run with this model, whose words about what goes come from there: events, and the requests.
fn written(compact_model: &str) -> (World, Vec<Value>, Server) {
    let (world, server) = with_words(compact_model);
    // The server counts the model's messages, which are fewer after a cut: it never comes to an end.
    keyed(&world, &WRITE).expect(5);
    let events = world.run(&["events", "last"]).expect(0).lines();
    (world, events, server)
}

fn cut(events: &[Value]) -> &Value {
    let cut = |event: &&Value| event["event"]["compacted"]["dropped"].is_array();
    &events.iter().find(cut).expect("turns went")["event"]["compacted"]
}

#[test]
fn turns_that_go_are_worded_by_the_model_and_the_words_are_shown_to_it() {
    let (world, events, server) = written("same");
    let asked = |body: &str| body.contains("You keep the notes of a coding agent");
    let asked = server.asked().iter().filter(|seen| asked(&seen.body)).count();
    let started =
        events.iter().filter(|event| event["event"]["started"]["work"]["summarise"].is_object()).count();
    assert!(asked >= 1 && asked == started, "{asked} {started}");
    assert!(cut(&events)["summary"]["text"].is_string(), "{}", cut(&events));
    let shown = |seen: &fake::Seen| seen.body.contains("What a model noted of them:]\\nNote 0: the parser");
    assert!(server.asked().iter().any(shown));
    let by = world.run(&["cost", "--by", "model", "--json"]).expect(0).json();
    assert_eq!(by["sums"][0]["calls"], server.asked().len(), "it is billed like any other call: {by}");
    let told = world.run(&["replay", "last", "--json"]).expect(0).json();
    assert_eq!(told["difference"], Value::Null, "{told}");
    world.run(&["verify"]).expect(0);
    let cache = world.run(&["cost", "last", "--cache"]).expect(0);
    assert!(cache.out.contains("the conversation was cut to make room"), "{}", cache.out);
}

#[test]
fn who_has_no_words_three_times_is_done_without() {
    let (_, events, server) = written("gone/m");
    let failed = |event: &Value| {
        let failed = &event["event"]["failed"];
        failed["then"].as_str().map(|then| format!("{} {then}", failed["signature"].as_str().unwrap()))
    };
    let failed: Vec<String> = events.iter().filter_map(failed).collect();
    let told = ["connection-refused retry", "connection-refused retry", "connection-refused cut"];
    assert_eq!(failed[..3], told.map(|told| format!("summarise/{told}")));
    assert_eq!(cut(&events)["summary"]["text"], Value::Null);
    assert!(server.asked().iter().all(|seen| !seen.body.contains("You keep the notes")));
}

#[test]
fn taking_up_all_is_no_yes_to_a_cut() {
    let (world, server) = with_words("off");
    let stopped = keyed(&world, &WRITE);
    assert_eq!(stopped.code, 8, "{stopped:?}");
    let asked = server.asked().len();
    let compacted = || {
        let events = world.run(&["events", "last"]).expect(0).lines();
        events.iter().filter(|event| event["event"]["compacted"].is_object()).count()
    };
    assert_eq!(compacted(), 0);
    let all = keyed(&world, &["resume", "--all"]);
    assert!(all.err.contains("waits for you"), "{all:?}");
    assert_eq!((server.asked().len(), compacted()), (asked, 0), "nobody has looked at what it asks for");
    keyed(&world, &["resume", "last"]);
    assert!(compacted() > 0 && server.asked().len() > asked);
}
