//! `notebook_edit`: one cell of a Jupyter notebook replaced, inserted or deleted; all else stays byte for byte. Staged.
//! Knows nothing of where a cell stands in the file (`mod.rs`). Start at [`NotebookEdit`], then [`changed`].

use super::{Notebook, spans};
use crate::args::{blocking, parse, refuse};
use crate::change::Draft;
use crate::judge::changes_files;
use crate::name;
use crate::tree::Tree;
use contract::limits::EDIT_BYTES;
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault};
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::Range;

/// Characters of a new cell's name.
const ID_CHARS: usize = 8;

/// The tool.
#[derive(Debug)]
pub(crate) struct NotebookEdit;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    path: String,
    cell_id: Option<String>,
    #[serde(default)]
    new_source: String,
    cell_type: Option<Kind>,
    #[serde(default)]
    edit_mode: Mode,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Code,
    Markdown,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Replace,
    Insert,
    Delete,
}

impl Tool for NotebookEdit {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "notebook_edit".into(),
            description: "Changes one cell of a Jupyter notebook (.ipynb): replaces its source, inserts a cell after it (or \
                first, without cell_id), or deletes it. What a changed code cell had printed goes; the rest of the file stays."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "File, relative to the workspace."},
                    "cell_id": {"type": "string", "description": "The cell's id, or its number from 0."},
                    "new_source": {"type": "string", "description": "All of its source."},
                    "cell_type": {"type": "string", "enum": ["code", "markdown"], "description": "Of an inserted cell; code when left out."},
                    "edit_mode": {"type": "string", "enum": ["replace", "insert", "delete"], "description": "replace when left out."}
                },
                "required": ["path"],
                "additionalProperties": false
            }),
        }
    }

    fn is_core(&self) -> bool {
        false
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let path = name::parse(&Args::parse(args)?.path)?;
        changes_files("notebook_edit", args, scope, &[&path], "changes one file of the workspace")
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || {
            let args = Args::parse(&args)?;
            let path = name::parse(&args.path)?;
            let tree = Tree::at(&scope.root)?;
            let mut draft = Draft::new(&tree);
            let missing = || refuse(format!("`{}` does not exist", name::show(&path)));
            let text = String::from_utf8(draft.read(&path)?.ok_or_else(missing)?.to_vec());
            let text = text.map_err(|_| refuse("a notebook is UTF-8 text"))?;
            let (after, did) = changed(&text, &args)?;
            if after.len() > EDIT_BYTES {
                return Err(refuse(format!("the file would grow beyond {EDIT_BYTES} bytes")));
            }
            draft.write(&path, after.into_bytes())?;
            draft.commit()?;
            Ok(Output::ok(format!("`{}`: {did}", name::show(&path))))
        }))
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("notebook_edit", args)?;
        if parsed.cell_id.is_none() && parsed.edit_mode != Mode::Insert {
            return Err(refuse("`notebook_edit`: cell_id says which cell"));
        }
        if parsed.cell_type.is_some() && parsed.edit_mode != Mode::Insert {
            return Err(refuse(
                "`notebook_edit`: cell_type is an inserted cell's; to change it, delete the cell and insert another",
            ));
        }
        Ok(parsed)
    }
}

/// What a notebook of this text is after a call of these arguments, and which cell was changed.
#[cfg(any(test, fuzzing))]
pub(crate) fn edited(text: &str, args: &Value) -> Result<(String, usize), Fault> {
    let args = Args::parse(args)?;
    let cell = args.cell_id.as_deref().map(|id| Notebook::parse(text)?.find(id)).transpose()?;
    let at = if args.edit_mode == Mode::Insert { cell.map_or(0, |cell| cell + 1) } else { cell.unwrap_or(0) };
    changed(text, &args).map(|(text, _)| (text, at))
}

/// The text afterwards, and what was done.
pub(crate) fn changed(text: &str, args: &Args) -> Result<(String, String), Fault> {
    let notebook = Notebook::parse(text)?;
    let cell = args.cell_id.as_deref().map(|id| notebook.find(id)).transpose()?;
    let (pieces, did) = match (args.edit_mode, cell) {
        (Mode::Replace, Some(cell)) => {
            (replaced(&notebook, cell, &args.new_source)?, format!("replaced cell {cell}"))
        }
        (Mode::Delete, Some(cell)) => {
            (vec![(without(&notebook, cell), String::new())], format!("deleted cell {cell}"))
        }
        (Mode::Insert, after) => {
            let at = after.map_or(0, |after| after + 1);
            (vec![inserted(&notebook, at, args)], format!("inserted cell {at}"))
        }
        (_, None) => return Err(refuse("`notebook_edit`: cell_id says which cell")),
    };
    let mut after = text.to_owned();
    for (place, new) in pieces.into_iter().rev() {
        after.replace_range(place, &new);
    }
    // What is written is a notebook again, whatever the one before looked like.
    Notebook::parse(&after)?;
    Ok((after, did))
}

