//! Plays `builtin/fixer` against a directory with the real tools, but no engine: a development aid.
//!
//! `cargo run -p providers --example play -- DIR [GOAL] [v]`. It changes the directory. `v` shows each call.
//! Knows nothing of journal, workspace or verdict; every call runs, nothing is asked.

use contract::model::{Message, Model, Reply, Request};
use contract::port::{Blobs, Quiet};
use contract::tool::{Scope, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault, Kind, SessionId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a project like those it is tried on declares.
const CHECKS: &str = "# Checks\n- clippy: `cargo clippy --all-targets -- -D warnings`\n- test: `cargo test`\n\
    - fmt: `cargo fmt --check`\n";

#[derive(Default)]
struct Store(Mutex<HashMap<Digest, Vec<u8>>>);

impl Blobs for Store {
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        let found = self.0.lock().expect("no panic while it was held").get(&digest).cloned();
        Box::pin(async move { found.ok_or_else(|| Fault::new(Kind::Permanent, "no-blob", "no such blob")) })
    }
}

fn main() {
    // A command's keeper is this program again: first of all, before any thread exists.
    sandbox::helper::dispatch();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(play());
}

async fn play() {
    let args: Vec<String> = std::env::args().collect();
    let goal = args.get(2).map_or("make clippy pass", String::as_str);
    let verbose = args.get(3).is_some();
    let store = Arc::new(Store::default());
    let root = std::path::absolute(&args[1]).expect("a directory");
    let scope = Scope {
        reads: false,
        confinement: None,
        together: 1,
        session: SessionId::v7(1, 1),
        key: "s/1.1".into(),
        root,
        env: Vec::new(),
        declared: vec![
            "cargo clippy --all-targets -- -D warnings".into(),
            "cargo test".into(),
            "cargo fmt --check".into(),
        ],
        blobs: store.clone(),
        masks: None,
    };
    let tools = tools::all(&tools::Options::default());
    let (start, mut actions, mut thought) = (Instant::now(), 0, Duration::ZERO);
    let mut messages = vec![Message::User { text: goal.into() }];
    for ordinal in 0.. {
        let (model, system, messages_now) = ("builtin/fixer".into(), CHECKS.into(), messages.clone());
        let request = Request {
            model,
            system,
            messages: messages_now,
            tools: vec![],
            max_tokens: 1_000,
            ordinal,
            key: String::new(),
        };
        let began = Instant::now();
        let Reply { text, calls, .. } =
            providers::Fixer.respond(request, Cancel::new(), &Quiet).await.expect("a reply");
        thought += began.elapsed();
        if verbose {
            println!("> {text} ({} ms)", began.elapsed().as_millis());
        }
        let pure = calls.iter().all(|call| matches!(call.tool.as_str(), "read" | "list" | "search"));
        actions += 1 + if pure { 1 } else { calls.len() };
        messages.push(Message::said(text, calls.clone()));
        for call in calls {
            if call.tool == "finish" {
                let (status, seconds) = (&call.args["status"], start.elapsed().as_secs_f32());
                let summary = call.args["summary"].as_str().unwrap_or_default();
                println!(
                    "END {status} after {actions} actions, {seconds:.1} s (thinking {:.1} s): {summary}",
                    thought.as_secs_f32()
                );
                return;
            }
            let (ok, text) = run(&tools, &call.tool, &call.args, &scope, &store).await;
            if verbose {
                let args: String = call.args.to_string().chars().take(160).collect();
                println!("  {} {args} -> {ok} {} bytes", call.tool, text.len());
            }
            messages.push(Message::result(call.id, ok, text));
        }
    }
}

/// One call, judged and run as the engine would.
async fn run(
    tools: &[Arc<dyn Tool>],
    name: &str,
    args: &serde_json::Value,
    scope: &Scope,
    store: &Store,
) -> (bool, String) {
    let Some(tool) = tools.iter().find(|tool| tool.spec().name == name) else {
        return (false, format!("no tool {name}"));
    };
    if let Err(fault) = tool.judge(args, scope) {
        return (false, fault.to_string());
    }
    let output = tool.run(args.clone(), scope.clone(), Cancel::new(), &Quiet).await;
    if let Some(full) = output.full {
        store.0.lock().expect("no panic while it was held").insert(Digest::of(&full), full);
    }
    (output.ok, output.text)
}
