//! Where every stream stands, as one connection knows it.
//!
//! The table `heads` is complete up to row `flushed.log` of the log; newer frames are found by scanning the log
//! from there, so that a commit need not touch the table. Start at [`Heads::catch_up`] and [`Heads::tip`].

use super::error;
use super::wounds::Wounds;
use crate::body;
use crate::frame::Header;
use contract::journal::{Error, Head};
use contract::{Digest, Seq, StreamId, limits};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::HashMap;

/// Headers from a row on. The columns are those of [`header`], in its order.
pub(super) const HEADERS: &str =
    "SELECT id, stream, first, count, prev, nth, ended, hash, seal FROM log WHERE id > ?1 ORDER BY id";
/// The last row of the log.
pub(super) const LAST: &str = "SELECT coalesce(max(id), 0) FROM log";
/// One header, the records and their codec.
pub(crate) const FRAME: &str =
    "SELECT id, stream, first, count, prev, nth, ended, hash, seal, records, codec FROM log WHERE id = ?1";

/// Where one stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    /// Its number in the store; `None` before its first event.
    pub(crate) stream: Option<i64>,
    pub(crate) seq: Seq,
    pub(crate) hash: Digest,
    /// Its last frame; 0 = none.
    pub(crate) last: i64,
    /// Its frames.
    pub(crate) nth: u64,
    pub(crate) ended: bool,
}

impl Tip {
    pub(crate) fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    pub(super) fn after(frame: &Header) -> Self {
        Self {
            stream: Some(frame.stream),
            seq: frame.last(),
            hash: frame.hash,
            last: frame.id,
            nth: frame.nth,
            ended: frame.ended,
        }
    }
}

/// A cache of tips, right as of the transaction in which `catch_up` ran last.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    tips: HashMap<i64, Tip>,
    numbers: HashMap<StreamId, i64>,
    /// Last row of the log that the tips account for.
    seen: i64,
    /// Last row of the log that the table accounts for.
    flushed: i64,
    /// What is damaged after that row.
    wounds: Wounds,
}

impl Heads {
    /// Takes in what was appended since, by whomever.
    pub(crate) fn catch_up(&mut self, conn: &Connection) -> Result<(), Error> {
        self.scan(conn).map_err(error::sql)
    }

    fn scan(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.flushed = conn.prepare_cached("SELECT log FROM flushed")?.query_row([], |row| row.get(0))?;
        if self.flushed > self.seen {
            self.restart();
        }
        if !self.wounds.any() && !self.follow(conn)? {
            // Damage: from the beginning again, this time asking of every frame whether it fits the one before it.
            self.restart();
            self.wounds.met();
        }
        if self.wounds.any() {
            super::wounds::follow(conn, self.seen, &mut self.tips, &mut self.wounds)?;
            self.seen = conn.prepare_cached(LAST)?.query_row([], |row| row.get(0))?;
        }
        if self.tips.len() > limits::JOURNAL_HEADS_KEPT {
            self.tips.retain(|_, tip| tip.last > self.flushed);
        }
        Ok(())
    }

    /// As the table of heads has it, with nothing after it.
    fn restart(&mut self) {
        self.tips.clear();
        self.wounds = Wounds::default();
        self.seen = self.flushed;
    }

