//! Secrets by their form: keys, tokens and private keys as their makers write them. What has no such form is not found.
//!
//! Knows patterns, not places. Start at [`remove`]; a new form is a row of [`PREFIXES`].

use std::borrow::Cow;

/// Beginnings of keys and tokens, and the least characters that follow.
const PREFIXES: [(&str, usize); 22] = [
    ("sk-ant-", 20),
    ("sk-proj-", 20),
    ("sk-or-v1-", 20),
    ("sk-", 20),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("AIza", 30),
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 18),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("hf_", 30),
    ("npm_", 30),
    ("pypi-", 40),
    ("gsk_", 30),
    ("xai-", 30),
    ("eyJ", 60),
];
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const KEY: &str = "PRIVATE KEY";
/// What stands in the place of a secret.
const MARK: &str = "[secret removed]";

/// The text without what has the form of a secret; `found` grows by how many there were.
pub(crate) fn remove(text: &str, found: &mut u64) -> String {
    let text = without_keys(text, found);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(start) = rest.find(part) {
        let word = &rest[start..];
        let end = word.find(|c| !part(c)).unwrap_or(word.len());
        out.push_str(&rest[..start]);
        if secret(&word[..end]) {
            *found += 1;
            out.push_str(MARK);
        } else {
            out.push_str(&word[..end]);
        }
        rest = &word[end..];
    }
    out.push_str(rest);
    out
}

/// May this character be part of a key?
fn part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn secret(word: &str) -> bool {
    // A sentence's full stop is not the key's.
    let word = word.trim_matches('.');
    PREFIXES.iter().any(|(prefix, least)| {
        let Some(rest) = word.strip_prefix(prefix) else { return false };
        // Words of a language have hyphens, too; keys have digits or capitals.
        let random = rest.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        rest.len() >= *least && random
    })
}

/// Without blocks of private keys, escaped line ends of JSON included.
fn without_keys<'a>(text: &'a str, found: &mut u64) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    let mut from = 0;
    while let Some(begin) = text[from..].find(BEGIN).map(|at| at + from) {
        from = begin + BEGIN.len();
        let head = &text[from..text.floor_char_boundary(from + 40)];
        if !head.contains(KEY) {
            continue;
        }
        let end = text[from..].find(END).map_or(text.len(), |at| from + at);
        // The rest of the line with the end mark.
        let close = text[end..].find(KEY).map_or(text.len(), |at| end + at + KEY.len());
        let close = close + text[close..].bytes().take_while(|byte| *byte == b'-').count();
        text = Cow::Owned(format!("{}{MARK}{}", &text[..begin], &text[close..]));
        *found += 1;
        from = begin + MARK.len();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_and_words_stay() {
        let key = |prefix: &str| format!("{prefix}{}", "a1B2c3D4e5".repeat(7));
        for (prefix, _) in PREFIXES {
            let (text, mut found) = (format!("x=\"{}\", then.", key(prefix)), 0);
            assert_eq!(remove(&text, &mut found), format!("x=\"{MARK}\", then."), "{prefix}");
            assert_eq!(found, 1);
        }
        for text in
            ["sk-ant-short", "a task-oriented sk-learn-like-wrapper-for-everything", "eyJ", "é\u{0}", ""]
        {
            let mut found = 0;
            assert_eq!((remove(text, &mut found).as_str(), found), (text, 0));
        }
    }

    #[test]
    fn blocks_of_private_keys_go_whole() {
        for (text, rest) in [
            ("a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", "\nb"),
            ("a\n-----BEGIN PRIVATE KEY-----\\nMII\\n-----END PRIVATE KEY-----\\nb", "\\nb"),
            ("a\n-----BEGIN OPENSSH PRIVATE KEY-----\nMII and no end", ""),
        ] {
            let mut found = 0;
            assert_eq!(remove(text, &mut found), format!("a\n{MARK}{rest}"));
            assert_eq!(found, 1);
        }
        let certificate = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----";
        assert_eq!(remove(certificate, &mut 0), certificate);
    }
}
