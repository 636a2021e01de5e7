//! Real dialects through the binary: a scripted server on loopback, a key, a configuration; no vendor and no network.
//!
//! Start at the first test.

use crate::world::{Ended, World, finish};
use fake::{Dialect, Plan, Reply, Script, Server};
use serde_json::{Value, json};
use std::process::Command;

const KEY: &str = "sk-e2e-very-secret";

/// A server that writes the file the check wants, and finishes.
pub(crate) fn server() -> Server {
    let write =
        Reply::text("I write it.").and_call("write", &json!({"path": "fixed.txt", "content": "fixed\n"}));
    let finish = Reply::call("finish", &json!({"status": "done", "summary": "All done."}));
    let script = Script::new(vec![write.costs(1_000, 100), finish.costs(2_000, 50)]);
    Server::start(Plan { script, ..Plan::default() }).unwrap()
}

/// A provider `ours` at this address, whose model `m` costs 3 and 15 dollars for a million tokens.
pub(crate) fn configured(world: &World, dialect: &str, url: &str) {
    let text = format!(
        "[providers.ours]\ndialect = \"{dialect}\"\nbase_url = \"{url}\"\nkey_env = \"OURS_API_KEY\"\n\
         [providers.ours.models.m]\ncontext = 100_000\noutput = 4_000\nprice = {{ input = 3, output = 15 }}\n"
    );
    world.write("kapell/config/config.toml", &text);
}

pub(crate) fn with_key(world: &World, args: &[&str]) -> Ended {
    let mut command: Command = world.kapell(args);
    command.env("OURS_API_KEY", KEY);
    finish(command, b"")
}

#[test]
fn every_dialect_works_lands_and_is_billed() {
    for dialect in fake::dialect::ALL {
        let (world, server) = (World::new(), server());
        let url = match dialect {
            Dialect::Anthropic | Dialect::Gemini => server.url(),
            Dialect::Chat | Dialect::Responses => format!("{}/v1", server.url()),
        };
        configured(&world, dialect.name(), &url);
        let args = ["run", "-m", "ours/m", "--max-budget-usd", "1", "make the test pass", "--json"];
        let result = with_key(&world, &args).expect(0).json();
        assert_eq!(world.read("repo/fixed.txt"), "fixed\n", "{dialect:?}");
        assert_eq!(result["verdict"], "CONFIRMED", "{dialect:?}");
        // 3,000 tokens in, 150 out.
        let cost = result["total_cost_usd"].as_f64().unwrap();
        assert!((cost - 0.01125).abs() < 1e-9, "{dialect:?}: {cost}");
        let asked = server.asked();
        assert!(asked.len() >= 2 && asked.iter().all(|seen| seen.key == KEY), "{dialect:?}");
        assert_eq!((asked[0].dialect, asked[0].status), (Some(dialect), 200));
        let kept = Command::new("grep").args(["-rlF", KEY]).arg(world.path("kapell")).output().unwrap();
        assert!(
            kept.stdout.is_empty(),
            "{dialect:?}: the key is in {}",
            String::from_utf8_lossy(&kept.stdout)
        );
    }
}

#[test]
fn arguments_that_are_no_json_go_back_to_the_model_and_the_work_goes_on() {
    let (world, mut garbled) = (World::new(), Reply::text("Now."));
    garbled.calls.push(fake::Call { tool: "write".into(), args: "{ \"path\": \"fixed.txt".into(), id: None });
    let write = Reply::call("write", &json!({"path": "fixed.txt", "content": "fixed\n"}));
    let finish = Reply::call("finish", &json!({"status": "done", "summary": "All done."}));
    let script = Script::new(vec![garbled, write, finish]);
    let server = Server::start(Plan { script, ..Plan::default() }).unwrap();
    configured(&world, "anthropic", &server.url());
    with_key(&world, &["run", "-m", "ours/m", "make the test pass"]).expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].body.contains("is_error"), "{}", asked[1].body);
}

#[test]
fn without_a_key_nothing_begins_and_the_variable_is_named() {
    let world = World::new();
    configured(&world, "anthropic", "http://127.0.0.1:1");
    let ended = world.run(&["run", "-m", "ours/m", "make the test pass"]).expect(2);
    assert!(
        ended.err.contains("OURS_API_KEY is not set") && ended.err.contains("kapell auth ours"),
        "{}",
        ended.err
    );
    let ended = world.run(&["run", "-m", "anthropic/claude-x", "make the test pass"]).expect(2);
    assert!(ended.err.contains("ANTHROPIC_API_KEY"), "{}", ended.err);
    assert_eq!(world.run(&["auth", "ours"]).expect(1).out.matches("OURS_API_KEY").count(), 2);
}

