//! The beginnings of the texts that an answer names by their digests, sent along with it.
//!
//! What merely looks like a digest is no blob and is left out. Start at [`named`] and [`texts`].

use crate::page::{Of, Param, Query};
use contract::Digest;
use contract::journal::Journal;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

/// Hex digits of a digest.
const DIGITS: usize = 64;
/// Bytes of one text at most.
const ONE: usize = 16_384;
/// Bytes of all of them together.
const ALL: usize = 256 * 1024;
/// Digests that are looked up for one answer.
const LOOKED_UP: usize = 2_000;

/// How many bytes of each text.
pub(crate) const PARAM: Param = Param::new(
    "texts",
    Of::Number(0, ONE as u64),
    "Also the first bytes, so many, of each text that is named.",
);

/// What [`PARAM`] says.
pub(crate) fn asked(query: &Query) -> Option<usize> {
    query.number("texts").map(|bytes| bytes as usize)
}

/// Everything in these that looks like a digest, in the order of its first place.
pub(crate) fn named<'a>(all: impl Iterator<Item = &'a [u8]>) -> Vec<Digest> {
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for bytes in all {
        for digest in digests(bytes) {
            if seen.insert(digest) && order.len() < LOOKED_UP {
                order.push(digest);
            }
        }
    }
    order
}

/// Everything in it that looks like a digest.
pub(crate) fn digests(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    let runs = bytes.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() == DIGITS);
    runs.filter_map(|run| std::str::from_utf8(run).ok()?.parse::<Digest>().ok())
}

/// By digest, at most so many bytes of each; what is cut ends in an ellipsis.
pub(crate) async fn texts(journal: &Arc<dyn Journal>, named: Vec<Digest>, bytes: usize) -> Value {
    let bytes = bytes.min(ONE);
    let (mut texts, mut left) = (Map::new(), ALL);
    for digest in named {
        if bytes == 0 || left == 0 {
            break;
        }
        let Ok(blob) = journal.open(digest).await else { continue };
        let Some(text) = beginning(blob, bytes.min(left)) else { continue };
        left = left.saturating_sub(text.len());
        texts.insert(digest.to_string(), text.into());
    }
    Value::Object(texts)
}

fn beginning(blob: impl Read, most: usize) -> Option<String> {
    let mut read = Vec::new();
    blob.take(most as u64 + 1).read_to_end(&mut read).ok()?;
    if read.len() <= most {
        return Some(String::from_utf8_lossy(&read).into_owned());
    }
    read.truncate(most);
    // A character that was cut in its middle is left out; one that is wrong anyway stays as a sign of it.
    let whole = match std::str::from_utf8(&read) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => read.len(),
    };
    Some(format!("{}…", String::from_utf8_lossy(&read[..whole])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_say_so() {
        assert_eq!(beginning(&b"abc"[..], 3).unwrap(), "abc");
        assert_eq!(beginning(&b"abcd"[..], 3).unwrap(), "abc…");
        assert_eq!(beginning("aéé".as_bytes(), 4).unwrap(), "aé…");
        assert_eq!(beginning(&b"a\xff\xffb"[..], 2).unwrap(), "a\u{fffd}…");
    }

    #[test]
    fn digests_are_told_once_in_their_order() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let text = format!("{{\"x\":\"{b}\",\"y\":[\"{a}\",\"{b}\"],\"z\":\"{a}0\"}}");
        assert_eq!(named([text.as_bytes(), text.as_bytes()].into_iter()), [b, a]);
    }
}
