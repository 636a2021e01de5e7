//! Text as a model sees it: without control sequences, and not too long.
//! Knows nothing of tools. Start at [`plain`] (programs' output) and [`visible`] (files' content).

use contract::{Digest, text};

/// How many parts of the view the head gets, out of four: in failing logs the tail matters more.
const HEAD_QUARTERS: usize = 1;
/// Room for the line that says what was left out; a view with less than twice that has to do without.
const NOTE_BYTES: usize = 200;

/// Text of a program: terminal sequences and control characters are gone, except line ends and tabs; a lone
/// carriage return ends a line. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn plain(bytes: &[u8]) -> String {
    text::clean(&String::from_utf8_lossy(bytes))
}

/// A line of a file: what would act on a terminal or hide is made visible instead of dropped, because the
/// reader may want to edit it.
pub(crate) fn visible(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(c),
            // The Unicode block of control pictures, in the order of the controls.
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => out.push('\u{2421}'),
            c if c.is_control() || is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Characters that show nothing but change what is seen: direction overrides, tags, separators, a BOM. Fewer than
/// [`text::is_hidden`]: joiners belong to the spelling of words, and a reader may want to edit those.
pub(crate) fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A program's output within a limit: head, a line that says what is missing and where it is, tail.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) text: String,
    /// The text does not show every byte there was.
    pub(crate) differs: bool,
}

/// The view of these bytes, at most `limit` of them (from 400 on), the line about the rest included; `total` were
/// written, which is more when not all were kept.
pub(crate) fn output(bytes: &[u8], total: u64, limit: usize) -> View {
    let text = plain(bytes);
    if text.len() <= limit {
        let differs = text.as_bytes() != bytes;
        return View { text, differs };
    }
    let limit = if limit >= 2 * NOTE_BYTES { limit - NOTE_BYTES } else { limit };
    let head = limit / 4 * HEAD_QUARTERS;
    let head = line_end_before(&text, head);
    let tail = line_start_after(&text, text.len() - (limit - head));
    let cut = tail - head;
    let (head, tail) = (&text[..head], &text[tail..]);
    let line = if head.is_empty() || head.ends_with('\n') { "" } else { "\n" };
    let digest = Digest::of(bytes);
    View {
        text: format!(
            "{head}{line}[... {cut} bytes left out here, of {total} in all; read path \"blob:{digest}\" shows them ...]\n{tail}"
        ),
        differs: true,
    }
}

/// The last end of a line at or before here, or else the last character boundary.
fn line_end_before(text: &str, at: usize) -> usize {
    let at = text.floor_char_boundary(at);
    text[..at].rfind('\n').map_or(at, |end| end + 1)
}

/// The first start of a line at or after here, or else the next character boundary.
fn line_start_after(text: &str, at: usize) -> usize {
    let at = text.ceil_char_boundary(at);
    match text[at..].find('\n') {
        Some(end) if at + end + 1 < text.len() => at + end + 1,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_gone() {
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m\r\n".as_bytes()), "red\n");
        assert_eq!(plain(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn in_files_they_are_visible() {
        assert_eq!(visible("\u{1b}[1m\tx\u{7f}\u{202e}".as_bytes()), "\u{241b}[1m\tx\u{2421}\\u{202e}");
    }

    #[test]
    fn long_output_keeps_both_ends_and_says_where_the_rest_is() {
        let raw: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        let view = output(raw.as_bytes(), raw.len() as u64, 400);
        assert!(view.differs && view.text.starts_with("line 0\n") && view.text.ends_with("line 999\n"));
        assert!(view.text.contains(&format!("blob:{}", Digest::of(raw.as_bytes()))), "{}", view.text);
        assert!(view.text.lines().all(|line| line.starts_with("line ") || line.starts_with("[... ")));
        assert!(view.text.len() <= 400);
        let short = output(b"all of it\n", 10, 400);
        assert_eq!((short.text.as_str(), short.differs), ("all of it\n", false));
    }

    #[test]
    fn one_endless_line_is_cut_between_characters() {
        let raw = "ü".repeat(1000);
        let view = output(raw.as_bytes(), 2000, 101);
        assert!(view.text.starts_with('ü') && view.text.ends_with('ü'));
    }
}
