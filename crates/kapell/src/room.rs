//! How many bytes a session's directory may hold: measured before what may add to it, said before it is too much.
//!
//! Knows directories and a limit, no tool. Start at [`Room::look`].

use crate::quantity::bytes;
use contract::SessionId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Share of the limit from which it is said, percent.
const WARN_PERCENT: u64 = 80;
/// A directory that takes longer to measure is not measured before every call.
const LONG: Duration = Duration::from_millis(200);
/// Then measuring takes at most one part in so many of the time.
const PART: u32 = 20;
/// Sessions whose size is remembered.
const SESSIONS: usize = 64;
/// Commands that make room: they run also where there is none.
const REMOVERS: [&str; 6] = ["rm ", "rm\t", "cargo clean", "git clean", "make clean", "npm cache clean"];

/// The sessions' directories.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    sessions: PathBuf,
    most: u64,
    seen: Arc<Mutex<BTreeMap<SessionId, Seen>>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    bytes: u64,
    at: Instant,
    took: Duration,
}

/// What is said of a session's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    /// To go with the result.
    Warning(String),
    /// It holds too much: this does not run.
    Refusal(String),
}

impl Room {
    /// Directories in `sessions`, each with at most so many bytes.
    pub(crate) fn new(sessions: PathBuf, most: u64) -> Self {
        Self { sessions, most, seen: Arc::default() }
    }

    /// May a call that changes something run? `command`: what it runs, if it is one. Blocks while it measures.
    pub(crate) fn look(&self, session: SessionId, command: Option<&str>) -> Said {
        let used = self.used(session);
        let (used_is, most_is) = (bytes(used), bytes(self.most));
        let removes = command.is_some_and(makes_room);
        match used {
            _ if used > self.most && !removes => Said::Refusal(format!(
                "not run: the directory of this session holds {used_is}, and {most_is} are allowed (`session_disk`). Make \
                 room first: remove what builds and downloads left, with `rm` or the tool's own `clean`, as a command by itself"
            )),
            _ if used > self.most / 100 * WARN_PERCENT => Said::Warning(format!(
                "\n[the directory of this session holds {used_is} of the {most_is} it may (`session_disk`)]"
            )),
            _ => Said::Nothing,
        }
    }

    /// A call may have made room: it is measured anew.
    pub(crate) fn forget(&self, session: SessionId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }

    fn used(&self, session: SessionId) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&session).copied();
        if let Some(seen) = seen.filter(|seen| seen.took > LONG && seen.at.elapsed() < seen.took * PART) {
            return seen.bytes;
        }
        let began = Instant::now();
        let bytes = workspace::bytes_below(&self.sessions.join(session.to_string()));
        let seen = Seen { bytes, at: Instant::now(), took: began.elapsed() };
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SESSIONS {
            all.pop_first();
        }
        all.insert(session, seen);
        bytes
    }
}

/// Does a command line make room and do nothing else? What goes on after a remover may fill what it freed.
fn makes_room(line: &str) -> bool {
    let line = line.trim();
    let goes_on = line.contains([';', '&', '|', '<', '>', '`', '$', '(', '\n']);
    !goes_on && REMOVERS.iter().any(|remover| line.starts_with(remover))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_warns_refuses_and_lets_room_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let session = SessionId(7);
        let own = dir.path().join(session.to_string()).join("deep");
        std::fs::create_dir_all(&own).unwrap();
        let look = |holds: usize, command| {
            std::fs::write(own.join("file"), vec![0; holds]).unwrap();
            Room::new(dir.path().into(), 10_000).look(session, command)
        };
        assert_eq!(look(7_000, None), Said::Nothing);
        assert!(matches!(look(9_000, None), Said::Warning(text) if text.contains("8.7 KiB of the 9.7 KiB")));
        assert!(matches!(look(11_000, None), Said::Refusal(_)));
        assert!(matches!(look(11_000, Some("echo rm x")), Said::Refusal(_)));
        assert!(matches!(look(11_000, Some("rm -r target")), Said::Warning(_)));
        for more in ["rm x; fill", "rm x && fill", "rm x\nfill", "rm $(fill)", "rm `fill`", "rm x | fill"] {
            assert!(matches!(look(11_000, Some(more)), Said::Refusal(_)), "{more}");
        }
        assert_eq!(
            Room::new(dir.path().into(), 10).look(SessionId(8), None),
            Said::Nothing,
            "it has none yet"
        );
    }
}
