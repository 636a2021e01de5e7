//! Rules of Claude Code, Gemini CLI and Codex, as `[[policy.rule]]` on standard output. Writes no file.
//!
//! A rule of theirs that would mean more here than there is left out, and said. Start at [`translated`].

use crate::app::App;
use crate::exit::{self, Failure};
use crate::out;
use serde_json::Value;
use std::path::Path;

/// Prints the rules of this file; the exit code.
pub(super) fn run(app: &App, file: &Path) -> Result<u8, Failure> {
    let path = app.cwd.join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let what = format!("cannot read {}: {error}", path.display());
        Failure::usage(
            "no-rules-file",
            what,
            "name Claude's settings.json, Gemini's settings.json or policy TOML, or Codex' .rules",
        )
    })?;
    let rules = translated(&text).map_err(|why| {
        let what = format!("{}: {why}", path.display());
        Failure::usage("bad-rules-file", what, "it must be of Claude Code, Gemini CLI or Codex")
    })?;
    if app.global.json {
        let list: Vec<&str> = rules.lines().collect();
        out::print(&crate::show::json_page(&serde_json::json!({"toml": rules, "lines": list.len()})));
    } else {
        out::print(&rules);
    }
    Ok(exit::OK)
}

/// The file's rules as TOML.
pub(super) fn translated(text: &str) -> Result<String, String> {
    let mut rules = Rules(String::new());
    if text.contains("prefix_rule(") {
        codex(text, &mut rules)?;
    } else if let Ok(json) = serde_json::from_str::<Value>(text) {
        if json.get("permissions").is_some() {
            claude(&json["permissions"], &mut rules);
        } else {
            gemini(&json, &mut rules);
        }
    } else if let Ok(table) = text.parse::<toml::Table>() {
        gemini_policy(&table, &mut rules)?;
    } else {
        return Err("it is neither JSON nor TOML nor a list of prefix_rule(...)".into());
    }
    Ok(rules.0)
}

struct Rules(String);

impl Rules {
    fn put(&mut self, decide: &str, keys: &[(&str, toml::Value)]) {
        self.0.push_str(&format!("[[policy.rule]]\ndecide = \"{decide}\"\n"));
        for (key, value) in keys {
            self.0.push_str(&format!("{key} = {value}\n"));
        }
        self.0.push('\n');
    }

    fn words(&mut self, decide: &str, words: &[String], exact: bool) {
        let list = toml::Value::Array(words.iter().cloned().map(toml::Value::String).collect());
        match exact {
            true => self.put(decide, &[("command", list), ("exact", toml::Value::Boolean(true))]),
            false => self.put(decide, &[("command", list)]),
        }
    }

    /// A command as these tools write it: a beginning, exactly this, or with `*` in it.
    fn command(&mut self, decide: &str, text: &str, prefix: bool) {
        let (text, prefix) = match text.strip_suffix(":*") {
            Some(text) => (text, true),
            None => (text, prefix),
        };
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let Some((last, front)) = words.split_last() else {
            return self.left(decide, text, "it is about every command");
        };
        // There a `*` stands for any words, here for one.
        let inside = front.iter().any(|word| word.contains('*')) || last.trim_end_matches('*').contains('*');
        match decide {
            _ if words[0].contains('*') => self.left(decide, text, "it names no program"),
            "allow" if prefix && text.contains(['*', '?']) => {
                self.left(decide, text, "its signs would mean more")
            }
            "allow" => self.words(decide, &words, !(prefix || last == "*")),
            _ if inside => self.left(decide, text, "a `*` in the middle is one word here"),
            _ => self.words(decide, &words, !(prefix || last.ends_with('*'))),
        }
    }

    fn left(&mut self, decide: &str, text: &str, why: &str) {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        self.0.push_str(&format!("# left out: {decide} {text} ({why})\n\n"));
    }
}

/// `Bash(git diff:*)`, `Read(./.env)`, `WebFetch(domain:example.com)`.
fn claude(permissions: &Value, rules: &mut Rules) {
    for decide in ["deny", "ask", "allow"] {
        for rule in permissions[decide].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let (tool, inside) = match rule.split_once('(').map(|(tool, rest)| (tool, rest.strip_suffix(')')))
            {
                Some((tool, Some(inside))) => (tool, inside),
                _ => (rule, ""),
            };
            match (tool, inside) {
                (_, "") => rules.left(decide, rule, "it is about a whole tool"),
                ("Bash", command) => rules.command(decide, command, false),
                ("Read" | "Edit" | "Write" | "MultiEdit", path) => {
                    let path = place(path, decide);
                    let access = if tool == "Read" { "read" } else { "write" };
                    rules.put(decide, &[("path", path.into()), ("access", access.into())]);
                }
                ("WebFetch", host) => match host.strip_prefix("domain:") {
                    Some(host) => rules.put(decide, &[("host", host.into())]),
                    None => rules.left(decide, rule, "it names no domain"),
                },
                _ => rules.left(decide, rule, "there is no such tool here"),
            }
        }
    }
}

