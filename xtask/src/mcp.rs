//! `cargo xtask mcp`: two servers on one workspace, killed at random; every row that was acknowledged is on disk. With
//! `clients`: clients that nobody here wrote, over every transport (`clients.rs`).
//!
//! Knows the real binary and its frames, not how it works. Start at [`run`].

mod claude;
mod clients;
mod conformance;
mod servers;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What stood in the file before, a row that is none included.
const OLD: &str = "timestamp\tmode\ttask_id\tstart_time\tend_time\tduration\ttask\tresult\tpriority\n\
    1761558330\tcode\t1\t1761558330\t1761558390\t60\told\tcompleted\tnormal\nno row at all\n";
/// A killed call in so many, about.
const ONE_IN: u64 = 25;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let number = |name: &str, usual: usize| -> Result<usize> {
        match args.iter().position(|arg| arg == name) {
            Some(at) => args
                .get(at + 1)
                .with_context(|| format!("{name} N"))?
                .parse()
                .with_context(|| name.to_owned()),
            None => Ok(usual),
        }
    };
    let (trials, calls) = (number("--trials", 20)?, number("--calls", 150)?);
    let binary = match args.iter().position(|arg| arg == "--binary") {
        Some(at) => Path::new(args.get(at + 1).context("--binary PATH")?).canonicalize()?,
        None => crate::programs::build("kapell", false)?,
    };
    if args.first().is_some_and(|arg| arg == "clients") {
        let named = args[1..].iter().take_while(|arg| !arg.starts_with("--")).cloned();
        return clients::run(binary, &named.collect::<Vec<_>>());
    }
    let top = crate::programs::target_dir()?.join("mcp");
    let begin = Instant::now();
    let (mut told, mut kills) = (0, 0);
    for n in 1..=trials {
        let dir = top.join(format!("{}-{n}", std::process::id()));
        let (acknowledged, killed, rows) =
            trial(&binary, &dir, calls).with_context(|| format!("trial {n} in {}", dir.display()))?;
        println!("trial {n}: {acknowledged} acknowledged, {killed} kills, {rows} rows on disk");
        told += acknowledged;
        kills += killed;
    }
    let seconds = begin.elapsed().as_secs_f32();
    println!(
        "{trials} trials: {told} rows acknowledged, all of them on disk, after {kills} kills ({seconds:.0} s)"
    );
    Ok(())
}

fn trial(binary: &Path, dir: &Path, calls: usize) -> Result<(usize, usize, usize)> {
    let workspace = dir.join("ws");
    std::fs::create_dir_all(&workspace)?;
    let file = workspace.join("task_timing.tsv");
    std::fs::write(&file, OLD)?;
    let both: Vec<Result<(Vec<String>, usize)>> = std::thread::scope(|scope| {
        let one = |name: &'static str| {
            let (binary, dir) = (binary.to_owned(), dir.to_owned());
            scope.spawn(move || client(&binary, &dir, name, calls))
        };
        let running = [one("a"), one("b")];
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
    });
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.starts_with(OLD), "earlier rows are not what they were");
    let rows: Vec<Vec<&str>> = text[OLD.len()..].lines().map(|line| line.split('\t').collect()).collect();
    let (mut told, mut kills) = (0, 0);
    for one in both {
        let (ids, killed) = one?;
        for id in &ids {
            let found = rows.iter().filter(|row| row.len() == 9 && row[2] == id).count();
            ensure!(found == 1, "task {id} was acknowledged and stands {found} times in the file");
        }
        told += ids.len();
        kills += killed;
    }
    ensure!(rows.iter().all(|row| row.len() == 9), "a row is torn");
    ensure!(
        told == 2 * calls && rows.len() >= told && rows.len() <= told + kills,
        "{told} told, {} rows",
        rows.len()
    );
    Ok((told, kills, rows.len()))
}

/// Calls until so many were acknowledged; the ids told, and how often the server was killed meanwhile.
fn client(binary: &Path, dir: &Path, name: &str, calls: usize) -> Result<(Vec<String>, usize)> {
    let (mut ids, mut kills) = (Vec::new(), 0);
    let mut server = Server::start(binary, dir)?;
    while ids.len() < calls {
        let task = format!("{name}-{}", ids.len());
        let args = json!({"name": "track_task_time_tool", "arguments": {"task_description": task, "priority": "todo"}});
        server.post("tools/call", &args)?;
        let dice = RandomState::new().hash_one((ids.len(), kills));
        if dice.is_multiple_of(ONE_IN) {
            // Somewhere between taking the call and having answered it.
            std::thread::sleep(Duration::from_micros(dice >> 8 & 0x3fff));
            kills += 1;
            server = Server::start(binary, dir)?;
            continue;
        }
        let reply = server.answer()?;
        let result = &reply["result"]["structuredContent"]["result"];
        ensure!(result["success"] == true, "{reply}");
        ids.push(result["task_id"].as_str().context("no task_id")?.to_owned());
    }
    Ok((ids, kills))
}

/// A server on pipes. Killed when it is dropped.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
}

impl Server {
    fn start(binary: &Path, dir: &Path) -> Result<Self> {
        let mut child = Command::new(binary)
            .args(["mcp", "--compat", "loop-orchestrator"])
            .current_dir(dir.join("ws"))
            .env("KAPELL_HOME", dir.join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start kapell mcp")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = input.zip(output).context("no pipes")?;
        let mut server = Self { child, input, output: BufReader::new(output), next: 0 };
        let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "xtask", "version": "1"}});
        server.post("initialize", &hello)?;
        server.answer()?;
        writeln!(server.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(server)
    }

    fn post(&mut self, method: &str, params: &Value) -> Result<()> {
        self.next += 1;
        let frame = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        Ok(writeln!(self.input, "{frame}")?)
    }

    fn answer(&mut self) -> Result<Value> {
        loop {
            let mut line = String::new();
            ensure!(self.output.read_line(&mut line)? > 0, "the server has gone");
            let frame: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if frame["id"] == self.next {
                return Ok(frame);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