type Pieces = Vec<(Range<usize>, String)>;

/// The places that change, from the first to the last.
fn replaced(notebook: &Notebook<'_>, number: usize, source: &str) -> Result<Pieces, Fault> {
    let cell = &notebook.cells[number];
    let is_code = notebook.kind(number) == "code";
    let mut pieces = Pieces::new();
    for (name, at, place) in &cell.members {
        match name.as_str() {
            "source" => {
                let lines = notebook.cell(number)["source"].is_array();
                let new = if lines {
                    let own = spans::indent(notebook.text, *at);
                    lines_of(source, own, unit(notebook, number))
                } else {
                    Value::from(source).to_string()
                };
                pieces.push((place.clone(), new));
            }
            "outputs" if is_code => pieces.push((place.clone(), "[]".to_owned())),
            "execution_count" if is_code => pieces.push((place.clone(), "null".to_owned())),
            _ => {}
        }
    }
    if !cell.members.iter().any(|(name, ..)| name == "source") {
        return Err(refuse(format!("cell {number} has no source")));
    }
    Ok(pieces)
}

/// What one level of the file's indentation looks like; nothing in a file of one line.
fn unit<'t>(notebook: &Notebook<'t>, number: usize) -> &'t str {
    let cell = &notebook.cells[number];
    let outer = spans::indent(notebook.text, cell.place.start);
    let inner = cell.members.first().and_then(|(_, at, _)| spans::indent(notebook.text, *at));
    outer.zip(inner).and_then(|(outer, inner)| inner.strip_prefix(outer)).unwrap_or("")
}

/// Source as the format writes it: an array of lines, each with its end.
fn lines_of(source: &str, indent: Option<&str>, unit: &str) -> String {
    let lines: Vec<String> = source.split_inclusive('\n').map(|line| Value::from(line).to_string()).collect();
    match indent {
        _ if lines.is_empty() => "[]".to_owned(),
        Some(indent) => format!("[\n{indent}{unit}{}\n{indent}]", lines.join(&format!(",\n{indent}{unit}"))),
        None => format!("[{}]", lines.join(", ")),
    }
}

/// The cell, and the comma that goes with it.
fn without(notebook: &Notebook<'_>, number: usize) -> Range<usize> {
    let place = |number: usize| notebook.cells.get(number).map(|cell| cell.place.clone());
    let own = notebook.cells[number].place.clone();
    match (number.checked_sub(1).and_then(place), place(number + 1)) {
        (_, Some(next)) => own.start..next.start,
        (Some(before), None) => before.end..own.end,
        (None, None) => notebook.array.start + 1..notebook.array.end - 1,
    }
}

fn inserted(notebook: &Notebook<'_>, at: usize, args: &Args) -> (Range<usize>, String) {
    let source: Vec<&str> = args.new_source.split_inclusive('\n').collect();
    let mut cell = json!({"cell_type": "code", "metadata": {}, "source": source});
    match args.cell_type {
        Some(Kind::Markdown) => cell["cell_type"] = "markdown".into(),
        _ => (cell["execution_count"], cell["outputs"]) = (Value::Null, json!([])),
    }
    if notebook.has_ids() {
        cell["id"] = new_id(notebook, &args.new_source).into();
    }
    let first = notebook.cells.first();
    let indent = first.and_then(|cell| spans::indent(notebook.text, cell.place.start));
    let shown = match indent {
        Some(indent) => pretty(&cell, unit(notebook, 0)).replace('\n', &format!("\n{indent}")),
        None => cell.to_string(),
    };
    let line = indent.map_or(String::from(" "), |indent| format!("\n{indent}"));
    match notebook.cells.get(at).or(first).map(|cell| cell.place.start) {
        // Before another.
        Some(start) if at < notebook.cells.len() => (start..start, format!("{shown},{line}")),
        // After the last.
        Some(_) => {
            let end = notebook.cells.last().map_or(notebook.array.end - 1, |cell| cell.place.end);
            (end..end, format!(",{line}{shown}"))
        }
        None => (notebook.array.clone(), format!("[{shown}]")),
    }
}

fn pretty(value: &Value, unit: &str) -> String {
    use serde::Serialize;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(unit.as_bytes());
    match value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter)) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        // Writing to memory cannot fail.
        Err(_) => value.to_string(),
    }
}

