//! Thirty real processes on one store and one key, and a server with limits: what is refused, who keeps its word, who ends.
//!
//! Twice: with the limits declared, and with nothing but headers and refusals to learn them from. Breaks when more than one
//! call in a hundred is refused, when anybody comes back too early, or when one does not finish. Start at [`run`].

use anyhow::{Context, Result, ensure};
use fake::{Limits, Plan, Reply, Script, Seen, Server};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How much of it.
struct Size {
    sessions: usize,
    /// Calls that each session makes.
    calls: usize,
    limits: Limits,
}

/// Between a call and its answer, milliseconds.
const LATENCY_MS: u64 = 200;
/// A call that has been sent cannot be called back: others' refusals bind those that were sent so much later.
const ON_ITS_WAY_MS: u64 = 500;
/// Of a thousand calls so many may be refused.
const REFUSED: usize = 10;
/// Longest time of all of it.
const LIMIT: Duration = Duration::from_secs(300);
/// Between two looks at who has ended.
const LOOK: Duration = Duration::from_millis(50);

const FULL: Size = Size {
    sessions: 30,
    calls: 10,
    limits: Limits {
        requests_per_minute: 300,
        burst: 50,
        tokens_per_minute: 400_000,
        concurrent: 0,
        window: (60, 15_000),
    },
};
const QUICK: Size = Size { sessions: 3, calls: 2, limits: FULL.limits };

/// The path of the kapell binary, then `--quick`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let binary = PathBuf::from(args.first().context("the path of the kapell binary")?);
    let size = if quick { QUICK } else { FULL };
    let Limits { requests_per_minute, burst, tokens_per_minute, window, .. } = size.limits;
    println!(
        "{} processes, {} calls each; the server allows {requests_per_minute} requests a minute ({burst} at once), \
         {tokens_per_minute} tokens a minute, {} requests in {} ms",
        size.sessions, size.calls, window.0, window.1
    );
    for declared in [true, false] {
        let told = round(&binary, &size, declared)?;
        println!("{told}");
        told.judge(&size)?;
    }
    Ok(())
}

/// What a round was like.
struct Told {
    declared: bool,
    codes: Vec<Option<i32>>,
    calls: usize,
    /// Refused calls, by limit.
    refused: BTreeMap<&'static str, usize>,
    /// Came back before the moment it was told itself, and before one that others had been told.
    early: (usize, usize),
    took: Duration,
}

impl Told {
    fn refusals(&self) -> usize {
        self.refused.values().sum()
    }

    fn judge(&self, size: &Size) -> Result<()> {
        ensure!(self.codes.iter().all(|code| *code == Some(0)), "not all finished: {:?}", self.codes);
        ensure!(self.calls >= size.sessions * size.calls, "only {} calls", self.calls);
        let percent = self.refusals() as f64 * 100.0 / self.calls as f64;
        ensure!(self.refusals() * 1000 <= self.calls * REFUSED, "{percent:.2} % of the calls were refused");
        ensure!(self.early == (0, 0), "came back too early: {:?} (own, others')", self.early);
        Ok(())
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.declared { "declared" } else { "not declared" };
        let percent = self.refusals() as f64 * 100.0 / self.calls.max(1) as f64;
        let ended = self.codes.iter().filter(|code| **code == Some(0)).count();
        write!(
            f,
            "limits {how}: {ended} of {} finished in {:.1} s; {} calls, {} answered 429 ({percent:.2} %) {:?}; back before \
             its own Retry-After: {}, before another's: {}",
            self.codes.len(),
            self.took.as_secs_f64(),
            self.calls,
            self.refusals(),
            self.refused,
            self.early.0,
            self.early.1
        )
    }
}

fn round(binary: &Path, size: &Size, declared: bool) -> Result<Told> {
    let dir = tempfile::tempdir_in(".")?;
    let home = std::path::absolute(dir.path().join("home"))?;
    let plan =
        Plan { script: script(size.calls), rules: Vec::new(), limits: size.limits, latency_ms: LATENCY_MS };
    let server = Server::start(plan)?;
    configure(&home, &server.url(), declared.then_some(size.limits))?;
    let repo = repository(dir.path())?;
    let began = Instant::now();
    let mut running = Vec::new();
    for n in 0..size.sessions {
        running.push(Running(start(binary, &home, &repo, n)?));
    }
    let codes = ends(&mut running, began)?;
    let took = began.elapsed();
    let asked = server.asked();
    let mut refused: BTreeMap<&'static str, usize> = BTreeMap::new();
    asked
        .iter()
        .filter(|seen| seen.status == 429)
        .for_each(|seen| *refused.entry(seen.limit).or_default() += 1);
    Ok(Told { declared, codes, calls: asked.len(), refused, early: early(&asked), took })
}

