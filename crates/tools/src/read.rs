//! `read`: lines of a text file, numbered; also of an earlier output by its digest; a picture as such. Pure.
//! Knows nothing of how a path stays inside (`tree.rs`). Start at [`Read`].

use crate::args::{blocking, parse, refuse};
use crate::judge::{Content, judged};
use crate::tree::{Tree, io_fault};
use crate::{image, name, view};
use contract::action::EffectClass;
use contract::limits::{IMAGE_BYTES, READ_BYTES, READ_LINE_BYTES, READ_LINES};
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Cursor, Read as _};
use std::path::Path;

/// Bytes at the start in which a zero byte makes a file binary (as git and grep judge).
const SNIFF_BYTES: usize = 8000;
pub(crate) const BLOB: &str = "blob:";

/// The tool.
#[derive(Debug)]
pub(crate) struct Read;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    path: String,
    offset: Option<u64>,
    limit: Option<u64>,
}

impl Tool for Read {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "read".into(),
            description:
                "Reads a text file of the workspace. Each line comes with its number and a tab before it. A picture (PNG, \
                JPEG, GIF, WebP) is shown as one. \
                `path` may also be `blob:DIGEST`, as earlier outputs name it, to page through a whole output."
                    .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "File, relative to the workspace; or blob:DIGEST. In names, \\xNN is a byte and \\\\ a backslash."},
                    "offset": {"type": "integer", "minimum": 1, "description": "First line, counted from 1."},
                    "limit": {"type": "integer", "minimum": 1, "maximum": READ_LINES, "description": "How many lines."}
                },
                "required": ["path"],
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        let parsed = Args::parse(args)?;
        if let Some(digest) = parsed.path.strip_prefix(BLOB) {
            blob_digest(digest)?;
        } else {
            name::parse(&parsed.path)?;
        }
        Ok(judged("read", args, scope, EffectClass::Pure, "only reads", Content::default()))
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(async move {
            match Args::parse(&args) {
                Err(fault) => Output::error(fault.to_string()),
                Ok(args) => read(args, scope).await,
            }
        })
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("read", args)?;
        if parsed.offset == Some(0) || parsed.limit == Some(0) {
            return Err(refuse("`read`: offset and limit count from 1"));
        }
        Ok(parsed)
    }
}

