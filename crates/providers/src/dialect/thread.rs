//! A conversation in turns: names and ids that every server takes, results with their tools, the person first.
//!
//! Knows no dialect; who answers what is settled before, in [`super::pairs`]. Start at [`Thread::of`].

use super::pairs::{arguments, own, wire_id};
use contract::model::{Image, Message, Request, ToolUse};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};

/// Longest id of a call that all of these servers take, bytes.
const ID_BYTES: usize = 40;
/// Longest name of a tool that all of these servers take, bytes.
const NAME_BYTES: usize = 64;
/// Opens a conversation that would begin with the model's own words.
const OPENING: &str = "(What was said before this point is left out.)";

/// A conversation in turns; the first one is the person's.
#[derive(Debug)]
pub(crate) struct Thread<'a> {
    /// In order. Two turns of the same kind stand beside each other for the model only.
    pub(crate) turns: Vec<Turn<'a>>,
}

/// One turn.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    /// What the person, the parent or Kapell said; never empty.
    Person(Vec<&'a str>),
    /// What the model said.
    Model(Said<'a>),
    /// The results of all calls of the turn before, in the order of the calls.
    Results(Vec<Answer<'a>>),
}

/// What the model said: text or calls, never neither.
#[derive(Debug)]
pub(crate) struct Said<'a> {
    /// Its text.
    pub(crate) text: &'a str,
    /// Its calls.
    pub(crate) calls: Vec<Call<'a>>,
    /// Blocks of its own, when it is the same model that is asked now.
    pub(crate) blocks: Option<&'a Value>,
}

/// A call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Unlike any other in the whole conversation.
    pub(crate) id: Cow<'a, str>,
    /// Which tool.
    pub(crate) tool: Cow<'a, str>,
    /// Always an object.
    pub(crate) args: Cow<'a, Value>,
}

/// The result of a call.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// Of which call.
    pub(crate) id: Cow<'a, str>,
    /// Of which tool.
    pub(crate) tool: Cow<'a, str>,
    /// Did it go well?
    pub(crate) ok: bool,
    /// What came of it.
    pub(crate) text: &'a str,
    /// Pictures besides.
    pub(crate) images: &'a [Image],
}

impl<'a> Thread<'a> {
    /// The conversation in these messages, which are paired. Texts are borrowed; linear in the number of messages.
    pub(crate) fn of(messages: &'a [Cow<'a, Message>], request: &'a Request) -> Self {
        let mut turns = Vec::with_capacity(messages.len() + 1);
        if !matches!(messages.first().map(Cow::as_ref), Some(Message::User { .. })) {
            turns.push(Turn::Person(vec![OPENING]));
        }
        let (mut used, mut waiting) = (HashSet::new(), VecDeque::new());
        for message in messages {
            match message.as_ref() {
                Message::User { text } => match turns.last_mut() {
                    Some(Turn::Person(texts)) => texts.push(text),
                    _ => turns.push(Turn::Person(vec![text])),
                },
                Message::Assistant { text, calls, .. } if text.is_empty() && calls.is_empty() => {}
                Message::Assistant { text, calls, private } => {
                    let call = |call: &'a ToolUse| Call {
                        id: unique(wire_id(&call.id, ID_BYTES), &mut used),
                        tool: name(&call.tool),
                        args: arguments(call),
                    };
                    let calls: Vec<Call<'a>> = calls.iter().map(call).collect();
                    waiting.extend(calls.iter().map(|call| (call.id.clone(), call.tool.clone())));
                    turns.push(Turn::Model(Said { text, calls, blocks: own(private, request) }));
                }
                Message::Tool { ok, text, images, .. } => {
                    let Some((id, tool)) = waiting.pop_front() else { continue };
                    let answer = Answer { id, tool, ok: *ok, text, images };
                    match turns.last_mut() {
                        Some(Turn::Results(answers)) => answers.push(answer),
                        _ => turns.push(Turn::Results(vec![answer])),
                    }
                }
            }
        }
        Self { turns }
    }
}

