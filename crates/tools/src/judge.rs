//! What running a call would mean, and the hash that binds an approval to its exact content (promise 8).
//! Knows nothing of approvals. Start at [`judged`].

use crate::name;
use crate::tree::Tree;
use contract::action::EffectClass;
use contract::confine::InForce;
use contract::tool::{Judged, Scope};
use contract::{Digest, Fault, limits};
use serde_json::{Value, json};
use std::path::Path;

/// The exact content of a call, besides tool and arguments.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Directory of a command, relative to the workspace.
    pub(crate) cwd: String,
    /// Files it changes, with the digest of what they hold now; `None` = not there.
    pub(crate) files: Vec<(String, Option<Digest>)>,
    pub(crate) deadline_ms: Option<u64>,
    /// What would confine the command it runs.
    pub(crate) held: Option<InForce>,
}

/// Puts it together. Deterministic: the same call on the same files has the same hash.
pub(crate) fn judged(
    tool: &str,
    args: &Value,
    scope: &Scope,
    class: EffectClass,
    why: &str,
    content: Content,
) -> Judged {
    let mut env = scope.env.clone();
    env.sort();
    let files: Vec<Value> =
        content.files.iter().map(|(path, digest)| json!([path, digest.map(|d| d.to_string())])).collect();
    let mut whole = json!({
        "tool": tool,
        "args": args,
        "root": scope.root.to_string_lossy(),
        "cwd": content.cwd,
        "env": env,
        "files": files,
    });
    // Nothing that holds is no part of it: the same as where nobody asked for a sandbox.
    if let Some(held) = content.held.as_ref().filter(|held| held.holds()) {
        whole["held"] = held.to_string().into();
    }
    let mut text = String::new();
    canonical(&whole, &mut text);
    Judged {
        class,
        why: why.to_owned(),
        hash: Digest::of(text.as_bytes()),
        deadline_ms: content.deadline_ms.map(|ms| ms.min(limits::TOOL_MAX_MS)),
        held: content.held,
    }
}

/// The judgement over a tool that changes these files: staged, and bound to what they hold now.
pub(crate) fn changes_files(
    tool: &str,
    args: &Value,
    scope: &Scope,
    paths: &[&Path],
    why: &str,
) -> Result<Judged, Fault> {
    let tree = Tree::at(&scope.root)?;
    let mut files = Vec::new();
    for path in paths {
        let target = tree.target(path)?;
        files.push((name::show(path), target.and_then(|target| target.digest())));
    }
    Ok(judged(tool, args, scope, EffectClass::Staged, why, Content { files, ..Content::default() }))
}

/// JSON with sorted keys and no white space, however the map was built.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (n, key) in keys.into_iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                canonical(item, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_has_one_form() {
        let mut text = String::new();
        canonical(&json!({"b": [1, "x\n", null], "a": {"d": 1.5, "c": true}}), &mut text);
        assert_eq!(text, r#"{"a":{"c":true,"d":1.5},"b":[1,"x\n",null]}"#);
    }
}
