//! What /proc tells about processes. Reads only.
//! Knows nothing of runs. Start at [`stat`].

use rustix::process::{Pid, getpid};
use std::fs;
use std::io::Read;
use std::sync::OnceLock;

/// A line of /proc/PID/stat, as far as it is needed here (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: Pid,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Ticks since boot; with the pid it names a process for the whole life of the machine.
    pub(crate) start: u64,
    /// Ended, and only not waited for yet.
    pub(crate) dead: bool,
}

/// The process with this number, if there is one.
pub(crate) fn stat(pid: Pid) -> Option<Stat> {
    // Longer than such a line can be: one read gives all of it.
    let mut line = [0; 2048];
    let read = fs::File::open(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?.read(&mut line).ok()?;
    parse(pid, &line[..read])
}

fn parse(pid: Pid, line: &[u8]) -> Option<Stat> {
    // The name, in parentheses, may hold anything; what follows its last parenthesis is plain.
    let after = line.iter().rposition(|&byte| byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(&line[after..]).ok()?.split_ascii_whitespace().collect();
    // Fields are counted from 1 in the manual; the first one here is the 3rd.
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        pid,
        parent: field(4)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
        dead: matches!(field(3)?, "Z" | "X"),
    })
}

/// Every process there is, as far as one may see.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    entries.filter_map(number).filter_map(Pid::from_raw).filter_map(stat).collect()
}

/// Children of this process, which must have one thread.
pub(crate) fn children() -> Vec<Pid> {
    match fs::read_to_string("/proc/thread-self/children") {
        Ok(list) => list
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter_map(Pid::from_raw)
            .collect(),
        // The kernel was built without that file.
        Err(_) => {
            let own = getpid().as_raw_pid();
            all().into_iter().filter(|stat| stat.parent == own).map(|stat| stat.pid).collect()
        }
    }
}

/// Children of any process, of all its threads.
pub(crate) fn children_of(pid: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for tid in threads(pid) {
        match fs::read_to_string(format!("/proc/{}/task/{tid}/children", pid.as_raw_pid())) {
            Ok(list) => {
                found.extend(list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && stat(pid).is_some() => {
                let below = |stat: &Stat| stat.parent == pid.as_raw_pid();
                return all().into_iter().filter(below).map(|stat| stat.pid).collect();
            }
            Err(_) => {}
        }
    }
    found
}

/// Numbers of a process's threads.
pub(crate) fn threads(pid: Pid) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid())) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What a process calls itself.
pub(crate) fn name(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_pid())).unwrap_or_default();
    name.trim_end_matches('\n').to_owned()
}

/// Does the process carry this variable with this value in its first environment?
pub(crate) fn has_env(pid: Pid, name: &str, value: &str) -> bool {
    let entry = format!("{name}={value}");
    fs::read(format!("/proc/{}/environ", pid.as_raw_pid()))
        .is_ok_and(|bytes| bytes.split(|&byte| byte == 0).any(|found| found == entry.as_bytes()))
}

/// Names this boot of the machine; process numbers and start times mean nothing in another one.
pub(crate) fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    BOOT.get_or_init(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_fool_the_parser() {
        let pid = Pid::from_raw(7).unwrap();
        let line = b"7 (x) R 9 (y) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = parse(pid, line).unwrap();
        assert_eq!((stat.parent, stat.session, stat.start, stat.dead), (3, 5, 4711, false));
        assert_eq!(parse(pid, b"7 (x"), None);
        assert_eq!(parse(pid, b""), None);
    }

    #[test]
    fn sees_itself() {
        let own = stat(getpid()).unwrap();
        assert!(all().contains(&own));
        assert!(!boot_id().is_empty());
    }
}
