//! `memory_read`: what earlier sessions on the project noted. Pure.
//! Knows nothing of where notes are (`memory.rs`). Start at [`MemoryRead`].

use crate::args::{blocking, parse, refuse};
use crate::judge::{Content, judged};
use crate::memory::{self, DIR, END};
use crate::tree::Tree;
use crate::view;
use contract::action::EffectClass;
use contract::limits::MEMORY_FILES;
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};

/// Bytes of a note's first line in the list.
const LINE_BYTES: usize = 120;

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
                    let text = note(&tree, &name)?;
                    Ok(Output::ok(
                        text.lines().map(|line| view::visible(line.as_bytes()) + "\n").collect::<String>(),
                    ))
                }
                None => Ok(Output::ok(list(&tree)?)),
            }
        }))
    }
}

fn note(tree: &Tree, name: &str) -> Result<String, Fault> {
    let target = tree.target(&memory::path(name)?)?;
    let missing = || refuse(format!("there is no note `{name}`; memory_read without a name lists them"));
    Ok(String::from_utf8_lossy(&target.and_then(|target| target.now).ok_or_else(missing)?).into_owned())
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
        let name = name.trim_end_matches(END);
        // What is no file, or cannot be read, is no note.
        let Ok(note) = note(tree, name) else { continue };
        let first = view::visible(note.lines().next().unwrap_or_default().as_bytes());
        let first = &first[..first.floor_char_boundary(LINE_BYTES)];
        text.push_str(&format!("{name} ({} bytes): {first}\n", note.len()));
    }
    Ok(if text.is_empty() { "[there are no notes yet]".to_owned() } else { text })
}
