//! What a call would do, for rules: the parts of its command line, or the files and hosts it names.
//!
//! Goes by the arguments, so that most tools need not know that there are rules: `command` or `argv` (with `cwd`) is a command
//! line, `path` a file. A tool that names what it changes in another way says so itself. Start at [`of`].

use crate::name;
use command::Place;
use contract::action::EffectClass;
use contract::policy::{How, Part};
use contract::tool::{Scope, Tool};
use serde_json::Value;
use std::path::Path;

/// What this call of this class would do. `home`: the directory that `~` means. Empty: nothing is known.
pub fn of(tool: &dyn Tool, args: &Value, scope: &Scope, class: EffectClass, home: &str) -> Vec<Part> {
    let root = text(&scope.root);
    let string = |key: &str| args.get(key).and_then(Value::as_str);
    let argv = args.get("argv").and_then(Value::as_array).map(|words| {
        let quoted = |word: &Value| format!("'{}'", word.as_str().unwrap_or_default().replace('\'', "'\\''"));
        words.iter().map(quoted).collect::<Vec<_>>().join(" ")
    });
    if let Some(line) = string("command").map(str::to_owned).or(argv) {
        let plain = |cwd: &str| name::parse(cwd).map_or(cwd.to_owned(), |cwd| text(&cwd));
        let cwd = string("cwd").map_or(root.clone(), |cwd| inside(&root, &plain(cwd)));
        return command::parts(&line, &Place { root, home: home.to_owned() }, &cwd);
    }
    let own = tool.parts(args, scope, class);
    if !own.is_empty() {
        return own;
    }
    let path =
        string("path").filter(|path| !path.starts_with("blob:")).and_then(|path| name::parse(path).ok());
    let how = if class == EffectClass::Pure { How::Read } else { How::Write };
    files(scope, path.iter().map(|path| (&**path, how)))
}

/// One part for each of these files.
pub(crate) fn files<'p>(scope: &Scope, all: impl Iterator<Item = (&'p Path, How)>) -> Vec<Part> {
    let root = text(&scope.root);
    let place = Place { root: root.clone(), home: String::new() };
    let part = |(path, how)| Part {
        touches: vec![place.named(&inside(&root, &text(path)), how)],
        ..Part::default()
    };
    all.map(part).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn inside(root: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{root}/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use serde_json::json;

    /// Each file the call names and whether it writes it; each host.
    fn named(bench: &Bench, name: &str, args: Value) -> String {
        let options = crate::Options {
            web: crate::WebRules { allow: vec!["known.example".into()], ..crate::WebRules::default() },
            ..crate::Options::default()
        };
        let tool = crate::all(&options).into_iter().find(|tool| tool.name() == name).unwrap();
        let class = tool.judge(&args, &bench.scope).unwrap().class;
        let parts = of(&*tool, &args, &bench.scope, class, "/home/me");
        let files = parts.iter().flat_map(|part| &part.touches).map(|touch| {
            format!(
                "{}{}",
                if touch.how == How::Write { "+" } else { "" },
                touch.inside.as_deref().unwrap_or("?")
            )
        });
        let hosts =
            parts.iter().flat_map(|part| part.hosts.iter().map(|host| format!("{host} {}", part.wraps)));
        files.chain(hosts).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tools_name_what_they_would_change() {
        let bench = Bench::new();
        bench.file("a", "a\n");
        bench.file("sub/x", "");
        bench.file("n.ipynb", r#"{"cells": []}"#);
        for (tool, args, is) in [
            ("read", json!({"path": "a"}), "a"),
            ("search", json!({"pattern": "x", "path": "a"}), "a"),
            ("notebook_read", json!({"path": "n.ipynb"}), "n.ipynb"),
            ("notebook_edit", json!({"path": "n.ipynb", "edit_mode": "insert"}), "+n.ipynb"),
            ("write", json!({"path": ".kapell\\x2fconfig.toml", "content": ""}), "+.kapell/config.toml"),
            (
                "apply_patch",
                json!({"patch": "diff --git a/a b/b\nrename from a\nrename to b\ndiff --git a/c b/c\nnew file mode 100644\n--- /dev/null\n+++ b/c\n@@ -0,0 +1 @@\n+x\n"}),
                "+a +b +c",
            ),
            ("apply_patch", json!({"patch": "diff --git a/a b/b\ncopy from a\ncopy to b\n"}), "a +b"),
            (
                "multi_edit",
                json!({"edits": [{"path": "a", "old_string": "a", "new_string": "b"}, {"path": "d", "old_string": "a", "new_string": "b"}]}),
                "+a +d",
            ),
            ("memory_write", json!({"name": "x", "content": "y"}), "+.kapell/memory/x.md"),
            ("memory_read", json!({"name": "x"}), ""),
            ("shell", json!({"command": "cat x", "cwd": "s\\x75b"}), "sub/x"),
            ("web_fetch", json!({"url": "https://other.example/"}), "other.example false"),
            ("web_fetch", json!({"url": "https://KNOWN.example./x"}), "known.example true"),
        ] {
            assert_eq!(named(&bench, tool, args.clone()), is, "{tool} {args}");
        }
    }
}
