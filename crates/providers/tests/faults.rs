//! What a call comes to under every fault there is, in every dialect: a table to read.
//!
//! The server is `fake`, over real sockets of loopback. What a session makes of these ends is told by the tests of the
//! binary. Start at [`ROWS`]; a row that is wrong prints what was seen in its place.

use contract::model::{Broken, Message, Models, Reply, Request, ToolSpec};
use contract::port::{Delta, Sink};
use contract::{Cancel, Kind};
use fake::dialect::{ALL, Dialect};
use fake::{Fault, Plan, Rule, Script, Seen, Server, fault::LONG_LINE};
use providers::Registry;
use providers::settings::{self, Declared, Settings};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tokens of a reply.
const TOKENS: u64 = 300;
/// Tokens the server says it was given.
const INPUT: u64 = 70;
/// How long silence is borne where there will be nothing else.
const HANG_MS: u64 = 1_500;
/// Longest time of one call.
const BOUND: Duration = Duration::from_secs(60);

/// The fault; how the call ended (kind and code, or how the reply stopped); when to come back; what it cost, where
/// `most` is a bound on what nobody told; and what is left of the text.
#[rustfmt::skip]
const ROWS: &[[&str; 5]] = &[
    // fault            ended                                   again     cost      text
    ["429",             "rate-limited rate-limited",            "-",      "nothing", "-"],
    ["429-seconds",     "rate-limited rate-limited",            "1 s",    "nothing", "-"],
    ["429-date",        "rate-limited rate-limited",            "2 s",    "nothing", "-"],
    ["429-hour",        "rate-limited rate-limited",            "3600 s", "nothing", "-"],
    ["no-credit",       "user-fixable quota-exhausted",         "-",      "nothing", "-"],
    ["401",             "user-fixable key-refused",             "-",      "nothing", "-"],
    ["403",             "user-fixable key-refused",             "-",      "nothing", "-"],
    ["404",             "user-fixable model-unknown",           "-",      "nothing", "-"],
    ["400",             "permanent request-refused",            "-",      "nothing", "-"],
    ["500",             "degraded provider-unwell",             "-",      "nothing", "-"],
    ["502",             "degraded provider-unwell",             "-",      "nothing", "-"],
    ["503",             "degraded provider-unwell",             "-",      "nothing", "-"],
    ["504",             "degraded provider-unwell",             "-",      "unknown", "-"],
    ["529",             "degraded provider-unwell",             "-",      "nothing", "-"],
    ["500-silent",      "degraded provider-unwell",             "-",      "nothing", "-"],
    ["502-silent",      "degraded provider-unwell",             "-",      "nothing", "-"],
    ["503-silent",      "degraded provider-unwell",             "-",      "nothing", "-"],
    ["504-silent",      "degraded provider-unwell",             "-",      "unknown", "-"],
    ["529-silent",      "degraded provider-unwell",             "-",      "nothing", "-"],
    ["529-seconds",     "degraded provider-unwell",             "1 s",    "nothing", "-"],
    ["overflow",        "permanent context-full",               "-",      "nothing", "-"],
    ["hang-headers",    "transient first-token-late",           "-",      "unknown", "-"],
    ["hang-first",      "transient first-token-late",           "-",      "most",    "-"],
    ["hang-middle",     "transient stream-stalled",             "-",      "most",    "part"],
    ["cut-first",       "transient stream-cut",                 "-",      "most",    "-"],
    ["cut-middle",      "transient stream-cut",                 "-",      "most",    "part"],
    ["cut-event",       "transient stream-cut",                 "-",      "most",    "part"],
    ["cut-character",   "transient stream-cut",                 "-",      "most",    "-"],
    ["end-early",       "transient stream-cut",                 "-",      "most",    "part"],
    ["error-event",     "degraded provider-unwell",             "-",      "most",    "part"],
    ["trickle",         "reply tool-use",                       "-",      "told",    "all"],
    ["chopped",         "reply tool-use",                       "-",      "told",    "all"],
    ["html",            "user-fixable not-a-stream",            "-",      "most",    "-"],
    ["not-a-stream",    "user-fixable not-a-stream",            "-",      "most",    "-"],
    ["gzip",            "reply tool-use",                       "-",      "told",    "all"],
    ["redirect",        "user-fixable redirected",              "-",      "nothing", "-"],
    ["garbage",         "transient connection-lost",            "-",      "unknown", "-"],
    ["reset",           "transient connection-lost",            "-",      "unknown", "-"],
    ["long-line",       "permanent stream-line    ",            "-",      "most",    "part"],
    ["repeat",          "transient reply-repeats",              "-",      "most",    "part"],
    ["bad-arguments",   "reply tool-use",                       "-",      "told",    "all"],
    ["same-ids",        "reply tool-use",                       "-",      "told",    "all"],
    ["no-usage",        "reply tool-use",                       "-",      "most",    "all"],
    ["usage-lie",       "reply tool-use",                       "-",      "told",    "all"],
    ["refusal",         "reply refusal",                        "-",      "told",    "part"],
    ["empty",           "reply end-turn",                       "-",      "told",    "-"],
    ["max-tokens",      "reply max-tokens",                     "-",      "told",    "all"],
    ["refused",         "transient connection-refused",         "-",      "nothing", "-"],
    ["tls",             "user-fixable tls-failed",              "-",      "nothing", "-"],
];

