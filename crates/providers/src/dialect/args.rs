//! Arguments of a call, as models write them: JSON, nearly always.
//!
//! Mends only what can be meant in one way; the rest goes back to the model as the error it is. Start at [`parse`].

use serde_json::{Map, Value};

/// The arguments in this text; [`Value::String`] of it when they are no JSON object. `whole` = the model itself ended
/// the call: what was cut at a limit is never completed.
///
/// Mended: nothing at all (a call without arguments), an object that was written as a JSON string, raw line ends and
/// tabs inside strings, closing brackets too many or the same object said twice, and, of a whole call, closing
/// brackets that are missing behind a complete value. A string or a number without an end is never completed: what
/// would be written to a file is cut.
pub fn parse(text: &str, whole: bool) -> Value {
    let trimmed = text.trim();
    if trimmed.is_empty() && whole {
        return Value::Object(Map::new());
    }
    object(trimmed).or_else(|| mended(trimmed, whole)).unwrap_or_else(|| Value::String(text.to_owned()))
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
        let first = object(&scan.text[..end])?;
        let rest = scan.text[end..].trim();
        let junk = rest.chars().all(|c| matches!(c, '}' | ']') || c.is_whitespace());
        return (junk || object(rest).as_ref() == Some(&first)).then_some(first);
    }
    if !whole || !scan.at_value {
        return None;
    }
    let mut text = scan.text;
    text.truncate(text.trim_end().len());
    text.extend(scan.open.iter().rev());
    object(&text)
}

/// A look over the brackets and strings of a text that begins with an object.
struct Scan {
    /// The text with raw control characters in strings escaped.
    text: String,
    /// Where the first object ends, if it does.
    end: Option<usize>,
    /// The brackets that would close what is open.
    open: Vec<char>,
    /// What stands last is a complete string or bracket.
    at_value: bool,
}

impl Scan {
    fn of(text: &str) -> Option<Self> {
        let mut scan =
            Self { text: String::with_capacity(text.len()), end: None, open: Vec::new(), at_value: false };
        let (mut quoted, mut escaped) = (false, false);
        for c in text.chars() {
            if quoted {
                match c {
                    '\n' if !escaped => scan.text.push_str("\\n"),
                    '\r' if !escaped => scan.text.push_str("\\r"),
                    '\t' if !escaped => scan.text.push_str("\\t"),
                    c => scan.text.push(c),
                }
                quoted = escaped || c != '"';
                escaped = !escaped && c == '\\';
                scan.at_value = !quoted;
                continue;
            }
            scan.text.push(c);
            match c {
                '"' => (quoted, scan.at_value) = (true, false),
                '{' => scan.open.push('}'),
                '[' => scan.open.push(']'),
                '}' | ']' if scan.end.is_none() => {
                    if scan.open.pop() != Some(c) {
                        return None;
                    }
                    if scan.open.is_empty() {
                        scan.end = Some(scan.text.len());
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
