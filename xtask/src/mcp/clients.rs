//! `cargo xtask mcp clients [NAME...]`: clients that nobody here wrote, through the real binary, over every transport.
//!
//! The official Python SDK (1.x and 2.x, from PyPI), the TypeScript SDK, the inspector's command line and the conformance
//! package (from npm), installed below the target directory. By hand, never a test. Start at [`run`].

use super::conformance;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What is installed: the newest of each line.
const PYTHONS: [(&str, &str); 2] = [("python-1", "mcp>=1,<2"), ("python-2", "mcp>=2,<3")];
const TYPESCRIPT: &str = "@modelcontextprotocol/sdk@1";
const INSPECTOR: &str = "@modelcontextprotocol/inspector@2";
/// These two need a newer Node than Debian's; npm brings one along.
pub(super) const NODE: &str = "node@26";
pub(super) const TRANSPORTS: [&str; 3] = ["stdio", "http", "sse"];

/// Where everything is.
pub(super) struct Place {
    pub(super) binary: PathBuf,
    pub(super) dir: PathBuf,
    scripts: PathBuf,
}

pub(super) fn run(binary: PathBuf, args: &[String]) -> Result<()> {
    let dir = crate::programs::target_dir()?.join("mcp").join("clients");
    let place = Place { binary, dir, scripts: crate::root()?.join("xtask/mcp") };
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    let mut failed = Vec::new();
    let mut part = |name: &str, done: Result<()>| {
        if let Err(error) = done {
            println!("{name}: {error:#}");
            failed.push(name.to_owned());
        }
    };
    for (name, package) in PYTHONS {
        if wanted("python") || wanted(name) {
            part(name, python(&place, name, package));
        }
    }
    if wanted("typescript") {
        part("typescript", typescript(&place));
    }
    if wanted("inspector") {
        part("inspector", inspector(&place));
    }
    if wanted("claude") {
        part("claude", super::claude::run(&place));
    }
    if wanted("servers") {
        part("servers", super::servers::run(&place));
    }
    if wanted("conformance") {
        part("conformance", conformance::run(&place));
    }
    ensure!(failed.is_empty(), "not as they should: {}", failed.join(", "));
    Ok(())
}

impl Place {
    pub(super) fn script(&self, name: &str) -> PathBuf {
        self.scripts.join(name)
    }

    /// A package and its program, in a directory of its own.
    pub(super) fn npm(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund"]).args(packages);
        ran(npm.current_dir(&dir)).with_context(|| format!("npm install {}", packages.join(" ")))?;
        Ok(dir)
    }
}

