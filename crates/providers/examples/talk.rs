//! One short conversation with a server, streamed and with a tool: `talk DIALECT URL MODEL [SERVER]`, key in LIVE_KEY.
//!
//! Prints a line of JSON for each reply. Used by `cargo xtask live`; good for any server. Start at [`main`].

use contract::model::{Message, Models, Reply, Request, ToolSpec};
use contract::port::{Delta, Sink};
use contract::{Cancel, Fault, Kind};
use providers::Registry;
use providers::dialect::Server;
use providers::settings::{Declared, Dialect, Settings};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Most tokens of a reply: small models do not know when to stop.
const TOKENS: u64 = 40;

/// When the first piece of text came.
struct Clock {
    began: Instant,
    first: Mutex<Option<Duration>>,
}

impl Sink for Clock {
    fn delta(&self, _: Delta) {
        self.first.lock().unwrap().get_or_insert(self.began.elapsed());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    match talk(std::env::args().skip(1).collect()).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn talk(args: Vec<String>) -> Result<(), Fault> {
    let [dialect, url, name, server @ ..] = args.as_slice() else {
        return Err(Fault::new(Kind::UserFixable, "usage", "talk DIALECT URL MODEL [SERVER]"));
    };
    let server = Server::NAMED.into_iter().find(|(name, _)| server.first().is_some_and(|own| own == name));
    let own = Declared {
        dialect: Dialect::named(dialect),
        server: server.map(|(_, server)| server),
        base_url: Some(url.clone()),
        key_env: Some("LIVE_KEY".to_owned()),
        ..Declared::default()
    };
    let settings =
        Settings::new(BTreeMap::from([("live".to_owned(), own)]), |name| std::env::var(name).ok())?;
    let registry = Registry::new(settings, Box::new(|_, _, _| None));
    let id = format!("live/{name}");
    let (_, model) = registry.open(&id, Path::new("."))?;

    let mut messages = vec![Message::User { text: "Say hello in one short sentence.".into() }];
    for question in [Some("And what is your name?"), None] {
        let clock = Clock { began: Instant::now(), first: Mutex::default() };
        let request = request(&id, messages.clone());
        let reply = model.respond(request, Cancel::new(), &clock).await.map_err(|broken| broken.fault)?;
        let first = clock.first.lock().unwrap().unwrap_or_else(|| clock.began.elapsed());
        println!("{}", line(&reply, first, clock.began.elapsed()));
        // Whatever it called gets an answer, so that the conversation stays whole.
        let results: Vec<Message> =
            reply.calls.iter().map(|call| Message::result(call.id.clone(), true, "sunny")).collect();
        messages.push(Message::Assistant { text: reply.text, calls: reply.calls, private: reply.private });
        messages.extend(results);
        messages.extend(question.map(|text| Message::User { text: text.into() }));
    }
    Ok(())
}

fn request(id: &str, messages: Vec<Message>) -> Request {
    let weather = ToolSpec {
        name: "weather".into(),
        description: "Tells the weather of a city.".into(),
        schema: json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
    };
    Request {
        model: id.to_owned(),
        system: "You are brief and friendly.".into(),
        messages,
        tools: vec![weather],
        max_tokens: TOKENS,
        ordinal: 0,
        key: "live".into(),
    }
}

fn line(reply: &Reply, first: Duration, all: Duration) -> serde_json::Value {
    let calls: Vec<_> =
        reply.calls.iter().map(|call| json!({"tool": call.tool, "args": call.args})).collect();
    json!({
        "text": reply.text, "calls": calls, "stop": reply.stop, "usage": reply.usage,
        "request_id": reply.request_id, "first_s": first.as_secs_f64(), "all_s": all.as_secs_f64(),
    })
}
