//! Finds the tests in a source text: name, body, assertions, and whether something switches them off.
//!
//! Knows no change between two texts, but for [`modules_dropped`]. Start at [`find`].

use super::language::{Body, Language, is_test_path, of};
use super::text::{Split, split};
use super::{FileChange, flag};
use contract::checks::Flag;

/// Name of the unit that stands for what a file of the tests asserts outside its tests (helpers, tables).
const ELSEWHERE: &str = "beside the tests";

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    /// Its code without blanks; empty when it does nothing.
    pub(crate) body: String,
    /// Each asserting line, without blanks. Assertions that cannot fail do not count.
    pub(crate) assertions: Vec<String>,
    /// What switches it off.
    pub(crate) skips: Vec<String>,
    /// It passes by panicking.
    pub(crate) panics: bool,
}

impl Unit {
    /// Is it a test, or what stands beside them?
    pub(crate) fn is_test(&self) -> bool {
        self.name != ELSEWHERE
    }
}

/// The tests in a text; of a file of the tests also what is asserted outside of them.
pub(crate) fn find(path: &str, text: &str) -> Vec<Unit> {
    let Some(language) = of(path) else { return Vec::new() };
    let source = Source::new(text, language);
    let mut units = Vec::new();
    let mut inside = vec![false; source.code.len()];
    let mut line = 0;
    while line < source.code.len() {
        let Some((name, head)) = source.starts(line, path) else {
            line += 1;
            continue;
        };
        let end = source.body_end(line);
        units.push(source.unit(name, head, line, end));
        inside[head..end].fill(true);
        line = end.max(line + 1);
    }
    if is_test_path(path) {
        let outside = (0..source.code.len()).filter(|&at| !inside[at]);
        let assertions: Vec<String> = outside.flat_map(|at| source.asserts(at)).collect();
        if !assertions.is_empty() {
            let body = assertions.concat();
            units.push(Unit {
                name: ELSEWHERE.to_owned(),
                body,
                assertions,
                skips: Vec::new(),
                panics: false,
            });
        }
    }
    units
}

struct Source<'a> {
    language: &'static Language,
    /// As written.
    raw: Vec<&'a str>,
    /// Without comments and strings.
    code: Vec<String>,
}

impl<'a> Source<'a> {
    fn new(text: &'a str, language: &'static Language) -> Self {
        let Split { code, .. } = split(text, language);
        Self {
            language,
            raw: text.split('\n').collect(),
            code: code.split('\n').map(str::to_owned).collect(),
        }
    }

    /// When a test starts at this line: its name and the first line of what stands above it.
    fn starts(&self, line: usize, path: &str) -> Option<(String, usize)> {
        let code = self.code[line].trim_start();
        if let Some(call) = self.call(code) {
            // Both keep their columns, so what follows the call stands at the same place as written.
            let after = self.code[line].len() - code.len() + call.len();
            let raw = self.raw[line].get(after..).unwrap_or_default();
            // A name on the next line belongs to the call as well.
            let next = self.raw.get(line + 1).map_or("", |next| next.trim());
            let name = quoted(raw).or_else(|| quoted(next))?;
            return Some((name, line));
        }
        let head = self.head(line);
        let name = self.function_name(code)?;
        let by_name = self.language.names.iter().any(|start| name.starts_with(start));
        let mut above = (head..line).map(|at| self.code[at].trim()).chain([code]);
        let by_attribute = above.any(|text| self.language.attributes.iter().any(|mark| text.contains(mark)));
        let test =
            if self.language.attributes.is_empty() { by_name && named_file(path) } else { by_attribute };
        test.then_some((name, head))
    }

