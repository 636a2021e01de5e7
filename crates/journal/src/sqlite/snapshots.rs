//! Snapshots: a cache of a fold, newest few per stream, each under a hash over all of it.
//!
//! Knows nothing of what the JSON says. Start at [`Tx::keep`].

use super::error::Stop;
use super::writer::Tx;
use crate::blob;
use contract::journal::{Error, Snapshot};
use contract::{Digest, StreamId, limits};
use rusqlite::{Connection, Row};

/// The hash over a whole snapshot and the stream it belongs to.
pub(crate) fn hash(stream: StreamId, snapshot: &Snapshot) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(stream.to_string().as_bytes());
    hasher.update(&snapshot.seq.to_le_bytes());
    hasher.update(&snapshot.head.0);
    hasher.update(&snapshot.json);
    Digest(*hasher.finalize().as_bytes())
}

impl Tx<'_> {
    /// Keeps a snapshot of events that exist; older ones beyond the limit go.
    pub(crate) fn keep(
        &mut self,
        stream: StreamId,
        snapshot: &Snapshot,
        hash: Digest,
        packed: &[u8],
    ) -> Result<(), Stop> {
        let tip = self.heads.tip(self.conn, stream).map_err(Stop::checking)?;
        let (expected, found) = (snapshot.seq, tip.seq);
        let Some(number) = tip.stream.filter(|_| expected <= found) else {
            return Err(Stop::Refuse(Error::Conflict { stream, expected, found }));
        };
        let seq = snapshot.seq as i64;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO snapshots (stream, seq, head, hash, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((number, seq, snapshot.head.0, hash.0, packed))?;
        self.conn
            .prepare_cached(
                "DELETE FROM snapshots WHERE stream = ?1 AND seq NOT IN
                 (SELECT seq FROM snapshots WHERE stream = ?1 ORDER BY seq DESC LIMIT ?2)",
            )?
            .execute((number, limits::SNAPSHOTS_KEPT))?;
        Ok(())
    }
}

/// A stream's snapshots, newest first; `None` where the stored one is damaged.
pub(crate) fn list(
    conn: &Connection,
    stream: StreamId,
    number: i64,
) -> rusqlite::Result<Vec<Option<Snapshot>>> {
    conn.prepare_cached("SELECT seq, head, hash, bytes FROM snapshots WHERE stream = ?1 ORDER BY seq DESC")?
        .query_map([number], |row| Ok(sound(stream, row)))?
        .collect()
}

fn sound(stream: StreamId, row: &Row<'_>) -> Option<Snapshot> {
    let seq = row.get::<_, i64>(0).ok()? as u64;
    let json = blob::unpack(row.get_ref(3).ok()?.as_blob().ok()?).ok()?;
    let snapshot = Snapshot { seq, head: Digest(row.get(1).ok()?), json };
    (hash(stream, &snapshot).0 == row.get::<_, [u8; 32]>(2).ok()?).then_some(snapshot)
}