fn python(place: &Place, name: &str, package: &str) -> Result<()> {
    let dir = place.dir.join(name);
    let python = dir.join("bin/python");
    if !python.exists() {
        ran(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    }
    ran(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--upgrade", package]))?;
    suites(place, name, &|| {
        let mut command = Command::new(&python);
        command.arg(place.script("suite.py"));
        command
    })
}

fn typescript(place: &Place) -> Result<()> {
    let dir = place.npm("typescript", &[TYPESCRIPT])?;
    suites(place, "typescript", &|| {
        let mut command = Command::new("node");
        command.arg(place.script("suite.mjs")).current_dir(&dir);
        command
    })
}

/// The suite over each transport, each in a project of its own.
fn suites(place: &Place, name: &str, client: &dyn Fn() -> Command) -> Result<()> {
    let mut failed = Vec::new();
    for transport in TRANSPORTS {
        let project = Project::new(place, name, transport)?;
        let mut command = client();
        let served = (transport != "stdio").then(|| project.serve(place)).transpose()?;
        let target = match &served {
            None => project.stdio(place)?.display().to_string(),
            Some(served) => served.url(transport).to_owned(),
        };
        command.args([transport, &target]).arg(place.script("suite.json"));
        if let Some(served) = &served {
            command.env("KAPELL_TOKEN", &served.token);
        }
        if !command.status().context("start the client")?.success() {
            failed.push(transport);
        }
    }
    ensure!(failed.is_empty(), "failed over {}", failed.join(", "));
    Ok(())
}

/// The suite as calls of a command line, each a client of its own.
fn inspector(place: &Place) -> Result<()> {
    let dir = place.npm("inspector", &[INSPECTOR, NODE])?;
    let steps: Vec<Map<String, Value>> =
        serde_json::from_str(&std::fs::read_to_string(place.script("suite.json"))?)?;
    let mut failed = 0;
    for transport in TRANSPORTS {
        let project = Project::new(place, "inspector", transport)?;
        let served = (transport != "stdio").then(|| project.serve(place)).transpose()?;
        let ask = |method: &str, more: &[String]| -> Result<Value> {
            let mut command = Command::new(dir.join("node_modules/node/bin/node"));
            command.args(["node_modules/.bin/mcp-inspector", "--cli"]).current_dir(&dir);
            match &served {
                None => drop(command.arg(project.stdio(place)?)),
                Some(served) => {
                    let bearer = format!("Authorization: Bearer {}", served.token);
                    command.arg(served.url(transport)).args(["--transport", transport, "--header", &bearer]);
                }
            }
            let out =
                command.args(["--method", method]).args(more).output().context("start the inspector")?;
            let text = String::from_utf8_lossy(&out.stdout);
            serde_json::from_str(&text).with_context(|| {
                format!("{method}: {} {}", text.trim(), String::from_utf8_lossy(&out.stderr).trim())
            })
        };
        let listed = ask("tools/list", &[])?["tools"].as_array().map_or(0, Vec::len);
        let mut bad = 0;
        for step in &steps {
            let more = arguments(step);
            let why = match ask("tools/call", &more) {
                Ok(result) => wrong(step, &result),
                Err(error) => Some(format!("{error:#}")),
            };
            if let Some(why) = why {
                println!("inspector, {transport}: {}: {why}", more.join(" "));
                bad += 1;
            }
        }
        println!(
            "inspector's command line, {transport}: {listed} tools listed, {} calls, {bad} failed",
            steps.len()
        );
        failed += bad;
    }
    ensure!(failed == 0, "{failed} calls failed");
    Ok(())
}

fn arguments(step: &Map<String, Value>) -> Vec<String> {
    let mut more = vec!["--tool-name".to_owned(), step["tool"].as_str().unwrap_or_default().to_owned()];
    for (name, value) in step["args"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        more.extend(["--tool-arg".to_owned(), format!("{name}={value}")]);
    }
    more
}

/// Why a result is not what the suite says.
fn wrong(step: &Map<String, Value>, result: &Value) -> Option<String> {
    let fails = step.get("fails") == Some(&Value::Bool(true));
    if (result["isError"] == true) != fails {
        return Some(result.to_string().chars().take(400).collect());
    }
    let said = &result["structuredContent"]["result"];
    let is = step.get("is").and_then(Value::as_object).into_iter().flatten();
    is.filter(|(name, value)| said[name.as_str()] != **value)
        .map(|(name, _)| format!("{name} is {}", said[name.as_str()]))
        .next()
}

/// A directory to work on, and a home for it.
pub(super) struct Project(PathBuf);

impl Project {
    /// New each time.
    pub(super) fn new(place: &Place, name: &str, transport: &str) -> Result<Self> {
        let dir = place.dir.join("projects").join(format!("{name}-{transport}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("ws"))?;
        Ok(Self(dir))
    }

    pub(super) fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    /// The directory that is worked on.
    pub(super) fn ws(&self) -> PathBuf {
        self.0.join("ws")
    }

    /// A program that is the server in this project, for clients that start theirs somewhere else.
    fn stdio(&self, place: &Place) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let file = self.0.join("serve");
        let shown = |path: &Path| format!("'{}'", path.display());
        let (ws, home, binary) = (shown(&self.0.join("ws")), shown(&self.home()), shown(&place.binary));
        let text = format!("#!/bin/sh\ncd {ws} && KAPELL_HOME={home} exec {binary} mcp --tools all\n");
        std::fs::write(&file, text)?;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755))?;
        Ok(file)
    }

    /// A server over HTTP.
    pub(super) fn serve(&self, place: &Place) -> Result<Served> {
        let mut command = Command::new(&place.binary);
        command.args(["mcp", "--tools", "all", "--json", "--http", "0"]).current_dir(self.0.join("ws"));
        command.env("KAPELL_HOME", self.home()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start kapell mcp")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).with_context(|| format!("it said {line}"))?;
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let token = std::fs::read_to_string(Path::new(&text("token_file")))?;
        Ok(Served { child, http: text("url"), sse: text("sse"), token })
    }
}

/// A server. Killed when it is dropped.
pub(super) struct Served {
    child: Child,
    http: String,
    sse: String,
    pub(super) token: String,
}

impl Served {
    pub(super) fn url(&self, transport: &str) -> &str {
        if transport == "sse" { &self.sse } else { &self.http }
    }

    pub(super) fn port(&self) -> &str {
        let rest = self.http.rsplit(':').next().unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn ran(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("start {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
