//! `list`: names below a directory, by depth and glob. Pure.
//! Knows nothing of files' content. Start at [`List`].

use crate::args::{blocking, parse, refuse};
use crate::judge::{Content, judged};
use crate::name;
use crate::tree::Tree;
use crate::walk::{self, Walk};
use contract::action::EffectClass;
use contract::limits::{LIST_ENTRIES, OUTPUT_VIEW_BYTES};
use contract::model::ToolSpec;
use contract::port::Sink;
use contract::tool::{Judged, Output, Scope, Stopped, Tool};
use contract::{BoxFuture, Cancel, Fault};
use rustix::fs::FileType;
use serde::Deserialize;
use serde_json::{Value, json};

/// The tool.
#[derive(Debug)]
pub(crate) struct List;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    path: Option<String>,
    depth: Option<usize>,
    glob: Option<String>,
    #[serde(default)]
    ignored: bool,
}

impl Tool for List {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "list".into(),
            description:
                "Lists files and directories of the workspace, sorted; a directory ends with `/`, a link \
                with `@`. What ignore files name is left out unless asked for."
                    .into(),
            schema: json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "Directory, relative to the workspace; its top when left out."},
                    "depth": {"type": "integer", "minimum": 1, "description": "Levels to go down: 1 when left out, all with a glob."},
                    "glob": {"type": "string", "description": "Only paths that fit, such as *.rs or src/**/*.rs."},
                    "ignored": {"type": "boolean", "description": "Also what ignore files leave out."}
                },
                "additionalProperties": false
            }),
        }
    }

    fn judge(&self, args: &Value, scope: &Scope) -> Result<Judged, Fault> {
        Args::parse(args)?;
        Ok(judged("list", args, scope, EffectClass::Pure, "only reads", Content::default()))
    }

    fn run<'a>(
        &'a self,
        args: Value,
        scope: Scope,
        cancel: Cancel,
        _: &'a dyn Sink,
    ) -> BoxFuture<'a, Output> {
        Box::pin(blocking(move || list(Args::parse(&args)?, &scope, &cancel)))
    }
}

impl Args {
    fn parse(args: &Value) -> Result<Self, Fault> {
        let parsed: Self = parse("list", args)?;
        if parsed.depth == Some(0) {
            return Err(refuse("`list`: depth counts from 1"));
        }
        walk::start(parsed.path.as_deref())?;
        Ok(parsed)
    }
}

