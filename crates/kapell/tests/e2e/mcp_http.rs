//! `kapell mcp --http` as its clients meet it: requests on sockets, streamable and over the older stream of events.
//!
//! Start at [`Served`] and [`Client`]; who is refused is in `mcp_refused.rs`.

use crate::world::{World, fixes, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Longest wait for anything from the other side.
const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");
pub(crate) const TAKES: (&str, &str) = ("Accept", "application/json, text/event-stream");

/// A server for any number of clients. Killed when it is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
    pub(crate) bearer: String,
    file: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Served {
    pub(crate) fn start(world: &World, address: &str, args: &[&str]) -> Self {
        let mut command = world.kapell(&[&["mcp", "--json", "--http", address], args].concat());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let file = told["token_file"].as_str().unwrap().to_owned();
        let address =
            told["url"].as_str().unwrap().strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap();
        let bearer = format!("Bearer {}", std::fs::read_to_string(&file).unwrap());
        Self { child, address: address.to_owned(), bearer, file }
    }

    pub(crate) fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        BufReader::new(stream)
    }

    /// A request's head. `Host` is ours unless it is named.
    pub(crate) fn head(&self, line: &str, headers: &[(&str, &str)], length: Option<usize>) -> String {
        let mut head = format!("{line} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(length) = length {
            head += &format!("Content-Length: {length}\r\n");
        }
        head + "\r\n"
    }

    /// One request on a connection of its own, by who knows the token.
    pub(crate) fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.ask_with(line, &[&[("Authorization", self.bearer.as_str())], headers].concat(), body)
    }

    /// The same with these headers only.
    pub(crate) fn ask_with(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.bytes_with(line, headers, body.as_bytes())
    }

    /// The same with a body that may be no text, by who knows the token.
    fn ask_bytes(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.bytes_with(line, &[&[("Authorization", self.bearer.as_str())], headers].concat(), body)
    }

    fn bytes_with(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let headers = [&[("Connection", "close")], headers].concat();
        let head = self.head(line, &headers, Some(body.len()));
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        // What is refused may not be taken whole.
        let _ = stream.get_mut().write_all(body);
        answer(&mut stream)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end; its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut ended = None;
        until("the server ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One answer, whole.
pub(crate) fn answer(stream: &mut impl BufRead) -> Answer {
    let mut head = String::new();
    while stream.read_line(&mut head).unwrap() > 2 {}
    let head = head.to_lowercase();
    let status = head.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let mut body = Vec::new();
    if field("transfer-encoding:").is_some() {
        while let Some(chunk) = chunk(stream) {
            body.extend_from_slice(&chunk);
        }
    } else if let Some(length) = field("content-length:") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).unwrap();
    }
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

/// The next piece of a body that comes in pieces.
fn chunk(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let length = usize::from_str_radix(line.trim(), 16).unwrap_or_default();
    let mut chunk = vec![0; length + 2];
    stream.read_exact(&mut chunk).ok()?;
    chunk.truncate(length);
    (length > 0).then_some(chunk)
}

/// What the events in a body say.
fn said(body: &str) -> Vec<Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    data.filter(|text| text.starts_with('{')).map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// A client of the streamable transport.
pub(crate) struct Client<'a> {
    served: &'a Served,
    stream: BufReader<TcpStream>,
    session: String,
    next: u64,
}

impl<'a> Client<'a> {
    pub(crate) fn connect(served: &'a Served, version: &str) -> (Self, Value) {
        let mut client = Self { served, stream: served.connect(), session: String::new(), next: 0 };
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answer =
            client.post(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}));
        assert_eq!(answer.status, 200, "{answer:?}");
        client.session =
            answer.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().into();
        let greeted = said(&answer.body).pop().unwrap()["result"].clone();
        let done = client.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        assert_eq!(done.status, 202, "{done:?}");
        (client, greeted)
    }

    /// The name of its session.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// Sends, and does not wait.
    pub(crate) fn send(&mut self, message: &Value) {
        let own = [("Mcp-Session-Id", self.session.as_str())];
        let own = if self.session.is_empty() { &own[..0] } else { &own[..] };
        let headers = [&[("Authorization", self.served.bearer.as_str()), JSON, TAKES], own].concat();
        let body = message.to_string();
        let head = self.served.head("POST /mcp", &headers, Some(body.len()));
        self.stream.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
    }

    fn post(&mut self, message: &Value) -> Answer {
        self.send(message);
        answer(&mut self.stream)
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let answer =
            self.post(&json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}));
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        let last = said(&answer.body).pop().unwrap_or_default();
        assert!(last["id"] == self.next && last.get("error").is_none(), "{method} {params}: {answer:?}");
        last["result"].clone()
    }

    pub(crate) fn call(&mut self, name: &str, args: Value) -> Value {
        let result = self.request("tools/call", json!({"name": name, "arguments": args}));
        assert_eq!(result["isError"], false, "{name}: {result:#}");
        result["structuredContent"].clone()
    }
}

