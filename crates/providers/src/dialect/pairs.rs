//! Conversations as every server takes them: each call answered right behind it, each id in letters all take.
//!
//! The engine sends valid conversations; this holds whatever it sends, so that no odd record can make a session
//! unable to go on. Start at [`paired`].

use contract::model::{Message, NO_RESULT, Private, Request, ToolUse};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;

/// Said where the person must speak: first, and when the model spoke last.
const GO_ON: &str = "Go on.";
/// Hex digits of a hash in an id that had to be changed.
const ID_DIGITS: usize = 8;

/// The conversation with every call answered once and right behind it, results without a call as the person's words,
/// empty messages left out, a person's message at its beginning, and a person's or a tool's at its end.
pub fn paired(messages: &[Message]) -> Vec<Cow<'_, Message>> {
    let mut out: Vec<Cow<'_, Message>> = Vec::with_capacity(messages.len());
    let mut used: HashSet<usize> = HashSet::new();
    for (at, message) in messages.iter().enumerate() {
        match message {
            Message::User { text } if text.trim().is_empty() => {}
            Message::User { .. } => out.push(Cow::Borrowed(message)),
            Message::Assistant { text, calls, private } => {
                if text.trim().is_empty() && calls.is_empty() && private.is_none() {
                    continue;
                }
                out.push(Cow::Borrowed(message));
                for call in calls {
                    let found = results(messages, at).find(|(i, id)| **id == call.id && !used.contains(i));
                    match found {
                        Some((i, _)) => {
                            used.insert(i);
                            out.push(Cow::Borrowed(&messages[i]));
                        }
                        None => out.push(Cow::Owned(Message::result(call.id.clone(), false, NO_RESULT))),
                    }
                }
            }
            Message::Tool { .. } if used.contains(&at) => {}
            Message::Tool { call, text, .. } => {
                let text = format!(
                    "Result of the call {call}, which is no longer part of this conversation:\n{text}"
                );
                out.push(Cow::Owned(Message::User { text }));
            }
        }
    }
    if !matches!(out.first().map(Cow::as_ref), Some(Message::User { .. })) {
        out.insert(0, Cow::Owned(Message::User { text: GO_ON.into() }));
    }
    if !matches!(out.last().map(Cow::as_ref), Some(Message::User { .. } | Message::Tool { .. })) {
        out.push(Cow::Owned(Message::User { text: GO_ON.into() }));
    }
    out
}

/// The results behind this message and before the next of the model's.
fn results(messages: &[Message], at: usize) -> impl Iterator<Item = (usize, &String)> {
    let said = |message: &Message| matches!(message, Message::Assistant { calls, .. } if !calls.is_empty());
    let behind = messages.iter().enumerate().skip(at + 1).take_while(move |(_, message)| !said(message));
    behind.filter_map(|(i, message)| match message {
        Message::Tool { call, .. } => Some((i, call)),
        _ => None,
    })
}

/// What only this model may see again.
pub fn own<'a>(private: &'a Option<Private>, request: &Request) -> Option<&'a Value> {
    private.as_ref().filter(|private| private.producer == request.model).map(|private| &private.blocks)
}

/// An id in letters, digits, `_` and `-`, at most `most` bytes of it; different ids stay different.
pub fn wire_id(id: &str, most: usize) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !id.is_empty() && id.len() <= most && id.chars().all(plain) {
        return Cow::Borrowed(id);
    }
    let hash = blake3::hash(id.as_bytes()).to_hex();
    let own: String = id.chars().map(|c| if plain(c) { c } else { '_' }).take(most - ID_DIGITS - 1).collect();
    Cow::Owned(format!("{own}-{}", &hash[..ID_DIGITS]))
}

/// A call's arguments as an object, which is what every server wants: others are wrapped, as the model wrote them.
pub fn arguments(call: &ToolUse) -> Cow<'_, Value> {
    match &call.args {
        Value::Object(_) => Cow::Borrowed(&call.args),
        Value::String(text) => Cow::Owned(serde_json::json!({ "invalid_json": text })),
        other => Cow::Owned(serde_json::json!({ "invalid_json": other.to_string() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(id: &str) -> ToolUse {
        ToolUse { id: id.into(), tool: "t".into(), args: json!({}) }
    }

    fn user(text: &str) -> Message {
        Message::User { text: text.into() }
    }

    fn show(messages: &[Message]) -> Vec<String> {
        let line = |message: &Cow<'_, Message>| match message.as_ref() {
            Message::User { text } => format!("user {}", text.split(':').next().unwrap_or_default()),
            Message::Assistant { calls, .. } => format!("said {}", calls.len()),
            Message::Tool { call, ok, .. } => format!("tool {call} {ok}"),
        };
        paired(messages).iter().map(line).collect()
    }

    #[test]
    fn every_call_is_answered_once() {
        let messages = [
            user("go"),
            Message::said("", vec![call("a"), call("b"), call("a")]),
            user("between"),
            Message::result("b", true, "2"),
            Message::result("a", true, "1"),
            Message::result("b", true, "again"),
            Message::said("", Vec::new()),
            Message::result("x", true, "orphan"),
            Message::said("done", Vec::new()),
        ];
        let orphan =
            |id: &str| format!("user Result of the call {id}, which is no longer part of this conversation");
        let wanted = ["user go", "said 3", "tool a true", "tool b true", "tool a false", "user between"];
        let mut wanted: Vec<String> = wanted.iter().map(|line| (*line).to_owned()).collect();
        wanted.extend([orphan("b"), orphan("x"), "said 0".into(), "user Go on.".into()]);
        assert_eq!(show(&messages), wanted);
        assert_eq!(show(&[]), ["user Go on."]);
        assert_eq!(show(&[user("go"), Message::said("", vec![call("a")])]).last().unwrap(), "tool a false");
    }

    #[test]
    fn ids_keep_apart() {
        assert_eq!(wire_id("toolu_01-x", 64), "toolu_01-x");
        let (dots, colon) = (wire_id("f.shell:0", 40), wire_id("f.shell.0", 40));
        assert!(dots.starts_with("f_shell_0-") && dots != colon);
        assert_eq!(wire_id(&"x".repeat(100), 40).len(), 40);
        assert!(!wire_id("", 40).is_empty());
    }

    #[test]
    fn arguments_are_objects() {
        assert_eq!(*arguments(&call("a")), json!({}));
        let broken = ToolUse { args: json!("{ not"), ..call("a") };
        assert_eq!(*arguments(&broken), json!({"invalid_json": "{ not"}));
    }
}
