//! The scenarios of npm's `@modelcontextprotocol/conformance` against the real server, one at a time, as a table.
//!
//! Most of them call tools of a fixture (`test_simple_text` ...) that a product does not have: those do not apply, and why is
//! said. Start at [`run`].

use super::clients::{NODE, Place, Project, Served};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// It asks for `fs.globSync`, which Node 20 does not have.
const PACKAGE: &str = "@modelcontextprotocol/conformance";

/// Scenarios that ask for something of the fixture: what.
const FIXTURE: &[(&str, &str)] = &[
    ("tools-call-simple-text", "the tool test_simple_text"),
    ("tools-call-image", "the tool test_image_content"),
    ("tools-call-audio", "the tool test_audio_content"),
    ("tools-call-embedded-resource", "the tool test_embedded_resource"),
    ("tools-call-mixed-content", "the tool test_multiple_content_types"),
    ("tools-call-with-logging", "the tool test_tool_with_logging"),
    ("tools-call-error", "the tool test_error_handling"),
    ("tools-call-with-progress", "the tool test_tool_with_progress"),
    ("tools-call-sampling", "the tool test_sampling"),
    ("tools-call-elicitation", "the tool test_elicitation"),
    ("json-schema-2020-12", "the tool json_schema_2020_12_tool"),
    ("elicitation-sep1034-defaults", "the tool test_elicitation_sep1034_defaults"),
    ("elicitation-sep1330-enums", "the tool test_elicitation_sep1330_enums"),
    ("server-sse-polling", "the tool test_reconnection"),
    ("resources-read-text", "the resource test://static-text"),
    ("resources-read-binary", "the resource test://static-binary"),
    ("resources-templates-read", "the resource test://template/{id}/data"),
    ("resources-subscribe", "the resource test://watched-resource"),
    ("resources-unsubscribe", "the resource test://watched-resource"),
    ("prompts-get-simple", "the prompt test_simple_prompt"),
    ("prompts-get-with-args", "the prompt test_prompt_with_arguments"),
    ("prompts-get-embedded-resource", "the prompt test_prompt_with_embedded_resource"),
    ("prompts-get-with-image", "the prompt test_prompt_with_image"),
];

pub(super) fn run(place: &Place) -> Result<()> {
    let dir = place.npm("conformance", &[PACKAGE, NODE])?;
    let node = dir.join("node_modules/node/bin/node");
    let tool = dir.join("node_modules").join(PACKAGE).join("dist/index.js");
    let project = Project::new(place, "conformance", "http")?;
    let served = project.serve(place)?;
    let relay = Relay::start(place, &node, &served)?;
    let url = format!("http://127.0.0.1:{}/mcp", relay.port);
    let (mut passed, mut failed, mut not) = (0, Vec::new(), 0);
    for name in scenarios(&node, &tool)? {
        if let Some((_, what)) = FIXTURE.iter().find(|(other, _)| *other == name) {
            println!("conformance: {name:30} does not apply: asks for {what}");
            not += 1;
            continue;
        }
        let mut command = Command::new(&node);
        command.arg(&tool).args(["server", "--url", &url, "--scenario", &name]).current_dir(&dir);
        let out = command.output().context("start the conformance tool")?;
        if out.status.success() {
            println!("conformance: {name:30} passed");
            passed += 1;
        } else {
            let said = [out.stdout, out.stderr].concat();
            println!("conformance: {name:30} FAILED\n{}", String::from_utf8_lossy(&said));
            failed.push(name);
        }
    }
    println!("conformance: {passed} passed, {} failed, {not} do not apply", failed.len());
    ensure!(failed.is_empty() && passed > 0, "failed: {}", failed.join(", "));
    Ok(())
}

/// What there is for servers.
fn scenarios(node: &Path, tool: &Path) -> Result<Vec<String>> {
    let out =
        Command::new(node).arg(tool).args(["list", "--server"]).output().context("list the scenarios")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let names =
        text.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(' ').next().map(str::to_owned));
    let names: Vec<String> = names.collect();
    ensure!(!names.is_empty(), "no scenarios: {text}{}", String::from_utf8_lossy(&out.stderr));
    Ok(names)
}

/// Says the token for a client that cannot. Killed when it is dropped.
struct Relay {
    child: Child,
    port: u16,
}

impl Relay {
    fn start(place: &Place, node: &PathBuf, served: &Served) -> Result<Self> {
        let mut command = Command::new(node);
        command.arg(place.script("relay.mjs")).arg(served.port()).env("KAPELL_TOKEN", &served.token);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start the relay")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse().with_context(|| format!("the relay said {line}"))? })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
