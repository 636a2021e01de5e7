//! The daemon under load: the real binary in a process of its own, killed without a word and started again.
//!
//! Knows its run file and /proc, no route. Start at [`Daemon::start`].

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long it may take until it listens.
const START: Duration = Duration::from_secs(30);

/// Where it is reached, and by what word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) token: String,
}

/// A daemon. Killed when it is dropped.
pub(super) struct Daemon {
    binary: PathBuf,
    home: PathBuf,
    child: Child,
    place: watch::Sender<Place>,
}

impl Daemon {
    /// Over this home, at this port of the loopback; 0: any.
    pub(super) async fn start(binary: &Path, home: &Path, port: u16) -> Result<Self> {
        let home = std::path::absolute(home)?;
        let (child, place) = started(binary, &home, port).await?;
        Ok(Self { binary: binary.to_owned(), home, child, place: watch::Sender::new(place) })
    }

    /// Where it is reached, now and after it was started again.
    pub(super) fn place(&self) -> watch::Receiver<Place> {
        self.place.subscribe()
    }

    /// Kills it, and starts the next one at the same port.
    pub(super) async fn again(mut self) -> Result<Self> {
        self.child.kill().await?;
        let port = self.place.borrow().port;
        let (child, place) = started(&self.binary, &self.home, port).await?;
        self.child = child;
        self.place.send_replace(place);
        Ok(self)
    }

    /// Descriptors that it holds.
    pub(super) fn files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.pid()?))?.count())
    }

    /// Memory that it holds, MB.
    pub(super) fn rss_mb(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("the daemon has ended")
    }
}

async fn started(binary: &Path, home: &Path, port: u16) -> Result<(Child, Place)> {
    let port = port.to_string();
    let mut child = Command::new(binary)
        .args(["serve", "--tcp", &port, "--json", "--no-resume"])
        .env("KAPELL_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    let mut line = String::new();
    let out = child.stdout.take().context("its output is a pipe")?;
    timeout(START, BufReader::new(out).read_line(&mut line)).await.context("the daemon does not start")??;
    ensure!(!line.is_empty(), "the daemon ended");
    let found: Value = serde_json::from_slice(&std::fs::read(home.join("state/run/daemon.json"))?)?;
    let url = found["url"].as_str().and_then(|url| url.rsplit(':').next()).context("no address")?;
    let token = found["token"].as_str().context("no token")?.to_owned();
    Ok((child, Place { port: url.parse()?, token }))
}
