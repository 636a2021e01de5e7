//! A request as Responses wants it. Texts are borrowed until they are written.
//!
//! Start at [`body`].

use crate::dialect::Options;
use crate::dialect::body::{Extra, bytes};
use crate::dialect::layout::{Piece, pieces};
use crate::dialect::pairs::paired;
use crate::dialect::picture;
use crate::dialect::read::text;
use crate::dialect::thread::{Answer, Said, Thread, Turn, name, session};
use contract::model::{Request, ToolSpec};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// What Kapell sets itself.
const OWN: &[&str] = &[
    "model",
    "instructions",
    "input",
    "tools",
    "stream",
    "store",
    "include",
    "max_output_tokens",
    "prompt_cache_key",
    "previous_response_id",
    "conversation",
    "background",
];
/// Beginnings of the names of models that do not reason, and refuse to be asked for what they thought.
const UNTHINKING: &[&str] = &["gpt-3", "gpt-4", "gpt-5-chat", "chatgpt-", "ft:gpt-3", "ft:gpt-4"];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
    input: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    include: &'static [&'static str],
    max_output_tokens: u64,
    prompt_cache_key: &'a str,
    #[serde(flatten)]
    extra: Extra<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    Message {
        role: &'static str,
        content: Vec<Part<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<&'a Value>,
    },
    FunctionCall {
        call_id: Cow<'a, str>,
        name: Cow<'a, str>,
        arguments: String,
    },
    FunctionCallOutput {
        call_id: Cow<'a, str>,
        output: Output<'a>,
    },
    #[serde(untagged)]
    Own(Value),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Output<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    InputText { text: Cow<'a, str> },
    OutputText { text: &'a str },
    InputImage { image_url: String },
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: Cow<'a, str>,
    description: &'a str,
    parameters: Cow<'a, Value>,
    strict: bool,
}

/// The request's body.
pub(super) fn body(request: &Request, options: &Options) -> Vec<u8> {
    let messages = paired(&request.messages);
    let thread = Thread::of(&messages, request);
    let mut input = Vec::with_capacity(messages.len());
    for turn in &thread.turns {
        match turn {
            Turn::Person(texts) => {
                let content =
                    texts.iter().map(|text| Part::InputText { text: Cow::Borrowed(*text) }).collect();
                input.push(Item::Message { role: "user", content, phase: None });
            }
            Turn::Model(said) => model(said, &mut input),
            Turn::Results(answers) => input.extend(answers.iter().map(output)),
        }
    }
    let thinks = !UNTHINKING.iter().any(|begin| options.name.starts_with(begin));
    bytes(&Body {
        model: &options.name,
        instructions: &request.system,
        input,
        tools: request.tools.iter().map(tool).collect(),
        stream: true,
        store: false,
        include: if thinks { &["reasoning.encrypted_content"] } else { &[] },
        max_output_tokens: request.max_tokens,
        prompt_cache_key: session(&request.key),
        extra: Extra { parameters: &options.parameters, own: OWN },
    })
}

fn model<'a>(said: &'a Said<'a>, input: &mut Vec<Item<'a>>) {
    for piece in pieces(said) {
        match piece {
            Piece::Text("", _) => {}
            Piece::Text(text, mark) => input.push(Item::Message {
                role: "assistant",
                content: vec![Part::OutputText { text }],
                phase: mark.and_then(|mark| mark.get("phase")),
            }),
            Piece::Call(call, _) => input.push(Item::FunctionCall {
                call_id: call.id.clone(),
                name: call.tool.clone(),
                arguments: call.args.to_string(),
            }),
            // Without its encrypted content an item would be looked for where nothing is stored.
            Piece::Own(item) if text(item, "encrypted_content").is_empty() => {}
            Piece::Own(item) => input.push(Item::Own(item.clone())),
        }
    }
    // Reasoning has to be followed by what it led to.
    while matches!(input.last(), Some(Item::Own(_))) {
        input.pop();
    }
}

fn output<'a>(answer: &'a Answer<'a>) -> Item<'a> {
    let call_id = answer.id.clone();
    if answer.images.is_empty() {
        return Item::FunctionCallOutput { call_id, output: Output::Text(answer.text) };
    }
    let mut parts = vec![Part::InputText { text: answer.text.into() }];
    parts.extend(answer.images.iter().map(|image| match picture::is_seen(image) {
        true => Part::InputImage { image_url: picture::data_url(image) },
        false => Part::InputText { text: picture::unseen(image).into() },
    }));
    Item::FunctionCallOutput { call_id, output: Output::Parts(parts) }
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    let parameters = match spec.schema.is_object() {
        true => Cow::Borrowed(&spec.schema),
        false => Cow::Owned(json!({ "type": "object", "properties": {} })),
    };
    let name = name(&spec.name);
    Tool { kind: "function", name, description: &spec.description, parameters, strict: false }
}
