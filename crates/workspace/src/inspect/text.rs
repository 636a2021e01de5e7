//! Splits source text into code and comments, so that words in strings and comments do not count as code.
//!
//! A tolerant scanner, not a parser: both halves keep every line and column. Start at [`split`].

use super::language::{Language, Quote};

/// The same text twice, blanked where it is something else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Code; comments and the insides of strings are blanks.
    pub(crate) code: String,
    /// Comments; all else is blanks.
    pub(crate) comments: String,
}

/// Splits a text. Works on bytes: every byte of a blanked part but a line feed becomes a space.
pub(crate) fn split(text: &str, language: &Language) -> Split {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut comments: Vec<u8> = bytes.iter().map(|&b| if b == b'\n' { b } else { b' ' }).collect();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(language.line_comment.as_bytes()) {
            let end = at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            comments[at..end].copy_from_slice(&bytes[at..end]);
            at = blank(&mut code, at, end);
        } else if language.block_comments && rest.starts_with(b"/*") {
            let end = at + find(&rest[2..], b"*/").map_or(rest.len(), |found| found + 4);
            comments[at..end].copy_from_slice(&bytes[at..end]);
            at = blank(&mut code, at, end);
        } else if let Some(Quoted { open, close, end }) = string(bytes, at, language) {
            // The quotes stay, so that an argument is still there.
            blank(&mut code, at + open, end.saturating_sub(close));
            at = end.max(at + 1);
        } else {
            at += 1;
        }
    }
    Split { code: lossy(code), comments: lossy(comments) }
}

fn lossy(bytes: Vec<u8>) -> String {
    // Blanking may have cut no character: parts begin and end at ASCII. Should it ever, the text is still searchable.
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn blank(bytes: &mut [u8], from: usize, to: usize) -> usize {
    let to = to.min(bytes.len());
    if from < to {
        bytes[from..to].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
    }
    to
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A string: lengths of its opening and its closing (0 = it is never closed), and where it has ended.
struct Quoted {
    open: usize,
    close: usize,
    end: usize,
}

/// The string that begins here, if one does.
fn string(bytes: &[u8], at: usize, language: &Language) -> Option<Quoted> {
    let rest = &bytes[at..];
    let has = |quote: Quote| language.quotes.contains(&quote);
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if has(Quote::Raw) && rest[0] == b'r' && !after_word {
        let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let body = &rest[2 + hashes..];
            let (close, end) = match find(body, &close) {
                Some(found) => (close.len(), found + close.len()),
                None => (0, body.len()),
            };
            return Some(Quoted { open: 2 + hashes, close, end: at + 2 + hashes + end });
        }
    }
    for triple in [b"\"\"\"".as_slice(), b"'''"] {
        if has(Quote::Triple) && rest.starts_with(triple) {
            let (close, end) = find(&rest[3..], triple).map_or((0, rest.len()), |found| (3, found + 6));
            return Some(Quoted { open: 3, close, end: at + end });
        }
    }
    let (close, length) = match rest[0] {
        b'"' => closed(rest, b'"', true),
        b'`' if has(Quote::Back) => closed(rest, b'`', true),
        b'\'' if has(Quote::Single) => closed(rest, b'\'', false),
        b'\'' if has(Quote::Character) => (1, character(rest)?),
        _ => return None,
    };
    Some(Quoted { open: 1, close, end: at + length })
}

/// Lengths of the closing quote and of a whole quoted piece; it ends at the line's end unless it may span lines.
fn closed(rest: &[u8], quote: u8, spans: bool) -> (usize, usize) {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 1,
            b'\n' if !spans => return (0, at),
            b if b == quote => return (1, at + 1),
            _ => {}
        }
        at += 1;
    }
    (0, rest.len())
}

/// Length of a character literal; `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    let end = rest.iter().skip(1).take(12).position(|&b| b == b'\'' || b == b'\n')? + 1;
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).take(10).position(|&b| b == b'\'')? + 3;
        return Some(end + 1);
    }
    let inside = std::str::from_utf8(rest.get(1..end)?).ok()?;
    (rest[end] == b'\'' && inside.chars().count() == 1).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::super::language::of;
    use super::*;

    fn code(path: &str, text: &str) -> String {
        split(text, of(path).unwrap()).code
    }

    #[test]
    fn strings_and_comments_are_blank() {
        assert_eq!(code("a.rs", "f(\"a{b\", 'x', r#\"}\"#) // {"), "f(\"   \", ' ', r#\" \"#)     ");
        assert_eq!(code("a.rs", "fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("a.py", "x = '''a\n#b''' # c"), "x = ''' \n  '''    ");
    }

    #[test]
    fn comments_keep_their_words() {
        let split = split("x = 1  # noqa: E501\ny = \"# noqa\"\n", of("a.py").unwrap());
        assert!(split.comments.contains("noqa: E501"));
        assert_eq!(split.comments.matches("noqa").count(), 1);
    }

    #[test]
    fn what_is_never_closed_keeps_its_columns() {
        for text in ["'''日é", "x = 'é", "`é", "\"é\\", "r#\"é", "'é\nok()"] {
            for path in ["a.py", "a.js", "a.rs"] {
                assert_eq!(code(path, text).len(), text.len(), "{path}: {text}");
            }
        }
        assert_eq!(code("a.js", "'é\nok()"), "'  \nok()");
    }

    #[test]
    fn escapes_do_not_end_a_string() {
        assert_eq!(code("a.go", "a(\"x\\\"{\") `{`"), "a(\"    \") ` `");
        assert_eq!(code("a.rs", "'\\'' {"), "'  ' {");
        assert_eq!(code("a.js", "it('a { b', () => {})"), "it('     ', () => {})");
    }
}
