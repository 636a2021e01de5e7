//! Places where checks run: a throw-away checkout per side, and a build directory that stays warm.
//!
//! A slot belongs to one project and to one run at a time, by a lock that the kernel drops when the holder dies. Its
//! paths are the same in every run, so that build output is replaced rather than piled up; what code that is judged
//! wrote there goes after each run. Start at [`Slot::take`].

use crate::audit::Slots;
use crate::erase::{bytes_below, remove_tree};
use crate::object::write_atomically;
use crate::session::ATTRIBUTES;
use contract::checks::Side;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The lock file of a place.
const LOCK: &str = "lock";
/// Stands while code runs that is to be judged.
const JUDGING: &str = "judging";
/// Most runs on one project at once.
const SLOTS: u32 = 64;

/// A place, held.
#[derive(Debug)]
pub(crate) struct Slot {
    dir: PathBuf,
    /// Dropping it frees the slot. Its time is when the last run ended.
    lock: File,
}

impl Slot {
    /// The first free place of this project; whatever a run that died left in it is removed.
    pub(crate) fn take(checks: &Path, project: &Path) -> io::Result<Self> {
        let key = blake3::hash(project.as_os_str().as_bytes()).to_hex();
        for number in 0..SLOTS {
            let dir = checks.join(&key[..16]).join(number.to_string());
            std::fs::create_dir_all(&dir)?;
            let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
            if lock.try_lock().is_ok() {
                let slot = Self { dir, lock };
                if slot.foul()? {
                    remove_tree(&slot.target())?;
                    remove_tree(&slot.dir.join(JUDGING))?;
                }
                slot.clear()?;
                return Ok(slot);
            }
        }
        Err(io::Error::other(format!("{SLOTS} check runs on this project are under way already")))
    }

    /// Where a side is checked out.
    pub(crate) fn checkout(&self, side: Side) -> PathBuf {
        self.dir.join(name(side))
    }

    /// The index of a side's checkout.
    pub(crate) fn index(&self, side: Side) -> PathBuf {
        self.dir.join(format!("{}.index", name(side)))
    }

    /// May the build directory hold what tools would take for fresh and is not? After a run that died while code of an
    /// agent could write there; and when the clock was set back, for tools go by the times of files.
    fn foul(&self) -> io::Result<bool> {
        let judging = self.dir.join(JUDGING).symlink_metadata().is_ok();
        Ok(judging || self.lock.metadata()?.modified()? > SystemTime::now())
    }

    /// What the build directory holds, before code runs that is to be judged: it can write there.
    pub(crate) fn keep(&self) -> io::Result<Kept> {
        self.clear_programs()?;
        File::create(self.dir.join(JUDGING))?;
        Kept::look(&self.target())
    }

    /// Leaves in the build directory what was there before and was not touched: no later run builds on what the judged
    /// code left.
    pub(crate) fn wash(&self, kept: &Kept) -> io::Result<()> {
        let target = self.target();
        if kept.restore(&target).is_err() {
            remove_tree(&target)?;
        }
        remove_tree(&self.dir.join(JUDGING))
    }

    /// Build output, kept between runs but for what judged code wrote. The agent's commands are never told of it.
    pub(crate) fn target(&self) -> PathBuf {
        self.dir.join("target")
    }

