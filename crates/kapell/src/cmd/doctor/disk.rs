//! The disk: how much is free, what it is, and whether what is synced really reaches it.
//!
//! Measuring is thin; judging is a table. Start at [`judge`].

use crate::finding::Finding;
use crate::home::Home;
use crate::quantity::bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Less free disk than this is worth a word, bytes.
const LOW_BYTES: u64 = 1 << 30;
/// Fewer free inodes than this are worth a word: a workspace has one per file.
const LOW_INODES: u64 = 20_000;
/// Synced writes per second that no disk does, whatever it is made of.
const NO_DISK: u64 = 100_000;
/// Synced writes per second that no spinning disk does: it turns 250 times at most.
const NO_SPINDLE: u64 = 250;
/// A sync that costs less than this many plain writes did nothing.
const NO_SYNC: u64 = 2;
/// Rounds of a measurement; the middle one counts.
const ROUNDS: usize = 7;
/// Synced writes in a round.
const SYNCED: u64 = 4;
/// Plain writes in a round.
const PLAIN: u64 = 64;
/// Bytes of one write: a page of the store.
const BLOCK: [u8; 4096] = [0x4b; 4096];

/// What kind of place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Nature {
    #[default]
    Disk,
    Memory,
    Network,
    Overlay,
}

/// What a directory lies on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Medium {
    nature: Nature,
    /// Name of the file system.
    fs: String,
    /// A mount option that makes a sync do nothing.
    option: Option<String>,
    /// Name of the device, when the kernel tells.
    device: Option<String>,
    rotational: bool,
    /// The device says that it has no cache a power cut could empty, so the kernel never tells it to.
    write_through: bool,
}

/// What writing costs, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Costs {
    /// A block of a file written again, and synced.
    synced: u64,
    /// The same without the sync.
    plain: u64,
}

/// What is free on each file system under the roots.
pub(super) fn free(home: &Home) -> Vec<Finding> {
    let mut places: Vec<(u64, PathBuf, Vec<&str>)> = Vec::new();
    for (name, dir) in
        [("data", &home.data), ("state", &home.state), ("cache", &home.cache), ("config", &home.config)]
    {
        let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
        let device = there.metadata().map_or(0, |meta| meta.dev());
        match places.iter_mut().find(|(known, ..)| *known == device) {
            Some((.., names)) => names.push(name),
            None => places.push((device, there.to_owned(), vec![name])),
        }
    }
    places.iter().map(|(_, dir, names)| room(&names.join(", "), dir)).collect()
}

