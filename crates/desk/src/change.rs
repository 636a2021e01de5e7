//! How a file is changed: under the directory's lock, the old content copied once, the change on record, then made.
//!
//! Knows no format. Start at [`Desk::change`].

use crate::root::Guard;
use crate::{Desk, Stop};
use board::modes::Mode;
use board::when;
use contract::board::BoardEvent;
use contract::{Digest, Fault, Seq, SessionId};
use std::path::Path;

/// Copies of one second that may differ.
const COPIES: u32 = 100_000;

/// Puts changes on record. Blocks until they are durable.
pub trait Record: Send + Sync + std::fmt::Debug {
    /// One more about the project in this directory; its number.
    fn record(&self, repo: &str, event: BoardEvent) -> Result<Seq, Fault>;
    /// Hands a task over to whoever works on tasks; the session it will be. `None`: nobody takes tasks here.
    fn delegate(&self, _: Task<'_>) -> Result<Option<SessionId>, Fault> {
        Ok(None)
    }
}

/// A task that is handed over.
#[derive(Debug)]
pub struct Task<'a> {
    /// Its id.
    pub id: &'a str,
    /// What is to be done, with what belongs to it.
    pub text: &'a str,
    /// The mode it is for.
    pub mode: &'a str,
    /// What its time is booked under.
    pub priority: &'a str,
    /// The modes that the project declares.
    pub modes: Vec<Mode>,
}

/// What a change came to.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    /// The copy that was made of the old content.
    pub(crate) backup: Option<String>,
}

/// How the new content gets there.
pub(crate) enum How<'a> {
    /// In the place of the old.
    Replace(&'a [u8]),
    /// Behind it.
    Append(&'a [u8]),
}

impl Desk {
    /// The lock under which whoever changes something reads first.
    pub(crate) fn locked(&self) -> Result<Guard, Stop> {
        Ok(self.root.lock()?)
    }

    /// Changes one file. The guard shows that what was read before still stands.
    pub(crate) fn change(
        &self,
        _: &Guard,
        tool: &str,
        path: &str,
        how: How<'_>,
        copy: bool,
    ) -> Result<Changed, Stop> {
        let before = self.root.read_if(path)?;
        let backup = match (&before, copy && self.options.backup) {
            (Some(bytes), true) => Some(self.copied(path, bytes)?),
            _ => None,
        };
        let whole = match how {
            How::Replace(bytes) => bytes.to_vec(),
            How::Append(bytes) => [before.as_deref().unwrap_or_default(), bytes].concat(),
        };
        let repo = self.root.path().display().to_string();
        let announced = BoardEvent::Changing {
            repo: repo.clone(),
            path: self.root.relative(path)?.display().to_string(),
            tool: tool.to_owned(),
            before: before.as_deref().map(Digest::of),
            after: Digest::of(&whole),
            bytes: whole.len() as u64,
            backup: backup.clone(),
        };
        let of = self.record.record(&repo, announced)?;
        let made = match how {
            How::Replace(bytes) => self.root.write(path, bytes, true),
            How::Append(bytes) => self.root.append(path, bytes),
        };
        if let Err(fault) = made {
            self.record.record(&repo, BoardEvent::Kept { of, why: fault.what.clone() })?;
            return Err(fault.into());
        }
        Ok(Changed { backup })
    }

    /// Copies content to where copies of this file are, under a name nobody has; the copy's path.
    pub(crate) fn copied(&self, path: &str, bytes: &[u8]) -> Result<String, Stop> {
        let dir = self.copies_of(path)?;
        let (stem, suffix) = stem(path);
        let stamp = when::stamp(self.now());
        for n in 0..COPIES {
            let nth = if n == 0 { String::new() } else { format!("_{n}") };
            let copy = format!("{dir}/{stem}_{stamp}{nth}{suffix}");
            if self.root.create(&copy, bytes)? {
                return Ok(copy);
            }
        }
        Err(Stop::failed(format!("there are too many copies of {path} from this second")))
    }

    /// The directory for copies of this file: below that for copies, as the file is below the workspace.
    pub(crate) fn copies_of(&self, path: &str) -> Result<String, Stop> {
        let relative = self.root.relative(path)?;
        let above = relative.parent().filter(|dir| !dir.as_os_str().is_empty());
        let backups = self.options.backups.trim_end_matches('/');
        Ok(match above {
            Some(dir) => format!("{backups}/{}", dir.display()),
            None => backups.to_owned(),
        })
    }

    /// Copies of a file, oldest first.
    pub(crate) fn copies(&self, path: &str) -> Result<Vec<String>, Stop> {
        let (stem, suffix) = stem(path);
        let own = self.copies_of(path)?;
        // The old server put all of them into one directory.
        let mut dirs = vec![self.options.backups.trim_end_matches('/').to_owned()];
        if own != dirs[0] {
            dirs.insert(0, own);
        }
        for dir in dirs {
            let Ok(all) = self.root.list(&dir) else { continue };
            let mut found: Vec<((String, u32), String)> = all
                .into_iter()
                .filter(|(_, meta)| meta.is_file)
                .filter_map(|(name, _)| Some((stamped(&name, &stem, &suffix)?, format!("{dir}/{name}"))))
                .collect();
            if !found.is_empty() {
                found.sort();
                return Ok(found.into_iter().map(|(_, path)| path).collect());
            }
        }
        Ok(Vec::new())
    }
}

/// A file's name in two: `schedules` and `.json`; `.roomodes` has no ending.
pub(crate) fn stem(path: &str) -> (String, String) {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.rfind('.') {
        Some(at) if at > 0 => (name[..at].to_owned(), name[at..].to_owned()),
        _ => (name, String::new()),
    }
}

/// When a copy of this name was made, and its number among those of one second.
fn stamped(name: &str, stem: &str, suffix: &str) -> Option<(String, u32)> {
    let rest = name.strip_prefix(stem)?.strip_suffix(suffix)?.strip_prefix('_')?;
    let stamp = rest.get(..15)?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (day, time) = stamp.split_once('_')?;
    if !(digits(day) && digits(time) && day.len() == 8) {
        return None;
    }
    let nth = match &rest[15..] {
        "" => 0,
        nth => nth.strip_prefix('_').filter(|nth| digits(nth))?.parse().ok()?,
    };
    Some((stamp.to_owned(), nth))
}
