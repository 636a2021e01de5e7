//! Handles of secrets: `secret:NAME` in a text stands for a value that whoever wrote the text does not know.
//!
//! Knows no value and nobody who may have one. Start at [`handles`] and [`filled`].

use std::ops::Range;

const START: &str = "secret:";
/// Longest name, bytes.
const NAME_BYTES: usize = 32;

/// Can a secret have this name? Capitals, digits and `_`, beginning with a letter: as a variable's.
pub fn is_handle_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= NAME_BYTES
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase())
        && name.bytes().all(inside)
}

/// The handles in a text, in order: where each stands, and its name.
pub fn handles(text: &str) -> Vec<(Range<usize>, &str)> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut found = Vec::new();
    for (at, start) in text.match_indices(START) {
        let rest = &text[at + start.len()..];
        let end = rest.bytes().position(|byte| !word(byte)).unwrap_or(rest.len());
        let before = text[..at].bytes().next_back();
        if is_handle_name(&rest[..end]) && !before.is_some_and(|byte| word(byte) || byte == b'-') {
            found.push((at..at + start.len() + end, &rest[..end]));
        }
    }
    found
}

/// Is it a handle and nothing else? Then this is its name.
pub fn handle(text: &str) -> Option<&str> {
    text.strip_prefix(START).filter(|name| is_handle_name(name))
}

/// The text with values in the place of handles; one that `value` does not know stays as it is.
pub fn filled<'v>(text: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for (place, name) in handles(text) {
        if let Some(value) = value(name) {
            out.push_str(&text[from..place.start]);
            out.push_str(value);
            from = place.end;
        }
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Redactor;

    #[test]
    fn handles_are_whole_words() {
        for (text, names) in [
            ("secret:GITHUB", "GITHUB"),
            ("Authorization: Bearer secret:A_1, x-key=secret:B", "A_1 B"),
            ("(secret:A)secret:B secret:Asecret:B", "A B"),
            ("secret: A secret:a secret:1A secret:_A secret:", ""),
            ("secret:GITHUBtoken my-secret:A xsecret:A secret:A-b", "A"),
            ("secret:A_NAME_OF_MORE_THAN_THIRTY_TWO_BYTES", ""),
            ("ü secret:Ü secret:Aü", "A"),
        ] {
            let found: Vec<&str> = handles(text).into_iter().map(|(_, name)| name).collect();
            assert_eq!(found.join(" "), names, "{text}");
        }
        assert_eq!((handle("secret:A"), handle("secret:A "), handle("A")), (Some("A"), None, None));
    }

    #[test]
    fn values_are_put_in_once_and_what_is_unknown_stays() {
        let value = |name: &str| (name == "A").then_some("secret:B");
        assert_eq!(filled("x secret:A y secret:B", value), "x secret:B y secret:B");
        assert_eq!(filled("none", value), "none");
    }

    #[test]
    fn a_handle_is_no_secret_itself() {
        let redactor = Redactor::default();
        for text in [
            "GITHUB_TOKEN=secret:GITHUB",
            "{\"env\":[\"API_KEY=secret:KEY_2024_PROD_EU1\"],\"token\":\"secret:KEY_2024_PROD_EU1\"}",
            "Authorization: Bearer secret:GITHUB_2024_PROD_EU1",
        ] {
            assert_eq!(redactor.text(text), text);
            let mut value = serde_json::json!({"API_TOKEN": "secret:KEY_2024_PROD_EU1", "x": text});
            assert!(!redactor.json(&mut value), "{value}");
        }
        assert!(crate::Secret::new("A_TOKEN", "secret:GITHUB_2024_PROD").is_none());
    }
}