async fn read(args: Args, scope: Scope) -> Output {
    if let Some(digest) = args.path.strip_prefix(BLOB) {
        let blob = match blob_digest(digest) {
            Ok(digest) => scope.blobs.open(digest).await,
            Err(fault) => Err(fault),
        };
        // An output is not edited, so what is not text in it need not be refused.
        return blocking(move || {
            let (mut blob, name) = (blob?, Path::new("blob"));
            let failed = |error: std::io::Error| io_fault(name, &error);
            let Some(media_type) = image::media_type(blob.fill_buf().map_err(failed)?) else {
                return page(&args, name, blob);
            };
            let mut bytes = Vec::new();
            blob.by_ref().take(IMAGE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 <= IMAGE_BYTES {
                return Ok(image::output(&args.path, media_type, bytes));
            }
            page(&args, name, Cursor::new(bytes).chain(blob))
        })
        .await;
    }
    blocking(move || {
        let path = name::parse(&args.path)?;
        let (file, size) = Tree::at(&scope.root)?.open(&path)?;
        let mut file = BufReader::with_capacity(SNIFF_BYTES, file);
        let start = file.fill_buf().map_err(|error| io_fault(&path, &error))?;
        if let Some(media_type) = image::media_type(start) {
            return picture(&name::show(&path), media_type, size, file)
                .map_err(|error| io_fault(&path, &error))?;
        }
        if start.contains(&0) {
            return Err(refuse(format!("`{}` is a binary file of {size} bytes", name::show(&path))));
        }
        page(&args, &path, file)
    })
    .await
}

/// A picture, as far as providers take it.
fn picture(
    name: &str,
    media_type: &str,
    size: u64,
    file: impl std::io::Read,
) -> std::io::Result<Result<Output, Fault>> {
    if size > IMAGE_BYTES {
        return Ok(Err(refuse(image::too_large(name, size))));
    }
    // It may grow while it is read.
    let mut bytes = Vec::new();
    file.take(IMAGE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > IMAGE_BYTES {
        return Ok(Err(refuse(image::too_large(name, bytes.len() as u64))));
    }
    Ok(Ok(image::output(name, media_type, bytes)))
}

pub(crate) fn blob_digest(text: &str) -> Result<Digest, Fault> {
    text.parse()
        .map_err(|_| refuse(format!("`{BLOB}` must be followed by the 64 hexadecimal digits of an output")))
}

/// The wanted lines, as far as they fit.
fn page(args: &Args, path: &Path, mut from: impl BufRead) -> Result<Output, Fault> {
    let first = args.offset.unwrap_or(1);
    let last = first.saturating_add(args.limit.unwrap_or(READ_LINES).min(READ_LINES)) - 1;
    let mut text = String::new();
    let mut number = 0;
    while let Some(line) = next_line(&mut from).map_err(|error| io_fault(path, &error))? {
        number += 1;
        if number < first {
            continue;
        }
        if number > last || text.len() + line.kept.len() > READ_BYTES {
            text.push_str(&format!("[more lines follow; go on with offset {number}]\n"));
            return Ok(Output::ok(text));
        }
        let shown = view::visible(line.kept.strip_suffix(b"\r").unwrap_or(&line.kept));
        text.push_str(&format!("{number:>6}\t{shown}"));
        if line.cut > 0 {
            text.push_str(&format!(" [... {} bytes more in this line]", line.cut));
        }
        text.push('\n');
    }
    if number == 0 {
        return Ok(Output::ok("[it is empty]"));
    }
    if text.is_empty() {
        return Ok(Output::error(format!("there is no line {first}: the last one is {number}")));
    }
    Ok(Output::ok(text))
}

struct Line {
    kept: Vec<u8>,
    cut: u64,
}

/// The next line without its end, in bounded memory however long it is.
fn next_line(from: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Line { kept: Vec::new(), cut: 0 };
    let mut any = false;
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any.then_some(line));
        }
        any = true;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = part.len().min(READ_LINE_BYTES - line.kept.len());
        line.kept.extend_from_slice(&part[..room]);
        line.cut += (part.len() - room) as u64;
        let used = end.map_or(buffer.len(), |end| end + 1);
        from.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn lines_come_with_their_numbers() {
        let bench = Bench::new();
        bench.file("a.txt", "one\r\n\u{1b}[2Jtwo\n\nfour");
        let read = |args| bench.run(&Read, args).text;
        assert_eq!(
            read(json!({"path": "a.txt"})),
            "     1\tone\n     2\t\u{241b}[2Jtwo\n     3\t\n     4\tfour\n"
        );
        assert_eq!(
            read(json!({"path": "a.txt", "offset": 2, "limit": 1})),
            "     2\t\u{241b}[2Jtwo\n[more lines follow; go on with offset 3]\n"
        );
        let absolute = bench.root().join("a.txt");
        assert_eq!(read(json!({"path": absolute, "offset": 4})), "     4\tfour\n");
        assert_eq!(read(json!({"path": "a.txt", "offset": 9})), "there is no line 9: the last one is 4");
    }

    #[test]
    fn large_files_come_in_pages_that_join() {
        let bench = Bench::new();
        let all: String = (1..=30_000).map(|n| format!("line {n}\n")).collect();
        bench.file("big", &all);
        let (mut seen, mut offset) = (String::new(), 1);
        loop {
            let page = bench.run(&Read, json!({"path": "big", "offset": offset})).text;
            assert!(page.len() < 2 * READ_BYTES);
            for line in page.lines().filter_map(|line| line.split_once('\t')) {
                seen.push_str(line.1);
                seen.push('\n');
            }
            let Some((_, next)) = page.rsplit_once("offset ") else { break };
            offset = next.trim_end_matches("]\n").parse().unwrap();
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_line_of_megabytes_is_cut() {
        let bench = Bench::new();
        bench.file("wide", "x".repeat(3 << 20));
        let text = bench.run(&Read, json!({"path": "wide"})).text;
        assert!(
            text.len() < READ_LINE_BYTES + 100 && text.contains("bytes more in this line"),
            "{}",
            text.len()
        );
    }

    #[test]
    fn what_is_no_text_is_said() {
        let bench = Bench::new();
        bench.file("b", b"\x7fELF\0\0");
        bench.file("empty", "");
        rustix::fs::mkfifoat(rustix::fs::CWD, bench.root().join("fifo"), 0o600.into()).unwrap();
        for (path, said) in [
            ("b", "`b` is a binary file of 6 bytes"),
            ("fifo", "`fifo` is not a regular file"),
            (".", "`.` is a directory; use list"),
            ("none", "`none` does not exist"),
            ("../outside.txt", "`../outside.txt` leads out of the workspace"),
        ] {
            let output = bench.run(&Read, json!({"path": path}));
            assert_eq!((output.ok, output.text.as_str()), (false, said));
        }
        assert_eq!(bench.run(&Read, json!({"path": "empty"})).text, "[it is empty]");
    }

    #[test]
    fn pictures_are_known_by_how_they_begin_and_bounded() {
        let bench = Bench::new();
        let webp = [b"RIFF\x10\0\0\0WEBPVP8 ".as_slice(), &[0; 8]].concat();
        for (name, bytes, media_type) in [
            ("a", b"\x89PNG\r\n\x1a\n\0\0".as_slice(), "image/png"),
            ("b.txt", b"\xff\xd8\xff\xe0\0", "image/jpeg"),
            ("c", b"GIF89a\x01\0", "image/gif"),
            ("d", &webp, "image/webp"),
        ] {
            bench.file(name, bytes);
            let output = bench.run(&Read, json!({"path": name}));
            let size = bytes.len();
            assert_eq!(output.text, format!("`{name}` is a picture: {media_type}, {size} bytes"));
            assert!(output.ok && output.images.len() == 1 && output.images[0].bytes == bytes);
            assert_eq!(output.images[0].media_type, media_type);
        }
        bench.file("huge.png", [b"\x89PNG\r\n\x1a\n".as_slice(), &vec![0; IMAGE_BYTES as usize]].concat());
        let output = bench.run(&Read, json!({"path": "huge.png"}));
        assert!(!output.ok && output.images.is_empty() && output.text.contains("at most"), "{}", output.text);
        bench.file("riff", b"RIFF\x10\0\0\0WAVEfmt \0");
        assert!(bench.run(&Read, json!({"path": "riff"})).text.contains("binary file"));
    }

    #[test]
    fn earlier_outputs_are_read_by_their_digest() {
        let whole = b"first\nsecond\0\n";
        let bench = Bench::with_blobs(&[whole]);
        let path = format!("blob:{}", Digest::of(whole));
        let output = bench.run(&Read, json!({"path": path, "offset": 2}));
        assert_eq!(output.text, "     2\tsecond\u{2400}\n");
        assert!(!bench.run(&Read, json!({"path": format!("blob:{}", Digest::of(b""))})).ok);
        assert!(bench.judge(&Read, json!({"path": "blob:short"})).is_err());
    }

    #[test]
    fn arguments_are_checked() {
        let bench = Bench::new();
        let said = |args| bench.judge(&Read, args).unwrap_err().what;
        assert!(said(json!({"file": "x"})).contains("unknown field `file`"));
        assert!(said(json!({})).contains("missing field `path`"));
        assert!(said(json!("text")).contains("JSON object"));
        assert!(said(json!({"path": "a", "offset": 0})).contains("count from 1"));
        assert_eq!(bench.judge(&Read, json!({"path": "a"})).unwrap().class, EffectClass::Pure);
    }
}
