//! One version of each crate in Cargo.lock, and one place they come from.
//!
//! Knows the lock file only. Start at [`DOUBLES`]: doubles nobody here can avoid, each with its reason.

use super::Finding;
use super::tree::Tree;
use std::collections::BTreeMap;

/// Crates that are there more than once, and why that cannot be helped.
const DOUBLES: &[(&str, &str)] = &[
    ("syn", "derive macros move from 2 to 3 one by one; build time only, nothing of it is shipped"),
    ("getrandom", "stateright's rand is one behind; dev only, nothing of it is shipped"),
    ("hashbrown", "stateright's dashmap is behind; dev only, nothing of it is shipped"),
    ("r-efi", "stateright's getrandom is one behind; dev only, nothing of it is shipped"),
    ("rand", "stateright is one behind; dev only, nothing of it is shipped"),
    ("rand_core", "stateright's rand is one behind; dev only, nothing of it is shipped"),
    ("windows-sys", "ring asks for an older one; of Windows only, nothing of it is built here"),
    ("similar", "insta still asks for 2; tests only, nothing of it is shipped"),
];

const LOCK: &str = "Cargo.lock";

/// Doubles without a reason, reasons without a double, and foreign sources.
pub(super) fn duplicates(tree: &Tree) -> Vec<Finding> {
    let Some(lock) = tree.file(LOCK) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    let mut name = "";
    for (at, line) in lock.text.lines().enumerate() {
        let value = |key: &str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
        if let Some(value) = value("name") {
            name = value;
        } else if let Some(version) = value("version") {
            versions.entry(name).or_default().push((at + 1, version));
        } else if let Some(source) = value("source")
            && source != "registry+https://github.com/rust-lang/crates.io-index"
        {
            findings.push(Finding::new(
                LOCK,
                at + 1,
                "version",
                format!("`{name}` must come from the public registry"),
            ));
        }
    }
    for (name, list) in versions.iter().filter(|(_, list)| list.len() > 1) {
        if !DOUBLES.iter().any(|(double, _)| double == name) {
            let all: Vec<&str> = list.iter().map(|(_, version)| *version).collect();
            let advice = format!(
                "`{name}` is there as {}: align them (`cargo tree -i {name}@{}` says who asks), \
                 or give the reason in DOUBLES in xtask/src/tidy/versions.rs",
                all.join(" and "),
                all[0]
            );
            findings.push(Finding::new(LOCK, list[0].0, "version", advice));
        }
    }
    for (name, _) in DOUBLES.iter().filter(|(name, _)| versions.get(name).is_none_or(|list| list.len() < 2)) {
        let advice =
            format!("`{name}` is there once only: remove it from DOUBLES in xtask/src/tidy/versions.rs");
        findings.push(Finding::new(LOCK, 0, "version", advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a lock file of these packages and all known doubles.
    fn lock(packages: &[(&str, &str)]) -> Vec<String> {
        let known = DOUBLES.iter().flat_map(|(name, _)| [(*name, "2.0.0"), (*name, "3.0.0")]);
        let text: String = known
            .chain(packages.iter().copied())
            .map(|(name, version)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n"))
            .collect();
        duplicates(&Tree::of(&[(LOCK, &text)])).into_iter().map(|f| f.advice).collect()
    }

    #[test]
    fn doubles_need_a_reason() {
        assert!(lock(&[("serde", "1.0.0")]).is_empty());
        let found = lock(&[("base64", "0.22.0"), ("base64", "0.23.0")]);
        assert!(found.len() == 1 && found[0].contains("0.22.0 and 0.23.0"), "{found:?}");
    }

    #[test]
    fn reasons_need_a_double() {
        let found = duplicates(&Tree::of(&[(LOCK, "name = \"syn\"\nversion = \"3.0.0\"\n")]));
        assert!(found.len() == DOUBLES.len() && found[0].advice.contains("once only"), "{found:?}");
    }

    #[test]
    fn foreign_sources_are_named() {
        let text = "name = \"a\"\nversion = \"1\"\nsource = \"git+https://example.org/a\"\n";
        let found = duplicates(&Tree::of(&[(LOCK, text)]));
        assert!(found.iter().any(|f| f.line == 3 && f.advice.contains("public registry")));
    }
}
