//! Transcripts of other agents as conversations: who said how much, which calls, which results, what was reported.
//!
//! Knows two formats of JSON lines (Claude Code's and pi's) and unpacks their archives with `tar`. Text is data: nothing
//! of it is kept but sizes and digests. Start at [`archive`].

use anyhow::{Context, Result, ensure};
use contract::Digest;
use contract::model::Usage;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct Talk {
    pub(super) name: String,
    pub(super) turns: Vec<Turn>,
}

/// What the person said, and what the model said to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn {
    /// Bytes of each message before the reply.
    pub(super) asked: Vec<(u64, Digest)>,
    /// Bytes of the reply, calls included.
    pub(super) said: u64,
    pub(super) calls: Vec<Called>,
    /// Tokens as the provider told.
    pub(super) usage: Option<Usage>,
    /// The conversation began anew before it: the agent's own compaction.
    pub(super) anew: bool,
}

/// A call with its result.
#[derive(Debug, Clone)]
pub(super) struct Called {
    pub(super) tool: String,
    pub(super) args: Digest,
    pub(super) result: (u64, Digest),
    pub(super) images: usize,
}

impl Talk {
    pub(super) fn replies(&self) -> usize {
        self.turns.len()
    }

    /// Its first turns.
    #[cfg(test)]
    pub(super) fn beginning(&self, turns: usize) -> Self {
        Self { name: self.name.clone(), turns: self.turns.iter().take(turns).cloned().collect() }
    }
}

/// Every conversation of an archive.
pub(super) fn archive(file: &Path, set: &str) -> Result<Vec<Talk>> {
    let to = tempfile::tempdir()?;
    let mut tar = std::process::Command::new("tar");
    let status = tar.arg("-xJf").arg(file).arg("-C").arg(to.path()).status().context("start tar")?;
    ensure!(status.success(), "tar cannot unpack {}", file.display());
    let mut files = Vec::new();
    find(&to.path().join(set), &mut files)?;
    files.sort();
    let mut talks = Vec::new();
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{}/{}", &set[..2], stem.chars().take(24).collect::<String>());
        let turns = Reader::default().read(&lines);
        if !turns.is_empty() {
            talks.push(Talk { name, turns });
        }
    }
    Ok(talks)
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Reader {
    turns: Vec<Turn>,
    /// The reply that is being put together, by its name.
    open: Option<(String, Turn, Vec<String>)>,
    asked: Vec<(u64, Digest)>,
    results: BTreeMap<String, (u64, Digest, usize)>,
    ids: Vec<Vec<String>>,
    anew: bool,
}

impl Reader {
    fn read(mut self, lines: &[Value]) -> Vec<Turn> {
        for line in lines {
            self.line(line);
        }
        self.close();
        for (turn, ids) in self.turns.iter_mut().zip(&self.ids) {
            for (call, id) in turn.calls.iter_mut().zip(ids) {
                if let Some((bytes, digest, images)) = self.results.get(id) {
                    (call.result, call.images) = ((*bytes, *digest), *images);
                }
            }
        }
        self.turns
    }

    fn line(&mut self, line: &Value) {
        let message = &line["message"];
        if line["subtype"] == "compact_boundary" || line["type"] == "compaction" {
            self.close();
            self.anew = true;
        }
        match message["role"].as_str() {
            Some("assistant") => self.reply(message),
            Some("toolResult") => self.result(message["toolCallId"].as_str(), &message["content"]),
            Some("user") => self.person(&message["content"]),
            _ => {}
        }
    }

    fn person(&mut self, content: &Value) {
        let mut words = String::new();
        for block in blocks(content) {
            match block["type"].as_str() {
                Some("tool_result") => self.result(block["tool_use_id"].as_str(), &block["content"]),
                Some("text") => words.push_str(block["text"].as_str().unwrap_or_default()),
                _ => {}
            }
        }
        if !words.is_empty() {
            self.close();
            self.asked.push((words.len() as u64, Digest::of(words.as_bytes())));
        }
    }

