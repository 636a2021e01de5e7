//! Requests that open something and may come again: which session a key stands for, for a day.
//!
//! Files beside the daemon's own, one for each key; without them a repeat is a new request. Start at
//! [`Requests::promised`].

use crate::exit::Failure;
use api::Key;
use contract::{Digest, Fault, Kind, SessionId, Timestamp};
use engine::task::blocking;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// So long a key stands for the same, milliseconds.
const KEPT_MS: u64 = 24 * 3_600_000;
/// Between two looks for those that stand for nothing any more, milliseconds.
const SWEEP_MS: u64 = 3_600_000;
/// Keys that are kept.
const MOST: usize = 20_000;

/// Keys that were given.
#[derive(Debug, Clone)]
pub(super) struct Requests(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// When it was last looked for what means nothing any more; 0 = not yet.
    swept: AtomicU64,
    /// Files then, and those that came since.
    held: AtomicUsize,
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
        Self(Arc::new(Inner { dir, swept: AtomicU64::new(0), held: AtomicUsize::new(0) }))
    }

    /// The session that this key has stood for since before.
    pub(super) async fn known(&self, key: &Key, now: Timestamp) -> Result<Option<SessionId>, Failure> {
        let (inner, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || inner.known(&key, now)).await
    }

    /// The session that this key stands for, from now on or since before. Durable before it is answered, so that a repeat
    /// after a crash means the same session, whether it was opened by then or not.
    pub(super) async fn promised(
        &self,
        key: &Key,
        fresh: SessionId,
        now: Timestamp,
    ) -> Result<SessionId, Failure> {
        let (inner, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || inner.promised(&key, fresh, now)).await
    }
}

impl Inner {
    fn file(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("{}.json", Digest::of(key.text.as_bytes())))
    }

    fn known(&self, key: &Key, now: Timestamp) -> Result<Option<SessionId>, Failure> {
        let row = std::fs::read(self.file(key)).ok();
        let row = row.and_then(|text| serde_json::from_slice::<Row>(&text).ok());
        match row.filter(|row| row.v == 1 && now.since(row.at) < KEPT_MS) {
            Some(row) if row.body == key.body => Ok(Some(row.session)),
            Some(row) => {
                let what =
                    format!("this key was given with another body; it stands for session {}", row.session);
                Err(Failure::usage("key-reused", what, "send a fresh Idempotency-Key with each new request"))
            }
            None => Ok(None),
        }
    }

    fn promised(&self, key: &Key, fresh: SessionId, now: Timestamp) -> Result<SessionId, Failure> {
        if let Some(known) = self.known(key, now)? {
            return Ok(known);
        }
        let swept = Timestamp(self.swept.load(Ordering::Relaxed));
        if swept.0 == 0 || now.since(swept) >= SWEEP_MS {
            self.forget(now);
        }
        if self.held.load(Ordering::Relaxed) >= MOST {
            let mut fault =
                Fault::new(Kind::RateLimited, "rate-limited", format!("{MOST} keys were given within a day"))
                    .hint("try again later, or without Idempotency-Key");
            fault.retry_after_ms = Some(SWEEP_MS);
            return Err(fault.into());
        }
        let row = Row { v: 1, body: key.body, session: fresh, at: now };
        let (file, text) = (self.file(key), serde_json::to_vec(&row).unwrap_or_default());
        door::write_private(&file, &text).map_err(|error| {
            let what = format!("cannot write {}: {error}", file.display());
            Failure::failed("no-run-file", what, "make the state directory writable, or set KAPELL_HOME")
        })?;
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(fresh)
    }

    /// What is older than a day means nothing any more.
    fn forget(&self, now: Timestamp) {
        let mut held = 0;
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let row = std::fs::read(entry.path()).ok();
            let row = row.and_then(|text| serde_json::from_slice::<Row>(&text).ok());
            if row.is_none_or(|row| now.since(row.at) >= KEPT_MS) {
                // What cannot be removed now is tried again with the next look.
                let _later = std::fs::remove_file(entry.path());
            } else {
                held += 1;
            }
        }
        self.held.store(held, Ordering::Relaxed);
        self.swept.store(now.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_one_session_and_one_body_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let requests = Requests::new(dir.path().join("requests"));
        let requests = &*requests.0;
        let key = |text: &str, body: &[u8]| Key { text: text.into(), body: Digest::of(body), given: true };
        let (one, two, now) = (SessionId(1), SessionId(2), Timestamp(1_000_000));
        assert_eq!(requests.known(&key("a", b"x"), now).unwrap(), None);
        assert_eq!(requests.promised(&key("a", b"x"), one, now).unwrap(), one);
        assert_eq!(requests.known(&key("a", b"x"), now).unwrap(), Some(one));
        assert_eq!(requests.promised(&key("a", b"x"), two, now).unwrap(), one);
        assert_eq!(requests.promised(&key("b", b"x"), two, now).unwrap(), two);
        assert_eq!(requests.promised(&key("a", b"y"), two, now).unwrap_err().fault.code, "key-reused");
        let later = Timestamp(now.0 + KEPT_MS);
        assert_eq!(requests.promised(&key("a", b"y"), two, later).unwrap(), two);
        assert_eq!(std::fs::read_dir(&requests.dir).unwrap().count(), 1, "old ones are gone");
    }

    #[test]
    fn keys_are_bounded_and_looked_through_once_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let requests = Requests::new(dir.path().to_owned());
        let requests = &*requests.0;
        let key = |n: u64| Key { text: n.to_string(), body: Digest::default(), given: true };
        let at = |ms: u64| Timestamp(1_000_000 + ms);
        requests.promised(&key(1), SessionId(1), at(0)).unwrap();
        requests.held.store(MOST, Ordering::Relaxed);
        let refused = requests.promised(&key(2), SessionId(2), at(SWEEP_MS - 1)).unwrap_err();
        assert_eq!(refused.fault.code, "rate-limited");
        requests.promised(&key(2), SessionId(2), at(SWEEP_MS)).unwrap();
        assert_eq!(requests.held.load(Ordering::Relaxed), 2);
    }
}
