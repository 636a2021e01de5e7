//! Requests that open something and may come again: which session a key stands for, for a day.
//!
//! Files beside the daemon's own, one for each key; without them a repeat is a new request. Start at
//! [`Requests::promised`].

use crate::exit::Failure;
use api::Key;
use contract::{Digest, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// So long a key stands for the same, milliseconds.
const KEPT_MS: u64 = 24 * 3_600_000;

/// Keys that were given.
#[derive(Debug)]
pub(super) struct Requests {
    dir: PathBuf,
}

/// What a key stands for.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    v: u32,
    body: Digest,
    session: SessionId,
    at: Timestamp,
}

impl Requests {
    /// In this directory, which is made when needed.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The session that this key stands for, from now on or since before. Durable before it is answered, so that a repeat
    /// after a crash means the same session, whether it was opened by then or not.
    pub(super) fn promised(&self, key: &Key, fresh: SessionId, now: Timestamp) -> Result<SessionId, Failure> {
        let file = self.dir.join(format!("{}.json", Digest::of(key.text.as_bytes())));
        let row = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Row>(&text).ok());
        match row.filter(|row| row.v == 1 && now.since(row.at) < KEPT_MS) {
            Some(row) if row.body == key.body => Ok(row.session),
            Some(row) => {
                let what =
                    format!("this key was given with another body; it stands for session {}", row.session);
                Err(Failure::usage("key-reused", what, "send a fresh Idempotency-Key with each new request"))
            }
            None => {
                self.forget(now);
                let row = Row { v: 1, body: key.body, session: fresh, at: now };
                let text = serde_json::to_vec(&row).unwrap_or_default();
                door::write_private(&file, &text).map_err(|error| {
                    let what = format!("cannot write {}: {error}", file.display());
                    Failure::failed(
                        "no-run-file",
                        what,
                        "make the state directory writable, or set KAPELL_HOME",
                    )
                })?;
                Ok(fresh)
            }
        }
    }

    /// What is older than a day means nothing any more.
    fn forget(&self, now: Timestamp) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let row = std::fs::read(entry.path()).ok();
            let row = row.and_then(|text| serde_json::from_slice::<Row>(&text).ok());
            if row.is_none_or(|row| now.since(row.at) >= KEPT_MS) {
                // What cannot be removed now is tried again with the next one.
                let _later = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_one_session_and_one_body_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let requests = Requests::new(dir.path().join("requests"));
        let key = |text: &str, body: &[u8]| Key { text: text.into(), body: Digest::of(body), given: true };
        let (one, two, now) = (SessionId(1), SessionId(2), Timestamp(1_000_000));
        assert_eq!(requests.promised(&key("a", b"x"), one, now).unwrap(), one);
        assert_eq!(requests.promised(&key("a", b"x"), two, now).unwrap(), one);
        assert_eq!(requests.promised(&key("b", b"x"), two, now).unwrap(), two);
        assert_eq!(requests.promised(&key("a", b"y"), two, now).unwrap_err().fault.code, "key-reused");
        let later = Timestamp(now.0 + KEPT_MS);
        assert_eq!(requests.promised(&key("a", b"y"), two, later).unwrap(), two);
        assert_eq!(std::fs::read_dir(dir.path().join("requests")).unwrap().count(), 1, "old ones are gone");
    }
}
