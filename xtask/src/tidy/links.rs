//! Links in Markdown lead somewhere: files, headings, and paths named in passing.
//!
//! Knows GitHub's heading anchors; never the network. Start at [`dead`].

use super::Finding;
use super::reachable::join;
use super::tree::{File, Tree};

/// Directories whose paths prose may name in backticks.
const OWN: &[&str] = &["crates/", "xtask/", ".ci/", ".cargo/"];

/// Relative links and anchors that lead nowhere.
pub(super) fn dead(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(".md") {
        let dir = file.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for (line, text) in prose(&file.text) {
            for target in targets(&without_code(text)) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
                let path = if path.is_empty() { file.path.clone() } else { join(dir, path) };
                if !tree.exists(&path) {
                    let advice = format!("`{path}` does not exist: mend or remove the link");
                    findings.push(Finding::new(&file.path, line, "link", advice));
                } else if !anchor.is_empty()
                    && !tree.file(&path).is_some_and(|f| anchors(f).any(|a| a == anchor))
                {
                    let advice = format!("`{path}` has no heading `#{anchor}`: mend the anchor");
                    findings.push(Finding::new(&file.path, line, "link", advice));
                }
            }
        }
    }
    findings
}

/// Paths in backticks that do not exist (any more).
pub(super) fn paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(".md").filter(|file| !file.path.ends_with("CHANGELOG.md")) {
        for (line, text) in prose(&file.text) {
            for code in text.split('`').skip(1).step_by(2) {
                let named = OWN.iter().any(|own| code.starts_with(own));
                let path = code.split(&[':', '#'][..]).next().unwrap_or(code);
                let exact = !path.contains(&['*', '<', '{', ' ', '…'][..]);
                if named && exact && !tree.exists(path) {
                    let advice = format!("`{path}` does not exist: bring the text up to date");
                    findings.push(Finding::new(&file.path, line, "link", advice));
                }
            }
        }
    }
    findings
}

/// Lines outside fenced blocks, numbered from 1.
pub(super) fn prose(text: &str) -> Vec<(usize, &str)> {
    by_fence(text).into_iter().filter(|(_, _, fenced)| !fenced).map(|(line, text, _)| (line, text)).collect()
}

/// Lines inside fenced blocks, numbered from 1.
pub(super) fn fenced(text: &str) -> Vec<(usize, &str)> {
    by_fence(text).into_iter().filter(|(_, _, fenced)| *fenced).map(|(line, text, _)| (line, text)).collect()
}

fn by_fence(text: &str) -> Vec<(usize, &str, bool)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else {
            lines.push((at + 1, line, inside));
        }
    }
    lines
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Targets of `[text](target)` and `[name]: target`.
fn targets(line: &str) -> Vec<String> {
    let inline = line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split(')').next());
    let reference = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
    let clean = |target: &str| {
        target.split_whitespace().next().unwrap_or_default().trim_matches(&['<', '>'][..]).to_owned()
    };
    inline.chain(reference).map(clean).filter(|target| !target.is_empty()).collect()
}

/// Anchors of a file's headings, as GitHub makes them.
fn anchors(file: &File) -> impl Iterator<Item = String> {
    let headings = prose(&file.text).into_iter().filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.trim())
    });
    headings.map(|title| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_somewhere() {
        let text = "# The first one\n[a](docs/b.md) [b](docs/b.md#a-b) [c](#the-first-one) [d](https://x.org/y)\n\
                    [lost](gone.md) and ![lost](docs/b.md#gone)\n```\n[not](a-link.md)\n```\n`[nor](this.md)`\n\
                    [ref]: nowhere.md\n";
        let tree = Tree::of(&[("README.md", text), ("docs/b.md", "## A `b`!\n[up](../README.md)\n")]);
        let lines: Vec<usize> = dead(&tree).iter().map(|f| f.line).collect();
        assert_eq!(lines, [3, 3, 8]);
    }

    #[test]
    fn named_paths_exist() {
        let text = "See `crates/a/src/lib.rs:12`, `crates/a`, `crates/*/src` and `crates/gone.rs`.\n";
        let tree = Tree::of(&[("AGENTS.md", text), ("crates/a/src/lib.rs", "")]);
        let found = paths(&tree);
        assert!(found.len() == 1 && found[0].advice.contains("crates/gone.rs"));
    }
}
