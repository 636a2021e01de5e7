//! What the compiler cannot see: code for another platform or feature. Its advice about unused
//! things holds for the configuration it compiled, and is left alone where others are in play.
//!
//! Start at [`depends_on_configuration`].

use super::{rename, with_line};
use crate::fixer::diag::{Diag, offset};
use crate::fixer::patch::{Fix, Part, Texts};
use crate::fixer::source;
use std::ops::Range;

/// Could following this advice break a configuration that was not compiled?
pub(crate) fn depends_on_configuration(diag: &Diag, texts: &Texts) -> bool {
    if !diag.code.starts_with("unused_") && diag.code != "dead_code" {
        return false;
    }
    let Some((text, range)) = place(diag, texts) else { return false };
    match diag.code.as_str() {
        "unused_imports" => {
            let statement = statement(text, &range);
            if let Some(module) = glob(&text[statement.clone()]) {
                return module_texts(diag, module, texts).any(conditional);
            }
            conditional(text)
                && names(diag).iter().any(|name| {
                    source::words(text, name, false).iter().any(|at| !statement.contains(&at.start))
                })
        }
        "unused_mut" | "unused_variables" | "unused_assignments" | "dead_code" => {
            rename::block_around(text, range.start).is_some_and(|block| conditional(&text[block]))
        }
        _ => false,
    }
}

/// A glob that brings in nothing here, because all that could come is for another platform, gets
/// the condition of what it would bring in.
pub(super) fn condition_glob(diag: &Diag, texts: &Texts) -> Option<Fix> {
    if diag.code != "unused_imports" {
        return None;
    }
    let (text, range) = place(diag, texts)?;
    let statement = statement(text, &range);
    let module = glob(&text[statement.clone()])?;
    let theirs = module_texts(diag, module, texts).next()?;
    let lines: Vec<&str> = theirs.lines().collect();
    let public = lines.iter().enumerate().filter(|(_, line)| line.starts_with("pub "));
    let mut conditions: Vec<&str> =
        public.map(|(i, _)| i.checked_sub(1).map_or("", |above| lines[above])).collect();
    conditions.dedup();
    let [condition] = conditions[..] else { return None };
    if !(condition.starts_with("#[cfg(") && condition.ends_with(']')) {
        return None;
    }
    let at = with_line(text, statement).start;
    let file = diag.at.as_ref()?.file.clone();
    Fix::new(&diag.code, vec![Part { file, at: (at, at), new: format!("{condition}\n") }], texts)
}

/// Files that have to be read before advice about this finding can be judged.
pub(crate) fn also_needed(diag: &Diag, texts: &Texts) -> Vec<String> {
    if diag.code != "unused_imports" {
        return Vec::new();
    }
    let module = place(diag, texts).and_then(|(text, range)| glob(&text[statement(text, &range)]));
    module.map(|module| module_files(diag, module).to_vec()).unwrap_or_default()
}

fn place<'a>(diag: &Diag, texts: &'a Texts) -> Option<(&'a str, Range<usize>)> {
    let at = diag.at.as_ref()?;
    let text = texts.get(&at.file)?;
    Some((text, offset(text, at.start)?..offset(text, at.end)?))
}

/// The `use` item around a place.
fn statement(text: &str, range: &Range<usize>) -> Range<usize> {
    let start = text[..range.start].rfind([';', '}', '\n']).map_or(0, |i| i + 1);
    let start =
        text[..range.start].rfind("use ").filter(|&at| !text[at..range.start].contains(';')).unwrap_or(start);
    let line = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let end = text[range.start..].find(';').map_or(text.len(), |i| range.start + i + 1);
    line..end
}

/// The module of `use module::*`.
fn glob(statement: &str) -> Option<&str> {
    let path = statement.trim().trim_end_matches(';').strip_suffix("::*")?;
    path.rsplit(|c: char| c == ':' || c.is_whitespace()).next()
}

fn module_files(diag: &Diag, module: &str) -> [String; 2] {
    let file = diag.at.as_ref().map_or("", |at| &at.file);
    let dir = file.rsplit_once('/').map_or(String::new(), |(dir, _)| format!("{dir}/"));
    [format!("{dir}{module}.rs"), format!("{dir}{module}/mod.rs")]
}

fn module_texts<'a>(diag: &Diag, module: &str, texts: &'a Texts) -> impl Iterator<Item = &'a str> {
    module_files(diag, module).into_iter().filter_map(|file| texts.get(&file).map(String::as_str))
}

/// Does this text hold conditions other than the one for tests?
fn conditional(text: &str) -> bool {
    ["#[cfg(", "#![cfg(", "cfg!(", "cfg_if!"]
        .iter()
        .any(|word| text.match_indices(word).any(|(i, _)| !text[i + word.len()..].starts_with("test)")))
}

/// Last segments of the paths in "unused imports: `a::B` and `C`".
fn names(diag: &Diag) -> Vec<&str> {
    let quoted = diag.message.split('`').skip(1).step_by(2);
    quoted.filter_map(|path| path.rsplit([':', ' ']).next()).collect()
}
