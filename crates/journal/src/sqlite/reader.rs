//! The threads that read: each has a connection and its own idea of the heads. Long reads do not hold up writes.
//!
//! Start at [`Pool`], then [`Reader`].

use super::error;
use super::heads::{self, FRAME, Heads, Tip};
use super::{blobs, inbox, leases, snapshots};
use crate::frame::{self, Header};
use crate::queue::{Popped, Queue, Weigh};
use contract::journal::{Error, Grown, Head, Lease, Listed, Mail, Snapshot, Stored};
use contract::{Digest, Fault, Seq, SessionId, StreamId};
use rusqlite::{Connection, OptionalExtension};
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long an idle thread sleeps. Work wakes it at once.
const ASLEEP: Duration = Duration::from_secs(3600);

/// A request for a reader.
pub(crate) struct Query(pub(crate) Box<dyn FnOnce(&mut Reader) + Send>);

impl Weigh for Query {
    fn weight(&self) -> usize {
        0
    }
}

/// One reading connection.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) conn: Connection,
    pub(crate) heads: Heads,
    pub(crate) blobs: PathBuf,
}

/// Closes the queue however the thread ends, so that nobody waits for an answer that cannot come.
struct Leave(Arc<Queue<Query>>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// A reading thread, until the queue is closed.
pub(crate) fn run(mut reader: Reader, queue: Arc<Queue<Query>>) {
    let leave = Leave(queue);
    loop {
        match leave.0.pop(1, 0, ASLEEP) {
            Popped::Items(queries) => queries.into_iter().for_each(|query| (query.0)(&mut reader)),
            Popped::Idle => {}
            Popped::Closed => return,
        }
    }
}

impl Reader {
    /// Runs a query over one unchanging view of the store, heads up to date.
    pub(crate) fn view<T>(&mut self, query: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.conn.execute_batch("BEGIN").map_err(error::sql)?;
        let result = self.heads.catch_up(&self.conn).and_then(|()| query(self));
        // Nothing was written; ending the view can only fail where reading failed before.
        let _ = self.conn.execute_batch("ROLLBACK");
        result
    }

    pub(crate) fn tip(&mut self, stream: StreamId) -> Result<Tip, Error> {
        self.heads.tip(&self.conn, stream)
    }

    pub(crate) fn head(&mut self, stream: StreamId) -> Result<Head, Error> {
        Ok(self.tip(stream)?.head())
    }

    /// Records after `after`, chain verified from the frame before them.
    pub(crate) fn read(&mut self, stream: StreamId, after: Seq, limit: usize) -> Result<Vec<Stored>, Error> {
        let (tip, damage) = self.heads.reach(&self.conn, stream)?;
        let out = self.up_to(stream, &tip, after, limit)?;
        match damage {
            Some(error) if out.len() < limit => Err(error),
            _ => Ok(out),
        }
    }

    fn up_to(&self, stream: StreamId, tip: &Tip, after: Seq, limit: usize) -> Result<Vec<Stored>, Error> {
        let mut out = Vec::new();
        let Some(number) = tip.stream.filter(|_| after < tip.seq) else { return Ok(out) };
        let mut chain: Option<Digest> = None;
        let mut next = after + 1;
        while next <= tip.seq && out.len() < limit {
            for id in self.segment(number, next, tip).map_err(error::sql)? {
                let (header, records) = self.frame(id, stream, number, next)?;
                let before = match chain {
                    Some(hash) => hash,
                    None => self.before(stream, &header)?,
                };
                let from = out.len();
                let hash = frame::unfold(&header, &records, before, &mut out)
                    .ok_or_else(|| damaged(stream, header.first, "its bytes are not what was written"))?;
                // The first frame may begin before what was asked for, the last may end after it.
                out.drain(from..from + out[from..].iter().take_while(|stored| stored.seq <= after).count());
                chain = Some(hash);
                next = header.last() + 1;
                if out.len() >= limit {
                    break;
                }
            }
        }
        out.truncate(limit);
        Ok(out)
    }

    /// Frames in order, from the one that holds event `target` to the end of its segment of the sparse index:
    /// found backwards from there. Where that path is damaged, by reading the whole log.
    fn segment(&self, number: i64, target: Seq, tip: &Tip) -> rusqlite::Result<Vec<i64>> {
        let end: Option<i64> = self
            .conn
            .prepare_cached("SELECT frame FROM marks WHERE stream = ?1 AND seq > ?2 ORDER BY seq LIMIT 1")?
            .query_row((number, target as i64), |row| row.get(0))
            .optional()?;
        let mut ids = vec![end.unwrap_or(tip.last)];
        loop {
            let id = ids[ids.len() - 1];
            match heads::frame(&self.conn, id) {
                Ok(Some(frame)) if frame.stream == number && frame.first <= target => break,
                Ok(Some(frame)) if frame.stream == number && frame.prev < id && frame.prev > 0 => {
                    ids.push(frame.prev);
                }
                _ => return self.search(number, target),
            }
        }
        ids.reverse();
        Ok(ids)
    }

    /// The slow way past damage: every frame that says it is this stream's and reaches `target`.
    fn search(&self, number: i64, target: Seq) -> rusqlite::Result<Vec<i64>> {
        let mut ids = Vec::new();
        let mut statement =
            self.conn.prepare("SELECT id FROM log WHERE stream = ?1 AND first + count > ?2 ORDER BY id")?;
        let mut rows = statement.query((number, target as i64))?;
        // An unreadable page ends the search; what was found before it can still be read.
        while let Ok(Some(row)) = rows.next() {
            ids.push(row.get(0)?);
        }
        // Nothing found is damage too: the caller names it when it looks for row 0.
        if ids.is_empty() {
            ids.push(0);
        }
        Ok(ids)
    }

    /// A frame that must be this stream's and hold event `next`.
    fn frame(&self, id: i64, stream: StreamId, number: i64, next: Seq) -> Result<(Header, Vec<u8>), Error> {
        let found = self
            .conn
            .prepare_cached(FRAME)
            .and_then(|mut statement| {
                statement.query_row([id], |row| Ok((heads::header(row), heads::records(row)?))).optional()
            })
            .map_err(|error| match error::sql(error) {
                Error::Corrupt(why) => damaged(stream, next, &why),
                other => other,
            })?;
        match found {
            Some((Some(header), records))
                if header.stream == number && header.first <= next && next <= header.last() =>
            {
                let records =
                    records.ok_or_else(|| damaged(stream, next, "its bytes are not what was written"))?;
                Ok((header, records))
            }
            Some((None, _)) => Err(damaged(stream, next, "its row is not what was written")),
            _ => Err(damaged(stream, next, "it is missing")),
        }
    }

    /// The chain hash before a frame.
    fn before(&self, stream: StreamId, frame: &Header) -> Result<Digest, Error> {
        if frame.prev == 0 {
            return Ok(crate::rules::genesis(stream));
        }
        let prev = heads::frame(&self.conn, frame.prev).map_err(error::sql)?;
        prev.filter(|prev| prev.stream == frame.stream && prev.last() + 1 == frame.first)
            .map(|prev| prev.hash)
            .ok_or_else(|| damaged(stream, frame.first - 1, "its row is not what was written"))
    }

    /// The last row of the log.
    pub(crate) fn place(&self) -> Result<u64, Error> {
        let mut statement = self.conn.prepare_cached(heads::LAST).map_err(error::sql)?;
        statement.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs).map_err(error::sql)
    }

    /// Rows of the log after this one, by their streams' names. What is damaged in them is met by who reads the stream.
    pub(crate) fn grown(&self, after: u64, limit: usize) -> Result<Vec<Grown>, Error> {
        self.grown_rows(after, limit).map_err(error::sql)
    }

    fn grown_rows(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<Grown>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT l.id, s.name, l.first + l.count - 1 FROM log l JOIN streams s ON s.id = l.stream
             WHERE l.id > ?1 ORDER BY l.id",
        )?;
        let mut rows = statement.query([i64::try_from(after).unwrap_or(i64::MAX)])?;
        let mut out = Vec::new();
        while out.len() < limit {
            let Some(row) = rows.next()? else { break };
            if let Ok(stream) = row.get_ref(1)?.as_str()?.parse() {
                let (place, seq) = (row.get::<_, i64>(0)?, row.get::<_, i64>(2)?);
                out.push(Grown { place: place.unsigned_abs(), stream, seq: seq.unsigned_abs() });
            }
        }
        Ok(out)
    }

    /// Sessions, newest first.
    pub(crate) fn sessions(&mut self, unfinished_only: bool) -> Result<Vec<Listed>, Error> {
        let mut listed = self.listed(unfinished_only).map_err(error::sql)?;
        for tip in self.heads.recent() {
            let Some(number) = tip.stream else { continue };
            let name: String = self
                .conn
                .prepare_cached("SELECT name FROM streams WHERE id = ?1")
                .and_then(|mut statement| statement.query_row([number], |row| row.get(0)))
                .map_err(error::sql)?;
            let Ok(StreamId::Session(session)) = name.parse() else { continue };
            listed.insert(session, Listed { session, head: tip.head(), ended: tip.ended });
        }
        Ok(listed.into_values().rev().filter(|listed| !(unfinished_only && listed.ended)).collect())
    }

    /// Sessions as the table of heads has them.
    fn listed(
        &self,
        unfinished_only: bool,
    ) -> rusqlite::Result<std::collections::BTreeMap<SessionId, Listed>> {
        let mut statement = self.conn.prepare_cached(if unfinished_only {
            "SELECT s.name, h.seq, h.hash, h.ended FROM heads h INDEXED BY heads_open
             JOIN streams s ON s.id = h.stream WHERE h.ended = 0"
        } else {
            "SELECT s.name, h.seq, h.hash, h.ended FROM heads h JOIN streams s ON s.id = h.stream"
        })?;
        let mut rows = statement.query([])?;
        let mut listed = std::collections::BTreeMap::new();
        while let Some(row) = rows.next()? {
            if let Ok(StreamId::Session(session)) = row.get_ref(0)?.as_str()?.parse() {
                let head = Head { seq: row.get::<_, i64>(1)? as u64, hash: Digest(row.get(2)?) };
                listed.insert(session, Listed { session, head, ended: row.get(3)? });
            }
        }
        Ok(listed)
    }

    pub(crate) fn inbox(&self, session: SessionId) -> Result<Vec<Mail>, Error> {
        inbox::list(&self.conn, session).map_err(error::sql)
    }

    pub(crate) fn inbox_sessions(&self) -> Result<Vec<SessionId>, Error> {
        inbox::sessions(&self.conn).map_err(error::sql)
    }

    pub(crate) fn holder(&self, session: SessionId) -> Result<Option<Lease>, Error> {
        leases::holder(&self.conn, session)
    }

    /// Sound snapshots, newest first.
    pub(crate) fn snapshots(&mut self, stream: StreamId) -> Result<Vec<Snapshot>, Error> {
        let list = match self.heads.number(&self.conn, stream) {
            Ok(Some(number)) => snapshots::list(&self.conn, stream, number),
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        Ok(list.map_err(error::sql)?.into_iter().flatten().collect())
    }

    pub(crate) fn blob(&self, digest: Digest) -> Result<Vec<u8>, Fault> {
        blobs::read(&self.conn, &self.blobs, digest)
    }

    pub(crate) fn open_blob(&self, digest: Digest) -> Result<Box<dyn BufRead + Send>, Fault> {
        blobs::open(&self.conn, &self.blobs, digest)
    }
}

fn damaged(stream: StreamId, seq: Seq, why: &str) -> Error {
    Error::Corrupt(format!("{stream}: event {seq}: {why}"))
}