/// Two slashes are the root there, one is the folder of the file. A bare name is one anywhere here, which must not
/// allow more than there.
fn place(path: &str, decide: &str) -> String {
    if path.starts_with("//") {
        return path[1..].to_owned();
    }
    let bare = !path.contains('/') && decide != "allow";
    match path.strip_prefix('/').or(path.strip_prefix("./")) {
        Some(rest) => format!("./{rest}"),
        None if bare || path.starts_with('~') => path.to_owned(),
        None => format!("./{path}"),
    }
}

/// `coreTools`, `excludeTools`, `tools.allowed` ... with `ShellTool(git status)`.
fn gemini(json: &Value, rules: &mut Rules) {
    let lists = [
        ("deny", &json["excludeTools"]),
        ("deny", &json["tools"]["exclude"]),
        ("show", &json["coreTools"]),
        ("show", &json["tools"]["core"]),
        ("allow", &json["allowedTools"]),
        ("allow", &json["tools"]["allowed"]),
    ];
    for (decide, list) in lists {
        for rule in list.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let inside = ["ShellTool(", "run_shell_command("]
                .iter()
                .find_map(|tool| rule.strip_prefix(tool)?.strip_suffix(')'));
            match inside {
                _ if decide == "show" => {
                    rules.left(decide, rule, "it says which tools there are, not what may run")
                }
                Some(command) => rules.command(decide, command, true),
                None => rules.left(decide, rule, "it is about a whole tool"),
            }
        }
    }
}

/// `[[rule]] toolName, commandPrefix, decision`.
fn gemini_policy(table: &toml::Table, rules: &mut Rules) -> Result<(), String> {
    let list = table.get("rule").and_then(toml::Value::as_array).ok_or("there is no [[rule]] in it")?;
    for rule in list {
        let text = |key: &str| rule.get(key).and_then(toml::Value::as_str);
        let decide = match text("decision") {
            Some("allow") => "allow",
            Some("deny") => "deny",
            Some("ask_user" | "ask") => "ask",
            _ => return Err("a rule has no decision".into()),
        };
        let prefixes: Vec<&str> = match rule.get("commandPrefix") {
            Some(toml::Value::Array(list)) => list.iter().filter_map(toml::Value::as_str).collect(),
            Some(toml::Value::String(one)) => vec![one],
            _ => Vec::new(),
        };
        if text("toolName") != Some("run_shell_command") || prefixes.is_empty() {
            rules.left(decide, text("toolName").unwrap_or("a rule"), "it is about a whole tool or a pattern");
            continue;
        }
        // Without what narrows it, it would allow more.
        let narrows =
            ["modes", "argsPattern", "commandRegex"].into_iter().find(|key| rule.get(*key).is_some());
        if let (Some(key), "allow") = (narrows, decide) {
            rules.left(decide, &prefixes.join(", "), &format!("it holds only with its `{key}`"));
            continue;
        }
        for prefix in prefixes {
            rules.command(decide, prefix, true);
        }
    }
    Ok(())
}

/// Commands that one rule may come to.
const MOST: usize = 256;

/// `prefix_rule(pattern = ["git", ["push", "fetch"]], decision = "prompt")`.
fn codex(text: &str, rules: &mut Rules) -> Result<(), String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    for call in code.join("\n").split("prefix_rule(").skip(1) {
        let pattern = call
            .split_once("pattern")
            .and_then(|(_, rest)| rest.split_once('='))
            .ok_or("a prefix_rule has no pattern")?
            .1;
        let json = list(pattern).ok_or("the pattern of a prefix_rule is not a list of texts")?;
        let decision = call
            .split_once("decision")
            .and_then(|(_, rest)| rest.split_once('='))
            .map(|(_, rest)| rest.trim_start());
        let decide = match decision.and_then(|rest| rest.get(1..)?.split(['"', '\'']).next()) {
            None | Some("allow") => "allow",
            Some("prompt") => "ask",
            Some("forbidden") => "deny",
            Some(other) => return Err(format!("`{other}` is no decision")),
        };
        let mut all: Vec<Vec<String>> = vec![Vec::new()];
        for element in json.as_array().into_iter().flatten() {
            let choices: Vec<&str> = match element {
                Value::String(word) => vec![word],
                Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            let longer = |words: &Vec<String>| {
                let words = words.clone();
                choices
                    .iter()
                    .map(move |choice| [&words[..], &[(*choice).to_owned()]].concat())
                    .collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).take(MOST + 1).collect();
        }
        if all.len() > MOST || all.iter().any(Vec::is_empty) || all.is_empty() {
            rules.left(
                decide,
                &json.to_string(),
                &format!("it comes to nothing, or to more than {MOST} commands"),
            );
            continue;
        }
        for words in &all {
            // Its words stand for themselves only.
            match decide == "allow" && words.iter().any(|word| word.contains(['*', '?'])) {
                true => rules.left(decide, &words.join(" "), "its signs would mean more"),
                false => rules.words(decide, words, false),
            }
        }
    }
    Ok(())
}

