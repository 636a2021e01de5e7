//! `get_system_status`.
//!
//! Start at [`status`].

use crate::args::Args;
use crate::validate::{self, Checks};
use crate::{Desk, Done, develop, schedule, times};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Programs that were asked for when dependencies are.
const PROGRAMS: [&str; 3] = ["git", "pip", "python3"];
/// Where programs are.
const DIRS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin"];

pub(crate) fn status(desk: &Desk, args: &Args) -> Done {
    let options = &desk.options;
    let mut checks = Checks::default();
    validate::files(desk, &mut checks);
    let keys = [&options.schedules, &options.timing, &options.memory, &options.todo, &options.modes];
    let exist: Map<String, Value> =
        keys.iter().map(|path| ((*path).clone(), desk.root.exists(path).into())).collect();
    let permissions: Map<String, Value> = keys
        .iter()
        .filter_map(|path| Some(((*path).clone(), desk.root.meta(path).ok()?)))
        .map(|(path, meta)| {
            (path, json!({"mode": format!("{:04o}", meta.mode & 0o777), "is_file": meta.is_file}))
        })
        .collect();
    let (calls, failed) = (desk.calls.load(Ordering::Relaxed), desk.failures.load(Ordering::Relaxed));
    let up = u64::try_from(desk.now() - desk.began).unwrap_or(0) as f64 / 1000.0;
    let word = match (checks.errors.len(), checks.warnings.len()) {
        (0, 0) => "healthy",
        (0, _) => "warning",
        (1, _) => "degraded",
        _ => "critical",
    };
    let rss = resident_mb();
    let mut status = json!({
        "status": word,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": up,
        "python_version": Value::Null,
        "workspace_accessible": true,
        "operation_count": calls,
        "error_count": failed,
        "memory_usage_mb": rss,
        "warnings": checks.warnings,
        "errors": checks.errors,
    });
    if args.flag("include_file_health") {
        status["key_files_exist"] = exist.into();
        status["file_permissions"] = permissions.into();
    }
    if args.flag("include_orchestrator_status") {
        let well = |done: bool| Value::Bool(done);
        status["schedules_accessible"] = well(matches!(schedule::read(desk), Ok(Some(_))));
        status["time_tracking_active"] = well(matches!(times::read(desk), Ok(Some(_))));
        status["persistent_memory_valid"] = well(matches!(validate::memory(desk), Ok(Some(_))));
        let modes = develop::read(desk).ok().flatten().map(|modes| modes.len());
        status["health_checks"] = json!({"modes": modes, "errors": checks.errors.len()});
    }
    let mut reply = json!({"status": status});
    if args.flag("include_performance") {
        reply["performance_info"] = performance(desk, rss);
    }
    if args.flag("check_external_dependencies") {
        let there = |name: &str| DIRS.iter().any(|dir| Path::new(dir).join(name).exists());
        let found: Map<String, Value> =
            PROGRAMS.iter().map(|name| ((*name).to_owned(), json!({"available": there(name)}))).collect();
        reply["dependencies"] = found.into();
    }
    Ok(reply)
}

fn performance(desk: &Desk, rss: Option<f64>) -> Value {
    let space = rustix::fs::statvfs(desk.root.path()).ok();
    let (total, free) = space.map_or((0, 0), |s| (s.f_blocks * s.f_frsize, s.f_bavail * s.f_frsize));
    let used = (total > 0).then(|| (total - free) as f64 * 100.0 / total as f64);
    let memory = meminfo();
    json!({
        "cpu_percent": load(),
        "memory_percent": memory,
        "disk_percent": used,
        "disk_free_gb": free as f64 / f64::from(1 << 30),
        "process_memory_mb": rss,
    })
}

/// Bytes that may still be written.
pub(crate) fn free_bytes(desk: &Desk) -> Option<u64> {
    rustix::fs::statvfs(desk.root.path()).ok().map(|s| s.f_bavail * s.f_frsize)
}

fn resident_mb() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(number(&text, "VmRSS:")? / 1024.0)
}

/// Percent of the memory that is in use.
fn meminfo() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let (total, free) = (number(&text, "MemTotal:")?, number(&text, "MemAvailable:")?);
    Some((total - free) * 100.0 / total)
}

/// Percent of the processors that the last minute's load would keep busy.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load = text.split(' ').next()?.parse::<f64>().ok()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Some((load * 100.0 / cores as f64).min(100.0))
}

fn number(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
