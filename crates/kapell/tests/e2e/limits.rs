//! A provider's limits through the binary: kept by processes together, waited for in sight, given way to by a chain.
//!
//! Thirty processes at once: `cargo xtask bench limits`. Start at [`processes_on_one_key_keep_its_limits`].

use crate::world::{Running, World, finish, until};
use fake::{Limits, Plan, Reply, Rule, Script, Seen, Server};
use rustix::process::Signal;
use serde_json::{Value, json};

const KEY: &str = "sk-a-key-of-limits";

/// Some files, one with each reply, and then the end.
fn script(calls: usize) -> Script {
    let write = |n: usize| {
        let name = if n == 0 { "fixed.txt".to_owned() } else { format!("file{n}.txt") };
        let args = json!({"path": name, "content": "fixed\n"});
        Reply::text("I write.").and_call("write", &args).costs(1_000, 100)
    };
    let mut replies: Vec<Reply> = (0..calls - 1).map(write).collect();
    replies.push(Reply::call("finish", &json!({"status": "done", "summary": "All done."})).costs(1_000, 50));
    Script::new(replies)
}

fn server(calls: usize, rules: &[&str], limits: Limits) -> Server {
    let rules = rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect();
    Server::start(Plan { script: script(calls), rules, limits, latency_ms: 0 }).unwrap()
}

/// A provider of this name with one model `m`, at so many dollars for a million tokens given and said.
fn provider(name: &str, server: &Server, price: (u32, u32), rates: &str) -> String {
    format!(
        "[providers.{name}]\ndialect = \"anthropic\"\nbase_url = \"{}\"\nkey_env = \"LIMITS_API_KEY\"\n{rates}\n\
         [providers.{name}.models.m]\ncontext = 100_000\noutput = 2_000\nprice = {{ input = {}, output = {} }}\n",
        server.url(),
        price.0,
        price.1
    )
}

fn start(world: &World, args: &[&str]) -> Running {
    world.start_with(args, &[("LIMITS_API_KEY", KEY)])
}

/// The events of this kind of the newest session.
fn events(world: &World, kind: &str) -> Vec<Value> {
    let events = world.run(&["events", "last"]).expect(0).lines();
    events.iter().map(|record| record["event"][kind].clone()).filter(|event| !event.is_null()).collect()
}

#[test]
fn processes_on_one_key_keep_its_limits() {
    let limits = Limits { requests_per_minute: 600, window: (6, 3_000), ..Limits::default() };
    let (world, server) = (World::new(), server(4, &[], limits));
    let rates = "requests_per_minute = 600\nwindow = { requests = 6, within = \"3s\" }\n";
    world.write("kapell/config/config.toml", &provider("ours", &server, (1, 1), rates));
    let goal = |n: usize| format!("make the test pass, number {n};");
    let run =
        |n: usize| start(&world, &["run", "-m", "ours/m", "--no-land", "--max-budget-usd", "2", &goal(n)]);
    let running: Vec<Running> = (0..5).map(run).collect();
    running.into_iter().for_each(|one| drop(one.end().expect(0)));
    let asked = server.asked();
    let refused: Vec<&Seen> = asked.iter().filter(|seen| seen.status == 429).collect();
    assert!(asked.len() >= 20 && refused.len() <= 1, "{} of {} refused", refused.len(), asked.len());
    for seen in refused {
        let number = (0..5).find(|n| seen.body.contains(&goal(*n))).unwrap();
        let early = |other: &&Seen| {
            let after = other.at_ms > seen.at_ms && Some(other.at_ms) < seen.retry_at_ms;
            after && other.body.contains(&goal(number))
        };
        assert_eq!(asked.iter().filter(early).count(), 0, "who is told to wait, waits");
    }
}

