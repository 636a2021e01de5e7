//! Secrets by their form: keys and tokens as their makers write them, private keys, passwords in addresses, and values
//! that are called a secret where they stand.
//!
//! Knows forms, no known values. Start at [`find`]; a new maker's form is a row of [`FORMS`].

use crate::name::is_secret;
use crate::redact::Span;
use crate::worth;
use aho_corasick::AhoCorasick;
use memchr::memmem;
use regex::Regex;
use std::sync::{LazyLock, OnceLock};

/// Label, beginning, and what follows it.
const FORMS: [(&str, &str, &str); 42] = [
    ("anthropic-key", "sk-ant-", "[A-Za-z0-9_-]{20,}"),
    ("api-key", "sk-proj-", "[A-Za-z0-9_-]{20,}"),
    ("api-key", "sk-or-v1-", "[A-Za-z0-9_-]{20,}"),
    ("api-key", "sk-", "[A-Za-z0-9_-]{20,}"),
    ("stripe-key", "sk_live_", "[A-Za-z0-9]{16,}"),
    ("stripe-key", "rk_live_", "[A-Za-z0-9]{16,}"),
    ("stripe-key", "sk_test_", "[A-Za-z0-9]{16,}"),
    ("webhook-secret", "whsec_", "[A-Za-z0-9]{24,}"),
    ("google-key", "AIza", "[A-Za-z0-9_-]{30,}"),
    ("google-token", "ya29.", "[A-Za-z0-9_-]{20,}"),
    ("google-secret", "GOCSPX-", "[A-Za-z0-9_-]{20,}"),
    ("aws-key-id", "AKIA", "[A-Z0-9]{16}"),
    ("aws-key-id", "ASIA", "[A-Z0-9]{16}"),
    ("github-token", "ghp_", "[A-Za-z0-9]{30,}"),
    ("github-token", "gho_", "[A-Za-z0-9]{30,}"),
    ("github-token", "ghu_", "[A-Za-z0-9]{30,}"),
    ("github-token", "ghs_", "[A-Za-z0-9]{30,}"),
    ("github-token", "ghr_", "[A-Za-z0-9]{30,}"),
    ("github-token", "github_pat_", "[A-Za-z0-9_]{30,}"),
    ("gitlab-token", "glpat-", "[A-Za-z0-9_-]{18,}"),
    ("gitlab-token", "glptt-", "[A-Za-z0-9_-]{18,}"),
    ("slack-token", "xoxb-", "[A-Za-z0-9-]{20,}"),
    ("slack-token", "xoxp-", "[A-Za-z0-9-]{20,}"),
    ("slack-token", "xoxa-", "[A-Za-z0-9-]{20,}"),
    ("slack-token", "xapp-", "[A-Za-z0-9-]{20,}"),
    ("slack-webhook", "hooks.slack.com/services/", "[A-Za-z0-9/]{30,}"),
    ("huggingface-token", "hf_", "[A-Za-z0-9]{30,}"),
    ("npm-token", "npm_", "[A-Za-z0-9]{30,}"),
    ("pypi-token", "pypi-", "[A-Za-z0-9_-]{40,}"),
    ("groq-key", "gsk_", "[A-Za-z0-9]{30,}"),
    ("xai-key", "xai-", "[A-Za-z0-9]{30,}"),
    ("replicate-token", "r8_", "[A-Za-z0-9]{30,}"),
    ("digitalocean-token", "dop_v1_", "[a-f0-9]{60,}"),
    ("sendgrid-key", "SG.", "[A-Za-z0-9_-]{16,}\\.[A-Za-z0-9_-]{16,}"),
    ("shopify-token", "shpat_", "[a-fA-F0-9]{32}"),
    ("docker-token", "dckr_pat_", "[A-Za-z0-9_-]{20,}"),
    ("linear-key", "lin_api_", "[A-Za-z0-9]{30,}"),
    ("nvidia-key", "nvapi-", "[A-Za-z0-9_-]{40,}"),
    ("perplexity-key", "pplx-", "[A-Za-z0-9]{30,}"),
    ("age-key", "AGE-SECRET-KEY-1", "[0-9A-Z]{50,}"),
    ("vault-token", "hvs.", "[A-Za-z0-9_-]{24,}"),
    ("jwt", "eyJ", "[A-Za-z0-9_-]{10,}\\.eyJ[A-Za-z0-9_-]{10,}\\.[A-Za-z0-9_-]{10,}"),
];

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const KEY: &[u8] = b"PRIVATE KEY";
/// Bytes between the beginning of a key's head and the words that tell that it is private.
const HEAD_BYTES: usize = 48;
/// Longest name, value and user of an address that are looked at.
const NAME_BYTES: usize = 64;
const VALUE_BYTES: usize = 512;

