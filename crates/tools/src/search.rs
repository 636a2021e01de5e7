//! `search`: lines that match a regular expression, by the crates ripgrep is made of. Pure.
//! Knows nothing of how files are walked (`walk.rs`). Start at [`Search`].

use crate::args::{blocking, parse, refuse};
use crate::judge::{Content, judged};
use crate::read::{BLOB, blob_digest};
use crate::tree::Tree;
use crate::walk::{self, Walk};
use crate::{name, view};
use contract::action::EffectClass;
use contract::limits::{
    BLOB_BYTES, OUTPUT_VIEW_BYTES, SEARCH_LINE_BYTES, SEARCH_MATCHES, SEARCH_PATTERN_BYTES,
};
use contract::model::ToolSpec;
use contract::port::Sink as Progress;
use contract::tool::{Judged, Output, Scope, Stopped, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkMatch};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, BufRead};
use std::path::Path;

/// Memory that a line and those around it may take, bytes. A file with a longer line is left out.
const LINE_BYTES: usize = 16 * 1024 * 1024;
/// Lines of context at most.
const CONTEXT: usize = 10;

/// The tool.
#[derive(Debug)]
pub(crate) struct Search;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    #[serde(default)]
    literal: bool,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    context: usize,
}

impl Tool for Search {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "search".into(),
            description:
                "Searches files of the workspace for lines that match a regular expression (Rust syntax, \
                as ripgrep). Prints `path:line:text`. Binary and ignored files are left out. `path` may also be `blob:DIGEST`, \
                as earlier outputs name it, to search a whole output."
                    .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "pattern": {"type": "string", "description": "The regular expression, within one line."},
                    "path": {"type": "string", "description": "File or directory, relative to the workspace; its top when left out; or blob:DIGEST."},
                    "glob": {"type": "string", "description": "Only files that fit, such as *.rs or src/**/*.rs."},
                    "literal": {"type": "boolean", "description": "The pattern is plain text."},
                    "ignore_case": {"type": "boolean"},
                    "context": {"type": "integer", "minimum": 0, "maximum": CONTEXT, "description": "Lines shown before and after."}
                },
                "required": ["pattern"],
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        Args::parse(args)?.matcher()?;
        Ok(judged("search", args, scope, EffectClass::Pure, "only reads", Content::default()))
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        _: &'a dyn Progress,
    ) -> BoxFuture<'a, Output> {
        Box::pin(async move {
            let earlier = async {
                let args = Args::parse(&args)?;
                let blob = match args.blob()? {
                    Some(digest) => Some(scope.blobs.open(digest).await?),
                    None => None,
                };
                Ok((args, blob))
            };
            let earlier: Result<_, Fault> = earlier.await;
            blocking(move || {
                let (args, blob) = earlier?;
                search(args, blob, &scope, &cancel)
            })
            .await
        })
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("search", args)?;
        if parsed.pattern.is_empty() || parsed.context > CONTEXT {
            return Err(refuse(format!(
                "`search` needs a pattern, and shows at most {CONTEXT} lines of context"
            )));
        }
        if parsed.blob()?.is_none() {
            walk::start(parsed.path.as_deref())?;
        }
        Ok(parsed)
    }

    /// The earlier output that is searched, if it is one.
    fn blob(&self) -> Result<Option<Digest>, Fault> {
        self.path.as_deref().and_then(|path| path.strip_prefix(BLOB)).map(blob_digest).transpose()
    }

    fn matcher(&self) -> Result<RegexMatcher, Fault> {
        let mut builder = RegexMatcherBuilder::new();
        builder
            .case_insensitive(self.ignore_case)
            .fixed_strings(self.literal)
            .line_terminator(Some(b'\n'))
            .size_limit(SEARCH_PATTERN_BYTES)
            .dfa_size_limit(SEARCH_PATTERN_BYTES);
        builder.build(&self.pattern).map_err(|error| refuse(format!("pattern: {error}")))
    }
}

/// Does this line match a call of these arguments?
#[cfg(any(test, fuzzing))]
pub(crate) fn matches(args: &Value, line: &[u8]) -> Result<bool, Fault> {
    let matcher = Args::parse(args)?.matcher()?;
    let mut found = false;
    let sink = grep_searcher::sinks::Bytes(|_, _| {
        found = true;
        Ok(false)
    });
    Searcher::new().search_slice(&matcher, line, sink).map_err(|error| refuse(format!("{error}")))?;
    Ok(found)
}

