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

fn is_divider(line: &str) -> bool {
    is(line, '=', "")
}

fn is_replace(line: &str) -> bool {
    is(line, '>', "REPLACE") || is(line, '+', "REPLACE")
}

/// The blocks, those of one file that follow each other together.
pub(super) fn parse(lines: &[&str]) -> Result<Vec<Section>, Bad> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut at, mut named): (usize, Option<PathBuf>) = (0, None);
    while at < lines.len() {
        if !is_search(lines[at]) {
            let name = lines[at].trim().trim_matches(['`', '*', '#', ' ']).trim_end_matches(':').trim();
            if !lines[at].trim_start().starts_with("```") && !name.is_empty() {
                named = Some(line_name(name).into());
            }
            at += 1;
            continue;
        }
        let find = |from: usize, test: fn(&str) -> bool| (from..lines.len()).find(|at| test(lines[*at]));
        let (divider, end) = find(at + 1, is_divider)
            .and_then(|divider| Some((divider, find(divider, is_replace)?)))
            .ok_or_else(|| Bad::at(at, "this block has no `=======` and `>>>>>>> REPLACE`"))?;
        let path = match (named.take(), sections.last()) {
            (Some(path), _) => path,
            (None, Some(last)) => last.new.clone().unwrap_or_default(),
            (None, None) => return Err(Bad::at(at, "the line above a block names its file")),
        };
        let (search, replace) = (&lines[at + 1..divider], &lines[divider + 1..end]);
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
