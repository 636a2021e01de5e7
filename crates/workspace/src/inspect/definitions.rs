//! Finds changed definitions of checks: CI files, linter and test-runner configuration, and the parts of shared
//! files (`Cargo.toml`, `package.json`, `pyproject.toml`, `Makefile` ...) that say what is checked and how.
//!
//! To know another file, add a line to [`FILES`]. Start at [`changed`].

use super::{FileChange, flag};
use contract::checks::Flag;
use serde_json::Value;
use std::collections::BTreeMap;

/// When a whole file defines checks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// A new one can weaken as well as a changed one.
    Any,
    /// A new one adds checks; only changing or deleting one is of interest.
    Existing,
}

/// Files that define checks as a whole: by name, by ending of the path, or (with a final slash) by directory.
const FILES: &[(&str, When)] = &[
    (".kapell/config.toml", When::Any),
    (".github/workflows/", When::Existing),
    (".gitlab-ci.yml", When::Existing),
    (".circleci/", When::Existing),
    (".buildkite/", When::Existing),
    (".travis.yml", When::Existing),
    ("azure-pipelines.yml", When::Existing),
    ("Jenkinsfile", When::Existing),
    (".pre-commit-config.yaml", When::Existing),
    ("justfile", When::Existing),
    ("noxfile.py", When::Existing),
    ("clippy.toml", When::Any),
    (".clippy.toml", When::Any),
    ("rustfmt.toml", When::Any),
    (".rustfmt.toml", When::Any),
    (".cargo/config.toml", When::Any),
    (".config/nextest.toml", When::Any),
    ("rust-toolchain.toml", When::Any),
    ("rust-toolchain", When::Any),
    (".eslintrc", When::Any),
    (".eslintrc.json", When::Any),
    (".eslintrc.js", When::Any),
    (".eslintrc.cjs", When::Any),
    (".eslintrc.yml", When::Any),
    (".eslintignore", When::Any),
    ("eslint.config.js", When::Any),
    ("eslint.config.mjs", When::Any),
    ("eslint.config.ts", When::Any),
    ("biome.json", When::Any),
    ("jest.config.js", When::Any),
    ("jest.config.ts", When::Any),
    ("vitest.config.ts", When::Any),
    ("vitest.config.js", When::Any),
    ("playwright.config.ts", When::Any),
    (".mocharc.json", When::Any),
    (".mocharc.yml", When::Any),
    (".prettierignore", When::Any),
    ("tsconfig.json", When::Existing),
    ("pytest.ini", When::Any),
    ("tox.ini", When::Any),
    (".flake8", When::Any),
    ("ruff.toml", When::Any),
    (".ruff.toml", When::Any),
    ("mypy.ini", When::Any),
    (".pylintrc", When::Any),
    (".golangci.yml", When::Any),
    (".golangci.yaml", When::Any),
    (".rubocop.yml", When::Any),
    ("codecov.yml", When::Existing),
];

/// Makefile targets and package scripts that check something.
const TARGETS: [&str; 11] =
    ["test", "tests", "check", "lint", "ci", "fmt", "format", "clippy", "build", "typecheck", "verify"];
/// Keys of `package.json` that configure checkers.
const PACKAGE_KEYS: [&str; 8] =
    ["jest", "eslintConfig", "eslintIgnore", "mocha", "ava", "nyc", "c8", "vitest"];
/// Tables below `tool` in `pyproject.toml` that configure checkers.
const TOOLS: [&str; 9] =
    ["pytest", "ruff", "mypy", "coverage", "pylint", "pyright", "flake8", "black", "tox"];
/// Sections of `setup.cfg` that configure checkers.
const SECTIONS: [&str; 6] = ["tool:pytest", "flake8", "mypy", "coverage", "pylint", "tox"];

/// Definitions of checks that the change touches.
pub(crate) fn changed(changes: &[FileChange]) -> Vec<Flag> {
    changes.iter().flat_map(|change| whole(change).into_iter().chain(parts(change))).collect()
}

/// Files only part of which defines checks.
const SHARED: [&str; 8] = [
    "Cargo.toml",
    "package.json",
    "pyproject.toml",
    "setup.cfg",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "conftest.py",
];

/// Could a file of this name define checks?
pub(crate) fn is_one(path: &str) -> bool {
    whole_file(path).is_some() || SHARED.contains(&path.rsplit('/').next().unwrap_or(path))
}

