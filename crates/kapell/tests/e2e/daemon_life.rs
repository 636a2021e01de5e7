//! The daemon in the background: up, seen, handed work, entered by a browser, down.
//!
//! Start at [`Up`]; each test is one story.

use crate::daemon::{Daemon, problem};
use crate::mcp_http::{Answer, JSON};
use crate::world::{DONE, World, fixes, shell, until};
use serde_json::{Value, json};

/// A daemon that `up` started. Ended when it is dropped.
struct Up<'a>(&'a World);

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let _ = self.0.run(&["down"]);
    }
}

#[test]
fn up_status_detach_and_down() {
    let world = World::new();
    let before = world.run(&["status"]).expect(0);
    assert!(
        before.out.contains("there is no daemon: kapell up") && before.out.contains("0 running"),
        "{before:?}"
    );
    assert_eq!(world.run(&["status", "--line"]).expect(0).out, "");
    assert!(world.run(&["run", "--detach", "goal"]).expect(2).err.contains("kapell up"));
    assert!(world.run(&["console"]).expect(2).err.contains("kapell up"));

    let started = Up(&world);
    let up = world.run(&["up", "--tcp", "0", "--json"]).expect(0).json();
    assert!(up["url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{up}");
    let again = world.run(&["up", "--tcp", "0", "--json"]).expect(0).json();
    assert_eq!(again["pid"], up["pid"], "one is enough");
    let slow = world.script("slow", &format!("[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n{}", fixes()));
    let row = world
        .run(&["run", "--detach", "-m", &slow, "--max-budget-usd", "1.5", "wait", "--json"])
        .expect(0)
        .json();
    let id = row["session_id"].as_str().unwrap();
    until("it runs", || world.run(&["status", "--line"]).expect(0).out == "kapell: 1 running\n");
    let status = world.run(&["status", "--json"]).expect(0).json();
    assert_eq!(
        (&status["running"], &status["pid"], &status["sessions"]["running"]),
        (&true.into(), &up["pid"], &1.into())
    );
    assert!(world.run(&["run", "--detach", "--timeout", "1m", "x"]).expect(2).err.contains("--timeout"));
    assert!(world.run(&["run", "--detach", "-m", "no/such", "x"]).expect(2).err.contains("no model"));
    world.run(&["cancel", id]).expect(0);
    until("it is over", || world.run(&["status", "--line"]).expect(0).out.is_empty());

    assert!(world.run(&["down"]).expect(0).out.contains("has ended"));
    drop(started);
    assert!(world.run(&["down"]).expect(0).out.contains("there is no daemon"));
    let pid = rustix::process::Pid::from_raw(up["pid"].as_i64().unwrap() as i32).unwrap();
    until("its process is gone", || rustix::process::test_kill_process(pid).is_err());
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let world = World::empty();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = world.run(&["up", "--tcp", &port]).expect(1);
    assert!(ended.err.contains("cannot listen at 127.0.0.1:"), "{ended:?}");
    let unit = world.run(&["up", "--systemd"]).expect(0).out;
    assert!(unit.contains(" serve --tcp 7373\n") && unit.contains("KAPELL_HOME="), "{unit}");
    world.run(&["up", "--systemd", "--write"]).expect(0);
    assert_eq!(world.read("home/.config/systemd/user/kapell.service"), unit);
}

#[test]
fn without_a_daemon_the_store_is_counted() {
    let world = World::unconfined();
    let outside = shell(&format!("echo once >> {}", world.path("outside.log").display()));
    world.run(&["run", "-m", &world.script("out", &outside), "make the test pass"]).expect(8);
    assert_eq!(world.run(&["status", "--line"]).expect(0).out, "kapell: 1 needs you\n");
    world.run(&["cancel", "last"]).expect(0);
    assert_eq!(world.run(&["status", "--line"]).expect(0).out, "");
}

/// A browser: what it was told to keep.
struct Browser<'a> {
    daemon: &'a Daemon,
    cookie: String,
    proof: String,
}

impl<'a> Browser<'a> {
    /// Comes in with a fresh code.
    fn enter(world: &World, daemon: &'a Daemon) -> Self {
        let told = world.run(&["console", "--json"]).expect(0).json();
        let code = told["code"].as_str().unwrap();
        assert_eq!(told["url"], format!("http://{}/#code={code}", daemon.address()));
        let answer = login(daemon, code);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(login(daemon, code).status, 401, "it is good once");
        let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        for flag in ["httponly", "samesite=strict", "path=/", "max-age=2592000"] {
            assert!(cookie.contains(flag), "{cookie}");
        }
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { daemon, cookie, proof: told["proof"].as_str().unwrap().to_owned() }
    }

