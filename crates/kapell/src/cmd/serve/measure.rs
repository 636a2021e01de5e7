//! What the daemon measures: the store's records, and this process itself.
//!
//! Looks every ten seconds, for the charts, and whenever it is asked; nobody who works waits for it. Start at [`Measured`].

use super::host::Daemon;
use crate::app::Wired;
use crate::exit::Failure;
use crate::gauges::process;
use contract::Timestamp;
use contract::port::Clock;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
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
        let process = process(&wired.engine, self.began);
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
        let process = process(&wired.engine, measured.began);
        let mut station = measured.station.lock().await;
        if let Err(error) = station.tick(&*wired.store, daemon.app.clock.now(), Some(&process)).await {
            tracing::warn!(%error, "not measured");
        }
        drop(station);
        tokio::time::sleep(Duration::from_millis(STEP_MS)).await;
    }
}
