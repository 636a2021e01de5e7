//! The ways in which servers deviate, one by one.

use super::*;
use crate::dialect::sse::Event;
use crate::dialect::{Headers, Server};
use contract::Kind;
use contract::model::{Broken, Message, Reply, Stop, ToolSpec, Usage};
use serde_json::{Value, json};

fn options(provider: &str, server: Server) -> Options {
    Options {
        id: format!("{provider}/m"),
        provider: provider.into(),
        name: "m".into(),
        server,
        ..Options::default()
    }
}

fn request() -> Request {
    Request {
        model: "p/m".into(),
        system: "be good".into(),
        messages: vec![Message::User { text: "go".into() }],
        tools: vec![ToolSpec { name: "read".into(), description: "d".into(), schema: json!(null) }],
        max_tokens: 500,
        ordinal: 0,
        key: "s/1.1".into(),
    }
}

/// What is read from these data lines.
fn read_from(server: Server, lines: &[String]) -> Result<Reply, Broken> {
    let mut decoder = Chat.decoder(&request(), &options("p", server));
    decoder.headers(&Headers::default());
    for data in lines {
        match decoder.event(&Event { name: String::new(), data: data.clone() }) {
            Ok(progress) if progress.done => break,
            Ok(_) => {}
            Err(fault) => return decoder.finish(Some(fault)),
        }
    }
    decoder.finish(None)
}

fn read(lines: &[Value]) -> Result<Reply, Broken> {
    read_from(Server::Vendor, &lines.iter().map(Value::to_string).collect::<Vec<_>>())
}

fn delta(delta: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn end(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn piece(index: &Value, id: &Value, name: &Value, arguments: &str) -> Value {
    let function = json!({"name": name, "arguments": arguments});
    delta(json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}))
}

#[test]
fn calls_are_told_apart_however_they_are_numbered() {
    let (none, a, b, read_) = (&json!(null), &json!("a"), &json!("b"), &json!("read"));
    let halves = |first: &Value, second: &Value, name: &Value| {
        vec![piece(first, a, read_, "{\"p\""), piece(first, second, name, ":1}")]
    };
    let whole = |index: &Value, id: &Value, n: u8| piece(index, id, read_, &format!("{{\"p\":{n}}}"));
    let zero = &json!(0);
    let table: Vec<(&str, Vec<Value>, usize)> = vec![
        ("as documented", halves(zero, none, none), 1),
        ("id and name again on every piece", halves(zero, a, read_), 1),
        ("a new id on every piece", halves(zero, b, none), 1),
        ("no index", halves(none, a, none), 1),
        ("no index, a new id on every piece", halves(none, b, none), 1),
        ("all have index 0", vec![whole(zero, a, 1), whole(zero, b, 2)], 2),
        ("and one id", vec![whole(zero, a, 1), whole(zero, a, 2)], 2),
        ("neither index nor id", vec![whole(none, none, 1), whole(none, &json!(""), 2)], 2),
        ("ids only", vec![whole(none, a, 1), whole(none, b, 2)], 2),
        (
            "all have index 0, in pieces",
            [halves(zero, none, none), vec![piece(zero, b, read_, ""), piece(zero, none, none, "{\"p\":2}")]]
                .concat(),
            2,
        ),
        ("an empty piece behind the end", vec![whole(zero, a, 1), piece(zero, a, read_, "")], 1),
    ];
    for (name, mut lines, calls) in table {
        lines.push(end("tool_calls"));
        let reply = read(&lines).unwrap_or_else(|broken| panic!("{name}: {}", broken.fault));
        let args: Vec<Value> = reply.calls.iter().map(|call| call.args.clone()).collect();
        assert_eq!(args, (1..=calls).map(|n| json!({ "p": n })).collect::<Vec<_>>(), "{name}");
        assert!(reply.calls.iter().all(|call| call.tool == "read"), "{name}");
    }
}