/// A client of the older transport.
pub(crate) struct Older<'a> {
    served: &'a Served,
    stream: BufReader<TcpStream>,
    /// Said, and not an event yet.
    text: String,
    post: String,
    next: u64,
}

impl<'a> Older<'a> {
    fn open(served: &'a Served) -> Self {
        let mut stream = served.connect();
        let know = [("Authorization", served.bearer.as_str()), ("Accept", "text/event-stream")];
        stream.get_mut().write_all(served.head("GET /sse", &know, None).as_bytes()).unwrap();
        let mut head = String::new();
        while stream.read_line(&mut head).unwrap() > 2 {}
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        let mut older = Self { served, stream, text: String::new(), post: String::new(), next: 0 };
        let (kind, post) = older.event();
        assert_eq!(kind, "endpoint");
        older.post = post;
        older
    }

    pub(crate) fn connect(served: &'a Served) -> Self {
        let mut older = Self::open(served);
        let params = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        assert_eq!(older.request("initialize", params)["protocolVersion"], "2024-11-05");
        assert_eq!(older.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).status, 202);
        older
    }

    /// The next event: its kind and its data. Comments are passed over.
    fn event(&mut self) -> (String, String) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                let found = field("event: ").zip(field("data: "));
                self.text = rest.to_owned();
                if let Some(found) = found {
                    return found;
                }
                continue;
            }
            self.text += &String::from_utf8(chunk(&mut self.stream).expect("an event")).unwrap();
        }
    }

    fn send(&self, body: &str) -> Answer {
        self.send_bytes(body.as_bytes())
    }

    /// Sends whatever it is; how it was taken.
    pub(crate) fn send_bytes(&self, body: &[u8]) -> Answer {
        self.served.ask_bytes(&format!("POST {}", self.post), &[JSON], body)
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        // With lines' ends between its parts: they are spaces.
        let frame = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        assert_eq!(self.send(&format!("{frame:#}")).status, 202);
        loop {
            let (kind, data) = self.event();
            let frame: Value = serde_json::from_str(&data).unwrap();
            if kind == "message" && frame["id"] == self.next {
                assert!(frame.get("error").is_none(), "{method}: {frame}");
                return frame["result"].clone();
            }
        }
    }
}

#[test]
fn versions_tools_and_the_end_over_http() {
    let world = World::new();
    let served = Served::start(&world, "0", &[]);
    assert_eq!(std::fs::metadata(&served.file).unwrap().permissions().mode() & 0o777, 0o600);
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (mut client, greeted) = Client::connect(&served, version);
        assert_eq!(
            (&greeted["protocolVersion"], &greeted["serverInfo"]["name"]),
            (&json!(version), &json!("kapell"))
        );
        assert_eq!(client.request("tools/list", json!({}))["tools"].as_array().unwrap().len(), 13);
        assert_eq!(
            client.call("read_project_file", json!({"file_path": "readme.txt"}))["result"]["content"],
            "hello\n"
        );
        // Who says good-bye is forgotten.
        let own = [("Mcp-Session-Id", client.session.as_str())];
        assert_eq!(served.ask("DELETE /mcp", &own, "").status, 204);
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        assert_eq!(served.ask("POST /mcp", &[own[0], JSON, TAKES], ping).status, 404);
    }
    let file = served.file.clone();
    assert_eq!(served.end(), Some(143));
    assert!(!std::path::Path::new(&file).exists(), "the token goes with the server");
}

#[test]
fn the_older_transport_lists_calls_and_ends_with_its_stream() {
    let world = World::new();
    let served = Served::start(&world, "0", &["--compat", "loop-orchestrator"]);
    let mut older = Older::connect(&served);
    assert_eq!(older.request("tools/list", json!({}))["tools"].as_array().unwrap().len(), 20);
    let read = json!({"name": "read_project_file_tool", "arguments": {"file_path": "readme.txt"}});
    assert_eq!(older.request("tools/call", read)["structuredContent"]["result"]["content"], "hello\n");
    // What is no message is said to be none, and others are answered on.
    for (body, status) in [("{", 400), ("", 400)] {
        assert_eq!(older.send(body).status, status, "{body}");
    }
    assert_eq!(older.send("[1]").status, 202);
    assert!(older.event().1.contains("-32600"));
    assert_eq!(served.ask(&format!("POST {}", older.post), &[], "{}").status, 415);
    for path in ["/messages", "/messages?sessionId=", "/messages?sessionId=x"] {
        assert_eq!(served.ask(&format!("POST {path}"), &[JSON], "{}").status, 404, "{path}");
    }
    assert_eq!(older.request("ping", json!({})), json!({}));
    let post = older.post.clone();
    drop(older);
    until("the stream is forgotten", || served.ask(&format!("POST {post}"), &[JSON], "{}").status != 202);
    assert_eq!(served.end(), Some(143));
}

