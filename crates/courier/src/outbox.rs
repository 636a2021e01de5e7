//! Notices on their way, each a file: what one process could not deliver the next one does.
//!
//! Knows no address and no clock. Start at [`Outbox::put`].

use contract::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use telemetry::notice::{self, STALE_MS};

/// Notices that wait at most; of more, the oldest go.
const MOST: usize = 256;

/// A notice to somebody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// To whom.
    pub(crate) to: String,
    /// What.
    pub(crate) body: Value,
    /// How often it was tried.
    tries: u32,
    born: Timestamp,
    next: Timestamp,
}

/// Those of one directory.
#[derive(Debug)]
pub(crate) struct Outbox {
    dir: PathBuf,
    letters: BTreeMap<String, Letter>,
}

impl Outbox {
    /// With what others have left there. A file that cannot be read is left alone.
    pub(crate) fn open(dir: &Path) -> Self {
        let mut letters = BTreeMap::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(ENDING) else { continue };
            let letter =
                std::fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            letters.extend(letter.map(|letter: Letter| (id.to_owned(), letter)));
        }
        Self { dir: dir.to_owned(), letters }
    }

    /// One more, due at once. What was put there before stays as it is.
    pub(crate) fn put(&mut self, to: &str, id: &str, body: Value, now: Timestamp) {
        let id = format!("{to}-{id}");
        if self.letters.contains_key(&id) {
            return;
        }
        if self.letters.len() >= MOST
            && let Some(oldest) = self.letters.iter().min_by_key(|(_, it)| it.born).map(|(id, _)| id.clone())
        {
            tracing::warn!("too many notices wait: the oldest is given up");
            self.done(&oldest);
        }
        self.letters.insert(id.clone(), Letter { to: to.to_owned(), body, tries: 0, born: now, next: now });
        self.write(&id);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Letter> {
        self.letters.get(id)
    }

    /// Those to be tried now, oldest first.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<String> {
        let mut due: Vec<_> = self.letters.iter().filter(|(_, letter)| letter.next <= now).collect();
        due.sort_by_key(|(_, letter)| letter.born);
        due.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// It was tried in vain.
    pub(crate) fn failed(&mut self, id: &str, now: Timestamp) {
        let Some(letter) = self.letters.get_mut(id) else { return };
        letter.tries += 1;
        match notice::next_try(now, letter.tries) {
            Some(next) if next <= letter.born.plus(STALE_MS) => {
                letter.next = next;
                self.write(id);
            }
            _ => {
                tracing::warn!(id, "tried often enough: given up");
                self.done(id);
            }
        }
    }

    /// It need not be tried any more.
    pub(crate) fn done(&mut self, id: &str) {
        self.letters.remove(id);
        // One that cannot be removed is told again by the next process, under the same id.
        let _ = std::fs::remove_file(self.path(id));
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}{ENDING}"))
    }

    fn write(&self, id: &str) {
        let bytes = self.letters.get(id).map(|letter| serde_json::to_vec(letter).unwrap_or_default());
        if let Some(bytes) = bytes
            && let Err(error) = replace(&self.path(id), &bytes)
        {
            tracing::warn!(%error, "a notice is kept in memory only");
        }
    }
}

/// What files of notices end in.
const ENDING: &str = ".notice";

/// Puts these bytes in the place of a file, whole or not at all; for its owner's eyes.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_one_process_could_not_deliver_the_next_one_does_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path());
        let mut now = Timestamp(1_000);
        outbox.put("webhook", "a", json!({"id": "a"}), now);
        outbox.put("webhook", "a", json!({"id": "b"}), now);
        let mut tries = 0;
        while let [id] = &outbox.due(now)[..] {
            assert_eq!(outbox.get(id).unwrap().body, json!({"id": "a"}), "the same each time");
            outbox.failed(id, now);
            tries += 1;
            // Another process.
            outbox = Outbox::open(dir.path());
            assert!(outbox.due(now).is_empty());
            now = outbox.letters.values().next().map_or(now, |letter| letter.next);
        }
        assert_eq!(tries, 8);
        assert!(now.0 <= 1_000 + STALE_MS);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn there_are_never_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path());
        for n in 0..MOST as u64 + 3 {
            outbox.put("ntfy", &n.to_string(), json!(n), Timestamp(n));
        }
        assert_eq!(outbox.due(Timestamp(u64::MAX)).len(), MOST);
        assert!(outbox.get("ntfy-2").is_none() && outbox.get("ntfy-3").is_some());
        std::fs::write(dir.path().join("x.notice"), "no letter").unwrap();
        assert_eq!(Outbox::open(dir.path()).letters.len(), MOST);
    }
}