#[test]
fn a_wait_is_seen_outlives_a_kill_and_is_cancelled_at_once() {
    let (world, server) = (World::new(), server(2, &["429-hour"], Limits::default()));
    world.write("kapell/config/config.toml", &provider("ours", &server, (1, 1), ""));
    let first = start(&world, &["run", "-m", "ours/m", "--max-budget-usd", "2", "make the test pass"]);
    let waits = |shown: &Value| shown["state"] == "waiting" && shown["waits"]["for"] == "limit";
    let shown = world.wait("it waits for the limit", waits);
    let moment = shown["waits"]["until"].clone();
    assert!(moment.is_string(), "{shown}");
    first.signal(Signal::KILL);
    first.end();
    let still = world.shown();
    assert_eq!((&still["waits"]["until"], &still["waits"]["for"]), (&moment, &json!("limit")), "{still}");

    let second = start(&world, &["resume", "last"]);
    until("it is held again", || world.shown()["holder"].is_string());
    let shown = world.wait("it waits for the limit", waits);
    assert_eq!(shown["waits"]["until"], moment, "the same moment as before");
    let why = world.run(&["why", "last"]).expect(0).out;
    assert!(why.contains("waits until"), "{why}");
    assert!(world.run(&["sessions"]).expect(0).out.contains("waiting"));
    let cancelled = world.run(&["cancel", "last"]).expect(0);
    assert!(cancelled.out.contains("is cancelled"), "{}", cancelled.out);
    second.end();
    assert_eq!(world.shown()["state"], "cancelled");
    assert_eq!(server.asked().len(), 1, "nobody asked again");
}

#[test]
fn a_provider_that_stays_down_gives_way_to_the_next_of_the_chain() {
    let (world, down, well) =
        (World::new(), server(2, &["529"], Limits::default()), server(2, &[], Limits::default()));
    let both = provider("ours", &down, (1, 1), "") + &provider("other", &well, (3, 15), "");
    world.write("kapell/config/config.toml", &both);
    let args =
        ["run", "-m", "ours/m", "--fallback-model", "other/m", "--max-budget-usd", "2", "make the test pass"];
    start(&world, &args).end().expect(0);
    assert_eq!(world.read("repo/fixed.txt"), "fixed\n");
    let fell = events(&world, "fell-back");
    assert_eq!(fell.len(), 1, "{fell:?}");
    assert_eq!(fell[0]["to"]["id"], "other/m");
    let dearer = json!({"input": 2_000_000_000_u64, "output": 14_000_000_000_u64});
    assert_eq!(fell[0]["dearer"], dearer, "{fell:?}");
    assert_eq!((down.asked().len(), well.asked().len()), (3, 2));
    assert_eq!(world.shown()["model"], "other/m");
}

#[test]
fn a_chain_in_the_configuration_is_followed_where_a_limit_lasts_and_without_one_nothing_changes_the_model() {
    let (world, full, well) =
        (World::new(), server(2, &["429-hour"], Limits::default()), server(2, &[], Limits::default()));
    let both = provider("ours", &full, (1, 1), "") + &provider("other", &well, (3, 15), "");
    world.write("kapell/config/config.toml", &both);
    let args = ["run", "-m", "ours/m", "--max-budget-usd", "2", "--no-wait", "make the test pass"];
    let ended = start(&world, &args).end().expect(75);
    assert!(ended.err.contains("kapell resume"), "{}", ended.err);
    assert!(events(&world, "fell-back").is_empty() && well.asked().is_empty());

    world.write("kapell/config/config.toml", &format!("fallback = [\"other/m\"]\n{both}"));
    start(&world, &args).end().expect(0);
    assert_eq!(events(&world, "fell-back").len(), 1);
    assert_eq!(full.asked().len(), 1, "the key is known to be used up: it is not asked again");
}

#[test]
fn a_person_who_knows_better_has_a_provider_tried_now() {
    let (world, server) = (World::new(), server(2, &["429-hour@1"], Limits::default()));
    world.write("kapell/config/config.toml", &provider("ours", &server, (1, 1), ""));
    let models = |args: &[&str]| {
        let mut command = world.kapell(&[&["models"], args].concat());
        command.env("LIMITS_API_KEY", KEY);
        finish(command, b"").expect(0)
    };
    let fresh = models(&["--retry", "ours"]);
    assert!(fresh.out.contains("nobody has called it with this key yet"), "{}", fresh.out);
    let first = start(&world, &["run", "-m", "ours/m", "--max-budget-usd", "2", "make the test pass"]);
    world.wait("it waits for the limit", |shown| shown["waits"]["for"] == "limit");
    let listed = models(&["ours"]);
    assert!(listed.out.contains("calls wait until") && listed.out.contains("--retry ours"), "{}", listed.out);
    let retried = models(&["--retry", "ours"]);
    assert!(retried.out.contains("ours: lifted: ") && retried.out.contains("1 session"), "{}", retried.out);
    first.end().expect(0);
    assert_eq!((server.asked().len(), world.read("repo/fixed.txt").as_str()), (3, "fixed\n"));
    assert!(events(&world, "waits").iter().any(|event| event["why"] == "lifted"));
    let listed = models(&["ours"]);
    assert!(!listed.out.contains("calls wait"), "{}", listed.out);
    let mistyped = world.run(&["models", "--retry", "our"]).expect(2);
    assert!(mistyped.err.contains("did you mean `ours`?"), "{}", mistyped.err);
}