#[test]
fn without_a_reason_only_what_is_whole_counts() {
    let ends = |lines: Vec<Value>| {
        let mut lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        lines.push("[DONE]".into());
        read_from(Server::Vendor, &lines)
    };
    let text = delta(json!({"content": "all"}));
    let call = |args: &str| piece(&json!(0), &json!("a"), &json!("read"), args);
    assert_eq!(ends(vec![text.clone()]).unwrap().stop, Stop::EndTurn);
    assert_eq!(ends(vec![text.clone(), call("{}")]).unwrap().stop, Stop::ToolUse);
    for cut in [vec![], vec![text.clone(), call("{\"p\"")], vec![call("")]] {
        assert_eq!(ends(cut).unwrap_err().fault.code, "stream-cut");
    }
    assert_eq!(read(&[text]).unwrap_err().fault.code, "stream-cut", "and no end at all is none");
}

#[test]
fn the_reason_and_the_cost_are_the_end() {
    let mut decoder = Chat.decoder(&request(), &options("p", Server::Vendor));
    let mut done =
        |value: Value| decoder.event(&Event { name: String::new(), data: value.to_string() }).unwrap().done;
    let usage = json!({"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "choices": []});
    assert!(!done(usage.clone()), "counts along the way are no end");
    assert!(!done(delta(json!({"content": "a"}))) && !done(end("stop")));
    assert!(done(usage));
}

#[test]
fn text_and_errors_in_every_shape() {
    let parts = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]);
    let whole = json!({"choices": [{"message": {"content": "b"}, "finish_reason": "stop"}]});
    let other = json!({"choices": [{"index": 1, "delta": {"content": "not this one"}}]});
    let reply = read(&[delta(json!({ "content": parts })), other, whole]).unwrap();
    assert_eq!((reply.text.as_str(), reply.stop), ("ab", Stop::EndTurn));
    for (error, kind) in [
        (json!({"error": {"message": "x", "type": "server_error"}}), Kind::Degraded),
        (json!({"object": "error", "message": "x", "code": 400}), Kind::Permanent),
        (json!({"choices": [{"error": {"code": 429, "message": "x"}}]}), Kind::RateLimited),
    ] {
        let broken = read(&[delta(json!({"content": "half"})), error.clone()]).unwrap_err();
        assert_eq!((broken.fault.kind, broken.text.as_str()), (kind, "half"), "{error}");
    }
    let garbled = read_from(Server::Vendor, &["{".into()]).unwrap_err();
    assert_eq!((garbled.fault.kind, garbled.fault.code.as_str()), (Kind::Transient, "stream-garbled"));
}

