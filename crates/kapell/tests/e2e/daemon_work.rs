//! Sessions in the daemon: opened, asked, answered, stopped over HTTP and from terminals, and gone on with after its end.
//!
//! Start at [`order`]; each test is one story.

use crate::daemon::{Daemon, problem};
use crate::mcp_http::{Answer, JSON};
use crate::world::{DONE, World, call, fixes, shell, until};
use serde_json::{Value, json};

/// What opens a session here, with a script as its model.
fn order(world: &World, model: &str, more: Value) -> Value {
    let mut order = json!({"goal": "make the test pass", "repo": world.repo(), "model": model});
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    order
}

impl Daemon {
    /// One request with a body.
    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(&format!("POST {path}"), &[JSON], &body.to_string())
    }

    fn keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.ask(&format!("POST {path}"), &[JSON, ("Idempotency-Key", key)], &body.to_string())
    }

    /// Opens a session; its id.
    #[track_caller]
    fn open(&self, order: &Value) -> String {
        let answer = self.post("/v1/sessions", order);
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = value(&answer)["session_id"].as_str().unwrap().to_owned();
        assert!(answer.head.contains(&format!("location: /v1/sessions/{id}")), "{answer:?}");
        id
    }

    /// Wishes something for a session.
    fn wish(&self, id: &str, wish: Value) -> Answer {
        self.post(&format!("/v1/sessions/{id}/intents"), &json!({"wish": wish}))
    }

    /// Waits until a session is in this state; its row.
    #[track_caller]
    fn reaches(&self, id: &str, state: &str) -> Value {
        let mut row = Value::Null;
        until(state, || {
            row = self.get(&format!("/v1/sessions?name={id}"))["items"][0].take();
            row["state"] == state
        });
        row
    }

    /// What waits, once something does.
    #[track_caller]
    fn asks(&self) -> Value {
        let mut asked = Value::Null;
        until("something is asked", || {
            asked = self.get("/v1/approvals")["items"].get(0).cloned().unwrap_or_default();
            !asked.is_null()
        });
        asked
    }
}

#[track_caller]
fn value(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    let problem = problem(answer);
    assert_eq!((answer.status, problem["code"].as_str().unwrap()), (status, code), "{answer:?}");
}

/// Turns that want something done outside, then reach the goal.
fn outside(world: &World) -> String {
    format!("{}{}", shell(&format!("echo once >> {}", world.path("outside.log").display())), fixes())
}

#[test]
fn a_session_runs_in_the_daemon_and_lands() {
    let world = World::new();
    let daemon = Daemon::start(&world, &[]);
    let id = daemon.open(&order(&world, &world.script("fixes", &fixes()), json!({})));
    let row = daemon.reaches(&id, "completed");
    assert_eq!((&row["exit_code"], &row["verdict"]), (&0.into(), &"CONFIRMED".into()), "{row:#}");
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    assert_eq!(world.shown()["session_id"], id.as_str());
}

#[test]
fn what_cannot_be_opened_says_why() {
    let world = World::new();
    let daemon = Daemon::start(&world, &[]);
    let model = world.script("done", DONE);
    for (more, status, code) in [
        (json!({"goal": " "}), 422, "bad-field"),
        (json!({"repo": "relative"}), 422, "bad-field"),
        (json!({"repo": "/nowhere/at/all"}), 422, "no-directory"),
        (json!({"model": "no-such/model"}), 422, "model-unknown"),
        (json!({"allowed_tools": ["nosuch"]}), 422, "unknown-tool"),
        (json!({"ask": "sometimes"}), 422, "bad-field"),
        (json!({"max_budget_usd": "much"}), 422, "bad-field"),
        (json!({"max_turns": -1}), 422, "bad-field"),
        (json!({"gaol": "x"}), 422, "bad-field"),
        (json!({"from": {"session_id": "x", "action": "1.1"}}), 422, "bad-field"),
    ] {
        let answer = daemon.post("/v1/sessions", &order(&world, &model, more.clone()));
        let told = problem(&answer);
        assert_eq!((answer.status, told["code"].as_str().unwrap()), (status, code), "{more}: {answer:?}");
    }
    refused(&daemon.ask("POST /v1/sessions", &[JSON], "{"), 400, "bad-request");
    refused(&daemon.ask("POST /v1/sessions", &[], "{}"), 415, "media-type");
    refused(&daemon.keyed("/v1/sessions", "two words", &order(&world, &model, json!({}))), 422, "bad-field");
    assert_eq!(daemon.get("/v1/sessions")["items"], json!([]));
}

