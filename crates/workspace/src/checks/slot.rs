//! Places where checks run: a throw-away checkout per side, and a build directory that stays warm.
//!
//! A slot belongs to one project and to one run at a time, by a lock that the kernel drops when the holder dies. Its
//! paths are the same in every run, so that build output is replaced rather than piled up. Start at [`Slot::take`].

use crate::audit::Slots;
use crate::object::write_atomically;
use crate::session::ATTRIBUTES;
use crate::tidy::remove_tree;
use contract::checks::Side;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Most runs on one project at once.
const SLOTS: u32 = 64;

/// A place, held.
#[derive(Debug)]
pub(crate) struct Slot {
    dir: PathBuf,
    /// Dropping it frees the slot.
    _lock: File,
}

impl Slot {
    /// The first free place of this project; whatever a run that died left in it is removed.
    pub(crate) fn take(checks: &Path, project: &Path) -> io::Result<Self> {
        let key = blake3::hash(project.as_os_str().as_bytes()).to_hex();
        for number in 0..SLOTS {
            let dir = checks.join(&key[..16]).join(number.to_string());
            std::fs::create_dir_all(&dir)?;
            let lock = File::create(dir.join("lock"))?;
            if lock.try_lock().is_ok() {
                let slot = Self { dir, _lock: lock };
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

    /// Build output, kept between runs. The agent's commands are never told of it.
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
        self.clear_programs()
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

/// Removes checkouts that runs which died left behind, in every slot that is free.
pub(crate) fn sweep(checks: &Path) -> io::Result<u64> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut cleared = 0;
    for dir in list(checks).iter().flat_map(|project| list(project)) {
        let Ok(lock) = File::open(dir.join("lock")) else { continue };
        if lock.try_lock().is_ok() {
            let slot = Slot { dir, _lock: lock };
            let left = [Side::Base, Side::Result].iter().any(|side| slot.checkout(*side).exists());
            slot.clear()?;
            cleared += u64::from(left);
        }
    }
    Ok(cleared)
}

/// Counts them; changes nothing.
pub(crate) fn audit(checks: &Path) -> Slots {
    let list = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut slots = Slots::default();
    for dir in list(checks).iter().flat_map(|project| list(project)) {
        let Ok(lock) = File::open(dir.join("lock")) else { continue };
        slots.all += 1;
        match lock.try_lock_shared() {
            Ok(()) => {
                let left = |side| dir.join(name(side)).exists();
                slots.left += u64::from(left(Side::Base) || left(Side::Result));
            }
            Err(_) => slots.held += 1,
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
}
