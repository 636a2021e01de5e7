//! Hooks as they are declared: Claude Code's settings format, in the person's own file and in a project's.
//!
//! Runs nothing and trusts nothing. What cannot be understood is refused, not passed over: a guard that silently is not
//! there is worse than none. Start at [`all`].

use crate::exit::Failure;
use crate::home::Home;
use crate::plain;
use contract::confine::Profile;
use contract::hooks::{HookDef, HookEvent};
use contract::limits;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where a project declares them.
pub(crate) const PROJECT: [&str; 3] =
    [".kapell/hooks.json", ".claude/settings.json", ".claude/settings.local.json"];

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order in which they are asked: the person's own first.
    pub(crate) hooks: Vec<HookDef>,
    /// What is declared and does not run here.
    pub(crate) notes: Vec<String>,
}

/// The person's own file.
pub(crate) fn own_file(home: &Home) -> PathBuf {
    home.config.join("hooks.json")
}

/// The hooks of a session on this repository: the person's own, then the project's.
pub(crate) fn all(home: &Home, top: &Path, profile: Profile) -> Result<Found, Failure> {
    let mut found = Found::default();
    let path = own_file(home);
    if let Some(text) = read(&path)? {
        let value = parsed(&path, &text)?;
        if value["disableAllHooks"] == Value::Bool(true) {
            found.notes.push(format!("{} switches all hooks off", path.display()));
            return Ok(found);
        }
        let confined = profile != Profile::Full && value["confined"] != Value::Bool(false);
        declared(&path, &value, Kind { project: false, confined }, &mut found)?;
        let env = variables(&path, &value)?;
        found.hooks.iter_mut().for_each(|hook| hook.env.clone_from(&env));
    }
    let theirs = project(top)?;
    found.hooks.extend(theirs.hooks);
    found.notes.extend(theirs.notes);
    if found.hooks.len() > limits::HOOKS {
        let what = format!("{} hooks are declared; there may be {}", found.hooks.len(), limits::HOOKS);
        return Err(Failure::usage("too-many-hooks", what, "kapell hooks lists them: declare fewer"));
    }
    Ok(found)
}

/// Can this file be one of the person's own?
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    let Some(text) = read(path)? else { return Ok(()) };
    let value = parsed(path, &text)?;
    variables(path, &value)?;
    declared(path, &value, Kind { project: false, confined: true }, &mut Found::default())
}

/// `env` of the person's own file: variables of every hook in it. A value that is `secret:NAME` stands for a secret.
fn variables(path: &Path, value: &Value) -> Result<Vec<(String, String)>, Failure> {
    let odd = || wrong(path, "`env` is an object of variables and their texts");
    let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    match &value["env"] {
        Value::Null => Ok(Vec::new()),
        Value::Object(all) => all.iter().map(pair).collect::<Option<_>>().ok_or_else(odd),
        _ => Err(odd()),
    }
}

/// What a project brings along.
pub(crate) fn project(top: &Path) -> Result<Found, Failure> {
    let mut found = Found::default();
    for name in PROJECT {
        let path = top.join(name);
        if let Some(text) = read(&path)? {
            let value = parsed(&path, &text)?;
            declared(Path::new(name), &value, Kind { project: true, confined: true }, &mut found)?;
        }
    }
    Ok(found)
}

/// Bytes of a file of hooks.
const MOST: u64 = 1 << 20;

