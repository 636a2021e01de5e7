//! Has anything below the directory changed? Told by the kernel as it happens (inotify), so that what was read once need
//! not be read again.
//!
//! Knows no file's meaning. Start at [`Watch::generation`].
//!
//! A write that another program does through a mapping or under a name outside of the directory is not told; who keeps
//! what it read must look anew from time to time.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Directories that are watched; a larger tree is not.
const DIRS: usize = 4_096;
/// Where that did not work it is not tried again for so long.
const AGAIN: Duration = Duration::from_secs(60);
/// Directories that come and go make it begin anew, which takes at most one part in so many of the time.
const SHARE: u32 = 20;
/// Bytes of events taken at once.
const EVENTS: usize = 16 * 1024;

/// The directory under watch, once somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None: it is not watched.
    events: Option<OwnedFd>,
    generation: u64,
    /// It does not begin before this.
    after: Option<Instant>,
}

impl Watch {
    /// A number that is another one after anything changed below. `None`: nobody can tell.
    pub(crate) fn generation(&self, top: &Path) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.events.is_none() {
            if state.after.is_some_and(|after| Instant::now() < after) {
                return None;
            }
            state.begin(top);
        }
        let changed = state.changed();
        state.generation += u64::from(changed != Changed::Nothing);
        // A new directory is not watched yet, and of what was lost nobody knows what it was.
        if changed == Changed::Tree {
            state.events = None;
            if state.after.is_none_or(|after| Instant::now() >= after) {
                state.begin(top);
            }
        }
        state.events.as_ref().map(|_| state.generation)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    Nothing,
    Files,
    Tree,
}

impl State {
    /// Watches every directory there is now.
    fn begin(&mut self, top: &Path) {
        let begin = Instant::now();
        self.generation += 1;
        self.events = watched(top);
        let wait = if self.events.is_some() { begin.elapsed() * SHARE } else { AGAIN };
        self.after = Some(Instant::now() + wait);
    }

    fn changed(&self) -> Changed {
        let Some(events) = &self.events else { return Changed::Nothing };
        let mut buffer = [const { MaybeUninit::uninit() }; EVENTS];
        let mut reader = Reader::new(events, &mut buffer);
        let mut most = Changed::Nothing;
        loop {
            let told = match reader.next() {
                Ok(event) => event.events(),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return most,
                Err(_) => return Changed::Tree,
            };
            let tree = ReadFlags::ISDIR | ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            most = most.max(if told.intersects(tree) { Changed::Tree } else { Changed::Files });
        }
    }
}

/// Events of every directory below, links not followed. `None`: there are too many, or the kernel gives no more watches.
fn watched(top: &Path) -> Option<OwnedFd> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
    let about = WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
        | WatchFlags::DONT_FOLLOW;
    let (mut left, mut count): (Vec<PathBuf>, usize) = (vec![top.to_owned()], 0);
    while let Some(dir) = left.pop() {
        count += 1;
        if count > DIRS {
            return None;
        }
        match inotify::add_watch(&events, &dir, about) {
            Ok(_) => {}
            // It went away meanwhile, which its own directory tells.
            Err(Errno::NOENT | Errno::NOTDIR) if dir != top => continue,
            Err(_) => return None,
        }
        // After the watch: what comes into it from here on is told.
        for entry in std::fs::read_dir(&dir).ok()? {
            let entry = entry.ok()?;
            if entry.file_type().ok()?.is_dir() {
                left.push(entry.path());
            }
        }
    }
    Some(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_below_is_told_before_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/file"), "1").unwrap();
        let watch = Watch::default();
        // It begins anew soon, not at once.
        let look = || (0..10_000_000).find_map(|_| watch.generation(&top)).unwrap();
        let mut last = look();
        assert_eq!(watch.generation(&top), Some(last));
        let at = |name: &str| top.join(name);
        let steps: [(&str, &dyn Fn()); 9] = [
            ("a write", &|| std::fs::write(at("a/b/file"), "2").unwrap()),
            ("a new file", &|| std::fs::write(at("a/new"), "").unwrap()),
            ("a rename", &|| std::fs::rename(at("a/new"), at("a/newer")).unwrap()),
            ("a removal", &|| std::fs::remove_file(at("a/newer")).unwrap()),
            ("a new directory", &|| std::fs::create_dir(at("c")).unwrap()),
            ("a file in it", &|| std::fs::write(at("c/file"), "").unwrap()),
            ("a directory under another name", &|| std::fs::rename(at("c"), at("d")).unwrap()),
            ("a file in that", &|| std::fs::write(at("d/file"), "3").unwrap()),
            ("a mode", &|| {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(at("a/b/file"), PermissionsExt::from_mode(0o600)).unwrap();
            }),
        ];
        for (what, step) in steps {
            step();
            let now = look();
            assert_ne!(now, last, "{what}");
            last = now;
            assert_eq!(watch.generation(&top), Some(last), "{what}");
        }
        assert_eq!(Watch::default().generation(&dir.path().join("nowhere")), None);
    }
}
