//! Names the compiler or linter objects to, changed wherever the crate says them.
//!
//! A name other crates can reach is left alone: changing it is a decision. Start at [`answer`].

use crate::fixer::diag::{Diag, offset};
use crate::fixer::patch::{Fix, Part, Texts};
use crate::fixer::source;
use std::ops::Range;

/// Lints about a name's shape; they come for reachable names too.
const SHAPES: [&str; 3] = ["non_camel_case_types", "non_snake_case", "non_upper_case_globals"];
/// A lint about a variant's name; it leaves out what other crates can reach.
const VARIANT: &str = "clippy::enum_variant_names";

/// Is this about how a name is written? The compiler's advice changes only where it is declared.
pub(crate) fn is_name_shape(diag: &Diag) -> bool {
    SHAPES.contains(&diag.code.as_str())
}

/// The name this finding would change, so that the files that say it can be read first.
pub(crate) fn old_name<'a>(diag: &Diag, texts: &'a Texts) -> Option<&'a str> {
    let variant = diag.code == VARIANT && diag.message.starts_with("variant name ");
    if !variant && !is_name_shape(diag) {
        return None;
    }
    let at = diag.at.as_ref()?;
    let text = texts.get(&at.file)?;
    identifier(text.get(offset(text, at.start)?..offset(text, at.end)?)?)
}

/// The name changed in every file that says it.
pub(super) fn answer(diag: &Diag, found: &str, range: Range<usize>, texts: &Texts) -> Option<Fix> {
    let at = diag.at.as_ref()?;
    let old = identifier(found)?;
    let new = if diag.code == VARIANT {
        shorter(&diag.message, old, &texts[&at.file][..range.start])?
    } else if is_name_shape(diag) && !reachable(&at.file, range.start, texts) {
        diag.advice.first()?.parts.first()?.1.clone()
    } else {
        return None;
    };
    let taken = texts.values().any(|text| !source::words(text, &new, false).is_empty());
    if taken || identifier(&new) != Some(new.as_str()) {
        return None;
    }
    let mut parts = Vec::new();
    for (file, text) in texts.iter().filter(|(file, _)| file.ends_with(".rs")) {
        parts.extend(source::words(text, old, true).into_iter().map(|word| Part {
            file: file.clone(),
            at: (word.start, word.end),
            new: new.clone(),
        }));
    }
    Fix::new(&diag.code, parts, texts)
}

fn identifier(found: &str) -> Option<&str> {
    let end = found.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(found.len());
    let name = &found[..end];
    name.starts_with(|c: char| c.is_alphabetic() || c == '_').then_some(name)
}

/// A variant's name without the name of its enum.
fn shorter(message: &str, old: &str, before: &str) -> Option<String> {
    let (_, header) = before.rsplit_once("enum ")?;
    let name = identifier(header)?;
    let new = match message {
        "variant name ends with the enum's name" => old.strip_suffix(name)?,
        "variant name starts with the enum's name" => old.strip_prefix(name)?,
        _ => return None,
    };
    new.starts_with(char::is_uppercase).then(|| new.to_owned())
}

/// Could another crate say this name? Only a clear no counts: every item around it, or the module
/// file it stands in, is private and not re-exported whole.
fn reachable(file: &str, at: usize, texts: &Texts) -> bool {
    let text = &texts[file];
    let line = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let own = text[line..at].trim_start();
    // A local, a field without `pub`, a private item; what stands in a trait or an enum is as public as that.
    let binding = ["let ", "for ", "fn ", "const ", "static ", "struct ", "enum ", "trait ", "mod "];
    let inside_public = header_around(text, at).is_some_and(|header| {
        header.starts_with("pub ") || header.contains("impl") && header.contains(" for ")
    });
    if !inside_public && binding.iter().any(|word| own.starts_with(word)) {
        return false;
    }
    let module = file.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or_default();
    let Some(root) = ["src/lib.rs", "lib.rs", "src/main.rs"].iter().find_map(|root| texts.get(*root)) else {
        return true;
    };
    let private = root.lines().any(|line| line.trim() == format!("mod {module};"));
    let exported = root.contains(&format!("{module}::"));
    !private || exported
}

/// The header of the block a place is in: the line that opens it.
fn header_around(text: &str, at: usize) -> Option<&str> {
    let open = block_around(text, at)?.start;
    let line = text[..open].rfind('\n').map_or(0, |start| start + 1);
    Some(text[line..open].trim())
}

/// The innermost block a place is in, from brace to brace.
pub(super) fn block_around(text: &str, at: usize) -> Option<Range<usize>> {
    let mut depth = 0usize;
    for (i, c) in text[..at].char_indices().rev() {
        match c {
            '}' => depth += 1,
            '{' if depth > 0 => depth -= 1,
            '{' => return Some(i..source::closing(text, i).unwrap_or(text.len())),
            _ => {}
        }
    }
    None
}