/// What a dialect does otherwise, and why.
#[rustfmt::skip]
const BUT: &[(Dialect, [&str; 5], &str)] = &[
    (Dialect::Gemini, ["no-credit", "rate-limited rate-limited", "-", "nothing", "-"],
        "the vendor has one word for an empty account and for a full minute"),
];

/// Ways to fail that are no answer of the server.
const OUTSIDE: [&str; 2] = ["refused", "tls"];
/// Told by headers that not every dialect has; looked at on its own.
const BY_HEADER: &str = "429-reset";

struct Nobody;

impl Sink for Nobody {
    fn delta(&self, delta: Delta) {
        drop(delta);
    }
}

fn script() -> Script {
    let said = fake::Reply::text("Schön – ich sehe mir jetzt alles genau an.");
    Script::new(vec![said.and_call("list", &json!({"path": "."})).costs(INPUT, 9)])
}

/// Every fault at a path of its own, so that one server does for all.
fn server() -> Server {
    let rule =
        |(name, fault, _): &(&str, Fault, &str)| Rule { path: format!("/{name}/"), ..Rule::always(*fault) };
    let rules = fake::fault::TABLE.iter().map(rule).collect();
    Server::start(Plan { script: script(), rules, ..Plan::default() }).unwrap()
}

async fn call(dialect: Dialect, name: &str, url: &str) -> Result<Reply, Broken> {
    let hang = name.starts_with("hang").then_some(HANG_MS);
    let own = Declared {
        dialect: settings::Dialect::named(dialect.name()),
        base_url: Some(url.to_owned()),
        key_env: Some("KEY".to_owned()),
        first_ms: hang,
        between_ms: hang,
        ..Declared::default()
    };
    let declared = BTreeMap::from([("fake".to_owned(), own)]);
    let settings = Settings::new(declared, |name| (name == "KEY").then(|| "secret-key".to_owned())).unwrap();
    let registry = Registry::new(settings, Box::new(|_, _, _| None));
    let (_, model) = registry.open("fake/one", Path::new(".")).unwrap();
    let request = Request {
        model: "fake/one".into(),
        system: "Be brief.".into(),
        messages: vec![Message::User { text: "Look around.".into() }],
        tools: vec![ToolSpec {
            name: "list".into(),
            description: "Lists.".into(),
            schema: json!({"type": "object"}),
        }],
        max_tokens: TOKENS,
        ordinal: 0,
        key: "session/1".into(),
    };
    model.respond(request, Cancel::new(), &Nobody).await
}

/// A call's end in the words of the table.
fn words(name: &str, done: &Result<Reply, Broken>) -> [String; 5] {
    let whole = script().reply(0).text;
    let (ended, again, usage, text) = match done {
        Ok(reply) => {
            let stop = serde_json::to_value(reply.stop).unwrap();
            (format!("reply {}", stop.as_str().unwrap()), None, Some(reply.usage), &reply.text)
        }
        Err(broken) => {
            let fault = &broken.fault;
            let kind = match fault.kind {
                Kind::Transient => "transient",
                Kind::RateLimited => "rate-limited",
                Kind::Degraded => "degraded",
                Kind::UserFixable => "user-fixable",
                Kind::Permanent => "permanent",
            };
            assert!(!fault.what.is_empty() && !fault.what.contains("secret-key"), "{name}: {fault}");
            (format!("{kind} {}", fault.code), fault.retry_after_ms, broken.usage, &broken.text)
        }
    };
    let cost = match usage {
        None => "unknown",
        Some(usage) if usage.total() == 0 => "nothing",
        Some(usage) if usage.estimated => {
            // It bounds what the server says it took in; and no reply is longer than was asked for, unless it was.
            let longer = name == "repeat";
            assert!(usage.given() >= INPUT && (longer || usage.output <= TOKENS), "{name}: {usage:?}");
            "most"
        }
        Some(_) => "told",
    };
    // A date is whole seconds, and some of the time is over.
    let again = again.map_or("-".to_owned(), |ms| format!("{} s", ms.div_ceil(1000)));
    let text = match text {
        text if text.is_empty() => "-",
        text if *text == whole => "all",
        _ => "part",
    };
    [name.to_owned(), ended, again, cost.to_owned(), text.to_owned()]
}