    fn call(&self, code: &str) -> Option<&'static str> {
        let fits = |call: &&&'static str| {
            code.strip_prefix(**call).is_some_and(|rest| rest.starts_with('(') || rest.starts_with(".each"))
        };
        self.language.calls.iter().filter(fits).max_by_key(|call| call.len()).copied()
    }

    /// The first line of the attributes and decorators right above a line.
    fn head(&self, line: usize) -> usize {
        let mut at = line;
        while at > 0 {
            let above = self.code[at - 1].trim();
            let commented = above.is_empty() && !self.raw[at - 1].trim().is_empty();
            if !(above.starts_with(['#', '@', '[']) || commented || above.ends_with(")]")) {
                break;
            }
            at -= 1;
        }
        at
    }

    fn function_name(&self, code: &str) -> Option<String> {
        let word = |text: &str| -> String {
            text.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$')).collect()
        };
        if self.language.keyword.is_empty() {
            // `public void name(` and `fun name(`: the word before the first parenthesis.
            let before = code.split_once('(')?.0.trim_end();
            let last = before.rsplit([' ', '\t', '>']).next().map(word)?;
            let function =
                before.contains(' ') && !code.starts_with(['@', '[', '.']) && !before.contains('=');
            return (function && !last.is_empty()).then_some(last);
        }
        let at = code.find(self.language.keyword)?;
        let before_is_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name = word(&code[at + self.language.keyword.len()..]);
        (!before_is_word && !name.is_empty()).then_some(name)
    }

    /// The line after the body of what starts here.
    fn body_end(&self, start: usize) -> usize {
        if self.language.body == Body::Indent {
            let indent = |line: &str| line.len() - line.trim_start().len();
            let own = indent(self.raw[start]);
            let inside = |at: usize| self.code[at].trim().is_empty() || indent(self.raw[at]) > own;
            // A signature over several lines ends where its parentheses close.
            let mut at = start + 1;
            let mut open = balance(&self.code[start], '(', ')');
            while at < self.code.len() && (open > 0 || inside(at)) {
                open += balance(&self.code[at], '(', ')');
                at += 1;
            }
            return at;
        }
        let (mut braces, mut parentheses, mut opened) = (0, 0, false);
        for at in start..self.code.len() {
            opened |= self.code[at].contains('{');
            braces += balance(&self.code[at], '{', '}');
            parentheses += balance(&self.code[at], '(', ')');
            let ended = self.code[at].trim_end().ends_with(';');
            if parentheses <= 0 && braces <= 0 && (opened || ended) {
                return at + 1;
            }
        }
        self.code.len()
    }

    fn unit(&self, name: String, head: usize, start: usize, end: usize) -> Unit {
        let mut skips = Vec::new();
        let mut panics = false;
        for at in head..end {
            let code = self.code[at].trim();
            let found = self.language.skips.iter().filter(|mark| is_mark(code, mark));
            skips.extend(found.map(|_| code.trim_end_matches('{').trim().to_owned()));
            panics |= code.contains("#[should_panic");
        }
        let body = self.inside(start, end);
        let assertions =
            if body.is_empty() { Vec::new() } else { (start..end).flat_map(|at| self.asserts(at)).collect() };
        Unit { name, body, assertions, skips, panics }
    }

    /// The statements between the bounds of a body, without blanks; nothing when it returns at once.
    fn inside(&self, start: usize, end: usize) -> String {
        let code: String = (start..end).map(|at| format!("{}\n", self.code[at])).collect();
        let raw: String = (start..end).map(|at| format!("{}\n", self.raw[at])).collect();
        let opens = match self.language.body {
            Body::Braces => code.find('{').map(|at| at + 1),
            Body::Indent => code.find(":\n").map(|at| at + 2).or_else(|| code.find('\n')),
        };
        let Some(opens) = opens else { return String::new() };
        let closes = if self.language.body == Body::Braces { code.rfind('}') } else { None };
        let closes = closes.unwrap_or(code.len()).max(opens);
        let statements = code[opens..closes].trim();
        let idle = matches!(
            statements,
            "" | "pass" | "..." | "return" | "return;" | "end" | "assert True" | "todo!();" | "todo!()"
        ) || statements.starts_with("return;")
            || statements.starts_with("return\n")
            || statements.starts_with("if false {") && statements.ends_with('}');
        if idle {
            return String::new();
        }
        // Comments do not make a test another test, string contents do.
        raw.get(opens..closes).unwrap_or(statements).split_whitespace().collect()
    }

    /// The assertions on a line.
    fn asserts(&self, at: usize) -> Vec<String> {
        let code = self.code[at].trim();
        let count = self.language.assertions.iter().any(|word| is_mark(code, word));
        let defines = code.starts_with("use ")
            || code.starts_with("import ")
            || code.contains("fn assert")
            || code.contains("def assert");
        let line: String = self.raw[at].split_whitespace().collect();
        if count && !defines && !cannot_fail(&line) { vec![line] } else { Vec::new() }
    }
}