    fn result(&mut self, id: Option<&str>, content: &Value) {
        let (mut words, mut images) = (String::new(), 0);
        for block in blocks(content) {
            match block["type"].as_str() {
                Some("image") => images += 1,
                _ => words.push_str(block["text"].as_str().unwrap_or_default()),
            }
        }
        let digest = Digest::of(words.as_bytes());
        self.results.insert(id.unwrap_or_default().to_owned(), (words.len() as u64, digest, images));
    }

    /// A reply may come in several lines of one name.
    fn reply(&mut self, message: &Value) {
        let name = message["id"].as_str().unwrap_or_default().to_owned();
        let goes_on = self.open.as_ref().is_some_and(|(open, ..)| !name.is_empty() && *open == name);
        if !goes_on {
            self.close();
            let (asked, anew) = (std::mem::take(&mut self.asked), std::mem::take(&mut self.anew));
            self.open = Some((name, Turn { asked, anew, ..Turn::default() }, Vec::new()));
        }
        let Some((_, turn, ids)) = &mut self.open else { return };
        for block in blocks(&message["content"]) {
            match block["type"].as_str() {
                Some("text") => turn.said += size(&block["text"]),
                Some("thinking") => turn.said += size(&block["thinking"]) + size(&block["signature"]),
                Some("tool_use" | "toolCall") => {
                    let args = if block["input"].is_null() { &block["arguments"] } else { &block["input"] };
                    let (args, tool) =
                        (args.to_string(), block["name"].as_str().unwrap_or_default().to_owned());
                    turn.said += (args.len() + tool.len()) as u64;
                    ids.push(block["id"].as_str().unwrap_or_default().to_owned());
                    let (args, none) = (Digest::of(args.as_bytes()), (0, Digest::of(b"")));
                    turn.calls.push(Called { tool, args, result: none, images: 0 });
                }
                _ => {}
            }
        }
        turn.usage = usage(&message["usage"]).or(turn.usage);
    }

    fn close(&mut self) {
        if let Some((_, turn, ids)) = self.open.take() {
            // What was stopped before it said anything is no reply.
            if turn.said > 0 {
                self.turns.push(turn);
                self.ids.push(ids);
            } else {
                self.asked.splice(0..0, turn.asked);
            }
        }
    }
}

fn size(text: &Value) -> u64 {
    text.as_str().map_or(0, |text| text.len() as u64)
}

/// The blocks of a message; a plain string is one text.
fn blocks(content: &Value) -> Vec<Value> {
    match content {
        Value::String(text) => vec![serde_json::json!({"type": "text", "text": text})],
        Value::Array(blocks) => blocks.clone(),
        _ => Vec::new(),
    }
}

fn usage(of: &Value) -> Option<Usage> {
    let of_either = |one: &str, other: &str| of[one].as_u64().or(of[other].as_u64()).unwrap_or(0);
    let usage = Usage {
        input: of_either("input_tokens", "input"),
        output: of_either("output_tokens", "output"),
        cache_read: of_either("cache_read_input_tokens", "cacheRead"),
        cache_write: of_either("cache_creation_input_tokens", "cacheWrite"),
        estimated: false,
    };
    (usage.given() > 0).then_some(usage)
}

/// A conversation that grows by this many bytes at every turn, reported at four bytes a token.
#[cfg(test)]
pub(super) fn made(turns: u64, bytes: u64) -> Talk {
    let turn = |n: u64| {
        let text = |what: &str| Digest::of(format!("{what} {n}").as_bytes());
        let given = 3_000 + n * (bytes + 100) / 4;
        Turn {
            asked: if n == 0 { vec![(400, text("goal"))] } else { Vec::new() },
            said: 100,
            calls: vec![Called {
                tool: "read".into(),
                args: text("args"),
                result: (bytes, text("out")),
                images: 0,
            }],
            usage: Some(Usage { input: given, output: 25, ..Usage::default() }),
            anew: false,
        }
    };
    Talk { name: "made".into(), turns: (0..turns).map(turn).collect() }
}
