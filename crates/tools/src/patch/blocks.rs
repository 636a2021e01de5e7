//! SEARCH/REPLACE blocks below the name of a file, as several tools taught models to write them.
//!
//! Knows nothing of the files they are about. Start at [`parse`].

use super::hunk::{Act, Hunk, Line};
use super::{Bad, Section, line_name};
use std::path::PathBuf;

/// Is there one?
pub(super) fn is_one(lines: &[&str]) -> bool {
    lines.iter().any(|line| is_search(line))
}

fn is(line: &str, sign: char, word: &str) -> bool {
    let rest = line.trim_end().trim_start_matches(sign);
    let signs = line.trim_end().len() - rest.len();
    signs >= 5 && rest.trim().trim_end_matches('>') == word
}

fn is_search(line: &str) -> bool {
    is(line, '<', "SEARCH") || is(line, '-', "SEARCH")
}

/// How many equals signs a line is that may divide a block; 0: it is none.
fn divides(line: &str) -> usize {
    if is(line, '=', "") { line.trim_end().len() } else { 0 }
}

/// The line between the two sides. A text may hold lines of equals signs as well, so it is the only one of as many signs
/// as the block's first line has, or else the only one there is.
fn divider(lines: &[&str], start: usize, end: usize) -> Result<usize, Bad> {
    let opening = lines[start].trim_end();
    let signs = opening.bytes().take_while(|sign| Some(sign) == opening.as_bytes().first()).count();
    let all: Vec<usize> = (start + 1..end).filter(|at| divides(lines[*at]) > 0).collect();
    let like: Vec<usize> = all.iter().copied().filter(|at| divides(lines[*at]) == signs).collect();
    match (&like[..], &all[..]) {
        ([one], _) | ([], [one]) => Ok(*one),
        ([], []) => Err(Bad::at(start, "this block has no `=======` and `>>>>>>> REPLACE`")),
        ([_, second, ..], _) | ([], [_, second, ..]) => Err(Bad::at(
            *second,
            "it cannot be told which line of `=` divides this block: send this change as a unified diff",
        )),
    }
}

fn is_replace(line: &str) -> bool {
    is(line, '>', "REPLACE") || is(line, '+', "REPLACE")
}

/// The blocks, those of one file that follow each other together.
pub(super) fn parse(lines: &[&str]) -> Result<Vec<Section>, Bad> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut at, mut named): (usize, Option<(PathBuf, bool)>) = (0, None);
    while at < lines.len() {
        if !is_search(lines[at]) {
            let name = lines[at].trim().trim_matches(['`', '*', '#', ' ']).trim_end_matches(':').trim();
            if !lines[at].trim_start().starts_with("```") && !name.is_empty() {
                // A sentence is no name of a file that is not there yet.
                let sentence = name.contains(char::is_whitespace) && !lines[at].contains('`');
                named = Some((line_name(name).into(), sentence));
            }
            at += 1;
            continue;
        }
        let end = (at + 1..lines.len())
            .find(|at| is_replace(lines[*at]))
            .ok_or_else(|| Bad::at(at, "this block has no `=======` and `>>>>>>> REPLACE`"))?;
        let divider = divider(lines, at, end)?;
        let (path, sentence) = match (named.take(), sections.last()) {
            (Some(named), _) => named,
            (None, Some(last)) => (last.new.clone().unwrap_or_default(), false),
            (None, None) => return Err(Bad::at(at, "the line above a block names its file")),
        };
        let (search, replace) = (&lines[at + 1..divider], &lines[divider + 1..end]);
        if sentence && search.is_empty() {
            let why = "the line above names no new file; a name with spaces stands in backticks";
            return Err(Bad::at(at, why));
        }
        add(&mut sections, path, hunk(search, replace), at)?;
        at = end + 1;
    }
    Ok(sections)
}

fn add(sections: &mut Vec<Section>, path: PathBuf, hunk: Hunk, at: usize) -> Result<(), Bad> {
    let old = hunk.lines.iter().any(|line| line.act != Act::In);
    if hunk.lines.iter().all(|line| line.act == Act::Keep) {
        return Err(Bad::at(at, "SEARCH and REPLACE are the same"));
    }
    match sections.last_mut() {
        Some(last) if last.new.as_ref() == Some(&path) && old && last.old.is_some() => last.hunks.push(hunk),
        _ if old => {
            sections.push(Section {
                old: Some(path.clone()),
                new: Some(path),
                hunks: vec![hunk],
                ..Section::default()
            });
        }
        // Nothing is searched: a new file.
        _ => {
            let hunk = Hunk { at: Some(0), ..hunk };
            sections.push(Section { new: Some(path), hunks: vec![hunk], ..Section::default() });
        }
    }
    Ok(())
}

/// What is the same at both ends stays, so that it keeps what only the file knows.
fn hunk(search: &[&str], replace: &[&str]) -> Hunk {
    let head = search.iter().zip(replace).take_while(|(a, b)| a == b).count();
    let (search_rest, replace_rest) = (&search[head..], &replace[head..]);
    let tail = search_rest.iter().rev().zip(replace_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let line = |act: Act| move |text: &&str| Line::new(act, text);
    let (out, kept) = search_rest.split_at(search_rest.len() - tail);
    let lines = search[..head]
        .iter()
        .map(line(Act::Keep))
        .chain(out.iter().map(line(Act::Out)))
        .chain(replace_rest[..replace_rest.len() - tail].iter().map(line(Act::In)))
        .chain(kept.iter().map(line(Act::Keep)));
    Hunk { lines: lines.collect(), ..Hunk::default() }
}
