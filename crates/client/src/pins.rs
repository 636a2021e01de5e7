//! What servers listed when a person took them in, in a directory of one file per server.
//! Knows nothing of what the words mean. Start at [`Pins::of`].
//!
//! A model is shown what stands here, never what a server says at the moment: so that a server which says something else
//! from one day on is found out before a model has read it, and so that a request can be built anew without the server.

use crate::catalog::{Entry, Listed};
use contract::{Digest, Fault, Kind};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest file.
const BYTES: u64 = 16 << 20;

/// What was taken in of one server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pinned {
    /// What it is called.
    pub server: String,
    /// What a person took in.
    pub listed: Listed,
    /// What it said otherwise later, by name and how: not offered until a person takes it in.
    #[serde(default)]
    pub differs: Vec<(String, String)>,
}

impl Pinned {
    /// What may be offered: what was taken in and is not said otherwise since.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &Entry> {
        self.listed.tools.iter().filter(|tool| self.differs.iter().all(|(name, _)| *name != tool.name))
    }
}

/// The directory.
#[derive(Debug, Clone)]
pub(crate) struct Pins(PathBuf);

impl Pins {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    fn path(&self, server: &Digest) -> PathBuf {
        self.0.join(format!("{server}.json"))
    }

    /// What is known of a server; `None`: nobody took it in yet.
    pub(crate) fn of(&self, server: &Digest) -> Result<Option<Pinned>, Fault> {
        let path = self.path(server);
        let text = match std::fs::metadata(&path) {
            Ok(meta) if meta.len() <= BYTES => std::fs::read(&path),
            Ok(_) => Err(ErrorKind::FileTooLarge.into()),
            Err(error) => Err(error),
        };
        match text {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| fault(&path, &error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault(&path, &error)),
        }
    }

    /// Writes it down. `first`: what another process has written meanwhile stays, and is given back.
    pub(crate) fn set(&self, server: &Digest, pinned: Pinned, first: bool) -> Result<Pinned, Fault> {
        let path = self.path(server);
        let beside = path.with_extension(format!("new.{}", std::process::id()));
        let write = || {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            let mut options = std::fs::File::options();
            let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
            file.write_all(&serde_json::to_vec(&pinned)?)?;
            file.sync_all()?;
            if !first {
                return std::fs::rename(&beside, &path);
            }
            let linked = std::fs::hard_link(&beside, &path);
            std::fs::remove_file(&beside)?;
            linked
        };
        match write() {
            Ok(()) => Ok(pinned),
            Err(error) if first && error.kind() == ErrorKind::AlreadyExists => {
                Ok(self.of(server)?.unwrap_or(pinned))
            }
            Err(error) => Err(fault(&path, &error)),
        }
    }

    /// Forgets it.
    pub(crate) fn forget(&self, server: &Digest) -> Result<(), Fault> {
        let path = self.path(server);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(fault(&path, &error)),
            _ => Ok(()),
        }
    }
}

fn fault(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    let what = format!("{}, which says what was taken in of a server, cannot be used: {why}", path.display());
    Fault::new(Kind::UserFixable, "mcp-pins", what)
        .hint("make it readable, or remove it and trust the server anew: kapell mcp trust NAME")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_word_stays_until_a_person_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let (pins, server) = (Pins::new(dir.path().join("mcp")), Digest::of(b"s"));
        let of = |word: &str| Pinned {
            listed: Listed::read(&[json!({"name": "a", "description": word})]),
            ..Pinned::default()
        };
        assert_eq!(pins.of(&server).unwrap(), None);
        assert_eq!(pins.set(&server, of("1"), true).unwrap(), of("1"));
        assert_eq!(pins.set(&server, of("2"), true).unwrap(), of("1"), "another process was first");
        pins.set(&server, of("3"), false).unwrap();
        let mut pinned = pins.of(&server).unwrap().unwrap();
        assert_eq!(pinned, of("3"));
        assert_eq!(pinned.offered().count(), 1);
        pinned.differs.push(("a".into(), "changed".into()));
        assert_eq!(pinned.offered().count(), 0);
        pins.forget(&server).unwrap();
        pins.forget(&server).unwrap();
        assert_eq!(pins.of(&server).unwrap(), None);
        assert_eq!(
            std::fs::read_dir(dir.path().join("mcp")).unwrap().count(),
            0,
            "nothing is left beside it"
        );
    }
}
