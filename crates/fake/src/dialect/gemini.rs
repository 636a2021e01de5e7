//! Google Gemini: every event is a whole answer with some parts; calls come in one piece.
//!
//! Arguments that are no JSON cannot be written here: the vendor ends such a reply with a reason of its own.
//! Start at [`stream`].

use super::Context;
use super::words::words;
use crate::script::{Reply, Stop};
use serde_json::{Value, json};

pub(super) fn stream(reply: &Reply, context: &Context) -> Vec<String> {
    let chunk = |parts: Value, stop: Option<&str>| worded(parts, stop, None, context);
    let mut events: Vec<String> = words(&reply.thinking)
        .into_iter()
        .map(|word| chunk(json!([{"text": word, "thought": true}]), None))
        .collect();
    events.extend(words(&reply.text).into_iter().map(|word| chunk(json!([{"text": word}]), None)));
    let mut malformed = None;
    for (nth, call) in reply.calls.iter().enumerate() {
        match serde_json::from_str::<Value>(&call.args) {
            Ok(args) => {
                let mut part =
                    json!({"functionCall": {"name": call.tool, "args": args}, "thoughtSignature": "c2ln"});
                if context.same_ids || call.id.is_some() {
                    part["functionCall"]["id"] = json!(context.id(nth, call));
                }
                events.push(chunk(json!([part]), None));
            }
            Err(_) => {
                malformed =
                    Some(format!("Malformed function call: print(default_api.{}({}))", call.tool, call.args))
            }
        }
    }
    let stop = match reply.stop {
        _ if malformed.is_some() => "MALFORMED_FUNCTION_CALL",
        Stop::Done => "STOP",
        Stop::MaxTokens => "MAX_TOKENS",
        Stop::Refusal => "SAFETY",
    };
    events.push(worded(json!([{"text": ""}]), Some(stop), malformed, context));
    events
}

/// One event: parts, why the reply ends, and the vendor's words about that.
fn worded(parts: Value, stop: Option<&str>, why: Option<String>, context: &Context) -> String {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let Some(stop) = stop {
        candidate["finishReason"] = json!(stop);
    }
    if let Some(why) = why {
        candidate["finishMessage"] = json!(why);
    }
    let mut answer = json!({"candidates": [candidate], "modelVersion": context.model,
        "responseId": context.exchange("resp")});
    if let Some(usage) = context.usage {
        let given = usage.input + usage.cache_read + usage.cache_write;
        let output = if stop.is_some() { usage.output } else { 1 };
        answer["usageMetadata"] = json!({"promptTokenCount": given, "candidatesTokenCount": output,
            "cachedContentTokenCount": usage.cache_read, "totalTokenCount": given + output});
    }
    format!("data: {answer}\r\n\r\n")
}
