//! `parse`: what Kapell sees in an output: findings, tests, and the lines an agent would be shown.
//!
//! Reads standard input or a file as it comes, so that its length does not matter. Renders [`output::Digest`]; opens no
//! store. Start at [`run`].

use crate::app::App;
use crate::exit::{self, Failure};
use crate::out;
use crate::show::{clean, json_page};
use contract::found::{Ending, Finding, TestEnd};
use contract::limits::OUTPUT_VIEW_BYTES;
use output::{Digest, Options, Reader};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Reads an output; the exit code.
pub(crate) fn run(
    app: &App,
    file: Option<&Path>,
    tool: Option<&str>,
    limit: Option<usize>,
) -> Result<u8, Failure> {
    let (parsers, bad) = app.parsers(&app.config(None)?);
    bad.iter().for_each(|why| out::warn(why));
    let (command, custom) = (tool.unwrap_or_default().to_owned(), parsers.current());
    if let Some(tool) = tool {
        known(tool, &custom);
    }
    let limit = limit.unwrap_or(OUTPUT_VIEW_BYTES);
    let digest = digest(file, Options { command, custom, limit })?;
    match app.global.json {
        true => out::print(&json_page(&json!({
            "summary": digest.summary(),
            "errors": digest.errors,
            "warnings": digest.warnings,
            "lines": digest.lines,
            "bytes": digest.bytes,
            "tests": digest.tests,
            "counts": digest.counts.iter().map(|(what, count)| json!({"what": what, "count": count})).collect::<Vec<_>>(),
            "findings": digest.findings,
            "ends": digest.ends,
            "truncated": digest.truncated,
            "text": digest.text,
        }))),
        false => show(&digest),
    }
    Ok(exit::OK)
}

/// A name nobody knows is no mistake, since it may be a command line; but it is worth a word.
fn known(tool: &str, custom: &output::Custom) {
    let names = output::parsers();
    let own = custom.written().iter().map(|parser| parser.name.as_str());
    if !tool.contains(' ') && !names.iter().copied().chain(own).any(|name| name == tool) {
        out::warn(&format!(
            "no parser is called `{tool}`: it is taken as a command; parsers: {}",
            names.join(", ")
        ));
    }
}

fn digest(file: Option<&Path>, options: Options) -> Result<Digest, Failure> {
    let name = file.map_or("standard input".to_owned(), |file| file.display().to_string());
    let failed = |error: std::io::Error| {
        let hint = "kapell parse < LOG, or kapell parse LOG";
        Failure::usage("unreadable", format!("cannot read {name}: {error}"), hint)
    };
    let mut from: Box<dyn Read> = match file {
        Some(file) => Box::new(File::open(file).map_err(failed)?),
        None => Box::new(std::io::stdin()),
    };
    let mut reader = Reader::new(options);
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).map_err(failed)? {
            0 => return Ok(reader.finish(&mut |_| ())),
            n => reader.push(&chunk[..n], &mut |_| ()),
        }
    }
}

fn show(digest: &Digest) {
    out::print(&format!("{}\n", digest.summary()));
    for finding in &digest.findings {
        out::print(&format!("{}\n", line(finding)));
    }
    for test in digest.ends.iter().filter(|test| test.ending == Ending::Failed) {
        out::print(&format!("{}\n", ended(test)));
    }
    out::print(&format!("\nshown to an agent:\n{}", digest.text));
}

/// `error src/a.rs:3:7 [E0308] mismatched types (cargo, line 12)`.
fn line(finding: &Finding) -> String {
    let mut text = output::severity(finding.severity).to_owned();
    if let Some(file) = &finding.file {
        text.push_str(&format!(" {file}"));
        for place in [finding.line, finding.column].into_iter().flatten() {
            text.push_str(&format!(":{place}"));
        }
    }
    if let Some(code) = &finding.code {
        text.push_str(&format!(" [{code}]"));
    }
    clean::line(&format!("{text} {} ({}, line {})", finding.message, finding.tool, finding.at))
}

fn ended(test: &TestEnd) -> String {
    let took = test.ms.map_or(String::new(), |ms| format!(" in {ms} ms"));
    clean::line(&format!(
        "{} {}{took} ({}, line {})",
        output::ending(test.ending),
        test.name,
        test.tool,
        test.at
    ))
}
