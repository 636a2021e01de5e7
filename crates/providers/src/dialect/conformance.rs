//! One behaviour for all dialects: the same conversation said in every vendor's bytes gives the same record.
//!
//! The streams are files, `tests/streams/DIALECT/CASE.sse`, in the shape the vendors document. Start at [`said`] (what
//! comes out of streams), [`cut`] (streams that end anywhere) and [`handover`] (conversations under another model).

mod cut;
mod handover;
mod said;

use super::rules::{Row, rows};
use super::sse::{Event, Lines};
use super::{Headers, Options};
use contract::Fault;
use contract::model::{Broken, Message, Reply, Request, ToolSpec};
use serde_json::json;
use std::path::PathBuf;

/// The cases every dialect has a stream of.
const CASES: [&str; 15] = [
    "text",
    "unicode",
    "tool",
    "parallel",
    "thinking",
    "thinking-tool",
    "no-arguments",
    "empty",
    "long",
    "malformed",
    "duplicate-ids",
    "no-usage",
    "odd-usage",
    "failed",
    "refusal",
];

fn file(row: &Row, case: &str, ending: &str) -> Vec<u8> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests/streams", row.name, &format!("{case}.{ending}")].iter().collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn stream(row: &Row, case: &str) -> Vec<u8> {
    file(row, case, "sse")
}

fn request(row: &Row, messages: Vec<Message>) -> Request {
    let schema = json!({
        "type": "object", "$schema": "https://json-schema.org/draft/2020-12/schema", "additionalProperties": false,
        "properties": {"path": {"type": "string"}, "depth": {"type": ["integer", "null"], "exclusiveMinimum": 0}},
        "required": ["path"],
    });
    let tool =
        |name: &str| ToolSpec { name: name.into(), description: "does".into(), schema: schema.clone() };
    Request {
        model: row.options().id,
        system: "be good".into(),
        messages,
        tools: vec![tool("read"), tool("list"), tool("files.mcp/status")],
        max_tokens: 1000,
        ordinal: 6,
        key: "0193-session/1.2".into(),
    }
}

fn asked(row: &Row) -> Request {
    request(row, vec![Message::User { text: "go".into() }])
}

fn events(bytes: &[u8]) -> Vec<Event> {
    let (mut lines, mut events) = (Lines::default(), Vec::new());
    lines.push(bytes, &mut events).expect("no line is too long");
    events
}

/// What is made of these events, and the text that was shown on the way.
fn decoded(row: &Row, events: &[Event]) -> (String, Result<Reply, Broken>) {
    let options: Options = row.options();
    let mut decoder = row.codec.decoder(&asked(row), &options);
    decoder.headers(&Headers::new([("request-id", "req-1"), ("x-request-id", "req-1")]));
    let mut shown = String::new();
    let mut why: Option<Fault> = None;
    for event in events {
        match decoder.event(event) {
            Ok(progress) => {
                shown.push_str(&progress.text);
                if progress.done {
                    break;
                }
            }
            Err(fault) => {
                why = Some(fault);
                break;
            }
        }
    }
    (shown, decoder.finish(why))
}

fn reply(row: &Row, case: &str) -> Result<Reply, Broken> {
    decoded(row, &events(&stream(row, case))).1
}

/// Every word of a schema that a dialect sends.
fn words(schema: &serde_json::Value, into: &mut Vec<String>) {
    if let Some(object) = schema.as_object() {
        into.extend(object.keys().cloned());
        object["type"].as_str().unwrap_or_else(|| panic!("no type: {schema}"));
        let inner =
            object.get("properties").and_then(|all| all.as_object()).into_iter().flat_map(|all| all.values());
        inner.chain(object.get("items")).for_each(|schema| words(schema, into));
    }
}

#[test]
fn kapells_own_tools_are_taken_by_every_dialect() {
    let specs: Vec<ToolSpec> =
        tools::all(&tools::Options::default()).iter().map(|tool| tool.spec()).collect();
    for row in rows() {
        let request = Request { tools: specs.clone(), ..asked(&row) };
        let body: serde_json::Value =
            serde_json::from_slice(&row.codec.encode(&request, &row.options()).body).unwrap();
        let sent = match &body["tools"][0]["functionDeclarations"] {
            serde_json::Value::Array(all) => all.clone(),
            _ => body["tools"].as_array().unwrap().clone(),
        };
        assert_eq!(sent.len(), specs.len(), "{}", row.name);
        for (tool, spec) in sent.iter().zip(&specs) {
            let tool = tool.get("function").unwrap_or(tool);
            assert_eq!(
                (&tool["name"], &tool["description"]),
                (&json!(spec.name), &json!(spec.description)),
                "{}",
                row.name
            );
            let schema = ["input_schema", "parameters", "parametersJsonSchema"]
                .into_iter()
                .find_map(|name| tool.get(name));
            let mut said = Vec::new();
            words(schema.unwrap_or_else(|| panic!("{}: {tool}", row.name)), &mut said);
            let gemini = body["tools"][0].get("functionDeclarations").is_some();
            assert!(
                !gemini || !said.iter().any(|word| word == "additionalProperties"),
                "{}: {}",
                row.name,
                spec.name
            );
        }
    }
}

#[test]
fn every_row_has_every_case() {
    for row in rows() {
        CASES.iter().for_each(|case| assert!(!stream(&row, case).is_empty()));
    }
}
