//! What is sent to addresses a person wrote down: webhooks, ntfy, OpenTelemetry, Sentry; and that nothing is without.
//!
//! Start at [`Collector`], a server on loopback that writes down what it is sent.

use crate::daemon::Daemon;
use crate::people::outside;
use crate::world::{DONE, UNCONFINED, World, call, finish, fixes, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// One request.
#[derive(Debug, Clone)]
struct Sent {
    path: String,
    head: String,
    body: Vec<u8>,
}

impl Sent {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value)
        });
        line.map(str::trim)
    }
}

/// A server that takes everything, after it has refused the first so many requests.
struct Collector {
    url: String,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Collector {
    fn start(status: &'static str, first: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sent);
        // Ends with the test's process; each test has one.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, seen) = (stream.unwrap(), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(request) = request(&mut reader) {
                        let mut all = seen.lock().unwrap();
                        let status = if all.len() < first { status } else { "200 OK" };
                        all.push(request);
                        drop(all);
                        let answer =
                            format!("HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, sent }
    }

    fn all(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    fn to(&self, path: &str) -> Vec<Sent> {
        self.all().into_iter().filter(|sent| sent.path == path).collect()
    }
}

fn request(reader: &mut impl BufRead) -> Option<Sent> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut sent = Sent { path: head.split(' ').nth(1)?.to_owned(), head, body: Vec::new() };
    let length = sent.header("content-length").map_or(0, |length| length.parse().unwrap());
    sent.body.resize(length, 0);
    reader.read_exact(&mut sent.body).ok()?;
    Some(sent)
}

/// A model that wants something done outside, which a person has to allow.
fn wants_outside(world: &World) -> String {
    world.script("out", &outside(world))
}

#[test]
fn a_call_that_waits_is_told_signed_once_and_without_its_content() {
    let (world, hook) = (World::new(), Collector::start("", 0));
    let text = format!(
        "{UNCONFINED}[notify.webhook]\nurl = \"{0}/hook\"\nsecret_env = \"HOOK_SECRET\"\n\
         [notify.ntfy]\nurl = \"{0}/\"\ntopic = \"me\"\ntoken_env = \"NTFY_TOKEN\"\non = [\"asked\"]\n",
        hook.url
    );
    world.write("kapell/config/config.toml", &text);
    let model = wants_outside(&world);
    let run = |args: &[&str], code| {
        let mut command = world.kapell(args);
        command.env("HOOK_SECRET", "sh-very-secret").env("NTFY_TOKEN", "tk-very-secret");
        finish(command, b"").expect(code)
    };
    run(&["run", "-m", &model, "make the test pass"], 8);
    let told = hook.to("/hook");
    assert_eq!(told.len(), 1, "{told:?}");
    let body = told[0].json();
    assert_eq!((&body["type"], &body["goal"]), (&json!("asked"), &json!("make the test pass")));
    assert_eq!(body["session_id"], world.shown()["session_id"]);
    assert!(body["what"].as_str().unwrap().contains("`shell`"), "{body}");
    let raw = String::from_utf8_lossy(&told[0].body).into_owned();
    assert!(!raw.contains("echo once") && !raw.contains("outside.log"), "{raw}");
    let signature = told[0].header("kapell-signature").unwrap();
    let seconds = signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()).unwrap();
    let at = contract::Timestamp(seconds.parse::<u64>().unwrap() * 1_000);
    assert_eq!(signature, telemetry::notice::signature(b"sh-very-secret", at, &told[0].body));
    let ntfy = hook.to("/");
    assert_eq!((ntfy.len(), ntfy[0].header("authorization")), (1, Some("Bearer tk-very-secret")));
    assert_eq!(ntfy[0].json()["topic"], "me");
    // The notice names what waits.
    let name = body["what"].as_str().unwrap().rsplit_once('(').unwrap().1.trim_end_matches(')').to_owned();
    run(&["approve", "last", &name], 0);
    run(&["resume", "last"], 0);
    let told = hook.to("/hook");
    assert_eq!(told.len(), 2, "the same is not told again: {told:?}");
    assert_eq!(told[1].json()["type"], "ended");
    assert_eq!(hook.to("/").len(), 1, "only what was wanted");
    // A clone cannot name an address, and a variable that is not set is a mistake.
    let ended = world.run(&["run", "-m", &model, "again"]).expect(2);
    assert!(ended.err.contains("HOOK_SECRET"), "{}", ended.err);
    world.write("repo/.kapell/config.toml", "[notify.webhook]\nurl = \"http://127.0.0.1:1\"\n");
    assert!(run(&["run", "-m", &model, "again"], 2).err.contains("notify"));
}

#[test]
fn what_is_not_taken_waits_for_the_next_process_under_the_same_id_and_no_redirect_is_followed() {
    let (world, hook) = (World::new(), Collector::start("503 Busy", 1));
    let config = format!("[notify.webhook]\nurl = \"{}/hook\"\non = [\"asked\"]\n", hook.url);
    world.write("kapell/config/config.toml", &config);
    let asks = format!("{}{DONE}", call("ask", "question = \"Which colour?\""));
    world.run(&["run", "-m", &world.script("asks", &asks), "make the test pass"]).expect(8);
    assert_eq!(hook.to("/hook").len(), 1);
    // Five seconds later it is due again: whoever runs by then tells it.
    let mut daemon = Daemon::start(&world, &[]);
    until("it is told again", || hook.to("/hook").len() == 2);
    assert_eq!(daemon.end(), Some(0));
    let told: Vec<Value> = hook.to("/hook").iter().map(Sent::json).collect();
    assert_eq!(told[0], told[1]);
    assert!(!told[0].to_string().contains("colour"), "the question stays here: {}", told[0]);
    let left = std::fs::read_dir(world.path("kapell/state/outbox")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| entry.path().extension().is_none_or(|end| end != "notice")));

