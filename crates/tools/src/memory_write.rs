//! `memory_write`: a note for whoever works on the project next. Staged.
//! Knows nothing of where notes are (`memory.rs`). Start at [`MemoryWrite`].

use crate::args::{blocking, parse, refuse};
use crate::change::Draft;
use crate::judge::changes_files;
use crate::memory::{self, DIR};
use crate::parts;
use crate::tree::Tree;
use contract::action::EffectClass;
use contract::limits::{MEMORY_BYTES, MEMORY_FILES};
use contract::model::ToolSpec;
use contract::policy::{How, Part};
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};

/// The tool.
#[derive(Debug)]
pub(crate) struct MemoryWrite;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    name: String,
    content: String,
    #[serde(default)]
    append: bool,
}

impl Tool for MemoryWrite {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "memory_write".into(),
            description: "Writes a note about this project for later sessions (a Markdown file that lands with your work): \
                what was hard to find out and will be needed again. Never secrets. Empty content removes the note."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "Short, such as build-commands."},
                    "content": {"type": "string", "description": "All of the note; its first line says what it is about."},
                    "append": {"type": "boolean", "description": "Add it to the note there is."}
                },
                "required": ["name", "content"],
                "additionalProperties": false
            }),
        }
    }

    fn is_core(&self) -> bool {
        false
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let parsed: Args = parse("memory_write", args)?;
        let path = memory::path(&parsed.name)?;
        changes_files("memory_write", args, scope, &[&path], "writes one file of the workspace")
    }

    fn parts(&self, args: &Value, scope: &Scope, _: EffectClass) -> Vec<Part> {
        let path = parse("memory_write", args).and_then(|args: Args| memory::path(&args.name)).ok();
        parts::files(scope, path.iter().map(|path| (&**path, How::Write)))
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || write(parse("memory_write", &args)?, &Tree::at(&scope.root)?)))
    }
}

fn write(args: Args, tree: &Tree) -> Result<Output, Fault> {
    let path = memory::path(&args.name)?;
    let mut draft = Draft::new(tree);
    let there = draft.read(&path)?.map(<[u8]>::to_vec);
    if args.content.is_empty() && !args.append {
        if there.is_none() {
            return Err(refuse(format!("there is no note `{}`", args.name)));
        }
        draft.remove(&path)?;
        draft.commit()?;
        return Ok(Output::ok(format!("removed the note `{}`", args.name)));
    }
    let others = tree.names(DIR.as_ref()).map_or(0, |names| names.len());
    if there.is_none() && others >= MEMORY_FILES {
        return Err(refuse(format!(
            "there are {others} notes already, which is the most: put it into one of them"
        )));
    }
    let mut bytes = if args.append { there.unwrap_or_default() } else { Vec::new() };
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(args.content.as_bytes());
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    let size = bytes.len();
    if size > MEMORY_BYTES {
        return Err(refuse(format!(
            "a note holds at most {MEMORY_BYTES} bytes, not {size}: say it in fewer words"
        )));
    }
    draft.write(&path, bytes)?;
    draft.commit()?;
    Ok(Output::ok(format!("noted in `{}` ({size} bytes)", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_read::MemoryRead;
    use crate::testing::Bench;
    use std::os::unix::fs::symlink;

    #[test]
    fn notes_are_written_listed_read_and_removed() {
        let bench = Bench::new();
        let read = |args: Value| bench.run(&MemoryRead, args).text;
        let write = |name: &str, content: &str, append: bool| {
            bench.run(&MemoryWrite, json!({"name": name, "content": content, "append": append})).text
        };
        assert_eq!(read(json!({})), "[there are no notes yet]");
        assert_eq!(
            write("build", "How to build\ncargo b", false),
            "noted in `.kapell/memory/build.md` (21 bytes)"
        );
        write("build.md", "and test", true);
        write("api", "The API", false);
        assert_eq!(read(json!({"name": "build"})), "How to build\ncargo b\nand test\n");
        assert_eq!(read(json!({})), "api (8 bytes): The API\nbuild (30 bytes): How to build\n");
        assert_eq!(write("api", "", false), "removed the note `api`");
        assert!(read(json!({"name": "api"})).contains("there is no note"));
        assert!(write("api", "", false).contains("there is no note"));
    }

    #[test]
    fn they_are_bounded_and_stay_in_their_folder() {
        let bench = Bench::new();
        let write =
            |name: &str, content: &str| bench.run(&MemoryWrite, json!({"name": name, "content": content}));
        for name in ["", "..", ".git", "../x", "a/b", "a\\b", "x y", &"n".repeat(99), "\u{202e}"] {
            assert!(!write(name, "x").ok, "{name}");
            assert!(!bench.run(&MemoryRead, json!({"name": name})).ok || name.is_empty(), "{name}");
        }
        assert!(write("big", &"x".repeat(MEMORY_BYTES)).text.contains("at most"));
        for n in 0..MEMORY_FILES {
            assert!(write(&format!("n{n}"), "x").ok);
        }
        assert!(write("more", "x").text.contains("which is the most") && write("n0", "y").ok);
        let bench = Bench::new();
        std::fs::create_dir(bench.root().join(".kapell")).unwrap();
        symlink(bench.top(), bench.root().join(".kapell/memory")).unwrap();
        assert!(!bench.run(&MemoryWrite, json!({"name": "outside", "content": "x"})).ok);
        assert!(!bench.run(&MemoryRead, json!({})).ok);
        bench.outside_is_untouched();
    }
}
