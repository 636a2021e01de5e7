//! Foreign text made harmless, and the nearest of some words to a mistyped one.
//!
//! Knows no terminal, no colour and no meaning. Start at [`clean`] (what is shown) and [`sentence`] (what goes on
//! record); [`nearest`] stands alone.

use crate::limits::SENTENCE_BYTES;

/// Longest control string that is swallowed whole, bytes; beyond it what follows is shown as text.
const STRING_BYTES: usize = 4096;
/// Longer words are nobody's slip of a known one.
const WORD_CHARS: usize = 64;
/// Words this far apart are not taken for each other: one edit for every three letters.
const LETTERS_PER_EDIT: usize = 3;
/// Stands where a sentence was cut.
const CUT: &str = " [cut]";

/// Foreign text over several lines, in time linear in its length. Terminal sequences (ECMA-48) and characters that
/// act or hide are gone, except line ends and tabs; a lone carriage return ends a line. Cleaning twice is cleaning once.
pub fn clean(foreign: &str) -> String {
    let mut out = String::with_capacity(foreign.len());
    let mut rest = Rest { text: foreign, unended: 0 };
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' if rest.text.starts_with('\n') => {}
            // It would overwrite the line: it is a new one.
            '\r' => out.push('\n'),
            '\u{1b}' => rest.escape(),
            '\u{9b}' => rest.control(),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => rest.string(),
            c if c.is_control() || is_hidden(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Shows nothing, or makes text look like something else.
pub fn is_hidden(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x61c | 0x180e            // soft hyphen, Arabic letter mark, Mongolian vowel separator
        | 0x200b..=0x200f                // zero width, direction marks
        | 0x2028..=0x202e                // line and paragraph separators, embeddings and overrides of direction
        | 0x2060..=0x206f                // word joiner, invisible operators, isolates
        | 0xfeff | 0xfff9..=0xfffb       // byte order mark, interlinear marks
        | 0xe0000..=0xe0fff) // tags, variation selectors beyond the plane
}

/// Text for an event: clean, and cut to [`SENTENCE_BYTES`]. Whatever a model, a tool or a panic had a word in goes
/// through here before it is on record for ever.
pub fn sentence(foreign: &str) -> String {
    bounded(foreign, SENTENCE_BYTES)
}

/// Clean, and cut to so many bytes, between characters and said so.
pub fn bounded(foreign: &str, bytes: usize) -> String {
    // What is far beyond the limit need not be cleaned to be cut; sequences may shrink it, hence not the limit itself.
    let mut text = clean(&foreign[..foreign.floor_char_boundary(bytes.saturating_mul(4))]);
    if text.len() > bytes || foreign.len() > bytes.saturating_mul(4) {
        text.truncate(text.floor_char_boundary(bytes.saturating_sub(CUT.len())));
        text.push_str(&CUT[..CUT.len().min(bytes)]);
    }
    text
}

/// What is still to be read.
struct Rest<'a> {
    text: &'a str,
    /// So many of the bytes to come hold no end of a control string, as an earlier look has found.
    unended: usize,
}

impl Rest<'_> {
    fn skip(&mut self, bytes: usize) {
        self.text = &self.text[bytes..];
        self.unended = self.unended.saturating_sub(bytes);
    }

    fn next(&mut self) -> Option<char> {
        let c = self.text.chars().next()?;
        self.skip(c.len_utf8());
        Some(c)
    }

    fn next_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        self.text.chars().next().filter(|c| wanted(*c))?;
        self.next()
    }

    /// After ESC: a control sequence, a control string, intermediates and a final, or one character.
    fn escape(&mut self) {
        match self.next_if(|c| c != '\n') {
            Some('[') => self.control(),
            Some('P' | 'X' | ']' | '^' | '_') => self.string(),
            Some(' '..='/') => {
                while self.next_if(|c| (' '..='/').contains(&c)).is_some() {}
                self.next_if(|c| ('0'..='~').contains(&c));
            }
            _ => {}
        }
    }

    /// Parameters and intermediates up to the final byte (5.4). Anything else ends it unread.
    fn control(&mut self) {
        while self.next_if(|c| (' '..='?').contains(&c)).is_some() {}
        self.next_if(|c| ('@'..='~').contains(&c));
    }

    /// Up to the string terminator or BEL (5.6), but never past a line. One without an end in sight loses only its
    /// beginning: what is torn must not swallow a report.
    fn string(&mut self) {
        let (mut from, most) = (self.unended, STRING_BYTES.min(self.text.len()));
        if from < most {
            from = self.text.ceil_char_boundary(from);
            let ends = ['\u{7}', '\u{9c}', '\u{1b}', '\n'];
            let most = self.text.floor_char_boundary(most).max(from);
            if let Some(at) = self.text[from..most].find(ends) {
                self.skip(from + at);
                if self.next_if(|c| c != '\n') == Some('\u{1b}') {
                    self.next_if(|c| c == '\\');
                }
                return;
            }
            self.unended = most;
        }
        if self.text.len() <= STRING_BYTES {
            self.skip(self.text.len());
        }
    }
}