    let (other, moved) = (World::new(), Collector::start("302 Found", 9));
    other.write("kapell/config/config.toml", &format!("[notify.webhook]\nurl = \"{}/hook\"\n", moved.url));
    other.run(&["run", "-m", &other.script("well", &fixes()), "make the test pass"]).expect(0);
    assert_eq!(moved.all().iter().map(|sent| sent.path.as_str()).collect::<Vec<_>>(), ["/hook"]);
}

/// The attribute of this name.
fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a Value> {
    let all = span["attributes"].as_array()?;
    let value = all.iter().find(|it| it["key"] == key)?["value"].as_object()?;
    value.values().next()
}

fn spans_of(document: &Value) -> Vec<Value> {
    document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

#[test]
fn a_session_becomes_spans_from_session_to_call_and_tells_no_text() {
    let (world, collector) = (World::new(), Collector::start("", 0));
    world.write("kapell/config/config.toml", &format!("[telemetry]\notlp = \"{}\"\n", collector.url));
    let model = world.script("well", &fixes());
    world.run(&["run", "-m", &model, "make the test pass please"]).expect(0);
    let sent: Vec<Value> =
        collector.to("/v1/traces").iter().flat_map(|sent| spans_of(&sent.json())).collect();
    let printed = spans_of(&world.run(&["trace", "last"]).expect(0).json());
    let ids = |spans: &[Value]| spans.iter().map(|it| it["spanId"].to_string()).collect::<BTreeSet<String>>();
    assert_eq!(ids(&sent), ids(&printed), "what is printed is what is sent");
    assert_eq!(ids(&sent).len(), sent.len(), "nothing twice");
    let id = world.shown()["session_id"].as_str().unwrap().replace('-', "");
    let named =
        |name: &str| sent.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}: {sent:#?}"));
    let (session, turn) = (named("invoke_agent code"), named("turn 1"));
    let tool = named("execute_tool write");
    let action = sent.iter().find(|it| it["spanId"] == tool["parentSpanId"]).unwrap();
    assert!(sent.iter().all(|it| it["traceId"] == id.as_str()));
    assert_eq!((action["name"].as_str(), &action["parentSpanId"]), (Some("tools"), &turn["spanId"]));
    assert_eq!((&turn["parentSpanId"], session.get("parentSpanId")), (&session["spanId"], None));
    assert!(id.ends_with(session["spanId"].as_str().unwrap()), "its id is ours");
    let chat = named("chat script");
    assert_eq!(attribute(chat, "gen_ai.operation.name"), Some(&json!("chat")));
    assert!(attribute(chat, "gen_ai.usage.input_tokens").is_some() && chat["kind"] == 3);
    assert_eq!(session["status"]["code"], 1);
    let nanos = |it: &Value, key: &str| it[key].as_str().unwrap().parse::<u64>().unwrap();
    for it in &sent {
        assert!(nanos(it, "startTimeUnixNano") <= nanos(it, "endTimeUnixNano"), "{it}");
    }
    let measures = collector.to("/v1/metrics");
    let last = measures.last().unwrap().json().to_string();
    for name in
        ["kapell_journal_commit_seconds", "gen_ai.client.operation.duration", "process_resident_memory_bytes"]
    {
        assert!(last.contains(&format!("\"{name}\"")), "{name}: {last}");
    }
    let all: String =
        collector.all().iter().map(|sent| String::from_utf8_lossy(&sent.body).into_owned()).collect();
    for text in ["please", "fixed.txt", "All done.", world.repo().to_str().unwrap()] {
        assert!(!all.contains(text), "`{text}` was sent");
    }
}

#[test]
fn a_child_hangs_on_the_action_that_delegated_and_only_the_roots_end_is_told() {
    let (world, collector) = (World::new(), Collector::start("", 0));
    let config =
        format!("[notify.webhook]\nurl = \"{0}/hook\"\n[telemetry]\notlp = \"{0}\"\n", collector.url);
    world.write("kapell/config/config.toml", &config);
    // Both play this file: in the child, delegating its own goal again is refused, and it writes the file itself.
    let calls = "[[turn]]\n[[turn.call]]\ntool = \"delegate\"\nargs = { goal = \"write the file\" }\n\
        [[turn.call]]\ntool = \"write\"\nargs = { path = \"fixed.txt\", content = \"fixed\" }\n";
    world
        .run(&["run", "-m", &world.script("family", &format!("{calls}{DONE}")), "make the test pass"])
        .expect(0);
    let sent: Vec<Value> =
        collector.to("/v1/traces").iter().flat_map(|sent| spans_of(&sent.json())).collect();
    let sessions: Vec<&Value> = sent.iter().filter(|it| it["name"] == "invoke_agent code").collect();
    assert_eq!(sessions.len(), 2, "{sent:#?}");
    assert!(sent.iter().all(|it| it["traceId"] == sent[0]["traceId"]), "one tree, one trace");
    let ids: BTreeSet<&str> = sent.iter().map(|it| it["spanId"].as_str().unwrap()).collect();
    let parents = sent.iter().filter_map(|it| it["parentSpanId"].as_str());
    let hung = parents.clone().filter(|parent| !ids.contains(parent)).count();
    assert_eq!(hung, 0, "every parent is there");
    assert_eq!(sessions.iter().filter(|it| it.get("parentSpanId").is_some()).count(), 1);
    let told: Vec<String> =
        collector.to("/hook").iter().map(|sent| sent.json()["type"].to_string()).collect();
    assert_eq!(told, ["\"ended\""]);
}

#[test]
fn a_failure_is_told_to_sentry_once_in_an_hour() {
    let (world, sentry) = (World::new(), Collector::start("", 0));
    let dsn = sentry.url.replace("http://", "http://publickey@") + "/5";
    world.write("kapell/config/config.toml", &format!("[telemetry]\nsentry = \"{dsn}\"\n"));
    let failing = "[[turn]]\nrepeat = 9\nerror = { kind = \"permanent\", code = \"broke\", what = \"it broke at 17 of `secret-name`\" }\n";
    assert_ne!(world.run(&["run", "-m", &world.script("one", failing), "break it"]).code, 0);
    let sent = sentry.to("/api/5/envelope/");
    assert_eq!(sent.len(), 1, "{:?}", sentry.all());
    let text = String::from_utf8(sent[0].body.clone()).unwrap();
    assert!(
        text.contains("\"broke\"") && text.contains("it broke at # of `…`") && !text.contains("secret-name"),
        "{text}"
    );
    assert!(sent[0].header("x-sentry-auth").unwrap().contains("sentry_key=publickey"));
}

#[test]
fn without_a_word_of_the_person_nothing_is_sent() {
    let (world, collector) = (World::new(), Collector::start("", 0));
    let mut command = world.kapell(&["run", "-m", &world.script("well", &fixes()), "make the test pass"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url);
    finish(command, b"").expect(0);
    assert!(collector.all().is_empty());
    assert!(!world.path("kapell/state/outbox").exists());
    world.write("kapell/config/config.toml", "[telemetry]\notlp = \"env\"\n");
    let mut command = world.kapell(&["run", "-m", &world.script("well", &fixes()), "make the test pass"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k1, y = 2");
    finish(command, b"").expect(0);
    let sent = collector.to("/v1/traces");
    assert_eq!((sent[0].header("x-key"), sent[0].header("y")), (Some("k1"), Some("2")));
}
