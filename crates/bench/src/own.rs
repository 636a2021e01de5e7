//! Parts of a measurement in processes of their own: memory and CPU of one do not show in another's.
//!
//! Start at [`figures`] (this program again) and [`best_of`] (the kapell binary).

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What this program prints as one line of JSON when started with these arguments.
pub(crate) fn figures<T: DeserializeOwned>(args: &[&str]) -> Result<T> {
    let out = Command::new(std::env::current_exe()?)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("the worker could not be started")?;
    if !out.status.success() {
        bail!("{} ended with {}", args.join(" "), out.status);
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// A server in a process of its own. Killed when this is dropped.
pub(crate) struct Served {
    child: Child,
    port: u16,
}

impl Served {
    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program with these arguments, which prints the port it listens on as its first line.
pub(crate) fn server(args: &[&str]) -> Result<Served> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let out = child.stdout.take().context("its output is a pipe")?;
    BufReader::new(out).read_line(&mut line)?;
    let mut served = Served { child, port: 0 };
    served.port = line.trim().parse().with_context(|| format!("`{}` is no port", line.trim()))?;
    Ok(served)
}

/// The shortest of some runs of the kapell binary with this home.
pub(crate) fn best_of(runs: u32, binary: &Path, home: &Path, args: &[&str]) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let began = Instant::now();
        let status = Command::new(binary)
            .args(args)
            .env("KAPELL_TRUST", "all")
            .env("KAPELL_HOME", std::path::absolute(home)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("start {}", binary.display()))?;
        if !status.success() {
            bail!("kapell {} ended with {status}", args.join(" "));
        }
        best = best.min(began.elapsed());
    }
    Ok(best)
}
