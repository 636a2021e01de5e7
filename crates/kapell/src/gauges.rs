//! What this process is like now: memory, descriptors, processor time; and how long its engine's decisions take.
//!
//! Reads /proc of itself only. Start at [`process`].

use contract::Timestamp;
use engine::Engine;
use telemetry::metric::Process;

/// Ticks in a second of processor time, as Linux tells it to programs (proc(5), `sysconf(_SC_CLK_TCK)`).
const TICKS: u64 = 100;

/// What this process is like now. What the system does not tell is 0.
pub(crate) fn process(engine: &Engine, began: Timestamp) -> Process {
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
        decisions: engine.meter().decisions.read(),
        commits: engine.meter().commits.read(),
    }
}
