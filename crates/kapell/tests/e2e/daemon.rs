//! `kapell serve` as programs meet it: over its socket, from its start to its end.
//!
//! Start at [`Daemon`]; who is refused is in `daemon_refused.rs`.

use crate::mcp_http::{Answer, answer};
use crate::world::{World, until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Longest wait for anything from the other side.
const LIMIT: Duration = Duration::from_secs(60);

/// A daemon. Killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) told: Value,
    pub(crate) found: Value,
}

impl Daemon {
    pub(crate) fn start(world: &World, args: &[&str]) -> Self {
        let mut command = world.kapell(&[&["serve", "--json"], args].concat());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let found = serde_json::from_str(&std::fs::read_to_string(file(world)).unwrap()).unwrap();
        Self { child, told, found }
    }

    /// One request over the socket, on a connection of its own.
    pub(crate) fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let stream = UnixStream::connect(self.found["socket"].as_str().unwrap()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        asked(stream, line, &[&[("Host", "kapell")], headers].concat(), body)
    }

    /// What is there to be read.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.ask(&format!("GET {path}"), &[], "");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Where it listens on the loopback.
    pub(crate) fn address(&self) -> &str {
        self.found["url"].as_str().unwrap().strip_prefix("http://").unwrap()
    }

    /// One request over the loopback, with these headers only.
    pub(crate) fn over_tcp(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        asked(self.connect(), line, headers, body)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Kills it without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end; its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut ended = None;
        until("the daemon ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a refusal says.
#[track_caller]
pub(crate) fn problem(answer: &Answer) -> Value {
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], answer.status, "{answer:?}");
    assert_eq!(problem["type"], format!("urn:kapell:{}", problem["code"].as_str().unwrap()));
    assert!(answer.head.contains(&format!("request-id: {}", problem["request_id"].as_str().unwrap())));
    problem
}

fn file(world: &World) -> PathBuf {
    world.path("kapell/state/run/daemon.json")
}

fn asked(mut stream: impl std::io::Read + Write, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut head = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    answer(&mut BufReader::new(stream))
}

#[test]
fn a_daemon_says_where_it_is_answers_and_ends() {
    let world = World::new();
    world.run(&["run", "--no-land", "-m", &world.script("done", crate::world::DONE), "say hello"]);
    let mut daemon = Daemon::start(&world, &[]);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file(&world)), mode(world.path("kapell/state/run"))), (0o600, 0o700));
    assert_eq!(mode(PathBuf::from(daemon.found["socket"].as_str().unwrap())), 0o600);
    assert!(daemon.found["url"].is_null() && daemon.told["token"].is_null());
    assert_eq!((&daemon.told["pid"], &daemon.told["boot"]), (&daemon.found["pid"], &daemon.found["boot"]));

    let about = daemon.get("/v1");
    assert_eq!((&about["boot"], &about["schema_version"]), (&daemon.found["boot"], &1.into()));
    assert_eq!(daemon.get("/v1/health")["status"], "ok");
    assert_eq!(daemon.get("/v1/ready")["status"], "ready");
    let sessions = daemon.get("/v1/sessions");
    assert_eq!(sessions["items"], world.run(&["sessions", "--json"]).expect(0).json());
    assert_eq!((&sessions["items"][0]["goal"], sessions.get("next")), (&"say hello".into(), None));

    let second = world.run(&["serve"]).expect(2);
    assert!(
        second.err.contains("is the daemon here already") && second.err.contains("kapell status"),
        "{second:?}"
    );
    assert_eq!(daemon.get("/v1/health")["status"], "ok", "who came second took nothing away");
    assert_eq!(daemon.end(), Some(0));
    assert!(!file(&world).exists() && !PathBuf::from(daemon.found["socket"].as_str().unwrap()).exists());
}

#[test]
fn one_that_was_killed_is_in_nobodys_way() {
    let world = World::empty();
    let mut first = Daemon::start(&world, &[]);
    first.kill();
    assert!(file(&world).exists());
    let mut second = Daemon::start(&world, &[]);
    assert_eq!(second.get("/v1")["boot"], second.told["boot"]);
    assert_eq!(second.end(), Some(0));
}

#[test]
fn lists_come_in_pages() {
    let world = World::new();
    let model = world.script("done", crate::world::DONE);
    for goal in ["one", "two", "three"] {
        world.run(&["run", "--no-land", "-m", &model, goal]);
    }
    let daemon = Daemon::start(&world, &[]);
    let (mut goals, mut path) = (Vec::new(), "/v1/sessions?limit=1".to_owned());
    loop {
        let page = daemon.get(&path);
        goals.extend(
            page["items"].as_array().unwrap().iter().map(|row| row["goal"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/sessions?limit=1&cursor={next}");
    }
    assert_eq!(goals, ["three", "two", "one"]);
    let all = daemon.get("/v1/sessions");
    let id = all["items"][1]["session_id"].as_str().unwrap();
    let end = &id[id.len() - 8..];
    assert_eq!(daemon.get(&format!("/v1/sessions?name={end}"))["items"][0], all["items"][1]);
    let state = all["items"][0]["state"].as_str().unwrap();
    assert_eq!(daemon.get(&format!("/v1/sessions?state={state}"))["items"].as_array().unwrap().len(), 3);
    assert_eq!(daemon.get("/v1/sessions?repo=/nowhere")["items"].as_array().unwrap().len(), 0);
    for (path, status, code) in [
        ("/v1/sessions?cursor=x", 400, "bad-cursor"),
        ("/v1/sessions?limit=0", 422, "bad-field"),
        ("/v1/sessions?lmit=1", 422, "bad-field"),
        ("/v1/sessions?name=nosuch", 404, "no-session"),
    ] {
        let answer = daemon.ask(&format!("GET {path}"), &[], "");
        let problem = problem(&answer);
        assert_eq!((answer.status, problem["code"].as_str().unwrap()), (status, code), "{path}");
    }
}
