//! Conversations made under one model and sent to another: valid by its rules, and nothing private in the bytes.

use super::*;
use crate::dialect::picture::base64;
use crate::dialect::rules::check;
use contract::model::{Image, ToolUse};
use proptest::prelude::*;
use serde_json::Value;

const PICTURE: &[u8] = b"\x89PNG picture";

fn user(text: &str) -> Message {
    Message::User { text: text.into() }
}

/// All that this row's streams say, one after the other, with what tools and people answered: pictures, failures, a
/// call nobody answered, an answer nobody asked for.
fn conversation(row: &Row) -> Vec<Message> {
    let mut messages = vec![user("begin")];
    for case in CASES {
        let Ok(reply) = reply(row, case) else { continue };
        let ids: Vec<String> = reply.calls.iter().map(|call| call.id.clone()).collect();
        messages.push(Message::Assistant { text: reply.text, calls: reply.calls, private: reply.private });
        for (at, call) in ids.into_iter().enumerate().rev() {
            let picture = |kind: &str| Image { media_type: kind.into(), bytes: PICTURE.into() };
            let images = if at == 1 { vec![picture("image/png"), picture("image/tiff")] } else { Vec::new() };
            let answer = Message::Tool { call, ok: at != 0, text: format!("answer {at}"), images };
            // Of the last call in this case nobody ever heard.
            if case != "tool" {
                messages.push(answer);
            }
        }
        messages.push(user("and then?"));
    }
    messages.push(Message::result("of-nobody", true, "what was that?"));
    messages
}

fn body(row: &Row, messages: Vec<Message>) -> (Vec<u8>, String) {
    let bytes = row.codec.encode(&request(row, messages), &row.options()).body;
    let text = String::from_utf8(bytes.clone()).expect("text");
    (bytes, text)
}

#[test]
fn every_pair_of_dialects_hands_over() {
    for from in rows() {
        for to in rows() {
            let own = conversation(&to);
            let messages: Vec<Message> = conversation(&from).into_iter().chain(own).collect();
            let place = format!("{} to {}", from.name, to.name);
            let (bytes, text) = body(&to, messages);
            check(&to, &bytes);
            if from.name != to.name {
                assert!(!text.contains(&format!("PRIVATE thought of {}", from.name)), "{place}: a thought");
                assert!(!text.contains(&format!("PRIVATE{}", from.name)), "{place}: a signature");
            }
            let keeps = !["openai", "lm-studio"].contains(&to.name);
            assert_eq!(text.contains("PRIVATE"), keeps, "{place}: its own thoughts come back");
            assert_eq!(text.contains(&base64(PICTURE)), to.name != "deepseek", "{place}: pictures");
            assert!(text.contains("a picture of type image/tiff"), "{place}: what cannot be seen is said");
            assert!(text.contains("what was that?") && text.contains("no result recorded"), "{place}");
        }
    }
}

/// Where a producer's block stood it stands again.
#[test]
fn thoughts_come_back_in_their_places() {
    let back = |name: &str| -> Value {
        let row = rows().into_iter().find(|row| row.name == name).expect("a row");
        let messages = conversation(&row);
        let at = messages.iter().position(
            |message| matches!(message, Message::Assistant { text, .. } if text.starts_with("I read it")),
        );
        let end = at.expect("the case") + 3;
        serde_json::from_slice(&body(&row, messages[..end].to_vec()).0).expect("JSON")
    };
    let last = |value: &Value, list: &str, kind: &str, text: &str| -> Vec<Value> {
        let all = value[list].as_array().expect("a list").clone();
        let at = all.iter().rposition(|item| item[kind] == text).expect("the model spoke");
        all[at..].to_vec()
    };
    let responses = back("responses");
    let items: Vec<String> = responses["input"]
        .as_array()
        .expect("items")
        .iter()
        .rev()
        .take(6)
        .rev()
        .map(|item| item["type"].as_str().expect("a type").to_owned())
        .collect();
    assert_eq!(items[..4], ["reasoning", "message", "function_call", "function_call"]);
    let phase =
        responses["input"].as_array().expect("items").iter().find(|item| item["phase"] == "commentary");
    assert!(phase.is_some());

    let gemini = last(&back("gemini"), "contents", "role", "model");
    let parts = gemini[0]["parts"].as_array().expect("parts");
    assert!(parts[0]["thought"] == true && parts[1]["text"] == "I read it.");
    assert_eq!(parts[2]["thoughtSignature"], "PRIVATEgeminiCall");
    assert!(parts[2]["functionCall"]["id"] == "native-0" && parts[3].get("thoughtSignature").is_none());
    assert_eq!(gemini[1]["parts"][1]["functionResponse"]["id"], "native-1");

    let router = last(&back("openrouter"), "messages", "role", "assistant");
    let details = &router[0]["reasoning_details"];
    assert_eq!(details[0]["text"], "PRIVATE thought of openrouter.");
    assert_eq!(details[0]["signature"], "PRIVATEopenrouterErUB");
    assert_eq!(details[1]["data"], "PRIVATEopenrouterBlob");
    let deepseek = last(&back("deepseek"), "messages", "role", "assistant");
    assert_eq!(deepseek[0]["reasoning_content"], "PRIVATE thought of deepseek.");
}