    /// Takes in sound frames; false at the first that is not, or is missing.
    fn follow(&mut self, conn: &Connection) -> rusqlite::Result<bool> {
        let mut statement = conn.prepare_cached(HEADERS)?;
        let mut rows = statement.query([self.seen])?;
        while let Some(row) = rows.next()? {
            match header(row) {
                Some(frame) if frame.id == self.seen + 1 => self.advance(&frame),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Nothing of this is known any more: the transaction it came from was rolled back.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Where a stream stands.
    pub(crate) fn tip(&mut self, conn: &Connection, stream: StreamId) -> Result<Tip, Error> {
        let Some(number) = self.number(conn, stream).map_err(error::sql)? else {
            let hash = crate::rules::genesis(stream);
            return Ok(Tip { stream: None, seq: 0, hash, last: 0, nth: 0, ended: false });
        };
        if let Some(hurt) = self.wounds.hurt(number) {
            return Err(hurt.error(stream));
        }
        if let Some(tip) = self.tips.get(&number) {
            return Ok(*tip);
        }
        let tip = from_table(conn, number).map_err(error::sql)?;
        let tip = tip.ok_or_else(|| Error::Corrupt(format!("{stream}: its head does not match the log")))?;
        self.tips.insert(number, tip);
        Ok(tip)
    }

    /// A stream's number, when it exists.
    pub(crate) fn number(&mut self, conn: &Connection, stream: StreamId) -> rusqlite::Result<Option<i64>> {
        if let Some(number) = self.numbers.get(&stream) {
            return Ok(Some(*number));
        }
        let number = conn
            .prepare_cached("SELECT id FROM streams WHERE name = ?1")?
            .query_row([stream.to_string()], |row| row.get(0))
            .optional()?;
        if let Some(number) = number {
            self.name(stream, number);
        }
        Ok(number)
    }

    /// A stream came into being.
    pub(crate) fn name(&mut self, stream: StreamId, number: i64) {
        if self.numbers.len() >= limits::JOURNAL_HEADS_KEPT {
            self.numbers.clear();
        }
        self.numbers.insert(stream, number);
    }

    /// The row the next frame takes.
    pub(crate) fn next_row(&self) -> i64 {
        self.seen + 1
    }

    /// A frame was written or met.
    pub(crate) fn advance(&mut self, frame: &Header) {
        self.seen = frame.id;
        self.tips.insert(frame.stream, Tip::after(frame));
    }

    /// May events follow this tip? Not where a newer frame of the stream may be the one that is damaged.
    pub(crate) fn sound(&self, stream: StreamId, tip: &Tip) -> Result<(), Error> {
        self.wounds.clear_of(stream, tip)
    }

    /// Refuses where anything near the end of the log is damaged, whosever it is.
    pub(crate) fn whole(&self) -> Result<(), Error> {
        match self.wounds.any() {
            true => Err(Error::Corrupt(format!("the log is damaged after row {}", self.flushed))),
            false => Ok(()),
        }
    }

    /// How far a stream can be read, and what is in the way there.
    pub(crate) fn reach(
        &mut self,
        conn: &Connection,
        stream: StreamId,
    ) -> Result<(Tip, Option<Error>), Error> {
        let number = self.number(conn, stream).map_err(error::sql)?;
        match number.and_then(|number| self.wounds.hurt(number)) {
            Some(hurt) => Ok((hurt.before, Some(hurt.error(stream)))),
            None => self.tip(conn, stream).map(|tip| (tip, None)),
        }
    }

    /// Tips of streams that moved since the table was brought up to date.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &Tip> {
        self.tips.values().filter(|tip| tip.last > self.flushed)
    }

    /// Brings the table up to date, once enough frames came.
    pub(crate) fn flush_if_due(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if (self.seen - self.flushed).unsigned_abs() < limits::JOURNAL_HEADS_FRAMES {
            return Ok(());
        }
        self.flush(conn)
    }

    /// Brings the table up to date: from then on the end of the log cannot be missing unnoticed. Past damage it stays
    /// as it is, so that everybody who opens the store meets the damage again.
    pub(crate) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.seen == self.flushed || self.wounds.any() {
            return Ok(());
        }
        let mut put = conn.prepare_cached(
            "INSERT OR REPLACE INTO heads (stream, seq, hash, last, nth, ended) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for tip in self.recent() {
            put.execute((tip.stream, tip.seq as i64, tip.hash.0, tip.last, tip.nth as i64, tip.ended))?;
        }
        conn.prepare_cached("UPDATE flushed SET log = ?1")?.execute([self.seen])?;
        self.flushed = self.seen;
        Ok(())
    }
}

/// The header in a row of the log; `None` when it is not what was written.
pub(crate) fn header(row: &Row<'_>) -> Option<Header> {
    let number = |column| row.get::<_, i64>(column).ok();
    let natural = |column| number(column).and_then(|value| u64::try_from(value).ok());
    let header = Header {
        id: number(0)?,
        stream: number(1)?,
        first: natural(2)?,
        count: natural(3)?,
        prev: number(4)?,
        nth: natural(5)?,
        ended: number(6)? != 0,
        hash: Digest(row.get(7).ok()?),
    };
    (number(8)? == header.seal()).then_some(header)
}

/// The record bytes in a row of [`FRAME`]; `None` when they are not what was written.
pub(crate) fn records(row: &Row<'_>) -> rusqlite::Result<Option<Vec<u8>>> {
    Ok(body::unpack(row.get(10)?, row.get(9)?))
}

/// One frame's header; `None` when there is none or it is damaged.
pub(crate) fn frame(conn: &Connection, id: i64) -> rusqlite::Result<Option<Header>> {
    let found = conn.prepare_cached(FRAME)?.query_row([id], |row| Ok(header(row))).optional()?;
    Ok(found.flatten())
}

/// The tip as the table has it, when the log agrees.
fn from_table(conn: &Connection, number: i64) -> rusqlite::Result<Option<Tip>> {
    let Some(tip) = listed(conn, number)? else { return Ok(None) };
    Ok(frame(conn, tip.last)?.filter(|frame| Tip::after(frame) == tip).map(|_| tip))
}

/// The tip as the table has it.
pub(super) fn listed(conn: &Connection, number: i64) -> rusqlite::Result<Option<Tip>> {
    conn.prepare_cached("SELECT seq, hash, last, nth, ended FROM heads WHERE stream = ?1")?
        .query_row([number], |row| {
            Ok(Tip {
                stream: Some(number),
                seq: row.get::<_, i64>(0)? as u64,
                hash: Digest(row.get(1)?),
                last: row.get(2)?,
                nth: row.get::<_, i64>(3)? as u64,
                ended: row.get(4)?,
            })
        })
        .optional()
}