/// A name that no cell has. The same edit gives the same one.
fn new_id(notebook: &Notebook<'_>, source: &str) -> String {
    let mut digest = Digest::chain(&Digest::of(notebook.text.as_bytes()), source.as_bytes());
    loop {
        let id: String = digest.short().chars().take(ID_CHARS).collect();
        if notebook.find(&id).is_err() {
            return id;
        }
        digest = Digest::of(id.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    const NOTEBOOK: &str = "{\n \"cells\": [\n  {\n   \"cell_type\": \"markdown\",\n   \"id\": \"m\",\n   \"metadata\": {},\n   \
        \"source\": [\n    \"# T\\n\",\n    \"text \\u00e9\"\n   ]\n  },\n  {\n   \"cell_type\": \"code\",\n   \"execution_count\": 7,\n   \
        \"id\": \"c\",\n   \"metadata\": {\"z\": 1.50, \"a\": 1e3},\n   \"outputs\": [\n    {\"data\": {}}\n   ],\n   \"source\": [\n    \"x = 1\"\n   ]\n  }\n \
        ],\n \"metadata\": {},\n \"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n";

    fn change(text: &str, args: Value) -> Result<String, String> {
        let mut args = args;
        args["path"] = "n.ipynb".into();
        changed(text, &Args::parse(&args).map_err(|f| f.what)?)
            .map(|(text, _)| text)
            .map_err(|fault| fault.what)
    }

    #[test]
    fn replacing_keeps_every_other_byte() {
        let after = change(NOTEBOOK, json!({"cell_id": "c", "new_source": "y = 2\ny\n"})).unwrap();
        let expected = NOTEBOOK
            .replace("\"execution_count\": 7", "\"execution_count\": null")
            .replace("[\n    {\"data\": {}}\n   ]", "[]")
            .replace("    \"x = 1\"\n", "    \"y = 2\\n\",\n    \"y\\n\"\n");
        assert_eq!(after, expected);
        assert_eq!(
            change(NOTEBOOK, json!({"cell_id": "0", "new_source": "# T\ntext é"})).unwrap(),
            NOTEBOOK.replace("\\u00e9", "é")
        );
        let compact = r#"{"cells":[{"cell_type":"code","source":"a","outputs":[1]}],"nbformat":4}"#;
        assert_eq!(
            change(compact, json!({"cell_id": "0", "new_source": "b\"\n"})).unwrap(),
            compact.replace("\"a\"", r#""b\"\n""#).replace("[1]", "[]")
        );
    }

    #[test]
    fn cells_come_and_go() {
        let inserted =
            change(NOTEBOOK, json!({"cell_id": "m", "edit_mode": "insert", "new_source": "1\n2"})).unwrap();
        let start = NOTEBOOK.find("  {\n   \"cell_type\": \"code\"").unwrap();
        assert!(inserted.starts_with(&NOTEBOOK[..start]) && inserted.ends_with(&NOTEBOOK[start..]));
        let new = &inserted[start..inserted.len() - NOTEBOOK[start..].len()];
        assert!(
            new.starts_with("  {\n   \"cell_type\": \"code\",\n   \"execution_count\": null,\n   \"id\": \""),
            "{new}"
        );
        assert!(new.ends_with("   \"source\": [\n    \"1\\n\",\n    \"2\"\n   ]\n  },\n"), "{new}");
        assert_eq!(change(&inserted, json!({"cell_id": "1", "edit_mode": "delete"})).unwrap(), NOTEBOOK);
        let last = change(
            NOTEBOOK,
            json!({"cell_id": "c", "edit_mode": "insert", "cell_type": "markdown", "new_source": "end"}),
        )
        .unwrap();
        assert_eq!(change(&last, json!({"cell_id": "2", "edit_mode": "delete"})).unwrap(), NOTEBOOK);
        let first = change(NOTEBOOK, json!({"edit_mode": "insert", "new_source": "first"})).unwrap();
        assert_eq!(change(&first, json!({"cell_id": "0", "edit_mode": "delete"})).unwrap(), NOTEBOOK);
        let none = r#"{"cells": [], "nbformat": 4, "nbformat_minor": 4}"#;
        let one = change(none, json!({"edit_mode": "insert", "new_source": "x"})).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&one).unwrap()["cells"][0]["source"], json!(["x"]));
        assert_eq!(change(&one, json!({"cell_id": "0", "edit_mode": "delete"})).unwrap(), none);
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        let bench = Bench::new();
        bench.file("n.ipynb", NOTEBOOK);
        let said = |args: Value| bench.run(&NotebookEdit, args).text;
        assert!(
            said(json!({"path": "n.ipynb", "cell_id": "9", "new_source": ""}))
                .contains("no cell `9`: there are 2")
        );
        assert!(said(json!({"path": "n.ipynb", "new_source": "x"})).contains("cell_id says which cell"));
        let other = json!({"path": "n.ipynb", "cell_id": "0", "new_source": "x", "cell_type": "markdown"});
        assert!(said(other).contains("cell_type is an inserted cell's"));
        assert!(said(json!({"path": "none", "cell_id": "1"})).contains("does not exist"));
        assert_eq!(bench.text("n.ipynb"), NOTEBOOK);
        assert_eq!(
            said(json!({"path": "n.ipynb", "cell_id": "c", "new_source": "z"})),
            "`n.ipynb`: replaced cell 1"
        );
        assert!(bench.text("n.ipynb").contains("\"z\""));
    }
}
