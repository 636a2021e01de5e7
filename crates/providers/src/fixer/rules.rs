//! Own answers to frequent findings the compiler has no applicable advice for.
//!
//! Every answer keeps what the code does and is verified by compiling and testing like any other;
//! none silences a lint. Knows diagnostics and texts. Start at [`answer`].

mod bench;
mod manifest;
mod rename;
mod unseen;

use super::diag::{Diag, offset};
use super::patch::{Fix, Part, Texts, whole_lines};
use super::source;
use std::ops::Range;

pub(crate) use manifest::MANIFEST;
pub(crate) use rename::{is_name_shape, old_name};
pub(crate) use unseen::{also_needed, depends_on_configuration};

/// Answers to these findings; at most one for each. `texts` holds the files they point into, and
/// those that mention a name to be changed.
pub(crate) fn answers(diags: &[&Diag], texts: &Texts) -> Vec<Fix> {
    let mut fixes: Vec<Fix> = diags.iter().filter_map(|diag| answer(diag, texts)).collect();
    fixes.extend(manifest::declare(diags, texts));
    fixes.extend(diags.iter().filter_map(|diag| bench::port(diag, texts)));
    fixes.extend(diags.iter().filter_map(|diag| unseen::condition_glob(diag, texts)));

    fixes
}

/// Codes [`answer`] knows something about: finding the place of every other finding would be for nothing.
const ANSWERED: [&str; 12] = [
    "clippy::absurd_extreme_comparisons",
    "clippy::enum_variant_names",
    "clippy::legacy_numeric_constants",
    "clippy::same_item_push",
    "deprecated",
    "non_camel_case_types",
    "non_snake_case",
    "non_upper_case_globals",
    "renamed_and_removed_lints",
    "unused_doc_comments",
    "unused_imports",
    "unused_unsafe",
];

/// The answer to one finding.
fn answer(diag: &Diag, texts: &Texts) -> Option<Fix> {
    if !ANSWERED.contains(&diag.code.as_str()) {
        return None;
    }
    let at = diag.at.as_ref()?;
    let text = texts.get(&at.file)?;
    let range = offset(text, at.start)?..offset(text, at.end)?;
    let found = text.get(range.clone())?;
    if depends_on_configuration(diag, texts) {
        return None;
    }
    let parts = match diag.code.as_str() {
        "deprecated" if diag.message.contains("macro `try`") => try_to_question_mark(text, range)?,
        "deprecated" if diag.message.contains("trait `std::ascii::AsciiExt`") => drop_use(text, range)?,
        "unused_imports" if found.starts_with("#[macro_use]") => {
            vec![(with_line(text, range), String::new())]
        }
        "unused_imports" if diag.advice.is_empty() => drop_use(text, range)?,
        "unused_doc_comments" => vec![plain_comment(found, range)?],
        "clippy::legacy_numeric_constants" if diag.message.starts_with("importing") => drop_use(text, range)?,
        "clippy::absurd_extreme_comparisons" => vec![(range, consider_using(diag)?)],
        "unused_unsafe" => vec![without_unsafe(text, range)?],
        "renamed_and_removed_lints" if diag.message.contains("has been removed") => {
            vec![removed_lint(text, range)?]
        }
        "clippy::same_item_push" => vec![pushed_in_a_loop(text, range.start)?],
        _ => return rename::answer(diag, found, range, texts),
    };
    let part = |(range, new): (Range<usize>, String)| Part {
        file: at.file.clone(),
        at: (range.start, range.end),
        new,
    };
    Fix::new(&diag.code, parts.into_iter().map(part).collect(), texts)
}

type Replacement = (Range<usize>, String);

/// `try!(e)` to `e?`, as two replacements around `e` so that nested ones go together.
fn try_to_question_mark(text: &str, word: Range<usize>) -> Option<Vec<Replacement>> {
    let open = word.end + 1;
    if &text[word.clone()] != "try" || !text[word.end..].starts_with("!(") {
        return None;
    }
    let close = source::closing(text, open)?;
    let inner = &text[open + 1..close];
    let body = inner.trim();
    if body.ends_with(',') || body.is_empty() {
        return None;
    }
    let start = open + 1 + (inner.len() - inner.trim_start().len());
    let end = start + body.len();
    let (before, after) = if source::takes_question_mark(body) { ("", "?") } else { ("(", ")?") };
    // `e` may begin with another `try!`: keep the two starts apart by ending ours at the bracket.
    let head = if body.starts_with("try!") { word.start..open + 1 } else { word.start..start };
    let tail = if body.ends_with(')') && body.contains("try!") { close..close + 1 } else { end..close + 1 };
    Some(vec![(head, before.into()), (tail, after.into())])
}

/// The range, or its whole line when nothing else stands there.
pub(crate) fn with_line(text: &str, range: Range<usize>) -> Range<usize> {
    let lines = whole_lines(text, range.clone());
    let alone =
        text[lines.start..range.start].trim().is_empty() && text[range.end..lines.end].trim().is_empty();
    if alone { lines } else { range }
}