fn search(
    args: Args,
    blob: Option<Box<dyn BufRead + Send>>,
    scope: &Scope,
    cancel: &Cancel,
) -> Result<Output, Fault> {
    let tree = Tree::at(&scope.root)?;
    let matcher = args.matcher()?;
    let mut searcher = SearcherBuilder::new()
        .binary_detection(BinaryDetection::quit(0))
        // One line is held in memory, however long the whole is; an output may be a single one.
        .heap_limit(Some(if blob.is_some() { BLOB_BYTES } else { LINE_BYTES }))
        .line_number(true)
        .before_context(args.context)
        .after_context(args.context)
        .build();
    let mut found =
        Found { text: String::new(), file: String::new(), matches: 0, full: false, long: 0, cancel };
    if let Some(blob) = blob {
        "blob".clone_into(&mut found.file);
        // An output is searched whatever stands in it.
        searcher.set_binary_detection(BinaryDetection::none());
        let searched = searcher.search_reader(&matcher, blob, &mut found);
        searched.map_err(|error| refuse(format!("the output cannot be searched: {error}")))?;
        return found.output();
    }
    let start = walk::start(args.path.as_deref())?;
    if tree.open(&start).is_ok() {
        found.file(&tree, tree.relative(&start), &matcher, &mut searcher);
    } else {
        let walk = Walk { start, depth: None, glob: args.glob, ignored: false };
        for entry in walk::entries(&tree, &scope.root, &walk)?.filter(|entry| entry.kind.is_file()) {
            if found.full || cancel.is_cancelled() {
                break;
            }
            found.file(&tree, &entry.path, &matcher, &mut searcher);
        }
    }
    found.output()
}

/// What was found so far.
struct Found<'a> {
    text: String,
    /// The file being searched, as shown.
    file: String,
    matches: usize,
    /// There is more than may be shown.
    full: bool,
    /// Files left out for a line that is too long.
    long: usize,
    cancel: &'a Cancel,
}

impl Found<'_> {
    fn output(self) -> Result<Output, Fault> {
        if self.cancel.is_cancelled() {
            return Ok(Output { stopped: Some(Stopped::Cancelled), ..Output::error(self.text) });
        }
        let Self { mut text, matches, full, long, .. } = self;
        if matches == 0 {
            text.push_str("[no line matches]");
        }
        if full {
            text.push_str(&format!(
                "[more than these {matches} lines match: narrow the pattern, path or glob]\n"
            ));
        }
        if long > 0 {
            let start = if matches == 0 { "\n" } else { "" };
            text.push_str(&format!(
                "{start}[left out: {long} with a line of more than {LINE_BYTES} bytes; use shell for those]\n"
            ));
        }
        Ok(Output::ok(text))
    }

    /// A file that cannot be read, or is no longer inside, is left out, as unreadable directories are.
    fn file(&mut self, tree: &Tree, path: &Path, matcher: &RegexMatcher, searcher: &mut Searcher) {
        if let Ok((file, _)) = tree.open(path) {
            self.file = name::show(path);
            let before = (self.text.len(), self.matches);
            if let Err(error) = searcher.search_file(matcher, &file, &mut *self) {
                // The searcher's own errors are about its memory alone.
                self.long += usize::from(error.raw_os_error().is_none());
                self.text.truncate(before.0);
                self.matches = before.1;
            }
        }
    }

    fn line(&mut self, number: Option<u64>, mark: char, bytes: &[u8]) {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let shown = view::visible(&line[..line.len().min(SEARCH_LINE_BYTES)]);
        let cut = if line.len() > SEARCH_LINE_BYTES { " [...]" } else { "" };
        self.text.push_str(&format!("{}{mark}{}{mark}{shown}{cut}\n", self.file, number.unwrap_or(0)));
    }
}

