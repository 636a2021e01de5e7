//! What the models say: one list of replies, in no dialect.
//!
//! A request is answered by how often the model has spoken in it already, so the server keeps no state and a request
//! that comes twice gets the same reply. Start at [`Script::reply`]; a file has the keys of [`Table`].

use serde::Deserialize;
use serde_json::{Value, json};

/// The replies, in the order of a conversation.
#[derive(Debug, Clone, Default)]
pub struct Script {
    replies: Vec<Reply>,
}

/// One reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// What it thought first.
    pub thinking: String,
    /// What it says.
    pub text: String,
    /// What it calls.
    pub calls: Vec<Call>,
    /// Why it ends.
    pub stop: Stop,
    /// Tokens; without it they are counted from the bytes.
    pub usage: Option<Usage>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which tool.
    pub tool: String,
    /// Its arguments as they go over the wire; need not be JSON.
    pub args: String,
    /// Its name; made from its place when not given.
    pub id: Option<String>,
}

/// Why a reply ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stop {
    /// It has said, and called, all it wanted.
    #[default]
    Done,
    /// It was cut at its limit.
    MaxTokens,
    /// It refuses.
    Refusal,
}

/// Tokens, in the sense of the contract: `input` is what no cache had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Input that was neither read from a cache nor written to one.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache.
    pub cache_write: u64,
}

impl Reply {
    /// Text and nothing else.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// One call.
    pub fn call(tool: &str, args: &Value) -> Self {
        Self::default().and_call(tool, args)
    }

    /// With one call more.
    pub fn and_call(mut self, tool: &str, args: &Value) -> Self {
        self.calls.push(Call { tool: tool.to_owned(), args: args.to_string(), id: None });
        self
    }

    /// With these tokens.
    pub fn costs(mut self, input: u64, output: u64) -> Self {
        self.usage = Some(Usage { input, output, ..Usage::default() });
        self
    }

    /// Bytes of all that is said.
    pub fn bytes(&self) -> usize {
        let calls = self.calls.iter().map(|call| call.tool.len() + call.args.len());
        self.thinking.len() + self.text.len() + calls.sum::<usize>()
    }
}

/// A file's keys, which are those of `builtin/script` as far as they mean something here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    turn: Vec<TurnTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnTable {
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    call: Vec<CallTable>,
    stop: Option<String>,
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallTable {
    tool: String,
    id: Option<String>,
    args: Option<Value>,
    raw_args: Option<String>,
}

impl Script {
    /// These replies.
    pub fn new(replies: Vec<Reply>) -> Self {
        Self { replies }
    }

    /// From TOML: `[[turn]]` with `thinking`, `text`, `stop`, `usage` and `[[turn.call]]` with `tool`, `args`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let replies = table.turn.into_iter().map(|turn| {
            let stop = match turn.stop.as_deref() {
                Some("max-tokens") => Stop::MaxTokens,
                Some("refusal") => Stop::Refusal,
                Some("end-turn" | "tool-use") | None => Stop::Done,
                Some(other) => {
                    return Err(format!(
                        "`stop = \"{other}\"` is none of end-turn, tool-use, max-tokens, refusal"
                    ));
                }
            };
            let calls = turn.call.into_iter().map(|call| {
                let args =
                    call.raw_args.unwrap_or_else(|| call.args.unwrap_or_else(|| json!({})).to_string());
                Call { tool: call.tool, args, id: call.id }
            });
            let (thinking, text, usage) = (turn.thinking, turn.text, turn.usage);
            Ok(Reply { thinking, text, calls: calls.collect(), stop, usage })
        });
        Ok(Self { replies: replies.collect::<Result<_, _>>()? })
    }

    /// A first look around, then done: what is said when nobody gave a script.
    pub fn small() -> Self {
        let look = Reply {
            thinking: "First I see what there is.".to_owned(),
            text: "Ich sehe mich um – «naïve» 你好 🚀.".to_owned(),
            ..Reply::default()
        };
        Self::new(vec![
            look.and_call("list", &json!({"path": "."})),
            Reply::call("finish", &json!({"status": "done", "summary": "All done."})),
        ])
    }

    /// What is said after the model has spoken `turn` times; behind the last one, that there is nothing more.
    pub fn reply(&self, turn: usize) -> Reply {
        self.replies.get(turn).cloned().unwrap_or_else(|| Reply::text("There is nothing more in the script."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_the_same() {
        let text = "[[turn]]\ntext = \"hi\"\nusage = { input = 3, output = 1 }\n[[turn.call]]\ntool = \"shell\"\nargs = { command = \"ls\" }\n[[turn.call]]\ntool = \"x\"\nraw_args = \"not { json\"\n[[turn]]\nstop = \"refusal\"\n";
        let script = Script::parse(text).unwrap();
        let first = Reply::text("hi").and_call("shell", &json!({"command": "ls"})).costs(3, 1);
        let reply = script.reply(0);
        assert_eq!((&reply.calls[0], reply.usage), (&first.calls[0], first.usage));
        assert_eq!(reply.calls[1].args, "not { json");
        assert_eq!(script.reply(1).stop, Stop::Refusal);
        assert!(script.reply(2).text.contains("nothing more"));
        assert!(Script::parse("[[turn]]\nstop = \"now\"\n").unwrap_err().contains("refusal"));
    }
}