#[test]
fn many_clients_drive_one_session() {
    let world = World::new();
    let model = world.script("fixes", &fixes());
    let served = Served::start(&world, "0", &[]);
    let (mut one, _) = Client::connect(&served, "2025-06-18");
    let (mut two, _) = Client::connect(&served, "2025-11-25");
    let mut three = Older::connect(&served);
    let started = one.call("session_start", json!({"goal": "make the test pass", "model": model}));
    let id = started["session_id"].as_str().unwrap();
    let ended = two.call("session_status", json!({"session": id, "wait_seconds": 60}));
    assert_eq!(ended["state"], "completed", "{ended:#}");
    let verdict =
        three.request("tools/call", json!({"name": "session_verdict", "arguments": {"session": id}}));
    assert_eq!(verdict["structuredContent"]["verdict"], "CONFIRMED", "{verdict:#}");
}

#[test]
fn who_follows_a_file_is_told_over_the_stream() {
    let world = World::new();
    world.write("repo/TODO.md", "- [ ] one\n");
    let served = Served::start(&world, "0", &[]);
    let (mut client, _) = Client::connect(&served, "2025-06-18");
    let mut stream = served.connect();
    let own = [("Authorization", served.bearer.as_str()), ("Mcp-Session-Id", client.session.as_str()), TAKES];
    stream.get_mut().write_all(served.head("GET /mcp", &own, None).as_bytes()).unwrap();
    let mut head = String::new();
    while stream.read_line(&mut head).unwrap() > 2 {}
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    client.request("resources/subscribe", json!({"uri": "kapell://files/todo"}));
    world.write("repo/TODO.md", "- [x] one\n");
    let mut text = String::new();
    while !text.contains("notifications/resources/updated") {
        text += &String::from_utf8(chunk(&mut stream).expect("a notification")).unwrap();
    }
    assert!(text.contains("kapell://files/todo"), "{text}");
}

#[test]
fn a_thousand_calls_at_once_over_http() {
    const CALLS: usize = 1_000;
    let world = World::new();
    let served = Served::start(&world, "0", &[]);
    let (client, _) = Client::connect(&served, "2025-06-18");
    let both = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let more = rustix::process::Rlimit { current: both.maximum, maximum: both.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, more).unwrap();
    let know = [("Authorization", served.bearer.as_str()), ("Mcp-Session-Id", client.session.as_str())];
    let headers = [&know[..], &[JSON, TAKES, ("Connection", "close")]].concat();
    let mut open = Vec::new();
    for n in 0..CALLS {
        let (name, args) = match n % 3 {
            0 => ("read_project_file", json!({"file_path": "readme.txt"})),
            1 => ("list_project_structure", json!({})),
            _ => ("search_in_files", json!({"pattern": "hello"})),
        };
        let body = json!({"jsonrpc": "2.0", "id": n + 10, "method": "tools/call", "params": {"name": name, "arguments": args}});
        let body = body.to_string();
        let mut stream = served.connect();
        let head = served.head("POST /mcp", &headers, Some(body.len()));
        stream.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
        open.push(stream);
    }
    let mut left: BTreeSet<usize> = (10..10 + CALLS).collect();
    for mut stream in open {
        let answer = answer(&mut stream);
        let last = said(&answer.body).pop().unwrap_or_default();
        assert!(answer.status == 200 && last["result"]["isError"] == false, "{answer:?}");
        assert!(left.remove(&(last["id"].as_u64().unwrap() as usize)));
    }
    assert!(left.is_empty());
    assert_eq!(served.end(), Some(143));
}

#[test]
fn what_was_acknowledged_stands_though_the_server_is_killed() {
    const CALLS: usize = 30;
    let world = World::new();
    let mut served = Served::start(&world, "0", &["--compat", "loop-orchestrator"]);
    let port = served.address.rsplit(':').next().unwrap().to_owned();
    let mut told = Vec::new();
    for round in 0..4 {
        {
            let (mut client, _) = Client::connect(&served, "2025-06-18");
            while told.len() < (round + 1) * CALLS / 3 && told.len() < CALLS {
                let task = format!("task {}", told.len());
                let reply = client
                    .call("track_task_time_tool", json!({"task_description": task, "priority": "todo"}));
                told.push(reply["result"]["task_id"].as_str().unwrap().to_owned());
            }
            let args = json!({"task_description": "cut off", "priority": "todo"});
            let params = json!({"name": "track_task_time_tool", "arguments": args});
            client.send(&json!({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": params}));
        }
        // In the middle of that call: it may be on disk, but nobody was told so.
        let before = served.bearer.clone();
        served.kill();
        served = Served::start(&world, &port, &["--compat", "loop-orchestrator"]);
        assert_ne!(served.bearer, before, "a token is of one start");
        assert_eq!(served.ask_with("POST /mcp", &[("Authorization", before.as_str())], "").status, 401);
    }
    let text = world.read("repo/task_timing.tsv");
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == 9), "{text}");
    for id in &told {
        assert_eq!(rows.iter().filter(|row| row[2] == id).count(), 1, "{id}");
    }
    assert!((CALLS..=CALLS + 4).contains(&rows.len()), "{}", rows.len());
}
