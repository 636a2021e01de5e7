//! `edit`: replaces exact pieces of a file; all of the edits or none. Staged.
//! Knows nothing of how a piece is found (`piece.rs`). Start at [`Edit`].

use crate::args::{blocking, parse, refuse};
use crate::change::Draft;
use crate::judge::changes_files;
use crate::name;
use crate::piece::{self, Piece, Which, apply};
use crate::tree::Tree;
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// The tool.
#[derive(Debug)]
pub(crate) struct Edit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    path: String,
    edits: Vec<Piece>,
}

impl Tool for Edit {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "edit".into(),
            description: "Replaces exact pieces of a text file, in order, all or none. Each old_string must occur \
                exactly once (white space counts), or replace_all must be set. In a file with CRLF line ends, \
                write plain \\n; they are kept."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "File, relative to the workspace."},
                    "edits": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "properties": piece::fields(),
                            "required": ["old_string", "new_string"],
                            "additionalProperties": false
                        }
                    }
                },
                "required": ["path", "edits"],
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let parsed = Args::parse(args)?;
        let path = name::parse(&parsed.path)?;
        changes_files("edit", args, scope, &[&path], "changes one file of the workspace")
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || {
            let args = Args::parse(&args)?;
            let path = name::parse(&args.path)?;
            let tree = Tree::at(&scope.root)?;
            let mut draft = Draft::new(&tree);
            let count = edit(&mut draft, &path, args.numbered())?;
            draft.commit()?;
            let s = if count == 1 { "" } else { "s" };
            Ok(Output::ok(format!("edited `{}`: {count} replacement{s}", name::show(&path))))
        }))
    }
}

/// Edits a file of the draft; how many replacements there were.
pub(crate) fn edit<'p>(
    draft: &mut Draft<'_>,
    path: &Path,
    edits: impl IntoIterator<Item = (Which, &'p Piece)>,
) -> Result<usize, Fault> {
    let missing = || refuse(format!("`{}` does not exist; use write to create it", name::show(path)));
    let now = draft.read(path)?.ok_or_else(missing)?.to_vec();
    let (bytes, count) = apply(now, edits)?;
    draft.write(path, bytes)?;
    Ok(count)
}

impl Args {
    /// Also takes the three fields of a single edit beside the path, as models often send them.
    fn parse(args: &Value) -> Result<Self, Fault> {
        let mut args = args.clone();
        if let Some(map) = args.as_object_mut()
            && !map.contains_key("edits")
            && map.contains_key("old_string")
        {
            let fields = ["old_string", "new_string", "replace_all"];
            let piece = fields.iter().filter_map(|&field| map.remove_entry(field)).collect();
            map.insert("edits".into(), Value::Array(vec![Value::Object(piece)]));
        }
        let parsed: Self = parse("edit", &args)?;
        if parsed.edits.is_empty() {
            return Err(refuse("`edit`: edits is empty"));
        }
        parsed.numbered().try_for_each(|(which, piece)| piece.check(which))?;
        Ok(parsed)
    }

    fn numbered(&self) -> impl Iterator<Item = (Which, &Piece)> {
        self.edits.iter().enumerate().map(|(n, piece)| (Which(n, self.edits.len()), piece))
    }
}

/// What a file of these bytes holds after a call of these arguments, and how many replacements there were.
#[cfg(any(test, fuzzing))]
pub(crate) fn edited(args: &Value, now: Vec<u8>) -> Result<(Vec<u8>, usize), Fault> {
    apply(now, Args::parse(args)?.numbered())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_failing_edit_changes_nothing() {
        let bench = Bench::new();
        let file = bench.file("run.sh", "one\ntwo\n");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let edit = |edits: Value| bench.run(&Edit, json!({"path": "run.sh", "edits": edits}));
        let good = json!({"old_string": "one", "new_string": "1"});
        assert!(!edit(json!([good, {"old_string": "three", "new_string": "3"}])).ok);
        assert_eq!(bench.text("run.sh"), "one\ntwo\n");
        assert_eq!(edit(json!([good])).text, "edited `run.sh`: 1 replacement");
        assert_eq!(bench.text("run.sh"), "1\ntwo\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_single_edit_may_stand_beside_the_path() {
        let bench = Bench::new();
        bench.file("f", "a a");
        let args = json!({"path": "f", "old_string": "a", "new_string": "b", "replace_all": true});
        assert_eq!(bench.run(&Edit, args).text, "edited `f`: 2 replacements");
        assert_eq!(bench.text("f"), "b b");
    }

    #[test]
    fn what_cannot_be_edited_is_said() {
        let bench = Bench::new();
        let said = |args: Value| bench.run(&Edit, args).text;
        let one = |path: &str| json!({"path": path, "old_string": "a", "new_string": "b"});
        assert_eq!(said(one("none")), "`none` does not exist; use write to create it");
        assert_eq!(said(one("../outside.txt")), "`..` leads out of the workspace");
        assert!(said(one(".git/config")).contains("belongs to git"));
        assert!(said(json!({"path": "f", "edits": []})).contains("empty"));
        assert!(
            said(json!({"path": "f", "old_string": "", "new_string": "b"})).contains("old_string is empty")
        );
        assert!(said(json!({"path": "f", "old_string": "b", "new_string": "b"})).contains("the same"));
        assert!(said(json!({"path": "f", "edits": [{"old": "b"}]})).contains("unknown field `old`"));
        bench.file("f", "a");
        let first = bench.judge(&Edit, one("f")).unwrap().hash;
        bench.file("f", "a changed");
        assert_ne!(first, bench.judge(&Edit, one("f")).unwrap().hash);
    }
}
