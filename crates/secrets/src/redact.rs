//! Takes secrets out of texts, and knows the marks it leaves.
//!
//! Knows no place. Start at [`Redactor::text`].

use crate::known::{Known, Secret};
use crate::name::is_secret;
use crate::{pattern, worth};
use serde_json::Value;
use std::borrow::Cow;

/// What a mark begins and ends with.
const OPEN: &str = "[secret removed";
const CLOSE: char = ']';
/// Longest name that is shown as what was removed.
const LABEL_BYTES: usize = 40;
/// Least and most bytes that are held back of a text that comes in pieces.
const REACH_BYTES: (usize, usize) = (8 * 1024, 512 * 1024);
/// Times a text is looked at again after something was removed.
const AGAIN: usize = 4;

/// A place in a text that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Its first byte.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
    /// What it is, without saying it.
    pub label: String,
}

/// What stands in the place of a secret.
pub fn mask(label: &str) -> String {
    if label.is_empty() { format!("{OPEN}{CLOSE}") } else { format!("{OPEN}: {label}{CLOSE}") }
}

/// The first mark in a text.
pub fn masked(text: &str) -> Option<&str> {
    let mark = &text[text.find(OPEN)?..];
    let end = mark
        .char_indices()
        .take(OPEN.len() + 80)
        .find(|(_, c)| *c == CLOSE)
        .map_or(OPEN.len(), |(at, _)| at + 1);
    Some(&mark[..end])
}

/// Of a text that goes on: how much of its end is held back at most.
const HELD_BYTES: usize = 16 * 1024;
/// Letters and digits of a word without an end that may become a token.
const WORD_LETTERS: usize = 8;