    /// One request of a page of ours.
    fn ask(&self, line: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let own = [
            ("Host", self.daemon.address()),
            ("Cookie", self.cookie.as_str()),
            ("Kapell-Proof", self.proof.as_str()),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        self.daemon.over_tcp(line, &[&own, more].concat(), body)
    }
}

fn login(daemon: &Daemon, code: &str) -> Answer {
    let headers = [("Host", daemon.address()), JSON, ("Sec-Fetch-Site", "same-origin")];
    daemon.over_tcp("POST /v1/login", &headers, &json!({"code": code}).to_string())
}

#[test]
fn a_browser_comes_in_by_both_halves_and_goes() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, &["--tcp", "0"]);
    let browser = Browser::enter(&world, &daemon);
    assert_eq!(browser.ask("GET /v1/sessions", &[], "").status, 200);
    let order = json!({"goal": "x", "repo": world.repo(), "model": world.script("done", DONE)}).to_string();
    let origin = format!("http://{}", daemon.address());
    let opened = browser.ask("POST /v1/sessions", &[JSON, ("Origin", origin.as_str())], &order);
    assert_eq!(opened.status, 201, "{opened:?}");
    let (host, cookie, proof) = (
        ("Host", daemon.address()),
        ("Cookie", browser.cookie.as_str()),
        ("Kapell-Proof", browser.proof.as_str()),
    );
    for (status, headers) in [
        (401, vec![host, proof]),
        (403, vec![host, cookie]),
        (403, vec![host, cookie, ("Kapell-Proof", "0")]),
        (403, vec![host, cookie, proof, ("Origin", "http://evil.example")]),
        (403, vec![host, cookie, proof, ("Sec-Fetch-Site", "cross-site")]),
        (403, vec![host, cookie, proof, ("Sec-Fetch-Site", "none")]),
        (403, vec![("Host", "evil.example:7373"), cookie, proof]),
    ] {
        for line in ["GET /v1/sessions", "POST /v1/sessions", "GET /v1/feed", "POST /v1/login-codes"] {
            let answer = daemon.over_tcp(line, &headers, "");
            assert_eq!(answer.status, status, "{line} {headers:?}: {answer:?}");
        }
    }
    // A form of another site sends no JSON, and no login gives another one.
    assert_eq!(
        problem(&browser.ask("POST /v1/sessions", &[("Content-Type", "text/plain")], &order))["code"],
        "media-type"
    );
    assert_eq!(problem(&browser.ask("POST /v1/login-codes", &[], ""))["code"], "forbidden");
    let other = Browser::enter(&world, &daemon);
    assert_eq!(browser.ask("DELETE /v1/login", &[], "").status, 204);
    assert_eq!(browser.ask("GET /v1/sessions", &[], "").status, 401);
    assert_eq!(other.ask("GET /v1/sessions", &[], "").status, 200);
    let (cookie, proof) = (other.cookie, other.proof);
    let port = daemon.address().rsplit(':').next().unwrap().to_owned();
    assert_eq!(daemon.end(), Some(0));
    // Whoever listened there meanwhile may know both halves: they are good for nothing any more.
    let daemon = Daemon::start(&world, &["--tcp", &port]);
    let other = Browser { daemon: &daemon, cookie, proof };
    assert_eq!(other.ask("GET /v1/sessions", &[], "").status, 401);
    let again = Browser::enter(&world, &daemon);
    assert_eq!(again.ask("GET /v1/sessions", &[], "").status, 200);
    world.run(&["console", "--logout"]).expect(0);
    assert_eq!(again.ask("GET /v1/sessions", &[], "").status, 401);
}

#[test]
fn guessing_codes_is_slow() {
    let world = World::empty();
    let daemon = Daemon::start(&world, &["--tcp", "0"]);
    let statuses: Vec<u16> = (0..8).map(|n| login(&daemon, &n.to_string()).status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
    let world = World::empty();
    let without = Daemon::start(&world, &[]);
    assert_eq!(problem(&without.ask("POST /v1/login-codes", &[JSON], "{}"))["code"], "no-loopback");
}
