//! Bodies of requests: JSON of exactly the fields that are known.
//!
//! Knows no route. Start at [`read`].

use crate::problem::Refused;
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use contract::text::suggestion;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// What a body says.
pub(crate) fn read<T: DeserializeOwned>(headers: &HeaderMap, bytes: &Bytes) -> Result<T, Refused> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Refused::media_type());
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => wrong(&error.to_string()),
        _ => Refused::user(
            "bad-request",
            format!("the body of this request is not JSON: {error}"),
            "send one JSON object",
        ),
    })
}

/// A field that is unknown, missing or of another kind.
fn wrong(error: &str) -> Refused {
    let mut quoted = error.split('`').skip(1).step_by(2);
    let hint = match quoted.next() {
        Some(unknown) if error.starts_with("unknown field") => suggestion(unknown, quoted),
        _ => String::new(),
    };
    Refused::user(
        "bad-field",
        format!("the body of this request is not as it should be: {error}"),
        hint.trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Told {
        #[expect(dead_code, reason = "read from JSON only")]
        goal: String,
    }

    fn told(kind: &str, text: &str) -> Result<Told, Refused> {
        let headers = [(header::CONTENT_TYPE, kind.parse().unwrap())].into_iter().collect();
        read(&headers, &Bytes::from(text.to_owned()))
    }

    #[test]
    fn only_json_of_known_fields() {
        assert!(told("application/json", r#"{"goal":"x"}"#).is_ok());
        assert!(told("Application/JSON; charset=utf-8", r#"{"goal":"x"}"#).is_ok());
        for (kind, text, code) in [
            ("text/plain", r#"{"goal":"x"}"#, "media-type"),
            ("", r#"{"goal":"x"}"#, "media-type"),
            ("application/json", "{", "bad-request"),
            ("application/json", "", "bad-request"),
            ("application/json", "{}", "bad-field"),
            ("application/json", r#"{"goal":1}"#, "bad-field"),
            ("application/json", r#"{"goal":"x","model":"y"}"#, "bad-field"),
        ] {
            assert_eq!(told(kind, text).unwrap_err().fault.code, code, "{kind} {text}");
        }
        let fault = told("application/json", r#"{"gaol":"x"}"#).unwrap_err().fault;
        assert!(fault.hint.contains("did you mean `goal`"), "{fault:?}");
    }
}
