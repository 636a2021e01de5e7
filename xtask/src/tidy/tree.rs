//! What the rules look at: every file git would keep, and the packages cargo sees.
//!
//! Knows no rule. Start at [`Tree::load`]; tests build one from literals with [`Tree::of`].

use super::reachable::modules;
use super::source::Source;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The repository, in memory.
#[derive(Default)]
pub(super) struct Tree {
    pub files: Vec<File>,
    pub packages: Vec<Package>,
    /// Every directory that holds a file, for links.
    pub dirs: BTreeSet<String>,
}

/// One file.
pub(super) struct File {
    /// From the top of the repository, with `/`.
    pub path: String,
    /// Empty when the file is not text.
    pub text: String,
    /// Rust files only.
    pub rust: Option<Source>,
    pub allows: Vec<Allow>,
}

/// An exception somebody wrote down.
pub(super) struct Allow {
    pub line: usize,
    /// The line it is about: its own, or the next one that is not a comment.
    pub covers: usize,
    pub rule: String,
    pub reason: String,
}

/// A workspace member.
pub(super) struct Package {
    pub name: String,
    /// Its manifest, from the top of the repository.
    pub manifest: String,
    pub dependencies: Vec<Dependency>,
}

/// A line of `[dependencies]` or its siblings.
pub(super) struct Dependency {
    pub name: String,
    /// A member of this workspace.
    pub internal: bool,
    pub dev: bool,
}

impl Tree {
    /// Reads the working tree: tracked files and new ones that are not ignored.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("git could not be started: install git")?;
        ensure!(
            listed.status.success(),
            "git ls-files failed: {}",
            String::from_utf8_lossy(&listed.stderr).trim()
        );
        let mut tree = Self { packages: packages(root)?, ..Self::default() };
        for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|path| !path.is_empty()) {
            // A file that is deleted but still in git's index is simply not there.
            if let Ok(bytes) = std::fs::read(root.join(path)) {
                tree.add(path, String::from_utf8(bytes).unwrap_or_default());
            }
        }
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        tree.mark_tests();
        Ok(tree)
    }

    /// The file of this path.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Is there a file or directory of this path?
    pub(super) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path.is_empty() || self.dirs.contains(path) || self.file(path).is_some()
    }

    /// Files written in Rust.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }

    /// Files whose name ends so.
    pub(super) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.ends_with(end))
    }

    /// A file that is declared only in tests is test code, whatever its name.
    fn mark_tests(&mut self) {
        let mut found: Vec<String> = Vec::new();
        for (file, source) in self.rust() {
            found.extend(modules(file, source).into_iter().filter(|m| m.gated).flat_map(|m| m.candidates));
        }
        while let Some(path) = found.pop() {
            let Some(at) = self.files.iter().position(|file| file.path == path) else { continue };
            if let Some(source) = self.files[at].rust.as_mut().filter(|source| !source.test_file) {
                source.be_test();
                let file = &self.files[at];
                let inner = file.rust.iter().flat_map(|source| modules(file, source));
                found.extend(inner.flat_map(|m| m.candidates));
            }
        }
    }

    fn add(&mut self, path: &str, text: String) {
        let parents = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
        self.dirs.extend(parents);
        let rust = path.ends_with(".rs").then(|| Source::parse(path, &text));
        let allows = allows(&text, rust.as_ref());
        self.files.push(File { path: path.to_owned(), text, rust, allows });
    }
}

/// Recorded input and data of tests: nobody's prose, nobody's code.
pub(super) fn is_data(path: &str) -> bool {
    ["/golden/v", "/fixtures/", "/data/", "/snapshots/", "fuzz/corpus/"]
        .iter()
        .any(|part| path.contains(part))
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    let output = crate::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cargo metadata could not be started")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let json: Value = serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")?;
    let list = json["packages"].as_array().context("cargo metadata lists no packages")?;
    let root = json["workspace_root"].as_str().unwrap_or_default();
    Ok(list.iter().map(|package| read_package(package, root)).collect())
}

fn read_package(package: &Value, root: &str) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = text(&package["manifest_path"]);
    let dependencies =
        package["dependencies"].as_array().into_iter().flatten().map(|dependency| Dependency {
            name: text(&dependency["name"]),
            internal: dependency["source"].is_null(),
            dev: dependency["kind"] == "dev",
        });
    Package {
        name: text(&package["name"]),
        manifest: manifest.trim_start_matches(root).trim_start_matches('/').to_owned(),
        dependencies: dependencies.collect(),
    }
}

