//! `notebook_read`: the cells of a Jupyter notebook with what they printed. Pure.
//! Knows nothing of where a cell stands in the file (`mod.rs`). Start at [`NotebookRead`].

use super::{Notebook, joined};
use crate::args::{blocking, parse, refuse};
use crate::judge::{Content, judged};
use crate::tree::Tree;
use crate::{name, view};
use contract::action::EffectClass;
use contract::limits::READ_BYTES;
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};

/// Bytes of what one cell printed.
const PRINTED_BYTES: usize = 2_000;

/// The tool.
#[derive(Debug)]
pub(crate) struct NotebookRead;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    path: String,
    #[serde(default)]
    from: usize,
}

impl Tool for NotebookRead {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "notebook_read".into(),
            description: "Reads a Jupyter notebook (.ipynb): each cell with its number, kind, id, source, and the text it printed."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "File, relative to the workspace."},
                    "from": {"type": "integer", "minimum": 0, "description": "First cell, counted from 0."}
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
        let parsed: Args = parse("notebook_read", args)?;
        name::parse(&parsed.path)?;
        Ok(judged("notebook_read", args, scope, EffectClass::Pure, "only reads", Content::default()))
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || {
            let args: Args = parse("notebook_read", &args)?;
            let path = name::parse(&args.path)?;
            let missing = || refuse(format!("`{}` does not exist", name::show(&path)));
            let target = Tree::at(&scope.root)?.target(&path)?;
            let bytes = target.and_then(|target| target.now).ok_or_else(missing)?;
            let text = String::from_utf8(bytes).map_err(|_| refuse("a notebook is UTF-8 text"))?;
            let notebook = Notebook::parse(&text)?;
            if args.from > 0 && args.from >= notebook.cells.len() {
                return Err(refuse(format!("there are {} cells, numbered from 0", notebook.cells.len())));
            }
            Ok(Output::ok(page(&notebook, args.from)))
        }))
    }
}

fn page(notebook: &Notebook<'_>, from: usize) -> String {
    let mut out = String::new();
    for number in from..notebook.cells.len() {
        let id = notebook
            .id(number)
            .map(|id| format!(", id {}", view::visible(id.as_bytes())))
            .unwrap_or_default();
        let kind = view::visible(notebook.kind(number).as_bytes());
        let cell = notebook.cell(number);
        let mut text = format!("=== cell {number} ({kind}{id})\n{}", shown(&joined(&cell["source"])));
        let printed: String = cell["outputs"].as_array().into_iter().flatten().map(printed).collect();
        if !printed.is_empty() {
            let end = printed.floor_char_boundary(PRINTED_BYTES);
            let more = if end < printed.len() { "[... more]\n" } else { "" };
            text.push_str(&format!("--- printed\n{}{more}", shown(&printed[..end])));
        }
        if !out.is_empty() && out.len() + text.len() > READ_BYTES {
            out.push_str(&format!("[more cells follow; go on with from {number}]\n"));
            return out;
        }
        let end = text.floor_char_boundary(READ_BYTES);
        out.push_str(&text[..end]);
        if end < text.len() {
            out.push_str("\n[... the rest of this cell is left out; use read]\n");
        }
    }
    if out.is_empty() { "[it has no cells]".to_owned() } else { out }
}

/// Line by line, without what acts on a terminal.
fn shown(text: &str) -> String {
    text.lines().map(|line| view::visible(line.as_bytes()) + "\n").collect()
}

/// What a cell printed, as text.
fn printed(output: &Value) -> String {
    let text = match output["output_type"].as_str() {
        Some("stream") => joined(&output["text"]),
        Some("error") => {
            let part = |name: &str| output[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", part("ename"), part("evalue"))
        }
        _ => {
            let data = output["data"].as_object();
            let other = data.into_iter().flat_map(|data| data.keys()).filter(|kind| *kind != "text/plain");
            let other: String = other.map(|kind| format!("[{kind}]\n")).collect();
            other + &joined(&output["data"]["text/plain"])
        }
    };
    view::plain(text.trim_end().as_bytes()) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn cells_come_with_what_they_printed() {
        let bench = Bench::new();
        let notebook = json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
            {"cell_type": "markdown", "id": "a1", "metadata": {}, "source": ["# Title\n", "text"]},
            {"cell_type": "code", "id": "b2", "metadata": {}, "execution_count": 1, "source": "x = 1\nx", "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["\u{1b}[31mred\u{1b}[0m\n"]},
                {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": ["1"], "image/png": "AAAA"}},
                {"output_type": "error", "ename": "E", "evalue": "no", "traceback": []}
            ]}
        ]});
        bench.file("n.ipynb", notebook.to_string());
        let output = bench.run(&NotebookRead, json!({"path": "n.ipynb"}));
        assert_eq!(
            output.text,
            "=== cell 0 (markdown, id a1)\n# Title\ntext\n=== cell 1 (code, id b2)\nx = 1\nx\n--- printed\nred\n[image/png]\n1\nE: no\n"
        );
        assert!(
            bench.run(&NotebookRead, json!({"path": "n.ipynb", "from": 1})).text.starts_with("=== cell 1")
        );
        assert!(
            bench
                .run(&NotebookRead, json!({"path": "n.ipynb", "from": 2}))
                .text
                .contains("there are 2 cells")
        );
        for (file, text, why) in
            [("a", "{", "no notebook"), ("b", "[]", "no list of cells"), ("c", "{\"cells\": 1}", "no list")]
        {
            bench.file(file, text);
            assert!(bench.run(&NotebookRead, json!({"path": file})).text.contains(why));
        }
        assert!(bench.run(&NotebookRead, json!({"path": "none"})).text.contains("does not exist"));
        assert!(bench.run(&NotebookRead, json!({"path": "../outside.txt"})).text.contains("leads out"));
    }
}