fn read(path: &Path) -> Result<Option<String>, Failure> {
    let wrong = |why: String| {
        let what = format!("{} cannot be read: {why}", path.display());
        Failure::usage("hooks-unreadable", what, "make it a readable file of JSON, or remove it")
    };
    match plain::text(path, MOST) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn parsed(path: &Path, text: &str) -> Result<Value, Failure> {
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(path, &error.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(wrong(path, "it is not an object")) }
}

fn wrong(path: &Path, why: &str) -> Failure {
    let what = format!("the hooks in {} cannot be understood: {why}", path.display());
    Failure::usage(
        "bad-hooks",
        what,
        "write them as Claude Code does: {\"hooks\": {\"PreToolUse\": [{\"matcher\": \"Bash\", \"hooks\": [{\"type\": \"command\", \"command\": \"...\"}]}]}}",
    )
}

/// Whose they are.
#[derive(Clone, Copy)]
struct Kind {
    project: bool,
    confined: bool,
}

/// Adds what a file declares.
fn declared(path: &Path, value: &Value, kind: Kind, found: &mut Found) -> Result<(), Failure> {
    let Some(events) = value.get("hooks") else { return Ok(()) };
    let events = events.as_object().ok_or_else(|| wrong(path, "`hooks` is not an object"))?;
    for (name, groups) in events {
        let Some(event) = HookEvent::ALL.into_iter().find(|event| event.name() == name) else {
            found.notes.push(format!("{}: nothing here is a {name}: its hooks do not run", path.display()));
            continue;
        };
        let groups = groups.as_array().ok_or_else(|| wrong(path, &format!("`{name}` is not a list")))?;
        for group in groups {
            let matcher = group["matcher"].as_str().unwrap_or_default();
            ::hooks::matches(matcher, "").map_err(|why| wrong(path, &why))?;
            let hooks =
                group["hooks"].as_array().ok_or_else(|| wrong(path, &format!("`{name}` has no `hooks`")))?;
            for hook in hooks {
                found.hooks.extend(one(path, event, matcher, hook, kind, &mut found.notes)?);
            }
        }
    }
    Ok(())
}

fn one(
    path: &Path,
    event: HookEvent,
    matcher: &str,
    hook: &Value,
    kind: Kind,
    notes: &mut Vec<String>,
) -> Result<Option<HookDef>, Failure> {
    let sort = hook["type"].as_str().unwrap_or("command");
    if sort != "command" {
        let why = format!("a hook of the type `{sort}` for {} cannot be run here", event.name());
        if event.guards() && !kind.project {
            return Err(wrong(path, &format!("{why}, and it guards: make it a `command`")));
        }
        notes.push(format!("{}: {why}", path.display()));
        return Ok(None);
    }
    let mut run = match hook["command"].as_str() {
        Some(run) if !run.trim().is_empty() => run.to_owned(),
        _ => return Err(wrong(path, &format!("a hook for {} has no `command`", event.name()))),
    };
    if let Some(args) = hook["args"].as_array() {
        let words = args.iter().map(|word| word.as_str().unwrap_or_default());
        run = std::iter::once(run.as_str()).chain(words).map(::hooks::quoted).collect::<Vec<_>>().join(" ");
    }
    if run.len() > limits::HOOK_BYTES || run.contains('\0') {
        let why =
            format!("the command of a hook for {} has more than {} bytes", event.name(), limits::HOOK_BYTES);
        return Err(wrong(path, &why));
    }
    let seconds = hook["timeout"].as_f64().filter(|seconds| *seconds > 0.0);
    let timeout_ms = seconds.map_or(limits::HOOK_MS, |seconds| (seconds * 1000.0).ceil() as u64);
    Ok(Some(HookDef {
        event,
        matcher: matcher.to_owned(),
        only: hook["if"].as_str().unwrap_or_default().to_owned(),
        run,
        timeout_ms: timeout_ms.clamp(1, limits::HOOK_MAX_MS),
        from: path.display().to_string(),
        project: kind.project,
        confined: kind.confined,
        silent: hook["async"] == Value::Bool(true),
        env: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, project: bool) -> Result<Found, Failure> {
        let (path, mut found) = (Path::new("hooks.json"), Found::default());
        let value = parsed(path, text)?;
        declared(path, &value, Kind { project, confined: true }, &mut found).map(|()| found)
    }

    #[test]
    fn the_format_is_that_of_claude() {
        let text = r#"{"permissions": {}, "hooks": {
            "PreToolUse": [{"matcher": "Edit|Write", "hooks": [
                {"type": "command", "command": "check.sh", "timeout": 5, "if": "Edit(*.ts)"},
                {"type": "command", "command": "/a b", "args": ["x y"]}]}],
            "Stop": [{"hooks": [{"type": "command", "command": "true", "async": true}]}],
            "Elicitation": [{"hooks": [{"type": "command", "command": "true"}]}],
            "PostToolUse": [{"matcher": "*", "hooks": [{"type": "prompt", "prompt": "well?"}]}]}}"#;
        let found = read(text, false).unwrap();
        let shown: Vec<_> = found
            .hooks
            .iter()
            .map(|hook| (hook.event.name(), hook.matcher.as_str(), hook.run.as_str(), hook.timeout_ms))
            .collect();
        assert_eq!(
            shown,
            [
                ("PreToolUse", "Edit|Write", "check.sh", 5_000),
                ("PreToolUse", "Edit|Write", "'/a b' 'x y'", limits::HOOK_MS),
                ("Stop", "", "true", limits::HOOK_MS),
            ]
        );
        assert!(found.hooks[2].silent && found.hooks[0].only == "Edit(*.ts)");
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for (text, why) in [
            ("[]", "not an object"),
            ("{", "EOF"),
            (r#"{"hooks": []}"#, "`hooks` is not an object"),
            (r#"{"hooks": {"Stop": {}}}"#, "not a list"),
            (r#"{"hooks": {"Stop": [{}]}}"#, "has no `hooks`"),
            (r#"{"hooks": {"Stop": [{"hooks": [{"type": "command"}]}]}}"#, "no `command`"),
            (r#"{"hooks": {"PreToolUse": [{"matcher": "(", "hooks": []}]}}"#, "matcher"),
            (r#"{"hooks": {"PreToolUse": [{"hooks": [{"type": "prompt", "prompt": "x"}]}]}}"#, "it guards"),
        ] {
            let failure = read(text, false).unwrap_err();
            assert!(failure.fault.what.contains(why), "{text}: {}", failure.fault.what);
        }
        let theirs =
            read(r#"{"hooks": {"PreToolUse": [{"hooks": [{"type": "prompt", "prompt": "x"}]}]}}"#, true);
        assert_eq!(theirs.unwrap().notes.len(), 1);
    }
}
