//! Percentiles, and what the kernel says about this process.
//!
//! Knows nothing of what is measured. Start at [`Mark`].

use std::time::{Duration, Instant};

/// The value below which `p` percent lie. Sorts in place.
pub(crate) fn percentile(values: &mut [Duration], p: usize) -> Duration {
    values.sort_unstable();
    let at = (values.len() * p / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}

/// Resident memory of this process in MB.
pub(crate) fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    number(&status, "VmRSS:") as f64 / 1024.0
}

/// Bytes this process has handed to the block layer so far.
pub(crate) fn written() -> u64 {
    number(&std::fs::read_to_string("/proc/self/io").unwrap_or_default(), "write_bytes:")
}

/// CPU seconds of this process so far.
pub(crate) fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
    // Fields 14 and 15 of the whole line, in clock ticks; Linux fixes those at 100 per second for user space.
    (ticks(11) + ticks(12)) / 100.0
}

/// Times any thread of this process went to sleep so far: each is somebody who has to be woken.
pub(crate) fn sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).ok();
    tasks.filter_map(status).map(|status| number(&status, "voluntary_ctxt_switches:")).sum()
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}

/// Where the counters stood at a moment.
pub(crate) struct Mark {
    began: Instant,
    written: u64,
    cpu_s: f64,
    sleeps: u64,
}

/// What a piece of work cost.
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    pub(crate) written: u64,
    pub(crate) cpu_s: f64,
    pub(crate) sleeps: u64,
}

impl Mark {
    pub(crate) fn now() -> Self {
        Self { began: Instant::now(), written: written(), cpu_s: cpu_s(), sleeps: sleeps() }
    }

    /// Since then.
    pub(crate) fn cost(&self) -> Cost {
        Cost {
            seconds: self.began.elapsed().as_secs_f64(),
            written: written() - self.written,
            cpu_s: cpu_s() - self.cpu_s,
            sleeps: sleeps() - self.sleeps,
        }
    }
}
