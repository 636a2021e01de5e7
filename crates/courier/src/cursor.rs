//! How far every session was read, in a file: who sends next goes on there.
//!
//! Start at [`Cursor::after`].

use crate::outbox::replace;
use contract::{Seq, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Ended sessions are remembered so long after their beginning: a clock may differ, and a list may be read late.
const REMEMBERED_MS: u64 = 60_000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Wire {
    /// What is older is not told of sessions that are not listed here.
    since: Timestamp,
    /// The last record that was taken in.
    at: BTreeMap<SessionId, Seq>,
}

/// A place in every session.
#[derive(Debug)]
pub(crate) struct Cursor {
    path: PathBuf,
    wire: Wire,
    changed: bool,
}

impl Cursor {
    /// As the last sender left it; from `began` on where there was none.
    pub(crate) fn open(dir: &Path, began: Timestamp) -> Self {
        let path = dir.join("cursor.json");
        let known = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let wire = known.unwrap_or_else(|| Wire { since: began, at: BTreeMap::new() });
        Self { path, wire, changed: true }
    }

    /// The last record that was taken in, and from which moment on records behind it are news. `None`: there is none.
    pub(crate) fn after(&self, id: SessionId, head: Seq, ended: bool) -> Option<(Seq, Timestamp)> {
        match self.wire.at.get(&id) {
            Some(at) => (*at < head).then_some((*at, Timestamp(0))),
            None if ended && born(id) < self.wire.since => None,
            None => Some((0, self.wire.since)),
        }
    }

    /// Taken in up to here.
    pub(crate) fn taken(&mut self, id: SessionId, seq: Seq) {
        self.changed |= self.wire.at.insert(id, seq) != Some(seq);
    }

    /// Writes it down. `open`: who has not ended.
    pub(crate) fn keep(&mut self, now: Timestamp, open: impl Fn(SessionId) -> bool) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let since = Timestamp(now.0.saturating_sub(REMEMBERED_MS)).max(self.wire.since);
        self.wire.since = since;
        self.wire.at.retain(|id, _| open(*id) || born(*id) >= since);
        let bytes = serde_json::to_vec(&self.wire).unwrap_or_default();
        if let Err(error) = replace(&self.path, &bytes) {
            tracing::warn!(%error, "what was told is told again by the next process");
        }
    }
}

/// When a session was made: the first 48 bits of its id (RFC 9562, UUID v7).
fn born(id: SessionId) -> Timestamp {
    Timestamp((id.0 >> 80) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_past_is_told_and_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let at = |ms: u64| SessionId(u128::from(ms) << 80 | 1);
        let began = Timestamp(1_000_000);
        let mut cursor = Cursor::open(dir.path(), began);
        assert_eq!(cursor.after(at(5), 9, true), None, "ended before");
        assert_eq!(cursor.after(at(5), 9, false), Some((0, began)), "it goes on: what comes from now on");
        assert_eq!(cursor.after(at(1_000_001), 9, true), Some((0, began)), "ended since");
        cursor.taken(at(5), 9);
        cursor.taken(at(1_000_001), 9);
        cursor.keep(Timestamp(1_000_002), |id| id == at(5));
        let mut cursor = Cursor::open(dir.path(), Timestamp(u64::MAX));
        assert_eq!(cursor.after(at(1_000_001), 9, true), None);
        assert_eq!(cursor.after(at(5), 10, false), Some((9, Timestamp(0))));
        cursor.keep(Timestamp(2_000_000), |id| id == at(5));
        assert_eq!(cursor.wire.at.len(), 1, "who ended long ago is forgotten");
        assert_eq!(cursor.after(at(1_000_001), 9, true), None);
    }
}
