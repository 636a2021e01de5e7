//! `kapell mcp` under load, beside a server on the same SDK that only answers: calls per second, waits, memory, start.
//!
//! Both are driven by the same raw client, over pipes and over sockets, in the same run. Start at [`run`].

use crate::stats::percentile;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const AT_ONCE: [usize; 3] = [1, 8, 64];
const TOOLS: [&str; 4] = ["get_todo_status", "read_project_file", "search_in_files", "get_system_status"];
const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

struct Plan {
    kapell: PathBuf,
    echo: PathBuf,
    dir: tempfile::TempDir,
    /// For each figure.
    time: Duration,
    /// Before memory is read.
    calls: usize,
    starts: usize,
}

/// What one figure comes from.
struct Load {
    per_s: f64,
    p50: Duration,
    p99: Duration,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let [kapell, echo, rest @ ..] = args else { bail!("bench mcp KAPELL ECHO [--quick]") };
    let quick = rest.iter().any(|arg| arg == "--quick");
    let (time, calls, starts) = if quick { (200, 1_000, 3) } else { (2_000, 100_000, 20) };
    let dir = tempfile::tempdir()?;
    workspace(dir.path())?;
    let time = Duration::from_millis(time);
    let plan = Plan { kapell: kapell.into(), echo: echo.into(), dir, time, calls, starts };
    println!(
        "transport  at once  {:18} {:>9} {:>7} {:>9} {:>9}",
        "tool", "calls/s", "of echo", "p50 ms", "p99 ms"
    );
    for http in [false, true] {
        let (own, floor) = (Server::start(&plan, true, http)?, Server::start(&plan, false, http)?);
        for at_once in AT_ONCE {
            let base = floor.load("echo", at_once, plan.time)?;
            row(http, at_once, "(echo)", &base, &base);
            for tool in TOOLS {
                let load = own.load(tool, at_once, plan.time)?;
                row(http, at_once, tool, &load, &base);
            }
        }
    }
    memory(&plan)?;
    start_up(&plan)
}

fn row(http: bool, at_once: usize, tool: &str, load: &Load, base: &Load) {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{:9}  {at_once:7}  {tool:18} {:9.0} {:6.0}% {:9.2} {:9.2}",
        if http { "HTTP" } else { "stdio" },
        load.per_s,
        100.0 * load.per_s / base.per_s,
        ms(load.p50),
        ms(load.p99)
    );
}

fn memory(plan: &Plan) -> Result<()> {
    for http in [false, true] {
        let server = Server::start(plan, true, http)?;
        let begin = server.rss_mb();
        let mut left = plan.calls;
        while left > 0 {
            let now = left.min(20_000);
            server.calls(TOOLS[left / 20_000 % TOOLS.len()], 8, Until::Calls(now))?;
            left -= now;
        }
        let end = server.rss_mb();
        let name = if http { "HTTP" } else { "stdio" };
        println!("{name}: resident {begin:.1} MB at the start, {end:.1} MB after {} calls", plan.calls);
    }
    Ok(())
}

fn start_up(plan: &Plan) -> Result<()> {
    for own in [true, false] {
        let mut times = Vec::new();
        for _ in 0..plan.starts {
            let begin = Instant::now();
            drop(Server::start(plan, own, false)?);
            times.push(begin.elapsed());
        }
        let name = if own { "kapell" } else { "echo" };
        let ms = percentile(&mut times, 50).as_secs_f64() * 1000.0;
        println!("{name}: {ms:.1} ms from its start to its greeting (median of {})", plan.starts);
    }
    Ok(())
}

/// A project of usual size.
fn workspace(dir: &Path) -> Result<()> {
    let repo = dir.join("repo");
    std::fs::create_dir_all(repo.join("src"))?;
    let todo: String =
        (0..60).map(|n| format!("- [{}] task number {n}\n", if n % 3 == 0 { 'x' } else { ' ' })).collect();
    std::fs::write(repo.join("TODO.md"), format!("# To do\n\n{todo}"))?;
    for n in 0..50 {
        let lines: String = (0..80).map(|line| format!("fn f_{n}_{line}() {{ call({line}); }}\n")).collect();
        std::fs::write(repo.join(format!("src/file{n}.rs")), lines)?;
    }
    Ok(std::fs::write(repo.join("src/needle.rs"), "// here is the needle\n")?)
}