#[test]
fn a_yes_is_bound_to_what_was_shown_and_comes_from_the_inbox() {
    let world = World::unconfined();
    let daemon = Daemon::start(&world, &[]);
    let id = daemon.open(&order(&world, &world.script("out", &outside(&world)), json!({"ask": "external"})));
    let asked = daemon.asks();
    assert_eq!(
        (&asked["session_id"], &asked["kind"], &asked["tool"]),
        (&id.as_str().into(), &"approval".into(), &"shell".into())
    );
    assert!(
        asked["content"].as_str().unwrap().contains("echo once >>") && asked["goal"] == "make the test pass",
        "{asked:#}"
    );
    assert_eq!(daemon.get(&format!("/v1/approvals?session={id}"))["items"][0], asked);
    let path = format!("/v1/sessions/{id}/approvals/{}", asked["id"].as_str().unwrap());
    let hash = asked["hash"].as_str().unwrap();
    refused(&daemon.post(&path, &json!({"say": "yes"})), 422, "bad-field");
    refused(&daemon.post(&path, &json!({"say": "yes", "hash": "ab"})), 422, "bad-field");
    refused(&daemon.post(&path, &json!({"say": "yes", "hash": "0".repeat(64)})), 409, "hash-differs");
    refused(
        &daemon.post(&format!("/v1/sessions/{id}/approvals/a999"), &json!({"say": "no"})),
        404,
        "no-approval",
    );
    let wished = daemon.wish(&id, json!({"approve": {"approval": asked["id"], "hash": "0".repeat(64)}}));
    refused(&wished, 409, "refused");
    assert_eq!(world.read("outside.log"), "");
    // The key of another wish is no yes, and makes no rule.
    let intents = format!("/v1/sessions/{id}/intents");
    let more = json!({"wish": {"add-budget": {"amount": {"steps": 5}}}});
    assert_eq!(daemon.keyed(&intents, "more", &more).status, 200);
    refused(&daemon.keyed(&intents, "more", &json!({"wish": "cancel"})), 409, "key-reused");
    let yes = json!({"say": "yes", "hash": hash, "rule": "session"});
    refused(&daemon.keyed(&path, "more", &yes), 409, "key-reused");
    assert_eq!(daemon.asks()["id"], asked["id"]);
    assert!(!world.path(&format!("kapell/state/sessions/{id}/rules.toml")).exists());
    let first = daemon.keyed(&path, "yes-1", &json!({"say": "yes", "hash": hash}));
    let told = value(&first);
    assert_eq!(
        (first.status, &told["taken"], &told["key"]),
        (200, &"applied".into(), &"http/yes-1".into()),
        "{told}"
    );
    daemon.reaches(&id, "completed");
    assert_eq!(world.read("outside.log"), "once\n");
    let again = daemon.keyed(&path, "yes-1", &json!({"say": "yes", "hash": hash}));
    assert_eq!((again.status, &value(&again)["intent"]), (200, &told["intent"]), "{again:?}");
    assert_eq!(daemon.get("/v1/approvals")["items"], json!([]));
    let events = world.run(&["events", &id]).expect(0).out;
    assert_eq!(events.matches("http/yes-1").count(), 1);
    assert!(events.contains(told["intent"].as_str().unwrap()), "the intent is on record");
}

#[test]
fn the_same_key_opens_one_session_whatever_happens_to_the_daemon() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, &[]);
    let order = order(&world, &world.script("done", DONE), json!({}));
    let opened = |daemon: &Daemon| value(&daemon.keyed("/v1/sessions", "one", &order))["session_id"].clone();
    let id = opened(&daemon);
    assert!(id.is_string() && opened(&daemon) == id);
    let mut other = order.clone();
    other["goal"] = "something else".into();
    refused(&daemon.keyed("/v1/sessions", "one", &other), 409, "key-reused");
    daemon.kill();
    let daemon = Daemon::start(&world, &[]);
    assert_eq!(opened(&daemon), id);
    assert_eq!(daemon.get("/v1/sessions")["items"].as_array().unwrap().len(), 1);
    let both: Vec<Value> = std::thread::scope(|scope| {
        let ask = || value(&daemon.keyed("/v1/sessions", "two", &order))["session_id"].clone();
        [scope.spawn(ask), scope.spawn(ask)].map(|asked| asked.join().unwrap()).to_vec()
    });
    assert!(both[0] == both[1] && both[0].is_string() && both[0] != id, "{both:?}");
}

