//! The OpenAPI document: the table of routes and the types of its rows, as JSON (OpenAPI 3.1).
//!
//! Adds nothing of its own but what all routes have in common. `docs/openapi.json` is this page as it is committed;
//! `kapell serve --openapi` prints it. Start at [`text`].

use crate::page::{Of, Param};
use crate::route::{COMMON, JSON, Route, Told};
use crate::shape::daemon::Problem;
use axum::http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const PROBLEM: &str = "application/problem+json";
const ABOUT: &str = "What `kapell serve` answers. docs/api.md says what stands behind it: who may speak, how streams go on, \
    what a key is for. Unknown fields of a request are refused; unknown fields of an answer must be skipped.";

/// The document as it is committed, and served at `/v1/openapi.json`.
pub(crate) fn text() -> String {
    let text = serde_json::to_string_pretty(&document(&crate::table())).unwrap_or_default();
    format!("{text}\n")
}

/// Types of bodies and of answers, by name: one as they are read, the other as they are written.
struct Types {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

fn document(table: &[Route]) -> Value {
    let settings = || {
        SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into())
    };
    let mut types = Types {
        read: settings().for_deserialize().into_generator(),
        written: settings().for_serialize().into_generator(),
    };
    let problem = types.written.subschema_for::<Problem>();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in table {
        let operation = operation(route, &mut types);
        let path = paths.entry(route.path).or_insert_with(|| path_params(route.path));
        path.insert(route.method.as_str().to_lowercase(), operation);
    }
    let mut schemas = types.read.take_definitions(true);
    schemas.extend(types.written.take_definitions(true));
    let refusals: Map<String, Value> = refusals(COMMON)
        .into_iter()
        .map(|(status, codes)| (status.to_string(), refusal(status, &codes, &problem)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Kapell", "version": "1", "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:7373", "description": "where `kapell up` listens; the socket needs no credential"}],
        "security": [{"token": []}, {"cookie": [], "proof": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {"Request-Id": header("what the request is called, in logs too", true)},
            "responses": refusals,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "the token of STATE/run/daemon.json"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "kapell-7373", "description": "kapell-PORT, of a login"},
                "proof": {"type": "apiKey", "in": "header", "name": "Kapell-Proof", "description": "the other half of the login"},
            },
        },
    })
}

