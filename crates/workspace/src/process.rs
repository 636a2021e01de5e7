//! The one door through which this crate starts programs.
//!
//! Knows no git and no check; says how a program ended, never what that means. Start at [`run`], through the sandbox;
//! [`finish`] is for the few calls that must not be cut off in the middle.

pub(crate) use contract::tool::Stopped;

use contract::confine::{Confinement, HostAsked};
use contract::{Cancel, Fault, Kind};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Stdio;

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) argv: Vec<OsString>,
    pub(crate) cwd: PathBuf,
    /// Over what is inherited; secrets are never inherited.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) timeout_ms: u64,
    /// Bytes of each output to keep; beyond it head and tail.
    pub(crate) keep: usize,
    /// Standard error comes by itself instead of mixed into the output.
    pub(crate) apart: bool,
    /// Where it leaves a record while it runs, if anywhere.
    pub(crate) records: Option<PathBuf>,
    /// What confines it; `None`: it is Kapell's own.
    pub(crate) confined: Option<Confinement>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) ms: u64,
    /// Hosts that it asked for.
    pub(crate) asked: Vec<HostAsked>,
}

/// Runs a program to its end, or stops it; nothing it started is alive afterwards. Dropping the future kills it.
pub(crate) async fn run(
    program: Program,
    cancel: &Cancel,
    line: &mut (dyn FnMut(&str) + Send),
) -> Result<Ended, Fault> {
    let mut command = sandbox::Command::argv(program.argv, program.cwd)
        .envs(program.env)
        .stdin(program.stdin)
        .timeout_ms(program.timeout_ms)
        .keep(program.keep);
    if let Some(records) = program.records {
        command = command.record(records);
    }
    if let Some(confined) = program.confined {
        command = command.confine(confined);
    }
    if program.apart {
        command = command.apart();
    }
    let mut progress = |progress: sandbox::Progress<'_>| {
        if let sandbox::Progress::Line(text) = progress {
            line(text);
        }
    };
    let ended = sandbox::run(command, cancel.clone(), &mut progress).await?;
    Ok(Ended {
        code: ended.exit,
        output: ended.output.into_bytes(),
        errors: ended.stderr.into_bytes(),
        stopped: ended.stopped,
        ms: ended.duration_ms,
        asked: ended.asked,
    })
}

/// Runs a short program that changes something of the user's: it comes to its end by itself even when this future is
/// dropped or Kapell is killed, because half of it would be worse. In its own process group, without input.
pub(crate) async fn finish(program: Program) -> Result<Ended, Fault> {
    let Some((name, args)) = program.argv.split_first() else {
        return Err(Fault::new(Kind::Permanent, "no-program", "there is no program to run"));
    };
    let mut command = tokio::process::Command::new(name);
    // As the sandbox does: no secret, and nothing of a git that started Kapell.
    for (name, _) in std::env::vars_os().filter(|(name, _)| sandbox::is_secret(name) || redirects(name)) {
        command.env_remove(name);
    }
    command.args(args).current_dir(&program.cwd).envs(program.env).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(false);
    let output = command.output().await.map_err(|error| {
        let what = format!("`{}` could not be started: {error}", name.to_string_lossy());
        Fault::new(Kind::UserFixable, "no-program", what).hint("install it or correct PATH")
    })?;
    Ok(Ended {
        code: output.status.code(),
        output: output.stdout,
        errors: output.stderr,
        stopped: None,
        ms: 0,
        asked: Vec::new(),
    })
}

/// Would this variable send git elsewhere than to the repository it is called in?
fn redirects(name: &OsStr) -> bool {
    let steers = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH"];
    name.as_encoded_bytes().starts_with(b"GIT_") && !steers.iter().any(|steer| name == *steer)
}