#[test]
fn pause_resume_message_and_cancel_are_intents() {
    let world = World::new();
    let daemon = Daemon::start(&world, &[]);
    let slow = format!("[[turn]]\ndelay_ms = 300\ntext = \"slow\"\n{}", shell("true")).repeat(60);
    let id = daemon.open(&order(&world, &world.script("slow", &slow), json!({"ask": "never"})));
    daemon.reaches(&id, "running");
    let paused = daemon.wish(&id, json!("pause"));
    assert!(paused.status == 200 || paused.status == 202, "{paused:?}");
    daemon.reaches(&id, "paused");
    let resumed = daemon.wish(&id, json!({"resume": {}}));
    assert!(resumed.status == 200 || resumed.status == 202, "{resumed:?}");
    daemon.reaches(&id, "running");
    let said = daemon.wish(&id, json!({"message": {"text": "hurry up"}}));
    assert!(said.status == 200 || said.status == 202, "{said:?}");
    refused(&daemon.wish(&id, json!("initialise")), 422, "bad-field");
    refused(&daemon.wish(&id, json!({"rewind": {"to": "9.9"}})), 409, "no-savepoint");
    refused(&daemon.wish("00000000-0000-7000-8000-000000000009", json!("cancel")), 404, "no-session");
    refused(&daemon.wish("last", json!("cancel")), 400, "bad-request");
    let cancelled = daemon.wish(&id, json!("cancel"));
    assert!(cancelled.status == 200 || cancelled.status == 202, "{cancelled:?}");
    daemon.reaches(&id, "cancelled");
    refused(&daemon.wish(&id, json!({"message": {"text": "too late"}})), 409, "refused");
    let why = world.run(&["why", &id]).expect(0).out;
    assert!(why.contains("pause") && why.contains("resume") && why.contains("message"), "{why}");
}

#[test]
fn a_rewind_over_http_puts_the_workspace_back() {
    let world = World::new();
    let daemon = Daemon::start(&world, &[]);
    let slow = "[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n";
    let turns =
        format!("{}{}{slow}", crate::world::write("a.txt", "one"), call("ask", "question = \"Go on?\""));
    let id = daemon.open(&order(&world, &world.script("asks", &turns), json!({})));
    let asked = daemon.asks();
    assert_eq!((&asked["kind"], &asked["content"]), (&"question".into(), &"Go on?".into()));
    let shown = world.shown();
    let to = shown["savepoints"].as_array().unwrap().last().unwrap();
    let page = world.run(&["sessions", "show", &id]).expect(0).out;
    let root = page.lines().find_map(|line| line.strip_prefix("workspace  ")).unwrap().trim().to_owned();
    let file = std::path::Path::new(&root).join("a.txt");
    assert!(file.exists(), "{}", file.display());
    let told = daemon.wish(&id, json!({"rewind": {"to": to}}));
    assert!(told.status == 200 || told.status == 202, "{told:?}");
    let answered = daemon.wish(&id, json!({"answer": {"question": asked["id"], "text": "no"}}));
    assert_eq!((answered.status, &value(&answered)["taken"]), (200, &"applied".into()), "{answered:?}");
    until("the workspace is back", || !file.exists());
}

#[test]
fn terminals_reach_a_session_that_the_daemon_holds() {
    let world = World::unconfined();
    let daemon = Daemon::start(&world, &[]);
    let id = daemon.open(&order(&world, &world.script("out", &outside(&world)), json!({"ask": "external"})));
    let asked = daemon.asks();
    // One that runs elsewhere meanwhile is in nobody's way.
    world.run(&["run", "--no-land", "-m", &world.script("done", DONE), "say hello"]);
    let approved = world.run(&["approve", &id, asked["id"].as_str().unwrap()]).expect(0);
    assert!(!approved.out.contains("next: kapell resume"), "its holder goes on by itself: {}", approved.out);
    daemon.reaches(&id, "completed");
    assert_eq!(world.read("outside.log"), "once\n");
    let slow = world.script("slow", &format!("[[turn]]\ndelay_ms = 60000\ntext = \"slow\"\n{}", fixes()));
    let id = daemon.open(&order(&world, &slow, json!({})));
    daemon.reaches(&id, "running");
    assert!(world.run(&["cancel", &id]).expect(0).out.contains("is cancelled"));
    daemon.reaches(&id, "cancelled");
}