struct Forms {
    starts: AhoCorasick,
    /// Compiled when the start of one is met: all of them cost more than most texts.
    rests: [OnceLock<Option<Regex>>; FORMS.len()],
    names: AhoCorasick,
}

static COMPILED: LazyLock<Option<Forms>> = LazyLock::new(|| {
    let words = ["secret", "token", "passw", "passphrase", "pwd", "key", "credential", "auth", "smtppass"];
    Some(Forms {
        starts: AhoCorasick::builder()
            .match_kind(aho_corasick::MatchKind::LeftmostLongest)
            .build(FORMS.iter().map(|(_, start, _)| start))
            .ok()?,
        rests: [const { OnceLock::new() }; FORMS.len()],
        names: AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok()?,
    })
});

impl Forms {
    fn rest(&self, at: usize) -> Option<&Regex> {
        self.rests[at].get_or_init(|| Regex::new(&format!("^(?:{})", FORMS[at].2)).ok()).as_ref()
    }
}

/// Everything that has the form of a secret.
pub(crate) fn find(text: &[u8], out: &mut Vec<Span>) {
    private_keys(text, out);
    addresses(text, out);
    let Some(forms) = &*COMPILED else { return };
    for hit in forms.starts.find_iter(text) {
        let (label, ..) = FORMS[hit.pattern().as_usize()];
        if hit.start() > 0 && is_part(text[hit.start() - 1]) {
            continue;
        }
        let rest = ascii(&text[hit.end()..]);
        if let Some(form) = forms.rest(hit.pattern().as_usize())
            && let Some(found) = form.find(rest)
            && worth::random(found.as_str())
        {
            out.push(Span { start: hit.start(), end: hit.end() + found.end(), label: label.into() });
        }
    }
    let mut done = 0;
    for hit in forms.names.find_iter(text) {
        if hit.end() > done
            && let Some((span, end)) = assigned(text, hit.start())
        {
            done = end;
            out.extend(span);
        }
    }
}

