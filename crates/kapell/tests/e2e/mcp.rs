//! `kapell mcp` as its clients meet it: frames on pipes, nothing else.
//!
//! Start at [`Client`]; each test is one story.

use crate::world::{DONE, World, call, fixes, shell, write};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longest wait for one frame.
const LIMIT: Duration = Duration::from_secs(60);

/// A client with a server of its own.
pub(crate) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next: u64,
    /// Frames that were no answer to what was asked.
    pub(crate) others: Vec<Value>,
}

impl Client {
    pub(crate) fn start(world: &World, args: &[&str]) -> Self {
        let mut command = world.kapell(&[&["mcp"], args].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, lines, next: 0, others: Vec::new() }
    }

    pub(crate) fn connect(world: &World, args: &[&str]) -> Self {
        let mut client = Self::start(world, args);
        client.greet("2025-06-18");
        client
    }

    fn greet(&mut self, version: &str) -> Value {
        self.greet_with(version, json!({}))
    }

    pub(crate) fn greet_with(&mut self, version: &str, capabilities: Value) -> Value {
        let params = json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}});
        let greeted = self.request("initialize", params);
        self.raw(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
        greeted
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn post(&mut self, method: &str, params: &Value) -> u64 {
        self.next += 1;
        let frame = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        self.raw(format!("{frame}\n").as_bytes());
        self.next
    }

    /// Every line on standard output is a frame, or this fails.
    pub(crate) fn frame(&self) -> Value {
        let line = self.lines.recv_timeout(LIMIT).expect("an answer");
        let frame: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(frame["jsonrpc"], "2.0", "{line}");
        frame
    }

    pub(crate) fn answer(&mut self, id: u64) -> Value {
        loop {
            let frame = self.frame();
            if frame["id"] == id {
                return frame;
            }
            self.others.push(frame);
        }
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.post(method, &params);
        let answer = self.answer(id);
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].clone()
    }

    /// The structured result of a call that is no error.
    pub(crate) fn call(&mut self, name: &str, args: Value) -> Value {
        let result = self.request("tools/call", json!({"name": name, "arguments": args}));
        assert_eq!(result["isError"], false, "{name}: {result:#}");
        result["structuredContent"].clone()
    }

    /// The text of a call that is one.
    pub(crate) fn fails(&mut self, name: &str, args: Value) -> String {
        let result = self.request("tools/call", json!({"name": name, "arguments": args}));
        assert_eq!(result["isError"], true, "{name}: {result:#}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    fn names(&mut self) -> Vec<String> {
        let listed = self.request("tools/list", json!({}));
        listed["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The client goes; the server's exit code.
    pub(crate) fn leave(mut self) -> i32 {
        self.input = None;
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn versions_are_negotiated_and_the_end_of_input_is_the_end() {
    let world = World::new();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = Client::start(&world, &[]);
        let greeted = client.greet(version);
        assert_eq!(greeted["protocolVersion"], version);
        assert_eq!(greeted["serverInfo"]["name"], "kapell");
        assert_eq!(client.names().len(), 13);
        assert_eq!(client.leave(), 0);
    }
    let mut client = Client::start(&world, &[]);
    assert_eq!(client.greet("1999-01-01")["protocolVersion"], "2025-11-25");
    assert_eq!(Client::start(&world, &[]).leave(), 0, "who goes before a word wanted nothing");
}

#[test]
fn tools_are_listed_as_the_directory_or_the_person_says_and_all_can_be_called() {
    let world = World::new();
    let mut client = Client::connect(&world, &[]);
    let own = client.names();
    assert!(own.contains(&"session_start".to_owned()) && !own.contains(&"get_todo_status".to_owned()));
    let read = client.call("read_project_file_tool", json!({"file_path": "readme.txt"}));
    assert_eq!(read["result"]["content"], "hello\n");
    let unknown = client.post("tools/call", &json!({"name": "explode", "arguments": {}}));
    assert_eq!(client.answer(unknown)["error"]["code"], -32602);
    assert!(client.fails("session_status", json!({"sesion": "last"})).contains("sesion"));
    // Failures are errors here, and are not for clients of the old server.
    assert!(client.fails("read_project_file", json!({"file_path": "none"})).contains("does not exist"));
    let mut compat = Client::connect(&world, &["--compat", "loop-orchestrator"]);
    let names = compat.names();
    assert!(names.len() == 20 && names.iter().all(|name| name.ends_with("_tool")));
    let failed = compat.call("read_project_file_tool", json!({"file_path": "none"}));
    assert_eq!(failed["result"]["success"], false);
    assert!(
        compat
            .fails("track_task_time_tool", json!({"task_description": "t", "priority": "x"}))
            .contains("priority")
    );
    assert!(compat.fails("explode", json!({})).contains("Unknown tool"));
    world.write("repo/.roo/schedules.json", "{\"schedules\": []}");
    assert_eq!(client.names().len(), 33, "the directory has come to have their files");
    let all = Client::connect(&world, &["--tools", "native"]).names();
    assert_eq!(all, own);
}

#[test]
fn the_old_variables_count_where_the_old_server_is_asked_for() {
    let world = World::new();
    world.write("repo/.env", "# old\nTASK_TIMING_FILE=\"times.tsv\"\nPERSISTENT_MEMORY_MAX_LINES=100\n");
    let mut client = Client::connect(&world, &["--compat", "loop-orchestrator"]);
    client.call("track_task_time", json!({"task_description": "t"}));
    assert!(world.read("repo/times.tsv").contains("started"));
    let mut plain = Client::connect(&world, &[]);
    plain.call("track_task_time", json!({"task_description": "t"}));
    assert!(world.read("repo/task_timing.tsv").contains("started"));
    let verified = world.run(&["verify", "--json"]).expect(0);
    assert!(verified.out.contains("events"), "{}", verified.out);
    world.write("repo/.env", "COMMAND_FAILURE_LIMIT=99\n");
    world.run(&["mcp", "--compat", "loop-orchestrator"]).expect(2);
}

#[test]
fn a_session_from_its_goal_to_its_verdict() {
    let world = World::new();
    let model = world.script("fixes", &fixes());
    let mut client = Client::connect(&world, &[]);
    let progress = json!({"name": "session_start", "arguments": {"goal": "make the test pass", "model": model, "wait_seconds": 60},
        "_meta": {"progressToken": "p"}});
    let started = client.request("tools/call", progress);
    let started = &started["structuredContent"];
    assert_eq!(started["state"], "completed", "{started:#}");
    let steps = client.others.iter().filter(|frame| frame["method"] == "notifications/progress").count();
    assert!(steps > 1, "{:?}", client.others);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    let id = started["session_id"].as_str().unwrap().to_owned();
    let verdict = client.call("session_verdict", json!({"session": id}));
    assert_eq!(verdict["verdict"], "CONFIRMED", "{verdict:#}");
    assert!(!client.call("session_why", json!({}))["actions"].as_array().unwrap().is_empty());
    assert!(client.call("session_cost", json!({"session": id}))["total"].is_object());
    assert!(client.call("session_cost", json!({}))["sessions"].is_array());
    assert_eq!(client.call("session_plan", json!({}))["goal"], "make the test pass");
    let page = client.call("session_events", json!({"limit": 3}));
    assert_eq!(
        (page["events"].as_array().unwrap().len(), &page["next"], &page["more"]),
        (3, &json!(3), &json!(true))
    );
    assert_eq!(client.call("board", json!({}))["sessions"][0]["session_id"], id.as_str());
    let found = client.call("search", json!({"query": "MAKE the test"}));
    assert_eq!(found["hits"][0]["session_id"], id.as_str(), "{found:#}");
    assert!(client.fails("session_start", json!({"session": id, "goal": "more"})).contains("is over"));
    assert!(client.fails("session_rewind", json!({"action": "1.4"})).contains("is over"));
}

#[test]
fn an_approval_is_a_yes_to_what_was_shown_and_to_nothing_else() {
    let world = World::unconfined();
    let log = world.path("outside.log");
    let model =
        world.script("out", &format!("{}{}", shell(&format!("echo once >> {}", log.display())), fixes()));
    let mut client = Client::connect(&world, &[]);
    let goal = json!({"goal": "make the test pass", "model": model, "wait_seconds": 60});
    let started = client.call("session_start", goal);
    let asked = &started["waiting"][0];
    assert!(asked["content"].as_str().unwrap().contains("echo once"), "{started:#}");
    let (approval, hash) = (asked["id"].clone(), asked["hash"].clone());
    let other = json!({"approval": approval, "hash": "0".repeat(64), "yes": true});
    assert!(client.fails("session_approve", other).contains("something else"));
    assert_eq!(world.read("outside.log"), "");
    client.call("session_approve", json!({"approval": approval, "hash": hash, "yes": true}));
    let ended = client.call("session_status", json!({"wait_seconds": 60}));
    assert_eq!(
        (&ended["state"], world.read("outside.log").as_str()),
        (&json!("completed"), "once\n"),
        "{ended:#}"
    );
    let again = json!({"approval": approval, "hash": hash, "yes": true});
    client.fails("session_approve", again);
}

#[test]
fn an_answer_does_not_wait_for_the_end_of_the_session() {
    let world = World::unconfined();
    let outside = shell(&format!("echo once >> {}", world.path("outside.log").display()));
    let turns = format!("{outside}[[turn]]\ndelay_ms = 90000\ntext = \"slow\"\n");
    let model = world.script("out", &turns);
    let mut client = Client::connect(&world, &[]);
    let goal = json!({"goal": "make the test pass", "model": model, "wait_seconds": 60});
    let asked = client.call("session_start", goal)["waiting"][0].clone();
    let began = std::time::Instant::now();
    client.call("session_approve", json!({"approval": asked["id"], "hash": asked["hash"], "yes": true}));
    client.call("session_cancel", json!({}));
    assert!(began.elapsed().as_secs() < 60, "it took {:?}", began.elapsed());
}

#[test]
fn questions_are_answered_and_a_session_goes_on_after_its_server() {
    let world = World::new();
    let turns =
        format!("{}{}{DONE}", call("ask", "question = \"Which colour?\""), write("fixed.txt", "fixed\\n"));
    let model = world.script("asks", &turns);
    let mut client = Client::connect(&world, &[]);
    let started = client
        .call("session_start", json!({"goal": "make the test pass", "model": model, "wait_seconds": 60}));
    assert_eq!(started["waiting"][0]["kind"], "question", "{started:#}");
    // Another terminal, and another server, work on the same store.
    let mut other = Client::connect(&world, &[]);
    assert_eq!(other.call("session_status", json!({}))["waiting"][0]["content"], "Which colour?");
    assert_eq!(client.leave(), 0);
    other.call("session_answer", json!({"text": "blue"}));
    let ended = other.call("session_status", json!({"wait_seconds": 60}));
    assert_eq!(ended["state"], "completed", "{ended:#}");
    assert!(other.fails("session_answer", json!({"text": "red"})).contains("asked nothing"));
}

#[test]
fn a_session_is_cancelled_while_it_runs() {
    let world = World::new();
    let model = world.script("slow", &format!("[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n{}", fixes()));
    let mut client = Client::connect(&world, &[]);
    let started = client.call("session_start", json!({"goal": "make the test pass", "model": model}));
    let id = started["session_id"].as_str().unwrap().to_owned();
    // A request that waits is given up when the client says so, and the session is not.
    let waits =
        client.post("tools/call", &json!({"name": "session_status", "arguments": {"wait_seconds": 600}}));
    client.raw(
        format!(
            "{}\n",
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": waits}})
        )
        .as_bytes(),
    );
    assert_eq!(client.request("ping", json!({})), json!({}));
    client.call("session_cancel", json!({"session": id}));
    let ended = client.call("session_status", json!({"wait_seconds": 60}));
    assert_ne!(ended["exit_code"], Value::Null, "{ended:#}");
}

#[test]
fn a_delegated_task_becomes_a_session_of_the_loop_and_is_written_back() {
    let world = World::new();
    world.write("repo/TODO.md", "# Now\n- [ ] other\n- [ ] Make the test pass\n");
    let mut client = Client::connect(&world, &["--compat", "loop-orchestrator"]);
    let task = json!({"task_description": "Make the test pass", "target_mode": "code", "priority": "todo",
        "requirements": ["change little"]});
    let delegated = client.call("delegate_task", task);
    let reply = &delegated["result"];
    assert_eq!(
        (&reply["status"], &reply["mode_assigned"]),
        (&json!("pending"), &json!("code")),
        "{delegated:#}"
    );
    let session = reply["session_id"].as_str().unwrap().to_owned();
    let unknown = json!({"task_description": "x", "target_mode": "nosuch"});
    let unknown = client.call("delegate_task", unknown);
    let warned = unknown["result"]["warnings"][0].as_str().unwrap();
    assert!(warned.contains("no mode `nosuch`"), "{unknown:#}");
    assert_eq!(client.leave(), 0);
    // Nothing runs before a person wants it, and before the loop does.
    let model = world.script("fix", &fixes());
    let asked = world.once(&model).expect(8);
    assert!(
        asked.out.contains("asked    task task_") && asked.out.contains("kapell loop accept"),
        "{}",
        asked.out
    );
    assert!(world.run(&["loop", "status"]).expect(0).out.contains("asks: task/task_"));
    assert!(world.sessions().is_empty());
    assert!(world.run(&["loop", "accept", "nosuch"]).expect(2).err.contains("kapell loop status"));
    world.run(&["loop", "accept", &session]).expect(0);
    let ended = world.once(&model).expect(0);
    assert!(ended.out.contains("ended    task task_"), "{}", ended.out);
    assert_eq!(world.sessions()[0]["session_id"], session.as_str());
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    assert_eq!(world.read("repo/TODO.md"), "# Now\n- [ ] other\n- [x] Make the test pass\n");
    let row = |result: &str| ["code", &session, result, "todo"].map(str::to_owned);
    assert_eq!(world.rows(), [row("started"), row("completed")]);
    let goal = world.run(&["sessions", "show", &session, "--json"]).expect(0).json();
    assert_eq!(goal["goal"], "Make the test pass");
    assert!(world.once(&model).expect(0).out.is_empty());
}

#[test]
fn two_servers_lose_no_row_though_they_are_killed() {
    const CALLS: usize = 25;
    const KILLS: usize = 3;
    let world = World::new();
    let old = "timestamp\tmode\ttask_id\tstart_time\tend_time\tduration\ttask\tresult\tpriority\nold\trow\n";
    world.write("repo/task_timing.tsv", old);
    let work = |name: &'static str| {
        let (mut told, mut kills) = (Vec::new(), 0);
        let mut client = Client::connect(&world, &["--compat", "loop-orchestrator"]);
        while told.len() < CALLS {
            let task = format!("{name}-{}", told.len());
            let args = json!({"task_description": task, "priority": "todo"});
            let id = client.post("tools/call", &json!({"name": "track_task_time_tool", "arguments": args}));
            if kills < KILLS && told.len() == (kills + 1) * 6 {
                // In the middle of this call: it may be on disk, but nobody was told so.
                kills += 1;
                client = Client::connect(&world, &["--compat", "loop-orchestrator"]);
                continue;
            }
            let answer = client.answer(id);
            let reply = &answer["result"]["structuredContent"]["result"];
            assert_eq!(reply["success"], true, "{answer}");
            told.push((task, reply["task_id"].as_str().unwrap().to_owned()));
        }
        told
    };
    let told: Vec<(String, String)> = std::thread::scope(|scope| {
        let both = ["a", "b"].map(|name| scope.spawn(move || work(name)));
        both.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let text = world.read("repo/task_timing.tsv");
    assert!(text.starts_with(old), "what was there is there");
    let rows: Vec<Vec<&str>> = text.lines().skip(2).map(|line| line.split('\t').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == 9), "{text}");
    for (task, id) in &told {
        assert_eq!(rows.iter().filter(|row| row[2] == id && row[6] == task).count(), 1, "{task}");
    }
    let ids: BTreeSet<&str> = rows.iter().map(|row| row[2]).collect();
    assert_eq!(ids.len(), rows.len(), "no id twice");
    assert!((2 * CALLS..=2 * (CALLS + KILLS)).contains(&rows.len()), "{}", rows.len());
}

#[test]
fn bad_frames_are_answered_and_nothing_is_lost() {
    let world = World::new();
    let mut client = Client::connect(&world, &[]);
    client.raw(b"not JSON\n\n\xff\xfe\n");
    for _ in 0..2 {
        let refused = client.frame();
        assert_eq!((&refused["error"]["code"], &refused["id"]), (&json!(-32700), &Value::Null));
    }
    for (frame, code) in [
        ("[]", -32600),
        ("{\"id\":7}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"tools/call\",\"params\":{\"name\":5}}", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"no/such\"}", -32601),
    ] {
        client.raw(format!("{frame}\n").as_bytes());
        let refused = client.frame();
        assert_eq!(refused["error"]["code"], code, "{frame}: {refused}");
    }
    // Twelve megabytes in one line are refused, not kept; the rest of the line is passed over.
    client.raw(&[b"{\"x\":\"".to_vec(), vec![b'a'; 12 << 20], b"\"}\n".to_vec()].concat());
    let refused = client.frame();
    assert!(refused["error"]["message"].as_str().unwrap().contains("longer"), "{refused}");
    // Pieces of frames in any order: each is answered or passed over, and the server serves on.
    let whole = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"board","arguments":{}}}"#;
    for n in 0..400_usize {
        let mut frame = whole.to_vec();
        frame[(n * 7) % whole.len()] = (n % 256) as u8;
        frame.truncate(whole.len() - n % 5);
        frame.retain(|byte| *byte != b'\n');
        frame.push(b'\n');
        client.raw(&frame);
        if n % 50 == 49 {
            client.next = 1_000 + n as u64;
            client.request("ping", json!({}));
        }
    }
    assert_eq!(client.call("board", json!({}))["sessions"], json!([]));
    assert_eq!(client.leave(), 0);
}

#[test]
fn a_thousand_calls_at_once_are_all_answered() {
    let world = World::new();
    let mut client = Client::connect(&world, &[]);
    let first = client.next + 1;
    for n in 0..1_000 {
        let (name, args) = match n % 3 {
            0 => ("read_project_file", json!({"file_path": "readme.txt"})),
            1 => ("list_project_structure", json!({})),
            _ => ("search_in_files", json!({"pattern": "hello"})),
        };
        client.post("tools/call", &json!({"name": name, "arguments": args}));
    }
    let mut open: BTreeSet<u64> = (first..first + 1_000).collect();
    while !open.is_empty() {
        let frame = client.frame();
        assert_eq!(frame["result"]["isError"], false, "{frame}");
        assert!(open.remove(&frame["id"].as_u64().unwrap()));
    }
    assert_eq!(client.leave(), 0);
}
