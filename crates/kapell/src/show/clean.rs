//! Makes foreign text harmless on a terminal: agents, tools and files say what they like, and it is only shown.
//!
//! Knows no colour and no width. Everything that reaches a terminal goes through [`text`] or [`line`].

pub(crate) use contract::text::clean as text;

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
pub(crate) fn columns_of(c: char) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

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
