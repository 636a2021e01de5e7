//! Which models a server has, and how much they really hold there.
//!
//! Knows the shapes of answers, no socket. Vendors and local servers name the same facts differently; what none of
//! them says stays unknown. Start at [`models`]; what local servers tell besides stands below it.

use crate::settings::Facts;
use contract::model::Price;
use serde_json::Value;

/// Names of how much a model's context holds, the one that holds where it runs first.
const CONTEXT: [&str; 6] = [
    "loaded_context_length",
    "max_model_len",
    "context_length",
    "max_input_tokens",
    "inputTokenLimit",
    "max_context_length",
];
/// Names of how long a reply may be.
const OUTPUT: [&str; 4] = ["max_completion_tokens", "outputTokenLimit", "max_output_tokens", "max_tokens"];
/// Models of one server that are taken over.
const MODELS: usize = 10_000;

/// The models in a listing, in its order; `None` = it is no listing.
pub fn models(body: &[u8]) -> Option<Vec<(String, Facts)>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let list =
        value["data"].as_array().or_else(|| value["models"].as_array()).or_else(|| value.as_array())?;
    let named = |entry: &Value| {
        let name =
            entry["id"].as_str().or_else(|| entry["model"].as_str()).or_else(|| entry["name"].as_str())?;
        let name = name.strip_prefix("models/").unwrap_or(name);
        // What only makes vectors or pictures answers no conversation.
        let methods = entry["supportedGenerationMethods"].as_array();
        let speaks = methods.is_none_or(|all| all.iter().any(|method| method == "generateContent"));
        (speaks && !name.is_empty()).then(|| (name.to_owned(), facts(entry)))
    };
    Some(list.iter().filter_map(named).take(MODELS).collect())
}

fn facts(entry: &Value) -> Facts {
    let number = |value: &Value, names: &[&str]| {
        names.iter().find_map(|name| value[*name].as_u64().filter(|n| *n > 0))
    };
    let output = number(&entry["top_provider"], &OUTPUT).or_else(|| number(entry, &OUTPUT));
    Facts {
        context_tokens: number(entry, &CONTEXT),
        output_tokens: output,
        price: price(&entry["pricing"]),
        ..Facts::default()
    }
}

/// Dollars per token as texts. Less than nothing (a router that chooses later) is unknown.
fn price(pricing: &Value) -> Option<Price> {
    let of = |name: &str| nanos_per_million(pricing[name].as_str()?);
    Some(Price {
        input: of("prompt")?,
        output: of("completion")?,
        cache_read: of("input_cache_read"),
        cache_write: of("input_cache_write"),
        tier: None,
    })
}

/// A decimal fraction of a dollar for one token, as nano-dollars for a million, rounded up.
fn nanos_per_million(text: &str) -> Option<u64> {
    // A dollar per token is 10^15 nano-dollars per million tokens.
    const DIGITS: usize = 15;
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(DIGITS));
    let more = u64::from(rest.bytes().any(|b| b != b'0'));
    format!("{whole}{kept:0<DIGITS$}").parse::<u64>().ok()?.checked_add(more)
}

/// What `/props` of llama.cpp says a conversation may hold.
pub fn llama_cpp(body: &[u8]) -> Option<u64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value["default_generation_settings"]["n_ctx"].as_u64().filter(|n| *n > 0)
}

/// What `/api/ps` of Ollama says this model holds where it is loaded.
pub fn ollama_loaded(body: &[u8], name: &str) -> Option<u64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let same = |entry: &&Value| {
        let own = entry["model"].as_str().or_else(|| entry["name"].as_str()).unwrap_or_default();
        own == name || own.strip_suffix(":latest") == Some(name)
    };
    value["models"].as_array()?.iter().find(same)?["context_length"].as_u64().filter(|n| *n > 0)
}

