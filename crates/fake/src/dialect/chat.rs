//! OpenAI Chat Completions: unnamed chunks, then `[DONE]`.
//!
//! Start at [`stream`].

use super::words::{pieces, words};
use super::{Context, data};
use crate::script::{Reply, Stop};
use serde_json::{Value, json};

pub(super) fn stream(reply: &Reply, context: &Context) -> Vec<String> {
    let base = json!({
        "id": context.exchange("chatcmpl"), "object": "chat.completion.chunk", "created": 1_760_000_000,
        "model": context.model,
    });
    let with = |choices: Value, usage: Value| {
        let mut chunk = base.clone();
        chunk["choices"] = choices;
        if !usage.is_null() {
            chunk["usage"] = usage;
        }
        data(&chunk)
    };
    let delta =
        |delta: Value| with(json!([{"index": 0, "delta": delta, "finish_reason": null}]), Value::Null);
    let mut events = vec![delta(json!({"role": "assistant", "content": ""}))];
    events.extend(words(&reply.thinking).into_iter().map(|word| delta(json!({"reasoning_content": word}))));
    let said = if reply.stop == Stop::Refusal { "refusal" } else { "content" };
    events.extend(words(&reply.text).into_iter().map(|word| delta(json!({said: word}))));
    for (nth, call) in reply.calls.iter().enumerate() {
        let opens = json!({"index": nth, "id": context.id(nth, call), "type": "function",
            "function": {"name": call.tool, "arguments": ""}});
        events.push(delta(json!({"tool_calls": [opens]})));
        events.extend(
            pieces(&call.args)
                .into_iter()
                .map(|part| delta(json!({"tool_calls": [{"index": nth, "function": {"arguments": part}}]}))),
        );
    }
    let stop = match reply.stop {
        Stop::Done if !reply.calls.is_empty() => "tool_calls",
        Stop::Done => "stop",
        Stop::MaxTokens => "length",
        Stop::Refusal => "content_filter",
    };
    events.push(with(json!([{"index": 0, "delta": {}, "finish_reason": stop}]), Value::Null));
    if let Some(usage) = context.usage {
        let given = usage.input + usage.cache_read + usage.cache_write;
        events.push(with(
            json!([]),
            json!({"prompt_tokens": given, "completion_tokens": usage.output, "total_tokens": given + usage.output,
                "prompt_tokens_details": {"cached_tokens": usage.cache_read}}),
        ));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}
