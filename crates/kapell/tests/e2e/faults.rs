//! A whole session under every fault a model's server can have: two tables to read.
//!
//! What a single call comes to, in every dialect, is in `crates/providers/tests/faults.rs`; here is what the session
//! makes of it. Start at [`ONCE`] and [`LASTING`]; a row that is wrong prints what was seen in its place.

use crate::world::{Ended, World, finish};
use fake::{Limits, Plan, Reply, Rule, Script, Server};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Tokens of all good replies of the script together.
const REPLIES: u64 = 4_250;
/// From here on, what a broken request cost can only be a bound.
const BOUND_TOKENS: u64 = 2_000;
/// Sessions at once: most of them wait for the server.
const LANES: usize = 6;
const KEY: &str = "sk-a-key-of-tests";
/// Longest time of one session.
const BOUND: Duration = Duration::from_secs(90);

/// The server breaks once, at the first request: the fault; how `kapell run` ends; what stands on record about it and
/// what followed; requests in all; and what the broken one cost: `part` = what was read and said, `bound` = the most it
/// can have been, where nobody told. Without a fault it is three requests.
#[rustfmt::skip]
const ONCE: &[[&str; 5]] = &[
    // fault           exit  on record                requests  cost
    ["429",            "0", "rate-limited retry",         "4", "nothing"],
    ["429-seconds",    "0", "rate-limited retry",         "4", "nothing"],
    ["429-date",       "0", "rate-limited retry",         "4", "nothing"],
    ["429-reset",      "0", "rate-limited retry",         "4", "nothing"],
    ["no-credit",      "8", "quota-exhausted ask",        "1", "nothing"],
    ["401",            "8", "key-refused ask",            "1", "nothing"],
    ["403",            "8", "key-refused ask",            "1", "nothing"],
    ["404",            "8", "model-unknown ask",          "1", "nothing"],
    ["400",            "1", "request-refused ask",        "1", "nothing"],
    ["500",            "0", "provider-unwell retry, waits", "4", "nothing"],
    ["502",            "0", "provider-unwell retry, waits", "4", "nothing"],
    ["503",            "0", "provider-unwell retry, waits", "4", "nothing"],
    ["504",            "0", "provider-unwell retry, waits", "4", "bound"],
    ["529",            "0", "provider-unwell retry, waits", "4", "nothing"],
    ["500-silent",     "0", "provider-unwell retry, waits", "4", "nothing"],
    ["502-silent",     "0", "provider-unwell retry, waits", "4", "nothing"],
    ["503-silent",     "0", "provider-unwell retry, waits", "4", "nothing"],
    ["504-silent",     "0", "provider-unwell retry, waits", "4", "bound"],
    ["529-silent",     "0", "provider-unwell retry, waits", "4", "nothing"],
    ["529-seconds",    "0", "provider-unwell retry, waits", "4", "nothing"],
    ["overflow",       "1", "context-full ask",           "1", "nothing"],
    ["hang-headers",   "0", "first-token-late retry",     "4", "bound"],
    ["hang-first",     "0", "first-token-late retry",     "4", "bound"],
    ["hang-middle",    "0", "stream-stalled retry",       "4", "part"],
    ["cut-first",      "0", "stream-cut retry",           "4", "bound"],
    ["cut-middle",     "0", "stream-cut retry",           "4", "part"],
    ["cut-event",      "0", "stream-cut retry",           "4", "part"],
    ["cut-character",  "0", "stream-cut retry",           "4", "bound"],
    ["end-early",      "0", "stream-cut retry",           "4", "part"],
    ["error-event",    "0", "provider-unwell retry, waits", "4", "part"],
    ["trickle",        "0", "-",                          "3", "nothing"],
    ["chopped",        "0", "-",                          "3", "nothing"],
    ["html",           "8", "not-a-stream ask",           "1", "bound"],
    ["not-a-stream",   "8", "not-a-stream ask",           "1", "bound"],
    ["gzip",           "0", "-",                          "3", "nothing"],
    ["redirect",       "8", "redirected ask",             "1", "nothing"],
    ["garbage",        "0", "connection-lost retry",      "4", "bound"],
    ["reset",          "0", "connection-lost retry",      "4", "bound"],
    ["long-line",      "1", "stream-line ask",            "1", "part"],
    ["repeat",         "0", "reply-repeats retry",        "4", "bound"],
    ["bad-arguments",  "0", "-",                          "3", "nothing"],
    ["same-ids",       "0", "-",                          "3", "nothing"],
    ["no-usage",       "0", "-",                          "3", "bound"],
    ["usage-lie",      "7", "-",                          "1", "bound, frozen"],
    ["refusal",        "8", "-",                          "1", "part"],
    ["empty",          "0", "-",                          "4", "part"],
    ["max-tokens",     "0", "-",                          "3", "nothing"],
];

