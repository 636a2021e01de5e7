//! Just enough of Rust's surface to change it safely: where literals and comments are, which
//! bracket closes which, what is an identifier.
//!
//! Knows no grammar beyond that; the compiler checks every change. Start at [`skip`].

use std::ops::Range;

/// If a literal or comment begins at byte `i`, the byte after its end.
pub(crate) fn skip(text: &str, i: usize) -> Option<usize> {
    let rest = &text[i..];
    let end = if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        quoted(rest, 1, '"')
    } else if rest.starts_with(['r', 'b']) && !ends_word(&text[..i]) {
        prefixed(rest)?
    } else if rest.starts_with('\'') {
        character(rest, 1)?
    } else {
        return None;
    };
    Some(i + end)
}

/// True when the text ends inside a word, so that a letter after it does not begin one.
fn ends_word(before: &str) -> bool {
    before.chars().next_back().is_some_and(is_word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut i) = (0usize, 0);
    while i < rest.len() {
        if rest[i..].starts_with("/*") {
            (depth, i) = (depth + 1, i + 2);
        } else if rest[i..].starts_with("*/") {
            (depth, i) = (depth - 1, i + 2);
            if depth == 0 {
                return i;
            }
        } else {
            i += rest[i..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// End of a literal whose content begins at `from`.
fn quoted(rest: &str, from: usize, quote: char) -> usize {
    let mut chars = rest[from..].char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            c if c == quote => return from + i + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// `r"..."`, `r#"..."#`, `b"..."`, `b'.'`, `br#"..."#`.
fn prefixed(rest: &str) -> Option<usize> {
    let letters = if rest.starts_with("br") { 2 } else { 1 };
    let after = &rest[letters..];
    if rest[..letters].contains('r') {
        let hashes = after.bytes().take_while(|&b| b == b'#').count();
        if !after[hashes..].starts_with('"') {
            return None;
        }
        let close = format!("\"{}", "#".repeat(hashes));
        let body = letters + hashes + 1;
        return Some(rest[body..].find(&close).map_or(rest.len(), |i| body + i + close.len()));
    }
    match after.chars().next()? {
        '"' => Some(quoted(rest, letters + 1, '"')),
        '\'' => character(rest, letters + 1),
        _ => None,
    }
}

/// A character literal whose content begins at `from`; `None` for a lifetime.
fn character(rest: &str, from: usize) -> Option<usize> {
    let mut chars = rest[from..].chars();
    match chars.next()? {
        '\\' => Some(quoted(rest, from, '\'')),
        c => chars.next().filter(|&next| next == '\'').map(|_| from + c.len_utf8() + 1),
    }
}

/// The byte of the bracket that closes the one at `open`.
pub(crate) fn closing(text: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut i = open;
    while i < text.len() {
        if let Some(end) = skip(text, i) {
            i = end;
            continue;
        }
        let c = text[i..].chars().next()?;
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
        i += c.len_utf8();
    }
    None
}

/// Every place where this word stands, outside of literals; comments count when asked for.
pub(crate) fn words(text: &str, word: &str, in_comments: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < text.len() {
        if let Some(end) = skip(text, i) {
            if in_comments && text[i..].starts_with('/') {
                found.extend(plain_words(&text[i..end], word).map(|at| i + at..i + at + word.len()));
            }
            i = end;
            continue;
        }
        let c = text[i..].chars().next().unwrap_or(' ');
        if !is_word(c) {
            i += c.len_utf8();
            continue;
        }
        let end = i + text[i..].find(|c| !is_word(c)).unwrap_or(text.len() - i);
        if &text[i..end] == word {
            found.push(i..end);
        }
        i = end;
    }
    found
}

fn plain_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let outside = |c: Option<char>| !c.is_some_and(is_word);
    text.match_indices(word)
        .filter(move |(i, _)| {
            outside(text[..*i].chars().next_back()) && outside(text[i + word.len()..].chars().next())
        })
        .map(|(i, _)| i)
}

/// True when a `?` after this expression would apply to all of it.
pub(crate) fn takes_question_mark(expression: &str) -> bool {
    let mut i = 0;
    while i < expression.len() {
        if let Some(end) = skip(expression, i).filter(|_| !expression[i..].starts_with('/')) {
            i = end;
            continue;
        }
        let rest = &expression[i..];
        let Some(c) = rest.chars().next() else { break };
        match c {
            '(' | '[' | '{' => match closing(expression, i) {
                Some(end) => i = end + 1,
                None => return false,
            },
            // Type arguments: `::<...>` without further angles.
            ':' if rest.starts_with("::<") => match rest.find('>') {
                Some(end) if !rest[3..end].contains('<') => i += end + 1,
                _ => return false,
            },
            c if c.is_whitespace() => {
                let after = rest.trim_start();
                if !after.starts_with('.') {
                    return false;
                }
                i = expression.len() - after.len();
            }
            c if is_word(c) || ".:!?$'".contains(c) => i += c.len_utf8(),
            _ => return false,
        }
    }
    // Blocks and closures read differently with a `?` behind them.
    !expression.starts_with('{') && !expression.starts_with('!') && !expression.contains('{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_passed_over() {
        for (text, end) in [
            (r#""a\"b" c"#, Some(6)),
            ("'a' b", Some(3)),
            (r"'\'' b", Some(4)),
            ("'a b", None),
            ("r#\"a\"b\"# c", Some(8)),
            ("b'x' y", Some(4)),
            ("b\"x\" y", Some(4)),
            ("br\"x\" y", Some(5)),
            ("// a\nb", Some(4)),
            ("/* a /* b */ c */ d", Some(17)),
            ("rest", None),
            ("r#type", None),
            ("b│", None),
        ] {
            assert_eq!(skip(text, 0), end, "{text}");
        }
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert_eq!(closing("(a(')')\")\" /*)*/ b) c", 0), Some(17 + 1));
        assert_eq!(closing("(a", 0), None);
    }

    #[test]
    fn words_are_whole_and_outside_of_strings() {
        let text = "ab abc \"ab\" // ab\nx.ab";
        assert_eq!(words(text, "ab", false), [0..2, 20..22]);
        assert_eq!(words(text, "ab", true), [0..2, 15..17, 20..22]);
    }

    #[test]
    fn what_a_question_mark_would_apply_to() {
        for good in ["a", "a.b(c + d)", "$e", "f::<T>(x)", "write!(f, \"a b\")", "a\n    .b()", "self.0[1]"] {
            assert!(takes_question_mark(good), "{good}");
        }
        for bad in ["*a", "&a", "a + b", "a as b", "match a { _ => b }", "|x| y", "!a", "-a", "{ a }"] {
            assert!(!takes_question_mark(bad), "{bad}");
        }
    }
}
