//! How short this machine is of memory and disk: read now and then, told to the engine, and said to who watches.
//!
//! What a reading means is the kernel's ([`kernel::pressure`]). Start at [`Pressure::look`].

use crate::config::Config;
use crate::home::Home;
use crate::quantity::bytes;
use contract::Timestamp;
use contract::limits::{POOL_NET, POOL_PROCESSES, PRESSURE_LOOK_MS};
use kernel::pool::Bundle;
use kernel::pressure::{Ladder, Level, disk_used};
use std::path::{Path, PathBuf};

/// What the machine is like.
#[derive(Debug)]
pub(crate) struct Pressure {
    memory: Ladder,
    disk: Ladder,
    /// File systems that are written to.
    disks: Vec<PathBuf>,
    spare: u64,
    read: Timestamp,
    level: Level,
    /// Since when the disk leaves room for nothing.
    full: Option<Timestamp>,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    /// The level from here on.
    pub(crate) level: Level,
    /// To be said to a person, when something changed that holds work back.
    pub(crate) note: Option<String>,
    /// How long the disk has been too full for anything, milliseconds.
    pub(crate) full_ms: u64,
}

/// A reading.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading {
    memory: u64,
    disk: u64,
    /// The fullest disk: where, and how much is free.
    place: PathBuf,
    free: u64,
}

impl Pressure {
    /// With the limits of this configuration.
    pub(crate) fn new(home: &Home, config: &Config) -> Self {
        // A hundred per cent is never reached: nobody wants to be paused for memory.
        let memory = if config.pause_memory >= 100 { u64::MAX } else { config.pause_memory * 10 };
        Self {
            memory: Ladder::new(memory),
            disk: Ladder::new(950),
            disks: vec![home.data.clone(), home.state.clone()],
            spare: config.pause_disk,
            read: Timestamp(0),
            level: Level::Normal,
            full: None,
        }
    }

    /// There is no room on the disk for anything.
    pub(crate) fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Reads, unless it did so a moment ago.
    pub(crate) fn look(&mut self, now: Timestamp) -> Option<Looked> {
        if now.since(self.read) < PRESSURE_LOOK_MS && now >= self.read {
            return None;
        }
        self.read = now;
        let reading = self.reading();
        Some(self.judge(&reading, now))
    }

    fn reading(&self) -> Reading {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let mut reading =
            Reading { memory: memory_used(&meminfo).unwrap_or(0), disk: 0, place: PathBuf::new(), free: 0 };
        for dir in &self.disks {
            let Some((free, total)) = disk(dir) else { continue };
            let used = disk_used(free, total, self.spare);
            if reading.place.as_os_str().is_empty() || used > reading.disk {
                (reading.disk, reading.place, reading.free) = (used, dir.clone(), free);
            }
        }
        reading
    }

    fn judge(&mut self, reading: &Reading, now: Timestamp) -> Looked {
        let memory = self.memory.look(reading.memory, now);
        let disk = self.disk.look(reading.disk, now);
        let (level, before) = (memory.max(disk), self.level);
        self.level = level;
        self.full = (disk == Level::Emergency).then(|| self.full.unwrap_or(now));
        let why = if disk >= memory {
            let place = reading.place.display();
            format!("the disk is nearly full ({} free at {place}): kapell gc --dry-run", bytes(reading.free))
        } else {
            format!("memory is nearly used up ({} %)", reading.memory / 10)
        };
        let held = |level: Level| level >= Level::Critical;
        let note = match level {
            _ if level == before => None,
            Level::Emergency => Some(format!("paused, nothing new begins: {why}")),
            Level::Critical => Some(format!("only what a person waits for begins: {why}")),
            _ if held(before) => Some("there is room again: going on".to_owned()),
            _ => None,
        };
        Looked { level, note, full_ms: self.full.map_or(0, |since| now.since(since)) }
    }
}

/// Memory that cannot be had any more without taking it from somebody, permille.
fn memory_used(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().split(' ').next()?.parse::<u64>().ok()
    };
    let (total, available) = (kib("MemTotal")?, kib("MemAvailable")?);
    (total.saturating_sub(available) * 1000).checked_div(total)
}

/// Free bytes and all bytes of the file system that a directory is, or will be, on.
fn disk(dir: &Path) -> Option<(u64, u64)> {
    let there = dir.ancestors().find(|dir| dir.is_dir())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

/// What the sessions of this process share (S1.5-2).
pub(crate) fn shares(cores: usize) -> Bundle {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let processes = (2 * cores as u64).max(POOL_PROCESSES);
    Bundle { files: files.unwrap_or(u64::MAX) / 2, net: POOL_NET, processes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressure() -> Pressure {
        let home = Home::find(|name| (name == "KAPELL_HOME").then(|| "/nowhere".to_owned())).unwrap();
        Pressure::new(&home, &Config::default())
    }

    #[test]
    fn what_changes_is_said_once() {
        let mut pressure = pressure();
        let reading = |memory, disk| Reading { memory, disk, place: "/d".into(), free: 5 << 20 };
        let mut look =
            |second: u64, memory, disk| pressure.judge(&reading(memory, disk), Timestamp(second * 1000));
        assert_eq!(look(1, 100, 100), Looked { level: Level::Normal, note: None, full_ms: 0 });
        let full = look(2, 100, 990);
        assert_eq!(
            full.note.as_deref(),
            Some(
                "paused, nothing new begins: the disk is nearly full (5.0 MiB free at /d): kapell gc --dry-run"
            )
        );
        assert_eq!(look(5, 100, 990), Looked { level: Level::Emergency, note: None, full_ms: 3_000 });
        let notes: Vec<String> = (6..20).filter_map(|second| look(second, 100, 0).note).collect();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("only what a person") && notes[1] == "there is room again: going on");
        let memory = look(30, 990, 0).note.unwrap();
        assert_eq!(memory, "paused, nothing new begins: memory is nearly used up (99 %)");
    }

    #[test]
    fn this_machine_can_be_read() {
        let used = memory_used("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    250 kB\n");
        assert_eq!(used, Some(750));
        assert_eq!(memory_used(""), None);
        assert!(disk(Path::new("/no/such/place")).is_some_and(|(free, total)| free <= total && total > 0));
        assert!(shares(1).processes >= POOL_PROCESSES);
        let looked = pressure().look(Timestamp(5_000)).unwrap();
        assert!(looked.level <= Level::Emergency);
    }
}
