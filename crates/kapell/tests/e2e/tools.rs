//! What an agent can call, each once, through the binary.
//!
//! Start at the first test. A turn's `expect` is what the call before it has to have said.

use crate::world::{DONE, World};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server of one page, that counts.
fn page(body: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            // Whoever has enough closes the connection.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, asked)
}

/// A turn that wants this to have been said before, and calls this.
fn turn(expect: &str, tool: &str, args: &serde_json::Value) -> String {
    let expect = if expect.is_empty() { String::new() } else { format!("expect = '''{expect}'''\n") };
    format!("[[turn]]\n{expect}literal = true\n[[turn.call]]\ntool = \"{tool}\"\njson_args = '''{args}'''\n")
}

#[test]
fn every_tool_does_what_it_says_and_a_replay_asks_the_same() {
    let world = World::new();
    let (port, asked) = page("<title>Page</title><p>hello from the page</p>");
    let host = format!("127.0.0.1:{port}");
    world.write(
        "kapell/config/config.toml",
        &format!("[web]\nallow = [\"{host}\"]\nprivate = [\"{host}\"]\n"),
    );
    world.write("repo/n.ipynb", "{\n \"cells\": [\n  {\n   \"cell_type\": \"code\",\n   \"source\": [\n    \"x = 1\"\n   ]\n  }\n ],\n \"nbformat\": 4\n}\n");
    world.commit("a notebook");
    let patch = "--- a/readme.txt\n+++ b/readme.txt\n@@ -1 +1,2 @@\n hello\n+world\n--- /dev/null\n+++ b/fixed.txt\n@@ -0,0 +1 @@\n+not yet\n";
    let broken = "*** Begin Patch\n*** Update File: readme.txt\n@@\n-world\n+moon\n*** Update File: fixed.txt\n@@\n-never\n+x\n*** End Patch";
    let edits = [("fixed.txt", "not yet", "fixed"), ("readme.txt", "hello", "Hello")]
        .map(|(path, old, new)| serde_json::json!({"path": path, "old_string": old, "new_string": new}));
    let todos = [("look", "completed"), ("write it down", "in_progress")]
        .map(|(content, status)| serde_json::json!({"content": content, "status": status}));
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let turns = [
        turn("", "glob", &json(r#"{"pattern": "*.txt"}"#)),
        turn("readme.txt", "apply_patch", &serde_json::json!({"patch": patch})),
        turn("created `fixed.txt` (8 bytes)", "apply_patch", &serde_json::json!({"patch": broken})),
        turn(
            "nothing was changed: one part of the patch does not fit",
            "multi_edit",
            &serde_json::json!({"edits": edits}),
        ),
        turn("edited `readme.txt`: 1 replacement", "todo", &serde_json::json!({"todos": todos})),
        turn("noted: 1 of 2 to be done", "find_tools", &json(r#"{"query": "notebook"}"#)),
        turn("you can call these from now on: notebook_", "notebook_read", &json(r#"{"path": "n.ipynb"}"#)),
        turn(
            "=== cell 0 (code)\nx = 1",
            "notebook_edit",
            &json(r#"{"path": "n.ipynb", "cell_id": "0", "new_source": "x = 2"}"#),
        ),
        turn("replaced cell 0", "memory_write", &json(r#"{"name": "build", "content": "How to build"}"#)),
        turn("noted in `.kapell/memory/build.md`", "memory_read", &json("{}")),
        turn(
            "build (13 bytes): How to build",
            "web_fetch",
            &serde_json::json!({"url": format!("http://{host}/")}),
        ),
        turn(
            "\nhello from the page\nuntrusted ",
            "web_fetch",
            &json(r#"{"url": "http://169.254.169.254/latest/"}"#),
        ),
        DONE.replace("[[turn]]\n", "[[turn]]\nexpect = \"is refused: its address 169.254.169.254\"\n"),
    ];
    let model = world.script("all", &turns.concat());
    world.run(&["run", "-m", &model, "--ask", "never", "make the test pass"]).expect(0);
    assert_eq!(
        (world.read("repo/readme.txt"), world.read("repo/fixed.txt")),
        ("Hello\nworld\n".into(), "fixed\n".into())
    );
    assert_eq!(world.read("repo/.kapell/memory/build.md"), "How to build\n");
    assert!(world.read("repo/n.ipynb").contains("\"x = 2\""));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let shown = world.run(&["sessions", "show", "last"]).expect(0).out;
    assert!(
        shown.contains("todo       [x] look\n") && shown.contains("todo       [>] write it down\n"),
        "{shown}"
    );
    assert_eq!(world.shown()["todo"][1]["state"], "active");
    world.run(&["replay", "last"]).expect(0);
    world.run(&["verify", "last"]).expect(0);
}

#[test]
fn a_page_of_a_host_that_nobody_allowed_waits_for_a_yes() {
    let world = World::new();
    let (port, asked) = page("secret");
    let url = serde_json::json!({"url": format!("http://127.0.0.1:{port}/")});
    let turns = [
        turn("", "web_fetch", &url),
        turn(
            "is refused: its address 127.0.0.1 is this machine",
            "finish",
            &serde_json::json!({"status": "blocked", "summary": "no page"}),
        ),
    ];
    let model = world.script("page", &turns.concat());
    let ended = world.run(&["run", "-m", &model, "read the page"]).expect(8);
    assert!(
        ended.out.contains("web_fetch") && ended.out.contains(&format!("http://127.0.0.1:{port}/")),
        "{}",
        ended.out
    );
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    // Somebody says yes: the address is still one of this machine, and nobody connects to it.
    world.run(&["approve", "--unseen", "last"]).expect(0);
    world.run(&["resume", "last"]);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let events = world.run(&["sessions", "transcript", "last"]).expect(0).out;
    assert!(events.contains("is refused: its address"), "{events}");
}
