//! A request as Gemini wants it. Texts are borrowed until they are written.
//!
//! Roles alternate, and a call's result stands right behind it, told apart by its place. Start at [`body`].

use super::schema;
use crate::dialect::Options;
use crate::dialect::body::{Extra, bytes};
use crate::dialect::layout::{Piece, pieces};
use crate::dialect::pairs::paired;
use crate::dialect::picture;
use crate::dialect::thread::{Answer, Call, Said, Thread, Turn, name};
use contract::model::{Image, Request, ToolSpec};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What Kapell sets itself.
const OWN: &[&str] = &["contents", "systemInstruction", "tools", "generationConfig", "cachedContent"];
/// Stands for the signature of a call that another model made: Gemini 3 refuses one without.
const UNSIGNED: &str = "skip_thought_signature_validator";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    generation_config: Config<'a>,
    #[serde(flatten)]
    extra: Extra<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    max_output_tokens: u64,
    #[serde(flatten)]
    extra: Extra<'a>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    role: &'static str,
    parts: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Part<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        thought_signature: Option<&'a str>,
    },
    Call {
        function_call: FunctionCall<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        thought_signature: Option<&'a str>,
    },
    Response {
        function_response: FunctionResponse<'a>,
    },
    Data {
        inline_data: Inline<'a>,
    },
    Own(&'a Value),
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: Cow<'a, str>,
    args: Cow<'a, Value>,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: Cow<'a, str>,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Response<'a> {
    Output(&'a str),
    Error(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inline<'a> {
    mime_type: &'a str,
    data: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
struct Declaration<'a> {
    name: Cow<'a, str>,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
}

/// The request's body.
pub(super) fn body(request: &Request, options: &Options) -> Vec<u8> {
    let messages = paired(&request.messages);
    let thread = Thread::of(&messages, request);
    let signs = signs(&options.name);
    // Pieces borrow from the turns, so they are all laid out before anything is built from them.
    let laid: Vec<Vec<Piece<'_>>> = thread
        .turns
        .iter()
        .map(|turn| if let Turn::Model(said) = turn { pieces(said) } else { Vec::new() })
        .collect();
    let mut contents: Vec<Content<'_>> = Vec::with_capacity(thread.turns.len());
    let mut ids: Vec<Option<&str>> = Vec::new();
    for (turn, pieces) in thread.turns.iter().zip(&laid) {
        match turn {
            Turn::Person(texts) => add(&mut contents, "user", texts.iter().map(|text| plain((*text).into()))),
            Turn::Model(said) => {
                ids = said_ids(pieces);
                add(&mut contents, "model", model(said, pieces, signs));
            }
            Turn::Results(answers) => add(&mut contents, "user", results(answers, &ids)),
        }
    }
    let none = Map::new();
    let config = options.parameters.get("generationConfig").and_then(Value::as_object).unwrap_or(&none);
    let declarations: Vec<Declaration<'_>> = request.tools.iter().map(declaration).collect();
    let tools = if declarations.is_empty() {
        Vec::new()
    } else {
        vec![Tools { function_declarations: declarations }]
    };
    let system = request.system.as_str();
    bytes(&Body {
        system_instruction: (!system.is_empty())
            .then(|| Content { role: "", parts: vec![plain(system.into())] }),
        contents,
        tools,
        generation_config: Config {
            max_output_tokens: request.max_tokens,
            extra: Extra { parameters: config, own: &["maxOutputTokens", "candidateCount"] },
        },
        extra: Extra { parameters: &options.parameters, own: OWN },
    })
}

/// Does this model want every call signed? Those before Gemini 3 do not know the word that stands for a signature.
fn signs(name: &str) -> bool {
    name.starts_with("gemini-") && !name.starts_with("gemini-1") && !name.starts_with("gemini-2")
}

/// Adds parts; a role that speaks twice in a row speaks once.
fn add<'a>(contents: &mut Vec<Content<'a>>, role: &'static str, parts: impl IntoIterator<Item = Part<'a>>) {
    match contents.last_mut() {
        Some(last) if last.role == role => last.parts.extend(parts),
        _ => contents.push(Content { role, parts: parts.into_iter().collect() }),
    }
}

fn plain(text: Cow<'_, str>) -> Part<'_> {
    Part::Text { text, thought_signature: None }
}

/// The ids the model gave its calls itself.
fn said_ids<'a>(pieces: &[Piece<'a>]) -> Vec<Option<&'a str>> {
    let id = |piece: &Piece<'a>| match piece {
        Piece::Call(_, mark) => Some(mark.and_then(|mark| mark["id"].as_str())),
        _ => None,
    };
    pieces.iter().filter_map(id).collect()
}