/// Is the word there by itself, and not as the end of a longer one?
fn is_mark(code: &str, mark: &str) -> bool {
    code.match_indices(mark).any(|(at, _)| {
        let starts_word = mark.starts_with(|c: char| c.is_alphanumeric());
        !starts_word || !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// Assertions over constants alone.
fn cannot_fail(line: &str) -> bool {
    let line = line.trim_end_matches(';');
    const ALWAYS: [&str; 14] = [
        "assert!(true)",
        "assert_eq!(1,1)",
        "assert_eq!(true,true)",
        "assertTrue",
        "assert(true)",
        "assert.ok(true)",
        "expect(true).toBe(true)",
        "expect(true).toBeTruthy()",
        "expect(1).toBe(1)",
        "expect(true).toEqual(true)",
        "self.assertTrue(True)",
        "assert1==1",
        "assertTrue(true)",
        "Assert.True(true)",
    ];
    ALWAYS.contains(&line)
        || line.strip_prefix("assert_eq!(").and_then(|rest| rest.strip_suffix(')')).is_some_and(same_twice)
        || line.starts_with("assert!(true,")
        || line == "Assert.IsTrue(true)"
}

fn same_twice(arguments: &str) -> bool {
    let parts: Vec<&str> = arguments.split(',').collect();
    parts.len() == 2 && parts[0] == parts[1]
}

fn balance(code: &str, open: char, close: char) -> i64 {
    code.matches(open).count() as i64 - code.matches(close).count() as i64
}

/// Where names make tests, only files of the tests have them (a `test_connection` in a library is none).
fn named_file(path: &str) -> bool {
    is_test_path(path)
}

/// The first quoted piece of a text.
fn quoted(text: &str) -> Option<String> {
    let open = text.find(['"', '\'', '`'])?;
    let quote = text[open..].chars().next()?;
    let rest = &text[open + 1..];
    Some(rest[..rest.find(quote)?].to_owned())
}

/// Rust test modules in files of their own that are no longer compiled, while the file may well be there.
pub(crate) fn modules_dropped(change: &FileChange, all: &[FileChange]) -> Vec<Flag> {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return Vec::new() };
    let Some(language) = of(change.path()).filter(|_| change.path().ends_with(".rs")) else {
        return Vec::new();
    };
    let code = |text: &str| split(text, language).code;
    let (old, new) = (code(old), code(new));
    let lines: Vec<&str> = old.lines().map(str::trim).collect();
    let mut flags = Vec::new();
    for pair in lines.windows(2).filter(|pair| pair[0].starts_with("#[cfg(test)]")) {
        let name =
            pair[1].trim_start_matches("pub ").strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        let Some(name) = name else { continue };
        let still = new.contains(&format!("mod {name}"));
        let file = |change: &FileChange| {
            let ends = [format!("/{name}.rs"), format!("/{name}/mod.rs")];
            change.old_path.as_deref().is_some_and(|path| ends.iter().any(|end| path.ends_with(end)))
                && (change.new_path.is_none() || change.new_path != change.old_path)
        };
        if !still && !all.iter().any(file) {
            flags.push(flag(
                "test-deleted",
                change.path(),
                format!("the test module `{name}` is no longer compiled"),
            ));
        }
    }
    flags
}
