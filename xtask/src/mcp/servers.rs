//! `cargo xtask mcp clients servers`: servers that nobody here wrote, used by an agent of the real binary.
//!
//! The reference servers of npm (`server-everything` over pipes and over HTTP, `server-filesystem`) and of PyPI
//! (`mcp-server-time`, `mcp-server-git`), installed below the target directory. By hand, never a test. Start at [`run`].

use super::clients::{Place, Project, ran};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NPM: [&str; 2] = ["@modelcontextprotocol/server-everything", "@modelcontextprotocol/server-filesystem"];
const PYPI: [&str; 2] = ["mcp-server-time", "mcp-server-git"];
const LIMIT: Duration = Duration::from_secs(60);
const FREE: &str = "[model]\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n";

/// A server, a call of it, and a piece of what it has to answer.
const CALLS: &[(&str, &str, &str, &str)] = &[
    ("everything", "echo", r#"{"message": "hello"}"#, "Echo: hello"),
    ("elsewhere", "echo", r#"{"message": "hello"}"#, "Echo: hello"),
    ("everything", "get-structured-content", r#"{"location": "New York"}"#, "temperature"),
    ("everything", "get-tiny-image", "{}", "from the server `everything`"),
    ("time", "get_current_time", r#"{"timezone": "Europe/Berlin"}"#, "Europe/Berlin"),
    ("time", "get_current_time", r#"{"timezone": "No/Where"}"#, "No/Where"),
    ("git", "git_log", r#"{"repo_path": "."}"#, "a beginning"),
    ("files", "read_text_file", r#"{"path": "readme.txt"}"#, "hello"),
    ("files", "read_text_file", r#"{"path": "/etc/passwd"}"#, "outside allowed"),
    ("files", "write_file", r#"{"path": "fixed.txt", "content": "fixed\n"}"#, "wrote to fixed.txt"),
];

/// Killed when it is dropped.
struct Elsewhere(Child);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn run(place: &Place) -> Result<()> {
    let npm = place.npm("servers", &NPM)?;
    let python = place.dir.join("servers-python");
    if !python.exists() {
        ran(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
    }
    ran(Command::new(python.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--upgrade"])
        .args(PYPI))?;
    let project = Project::new(place, "servers", "all")?;
    repository(&project.ws())?;
    let script = |name: &str| npm.join("node_modules/@modelcontextprotocol").join(name).join("dist/index.js");
    let (port, _elsewhere) = elsewhere(&script("server-everything"))?;
    declare(&project, &npm, &python, &script, port)?;
    let kapell = |args: &[&str]| -> Result<(i32, String)> {
        let mut command = Command::new(&place.binary);
        command
            .args(args)
            .current_dir(project.ws())
            .env("KAPELL_HOME", project.home())
            .env("KAPELL_TRUST", "all");
        let out = command.stdin(Stdio::null()).output().context("start kapell")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((out.status.code().unwrap_or(-1), text(&out.stdout) + &text(&out.stderr)))
    };
    for name in ["everything", "elsewhere", "files", "time", "git"] {
        let begin = Instant::now();
        let (code, text) = kapell(&["mcp", "tools", name, "--json"])?;
        ensure!(code == 0, "{name}: {text}");
        let listed: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let tools = listed["tools"].as_array().map_or(0, Vec::len);
        let refused = listed["refused"].as_array().map_or(0, Vec::len);
        println!("{name:12} {tools:3} tools, {refused} refused, in {:.1} s", begin.elapsed().as_secs_f32());
    }
    let model = scripted(&project)?;
    let begin = Instant::now();
    let (code, text) = kapell(&["run", "-m", &model, "--ask", "external", "make the test pass"])?;
    println!("{text}");
    ensure!(code == 0, "the session ended with {code}");
    let landed = std::fs::read_to_string(project.ws().join("fixed.txt"))
        .context("what a server wrote did not land")?;
    ensure!(landed == "fixed\n", "{landed:?} landed");
    let (_, shown) = kapell(&["sessions", "transcript", "last"])?;
    for (server, tool, _, answer) in CALLS {
        ensure!(shown.contains(answer), "{server} {tool}: no `{answer}` in {shown}");
    }
    println!(
        "{} calls of five servers answered as they should, in {:.1} s",
        CALLS.len(),
        begin.elapsed().as_secs_f32()
    );
    left(&npm)?;
    Ok(())
}

/// Nothing of a server is alive once its session is over.
fn left(npm: &Path) -> Result<()> {
    let name = npm.to_string_lossy().into_owned();
    let lives = |entry: &std::fs::DirEntry| -> bool {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(&name) && !line.contains("streamableHttp")
    };
    let alive = std::fs::read_dir("/proc")?.flatten().filter(lives).count();
    ensure!(alive == 0, "{alive} processes of servers are left");
    println!("nothing of a server is left");
    Ok(())
}

fn repository(ws: &Path) -> Result<()> {
    std::fs::write(ws.join("readme.txt"), "hello\n")?;
    std::fs::create_dir_all(ws.join(".kapell"))?;
    let check = "[checks.test]\nrun = \"grep -q fixed fixed.txt\"\nkind = \"test\"\n";
    std::fs::write(ws.join(".kapell/config.toml"), check)?;
    let who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    for args in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "a beginning"]] {
        ran(Command::new("git").args(who).args(args).current_dir(ws))?;
    }
    Ok(())
}

/// The server of npm at an address of this machine.
fn elsewhere(script: &Path) -> Result<(u16, Elsewhere)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = Command::new("node");
    command.arg(script).arg("streamableHttp").env("PORT", port.to_string());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let child = Elsewhere(child);
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(begin.elapsed() < LIMIT, "the server of npm does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((port, child))
}

fn declare(
    project: &Project,
    npm: &Path,
    python: &Path,
    script: &dyn Fn(&str) -> PathBuf,
    port: u16,
) -> Result<()> {
    let program = |name: &str, command: &Path, args: &[&str], read: &Path| {
        let read = json!([read]);
        format!(
            "[mcp_servers.{name}]\ncommand = {}\nargs = {}\nread = {read}\n\n",
            json!(command),
            json!(args)
        )
    };
    let node = Path::new("node");
    let bin = python.join("bin/python");
    let (everything, files) = (script("server-everything"), script("server-filesystem"));
    let shown = |path: &PathBuf| path.display().to_string();
    let text = [
        program("everything", node, &[&shown(&everything)], npm),
        program("files", node, &[&shown(&files), "."], npm),
        program("time", &bin, &["-m", "mcp_server_time"], python),
        program("git", &bin, &["-m", "mcp_server_git"], python),
        format!("[mcp_servers.elsewhere]\nurl = \"http://127.0.0.1:{port}/mcp\"\n"),
    ];
    let config = project.home().join("config");
    std::fs::create_dir_all(&config)?;
    std::fs::write(config.join("mcp.toml"), text.concat())?;
    // What is elsewhere would be asked for.
    let rule = "[[policy.rule]]\ndecide = \"allow\"\ncommand = [\"mcp__elsewhere__echo\"]\n";
    Ok(std::fs::write(config.join("config.toml"), rule)?)
}

/// A model that makes these calls, one after the other, and is done.
fn scripted(project: &Project) -> Result<String> {
    let mut text = FREE.to_owned();
    for (server, tool, args, _) in CALLS {
        text.push_str(&format!(
            "[[turn]]\nliteral = true\n[[turn.call]]\ntool = \"mcp__{server}__{tool}\"\njson_args = '''{args}'''\n"
        ));
    }
    text.push_str(
        "[[turn]]\n[[turn.call]]\ntool = \"finish\"\nargs = { status = \"done\", summary = \"All done.\" }\n",
    );
    let file = project.home().join("model.toml");
    std::fs::write(&file, text)?;
    Ok(format!("builtin/script:{}", file.display()))
}
