//! The Anthropic dialect by its bytes: what goes out, and what is made of streams as the vendor sends them.

use super::*;
use crate::dialect::sse::Lines;
use crate::dialect::{Headers, Progress};
use contract::Kind;
use contract::model::{Broken, Image, Message, Private, Reply, Stop, ToolSpec, ToolUse, Usage};
use serde_json::{Value, json};

fn options() -> Options {
    Options {
        id: "anthropic/claude-x".into(),
        provider: "anthropic".into(),
        name: "claude-x".into(),
        key_env: "ANTHROPIC_API_KEY".into(),
        ..Options::default()
    }
}

fn request(messages: Vec<Message>) -> Request {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
    let tool =
        |name: &str| ToolSpec { name: name.into(), description: "does".into(), schema: schema.clone() };
    Request {
        model: "anthropic/claude-x".into(),
        system: "be good".into(),
        messages,
        tools: vec![tool("read"), tool("write")],
        max_tokens: 1000,
        ordinal: 0,
        key: String::new(),
    }
}

fn user(text: &str) -> Message {
    Message::User { text: text.into() }
}

fn call(id: &str, args: Value) -> ToolUse {
    ToolUse { id: id.into(), tool: "read".into(), args }
}

fn body(messages: Vec<Message>) -> Value {
    serde_json::from_slice(&Anthropic.encode(&request(messages), &options()).body).unwrap()
}

/// The stream read in chunks of so many bytes; also the text that was shown on the way.
fn read(stream: &str, chunk: usize) -> (Result<Reply, Broken>, String) {
    let mut decoder = Anthropic.decoder(&request(vec![user("go")]), &options());
    decoder.headers(&Headers::new([("Request-Id", "req_1")]));
    let (mut lines, mut events, mut shown) = (Lines::default(), Vec::new(), String::new());
    stream.as_bytes().chunks(chunk).for_each(|bytes| lines.push(bytes, &mut events).unwrap());
    for event in events {
        match decoder.event(&event) {
            Ok(Progress { text, done }) => {
                shown.push_str(&text);
                if done {
                    break;
                }
            }
            Err(fault) => return (decoder.finish(Some(fault)), shown),
        }
    }
    (decoder.finish(None), shown)
}

fn stream(events: &[Value]) -> String {
    let line = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(line).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
        "usage": {"input_tokens": 25, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 2000, "output_tokens": 1}}})
}

fn block(at: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": at, "content_block": block})
}

fn delta(at: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": at, "delta": delta})
}

fn text(at: u64, text: &str) -> Value {
    delta(at, json!({"type": "text_delta", "text": text}))
}

fn end(reason: &str, output: u64) -> [Value; 2] {
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    [
        json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": output}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn a_request_with_everything() {
    let said =
        Message::said("I look.", vec![call("toolu_1", json!({"path": "a"})), call("f.x:2", json!("{ not"))]);
    let picture = Image { media_type: "image/png".into(), bytes: b"foo".to_vec() };
    let seen = Message::Tool { call: "toolu_1".into(), ok: true, text: "see".into(), images: vec![picture] };
    let body = body(vec![user("go"), said, seen, Message::result("f.x:2", false, "no"), user("and on")]);
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&json!("claude-x"), &json!(1000), &json!(true))
    );
    let ephemeral = json!({"type": "ephemeral"});
    assert_eq!(body["system"], json!([{"type": "text", "text": "be good", "cache_control": ephemeral}]));
    assert_eq!(
        (&body["tools"][0].get("cache_control"), &body["tools"][1]["cache_control"]),
        (&None, &ephemeral)
    );
    let turns = body["messages"].as_array().unwrap();
    let roles: Vec<&str> = turns.iter().map(|turn| turn["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(turns[0]["content"][0]["cache_control"], ephemeral, "the turn before is marked");
    let id = turns[1]["content"][2]["id"].as_str().unwrap();
    assert!(id.starts_with("f_x_2-"));
    assert_eq!(turns[1]["content"][2]["input"], json!({"invalid_json": "{ not"}));
    let source = json!({"type": "base64", "media_type": "image/png", "data": "Zm9v"});
    let wanted = json!([
        {"type": "tool_result", "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "see"}, {"type": "image", "source": source}]},
        {"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": "no"}], "is_error": true},
        {"type": "text", "text": "and on", "cache_control": ephemeral},
    ]);
    assert_eq!(turns[2]["content"], wanted);
    let marks = body.to_string().matches("cache_control").count();
    assert_eq!(marks, 4, "the vendor takes no more");
}

