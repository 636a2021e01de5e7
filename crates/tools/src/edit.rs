//! `edit`: replaces exact pieces of a file; all of the edits or none. Staged.
//! Knows nothing of how a path stays inside (`tree.rs`). Start at [`Edit`], then [`apply`].

use crate::args::{blocking, parse, refuse};
use crate::judge::changes_one_file;
use crate::name;
use crate::tree::Tree;
use contract::limits::EDIT_BYTES;
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};

/// Places of an ambiguous piece that are named.
const PLACES: usize = 5;

/// The tool.
#[derive(Debug)]
pub(crate) struct Edit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    path: String,
    edits: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    old_string: String,
    new_string: String,
    #[serde(default)]
    replace_all: bool,
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
                            "properties": {
                                "old_string": {"type": "string", "description": "The exact text to replace, without line numbers."},
                                "new_string": {"type": "string", "description": "What stands there afterwards."},
                                "replace_all": {"type": "boolean", "description": "Replace every occurrence."}
                            },
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
        changes_one_file("edit", args, scope, parsed.path, "changes one file of the workspace")
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || {
            let args = Args::parse(&args)?;
            let path = name::parse(&args.path)?;
            let target = Tree::at(&scope.root)?.target(&path, false)?;
            let Some((target, now)) =
                target.and_then(|mut target| target.now.take().map(|now| (target, now)))
            else {
                return Err(refuse(format!(
                    "`{}` does not exist; use write to create it",
                    name::show(&path)
                )));
            };
            let (bytes, count) = apply(now, &args.edits)?;
            target.replace(&bytes)?;
            let s = if count == 1 { "" } else { "s" };
            Ok(Output::ok(format!("edited `{}`: {count} replacement{s}", name::show(&path))))
        }))
    }
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
        for (n, piece) in parsed.edits.iter().enumerate() {
            let which = Which(n, parsed.edits.len());
            if piece.old_string.is_empty() {
                return Err(refuse(format!("{which}old_string is empty; use write to create a file")));
            }
            if piece.old_string == piece.new_string {
                return Err(refuse(format!("{which}old_string and new_string are the same")));
            }
        }
        Ok(parsed)
    }
}

/// Names an edit among several.
#[derive(Clone, Copy)]
struct Which(usize, usize);

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self(_, 1) => Ok(()),
            Self(n, all) => write!(f, "edit {} of {all}: ", n + 1),
        }
    }
}

/// What a file of these bytes holds after a call of these arguments, and how many replacements there were.
#[cfg(any(test, fuzzing))]
pub(crate) fn edited(args: &Value, now: Vec<u8>) -> Result<(Vec<u8>, usize), Fault> {
    apply(now, &Args::parse(args)?.edits)
}

/// The bytes after all edits, and how many replacements there were.
fn apply(mut bytes: Vec<u8>, edits: &[Piece]) -> Result<(Vec<u8>, usize), Fault> {
    let crlf = has_only_crlf(&bytes);
    let ends = |text: &str| {
        if crlf { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text.to_owned() }
    };
    let mut count = 0;
    for (n, piece) in edits.iter().enumerate() {
        let which = Which(n, edits.len());
        let (old, new) = (ends(&piece.old_string), ends(&piece.new_string));
        let found = places(&bytes, old.as_bytes());
        match found[..] {
            [] => {
                return Err(refuse(format!(
                    "{which}old_string was not found{}",
                    near(&bytes, &piece.old_string)
                )));
            }
            [_, _, ..] if !piece.replace_all => {
                let lines: Vec<String> =
                    found.iter().take(PLACES).map(|&at| line_of(&bytes, at).to_string()).collect();
                let more = if found.len() > PLACES { " ..." } else { "" };
                return Err(refuse(format!(
                    "{which}old_string occurs {} times (lines {}{more}): add lines around it, or set replace_all",
                    found.len(),
                    lines.join(", ")
                )));
            }
            _ => {}
        }
        let size = bytes.len() - found.len() * old.len() + found.len() * new.len();
        if size > EDIT_BYTES {
            return Err(refuse(format!("{which}the file would grow beyond {EDIT_BYTES} bytes")));
        }
        let mut after = Vec::with_capacity(size);
        let mut from = 0;
        for &at in &found {
            after.extend_from_slice(&bytes[from..at]);
            after.extend_from_slice(new.as_bytes());
            from = at + old.len();
        }
        after.extend_from_slice(&bytes[from..]);
        bytes = after;
        count += found.len();
    }
    Ok((bytes, count))
}

/// Does every line end with CRLF, and is there one at all?
fn has_only_crlf(bytes: &[u8]) -> bool {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').peekable();
    ends.peek().is_some() && ends.all(|(at, _)| at > 0 && bytes[at - 1] == b'\r')
}

/// Where the piece starts, without overlaps.
fn places(bytes: &[u8], piece: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&bytes[from..], piece) {
        found.push(from + at);
        from += at + piece.len();
    }
    found
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// A hint when the first line of the piece is there but for white space.
fn near(bytes: &[u8], piece: &str) -> String {
    let wanted: Vec<&str> = piece.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(first) = wanted.first() else { return String::new() };
    match lines.iter().position(|line| line == first) {
        Some(at) if wanted.len() == 1 => format!("; line {} is like it but for white space", at + 1),
        Some(at) => format!("; its first line is like line {}: read the file from there", at + 1),
        None => "; read the file again, it may have changed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use std::os::unix::fs::PermissionsExt;

    fn piece(old: &str, new: &str) -> Piece {
        Piece { old_string: old.into(), new_string: new.into(), replace_all: false }
    }

    fn all(old: &str, new: &str) -> Piece {
        Piece { replace_all: true, ..piece(old, new) }
    }

    #[test]
    fn edits_are_exact_and_in_order() {
        let apply = |text: &str, edits: &[Piece]| {
            apply(text.into(), edits)
                .map(|(bytes, n)| (String::from_utf8(bytes).unwrap(), n))
                .map_err(|f| f.what)
        };
        for (text, edits, after) in [
            ("a b c", vec![piece("b", "x")], Ok(("a x c".into(), 1))),
            ("a b c", vec![piece("b", "bb"), piece("bb ", "")], Ok(("a c".into(), 2))),
            ("aaaa", vec![all("aa", "a")], Ok(("aa".into(), 2))),
            ("a\r\nb\r\n", vec![piece("a\nb", "x\ny\r\nz")], Ok(("x\r\ny\r\nz\r\n".into(), 1))),
            ("a\r\nb\n", vec![piece("b", "x\ny")], Ok(("a\r\nx\ny\n".into(), 1))),
            (
                "x\ny\nx",
                vec![piece("x", "z")],
                Err("old_string occurs 2 times (lines 1, 3): add lines around it, or set replace_all"),
            ),
            (
                "x",
                vec![piece("x", "y"), piece("x", "z")],
                Err("edit 2 of 2: old_string was not found; read the file again, it may have changed"),
            ),
            (
                "if a {\n\t b()\n}",
                vec![piece("b();\n", "")],
                Err("old_string was not found; read the file again, it may have changed"),
            ),
            (
                "if a {\n\tb()\n}",
                vec![piece("  b()", "")],
                Err("old_string was not found; line 2 is like it but for white space"),
            ),
        ] {
            assert_eq!(apply(text, &edits), after.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let (bytes, _) = apply(b"\xff\xfe one \0 two".to_vec(), &[piece("one", "1")]).unwrap();
        assert_eq!(bytes, b"\xff\xfe 1 \0 two");
    }

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
