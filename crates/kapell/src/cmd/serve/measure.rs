//! What the daemon measures: the store's records, and this process itself.
//!
//! Looks every ten seconds, for the charts, and whenever it is asked; nobody who works waits for it. Start at [`Measured`].

use super::host::Daemon;
use crate::app::Wired;
use crate::exit::Failure;
use contract::Timestamp;
use contract::port::Clock;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use telemetry::metric::Process;
use telemetry::series::STEP_MS;
use telemetry::station::Station;
use tokio::sync::Mutex;

/// Measures of one daemon.
#[derive(Debug)]
pub(super) struct Measured {
    station: Mutex<Station>,
    began: Timestamp,
}

impl Measured {
    /// From this moment on.
    pub(super) fn new(began: Timestamp) -> Self {
        Self { station: Mutex::default(), began }
    }

    /// The page for Prometheus.
    pub(super) async fn page(&self, wired: &Wired, now: Timestamp) -> Result<String, Failure> {
        let process = process(wired, self.began);
        Ok(self.station.lock().await.page(&*wired.store, now, Some(&process)).await?)
    }

    /// Points for charts.
    pub(super) async fn series(&self, name: Option<&str>, since: Timestamp, step_ms: u64) -> Value {
        self.station.lock().await.series(name, since, step_ms)
    }
}

/// Adds a point every ten seconds, for as long as it is polled.
pub(super) async fn ticking(daemon: Arc<Daemon>) {
    loop {
        let (wired, measured) = (&daemon.wired, &daemon.measured);
        let process = process(wired, measured.began);
        let mut station = measured.station.lock().await;
        if let Err(error) = station.tick(&*wired.store, daemon.app.clock.now(), Some(&process)).await {
            tracing::warn!(%error, "not measured");
        }
        drop(station);
        tokio::time::sleep(Duration::from_millis(STEP_MS)).await;
    }
}

/// Ticks in a second of processor time, as Linux tells it to programs (proc(5), `sysconf(_SC_CLK_TCK)`).
const TICKS: u64 = 100;

/// What this process is like now. What the system does not tell is 0.
fn process(wired: &Wired, began: Timestamp) -> Process {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of_status = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name of the program, which may hold anything: the 12th and 13th are its ticks.
    let ticks = stat.rsplit_once(')').map_or(0, |(_, rest)| {
        rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
    });
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Process {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        resident_bytes: of_status("VmRSS:") * 1024,
        // The one that reads the directory is not counted.
        descriptors: descriptors.saturating_sub(1),
        descriptors_most: limit.current.unwrap_or_default(),
        threads: of_status("Threads:"),
        cpu_ms: ticks * 1_000 / TICKS,
        started_ms: began.0,
        decisions: wired.engine.meter().decisions.read(),
        commits: wired.engine.meter().commits.read(),
    }
}
