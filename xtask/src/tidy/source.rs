//! A Rust file split into code, comments and text, with its tests and functions marked.
//!
//! Knows no grammar beyond comments, literals and brackets: enough to ban a call without tripping over a
//! string that names it. Start at [`Source::parse`].

/// A Rust file, line by line. Positions are those of the file.
pub(super) struct Source {
    /// Code only: comments and the insides of strings are blanks.
    pub code: Vec<String>,
    /// Comments only.
    pub comments: Vec<String>,
    /// True for lines of tests.
    pub test: Vec<bool>,
    pub functions: Vec<Function>,
    /// Is the whole file test code?
    pub test_file: bool,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub name: String,
    /// Where `fn` stands, from 1.
    pub line: usize,
    /// From `fn` to the closing brace.
    pub lines: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Text,
}

impl Source {
    /// Splits a file. Never fails: what does not parse is code.
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let parts = classify(text.as_bytes());
        let only = |wanted: Part| -> String {
            let keep = text.bytes().zip(&parts).map(|(byte, part)| {
                if byte == b'\n' || (*part == wanted && byte.is_ascii()) { byte as char } else { ' ' }
            });
            keep.collect()
        };
        let code = only(Part::Code);
        let test_file = is_test_path(path);
        let mut test = vec![test_file; code.lines().count()];
        for (from, to) in test_regions(&code) {
            test.iter_mut().take(to).skip(from - 1).for_each(|line| *line = true);
        }
        Self {
            functions: functions(&code),
            comments: lines(&only(Part::Comment)),
            code: lines(&code),
            test,
            test_file,
        }
    }

    /// Everything in it is test code.
    pub(super) fn be_test(&mut self) {
        self.test_file = true;
        self.test.fill(true);
    }

    /// Lines of code outside tests that are not blank.
    pub(super) fn weight(&self) -> usize {
        self.code.iter().zip(&self.test).filter(|(line, test)| !**test && !line.trim().is_empty()).count()
    }
}

/// Where `word` stands as a word of its own: its ends do not run on into another name.
pub(super) fn find_word(line: &str, word: &str) -> Option<usize> {
    let is_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (first, last) = (word.chars().next(), word.chars().last());
    line.match_indices(word).map(|(at, _)| at).find(|&at| {
        let open = !is_name(first) || !is_name(line[..at].chars().last());
        let close = !is_name(last) || !is_name(line[at + word.len()..].chars().next());
        open && close
    })
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Test code by its place. A conformance suite is compiled into its crate, for other stores and models to pass,
/// but it is a test all the same.
fn is_test_path(path: &str) -> bool {
    let path = path.trim_end_matches(".rs");
    path.ends_with("_tests")
        || path.split('/').any(|part| ["tests", "benches", "conformance"].contains(&part))
}

/// What each byte belongs to.
fn classify(text: &[u8]) -> Vec<Part> {
    let mut parts = vec![Part::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (end, part) = match rest {
            [b'/', b'/', ..] => (line_end(text, at), Part::Comment),
            [b'/', b'*', ..] => (block_end(text, at), Part::Comment),
            [b'"', ..] => (quote_end(text, at + 1), Part::Text),
            [b'\'', ..] => match char_end(text, at) {
                Some(end) => (end, Part::Text),
                None => (at + 1, Part::Code),
            },
            [b'r', b'"' | b'#', ..] if !continues_name(text, at) => match raw_end(text, at) {
                Some(end) => (end, Part::Text),
                None => (at + 1, Part::Code),
            },
            _ => (at + 1, Part::Code),
        };
        parts[at..end].fill(part);
        at = end;
    }
    parts
}

/// `r` that ends a longer name is no raw string; after `b` or `c` it may be one.
fn continues_name(text: &[u8], at: usize) -> bool {
    let is_name = |i: usize| text.get(i).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    match at.checked_sub(1) {
        Some(before) if matches!(text[before], b'b' | b'c') => before.checked_sub(1).is_some_and(is_name),
        Some(before) => is_name(before),
        None => false,
    }
}

fn line_end(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |n| at + n)
}

