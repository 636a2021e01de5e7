//! Terminals of people over the API: opened by the rules, typed at, lost and found again, and shut to everybody else.
//!
//! Start at [`Looking`], a client over WebSocket.

use crate::daemon::{Daemon, problem};
use crate::world::{DONE, World, until};
use contract::board::BoardEvent;
use contract::journal::Journal;
use contract::{ProjectId, StreamId, record};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket};

/// A client at a terminal.
struct Looking {
    socket: WebSocket<TcpStream>,
    /// What it was shown, screens included.
    seen: Vec<u8>,
    /// Number of the byte that comes next.
    at: u64,
    /// Screens it was shown.
    screens: u32,
}

impl Looking {
    /// Attaches with the token of the daemon.
    #[track_caller]
    fn at(daemon: &Daemon, path: &str) -> Self {
        let bearer = format!("Bearer {}", daemon.found["token"].as_str().unwrap());
        let (stream, head) = asked(daemon, path, &[("Authorization", &bearer)]);
        assert!(
            head.starts_with("HTTP/1.1 101") && head.contains("sec-websocket-protocol: kapell.term.v1"),
            "{head}"
        );
        let socket = WebSocket::from_raw_socket(stream, Role::Client, None);
        Self { socket, seen: Vec::new(), at: 0, screens: 0 }
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        self.socket.send(Message::Binary([&[kind], body].concat().into())).unwrap();
    }

    fn types(&mut self, text: &str) {
        self.say(b'i', text.as_bytes());
    }

    /// One message; the close code at the end.
    fn next(&mut self) -> Result<u8, Option<u16>> {
        loop {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => {
                    let (kind, body) = bytes.split_first().unwrap();
                    match kind {
                        b's' => {
                            self.screens += 1;
                            self.seen.extend_from_slice(&body[4..]);
                        }
                        b'n' => self.at = u64::from_le_bytes(body.try_into().unwrap()),
                        b'o' => {
                            self.seen.extend_from_slice(body);
                            self.at += body.len() as u64;
                        }
                        _ => {}
                    }
                    return Ok(*kind);
                }
                Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(_) => return Err(None),
            }
        }
    }

    /// Reads until it was shown this.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let next = self.next();
            assert!(next.is_ok(), "{text}: {next:?}: {}", String::from_utf8_lossy(&self.seen));
        }
    }

    /// Reads to the end; the close code.
    fn ends(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.next() {
                return code;
            }
        }
    }
}

/// Asks for a WebSocket; the connection, and the head of the answer in lower case but for its first line.
fn asked(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> (TcpStream, String) {
    let mut stream = daemon.connect();
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        daemon.address()
    );
    if !headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Protocol") {
        head += "Sec-WebSocket-Protocol: kapell.term.v1\r\n";
    }
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        answer.push(byte[0]);
    }
    let text = String::from_utf8(answer).unwrap();
    let (first, rest) = text.split_once("\r\n").unwrap();
    (stream, format!("{first}\r\n{}", rest.to_lowercase()))
}

/// A session that has ended and whose workspace stands; its id.
fn session(world: &World) -> String {
    world.run(&["run", "--no-land", "-m", &world.script("done", DONE), "say hello"]);
    world.shown()["session_id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn opened(daemon: &Daemon, id: &str, body: &Value) -> Value {
    let json = [("Content-Type", "application/json")];
    let answer = daemon.ask(&format!("POST /v1/sessions/{id}/jobs"), &json, &body.to_string());
    assert_eq!(answer.status, 201, "{answer:?}");
    let job: Value = serde_json::from_str(&answer.body).unwrap();
    let place = format!("location: /v1/sessions/{id}/jobs/{}", job["job"].as_str().unwrap());
    assert!(answer.head.contains(&place), "{answer:?}");
    job
}

/// What the project's record says of terminals.
fn recorded(world: &World) -> Vec<BoardEvent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = journal::Sqlite::open_read_only(&world.path("kapell/data")).unwrap();
        let stream = StreamId::Board(ProjectId::of(&world.repo().canonicalize().unwrap().to_string_lossy()));
        let all = store.read(stream, 0, 100).await.unwrap();
        all.iter().map(|stored| record::decode::<BoardEvent>(&stored.bytes).unwrap().event).collect()
    })
}