/// A process; killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ends(running: &mut [Running], began: Instant) -> Result<Vec<Option<i32>>> {
    let mut codes = vec![None; running.len()];
    while codes.contains(&None) && began.elapsed() < LIMIT {
        for (Running(child), code) in running.iter_mut().zip(&mut codes) {
            if code.is_none() {
                *code = child.try_wait()?.map(|status| status.code().unwrap_or(-1));
            }
        }
        std::thread::sleep(LOOK);
    }
    Ok(codes)
}

/// Files, one with each reply, and then the end.
fn script(calls: usize) -> Script {
    let name = |n: usize| if n + 2 == calls { "done.txt".to_owned() } else { format!("file{n}.txt") };
    let write = |n: usize| {
        let args = json!({"path": name(n), "content": format!("line {n}\n")});
        Reply::text(format!("File {n}.")).and_call("write", &args).costs(1_000, 100)
    };
    let mut replies: Vec<Reply> = (0..calls.max(2) - 1).map(write).collect();
    replies.push(Reply::call("finish", &json!({"status": "done", "summary": "All done."})).costs(1_000, 50));
    Script::new(replies)
}

fn configure(home: &Path, url: &str, declared: Option<Limits>) -> Result<()> {
    let rates = declared.map_or(String::new(), |limits| {
        format!(
            "requests_per_minute = {}\ntokens_per_minute = {}\nwindow = {{ requests = {}, within = \"{}ms\" }}\n",
            limits.requests_per_minute, limits.tokens_per_minute, limits.window.0, limits.window.1
        )
    });
    let text = format!(
        "[providers.fake]\ndialect = \"anthropic\"\nbase_url = \"{url}\"\nkey_env = \"FAKE_API_KEY\"\n{rates}\n\
         [providers.fake.models.one]\ncontext = 100_000\noutput = 2_000\nprice = {{ input = 1, output = 1 }}\n"
    );
    std::fs::create_dir_all(home.join("config"))?;
    Ok(std::fs::write(home.join("config/config.toml"), text)?)
}

fn repository(dir: &Path) -> Result<PathBuf> {
    let repo = dir.join("repo");
    std::fs::create_dir_all(repo.join(".kapell"))?;
    std::fs::write(
        repo.join(".kapell/config.toml"),
        "[checks.test]\nrun = \"test -f done.txt\"\nkind = \"test\"\n",
    )?;
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["add", "-A"],
        &["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "base"],
    ] {
        let status = Command::new("git").args(args).current_dir(&repo).status()?;
        ensure!(status.success(), "git {args:?} failed");
    }
    Ok(repo)
}

/// By which a session is known among the calls.
fn goal(n: usize) -> String {
    format!("make the test pass; you are number {n};")
}

fn start(binary: &Path, home: &Path, repo: &Path, n: usize) -> Result<Child> {
    let args = ["run", "--no-land", "-m", "fake/one", "--max-budget-usd", "5", "--json", &goal(n)];
    let mut command = Command::new(binary);
    command
        .args(args)
        .current_dir(repo)
        .env("KAPELL_TRUST", "all")
        .env("KAPELL_HOME", home)
        .env("FAKE_API_KEY", "sk-limits");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("start {}", binary.display()))
}

/// Calls that came before the moment their own session had been told, and before one that others had been told.
fn early(asked: &[Seen]) -> (usize, usize) {
    let number = |seen: &Seen| {
        let rest = seen.body.split("you are number ").nth(1).unwrap_or_default();
        rest.split(';').next().unwrap_or_default().to_owned()
    };
    let (mut own, mut others) = (0, 0);
    for (at, refused) in asked.iter().enumerate() {
        let Some(until) = refused.retry_at_ms else { continue };
        let after = || asked[at + 1..].iter().filter(|seen| seen.at_ms < until);
        own += after().filter(|seen| number(seen) == number(refused)).count();
        others += after().filter(|seen| seen.at_ms > refused.at_ms + ON_ITS_WAY_MS).count();
    }
    (own, others)
}
