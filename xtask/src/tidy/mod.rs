//! The project's own rules, as code: `cargo xtask tidy [--verbose]`.
//!
//! Knows no Rust grammar beyond comments, strings and braces; what clippy can say better stands in a `clippy.toml`.
//! Start at [`RULES`]; [`tree`] is what they look at. An exception is a comment
//! `tidy: allow(rule): reason` on the line or just above it.

mod banned;
mod docs;
mod floors;
mod headers;
mod length;
mod links;
mod reachable;
mod source;
mod tree;
mod versions;
mod words;

use anyhow::{Result, bail};
use std::time::Instant;
use tree::Tree;

/// Something to mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// Counted from 1; 0 = the file as a whole.
    line: usize,
    rule: &'static str,
    advice: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, advice: advice.into() }
    }
}

/// A rule looks at the whole tree and says what to mend.
type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    floors::edges,
    floors::manifests,
    floors::unused,
    versions::duplicates,
    reachable::files,
    reachable::ignored,
    links::dead,
    links::paths,
    banned::calls,
    banned::silenced,
    words::unfinished,
    words::machine,
    length::files,
    length::functions,
    length::crates,
    headers::missing,
    docs::commands,
    docs::pages,
];

/// Rules that hold without exception: a wall with a door is not a wall.
const STRICT: &[&str] = &["floor", "wall", "version", "allow"];

/// Prints every finding; fails when there is one.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let begin = Instant::now();
    let tree = Tree::load(&crate::root()?)?;
    if args.iter().any(|arg| arg == "--verbose") {
        length::soft(&tree).iter().for_each(print);
    }
    let findings = check(&tree, RULES);
    findings.iter().for_each(print);
    let seconds = begin.elapsed().as_secs_f32();
    if !findings.is_empty() {
        bail!("{} findings in {} files ({seconds:.1} s)", findings.len(), tree.files.len());
    }
    println!("tidy: {} files, {} rules, nothing to mend ({seconds:.1} s)", tree.files.len(), RULES.len());
    Ok(())
}

fn print(finding: &Finding) {
    println!("{}:{}: {}: {}", finding.path, finding.line.max(1), finding.rule, finding.advice);
}

/// What the rules find, less what is allowed with a reason, plus allowances that allow nothing.
fn check(tree: &Tree, rules: &[Rule]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(tree)).collect();
    for file in &tree.files {
        for allow in &file.allows {
            let before = findings.len();
            if !STRICT.contains(&allow.rule.as_str()) && !allow.reason.is_empty() {
                findings.retain(|f| f.path != file.path || f.line != allow.covers || f.rule != allow.rule);
            }
            if findings.len() == before {
                let advice = format!(
                    "`tidy: allow({})` covers nothing (or has no reason, or the rule knows no exception): remove it",
                    allow.rule
                );
                findings.push(Finding::new(&file.path, allow.line, "allow", advice));
            }
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_needs_a_reason_and_a_finding() {
        let text = "//! A file.\n\
                    fn a() { x.unwrap() } // tidy: allow(unwrap): the list is never empty\n\
                    // tidy: allow(unwrap): the map was filled above\n\
                    fn b() { x.unwrap() }\n\
                    fn c() { x.unwrap() } // tidy: allow(unwrap):\n\
                    fn d() {} // tidy: allow(unwrap): no longer needed\n";
        let tree = Tree::of(&[("crates/engine/src/lib.rs", text)]);
        let found: Vec<(usize, &str)> =
            check(&tree, &[banned::calls]).iter().map(|f| (f.line, f.rule)).collect();
        assert_eq!(found, [(5, "allow"), (5, "unwrap"), (6, "allow")]);
    }

    #[test]
    fn a_wall_has_no_door() {
        let text = "//! A file.\nuse std::fs; // tidy: allow(wall): just this once\n";
        let tree = Tree::of(&[("crates/kernel/src/lib.rs", text)]);
        let rules: Vec<&str> = check(&tree, &[banned::calls]).iter().map(|f| f.rule).collect();
        assert_eq!(rules, ["allow", "wall"]);
    }
}
