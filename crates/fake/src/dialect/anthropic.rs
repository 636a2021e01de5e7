//! Anthropic Messages: named events, blocks that open and close.
//!
//! Start at [`stream`].

use super::words::{pieces, words};
use super::{Context, event};
use crate::script::{Reply, Stop};
use serde_json::{Value, json};

pub(super) fn stream(reply: &Reply, context: &Context) -> Vec<String> {
    let mut message = json!({
        "id": context.exchange("msg"), "type": "message", "role": "assistant", "model": context.model,
        "content": [], "stop_reason": null, "stop_sequence": null,
    });
    if let Some(usage) = context.usage {
        message["usage"] = json!({
            "input_tokens": usage.input, "cache_read_input_tokens": usage.cache_read,
            "cache_creation_input_tokens": usage.cache_write, "output_tokens": 1,
        });
    }
    let mut events = vec![event("message_start", &json!({"type": "message_start", "message": message}))];
    let mut index = 0;
    let mut block = |opens: Value, deltas: Vec<Value>| {
        let at = index;
        index += 1;
        events.push(event(
            "content_block_start",
            &json!({"type": "content_block_start", "index": at, "content_block": opens}),
        ));
        events.extend(deltas.into_iter().map(|delta| {
            event("content_block_delta", &json!({"type": "content_block_delta", "index": at, "delta": delta}))
        }));
        events.push(event("content_block_stop", &json!({"type": "content_block_stop", "index": at})));
    };
    if !reply.thinking.is_empty() {
        let mut deltas: Vec<Value> = words(&reply.thinking)
            .into_iter()
            .map(|word| json!({"type": "thinking_delta", "thinking": word}))
            .collect();
        deltas.push(json!({"type": "signature_delta", "signature": "c2lnbmF0dXJl"}));
        block(json!({"type": "thinking", "thinking": "", "signature": ""}), deltas);
    }
    if !reply.text.is_empty() {
        let deltas = words(&reply.text).into_iter().map(|word| json!({"type": "text_delta", "text": word}));
        block(json!({"type": "text", "text": ""}), deltas.collect());
    }
    for (nth, call) in reply.calls.iter().enumerate() {
        let deltas = pieces(&call.args)
            .into_iter()
            .map(|part| json!({"type": "input_json_delta", "partial_json": part}));
        let opens = json!({"type": "tool_use", "id": context.id(nth, call), "name": call.tool, "input": {}});
        block(opens, deltas.collect());
    }
    let stop = match reply.stop {
        Stop::Done if !reply.calls.is_empty() => "tool_use",
        Stop::Done => "end_turn",
        Stop::MaxTokens => "max_tokens",
        Stop::Refusal => "refusal",
    };
    let mut last = json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}});
    if let Some(usage) = context.usage {
        last["usage"] = json!({"output_tokens": usage.output});
    }
    events.push(event("message_delta", &last));
    events.push(event("message_stop", &json!({"type": "message_stop"})));
    events
}
