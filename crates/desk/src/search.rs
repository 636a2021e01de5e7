//! `search_in_files`.
//!
//! Start at [`search`].

use crate::args::Args;
use crate::report::pattern;
use crate::structure::glob;
use crate::{Desk, Done, Stop};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What is searched when no pattern names files.
const ENDINGS: [&str; 14] =
    ["txt", "md", "py", "json", "yaml", "yml", "tsv", "csv", "html", "css", "js", "ts", "sh", "bat"];
/// Matches in one reply when nobody says how many.
const MATCHES: usize = 1_000;
/// Lines around a match.
const CONTEXT: usize = 50;
/// A larger file is left out.
const FILE: u64 = 16 << 20;
/// Characters of a line that are shown.
const LINE: usize = 2_000;

pub(crate) fn search(desk: &Desk, args: &Args) -> Done {
    let text = args.said("pattern");
    if text.is_empty() {
        return Err(Stop::failed("`pattern` is empty"));
    }
    let (case, word) = (args.flag("case_sensitive"), args.flag("whole_word"));
    let regex = if word { pattern(&format!(r"\b(?:{text})\b"), case)? } else { pattern(text, case)? };
    let dir = args.text("directory").filter(|dir| !dir.is_empty()).unwrap_or(".");
    if !desk.root.meta(dir)?.is_dir {
        return Err(Stop::failed(format!("{dir} is not a directory")));
    }
    let names = args.text("file_pattern").filter(|names| !names.is_empty()).map(glob).transpose()?;
    let most = args.whole("max_matches").unwrap_or(MATCHES);
    let context = args.whole("context_lines").unwrap_or(0).min(CONTEXT);
    let mut found =
        Found { regex, most, context, numbers: args.flag("include_line_numbers"), ..Found::default() };
    let start = desk.root.relative(dir)?;
    // Ignore files have no say: a client that names a file's pattern means every such file.
    let walk = ignore::WalkBuilder::new(desk.root.path().join(&start))
        .standard_filters(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_name(std::ffi::OsStr::cmp)
        .build();
    for entry in walk.flatten() {
        if found.is_full() {
            break;
        }
        let Ok(path) = entry.path().strip_prefix(desk.root.path()) else { continue };
        let Some(path) = path.to_str().filter(|_| entry.file_type().is_some_and(|kind| kind.is_file()))
        else {
            continue;
        };
        let name = entry.file_name().to_string_lossy();
        let fits = match &names {
            Some(names) => names.is_match(&*name) || names.is_match(path),
            None => usual(path),
        };
        if fits && desk.root.meta(path).is_ok_and(|meta| meta.size <= FILE) {
            // A file that went away meanwhile is none.
            if let Ok(bytes) = desk.root.read(path) {
                found.file(path, &String::from_utf8_lossy(&bytes));
            }
        }
    }
    Ok(json!({
        "pattern": text,
        "directory": dir,
        "files_searched": found.files,
        "total_matches": found.matches.len(),
        "matches": found.matches,
        "truncated": found.more,
        "search_options": {
            "case_sensitive": case, "whole_word": word, "file_pattern": args.text("file_pattern"),
            "max_matches": args.whole("max_matches"), "include_line_numbers": found.numbers,
            "context_lines": context,
        },
    }))
}

fn usual(path: &str) -> bool {
    let ending = Path::new(path).extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| *known == ending))
}

struct Found {
    regex: Regex,
    most: usize,
    context: usize,
    numbers: bool,
    files: usize,
    matches: Vec<Value>,
    more: bool,
}

impl Default for Found {
    fn default() -> Self {
        let regex = Regex::new("").unwrap_or_else(|_| unreachable!("an empty pattern is one"));
        Self { regex, most: 0, context: 0, numbers: true, files: 0, matches: Vec::new(), more: false }
    }
}

impl Found {
    fn is_full(&self) -> bool {
        self.more
    }

    fn file(&mut self, path: &str, text: &str) {
        self.files += 1;
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            for hit in self.regex.find_iter(line) {
                if self.matches.len() >= self.most {
                    self.more = true;
                    return;
                }
                let mut entry = Map::new();
                entry.insert("file".into(), path.into());
                if self.numbers {
                    entry.insert("line_number".into(), (at + 1).into());
                }
                entry.insert("match_text".into(), shown(hit.as_str()).into());
                entry.insert("match_start".into(), line[..hit.start()].chars().count().into());
                entry.insert("match_end".into(), line[..hit.end()].chars().count().into());
                entry.insert("line_content".into(), shown(line).into());
                if self.context > 0 {
                    let (from, to) =
                        (at.saturating_sub(self.context), (at + self.context + 1).min(lines.len()));
                    let around: Vec<String> = lines[from..to].iter().map(|line| shown(line)).collect();
                    let context =
                        json!({"context_start": from + 1, "context_end": to, "context_lines": around});
                    entry.insert("context".into(), context);
                }
                self.matches.push(Value::Object(entry));
            }
        }
    }
}

fn shown(line: &str) -> String {
    crate::report::cut(line, LINE)
}