/// The list at the beginning of this text, as JSON: quotes may be single, a comma may be last.
fn list(text: &str) -> Option<Value> {
    let text = text.trim_start().strip_prefix('[')?;
    let (mut depth, mut quote, mut end) = (1, None, None);
    let mut out = String::from("[");
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => {
                quote = None;
                out.push('"');
            }
            (Some(_), '"') => out.push_str("\\\""),
            (Some(_), c) => out.push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                out.push('"');
            }
            (None, '[') => {
                depth += 1;
                out.push('[');
            }
            (None, ']') => {
                depth -= 1;
                out.truncate(out.trim_end().trim_end_matches(',').len());
                out.push(']');
            }
            (None, c) => out.push(c),
        }
        if depth == 0 {
            end = Some(at);
            break;
        }
    }
    end?;
    serde_json::from_str(&out).ok()
}

#[cfg(test)]
mod tests {
    use super::translated;

    /// One line per rule, and the whole must be configuration.
    fn rules(text: &str) -> Vec<String> {
        let toml = translated(text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), &toml).unwrap();
        let config = crate::config::Config::load(dir.path(), None, |_| None).unwrap();
        config.rules.iter().map(kernel::policy::Rule::text).collect()
    }

    #[test]
    fn claude() {
        let text = r#"{"permissions": {"allow": ["Bash(git diff:*)", "Bash(npm run build)", "Bash(npm run test *)", "Bash",
            "WebFetch(domain:docs.rs)", "Edit(/src/**)", "Edit(**)", "Edit(doc)", "mcp__x__y", "Bash(git * main)",
            "Bash(* --version)"], "deny": ["Read(./.env)", "Read(.npmrc)", "Bash(rm:*)", "Read(//etc/x)",
            "Bash(git * main)", "Bash(*--force*)", "Bash(git push*)"], "ask": ["Bash(git push:*)"]}}"#;
        assert_eq!(
            rules(text),
            [
                "deny reading or writing `./.env`",
                "deny reading or writing `.npmrc`",
                "deny command `rm`",
                "deny reading or writing `/etc/x`",
                "deny command `git push*`",
                "ask command `git push`",
                "allow command `git diff`",
                "allow command `npm run build` exactly",
                "allow command `npm run test *`",
                "allow host `docs.rs`",
                "allow writing `./src/**`",
                "allow writing `./**`",
                "allow writing `./doc`",
                "allow command `git * main` exactly",
            ]
        );
        assert_eq!(translated(text).unwrap().matches("# left out").count(), 5);
    }

    #[test]
    fn gemini() {
        let text = r#"{"coreTools": ["ReadFileTool", "ShellTool(git status)"], "excludeTools": ["ShellTool(rm -rf)"],
            "tools": {"allowed": ["run_shell_command(npm test)"]}}"#;
        assert_eq!(rules(text), ["deny command `rm -rf`", "allow command `npm test`"]);
        assert!(translated(text).unwrap().contains("# left out: show ShellTool(git status)"));
        let text = "[[rule]]\ntoolName = \"x\"\ncommandPrefix = \"ls\"\ndecision = \"allow\"\n\
                    [[rule]]\ntoolName = \"run_shell_command\"\ncommandPrefix = \"rm\"\nmodes = [\"yolo\"]\n\
                    decision = \"allow\"\n";
        assert_eq!(rules(text), Vec::<String>::new());
        assert_eq!(translated(text).unwrap().matches("# left out").count(), 2);
        let text = "[[rule]]\ntoolName = \"run_shell_command\"\ncommandPrefix = [\"git \", \"ls\"]\ndecision = \"ask_user\"\n";
        assert_eq!(rules(text), ["ask command `git`", "ask command `ls`"]);
    }

    #[test]
    fn codex() {
        let text = "# prefix_rule(pattern=[\"no\"])\nprefix_rule(\n  pattern = [\"git\", ['push', \"fetch\",],],\n  decision = \"prompt\",\n)\n\
                    prefix_rule(pattern=[\"ls\"])\nprefix_rule(pattern=[\"rm\", \"-rf\"], decision='forbidden')\n";
        assert_eq!(
            rules(text),
            [
                "ask command `git push`",
                "ask command `git fetch`",
                "allow command `ls`",
                "deny command `rm -rf`"
            ]
        );
        assert_eq!(rules("prefix_rule(pattern=[\"rm\", \"*.o\"])"), Vec::<String>::new());
        let choice = format!("[{}]", vec!["\"x\""; 17].join(","));
        let many = format!("prefix_rule(pattern=[\"rm\", {choice}, {choice}], decision=\"forbidden\")");
        assert!(translated(&many).unwrap().starts_with("# left out: deny"));
    }

    #[test]
    fn what_is_none_of_them_is_said() {
        for text in ["= x", "[other]\na = 1", "prefix_rule()", "prefix_rule(pattern=[1)"] {
            assert!(translated(text).is_err(), "{text}");
        }
    }
}
