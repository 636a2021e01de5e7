//! How calls are written and how their results read: the only place that knows the tools' formats.
//!
//! Start at the constructors ([`shell`], [`read`], [`edit`] ...), then [`whole`].

use super::patch::{Edit, edits};
use super::replay::{Answer, Want};
use serde_json::json;

pub(crate) fn list() -> Want {
    Want { tool: "list", args: json!({}) }
}

pub(crate) fn shell(command: &str, timeout_ms: u64) -> Want {
    Want { tool: "shell", args: json!({ "command": command, "timeout_ms": timeout_ms }) }
}

pub(crate) fn finish(done: bool, summary: &str) -> Want {
    let args = if done {
        json!({ "status": "done", "summary": summary })
    } else {
        json!({ "status": "blocked", "needs": "language-model", "summary": summary })
    };
    Want { tool: "finish", args }
}

/// Looks for a word in all files git does not ignore.
pub(crate) fn search_word(word: &str) -> Want {
    Want { tool: "search", args: json!({ "pattern": format!(r"\b{word}\b") }) }
}

/// A page of a file or blob, from this offset on.
pub(crate) fn read(path: &str, offset: Option<usize>) -> Want {
    let args = match offset {
        None => json!({ "path": path }),
        Some(offset) => json!({ "path": path, "offset": offset }),
    };
    Want { tool: "read", args }
}

/// Turns a file from one text into another, by edits where they are not longer than the file.
pub(crate) fn change(path: &str, from: &str, to: &str) -> Want {
    let edits = edits(from, to).filter(|edits| {
        edits.iter().map(|edit: &Edit| edit.old.len() + edit.new.len()).sum::<usize>() <= to.len()
    });
    match edits {
        None => Want { tool: "write", args: json!({ "path": path, "content": to }) },
        Some(edits) => {
            let edits: Vec<_> =
                edits.iter().map(|edit| json!({ "old": edit.old, "new": edit.new })).collect();
            Want { tool: "edit", args: json!({ "path": path, "edits": edits }) }
        }
    }
}

/// Does a listing of the top name this file?
pub(crate) fn lists(answer: &Answer, name: &str) -> bool {
    answer.ok && answer.text.lines().any(|line| line.split_whitespace().any(|word| word == name))
}

/// Files a search found something in: `path:line:text`.
pub(crate) fn found_files(answer: &Answer) -> Vec<String> {
    let file = |line: &str| Some(line.split_once(':')?.0.trim().to_owned());
    answer.text.lines().filter(|_| answer.ok).filter_map(file).collect()
}

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub text: String,
    /// Where the next page begins, when there is one.
    pub next: Option<usize>,
}

pub(crate) fn page(answer: &Answer) -> Option<Page> {
    if !answer.ok {
        return None;
    }
    let mut text = String::new();
    let mut next = None;
    for line in answer.text.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("[more from ") {
            next = rest.trim_end().trim_end_matches(']').parse().ok();
        } else if let Some((_, rest)) = line.split_once('\t') {
            text.push_str(rest);
        }
    }
    Some(Page { text, next })
}

/// An output kept whole elsewhere.
#[derive(Debug)]
pub(crate) struct Blob {
    pub path: String,
}

impl Blob {
    pub(crate) fn pages(&self) -> Vec<Option<usize>> {
        vec![None]
    }
}

pub(crate) fn blob(answer: &Answer) -> Option<Blob> {
    let at = answer.text.find("blob:")?;
    let digest: String = answer.text[at + 5..].chars().take_while(|c| c.is_ascii_hexdigit()).collect();
    (digest.len() == 64).then(|| Blob { path: format!("blob:{digest}") })
}

#[cfg(test)]
pub(crate) fn shown_for_tests(text: &str) -> String {
    text.split_inclusive('\n').enumerate().map(|(i, line)| format!("{}\t{line}", i + 1)).collect()
}