fn room(names: &str, dir: &Path) -> Finding {
    let stat = match rustix::fs::statvfs(dir) {
        Ok(stat) => stat,
        Err(error) => return Finding::note("disk", format!("{names}: free space is not known: {error}"), ""),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    // Some file systems have no fixed number of them and say 0.
    let inodes = (stat.f_files > 0).then_some(stat.f_favail);
    let count = inodes.map_or(String::new(), |inodes| format!(" and {inodes} inodes"));
    let what = format!("{names}: {}{count} free on {}", bytes(free), medium(dir).fs);
    match free < LOW_BYTES || inodes.is_some_and(|inodes| inodes < LOW_INODES) {
        true => Finding::note("disk", what, "free some space; kapell gc --dry-run shows what can go"),
        false => Finding::ok("disk", what),
    }
}

/// Writes and syncs a small file again and again: what every durable step has to pay, and whether it is paid at all.
pub(super) fn commits(data: &Path) -> Finding {
    let path = data.join(format!(".doctor-{}", std::process::id()));
    let measured = measure(&path);
    // It was made a moment ago by this process; when it stays, the next doctor says nothing wrong.
    let _ = std::fs::remove_file(&path);
    match measured {
        Ok(costs) => judge(&medium(data), costs),
        Err(error) => {
            let hint = "make the data directory writable, or set KAPELL_HOME=/some/directory";
            Finding::bad("commit", format!("cannot write in {}: {error}", data.display()), hint)
        }
    }
}

fn judge(medium: &Medium, costs: Costs) -> Finding {
    let rate = 1_000_000_000 / costs.synced.max(1);
    let us = costs.synced / 1_000;
    let on = match &medium.device {
        Some(device) => format!("{} on {device}", medium.fs),
        None => medium.fs.clone(),
    };
    let what = format!(
        "{}.{} ms, {rate} durable steps per second for one session ({on})",
        us / 1000,
        us % 1000 / 100
    );
    let why = match medium.nature {
        Nature::Memory => Some(format!("{} lives in memory: a restart takes all of it", medium.fs)),
        Nature::Network => Some(format!(
            "{} is not a local disk: two machines must never use this store, and a sync is what the server makes of it",
            medium.fs
        )),
        _ if medium.option.is_some() => {
            let option = medium.option.as_deref().unwrap_or_default();
            Some(format!("it is mounted with `{option}`, which makes a sync do nothing"))
        }
        _ if rate > NO_DISK => Some("no disk is that fast: nothing reaches it".into()),
        _ if costs.synced < costs.plain.saturating_mul(NO_SYNC) => {
            Some("a sync costs no more than a plain write: it does nothing".into())
        }
        _ if medium.rotational && medium.write_through && rate > NO_SPINDLE => Some(
            "the device says that it spins and has no cache; none that does is that fast, so somebody below keeps writes back".into(),
        ),
        Nature::Overlay => Some("overlay: in a container it goes with the container".into()),
        Nature::Disk => None,
    };
    let hint = match medium.nature {
        Nature::Overlay => "mount a volume of the host and point KAPELL_HOME at it",
        _ => {
            "after a power cut the newest events may be gone; point KAPELL_HOME at a real disk, or mend its settings"
        }
    };
    match why {
        Some(why) => Finding::note("commit", format!("{what}: {why}"), hint),
        None => Finding::ok("commit", what),
    }
}

fn measure(path: &Path) -> io::Result<Costs> {
    let file = File::options().write(true).create(true).truncate(true).open(path)?;
    // Blocks that are there: written again, only they themselves need to reach the disk.
    (0..SYNCED.max(PLAIN)).try_for_each(|n| file.write_all_at(&BLOCK, n * BLOCK.len() as u64))?;
    file.sync_all()?;
    let round = |writes: u64, synced: bool| -> io::Result<u64> {
        let began = Instant::now();
        for n in 0..writes {
            file.write_all_at(&BLOCK, n * BLOCK.len() as u64)?;
            if synced {
                file.sync_data()?;
            }
        }
        Ok((began.elapsed().as_nanos() / u128::from(writes)) as u64)
    };
    let middle = |writes, synced| -> io::Result<u64> {
        let mut rounds = (0..ROUNDS).map(|_| round(writes, synced)).collect::<io::Result<Vec<_>>>()?;
        rounds.sort_unstable();
        Ok(rounds[ROUNDS / 2])
    };
    Ok(Costs { synced: middle(SYNCED, true)?, plain: middle(PLAIN, false)? })
}

/// What a directory lies on, as far as the kernel tells.
fn medium(dir: &Path) -> Medium {
    let magic = rustix::fs::statfs(dir).map_or(0, |stat| stat.f_type as u64 & 0xffff_ffff);
    let (nature, known) = kind(magic);
    let Ok(meta) = dir.metadata() else { return Medium { nature, fs: known.into(), ..Medium::default() } };
    let number = format!("{}:{}", rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mounts.lines().filter_map(Mount::parse).rfind(|mount| mount.number == number);
    let device = std::fs::canonicalize(format!("/sys/dev/block/{number}")).ok();
    // A partition has no queue of its own; its disk has.
    let queue = device.iter().flat_map(|device| [device.join("queue"), device.join("../queue")]);
    let queue = queue.into_iter().find(|queue| queue.is_dir());
    let setting = |name: &str| {
        queue.as_ref().and_then(|queue| std::fs::read_to_string(queue.join(name)).ok()).unwrap_or_default()
    };
    let name = device.as_ref().and_then(|device| device.file_name());
    Medium {
        nature,
        fs: mount.as_ref().map_or_else(|| known.to_owned(), |mount| mount.fs.to_owned()),
        option: mount.and_then(|mount| mount.unsafe_option()).map(str::to_owned),
        device: name.map(|name| name.to_string_lossy().into_owned()),
        rotational: setting("rotational").trim() == "1",
        write_through: setting("write_cache").trim() == "write through",
    }
}

/// By the number that `statfs` gives (statfs(2)).
fn kind(magic: u64) -> (Nature, &'static str) {
    match magic {
        0x0102_1994 => (Nature::Memory, "tmpfs"),
        0x8584_58f6 => (Nature::Memory, "ramfs"),
        0x794c_7630 => (Nature::Overlay, "overlay"),
        0x6969 => (Nature::Network, "nfs"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => (Nature::Network, "smb"),
        0x0102_1997 => (Nature::Network, "9p"),
        0x00c3_6400 => (Nature::Network, "ceph"),
        0x5346_414f => (Nature::Network, "afs"),
        0x6573_5546 => (Nature::Network, "fuse"),
        0xef53 => (Nature::Disk, "ext4"),
        0x5846_5342 => (Nature::Disk, "xfs"),
        0x9123_683e => (Nature::Disk, "btrfs"),
        _ => (Nature::Disk, "an unknown file system"),
    }
}

/// A line of `/proc/self/mountinfo` (proc(5)).
struct Mount<'a> {
    number: &'a str,
    fs: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let number = before.split(' ').nth(2)?;
        let mut after = after.split(' ');
        Some(Self { number, fs: after.next()?, options: after.nth(1)? })
    }

    fn unsafe_option(&self) -> Option<&'a str> {
        self.options.split(',').find(|option| matches!(*option, "nobarrier" | "barrier=0" | "volatile"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn whether_a_sync_can_be_one() {
        let disk = || Medium { fs: "ext4".into(), device: Some("sda".into()), ..Medium::default() };
        let spins = |write_through| Medium { rotational: true, write_through, ..disk() };
        let of = |nature| Medium { nature, ..disk() };
        let option = Medium { option: Some("nobarrier".into()), ..disk() };
        let costs = |synced, plain| Costs { synced, plain };
        for (medium, costs, words) in [
            // An SSD, one with protected cache, a slow one.
            (disk(), costs(400_000, 2_000), None),
            (disk(), costs(12_000, 1_500), None),
            (disk(), costs(30_000_000, 2_000), None),
            // Not to be believed: beyond any disk; no dearer than not syncing (a slow layer in between).
            (disk(), costs(9_000, 1_500), Some("no disk is that fast")),
            (disk(), costs(0, 0), Some("no disk is that fast")),
            (disk(), costs(50_000, 40_000), Some("costs no more than a plain write")),
            // Spinning: with a cache that it is told to empty nobody can say; without one it is what it turns.
            (spins(true), costs(8_300_000, 2_000), None),
            (spins(true), costs(400_000, 2_000), Some("spins")),
            (spins(false), costs(400_000, 2_000), None),
            // Whatever is measured there.
            (of(Nature::Memory), costs(400_000, 2_000), Some("lives in memory")),
            (of(Nature::Network), costs(4_000_000, 2_000), Some("not a local disk")),
            (of(Nature::Overlay), costs(400_000, 2_000), Some("goes with the container")),
            (of(Nature::Overlay), costs(1_000, 900), Some("no disk is that fast")),
            (option, costs(400_000, 2_000), Some("`nobarrier`")),
        ] {
            let found = judge(&medium, costs);
            let level = if words.is_some() { Level::Note } else { Level::Ok };
            assert_eq!(found.level, level, "{medium:?} {costs:?}: {found:?}");
            assert!(found.what.contains(words.unwrap_or("durable steps per second")), "{costs:?}: {found:?}");
            assert_eq!(found.hint.is_empty(), words.is_none());
        }
    }

    #[test]
    fn mounts_are_read_as_the_kernel_writes_them() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue,barrier=0";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.number, mount.fs, mount.unsafe_option()), ("98:0", "ext3", Some("barrier=0")));
        assert!(Mount::parse("").is_none() && Mount::parse("1 2 3:4 - ext4").is_none());
    }

    #[test]
    fn memory_is_told_from_a_disk() {
        assert_eq!(medium(Path::new("/proc")).nature, Nature::Disk, "unknown ones count as disks");
        if Path::new("/dev/shm").is_dir() {
            assert_eq!(medium(Path::new("/dev/shm")).nature, Nature::Memory);
        }
    }
}
