//! Records of running commands on disk, and ending what a dead Kapell left behind.
//! Knows nothing of how a run works. Start at [`sweep`].
//!
//! A record is a small file `TOKEN.run`; the token is also in the environment of everything the run started.
//! It is written before the command starts and removed when nothing of it is left. Usually there is nothing
//! to sweep: the wardens end with Kapell. Records matter when the wardens were killed as well.

use crate::cgroup::Group;
use crate::environ::MARKER;
use crate::keeper::Warden;
use crate::proc::{self, Stat};
use contract::limits::STOP_KILL_MS;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SUFFIX: &str = "run";
/// How long to wait before looking again whether killed processes are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Processes killed.
    pub killed: u32,
    /// Records of runs of which nothing was left any more.
    pub gone: u32,
    /// Processes that could not be killed (another user's, or stuck in the kernel); their records stay.
    pub left: u32,
}

/// A name for a run that no other run of this machine and boot has.
pub(crate) fn token() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static OWN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let own = OWN.get_or_init(|| {
        let start = proc::stat(getpid()).map_or(0, |stat| stat.start);
        let boot: String = proc::boot_id().chars().filter(char::is_ascii_hexdigit).take(8).collect();
        format!("{boot}-{:x}-{start:x}", getpid().as_raw_pid())
    });
    format!("{own}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The record of a run in progress. Removed by [`Record::close`] only: what is dropped early (a future that
/// was given up) is still being killed.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    file: File,
}

impl Record {
    pub(crate) fn open(dir: &Path, token: &str) -> io::Result<Self> {
        let path = dir.join(token).with_extension(SUFFIX);
        let open = || File::options().write(true).create_new(true).open(&path);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(dir)?;
                open()?
            }
            other => other?,
        };
        file.write_all(format!("boot {}\n", proc::boot_id()).as_bytes())?;
        Ok(Self { path, file })
    }

    /// Adds who runs it. Without this the token alone must find it.
    pub(crate) fn started(&self, leader: i32, warden: Option<&Warden>) -> io::Result<()> {
        let Some(warden) = warden else { return Ok(()) };
        // A leader that has ended already may have given its number away: then it has another parent.
        let leader = Pid::from_raw(leader).and_then(proc::stat);
        let leader = leader.filter(|stat| stat.parent == warden.stat.pid.as_raw_pid());
        let group = warden
            .group
            .as_ref()
            .map_or_else(String::new, |group| format!("group {}\n", group.path().display()));
        let warden = leader.map(|_| warden.stat);
        let line = |word: &str, stat: Option<Stat>| {
            stat.map_or_else(String::new, |stat| format!("{word} {} {}\n", stat.pid.as_raw_pid(), stat.start))
        };
        // In one write: a crash leaves both or neither, and a line is never half a line.
        let lines = line("leader", leader) + &line("warden", warden) + &group;
        (&self.file).write_all(lines.as_bytes())
    }

    pub(crate) fn close(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// A record as read back. Whatever is missing in a torn one is not used; the token is the file's name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    token: String,
    boot: Option<String>,
    leader: Option<(i32, u64)>,
    warden: Option<(i32, u64)>,
    group: Option<Group>,
}

impl Left {
    fn parse(token: &str, text: &str) -> Self {
        let mut left = Self { token: token.to_owned(), ..Self::default() };
        // A torn last line could name another process: only whole lines count.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words[..] {
                ["boot", id] => left.boot = Some(id.to_owned()),
                ["leader", pid, start] => left.leader = pid.parse().ok().zip(start.parse().ok()),
                ["warden", pid, start] => left.warden = pid.parse().ok().zip(start.parse().ok()),
                ["group", path] => left.group = Group::named(path),
                _ => {}
            }
        }
        left
    }

    /// What of it is alive: marked, in its session, or below its warden, and all that is below those.
    fn alive(&self, all: &[Stat]) -> Vec<Stat> {
        let named = |name: Option<(i32, u64)>| {
            all.iter().find(|stat| name == Some((stat.pid.as_raw_pid(), stat.start)))
        };
        let own = getpid();
        // A session number is only trusted while its leader, known by its start, still holds it.
        let session = named(self.leader).map(|leader| leader.pid.as_raw_pid());
        // Whatever it did to its session, its environment and its parents: nobody leaves this.
        let grouped: Vec<Pid> = self.group.iter().flat_map(Group::processes).collect();
        let mut found: Vec<Stat> = all
            .iter()
            .filter(|stat| {
                session == Some(stat.session)
                    || grouped.contains(&stat.pid)
                    || proc::has_env(stat.pid, MARKER, &self.token)
            })
            .chain(named(self.warden))
            .copied()
            .collect();
        let mut pids: HashSet<i32> = found.iter().map(|stat| stat.pid.as_raw_pid()).collect();
        loop {
            let below = |stat: &&Stat| pids.contains(&stat.parent) && !pids.contains(&stat.pid.as_raw_pid());
            let more: Vec<Stat> = all.iter().filter(below).copied().collect();
            if more.is_empty() {
                break;
            }
            pids.extend(more.iter().map(|stat| stat.pid.as_raw_pid()));
            found.extend(more);
        }
        found.retain(|stat| !stat.dead && stat.pid != own);
        // The warden keeps the others findable, so it goes last.
        let is_warden = |stat: &Stat| self.warden == Some((stat.pid.as_raw_pid(), stat.start));
        if found.iter().any(|stat| !is_warden(stat)) {
            found.retain(|stat| !is_warden(stat));
        }
        found
    }
}

