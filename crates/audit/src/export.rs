//! A copy of the journal's streams with the signed log, checked without a store: edits, cuts, moves, missing ends and
//! missing files are found, and where.
//!
//! Reads no file: the copy comes in as values. Start at [`verify`].

use crate::log::{self, Act, Flaw, Tip};
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
    /// Was it known before, by itself or by a head that was kept? Otherwise anybody may have made all of it.
    pub pinned: bool,
    /// Where the log stands: to be kept elsewhere.
    pub head: Tip,
    /// Records after the last that was signed.
    pub unsigned: u64,
    /// Streams of which nothing is signed.
    pub loose: Vec<StreamId>,
    /// What is wrong; empty = all is as it was.
    pub findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Numbered {
    seq: Seq,
}

/// What the reader of a copy knows from elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pin<'a> {
    /// The key, in hexadecimal.
    pub key: Option<&'a str>,
    /// A head that was kept.
    pub since: Option<Tip>,
}

impl Verified {
    /// Adds what is wrong with the log itself.
    pub fn flawed(&mut self, flaws: impl IntoIterator<Item = Flaw>) {
        let finding = |flaw: Flaw| found(LOG, Some(flaw.line), flaw.problem);
        self.findings.extend(flaws.into_iter().map(finding));
    }
}

fn found(file: &str, line: Option<u64>, problem: String) -> Finding {
    Finding { file: file.into(), line, problem }
}

/// Checks a copy. `files`: those of its streams by name; `genesis`: the hash before a stream's first record.
pub fn verify(
    manifest: &str,
    log: &str,
    files: &BTreeMap<String, Vec<u8>>,
    pin: Pin<'_>,
    genesis: fn(StreamId) -> Digest,
) -> Verified {
    let mut out = Verified { pinned: pin.key.is_some() || pin.since.is_some(), ..Verified::default() };
    let (mut bodies, tip, flaw) = log::read(log, pin.key);
    (out.lines, out.head) = (tip.n, tip);
    out.flawed(flaw);
    let keys = bodies.iter().filter_map(|body| match &body.act {
        Act::Key { public } => Some(public.clone()),
        _ => None,
    });
    let keys: Vec<String> = keys.collect();
    out.key = keys.first().cloned().unwrap_or_default();
    let last = keys.last().map(String::as_str).or(pin.key).unwrap_or_default();
    let manifest = manifest.trim_end_matches('\n');
    let body = match log::signed(manifest, last) {
        Ok(body) => body,
        Err(problem) => {
            out.findings.push(found(MANIFEST, None, problem));
            return out;
        }
    };
    let Act::Export { lines, last, streams } = &body.act else {
        out.findings.push(found(MANIFEST, None, "it is not about a copy".into()));
        return out;
    };
    // It is the log's next line.
    if (*lines, *last) != (tip.n, tip.hash) || (body.n, body.prev) != (tip.n + 1, tip.hash) {
        let problem = format!("it has {} sound lines of {lines}: its end is missing", tip.n);
        out.findings.push(found(LOG, None, problem));
    }
    out.head = Tip { n: body.n, hash: Digest::of(manifest.as_bytes()) };
    let streams = streams.clone();
    bodies.push(body);
    out.flawed(pin.since.and_then(|since| log::taken_back(&bodies, out.head, since)));
    out.flawed(log::gaps(&bodies, pin.since.map_or(0, |since| since.n)));
    compare(&mut out, streams, files, &bodies, genesis);
    out
}

/// Compares the files with the list of the copy, and with every line of the log that names their streams.
fn compare(
    out: &mut Verified,
    streams: Vec<(StreamId, Seq, Digest)>,
    files: &BTreeMap<String, Vec<u8>>,
    bodies: &[log::Body],
    genesis: fn(StreamId) -> Digest,
) {
    let (mut anchors, flaws) = log::anchors(bodies);
    out.flawed(flaws);
    out.streams = streams.len();
    let mut names = Vec::new();
    for (stream, seq, hash) in streams {
        let name = file_name(stream);
        let anchored = anchors.remove(&stream).unwrap_or_default();
        match files.get(&name) {
            None => {
                out.findings.push(found(&name, None, format!("the file is missing; it had {seq} records")))
            }
            Some(bytes) => match chained(bytes, genesis(stream), seq, hash) {
                Ok(hashes) => {
                    out.records += seq;
                    let wrong = log::contradiction(&hashes, &anchored);
                    out.findings.extend(wrong.map(|(at, problem)| found(&name, Some(at), problem)));
                }
                Err((line, problem)) => out.findings.push(found(&name, Some(line), problem)),
            },
        }
        names.push(name);
    }
    for stream in anchors.into_keys() {
        let problem = "the signed log names it, the list of this copy does not: it is missing".to_owned();
        out.findings.push(found(&file_name(stream), None, problem));
    }
    for name in files.keys().filter(|name| !names.contains(name)) {
        out.findings.push(found(name, None, "the signed list does not name it".into()));
    }
}

/// Recomputes the chain of a stream's file: the hash after each record, or the first line that is not as it was. It
/// must end with this record and hash.
fn chained(bytes: &[u8], genesis: Digest, last: Seq, end: Digest) -> Result<Vec<Digest>, (u64, String)> {
    let (mut seq, mut hash, mut hashes) = (0, genesis, Vec::new());
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    for line in body.split(|byte| *byte == b'\n').filter(|_| !bytes.is_empty()) {
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
        hashes.push(hash);
    }
    match seq {
        _ if (seq, hash) == (last, end) => Ok(hashes),
        _ if seq < last => Err((seq, format!("it ends after record {seq} of {last}: its end is missing"))),
        _ => Err((
            seq,
            format!("it ends at record {seq}, not as the signed list says ({last}): it was written anew"),
        )),
    }
}