/// Takes one name out of a `use`, or the whole item when it imports nothing else, with the
/// attributes that were only about it.
fn drop_use(text: &str, name: Range<usize>) -> Option<Vec<Replacement>> {
    let start = ["use ", "pub use "].iter().filter_map(|word| text[..name.end].rfind(word)).min()?;
    let end = name.start + text[name.start..].find(';')? + 1;
    let item = text[start..end].trim_start_matches("pub ");
    if text[start..name.start].contains(';') || text[start..end].starts_with("pub ") {
        return None;
    }
    match item.find('{') {
        None => {
            let lines = with_line(text, start..end);
            Some(vec![(attributes_above(text, lines.start)..lines.end, String::new())])
        }
        Some(_) if item.matches('{').count() == 1 => {
            // `a, name, b`: the name goes with the comma after it, the last one with the comma before it.
            let after = &text[name.end..end];
            let rest = after.trim_start();
            if let Some(more) = rest.strip_prefix(',') {
                let gap = after.len() - more.trim_start().len();
                return Some(vec![(name.start..name.end + gap, String::new())]);
            }
            let before = text[..name.start].trim_end();
            (rest.starts_with('}') && before.ends_with(','))
                .then(|| vec![(before.len() - 1..name.end, String::new())])
        }
        Some(_) => None,
    }
}

/// Start of the lines of `#[allow(...)]` right above a line: an attribute must not slip to the next item.
fn attributes_above(text: &str, mut start: usize) -> usize {
    while let Some(line) = text[..start].split_inclusive('\n').next_back() {
        let bare = line.trim();
        if !(bare.starts_with("#[allow(") && bare.ends_with(']')) {
            break;
        }
        start -= line.len();
    }
    start
}

/// A documentation comment where nothing can be documented, as a plain one.
fn plain_comment(found: &str, range: Range<usize>) -> Option<Replacement> {
    let all = found.lines().all(|line| line.trim_start().starts_with("///"));
    all.then(|| (range, found.replace("///", "//")))
}

/// `unsafe { e }` where nothing in it is: `e`, or the bare block when more than one expression is in it.
fn without_unsafe(text: &str, word: Range<usize>) -> Option<Replacement> {
    let gap = text[word.end..].find('{')?;
    if &text[word.clone()] != "unsafe" || !text[word.end..word.end + gap].trim().is_empty() {
        return None;
    }
    let open = word.end + gap;
    let close = source::closing(text, open)?;
    let inner = text[open + 1..close].trim();
    Some(match source::takes_question_mark(inner) && !inner.is_empty() {
        true => (word.start..close + 1, inner.to_owned()),
        false => (word.start..open, String::new()),
    })
}

/// `#[allow(x)]` of a lint that no longer exists says nothing any more.
fn removed_lint(text: &str, name: Range<usize>) -> Option<Replacement> {
    let start = text[..name.start].rfind('#')?;
    let end = name.end + text[name.end..].find(']')? + 1;
    let attribute = &text[start..end];
    let alone = ["#[allow(", "#![allow("].iter().any(|head| text[..name.start].ends_with(head));
    (alone && attribute.ends_with(")]") && !attribute.contains(','))
        .then(|| (with_line(text, start..end), String::new()))
}

/// "consider using `a == b` instead"
fn consider_using(diag: &Diag) -> Option<String> {
    let said = diag.words.iter().find_map(|word| word.split_once("consider using `"))?.1;
    let (code, rest) = said.split_once('`')?;
    rest.starts_with(" instead").then(|| code.to_owned())
}

/// `for _ in 0..n { v.push(x); }` says `vec![x; n]`, or a `resize` when the vector was not just made.
fn pushed_in_a_loop(text: &str, push: usize) -> Option<Replacement> {
    let (name, _) = text[push..].split_once(".push(")?;
    let open = push + name.len() + ".push".len();
    let close = source::closing(text, open)?;
    let item = &text[open + 1..close];
    if name.contains(char::is_whitespace) {
        return None;
    }
    let before = text[..push].trim_end().strip_suffix('{')?.trim_end();
    let header = before.rfind("for _ in 0..").filter(|&at| !before[at..].contains(['{', '}', ';', '=']))?;
    let count = before[header + "for _ in 0..".len()..].trim();
    let after = text[close + 1..].trim_start().strip_prefix(';')?.trim_start();
    let end = text.len() - after.strip_prefix('}')?.len();
    let above = text[..header].trim_end();
    for made in
        [format!("let mut {name} = Vec::with_capacity({count});"), format!("let mut {name} = Vec::new();")]
    {
        if let Some(head) = above.strip_suffix(made.as_str()) {
            return Some((head.len()..end, format!("let mut {name} = vec![{item}; {count}];")));
        }
    }
    let plain = count.chars().all(|c| c.is_alphanumeric() || "_.()".contains(c));
    plain.then(|| (header..end, format!("{name}.resize({name}.len() + {count}, {item});")))
}

#[cfg(test)]
mod tests;