/// How many records are in this directory, and how many of them name something that lives. Changes nothing.
pub fn look(dir: &Path) -> io::Result<(u32, u32)> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        other => other?,
    };
    let (mut records, mut alive) = (0, 0);
    for path in entries.flatten().map(|entry| entry.path()) {
        let token = path.file_stem().and_then(|stem| stem.to_str());
        let Some(token) = token.filter(|_| path.extension().is_some_and(|end| end == SUFFIX)) else {
            continue;
        };
        // One that goes away meanwhile has been ended.
        let Ok(text) = fs::read(&path) else { continue };
        let left = Left::parse(token, &String::from_utf8_lossy(&text));
        let now = left.boot.as_ref().is_none_or(|boot| boot == proc::boot_id());
        records += 1;
        alive += u32::from(now && !left.alive(&proc::all()).is_empty());
    }
    Ok((records, alive))
}

/// Kills what runs of a dead Kapell left, by the records in this directory, and removes the records.
/// Call it only where no living Kapell keeps records: behind the lock of whatever the directory belongs to.
/// A directory that is not there holds nothing. Reused process numbers are told apart by boot and start time.
pub fn sweep(dir: &Path) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(swept),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        let token = path.file_stem().and_then(|stem| stem.to_str());
        let Some(token) = token.filter(|_| path.extension().is_some_and(|end| end == SUFFIX)) else {
            continue;
        };
        let left = Left::parse(token, &String::from_utf8_lossy(&fs::read(&path)?));
        let (killed, still) = match &left.boot {
            Some(boot) if boot != proc::boot_id() => (0, 0),
            _ => end(&left),
        };
        swept.killed += killed;
        swept.left += still;
        swept.gone += u32::from(killed == 0 && still == 0);
        if still == 0 {
            fs::remove_file(&path)?;
        }
    }
    Ok(swept)
}

/// Kills until nothing is left or the limit passes: how many were killed, and how many are left.
fn end(left: &Left) -> (u32, u32) {
    let limit = Instant::now() + Duration::from_millis(STOP_KILL_MS);
    let mut killed = HashSet::new();
    loop {
        let alive = left.alive(&proc::all());
        if alive.is_empty() || Instant::now() > limit {
            left.group.iter().for_each(Group::remove);
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            return (count(killed.len()), count(alive.len()));
        }
        for stat in alive {
            if kill(stat) {
                killed.insert((stat.pid, stat.start));
            }
        }
        left.group.iter().for_each(Group::kill);
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Kills exactly this process: the descriptor pins the number, then the start time is compared.
fn kill(stat: Stat) -> bool {
    let Ok(pinned) = pidfd_open(stat.pid, PidfdFlags::empty()) else { return false };
    proc::stat(stat.pid).is_some_and(|now| now.start == stat.start)
        && pidfd_send_signal(&pinned, Signal::KILL).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_record_names_nobody() {
        let whole = "boot b\nleader 12 34\nwarden 56 78\n";
        let left = Left::parse("t", whole);
        assert_eq!(
            (left.boot.as_deref(), left.leader, left.warden),
            (Some("b"), Some((12, 34)), Some((56, 78)))
        );
        for cut in 0..whole.len() {
            let left = Left::parse("t", &whole[..cut]);
            assert!(left.leader.is_none_or(|leader| leader == (12, 34)));
            assert_eq!(left.warden, None);
        }
    }

    #[test]
    fn a_reused_number_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        // This very process, but started at another time, or in another boot.
        let own = proc::stat(getpid()).unwrap();
        let pid = own.pid.as_raw_pid();
        let boot = proc::boot_id();
        let other = [
            format!("boot {boot}\nleader {pid} {}\nwarden {pid} {}\n", own.start + 1, own.start + 1),
            format!("boot not-this-one\nleader {pid} {}\n", own.start),
        ];
        for (n, text) in other.iter().enumerate() {
            fs::write(dir.path().join(format!("t{n}.run")), text).unwrap();
        }
        fs::write(dir.path().join("unrelated.txt"), "kept").unwrap();
        assert_eq!(look(dir.path()).unwrap(), (2, 0));
        assert_eq!(sweep(dir.path()).unwrap(), Swept { killed: 0, gone: 2, left: 0 });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(sweep(&dir.path().join("none")).unwrap(), Swept::default());
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(token(), token());
    }
}
