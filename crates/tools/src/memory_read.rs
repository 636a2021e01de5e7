//! `memory_read`: what earlier sessions on the project noted. Pure.
//! Knows nothing of where notes are (`memory.rs`). Start at [`MemoryRead`].

use crate::args::{blocking, parse, refuse};
use crate::judge::{Content, judged};
use crate::memory::{self, DIR, END};
use crate::tree::{Tree, io_fault};
use crate::view;
use contract::action::EffectClass;
use contract::limits::{MEMORY_FILES, READ_BYTES};
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;

/// Bytes of a note's first line in the list.
const LINE_BYTES: usize = 120;
/// Bytes that are read for it.
const FIRST_BYTES: usize = 4 * 1024;

/// The tool.
#[derive(Debug)]
pub(crate) struct MemoryRead;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    name: Option<String>,
}

impl Tool for MemoryRead {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "memory_read".into(),
            description: "Reads a note that earlier sessions left about this project; without a name, lists them with their \
                first lines."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {"name": {"type": "string", "description": "Which note."}},
                "additionalProperties": false
            }),
        }
    }

    fn is_core(&self) -> bool {
        false
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let parsed: Args = parse("memory_read", args)?;
        parsed.name.as_deref().map(memory::path).transpose()?;
        Ok(judged("memory_read", args, scope, EffectClass::Pure, "only reads", Content::default()))
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || {
            let args: Args = parse("memory_read", &args)?;
            let tree = Tree::at(&scope.root)?;
            match args.name {
                Some(name) => {
                    let Note { path, text, rest, .. } = note(&tree, &name, READ_BYTES)?;
                    let mut text: String =
                        text.lines().map(|line| view::visible(line.as_bytes()) + "\n").collect();
                    if rest || text.len() > READ_BYTES {
                        text.truncate(text.floor_char_boundary(READ_BYTES));
                        text.push_str(&format!("\n[cut; read shows the rest of `{}`]\n", path.display()));
                    }
                    Ok(Output::ok(text))
                }
                None => Ok(Output::ok(list(&tree)?)),
            }
        }))
    }
}

/// The beginning of a note.
struct Note {
    path: PathBuf,
    text: String,
    /// There is more.
    rest: bool,
    /// Of the whole file.
    bytes: u64,
}

fn note(tree: &Tree, name: &str, most: usize) -> Result<Note, Fault> {
    let path = memory::path(name)?;
    let (file, bytes) = tree.open(&path).map_err(|fault| match fault.code.as_str() {
        "not-found" => refuse(format!("there is no note `{name}`; memory_read without a name lists them")),
        _ => fault,
    })?;
    let mut start = Vec::new();
    file.take(most as u64).read_to_end(&mut start).map_err(|error| io_fault(&path, &error))?;
    // The last character may be cut in two.
    let whole =
        start.utf8_chunks().last().filter(|last| last.invalid().len() < 4 && bytes > start.len() as u64);
    let kept = start.len() - whole.map_or(0, |last| last.invalid().len());
    let text = String::from_utf8_lossy(&start[..kept]).into_owned();
    Ok(Note { path, text, rest: bytes > kept as u64, bytes })
}

fn list(tree: &Tree) -> Result<String, Fault> {
    let mut names = match tree.names(DIR.as_ref()) {
        Ok(names) => names,
        Err(fault) if fault.code == "not-found" => Vec::new(),
        Err(fault) => return Err(fault),
    };
    names.retain(|name| memory::path(name).is_ok() && name.ends_with(END));
    names.sort();
    let mut text = String::new();
    for name in names.iter().take(MEMORY_FILES) {
        // What is no file, or cannot be read, is no note.
        let Ok(note) = note(tree, name, FIRST_BYTES) else { continue };
        let first = view::visible(note.text.lines().next().unwrap_or_default().as_bytes());
        let first = &first[..first.floor_char_boundary(LINE_BYTES)];
        // A name that ends so twice is given whole: read back, it loses one of them.
        let short = name.strip_suffix(END).filter(|short| !short.ends_with(END)).unwrap_or(name);
        text.push_str(&format!("{short} ({} bytes): {first}\n", note.bytes));
    }
    Ok(if text.is_empty() { "[there are no notes yet]".to_owned() } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_long_note_is_cut_and_read_shows_the_rest() {
        let bench = Bench::new();
        bench.file(".kapell/memory/long.md", "ü".repeat(READ_BYTES));
        bench.file(".kapell/memory/a.md.md", "twice\n");
        let read = |args: Value| bench.run(&MemoryRead, args).text;
        let long = read(json!({"name": "long"}));
        let end = "\n[cut; read shows the rest of `.kapell/memory/long.md`]\n";
        assert!(long.len() < READ_BYTES + 100 && long.ends_with(end) && !long.contains('\u{fffd}'));
        let list = read(json!({}));
        assert!(list.starts_with("a.md.md (6 bytes): twice\nlong (131072 bytes): üü"), "{list}");
        assert!(list.len() < 300);
        assert_eq!(read(json!({"name": "a.md.md"})), "twice\n");
    }
}
