//! What `kapell serve` shows: the documents that commands print, and events as they come, over a daemon that was killed.
//!
//! Start at [`routes_answer_with_what_commands_print`].

use crate::daemon::{Daemon, problem};
use crate::world::{World, shell, until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest wait for anything from the other side.
const LIMIT: Duration = Duration::from_secs(60);

/// An event stream over the socket.
struct Stream(BufReader<UnixStream>);

impl Stream {
    fn open(daemon: &Daemon, path: &str, last: Option<&str>) -> Self {
        let mut stream = UnixStream::connect(daemon.found["socket"].as_str().unwrap()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        let head = format!("GET {path} HTTP/1.1\r\nHost: kapell\r\nAccept: text/event-stream\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    /// The next message: its id, event and data. `None` at the end.
    fn next(&mut self) -> Option<(String, String, Value)> {
        let (mut id, mut event, mut data) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // Between the lines stand those of the chunks, which begin like nothing of ours.
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim_end().to_owned();
            } else if let Some(text) = line.strip_prefix("event: ") {
                event = text.trim_end().to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = text.trim_end().to_owned();
            } else if line == "\n" && !event.is_empty() {
                return Some((id, event, serde_json::from_str(&data).unwrap()));
            }
        }
    }
}

fn id(daemon: &Daemon) -> String {
    daemon.get("/v1/board")["items"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn routes_answer_with_what_commands_print() {
    let world = World::new();
    world.run(&["run", "--no-land", "-m", &world.script("done", crate::world::DONE), "say hello"]);
    let daemon = Daemon::start(&world, &[]);
    let id = id(&daemon);
    let json = |args: &[&str]| world.run(&[args, &["--json"]].concat()).expect(0).json();
    assert_eq!(daemon.get(&format!("/v1/sessions/{id}")), json(&["sessions", "show", &id]));
    let transcript = daemon.get(&format!("/v1/sessions/{id}/transcript"));
    assert_eq!(transcript["items"], json(&["sessions", "transcript", &id]));
    let mut why = daemon.get(&format!("/v1/sessions/{id}/why"));
    assert_eq!(why["total"], why["actions"].as_array().unwrap().len());
    why.as_object_mut().unwrap().remove("total");
    assert_eq!(why, json(&["why", &id]));
    assert_eq!(daemon.get(&format!("/v1/sessions/{id}/cost")), json(&["cost", &id]));
    assert_eq!(daemon.get(&format!("/v1/sessions/{id}/cost/calls")), json(&["cost", &id, "--cache"]));
    assert_eq!(daemon.get(&format!("/v1/sessions/{id}/jobs")), json(&["jobs", &id]));
    assert_eq!(daemon.get("/v1/cost")["sessions"], json(&["cost"])["sessions"]);
    assert_eq!(daemon.get("/v1/repos")["items"][0], world.repo().display().to_string());
    assert_eq!(daemon.get("/v1/schedules"), serde_json::json!({"items": [], "trouble": []}));
    world.write(
        "repo/.roo/schedules.json",
        r#"{"schedules": [{"id": "n", "name": "Nightly", "timeInterval": "1", "timeUnit": "day", "own": [1]}]}"#,
    );
    let listed = daemon.get("/v1/schedules")["items"][0].take();
    assert_eq!(
        (&listed["repo"], &listed["name"], &listed["own"][0], &listed["state"]),
        (
            &world.repo().display().to_string().into(),
            &"Nightly".into(),
            &1.into(),
            &json(&["schedules"])["schedules"][0]["state"]
        )
    );
    let audit = daemon.get("/v1/audit?category=session&limit=1");
    assert_eq!(audit["items"][0], json(&["audit", "query", "--category", "session"])["entries"][0]);
    let found = daemon.get("/v1/search?q=say%20hello");
    assert_eq!(
        (&found["items"][0]["session_id"], &found["items"][0]["kind"]),
        (&id.as_str().into(), &"goal".into())
    );
    assert!(daemon.get("/v1/config")["items"].as_array().unwrap().iter().any(|item| item["key"] == "model"));
    assert!(daemon.get("/v1/doctor")["findings"].as_array().unwrap().len() > 5);
    let texts = daemon.get(&format!("/v1/sessions/{id}/events?limit=1&texts=3"));
    let goal = texts["items"][0]["event"]["opened"]["spec"]["goal"].as_str().unwrap().to_owned();
    assert_eq!(texts["texts"][&goal], "say…");
    let blob = daemon.ask(&format!("GET /v1/sessions/{id}/blobs/{goal}"), &[("Range", "bytes=4-")], "");
    assert_eq!((blob.status, blob.body.as_str()), (206, "hello"));
    assert!(blob.head.contains("content-security-policy: sandbox; default-src 'none'"), "{blob:?}");
}

#[test]
fn what_is_not_a_sessions_own_is_not_shown() {
    let world = World::new();
    let model = world.script("done", crate::world::DONE);
    world.run(&["run", "--no-land", "-m", &model, "the first"]);
    world.run(&["run", "--no-land", "-m", &model, "the second"]);
    let daemon = Daemon::start(&world, &[]);
    let board = daemon.get("/v1/board");
    let (second, first) = (&board["items"][0], &board["items"][1]);
    let [mine, other] = [second, first].map(|row| row["id"].as_str().unwrap());
    let goal = second["goal"].as_str().unwrap();
    assert_eq!(daemon.ask(&format!("GET /v1/sessions/{mine}/blobs/{goal}"), &[], "").status, 200);
    let none = "01a1f791-19db-7000-8000-000000000009";
    for (path, status, code) in [
        (format!("/v1/sessions/{other}/blobs/{goal}"), 404, "no-blob"),
        (format!("/v1/sessions/{mine}/blobs/..%2f..%2fetc%2fpasswd"), 404, "no-blob"),
        (format!("/v1/sessions/{none}/blobs/{goal}"), 404, "no-session"),
        (format!("/v1/sessions/{none}/events"), 404, "no-session"),
        (format!("/v1/sessions/{none}"), 404, "no-session"),
        (format!("/v1/board?root={none}"), 404, "no-session"),
        ("/v1/sessions/last".to_owned(), 400, "bad-request"),
        (format!("/v1/sessions/{mine}/events?after=9999"), 409, "cursor-ahead"),
        (format!("/v1/sessions/{mine}/events?limit=0"), 422, "bad-field"),
        (format!("/v1/sessions/{mine}/why?action=99.99"), 404, "no-action"),
        (format!("/v1/sessions/{mine}/why?action=x"), 422, "bad-field"),
        (format!("/v1/sessions/{mine}/diff?of=9.9"), 409, "no-savepoint"),
        (format!("/v1/sessions/{mine}/jobs/..%2f../output"), 404, "no-job"),
        ("/v1/search?q=".to_owned(), 422, "bad-field"),
        ("/v1/feed?board=x".to_owned(), 400, "bad-cursor"),
        (format!("/v1/feed?follow={mine}:99999"), 409, "cursor-ahead"),
        (format!("/v1/feed?follow={none}:0"), 404, "no-session"),
        ("/v1/audit?category=nosuch".to_owned(), 422, "no-category"),
    ] {
        let answer = daemon.ask(&format!("GET {path}"), &[], "");
        let problem = problem(&answer);
        assert_eq!((answer.status, problem["code"].as_str().unwrap()), (status, code), "{path}");
    }
}

#[test]
fn a_follower_sees_another_process_work_and_goes_on_after_the_daemon_was_killed() {
    let world = World::new();
    let script = format!("{}{}", shell("sleep 1"), crate::world::DONE);
    let model = world.script("slow", &script);
    let mut daemon = Daemon::start(&world, &[]);
    let mut feed = Stream::open(&daemon, "/v1/feed", None);
    assert_eq!((feed.next().unwrap().1, feed.next().unwrap().1), ("hello".to_owned(), "board".to_owned()));
    let running = world.start(&["run", "--no-land", "-m", &model, "be slow"]);
    let (_, event, row) = feed.next().unwrap();
    assert_eq!((event.as_str(), &row["row"]["goal_text"]), ("row", &"be slow".into()));
    let id = row["row"]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/sessions/{id}/events");
    let (mut seen, mut last) = (Vec::new(), String::new());
    let mut stream = Stream::open(&daemon, &path, None);
    while seen.len() < 3 {
        let (number, event, record) = stream.next().unwrap();
        assert_eq!((event.as_str(), record["seq"].to_string()), ("record", number.clone()));
        (seen, last) = ([seen, vec![record["seq"].as_u64().unwrap()]].concat(), number);
    }
    daemon.kill();
    while let Some((number, event, record)) = stream.next() {
        assert_eq!(event, "record");
        (seen, last) = ([seen, vec![record["seq"].as_u64().unwrap()]].concat(), number);
    }
    running.end();
    let daemon = Daemon::start(&world, &[]);
    let mut stream = Stream::open(&daemon, &path, Some(&last));
    loop {
        let (_, event, record) = stream.next().unwrap();
        if event == "end" {
            break;
        }
        seen.push(record["seq"].as_u64().unwrap());
    }
    assert_eq!(stream.next(), None);
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    until("the board shows its end", || !daemon.get("/v1/board")["items"][0]["code"].is_null());
}
