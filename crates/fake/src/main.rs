//! The fault server by hand: `cargo xtask fake-models`.
//!
//! Start at [`USAGE`]. It prints where it listens and what to write into a configuration, then a line per request.

use anyhow::{Context, Result, bail};
use fake::{Limits, Plan, Rule, Script, Seen, Server, fault};
use std::time::Duration;

const USAGE: &str = "\
cargo xtask fake-models [--port P] [--fault RULE]... [--limits LIMITS] [--script FILE] [--latency MS] [--list]
  RULE    a fault's name, then any of @2 @1-3 (requests), @turn:1, @10% @10%:SEED, @/v1/messages; --list names them
  LIMITS  of each key: requests=60,burst=5,tokens=20000,concurrent=4,window=10/1000 (a minute; requests/milliseconds)
  FILE    what the models say: TOML with [[turn]] text, thinking, stop, usage and [[turn.call]] tool, args";
/// Between two looks at what was asked.
const LOOK: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mut port, mut plan) = (0, Plan { script: Script::small(), ..Plan::default() });
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        if arg == "--list" {
            fault::TABLE.iter().for_each(|(name, _, about)| println!("{name:14} {about}"));
            return Ok(());
        }
        if arg == "--help" {
            println!("{USAGE}");
            return Ok(());
        }
        let mut value = || args.next().with_context(|| format!("`{arg}` needs a value\n{USAGE}"));
        match arg {
            "--port" => port = value()?.parse().context("--port is a number")?,
            "--fault" => plan.rules.push(Rule::parse(value()?).map_err(anyhow::Error::msg)?),
            "--limits" => plan.limits = limits(value()?)?,
            "--latency" => plan.latency_ms = value()?.parse().context("--latency is in milliseconds")?,
            "--script" => {
                let path = value()?;
                let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
                plan.script = Script::parse(&text).map_err(anyhow::Error::msg)?;
            }
            other => bail!("`{other}` means nothing here\n{USAGE}"),
        }
    }
    let server = Server::at(port, plan)?;
    println!("{}", lines(&server.url()));
    watch(&server)
}

fn limits(text: &str) -> Result<Limits> {
    let mut limits = Limits::default();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').with_context(|| format!("`{part}` is not name=number"))?;
        let number = |text: &str| text.parse::<u64>().with_context(|| format!("`{text}` is not a number"));
        match name {
            "requests" => limits.requests_per_minute = number(value)?,
            "burst" => limits.burst = number(value)?,
            "tokens" => limits.tokens_per_minute = number(value)?,
            "concurrent" => limits.concurrent = number(value)?,
            "window" => {
                let (most, ms) = value.split_once('/').context("a window is requests/milliseconds")?;
                limits.window = (number(most)?, number(ms)?);
            }
            other => bail!("there is no limit `{other}`: requests, burst, tokens, concurrent, window"),
        }
    }
    Ok(limits)
}

/// Where it listens, and what a configuration says to reach it in every dialect.
fn lines(url: &str) -> String {
    let mut text = format!("listening on {url}; end it with Ctrl-C\n\nfor config.toml:\n");
    for dialect in fake::dialect::ALL {
        let name = dialect.name();
        text.push_str(&format!("\n{}", fake::dialect::config(dialect, &format!("fake-{name}"), url)));
    }
    text.push_str("\nthen: kapell run -m fake-anthropic/fake \"look around\"\n");
    text
}

/// A line for each request that is over, until somebody ends it.
fn watch(server: &Server) -> Result<()> {
    let mut told = 0;
    loop {
        let seen = server.seen();
        while let Some(one) = seen.get(told).filter(|one| one.over) {
            println!("{}", line(one));
            told += 1;
        }
        std::thread::sleep(LOOK);
    }
}

fn line(seen: &Seen) -> String {
    let how = match (seen.cancelled, seen.limit) {
        (true, _) => " went away".to_owned(),
        (_, "") => String::new(),
        (_, limit) => format!(" limit of {limit}"),
    };
    let at = seen.at_ms as f64 / 1000.0;
    format!(
        "{at:8.3} s  #{:<4} {} {} turn {}: {} bytes{how}",
        seen.number, seen.status, seen.path, seen.turn, seen.sent
    )
}
