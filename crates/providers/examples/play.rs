//! Plays `builtin/fixer` against a directory with a small tool executor of its own: a development aid.
//!
//! `cargo run -p providers --example play -- DIR "make clippy pass"`. The directory is changed.
//! Knows nothing of engine, sandbox or journal; outputs are cut as the real tools cut them.

use contract::model::{Message, Model, Reply, Request};
use contract::port::Quiet;
use contract::{Cancel, Digest, limits};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

struct Tools {
    root: PathBuf,
    blobs: BTreeMap<String, String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (dir, goal) = (&args[1], args.get(2).map_or("make clippy pass", String::as_str));
    let verbose = args.get(3).is_some();
    let mut tools = Tools { root: dir.into(), blobs: BTreeMap::new() };
    let (start, mut actions) = (Instant::now(), 0);
    let mut messages = vec![Message::User { text: goal.into() }];
    for ordinal in 0.. {
        let request = Request {
            model: "builtin/fixer".into(),
            system: String::new(),
            messages: messages.clone(),
            tools: vec![],
            ordinal,
            key: String::new(),
        };
        let began = Instant::now();
        let reply = providers::Fixer.respond(request, Cancel::new(), &Quiet).await.expect("a reply");
        let thought = began.elapsed();
        if verbose {
            println!("> {} ({} ms)", reply.text, thought.as_millis());
        }
        let pure = reply.calls.iter().all(|call| matches!(call.tool.as_str(), "read" | "list" | "search"));
        actions += 1 + if pure { 1 } else { reply.calls.len() };
        let Reply { text, calls, .. } = reply;
        messages.push(Message::Assistant { text, calls: calls.clone() });
        for call in calls {
            if call.tool == "finish" {
                println!(
                    "END {} after {actions} actions, {:.1} s: {}",
                    call.args["status"],
                    start.elapsed().as_secs_f32(),
                    call.args["summary"].as_str().unwrap_or_default()
                );
                return;
            }
            let (ok, text) = tools.run(&call.tool, &call.args);
            if verbose {
                let args: String = call.args.to_string().chars().take(160).collect();
                println!("  {} {args} -> {ok} {} bytes", call.tool, text.len());
                if !ok && call.tool != "shell" {
                    println!("    {text}");
                }
            }
            messages.push(Message::Tool { call: call.id, ok, text });
        }
    }
}

impl Tools {
    fn run(&mut self, tool: &str, args: &Value) -> (bool, String) {
        let text = |key: &str| args[key].as_str().unwrap_or_default();
        match tool {
            "list" => {
                let names = std::fs::read_dir(&self.root).expect("the directory");
                let mut names: Vec<_> =
                    names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
                names.sort();
                (true, names.join("\n"))
            }
            "shell" => self.shell(text("command")),
            "search" => self.shell(&format!("git grep -nE --untracked '{}'", text("pattern"))),
            "read" => {
                let number = |key: &str, other: usize| args[key].as_u64().map_or(other, |n| n as usize);
                self.read(text("path"), number("offset", 1), number("limit", 2_000))
            }
            "write" => {
                (std::fs::write(self.root.join(text("path")), text("content")).is_ok(), "written".into())
            }
            "edit" => self.edit(text("path"), &args["edits"]),
            other => (false, format!("no tool {other}")),
        }
    }

    fn shell(&mut self, command: &str) -> (bool, String) {
        let output =
            Command::new("sh").arg("-c").arg(format!("{command} 2>&1")).current_dir(&self.root).output();
        let output = output.expect("sh");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ok = output.status.success();
        let total = text.len();
        if total <= limits::OUTPUT_VIEW_BYTES {
            return (ok, text);
        }
        let head = text.floor_char_boundary(limits::OUTPUT_VIEW_BYTES / 4);
        let tail = text.ceil_char_boundary(total - limits::OUTPUT_VIEW_BYTES * 3 / 4);
        let blob = format!("blob:{}", Digest::of(text.as_bytes()));
        let cut = tail - head;
        let line = format!(
            "[... {cut} bytes left out here, of {total} in all; read path \"{blob}\" shows them ...]"
        );
        let view = format!("{}\n{line}\n{}", &text[..head], &text[tail..]);
        self.blobs.insert(blob, text);
        (ok, view)
    }

    fn read(&self, path: &str, from: usize, limit: usize) -> (bool, String) {
        let text = match self.blobs.get(path) {
            Some(text) => text.clone(),
            None => match std::fs::read_to_string(self.root.join(path)) {
                Ok(text) => text,
                Err(error) => return (false, error.to_string()),
            },
        };
        let mut page = String::new();
        for (i, line) in text.lines().enumerate().skip(from - 1) {
            if page.len() + line.len() > limits::READ_BYTES || i + 1 >= from + limit {
                page.push_str(&format!("[more lines follow; go on with offset {}]\n", i + 1));
                break;
            }
            page.push_str(&format!("{:>6}\t{line}\n", i + 1));
        }
        if page.is_empty() {
            return (false, format!("there is no line {from}"));
        }
        (true, page)
    }

    fn edit(&self, path: &str, edits: &Value) -> (bool, String) {
        let Ok(mut text) = std::fs::read_to_string(self.root.join(path)) else {
            return (false, "unreadable".into());
        };
        for edit in edits.as_array().into_iter().flatten() {
            let (old, new) = (&edit["old_string"], &edit["new_string"]);
            let (old, new) = (old.as_str().unwrap_or_default(), new.as_str().unwrap_or_default());
            if text.matches(old).count() != 1 {
                return (false, format!("not once: {old:?}"));
            }
            text = text.replacen(old, new, 1);
        }
        (std::fs::write(self.root.join(path), text).is_ok(), "edited".into())
    }
}
