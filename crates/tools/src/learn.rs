//! `learn_parser`: an agent teaches Kapell how to read a program's output. Keyed: the same call again keeps the same.
//! Knows nothing of where parsers lie (`parsers.rs`). Start at [`Learn`].

use crate::args::{blocking, parse, refuse};
use crate::judge::{Content, judged};
use crate::parsers::{Parsers, is_name};
use crate::read::{BLOB, blob_digest};
use contract::action::EffectClass;
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Tool};
use contract::{BoxFuture, Cancel, Digest, Fault};
use output::{PATTERNS, Written};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Bytes of an example.
const EXAMPLE_BYTES: usize = 16 * 1024;

/// The tool.
#[derive(Debug)]
pub(crate) struct Learn {
    parsers: Arc<Parsers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    name: String,
    command: Vec<String>,
    patterns: Vec<String>,
    example: String,
    output: String,
}

impl Learn {
    pub(crate) fn new(parsers: Arc<Parsers>) -> Self {
        Self { parsers }
    }
}

impl Tool for Learn {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "learn_parser".into(),
            description:
                "Teaches how to read the output of a program that is not understood yet, so that from then on its errors and \
                tests are counted and kept in view. The patterns are regular expressions (Rust syntax, one line at a time) \
                with named groups: `file`, `line`, `column`, `severity`, `code`, `message` for a finding; `test`, `ending`, \
                `ms` or `s` for a test; `passed`, `failed`, `skipped` for a sum. They are taken only if they read both your \
                example and the earlier output."
                    .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "The program's name: small letters, digits, `-`, `_`."},
                    "command": {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "Words of a command line that tell it is this program's."},
                    "patterns": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": PATTERNS},
                    "example": {"type": "string", "description": "Lines of such an output with a finding or a test in them."},
                    "output": {"type": "string", "description": "blob:DIGEST of an output the program really gave."}
                },
                "required": ["name", "command", "patterns", "example", "output"],
                "additionalProperties": false
            }),
        }
    }

    fn is_core(&self) -> bool {
        false
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        Args::parse(args)?.blob()?;
        let why =
            "keeps a parser in Kapell's own directory; it changes how outputs are shown, and no verdict";
        Ok(judged("learn_parser", args, scope, EffectClass::Keyed, why, Content::default()))
    }

    fn run<'a>(&'a self, args: Value, scope: Scope, _: Cancel, _: &'a dyn Sink) -> BoxFuture<'a, Output> {
        Box::pin(async move {
            let read = async {
                let args = Args::parse(&args)?;
                let real = scope.blobs.blob(args.blob()?).await?;
                Ok((args, real))
            };
            let read: Result<_, Fault> = read.await;
            let parsers = Arc::clone(&self.parsers);
            blocking(move || {
                let (args, real) = read?;
                let Args { name, command, patterns, example, .. } = args;
                let found =
                    parsers.learn(Written { name: name.clone(), command, patterns }, &example, &real)?;
                Ok(Output::ok(format!("[parser `{name}` is learned; in that output it finds: {found}]")))
            })
            .await
        })
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("learn_parser", args)?;
        if !is_name(&parsed.name) {
            return Err(refuse("`learn_parser`: a name has small letters, digits, `-` and `_`, at most 40"));
        }
        if parsed.command.iter().all(|word| word.trim().is_empty()) || parsed.patterns.is_empty() {
            return Err(refuse("`learn_parser` needs a word of the command and a pattern"));
        }
        if parsed.example.len() > EXAMPLE_BYTES {
            return Err(refuse(format!("`learn_parser`: the example is longer than {EXAMPLE_BYTES} bytes")));
        }
        Ok(parsed)
    }

    fn blob(&self) -> Result<Digest, Fault> {
        let digest = self.output.strip_prefix(BLOB);
        blob_digest(
            digest.ok_or_else(|| refuse("`learn_parser`: output is blob:DIGEST of an earlier output"))?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::Shell;
    use crate::testing::Bench;
    use contract::port::Delta;

    #[test]
    fn what_an_agent_teaches_is_used_by_the_next_command() {
        let printed = b"checking\nPROBLEM one.q line 7: too odd\nchecked\n";
        let bench = Bench::with_blobs(&[printed]);
        let (parsers, _) = Parsers::load(Vec::new(), Some(bench.top().join("parsers")));
        let parsers = Arc::new(parsers);
        let learn = Learn::new(Arc::clone(&parsers));
        let args = |pattern: &str| {
            json!({
                "name": "oddcheck", "command": ["oddcheck"], "patterns": [pattern],
                "example": "PROBLEM x.q line 1: so", "output": format!("blob:{}", Digest::of(printed)),
            })
        };
        let refused = bench.run(&learn, args("^TROUBLE (?<message>.+)$"));
        assert!(!refused.ok && refused.text.contains("example"), "{}", refused.text);
        let good = args(r"^PROBLEM (?<file>\S+) line (?<line>\d+): (?<message>.+)$");
        assert_eq!(bench.judge(&learn, good.clone()).unwrap().class, EffectClass::Keyed);
        let learned = bench.run(&learn, good);
        assert!(learned.ok && learned.text.contains("1 error"), "{}", learned.text);
        let shell = Shell::new(&crate::Options { parsers, ..crate::Options::default() });
        let command = "oddcheck() { echo 'PROBLEM two.q line 9: odder'; return 1; }; oddcheck";
        let output = bench.run(&shell, json!({ "command": command }));
        assert!(output.text.ends_with("[exit status 1; 1 error, 0 warnings in 1 line]"), "{}", output.text);
        let told = bench.lines.0.lock().unwrap();
        let found =
            told.iter().find_map(|delta| if let Delta::Finding(found) = delta { Some(found) } else { None });
        let found = found.unwrap();
        assert_eq!(
            (found.file.as_deref(), found.line, found.tool.as_str()),
            (Some("two.q"), Some(9), "oddcheck")
        );
    }
}