fn model<'a>(said: &Said<'a>, pieces: &[Piece<'a>], signs: bool) -> Vec<Part<'a>> {
    let signature = |mark: &Option<&'a Value>| mark.and_then(|mark| mark["thoughtSignature"].as_str());
    let mut first = true;
    let mut parts = Vec::with_capacity(pieces.len().max(said.calls.len()));
    for piece in pieces {
        parts.push(match piece {
            Piece::Own(part) => Part::Own(part),
            Piece::Text(text, mark) => {
                Part::Text { text: Cow::Borrowed(*text), thought_signature: signature(mark) }
            }
            Piece::Call(call, mark) => {
                // Of calls in parallel the first one carries the signature.
                let stand_in = (std::mem::take(&mut first) && signs).then_some(UNSIGNED);
                call_part(call, mark.and_then(|mark| mark["id"].as_str()), signature(mark).or(stand_in))
            }
        });
    }
    parts
}

fn call_part<'a>(call: &'a Call<'a>, id: Option<&'a str>, thought_signature: Option<&'a str>) -> Part<'a> {
    let function_call = FunctionCall { id, name: call.tool.clone(), args: Cow::Borrowed(&*call.args) };
    Part::Call { function_call, thought_signature }
}

/// All results first, then their pictures, each with a word on whose it is.
fn results<'a>(answers: &'a [Answer<'a>], ids: &[Option<&'a str>]) -> Vec<Part<'a>> {
    let ids = ids.iter().copied().chain(std::iter::repeat(None));
    let mut parts: Vec<Part<'a>> = answers.iter().zip(ids).map(|(answer, id)| response(answer, id)).collect();
    for answer in answers.iter().filter(|answer| !answer.images.is_empty()) {
        parts.push(plain(format!("Pictures in the result of {}:", answer.tool).into()));
        parts.extend(answer.images.iter().map(picture));
    }
    parts
}

fn response<'a>(answer: &'a Answer<'a>, id: Option<&'a str>) -> Part<'a> {
    let response = if answer.ok { Response::Output(answer.text) } else { Response::Error(answer.text) };
    Part::Response { function_response: FunctionResponse { id, name: answer.tool.clone(), response } }
}

fn picture(image: &Image) -> Part<'_> {
    if !picture::is_seen(image) {
        return plain(picture::unseen(image).into());
    }
    let data = picture::base64(&image.bytes);
    Part::Data { inline_data: Inline { mime_type: &image.media_type, data } }
}

fn declaration(spec: &ToolSpec) -> Declaration<'_> {
    let parameters = Some(schema::accepted(&spec.schema)).filter(|schema| {
        // An object without properties is refused; leaving it out means the same.
        schema["properties"].as_object().is_some_and(|properties| !properties.is_empty())
    });
    Declaration { name: name(&spec.name), description: &spec.description, parameters }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_models_that_ask_for_it_get_a_word_in_place_of_a_signature() {
        assert!(signs("gemini-3-pro-preview") && signs("gemini-4-flash"));
        assert!(!signs("gemini-2.5-pro") && !signs("gemini-1.5-flash") && !signs("gemma-3-27b-it"));
    }
}
