//! Conditions the compiler does not know, declared in `Cargo.toml` as the compiler itself advises.
//!
//! A declared name stays checked: the lint keeps its level. Start at [`declare`].

use crate::fixer::diag::Diag;
use crate::fixer::patch::{Fix, Part, Texts};
use std::collections::BTreeSet;

/// The file.
pub(crate) const MANIFEST: &str = "Cargo.toml";

/// One change of `Cargo.toml` for all undeclared features and conditions among these findings.
pub(super) fn declare(diags: &[&Diag], texts: &Texts) -> Option<Fix> {
    let mut features = BTreeSet::new();
    let mut conditions = BTreeSet::new();
    for diag in diags.iter().filter(|diag| diag.code == "unexpected_cfgs") {
        for word in &diag.words {
            if let Some(name) = between(word, "consider adding `", "` as a feature in `Cargo.toml`") {
                features.insert(name.to_owned());
            }
            if let Some(list) = between(word, "check-cfg = [", "]") {
                conditions.insert(list.to_owned());
            }
        }
    }
    // Clippy's own condition: the linter has applicable advice for that one.
    features.remove("cargo-clippy");
    let text = texts.get(MANIFEST)?;
    if (features.is_empty() && conditions.is_empty()) || text.contains("unexpected_cfgs") {
        return None;
    }
    let mut new = text.clone();
    if !features.is_empty() {
        let lines: String = features.iter().map(|name| format!("{name} = []\n")).collect();
        add(&mut new, "[features]", &lines);
    }
    if !conditions.is_empty() {
        let list = conditions.into_iter().collect::<Vec<_>>().join(", ");
        let line = format!("unexpected_cfgs = {{ level = \"warn\", check-cfg = [{list}] }}\n");
        add(&mut new, "[lints.rust]", &line);
    }
    Fix::new("unexpected_cfgs", vec![whole(text, new)], texts)
}

/// A whole file replaced.
pub(super) fn whole(text: &str, new: String) -> Part {
    Part { file: MANIFEST.into(), at: (0, text.len()), new }
}

/// Puts lines at the head of a table, which is appended when it is not there.
pub(super) fn add(manifest: &mut String, table: &str, lines: &str) {
    let header = format!("{table}\n");
    match manifest.find(&header).filter(|&at| at == 0 || manifest[..at].ends_with('\n')) {
        Some(at) => manifest.insert_str(at + header.len(), lines),
        None => {
            let gap = if manifest.ends_with('\n') { "\n" } else { "\n\n" };
            manifest.push_str(&format!("{gap}{header}{lines}"));
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}
