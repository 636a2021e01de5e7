//! `cargo xtask crash [--kills N] [--seed S]`: the real binary, killed at random moments, over effects that count themselves.
//!
//! Each case is a session whose shell tool appends one unique line per turn to a file outside the workspace. After
//! every SIGKILL: what was on record is still there, the chain holds, nothing of ours is alive; at the end no line
//! stands twice unless a person said so. Start at [`run`].

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Turns of a case's conversation.
const TURNS: usize = 12;
/// A case that takes more kills than this is let run to its end.
const KILLS_PER_CASE: u64 = 40;
/// How long a process may live after the one that started it was killed.
const GONE: Duration = Duration::from_secs(5);

/// What all cases together met.
#[derive(Default)]
struct Tally {
    cases: AtomicU64,
    kills: AtomicU64,
    unknown: AtomicU64,
    repeats: AtomicU64,
    denied: AtomicU64,
    events: AtomicU64,
    told: AtomicU64,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, usual: u64| value(name).and_then(|v| v.parse().ok()).unwrap_or(usual);
    let (kills, seed) = (number("--kills", 40), number("--seed", 1));
    let binary = crate::programs::build("kapell", false)?;
    let tally = Tally::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let (binary, tally) = (&binary, &tally);
                scope.spawn(move || work(binary, tally, kills, seed.wrapping_mul(1_000) + worker))
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })?;
    let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
    println!(
        "crash: {} kills over {} sessions in {:.0} s; {} events kept, {} of them announced before the process ended; {} outcomes unknown: {} repeats a person approved, {} denied; no line doubled, no event lost, nothing left alive",
        count(&tally.kills),
        count(&tally.cases),
        began.elapsed().as_secs_f32(),
        count(&tally.events),
        count(&tally.told),
        count(&tally.unknown),
        count(&tally.repeats),
        count(&tally.denied)
    );
    println!("{} passed, 0 failed", count(&tally.cases));
    Ok(())
}

