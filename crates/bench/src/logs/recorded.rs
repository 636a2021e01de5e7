//! What tools gave to other agents, and what these said afterwards: transcripts in Claude Code's and pi's format.
//!
//! Text is data. Start at [`read`].

use super::{archive, files};
use anyhow::Result;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Archives below `transcripts` in the data set.
const SETS: [&str; 2] = ["cc-spotter", "pi-mono"];

/// A tool's output, and the place in the talk where it came.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) tool: String,
    /// The command line, for a shell.
    pub(super) command: String,
    pub(super) text: String,
    /// How many things the agent had said by then.
    said: usize,
}

/// One conversation.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub(super) outputs: Vec<Output>,
    /// All that the agent said, arguments included.
    said: Vec<String>,
}

impl Talk {
    /// What the agent said after an output.
    pub(super) fn after(&self, output: &Output) -> String {
        self.said[output.said..].join("\n")
    }
}

/// Every conversation that is there.
pub(super) fn read(data: &Path) -> Result<Vec<Talk>> {
    let mut talks = Vec::new();
    for set in SETS {
        let Some(dir) = archive(data, &format!("transcripts/{set}.tar.xz"))? else { continue };
        for file in
            files(dir.path())?.iter().filter(|file| file.extension().is_some_and(|end| end == "jsonl"))
        {
            let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
            talks.push(talk(text.lines().filter_map(|line| serde_json::from_str(line).ok())));
        }
    }
    Ok(talks)
}

/// The outputs of commands in all of them.
pub(super) fn commands(data: &Path) -> Result<Vec<Output>> {
    let outputs = read(data)?.into_iter().flat_map(|talk| talk.outputs);
    Ok(outputs.filter(|output| !output.command.is_empty()).collect())
}

fn talk(lines: impl Iterator<Item = Value>) -> Talk {
    let mut talk = Talk::default();
    let mut calls: HashMap<String, (String, String)> = HashMap::new();
    for line in lines {
        let message = &line["message"];
        match message["role"].as_str() {
            Some("assistant") => {
                for block in blocks(&message["content"]) {
                    let args = if block["input"].is_null() { &block["arguments"] } else { &block["input"] };
                    match block["type"].as_str() {
                        Some("text") => talk.said.push(text(&block["text"])),
                        Some("tool_use" | "toolCall") => {
                            let mut words = String::new();
                            strings(args, &mut words);
                            talk.said.push(words);
                            calls.insert(text(&block["id"]), (text(&block["name"]), text(&args["command"])));
                        }
                        _ => {}
                    }
                }
            }
            Some("toolResult") => talk.result(&calls, &message["toolCallId"], &message["content"]),
            Some("user") => {
                for block in blocks(&message["content"]).iter().filter(|block| block["type"] == "tool_result")
                {
                    talk.result(&calls, &block["tool_use_id"], &block["content"]);
                }
            }
            _ => {}
        }
    }
    talk
}

impl Talk {
    fn result(&mut self, calls: &HashMap<String, (String, String)>, id: &Value, content: &Value) {
        let texts: Vec<String> = blocks(content).iter().map(|block| text(&block["text"])).collect();
        let (tool, command) = calls.get(&text(id)).cloned().unwrap_or_default();
        self.outputs.push(Output {
            tool: tool.to_lowercase(),
            command,
            text: texts.join("\n"),
            said: self.said.len(),
        });
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn blocks(content: &Value) -> Vec<Value> {
    match content {
        Value::String(text) => vec![serde_json::json!({"type": "text", "text": text})],
        Value::Array(blocks) => blocks.clone(),
        _ => Vec::new(),
    }
}

fn strings(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(values) => values.iter().for_each(|value| strings(value, into)),
        Value::Object(map) => map.values().for_each(|value| strings(value, into)),
        _ => {}
    }
}
