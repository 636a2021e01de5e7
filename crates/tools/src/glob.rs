//! `glob`: files by a pattern, newest first. Pure.
//! Knows nothing of files' content. Start at [`Glob`].

use crate::args::{blocking, parse, refuse};
use crate::judge::{Content, judged};
use crate::name;
use crate::tree::Tree;
use crate::walk::{self, Walk};
use contract::action::EffectClass;
use contract::limits::{GLOB_FILES, OUTPUT_VIEW_BYTES, WALK_FILES};
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Stopped, Tool};
use contract::{BoxFuture, Cancel, Fault};
use serde::Deserialize;
use serde_json::{Value, json};
use std::cmp::Reverse;

/// The tool.
#[derive(Debug)]
pub(crate) struct Glob;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    pattern: String,
    path: Option<String>,
    #[serde(default)]
    ignored: bool,
}

impl Tool for Glob {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "glob".into(),
            description: "Finds files by a pattern such as *.rs or src/**/*.test.ts, the last changed first. Without a \
                slash it fits names in any directory. What ignore files name is left out unless asked for."
                .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "pattern": {"type": "string", "description": "The pattern; with a slash, from the top of the workspace."},
                    "path": {"type": "string", "description": "Only below this directory."},
                    "ignored": {"type": "boolean", "description": "Also what ignore files leave out."}
                },
                "required": ["pattern"],
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        Args::parse(args)?;
        Ok(judged("glob", args, scope, EffectClass::Pure, "only reads", Content::default()))
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || glob(Args::parse(&args)?, &scope, &cancel)))
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("glob", args)?;
        if parsed.pattern.is_empty() {
            return Err(refuse("`glob` needs a pattern"));
        }
        walk::start(parsed.path.as_deref())?;
        Ok(parsed)
    }
}

fn glob(args: Args, scope: &Scope, cancel: &Cancel) -> Result<Output, Fault> {
    let tree = Tree::at(&scope.root)?;
    let start = walk::start(args.path.as_deref())?;
    let walk = Walk { start, depth: None, glob: Some(args.pattern), ignored: args.ignored };
    let mut found = Vec::new();
    for entry in walk::entries(&tree, &scope.root, &walk)?.filter(|entry| !entry.kind.is_dir()) {
        if cancel.is_cancelled() {
            return Ok(Output { stopped: Some(Stopped::Cancelled), ..Output::error("") });
        }
        if found.len() == WALK_FILES {
            return Err(refuse(format!("more than {WALK_FILES} files fit: narrow the pattern or the path")));
        }
        // Asked of the tree, which does not answer for what lies outside.
        let Ok(changed) = tree.changed(&entry.path) else { continue };
        found.push((Reverse(changed), entry.path));
    }
    found.sort();
    let (mut text, mut shown) = (String::new(), 0);
    for (_, path) in &found {
        if shown == GLOB_FILES || text.len() > OUTPUT_VIEW_BYTES {
            text.push_str(&format!(
                "[{} older ones are left out: narrow the pattern or the path]\n",
                found.len() - shown
            ));
            break;
        }
        shown += 1;
        text.push_str(&name::show(path));
        text.push('\n');
    }
    Ok(Output::ok(if found.is_empty() { "[no file fits]".into() } else { text }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    fn aged(bench: &Bench, name: &str, age: u64) {
        let file = std::fs::File::options().write(true).open(bench.file(name, "")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age)).unwrap();
    }

    fn names(bench: &Bench, args: Value) -> Vec<String> {
        bench.run(&Glob, args).text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_changed_comes_first_and_ignored_ones_do_not() {
        let bench = Bench::new();
        for (name, age) in [
            ("old.rs", 9),
            ("src/new.rs", 1),
            ("src/same.rs", 1),
            ("src/x.txt", 0),
            ("target/out.rs", 0),
            (".git/a.rs", 0),
        ] {
            aged(&bench, name, age);
        }
        bench.file(".gitignore", "target\n");
        assert_eq!(names(&bench, json!({"pattern": "*.rs"})), ["src/new.rs", "src/same.rs", "old.rs"]);
        assert_eq!(names(&bench, json!({"pattern": "src/*"})), ["src/x.txt", "src/new.rs", "src/same.rs"]);
        assert_eq!(names(&bench, json!({"pattern": "*.rs", "path": "src"})), ["src/new.rs", "src/same.rs"]);
        let all = names(&bench, json!({"pattern": "**/*.rs", "ignored": true}));
        assert_eq!(all, ["target/out.rs", "src/new.rs", "src/same.rs", "old.rs"]);
        assert_eq!(names(&bench, json!({"pattern": "*.py"})), ["[no file fits]"]);
    }

    #[test]
    fn it_is_bounded_and_stays_inside() {
        let bench = Bench::new();
        for n in 0..GLOB_FILES + 3 {
            aged(&bench, &format!("f{n:04}"), n as u64);
        }
        symlink(bench.top(), bench.root().join("out")).unwrap();
        let found = names(&bench, json!({"pattern": "f*"}));
        assert_eq!(found.len(), GLOB_FILES + 1);
        assert_eq!(
            (found[0].as_str(), found[GLOB_FILES].as_str()),
            ("f0000", "[3 older ones are left out: narrow the pattern or the path]")
        );
        assert!(names(&bench, json!({"pattern": "*.txt"})) == ["[no file fits]"]);
        assert!(bench.run(&Glob, json!({"pattern": "*", "path": "out"})).text.contains("leads out"));
        assert!(bench.judge(&Glob, json!({"pattern": ""})).is_err());
        assert!(bench.run(&Glob, json!({"pattern": "[z-a]"})).text.contains("invalid"));
    }
}