#[test]
fn the_users_parameters_stand_beside_kapells() {
    let parameters = json!({"temperature": 0, "model": "other", "stream": false, "max_tokens": 9});
    let options = Options { parameters: parameters.as_object().unwrap().clone(), ..options() };
    let body: Value =
        serde_json::from_slice(&Anthropic.encode(&request(vec![user("go")]), &options).body).unwrap();
    assert_eq!((&body["temperature"], &body["model"]), (&json!(0), &json!("claude-x")));
    assert_eq!((&body["stream"], &body["max_tokens"]), (&json!(true), &json!(1000)));
}

#[test]
fn the_prefix_stays_the_same_from_call_to_call() {
    let mut messages =
        vec![user("go"), Message::said("", vec![call("a", json!({}))]), Message::result("a", true, "1")];
    let plain = |messages: Vec<Message>| {
        let text =
            body(messages)["messages"].to_string().replace(r#""cache_control":{"type":"ephemeral"},"#, "");
        text.trim_end_matches(']').to_owned()
    };
    let first = plain(messages.clone());
    messages.extend([Message::said("", vec![call("b", json!({}))]), Message::result("b", true, "2")]);
    assert!(plain(messages).starts_with(&first));
}

#[test]
fn text_and_what_it_cost() {
    let mut events = vec![start(), json!({"type": "ping"}), block(0, json!({"type": "text", "text": ""}))];
    events.extend([text(0, "Žluť"), text(0, "oučký 🐎"), json!({"type": "content_block_stop", "index": 0})]);
    events.extend(end("end_turn", 12));
    events.push(text(0, "after the end"));
    for chunk in [1, 2, 3, 7, 4096] {
        let (reply, shown) = read(&stream(&events), chunk);
        let reply = reply.unwrap();
        assert_eq!((reply.text.as_str(), shown.as_str()), ("Žluťoučký 🐎", "Žluťoučký 🐎"));
        assert_eq!((reply.stop, reply.request_id.as_str()), (Stop::EndTurn, "req_1"));
        let usage = Usage { input: 25, output: 12, cache_read: 2000, cache_write: 100, estimated: false };
        assert_eq!(reply.usage, usage);
        assert_eq!(reply.private, None);
    }
}

#[test]
fn parallel_calls_with_arguments_in_pieces() {
    let tool = |id: &str, name: &str| json!({"type": "tool_use", "id": id, "name": name, "input": {}});
    let args = |at: u64, json: &str| delta(at, json!({"type": "input_json_delta", "partial_json": json}));
    let mut events = vec![start(), block(0, json!({"type": "text", "text": "Now "})), text(0, "both.")];
    events.extend([block(1, tool("a", "read")), args(1, ""), args(1, "{\"pa"), args(1, "th\": \"é\"}")]);
    events.extend([block(2, tool("a", "write")), args(2, "{\"path\": ")]);
    events.extend([block(3, tool("c", "read")), block(4, json!({"type": "server_tool_use", "id": "s"}))]);
    events.extend(end("tool_use", 40));
    let reply = read(&stream(&events), 5).0.unwrap();
    assert_eq!((reply.text.as_str(), reply.stop), ("Now both.", Stop::ToolUse));
    let calls: Vec<_> =
        reply.calls.iter().map(|c| (c.id.as_str(), c.tool.as_str(), c.args.clone())).collect();
    let broken = Value::String("{\"path\": ".into());
    assert_eq!(
        calls,
        [("a", "read", json!({"path": "é"})), ("a-2", "write", broken), ("c", "read", json!({}))]
    );
}

#[test]
fn thoughts_go_back_in_their_order_and_to_their_maker_only() {
    let tool = json!({"type": "tool_use", "id": "a", "name": "read", "input": {"path": "x"}});
    let mut events = vec![start(), block(0, json!({"type": "thinking", "thinking": "", "signature": ""}))];
    events.extend([
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "sig="})),
        block(1, json!({"type": "text", "text": "first "})),
        block(2, json!({"type": "redacted_thinking", "data": "secret"})),
        block(3, json!({"type": "text", "text": "second"})),
        block(4, tool.clone()),
    ]);
    events.extend(end("tool_use", 40));
    let reply = read(&stream(&events), 9).0.unwrap();
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "sig="});
    let redacted = json!({"type": "redacted_thinking", "data": "secret"});
    let exact = json!([thinking, {"type": "text", "text": "first "}, redacted, {"type": "text", "text": "second"}, tool]);

    let private = reply.private.clone();
    assert_eq!(private.as_ref().unwrap().producer, "anthropic/claude-x");
    let back = |text: &str, private: Option<Private>| {
        let said = Message::Assistant { text: text.into(), calls: reply.calls.clone(), private };
        body(vec![user("go"), said, Message::result("a", true, "ok")])["messages"][1]["content"].clone()
    };
    assert_eq!(back(&reply.text, private.clone()), exact);
    let elsewhere = private.clone().map(|p| Private { producer: "anthropic/claude-y".into(), ..p });
    assert_eq!(back(&reply.text, elsewhere), json!([{"type": "text", "text": "first second"}, tool]));
    let changed = json!([thinking, redacted, {"type": "text", "text": "other words"}, tool]);
    assert_eq!(back("other words", private), changed);
}