/// By status, the codes that have it.
fn refusals(codes: &[&'static str]) -> BTreeMap<u16, Vec<&'static str>> {
    let mut by: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for code in codes {
        by.entry(crate::route::status_of(code)).or_default().push(code);
    }
    by
}

fn refusal(status: u16, codes: &[&str], problem: &schemars::Schema) -> Value {
    let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut headers = common_headers();
    match status {
        401 => headers.insert("WWW-Authenticate".into(), header("`Bearer`", true)),
        429 => headers.insert("Retry-After".into(), header("seconds", false)),
        _ => None,
    };
    json!({
        "description": format!("Refused: {}.", codes.join(", ")),
        "headers": headers, "content": {PROBLEM: {"schema": problem}},
    })
}

fn header(what: &str, required: bool) -> Value {
    json!({"description": what, "required": required, "schema": {"type": "string"}})
}

fn common_headers() -> Map<String, Value> {
    Map::from_iter([("Request-Id".to_owned(), json!({"$ref": "#/components/headers/Request-Id"}))])
}

fn operation(route: &Route, types: &mut Types) -> Value {
    let mut responses = Map::new();
    for told in &route.answers {
        answer(told, types, &mut responses);
    }
    let problem = types.written.subschema_for::<Problem>();
    let mut own: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    route.codes().into_iter().for_each(|(status, code)| own.entry(status).or_default().push(code));
    let common = refusals(COMMON);
    for (status, codes) in own {
        let told = match common.get(&status) {
            Some(known) if *known == codes => json!({"$ref": format!("#/components/responses/{status}")}),
            _ => refusal(status, &codes, &problem),
        };
        responses.insert(status.to_string(), told);
    }
    let mut operation = json!({
        "operationId": name(&route.method, route.path), "summary": route.what, "responses": responses,
    });
    let mut params: Vec<Value> = route.params.iter().map(param).collect();
    if route.repeats {
        params.push(json!({
            "name": "Idempotency-Key", "in": "header", "description": "The same one with a repeat of the same request.",
            "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
        }));
    }
    if !params.is_empty() {
        operation["parameters"] = params.into();
    }
    if let Some(body) = route.body {
        let schema = body(&mut types.read);
        operation["requestBody"] = json!({"required": true, "content": {JSON: {"schema": schema}}});
    }
    if !route.bodies.is_empty() {
        let content: Map<String, Value> =
            route.bodies.iter().map(|media| ((*media).to_owned(), json!({"schema": {}}))).collect();
        operation["requestBody"] = json!({"content": content});
    }
    if route.open {
        operation["security"] = json!([]);
    }
    operation
}

/// Several types of one status stand beside each other.
fn answer(told: &Told, types: &mut Types, responses: &mut Map<String, Value>) {
    let mut headers = common_headers();
    headers.extend(told.headers.iter().map(|(name, what)| ((*name).to_owned(), header(what, true))));
    let response = responses
        .entry(told.status.to_string())
        .or_insert_with(|| json!({"description": told.what, "headers": headers}));
    if !told.media.is_empty() {
        let schema = match told.shape {
            Some(shape) => (shape.schema)(&mut types.written).to_value(),
            None => json!({"type": "string"}),
        };
        response["content"][told.media] = json!({"schema": schema});
    }
}

fn param(param: &Param) -> Value {
    let schema = match param.of {
        Of::Text => json!({"type": "string"}),
        Of::Number(from, to) if to == u64::MAX => json!({"type": "integer", "minimum": from}),
        Of::Number(from, to) => json!({"type": "integer", "minimum": from, "maximum": to}),
        Of::Words(words) => json!({"type": "string", "enum": words}),
        Of::Session => json!({"type": "string", "format": "uuid"}),
        Of::Action => json!({"type": "string", "pattern": r"^[0-9]{1,9}\.[0-9]{1,9}$"}),
        Of::Time => json!({"type": "string", "format": "date-time"}),
    };
    json!({"name": param.name, "in": "query", "description": param.what, "required": param.needed, "schema": schema})
}

/// What stands in braces in a path.
fn path_params(path: &str) -> Map<String, Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let params: Vec<Value> = names
        .map(|name| {
            let (what, schema) = match name {
                "id" => ("A session's whole id.", json!({"type": "string", "format": "uuid"})),
                "digest" => ("Which text.", json!({"type": "string", "pattern": "^[0-9a-f]{64}$"})),
                "job" => ("Its name, such as `j1`.", json!({"type": "string", "minLength": 1})),
                "approval" => ("Its name, such as `a12`.", json!({"type": "string", "minLength": 1})),
                _ => ("Which.", json!({"type": "string", "minLength": 1})),
            };
            json!({"name": name, "in": "path", "required": true, "description": what, "schema": schema})
        })
        .collect();
    if params.is_empty() { Map::new() } else { Map::from_iter([("parameters".to_owned(), params.into())]) }
}

/// A name for programs: the method, and the words of the path.
fn name(method: &Method, path: &str) -> String {
    let own = |word: &&str| !word.is_empty() && (*word != "v1" || path == "/v1");
    let words = path.split(['/', '-', '.', '_']).filter(own);
    let words = words.map(|word| match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
        Some(word) => format!("By{}", capital(word)),
        None => capital(word),
    });
    format!("{}{}", method.as_str().to_lowercase(), words.collect::<String>())
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn what_is_committed_is_what_is_served() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert!(committed == text(), "docs/openapi.json is old: kapell serve --openapi > docs/openapi.json");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_name_is_one() {
        let document = document(&crate::table());
        let text = document.to_string();
        let mut seen = 0;
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            seen += 1;
        }
        assert!(seen > 100);
        let mut names = BTreeSet::new();
        for route in crate::table() {
            assert!(names.insert(name(&route.method, route.path)), "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn every_row_says_what_it_answers() {
        for route in crate::table() {
            assert!(
                !route.answers.is_empty() && route.what.ends_with(['.', '?']),
                "{} {}",
                route.method,
                route.path
            );
        }
    }
}
