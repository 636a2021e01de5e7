//! Names for what a model was asked: one digest for instructions and tools, and one more for every message, each over
//! the one before it. Two requests have the same beginning exactly as far as their digests agree.
//!
//! Knows no provider: what a wire dialect makes of it is its own. Start at [`chain`].

use contract::Digest;
use contract::model::{Message, Request};
use serde_json::{Value, json};

/// The digests of a request, of its instructions and tools first, of the whole last.
pub fn chain(request: &Request) -> Vec<Digest> {
    let tools: Vec<Value> =
        request.tools.iter().map(|tool| json!([tool.name, tool.description, tool.schema])).collect();
    let prompt = json!([request.model, request.system, tools]);
    let mut chain = vec![Digest::of(prompt.to_string().as_bytes())];
    for message in &request.messages {
        let before = chain[chain.len() - 1];
        chain.push(Digest::chain(&before, words(message).to_string().as_bytes()));
    }
    chain
}

/// A message as what is digested: keys of a JSON object are sorted, so the same message is the same bytes.
fn words(message: &Message) -> Value {
    match message {
        Message::User { text } => json!({"user": text}),
        Message::Assistant { text, calls, private } => {
            let calls: Vec<Value> = calls.iter().map(|call| json!([call.id, call.tool, call.args])).collect();
            let private = private.as_ref().map(|private| json!([private.producer, private.blocks]));
            json!({"said": text, "calls": calls, "private": private})
        }
        Message::Tool { call, ok, text, images } => {
            let image = |image: &contract::model::Image| json!([image.media_type, Digest::of(&image.bytes)]);
            let images: Vec<Value> = images.iter().map(image).collect();
            json!({"result": call, "ok": ok, "text": text, "images": images})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requests_agree_as_far_as_their_digests_do() {
        let user = |text: &str| Message::User { text: text.into() };
        let request = |system: &str, messages: &[Message]| Request {
            model: "m".into(),
            system: system.into(),
            messages: messages.to_vec(),
            tools: Vec::new(),
            max_tokens: 1,
            ordinal: 1,
            key: String::new(),
        };
        let one = chain(&request("s", &[user("a"), user("b"), user("c")]));
        let two = chain(&request("s", &[user("a"), user("x"), user("c")]));
        let agree = one.iter().zip(&two).take_while(|(one, two)| one == two).count();
        assert_eq!((one.len(), agree), (4, 2));
        assert_ne!(chain(&request("t", &[user("a")]))[0], one[0]);
        assert_ne!(chain(&request("s", &[Message::result("c", true, "a")]))[1], one[1]);
    }
}
