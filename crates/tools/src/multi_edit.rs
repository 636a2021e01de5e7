//! `multi_edit`: replaces exact pieces of several files; all of the edits or none. Staged.
//! Knows nothing of how a piece is found (`piece.rs`). Start at [`MultiEdit`].

use crate::args::{blocking, parse, refuse};
use crate::change::Draft;
use crate::judge::changes_files;
use crate::piece::{self, Piece, Which};
use crate::tree::Tree;
use crate::{edit, name, parts};
use contract::action::EffectClass;
use contract::limits::CHANGE_FILES;
use contract::model::ToolSpec;
use contract::policy::{How, Part};
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The tool.
#[derive(Debug)]
pub(crate) struct MultiEdit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    edits: Vec<Edit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    path: String,
    old_string: String,
    new_string: String,
    #[serde(default)]
    replace_all: bool,
}

/// A file and its edits.
type Edited = (PathBuf, Vec<(Which, Piece)>);

impl Tool for MultiEdit {
    fn spec(&self) -> ToolSpec {
        let mut fields = piece::fields();
        fields["path"] = json!({"type": "string", "description": "File, relative to the workspace."});
        ToolSpec {
            name: "multi_edit".into(),
            description: "Replaces exact pieces of one or more text files, all or none: as edit does, with a path in each \
                of the edits. Edits of the same file follow each other."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "edits": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "properties": fields,
                            "required": ["path", "old_string", "new_string"],
                            "additionalProperties": false
                        }
                    }
                },
                "required": ["edits"],
                "additionalProperties": false
            }),
        }
    }

    fn is_core(&self) -> bool {
        false
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let files = Args::parse(args)?.by_file()?;
        let paths: Vec<&Path> = files.iter().map(|(path, _)| &**path).collect();
        changes_files("multi_edit", args, scope, &paths, "changes files of the workspace")
    }

    fn parts(&self, args: &Value, scope: &Scope, _: EffectClass) -> Vec<Part> {
        let files = Args::parse(args).and_then(Args::by_file).unwrap_or_default();
        parts::files(scope, files.iter().map(|(path, _)| (&**path, How::Write)))
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || {
            let tree = Tree::at(&scope.root)?;
            let mut draft = Draft::new(&tree);
            let mut said = Vec::new();
            for (path, pieces) in Args::parse(&args)?.by_file()? {
                let shown = name::show(&path);
                let edits = pieces.iter().map(|(which, piece)| (*which, piece));
                let count = edit::edit(&mut draft, &path, edits).map_err(|fault| Fault {
                    what: format!("nothing was changed: `{shown}`: {}", fault.what),
                    ..fault
                })?;
                let s = if count == 1 { "" } else { "s" };
                said.push(format!("edited `{shown}`: {count} replacement{s}"));
            }
            draft.commit()?;
            Ok(Output::ok(said.join("\n")))
        }))
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("multi_edit", args)?;
        if parsed.edits.is_empty() {
            return Err(refuse("`multi_edit`: edits is empty"));
        }
        Ok(parsed)
    }

    /// The edits of each file, in their order; the files in the order of their first edits.
    fn by_file(self) -> Result<Vec<Edited>, Fault> {
        let all = self.edits.len();
        let mut files: Vec<Edited> = Vec::new();
        for (n, Edit { path, old_string, new_string, replace_all }) in self.edits.into_iter().enumerate() {
            let (path, which) = (name::parse(&path)?, Which(n, all));
            let piece = Piece { old_string, new_string, replace_all };
            piece.check(which)?;
            match files.iter_mut().find(|(other, _)| *other == path) {
                Some((_, pieces)) => pieces.push((which, piece)),
                None => files.push((path, vec![(which, piece)])),
            }
        }
        if files.len() > CHANGE_FILES {
            return Err(refuse(format!("`multi_edit`: at most {CHANGE_FILES} files at once")));
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn edit(path: &str, old: &str, new: &str) -> Value {
        json!({"path": path, "old_string": old, "new_string": new})
    }

    #[test]
    fn files_change_together_or_not_at_all() {
        let bench = Bench::new();
        bench.file("a", "one two\r\nthree\r\n");
        bench.file("d/b", "one");
        let run = |edits: Value| bench.run(&MultiEdit, json!({"edits": edits}));
        let good = [edit("a", "one", "1"), edit("d/b", "one", "eins"), edit("a", "1 two\nthree", "x\ny")];
        let output = run(json!([good[0], good[1], edit("a", "four", "4")]));
        assert_eq!(
            output.text,
            "nothing was changed: `a`: edit 3 of 3: old_string was not found; read the file again, it may have changed"
        );
        assert_eq!((bench.text("a").as_str(), bench.text("d/b").as_str()), ("one two\r\nthree\r\n", "one"));
        assert_eq!(run(json!(good)).text, "edited `a`: 2 replacements\nedited `d/b`: 1 replacement");
        assert_eq!((bench.text("a").as_str(), bench.text("d/b").as_str()), ("x\r\ny\r\n", "eins"));
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        let bench = Bench::new();
        bench.file("a", "one");
        let said = |edits: Value| bench.run(&MultiEdit, json!({"edits": edits})).text;
        assert!(said(json!([])).contains("edits is empty"));
        assert!(
            said(json!([edit("a", "one", "1"), edit("a", "", "x")]))
                .contains("edit 2 of 2: old_string is empty")
        );
        assert!(said(json!([edit("a", "one", "1"), edit("b", "x", "y")])).contains("`b` does not exist"));
        assert!(said(json!([edit("a", "one", "1"), edit("../outside.txt", "s", "y")])).contains("leads out"));
        assert!(said(json!([edit("a", "one", "1"), edit("./a", "1", "2")])).contains("edited `./a`"));
        assert_eq!(bench.text("a"), "2", "one file by two spellings is one file");
        bench.outside_is_untouched();
    }

    #[test]
    fn an_approval_is_bound_to_every_file() {
        let bench = Bench::new();
        bench.file("a", "x");
        bench.file("b", "x");
        let args = json!({"edits": [edit("a", "x", "1"), edit("b", "x", "2")]});
        let hash = || bench.judge(&MultiEdit, args.clone()).unwrap().hash;
        let first = hash();
        bench.file("b", "y");
        assert_ne!(hash(), first);
    }
}
