//! Finds silenced linters: words that switch one off, new in the change, and strict words that are gone.
//!
//! Something that only moved between files is not new. Start at [`silenced`].

use super::language::of;
use super::text::split;
use super::{FileChange, flag};
use contract::checks::Flag;
use std::collections::BTreeMap;

/// How often each word with its arguments stands in a text, and one way to show it.
type Words = BTreeMap<String, usize>;

/// Linters silenced by the change.
pub(crate) fn silenced(changes: &[FileChange]) -> Vec<Flag> {
    let mut flags = balance(changes, silencers, |path, word| {
        flag("lint-silenced", path, format!("silences a linter: {word}"))
    });
    // The other way round: losing a strict word is like gaining a silencer.
    let turned: Vec<FileChange> = changes.iter().map(turn).collect();
    flags.extend(balance(&turned, strict, |path, word| {
        flag("lint-silenced", path, format!("a strict setting is gone: {word}"))
    }));
    flags
}

fn turn(change: &FileChange) -> FileChange {
    FileChange {
        old_path: change.new_path.clone(),
        new_path: change.old_path.clone(),
        old: change.new.clone(),
        new: change.old.clone(),
    }
}

/// Flags words that are more often in the new texts than in the old ones, over all files together.
fn balance(
    changes: &[FileChange],
    words: fn(&str, &str) -> Words,
    show: impl Fn(&str, &str) -> Flag,
) -> Vec<Flag> {
    let side = |path: &Option<String>, text: &Option<String>| match (path, text) {
        (Some(path), Some(text)) => words(path, text),
        _ => Words::new(),
    };
    let mut total: BTreeMap<String, i64> = BTreeMap::new();
    let mut grown: Vec<(&str, String, i64)> = Vec::new();
    for change in changes {
        let (old, new) = (side(&change.old_path, &change.old), side(&change.new_path, &change.new));
        for (word, count) in &old {
            *total.entry(word.clone()).or_default() -= *count as i64;
        }
        for (word, count) in new {
            *total.entry(word.clone()).or_default() += count as i64;
            let more = count as i64 - old.get(&word).copied().unwrap_or_default() as i64;
            grown.push((change.path(), word, more));
        }
    }
    let mut flags = Vec::new();
    for (path, word, more) in grown.into_iter().filter(|(_, _, more)| *more > 0) {
        let left = total.entry(word.clone()).or_default();
        if *left > 0 {
            *left -= more;
            flags.push(show(path, &word));
        }
    }
    flags
}

fn silencers(path: &str, text: &str) -> Words {
    let Some(language) = of(path) else { return Words::new() };
    let parts = split(text, language);
    let mut words = collect(&parts.code, text, language.silencers);
    words.extend(collect(&parts.comments, text, language.comment_silencers));
    words
}

fn strict(path: &str, text: &str) -> Words {
    let Some(language) = of(path) else { return Words::new() };
    collect(&split(text, language).code, text, language.strict)
}

/// Each word found in `part`, with the rest of its item or line.
fn collect(part: &str, raw: &str, wanted: &[&str]) -> Words {
    let mut words = Words::new();
    for (line, raw) in part.lines().zip(raw.lines()) {
        for word in wanted {
            for (at, _) in line.match_indices(word) {
                let rest = raw.get(at..).unwrap_or(line);
                let end = rest.find(']').filter(|_| word.starts_with('#')).map_or(rest.len(), |end| end + 1);
                let item: String = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
                *words.entry(item).or_default() += 1;
            }
        }
    }
    words
}