/// What `/api/show` of Ollama says this model is loaded with, if its file fixes that.
pub fn ollama_declared(body: &[u8]) -> Option<u64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let mut lines = value["parameters"].as_str()?.lines();
    lines.find_map(|line| line.trim().strip_prefix("num_ctx")?.trim().parse().ok()).filter(|n| *n > 0)
}

/// What `/api/v0/models` of LM Studio says this model holds where it is loaded. What it could hold says nothing.
pub fn lm_studio_loaded(body: &[u8], name: &str) -> Option<u64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let entry = value["data"].as_array()?.iter().find(|entry| entry["id"] == name)?;
    entry["loaded_context_length"].as_u64().filter(|n| *n > 0)
}

/// What a listing says of this model.
pub fn of(body: &[u8], name: &str) -> Option<Facts> {
    models(body)?.into_iter().find(|(own, _)| own == name).map(|(_, facts)| facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Vec<(String, Facts)> {
        models(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn listings_of_vendors_and_local_servers() {
        let names = |value: Value| {
            read(value)
                .into_iter()
                .map(|(name, facts)| (name, facts.context_tokens, facts.output_tokens))
                .collect::<Vec<_>>()
        };
        for (value, name, context, output) in [
            (
                json!({"data": [{"type": "model", "id": "claude-x", "display_name": "X"}]}),
                "claude-x",
                None,
                None,
            ),
            (json!({"object": "list", "data": [{"id": "gpt", "object": "model"}]}), "gpt", None, None),
            (json!({"data": [{"id": "q", "max_model_len": 4096}]}), "q", Some(4096), None),
            (
                json!({"data": [{"id": "a/b:free", "context_length": 9, "top_provider": {"max_completion_tokens": 3}}]}),
                "a/b:free",
                Some(9),
                Some(3),
            ),
            (
                json!({"data": [{"id": "l", "max_context_length": 9, "loaded_context_length": 4}]}),
                "l",
                Some(4),
                None,
            ),
            (
                json!({"models": [{"name": "models/gemini", "inputTokenLimit": 7, "outputTokenLimit": 2, "supportedGenerationMethods": ["generateContent"]}, {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]}]}),
                "gemini",
                Some(7),
                Some(2),
            ),
        ] {
            assert_eq!(names(value), [(name.to_owned(), context, output)]);
        }
        assert_eq!(models(b"{}"), None);
        assert_eq!(models(b"<html>"), None);
        assert!(read(json!({"data": [{}, {"id": ""}, 7]})).is_empty());
    }

    #[test]
    fn prices_are_exact() {
        let pricing =
            json!({"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003"});
        let facts =
            of(json!({"data": [{"id": "m", "pricing": pricing}]}).to_string().as_bytes(), "m").unwrap();
        let price = facts.price.unwrap();
        assert_eq!(
            (price.input, price.output, price.cache_read),
            (3_000_000_000, 15_000_000_000, Some(300_000_000))
        );
        for (text, nanos) in [
            ("0", Some(0)),
            ("1", Some(1_000_000_000_000_000)),
            ("0.0000000000000001", Some(1)),
            ("-1", None),
            ("", None),
            ("1e-6", None),
        ] {
            assert_eq!(nanos_per_million(text), nanos, "{text}");
        }
    }

    #[test]
    fn what_local_servers_hold() {
        assert_eq!(llama_cpp(br#"{"default_generation_settings":{"n_ctx":4096}}"#), Some(4096));
        assert_eq!(llama_cpp(b"{}"), None);
        let ps =
            br#"{"models":[{"name":"a:latest","context_length":8192},{"model":"b:7b","context_length":1}]}"#;
        assert_eq!(
            (ollama_loaded(ps, "a"), ollama_loaded(ps, "b:7b"), ollama_loaded(ps, "b")),
            (Some(8192), Some(1), None)
        );
        let show = br#"{"parameters":"stop \"x\"\nnum_ctx                        16384\n"}"#;
        assert_eq!((ollama_declared(show), ollama_declared(b"{}")), (Some(16384), None));
    }
}
