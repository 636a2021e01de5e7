//! Judges a change itself: tests deleted, weakened or switched off, linters silenced, definitions of checks changed.
//!
//! Pure functions over the old and new texts of the changed files; knows no git. What a language's tests look like
//! is data (`language.rs`). It errs towards silence where honest work looks the same: a renamed, moved or split test
//! whose assertions are all still there is not flagged. Start at [`judge`].

mod definitions;
pub(crate) mod language;
mod lint;
mod scripts;
pub(crate) mod text;
mod unit;

#[cfg(test)]
mod tests;

use contract::checks::Flag;
use std::collections::{BTreeMap, BTreeSet};
use unit::Unit;

/// Names shown in one flag.
const NAMED: usize = 5;

/// A changed file; a side is `None` when the file is not there. A renamed file is one entry with two paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileChange {
    pub(crate) old_path: Option<String>,
    pub(crate) new_path: Option<String>,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

impl FileChange {
    /// The path to show: the new one, if there is one.
    pub(crate) fn path(&self) -> &str {
        self.new_path.as_deref().or(self.old_path.as_deref()).unwrap_or_default()
    }
}

/// What a person should see before this change lands, where checks run these commands.
pub(crate) fn judge(changes: &[FileChange], commands: &[String]) -> Vec<Flag> {
    let mut flags = Vec::new();
    flags.extend(tests_of(changes));
    flags.extend(lint::silenced(changes));
    flags.extend(definitions::changed(changes));
    flags.extend(scripts::changed(changes, commands));
    flags.sort_by(|a, b| (&a.path, &a.code, &a.what).cmp(&(&b.path, &b.code, &b.what)));
    flags.dedup();
    flags
}

/// Does judging look into a file of this name?
pub(crate) fn wants(path: &str) -> bool {
    language::of(path).is_some() || language::is_test_path(path) || definitions::is_one(path)
}

pub(crate) fn flag(code: &str, path: &str, what: impl Into<String>) -> Flag {
    Flag { code: code.to_owned(), path: path.to_owned(), what: what.into() }
}

/// A test before the change, and where it was.
struct Before<'a> {
    path: &'a str,
    unit: Unit,
}