/// The server breaks for good: the fault; how `kapell run` ends; the record; and a part of what the person is told.
#[rustfmt::skip]
const LASTING: &[[&str; 4]] = &[
    ["429-seconds",  "75", "rate-limited retry, waits",              "not waiting for the limit"],
    ["429-hour",     "124", "rate-limited retry, waits",             "kapell resume"],
    ["529",          "75", "provider-unwell retry, waits",           "kapell resume"],
    ["504",          "1", "provider-unwell retry, waits, provider-unwell retry, waits, provider-unwell ask", "kapell resume"],
    ["error-event",  "1", "provider-unwell retry, waits, provider-unwell retry, waits, provider-unwell ask", "kapell resume"],
    ["hang-headers", "1", "first-token-late retry, first-token-late ask",  "a slow model wants longer timeouts"],
    ["cut-middle",   "1", "stream-cut retry, stream-cut ask",              "what was said so far"],
    ["reset",        "1", "connection-lost retry, connection-lost ask",    "is the network there?"],
    ["refused",      "75", "connection-refused retry, waits",      "nobody answers for fake"],
    ["tls",          "8", "tls-failed ask",                                "ca_file"],
    ["empty",        "3", "-",                                             "REFUTED"],
];

/// Told by its own test: nobody waits an hour for the second request.
const LONG: &str = "429-hour";
/// What each try of may be billed: it is waited for, but not for ever.
const BILLED: [&str; 2] = ["504", "error-event"];

fn script() -> Script {
    let write = json!({"path": "fixed.txt", "content": "fixed\n"});
    let wrote = |text: &str| Reply::text(text).and_call("write", &write).costs(1_000, 100);
    let finish = Reply::call("finish", &json!({"status": "done", "summary": "All done."})).costs(2_000, 50);
    Script::new(vec![wrote("Schön – ich schreibe es jetzt."), wrote("Noch einmal."), finish])
}

fn server(rules: Vec<Rule>, limits: Limits) -> Server {
    Server::start(Plan { script: script(), rules, limits, latency_ms: 0 }).unwrap()
}

/// A world whose model `fake/one` is at this address; a token costs a thousand nano-dollars.
fn world(url: &str, more: &str) -> World {
    let world = World::new();
    let text = format!(
        "[providers.fake]\ndialect = \"anthropic\"\nbase_url = \"{url}\"\nkey_env = \"FAKE_API_KEY\"\n{more}\n\
         [providers.fake.models.one]\ncontext = 100_000\noutput = 2_000\nprice = {{ input = 1, output = 1 }}\n"
    );
    world.write("kapell/config/config.toml", &text);
    world
}

fn run(world: &World, more: &[&str]) -> Ended {
    let args = ["run", "-m", "fake/one", "--max-budget-usd", "2", "make the test pass", "--json"];
    let mut command = world.kapell(&[&args, more].concat());
    command.env("FAKE_API_KEY", KEY);
    finish(command, b"")
}

/// What stands on record about failures, waits and overshoots, in the order of their happening.
fn record(world: &World) -> String {
    let events = world.run(&["events", "last"]).expect(0).lines();
    let told = |record: &Value| {
        let (kind, event) = record["event"].as_object()?.iter().next()?;
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "failed" => Some(format!("{} {}", text("signature").trim_start_matches("model/"), text("then"))),
            // Which of several limits lasts longest is a matter of milliseconds.
            "waits" => Some("waits".to_owned()),
            _ => None,
        }
    };
    let mut told: Vec<String> = events.iter().filter_map(told).collect();
    told.dedup();
    if told.is_empty() { "-".to_owned() } else { told.join(", ") }
}

/// Tokens of the session, as its ledger has them.
fn tokens(world: &World) -> (u64, bool) {
    let cost = world.run(&["cost", "last", "--json"]).expect(0).json();
    assert_eq!(cost["total"]["held"]["nanos"].as_u64().unwrap_or(0), 0, "nothing is held any more: {cost}");
    let settled = |unit: &str| cost["total"]["settled"][unit].as_u64().unwrap_or(0);
    assert_eq!(settled("nanos"), settled("tokens") * 1000, "{cost}");
    (settled("tokens"), cost["frozen"] == true)
}

