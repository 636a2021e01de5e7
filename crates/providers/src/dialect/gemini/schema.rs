//! JSON Schema as Gemini takes it: a subset of OpenAPI 3.0, in which everything else is refused.
//!
//! What is left out only widens what the model may write; the tool itself checks its arguments. Start at [`accepted`].

use serde_json::{Map, Value, json};

/// Keywords that stay as they are.
const KEPT: &[&str] = &[
    "title",
    "description",
    "nullable",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "pattern",
    "default",
    "example",
    "propertyOrdering",
];
/// Formats it knows.
const FORMATS: &[&str] = &["enum", "date-time", "int32", "int64", "float", "double"];
/// How deep references are followed: a schema that contains itself ends here.
const DEPTH: usize = 16;

/// The schema with what Gemini refuses left out or said otherwise.
pub(super) fn accepted(schema: &Value) -> Value {
    Scope { root: schema }.accepted(schema, DEPTH)
}

struct Scope<'a> {
    root: &'a Value,
}

impl Scope<'_> {
    fn accepted(&self, schema: &Value, depth: usize) -> Value {
        let Some(object) = schema.as_object() else { return json!({ "type": "string" }) };
        if depth == 0 {
            return json!({ "type": "object" });
        }
        if let Some(target) = object.get("$ref").and_then(Value::as_str) {
            let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            let mut out = found.map_or(json!({ "type": "object" }), |found| self.accepted(found, depth - 1));
            if let Some(description) = object.get("description") {
                out["description"] = description.clone();
            }
            return out;
        }
        let merged = self.merged(object, depth);
        let object = merged.as_ref().unwrap_or(object);
        let mut out = Map::new();
        for (word, value) in object {
            if KEPT.contains(&word.as_str()) && !value.is_null() {
                out.insert(word.clone(), value.clone());
            }
        }
        self.kind(object, &mut out, depth);
        self.choices(object, &mut out);
        if let Some(format) =
            object.get("format").filter(|format| FORMATS.iter().any(|known| *format == known))
        {
            out.insert("format".into(), format.clone());
        }
        self.inside(object, &mut out, depth);
        Value::Object(out)
    }

    /// `allOf` is one object.
    fn merged(&self, object: &Map<String, Value>, depth: usize) -> Option<Map<String, Value>> {
        let all = object.get("allOf")?.as_array()?;
        let mut out = object.clone();
        out.remove("allOf");
        for part in all {
            let Value::Object(part) = self.accepted(part, depth - 1) else { continue };
            for (word, value) in part {
                match (out.get_mut(&word), value) {
                    (Some(Value::Object(before)), Value::Object(more)) => before.extend(more),
                    (Some(Value::Array(before)), Value::Array(more)) => before.extend(more),
                    (Some(_), _) => {}
                    (None, value) => drop(out.insert(word, value)),
                }
            }
        }
        Some(out)
    }

    /// One type; a list of them is a choice, and null among them is a word of its own.
    fn kind(&self, object: &Map<String, Value>, out: &mut Map<String, Value>, depth: usize) {
        let mut choices: Vec<Value> = ["anyOf", "oneOf"]
            .into_iter()
            .flat_map(|word| object.get(word).and_then(Value::as_array).into_iter().flatten())
            .map(|choice| self.accepted(choice, depth - 1))
            .collect();
        match object.get("type") {
            Some(Value::String(kind)) => drop(out.insert("type".into(), kind.as_str().into())),
            Some(Value::Array(kinds)) => {
                let kinds: Vec<&Value> = kinds.iter().filter(|kind| *kind != "null").collect();
                if let [kind] = kinds[..] {
                    out.insert("type".into(), kind.clone());
                } else {
                    choices.extend(kinds.into_iter().map(|kind| {
                        let mut one = object.clone();
                        one.insert("type".into(), kind.clone());
                        one.retain(|word, _| {
                            !matches!(word.as_str(), "anyOf" | "oneOf" | "title" | "description")
                        });
                        self.accepted(&one.into(), depth - 1)
                    }));
                }
                if object["type"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "null")) {
                    out.insert("nullable".into(), true.into());
                }
            }
            _ => {}
        }
        let all = choices.len();
        choices.retain(|choice| choice["type"] != "null");
        if choices.len() < all {
            out.insert("nullable".into(), true.into());
        }
        match choices.len() {
            0 => {}
            1 => {
                let Some(Value::Object(only)) = choices.pop() else { return };
                for (word, value) in only {
                    out.entry(word).or_insert(value);
                }
            }
            _ => {
                // Beside `anyOf` nothing but words about it is taken.
                out.retain(|word, _| matches!(word.as_str(), "title" | "description" | "nullable"));
                out.insert("anyOf".into(), choices.into());
            }
        }
        if !out.contains_key("type") && !out.contains_key("anyOf") {
            let kind = if object.contains_key("properties") {
                "object"
            } else if object.contains_key("items") {
                "array"
            } else {
                "string"
            };
            out.insert("type".into(), kind.into());
        }
    }

    /// `enum` and `const`: of texts only.
    fn choices(&self, object: &Map<String, Value>, out: &mut Map<String, Value>) {
        let fixed = object.get("const").cloned().map(|value| vec![value]);
        let listed = object.get("enum").and_then(Value::as_array).cloned();
        let Some(mut values) = fixed.or(listed).filter(|_| out.get("type") == Some(&json!("string"))) else {
            return;
        };
        values.retain(|value| value.as_str().is_some_and(|text| !text.is_empty()));
        if !values.is_empty() {
            out.insert("enum".into(), values.into());
        }
    }

    fn inside(&self, object: &Map<String, Value>, out: &mut Map<String, Value>, depth: usize) {
        if out.get("type") == Some(&json!("array")) {
            let items = object
                .get("items")
                .map_or(json!({ "type": "string" }), |items| self.accepted(items, depth - 1));
            out.insert("items".into(), items);
        }
        let Some(properties) = object.get("properties").and_then(Value::as_object) else { return };
        if out.get("type") != Some(&json!("object")) {
            return;
        }
        let required = object.get("required").and_then(Value::as_array).into_iter().flatten();
        let required: Vec<Value> = required
            .filter(|name| name.as_str().is_some_and(|name| properties.contains_key(name)))
            .cloned()
            .collect();
        let taken = properties.iter().map(|(name, schema)| (name.clone(), self.accepted(schema, depth - 1)));
        out.insert("properties".into(), Value::Object(taken.collect()));
        if !required.is_empty() {
            out.insert("required".into(), required.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_left_out_or_said_otherwise() {
        let table = [
            (
                json!({"type": "object", "additionalProperties": false, "$schema": "x", "required": ["a", "z"],
                    "properties": {"a": {"type": ["string", "null"], "examples": [1]}, "b": {"const": "x"}}}),
                json!({"type": "object", "required": ["a"],
                    "properties": {"a": {"type": "string", "nullable": true}, "b": {"type": "string", "enum": ["x"]}}}),
            ),
            (
                json!({"type": "array", "uniqueItems": true}),
                json!({"type": "array", "items": {"type": "string"}}),
            ),
            (
                json!({"type": "integer", "enum": [1, 2], "format": "uint64", "exclusiveMinimum": 0, "minimum": 1}),
                json!({"type": "integer", "minimum": 1}),
            ),
            (
                json!({"oneOf": [{"type": "string"}, {"type": "null"}], "description": "d"}),
                json!({"type": "string", "nullable": true, "description": "d"}),
            ),
            (
                json!({"type": ["string", "integer"], "description": "d"}),
                json!({"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "d"}),
            ),
            (
                json!({"$defs": {"p": {"type": "string", "format": "uri"}}, "type": "object",
                    "properties": {"p": {"$ref": "#/$defs/p", "description": "d"}}}),
                json!({"type": "object", "properties": {"p": {"type": "string", "description": "d"}}}),
            ),
            (
                json!({"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}], "type": "object",
                    "properties": {"b": {"type": "number"}}}),
                json!({"type": "object", "required": ["a"],
                    "properties": {"a": {"type": "string"}, "b": {"type": "number"}}}),
            ),
            (json!(true), json!({"type": "string"})),
        ];
        for (schema, taken) in table {
            assert_eq!(accepted(&schema), taken, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(accepted(&schema).to_string().len() < 2_000);
    }
}