fn arguments(tool: &str) -> Value {
    match tool {
        "echo" => json!({"text": "x".repeat(100)}),
        "read_project_file" => json!({"file_path": "src/file1.rs"}),
        "search_in_files" => json!({"pattern": "needle", "directory": "src"}),
        _ => json!({}),
    }
}

fn frame(tool: &str, id: usize) -> String {
    let params = json!({"name": tool, "arguments": arguments(tool)});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
}

/// An answer that is none of a call that succeeded.
fn check(text: &str) -> Result<()> {
    let good = text.contains("\"isError\":false")
        || (text.contains("\"result\"") && !text.contains("\"isError\":true"));
    ensure!(good, "no good answer: {:.300}", text);
    Ok(())
}

enum Until {
    Time(Duration),
    Calls(usize),
}

/// A server, and the one way to it. Killed when it is dropped.
struct Server {
    child: Child,
    way: Way,
}

enum Way {
    Pipes(Mutex<Pipes>),
    Http { address: String, bearer: String, session: String },
}

struct Pipes {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(plan: &Plan, own: bool, http: bool) -> Result<Self> {
        let mut command = Command::new(if own { &plan.kapell } else { &plan.echo });
        command.current_dir(plan.dir.path().join("repo")).env("KAPELL_HOME", plan.dir.path().join("home"));
        match (own, http) {
            (true, false) => drop(command.arg("mcp")),
            (true, true) => drop(command.args(["mcp", "--json", "--http", "0"])),
            (false, true) => drop(command.arg("127.0.0.1:0")),
            (false, false) => {}
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start a server")?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).context("no pipes")?;
        let mut output = BufReader::with_capacity(1 << 16, output);
        let way = if http {
            let mut line = String::new();
            output.read_line(&mut line)?;
            Way::http(&line, own)?
        } else {
            let mut pipes = Pipes { input, output };
            pipes.send(HELLO)?;
            check(&pipes.receive()?)?;
            pipes.send(READY)?;
            Way::Pipes(Mutex::new(pipes))
        };
        Ok(Self { child, way })
    }

    fn load(&self, tool: &str, at_once: usize, time: Duration) -> Result<Load> {
        self.calls(tool, at_once, Until::Time(time / 5))?;
        let begin = Instant::now();
        let mut waits = self.calls(tool, at_once, Until::Time(time))?;
        let per_s = waits.len() as f64 / begin.elapsed().as_secs_f64();
        Ok(Load { per_s, p50: percentile(&mut waits, 50), p99: percentile(&mut waits, 99) })
    }

    /// How long each call waited for its answer.
    fn calls(&self, tool: &str, at_once: usize, until: Until) -> Result<Vec<Duration>> {
        match &self.way {
            Way::Pipes(pipes) => {
                let mut pipes = pipes.lock().map_err(|_| anyhow::anyhow!("a client panicked"))?;
                pipes.calls(tool, at_once, &until)
            }
            Way::Http { .. } => {
                let share = match until {
                    Until::Time(time) => Until::Time(time),
                    Until::Calls(calls) => Until::Calls(calls.div_ceil(at_once)),
                };
                std::thread::scope(|scope| {
                    let one = |_| scope.spawn(|| self.way.connection(tool, &share));
                    let running: Vec<_> = (0..at_once).map(one).collect();
                    let mut all = Vec::new();
                    for one in running {
                        all.extend(one.join().unwrap_or_else(|_| bail!("a client panicked"))?);
                    }
                    Ok(all)
                })
            }
        }
    }

    fn rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }
}

