//! What a hook reads and says: Claude Code's names of tools and fields on one side, ours on the other.
//!
//! Pure; knows no process and no file. A call that touches several files is told as one call per file, so that a hook which looks at
//! `file_path` sees each of them. Start at [`inputs`] and [`said`].

use contract::hooks::{HookAsk, HookDef, HookEvent, HookSaid};
use contract::policy::Decision;
use contract::session::Ask;
use regex::Regex;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The names that a tool of ours has for a matcher; the one it is told by first.
fn names(tool: &str) -> Vec<&str> {
    let theirs: &[&str] = match tool {
        "shell" => &["Bash"],
        "read" => &["Read"],
        "notebook_read" => &["Read", "NotebookRead"],
        "write" => &["Write"],
        "edit" | "multi_edit" => &["Edit", "MultiEdit"],
        "apply_patch" => &["Edit", "Write", "MultiEdit"],
        "notebook_edit" => &["NotebookEdit"],
        "glob" => &["Glob"],
        "search" => &["Grep"],
        "list" => &["LS"],
        "web_fetch" => &["WebFetch"],
        "delegate" => &["Task", "Agent"],
        "todo" => &["TodoWrite"],
        "ask" => &["AskUserQuestion"],
        _ => &[],
    };
    theirs.iter().copied().chain([tool]).collect()
}

