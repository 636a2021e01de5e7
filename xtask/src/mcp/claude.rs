//! `cargo xtask mcp clients claude`: Claude Code from npm, which speaks to the fake models, lists Kapell's tools and calls some.
//!
//! Says what it sent and what it got. Installed below the target directory; by hand, never a test. Start at [`run`].

use super::clients::{Place, Project, ran};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PACKAGE: &str = "@anthropic-ai/claude-code";
/// What the model has it call, in turn.
const CALLS: [(&str, &str); 5] = [
    ("board", "{}"),
    ("get_todo_status", "{}"),
    ("read_project_file", r#"{"file_path": "TODO.md"}"#),
    ("read_project_file", r#"{"file_path": "../../etc/passwd"}"#),
    ("session_status", r#"{"session": "nowhere"}"#),
];
/// Characters of a frame that are shown.
const SHOWN: usize = 240;

/// Killed when it is dropped.
struct Models(Child);

impl Drop for Models {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn run(place: &Place) -> Result<()> {
    let npm = place.npm("claude", &[PACKAGE])?;
    let claude = npm.join("node_modules/.bin/claude");
    let version = Command::new(&claude).arg("--version").output().context("start claude")?;
    println!("claude: {}", String::from_utf8_lossy(&version.stdout).trim());
    let project = Project::new(place, "claude", "stdio")?;
    std::fs::write(project.ws().join("TODO.md"), "# To do\n\n- [x] begin\n- [ ] go on\n")?;
    ran(Command::new("git").args(["init", "-q"]).current_dir(project.ws()))?;
    let (url, _models) = models(&project)?;
    let config = project.home().with_file_name("mcp.json");
    let env = json!({"KAPELL_HOME": project.home()});
    let servers = json!({"kapell": {"command": place.binary, "args": ["mcp", "--tools", "all"], "env": env}});
    std::fs::write(&config, json!({"mcpServers": servers}).to_string())?;
    let told = asked(&claude, &project, &config, &url)?;
    report(&told)
}

/// The fake models with what they have it call; where they listen.
fn models(project: &Project) -> Result<(String, Models)> {
    let mut text = String::new();
    for (tool, args) in CALLS {
        text.push_str(&format!(
            "[[turn]]\n[[turn.call]]\ntool = \"mcp__kapell__{tool}\"\nraw_args = '''{args}'''\n"
        ));
    }
    text.push_str("[[turn]]\ntext = \"That is all.\"\n");
    let file = project.home().with_file_name("models.toml");
    std::fs::write(&file, text)?;
    let fake = crate::programs::build("fake", false)?;
    let mut child = Command::new(fake).arg("--script").arg(&file).stdout(Stdio::piped()).spawn()?;
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    let models = Models(child);
    let mut line = String::new();
    output.read_line(&mut line)?;
    let url = line.strip_prefix("listening on ").and_then(|rest| rest.split(';').next());
    let url = url.with_context(|| format!("the fake models said {line}"))?.to_owned();
    // It goes on to say who asks: nobody reads that, and nobody has to wait for it.
    std::thread::spawn(move || output.lines().for_each(drop));
    Ok((url, models))
}

/// Every line that it said.
fn asked(claude: &Path, project: &Project, config: &Path, url: &str) -> Result<Vec<Value>> {
    let names: Vec<String> = CALLS.iter().map(|(tool, _)| format!("mcp__kapell__{tool}")).collect();
    let mut command = Command::new(claude);
    command
        .args([
            "-p",
            "Look at the board, then at what is to be done.",
            "--output-format",
            "stream-json",
            "--verbose",
        ])
        .args(["--strict-mcp-config", "--max-turns", "10", "--allowedTools", &names.join(",")])
        .arg("--mcp-config")
        .arg(config)
        .current_dir(project.ws())
        .env("HOME", project.home().with_file_name("person"))
        .env("ANTHROPIC_BASE_URL", url)
        .env("ANTHROPIC_API_KEY", "none")
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        // Otherwise tools are looked for first, and the model here looks for none.
        .env("ENABLE_TOOL_SEARCH", "false")
        .env("MCP_TIMEOUT", "60000")
        .stdin(Stdio::null());
    std::fs::create_dir_all(project.home().with_file_name("person"))?;
    let out = command.output().context("start claude")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let told: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    ensure!(!told.is_empty(), "it said {text} {}", String::from_utf8_lossy(&out.stderr));
    Ok(told)
}

fn short(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.replace('\n', " ").chars().take(SHOWN).collect()
}

/// What it listed, sent and got; fails where that is not what Kapell serves.
fn report(told: &[Value]) -> Result<()> {
    let begun = told.iter().find(|line| line["subtype"] == "init").context("it did not begin")?;
    println!("claude: servers {}", begun["mcp_servers"]);
    let tools = begun["tools"].as_array().cloned().unwrap_or_default();
    let ours: Vec<&str> =
        tools.iter().filter_map(|tool| tool.as_str()?.strip_prefix("mcp__kapell__")).collect();
    println!("claude: {} tools of kapell listed: {}", ours.len(), ours.join(", "));
    let (mut sent, mut got) = (0, 0);
    for part in told.iter().flat_map(|line| line["message"]["content"].as_array().into_iter().flatten()) {
        match part["type"].as_str() {
            Some("tool_use") => {
                sent += 1;
                println!("claude: sent {} {}", short(&part["name"]), short(&part["input"]));
            }
            Some("tool_result") => {
                got += 1;
                let error = if part["is_error"] == true { "an error: " } else { "" };
                println!("claude: got {error}{}", short(&part["content"]));
            }
            _ => {}
        }
    }
    let end = told.iter().rev().find(|line| line["type"] == "result").context("it did not end")?;
    println!("claude: ended {} after {} turns: {}", end["subtype"], end["num_turns"], short(&end["result"]));
    ensure!(ours.len() >= 33, "{} tools listed", ours.len());
    ensure!((sent, got) == (CALLS.len(), CALLS.len()), "{sent} calls sent, {got} answered");
    ensure!(!told.iter().any(|line| line.to_string().contains("root:x:0")), "a path led outside");
    Ok(())
}
