//! Unlisted tests: a file no target reaches compiles nowhere, and its tests never run.
//!
//! Knows cargo's target discovery and `mod` lines. Start at [`files`].

use super::Finding;
use super::source::{Source, find_word};
use super::tree::{File, Tree, is_data};
use std::collections::BTreeSet;

/// Rust files no target reaches, targets that are switched off, and test modules that would ship.
pub(super) fn files(tree: &Tree) -> Vec<Finding> {
    let mut findings = switched_off(tree);
    let mut reached: BTreeSet<String> =
        tree.rust().map(|(file, _)| &file.path).filter(|path| is_target(path)).cloned().collect();
    let mut todo: Vec<String> = reached.iter().cloned().collect();
    while let Some(path) = todo.pop() {
        let Some((file, source)) = tree.rust().find(|(file, _)| file.path == path) else { continue };
        for module in modules(file, source) {
            if module.is_test && !module.gated && !source.test_file {
                let advice = format!("put `#[cfg(test)]` above `mod {}`", module.name);
                findings.push(Finding::new(&file.path, module.line, "unlisted-test", advice));
            }
            todo.extend(
                module
                    .candidates
                    .into_iter()
                    .filter(|path| tree.file(path).is_some() && reached.insert(path.clone())),
            );
        }
    }
    for (file, _) in tree.rust() {
        if !reached.contains(&file.path) && !is_data(&file.path) {
            let advice = "no target reaches this file: declare it with `mod` where it belongs, or delete it";
            findings.push(Finding::new(&file.path, 0, "unlisted-test", advice));
        }
    }
    findings
}

/// Tests that are skipped without a word, and doc examples no runner runs.
pub(super) fn ignored(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        for (at, line) in source.code.iter().enumerate() {
            if line.contains("#[ignore]") {
                let advice = "say why: `#[ignore = \"reason\"]`";
                findings.push(Finding::new(&file.path, at + 1, "unlisted-test", advice));
            }
        }
        let mut open = false;
        for (at, line) in source.comments.iter().enumerate() {
            let text = line.trim_start();
            let Some(doc) = text.strip_prefix("///").or_else(|| text.strip_prefix("//!")) else {
                open = false;
                continue;
            };
            let Some(language) = doc.trim_start().strip_prefix("```") else { continue };
            open = !open;
            if open && matches!(language.trim(), "" | "rust" | "no_run" | "ignore" | "should_panic") {
                let advice = "the runner skips doc examples: make it a unit test, or mark the block `text`";
                findings.push(Finding::new(&file.path, at + 1, "unlisted-test", advice));
            }
        }
    }
    findings
}

fn switched_off(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending("Cargo.toml") {
        for (at, line) in file.text.lines().enumerate() {
            let line = line.replace(' ', "");
            if ["autotests=false", "test=false", "doctest=false"].contains(&line.as_str()) {
                let advice = "tests are never switched off in a manifest: remove the line";
                findings.push(Finding::new(&file.path, at + 1, "unlisted-test", advice));
            }
        }
    }
    findings
}

/// What cargo discovers by itself: `src/lib.rs`, `src/main.rs`, `src/bin/*`, `tests/*`, `examples/*`, `benches/*`.
fn is_target(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let package = match parts.as_slice() {
        ["crates", _, rest @ ..] | ["xtask" | "fuzz", rest @ ..] => rest,
        rest => rest,
    };
    let kind = match package {
        ["build.rs"] | ["src", "lib.rs" | "main.rs"] => return true,
        ["src", "bin", rest @ ..] | ["tests" | "examples" | "benches", rest @ ..] => rest,
        _ => return false,
    };
    matches!(kind, [_] | [_, "main.rs"])
}

/// A `mod name;` line.
pub(super) struct Module {
    name: String,
    line: usize,
    /// Named like tests.
    is_test: bool,
    /// Exists in tests only.
    pub gated: bool,
    /// Files it may mean.
    pub candidates: Vec<String>,
}

/// The `mod name;` lines of a file.
pub(super) fn modules(file: &File, source: &Source) -> Vec<Module> {
    let (dir, own) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let stem = own.trim_end_matches(".rs");
    let base = if stem == "mod" || is_target(&file.path) { dir.to_owned() } else { format!("{dir}/{stem}") };
    let raw: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in source.code.iter().enumerate() {
        let Some(start) = find_word(line, "mod") else { continue };
        let Some(name) = line[start + 3..].trim().strip_suffix(';') else { continue };
        let above = at.checked_sub(1).map_or("", |above| raw[above]);
        let mut candidates = vec![format!("{base}/{name}.rs"), format!("{base}/{name}/mod.rs")];
        if let Some((_, path)) = above.split_once("#[path = \"") {
            candidates.push(join(dir, path.split('"').next().unwrap_or_default()));
        }
        found.push(Module {
            name: name.to_owned(),
            line: at + 1,
            is_test: name == "tests" || name.ends_with("_tests"),
            gated: source.test[at],
            candidates,
        });
    }
    found
}

/// A relative path from a directory, `..` resolved.
pub(super) fn join(dir: &str, path: &str) -> String {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_reached_or_named() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "mod b;\npub(crate) mod c;\n#[cfg(test)]\nmod tests;\n"),
            ("crates/a/src/b.rs", "mod d;\n"),
            ("crates/a/src/b/d.rs", ""),
            ("crates/a/src/c/mod.rs", "mod e;\n"),
            ("crates/a/src/c/e.rs", ""),
            ("crates/a/src/tests.rs", "mod deep;"),
            ("crates/a/src/tests/deep.rs", ""),
            ("crates/a/src/lost.rs", ""),
            ("crates/a/tests/whole.rs", "#[path = \"../common/x.rs\"]\nmod x;\n"),
            ("crates/a/common/x.rs", ""),
            ("crates/a/tests/group/main.rs", "mod part;\n"),
            ("crates/a/tests/group/part.rs", ""),
            ("crates/a/tests/group/lost.rs", ""),
            ("crates/a/tests/fixtures/x.rs", ""),
        ]);
        let found: Vec<String> = files(&tree).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["crates/a/src/lost.rs", "crates/a/tests/group/lost.rs"]);
    }

    #[test]
    fn test_modules_do_not_ship() {
        let tree = Tree::of(&[("crates/a/src/lib.rs", "mod x_tests;\n"), ("crates/a/src/x_tests.rs", "")]);
        assert_eq!(files(&tree)[0].line, 1);
    }

    #[test]
    fn tests_are_not_switched_off() {
        let tree = Tree::of(&[("crates/a/Cargo.toml", "[lib]\ntest = false\n")]);
        assert_eq!(files(&tree)[0].line, 2);
    }

    #[test]
    fn skipping_needs_a_word() {
        let text = "#[ignore]\nfn a() {}\n#[ignore = \"needs a disk\"]\nfn b() {}\n\
                    /// ```\n/// x\n/// ```\n/// ```text\n/// y\n/// ```\nfn c() {}\n";
        let lines: Vec<usize> = ignored(&Tree::of(&[("a.rs", text)])).iter().map(|f| f.line).collect();
        assert_eq!(lines, [1, 5]);
    }
}