/// Does a matcher fit this name? Letters, digits, `_`, `-`, blanks, commas and bars are names; anything else is a regular
/// expression that fits anywhere.
pub fn matches(matcher: &str, name: &str) -> Result<bool, String> {
    if matcher.is_empty() || matcher == "*" {
        return Ok(true);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_- ,|".contains(c);
    if matcher.chars().all(plain) {
        return Ok(matcher.split(['|', ',']).any(|one| one.trim() == name));
    }
    let pattern = Regex::new(matcher).map_err(|error| format!("the matcher `{matcher}`: {error}"))?;
    Ok(pattern.is_match(name))
}

/// Is this hook one for this event? `tool` is empty where it is about no call.
pub fn fits(hook: &HookDef, about: &str, tool: &str, args: Option<&Value>) -> bool {
    let matched = |name: &str| matches(&hook.matcher, name).unwrap_or(true);
    match hook.event {
        HookEvent::UserPromptSubmit | HookEvent::Stop | HookEvent::SubagentStop => true,
        _ if tool.is_empty() => matched(about),
        _ => {
            let some = Value::Null;
            let told = inputs(tool, args.unwrap_or(&some), Path::new("/"));
            names(tool).into_iter().any(matched)
                && told.iter().any(|(name, input)| only(&hook.only, name, input))
        }
    }
}

/// Does `Tool(pattern)` fit? Of a command its beginning, or the whole with `*` for anything; of anything else its path,
/// address or pattern, from any directory on. What cannot be read fits: the hook itself looks again.
pub fn only(only: &str, name: &str, input: &Value) -> bool {
    if only.is_empty() {
        return true;
    }
    let (tool, pattern) = match only.split_once('(') {
        Some((tool, rest)) => (tool, rest.strip_suffix(')').unwrap_or(rest)),
        None => (only, ""),
    };
    let field = |key: &str| input[key].as_str();
    if tool.trim() != name {
        return false;
    }
    if name == "Bash" {
        let Some(command) = field("command") else { return true };
        let pattern = pattern.strip_suffix(":*").map_or(pattern.to_owned(), |head| format!("{head}*"));
        // Each part of a list: `cd x && git push` is a `git push` too.
        let parts = command.split(['\n', ';', '&', '|']).map(str::trim).chain([command.trim()]);
        return pattern.is_empty() || parts.into_iter().any(|part| like(&pattern, part));
    }
    let Some(text) = ["file_path", "notebook_path", "path", "url", "pattern"].into_iter().find_map(field)
    else {
        return true;
    };
    pattern.is_empty()
        || like(pattern, text)
        || like(&format!("*/{}", pattern.trim_start_matches("./")), text)
}

/// `*` is anything.
fn like(pattern: &str, text: &str) -> bool {
    let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
    let trailing = pattern.strip_suffix(" *").is_some_and(|head| head == text);
    trailing || Regex::new(&format!("(?s)^{}$", parts.join(".*"))).is_ok_and(|it| it.is_match(text))
}

/// A word as a shell takes it for one.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A call as hooks know it: name and input, once for each file it touches.
pub fn inputs(tool: &str, args: &Value, root: &Path) -> Vec<(String, Value)> {
    let name = names(tool)[0].to_owned();
    let at = |path: &Value| match path.as_str() {
        Some(path) => Value::String(root.join(path).to_string_lossy().into_owned()),
        None => Value::Null,
    };
    let input = match tool {
        "shell" => {
            let argv = args["argv"].as_array().map(|argv| {
                argv.iter()
                    .map(|word| quoted(word.as_str().unwrap_or_default()))
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            let command = args["command"].as_str().map(str::to_owned).or(argv).unwrap_or_default();
            let stays = args["background"] == true || args["terminal"] == true;
            json!({"command": command, "description": "", "timeout": args["timeout_ms"], "run_in_background": stays,
                   "cwd": at(args.get("cwd").unwrap_or(&Value::from("")))})
        }
        "read" => json!({"file_path": at(&args["path"]), "offset": args["offset"], "limit": args["limit"]}),
        "write" => json!({"file_path": at(&args["path"]), "content": args["content"]}),
        "edit" => {
            return vec![edits(at(&args["path"]), args["edits"].as_array().cloned().unwrap_or_default())];
        }
        "multi_edit" => return several(args, &at),
        "apply_patch" => return patch(args, root),
        "notebook_read" => json!({"file_path": at(&args["path"])}),
        "notebook_edit" => json!({"notebook_path": at(&args["path"]), "cell_id": args["cell_id"],
            "new_source": args["new_source"], "cell_type": args["cell_type"], "edit_mode": args["edit_mode"]}),
        "glob" | "search" | "list" => {
            let mut input = args.clone();
            if let Some(path) = args.get("path") {
                input["path"] = at(path);
            }
            input
        }
        "web_fetch" => json!({"url": args["url"], "prompt": ""}),
        "delegate" => json!({"description": "", "prompt": args["goal"], "subagent_type": args["mode"]}),
        _ => args.clone(),
    };
    vec![(name, plain(input))]
}

/// Without what is not there.
fn plain(input: Value) -> Value {
    match input {
        Value::Object(map) => Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}

/// Edits of one file.
fn edits(path: Value, pieces: Vec<Value>) -> (String, Value) {
    match <[Value; 1]>::try_from(pieces) {
        Ok([Value::Object(mut piece)]) => {
            piece.remove("path");
            piece.insert("file_path".into(), path);
            ("Edit".into(), Value::Object(piece))
        }
        Ok([other]) => ("Edit".into(), json!({"file_path": path, "edits": [other]})),
        Err(pieces) => ("MultiEdit".into(), json!({"file_path": path, "edits": pieces})),
    }
}

fn several(args: &Value, at: &dyn Fn(&Value) -> Value) -> Vec<(String, Value)> {
    let mut files: Vec<(Value, Vec<Value>)> = Vec::new();
    for edit in args["edits"].as_array().into_iter().flatten() {
        let path = at(&edit["path"]);
        match files.iter_mut().find(|(known, _)| *known == path) {
            Some((_, pieces)) => pieces.push(edit.clone()),
            None => files.push((path, vec![edit.clone()])),
        }
    }
    files.into_iter().map(|(path, pieces)| edits(path, pieces)).collect()
}

/// Every file that a patch names.
fn patch(args: &Value, root: &Path) -> Vec<(String, Value)> {
    const HEADS: [&str; 6] =
        ["*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: ", "+++ ", "--- "];
    let text = args["patch"].as_str().or(args["input"].as_str()).unwrap_or_default();
    let named = |line: &str| {
        let rest = HEADS.iter().find_map(|head| line.strip_prefix(head))?;
        let path = rest.split('\t').next()?.trim();
        let path = path.strip_prefix("a/").or(path.strip_prefix("b/")).unwrap_or(path);
        (path != "/dev/null").then(|| root.join(path).to_string_lossy().into_owned())
    };
    let mut paths: Vec<String> = text.lines().filter_map(named).collect();
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        return vec![("Edit".into(), args.clone())];
    }
    paths.into_iter().map(|path| ("Edit".into(), json!({"file_path": path, "patch": text}))).collect()
}

/// Changed input in our words: what a hook leaves out stays as it was.
pub fn back(tool: &str, input: &Value, args: &Value, root: &Path) -> Option<Value> {
    let (input, mut ours) = (input.as_object()?, args.as_object()?.clone());
    let within = |path: &Value| {
        let path = path.as_str().unwrap_or_default();
        let inside = Path::new(path).strip_prefix(root).ok().map(|path| path.to_string_lossy().into_owned());
        Value::String(inside.unwrap_or_else(|| path.to_owned()))
    };
    let mut take = |from: &str, to: &str| {
        let Some(value) = input.get(from).filter(|value| !value.is_null()) else { return };
        let value = if from.ends_with("path") { within(value) } else { value.clone() };
        ours.insert(to.to_owned(), value);
    };
    match tool {
        "shell" => {
            take("timeout", "timeout_ms");
            take("command", "command");
            if input.get("run_in_background") == Some(&Value::Bool(true)) && args["terminal"] != true {
                take("run_in_background", "background");
            }
            if input.contains_key("command") {
                ours.remove("argv");
            }
        }
        "read" | "write" | "notebook_read" => {
            take("file_path", "path");
            ["content", "offset", "limit"].into_iter().for_each(|key| take(key, key));
        }
        "edit" => {
            take("file_path", "path");
            take("edits", "edits");
            if let Some(piece) =
                args["edits"].as_array().filter(|edits| edits.len() == 1).map(|edits| &edits[0])
            {
                let mut piece: Map<String, Value> = piece.as_object().cloned().unwrap_or_default();
                let fields = ["old_string", "new_string", "replace_all"];
                piece.extend(
                    fields.iter().filter_map(|key| Some(((*key).to_owned(), input.get(*key)?.clone()))),
                );
                ours.insert("edits".into(), json!([piece]));
            }
        }
        "notebook_edit" => {
            take("notebook_path", "path");
            ["cell_id", "new_source", "cell_type", "edit_mode"].into_iter().for_each(|key| take(key, key));
        }
        "glob" | "search" | "list" => {
            ["pattern", "path", "glob"].into_iter().for_each(|key| take(key, key));
        }
        "web_fetch" => take("url", "url"),
        "delegate" => {
            take("prompt", "goal");
            take("subagent_type", "mode");
        }
        "multi_edit" | "apply_patch" => return None,
        _ => return Some(Value::Object(input.clone())),
    }
    Some(Value::Object(ours))
}

/// What a hook reads. `reads`: nothing but reading is expected of the session's mode.
pub fn input(ask: &HookAsk, call: Option<&(String, Value)>, reads: bool) -> Value {
    let asked = &ask.asked;
    let mut input = json!({
        "session_id": ask.session.to_string(),
        // The conversation is in Kapell's journal; what reads a file of it finds it empty.
        "transcript_path": "/dev/null",
        "cwd": ask.root,
        "permission_mode": mode(reads, ask.spec.rights.ask),
        "hook_event_name": asked.event.name(),
        "kapell_key": ask.key,
    });
    let mut add = |key: &str, value: Value| {
        input[key] = value;
    };
    if let (Some((name, told)), Some(one)) = (call, &asked.call) {
        add("tool_name", Value::from(name.as_str()));
        add("tool_input", told.clone());
        add("tool_use_id", Value::from(one.id.to_string()));
    }
    let text = || Value::from(ask.text.clone().unwrap_or_default());
    let gave = ask.gave.clone().unwrap_or_default();
    match asked.event {
        HookEvent::UserPromptSubmit => add("prompt", text()),
        HookEvent::PostToolUse => {
            let bash = call.is_some_and(|(name, _)| name == "Bash");
            let response = match bash {
                true => json!({"stdout": gave, "stderr": "", "interrupted": false, "isImage": false}),
                false => json!({"success": true, "content": gave,
                    "filePath": call.map_or(Value::Null, |(_, input)| input["file_path"].clone())}),
            };
            add("tool_response", response);
        }
        HookEvent::PostToolUseFailure => {
            add("error", Value::from(gave));
            add("is_interrupt", Value::from(false));
        }
        HookEvent::Stop | HookEvent::SubagentStop => {
            add("stop_hook_active", Value::from(asked.again));
            add("last_assistant_message", text());
            if asked.event == HookEvent::SubagentStop {
                add("agent_id", Value::from(ask.session.to_string()));
                add("agent_type", Value::from(ask.spec.mode.as_str()));
                add("agent_transcript_path", Value::from("/dev/null"));
            }
        }
        HookEvent::SessionStart => {
            add("source", Value::from(asked.about.as_str()));
            add("model", Value::from(ask.spec.model.id.as_str()));
        }
        HookEvent::SessionEnd => add("reason", Value::from(asked.about.as_str())),
        HookEvent::PreCompact => {
            add("trigger", Value::from(asked.about.as_str()));
            add("custom_instructions", Value::from(""));
        }
        HookEvent::PostCompact => {
            add("trigger", Value::from(asked.about.as_str()));
            add("compact_summary", text());
        }
        HookEvent::Notification => {
            add("message", Value::from(waits(ask)));
            add("notification_type", Value::from(asked.about.as_str()));
        }
        HookEvent::PreToolUse | HookEvent::PermissionRequest => {}
    }
    input
}

/// Claude Code's word for who is asked about what.
fn mode(reads: bool, ask: Ask) -> &'static str {
    match (reads, ask) {
        (true, _) => "plan",
        (_, Ask::Never) => "bypassPermissions",
        (_, Ask::External) => "acceptEdits",
        (_, Ask::Writes) => "default",
    }
}

/// What somebody is waited for.
fn waits(ask: &HookAsk) -> String {
    match ask.asked.about.as_str() {
        "permission_prompt" => format!("Kapell waits for a yes or a no: kapell approve {}", ask.session),
        "elicitation_dialog" => ask.text.clone().unwrap_or_else(|| "Kapell has a question".into()),
        _ => format!("Kapell waits for you: kapell sessions show {}", ask.session),
    }
}

/// How a hook ended.
#[derive(Debug, Clone, Default)]
pub struct Ran {
    /// Its exit status; `None`: a signal, or it was stopped.
    pub exit: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    /// How long it took, milliseconds.
    pub ms: u64,
}

/// What it said by ending so. Changed input is still in the hook's words.
pub fn said(event: HookEvent, ran: &Ran) -> HookSaid {
    let base = HookSaid { exit: ran.exit, ms: ran.ms, ..HookSaid::default() };
    let complaint = ran.stderr.trim();
    match ran.exit {
        Some(0) => answer(event, ran.stdout.trim(), base),
        Some(2) if blocks(event) => {
            HookSaid { say: Some(Decision::Deny), reason: complaint.to_owned(), ..base }
        }
        Some(code) => HookSaid { failed: format!("it ended with {code}: {}", line(complaint)), ..base },
        None => HookSaid { failed: format!("it did not end by itself: {}", line(complaint)), ..base },
    }
}

fn line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Can a hook of these say no?
fn blocks(event: HookEvent) -> bool {
    use HookEvent as E;
    event.guards() || matches!(event, E::PostToolUse | E::PostToolUseFailure | E::Stop | E::SubagentStop)
}

fn answer(event: HookEvent, text: &str, base: HookSaid) -> HookSaid {
    if !text.starts_with('{') {
        let told = matches!(event, HookEvent::UserPromptSubmit | HookEvent::SessionStart);
        return HookSaid { context: if told { text.to_owned() } else { String::new() }, ..base };
    }
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return HookSaid { failed: format!("its answer is no JSON: {error}"), ..base },
    };
    let own = &value["hookSpecificOutput"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let halt = value["continue"] == Value::Bool(false);
    let decision = match event {
        HookEvent::PreToolUse => own.get("permissionDecision"),
        HookEvent::PermissionRequest => own["decision"].get("behavior").or(own.get("permissionDecision")),
        _ => None,
    };
    let word = decision.or(value.get("decision")).map(text);
    let say = match word.as_deref() {
        None | Some("") => None,
        Some("allow" | "approve") => Some(Decision::Allow),
        Some("ask" | "defer") => Some(Decision::Ask),
        Some("deny" | "block") => Some(Decision::Deny),
        Some(other) => {
            return HookSaid { failed: format!("it decided `{other}`, which is no decision"), ..base };
        }
    };
    let reasons = [
        &own["permissionDecisionReason"],
        &own["decision"]["message"],
        &value["reason"],
        &value["stopReason"],
    ];
    let args = own.get("updatedInput").or(own["decision"].get("updatedInput")).filter(|it| it.is_object());
    HookSaid {
        say: say.filter(|say| event.guards() || (*say == Decision::Deny && blocks(event))),
        reason: reasons.into_iter().map(text).find(|reason| !reason.is_empty()).unwrap_or_default(),
        halt,
        context: text(&own["additionalContext"]),
        args: args.filter(|_| event.guards()).cloned(),
        ..base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_is_a_list_of_names_or_a_regular_expression() {
        let fits = |matcher: &str, name: &str| matches(matcher, name).unwrap();
        for (matcher, name, fit) in [
            ("", "Bash", true),
            ("*", "Bash", true),
            ("Bash", "Bash", true),
            ("Bash", "BashOutput", false),
            ("Edit|Write", "Write", true),
            ("Edit, Write", "Write", true),
            ("mcp__memory", "mcp__memory__read", false),
            ("mcp__memory__.*", "mcp__memory__read", true),
            ("^Note", "NotebookEdit", true),
            ("Notebook.*", "Read", false),
        ] {
            assert_eq!(fits(matcher, name), fit, "{matcher} {name}");
        }
        assert!(matches("(", "").is_err());
    }

    #[test]
    fn a_condition_narrows_by_command_and_by_path() {
        let bash = |command: &str| json!({"command": command});
        for (only, name, input, fit) in [
            ("Bash(git *)", "Bash", bash("git push"), true),
            ("Bash(git *)", "Bash", bash("cd x && git push"), true),
            ("Bash(git *)", "Bash", bash("gitk"), false),
            ("Bash(git:*)", "Bash", bash("git"), true),
            ("Bash(git push)", "Bash", bash("git push origin"), false),
            ("Bash", "Bash", bash("ls"), true),
            ("Edit(*.ts)", "Edit", json!({"file_path": "/w/a.ts"}), true),
            ("Edit(*.ts)", "Edit", json!({"file_path": "/w/a.rs"}), false),
            ("Edit(src/**)", "Edit", json!({"file_path": "/w/src/a.rs"}), true),
            ("Edit(*.ts)", "Write", json!({"file_path": "/w/a.ts"}), false),
        ] {
            assert_eq!(super::only(only, name, &input), fit, "{only} {input}");
        }
    }

    #[test]
    fn calls_have_claudes_shape_and_come_back_in_ours() {
        let root = Path::new("/w");
        let told = |tool: &str, args: Value| inputs(tool, &args, root);
        let bash = told("shell", json!({"argv": ["git", "a b"]}));
        assert_eq!((bash[0].0.as_str(), &bash[0].1["command"]), ("Bash", &json!("'git' 'a b'")));
        let edit = json!({"path": "a.rs", "edits": [{"old_string": "x", "new_string": "y"}]});
        assert_eq!(
            told("edit", edit.clone()),
            [("Edit".to_owned(), json!({"file_path": "/w/a.rs", "old_string": "x", "new_string": "y"}))]
        );
        let two = json!({"edits": [{"path": "a", "old_string": "x", "new_string": "y"},
            {"path": "b", "old_string": "x", "new_string": "y"}]});
        assert_eq!(told("multi_edit", two).len(), 2);
        let text = "*** Begin Patch\n*** Update File: .env\n@@\n*** Add File: b\n+x\n*** End Patch\n";
        let files: Vec<Value> = told("apply_patch", json!({"patch": text}))
            .iter()
            .map(|(_, input)| input["file_path"].clone())
            .collect();
        assert_eq!(files, ["/w/.env", "/w/b"]);
        let back = |tool: &str, input: Value, args: Value| super::back(tool, &input, &args, root).unwrap();
        assert_eq!(
            back("shell", json!({"command": "ls", "timeout": 5}), json!({"argv": ["rm"], "cwd": "x"})),
            json!({"command": "ls", "timeout_ms": 5, "cwd": "x"})
        );
        assert_eq!(
            back("edit", json!({"file_path": "/w/b.rs", "old_string": "x", "new_string": "z"}), edit),
            json!({"path": "b.rs", "edits": [{"old_string": "x", "new_string": "z"}]})
        );
        assert_eq!(back("memory_read", json!({"q": 1}), json!({"q": 2})), json!({"q": 1}));
    }

    #[test]
    fn what_a_hook_says_by_its_end_and_its_words() {
        use Decision::{Allow, Ask, Deny};
        let pre = |exit: i32, stdout: &str| {
            let ran = Ran { exit: Some(exit), stdout: stdout.into(), stderr: "no\n".into(), ms: 1 };
            said(HookEvent::PreToolUse, &ran)
        };
        assert_eq!((pre(2, "").say, pre(2, "").reason.as_str()), (Some(Deny), "no"));
        assert!(pre(1, "").failed.contains("ended with 1: no"));
        assert!(pre(0, "{oops").failed.contains("no JSON"));
        assert_eq!(pre(0, "fine"), HookSaid { exit: Some(0), ms: 1, ..HookSaid::default() });
        for (word, say) in [("allow", Allow), ("ask", Ask), ("defer", Ask), ("deny", Deny)] {
            let answer = json!({"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": word,
                "permissionDecisionReason": "so", "updatedInput": {"command": "ls"}}});
            let got = pre(0, &answer.to_string());
            assert_eq!((got.say, got.reason.as_str()), (Some(say), "so"));
            assert_eq!(got.args, Some(json!({"command": "ls"})));
        }
        assert!(
            pre(0, r#"{"hookSpecificOutput": {"permissionDecision": "maybe"}}"#).failed.contains("maybe")
        );
        assert_eq!(pre(0, r#"{"decision": "block", "reason": "r"}"#).say, Some(Deny));
        let of = |event, text: &str| {
            said(event, &Ran { exit: Some(0), stdout: text.into(), stderr: String::new(), ms: 1 })
        };
        let request = r#"{"hookSpecificOutput": {"decision": {"behavior": "deny", "message": "m"}}}"#;
        assert_eq!(of(HookEvent::PermissionRequest, request).reason, "m");
        assert_eq!(of(HookEvent::UserPromptSubmit, "today is Monday").context, "today is Monday");
        assert!(of(HookEvent::Stop, r#"{"continue": false, "stopReason": "enough"}"#).halt);
        assert_eq!(of(HookEvent::Stop, r#"{"decision": "block", "reason": "test first"}"#).say, Some(Deny));
        assert_eq!(of(HookEvent::Notification, r#"{"decision": "block"}"#).say, None);
        assert_eq!(of(HookEvent::PostToolUse, r#"{"decision": "approve"}"#).say, None);
    }
}