#[test]
fn usage_where_servers_put_it() {
    let cost = |usage: Value| {
        read(&[delta(json!({"content": "a"})), end("stop"), json!({ "usage": usage })]).unwrap().usage
    };
    let told = |input, cache_read, cache_write, output| Usage {
        input,
        cache_read,
        cache_write,
        output,
        estimated: false,
    };
    let deepseek = json!({"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 4});
    assert_eq!(cost(deepseek), told(6, 4, 0, 2));
    let details = json!({"cached_tokens": 3, "cache_write_tokens": 5});
    let router = json!({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": details});
    assert_eq!(cost(router), told(2, 3, 5, 2));
    let apart = json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 19});
    assert_eq!(cost(apart), told(10, 0, 0, 9), "thoughts are in the total only");
    let more =
        json!({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 99}});
    assert_eq!(cost(more), told(0, 10, 0, 2), "no more was read than given");
    assert!(cost(json!({"prompt_tokens": 0, "completion_tokens": 0})).estimated, "nothing costs nothing");
}

#[test]
fn the_request_is_as_its_server_wants_it() {
    let body = |provider: &str, server| -> Value {
        serde_json::from_slice(&Chat.encode(&request(), &options(provider, server)).body).unwrap()
    };
    assert_eq!(
        body("openai", Server::Vendor),
        json!({
            "model": "m",
            "messages": [{"role": "system", "content": "be good"}, {"role": "user", "content": "go"}],
            "tools": [{"type": "function", "function": {"name": "read", "description": "d",
                "parameters": {"type": "object", "properties": {}}}}],
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_completion_tokens": 500,
            "prompt_cache_key": "s",
        })
    );
    let compatible = body("somebody", Server::Vendor);
    assert_eq!(compatible["max_tokens"], 500);
    assert!(
        compatible.get("prompt_cache_key").is_none() && compatible.get("max_completion_tokens").is_none()
    );
    assert_eq!(body("p", Server::LlamaCpp)["parallel_tool_calls"], true);
    assert!(body("p", Server::Ollama).get("parallel_tool_calls").is_none());
}

#[test]
fn tags_are_thoughts_where_servers_leave_them_in_the_text() {
    let said = delta(json!({"content": "<think>hm</think>\nyes"})).to_string();
    let lines = [said, end("stop").to_string()];
    assert_eq!(read_from(Server::Vllm, &lines).unwrap().text, "yes");
    assert_eq!(read_from(Server::Vendor, &lines).unwrap().text, "<think>hm</think>\nyes");
    let open = [delta(json!({"content": "<thin"})).to_string(), end("stop").to_string()];
    assert_eq!(read_from(Server::Ollama, &open).unwrap().text, "<thin", "what was held is text after all");
}

#[test]
fn behind_openrouter_the_newest_messages_of_anthropics_models_are_marked_for_the_cache() {
    let marked = |provider: &str, server, name: &str| {
        let mut request = request();
        let call = contract::model::ToolUse { id: "c".into(), tool: "read".into(), args: json!({}) };
        request.messages.push(Message::said("", vec![call]));
        request.messages.push(Message::result("c", true, "a result"));
        let options = Options { name: name.into(), ..options(provider, server) };
        let body: Value = serde_json::from_slice(&Chat.encode(&request, &options).body).unwrap();
        let mark = |line: &Value| line["content"][0]["cache_control"]["type"].as_str().map(str::to_owned);
        let lines = body["messages"].as_array().unwrap().iter();
        lines.map(|line| format!("{} {}", line["role"], mark(line).unwrap_or_default())).collect::<Vec<_>>()
    };
    let all = marked("openrouter", Server::OpenRouter, "anthropic/claude-sonnet-4.5");
    assert_eq!(all, ["\"system\" ephemeral", "\"user\" ephemeral", "\"assistant\" ", "\"tool\" ephemeral"]);
    for (provider, server, name) in
        [("openrouter", Server::OpenRouter, "openai/gpt-5"), ("p", Server::Vendor, "anthropic/claude")]
    {
        assert!(marked(provider, server, name).iter().all(|line| line.ends_with(' ')), "{provider} {name}");
    }
}

#[test]
fn what_a_server_refuses_is_left_out() {
    let fields = |without: Vec<&'static str>| {
        let options = Options { without, ..options("openai", Server::LlamaCpp) };
        let body: Value = serde_json::from_slice(&Chat.encode(&request(), &options).body).unwrap();
        super::encode::OPTIONAL.map(|field| body.get(field).is_some())
    };
    assert_eq!(fields(Vec::new()), [true, true, false]);
    assert_eq!(fields(vec!["stream_options"]), [false, true, false]);
    assert_eq!(fields(super::encode::OPTIONAL.to_vec()), [false, false, false]);
}

#[test]
fn thoughts_whose_opening_tag_the_template_wrote_leave_the_reply() {
    let lines = |text: &str| [delta(json!({"content": text})).to_string(), end("stop").to_string()];
    let text = "Let me see.\nYes.\n</think>\n\nIt is done.";
    let reply = read_from(Server::Vllm, &lines(text)).unwrap();
    assert_eq!(reply.text, "It is done.");
    assert!(reply.usage.output > 20, "what was thought is bounded, too: {:?}", reply.usage);
    assert_eq!(read_from(Server::Vendor, &lines(text)).unwrap().text, text);
}
