//! The dialects against streams that somebody else wrote: `fake`'s, from the vendors' descriptions.
//!
//! Our codecs and the fault server share no code, so that neither can be wrong in the other's way. Start at [`round`].

use contract::model::{Message, Reply, Request, Stop, ToolSpec, ToolUse, Usage};
use fake::dialect::{ALL, Context, Dialect};
use providers::dialect::{
    Codec, Headers, Options, anthropic::Anthropic, gemini::Gemini, openai_chat::Chat,
    openai_responses::Responses, sse,
};
use serde_json::{Value, json};

fn codec(dialect: Dialect) -> &'static dyn Codec {
    match dialect {
        Dialect::Anthropic => &Anthropic,
        Dialect::Chat => &Chat,
        Dialect::Responses => &Responses,
        Dialect::Gemini => &Gemini,
    }
}

fn options() -> Options {
    Options {
        id: "some/model-1".into(),
        provider: "some".into(),
        name: "model-1".into(),
        ..Options::default()
    }
}

fn request(messages: Vec<Message>) -> Request {
    let tool =
        ToolSpec { name: "list".into(), description: "Lists.".into(), schema: json!({"type": "object"}) };
    Request {
        model: "some/model-1".into(),
        system: "Be brief.".into(),
        messages,
        tools: vec![tool],
        max_tokens: 500,
        ordinal: 0,
        key: "k".into(),
    }
}

/// What our decoder makes of this reply as the fault server speaks it, in pieces of so many bytes.
fn round(dialect: Dialect, said: &fake::Reply, piece: usize) -> Reply {
    let usage = Some(fake::Usage { input: 70, output: 9, cache_read: 30, cache_write: 0 });
    let context = Context { turn: 0, model: "model-1".into(), usage, same_ids: false };
    let bytes = dialect.stream(said, &context).concat().into_bytes();
    let request = request(vec![Message::User { text: "go".into() }]);
    let mut decoder = codec(dialect).decoder(&request, &options());
    decoder.headers(&Headers::default());
    let (mut lines, mut events, mut done) = (sse::Lines::default(), Vec::new(), false);
    for piece in bytes.chunks(piece) {
        lines.push(piece, &mut events).unwrap();
        for event in events.drain(..) {
            done |= decoder.event(&event).unwrap().done;
        }
    }
    // Gemini has no last event: its stream ends.
    assert!(done || dialect == Dialect::Gemini, "{dialect:?}: the decoder saw no end");
    decoder.finish(None).unwrap()
}

#[test]
fn what_is_said_is_what_is_heard() {
    let said =
        fake::Reply { thinking: "Hm, so.".into(), ..fake::Reply::text("Schön – 你好 🚀, noch was") }
            .and_call("list", &json!({"path": "ä/ö"}))
            .and_call("list", &json!({"path": "."}));
    for dialect in ALL {
        for piece in [1, 3, 1000] {
            let heard = round(dialect, &said, piece);
            assert_eq!(heard.text, said.text, "{dialect:?}");
            let args: Vec<&Value> = heard.calls.iter().map(|call| &call.args).collect();
            assert_eq!(args, [&json!({"path": "ä/ö"}), &json!({"path": "."})], "{dialect:?}");
            assert!(heard.calls.iter().all(|call| call.tool == "list"));
            assert_ne!(heard.calls[0].id, heard.calls[1].id);
            assert_eq!(heard.stop, Stop::ToolUse, "{dialect:?}");
            let usage = Usage { input: 70, output: 9, cache_read: 30, ..Usage::default() };
            assert_eq!(heard.usage, usage, "{dialect:?}");
        }
    }
}

#[test]
fn every_end_means_the_same() {
    for (stop, means) in [
        (fake::Stop::Done, Stop::EndTurn),
        (fake::Stop::MaxTokens, Stop::MaxTokens),
        (fake::Stop::Refusal, Stop::Refusal),
    ] {
        for dialect in ALL {
            let heard = round(dialect, &fake::Reply { stop, ..fake::Reply::text("so far") }, 1000);
            assert_eq!(heard.stop, means, "{dialect:?}");
        }
    }
}

/// The server counts how often the model has spoken; our requests say it in every dialect.
#[test]
fn a_conversation_is_as_long_as_it_is() {
    let call = |id: &str| ToolUse { id: id.into(), tool: "list".into(), args: json!({}) };
    let messages = vec![
        Message::User { text: "go".into() },
        Message::said("Looking.", vec![call("a"), call("b")]),
        Message::result("a", true, "x"),
        Message::result("b", true, "y"),
        Message::said("", vec![call("c")]),
        Message::result("c", true, "z"),
    ];
    for dialect in ALL {
        let wire = codec(dialect).encode(&request(messages.clone()), &options());
        assert_eq!(Dialect::of(&wire.path), Some(dialect), "{}", wire.path);
        let body: Value = serde_json::from_slice(&wire.body).unwrap();
        assert_eq!(dialect.turn(&body), 2, "{dialect:?}: {body}");
        assert!(dialect.streams(&body), "{dialect:?}");
        assert_eq!(dialect.max_tokens(&body), 500, "{dialect:?}");
        assert_eq!(dialect.model(&wire.path, &body), "model-1");
    }
}
