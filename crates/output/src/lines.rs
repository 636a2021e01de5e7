//! Bytes cut into clean lines, in bounded memory whatever comes.
//!
//! Knows no meaning. A line ends at a line feed; what a lone carriage return ends was overwritten on a terminal, and
//! counts as a piece of the same line. Start at [`Lines::push`].

use contract::text;
use std::borrow::Cow;
use std::collections::VecDeque;

/// Bytes kept of the beginning of one line: a compiler's JSON record fits.
const LINE_HEAD: usize = 192 * 1024;
/// Bytes kept of the end of a longer one.
const LINE_TAIL: usize = 64 * 1024;
/// Bytes looked at to tell text from something else.
const SNIFF: usize = 4096;
/// One byte in so many that is no text makes a line binary.
const BINARY_SHARE: usize = 4;

/// A line without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) text: Cow<'a, str>,
    /// Counted by line feeds, from 1: how the raw output is paged.
    pub(crate) number: u64,
    /// A terminal would have shown something else in its place.
    pub(crate) overwritten: bool,
    /// Its bytes are no text; they are counted, not shown.
    pub(crate) binary: bool,
}

/// The open line.
#[derive(Debug)]
pub(crate) struct Lines {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes of the open line, kept or not.
    length: u64,
    number: u64,
    /// Carriage returns of which nobody knows yet what they end.
    returned: bool,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), length: 0, number: 1, returned: false }
    }

    /// Passes on each line that is complete. How the bytes are cut into pieces changes nothing.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(Line<'_>)) {
        while let Some(&first) = bytes.first() {
            if self.returned && first != b'\r' {
                self.returned = false;
                if first != b'\n' {
                    self.end(true, &mut line);
                }
            }
            let Some(at) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.hold(bytes);
                return;
            };
            let whole = self.length == 0 && bytes[at] == b'\n' && at <= LINE_HEAD;
            if whole {
                emit(&bytes[..at], self.number, false, &mut line);
            } else {
                self.hold(&bytes[..at]);
            }
            if bytes[at] == b'\r' {
                self.returned = true;
            } else {
                if !whole {
                    self.end(false, &mut line);
                }
                self.number += 1;
            }
            bytes = &bytes[at + 1..];
        }
    }

    /// Passes on a last line without an end; returns how many lines there were.
    pub(crate) fn finish(mut self, mut line: impl FnMut(Line<'_>)) -> u64 {
        let open = self.length > 0;
        if open {
            self.end(false, &mut line);
        }
        if open || self.returned { self.number } else { self.number - 1 }
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(LINE_HEAD - self.head.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(LINE_TAIL)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(LINE_TAIL);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    fn end(&mut self, overwritten: bool, line: &mut impl FnMut(Line<'_>)) {
        let left = self.length - (self.head.len() + self.tail.len()) as u64;
        if left == 0 {
            self.head.extend(self.tail.drain(..));
            if !(overwritten && self.head.is_empty()) {
                emit(&self.head, self.number, overwritten, line);
            }
        } else {
            let (head, tail) = (clean(&self.head), clean(self.tail.make_contiguous()));
            let text = Cow::Owned(format!("{head} [... {left} bytes of this line ...] {tail}"));
            line(Line { text, number: self.number, overwritten, binary: is_binary(&self.head) });
            // A line this long is rare, and its memory is better used.
            self.head.shrink_to(SNIFF);
        }
        self.head.clear();
        self.tail.clear();
        self.length = 0;
    }
}

fn emit(bytes: &[u8], number: u64, overwritten: bool, line: &mut impl FnMut(Line<'_>)) {
    line(Line { text: clean(bytes), number, overwritten, binary: is_binary(bytes) });
}

/// Without what acts on a terminal or hides; borrowed where nothing has to go.
fn clean(bytes: &[u8]) -> Cow<'_, str> {
    let plain = bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) if plain => Cow::Borrowed(text),
        text => Cow::Owned(text::clean(&text)),
    }
}

fn is_binary(bytes: &[u8]) -> bool {
    let sniffed = &bytes[..bytes.len().min(SNIFF)];
    let odd = |byte: &&u8| matches!(byte, 0..=6 | 14..=26 | 28..=31);
    let controls = sniffed.iter().filter(odd).count();
    let torn = match std::str::from_utf8(sniffed) {
        // Three bytes may be the beginning of a character that the sniff has cut.
        Err(error) if error.valid_up_to() + 3 < sniffed.len() => {
            sniffed.utf8_chunks().map(|chunk| chunk.invalid().len()).sum()
        }
        _ => 0,
    };
    (controls + torn) * BINARY_SHARE > sniffed.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8], step: usize) -> (Vec<(String, u64, bool)>, u64) {
        let (mut lines, mut seen) = (Lines::new(), Vec::new());
        let mut take = |line: Line<'_>| seen.push((line.text.into_owned(), line.number, line.overwritten));
        bytes.chunks(step).for_each(|piece| lines.push(piece, &mut take));
        let count = lines.finish(&mut take);
        (seen, count)
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = b"one\r\n\ntwo\rthree\r\r\n\x1b[31mred\x1b[0m\nlast";
        let wanted = [("one", 1), ("", 2), ("two", 3), ("three", 3), ("red", 4), ("last", 5)];
        for step in 1..=text.len() {
            let (seen, count) = cut(text, step);
            let texts: Vec<(&str, u64)> =
                seen.iter().map(|(text, number, _)| (text.as_str(), *number)).collect();
            assert_eq!((texts.as_slice(), count), (&wanted[..], 5), "{step}");
            assert_eq!(seen.iter().filter(|line| line.2).count(), 1, "{step}");
        }
        assert_eq!(cut(b"", 1), (Vec::new(), 0));
        assert_eq!(cut(b"x\n", 1).1, 1);
    }

    #[test]
    fn an_endless_line_keeps_both_ends() {
        let mut lines = Lines::new();
        let mut text = String::new();
        lines.push(b"begin ", |_| ());
        for _ in 0..100 {
            lines.push(&[b'x'; 64 * 1024], |_| ());
        }
        assert!(lines.head.len() + lines.tail.len() <= LINE_HEAD + LINE_TAIL);
        lines.push(b" end\n", |line| text = line.text.into_owned());
        assert!(text.starts_with("begin xxx") && text.ends_with("xxx end"), "{} bytes", text.len());
        assert!(text.contains("bytes of this line ...]"));
    }

    #[test]
    fn what_is_no_text_is_told_from_text() {
        for (bytes, binary) in [
            (&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\x03"[..], true),
            (b"\xff\xfeh\0i\0", true),
            (b"plain \x1b[1mbold\x1b[0m", false),
            ("äöü ✓".as_bytes(), false),
            (b"", false),
            (b"caf\xe9 au lait", false),
        ] {
            assert_eq!(is_binary(bytes), binary, "{bytes:?}");
        }
    }
}
