//! Plain tables: columns as wide as their widest cell, the last one cut to the terminal.
//!
//! Knows text only, already cleaned. Start at [`table`].

use super::clean;

/// Columns between two cells.
const GAP: usize = 2;
/// Lines are not cut to less than this.
const NARROWEST: usize = 20;

/// Rows below a heading. `width` cuts lines (`None` = as long as they are).
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let all =
        std::iter::once(heading.iter().map(|cell| (*cell).to_owned()).collect()).chain(rows.iter().cloned());
    let all: Vec<Vec<String>> = all.collect();
    let columns = all.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |at: usize| {
        all.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let mut out = String::new();
    for row in &all {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if at + 1 < row.len() {
                let pad = widths[at] + GAP - cell.chars().count();
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        let line = line.trim_end();
        match width {
            Some(width) => out.push_str(&clean::cut(line, width.max(NARROWEST))),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_are_cut() {
        let rows =
            [vec!["a1".to_owned(), "x".to_owned()], vec!["b".to_owned(), "a rather long goal".to_owned()]];
        assert_eq!(table(&["ID", "GOAL"], &rows, None), "ID  GOAL\na1  x\nb   a rather long goal\n");
        assert_eq!(table(&["ID", "GOAL"], &rows, Some(20)), "ID  GOAL\na1  x\nb   a rather long g…\n");
    }
}