impl Until {
    fn is_over(&self, begin: Instant, sent: usize) -> bool {
        match self {
            Self::Time(time) => begin.elapsed() >= *time,
            Self::Calls(calls) => sent >= *calls,
        }
    }
}

impl Pipes {
    fn send(&mut self, frame: &str) -> Result<()> {
        Ok(self.input.write_all(format!("{frame}\n").as_bytes())?)
    }

    fn receive(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "the server has gone");
        Ok(line)
    }

    /// So many calls are on their way at each moment, over the one pipe.
    fn calls(&mut self, tool: &str, at_once: usize, until: &Until) -> Result<Vec<Duration>> {
        let begin = Instant::now();
        let (mut sent, mut waits) = (Vec::new(), Vec::new());
        while sent.len() < at_once {
            sent.push(Instant::now());
            self.send(&frame(tool, sent.len() - 1))?;
        }
        while waits.len() < sent.len() {
            let line = self.receive()?;
            check(&line)?;
            waits.push(sent[id(&line)?].elapsed());
            if !until.is_over(begin, sent.len()) {
                sent.push(Instant::now());
                self.send(&frame(tool, sent.len() - 1))?;
            }
        }
        Ok(waits)
    }
}

fn id(line: &str) -> Result<usize> {
    let after = line.split_once("\"id\":").context("an answer without an id")?.1;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("{line:.100}"))
}

impl Way {
    /// Greets a server that has told where it is.
    fn http(line: &str, own: bool) -> Result<Self> {
        let (address, bearer) = if own {
            let told: Value = serde_json::from_str(line)?;
            let url = told["url"].as_str().unwrap_or_default();
            let address = url
                .strip_prefix("http://")
                .and_then(|rest| rest.strip_suffix("/mcp"))
                .context("no address")?;
            let token = std::fs::read_to_string(told["token_file"].as_str().unwrap_or_default())?;
            (address.to_owned(), format!("Authorization: Bearer {token}\r\n"))
        } else {
            (line.trim().to_owned(), String::new())
        };
        let mut stream = connect(&address)?;
        let (head, body) = post(&mut stream, &address, &bearer, HELLO)?;
        check(&body)?;
        let session =
            head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).context("no session")?;
        let session = format!("Mcp-Session-Id: {session}\r\n");
        post(&mut stream, &address, &format!("{bearer}{session}"), READY)?;
        Ok(Self::Http { address, bearer, session })
    }

    /// One call after the other over one connection.
    fn connection(&self, tool: &str, until: &Until) -> Result<Vec<Duration>> {
        let Self::Http { address, bearer, session } = self else { bail!("pipes are not shared") };
        let own = format!("{bearer}{session}");
        let mut stream = connect(address)?;
        let (begin, mut waits) = (Instant::now(), Vec::new());
        // Names of calls are shared by all connections of a client.
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
        while !until.is_over(begin, waits.len()) {
            let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let asked = Instant::now();
            let (_, body) = post(&mut stream, address, &own, &frame(tool, id))?;
            waits.push(asked.elapsed());
            check(&body)?;
        }
        Ok(waits)
    }
}

fn connect(address: &str) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(BufReader::with_capacity(1 << 16, stream))
}

/// One request; head and body of the answer.
fn post(stream: &mut BufReader<TcpStream>, address: &str, own: &str, body: &str) -> Result<(String, String)> {
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\n{own}Content-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let mut head = String::new();
    while stream.read_line(&mut head)? > 2 {}
    ensure!(head.starts_with("HTTP/1.1 2"), "{head}");
    let mut text = Vec::new();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).with_context(|| line.clone())?;
            let begin = text.len();
            text.resize(begin + length + 2, 0);
            stream.read_exact(&mut text[begin..])?;
            text.truncate(begin + length);
            if length == 0 {
                break;
            }
        }
    } else if let Some(line) =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned))
    {
        text.resize(line.trim().parse()?, 0);
        stream.read_exact(&mut text)?;
    }
    Ok((head, String::from_utf8(text)?))
}
