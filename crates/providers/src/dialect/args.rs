//! Arguments of a call, as models write them: JSON, nearly always.
//!
//! Mends only what can be meant in one way; the rest goes back to the model as the error it is. Start at [`parse`].

use serde_json::{Map, Value};

/// The arguments in this text; [`Value::String`] of it when they are no JSON object. `whole` = the model itself ended
/// the call: what was cut at a limit is never completed.
///
/// Mended: nothing at all (a call without arguments), an object that was written as a JSON string or between Markdown
/// fences, control characters inside strings, `\'`, a comma behind the last entry, Python's `True`, `False` and `None`,
/// closing brackets too many, the same object said twice or after an empty one, and, of a whole call, closing brackets
/// that are missing behind a complete value. A string or a number without an end is never completed: what would be
/// written to a file is cut.
pub fn parse(text: &str, whole: bool) -> Value {
    let trimmed = text.trim();
    if trimmed.is_empty() && whole {
        return Value::Object(Map::new());
    }
    object(trimmed)
        .or_else(|| mended(&slipless(fenceless(trimmed)), whole))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn fenceless(text: &str) -> &str {
    let Some(inner) = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) else { return text };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

/// The text without slips of the pen that JSON knows no meaning for; what it allows stays as it is.
fn slipless(text: &str) -> String {
    const WORDS: [(&str, &str); 3] = [("True", "true"), ("False", "false"), ("None", "null")];
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let begins =
            |(word, _): &&(&str, &str)| rest.starts_with(word) && !out.ends_with(char::is_alphanumeric);
        if c == '"' {
            rest = string(after, &mut out);
        } else if c == ',' && after.trim_start().starts_with(['}', ']']) {
            rest = after;
        } else if let Some((python, json)) = WORDS.iter().find(begins) {
            out.push_str(json);
            rest = &rest[python.len()..];
        } else {
            out.push(c);
            rest = after;
        }
    }
    out
}

/// Copies a string whose opening quote was just read; what follows it.
fn string<'t>(text: &'t str, out: &mut String) -> &'t str {
    out.push('"');
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                return &text[at + 1..];
            }
            '\\' => match chars.next() {
                Some((_, '\'')) => out.push('\''),
                Some((_, escaped)) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    ""
}

fn object(text: &str) -> Option<Value> {
    match serde_json::from_str(text).ok()? {
        value @ Value::Object(_) => Some(value),
        Value::Null => Some(Value::Object(Map::new())),
        Value::String(inner) => serde_json::from_str(&inner).ok().filter(Value::is_object),
        _ => None,
    }
}

fn mended(text: &str, whole: bool) -> Option<Value> {
    let scan = Scan::of(text)?;
    if let Some(end) = scan.end {
        let first = object(&text[..end])?;
        let rest = text[end..].trim();
        let junk = rest.chars().all(|c| matches!(c, '}' | ']') || c.is_whitespace());
        let second = object(rest).filter(Value::is_object);
        return match first.as_object() {
            Some(empty) if empty.is_empty() && !junk => second,
            _ => (junk || second.as_ref() == Some(&first)).then_some(first),
        };
    }
    if !whole || !scan.at_value {
        return None;
    }
    let mut text = text.trim_end().to_owned();
    text.extend(scan.open.iter().rev());
    object(&text)
}

/// A look over the brackets and strings of a text that begins with an object.
struct Scan {
    /// Where the first object ends, if it does.
    end: Option<usize>,
    /// The brackets that would close what is open.
    open: Vec<char>,
    /// What stands last is a complete string or bracket.
    at_value: bool,
}

impl Scan {
    fn of(text: &str) -> Option<Self> {
        let mut scan = Self { end: None, open: Vec::new(), at_value: false };
        let (mut quoted, mut escaped) = (false, false);
        for (at, c) in text.char_indices() {
            if quoted {
                quoted = escaped || c != '"';
                escaped = !escaped && c == '\\';
                scan.at_value = !quoted;
                continue;
            }
            match c {
                '"' => (quoted, scan.at_value) = (true, false),
                '{' => scan.open.push('}'),
                '[' => scan.open.push(']'),
                '}' | ']' if scan.end.is_none() => {
                    if scan.open.pop() != Some(c) {
                        return None;
                    }
                    if scan.open.is_empty() {
                        scan.end = Some(at + 1);
                    }
                }
                _ => {}
            }
            if !c.is_whitespace() {
                scan.at_value = matches!(c, '}' | ']');
            }
        }
        Some(scan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_can_be_meant_in_one_way_is_mended() {
        for (text, meant) in [
            ("", json!({})),
            ("  \n", json!({})),
            ("null", json!({})),
            (r#" {"a":1} "#, json!({"a": 1})),
            (r#""{\"a\":1}""#, json!({"a": 1})),
            (r#"{"a":1}}"#, json!({"a": 1})),
            (r#"{"a":[1]} ]}"#, json!({"a": [1]})),
            (r#"{"a":1}{"a":1}"#, json!({"a": 1})),
            (r#"{"a":"b""#, json!({"a": "b"})),
            (r#"{"a":{"b":["c""#, json!({"a": {"b": ["c"]}})),
            ("{\"a\":\"x\ny\tz\"}", json!({"a": "x\ny\tz"})),
            ("{\"a\":\"x\u{1}\"}", json!({"a": "x\u{1}"})),
            ("```json\n{\"a\":1}\n```", json!({"a": 1})),
            (r#"{"a":"it\'s"}"#, json!({"a": "it's"})),
            (r#"{"a":[1,2, ] ,}"#, json!({"a": [1, 2]})),
            (r#"{"a":True,"b":[False,None]}"#, json!({"a": true, "b": [false, null]})),
            (r#"{"a":"True, }","b":1,}"#, json!({"a": "True, }", "b": 1})),
            (r#"{}{"a":1}"#, json!({"a": 1})),
            ("{\"a\":\"x\ny", Value::String("{\"a\":\"x\ny".into())),
        ] {
            assert_eq!(parse(text, true), meant, "{text}");
        }
    }

    #[test]
    fn the_rest_goes_back_as_it_came() {
        for text in [
            r#"{"a":"#,
            r#"{"a""#,
            r#"{"a":1"#,
            r#"{"a":12,"#,
            r#"{"a":"b"#,
            r#"{"a":"b\"#,
            r#"{"a":tru"#,
            "{",
            "[1]",
            "7",
            "run it",
            r#"{"a":1}{"a":2}"#,
            r#"{"a":1}{}"#,
            r#"{}{"#,
            r#"{"a":xTrue}"#,
            r#"{"a":"\d"}"#,
            "{a:1}",
            r#"{"a":1} then"#,
            r#"{"a":1]"#,
            r#""text""#,
            "{'a':1}",
        ] {
            // An object with nothing in it yet says nothing about what was meant.
            assert_eq!(parse(text, true), Value::String(text.into()), "{text}");
        }
        let cut = r#"{"path":"a","text":"b""#;
        assert_eq!(parse(cut, false), Value::String(cut.into()), "cut at a limit");
        assert_eq!(parse(r#"{"a":1}}"#, false), json!({"a": 1}));
    }
}
