//! Groups of processes that the kernel keeps (cgroup v2), where this user may make some: no process can leave one, all of
//! it can be killed in one breath, and memory and number of processes have limits. Nothing else depends on them.
//! Knows nothing of runs. Start at [`Groups::make`] (the keeper's) and [`Group`] (a warden's).
//!
//! ```text
//! the group Kapell is in, or the one above it
//! └── kapell-NAMESPACE-PID-START-KEEPER     one per keeper; holds no process
//!     └── PID-START                         a warden, and all that its commands start
//! ```

use crate::proc;
use rustix::fs::{Access, access};
use rustix::process::{Pid, getpid, getppid};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How names of our groups begin.
const OURS: &str = "kapell-";
/// What may be limited, where whoever owns the group above has said so.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// How long killed processes may take to leave their group.
const GONE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What commands may take; 0 = no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Processes and threads.
    pub(crate) processes: u64,
}

/// The groups of one keeper.
#[derive(Debug)]
pub(crate) struct Groups(PathBuf);

impl Groups {
    /// Makes the place for this keeper's groups, and ends what dead ones have left there. `None`: nothing may be made.
    pub(crate) fn make() -> Option<Self> {
        let above = place()?;
        clear(&above);
        let owner = getppid().and_then(proc::stat)?;
        let name = format!(
            "{OURS}{}-{}-{}-{}",
            namespace()?,
            owner.pid.as_raw_pid(),
            owner.start,
            getpid().as_raw_pid()
        );
        let dir = above.join(name);
        fs::create_dir(&dir).ok()?;
        for controller in CONTROLLERS {
            // Not every system hands them on.
            let _not_there = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        Some(Self(dir))
    }

    /// Puts this process into a group of its own.
    pub(crate) fn enter(&self) -> Option<Group> {
        let own = proc::stat(getpid())?;
        let group = Group(self.0.join(format!("{}-{}", own.pid.as_raw_pid(), own.start)));
        fs::create_dir(&group.0).ok()?;
        if fs::write(group.0.join("cgroup.procs"), "0").is_err() {
            group.remove();
            return None;
        }
        Some(group)
    }

    /// That warden is gone, and so is what it may have left.
    pub(crate) fn forget(&self, warden: Pid) {
        for group in groups_in(&self.0).filter(|group| group.warden() == Some(warden)) {
            group.kill();
            group.remove();
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // Fails where something is in it still: the next keeper looks.
        let _not_empty = fs::remove_dir(&self.0);
    }
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group(PathBuf);

impl Group {
    /// The group of ours that this warden is in.
    pub(crate) fn of(warden: Pid) -> Option<Self> {
        let own = fs::read_to_string(format!("/proc/{}/cgroup", warden.as_raw_pid())).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::named(&place_of(&mounts, &own)?.1.to_string_lossy())
            .filter(|group| group.warden() == Some(warden))
    }

    /// The group of this path, if it is one of ours by its name.
    pub(crate) fn named(path: &str) -> Option<Self> {
        let group = Self(PathBuf::from(path));
        let above = group.0.parent()?.file_name()?.to_str()?;
        let ours = above.starts_with(OURS) && group.warden().is_some();
        (group.0.is_absolute() && ours && !path.contains("/../")).then_some(group)
    }

    /// Whose it is.
    fn warden(&self) -> Option<Pid> {
        let (pid, start) = self.0.file_name()?.to_str()?.split_once('-')?;
        start.parse::<u64>().ok()?;
        Pid::from_raw(pid.parse().ok()?)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Holds it to these from now on, as far as the system lets us.
    pub(crate) fn limit(&self, limits: Limits) {
        // The warden itself counts.
        let texts = [("memory.max", limits.memory), ("pids.max", limits.processes.saturating_add(1))];
        let unlimited = [limits.memory == 0, limits.processes == 0];
        for ((file, most), none) in texts.into_iter().zip(unlimited) {
            let text = if none { "max".to_owned() } else { most.to_string() };
            let _not_there = fs::write(self.0.join(file), text);
        }
    }

    /// Who is in it.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let list = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        list.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    }

    /// Kills everything in it in one breath, forks in progress included.
    pub(crate) fn kill(&self) {
        let _gone = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Removes it, once it is empty.
    pub(crate) fn remove(&self) {
        let limit = Instant::now() + GONE;
        while let Err(error) = fs::remove_dir(&self.0) {
            if error.kind() == io::ErrorKind::NotFound || Instant::now() > limit {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// What commands are held to here, or why nothing can be. For people.
pub fn groups() -> Result<String, String> {
    let above = place().ok_or("no cgroup v2 directory that this user may write")?;
    let handed = fs::read_to_string(above.join("cgroup.subtree_control")).unwrap_or_default();
    let limits: Vec<&str> =
        CONTROLLERS.into_iter().filter(|name| handed.split_whitespace().any(|it| it == *name)).collect();
    let limits = match limits.as_slice() {
        [] => "killed as one; no limits are handed on to it".to_owned(),
        some => format!("killed as one; limits of {}", some.join(" and ")),
    };
    Ok(format!("{}: {limits}", above.display()))
}

/// Where groups can be made: beside the one we are in, which may have limits to hand on, or else inside of it.
fn place() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let (top, own) = place_of(&mounts, &own)?;
    let above = own.parent().filter(|_| own != top).map(Path::to_owned);
    let writable = |dir: &PathBuf| {
        let may = |path: &Path| access(path, Access::WRITE_OK).is_ok();
        may(dir) && may(&dir.join("cgroup.procs"))
    };
    above.into_iter().chain([own]).find(writable)
}

/// Top of the unified hierarchy, and where a process is in it, by its `/proc/PID/cgroup`.
fn place_of(mounts: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if !kind.starts_with("cgroup2 ") {
            return None;
        }
        let mut words = mount.split(' ').skip(3);
        let (root, top) = (words.next()?, words.next()?);
        let inside = Path::new(own).strip_prefix(root).ok()?;
        // A blank in a path is written as an octal number: nobody mounts it so.
        (!top.contains('\\')).then(|| (top.into(), Path::new(top).join(inside)))
    })
}

/// Names the processes we can see: numbers mean something only there.
fn namespace() -> Option<String> {
    let name = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(name.to_str()?.chars().filter(char::is_ascii_digit).collect())
}

/// Ends what is left in groups of a Kapell that is dead, and removes them.
fn clear(above: &Path) {
    let Some(here) = namespace() else { return };
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(|name| owner(name, &here)).is_some_and(|(pid, start)| !lives(pid, start)) {
            for group in groups_in(&entry.path()) {
                group.kill();
                group.remove();
            }
            let _not_empty = fs::remove_dir(entry.path());
        }
    }
}

fn groups_in(dir: &Path) -> impl Iterator<Item = Group> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| Group(entry.path()))
}

/// Whose group has this name, among the processes that are seen `here`.
fn owner(name: &str, here: &str) -> Option<(Pid, u64)> {
    let mut parts = name.strip_prefix(OURS)?.split('-');
    let (namespace, pid, start) = (parts.next()?, parts.next()?, parts.next()?);
    let (_keeper, None) = (parts.next()?, parts.next()) else { return None };
    (namespace == here).then_some((Pid::from_raw(pid.parse().ok()?)?, start.parse().ok()?))
}

fn lives(pid: Pid, start: u64) -> bool {
    proc::stat(pid).is_some_and(|now| now.start == start && !now.dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_found_where_the_hierarchy_is_mounted() {
        let mounts = "24 1 0:22 / /proc rw - proc proc rw\n\
                      30 1 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 none rw\n";
        let found = place_of(mounts, "4:memory:/x\n0::/user.slice/a.scope\n").unwrap();
        assert_eq!(found.0, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(found.1, Path::new("/sys/fs/cgroup/unified/user.slice/a.scope"));
        // A container sees a part of it.
        let part = "30 1 0:27 /docker/1 /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(place_of(part, "0::/docker/1/x\n").unwrap().1, Path::new("/sys/fs/cgroup/x"));
        for (mounts, own) in [(part, "0::/elsewhere\n"), (mounts, "4:memory:/x\n"), ("", "0::/\n")] {
            assert_eq!(place_of(mounts, own), None);
        }
    }

    #[test]
    fn only_what_is_named_as_ours_is_ours() {
        assert!(Group::named("/sys/fs/cgroup/kapell-1-2-3-4/77-5").is_some());
        for path in
            ["/sys/fs/cgroup/77-5", "/sys/fs/cgroup/kapell-1-2-3-4", "kapell-1-2/77-5", "/x/kapell-1/y", ""]
        {
            assert_eq!(Group::named(path), None, "{path}");
        }
        let own = proc::stat(getpid()).unwrap();
        let (pid, start) = owner(&format!("kapell-7-{}-{}-9", own.pid.as_raw_pid(), own.start), "7").unwrap();
        assert!(lives(pid, start) && !lives(pid, start + 1));
        for name in ["kapell-8-1-2-9", "kapell-7-1-2", "kapell-7-1-2-9-4", "kapell-7-x-2-9", "other-7-1-2-9"]
        {
            assert_eq!(owner(name, "7"), None, "{name}");
        }
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        let group = Group(dir.path().to_owned());
        group.limit(Limits { memory: 1 << 30, processes: 100 });
        assert_eq!((read("memory.max").as_str(), read("pids.max").as_str()), ("1073741824", "101"));
        group.limit(Limits::default());
        assert_eq!((read("memory.max").as_str(), read("pids.max").as_str()), ("max", "max"));
    }
}
