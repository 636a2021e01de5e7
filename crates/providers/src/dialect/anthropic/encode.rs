//! A request as Messages wants it. Texts are borrowed until they are written.
//!
//! Marks for the cache stand on the last tool, the system text and the last turns of the person. Start at [`body`].

use crate::dialect::Options;
use crate::dialect::body::{Extra, bytes};
use crate::dialect::layout::{Piece, pieces};
use crate::dialect::pairs::paired;
use crate::dialect::picture;
use crate::dialect::thread::{Answer, Said, Thread, Turn, name};
use contract::model::{Image, Request};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;

/// Turns of the person that get a mark for the cache: this one's for the next call, the one before's for this.
const MARKED_TURNS: usize = 2;
/// What Kapell sets itself.
const OWN: &[&str] = &["model", "max_tokens", "stream", "system", "messages", "tools"];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<Line<'a>>,
    #[serde(flatten)]
    extra: Extra<'a>,
}

#[derive(Serialize)]
struct Line<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

/// The cache may end here: all before is the same in the next call.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Mark {
    Ephemeral,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Mark>,
    },
    Image {
        source: Source<'a>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: &'a Value,
    },
    ToolResult {
        tool_use_id: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Mark>,
    },
    #[serde(untagged)]
    Own(&'a Value),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Base64 { media_type: &'a str, data: String },
}

#[derive(Serialize)]
struct Tool<'a> {
    name: Cow<'a, str>,
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Mark>,
}

/// The request's body.
pub(super) fn body(request: &Request, options: &Options) -> Vec<u8> {
    let messages = paired(&request.messages);
    let thread = Thread::of(&messages, request);
    let mut system = Vec::from_iter(words(&request.system));
    system.iter_mut().for_each(mark);
    let last = request.tools.len().saturating_sub(1);
    let tools = request.tools.iter().enumerate().map(|(at, tool)| Tool {
        name: name(&tool.name),
        description: &tool.description,
        input_schema: &tool.schema,
        cache_control: (at == last).then_some(Mark::Ephemeral),
    });
    bytes(&Body {
        model: &options.name,
        max_tokens: request.max_tokens,
        stream: true,
        system,
        tools: tools.collect(),
        messages: lines(&thread),
        extra: Extra { parameters: &options.parameters, own: OWN },
    })
}

/// Turns by turn: what several messages say for the person is one turn.
fn lines<'a>(thread: &'a Thread<'a>) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::with_capacity(thread.turns.len());
    for turn in &thread.turns {
        let (role, content) = match turn {
            Turn::Person(texts) => ("user", texts.iter().filter_map(|text| words(text)).collect()),
            Turn::Model(words) => ("assistant", said(words)),
            Turn::Results(answers) => ("user", answers.iter().map(result).collect::<Vec<_>>()),
        };
        match lines.last_mut() {
            _ if content.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(content),
            _ => lines.push(Line { role, content }),
        }
    }
    let marked = lines.iter_mut().rev().filter(|line| line.role == "user").take(MARKED_TURNS);
    marked.filter_map(|line| line.content.last_mut()).for_each(mark);
    lines
}

fn mark(block: &mut Block<'_>) {
    if let Block::Text { cache_control, .. } | Block::ToolResult { cache_control, .. } = block {
        *cache_control = Some(Mark::Ephemeral);
    }
}

fn words(text: &str) -> Option<Block<'_>> {
    (!text.trim().is_empty()).then_some(Block::Text { text: Cow::Borrowed(text), cache_control: None })
}

fn result<'a>(answer: &'a Answer<'a>) -> Block<'a> {
    let mut content = Vec::from_iter(words(answer.text));
    content.extend(answer.images.iter().map(shown));
    Block::ToolResult { tool_use_id: &answer.id, content, is_error: !answer.ok, cache_control: None }
}

fn shown(image: &Image) -> Block<'_> {
    if !picture::is_seen(image) {
        return Block::Text { text: picture::unseen(image).into(), cache_control: None };
    }
    let data = picture::base64(&image.bytes);
    Block::Image { source: Source::Base64 { media_type: &image.media_type, data } }
}

/// What the model said, as it said it; without what it thought where that is not to be shown or not known.
fn said<'a>(said: &'a Said<'a>) -> Vec<Block<'a>> {
    let block = |piece| match piece {
        Piece::Own(block) => Some(Block::Own(block)),
        Piece::Text(text, _) => words(text),
        Piece::Call(call, _) => Some(Block::ToolUse { id: &call.id, name: &call.tool, input: &call.args }),
    };
    let mut blocks: Vec<Block<'a>> = pieces(said).into_iter().filter_map(block).collect();
    // Thoughts that led to nothing are no message, and none ends with them.
    while matches!(blocks.last(), Some(Block::Own(_))) {
        blocks.pop();
    }
    blocks
}