fn list(args: Args, scope: &Scope, cancel: &Cancel) -> Result<Output, Fault> {
    let tree = Tree::at(&scope.root)?;
    let depth = args.depth.or(if args.glob.is_some() { None } else { Some(1) });
    let walk =
        Walk { start: walk::start(args.path.as_deref())?, depth, glob: args.glob, ignored: args.ignored };
    let (mut text, mut count) = (String::new(), 0);
    for entry in walk::entries(&tree, &scope.root, &walk)? {
        if cancel.is_cancelled() {
            return Ok(Output { stopped: Some(Stopped::Cancelled), ..Output::error(text) });
        }
        // Asked of the tree, which does not answer for what lies outside.
        let Ok(kind) = tree.kind(&entry.path) else { continue };
        if count == LIST_ENTRIES || text.len() > OUTPUT_VIEW_BYTES {
            text.push_str(&format!("[more than these {count}: narrow it with path, depth or glob]\n"));
            return Ok(Output::ok(text));
        }
        count += 1;
        text.push_str(&name::show(&entry.path));
        text.push_str(match kind {
            FileType::Directory => "/\n",
            FileType::Symlink => "@\n",
            _ => "\n",
        });
    }
    Ok(Output::ok(if count == 0 { "[nothing there]".into() } else { text }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn bench() -> Bench {
        let bench = Bench::new();
        for file in
            ["b.rs", "a/x.rs", "a/deep/y.rs", "a/deep/z.txt", ".hidden", ".git/config", "target/out.rs"]
        {
            bench.file(file, "");
        }
        bench.file(".gitignore", "target\n");
        symlink(bench.top(), bench.root().join("out")).unwrap();
        bench
    }

    fn names(bench: &Bench, args: Value) -> Vec<String> {
        bench.run(&List, args).text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn one_level_all_levels_and_globs() {
        let bench = bench();
        assert_eq!(names(&bench, json!({})), [".gitignore", ".hidden", "a/", "b.rs", "out@"]);
        assert_eq!(names(&bench, json!({"path": "a"})), ["a/deep/", "a/x.rs"]);
        assert_eq!(
            names(&bench, json!({"path": bench.root().join("a"), "depth": 9, "glob": "*.txt"})),
            ["a/deep/z.txt"]
        );
        assert_eq!(names(&bench, json!({"glob": "*.rs"})), ["a/deep/y.rs", "a/x.rs", "b.rs"]);
        assert_eq!(names(&bench, json!({"glob": "a/*.rs"})), ["a/x.rs"]);
        assert_eq!(names(&bench, json!({"glob": "target/**", "ignored": true})), ["target/out.rs"]);
        assert_eq!(names(&bench, json!({"glob": "*.none"})), ["[nothing there]"]);
    }

    #[test]
    fn only_ignore_files_of_the_workspace_are_obeyed_and_those_above_the_place_too() {
        let bench = bench();
        for file in [".gitignore", ".ignore"] {
            std::fs::write(bench.top().join(file), "*.rs\na\n").unwrap();
        }
        bench.file(".gitignore", "target\n/a/deep/z.txt\n*.log\n");
        bench.file("a/deep/x.log", "");
        bench.file("target/deep/in.rs", "");
        symlink("a", bench.root().join("link")).unwrap();
        assert_eq!(names(&bench, json!({"glob": "*.rs"})), ["a/deep/y.rs", "a/x.rs", "b.rs"]);
        assert_eq!(names(&bench, json!({"path": "a/deep"})), ["a/deep/y.rs"]);
        assert_eq!(names(&bench, json!({"path": "./a/", "depth": 2})), ["a/deep/", "a/deep/y.rs", "a/x.rs"]);
        let all = names(&bench, json!({"path": "a/deep", "ignored": true}));
        assert_eq!(all, ["a/deep/x.log", "a/deep/y.rs", "a/deep/z.txt"]);
        // What is asked for by its name is there.
        assert_eq!(names(&bench, json!({"path": "target"})), ["target/deep/", "target/out.rs"]);
        assert_eq!(names(&bench, json!({"path": "target/deep"})), ["target/deep/in.rs"]);
        assert_eq!(names(&bench, json!({"path": "a/../a/deep", "glob": "*.rs"})), ["a/../a/deep/y.rs"]);
        assert_eq!(names(&bench, json!({"path": "link"})), ["link/deep/", "link/x.rs"]);
    }

    #[test]
    fn other_places_are_refused() {
        let bench = bench();
        for path in ["..", "out", "out/ws", "/", "/etc"] {
            let output = bench.run(&List, json!({"path": path}));
            assert!(
                !output.ok && output.text.contains("leads out of the workspace"),
                "{path}: {}",
                output.text
            );
        }
        assert!(!bench.run(&List, json!({"path": "b.rs"})).ok);
        assert!(bench.run(&List, json!({"glob": "a[" })).text.contains("glob `a[`"));
    }

    #[test]
    fn strange_names_are_shown_so_that_they_can_be_used() {
        let bench = Bench::new();
        for bytes in [&b"new\nline"[..], b"\xff\xfe", b"back\\slash", b"esc\x1b[31m"] {
            bench.file(OsStr::from_bytes(bytes), "found");
        }
        let shown = names(&bench, json!({}));
        assert_eq!(shown, ["back\\\\slash", "esc\\x1b[31m", "new\\x0aline", "\\xff\\xfe"]);
        for name in shown {
            assert_eq!(bench.run(&crate::read::Read, json!({"path": name})).text, "     1\tfound\n");
        }
    }

    #[test]
    fn many_entries_are_bounded() {
        let bench = Bench::new();
        (0..LIST_ENTRIES + 1).for_each(|n| drop(bench.file(format!("{n:05}"), "")));
        let shown = names(&bench, json!({}));
        assert_eq!(shown.len(), LIST_ENTRIES + 1);
        assert!(shown[LIST_ENTRIES].starts_with("[more than these 1000"));
    }
}