#[test]
fn a_background_command_is_stopped_over_http() {
    let world = World::new();
    let daemon = Daemon::start(&world, &[]);
    let turns = format!(
        "{}{}",
        call("shell", "command = 'while true; do sleep 0.05; done', background = true"),
        call("ask", "question = \"Go on?\"")
    );
    let id = daemon.open(&order(&world, &world.script("bg", &turns), json!({"ask": "never"})));
    daemon.asks();
    refused(&daemon.ask(&format!("DELETE /v1/sessions/{id}/jobs/j9"), &[], ""), 404, "no-job");
    let stopped = daemon.ask(&format!("DELETE /v1/sessions/{id}/jobs/j1"), &[], "");
    assert_eq!((stopped.status, &value(&stopped)["running"]), (200, &false.into()), "{stopped:?}");
    refused(&daemon.ask(&format!("DELETE /v1/sessions/{id}/jobs/j1"), &[], ""), 409, "job-ended");
}

#[test]
fn ended_or_killed_the_next_daemon_goes_on_with_what_was_under_way() {
    for kill in [false, true] {
        let world = World::unconfined();
        let mut daemon = Daemon::start(&world, &[]);
        let slow = format!("[[turn]]\ndelay_ms = 700\ntext = \"slow\"\n{}{}", shell("true"), fixes());
        let works = daemon.open(&order(&world, &world.script("slow", &slow), json!({"ask": "never"})));
        let waits =
            daemon.open(&order(&world, &world.script("out", &outside(&world)), json!({"ask": "external"})));
        let rests = daemon.open(&order(
            &world,
            &world.script("rest", &shell("true").repeat(90)),
            json!({"ask": "never"}),
        ));
        daemon.wish(&rests, json!("pause"));
        daemon.reaches(&rests, "paused");
        let mut asked = Value::Null;
        until("it asks", || {
            asked = daemon.get(&format!("/v1/approvals?session={waits}"))["items"]
                .get(0)
                .cloned()
                .unwrap_or_default();
            !asked.is_null()
        });
        daemon.reaches(&works, "running");
        if kill {
            daemon.kill();
        } else {
            assert_eq!(daemon.end(), Some(0));
        }
        let shown = world.run(&["sessions", "show", &works, "--json"]).expect(0).json();
        assert!(shown["state"] == "stopped" && shown["holder"].is_null(), "kill {kill}: {shown:#}");
        let daemon = Daemon::start(&world, &[]);
        daemon.reaches(&works, "completed");
        let held = daemon.get(&format!("/v1/sessions?name={waits}"))["items"][0]["holder"].take();
        assert!(held.is_string(), "what waits for a person waits here: kill {kill}");
        daemon.reaches(&rests, "paused");
        world.run(&["approve", &waits, asked["id"].as_str().unwrap()]).expect(0);
        until("the answer is enough", || world.read("outside.log") == "once\n");
    }
}

#[test]
fn a_daemon_that_ends_stops_what_runs() {
    let world = World::unconfined();
    let marker = world.path("pid");
    let turns = shell(&format!("echo $$ > {}; exec sleep 600", marker.display()));
    let mut daemon = Daemon::start(&world, &["--no-resume"]);
    let id = daemon.open(&order(&world, &world.script("sleeps", &turns), json!({"ask": "never"})));
    until("the command runs", || !world.read("pid").trim().is_empty());
    assert_eq!(daemon.end(), Some(0));
    let pid = world.read("pid").trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_err(), "nothing of it is left");
    let daemon = Daemon::start(&world, &["--no-resume"]);
    // Nobody knows what an external command did: that is asked, and nothing runs before.
    let row = daemon.get(&format!("/v1/sessions?name={id}"))["items"][0].take();
    assert_eq!((&row["state"], &row["holder"]), (&"waiting".into(), &Value::Null), "{row:#}");
}
