//! Parsers that people or agents write: patterns with named groups, for commands that hold certain words.
//!
//! The patterns are foreign: they are compiled by an engine whose time is linear, within a size. A pattern that cannot be
//! used is told by its name and left out; the others go on. Start at [`Custom::new`].

use crate::parsers::{Compiled, Ready};
use crate::reader::{Event, Options, Reader};
use crate::rules::What;
use contract::found::{Ending, Severity};
use regex::{RegexBuilder, RegexSetBuilder};

/// Bytes a pattern may have.
pub const PATTERN_BYTES: usize = 2_000;
/// Memory one pattern may compile to, bytes.
const COMPILED_BYTES: usize = 256 * 1024;
/// Memory all of them may take together, bytes.
const ALL_BYTES: usize = 8 * 1024 * 1024;
/// Patterns in one parser, and parsers in all.
pub const PATTERNS: usize = 32;
/// From so many lines on, a parser must leave some of them alone.
const MANY_LINES: u64 = 20;
/// Groups that mean something.
const GROUPS: [&str; 14] = [
    "file", "line", "column", "severity", "code", "message", "test", "ending", "ms", "s", "run", "passed",
    "failed", "skipped",
];

/// A parser as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// Words of a command, all of which must be there for the parser to go before the built-in ones.
    pub command: Vec<String>,
    /// Regular expressions with named groups.
    pub patterns: Vec<String>,
}

/// Parsers of the user's, ready.
#[derive(Debug, Clone)]
pub struct Custom {
    written: Vec<Written>,
    compiled: Compiled,
}

impl Default for Custom {
    fn default() -> Self {
        let compiled = Compiled { set: regex::RegexSet::empty(), rules: Vec::new() };
        Self { written: Vec::new(), compiled }
    }
}

impl Custom {
    /// Compiles them; says what cannot be used and why.
    pub fn new(written: Vec<Written>) -> (Self, Vec<String>) {
        let (mut rules, mut patterns, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        let mut kept: Vec<Written> = Vec::new();
        for parser in written {
            if kept.len() == PATTERNS {
                bad.push(format!("parser `{}`: there are more than {PATTERNS} parsers", parser.name));
                continue;
            }
            if parser.patterns.len() > PATTERNS {
                bad.push(format!("parser `{}`: it has more than {PATTERNS} patterns", parser.name));
                continue;
            }
            for pattern in &parser.patterns {
                match ready(pattern, kept.len()) {
                    Ok(ready) => {
                        rules.push(ready);
                        patterns.push(pattern.clone());
                    }
                    Err(why) => {
                        bad.push(format!("parser `{}`: pattern `{}`: {why}", parser.name, short(pattern)))
                    }
                }
            }
            kept.push(parser);
        }
        let set = RegexSetBuilder::new(&patterns).size_limit(ALL_BYTES).dfa_size_limit(ALL_BYTES).build();
        match set {
            Ok(set) => (Self { written: kept, compiled: Compiled { set, rules } }, bad),
            Err(_) => {
                bad.push(format!(
                    "the patterns of all parsers together take more than {ALL_BYTES} bytes: none is used"
                ));
                (Self::default(), bad)
            }
        }
    }

    /// What was written down, but for what could not be used.
    pub fn written(&self) -> &[Written] {
        &self.written
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.written.iter().map(|parser| parser.name.as_str())
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// For each parser, whether a command is one of its own.
    pub(crate) fn hinted<'a>(&'a self, command: &'a str) -> impl Iterator<Item = bool> + 'a {
        self.written.iter().map(move |parser| {
            let words: Vec<&str> = command.split([' ', '\t', '\n', '|', ';', '&', '/']).collect();
            parser.name == command
                || (!parser.command.is_empty()
                    && parser.command.iter().all(|word| words.contains(&word.as_str())))
        })
    }
}

/// Whether a parser reads both an example and a real output; what it finds in the latter, or why it is refused. One that
/// takes almost every line for a finding knows nothing.
pub fn accept(written: &Written, example: &str, real: &[u8]) -> Result<String, String> {
    let (custom, bad) = Custom::new(vec![written.clone()]);
    if let Some(why) = bad.into_iter().next() {
        return Err(why);
    }
    let custom = std::sync::Arc::new(custom);
    let read = |bytes: &[u8]| {
        let (custom, command) = (std::sync::Arc::clone(&custom), written.name.clone());
        let mut reader = Reader::new(Options { command, custom, ..Options::default() });
        let mut own = 0_u64;
        let mut count = |event| {
            own += u64::from(match event {
                Event::Finding(finding) => finding.tool == written.name,
                Event::Test(test) => test.tool == written.name,
            });
        };
        reader.push(bytes, &mut count);
        let digest = reader.finish(&mut count);
        (own, digest)
    };
    let (own, _) = read(example.as_bytes());
    if own == 0 {
        return Err("it finds nothing in its own example".to_owned());
    }
    let (own, digest) = read(real);
    if own == 0 {
        return Err("it finds nothing in the real output".to_owned());
    }
    if digest.lines > MANY_LINES && own.saturating_mul(10) > digest.lines.saturating_mul(9) {
        return Err("it takes almost every line for a finding".to_owned());
    }
    Ok(digest.summary())
}

fn ready(pattern: &str, parser: usize) -> Result<Ready, String> {
    if pattern.len() > PATTERN_BYTES {
        return Err(format!("longer than {PATTERN_BYTES} bytes"));
    }
    let regex = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES).dfa_size_limit(COMPILED_BYTES).build();
    let regex =
        regex.map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_owned())?;
    let names: Vec<&str> = regex.capture_names().flatten().collect();
    if let Some(odd) = names.iter().find(|name| !GROUPS.contains(name)) {
        return Err(format!("the group `{odd}` means nothing: use {}", GROUPS.join(", ")));
    }
    let has = |name: &str| names.contains(&name);
    let what = if has("test") {
        What::Test(if has("ending") { Ending::Passed } else { Ending::Failed })
    } else if has("run") || has("passed") || has("failed") {
        What::Totals
    } else if has("message") || has("code") {
        What::Finding(Severity::Error)
    } else {
        return Err("it has no group `message`, `code`, `test` or `passed`, so it tells nothing".to_owned());
    };
    if regex.is_match("") {
        return Err("it matches an empty line".to_owned());
    }
    // A command's own parser only: a pattern of a person's is as wide as they like.
    Ok(Ready { parser, what, regex, hinted: true })
}

fn short(pattern: &str) -> String {
    contract::text::bounded(pattern, 80)
}
