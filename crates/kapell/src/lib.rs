//! The `kapell` command: arguments, wiring, rendering, exit codes. Decides nothing; the kernel does.
//!
//! Start at [`main`], then `cmd/mod.rs` (what each command does) and `app.rs` (where adapters meet the engine).

mod anchors;
mod app;
mod args;
mod ask;
mod cage;
mod clock;
mod cmd;
mod config;
mod drive;
mod exit;
mod finding;
mod gauges;
mod guard;
mod handles;
mod home;
mod hooks;
mod keyring;
mod keys;
mod out;
mod pick;
mod plain;
mod policy;
mod pressure;
#[cfg(any(test, fuzzing))]
pub mod props;
mod quantity;
mod refs;
mod repo;
mod room;
mod secrets;
mod sending;
mod servers;
mod show;
mod signals;
mod term;
mod toolbox;
mod tree;
mod trust;
mod vault;
mod words;

use crate::app::App;
use crate::args::Cli;
use crate::exit::Failure;
use crate::show::{clean, json_page};
use clap::Parser;
use clap::error::ErrorKind;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// Threads that wait for things: one for the session, one so that a busy one never keeps a signal waiting.
const WORKERS: usize = 2;
/// How long what still runs at the end may take to be dropped: children are killed when their runs are.
const LAST: Duration = Duration::from_secs(2);

/// The program: dispatches the sandbox helper, or the host of a terminal, before anything else starts, then does what the arguments say.
pub fn main() -> ExitCode {
    sandbox::helper::dispatch();
    if let Some(code) = tools::terminal::host() {
        return ExitCode::from(code);
    }
    std::panic::set_hook(Box::new(|panic| {
        let text = clean::line(&secrets::plain(&panic.to_string()));
        out::complain(&format!(
            "kapell: internal error: {text}\n  hint: this is a bug; no acknowledged event is lost: kapell resume\n"
        ));
    }));
    let code = std::panic::catch_unwind(start).unwrap_or(exit::FAILURE);
    ExitCode::from(if code == exit::OK && out::lost() { exit::FAILURE } else { code })
}

fn start() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let json = wants_json(std::env::args());
    match serve(cli) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure, json);
            failure.code
        }
    }
}

fn serve(cli: Cli) -> Result<u8, Failure> {
    if let Some(dir) = &cli.global.directory {
        std::env::set_current_dir(dir).map_err(|error| {
            let what = format!("cannot enter {}: {error}", dir.display());
            Failure::usage("no-directory", what, "name a directory that exists: kapell -C DIR ...")
        })?;
    }
    if cli.global.verbose {
        let filter = tracing_subscriber::EnvFilter::new("warn");
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| secrets::PlainLog)
            .with_ansi(false)
            .init();
    }
    let app = App::new(cli.global.clone())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().map_err(
            |error| {
                Failure::failed("runtime", format!("cannot start: {error}"), "free some processes or memory")
            },
        )?;
    let done = runtime.block_on(cmd::run(&app, cli));
    runtime.shutdown_timeout(LAST);
    done
}

/// Says an error to the person, and to the program that asked for JSON.
fn complain(failure: &Failure, json: bool) {
    let mut fault = failure.fault.clone();
    fault.what = secrets::plain(&fault.what);
    fault.hint = secrets::plain(&fault.hint);
    if json {
        if !failure.told {
            out::print(&json_page(&json!({"error": {
                "code": fault.code, "what": fault.what, "hint": fault.hint, "exit_code": failure.code,
            }})));
        }
        return;
    }
    out::complain(&format!("error: {}\n", clean::text(&fault.what)));
    if !fault.hint.is_empty() {
        out::complain(&format!("  hint: {}\n", clean::text(&fault.hint)));
    }
}

/// What clap says: help on standard output, mistakes on standard error with exit code 2.
fn refused(error: &clap::Error) -> u8 {
    let text = error.to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        out::print(&text);
        return exit::OK;
    }
    let mut lines = text.lines();
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ");
    let tip = lines.find_map(|line| Some(line.trim().strip_prefix("tip: ")?.to_owned()));
    let near = args::near(error).map(|near| format!("did you mean `{near}`?"));
    let failure =
        Failure::usage("usage", what, tip.or(near.clone()).unwrap_or_else(|| "kapell --help".to_owned()));
    match wants_json(std::env::args()) {
        true if is_work(std::env::args()) => drop(cmd::told_program(failure)),
        true => complain(&failure, true),
        false => {
            out::complain(&clean::text(&text));
            near.iter().for_each(|near| out::complain(&format!("  hint: {near}\n")));
        }
    }
    exit::USAGE
}

/// Did the person ask for JSON, whatever else is wrong with the line?
fn wants_json(args: impl Iterator<Item = String>) -> bool {
    let args: Vec<String> = args.take_while(|arg| arg != "--").collect();
    let format = |word: &str| word == "json" || word == "stream-json";
    let pairs = args.windows(2).any(|pair| pair[0] == "--output-format" && format(&pair[1]));
    pairs
        || args.iter().any(|arg| arg == "--json" || arg.strip_prefix("--output-format=").is_some_and(format))
}

/// Is it a command whose last line is a result record?
fn is_work(args: impl Iterator<Item = String>) -> bool {
    const WORK: [&str; 9] = ["run", "resume", "-p", "--print", "-c", "--continue", "-r", "--resume", "demo"];
    args.skip(1).any(|arg| WORK.contains(&arg.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_in_broken_lines_too() {
        let wants = |line: &str| wants_json(line.split(' ').map(str::to_owned));
        assert!(wants("kapell sesions --json"));
        assert!(wants("kapell run x --output-format stream-json --nope"));
        assert!(wants("kapell run --output-format=json"));
        assert!(!wants("kapell run -- --json"));
        assert!(!wants("kapell run --output-format text"));
    }
}
