//! What a server says it can do: bounded, cleaned, and with a hash over every word it used.
//! Knows no session and no file. Start at [`Listed::read`].

use contract::Digest;
use contract::text::{bounded, clean, is_hidden};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Tools of one server.
pub(crate) const TOOLS: usize = 256;
/// Characters of a name, as the protocol has it.
const NAME_CHARS: usize = 128;
/// Bytes of a description as it comes; a longer one is no description.
const DESCRIPTION_BYTES: usize = 16 * 1024;
/// Bytes of it that a model is shown.
const SHOWN_BYTES: usize = 1_500;
/// Bytes of a schema, and of all of a tool.
const SCHEMA_BYTES: usize = 32 * 1024;
/// Levels in a schema.
const DEPTH: usize = 24;
/// Bytes of a text in a schema.
const TEXT_BYTES: usize = 500;

/// One tool, as it may be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name at the server.
    pub name: String,
    /// What it does, in the server's words; cleaned.
    pub description: String,
    /// JSON Schema of its arguments; texts in it are cleaned.
    pub schema: Value,
    /// The server says that it only reads; shown to people, believed by nobody.
    pub reads: bool,
    /// Over every word as it came.
    pub digest: Digest,
}

/// What a server lists.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Listed {
    /// What can be offered.
    pub tools: Vec<Entry>,
    /// What cannot, and why.
    pub refused: Vec<(String, String)>,
}

impl Listed {
    /// From its list as it came.
    pub(crate) fn read(tools: &[Value]) -> Self {
        let (mut listed, mut names) = (Self::default(), BTreeSet::new());
        for tool in tools {
            let name = tool["name"].as_str().unwrap_or_default();
            let read = entry(name, tool).and_then(|entry| match names.insert(name.to_ascii_lowercase()) {
                true => Ok(entry),
                false => Err("another tool has that name".to_owned()),
            });
            match read {
                Ok(_) if listed.tools.len() == TOOLS => {
                    listed.refused.push((name.to_owned(), format!("a server has at most {TOOLS} tools")));
                    break;
                }
                Ok(entry) => listed.tools.push(entry),
                Err(why) => listed.refused.push((bounded(name, 64), why)),
            }
            if listed.refused.len() > TOOLS {
                break;
            }
        }
        listed
    }

    /// The tool of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// What differs from what a person took in: names, and how.
    pub fn differs(&self, taken: &[Entry]) -> Vec<(String, &'static str)> {
        let now = self.tools.iter().filter_map(|tool| match taken.iter().find(|it| it.name == tool.name) {
            None => Some((tool.name.clone(), "new")),
            Some(then) if then.digest != tool.digest => Some((tool.name.clone(), "changed")),
            Some(_) => None,
        });
        let gone = taken.iter().filter(|then| self.get(&then.name).is_none());
        now.chain(gone.map(|then| (then.name.clone(), "gone"))).collect()
    }
}

fn entry(name: &str, tool: &Value) -> Result<Entry, String> {
    // Letters of other scripts look like these, and some show nothing at all.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    if name.is_empty() || name.len() > NAME_CHARS || !name.bytes().all(fits) {
        return Err(format!(
            "its name is not made of up to {NAME_CHARS} letters, digits, `_`, `-`, `.` and `/`"
        ));
    }
    let said = tool["description"].as_str().unwrap_or_default();
    if said.len() > DESCRIPTION_BYTES {
        return Err(format!("its description has {} bytes; {DESCRIPTION_BYTES} are read", said.len()));
    }
    let raw = json!([name, tool["title"], tool["description"], tool["inputSchema"], tool["annotations"]]);
    let text = raw.to_string();
    if text.len() > SCHEMA_BYTES {
        return Err(format!("its description and schema have {} bytes; {SCHEMA_BYTES} are read", text.len()));
    }
    let mut schema = shown(&tool["inputSchema"], 0)?;
    let Some(object) = schema.as_object_mut() else { return Err("its schema is no object".to_owned()) };
    if object.get("type").is_some_and(|kind| kind != "object") {
        return Err("its schema is not about an object".to_owned());
    }
    object.insert("type".to_owned(), "object".into());
    object.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    let reads = tool["annotations"]["readOnlyHint"] == true && tool["annotations"]["destructiveHint"] != true;
    let description = bounded(&clean(said), SHOWN_BYTES);
    Ok(Entry { name: name.to_owned(), description, schema, reads, digest: Digest::of(text.as_bytes()) })
}