#[test]
fn pieces_of_a_reply_that_broke_off_are_told_apart() {
    let server = {
        let finish = Reply::text("All of it is done.")
            .and_call("write", &json!({"path": "fixed.txt", "content": "fixed\n"}))
            .and_call("finish", &json!({"status": "done", "summary": "All done."}));
        let rules = vec![fake::Rule::parse("cut-middle@1").unwrap()];
        Server::start(Plan { script: Script::new(vec![finish]), rules, ..Plan::default() }).unwrap()
    };
    let world = World::new();
    configured(&world, "anthropic", &server.url());
    let args = ["run", "-m", "ours/m", "look at it", "--output-format", "stream-json"];
    let lines = with_key(&world, &[&args[..], &["--include-partial-messages"]].concat()).lines();
    let pieces: Vec<&Value> = lines.iter().filter(|line| line["type"] == "stream_event").collect();
    let of = |piece: &Value| format!("{}/{}", piece["action"], piece["attempt"]);
    let mut told: Vec<(String, String)> = Vec::new();
    for piece in &pieces {
        if piece["event"]["type"] == "message_start" {
            told.push((of(piece), String::new()));
        }
        let (last, text) = told.last_mut().expect("a beginning comes first");
        assert_eq!(*last, of(piece));
        text.push_str(piece["event"]["delta"]["text"].as_str().unwrap_or_default());
    }
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].0 != told[1].0 && "All of it is done.".starts_with(&told[0].1), "{told:?}");
    assert_eq!(told[1].1, "All of it is done.");
    let assistant = lines.iter().position(|line| line["type"] == "assistant").unwrap();
    let last = lines.iter().rposition(|line| line["type"] == "stream_event").unwrap();
    assert!(last < assistant, "pieces come before the whole");
    let plain = with_key(&world, &args).lines();
    assert!(plain.iter().all(|line| line["type"] != "stream_event"));
    let refused = world.run(&["run", "look at it", "--include-partial-messages"]).expect(2);
    assert!(refused.err.contains("stream-json"), "{}", refused.err);
}

#[test]
fn a_question_asked_before_costs_nothing_where_a_person_wants_that() {
    let (world, server) = (World::new(), server());
    configured(&world, "anthropic", &server.url());
    let run = |more: &[&str]| {
        let args = ["run", "-m", "ours/m", "--no-land", "make the test pass", "--json"];
        let result = with_key(&world, &[&args, more].concat()).expect(0).json();
        (server.asked().len(), result["cost_nanos"].as_u64().unwrap())
    };
    let (first, cost) = run(&["--response-cache"]);
    assert!(first >= 2 && cost > 0, "{first} {cost}");
    assert_eq!(run(&["--response-cache"]), (first, 0));
    assert_eq!(run(&[]), (2 * first, cost), "off unless it is asked for");
}

#[test]
fn a_command_prints_the_key_and_nobody_else_sees_it() {
    let (world, server) = (World::new(), server());
    configured(&world, "anthropic", &server.url());
    let own = world.read("kapell/config/config.toml");
    let command = "key_command = [\"sh\", \"-c\", \"echo ran >> runs; cat ../../the-key\"]";
    world.write("kapell/config/config.toml", &own.replace("key_env = \"OURS_API_KEY\"", command));
    world.write("the-key", &format!("{KEY}\n"));
    world.run(&["run", "-m", "ours/m", "make the test pass"]).expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    let asked = server.asked();
    assert!(asked.len() >= 2 && asked.iter().all(|seen| seen.key == KEY));
    assert_eq!(world.read("kapell/config/runs"), "ran\n", "once for all calls");
    let kept = Command::new("grep").args(["-rlF", KEY]).arg(world.path("kapell")).output().unwrap();
    assert!(kept.stdout.is_empty(), "the key is in {}", String::from_utf8_lossy(&kept.stdout));

    for (prints, says) in [("", "printed nothing"), ("two words", "more than one word")] {
        world.write("the-key", prints);
        let ended = world.run(&["auth", "ours"]).expect(1);
        assert!(ended.out.contains(says) && ended.out.contains("`sh` (key_command"), "{}", ended.out);
        assert!(prints.is_empty() || !ended.out.contains(prints), "{}", ended.out);
    }
    std::fs::remove_file(world.path("the-key")).unwrap();
    let ended = world.run(&["run", "-m", "ours/m", "make the test pass once more"]).expect(8);
    assert!(format!("{}{}", ended.out, ended.err).contains("exit code 1"), "{ended:?}");
    let both = own.replace("key_env", "key_command = [\"true\"]\nkey_env");
    world.write("kapell/config/config.toml", &both);
    assert!(world.run(&["auth", "ours"]).expect(2).err.contains("says twice where its key comes from"));
}

#[test]
fn a_clone_cannot_say_where_keys_go() {
    let world = World::new();
    world.write("repo/.kapell/config.toml", "[providers.anthropic]\nbase_url = \"http://127.0.0.1:1\"\n");
    let ended = world.run(&["run", "make the test pass"]).expect(2);
    assert!(ended.err.contains("cannot declare providers"), "{}", ended.err);
}