/// The id, changed if the conversation has it already.
fn unique<'a>(id: Cow<'a, str>, used: &mut HashSet<Cow<'a, str>>) -> Cow<'a, str> {
    let mut own = id.clone();
    let mut again = 1;
    while !used.insert(own.clone()) {
        again += 1;
        own = wire_id(&format!("{id}-{again}"), ID_BYTES).into_owned().into();
    }
    own
}

/// A tool's name as every server takes it: a letter or underscore, then letters, digits, underscores, dashes.
pub(crate) fn name(own: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let first = own.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && own.len() <= NAME_BYTES && own.bytes().all(plain) {
        return Cow::Borrowed(own);
    }
    let mut text: String = if first { String::new() } else { "_".into() };
    text.extend(own.chars().map(|c| if c.is_ascii() && plain(c as u8) { c } else { '_' }));
    text.truncate(NAME_BYTES);
    Cow::Owned(text)
}

/// The request's tools under the names the wire has for them, and back.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Only those that differ: on the wire, here.
    changed: Vec<(String, String)>,
}

impl Names {
    /// The names of this request's tools.
    pub(crate) fn of(request: &Request) -> Self {
        let differs = |own: &String| match name(own) {
            Cow::Owned(wire) => Some((wire, own.clone())),
            Cow::Borrowed(_) => None,
        };
        Self { changed: request.tools.iter().filter_map(|tool| differs(&tool.name)).collect() }
    }

    /// The tool's own name.
    pub(crate) fn own<'n>(&'n self, wire: &'n str) -> &'n str {
        self.changed.iter().find(|(changed, _)| changed == wire).map_or(wire, |(_, own)| own)
    }
}

/// The session's part of the request's key: what a provider may tell conversations apart by.
pub(crate) fn session(key: &str) -> &str {
    key.split('/').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::pairs::paired;
    use serde_json::json;

    fn request(messages: Vec<Message>) -> Request {
        Request {
            model: "p/m".into(),
            system: String::new(),
            messages,
            tools: Vec::new(),
            max_tokens: 1,
            ordinal: 0,
            key: "session/1.2".into(),
        }
    }

    fn call(id: &str, tool: &str) -> ToolUse {
        ToolUse { id: id.into(), tool: tool.into(), args: json!("not json") }
    }

    #[test]
    fn ids_are_unique_over_the_whole_conversation_and_results_follow_their_calls() {
        let said = |text: &str| Message::said(text, vec![call("a", "read file"), call("b", "é")]);
        let results = || [Message::result("b", true, "2"), Message::result("a", false, "1")];
        let messages = [vec![said("x")], results().to_vec(), vec![said("y")], results().to_vec()].concat();
        let request = request(messages);
        let paired = paired(&request.messages);
        let thread = Thread::of(&paired, &request);
        let show = |turn: &Turn<'_>| match turn {
            Turn::Person(texts) => format!("person {}", texts.len()),
            Turn::Model(said) => {
                said.calls.iter().map(|call| format!("{} {} ", call.id, call.tool)).collect()
            }
            Turn::Results(answers) => {
                answers.iter().map(|answer| format!("{} {} {} ", answer.id, answer.text, answer.ok)).collect()
            }
        };
        let turns: Vec<String> = thread.turns.iter().map(show).collect();
        let wanted = [
            "person 1",
            "a read_file b __ ",
            "a 1 false b 2 true ",
            "a-2 read_file b-2 __ ",
            "a-2 1 false b-2 2 true ",
        ];
        assert_eq!(turns, wanted);
    }

    #[test]
    fn names_go_out_and_come_back() {
        let mut request = request(Vec::new());
        let spec = |name: &str| contract::model::ToolSpec {
            name: name.into(),
            description: String::new(),
            schema: json!({}),
        };
        request.tools = vec![spec("read"), spec("mcp.files/read")];
        let names = Names::of(&request);
        assert_eq!(name("mcp.files/read"), "mcp_files_read");
        assert_eq!((names.own("mcp_files_read"), names.own("read")), ("mcp.files/read", "read"));
        assert_eq!(name(""), "_");
        assert_eq!(name(&"é".repeat(200)).len(), NAME_BYTES);
    }

    #[test]
    fn a_key_begins_with_its_session() {
        assert_eq!((session("0193/1.2"), session("0193")), ("0193", "0193"));
    }
}
