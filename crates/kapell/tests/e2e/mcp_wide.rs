//! `kapell mcp` beyond its tools: resources, prompts, logging, and asking the person.
//!
//! Start at the first test; the client is [`crate::mcp::Client`].

use crate::mcp::Client;
use crate::world::{World, fixes, shell};
use serde_json::{Value, json};

#[test]
fn resources_are_listed_by_pages_read_and_followed() {
    let world = World::new();
    world.write("repo/TODO.md", "- [ ] one\n");
    let model = world.script("fixes", &fixes());
    let mut client = Client::connect(&world, &[]);
    client.call("session_start", json!({"goal": "make the test pass", "model": model, "wait_seconds": 60}));
    let listed = client.request("resources/list", json!({}));
    let uris: Vec<&str> =
        listed["resources"].as_array().unwrap().iter().map(|one| one["uri"].as_str().unwrap()).collect();
    assert_eq!(uris[..2], ["kapell://board", "kapell://files/todo"]);
    assert!(uris[2].starts_with("kapell://session/") && listed.get("nextCursor").is_none(), "{listed:#}");
    let last = client.request("resources/list", json!({"cursor": "2"}));
    assert_eq!(last["resources"].as_array().unwrap().len(), 1);
    assert_eq!(
        client.request("resources/templates/list", json!({}))["resourceTemplates"].as_array().unwrap().len(),
        6
    );
    let read = client.request("resources/read", json!({"uri": "kapell://session/last/verdict"}));
    assert!(read["contents"][0]["text"].as_str().unwrap().contains("CONFIRMED"), "{read:#}");
    for uri in
        ["kapell://files/../secret", "kapell://session/nobody", "kapell://files/modes", "file:///etc/passwd"]
    {
        let id = client.post("resources/read", &json!({"uri": uri}));
        assert_eq!(client.answer(id)["error"]["code"], -32002, "{uri}");
    }
    // Whoever changes the file: the client hears of it once, and not after it has asked not to.
    client.request("resources/subscribe", json!({"uri": "kapell://files/todo"}));
    world.write("repo/TODO.md", "- [x] one\n");
    let told = client.frame();
    assert_eq!(
        (&told["method"], &told["params"]["uri"]),
        (&json!("notifications/resources/updated"), &json!("kapell://files/todo"))
    );
    client.request("resources/unsubscribe", json!({"uri": "kapell://files/todo"}));
    assert_eq!(client.leave(), 0);
}

#[test]
fn secrets_are_shown_on_no_road_and_not_written_over() {
    let world = World::new();
    let (key, later) = ("quite-a-value-7f3k81", "another-value-93ks02");
    world.write("repo/.env", &format!("SERVICE_TOKEN={key}\n"));
    world.write("repo/TODO.md", &format!("- [ ] call with {key}\n"));
    world.write("repo/persistent-memory.md", &format!("# System Updates & Status\n\n- it is {key}\n"));
    world.write(
        "repo/notes.txt",
        "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-AA\n",
    );
    let mut client = Client::connect(&world, &["--tools", "all"]);
    let mut all = String::new();
    for (tool, args) in [
        ("read_project_file", json!({"file_path": ".env"})),
        ("read_project_file", json!({"file_path": "TODO.md", "encoding": "latin-1"})),
        ("read_project_file", json!({"file_path": "notes.txt"})),
        ("search_in_files", json!({"pattern": "value", "context_lines": 1})),
        ("get_todo_status", json!({})),
        ("get_persistent_memory", json!({"include_metadata": true})),
    ] {
        all += &client.request("tools/call", json!({"name": tool, "arguments": args})).to_string();
    }
    all += &client.request("resources/read", json!({"uri": "kapell://files/todo"})).to_string();
    assert!(all.contains("[secret removed: SERVICE_TOKEN]"), "{all}");
    assert!(!all.contains("7f3k81") && !all.contains("sk-ant-api03"), "{all}");
    // What was shown is not written back over the secret.
    let mark = "SERVICE_TOKEN=[secret removed: SERVICE_TOKEN]\n";
    let over = client.fails("write_project_file", json!({"file_path": ".env", "content": mark}));
    assert!(over.contains("stands for a secret"), "{over}");
    assert!(world.read("repo/.env").contains(key));
    // A secret that came a moment ago is one.
    client.call(
        "write_project_file",
        json!({"file_path": ".env.local", "content": format!("OTHER_SECRET={later}\n")}),
    );
    let read = client.call("read_project_file", json!({"file_path": ".env.local"})).to_string();
    assert!(read.contains("[secret removed: OTHER_SECRET]") && !read.contains("93ks02"), "{read}");
}

#[test]
fn prompts_and_the_log() {
    let world = World::new();
    let mut client = Client::connect(&world, &[]);
    let names = client.request("prompts/list", json!({}));
    assert_eq!(names["prompts"].as_array().unwrap().len(), 3);
    let start =
        client.request("prompts/get", json!({"name": "start", "arguments": {"goal": "fly to the moon"}}));
    assert!(start["messages"][0]["content"]["text"].as_str().unwrap().contains("fly to the moon"));
    let id = client.post("prompts/get", &json!({"name": "start"}));
    assert_eq!(client.answer(id)["error"]["code"], -32602);
    client.fails("session_status", json!({}));
    assert!(client.others.is_empty(), "nobody asked for a log");
    client.request("logging/setLevel", json!({"level": "info"}));
    client.fails("session_status", json!({}));
    assert_eq!(client.others[0]["method"], "notifications/message");
    assert_eq!(client.others[0]["params"]["data"]["tool"], "session_status");
}

#[test]
fn a_client_that_can_ask_asks_its_person() {
    let world = World::unconfined();
    let log = world.path("outside.log");
    let model =
        world.script("out", &format!("{}{}", shell(&format!("echo once >> {}", log.display())), fixes()));
    let mut client = Client::start(&world, &[]);
    client.greet_with("2025-06-18", json!({"elicitation": {}}));
    let started = client
        .call("session_start", json!({"goal": "make the test pass", "model": model, "wait_seconds": 60}));
    let asked = &started["waiting"][0];
    let args = json!({"approval": asked["id"], "hash": asked["hash"], "yes": true});
    for (action, content, agreed) in [
        ("decline", Value::Null, false),
        ("accept", json!({"approve": false}), false),
        ("accept", json!({"approve": true}), true),
    ] {
        let id = client.post("tools/call", &json!({"name": "session_approve", "arguments": args}));
        let question = client.frame();
        assert_eq!(question["method"], "elicitation/create", "{question}");
        assert!(question["params"]["message"].as_str().unwrap().contains("echo once"), "{question}");
        let result = json!({"action": action, "content": content});
        client.raw(
            format!("{}\n", json!({"jsonrpc": "2.0", "id": question["id"], "result": result})).as_bytes(),
        );
        let answer = client.answer(id);
        assert_eq!(answer["result"]["isError"], !agreed, "{answer}");
        assert!(agreed || world.read("outside.log").is_empty());
    }
    let ended = client.call("session_status", json!({"wait_seconds": 60}));
    assert_eq!((&ended["state"], world.read("outside.log").as_str()), (&json!("completed"), "once\n"));
}
