//! A reply while it is being said, whatever the dialect: bounded, and at any moment ready to be broken off.
//!
//! Knows no wire format. What nobody counted is bounded by bytes (a token is at least one byte). Start at
//! [`Draft::new`]; it ends in [`Draft::end`].

use super::{Options, args};
use contract::limits::{BUDGET_WARN_PERCENT, CALLS_RECORDED, TOKEN_BYTES_MOST};
use contract::model::{Broken, Message, Meter, Private, Reply, Request, Stop, ToolUse, Usage};
use contract::{Fault, Kind};
use serde_json::Value;
use std::collections::HashSet;

/// Most text of one reply, and most of what is only thought, bytes (spec section 9, stream edge rules).
pub const TEXT_BYTES: usize = 10 * 1024 * 1024;
/// Most arguments of one call, bytes (as above).
pub const ARGS_BYTES: usize = 1024 * 1024;
/// Most bytes of text for each token that was asked for: a server that goes on beyond that ignores the limit.
const BYTES_PER_TOKEN: usize = 64;
/// Text allowed for beside that, bytes.
const SPARE_BYTES: usize = 64 * 1024;
/// A reply whose end is nothing but one short text again and again leads nowhere (users' pain 12): so much of it, and so
/// short a text, bytes.
const REPEATED_BYTES: usize = 16 * 1024;
const REPEATED_TEXT: usize = 256;
/// Tokens one picture stands for at most where nobody counted.
const IMAGE_TOKENS: u64 = 5_000;
/// Tokens per message, tool and request that are no text of ours: roles, marks, the provider's own instructions.
const FRAME_TOKENS: u64 = 16;
/// As above, once for a request that has tools.
const TOOLS_TOKENS: u64 = 1_000;
/// Codes of faults of the line, not of what was said over it.
const LINE: [&str; 3] = ["stream-cut", "stream-stalled", "call-late"];
/// What is bounded, in words.
const TEXT: &str = "text";
const THINKING: &str = "thinking";
const ARGS: &str = "one call's arguments";
/// Longest name of a tool and longest id that a reply may have, bytes.
const NAME_BYTES: usize = 512;

/// What has been said so far.
#[derive(Debug)]
pub struct Draft {
    /// Why it stopped; none = it has not.
    pub stop: Option<Stop>,
    /// What the model was given as the provider counts it; `output` of it is not looked at.
    pub given: Option<Usage>,
    /// Tokens it said, thinking included, as the provider counts them at the end.
    pub output: Option<u64>,
    /// The provider's name for the exchange.
    pub request_id: String,
    /// What only its producer may see again, as it wants it back.
    pub private: Vec<Value>,
    /// The model may think where nobody sees it: what is seen bounds nothing that is billed.
    pub hidden: bool,
    /// It said more than it was asked to.
    overrun: bool,
    text: String,
    /// Bytes of it when it was last looked at.
    looked: usize,
    thought: usize,
    /// The end of what was thought in words, and bytes of it that nobody has looked at yet.
    mind: Vec<u8>,
    unseen: usize,
    calls: Vec<Sketch>,
    /// Bounds of which most is used up, and how many of them were told.
    near: Vec<(&'static str, usize)>,
    told: usize,
    asked: Asked,
}

/// What the request says about its reply.
#[derive(Debug)]
struct Asked {
    id: String,
    provider: String,
    ordinal: u32,
    max_tokens: u64,
    given: u64,
    ids: HashSet<String>,
    tools: HashSet<String>,
}

#[derive(Debug, Default)]
struct Sketch {
    /// The dialect's place of it.
    at: usize,
    id: String,
    tool: String,
    args: String,
}

impl Draft {
    /// Nothing said yet.
    pub fn new(request: &Request, options: &Options) -> Self {
        let calls = request.messages.iter().flat_map(|message| match message {
            Message::Assistant { calls, .. } => &calls[..],
            _ => &[],
        });
        let asked = Asked {
            id: options.id.clone(),
            provider: options.provider.clone(),
            ordinal: request.ordinal,
            max_tokens: request.max_tokens,
            given: most_tokens(request),
            ids: calls.map(|call| call.id.clone()).collect(),
            tools: request.tools.iter().map(|tool| tool.name.clone()).collect(),
        };
        Self {
            stop: None,
            given: None,
            output: None,
            request_id: String::new(),
            private: Vec::new(),
            hidden: false,
            overrun: false,
            text: String::new(),
            looked: 0,
            thought: 0,
            mind: Vec::new(),
            unseen: 0,
            calls: Vec::new(),
            near: Vec::new(),
            told: 0,
            asked,
        }
    }