fn whole_file(path: &str) -> Option<When> {
    let fits = |name: &str| match name.strip_suffix('/') {
        Some(_) => path.starts_with(name) || path.contains(&format!("/{name}")),
        None => path == name || path.ends_with(&format!("/{name}")),
    };
    FILES.iter().find(|(name, _)| fits(name)).map(|(_, when)| *when)
}

fn whole(change: &FileChange) -> Option<Flag> {
    let path = change.old_path.as_deref().or(change.new_path.as_deref())?;
    let when = whole_file(path)?;
    let verb = match (&change.old_path, &change.new_path) {
        (None, _) if when == When::Existing => return None,
        (None, _) => "is new",
        (_, None) => "was deleted",
        // Moved as it is: CI may no longer find it there.
        (Some(old), Some(new)) if old != new => "was moved",
        _ if change.old == change.new => return None,
        _ => "changed",
    };
    Some(flag("check-changed", path, format!("a file that says what is checked and how {verb}")))
}

fn parts(change: &FileChange) -> Vec<Flag> {
    let path = change.path();
    let name = path.rsplit('/').next().unwrap_or(path);
    let text = |side: &Option<String>| side.clone().unwrap_or_default();
    let (old, new) = (text(&change.old), text(&change.new));
    let existed = change.old.is_some();
    let found: Vec<String> = match name {
        "Cargo.toml" => cargo(&old, &new),
        "package.json" if existed => package(&old, &new),
        "pyproject.toml" if existed => python(&old, &new),
        "setup.cfg" if existed => differing(
            &sections(&old),
            &sections(&new),
            |name| SECTIONS.iter().any(|s| name.starts_with(s)),
            "section",
        ),
        "Makefile" | "makefile" | "GNUmakefile" if existed => {
            differing(&targets(&old), &targets(&new), |name| TARGETS.contains(&name), "target")
        }
        "conftest.py" => conftest(&old, &new),
        _ => Vec::new(),
    };
    found
        .into_iter()
        .map(|what| {
            flag(if what.starts_with("lint") { "lint-silenced" } else { "check-changed" }, path, what)
        })
        .collect()
}

fn cargo(old: &str, new: &str) -> Vec<String> {
    let parse = |text: &str| text.parse::<toml::Table>().unwrap_or_default();
    let (old, new) = (parse(old), parse(new));
    let mut found = Vec::new();
    let at = |table: &toml::Table, path: &[&str]| -> Option<toml::Value> {
        let mut value = toml::Value::Table(table.clone());
        for key in path {
            value = value.get(key)?.clone();
        }
        Some(value)
    };
    for place in [&["lints"] as &[&str], &["workspace", "lints"]] {
        let (before, after) = (levels(at(&old, place)), levels(at(&new, place)));
        for (lint, level) in &before {
            let now = after.get(lint).copied();
            if now.is_none_or(|now| now < *level) {
                found.push(format!("lint `{lint}` is less strict than before"));
            }
        }
        let silenced = after.iter().filter(|(lint, level)| **level == 0 && !before.contains_key(*lint));
        found.extend(silenced.map(|(lint, _)| format!("lint `{lint}` is allowed now")));
    }
    for (path, what) in [
        (&["package", "autotests"] as &[&str], "`autotests` switches tests off"),
        (&["lib", "test"], "`test = false` switches the library's tests off"),
        (&["lib", "doctest"], "`doctest = false` switches documentation tests off"),
        (&["lib", "harness"], "`harness = false` replaces the test harness"),
    ] {
        let off = |table: &toml::Table| at(table, path) == Some(toml::Value::Boolean(false));
        if off(&new) && !off(&old) {
            found.push(what.to_owned());
        }
    }
    found.extend(cargo_targets(&old, &new));
    found
}

