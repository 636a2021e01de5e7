//! A copy of the journal's streams with the signed log, checked without a store: edits, cuts, moves, missing ends and
//! missing files are found, and where.
//!
//! Reads no file: the copy comes in as values. Start at [`verify`].

use crate::log::{self, Act};
use contract::{Digest, Seq, StreamId};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Name of the log in a copy.
pub const LOG: &str = "log.jsonl";
/// Name of the line that says what a copy holds.
pub const MANIFEST: &str = "manifest.json";

/// The name of a stream's file in a copy.
pub fn file_name(stream: StreamId) -> String {
    format!("{}.txt", stream.to_string().replace('/', "-"))
}

/// One record in a stream's file: its chain hash, a space, its bytes.
pub fn line(hash: Digest, record: &[u8]) -> Vec<u8> {
    [hash.to_string().as_bytes(), b" ", record, b"\n"].concat()
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file of the copy.
    pub file: String,
    /// The line in it, from 1, where there is one.
    pub line: Option<u64>,
    /// What is wrong.
    pub problem: String,
}

/// What was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Streams.
    pub streams: usize,
    /// Records whose chain was recomputed.
    pub records: u64,
    /// Lines of the log whose signature was checked.
    pub lines: u64,
    /// The key they are signed with first.
    pub key: String,
    /// What is wrong; empty = all is as it was.
    pub findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Numbered {
    seq: Seq,
}

/// Checks a copy. `files`: those of its streams by name; `pinned`: the key the reader knows from elsewhere; `genesis`: the
/// hash before a stream's first record.
pub fn verify(
    manifest: &str,
    log: &str,
    files: &BTreeMap<String, Vec<u8>>,
    pinned: Option<&str>,
    genesis: fn(StreamId) -> Digest,
) -> Verified {
    let mut out = Verified::default();
    let found = |file: &str, line: Option<u64>, problem: String| Finding { file: file.into(), line, problem };
    let (bodies, tip, flaw) = log::read(log, pinned);
    out.lines = tip.n;
    out.findings.extend(flaw.map(|flaw| found(LOG, Some(flaw.line), flaw.problem)));
    let keys = bodies.iter().filter_map(|body| match &body.act {
        Act::Key { public } => Some(public.clone()),
        _ => None,
    });
    let keys: Vec<String> = keys.collect();
    out.key = keys.first().cloned().unwrap_or_default();
    let last = keys.last().map(String::as_str).or(pinned).unwrap_or_default();
    let body = match log::signed(manifest.trim_end_matches('\n'), last) {
        Ok(body) => body,
        Err(problem) => {
            out.findings.push(found(MANIFEST, None, problem));
            return out;
        }
    };
    let Act::Export { lines, last, streams } = body.act else {
        out.findings.push(found(MANIFEST, None, "it is not about a copy".into()));
        return out;
    };
    if (lines, last) != (tip.n, tip.hash) {
        out.findings.push(found(
            LOG,
            None,
            format!("it has {} sound lines of {lines}: its end is missing", tip.n),
        ));
    }
    let anchored = log::heads(&bodies);
    out.streams = streams.len();
    let mut names = Vec::new();
    for (stream, seq, hash) in streams {
        let name = file_name(stream);
        match files.get(&name) {
            None => {
                out.findings.push(found(&name, None, format!("the file is missing; it had {seq} records")))
            }
            Some(bytes) => match chained(bytes, genesis(stream), anchored.get(&stream)) {
                Ok(at) if at == (seq, hash) => out.records += seq,
                Ok((found_seq, _)) if found_seq < seq => {
                    let problem = format!("it ends after record {found_seq} of {seq}: its end is missing");
                    out.findings.push(found(&name, Some(found_seq), problem));
                }
                Ok((found_seq, _)) => {
                    let problem =
                        format!("it ends at record {found_seq}, not as the signed list says ({seq})");
                    out.findings.push(found(&name, Some(found_seq), problem));
                }
                Err((line, problem)) => out.findings.push(found(&name, Some(line), problem)),
            },
        }
        names.push(name);
    }
    for name in files.keys().filter(|name| !names.contains(name)) {
        out.findings.push(found(name, None, "the signed list does not name it".into()));
    }
    out
}

/// Recomputes the chain of a stream's file: its last record and hash, or the first line that is not as it was.
fn chained(
    bytes: &[u8],
    genesis: Digest,
    anchor: Option<&(Seq, Digest)>,
) -> Result<(Seq, Digest), (u64, String)> {
    let (mut seq, mut hash) = (0, genesis);
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let wrong = |problem: &str| Err((seq + 1, problem.to_owned()));
        let Some(space) = line.iter().position(|byte| *byte == b' ') else {
            return wrong("it is not a record");
        };
        let stated: Option<Digest> =
            std::str::from_utf8(&line[..space]).ok().and_then(|text| text.parse().ok());
        let record = &line[space + 1..];
        let Ok(Numbered { seq: number }) = serde_json::from_slice(record) else {
            return wrong("it is not a record");
        };
        if number != seq + 1 {
            return Err((seq + 1, format!("it is record {number}: records are missing or moved")));
        }
        hash = Digest::chain(&hash, record);
        if stated != Some(hash) {
            return wrong("it was changed: its hash is another one");
        }
        seq += 1;
        if anchor.is_some_and(|(at, signed)| *at == seq && *signed != hash) {
            return Err((seq, "it is not the record that was signed: the stream was written anew".into()));
        }
    }
    Ok((seq, hash))
}
