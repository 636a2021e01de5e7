//! `cargo xtask bench policy [--why]`: decisions of the policy per second, and how often it would ask about real commands.
//!
//! The commands are those of recorded agents (their shell calls) and everyday examples, from the data set in `DIR`. Nobody
//! wrote a rule: what is counted is what Kapell says by itself, today and in a sandbox. Start at `main`.

use command::{Place, parts};
use contract::confine::Network;
use contract::policy::{Decision, Part};
use contract::session::Ask;
use kernel::policy::{Policy, Setting};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SETS: [&str; 2] = ["cc-spotter", "pi-mono"];
/// Commands in the sample, half of each kind.
const SAMPLE: usize = 1000;
/// How long each speed is measured.
const LONG: Duration = Duration::from_secs(3);
/// Decisions per second that are aimed at.
const AIM: f64 = 100_000.0;

/// One command line, and where it ran.
struct Line {
    text: String,
    root: String,
}

/// Measures and prints.
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let dir = args.iter().find(|arg| !arg.starts_with("--")).map_or("../shared/data", String::as_str);
    let policy = Policy { home: "/home/user".into(), ..Policy::default() };
    let (agents, everyday) = (recorded(Path::new(dir))?, examples(Path::new(dir)));
    if agents.is_empty() || everyday.is_empty() {
        println!("SKIPPED 1 replay: the transcripts or the commands are not in KAPELL_DATA");
    }
    let even = |lines: &[Line], n: usize| -> Vec<usize> {
        let n = n.min(lines.len());
        (0..n).map(|at| at * lines.len() / n.max(1)).collect()
    };
    println!("{:34} {:>6} {:>14} {:>14}", "commands", "lines", "asks today", "in a sandbox");
    row(&policy, "shell calls of recorded agents", &agents.iter().collect::<Vec<_>>());
    row(&policy, "everyday examples", &everyday.iter().collect::<Vec<_>>());
    let half = |lines: &[Line]| even(lines, SAMPLE / 2);
    let sample: Vec<&Line> = half(&agents)
        .into_iter()
        .map(|at| &agents[at])
        .chain(half(&everyday).into_iter().map(|at| &everyday[at]))
        .collect();
    row(&policy, "a sample, half of each", &sample);
    if args.iter().any(|arg| arg == "--why") {
        why(&policy, "recorded agents", &agents);
        why(&policy, "everyday examples", &everyday);
    }
    speed(&policy, &sample, LONG);
    Ok(())
}

fn place(line: &Line) -> Place {
    Place { root: line.root.clone(), home: "/home/user".into() }
}

fn setting(confined: bool) -> Setting {
    Setting { ask: Ask::External, confined, caged: confined.then_some(Network::Off), reads: false }
}

fn row(policy: &Policy, name: &str, lines: &[&Line]) {
    let asks = |confined: bool| {
        let stopped = |line: &&&Line| {
            policy.rule(setting(confined), &parts(&line.text, &place(line), &line.root)).verdict
                != Decision::Allow
        };
        lines.iter().filter(stopped).count()
    };
    let share = |n: usize| format!("{n} ({:.1} %)", n as f64 * 100.0 / lines.len().max(1) as f64);
    println!("{name:34} {:>6} {:>14} {:>14}", lines.len(), share(asks(false)), share(asks(true)));
}

/// Reasons, the most frequent first.
fn why(policy: &Policy, name: &str, lines: &[Line]) {
    let mut reasons: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for line in lines {
        let ruling = policy.rule(setting(true), &parts(&line.text, &place(line), &line.root));
        if ruling.verdict != Decision::Allow {
            let entry = reasons.entry(ruling.why).or_default();
            entry.0 += 1;
            entry.1 = line.text.chars().take(90).collect::<String>().replace('\n', " ");
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    println!("\nin a sandbox, {name}:");
    for (why, (n, example)) in reasons.into_iter().take(60) {
        println!("{n:>5}  {why}\n         {example}");
    }
}

fn speed(policy: &Policy, sample: &[&Line], long: Duration) {
    if sample.is_empty() {
        return;
    }
    let known: Vec<Vec<Part>> =
        sample.iter().map(|line| parts(&line.text, &place(line), &line.root)).collect();
    let rate = |one: &dyn Fn(usize)| {
        let (began, busy, mut done) = (Instant::now(), cpu(), 0usize);
        while began.elapsed() < long {
            (0..sample.len()).for_each(one);
            done += sample.len();
        }
        // Others may have most of the machine: what this thread took counts, where the system tells it.
        let took = cpu().zip(busy).map_or(began.elapsed(), |(now, then)| now - then);
        done as f64 / took.as_secs_f64()
    };
    let decided = rate(&|at| drop(black_box(policy.rule(setting(true), &known[at]))));
    let whole = rate(&|at| {
        let line = sample[at];
        drop(black_box(policy.rule(setting(true), &parts(&line.text, &place(line), &line.root))));
    });
    println!("\ndecisions per second, parsed before: {decided:.0} (aim {AIM:.0}: {})", word(decided));
    println!("decisions per second, with reading the line: {whole:.0} (aim {AIM:.0}: {})", word(whole));
}

/// Time that this thread has run.
fn cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

fn word(rate: f64) -> &'static str {
    if rate >= AIM { "met" } else { "missed" }
}

/// The shell calls of every transcript that is there.
fn recorded(dir: &Path) -> Result<Vec<Line>, Box<dyn Error>> {
    let mut lines = Vec::new();
    for set in SETS {
        let file = dir.join("transcripts").join(format!("{set}.tar.xz"));
        if !file.exists() {
            continue;
        }
        let to = tempfile::tempdir()?;
        std::process::Command::new("tar").arg("-xJf").arg(&file).arg("-C").arg(to.path()).status()?;
        let mut files = Vec::new();
        find(&to.path().join(set), &mut files)?;
        files.sort();
        for path in files {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            let mut root = String::from("/work");
            for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                if let Some(cwd) = line["cwd"].as_str() {
                    root = cwd.to_owned();
                }
                for block in line["message"]["content"].as_array().into_iter().flatten() {
                    let args = [&block["input"], &block["arguments"]];
                    let tool = block["name"].as_str().unwrap_or_default().to_lowercase();
                    let text =
                        args.iter().find_map(|args| args["command"].as_str()).filter(|_| tool == "bash");
                    lines.extend(text.map(|text| Line { text: text.to_owned(), root: root.clone() }));
                }
            }
        }
    }
    Ok(lines)
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    Ok(())
}

fn examples(dir: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(dir.join("attacks/everyday-commands.txt")).unwrap_or_default();
    let line = |text: &str| Line { text: text.to_owned(), root: "/work".into() };
    text.lines().filter(|text| !text.trim().is_empty()).map(line).collect()
}