fn block_end(text: &[u8], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i + 1 < text.len() {
        match &text[i..i + 2] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    text.len()
}

fn quote_end(text: &[u8], mut i: usize) -> usize {
    while i < text.len() {
        match text[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    text.len()
}

/// End of a character literal; `None` for a lifetime.
fn char_end(text: &[u8], at: usize) -> Option<usize> {
    let first = *text.get(at + 1)?;
    if first == b'\\' {
        let close = text.iter().skip(at + 3).position(|b| *b == b'\'')?;
        return Some(at + close + 4);
    }
    let width = (first.leading_ones() as usize).max(1);
    (text.get(at + 1 + width) == Some(&b'\'')).then_some(at + width + 2)
}

fn raw_end(text: &[u8], at: usize) -> Option<usize> {
    let hashes = text[at + 1..].iter().take_while(|b| **b == b'#').count();
    let open = at + 1 + hashes;
    if text.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let found = text[open + 1..].windows(close.len()).position(|window| window == close);
    Some(found.map_or(text.len(), |n| open + 1 + n + close.len()))
}

/// From `from`, the end of the item that starts there: after its closing brace or its semicolon.
/// Also says whether it had a body.
fn item_end(code: &[u8], from: usize) -> (usize, bool) {
    let (mut round, mut curly) = (0_i32, 0_i32);
    for (i, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b'{' => curly += 1,
            b'}' => {
                curly -= 1;
                if curly <= 0 && round <= 0 {
                    return (i + 1, true);
                }
            }
            b';' if curly == 0 && round == 0 => return (i + 1, false),
            _ => {}
        }
    }
    (code.len(), false)
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Line ranges of items that exist only in tests.
fn test_regions(code: &str) -> Vec<(usize, usize)> {
    let marks = ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(any(test", "#[test]", "#[tokio::test"];
    let starts = marks.iter().flat_map(|mark| code.match_indices(mark)).map(|(at, _)| at);
    starts.map(|at| (line_of(code, at), line_of(code, item_end(code.as_bytes(), at).0 - 1))).collect()
}

fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let (end, has_body) = item_end(code.as_bytes(), at);
        if has_body && !name.is_empty() {
            let lines = code[at..end].matches('\n').count() + 1;
            found.push(Function { name, line: line_of(code, at), lines });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::parse("src/a.rs", text).code.join("\n")
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let cases = [
            ("a // b", "a"),
            ("a /* b /* c */ d */ e", "a e"),
            ("f(\"x \\\" y\") + b", "f( ) + b"),
            ("f(r#\"x \" y\"#) + b", "f( ) + b"),
            ("f(br\"x\\\") + b", "f(b ) + b"),
            ("f('\"') + 'a' + '\\'' + 'ä'", "f( ) + + +"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("let for_r = 1; bar\"x\"", "let for_r = 1; bar "),
        ];
        for (text, expected) in cases {
            let squeezed = code(text).split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(squeezed, expected.split_whitespace().collect::<Vec<_>>().join(" "), "{text}");
        }
    }

    #[test]
    fn tests_are_marked() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nuse x;\nfn d() {}\n";
        let source = Source::parse("src/a.rs", text);
        let marked: Vec<usize> = (1..).zip(&source.test).filter(|(_, test)| **test).map(|(n, _)| n).collect();
        assert_eq!(marked, [2, 3, 4, 5, 7, 8]);
        assert!(Source::parse("crates/a/tests/b/main.rs", text).test.iter().all(|test| *test));
        assert_eq!(source.weight(), 3);
    }

    #[test]
    fn functions_are_measured() {
        let text = "trait T {\n  fn none(&self) -> [u8; 3];\n}\nfn one<F: Fn(u8)>(f: F) {}\nfn three(\n  f: fn(u8),\n) {}\n";
        let found: Vec<_> =
            Source::parse("a.rs", text).functions.into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("one".to_owned(), 4, 1), ("three".to_owned(), 5, 3)]);
    }

    #[test]
    fn words_end_where_names_end() {
        assert_eq!(find_word("a::spawn(x)", "spawn"), Some(3));
        assert_eq!(find_word("respawn(spawned)", "spawn"), None);
        assert_eq!(find_word("x.unwrap()", ".unwrap()"), Some(1));
        assert_eq!(find_word("ä.unwrap()", ".unwrap()"), Some(2));
    }
}
