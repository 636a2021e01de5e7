//! A request as Chat Completions wants it. Texts are borrowed until they are written.
//!
//! Start at [`body`].

use super::flavour::{Back, Flavour, Limit};
use crate::dialect::body::{Extra, bytes};
use crate::dialect::layout::{Piece, pieces};
use crate::dialect::pairs::paired;
use crate::dialect::picture;
use crate::dialect::thread::{Answer, Call, Said, Thread, Turn, name, session};
use crate::dialect::{Options, Server};
use contract::model::{Image, Request, ToolSpec};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Fields that some servers refuse, though the description has them; nothing depends on them but figures.
pub(crate) const OPTIONAL: [&str; 3] = [STREAM_OPTIONS, PARALLEL, CACHE_KEY];
const STREAM_OPTIONS: &str = "stream_options";
const PARALLEL: &str = "parallel_tool_calls";
const CACHE_KEY: &str = "prompt_cache_key";
/// Messages of people and tools that get a mark for the cache: the newest for the next call, the one before for this.
const MARKED: usize = 2;
/// What Kapell sets itself.
const OWN: &[&str] = &[
    "model",
    "messages",
    "tools",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "prompt_cache_key",
    "n",
];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(flatten)]
    extra: Extra<'a>,
}

#[derive(Serialize)]
struct Line<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(flatten)]
    own: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Mark>,
    },
    ImageUrl {
        image_url: Url,
    },
}

/// The cache may end here.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Mark {
    Ephemeral,
}

#[derive(Serialize)]
struct Url {
    url: String,
}

#[derive(Serialize)]
struct CallLine<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    arguments: String,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    name: Cow<'a, str>,
    description: &'a str,
    parameters: Cow<'a, Value>,
}

/// The request's body.
pub(super) fn body(request: &Request, options: &Options) -> Vec<u8> {
    let flavour = Flavour::of(options);
    let messages = paired(&request.messages);
    let thread = Thread::of(&messages, request);
    let mut lines = Vec::with_capacity(messages.len() + 1);
    if !request.system.is_empty() {
        lines.push(line("system", Some(Content::Text(request.system.as_str().into()))));
    }
    for turn in &thread.turns {
        match turn {
            Turn::Person(texts) => lines.push(person(texts, Vec::new())),
            Turn::Model(said) => lines.push(model(said, flavour)),
            Turn::Results(answers) => results(answers, flavour, &mut lines),
        }
    }
    if flavour.alternates {
        lines = alternating(lines);
    } else {
        lines = without_double_persons(lines);
    }
    if marks(options) {
        mark(&mut lines);
    }
    let limit = Some(request.max_tokens);
    let takes = |field: &str| !options.without.contains(&field);
    bytes(&Body {
        model: &options.name,
        messages: lines,
        tools: request.tools.iter().map(tool).collect(),
        parallel_tool_calls: (flavour.parallel && !request.tools.is_empty() && takes(PARALLEL))
            .then_some(true),
        stream: true,
        stream_options: takes(STREAM_OPTIONS).then(|| json!({ "include_usage": true })),
        max_tokens: limit.filter(|_| flavour.limit == Limit::Tokens),
        max_completion_tokens: limit.filter(|_| flavour.limit == Limit::Completion),
        prompt_cache_key: (flavour.cache_key && takes(CACHE_KEY)).then(|| session(&request.key)),
        extra: Extra { parameters: &options.parameters, own: OWN },
    })
}

/// Behind OpenRouter, Anthropic's models keep only what is marked.
fn marks(options: &Options) -> bool {
    options.server == Server::OpenRouter && options.name.starts_with("anthropic/")
}

fn mark(lines: &mut [Line<'_>]) {
    let (first, rest) =
        lines.split_at_mut(usize::from(lines.first().is_some_and(|line| line.role == "system")));
    let newest = rest.iter_mut().rev().filter(|line| line.role != "assistant").take(MARKED);
    for line in first.iter_mut().chain(newest) {
        let mut parts = match line.content.take() {
            Some(Content::Text(text)) if text.is_empty() => {
                line.content = Some(Content::Text(text));
                continue;
            }
            Some(Content::Text(text)) => vec![said_part(text)],
            Some(Content::Parts(parts)) => parts,
            None => continue,
        };
        let last = parts.iter_mut().rev().find_map(|part| match part {
            Part::Text { cache_control, .. } => Some(cache_control),
            Part::ImageUrl { .. } => None,
        });
        if let Some(last) = last {
            *last = Some(Mark::Ephemeral);
        }
        line.content = Some(Content::Parts(parts));
    }
}

fn said_part(text: Cow<'_, str>) -> Part<'_> {
    Part::Text { text, cache_control: None }
}

fn line<'a>(role: &'static str, content: Option<Content<'a>>) -> Line<'a> {
    Line { role, content, tool_calls: Vec::new(), tool_call_id: None, own: Map::new() }
}

/// One text, or several as one.
fn joined<'a>(texts: &[&'a str]) -> Cow<'a, str> {
    match texts {
        [text] => Cow::Borrowed(text),
        texts => Cow::Owned(texts.join("\n\n")),
    }
}

