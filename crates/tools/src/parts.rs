//! What a call would do, for rules: the parts of its command line, or the file it names.
//!
//! Goes by the arguments, so that a tool need not know that there are rules: `command` or `argv` (with `cwd`) is a command line,
//! `path` a file. Start at [`of`].

use command::Place;
use contract::policy::{How, Part, Touch};
use contract::tool::Scope;
use serde_json::Value;
use std::path::Path;

/// Tools that leave what they name as it is.
const READERS: [&str; 5] = ["read", "list", "search", "glob", "memory_read"];

/// What this call would do. `home`: the directory that `~` means. Empty: nothing is known, and no rule is about it.
pub fn of(tool: &str, args: &Value, scope: &Scope, home: &str) -> Vec<Part> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let root = text(&scope.root);
    let string = |key: &str| args.get(key).and_then(Value::as_str);
    let inside = |path: &str| if path.starts_with('/') { path.to_owned() } else { format!("{root}/{path}") };
    let argv = args.get("argv").and_then(Value::as_array).map(|words| {
        let quoted = |word: &Value| format!("'{}'", word.as_str().unwrap_or_default().replace('\'', "'\\''"));
        words.iter().map(quoted).collect::<Vec<_>>().join(" ")
    });
    if let Some(line) = string("command").map(str::to_owned).or(argv) {
        let cwd = string("cwd").map_or(root.clone(), inside);
        return command::parts(&line, &Place { root, home: home.to_owned() }, &cwd);
    }
    let Some(path) = string("path").filter(|path| !path.starts_with("blob:")) else { return Vec::new() };
    let how = if READERS.contains(&tool) { How::Read } else { How::Write };
    let place = Place { root: root.clone(), home: home.to_owned() };
    let touch: Touch = place.named(&inside(path), how);
    vec![Part { touches: vec![touch], ..Part::default() }]
}