/// The known word that was most likely meant, if any is near enough: one edit for every three letters, or the
/// beginning of it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().nth(WORD_CHARS).is_some() {
        return None;
    }
    let word = word.to_lowercase();
    let scored = known.into_iter().map(|other| (distance(&word, &other.to_lowercase()), other));
    let (edits, best) =
        scored.min_by_key(|(edits, other)| (!other.to_lowercase().starts_with(&word), *edits))?;
    let longest = word.chars().count().max(best.chars().count());
    let starts = word.len() >= LETTERS_PER_EDIT && best.to_lowercase().starts_with(&word);
    (edits <= longest.div_ceil(LETTERS_PER_EDIT) || starts).then_some(best)
}

/// `did you mean ...?` and a space, or nothing.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |best| format!("did you mean `{best}`? "))
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let edit = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if swapped { edit.min(rows[i - 2][j - 2] + 1) } else { edit }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_only_text() {
        for (foreign, shown) in [
            ("plain\n\ttext é 漢 🦀", "plain\n\ttext é 漢 🦀"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\", "xlink"),
            ("\u{1b}Pq#0\u{1b}\\sixel", "sixel"),
            ("\u{1b}(Bx\u{1b}7y\u{1b}=z\u{1b} Fw\u{1b}creset", "xyzwreset"),
            ("\u{9b}2Jcleared\u{9d}52;c;x\u{9c}y", "clearedy"),
            ("\u{1b}]never ended\nnext", "\nnext"),
            ("\u{1b}[31\nm", "\nm"),
            ("a\u{1b}[", "a"),
            ("a\u{1b}", "a"),
            ("a\r\nb\rc\tq\u{8}\0\u{7}\u{7f}", "a\nb\nc\tq"),
            ("tag\u{e0041}s \u{202e}turned zero\u{200b}width\u{feff}", "tags turned zerowidth"),
        ] {
            assert_eq!(clean(foreign), shown, "{foreign:?}");
        }
    }

    #[test]
    fn what_is_torn_swallows_little() {
        let long = format!("\u{1b}]{}", "x".repeat(STRING_BYTES + 1));
        assert_eq!(clean(&long), "x".repeat(STRING_BYTES + 1));
        assert_eq!(clean(&long[..STRING_BYTES]), "");
    }

    #[test]
    fn time_is_linear_whatever_stands_there() {
        // Each of these would start a search to the end of the text.
        for piece in ["\u{9d}", "\u{1b}]", "\u{9b}", "\u{1b}(", "\u{1b}P\u{9d}x"] {
            let text = piece.repeat(1 << 20);
            assert!(clean(&text).len() < text.len(), "{piece:?}");
        }
    }

    #[test]
    fn sentences_have_an_end() {
        assert_eq!(sentence("as it is"), "as it is");
        let long = sentence(&"é".repeat(SENTENCE_BYTES));
        assert!(long.len() <= SENTENCE_BYTES && long.ends_with("é [cut]"), "{long}");
        assert_eq!(bounded("abcdefgh", 3), " [c");
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["model", "ask", "budget", "checks", "delay_ms", "Shell"];
        for (typed, meant) in [
            ("modle", Some("model")),
            ("Budgets", Some("budget")),
            ("check", Some("checks")),
            ("delay", Some("delay_ms")),
            ("shell", Some("Shell")),
            ("bud", Some("budget")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
        assert_eq!(nearest(&"model".repeat(1 << 20), known), None);
        for (a, b, edits) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits));
        }
    }
}