    /// A piece of its text.
    pub fn say(&mut self, piece: &str) -> Result<(), Fault> {
        let most =
            TEXT_BYTES.min((self.asked.max_tokens as usize).saturating_mul(BYTES_PER_TOKEN) + SPARE_BYTES);
        if self.text.len() + piece.len() > most {
            self.overrun = true;
            return Err(self.too_much(TEXT, most));
        }
        self.text.push_str(piece);
        self.nears(TEXT, self.text.len(), most);
        if self.text.len() < self.looked + REPEATED_BYTES / 4 {
            return Ok(());
        }
        self.looked = self.text.len();
        if repeats(self.text.as_bytes()) { Err(self.degenerate("said")) } else { Ok(()) }
    }

    /// Another sample may go better: it is asked again, as often as anything that fails.
    fn degenerate(&mut self, how: &str) -> Fault {
        let bytes = (self.text.len() + self.thought) as u64;
        self.overrun = bytes / TOKEN_BYTES_MOST > self.asked.max_tokens;
        let id = &self.asked.id;
        let what = format!(
            "{id} {how} the same words again and again ({REPEATED_BYTES} bytes of them) and was broken off"
        );
        Fault::new(Kind::Transient, "reply-repeats", what)
            .hint("say what you want in another way, or take another model (--model)")
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// So many bytes at the beginning of the text turn out to have been thoughts.
    pub fn rethink(&mut self, bytes: usize) -> Result<(), Fault> {
        let rest = self.text.split_off(bytes.min(self.text.len()));
        self.looked = 0;
        let thought = std::mem::replace(&mut self.text, rest).len();
        if thought > 0 { self.think(thought) } else { Ok(()) }
    }

    /// So many bytes were thought, or a summary of what was: billed, and bounded like text.
    pub fn think(&mut self, bytes: usize) -> Result<(), Fault> {
        self.hidden = true;
        self.thought = self.thought.saturating_add(bytes);
        self.nears(THINKING, self.thought, TEXT_BYTES);
        match self.thought > TEXT_BYTES {
            true => Err(self.too_much(THINKING, TEXT_BYTES)),
            false => Ok(()),
        }
    }

    /// A piece of its thoughts, or of a summary of them, in words.
    pub fn muse(&mut self, piece: &str) -> Result<(), Fault> {
        if piece.is_empty() {
            return Ok(());
        }
        self.think(piece.len())?;
        self.mind.extend_from_slice(piece.as_bytes());
        self.unseen += piece.len();
        if self.unseen < REPEATED_BYTES / 4 {
            return Ok(());
        }
        self.unseen = 0;
        self.mind.drain(..self.mind.len().saturating_sub(REPEATED_BYTES));
        if repeats(&self.mind) { Err(self.degenerate("thought")) } else { Ok(()) }
    }

    /// The call at this place of the dialect's: begins it, or adds to its id and name what was not known before.
    pub fn call(&mut self, at: usize, id: &str, tool: &str) -> Result<(), Fault> {
        if id.len() > NAME_BYTES || tool.len() > NAME_BYTES {
            return Err(self.too_much("a call's name", NAME_BYTES));
        }
        if !self.calls.iter().any(|call| call.at == at) {
            if self.calls.len() == CALLS_RECORDED {
                return Err(self.too_much("calls", CALLS_RECORDED));
            }
            self.calls.push(Sketch { at, ..Sketch::default() });
        }
        if let Some(call) = self.calls.iter_mut().find(|call| call.at == at) {
            for (own, new) in [(&mut call.id, id), (&mut call.tool, tool)] {
                if own.is_empty() {
                    new.clone_into(own);
                }
            }
        }
        Ok(())
    }

    /// A piece of the arguments of the call at this place.
    pub fn args(&mut self, at: usize, piece: &str) -> Result<(), Fault> {
        self.call(at, "", "")?;
        let bytes = match self.calls.iter_mut().find(|call| call.at == at) {
            Some(call) if call.args.len() + piece.len() <= ARGS_BYTES => {
                call.args.push_str(piece);
                call.args.len()
            }
            _ => return Err(self.too_much(ARGS, ARGS_BYTES)),
        };
        self.nears(ARGS, bytes, ARGS_BYTES);
        Ok(())
    }

    /// Remembers once that most of a bound is used up.
    fn nears(&mut self, what: &'static str, bytes: usize, most: usize) {
        let warns = bytes >= most / 100 * BUDGET_WARN_PERCENT as usize;
        if warns && !self.near.iter().any(|(near, _)| *near == what) {
            self.near.push((what, most));
        }
    }

    /// What a person is told while it is being said, each once: most of what one reply may have is used up.
    pub fn notice(&mut self) -> Option<String> {
        let (what, most) = *self.near.get(self.told)?;
        self.told += 1;
        let id = &self.asked.id;
        let percent = BUDGET_WARN_PERCENT;
        Some(format!(
            "{id}: {percent} % of the most that is taken of {what} in one reply is used ({most} bytes)"
        ))
    }

    /// The arguments of the call at this place so far.
    pub fn args_so_far(&self, at: usize) -> &str {
        self.calls.iter().find(|call| call.at == at).map_or("", |call| &call.args)
    }

    /// The tool of the request that is named first in these words.
    pub fn tool_in(&self, words: &str) -> Option<String> {
        let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let named = |tool: &&String| {
            words.match_indices(tool.as_str()).find_map(|(at, _)| {
                let (before, after) = (&words[..at], &words[at + tool.len()..]);
                (!before.ends_with(part) && !after.starts_with(part)).then_some(at)
            })
        };
        let all = self.asked.tools.iter().filter(|tool| !tool.is_empty());
        all.filter_map(|tool| Some((named(&tool)?, tool))).min().map(|(_, tool)| tool.clone())
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The stream is over: a reply if it said why it stopped and nothing is wrong, else what is left of it.
    ///
    /// A line that broke or went silent behind that took nothing of the reply: asking again would pay for it twice.
    pub fn end(self, why: Option<Fault>) -> Result<Reply, Broken> {
        let why = why.filter(|why| self.stop.is_none() || !LINE.contains(&why.code.as_str()));
        let usage = self.usage(self.stop.is_some() && why.is_none());
        let (stop, fault) = match (self.stop, why) {
            (Some(stop), None) => (stop, None),
            (_, why) => (Stop::EndTurn, Some(why.unwrap_or_else(|| cut(&self.asked.provider)))),
        };
        if let Some(fault) = fault {
            return Err(Broken { fault, text: self.text, usage: Some(usage), meter: Meter::default() });
        }
        let calls = match stop {
            Stop::Refusal => Vec::new(),
            stop => uses(self.calls, &self.asked, stop),
        };
        let stop = match stop {
            Stop::EndTurn if !calls.is_empty() => Stop::ToolUse,
            Stop::ToolUse if calls.is_empty() => Stop::EndTurn,
            stop => stop,
        };
        let producer = self.asked.id;
        let private =
            (!self.private.is_empty()).then_some(Private { producer, blocks: Value::Array(self.private) });
        let (text, request_id) = (self.text, self.request_id);
        Ok(Reply { text, calls, stop, usage, private, request_id, meter: Meter::default() })
    }

    /// What the provider counted; where it did not, or a cut reply's count is of the beginning, an upper bound.
    ///
    /// Of a reply that broke off, what was received bounds what is billed only where the provider had begun to count and
    /// something of the reply came: else all that was asked for may have been said where nobody heard it.
    fn usage(&self, whole: bool) -> Usage {
        let bound = Usage { input: self.asked.given, estimated: true, ..Usage::default() };
        // Something was given: a count of none is no count.
        let mut usage = self.given.filter(|given| given.given() > 0).unwrap_or(bound);
        let calls = self.calls.iter().map(|call| call.id.len() + call.tool.len() + call.args.len());
        let bytes = (self.text.len() + self.thought + calls.sum::<usize>()) as u64;
        let most = bytes.saturating_add(FRAME_TOKENS * (1 + self.calls.len() as u64));
        let most = if bytes == 0 { 0 } else { most };
        let unheard = !whole && (bytes == 0 || self.given.is_none());
        match self.output {
            // Something was said: a count of none is no count.
            Some(output) if whole && (output > 0 || bytes == 0) => usage.output = output,
            told => {
                let most = match (self.overrun, self.hidden || unheard) {
                    (true, _) => most.max(self.asked.max_tokens),
                    (false, true) => self.asked.max_tokens,
                    (false, false) => most.min(self.asked.max_tokens),
                };
                usage.output = most.max(told.unwrap_or(0));
                usage.estimated = true;
            }
        }
        usage
    }

    /// The fault for a reply that passes a bound.
    pub fn too_much(&self, what: &str, bound: usize) -> Fault {
        let provider = &self.asked.provider;
        Fault::new(
            Kind::Permanent,
            "reply-too-large",
            format!("{provider} sent more {what} in one reply than Kapell takes ({bound})"),
        )
        .hint("ask for less at once, or for fewer output tokens of this model in the configuration")
    }
}

/// A stream that ended before its reply did.
pub fn cut(provider: &str) -> Fault {
    Fault::new(
        Kind::Transient,
        "stream-cut",
        format!("the stream from {provider} ended in the middle of the reply"),
    )
    .hint("kapell resume asks again; what was said so far is kept beside this fault")
}

/// Most tokens this request can be: a token is at least one byte.
pub fn most_tokens(request: &Request) -> u64 {
    let text = |bytes: usize| bytes as u64;
    let messages = request.messages.iter().map(|message| {
        FRAME_TOKENS
            + match message {
                Message::User { text: said } => text(said.len()),
                Message::Assistant { text: said, calls, private } => {
                    let calls =
                        calls.iter().map(|call| call.id.len() + call.tool.len() + json_bytes(&call.args));
                    let private = private.as_ref().map_or(0, |private| json_bytes(&private.blocks));
                    text(said.len() + calls.sum::<usize>() + private)
                }
                Message::Tool { call, text: said, images, .. } => {
                    text(call.len() + said.len()) + IMAGE_TOKENS * images.len() as u64
                }
            }
    });
    let tools = request
        .tools
        .iter()
        .map(|tool| FRAME_TOKENS + text(tool.name.len() + tool.description.len() + json_bytes(&tool.schema)));
    let own = if request.tools.is_empty() { 0 } else { TOOLS_TOKENS };
    own + text(request.system.len()) + messages.sum::<u64>() + tools.sum::<u64>()
}

fn json_bytes(value: &Value) -> usize {
    crate::json_bytes(value)
}

/// Every call with an id that no other call of the conversation has.
fn uses(calls: Vec<Sketch>, asked: &Asked, stop: Stop) -> Vec<ToolUse> {
    let (mut taken, last) = (asked.ids.clone(), calls.len().saturating_sub(1));
    let mut uses = Vec::with_capacity(calls.len());
    let unwrapped = |(i, call): (usize, Sketch)| {
        let whole = stop != Stop::MaxTokens || i < last;
        let args = args::parse(&call.args, whole);
        let inner = wrapped(&call.tool, &args, &asked.tools);
        let inner = inner.unwrap_or_else(|| vec![(call.tool, args)]);
        inner.into_iter().map(move |(tool, args)| (call.id.clone(), tool, args))
    };
    let calls = calls.into_iter().enumerate().flat_map(unwrapped);
    for (i, (id, tool, args)) in calls.take(CALLS_RECORDED).enumerate() {
        let own = if id.is_empty() { format!("call-{}-{}", asked.ordinal + 1, i + 1) } else { id };
        let mut id = own.clone();
        for n in 2.. {
            if taken.insert(id.clone()) {
                break;
            }
            id = format!("{own}-{n}");
        }
        uses.push(ToolUse { id, tool, args });
    }
    uses
}

/// The calls inside a call of a tool that does not exist: some of OpenAI's models write several calls as one of
/// `multi_tool_use.parallel`, which is for their own side of the wire.
fn wrapped(tool: &str, args: &Value, tools: &HashSet<String>) -> Option<Vec<(String, Value)>> {
    const WRAPPERS: [&str; 3] = ["multi_tool_use.parallel", "multi_tool_use_parallel", "parallel"];
    if !WRAPPERS.contains(&tool) || tools.contains(tool) {
        return None;
    }
    let one = |inner: &Value| {
        let name = inner["recipient_name"].as_str()?;
        let name = name.strip_prefix("functions.").unwrap_or(name);
        Some((name.to_owned(), inner.get("parameters").filter(|args| args.is_object())?.clone()))
    };
    let inner: Vec<(String, Value)> = args["tool_uses"].as_array()?.iter().map(one).collect::<Option<_>>()?;
    (!inner.is_empty() && inner.iter().all(|(name, _)| tools.contains(name))).then_some(inner)
}

/// Is its end one short text again and again?
fn repeats(bytes: &[u8]) -> bool {
    let Some(from) = bytes.len().checked_sub(REPEATED_BYTES) else { return false };
    let end = &bytes[from..];
    (1..=REPEATED_TEXT).any(|period| end[period..] == end[..end.len() - period])
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::model::ToolSpec;
    use serde_json::json;

    fn draft(messages: Vec<Message>) -> Draft {
        asked(messages, 100)
    }

    fn asked(messages: Vec<Message>, max_tokens: u64) -> Draft {
        Draft::new(&request(messages, max_tokens), &options())
    }

    fn request(messages: Vec<Message>, max_tokens: u64) -> Request {
        Request {
            model: "p/m".into(),
            system: "s".repeat(10),
            messages,
            tools: Vec::new(),
            max_tokens,
            ordinal: 4,
            key: String::new(),
        }
    }

    fn options() -> Options {
        Options { id: "p/m".into(), provider: "p".into(), ..Options::default() }
    }

    #[test]
    fn calls_get_ids_of_their_own() {
        let before = ToolUse { id: "a".into(), tool: "t".into(), args: json!({}) };
        let mut draft = draft(vec![Message::said("", vec![before])]);
        for (at, id) in [(3, "a"), (5, "b"), (6, "b"), (7, ""), (8, "")] {
            draft.call(at, id, "t").unwrap();
        }
        draft.call(3, "other", "other").unwrap();
        draft.args(5, "{\"x\":").unwrap();
        draft.args(5, "1}").unwrap();
        draft.stop = Some(Stop::EndTurn);
        let reply = draft.end(None).unwrap();
        let ids: Vec<&str> = reply.calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["a-2", "b", "b-2", "call-5-4", "call-5-5"]);
        assert_eq!(
            (reply.stop, &reply.calls[1].args, &reply.calls[0].args),
            (Stop::ToolUse, &json!({"x": 1}), &json!({}))
        );
    }

    #[test]
    fn a_tool_is_found_in_words_by_its_whole_name() {
        let mut request = request(Vec::new(), 100);
        request.tools = ["read", "read_all", "list"]
            .map(|name| ToolSpec { name: name.into(), description: String::new(), schema: json!({}) })
            .to_vec();
        let draft = Draft::new(&request, &options());
        for (words, tool) in [
            ("print(default_api.read_all(x))", Some("read_all")),
            ("already: default_api.read(list)", Some("read")),
            ("spread reading", None),
            ("", None),
        ] {
            assert_eq!(draft.tool_in(words).as_deref(), tool, "{words}");
        }
    }

    #[test]
    fn a_line_that_breaks_behind_the_end_took_nothing() {
        let ends = |stop, code: &str| {
            let mut draft = draft(Vec::new());
            draft.say("hello").unwrap();
            (draft.stop, draft.output) = (stop, Some(2));
            draft.end(Some(Fault::new(Kind::Transient, code, "x")))
        };
        for code in LINE {
            let usage = ends(Some(Stop::EndTurn), code).unwrap().usage;
            assert_eq!((usage.output, ends(None, code).unwrap_err().fault.code.as_str()), (2, code));
        }
        assert!(
            ends(Some(Stop::EndTurn), "cancelled").is_err()
                && ends(Some(Stop::EndTurn), "overloaded").is_err()
        );
    }

    #[test]
    fn most_of_what_one_reply_may_have_is_told_once_for_each_bound() {
        // 1,000 tokens: 64,000 bytes and the spare ones.
        let mut draft = Draft::new(&request(Vec::new(), 1_000), &options());
        let most = 1_000 * BYTES_PER_TOKEN + SPARE_BYTES;
        let words = |bytes: usize| (0..).map(|n| format!("{n} ")).take(bytes / 7).collect::<String>();
        draft.say(&words(most / 2)).unwrap();
        assert_eq!(draft.notice(), None);
        while draft.text().len() < most / 100 * 80 {
            let piece = format!("{} ", draft.text().len());
            draft.say(&piece).unwrap();
        }
        let told = draft.notice().expect("it is near");
        assert!(told.starts_with("p/m: 80 % of the most that is taken of text"), "{told}");
        draft.say("more").unwrap();
        draft.args(0, &"1".repeat(ARGS_BYTES / 10 * 9)).unwrap();
        draft.args(1, &"1".repeat(ARGS_BYTES / 10 * 9)).unwrap();
        assert!(draft.notice().is_some_and(|told| told.contains("one call's arguments")));
        assert_eq!(draft.notice(), None, "each is told once");
    }

    #[test]
    fn calls_written_as_one_are_taken_apart() {
        let uses = |tool: &str, args: &str| {
            let mut request = request(Vec::new(), 100);
            request.tools = ["read", "list"]
                .map(|name| ToolSpec { name: name.into(), description: String::new(), schema: json!({}) })
                .to_vec();
            let mut draft = Draft::new(&request, &options());
            draft.call(0, "a", tool).unwrap();
            draft.args(0, args).unwrap();
            draft.stop = Some(Stop::ToolUse);
            let calls = draft.end(None).unwrap().calls;
            calls
                .into_iter()
                .map(|call| format!("{} {} {}", call.id, call.tool, call.args))
                .collect::<Vec<_>>()
        };
        let both = r#"{"tool_uses":[{"recipient_name":"functions.read","parameters":{"p":1}},{"recipient_name":"list","parameters":{}}]}"#;
        assert_eq!(uses("multi_tool_use.parallel", both), [r#"a read {"p":1}"#, "a-2 list {}"]);
        assert_eq!(uses("read", both).len(), 1, "only what is no tool");
        for other in [
            r#"{"tool_uses":[]}"#,
            r#"{"tool_uses":[{"recipient_name":"functions.rm","parameters":{}}]}"#,
            "{}",
        ] {
            assert!(uses("parallel", other)[0].starts_with("a parallel "), "{other}");
        }
    }

    #[test]
    fn what_nobody_counted_is_bounded() {
        let mut cut = draft(Vec::new());
        cut.say("twelve bytes").unwrap();
        let broken = cut.end(None).unwrap_err();
        assert_eq!((broken.fault.code.as_str(), broken.text.as_str()), ("stream-cut", "twelve bytes"));
        let usage = Usage { input: 10, output: 100, estimated: true, ..Usage::default() };
        assert_eq!(
            broken.usage,
            Some(usage),
            "nobody had begun to count: it may have been all that was asked for"
        );

        let given = Some(Usage { input: 7, ..Usage::default() });
        for (said, output) in [("", 100), ("twelve bytes", 28)] {
            let mut counted = draft(Vec::new());
            counted.given = given;
            counted.say(said).unwrap();
            let usage = counted.end(None).unwrap_err().usage.unwrap();
            assert_eq!((usage.input, usage.output, usage.estimated), (7, output, true), "{said:?}");
        }

        let mut silent = draft(Vec::new());
        silent.say(&"x".repeat(500)).unwrap();
        silent.given = Some(Usage { input: 7, cache_read: 3, ..Usage::default() });
        (silent.output, silent.stop) = (Some(0), Some(Stop::EndTurn));
        let usage = silent.end(None).unwrap().usage;
        assert_eq!((usage.input, usage.cache_read, usage.output, usage.estimated), (7, 3, 100, true));

        let mut nothing = draft(Vec::new());
        nothing.say("hello").unwrap();
        (nothing.given, nothing.output, nothing.stop) =
            (Some(Usage::default()), Some(2), Some(Stop::EndTurn));
        let usage = nothing.end(None).unwrap().usage;
        assert_eq!((usage.input, usage.output, usage.estimated), (10, 2, true), "nobody is asked nothing");

        let mut counted = draft(Vec::new());
        counted.say("hello").unwrap();
        counted.given = Some(Usage { input: 7, ..Usage::default() });
        (counted.output, counted.stop) = (Some(2), Some(Stop::EndTurn));
        let usage = counted.end(None).unwrap().usage;
        assert_eq!((usage.output, usage.estimated), (2, false));
    }

    #[test]
    fn everything_is_bounded() {
        let mut draft = asked(Vec::new(), 1_000_000);
        let numbers: String = (0..).map(|n: u32| format!("{n:08}")).take(128 * 1024).collect();
        let megabyte = numbers.as_str();
        for _ in 0..10 {
            draft.say(megabyte).unwrap();
        }
        assert_eq!(draft.say("x").unwrap_err().code, "reply-too-large");
        draft.args(0, megabyte).unwrap();
        assert!(draft.args(0, "x").is_err());
        assert!(draft.think(TEXT_BYTES).is_ok() && draft.think(1).is_err());
        assert!((1..CALLS_RECORDED).all(|at| draft.call(at, "", "t").is_ok()));
        assert!(draft.call(CALLS_RECORDED, "", "t").is_err());
    }

    #[test]
    fn words_without_end_are_broken_off_and_billed() {
        let mut draft = draft(Vec::new());
        let said = (0..).take_while(|_| draft.say("again ").is_ok()).count();
        assert!((2_700..4_000).contains(&said), "{said}");
        assert_eq!(draft.say(&"again ".repeat(1_000)).unwrap_err().code, "reply-repeats");
        let broken = draft.end(Some(cut("p"))).unwrap_err();
        assert!(broken.usage.unwrap().output > 16_000);
    }

    #[test]
    fn thoughts_without_end_are_broken_off_too_and_thoughts_that_go_on_are_not() {
        let mut lost = asked(Vec::new(), 1_000_000);
        let fault = (0..).find_map(|_| lost.muse("Wait, ").err()).unwrap();
        assert_eq!((fault.code.as_str(), fault.kind), ("reply-repeats", Kind::Transient));
        assert!(
            fault.what.contains("thought the same words") && lost.thought < 2 * REPEATED_BYTES,
            "{fault}"
        );
        let mut sound = asked(Vec::new(), 1_000_000);
        (0..10_000).for_each(|n: u32| sound.muse(&format!("{n}, then ")).unwrap());
        assert!(sound.mind.len() < 2 * REPEATED_BYTES);
    }

    #[test]
    fn what_only_looks_alike_is_not_broken_off() {
        let mut table = asked(Vec::new(), 1_000_000);
        (0..4_000).for_each(|n: u32| table.say(&format!("| {n:05} | 0 | 0 | 0 |\n")).unwrap());
        // A rule, and blanks, are short.
        table.say(&"=".repeat(REPEATED_BYTES - 64)).unwrap();
        table.say("\nand so on\n").unwrap();
        table.say(&" ".repeat(REPEATED_BYTES - 64)).unwrap();
    }

    #[test]
    fn hidden_thinking_may_have_cost_all_that_was_asked_for() {
        let mut draft = draft(Vec::new());
        draft.think(3).unwrap();
        assert_eq!(draft.end(None).unwrap_err().usage.unwrap().output, 100);
    }

    #[test]
    fn a_refusal_calls_nothing_and_a_cut_call_is_not_completed() {
        for (stop, calls) in [(Stop::Refusal, 0), (Stop::MaxTokens, 2)] {
            let mut draft = draft(Vec::new());
            draft.args(0, "{\"a\":\"b\"").unwrap();
            draft.args(1, "{\"a\":\"b\"").unwrap();
            draft.stop = Some(stop);
            let reply = draft.end(None).unwrap();
            assert_eq!((reply.stop, reply.calls.len()), (stop, calls));
            if let [whole, cut] = &reply.calls[..] {
                assert_eq!((&whole.args, cut.args.is_string()), (&json!({"a": "b"}), true));
            }
        }
    }
}