#[test]
fn a_project_has_no_more_calls_at_once_than_it_may_whatever_keys_it_uses() {
    let limits = Limits { concurrent: 2, ..Limits::default() };
    let plan = Plan { script: script(3), rules: Vec::new(), limits, latency_ms: 400 };
    let (world, server) = (World::new(), Server::start(plan).unwrap());
    // For Kapell these are two keys, each of which allows anything; for the server they are one.
    let both = provider("ours", &server, (1, 1), "") + &provider("other", &server, (1, 1), "");
    world.write("kapell/config/config.toml", &format!("[budget]\ncalls_at_once = 2\n{both}"));
    let run = |n: usize| {
        let model = if n.is_multiple_of(2) { "ours/m" } else { "other/m" };
        let goal = format!("make the test pass, number {n};");
        start(&world, &["run", "-m", model, "--no-land", "--max-budget-usd", "2", &goal])
    };
    let running: Vec<Running> = (0..6).map(run).collect();
    running.into_iter().for_each(|one| drop(one.end().expect(0)));
    let asked = server.asked();
    let refused = asked.iter().filter(|seen| seen.status == 429).count();
    assert_eq!((asked.len(), refused), (18, 0));
}

#[test]
fn of_two_processes_one_tries_a_provider_that_failed_and_the_other_waits_for_it() {
    const OPEN_MS: u64 = 6_000;
    const LATENCY_MS: u64 = 1_500;
    let rules = vec![Rule::parse("529@1-2").unwrap()];
    let plan = Plan { script: script(2), rules, limits: Limits::default(), latency_ms: LATENCY_MS };
    let (world, server) = (World::new(), Server::start(plan).unwrap());
    let breaker = "breaker = { failures = 2, open = \"6s\", probes = 2 }";
    world.write("kapell/config/config.toml", &provider("ours", &server, (1, 1), breaker));
    let run = |n: usize| {
        let goal = format!("make the test pass, number {n};");
        start(&world, &["run", "-m", "ours/m", "--no-land", "--max-budget-usd", "2", &goal])
    };
    let running: Vec<Running> = (0..2).map(run).collect();
    let shown = || {
        let mut command = world.kapell(&["models", "ours", "--json"]);
        command.env("LIMITS_API_KEY", KEY);
        finish(command, b"").expect(0).json()["providers"][0]["breaker"].clone()
    };
    until("the breaker is open", || shown()["state"] == "open");
    let mut command = world.kapell(&["models", "ours"]);
    command.env("LIMITS_API_KEY", KEY);
    let told = finish(command, b"").expect(0).out;
    assert!(told.contains("breaker open until"), "{told}");
    until("one of them tries it", || shown()["state"] == "half-open" && shown()["probe"].is_string());
    running.into_iter().for_each(|one| drop(one.end().expect(0)));
    assert_eq!(shown(), json!({"state": "closed"}));
    let asked = server.asked();
    assert_eq!(asked.len(), 6, "{asked:?}");
    let at: Vec<u64> = asked.iter().map(|seen| seen.at_ms).collect();
    assert!(at[2] >= at[1] + OPEN_MS, "nobody tries it before: {at:?}");
    // Two probes, each alone from its beginning to its end, though both processes wait.
    assert!(at[3] >= at[2] + LATENCY_MS && at[4] >= at[3] + LATENCY_MS, "{at:?}");
    let tried: Vec<bool> = (0..2).map(|n| asked[2].body.contains(&format!("number {n};"))).collect();
    assert_eq!(tried.iter().filter(|tried| **tried).count(), 1);
}
