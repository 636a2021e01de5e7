//! How calls are written and how their results read: the only place that knows the tools' formats.
//!
//! Start at the constructors ([`shell`], [`read`], [`edit`] ...), then [`whole`].

use super::patch::{Edit, edits};
use super::replay::{Answer, Want};
use contract::model::ToolUse;
use serde_json::{Value, json};

pub(crate) fn list() -> Want {
    Want::Call { tool: "list", args: json!({}) }
}

pub(crate) fn shell(command: &str, timeout_ms: u64) -> Want {
    Want::Call { tool: "shell", args: json!({ "command": command, "timeout_ms": timeout_ms }) }
}

pub(crate) fn finish(done: bool, summary: &str) -> Want {
    let args = if done {
        json!({ "status": "done", "summary": summary })
    } else {
        json!({ "status": "blocked", "needs": "language-model", "summary": summary })
    };
    Want::Call { tool: "finish", args }
}

/// Looks for a word in all files git does not ignore.
pub(crate) fn search_word(word: &str) -> Want {
    Want::Call { tool: "search", args: json!({ "pattern": format!(r"\b{word}\b"), "glob": "*.rs" }) }
}

/// A page of a file or output, from this line (from 1) on.
pub(crate) fn read(path: &str, offset: usize) -> Want {
    Want::Call { tool: "read", args: json!({ "path": path, "offset": offset }) }
}

/// These many lines of a file or output, from this line (from 1) on.
pub(crate) fn read_lines(path: &str, offset: usize, limit: usize) -> Want {
    Want::Call { tool: "read", args: json!({ "path": path, "offset": offset, "limit": limit }) }
}

/// Turns a file from one text into another.
pub(crate) fn change(path: &str, from: &str, to: &str) -> Want {
    Want::Change { path: path.into(), from: from.into(), to: to.into() }
}

/// A call in words. A change is said in edits, which keep what the text does not show (which line
/// ends, a missing last one); the file is written whole only where no edit can be said exactly.
pub(crate) fn spoken(want: Want) -> (&'static str, Value) {
    match want {
        Want::Call { tool, args } => (tool, args),
        Want::Change { path, from, to } => match edits(&from, &to) {
            None => ("write", json!({ "path": path, "content": to })),
            Some(edits) => {
                let edit = |edit: &Edit| json!({ "old_string": edit.old, "new_string": edit.new });
                let edits: Vec<_> = edits.iter().map(edit).collect();
                ("edit", json!({ "path": path, "edits": edits }))
            }
        },
    }
}

/// What a call made of this text; `None` when it is no change, or not one that fits.
pub(crate) fn changed(made: &ToolUse, from: &str) -> Option<String> {
    match made.tool.as_str() {
        "write" => made.args["content"].as_str().map(str::to_owned),
        "edit" => {
            let mut text = from.to_owned();
            for edit in made.args["edits"].as_array()? {
                let (old, new) = (edit["old_string"].as_str()?, edit["new_string"].as_str()?);
                let at = text.find(old)?;
                text.replace_range(at..at + old.len(), new);
            }
            Some(text)
        }
        _ => None,
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

/// A piece of a file or of an output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub text: String,
    /// The line to go on with, when more follow.
    pub next: Option<usize>,
}

/// Lines come numbered, `number TAB line`; a last line in brackets says where to go on. `None` when it
/// could not be read, or not whole because a line is too long.
pub(crate) fn page(answer: &Answer) -> Option<Page> {
    if !answer.ok || answer.text.lines().any(|line| line.ends_with(" bytes more in this line]")) {
        return None;
    }
    let mut page = Page { text: String::new(), next: None };
    for line in answer.text.lines() {
        let numbered = line.split_once('\t').filter(|(number, _)| number.trim().parse::<u64>().is_ok());
        if let Some((_, rest)) = numbered {
            page.text.push_str(rest);
            page.text.push('\n');
        } else if let Some((_, next)) = line.split_once("go on with offset ") {
            page.next = next.trim_end_matches(']').parse().ok();
        }
    }
    Some(page)
}

/// An output of which only a view is in the conversation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// What `read` takes as its path.
    pub path: String,
    /// Bytes of the whole.
    pub bytes: usize,
    /// Bytes of its lines on average, as far as they are shown; at least 1.
    pub line_bytes: usize,
}

/// "[... only a part is shown, of 9 bytes in all; read or search path "blob:DIGEST" shows the rest ...]"
pub(crate) fn blob(answer: &Answer) -> Option<Blob> {
    let line = answer.text.lines().find(|line| line.starts_with("[... ") && line.contains("\"blob:"))?;
    let path = line.split('"').find(|part| part.starts_with("blob:"))?;
    let bytes = line.split_once(", of ")?.1.split(' ').next()?.parse().ok()?;
    let line_bytes = (answer.text.len() / answer.text.lines().count()).max(1);
    Some(Blob { path: path.to_owned(), bytes, line_bytes })
}
#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer { ok: true, text: text.into() }
    }

    #[test]
    fn pages_as_the_read_tool_shows_them() {
        let text = "     9\ta\tb\n    10\t\n[more lines follow; go on with offset 11]\n";
        assert_eq!(page(&answer(text)), Some(Page { text: "a\tb\n\n".into(), next: Some(11) }));
        assert_eq!(page(&answer("[the file is empty]")), Some(Page { text: String::new(), next: None }));
        assert_eq!(page(&Answer { ok: false, text: "there is no line 9".into() }), None);
    }

    #[test]
    fn a_change_on_record_is_known_again() {
        let (from, to) = ("a\nb\nc\n", "a\nB\nc\nd\n");
        let (tool, args) = spoken(change("f", from, to));
        let made = ToolUse { id: "c".into(), tool: tool.into(), args };
        assert_eq!((tool, changed(&made, from).as_deref()), ("edit", Some(to)));
        assert_eq!(changed(&made, "other"), None);
    }

    #[test]
    fn outputs_kept_elsewhere_are_found() {
        let path = format!("blob:{}", "0f".repeat(32));
        let cut = format!(
            "head\n[... lines 2-9 ...]\ntail\n[... only a part is shown, of 3000 bytes in all; read or search path \"{path}\" shows the rest ...]\n"
        );
        let found = blob(&answer(&cut)).unwrap();
        assert_eq!((found.path, found.bytes, found.line_bytes), (path, 3000, cut.len() / 4));
        assert_eq!(blob(&answer("blob:")), None);
    }
}