/// A schema with its texts cleaned. What says where it comes from is left out: no model needs it, some refuse it.
fn shown(schema: &Value, depth: usize) -> Result<Value, String> {
    if depth > DEPTH {
        return Err(format!("its schema has more than {DEPTH} levels"));
    }
    Ok(match schema {
        Value::Null if depth == 0 => json!({}),
        Value::String(text) => bounded(text, TEXT_BYTES).into(),
        Value::Array(items) => items.iter().map(|item| shown(item, depth + 1)).collect::<Result<_, _>>()?,
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                if key.chars().any(|c| c.is_control() || is_hidden(c)) || key.len() > NAME_CHARS {
                    return Err("its schema has a name with characters that hide".to_owned());
                }
                if !(matches!(key.as_str(), "$schema" | "$id" | "$comment") && value.is_string()) {
                    out.insert(key.clone(), shown(value, depth + 1)?);
                }
            }
            Value::Object(out)
        }
        plain => plain.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, description: &str) -> Value {
        json!({"name": name, "description": description, "inputSchema": {"type": "object", "$schema": "x"}})
    }

    fn why(tool: Value) -> String {
        let listed = Listed::read(&[tool]);
        assert!(listed.tools.is_empty(), "{listed:?}");
        listed.refused[0].1.clone()
    }

    #[test]
    fn what_hides_or_floods_is_not_offered() {
        for (bad, word) in [
            (tool("", ""), "name"),
            (tool("re\u{430}d", ""), "name"),
            (tool("read\u{e0041}", ""), "name"),
            (tool(&"x".repeat(129), ""), "name"),
            (tool("a", &"x".repeat(1 << 20)), "description"),
            (json!({"name": "a", "inputSchema": {"type": "string"}}), "object"),
            (json!({"name": "a", "inputSchema": []}), "object"),
            (json!({"name": "a", "inputSchema": {"x": "y".repeat(40_000)}}), "bytes"),
            (json!({"name": "a", "inputSchema": {"properties": {"a\u{202e}": {}}}}), "hide"),
        ] {
            assert!(why(bad.clone()).contains(word), "{bad} {word}");
        }
        let mut deep = json!({});
        (0..40).for_each(|_| deep = json!({"items": deep}));
        assert!(why(json!({"name": "a", "inputSchema": deep})).contains("levels"));
        let twice = Listed::read(&[tool("a", ""), tool("A", "")]);
        assert_eq!((twice.tools.len(), twice.refused.len()), (1, 1));
        let many: Vec<Value> = (0..2 * TOOLS).map(|n| tool(&format!("t{n}"), "")).collect();
        assert_eq!(Listed::read(&many).tools.len(), TOOLS);
    }

    #[test]
    fn words_are_cleaned_and_every_word_counts_for_the_hash() {
        let listed = |tool: Value| Listed::read(&[tool]).tools[0].clone();
        let one = listed(tool("a", "does\u{1b}[31m \u{e0041}x"));
        assert_eq!(
            (one.description.as_str(), &one.schema),
            ("does x", &json!({"type": "object", "properties": {}}))
        );
        assert_ne!(one.digest, listed(tool("a", "does x")).digest, "what is hidden counts, too");
        let mut titled = tool("a", "does x");
        titled["title"] = "T".into();
        titled["annotations"] = json!({"readOnlyHint": true});
        assert_ne!(listed(titled.clone()).digest, listed(tool("a", "does x")).digest);
        assert!(listed(titled).reads);
        assert!(listed(tool("a", &"wordy ".repeat(1_000))).description.len() <= SHOWN_BYTES + 8);
    }

    #[test]
    fn what_differs_is_named() {
        let then = Listed::read(&[tool("a", "1"), tool("b", "1"), tool("c", "1")]);
        let now = Listed::read(&[tool("a", "1"), tool("b", "2"), tool("d", "1")]);
        let differs = now.differs(&then.tools);
        assert_eq!(differs, [("b".to_owned(), "changed"), ("d".to_owned(), "new"), ("c".to_owned(), "gone")]);
        assert!(then.differs(&then.tools).is_empty());
    }
}