#[test]
fn reasons_to_stop() {
    for (reason, stop) in [
        ("end_turn", Stop::EndTurn),
        ("tool_use", Stop::EndTurn),
        ("pause_turn", Stop::EndTurn),
        ("max_tokens", Stop::MaxTokens),
        ("model_context_window_exceeded", Stop::MaxTokens),
        ("stop_sequence", Stop::StopSequence),
        ("refusal", Stop::Refusal),
        ("of tomorrow", Stop::EndTurn),
    ] {
        let mut events = vec![start()];
        events.extend(end(reason, 0));
        let reply = read(&stream(&events), 64).0.unwrap();
        assert_eq!((reply.stop, reply.text.as_str()), (stop, ""), "{reason}");
        assert_eq!(reply.usage.output, 0);
    }
}

#[test]
fn an_error_in_the_middle_keeps_what_was_said() {
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let events = [start(), block(0, json!({"type": "text", "text": ""})), text(0, "half"), error];
    let broken = read(&stream(&events), 11).0.unwrap_err();
    assert_eq!((broken.fault.kind, broken.text.as_str()), (Kind::Degraded, "half"));
    let usage = broken.usage.unwrap();
    assert_eq!((usage.input, usage.cache_read, usage.estimated), (25, 2000, true));
    assert!(usage.output >= 4 && usage.output < 100);
}

#[test]
fn cut_anywhere_it_is_a_cut_stream_until_the_reason_is_there() {
    let mut events =
        vec![start(), block(0, json!({"type": "text", "text": ""})), text(0, "ho"), text(0, "ř")];
    events.extend(end("end_turn", 3));
    let whole = stream(&events);
    let known = whole.find("event: message_stop").unwrap();
    for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        match read(&whole[..at], 4096).0 {
            Ok(reply) => assert!(at >= known && reply.text == "hoř"),
            Err(broken) => {
                assert_eq!((broken.fault.code.as_str(), broken.fault.kind), ("stream-cut", Kind::Transient));
                assert!(at < known && "hoř".starts_with(&broken.text));
            }
        }
    }
    let garbled = format!("{}data: {{nonsense\n\n", stream(&events[..3]));
    let broken = read(&garbled, 4096).0.unwrap_err();
    assert_eq!((broken.fault.code.as_str(), broken.text.as_str()), ("stream-garbled", "ho"));
}
