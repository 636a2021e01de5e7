//! The format between `*** Begin Patch` and `*** End Patch`, which some models are taught.
//!
//! Knows nothing of the files it is about. Start at [`parse`].
//!
//! ```text
//! *** Add File: PATH         lines follow, each after a `+`
//! *** Delete File: PATH
//! *** Update File: PATH      hunks follow; `*** Move to: PATH` may stand before them
//! @@ a line above it         optional; several narrow it down, outermost first
//!  kept / -out / +in
//! *** End of File            the hunk's last line is the file's
//! ```

use super::hunk::{Act, Hunk};
use super::unified::line;
use super::{Bad, Section, line_name};
use std::path::PathBuf;

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const EOF: &str = "*** End of File";

/// Is there one?
pub(super) fn is_one(lines: &[&str]) -> bool {
    let heads = ["*** Add File: ", "*** Update File: ", "*** Delete File: "];
    lines.iter().any(|line| line.trim_end() == BEGIN || heads.iter().any(|head| line.starts_with(head)))
}

/// The files it is about, in its order. Begin and end may be missing.
pub(super) fn parse(lines: &[&str]) -> Result<Vec<Section>, Bad> {
    let start = lines.iter().position(|line| line.trim_end() == BEGIN).map_or(0, |at| at + 1);
    let (mut at, mut sections) = (start, Vec::new());
    while let Some(text) = lines.get(at).map(|line| line.trim_end()) {
        let named = |head: &str| text.strip_prefix(head).map(|name| PathBuf::from(line_name(name.trim())));
        if text == END {
            // Some send a patch for each file.
            let Some(next) = lines[at..].iter().position(|line| line.trim_end() == BEGIN) else { break };
            at += next + 1;
            continue;
        }
        if text.is_empty() || text.starts_with("```") {
            at += 1;
            continue;
        }
        let section = if let Some(path) = named("*** Add File: ") {
            let body = body(lines, at + 1)?;
            let hunk = Hunk { at: Some(0), lines: body, ..Hunk::default() };
            if hunk.lines.iter().any(|line| line.act != Act::In) {
                return Err(Bad::at(at, "every line of a new file begins with `+`"));
            }
            at += 1 + hunk.lines.len();
            let hunks = if hunk.lines.is_empty() { Vec::new() } else { vec![hunk] };
            Section { new: Some(path), hunks, ..Section::default() }
        } else if let Some(path) = named("*** Delete File: ") {
            at += 1;
            Section { old: Some(path), ..Section::default() }
        } else if let Some(path) = named("*** Update File: ") {
            let (section, next) = update(lines, at, path)?;
            at = next;
            section
        } else {
            return Err(Bad::at(at, "expected `*** Add File: `, `*** Update File: ` or `*** Delete File: `"));
        };
        sections.push(section);
    }
    Ok(sections)
}

fn update(lines: &[&str], start: usize, path: PathBuf) -> Result<(Section, usize), Bad> {
    let mut at = start + 1;
    let mut to = path.clone();
    if let Some(name) = lines.get(at).and_then(|line| line.strip_prefix("*** Move to: ")) {
        to = line_name(name.trim()).into();
        at += 1;
    }
    let mut hunks = Vec::new();
    while at < lines.len() && (!lines[at].starts_with("*** ") || lines[at].trim_end() == EOF) {
        if lines[at].starts_with("```") {
            break;
        }
        let mut hunk = Hunk::default();
        while let Some(anchor) = lines.get(at).and_then(|line| line.strip_prefix("@@")) {
            // The numbers of a unified diff are no line of the file.
            let anchor = anchor.trim().trim_end_matches("@@").trim();
            if !anchor.is_empty() && !anchor.starts_with('-') {
                hunk.anchors.push(anchor.to_owned());
            }
            at += 1;
        }
        hunk.lines = body(lines, at)?;
        at += hunk.lines.len();
        while hunk.lines.last().is_some_and(|line| line.act == Act::Keep && line.text.is_empty()) {
            hunk.lines.pop();
        }
        if lines.get(at).is_some_and(|line| line.trim_end() == EOF) {
            hunk.last = true;
            at += 1;
        }
        if hunk.lines.is_empty() {
            return Err(Bad::at(at.min(lines.len() - 1), "this hunk has no lines"));
        }
        hunks.push(hunk);
    }
    if hunks.is_empty() && to == path {
        return Err(Bad::at(start, "nothing is changed in this file"));
    }
    Ok((Section { old: Some(path), new: Some(to), hunks, ..Section::default() }, at))
}

/// The lines of a hunk from here on.
fn body(lines: &[&str], start: usize) -> Result<Vec<super::hunk::Line>, Bad> {
    let ends = |line: &&str| line.starts_with("*** ") || line.starts_with("@@") || line.starts_with("```");
    let body = lines[start.min(lines.len())..].iter().take_while(|line| !ends(line));
    let mut out = Vec::new();
    for (at, text) in (start..).zip(body) {
        out.push(line(text).ok_or_else(|| Bad::at(at, "a line of a hunk begins with a space, `+` or `-`"))?);
    }
    Ok(out)
}