#[test]
fn what_can_be_used_is_listed_and_why_the_rest_cannot() {
    let world = World::new();
    let url = listing();
    configured(&world, "openai-chat", &url);
    let listed = with_key(&world, &["models", "--json"]).expect(0).json();
    let find = |list: &Value, key: &str, name: &str| {
        list.as_array().unwrap().iter().find(|entry| entry[key] == name).cloned().unwrap_or_default()
    };
    assert!(find(&listed["models"], "id", "builtin/fixer").is_object());
    let ours = find(&listed["models"], "id", "ours/m");
    assert_eq!(
        (&ours["context_tokens"], &ours["price"]["output"]),
        (&json!(100_000), &json!(15_000_000_000_u64))
    );
    let other = find(&listed["models"], "id", "ours/other");
    assert_eq!((&other["context_tokens"], &other["price"]), (&json!(65_536), &Value::Null));
    assert_eq!(ours["price_from"]["by"], "[providers.ours.models] in config.toml");
    let vendor = find(&listed["providers"], "name", "anthropic");
    assert_eq!((&vendor["usable"], &vendor["error"]["code"]), (&json!(false), &json!("key-missing")));

    world.write(
        "kapell/config/prices.toml",
        "date = \"2026-11-19\"\n[\"ours/other\"]\nprice = { input = 1.0, output = 2.0 }\n",
    );
    let listed = with_key(&world, &["models", "--json"]).expect(0).json();
    let from = find(&listed["models"], "id", "ours/other")["price_from"].clone();
    assert!(from["by"].as_str().unwrap().ends_with("prices.toml") && from["date"] == "2026-11-19", "{from}");
    let shown = with_key(&world, &["models", "ours"]).expect(0);
    assert!(shown.out.contains("prices.toml of 2026-11-19"), "{}", shown.out);
    assert!(shown.out.contains("ours/other") && shown.out.contains("$3.00 / $15.00"), "{}", shown.out);
    let unknown = with_key(&world, &["models", "our"]).expect(2);
    assert!(unknown.err.contains("did you mean `ours`?"), "{}", unknown.err);
    let good = with_key(&world, &["auth", "ours"]).expect(0);
    assert!(good.out.contains("the key in OURS_API_KEY is good; 2 models"), "{}", good.out);
    let mut wrong = world.kapell(&["auth", "ours"]);
    wrong.env("OURS_API_KEY", "sk-wrong");
    let wrong = finish(wrong, b"").expect(1);
    assert!(
        wrong.out.contains("refuses the key (401)") && wrong.out.contains("set OURS_API_KEY"),
        "{}",
        wrong.out
    );
    assert!(!wrong.out.contains("sk-wrong"), "{}", wrong.out);
}

/// A server that lists two models to whoever has the key; its base URL.
fn listing() -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let (mut request, mut piece) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                match socket.read(&mut piece) {
                    Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let (status, body) = match request.contains(&format!("Bearer {KEY}")) {
                true => ("200 OK", json!({"data": [{"id": "m"}, {"id": "other", "context_length": 65_536}]})),
                false => ("401 Unauthorized", json!({"error": {"message": "who is sk-wrong?"}})),
            };
            let body = body.to_string();
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
            drop(socket.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()));
        }
    });
    url
}

#[test]
fn a_reply_that_comes_near_its_bound_is_told_of_once_and_calls_name_their_attempt() {
    let world = World::new();
    // 4,000 tokens may be 321,536 bytes of text.
    let long: String = (0..45_000).map(|n| format!("{n} ")).collect();
    let finish = json!({"status": "done", "summary": "All done."});
    let write = json!({"path": "fixed.txt", "content": "fixed\n"});
    let first = Reply::text("Now.").and_call("write", &write);
    let second = Reply::text(&long).and_call("finish", &finish);
    let script = Script::new(vec![first.costs(1_000, 100), second.costs(2_000, 3_000)]);
    let server = Server::start(Plan { script, ..Plan::default() }).unwrap();
    configured(&world, "openai-chat", &format!("{}/v1", server.url()));
    with_key(&world, &["run", "-m", "ours/m", "make the test pass"]).expect(0);
    let events = world.run(&["events", "last"]).expect(0).lines();
    let warned = events.iter().filter_map(|record| record["event"]["warned"]["what"].as_str());
    let near: Vec<&str> =
        warned.filter(|what| what.contains("80 % of the most that is taken of text")).collect();
    assert_eq!(near.len(), usize::from(long.len() > 321_536 / 100 * 80), "{near:?}");
    assert_eq!(near.len(), 1);
    // Session, turn, step and attempt, as the journal has them.
    let started =
        events.iter().find(|record| record["event"]["started"]["work"]["model"].is_object()).unwrap();
    let (session, action) =
        (world.shown()["session_id"].clone(), started["event"]["started"]["action"].clone());
    let named = server.asked()[0].header("x-client-request-id").unwrap().to_owned();
    assert_eq!(named, format!("{}/{}/1", session.as_str().unwrap(), action.as_str().unwrap()));
}
