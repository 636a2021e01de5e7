//! Jupyter notebooks: their cells, and where each stands in the file.
//!
//! Knows nothing of tools. Start at [`Notebook::parse`]; `read.rs` and `edit.rs` are the tools.

pub(crate) mod edit;
pub(crate) mod read;
mod spans;

use crate::args::refuse;
use contract::Fault;
use serde_json::Value;
use std::ops::Range;

/// A notebook and its cells.
#[derive(Debug)]
pub(crate) struct Notebook<'t> {
    text: &'t str,
    value: Value,
    /// The array of cells.
    array: Range<usize>,
    cells: Vec<Cell>,
}

/// A cell.
#[derive(Debug)]
struct Cell {
    place: Range<usize>,
    /// Name, where it begins, where its value stands.
    members: Vec<(String, usize, Range<usize>)>,
}

/// Cells of the format's fourth version have names from its fifth revision on.
const NAMED_FROM: (u64, u64) = (4, 5);

impl<'t> Notebook<'t> {
    /// Reads one; what is none says so.
    pub(crate) fn parse(text: &'t str) -> Result<Self, Fault> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| refuse(format!("this is no notebook: {error}")))?;
        let odd = || refuse("this is no notebook of version 4: it has no list of cells");
        let find = || {
            let bytes = text.as_bytes();
            let top = spans::members(bytes, spans::start(bytes))?;
            let array = top.into_iter().rfind(|(name, ..)| name == "cells")?.2;
            let cells = spans::elements(bytes, array.start)?.into_iter();
            let cell =
                |place: Range<usize>| Some(Cell { members: spans::members(bytes, place.start)?, place });
            Some((array, cells.map(cell).collect::<Option<Vec<Cell>>>()?))
        };
        let (array, cells) = find().ok_or_else(odd)?;
        if value["cells"].as_array().is_none_or(|all| all.len() != cells.len()) {
            return Err(odd());
        }
        Ok(Self { text, value, array, cells })
    }

    fn cell(&self, number: usize) -> &Value {
        &self.value["cells"][number]
    }

    fn kind(&self, number: usize) -> &str {
        self.cell(number)["cell_type"].as_str().unwrap_or("raw")
    }

    fn id(&self, number: usize) -> Option<&str> {
        self.cell(number)["id"].as_str()
    }

    /// The cell of this id, or else of this number.
    fn find(&self, name: &str) -> Result<usize, Fault> {
        let by_id = (0..self.cells.len()).find(|number| self.id(*number) == Some(name));
        let by_number = || name.parse().ok().filter(|number| *number < self.cells.len());
        by_id.or_else(by_number).ok_or_else(|| {
            refuse(format!("there is no cell `{name}`: there are {}, numbered from 0", self.cells.len()))
        })
    }

    fn has_ids(&self) -> bool {
        let version = |name: &str| self.value[name].as_u64().unwrap_or(0);
        (version("nbformat"), version("nbformat_minor")) >= NAMED_FROM
    }
}

/// Text that the format writes as one string or as lines.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}
