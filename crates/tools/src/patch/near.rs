//! What stands where a hunk was to go: the lines of the file most like the ones it wants.
//!
//! Decides nothing. Start at [`instead`].

use crate::view;
use std::collections::HashMap;

/// Places of an ambiguous piece that are named.
pub(crate) const PLACES: usize = 5;
/// Lines that are shown.
const LINES: usize = 12;
/// Bytes of one that are shown.
const LINE_BYTES: usize = 160;
/// Comparisons of lines that finding the places of a file's hunks is worth, or explaining why there is none.
pub(super) const WORTH: usize = 20_000_000;

/// The lines that are most like these, from this line on; what was said decides between equals.
pub(super) fn instead(file: &[&[u8]], wanted: &[&[u8]], from: usize, said: Option<usize>) -> String {
    if file.is_empty() {
        return "; the file is empty".to_owned();
    }
    if file.len().saturating_mul(wanted.len()) > WORTH {
        return "; read the file again".to_owned();
    }
    let mut ids = HashMap::new();
    let mut id = |line: &[u8]| {
        let next = ids.len();
        *ids.entry(line.trim_ascii().to_vec()).or_insert(next)
    };
    let wanted_ids: Vec<usize> = wanted.iter().map(|line| id(line)).collect();
    let file_ids: Vec<usize> = file.iter().map(|line| id(line)).collect();
    let empty = id(b"");
    let same = |at: usize| {
        let pairs = file_ids[at..].iter().zip(&wanted_ids);
        pairs.filter(|(is, wanted)| is == wanted && **is != empty).count()
    };
    let far = |at: usize| said.map_or(at, |said| at.abs_diff(said));
    let best = (from.min(file.len() - 1)..file.len()).max_by_key(|at| (same(*at), usize::MAX - far(*at)));
    let Some(best) = best.filter(|at| same(*at) > 0) else {
        let first = wanted.iter().find(|line| !line.trim_ascii().is_empty()).copied().unwrap_or_default();
        return format!("; no line like `{}` is there, read the file again", clipped(first));
    };
    let last = (best + wanted.len().min(LINES)).min(file.len());
    let mut text = String::from("; most like it is\n");
    for (at, line) in file.iter().enumerate().take(last).skip(best) {
        let missing = wanted_ids.get(at - best).is_some_and(|wanted| *wanted != file_ids[at]);
        let mark = if missing { '!' } else { ' ' };
        text.push_str(&format!("{mark}{:>6}\t{}\n", at + 1, clipped(line)));
    }
    text.push_str("(`!` marks a line that differs)");
    text
}

fn clipped(line: &[u8]) -> String {
    let shown = view::visible(line.trim_ascii_end());
    let at = shown.floor_char_boundary(LINE_BYTES);
    if at < shown.len() { format!("{}...", &shown[..at]) } else { shown }
}
