//! Text as a model sees it: without control sequences, and not too long.
//! Knows no tool and no format of one (`output` does). Start at [`Watched`] (programs' output) and [`visible`] (files'
//! content).

use crate::spool::Whole;
use contract::port::{Delta, Sink};
use contract::text;
use output::{Custom, Event, Options, Reader};
use std::sync::Arc;

/// Bytes allowed for in a view for the line that says what was left out.
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

/// A program's output while it comes: every byte is read once, whatever is kept of it.
#[derive(Debug)]
pub(crate) struct Watched {
    reader: Reader,
}

/// What is shown of it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) text: String,
    /// What it comes to, in a few words, where something was understood or left out.
    pub(crate) summary: Option<String>,
    /// The text does not show every byte there was.
    pub(crate) differs: bool,
    /// Parsers beside the built-in ones that the command names, and whether each of them read anything.
    pub(crate) own: Vec<(String, bool)>,
}

impl Watched {
    /// The output of this command, of which at most `limit` bytes are shown (from 500 on).
    pub(crate) fn new(command: &str, custom: Arc<Custom>, limit: usize) -> Self {
        let limit = limit.saturating_sub(NOTE_BYTES);
        Self { reader: Reader::new(Options { command: command.to_owned(), custom, limit }) }
    }

    /// Some of it.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &dyn Sink) {
        self.reader.push(bytes, &mut |event| sink.delta(delta(event)));
    }

    /// The end. `whole`: what can be read again, of `total` bytes.
    pub(crate) fn view(self, whole: &Whole, total: u64, sink: &dyn Sink) -> View {
        let digest = self.reader.finish(&mut |event| sink.delta(delta(event)));
        let summary = (digest.truncated || digest.understood()).then(|| digest.summary());
        let shown = digest.text.strip_suffix('\n').unwrap_or(&digest.text).as_bytes();
        let differs = match whole {
            Whole::Bytes(kept) => shown != kept.strip_suffix(b"\n").unwrap_or(kept),
            Whole::File(_) | Whole::Lost(_) => true,
        };
        let mut text = digest.text;
        if digest.truncated {
            let rest = match whole.digest() {
                Ok(digest) => format!("read or search path \"blob:{digest}\" shows the rest"),
                Err(why) => format!("the rest could not be kept: {why}"),
            };
            text.push_str(&format!("[... only a part is shown, of {total} bytes in all; {rest} ...]\n"));
        }
        View { text, summary, differs, own: digest.own }
    }
}

fn delta(event: Event) -> Delta {
    match event {
        Event::Finding(finding) => Delta::Finding(finding),
        Event::Test(test) => Delta::Test(test),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Digest;
    use contract::port::Quiet;

    fn shown(raw: &[u8], limit: usize) -> View {
        let mut watched = Watched::new("", Arc::default(), limit);
        raw.chunks(7).for_each(|piece| watched.push(piece, &Quiet));
        watched.view(&Whole::Bytes(raw.to_vec()), raw.len() as u64, &Quiet)
    }

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
        let raw: String = (0..1000).map(|n| format!("line {} {n}\n", "abc".repeat(n % 5))).collect();
        let view = shown(raw.as_bytes(), 1000);
        assert!(view.differs && view.text.starts_with("line  0\n"), "{}", view.text);
        assert!(view.text.contains("line abcabcabcabc 999\n[... only a part is shown, of "), "{}", view.text);
        assert!(view.text.contains(&format!("blob:{}", Digest::of(raw.as_bytes()))), "{}", view.text);
        assert!(view.text.lines().all(|line| line.starts_with("line ") || line.starts_with("[... ")));
        assert!(view.text.len() <= 1000 && view.summary.is_some());
        let short = shown(b"all of it\n", 1000);
        assert_eq!((short.text.as_str(), short.summary, short.differs), ("all of it\n", None, false));
    }

    #[test]
    fn one_endless_line_is_cut_between_characters() {
        let raw = "ü".repeat(10_000);
        let view = shown(raw.as_bytes(), 4000);
        assert!(view.text.starts_with('ü') && view.text.contains("bytes ...] ü"), "{}", view.text);
    }

    #[test]
    fn what_is_found_is_told_at_once() {
        #[derive(Default)]
        struct Told(std::sync::Mutex<Vec<Delta>>);
        impl Sink for Told {
            fn delta(&self, delta: Delta) {
                self.0.lock().unwrap().push(delta);
            }
        }
        let told = Told::default();
        let mut watched = Watched::new("cargo test", Arc::default(), 1000);
        watched.push(b"error[E1]: no\n --> a.rs:1:2\ntest a ... FAILED\n", &told);
        let told = told.0.into_inner().unwrap();
        assert!(matches!(told.as_slice(), [Delta::Finding(_), Delta::Test(_)]), "{told:?}");
    }
}