    /// What stands for the home and the temporary directory of a check.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// Removes the checkouts, and finished programs of the other side from the build directory: what a side does
    /// not build itself must not be found there.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for side in [Side::Base, Side::Result] {
            remove_tree(&self.checkout(side))?;
            remove_tree(&self.index(side))?;
            // A git that was killed leaves its lock; whoever holds the slot knows that no other git is at work here.
            remove_tree(&self.index(side).with_extension("index.lock"))?;
        }
        remove_tree(&self.scratch())?;
        self.clear_programs()?;
        self.lock.set_modified(SystemTime::now())
    }

    /// Removes finished programs from the build directory; what they are linked from stays.
    pub(crate) fn clear_programs(&self) -> io::Result<()> {
        for profile in ["debug", "release"] {
            let entries = std::fs::read_dir(self.target().join(profile)).into_iter().flatten().flatten();
            for entry in entries {
                if entry.file_type()?.is_file() && !entry.file_name().as_bytes().starts_with(b".") {
                    std::fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Makes the checkout a repository of its own, as a clean clone would be: tools that look for one find this one
    /// and none above it.
    pub(crate) fn found(
        &self,
        side: Side,
        commit: &str,
        sha256: bool,
        objects: &[PathBuf],
    ) -> io::Result<()> {
        let git = self.checkout(side).join(".git");
        for dir in ["objects/info", "refs/heads", "info"] {
            std::fs::create_dir_all(git.join(dir))?;
        }
        let extensions = if sha256 { "[extensions]\n\tobjectFormat = sha256\n" } else { "" };
        let version = u8::from(sha256);
        let config = format!(
            "[core]\n\trepositoryFormatVersion = {version}\n\tbare = false\n[gc]\n\tauto = 0\n{extensions}"
        );
        let alternates: Vec<u8> =
            objects.iter().flat_map(|dir| [dir.as_os_str().as_bytes(), b"\n"].concat()).collect();
        write_atomically(&git.join("config"), config.as_bytes(), false)?;
        write_atomically(&git.join("HEAD"), format!("{commit}\n").as_bytes(), false)?;
        write_atomically(&git.join("info/attributes"), ATTRIBUTES.as_bytes(), false)?;
        write_atomically(&git.join("objects/info/alternates"), &alternates, false)?;
        std::fs::copy(self.index(side), git.join("index")).map(drop)
    }
}

/// The files of a directory: which ones, and when each was changed last. That time is the system's own: no program can
/// set it.
#[derive(Debug)]
pub(crate) struct Kept(HashMap<PathBuf, (u64, i64, i64)>);

impl Kept {
    fn look(dir: &Path) -> io::Result<Self> {
        let mut files = HashMap::new();
        each(dir, &mut |path, meta| {
            files.insert(path, (meta.ino(), meta.ctime(), meta.ctime_nsec()));
            Ok(())
        })?;
        Ok(Self(files))
    }

    /// Removes every file that was not there, or was changed.
    fn restore(&self, dir: &Path) -> io::Result<()> {
        each(dir, &mut |path, meta| match self.0.get(&path) {
            Some(was) if *was == (meta.ino(), meta.ctime(), meta.ctime_nsec()) => Ok(()),
            _ => std::fs::remove_file(path),
        })
    }
}

/// Every entry below a directory that is none itself.
fn each(dir: &Path, then: &mut dyn FnMut(PathBuf, &Metadata) -> io::Result<()>) -> io::Result<()> {
    let mut waiting = vec![dir.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata()? {
                meta if meta.is_dir() => waiting.push(entry.path()),
                meta => then(entry.path(), &meta)?,
            }
        }
    }
    Ok(())
}

/// Removes checkouts that runs which died left behind, in every slot that is free.
pub(crate) fn sweep(checks: &Path) -> io::Result<u64> {
    let mut cleared = 0;
    for dir in places(checks) {
        let Ok(lock) = File::open(dir.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let slot = Slot { dir, lock };
            let left = [Side::Base, Side::Result].iter().any(|side| slot.checkout(*side).exists());
            slot.clear()?;
            cleared += u64::from(left);
        }
    }
    Ok(cleared)
}

/// A place with something in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Where it is.
    pub dir: PathBuf,
    /// Bytes in it.
    pub bytes: u64,
    /// Why it stays as it is, when it does.
    pub stays: Option<String>,
}

/// Empties every place that is free, build directory and all; with `dry` it only says which. The lock files stay: who
/// waits for one would else hold a lock on nothing.
pub(crate) fn empty(checks: &Path, dry: bool) -> Vec<Used> {
    let mut all = Vec::new();
    for dir in places(checks) {
        let bytes = bytes_below(&dir);
        let Ok(lock) = File::open(dir.join(LOCK)) else { continue };
        let locked = if dry { lock.try_lock_shared() } else { lock.try_lock() };
        let parts: Vec<PathBuf> = list(&dir).into_iter().filter(|path| !path.ends_with(LOCK)).collect();
        if parts.is_empty() {
            continue;
        }
        let stays = match locked {
            Err(_) => Some("a check runs in it".to_owned()),
            Ok(()) if dry => None,
            Ok(()) => {
                parts.iter().try_for_each(|path| remove_tree(path)).err().map(|error| error.to_string())
            }
        };
        all.push(Used { dir, bytes, stays });
    }
    all
}

/// Every place of every project.
fn places(checks: &Path) -> Vec<PathBuf> {
    list(checks).iter().flat_map(|project| list(project)).collect()
}

fn list(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Counts them; changes nothing.
pub(crate) fn audit(checks: &Path) -> Slots {
    let mut slots = Slots::default();
    for dir in places(checks) {
        let Ok(lock) = File::open(dir.join(LOCK)) else { continue };
        match lock.try_lock_shared() {
            Ok(()) => {
                let left = |side| dir.join(name(side)).exists();
                slots.left += u64::from(left(Side::Base) || left(Side::Result));
                // An emptied one is only its lock.
                slots.all += u64::from(list(&dir).len() > 1);
            }
            Err(_) => {
                slots.held += 1;
                slots.all += 1;
            }
        }
    }
    slots
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Base => "base",
        Side::Result => "result",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_gone_when_the_slot_is_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let take = || Slot::take(dir.path(), Path::new("/project")).unwrap();
        let slot = take();
        std::fs::create_dir_all(slot.checkout(Side::Base).join("src")).unwrap();
        for file in ["base.index", "base.index.lock", "result.index.lock"] {
            std::fs::write(slot.dir.join(file), "").unwrap();
        }
        drop(slot);
        let slot = take();
        let mut left: Vec<_> =
            std::fs::read_dir(&slot.dir).unwrap().flatten().map(|e| e.file_name()).collect();
        left.sort();
        assert_eq!(left, ["lock"]);
    }

    #[test]
    fn what_judged_code_wrote_goes_and_what_it_let_be_stays() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot::take(dir.path(), Path::new("/project")).unwrap();
        let deps = slot.target().join("debug/deps");
        std::fs::create_dir_all(&deps).unwrap();
        for name in ["stays", "overwritten", "replaced", "gone", "linked"] {
            std::fs::write(deps.join(name), "of the base").unwrap();
        }
        let of = |name: &str| std::fs::read_to_string(deps.join(name)).ok();
        // Times of files have steps: what is kept is older than what comes.
        let old = deps.join("stays").metadata().unwrap();
        let clock = deps.join("clock");
        while {
            std::fs::write(&clock, "").unwrap();
            clock.metadata().unwrap()
        }
        .modified()
        .unwrap()
            <= old.modified().unwrap()
        {}
        let kept = slot.keep().unwrap();
        // With the very size and times that the file had.
        std::fs::write(deps.join("overwritten"), "of an agent").unwrap();
        let forged = File::options().write(true).open(deps.join("overwritten")).unwrap();
        forged.set_modified(old.modified().unwrap()).unwrap();
        std::fs::write(deps.join("other"), "of an agent").unwrap();
        std::fs::rename(deps.join("other"), deps.join("replaced")).unwrap();
        std::fs::remove_file(deps.join("gone")).unwrap();
        std::fs::hard_link(deps.join("linked"), deps.join("planted")).unwrap();
        std::fs::create_dir_all(slot.target().join("new/deep")).unwrap();
        std::fs::write(slot.target().join("new/deep/file"), "").unwrap();
        std::os::unix::fs::symlink("/", slot.target().join("link")).unwrap();
        slot.wash(&kept).unwrap();
        assert_eq!(of("stays").as_deref(), Some("of the base"));
        for name in ["overwritten", "replaced", "gone", "planted"] {
            assert_eq!(of(name), None, "{name}");
        }
        assert!(!slot.target().join("new/deep/file").exists() && !slot.dir.join(JUDGING).exists());
        assert!(slot.target().join("link").symlink_metadata().is_err());
    }

    #[test]
    fn a_run_that_died_and_a_clock_set_back_leave_no_build_directory() {
        let dir = tempfile::tempdir().unwrap();
        let take = || Slot::take(dir.path(), Path::new("/project")).unwrap();
        let built = |slot: &Slot| slot.target().join("built");
        let build = |slot: &Slot| {
            std::fs::create_dir_all(slot.target()).unwrap();
            std::fs::write(built(slot), "").unwrap();
        };
        let slot = take();
        build(&slot);
        drop(slot);
        let slot = take();
        assert!(built(&slot).exists(), "it stays warm");
        drop(slot.keep().unwrap());
        drop(slot);
        let slot = take();
        assert!(!built(&slot).exists());
        build(&slot);
        slot.lock.set_modified(SystemTime::now() + std::time::Duration::from_secs(3_600)).unwrap();
        drop(slot);
        assert!(!built(&take()).exists());
        assert!(built_again(&take(), &build));
    }

    /// Once thrown away, it is kept again.
    fn built_again(slot: &Slot, build: &dyn Fn(&Slot)) -> bool {
        build(slot);
        slot.foul().is_ok_and(|foul| !foul)
    }
}