fn work(binary: &Path, tally: &Tally, kills: u64, seed: u64) -> Result<()> {
    let mut case = 0;
    while tally.kills.load(Ordering::Relaxed) < kills {
        case += 1;
        let seed = seed.wrapping_mul(31).wrapping_add(case);
        Case::new(binary, seed)?.play(tally).with_context(|| format!("case {seed}"))?;
        tally.cases.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

struct Case {
    binary: PathBuf,
    dir: Temp,
    rng: u64,
    /// Lines a person allowed to be written once more.
    allowed: BTreeMap<String, u64>,
    /// The journal as it was last seen.
    seen: Vec<String>,
}

impl Case {
    fn new(binary: &Path, seed: u64) -> Result<Self> {
        let dir = Temp::new(seed)?;
        let repo = dir.0.join("repo");
        std::fs::create_dir_all(repo.join(".kapell"))?;
        std::fs::write(repo.join("file.txt"), "base\n")?;
        std::fs::write(repo.join(".kapell/config.toml"), "[checks.there]\nrun = \"test -f file.txt\"\n")?;
        let outside = dir.0.join("outside.log");
        let mut script = String::from(
            "[model]\ncontext_tokens = 100000\noutput_tokens = 1000\nprice_input_usd_per_mtok = 0.0\nprice_output_usd_per_mtok = 0.0\n",
        );
        for n in 0..TURNS {
            let command = format!("echo line-{n} >> {}; sleep 0.03", outside.display());
            script.push_str(&format!("\n[[turn]]\ntext = \"turn {n}\"\n[[turn.call]]\ntool = \"shell\"\nargs = {{ command = \"{command}\" }}\n"));
            if n % 3 == 0 {
                script.push_str(&format!("[[turn.call]]\ntool = \"write\"\nargs = {{ path = \"out/{n}.txt\", content = \"{n}\\n\" }}\n"));
            }
        }
        script.push_str("\n[[turn]]\ntext = \"done\"\n");
        std::fs::write(dir.0.join("script.toml"), script)?;
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["add", "-A"],
            &["-c", "user.name=c", "-c", "user.email=c@c", "commit", "-qm", "base"],
        ] {
            let status = Command::new("git").args(args).current_dir(&repo).status()?;
            ensure!(status.success(), "git {args:?} failed");
        }
        Ok(Self { binary: binary.to_owned(), dir, rng: seed, allowed: BTreeMap::new(), seen: Vec::new() })
    }

    fn random(&mut self, below: u64) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % below
    }

    fn kapell(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(self.dir.0.join("repo"))
            .env("KAPELL_HOME", self.dir.0.join("home"))
            .env("KAPELL_CRASH_CASE", self.dir.mark())
            .stdin(Stdio::null());
        command
    }

    fn ask(&self, args: &[&str]) -> Result<Output> {
        self.kapell(args).output().context("start kapell")
    }

    fn play(&mut self, tally: &Tally) -> Result<()> {
        let model = format!("builtin/script:{}", self.dir.0.join("script.toml").display());
        let mut args = vec![
            "run".to_owned(),
            "--ask".into(),
            "never".into(),
            "--model".into(),
            model,
            "append the lines".into(),
        ];
        let mut kills = 0;
        for _ in 0..150 {
            let words: Vec<&str> = args.iter().map(String::as_str).collect();
            // What it prints is what it was told is durable: the acknowledgements of this process.
            let told = std::fs::File::create(self.told())?;
            let stream = ["--output-format", "stream-json"];
            let mut child = self.kapell(&words).args(stream).stdout(told).stderr(Stdio::piped()).spawn()?;
            let patience = if kills < KILLS_PER_CASE {
                Duration::from_millis(20 + self.random(500))
            } else {
                Duration::from_secs(60)
            };
            let code = wait(&mut child, patience)?;
            if code.is_none() {
                child.kill()?;
                child.wait()?;
                kills += 1;
                tally.kills.fetch_add(1, Ordering::Relaxed);
                self.nothing_alive()?;
            }
            if !self.kept(tally)? {
                // Killed before the session existed: start it again.
                continue;
            }
            args = vec!["resume".into(), "last".into()];
            match code {
                Some(0) => return self.judge(tally),
                Some(8) => self.decide(tally)?,
                None | Some(1) => {
                    let state = self.state()?;
                    if state == "failed" || state == "cancelled" {
                        let shown = self.ask(&["sessions", "show", "last"])?;
                        bail!("the session ended as {state}\n{}", String::from_utf8_lossy(&shown.stdout));
                    }
                    if state == "completed" {
                        return self.judge(tally);
                    }
                }
                Some(other) => {
                    let mut text = String::new();
                    if let Some(mut err) = child.stderr.take() {
                        std::io::Read::read_to_string(&mut err, &mut text)?;
                    }
                    bail!("kapell {args:?} ended with {other}: {text}");
                }
            }
        }
        let shown = self.ask(&["sessions", "show", "last"])?;
        let resumed = self.ask(&["resume", "last"])?;
        bail!(
            "the session does not come to an end\n{}\n{}",
            String::from_utf8_lossy(&shown.stdout),
            String::from_utf8_lossy(&resumed.stderr)
        )
    }

    /// A person decides about an action whose outcome nobody knows: mostly no, sometimes yes.
    fn decide(&mut self, tally: &Tally) -> Result<()> {
        tally.unknown.fetch_add(1, Ordering::Relaxed);
        let yes = self.random(100) < 30;
        if yes {
            let line = self.pending_line()?;
            *self.allowed.entry(line).or_default() += 1;
            tally.repeats.fetch_add(1, Ordering::Relaxed);
        } else {
            tally.denied.fetch_add(1, Ordering::Relaxed);
        }
        let out = self.ask(&[if yes { "approve" } else { "deny" }, "last"])?;
        ensure!(out.status.success(), "answering failed: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    }

    /// The line the interrupted command writes: that of the newest shell action in the journal.
    fn pending_line(&self) -> Result<String> {
        let done = self
            .seen
            .iter()
            .filter(|event| {
                event.contains("\"started\"")
                    && event.contains("\"shell\"")
                    && event.contains("\"attempt\":1")
            })
            .count();
        ensure!(done > 0, "an approval without a shell action");
        Ok(format!("line-{}", done - 1))
    }

    /// Everything seen before is still there, byte for byte, and every hash holds. False: there is no session yet.
    fn kept(&mut self, tally: &Tally) -> Result<bool> {
        let out = self.ask(&["events", "last"])?;
        if !out.status.success() {
            ensure!(self.seen.is_empty(), "events are gone: {}", String::from_utf8_lossy(&out.stderr));
            let told = std::fs::read(self.told())?;
            ensure!(!told.contains(&b'\n'), "a session was announced and is not in the store");
            return Ok(false);
        }
        let now: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
        ensure!(
            now.len() >= self.seen.len() && now[..self.seen.len()] == self.seen[..],
            "acknowledged events were lost or changed"
        );
        self.seen = now;
        tally.told.fetch_add(self.acknowledged()?, Ordering::Relaxed);
        self.started_first()?;
        let out = self.ask(&["verify"])?;
        ensure!(out.status.success(), "verify: {}", String::from_utf8_lossy(&out.stderr));
        Ok(true)
    }

    fn told(&self) -> PathBuf {
        self.dir.0.join("told.jsonl")
    }

    /// Whatever the process had printed before it died is on record. Returns how many such lines there were.
    fn acknowledged(&self) -> Result<u64> {
        let text = std::fs::read_to_string(self.told())?;
        let mut count = 0;
        // The last line may be torn: only whole ones were told.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let value: serde_json::Value = serde_json::from_str(line)?;
            let on_record = match value["type"].as_str() {
                Some("event") => {
                    let record = line.split_once("\"record\":").map(|(_, rest)| rest.trim_end());
                    let record = record.and_then(|rest| rest.strip_suffix('}')).unwrap_or(line);
                    self.seen.iter().any(|event| event == record)
                }
                Some("assistant") => {
                    let action = format!("\"action\":{}", value["message"]["id"]);
                    self.seen.iter().any(|event| event.contains("\"finished\"") && event.contains(&action))
                }
                Some("user") => {
                    let call = value["message"]["content"][0]["tool_use_id"].to_string();
                    let answers = |event: &&String| {
                        event.contains("\"finished\"") || event.contains("\"call-answered\"")
                    };
                    self.seen.iter().filter(answers).any(|event| event.contains(&format!("\"call\":{call}")))
                }
                _ => continue,
            };
            ensure!(on_record, "acknowledged and lost: {line}");
            count += 1;
        }
        Ok(count)
    }

    /// No effect outside without its start on record.
    fn started_first(&self) -> Result<()> {
        let text = std::fs::read_to_string(self.dir.0.join("outside.log")).unwrap_or_default();
        let lines: std::collections::BTreeSet<&str> = text.lines().collect();
        let shell = |event: &&String| event.contains("\"started\"") && event.contains("\"shell\"");
        let started = self.seen.iter().filter(shell).filter(|event| event.contains("\"attempt\":1,")).count();
        ensure!(lines.len() <= started, "{} effects outside, {started} starts on record", lines.len());
        Ok(())
    }

    fn state(&self) -> Result<String> {
        let out = self.ask(&["sessions", "show", "last", "--json"])?;
        let value: serde_json::Value = serde_json::from_slice(&out.stdout).context("sessions show --json")?;
        value["state"].as_str().map(str::to_owned).context("no state")
    }

    /// Nothing that carries this case's mark is alive.
    fn nothing_alive(&self) -> Result<()> {
        let mark = self.dir.mark();
        let began = Instant::now();
        loop {
            let alive = carrying(&mark);
            if alive.is_empty() {
                return Ok(());
            }
            ensure!(began.elapsed() < GONE, "still alive {} s after the kill: {alive:?}", GONE.as_secs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn judge(&mut self, tally: &Tally) -> Result<()> {
        tally.events.fetch_add(self.seen.len() as u64, Ordering::Relaxed);
        let text = std::fs::read_to_string(self.dir.0.join("outside.log")).unwrap_or_default();
        let mut lines: BTreeMap<&str, u64> = BTreeMap::new();
        text.lines().for_each(|line| *lines.entry(line).or_default() += 1);
        for (line, count) in &lines {
            let allowed = 1 + self.allowed.get(*line).copied().unwrap_or(0);
            ensure!(*count <= allowed, "{line} stands {count} times, {allowed} allowed");
        }
        Ok(())
    }
}

fn wait(child: &mut std::process::Child, patience: Duration) -> Result<Option<i32>> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

/// Processes whose environment carries the mark.
fn carrying(mark: &str) -> Vec<String> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    let has = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(mark.len()).any(|window| window == mark.as_bytes())
    };
    let alive = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    };
    let name = |pid: u32| {
        format!("{pid} {}", std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim())
    };
    pids.filter(|pid| *pid != std::process::id()).filter(has).filter(alive).map(name).collect()
}

/// A directory of its own, removed at the end.
struct Temp(PathBuf);

impl Temp {
    fn new(seed: u64) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("kapell-crash-{}-{seed}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    fn mark(&self) -> String {
        self.0.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // tidy: allow(recursive-delete): made by `Temp::new` with create_dir, so it is ours alone
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
