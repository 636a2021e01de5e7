//! Values that are known to be secrets, as they stand in texts: whole, cut at one end, escaped, encoded.
//!
//! Knows bytes. Start at [`Known::new`].

use crate::redact::Span;
use crate::worth;
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::{BTreeMap, BTreeSet};

/// A value and what it is called where it was found. Shown nowhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    label: String,
    value: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.label)
    }
}

/// Most characters of a label.
const LABEL_CHARS: usize = 40;
/// A line of a value of many lines that is looked for by itself.
const LINE_BYTES: usize = 16;
/// Values whose halves are looked for too: a text may have been cut in their middle.
const HALVED_BYTES: usize = 24;
/// Least and most bytes of such a half.
const HALF_BYTES: (usize, usize) = (12, 24);
/// Values this long are looked for in base64 and hexadecimal, too.
const ENCODED_BYTES: usize = 10;
/// Fewer bytes of its beginning are not held to be one.
const BEGUN_BYTES: usize = 4;
/// Longer forms are not compared anew at each place of a text that is nothing but their period.
const LONG_BYTES: usize = 256;
/// White space around a line end that a program put into a value.
const INDENT_BYTES: usize = 64;
/// Most values of one redactor.
const MOST: usize = 4_096;

impl Secret {
    /// A value, unless it is one that stands everywhere. The label is shown in its place.
    pub fn new(label: &str, value: &str) -> Option<Self> {
        Self::if_worth(label, value, worth::known)
    }

    /// A value that a person gave as a secret: it may look like a path or a number.
    pub fn given(label: &str, value: &str) -> Option<Self> {
        Self::if_worth(label, value, worth::given)
    }

    fn if_worth(label: &str, value: &str, worth: fn(&str) -> bool) -> Option<Self> {
        let value = value.trim();
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let label: String = label.chars().filter(fits).take(LABEL_CHARS).collect();
        worth(value).then(|| Self { label, value: value.to_owned() })
    }

    /// What is shown in its place.
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// A form of a value.
struct Form {
    label: usize,
    bytes: Vec<u8>,
}

/// What is looked for.
pub(crate) struct Known {
    labels: Vec<String>,
    forms: Vec<Form>,
    /// For each needle its form and where it stands in it.
    needles: Vec<(usize, usize)>,
    automaton: AhoCorasick,
    /// Bytes of the longest value with a space in it.
    pub(crate) spaced: usize,
    /// Bytes of the longest form of a value.
    pub(crate) longest: usize,
    /// Values there was no room for.
    pub(crate) left_out: usize,
}

impl Known {
    /// `None`: there is nothing to look for. Where there are too many, the first ones count.
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Option<Self> {
        let (mut values, mut left_out) = (BTreeSet::new(), 0);
        let mut labels: Vec<String> = Vec::new();
        let (mut forms, mut seen): (Vec<Form>, BTreeSet<Vec<u8>>) = (Vec::new(), BTreeSet::new());
        for Secret { label, value } in secrets {
            if values.len() >= MOST && !values.contains(&value) {
                left_out += 1;
                continue;
            }
            if !values.insert(value.clone()) {
                continue;
            }
            labels.push(label);
            for bytes in all_forms(&value) {
                if seen.insert(bytes.clone()) {
                    forms.push(Form { label: labels.len() - 1, bytes });
                }
            }
        }
        let (mut needles, mut texts): (Vec<(usize, usize)>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        for (at, form) in forms.iter().enumerate() {
            let n = form.bytes.len();
            let half = (n / 2).clamp(HALF_BYTES.0, HALF_BYTES.1);
            let pieces = if n >= HALVED_BYTES { vec![(0, half), (n - half, n)] } else { vec![(0, n)] };
            for (from, to) in pieces {
                needles.push((at, from));
                texts.push(form.bytes[from..to].to_vec());
            }
        }
        let spaced = forms.iter().map(|form| &form.bytes).filter(|it| it.contains(&b' ')).map(Vec::len).max();
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&texts).ok()?;
        let spaced = spaced.unwrap_or(0);
        let longest = forms.iter().map(|form| form.bytes.len()).max().unwrap_or(0);
        (!texts.is_empty()).then_some(Self { labels, forms, needles, automaton, spaced, longest, left_out })
    }

    /// Does a text hold one?
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.automaton.is_match(text)
    }

    /// Bytes at the end of a text that are the beginning of one.
    pub(crate) fn begun(&self, text: &[u8]) -> usize {
        let begun = |form: &Form| {
            let most = text.len().min(form.bytes.len().saturating_sub(1));
            (BEGUN_BYTES..=most).rev().find(|n| text.ends_with(&form.bytes[..*n]))
        };
        self.forms.iter().filter_map(begun).max().unwrap_or(0)
    }

    /// Where they stand, over line ends that a program put into them.
    pub(crate) fn find(&self, text: &[u8], out: &mut Vec<Span>) {
        // Of a long value of few different pieces, where one was found: in it is nothing new.
        let mut found: BTreeMap<usize, usize> = BTreeMap::new();
        for hit in self.automaton.find_overlapping_iter(text) {
            let (form, at) = self.needles[hit.pattern().as_usize()];
            let Form { label, bytes } = &self.forms[form];
            if bytes.len() > LONG_BYTES && found.get(&form).is_some_and(|end| hit.end() <= *end) {
                continue;
            }
            let end = hit.start() + alike(text[hit.start()..].iter(), bytes[at..].iter());
            let start = hit.start() - alike(text[..hit.start()].iter().rev(), bytes[..at].iter().rev());
            if bytes.len() > LONG_BYTES {
                found.insert(form, end);
            }
            out.push(Span { start, end, label: self.labels[*label].clone() });
        }
    }
}