#[test]
fn a_terminal_is_typed_at_lost_and_found_again_after_the_daemon_was_killed() {
    let world = World::new();
    let id = session(&world);
    let mut daemon = Daemon::start(&world, &["--tcp", "0"]);
    let job = opened(&daemon, &id, &json!({"terminal": true, "columns": 100, "rows": 30}));
    assert_eq!((&job["job"], &job["terminal"], &job["running"]), (&"t1".into(), &true.into(), &true.into()));
    assert!(matches!(&recorded(&world)[..], [BoardEvent::Terminal { job, asked: false, .. }] if job == "t1"));

    let path = format!("/v1/sessions/{id}/jobs/t1/attach");
    let mut ada = Looking::at(&daemon, &path);
    ada.types("echo a$((1 + 1))b; stty size\n");
    ada.sees("a2b\r\n30 100\r\n");
    let output = daemon.get(&format!("/v1/sessions/{id}/jobs/t1/output?after=0"));
    assert!(
        ada.screens == 1 && ada.at <= output["bytes"].as_u64().unwrap() && ada.at > 0,
        "{} {output}",
        ada.at
    );
    ada.say(b'r', &[60, 0, 20, 0]);
    ada.types("stty size\n");
    ada.sees("20 60\r\n");

    // Who was away for a moment gets what they missed, byte by byte, and no screen.
    let (at, before) = (ada.at, ada.seen.len());
    drop(ada);
    let mut eve = Looking::at(&daemon, &path);
    eve.types("echo meanwhile$((2 + 2))\n");
    eve.sees("meanwhile4\r\n");
    let mut ada = Looking::at(&daemon, &format!("{path}?after={at}"));
    ada.sees("meanwhile4\r\n");
    assert!(ada.screens == 0 && before > 0, "{ada:?}", ada = String::from_utf8_lossy(&ada.seen));
    // Numbers that nobody was given come to a screen.
    let mut odd = Looking::at(&daemon, &format!("{path}?after=99999999"));
    odd.sees("meanwhile4");
    assert_eq!(odd.screens, 1);

    let pid = job_of(&daemon, &id, "t1")["pid"].as_i64().unwrap();
    daemon.kill();
    assert_eq!(ada.ends(), None, "the connection goes with the daemon");
    let daemon = Daemon::start(&world, &["--tcp", "0"]);
    let job = job_of(&daemon, &id, "t1");
    assert_eq!((&job["running"], job["pid"].as_i64()), (&true.into(), Some(pid)), "the terminal does not");
    let mut ada = Looking::at(&daemon, &path);
    ada.types("echo still$((3 + 3)); exit 7\n");
    ada.sees("still6\r\n");
    assert_eq!(ada.ends(), Some(1000));
    until("it says how it ended", || job_of(&daemon, &id, "t1")["ended"] == "exit status 7");
    let output = daemon.get(&format!("/v1/sessions/{id}/jobs/t1/output?after=0"));
    assert!(output["text"].as_str().unwrap().contains("meanwhile4"), "{output}");
    let answer = daemon.ask(&format!("GET {path}"), &[], "");
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[track_caller]
fn job_of(daemon: &Daemon, id: &str, name: &str) -> Value {
    let jobs = daemon.get(&format!("/v1/sessions/{id}/jobs"));
    jobs["jobs"].as_array().unwrap().iter().find(|job| job["job"] == name).unwrap().clone()
}

#[test]
fn a_request_that_comes_again_opens_nothing_and_the_command_line_sees_the_same() {
    let world = World::new();
    let id = session(&world);
    let daemon = Daemon::start(&world, &["--tcp", "0"]);
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", "k1")];
    let body = json!({"terminal": true, "command": "echo up; exec cat"}).to_string();
    let line = format!("POST /v1/sessions/{id}/jobs");
    let (one, two) = (daemon.ask(&line, &headers, &body), daemon.ask(&line, &headers, &body));
    assert_eq!((one.status, two.status), (201, 201), "{one:?} {two:?}");
    let jobs = world.run(&["jobs", &id, "--json"]).expect(0).json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
    assert_eq!(jobs["jobs"][0]["job"], "t1");
    // Collecting leaves a workspace where somebody sits.
    let kept = world.run(&["gc"]);
    assert!(kept.out.contains("open terminals: t1"), "{kept:?}");
    world.run(&["jobs", &id, "t1", "--stop"]).expect(0);
    until("it has ended", || job_of(&daemon, &id, "t1")["running"] == false);
    for (body, status, code) in [
        (json!({"terminal": false}), 422, "bad-field"),
        (json!({"terminal": true, "columns": 1}), 422, "bad-field"),
        (json!({"terminal": true, "command": " "}), 422, "bad-field"),
        (json!({"terminal": true, "command": "rm -rf ~"}), 409, "refused"),
    ] {
        let answer = daemon.ask(&line, &headers[..1], &body.to_string());
        assert_eq!((answer.status, &problem(&answer)["code"]), (status, &code.into()), "{body}: {answer:?}");
    }
    assert_eq!(job_of(&daemon, &id, "t1")["running"], false);
}

#[test]
fn where_nothing_confines_it_a_terminal_needs_a_yes_to_exactly_this() {
    let world = World::unconfined();
    let id = session(&world);
    let daemon = Daemon::start(&world, &[]);
    let (line, json) = (format!("POST /v1/sessions/{id}/jobs"), [("Content-Type", "application/json")]);
    let mut body = json!({"terminal": true, "command": "touch asked; exec cat"});
    let answer = daemon.ask(&line, &json, &body.to_string());
    let needs = problem(&answer);
    assert_eq!((answer.status, &needs["code"]), (409, &"needs-yes".into()), "{answer:?}");
    body["hash"] = needs["hash"].clone();
    let mut other = body.clone();
    other["command"] = "touch other; exec cat".into();
    assert_eq!(problem(&daemon.ask(&line, &json, &other.to_string()))["code"], "needs-yes");
    assert!(recorded(&world).is_empty(), "nothing was begun");
    assert_eq!(opened(&daemon, &id, &body)["job"], "t1");
    assert!(matches!(&recorded(&world)[..], [BoardEvent::Terminal { asked: true, .. }]));
    world.run(&["jobs", &id, "t1", "--stop"]).expect(0);
}

#[test]
fn nobody_else_gets_a_terminal_and_a_reader_that_takes_nothing_stops_none() {
    let world = World::new();
    let id = session(&world);
    let daemon = Daemon::start(&world, &["--tcp", "0"]);
    opened(&daemon, &id, &json!({"terminal": true}));
    let path = format!("/v1/sessions/{id}/jobs/t1/attach");
    let bearer = format!("Bearer {}", daemon.found["token"].as_str().unwrap());
    let know = ("Authorization", bearer.as_str());
    for (status, headers) in [
        ("401", vec![]),
        ("403", vec![("Origin", "http://evil.example")]),
        ("403", vec![know, ("Origin", "http://evil.example")]),
        ("403", vec![know, ("Origin", "null")]),
        ("403", vec![know, ("Sec-Fetch-Site", "cross-site")]),
        ("401", vec![("Sec-WebSocket-Protocol", "kapell.term.v1, kapell.proof.x")]),
        ("400", vec![know, ("Sec-WebSocket-Protocol", "other")]),
    ] {
        let (_, head) = asked(&daemon, &path, &headers);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{status} {headers:?}: {head}");
    }
    let (_, head) = asked(&daemon, &path.replace("t1", "t9"), &[know]);
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");

    for (code, message) in [
        (1003, Message::text("i")),
        (1002, Message::binary(vec![b'q'])),
        (1002, Message::binary(Vec::new())),
        (1009, Message::binary(vec![b'i'; (1 << 20) + 1])),
    ] {
        let mut wrong = Looking::at(&daemon, &path);
        wrong.socket.send(message).unwrap();
        assert_eq!(wrong.ends(), Some(code));
    }

    let mut slow = Looking::at(&daemon, &path);
    slow.types("head -c 9000000 /dev/zero; echo; echo over$((4 + 4))\n");
    until("it goes on without who does not read", || {
        job_of(&daemon, &id, "t1")["bytes"].as_u64().unwrap() > 9_000_000
    });
    let mut other = Looking::at(&daemon, &path);
    other.sees("over8");
    // Who was far behind is shown how it is now, not all that came meanwhile.
    slow.sees("over8");
    assert!(slow.screens > 1 && slow.seen.len() < 8_500_000, "{} {}", slow.screens, slow.seen.len());
    other.say(b'x', &[]);
    assert_eq!((other.ends(), slow.ends()), (Some(1000), Some(1000)));
}