fn person<'a>(texts: &[&'a str], mut parts: Vec<Part<'a>>) -> Line<'a> {
    if parts.is_empty() {
        return line("user", Some(Content::Text(joined(texts))));
    }
    parts.extend((!texts.is_empty()).then(|| said_part(joined(texts))));
    line("user", Some(Content::Parts(parts)))
}

fn model<'a>(said: &'a Said<'a>, flavour: Flavour) -> Line<'a> {
    let text = Content::Text(said.text.into());
    let content = (!said.text.is_empty() || !flavour.null_text || said.calls.is_empty()).then_some(text);
    let mut line = line("assistant", content);
    let goes_back = flavour.back == Back::Always || !said.calls.is_empty();
    for piece in pieces(said) {
        match piece {
            Piece::Text(..) => {}
            Piece::Call(call, mark) => line.tool_calls.push(call_line(call, mark)),
            Piece::Own(block) => {
                let fields = block.as_object().filter(|_| goes_back).into_iter().flatten();
                line.own.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
            }
        }
    }
    if let Some(field) = flavour.owed {
        line.own.entry(field).or_insert_with(|| "".into());
    }
    line
}

fn call_line<'a>(call: &'a Call<'a>, mark: Option<&Value>) -> CallLine<'a> {
    let function = Function { name: call.tool.clone(), arguments: call.args.to_string() };
    CallLine { id: call.id.clone(), kind: "function", function, extra_content: mark.cloned() }
}

/// The results, each in a message of its own; their pictures in one from the person behind them, because a tool's message
/// has text only.
fn results<'a>(answers: &'a [Answer<'a>], flavour: Flavour, lines: &mut Vec<Line<'a>>) {
    let mut pictures = Vec::new();
    for answer in answers {
        let (shown, other): (Vec<&Image>, Vec<&Image>) =
            answer.images.iter().partition(|image| flavour.images && picture::is_seen(image));
        let notes: Vec<String> = other.into_iter().map(picture::unseen).collect();
        let text = match notes.is_empty() {
            true => Cow::Borrowed(answer.text),
            false => Cow::Owned(format!("{}\n{}", answer.text, notes.join("\n"))),
        };
        let mut line = line("tool", Some(Content::Text(text)));
        line.tool_call_id = Some(answer.id.clone());
        lines.push(line);
        if !shown.is_empty() {
            let text = format!("Pictures in the result of the call {}:", answer.id);
            pictures.push(said_part(text.into()));
            pictures.extend(
                shown
                    .into_iter()
                    .map(|image| Part::ImageUrl { image_url: Url { url: picture::data_url(image) } }),
            );
        }
    }
    if !pictures.is_empty() {
        lines.push(person(&[], pictures));
    }
}

/// Pictures of results and what the person said behind them are one message.
fn without_double_persons(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    merged(lines, |role| role == "user")
}

/// No two messages of one role in a row, but the results of tools.
fn alternating(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    merged(lines, |role| role == "user" || role == "assistant")
}

fn merged(lines: Vec<Line<'_>>, one: fn(&str) -> bool) -> Vec<Line<'_>> {
    let mut out: Vec<Line<'_>> = Vec::with_capacity(lines.len());
    for line in lines {
        match out.last_mut() {
            Some(last) if last.role == line.role && one(line.role) => {
                last.content = both(last.content.take(), line.content);
                last.tool_calls.extend(line.tool_calls);
                last.own.extend(line.own);
            }
            _ => out.push(line),
        }
    }
    out
}

fn both<'a>(first: Option<Content<'a>>, second: Option<Content<'a>>) -> Option<Content<'a>> {
    let parts = |content| match content {
        Content::Text(text) if text.is_empty() => Vec::new(),
        Content::Text(text) => vec![said_part(text)],
        Content::Parts(parts) => parts,
    };
    match (first, second) {
        (Some(Content::Text(first)), Some(Content::Text(second))) => {
            Some(Content::Text(format!("{first}\n\n{second}").into()))
        }
        (Some(first), Some(second)) => {
            Some(Content::Parts(parts(first).into_iter().chain(parts(second)).collect()))
        }
        (first, second) => first.or(second),
    }
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    let parameters = match spec.schema.is_object() {
        true => Cow::Borrowed(&spec.schema),
        false => Cow::Owned(json!({ "type": "object", "properties": {} })),
    };
    let function = Spec { name: name(&spec.name), description: &spec.description, parameters };
    Tool { kind: "function", function }
}
