//! Small things done to texts: the nearest name to a mistyped one, the head or tail of a long one.
//!
//! Knows nothing but strings. Start at [`suggestion`], [`head`] and [`tail`].

/// The candidate that is at most a third of the name's length away (edit distance), the nearest first.
fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let close = name.chars().count().div_ceil(3);
    let scored = candidates.into_iter().map(|candidate| (distance(name, candidate), candidate));
    scored.filter(|(distance, _)| *distance <= close).min_by_key(|(distance, _)| *distance).map(|(_, it)| it)
}

/// `; did you mean X?` or nothing.
pub(super) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |it| format!("; did you mean `{it}`?"))
}

/// Levenshtein distance over lower-case characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
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
        for (typed, meant) in
            [("serch", Some("search")), ("Shell", Some("shell")), ("bash", None), ("", None)]
        {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
        assert_eq!(suggestion("raed", names), "; did you mean `read`?");
    }

    #[test]
    fn distance_is_symmetric_and_exact() {
        for (a, b, d) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), d);
            assert_eq!(distance(b, a), d);
        }
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