fn tests_of(changes: &[FileChange]) -> Vec<Flag> {
    let mut old: Vec<Before<'_>> = Vec::new();
    let mut new: BTreeMap<String, Vec<Unit>> = BTreeMap::new();
    let mut flags = Vec::new();
    for change in changes {
        let units = |path: &Option<String>, text: &Option<String>| match (path, text) {
            (Some(path), Some(text)) => unit::find(path, text),
            _ => Vec::new(),
        };
        old.extend(
            units(&change.old_path, &change.old).into_iter().map(|unit| Before { path: change.path(), unit }),
        );
        for unit in units(&change.new_path, &change.new) {
            new.entry(key(change.path(), &unit)).or_default().push(unit);
        }
        flags.extend(unit::modules_dropped(change, changes));
    }
    let mut gone: Vec<Before<'_>> = Vec::new();
    let mut pairs: Vec<(Before<'_>, Unit)> = Vec::new();
    for before in old {
        match take_best(new.get_mut(&key(before.path, &before.unit)), &before.unit) {
            Some(unit) => pairs.push((before, unit)),
            None => gone.push(before),
        }
    }
    // What is left in `new` was not there before: deleted tests may live on in it under other names.
    let mut fresh: Vec<Unit> = new.into_values().flatten().collect();
    let mut spare = spare_assertions(&pairs, &fresh);
    gone.retain(|before| !moved(before, &mut fresh, &mut spare, &mut pairs));
    flags.extend(deleted(changes, &gone));
    flags.extend(pairs.iter().flat_map(|(before, after)| compared(before, after)));
    flags.extend(weakened(&pairs, &mut spare));
    flags
}

/// What makes a test of the old text and one of the new the same: its name, wherever it stands; for what stands
/// outside of tests, its file.
fn key(path: &str, unit: &Unit) -> String {
    if unit.is_test() { unit.name.clone() } else { format!("{} {path}", unit.name) }
}

/// Of several tests of one name, the one most like the old one.
fn take_best(units: Option<&mut Vec<Unit>>, old: &Unit) -> Option<Unit> {
    let units = units?;
    let likeness = |unit: &Unit| (unit.body == old.body, common(&unit.assertions, &old.assertions));
    let best = (0..units.len()).max_by_key(|&at| likeness(&units[at]))?;
    Some(units.swap_remove(best))
}

fn common(a: &[String], b: &[String]) -> usize {
    a.iter().filter(|line| b.contains(line)).count()
}

/// Assertions that are new somewhere: each may stand for one that is gone elsewhere.
fn spare_assertions(pairs: &[(Before<'_>, Unit)], fresh: &[Unit]) -> BTreeMap<String, usize> {
    let mut spare: BTreeMap<String, usize> = BTreeMap::new();
    for line in fresh.iter().flat_map(|unit| &unit.assertions) {
        *spare.entry(line.clone()).or_default() += 1;
    }
    for (before, after) in pairs {
        let mut left = before.unit.assertions.clone();
        for line in &after.assertions {
            match left.iter().position(|old| old == line) {
                Some(at) => drop(left.swap_remove(at)),
                None => *spare.entry(line.clone()).or_default() += 1,
            }
        }
    }
    spare
}

/// Does a test that is gone live on: under another name with the same body, or with all its assertions elsewhere?
fn moved<'a>(
    before: &Before<'a>,
    fresh: &mut Vec<Unit>,
    spare: &mut BTreeMap<String, usize>,
    pairs: &mut Vec<(Before<'a>, Unit)>,
) -> bool {
    if let Some(at) = fresh.iter().position(|unit| unit.body == before.unit.body && !unit.body.is_empty()) {
        let unit = fresh.swap_remove(at);
        unit.assertions.iter().for_each(|line| use_up(spare, line));
        pairs.push((Before { path: before.path, unit: before.unit.clone() }, unit));
        return true;
    }
    let wanted = &before.unit.assertions;
    let there = |line: &String| {
        let needed = wanted.iter().filter(|other| *other == line).count();
        spare.get(line).copied().unwrap_or_default() >= needed
    };
    if wanted.is_empty() || !wanted.iter().all(there) {
        return false;
    }
    wanted.iter().for_each(|line| use_up(spare, line));
    true
}

fn use_up(spare: &mut BTreeMap<String, usize>, line: &str) {
    if let Some(count) = spare.get_mut(line) {
        *count = count.saturating_sub(1);
    }
}

/// One flag per file that lost tests, and one for every deleted file that only the tests used.
fn deleted(changes: &[FileChange], gone: &[Before<'_>]) -> Vec<Flag> {
    let mut by_file: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut flags = Vec::new();
    for before in gone.iter().filter(|before| !before.unit.is_test()) {
        let lost = before.unit.assertions.len();
        flags.push(flag(
            "test-weakened",
            before.path,
            format!("{lost} assertions beside the tests are gone"),
        ));
    }
    for before in gone.iter().filter(|before| before.unit.is_test()) {
        by_file.entry(before.path).or_default().push(&before.unit.name);
    }
    flags.extend(
        by_file
            .iter()
            .map(|(path, names)| flag("test-deleted", path, format!("tests removed: {}", some(names)))),
    );
    let added: BTreeSet<&str> =
        changes.iter().filter(|c| c.old.is_none()).filter_map(|c| c.new.as_deref()).collect();
    for change in changes.iter().filter(|change| change.new_path.is_none()) {
        let path = change.path();
        let held_tests = change.old.as_deref().is_some_and(|old| !unit::find(path, old).is_empty());
        let elsewhere = change.old.as_deref().is_some_and(|old| added.contains(old));
        if language::is_test_path(path) && !held_tests && !elsewhere && !by_file.contains_key(path) {
            flags.push(flag("test-deleted", path, "a file of the tests was deleted"));
        }
    }
    flags
}

/// What happened to a test that is still there.
fn compared(before: &Before<'_>, after: &Unit) -> Vec<Flag> {
    let old = &before.unit;
    let mut flags = Vec::new();
    let name = &after.name;
    for marker in after.skips.iter().filter(|marker| !old.skips.contains(marker)) {
        flags.push(flag("test-ignored", before.path, format!("`{name}` is switched off: {marker}")));
    }
    if after.panics && !old.panics {
        flags.push(flag("test-weakened", before.path, format!("`{name}` now passes when it panics")));
    }
    if after.body.is_empty() && !old.body.is_empty() {
        flags.push(flag("test-weakened", before.path, format!("`{name}` does nothing any more")));
    }
    flags
}

/// Assertions that are gone from tests that are still there, counted per file.
fn weakened(pairs: &[(Before<'_>, Unit)], spare: &mut BTreeMap<String, usize>) -> Vec<Flag> {
    let mut by_file: BTreeMap<&str, (i64, Vec<&str>)> = BTreeMap::new();
    for (before, after) in pairs.iter().filter(|(_, after)| !after.body.is_empty()) {
        let old = &before.unit.assertions;
        let mut lost = old.len() as i64 - after.assertions.len() as i64;
        if lost > 0 {
            // An assertion that only moved to another test is not lost.
            for line in old.iter().filter(|line| !after.assertions.contains(line)) {
                if lost > 0 && spare.get(line).copied().unwrap_or_default() > 0 {
                    use_up(spare, line);
                    lost -= 1;
                }
            }
        }
        if lost > 0 {
            let entry = by_file.entry(before.path).or_default();
            entry.0 += lost;
            entry.1.push(&after.name);
        }
    }
    let flags = by_file.into_iter().map(|(path, (lost, names))| {
        let (s, are) = if lost == 1 { ("", "is") } else { ("s", "are") };
        flag("test-weakened", path, format!("{lost} assertion{s} {are} gone from: {}", some(&names)))
    });
    flags.collect()
}

/// A few names of many, for one line.
pub(crate) fn some(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