fn timeouts(fault: &str) -> &'static str {
    if fault.starts_with("hang") { "timeouts = { first = \"1500ms\", between = \"1500ms\" }" } else { "" }
}

fn once(name: &str) -> [String; 5] {
    let server = server(vec![Rule::parse(&format!("{name}@1")).unwrap()], Limits::default());
    let world = world(&server.url(), timeouts(name));
    let began = Instant::now();
    let ended = run(&world, &[]);
    assert!(began.elapsed() < BOUND, "{name}: {:?}", began.elapsed());
    let asked = server.asked();
    assert!(asked.iter().all(|seen| seen.key == KEY), "{name}");
    if let (Some(told), [first, second, ..]) = (told_to_wait(name), asked.as_slice()) {
        assert!(
            second.at_ms >= first.at_ms + told,
            "{name}: asked again after {} ms",
            second.at_ms - first.at_ms
        );
    }
    if matches!(ended.code, 0) {
        assert_eq!(world.read("repo/fixed.txt"), "fixed\n", "{name}");
    } else {
        assert!(ended.out.contains("kapell "), "{name}: what to type next\n{}", ended.out);
    }
    // Each good answer costs what it says; what was refused before it began, nothing.
    let good: u64 = asked.iter().skip(usize::from(ended.code != 0 || asked.len() > 3)).map(cost_of).sum();
    let good = if asked.len() == 3 { REPLIES } else { good };
    let (tokens, frozen) = tokens(&world);
    let cost = match tokens.checked_sub(good) {
        Some(0) => "nothing",
        Some(1..BOUND_TOKENS) => "part",
        Some(_) => "bound",
        None => "less than was said",
    };
    let cost = if frozen { format!("{cost}, frozen") } else { cost.to_owned() };
    [name.to_owned(), ended.code.to_string(), record(&world), asked.len().to_string(), cost]
}

/// What the script's reply to this request costs.
fn cost_of(seen: &fake::Seen) -> u64 {
    script().reply(seen.turn).usage.map_or(0, |usage| usage.input + usage.output)
}

/// Milliseconds that the first answer asks for.
fn told_to_wait(name: &str) -> Option<u64> {
    match name {
        "429-seconds" | "529-seconds" => Some(1_000),
        // Two seconds from a moment whose fraction is not written.
        "429-date" => Some(1_000),
        _ => None,
    }
}

fn lasting(name: &str) -> [String; 4] {
    let known = Rule::parse(name).into_iter().collect();
    let server = server(known, Limits::default());
    let url = match name {
        "refused" => fake::refused().unwrap(),
        "tls" => server.tls_url(),
        _ => server.url(),
    };
    let world = world(&url, timeouts(name));
    // An hour is waited for until somebody's patience ends; everything else says that it would wait.
    let more: &[&str] = match name {
        LONG => &["--timeout", "3s"],
        _ if BILLED.contains(&name) => &["--timeout", "80s"],
        _ => &["--timeout", "80s", "--no-wait"],
    };
    let ended = run(&world, more);
    [name.to_owned(), ended.code.to_string(), record(&world), ended.err + &ended.out]
}

/// Every one of these, some at once.
fn lanes<T: Send, R: Send>(work: Vec<T>, run: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (work, done) = (Mutex::new(VecDeque::from(work)), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(one) = { work.lock().unwrap().pop_front() } {
                    let result = run(one);
                    done.lock().unwrap().push(result);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

#[test]
fn a_server_that_breaks_once() {
    let mut wrong = Vec::new();
    for (row, seen) in lanes(ONCE.to_vec(), |row| (row, once(row[0]))) {
        if row[..] != seen[..] {
            wrong.push(format!("    said {row:?}\n    seen {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_server_that_is_broken() {
    let mut wrong = Vec::new();
    for (row, seen) in lanes(LASTING.to_vec(), |row| (row, lasting(row[0]))) {
        if row[..3] != seen[..3] || !seen[3].contains(row[3]) {
            wrong.push(format!("    said {row:?}\n    seen {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_fault_is_left_out() {
    let named = |name: &str| name == LONG || ONCE.iter().any(|row| row[0] == name);
    let left: Vec<&str> =
        fake::fault::TABLE.iter().map(|(name, ..)| *name).filter(|name| !named(name)).collect();
    assert!(left.is_empty(), "{left:?}");
}
