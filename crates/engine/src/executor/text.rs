//! Small things done to texts: the nearest name to a mistyped one, the head or tail of a long one.
//!
//! Knows nothing but strings. Start at [`suggestion`], [`head`] and [`tail`].

use contract::text::nearest;

/// `; did you mean X?` or nothing.
pub(super) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |it| format!("; did you mean `{it}`?"))
}

/// At most the first `max` bytes, cut at a character and said so.
pub(super) fn head(text: String, max: usize) -> String {
    const CUT: &str = " [cut]\n";
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max.saturating_sub(CUT.len()));
    format!("{}{CUT}", &text[..end])
}

/// At most the last `max` bytes, from the start of a line where there is one; and whether something is missing.
pub(super) fn tail(bytes: &[u8], max: usize) -> (String, bool) {
    let Some(from) = bytes.len().checked_sub(max).filter(|from| *from > 0) else {
        return (String::from_utf8_lossy(bytes).into_owned(), false);
    };
    let line = bytes[from..].iter().position(|byte| *byte == b'\n').map_or(from, |at| from + at + 1);
    // One line longer than the view: show its end rather than nothing, from a whole character on.
    let start = if line == bytes.len() { from } else { line };
    let whole = bytes[start..].iter().position(|byte| byte & 0xC0 != 0x80).unwrap_or(0);
    (String::from_utf8_lossy(&bytes[start + whole..]).into_owned(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let names = ["read", "edit", "search", "shell"];
        assert_eq!(suggestion("raed", names), "; did you mean `read`?");
    }

    #[test]
    fn a_head_is_cut_at_a_character() {
        assert_eq!(head("short".into(), 5), "short");
        assert_eq!(head("éééééééé".into(), 12), "éé [cut]\n");
    }

    #[test]
    fn a_tail_starts_at_a_line_and_at_a_character() {
        for (bytes, max, expected) in [
            ("one\ntwo\nthree\n", 100, ("one\ntwo\nthree\n", false)),
            ("one\ntwo\nthree\n", 14, ("one\ntwo\nthree\n", false)),
            ("one\ntwo\nthree\n", 9, ("three\n", true)),
            ("ééééé", 5, ("éé", true)),
            ("a long line\n", 5, ("line\n", true)),
            ("", 5, ("", false)),
        ] {
            let (text, cut) = tail(bytes.as_bytes(), max);
            assert_eq!((text.as_str(), cut), expected, "{bytes:?}");
        }
    }
}
