//! Models: whatever answers a conversation with text and tool calls.
//!
//! Knows the contract only: no process, no workspace, no tool is within reach; a model sees the
//! conversation and speaks. Start at [`registry`], then [`script`] (a conversation played from a
//! file), [`fixer`] (a rule-based model that needs no key) and [`remote`] (a provider's API: its
//! [`dialect`] over [`http`], as [`settings`] say).
#![warn(missing_docs)]

pub mod count;
pub mod dialect;
pub mod fixer;
pub mod http;
pub mod listing;
pub mod prices;
#[cfg(any(test, fuzzing))]
pub mod props;
pub mod registry;
pub mod remote;
pub mod replies;
pub mod script;
pub mod settings;

pub use fixer::Fixer;
pub use prices::Cards;
pub use registry::Registry;
pub use replies::Replies;
pub use script::Script;
pub use settings::Settings;

/// Bytes one token stands for where a model without a tokenizer has to name a figure.
const BYTES_PER_TOKEN: u64 = 4;

/// An estimate of the tokens in this many bytes, rounded up.
fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

/// An estimate of the tokens a request holds.
fn request_tokens(request: &contract::model::Request) -> u64 {
    use contract::model::Message;
    let messages = request.messages.iter().map(|message| match message {
        Message::User { text } | Message::Tool { text, .. } => text.len(),
        Message::Assistant { text, calls, .. } => {
            text.len() + calls.iter().map(|call| call.tool.len() + json_bytes(&call.args)).sum::<usize>()
        }
    });
    tokens(request.system.len() + messages.sum::<usize>())
}

/// Bytes of this value as JSON, without writing it anywhere.
fn json_bytes(value: &serde_json::Value) -> usize {
    struct Counted(usize);
    impl std::io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    // Counting cannot fail, and neither can writing a value whose keys are texts.
    drop(serde_json::to_writer(&mut counted, value));
    counted.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_counted_as_they_would_be_written() {
        let value = serde_json::json!({"a": [1, 2.5, null, "é\n\u{1}"], "b": {}});
        assert_eq!(super::json_bytes(&value), value.to_string().len());
    }
}