fn allows(text: &str, rust: Option<&Source>) -> Vec<Allow> {
    const MARK: &str = "tidy: allow(";
    if !text.contains(MARK) {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let is_comment = |at: usize| match rust {
        Some(source) => source.code.get(at).is_some_and(|line| line.trim().is_empty()),
        None => lines[at].trim_start().starts_with(['#', '<']),
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let line = rust.map_or(*line, |source| source.comments[at].trim());
        // Documentation explains the convention; it does not use it.
        let uses = match rust {
            Some(_) => !line.starts_with("//!") && !line.starts_with("///"),
            None => line.contains("<!-- tidy:") || line.contains("# tidy:"),
        };
        if !uses {
            continue;
        }
        let Some((rule, reason)) = line.split_once(MARK).and_then(|(_, rest)| rest.split_once(')')) else {
            continue;
        };
        let covers = (at..lines.len()).find(|&next| !is_comment(next)).unwrap_or(at);
        let reason = reason.trim_start_matches(':').trim_end_matches("-->").trim();
        found.push(Allow { line: at + 1, covers: covers + 1, rule: rule.into(), reason: reason.into() });
    }
    found
}

#[cfg(test)]
impl Tree {
    /// A tree of literals.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        files.iter().for_each(|(path, text)| tree.add(path, (*text).to_owned()));
        tree.mark_tests();
        tree
    }

    /// Adds a package by its dependencies: `kernel`, `+serde` (external), `~journal` (dev).
    pub(super) fn with_package(mut self, name: &str, dependencies: &[&str]) -> Self {
        let dependencies = dependencies.iter().map(|text| Dependency {
            name: text.trim_start_matches(['~', '+']).to_owned(),
            internal: !text.contains('+'),
            dev: text.starts_with('~'),
        });
        let manifest = format!("crates/{name}/Cargo.toml");
        let dependencies = dependencies.collect();
        self.packages.push(Package { name: name.to_owned(), manifest, dependencies });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_files_exist() {
        let tree = Tree::of(&[("a/b/c.md", "x")]);
        for path in ["a", "a/b", "a/b/", "a/b/c.md", ""] {
            assert!(tree.exists(path), "{path}");
        }
        assert!(!tree.exists("a/c"));
    }

    #[test]
    fn files_declared_in_tests_are_tests() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "#[cfg(test)]\nmod fake;\nmod real;\n"),
            ("crates/a/src/fake.rs", "mod deep;\n"),
            ("crates/a/src/fake/deep.rs", "fn a() {}\n"),
            ("crates/a/src/real.rs", "fn a() {}\n"),
        ]);
        let tests: Vec<&str> =
            tree.rust().filter(|(_, source)| source.test_file).map(|(file, _)| file.path.as_str()).collect();
        assert_eq!(tests, ["crates/a/src/fake.rs", "crates/a/src/fake/deep.rs"]);
    }

    #[test]
    fn metadata_is_read() {
        let json = serde_json::json!({
            "name": "kernel", "manifest_path": "/r/crates/kernel/Cargo.toml",
            "dependencies": [
                {"name": "contract", "source": null, "kind": null},
                {"name": "serde", "source": "registry", "kind": null},
                {"name": "proptest", "source": "registry", "kind": "dev"},
            ],
        });
        let package = read_package(&json, "/r");
        assert_eq!(package.manifest, "crates/kernel/Cargo.toml");
        let dependencies: Vec<_> =
            package.dependencies.iter().map(|d| (d.name.as_str(), d.internal, d.dev)).collect();
        assert_eq!(
            dependencies,
            [("contract", true, false), ("serde", false, false), ("proptest", false, true)]
        );
    }

    #[test]
    fn an_allowance_above_covers_the_next_line_of_code() {
        let tree = Tree::of(&[("a.rs", "// tidy: allow(spawn): one\n// more of it\nfn a() {}\n")]);
        let allow = &tree.files[0].allows[0];
        assert_eq!((allow.line, allow.covers, allow.reason.as_str()), (1, 3, "one"));
    }
}