/// What was sent once stays as it was: providers cache by prefix.
#[test]
fn a_longer_conversation_begins_with_the_shorter_one() {
    for row in rows() {
        let messages = conversation(&row);
        let items = |end: usize| -> Vec<Value> {
            let body: Value = serde_json::from_slice(&body(&row, messages[..end].to_vec()).0).expect("JSON");
            let list = ["messages", "input", "contents"].into_iter().find_map(|list| body[list].as_array());
            let mut items = list.expect("a conversation").clone();
            items.iter_mut().for_each(unmarked);
            items
        };
        let whole = items(messages.len());
        for end in 1..messages.len() {
            // A request goes out when the person or the last of the tools has spoken.
            let open = !matches!(messages[end - 1], Message::User { .. });
            if open {
                continue;
            }
            let mut shorter = items(end);
            // The last one may grow: roles that speak twice are one.
            shorter.pop();
            assert_eq!(shorter, whole[..shorter.len()], "{} after {end} messages", row.name);
        }
    }
}

/// Without the marks for the cache, which move on.
fn unmarked(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("cache_control");
            map.values_mut().for_each(unmarked);
        }
        Value::Array(list) => list.iter_mut().for_each(unmarked),
        _ => {}
    }
}

#[test]
fn parameters_of_the_users_own_go_along_and_change_nothing_of_ours() {
    for row in rows() {
        let mut options = row.options();
        for name in ["model", "stream", "max_tokens", "messages", "input", "contents", "tools", "temperature"]
        {
            options.parameters.insert(name.into(), json!(0.5));
        }
        let bytes = row.codec.encode(&asked(&row), &options).body;
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(value["temperature"], 0.5, "{}", row.name);
        // Each name once, and ours.
        assert_eq!(serde_json::to_string(&value).expect("JSON").len(), bytes.len(), "{}", row.name);
        for name in ["messages", "input", "contents", "tools"] {
            let ours = value.get(name).is_none_or(|value| value.is_array() || *value == 0.5);
            assert!(ours, "{} {name}", row.name);
        }
    }
}

fn call(id: &str, tool: &str, args: Value) -> ToolUse {
    ToolUse { id: id.into(), tool: tool.into(), args }
}

#[test]
fn odd_conversations_are_made_valid() {
    let odd = [
        vec![],
        vec![Message::said("first word", vec![call("a", "read", json!({}))])],
        vec![user(""), user("  "), Message::said("", vec![])],
        vec![Message::result("a", true, "x"), user("y")],
        vec![user("x"), Message::said("a", vec![]), Message::said("b", vec![call("", "", json!(null))])],
        vec![
            user("x"),
            Message::said("", vec![call("a b", "é", json!([1])), call("a b", "read", json!("not json"))]),
            user("meanwhile"),
            Message::result("a b", false, ""),
            Message::said("", vec![call("a b", "read", json!({"x": 1}))]),
        ],
    ];
    for row in rows() {
        for messages in odd.clone() {
            check(&row, &body(&row, messages).0);
        }
    }
}

proptest! {
    #![proptest_config(corpus::cases(200))]

    #[test]
    fn any_conversation_is_made_valid(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        crate::props::conversation(&bytes);
    }
}
