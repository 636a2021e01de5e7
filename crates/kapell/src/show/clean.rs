//! Makes foreign text harmless on a terminal: agents, tools and files say what they like, and it is only shown.
//!
//! Knows no colour and no width. Everything that reaches a terminal goes through [`text`] or [`line`].

/// Longest escape sequence that is swallowed whole; beyond it what follows is shown as text.
const SEQUENCE: usize = 4096;

/// Foreign text over several lines: control sequences are removed, line feeds and tabs stay.
pub(crate) fn text(foreign: &str) -> String {
    let mut out = String::with_capacity(foreign.len());
    let mut rest = foreign;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = sequence(rest) {
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' if rest.starts_with('\n') => {}
            // A bare carriage return would overwrite the line: it is a new one.
            '\r' => out.push('\n'),
            '\n' | '\t' => out.push(c),
            c if hidden(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Foreign text as one line: what [`text`] leaves, with white space folded.
pub(crate) fn line(foreign: &str) -> String {
    let clean = text(foreign);
    let mut out = String::with_capacity(clean.len());
    for word in clean.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Cuts a line to so many columns, with an ellipsis. Counts characters; wide ones count two.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    let width: usize = line.chars().map(columns_of).sum();
    if width <= columns {
        return line.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let need = columns_of(*c);
        let ok = need <= left;
        left = left.saturating_sub(need);
        ok
    };
    let mut out: String = line.chars().take_while(fits).collect();
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Columns of a character: 0 for marks that combine, 2 for East Asian wide ones and pictographs, else 1.
fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x1ab0..=0x1aff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// What follows an escape sequence that stands at the beginning; `None` when none stands there.
fn sequence(text: &str) -> Option<&str> {
    let (kind, rest) = match text.chars().next()? {
        '\x1b' => {
            let after = &text[1..];
            let Some(kind) = after.chars().next() else { return Some(after) };
            (kind, &after[kind.len_utf8()..])
        }
        '\u{9b}' => ('[', &text[2..]),
        '\u{90}' => ('P', &text[2..]),
        '\u{9d}' => (']', &text[2..]),
        '\u{98}' => ('X', &text[2..]),
        '\u{9e}' => ('^', &text[2..]),
        '\u{9f}' => ('_', &text[2..]),
        _ => return None,
    };
    let (end, length) = match kind {
        // CSI: parameters and intermediates, then one final byte.
        '[' => {
            rest.char_indices().find(|(_, c)| !matches!(c, ' '..='?')).map(|(at, c)| (at, c.len_utf8()))?
        }
        // OSC, DCS, SOS, PM, APC: up to BEL or ST.
        ']' | 'P' | 'X' | '^' | '_' => {
            let ends = rest.char_indices().find(|(_, c)| matches!(c, '\x07' | '\u{9c}' | '\x1b' | '\n'));
            match ends {
                Some((at, '\n')) => (at, 0),
                Some((at, '\x1b')) if rest[at + 1..].starts_with('\\') => (at, 2),
                Some((at, '\x1b')) => (at, 0),
                Some((at, c)) => (at, c.len_utf8()),
                None => (rest.len(), 0),
            }
        }
        // Two or three characters: ESC, intermediates, final.
        ' '..='/' => (0, rest.chars().next().map_or(0, char::len_utf8)),
        _ => (0, 0),
    };
    // Without an end in sight only the introducer goes: a torn sequence must not swallow a report.
    let whole = end + length;
    Some(if whole <= SEQUENCE { &rest[whole..] } else { rest })
}

/// Invisible, or able to make text look like something else.
fn hidden(c: char) -> bool {
    matches!(u32::from(c),
        0..=0x1f | 0x7f..=0x9f           // C0, DEL, C1
        | 0xad | 0x61c | 0x180e          // soft hyphen, Arabic letter mark, Mongolian vowel separator
        | 0x200b..=0x200f                // zero width, direction marks
        | 0x2028..=0x202e                // line and paragraph separators, bidi embeddings and overrides
        | 0x2060..=0x206f                // word joiner, invisible operators, bidi isolates
        | 0xfeff | 0xfff9..=0xfffb       // byte order mark, interlinear marks
        | 0xe0000..=0xe0fff) // tags, variation selectors beyond the plane
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_only_text() {
        for (foreign, shown) in [
            ("plain\n\ttext", "plain\n\ttext"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bPq#0\x1b\\sixel", "sixel"),
            ("\u{9b}2Jcleared\u{9d}52;c;x\u{9c}y", "clearedy"),
            ("a\x1b", "a"),
            ("a\x1b[", "a["),
            ("\x1bcreset \x1b(0graph", "reset graph"),
            ("over\rwritten\r\n", "over\nwritten\n"),
            ("\x08\x08\x07bell\0", "bell"),
            ("user\u{202e}txt.exe", "usertxt.exe"),
            ("zero\u{200b}width\u{feff}", "zerowidth"),
            ("tag\u{e0041}", "tag"),
            ("é 漢 🦀", "é 漢 🦀"),
        ] {
            assert_eq!(text(foreign), shown, "{foreign:?}");
        }
    }

    #[test]
    fn a_torn_string_sequence_swallows_one_line_at_most() {
        assert_eq!(text("a\x1b]0;never ends\nnext line"), "a\nnext line");
        let long = format!("\x1b]{}", "x".repeat(SEQUENCE + 1));
        assert!(text(&long).len() > SEQUENCE);
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(line("  a\r\nb\tc\x1b[K  "), "a b c");
    }

    #[test]
    fn cuts_count_columns() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("exactly ten", 10), "exactly t…");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(cut("abc", 1), "…");
    }
}
