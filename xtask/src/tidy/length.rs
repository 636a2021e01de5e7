//! Lengths: files, functions and whole crates stay readable, and what is too long may only shrink.
//!
//! Knows lines, not taste. Start at the four limits; exceptions for functions stand in [`RATCHET`].

use super::Finding;
use super::tree::Tree;
use std::collections::BTreeMap;

/// A longer file is asked what two things it holds.
const FILE_SOFT: usize = 400;
/// A longer file is split.
const FILE_HARD: usize = 800;
/// A longer function is split.
const FUNCTION: usize = 70;
/// Lines of code (no comments, blanks or tests) a crate may hold.
const CRATE: usize = 10_000;
/// The vocabulary stays small for ever.
const CRATE_BUDGETS: &[(&str, usize)] = &[("contract", 3_950), ("kernel", 10_900), ("kapell", 18_400)];

/// Functions that are too long, one per line: `path function lines`. A line must match to the number, so a
/// function can shrink but not grow unseen; new lines are not added.
const RATCHET: &str = "xtask/ratchet.txt";

/// Files past the hard limit.
pub(super) fn files(tree: &Tree) -> Vec<Finding> {
    over(tree, FILE_HARD, "split it by what it holds")
}

/// Files past the soft limit, for `--verbose`.
pub(super) fn soft(tree: &Tree) -> Vec<Finding> {
    over(tree, FILE_SOFT, "does it hold two things?")
}

fn over(tree: &Tree, limit: usize, advice: &str) -> Vec<Finding> {
    let long = tree.rust().map(|(file, _)| (file, file.text.lines().count())).filter(|(_, n)| *n > limit);
    long.map(|(file, n)| {
        Finding::new(&file.path, 0, "length", format!("{n} lines (limit {limit}): {advice}"))
    })
    .collect()
}

/// Functions past the limit, less those on the ratchet; ratchet lines that no longer fit.
pub(super) fn functions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ratchet = ratchet(tree, &mut findings);
    for (file, source) in tree.rust() {
        for function in source.functions.iter().filter(|function| function.lines > FUNCTION) {
            let (name, lines) = (&function.name, function.lines);
            let advice = match ratchet.remove(&(file.path.as_str(), name.as_str())) {
                Some((_, limit)) if lines == limit => continue,
                Some((_, limit)) if lines < limit => {
                    format!("`{name}` shrank: write {lines} for it in {RATCHET}")
                }
                Some((_, limit)) => {
                    format!("`{name}` grew from {limit} to {lines} lines: it may only shrink")
                }
                None => format!("`{name}` has {lines} lines (limit {FUNCTION}): split it"),
            };
            findings.push(Finding::new(&file.path, function.line, "length", advice));
        }
    }
    for ((path, name), (line, _)) in ratchet {
        let advice = format!("`{name}` in {path} is short or gone: remove this line");
        findings.push(Finding::new(RATCHET, line, "length", advice));
    }
    findings
}

type Ratchet<'a> = BTreeMap<(&'a str, &'a str), (usize, usize)>;

fn ratchet<'a>(tree: &'a Tree, findings: &mut Vec<Finding>) -> Ratchet<'a> {
    let mut ratchet = BTreeMap::new();
    for (at, line) in tree.file(RATCHET).map_or("", |file| &file.text).lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [path, name, lines] if lines.parse::<usize>().is_ok() => {
                ratchet.insert((path, name), (at + 1, lines.parse().unwrap_or_default()));
            }
            _ => findings.push(Finding::new(RATCHET, at + 1, "length", "write `path function lines`")),
        }
    }
    ratchet
}

/// Crates past their budget of code.
pub(super) fn crates(tree: &Tree) -> Vec<Finding> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, source) in tree.rust() {
        if let Some((name, _)) = file.path.strip_prefix("crates/").and_then(|rest| rest.split_once("/src/")) {
            *sizes.entry(name).or_default() += source.weight();
        }
    }
    let budget =
        |name: &str| CRATE_BUDGETS.iter().find(|(other, _)| *other == name).map_or(CRATE, |(_, n)| *n);
    let fat = sizes.into_iter().filter(|(name, size)| *size > budget(name));
    fat.map(|(name, size)| {
        let advice =
            format!("{size} lines of code (budget {}): move out what only one crate uses", budget(name));
        Finding::new(&format!("crates/{name}/Cargo.toml"), 0, "length", advice)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, lines: usize) -> String {
        format!("fn {name}() {{\n{}}}\n", "x();\n".repeat(lines - 2))
    }

    #[test]
    fn long_files_are_named() {
        let tree = Tree::of(&[
            ("a.rs", &"\n".repeat(801)),
            ("b.rs", &"\n".repeat(401)),
            ("c.md", &"\n".repeat(900)),
        ]);
        assert_eq!(files(&tree).len(), 1);
        assert_eq!(soft(&tree).len(), 2);
    }

    #[test]
    fn the_ratchet_only_turns_one_way() {
        let text = [function("fine", 70), function("known", 90), function("long", 71)].concat();
        let verdict = |lines: usize| {
            let ratchet = format!("# why\na.rs known {lines}\na.rs gone 80\n");
            let found = functions(&Tree::of(&[("a.rs", &text), (RATCHET, &ratchet)]));
            found.into_iter().map(|f| f.advice).collect::<Vec<_>>().join("; ")
        };
        assert!(!verdict(90).contains("known"));
        assert!(verdict(91).contains("shrank"));
        assert!(verdict(89).contains("may only shrink"));
        assert!(verdict(90).contains("`long` has 71 lines") && verdict(90).contains("`gone` in a.rs"));
    }

    #[test]
    fn the_vocabulary_has_a_budget() {
        let (name, budget) = CRATE_BUDGETS[0];
        let file = format!("crates/{name}/src/a.rs");
        let tree = Tree::of(&[(&file, &"x();\n".repeat(budget + 1))]);
        assert_eq!(crates(&tree).len(), 1);
        let comments = Tree::of(&[(&file, &"// x\n".repeat(budget + 1))]);
        assert!(crates(&comments).is_empty());
    }
}
