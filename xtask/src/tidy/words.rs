//! Words that must not be left behind: marks of unfinished work, paths and hosts of one machine.
//!
//! Knows text only, comments and prose rather than code. The one file that may name these words is this one.

use super::Finding;
use super::source::find_word;
use super::tree::{File, Tree, is_data};

const SELF: &str = "xtask/src/tidy/words.rs";

/// Written in capitals, as a mark.
const MARKS: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// In any case.
const PHRASES: &[&str] = &[
    "placeholder",
    "not implemented yet",
    "not yet implemented",
    "coming soon",
    "lorem ipsum",
    "stubbed out",
];

/// Paths that exist on one machine only.
const PATHS: &[&str] = &["/work/", "/root/"];

/// Hosts packages come from: a matter of each machine's set-up, not of the project.
const HOSTS: &[&str] = &[
    "index.crates.io",
    "static.crates.io",
    "registry.npmjs.org",
    "pypi.org",
    "files.pythonhosted.org",
    "proxy.golang.org",
    "artifactory",
];

const PROSE: &[&str] = &[".md", ".toml", ".sh", ".txt", ".yml", ".yaml", ".ci/run"];

/// Marks of unfinished work in comments and prose.
pub(super) fn unfinished(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path != SELF && !is_data(&file.path)) {
        let whole = file.text.to_lowercase();
        let any = |list: &[&str]| list.iter().any(|word| whole.contains(&word.to_lowercase()));
        if !any(MARKS) && !any(PHRASES) {
            continue;
        }
        for (at, line) in words_of(file).into_iter().enumerate() {
            let lower = line.to_lowercase();
            let mark = MARKS.iter().find(|mark| find_word(line, mark).is_some());
            let phrase = || PHRASES.iter().find(|phrase| find_word(&lower, phrase).is_some());
            if let Some(word) = mark.or_else(phrase) {
                let advice = format!("`{word}`: finish it, or open an issue and leave no mark");
                findings.push(Finding::new(&file.path, at + 1, "unfinished", advice));
            }
        }
    }
    findings
}

/// This machine's paths and package hosts, anywhere.
pub(super) fn machine(tree: &Tree) -> Vec<Finding> {
    let skipped = |file: &&File| file.path != SELF && file.path != "Cargo.lock" && !is_data(&file.path);
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(skipped) {
        for (at, line) in file.text.lines().enumerate() {
            let host = HOSTS.iter().find(|host| line.contains(*host));
            if let Some(word) = PATHS.iter().find(|path| starts_a_path(line, path)).or(host) {
                let advice =
                    format!("`{word}` belongs to one machine's set-up: leave it out, or use a relative path");
                findings.push(Finding::new(&file.path, at + 1, "machine", advice));
            }
        }
    }
    findings
}

/// Comments of a Rust file, lines of prose; nothing of other files.
fn words_of(file: &File) -> Vec<&str> {
    match &file.rust {
        Some(source) => source.comments.iter().map(String::as_str).collect(),
        None if PROSE.iter().any(|end| file.path.ends_with(end)) => file.text.lines().collect(),
        None => Vec::new(),
    }
}

/// `path` at the start of an absolute path, not inside a longer one.
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().last();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/})".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        rule(&Tree::of(&[(path, text)])).iter().map(|f| f.line).collect()
    }

    #[test]
    fn marks_are_found_where_people_write() {
        let rust =
            "// TODO later\nlet s = \"TODO\";\n/// A Placeholder.\nlet todo_list = 1; // the to-do list\n";
        assert_eq!(lines(unfinished, "a.rs", rust), [1, 3]);
        assert_eq!(lines(unfinished, "A.md", "fine\nXXX\nMAXXX\n"), [2]);
        assert!(lines(unfinished, "a/golden/v1/x.md", "TODO\n").is_empty());
    }

    #[test]
    fn machine_paths_are_found_at_their_start() {
        let text = "see /work/x\nsrc/work/x\n\"/root/.ssh\"\nhttps://a.org/work/x\nhttps://pypi.org\n";
        assert_eq!(lines(machine, "a.rs", text), [1, 3, 5]);
    }
}