/// Bytes of the text that are the value's, with line ends and what stands around them in between.
fn alike<'a>(text: impl Iterator<Item = &'a u8> + Clone, mut value: impl Iterator<Item = &'a u8>) -> usize {
    let (mut text, mut seen, mut end) = (text, 0, 0);
    let Some(mut next) = value.next() else { return 0 };
    while let Some(byte) = text.next() {
        if byte == next {
            seen += 1;
            end = seen;
            match value.next() {
                Some(byte) => next = byte,
                None => break,
            }
            continue;
        }
        let blank = |byte: &&u8| matches!(**byte, b'\n' | b'\r' | b' ' | b'\t');
        let more = text.clone().take(INDENT_BYTES).take_while(blank);
        let (gap, lines) =
            more.fold((0, *byte == b'\n'), |(n, lines), byte| (n + 1, lines || *byte == b'\n'));
        if !blank(&byte) || !lines || text.clone().nth(gap) != Some(next) {
            break;
        }
        seen += 1 + gap;
        (0..gap).for_each(|_| _ = text.next());
    }
    end
}

/// The value as programs print it.
fn all_forms(value: &str) -> Vec<Vec<u8>> {
    let lines: Vec<&str> = value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES).collect();
    let values = if value.contains('\n') { lines } else { vec![value] };
    let mut forms = Vec::new();
    let several = values.len() > 1 || value.contains('\n');
    for value in values.into_iter().filter(|value| !several || worth::known(value)) {
        forms.push(value.as_bytes().to_vec());
        forms.extend(escaped(value).into_iter().chain(percents(value)).map(String::into_bytes));
        forms.extend(unescaped(value));
        if value.len() >= ENCODED_BYTES {
            forms.extend(base64(value.as_bytes()));
            let hex: Vec<String> = value.bytes().map(|byte| format!("{byte:02x}")).collect();
            let (tight, apart) = (hex.concat(), hex.join(" "));
            forms.extend([tight.to_ascii_uppercase(), tight, apart].map(String::into_bytes));
            forms.push(value.bytes().rev().collect());
        }
    }
    forms
}

/// In JSON as most write it, as Go and PHP do, and in HTML.
fn escaped(value: &str) -> [String; 5] {
    let quoted = serde_json::Value::String(value.to_owned()).to_string();
    let json = quoted[1..quoted.len() - 1].to_owned();
    let go = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let php = json.replace('/', "\\/");
    let html = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (named, numbered) = (html.replace('"', "&quot;"), html.replace('"', "&#34;"));
    [json, go, php, named.replace('\'', "&#39;"), numbered.replace('\'', "&#39;")]
}

/// In addresses: all but letters and digits, as encodeURIComponent, Python's `quote` and forms do it, both ways to write
/// hexadecimal.
fn percents(value: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for kept in ["", "!'()*", "/"] {
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.as_bytes().contains(&byte)
        };
        let upper =
            |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        let lower =
            |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
        let one: String = value.bytes().map(upper).collect();
        forms.extend(value.contains(' ').then(|| one.replace("%20", "+")));
        forms.extend([one, value.bytes().map(lower).collect()]);
    }
    forms
}

/// What a value stands for that was written for an address.
fn unescaped(value: &str) -> Option<Vec<u8>> {
    let bytes = value.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let code = value.get(at + 1..at + 3).filter(|_| *byte == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => (out.push(code), at += 3),
            None => (out.push(*byte), at += 1),
        };
    }
    let text = std::str::from_utf8(&out).ok()?;
    (out.len() < bytes.len() && worth::known(text)).then_some(out)
}

/// The characters that every base64 text holds which encodes this value somewhere in its middle.
fn base64(value: &[u8]) -> Vec<Vec<u8>> {
    const PLAIN: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut forms = Vec::new();
    for shift in 0..3 {
        let padded: Vec<u8> = std::iter::repeat_n(0, shift).chain(value.iter().copied()).collect();
        let whole = padded.len() / 3 * 3;
        let letters = padded[..whole].chunks(3).flat_map(|three| {
            let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
            [18, 12, 6, 0].map(|by| PLAIN[(bits >> by & 63) as usize])
        });
        // What the bytes before it share with it is not its own.
        let own: Vec<u8> = letters.skip([0, 2, 3][shift]).collect();
        let url: Vec<u8> = own
            .iter()
            .map(|letter| match letter {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        forms.extend([own, url]);
    }
    forms.retain(|form| form.len() >= HALF_BYTES.0);
    forms
}

/// The text that base64 stands for, with or without padding.
pub(crate) fn unbase64(text: &str) -> Option<String> {
    let (mut out, mut bits, mut n) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        (bits, n) = (bits << 6 | u32::from(six), n + 6);
        if n >= 8 {
            n -= 8;
            out.push((bits >> n & 0xff) as u8);
        }
    }
    String::from_utf8(out).ok()
}