impl Sink for Found<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, line: &SinkMatch<'_>) -> io::Result<bool> {
        self.full = self.matches == SEARCH_MATCHES || self.text.len() > OUTPUT_VIEW_BYTES;
        if !self.full {
            self.matches += 1;
            self.line(line.line_number(), ':', line.bytes());
        }
        Ok(!self.full && !self.cancel.is_cancelled())
    }

    fn context(&mut self, _: &Searcher, line: &SinkContext<'_>) -> io::Result<bool> {
        self.line(line.line_number(), '-', line.bytes());
        Ok(!self.cancel.is_cancelled())
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        self.text.push_str("--\n");
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, OUTSIDE};
    use std::os::unix::fs::symlink;

    fn search(bench: &Bench, args: Value) -> String {
        bench.run(&Search, args).text
    }

    #[test]
    fn lines_are_found_in_a_fixed_order() {
        let bench = Bench::new();
        bench.file("b.rs", "fn one() {}\r\nfn two() {}\n");
        bench.file("a/x.txt", "fn three\u{1b}[1m\n");
        bench.file(".gitignore", "skipped\n");
        bench.file("skipped/y.rs", "fn hidden() {}\n");
        bench.file(".git/z.rs", "fn hidden() {}\n");
        bench.file("binary", b"fn binary\n\0\n");
        let three = "a/x.txt:1:fn three\u{241b}[1m\n";
        assert_eq!(
            search(&bench, json!({"pattern": r"fn \w+"})),
            format!("{three}b.rs:1:fn one() {{}}\nb.rs:2:fn two() {{}}\n")
        );
        assert_eq!(search(&bench, json!({"pattern": "FN T", "ignore_case": true, "glob": "*.txt"})), three);
        assert_eq!(
            search(&bench, json!({"pattern": "two()", "literal": true, "path": "b.rs", "context": 1})),
            "b.rs-1-fn one() {}\nb.rs:2:fn two() {}\n"
        );
        assert_eq!(search(&bench, json!({"pattern": "hidden"})), "[no line matches]");
    }

    #[test]
    fn an_earlier_output_is_searched_as_it_is() {
        let printed = b"one\n\0two error\nthree\n";
        let bench = Bench::with_blobs(&[printed]);
        let path = format!("blob:{}", contract::Digest::of(printed));
        let found = search(&bench, json!({"pattern": "err", "path": path, "context": 1}));
        assert_eq!(found, "blob-1-one\nblob:2:\u{2400}two error\nblob-3-three\n");
        let lost = search(&bench, json!({"pattern": "err", "path": format!("blob:{}", "0".repeat(64))}));
        assert!(lost.contains("there is no such blob"), "{lost}");
        assert!(search(&bench, json!({"pattern": "err", "path": "blob:xyz"})).contains("64 hexadecimal"));
    }

    #[test]
    fn nothing_outside_is_found() {
        let bench = Bench::new();
        symlink(bench.top(), bench.root().join("out")).unwrap();
        symlink(bench.top().join("outside.txt"), bench.root().join("file")).unwrap();
        assert_eq!(search(&bench, json!({"pattern": OUTSIDE})), "[no line matches]");
        for path in ["..", "out", "file", "../outside.txt"] {
            let output = bench.run(&Search, json!({"pattern": "secret", "path": path}));
            assert!(!output.ok && !output.text.contains(OUTSIDE), "{path}: {}", output.text);
        }
    }

    #[test]
    fn results_are_bounded() {
        let bench = Bench::new();
        bench.file("many", "hit\n".repeat(SEARCH_MATCHES + 1));
        let text = search(&bench, json!({"pattern": "hit"}));
        assert_eq!(text.lines().count(), SEARCH_MATCHES + 1);
        assert!(text.ends_with("narrow the pattern, path or glob]\n"));
        bench.file("many", "hit\n".repeat(SEARCH_MATCHES));
        assert!(!search(&bench, json!({"pattern": "hit"})).contains("narrow"));
        bench.file("many", "x".repeat(1 << 20));
        assert!(search(&bench, json!({"pattern": "x"})).len() < SEARCH_LINE_BYTES + 50);
        // A line takes memory, which has a bound; what is left out for it is told.
        let long = "\n[left out: 1 with a line of more than 16777216 bytes; use shell for those]\n";
        bench.file("many", "x".repeat(LINE_BYTES + 1));
        assert_eq!(search(&bench, json!({"pattern": "x"})), format!("[no line matches]{long}"));
        bench.file("short", "x\n");
        assert_eq!(search(&bench, json!({"pattern": "x"})), format!("short:1:x{long}"));
    }

    #[test]
    fn bad_patterns_are_explained() {
        let bench = Bench::new();
        for pattern in ["(", "", "a\nb", r"(?:\w{500}){500}"] {
            assert!(bench.judge(&Search, json!({"pattern": pattern})).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn a_cancelled_search_ends() {
        let bench = Bench::new();
        bench.file("a", "hit\n");
        let cancel = Cancel::new();
        cancel.cancel(contract::cancel::Urgency::Graceful);
        let output = bench.run_with(&Search, json!({"pattern": "hit"}), cancel);
        assert_eq!((output.ok, output.stopped), (false, Some(Stopped::Cancelled)));
    }
}