/// Does a line hold a name that makes what follows it a secret? Who reads piece by piece waits for its end.
pub(crate) fn is_telling(line: &str) -> bool {
    let keyed = COMPILED.as_ref().is_some_and(|forms| forms.names.is_match(line));
    keyed || line.contains("://") || line.contains("-----")
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The beginning of the bytes that is plain ASCII, as far as a form may reach.
fn ascii(bytes: &[u8]) -> &str {
    let most = &bytes[..bytes.len().min(8 * VALUE_BYTES)];
    let end = most.iter().position(|byte| !byte.is_ascii()).unwrap_or(most.len());
    std::str::from_utf8(&most[..end]).unwrap_or_default()
}

/// Blocks of private keys whole, escaped line ends of JSON included; without an end, all that follows.
fn private_keys(text: &[u8], out: &mut Vec<Span>) {
    let (mut done, mut end) = (0, Some(0));
    for begin in memmem::find_iter(text, BEGIN) {
        let from = begin + BEGIN.len();
        if begin < done || !is_private(text, from) {
            continue;
        }
        // Looked for once: an end that is not behind one head is not behind the next either.
        end = end.and_then(|at| if at < from { find_from(text, from, END) } else { Some(at) });
        let close = end.and_then(|at| find_from(text, at, KEY)).map_or(text.len(), |at| at + KEY.len());
        let close = close + text[close..].iter().take_while(|byte| **byte == b'-').count();
        // A head that a program looks for is no key: there is nothing in it.
        if end.unwrap_or(text.len()) - from > 2 * HEAD_BYTES {
            out.push(Span { start: begin, end: close, label: "private-key".into() });
            done = close;
        }
    }
}

/// Where the block of a private key begins that has no end yet.
pub(crate) fn open_key(text: &[u8]) -> Option<usize> {
    let begin = memmem::rfind(text, BEGIN)?;
    let from = begin + BEGIN.len();
    (is_private(text, from) && find_from(text, from, END).is_none()).then_some(begin)
}

fn is_private(text: &[u8], from: usize) -> bool {
    memmem::find(&text[from..text.len().min(from + HEAD_BYTES)], KEY).is_some()
}

fn find_from(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    memmem::find(&text[from..], what).map(|at| from + at)
}

/// Passwords of `scheme://user:password@host`.
fn addresses(text: &[u8], out: &mut Vec<Span>) {
    for at in memmem::find_iter(text, b"://") {
        let from = at + 3;
        let stop = |byte: &u8| byte.is_ascii_whitespace() || b"/\"'`<>\\".contains(byte);
        let rest = &text[from..text.len().min(from + VALUE_BYTES)];
        let rest = &rest[..rest.iter().position(stop).unwrap_or(rest.len())];
        let Some(host) = rest.iter().rposition(|byte| *byte == b'@') else { continue };
        let Some(colon) = rest[..host].iter().position(|byte| *byte == b':') else { continue };
        let Ok(password) = std::str::from_utf8(&rest[colon + 1..host]) else { continue };
        let local = [&b"localhost"[..], b"127.0.0.1"].iter().any(|name| rest[host + 1..].starts_with(name));
        let hidden = if local { worth::told(password) } else { worth::filled(password) };
        if hidden && password.len() > 4 {
            out.push(Span { start: from + colon + 1, end: from + host, label: "url-password".into() });
        }
    }
}

/// The value after a name that holds this place, if it is one to hide, and where looking goes on.
fn assigned(text: &[u8], at: usize) -> Option<(Option<Span>, usize)> {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let start = at - text[..at].iter().rev().take(NAME_BYTES).take_while(|byte| name(byte)).count();
    let end = at + text[at..].iter().take(NAME_BYTES).take_while(|byte| name(byte)).count();
    let called = std::str::from_utf8(&text[start..end]).ok()?.trim_matches(['.', '-']);
    let header = called.eq_ignore_ascii_case("authorization");
    if !(is_secret(called) || header) {
        return Some((None, end));
    }
    // It names a secret and holds none.
    let here = ascii(&text[start..text.len().min(end + NAME_BYTES)]);
    if crate::handles(here).first().is_some_and(|(place, _)| place.start == 0) {
        return Some((None, end));
    }
    let mut at = end;
    let skip = |at: &mut usize, of: &[u8]| {
        while text.get(*at).is_some_and(|byte| of.contains(byte)) {
            *at += 1
        }
    };
    skip(&mut at, b"\\\"'` ");
    let separator = at;
    skip(&mut at, b":=>");
    if at == separator || at - separator > 2 {
        return Some((None, end));
    }
    let tight = separator == end && &text[separator..at] == b"=";
    skip(&mut at, b" \t");
    for scheme in [&b"Bearer "[..], b"bearer ", b"Basic ", b"basic ", b"token ", b"Token "] {
        if text[at..].starts_with(scheme) {
            at += scheme.len();
        }
    }
    let quoted = text.get(at).is_some_and(|byte| b"\\\"'`".contains(byte));
    skip(&mut at, b"\\\"'`");
    let stop = |byte: &u8| byte.is_ascii_control() || *byte == b' ' || b"\"'`,;)}]<>|\\".contains(byte);
    let rest = &text[at..text.len().min(at + VALUE_BYTES)];
    let value = std::str::from_utf8(&rest[..rest.iter().position(stop).unwrap_or(rest.len())]).ok()?;
    let loud = called.bytes().all(|byte| !byte.is_ascii_lowercase());
    // NAME=value is how an environment is written; elsewhere it may be code that only speaks of a secret.
    let hidden = match loud && tight {
        true => worth::filled(value) && !value.contains(['(', '{', '[', '$']),
        false => worth::strong(value) || (quoted && worth::quoted(value)),
    };
    let label: String =
        if header { "authorization".into() } else { called.chars().take(NAME_BYTES).collect() };
    Some((hidden.then(|| Span { start: at, end: at + value.len(), label }), at.max(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_compiles() {
        let forms = COMPILED.as_ref().unwrap();
        (0..FORMS.len()).for_each(|at| assert!(forms.rest(at).is_some(), "{}", FORMS[at].0));
    }
}