fn line(row: &[impl AsRef<str>; 5]) -> String {
    let [name, ended, again, cost, text] = row.each_ref().map(AsRef::as_ref);
    format!("{name:15} {ended:38} {again:8} {cost:8} {text}")
}

/// Every row in every dialect; those that end by the clock when nothing else keeps the machine busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_ends_as_the_table_says() {
    let server = Arc::new(server());
    let (hangs, others): (Vec<_>, Vec<_>) = ROWS.iter().partition(|row| row[0].starts_with("hang"));
    let mut wrong = at_once(&server, others).await;
    wrong.extend(at_once(&server, hangs).await);
    wrong.sort();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    after(&server);
}

/// These rows in every dialect, all at once; what is not as the table says.
async fn at_once(server: &Arc<Server>, rows: Vec<&'static [&'static str; 5]>) -> Vec<String> {
    let mut calls = tokio::task::JoinSet::new();
    for dialect in ALL {
        for row in rows.iter().copied() {
            let server = Arc::clone(server);
            calls.spawn(async move {
                let url = match row[0] {
                    "refused" => fake::refused().unwrap(),
                    "tls" => server.tls_url(),
                    name => format!("{}/{name}", server.url()),
                };
                let began = Instant::now();
                let done = call(dialect, row[0], &url).await;
                assert!(began.elapsed() < BOUND, "{}: {:?}", row[0], began.elapsed());
                (dialect, row, words(row[0], &done))
            });
        }
    }
    let mut wrong = Vec::new();
    for (dialect, row, seen) in calls.join_all().await {
        let own = BUT
            .iter()
            .find(|(other, but, _)| *other == dialect && but[0] == row[0])
            .map_or(row, |(_, but, _)| but);
        if line(own) != line(&seen) {
            wrong.push(format!("{:17} {}\n{:17} {}", dialect.name(), line(own), "  but was", line(&seen)));
        }
    }
    wrong
}

/// What the server saw: every call once, nobody at another place, and nobody who stays where nothing comes.
fn after(server: &Server) {
    let rows = ROWS.iter().filter(|row| !OUTSIDE.contains(&row[0]));
    let count = |name: &str| {
        let at = format!("/{name}/");
        server.asked().into_iter().filter(|seen| seen.path.starts_with(&at)).collect::<Vec<Seen>>()
    };
    for row in rows {
        assert_eq!(count(row[0]).len(), ALL.len(), "{}: nothing is tried twice down here", row[0]);
    }
    assert!(server.seen().iter().all(|seen| !seen.path.starts_with("/elsewhere")), "no redirect is followed");
    assert!(server.asked().iter().all(|seen| seen.key == "secret-key"), "the key comes with every call");
    for name in ["hang-headers", "hang-first", "hang-middle", "long-line", "repeat"] {
        until(&format!("{name}: the connection is let go"), || count(name).iter().all(|seen| seen.over));
        assert!(count(name).iter().all(|seen| seen.cancelled), "{name}");
        // What is in the buffers of both sides has been sent, but no more.
        assert!(count(name).iter().all(|seen| seen.sent < LONG_LINE as u64), "{name}");
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < BOUND, "waited too long: {what}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn headers_about_limits_say_when_to_come_back() {
    let server = server();
    for dialect in [Dialect::Anthropic, Dialect::Chat, Dialect::Responses] {
        let broken = call(dialect, BY_HEADER, &format!("{}/{BY_HEADER}", server.url())).await.unwrap_err();
        let again = broken.fault.retry_after_ms.unwrap();
        assert!(again <= 2000, "{dialect:?}: {again}");
        assert_eq!(broken.meter.requests.map(|gauge| gauge.left), Some(0), "{dialect:?}");
    }
}

#[test]
fn no_fault_is_left_out() {
    let named = |name: &str| name == BY_HEADER || ROWS.iter().any(|row| row[0] == name);
    let left: Vec<&str> =
        fake::fault::TABLE.iter().map(|(name, ..)| *name).filter(|name| !named(name)).collect();
    assert!(left.is_empty(), "{left:?}");
}