/// Takes out what it knows, and what has the form of a secret.
#[derive(Default)]
pub struct Redactor {
    known: Option<Known>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// One that knows these values besides the forms. Where there are more than it can look for, the first ones count.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self { known: Known::new(secrets) }
    }

    /// Values it was given and does not look for: there were too many.
    pub fn left_out(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.left_out)
    }

    /// Of the beginning of a text that goes on: the bytes that no secret reaches over, up to a line's end. 0 = more is
    /// needed; with `most` bytes at hand there is an answer, if need be in the middle of a line.
    pub fn cut(&self, held: &[u8], most: usize) -> usize {
        let reach = self.known.as_ref().map_or(0, |known| known.longest).clamp(REACH_BYTES.0, REACH_BYTES.1);
        let safe = held.len().saturating_sub(reach);
        let line = memchr::memrchr(b'\n', &held[..safe]).map_or(0, |at| at + 1);
        let enough = held.len() >= most;
        let mut end = if line == 0 && enough { safe } else { line };
        if let Some(begin) = pattern::open_key(&held[..end])
            && (begin > 0 || !enough)
        {
            end = begin;
        }
        let over = self.find(held).into_iter().find(|span| span.start < end && end < span.end);
        match over {
            Some(span) if span.start == 0 && enough => held.len(),
            Some(span) => span.start,
            None => end,
        }
    }

    /// Of a text that may go on at any time: the bytes that can be shown by now. Held back is what may become a secret: the
    /// beginning of a known value, of a private key's block, of a value behind a telling name, and a long word without an end.
    pub fn settled(&self, text: &[u8]) -> usize {
        let recent = text.len().saturating_sub(HELD_BYTES);
        let tail = &text[recent..];
        let line = memchr::memrchr(b'\n', tail).map_or(0, |at| at + 1);
        let word = tail.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
        let letters = tail[word..].iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
        let told = std::str::from_utf8(&tail[line..]).is_ok_and(pattern::is_telling) && word < tail.len();
        let ends = [
            (letters >= WORD_LETTERS).then_some(word),
            told.then_some(line),
            pattern::open_key(tail),
            self.known.as_ref().map(|known| tail.len() - known.begun(tail)),
        ];
        let end = recent + ends.into_iter().flatten().min().unwrap_or(tail.len());
        let over = self.find(text).into_iter().find(|span| span.start < end && end < span.end);
        over.map_or(end, |span| span.start)
    }

    /// Where the secrets of these bytes are, in order, none in another.
    pub fn find(&self, text: &[u8]) -> Vec<Span> {
        let mut spans = Vec::new();
        if let Some(known) = &self.known {
            known.find(text, &mut spans);
        }
        pattern::find(text, &mut spans);
        for span in &mut spans {
            if self.name(&span.label) != span.label {
                span.label = "secret".into();
            }
        }
        spans.sort();
        let mut apart: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match apart.last_mut() {
                Some(last) if span.start < last.end => last.end = last.end.max(span.end),
                _ => apart.push(span),
            }
        }
        apart
    }

    /// The bytes without secrets.
    pub fn bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut out = self.once(text);
        // What a mark parts may be told from its surroundings only now.
        for _ in 0..AGAIN {
            match &out {
                Cow::Borrowed(_) => break,
                Cow::Owned(bytes) => match self.once(bytes) {
                    Cow::Borrowed(_) => break,
                    Cow::Owned(more) => out = Cow::Owned(more),
                },
            }
        }
        out
    }

    fn once<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let spans = self.find(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        let mut from = 0;
        for Span { start, end, label } in spans {
            out.extend_from_slice(&text[from..start]);
            out.extend_from_slice(mask(&label).as_bytes());
            from = end;
        }
        out.extend_from_slice(&text[from..]);
        Cow::Owned(out)
    }

    /// The text without secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(
                String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into()),
            ),
        }
    }

    /// Takes secrets out of a text in its place; true when there were some.
    pub fn clean(&self, text: &mut String) -> bool {
        let cleaned = match self.text(text) {
            Cow::Borrowed(_) => return false,
            Cow::Owned(cleaned) => cleaned,
        };
        *text = cleaned;
        true
    }

    /// Takes secrets out of every string of a value, keys included; true when there were some. A string whose key
    /// tells that it is a secret is judged with it.
    pub fn json(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => self.clean(text),
            Value::Array(values) => values.iter_mut().fold(false, |any, value| self.json(value) | any),
            Value::Object(map) => {
                let mut any = false;
                for (key, value) in map.iter_mut() {
                    any |= self.json(value);
                    if let Value::String(text) = value
                        && masked(text).is_none()
                        && is_secret(key)
                        && (worth::strong(text) || worth::quoted(text))
                    {
                        *text = mask(self.name(key));
                        any = true;
                    }
                }
                let keys: Vec<String> =
                    map.keys().filter(|key| !self.find(key.as_bytes()).is_empty()).cloned().collect();
                for key in keys {
                    any = true;
                    if let Some(value) = map.remove(&key) {
                        map.insert(self.text(&key).into_owned(), value);
                    }
                }
                any
            }
            _ => false,
        }
    }

    /// A name in a text may hold a secret itself.
    fn name<'a>(&self, label: &'a str) -> &'a str {
        let holds = self.known.as_ref().is_some_and(|known| known.is_in(label));
        if label.len() > LABEL_BYTES || holds { "secret" } else { label }
    }

    /// Bytes that must be there before it is certain that no known value with a space in it goes on.
    pub(crate) fn spaced(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.spaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_may_become_a_secret_is_not_settled() {
        let redactor = Redactor::new(Secret::new("PASS", "correct horse battery 77"));
        for (text, shown) in [
            ("done\n", "done\n"),
            (">>> ", ">>> "),
            ("name? ", "name? "),
            ("$ ls", "$ ls"),
            ("a ghp_aB3dE6gH9j", "a "),
            ("it is correct hor", "it is "),
            ("x\n-----BEGIN PRIVATE KEY-----\nMIIE\n", "x\n"),
            ("x\nAPI_KEY=ab", "x\n"),
        ] {
            assert_eq!(&text[..redactor.settled(text.as_bytes())], shown, "{text}");
        }
    }

    const GITHUB: &str = "ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6";

    fn plain(text: &str) -> String {
        Redactor::default().text(text).into_owned()
    }

    fn knows(value: &str) -> Redactor {
        Redactor::new(Secret::new("CANARY", value))
    }

    #[test]
    fn forms_go_and_words_stay() {
        for (text, expected) in [
            (format!("x=\"{GITHUB}\", then."), "x=\"[secret removed: github-token]\", then."),
            ("id AKIAZ7QW3ERT5YUI8OPA.".to_owned(), "id [secret removed: aws-key-id]."),
            (
                "postgres://app:s3cr3t-Pa55@db.internal/x?y".to_owned(),
                "postgres://app:[secret removed: url-password]@db.internal/x?y",
            ),
            ("DB_PASSWORD=hunter2 next".to_owned(), "DB_PASSWORD=[secret removed: DB_PASSWORD] next"),
            (
                " 12\texport API_TOKEN='abc-def'".to_owned(),
                " 12\texport API_TOKEN='[secret removed: API_TOKEN]'",
            ),
            (
                "{\"client_secret\": \"q8Zr1Lk29xPw7Vt4\"}".to_owned(),
                "{\"client_secret\": \"[secret removed: client_secret]\"}",
            ),
            (
                "Authorization: Bearer 8fJ2kLq90ZxWv7Tr5Yb3Nc1M".to_owned(),
                "Authorization: Bearer [secret removed: authorization]",
            ),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r".to_owned(),
                "[secret removed: jwt]",
            ),
        ] {
            assert_eq!(plain(&text), expected);
            assert_eq!(plain(expected), expected, "a mark is no secret");
        }
        for text in [
            "a task-oriented sk-learn-like-wrapper-for-everything",
            "AKIAIOSFODNN7EXAMPLE",
            "postgres://user:password@localhost/db, https://host:8080/a@b, postgres://u:${PASSWORD}@h",
            "MAX_TOKENS=4096 API_KEY=your-key-here TOKEN=$(cat f) SECRET=${X:-y} PASSWORD=",
            "let token = lexer.next_token(); password: &str, token: String",
            "if token == \"identifier\" { secret: \"my-config-map\" }",
            "-----BEGIN PRIVATE KEY-----",
            "é\u{0}",
            "",
        ] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn blocks_of_private_keys_go_whole() {
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj".repeat(3);
        for (text, rest) in [
            (format!("a\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nb"), "\nb"),
            (format!("a\n-----BEGIN PRIVATE KEY-----\\n{body}\\n-----END PRIVATE KEY-----\\nb"), "\\nb"),
            (format!("a\n-----BEGIN OPENSSH PRIVATE KEY-----\n{body} and no end"), ""),
        ] {
            assert_eq!(plain(&text), format!("a\n[secret removed: private-key]{rest}"));
        }
        let certificate = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----");
        assert_eq!(plain(&certificate), certificate);
    }

    #[test]
    fn known_values_go_whole_cut_and_encoded() {
        let value = "canary-7f3k/Qz\"81Lm+Pw9x=Vt4";
        let redactor = knows(value);
        let (json, half) = (json!(value).to_string(), &value[..16]);
        // What a shell's base64 prints of a text with the value in it, at each of three offsets.
        for text in [
            value.to_owned(),
            json,
            format!("cut here: {half}"),
            format!("...{} and on", &value[value.len() - 14..]),
            "canary-7f3k%2FQz%2281Lm%2BPw9x%3DVt4".to_owned(),
            "63616e6172792d3766336b2f517a2238314c6d2b507739783d567434".to_owned(),
            "x: Y2FuYXJ5LTdmM2svUXoiODFMbStQdzl4PVZ0NA==".to_owned(),
            "x: YWNhbmFyeS03ZjNrL1F6IjgxTG0rUHc5eD1WdDQ=".to_owned(),
            "x: YWJjYW5hcnktN2Yzay9ReiI4MUxtK1B3OXg9VnQ0".to_owned(),
        ] {
            let hidden = redactor.text(&text).into_owned();
            assert!(hidden.contains("[secret removed: CANARY]"), "{text} -> {hidden}");
            assert!(!hidden.contains(half) && !hidden.contains("Lm+Pw9x"), "{hidden}");
        }
        assert_eq!(redactor.text("canary birds"), "canary birds");
        assert!(Secret::new("A", "postgres").is_none() && Secret::new("A", "development").is_none());
    }

    #[test]
    fn values_are_cleaned_in_depth() {
        let mut value = json!({"a": [GITHUB, 1], GITHUB: {"b": "c"}});
        assert!(Redactor::default().json(&mut value));
        assert_eq!(value, json!({"a": [mask("github-token"), 1], mask("github-token"): {"b": "c"}}));
        assert!(!Redactor::default().json(&mut value));
        assert_eq!(masked(&value.to_string()), Some("[secret removed: github-token]"));
        assert_eq!(masked("nothing"), None);
    }
}