/// `[[test]]` and `[[bin]]` entries: gone, or switched off.
fn cargo_targets(old: &toml::Table, new: &toml::Table) -> Vec<String> {
    let list = |table: &toml::Table, kind: &str| -> BTreeMap<String, toml::Value> {
        let entries = table.get(kind).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let named =
            entries.into_iter().filter_map(|entry| Some((entry.get("name")?.as_str()?.to_owned(), entry)));
        named.collect()
    };
    let mut found = Vec::new();
    for kind in ["test", "bin", "example", "bench"] {
        let (before, after) = (list(old, kind), list(new, kind));
        for (name, entry) in &after {
            let off = |entry: &toml::Value, key: &str| entry.get(key) == Some(&toml::Value::Boolean(false));
            let was = |key: &str| before.get(name).is_some_and(|entry| off(entry, key));
            if ["test", "harness"].iter().any(|key| off(entry, key) && !was(key)) {
                found.push(format!("the tests of `{name}` are switched off"));
            }
        }
        if kind == "test" {
            let gone = before.keys().filter(|name| !after.contains_key(*name));
            found.extend(gone.map(|name| format!("the test target `{name}` is gone")));
        }
    }
    found
}

/// Lint levels of a `[lints]` table: `clippy::name` to 0 (allow) .. 3 (forbid).
fn levels(lints: Option<toml::Value>) -> BTreeMap<String, u8> {
    let mut levels = BTreeMap::new();
    for (tool, table) in lints.as_ref().and_then(toml::Value::as_table).into_iter().flatten() {
        for (lint, value) in table.as_table().into_iter().flatten() {
            let level = value.as_str().or_else(|| value.get("level")?.as_str()).unwrap_or_default();
            let rank = ["allow", "warn", "deny", "forbid"].iter().position(|name| *name == level);
            if let Some(rank) = rank.and_then(|rank| u8::try_from(rank).ok()) {
                levels.insert(format!("{tool}::{lint}"), rank);
            }
        }
    }
    levels
}

fn package(old: &str, new: &str) -> Vec<String> {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (old, new) = (parse(old), parse(new));
    let mut found = Vec::new();
    for (name, script) in old["scripts"].as_object().into_iter().flatten() {
        let word = name.split([':', '-']).next().unwrap_or(name);
        let checks = TARGETS.contains(&word) || word == "pretest" || word == "posttest";
        if checks && new["scripts"].get(name) != Some(script) {
            found.push(format!("the script `{name}` is not what it was"));
        }
    }
    let keys = PACKAGE_KEYS.iter().filter(|key| old[**key] != new[**key]);
    found.extend(keys.map(|key| format!("the settings `{key}` are not what they were")));
    found
}

fn python(old: &str, new: &str) -> Vec<String> {
    let tools = |text: &str| {
        let table = text.parse::<toml::Table>().unwrap_or_default();
        table.get("tool").and_then(toml::Value::as_table).cloned().unwrap_or_default()
    };
    let (old, new) = (tools(old), tools(new));
    let differ = TOOLS.iter().filter(|tool| old.get(**tool) != new.get(**tool));
    differ.map(|tool| format!("the settings `tool.{tool}` are not what they were")).collect()
}

/// A `conftest.py` can leave tests out without touching one.
fn conftest(old: &str, new: &str) -> Vec<String> {
    let words = ["collect_ignore", "pytest_collection_modifyitems", "pytest_ignore_collect", "deselect"];
    let added = words.iter().filter(|word| new.matches(**word).count() > old.matches(**word).count());
    added.map(|word| format!("`{word}` can leave tests out")).collect()
}

/// Blocks that are gone or differ, among those of interest.
fn differing(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    wanted: impl Fn(&str) -> bool,
    kind: &str,
) -> Vec<String> {
    let differ = old.iter().filter(|(name, text)| wanted(name) && new.get(*name) != Some(text));
    differ.map(|(name, _)| format!("the {kind} `{name}` is not what it was")).collect()
}

/// Rules of a makefile: target to prerequisites and recipe.
fn targets(text: &str) -> BTreeMap<String, String> {
    let mut rules: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with('\t') {
            for name in &current {
                rules.entry(name.clone()).or_default().push_str(&format!("\n{}", line.trim()));
            }
        } else if let Some((names, rest)) = line.split_once(':').filter(|(names, rest)| {
            !names.starts_with(['#', '.']) && !names.contains('=') && !rest.starts_with('=')
        }) {
            current = names.split_whitespace().map(str::to_owned).collect();
            for name in &current {
                rules.entry(name.clone()).or_default().push_str(rest.trim());
            }
        }
    }
    rules
}

/// Sections of an INI file.
fn sections(text: &str) -> BTreeMap<String, String> {
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => current = name.to_owned(),
            None => sections.entry(current.clone()).or_default().push_str(&format!("{line}\n")),
        }
    }
    sections
}
