//! Every Rust file opens with `//!`: what it is for, what it does not know, where to start.
//!
//! Knows only whether the lines are there; whether they are good is a reader's question.

use super::Finding;
use super::links::prose;
use super::tree::{Tree, is_data};

/// Files without a header, and headers that run on.
pub(super) fn missing(tree: &Tree) -> Vec<Finding> {
    /// Three lines are good; a page belongs to the items.
    const LINES: usize = 30;
    let mut findings = Vec::new();
    for (file, _) in tree.rust().filter(|(file, _)| !is_data(&file.path)) {
        let header: Vec<&str> = file.text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        // A picture or an example in a block is looked at, not read.
        let prose = prose(&header.join("\n")).len();
        let advice = match prose {
            0 => "open the file with `//!`: what it is for, what it does not know, where to start",
            n if n > LINES => "a header is read in one look: move the rest to the items it is about",
            _ => continue,
        };
        findings.push(Finding::new(&file.path, 1, "header", advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_there_and_short() {
        let long = "//! x\n".repeat(31);
        let drawn = format!("//! x\n//! ```text\n{long}//! ```\n");
        let tree = Tree::of(&[
            ("a.rs", "//! A.\n"),
            ("b.rs", "fn b() {}\n"),
            ("c.rs", &long),
            ("d.md", ""),
            ("e.rs", &drawn),
        ]);
        let found: Vec<String> = missing(&tree).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["b.rs", "c.rs"]);
    }
}
