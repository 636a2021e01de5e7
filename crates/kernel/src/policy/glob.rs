//! Patterns of names and paths. Start at [`matches`].

/// `*` stands for anything but `/`, `**` for anything, `?` for one character.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    // Nearly every pattern is told apart by its plain beginning.
    let Some(plain) = pattern.find(['*', '?']) else { return pattern == text };
    if !text.as_bytes().starts_with(&pattern.as_bytes()[..plain]) {
        return false;
    }
    walked(&pattern[plain..], &text[plain..])
}

fn walked(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // ends[n]: the pattern read so far can stand for the first n characters.
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let deep = pattern[at] == '*' && pattern.get(at + 1) == Some(&'*');
        if pattern[at] == '*' {
            for n in 0..text.len() {
                ends[n + 1] |= ends[n] && (deep || text[n] != '/');
            }
        } else {
            for n in (0..text.len()).rev() {
                let same = pattern[at] == text[n] || (pattern[at] == '?' && text[n] != '/');
                ends[n + 1] = ends[n] && same;
            }
            ends[0] = false;
        }
        at += if deep { 2 } else { 1 };
    }
    ends[text.len()]
}

/// The same where `*` stands for anything at all: words have no folders.
pub(super) fn word(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
    matches(&pattern.replace('*', "**"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table() {
        for (pattern, text, is) in [
            ("a*c", "abbc", true),
            ("a*c", "a/c", false),
            ("a**c", "a/b/c", true),
            ("**/x", "a/b/x", true),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "a", false),
            ("*.rs", "main.rs", true),
            ("a**b**c", "axxbxxbxc", true),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
        assert!(word("run:*", "run:a/b") && !word("run", "runs"));
    }
}
