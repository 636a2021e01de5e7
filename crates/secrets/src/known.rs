//! Values that are known to be secrets, as they stand in texts: whole, cut at one end, escaped, encoded.
//!
//! Knows bytes. Start at [`Known::new`].

use crate::redact::Span;
use crate::worth;
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::BTreeSet;

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
/// Most values of one redactor.
const MOST: usize = 4_096;

impl Secret {
    /// A value, unless it is one that stands everywhere. The label is shown in its place.
    pub fn new(label: &str, value: &str) -> Option<Self> {
        let value = value.trim();
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let label: String = label.chars().filter(fits).take(LABEL_CHARS).collect();
        worth::known(value).then(|| Self { label, value: value.to_owned() })
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
}

impl Known {
    /// `None`: there is nothing to look for.
    pub(crate) fn new(secrets: BTreeSet<Secret>) -> Option<Self> {
        let mut labels: Vec<String> = Vec::new();
        let (mut forms, mut seen): (Vec<Form>, BTreeSet<Vec<u8>>) = (Vec::new(), BTreeSet::new());
        for Secret { label, value } in secrets.into_iter().take(MOST) {
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
        (!texts.is_empty()).then_some(Self { labels, forms, needles, automaton, spaced })
    }

    /// Does a text hold one?
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.automaton.is_match(text)
    }

    /// Where they stand.
    pub(crate) fn find(&self, text: &[u8], out: &mut Vec<Span>) {
        for hit in self.automaton.find_overlapping_iter(text) {
            let (form, at) = self.needles[hit.pattern().as_usize()];
            let Form { label, bytes } = &self.forms[form];
            let ahead = text[hit.start()..].iter().zip(&bytes[at..]).take_while(|(a, b)| a == b).count();
            let before = text[..hit.start()].iter().rev().zip(bytes[..at].iter().rev());
            let before = before.take_while(|(a, b)| a == b).count();
            let label = self.labels[*label].clone();
            out.push(Span { start: hit.start() - before, end: hit.start() + ahead, label });
        }
    }
}

/// The value as programs print it.
fn all_forms(value: &str) -> Vec<Vec<u8>> {
    let lines: Vec<&str> = value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES).collect();
    let values = if value.contains('\n') { lines } else { vec![value] };
    let mut forms = Vec::new();
    for value in values.into_iter().filter(|value| worth::known(value)) {
        let quoted = serde_json::Value::String(value.to_owned()).to_string();
        forms.push(value.as_bytes().to_vec());
        forms.push(quoted.as_bytes()[1..quoted.len() - 1].to_vec());
        forms.push(percent(value).into_bytes());
        if value.len() >= ENCODED_BYTES {
            forms.extend(base64(value.as_bytes()));
            let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
            forms.push(hex.to_ascii_uppercase().into_bytes());
            forms.push(hex.into_bytes());
            forms.push(value.bytes().rev().collect());
        }
    }
    forms
}

fn percent(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(one).collect()
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
