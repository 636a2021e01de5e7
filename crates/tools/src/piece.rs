//! Exact pieces of a file and what stands in their place: what `edit` and `multi_edit` have in common.
//! Knows nothing of files. Start at [`apply`].

use crate::args::refuse;
use crate::patch::hunk::has_only_crlf;
use contract::Fault;
use contract::limits::EDIT_BYTES;
use serde::Deserialize;
use serde_json::{Value, json};

/// Places of an ambiguous piece that are named.
const PLACES: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Piece {
    pub(crate) old_string: String,
    pub(crate) new_string: String,
    #[serde(default)]
    pub(crate) replace_all: bool,
}

/// How a model sees the fields of a piece.
pub(crate) fn fields() -> Value {
    json!({
        "old_string": {"type": "string", "description": "The exact text to replace, without line numbers."},
        "new_string": {"type": "string", "description": "What stands there afterwards."},
        "replace_all": {"type": "boolean", "description": "Replace every occurrence."}
    })
}

impl Piece {
    /// Could it change anything?
    pub(crate) fn check(&self, which: Which) -> Result<(), Fault> {
        if self.old_string.is_empty() {
            return Err(refuse(format!("{which}old_string is empty; use write to create a file")));
        }
        if self.old_string == self.new_string {
            return Err(refuse(format!("{which}old_string and new_string are the same")));
        }
        Ok(())
    }
}

/// Names an edit among several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Which(pub(crate) usize, pub(crate) usize);

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self(_, 1) => Ok(()),
            Self(n, all) => write!(f, "edit {} of {all}: ", n + 1),
        }
    }
}

/// The bytes after all edits, and how many replacements there were.
pub(crate) fn apply<'p>(
    mut bytes: Vec<u8>,
    edits: impl IntoIterator<Item = (Which, &'p Piece)>,
) -> Result<(Vec<u8>, usize), Fault> {
    let crlf = has_only_crlf(&bytes);
    let mut count = 0;
    for (which, piece) in edits {
        let (after, times) = one(&bytes, piece, which, crlf)?;
        bytes = after;
        count += times;
    }
    Ok((bytes, count))
}

fn one(bytes: &[u8], piece: &Piece, which: Which, crlf: bool) -> Result<(Vec<u8>, usize), Fault> {
    let ends = |text: &str| {
        if crlf { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text.to_owned() }
    };
    let (old, new) = (ends(&piece.old_string), ends(&piece.new_string));
    let found = places(bytes, old.as_bytes());
    match found[..] {
        [] => {
            return Err(refuse(format!("{which}old_string was not found{}", near(bytes, &piece.old_string))));
        }
        [_, _, ..] if !piece.replace_all => {
            let lines: Vec<String> =
                found.iter().take(PLACES).map(|&at| line_of(bytes, at).to_string()).collect();
            let more = if found.len() > PLACES { " ..." } else { "" };
            return Err(refuse(format!(
                "{which}old_string occurs {} times (lines {}{more}): add lines around it, or set replace_all",
                found.len(),
                lines.join(", ")
            )));
        }
        _ => {}
    }
    let size = bytes.len() - found.len() * old.len() + found.len() * new.len();
    if size > EDIT_BYTES {
        return Err(refuse(format!("{which}the file would grow beyond {EDIT_BYTES} bytes")));
    }
    let mut after = Vec::with_capacity(size);
    let mut from = 0;
    for &at in &found {
        after.extend_from_slice(&bytes[from..at]);
        after.extend_from_slice(new.as_bytes());
        from = at + old.len();
    }
    after.extend_from_slice(&bytes[from..]);
    Ok((after, found.len()))
}

/// Where the piece starts, without overlaps.
fn places(bytes: &[u8], piece: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&bytes[from..], piece) {
        found.push(from + at);
        from += at + piece.len();
    }
    found
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// A hint when the first line of the piece is there but for white space.
fn near(bytes: &[u8], piece: &str) -> String {
    let wanted: Vec<&str> = piece.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(first) = wanted.first() else { return String::new() };
    match lines.iter().position(|line| line == first) {
        Some(at) if wanted.len() == 1 => format!("; line {} is like it but for white space", at + 1),
        Some(at) => format!("; its first line is like line {}: read the file from there", at + 1),
        None => "; read the file again, it may have changed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(bytes: Vec<u8>, edits: &[Piece]) -> Result<(Vec<u8>, usize), Fault> {
        super::apply(bytes, edits.iter().enumerate().map(|(n, piece)| (Which(n, edits.len()), piece)))
    }

    fn piece(old: &str, new: &str) -> Piece {
        Piece { old_string: old.into(), new_string: new.into(), replace_all: false }
    }

    fn all(old: &str, new: &str) -> Piece {
        Piece { replace_all: true, ..piece(old, new) }
    }

    #[test]
    fn edits_are_exact_and_in_order() {
        let apply = |text: &str, edits: &[Piece]| {
            apply(text.into(), edits)
                .map(|(bytes, n)| (String::from_utf8(bytes).unwrap(), n))
                .map_err(|f| f.what)
        };
        for (text, edits, after) in [
            ("a b c", vec![piece("b", "x")], Ok(("a x c".into(), 1))),
            ("a b c", vec![piece("b", "bb"), piece("bb ", "")], Ok(("a c".into(), 2))),
            ("aaaa", vec![all("aa", "a")], Ok(("aa".into(), 2))),
            ("a\r\nb\r\n", vec![piece("a\nb", "x\ny\r\nz")], Ok(("x\r\ny\r\nz\r\n".into(), 1))),
            ("a\r\nb\n", vec![piece("b", "x\ny")], Ok(("a\r\nx\ny\n".into(), 1))),
            (
                "x\ny\nx",
                vec![piece("x", "z")],
                Err("old_string occurs 2 times (lines 1, 3): add lines around it, or set replace_all"),
            ),
            (
                "x",
                vec![piece("x", "y"), piece("x", "z")],
                Err("edit 2 of 2: old_string was not found; read the file again, it may have changed"),
            ),
            (
                "if a {\n\t b()\n}",
                vec![piece("b();\n", "")],
                Err("old_string was not found; read the file again, it may have changed"),
            ),
            (
                "if a {\n\tb()\n}",
                vec![piece("  b()", "")],
                Err("old_string was not found; line 2 is like it but for white space"),
            ),
        ] {
            assert_eq!(apply(text, &edits), after.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let (bytes, _) = apply(b"\xff\xfe one \0 two".to_vec(), &[piece("one", "1")]).unwrap();
        assert_eq!(bytes, b"\xff\xfe 1 \0 two");
    }
}
