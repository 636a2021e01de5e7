//! Damage in the part of the log that the table of heads does not cover: whose it is, and who may go on.
//!
//! Knows nothing of commits. A stream that lost a frame is refused; one that may have lost a frame is read but not
//! written; all others go on. Start at [`follow`].

use super::heads::{self, HEADERS, Tip};
use crate::frame::Header;
use contract::journal::Error;
use contract::{Digest, StreamId};
use rusqlite::{Connection, Row};
use std::collections::HashMap;

/// A stream that lost a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hurt {
    /// The row that is damaged or missing.
    row: i64,
    /// Where the stream stood before it.
    pub(super) before: Tip,
}

impl Hurt {
    pub(super) fn error(&self, stream: StreamId) -> Error {
        let (seq, row) = (self.before.seq + 1, self.row);
        Error::Corrupt(format!("{stream}: event {seq}: row {row} of the log is not what was written"))
    }
}

/// What is damaged, as far as it was met.
#[derive(Debug, Default)]
pub(super) struct Wounds {
    met: bool,
    hurt: HashMap<i64, Hurt>,
    /// The newest damaged row of which nobody can say whose it was; 0 = none.
    nobodys: i64,
}

impl Wounds {
    pub(super) fn any(&self) -> bool {
        self.met
    }

    pub(super) fn met(&mut self) {
        self.met = true;
    }

    pub(super) fn hurt(&self, stream: i64) -> Option<&Hurt> {
        self.hurt.get(&stream)
    }

    /// Frames of a stream name the one before them, so a stream with a sound newer frame has not lost that row; nor
    /// has one that does not exist yet.
    pub(super) fn clear_of(&self, stream: StreamId, tip: &Tip) -> Result<(), Error> {
        if tip.stream.is_none() || tip.last > self.nobodys {
            return Ok(());
        }
        let row = self.nobodys;
        Err(Error::Corrupt(format!(
            "row {row} of the log, near its end, is damaged and may have been the last one of {stream}"
        )))
    }

    fn lost(&mut self, stream: i64, row: i64, before: Tip) {
        self.hurt.entry(stream).or_insert(Hurt { row, before });
    }
}

/// Takes in the frames after row `seen`, asking of each whether it fits what came before it.
pub(super) fn follow(
    conn: &Connection,
    mut seen: i64,
    tips: &mut HashMap<i64, Tip>,
    wounds: &mut Wounds,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(HEADERS)?;
    let mut rows = statement.query([seen])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if id != seen + 1 {
            wounds.nobodys = id - 1;
        }
        seen = id;
        let Some(frame) = heads::header(row) else {
            match owner(conn, row, tips)? {
                Some(before) => wounds.lost(before.stream.unwrap_or_default(), id, before),
                None => wounds.nobodys = id,
            }
            continue;
        };
        let before = tip(conn, frame.stream, tips)?;
        if wounds.hurt.contains_key(&frame.stream) {
            continue;
        }
        if (frame.prev, frame.first, frame.nth) == (before.last, before.seq + 1, before.nth + 1) {
            tips.insert(frame.stream, Tip::after(&frame));
        } else {
            wounds.lost(frame.stream, frame.prev, before);
        }
    }
    Ok(())
}

/// Whose a damaged row was, as the tip before it. Its stream and its link to the frame before must say the same, or the
/// seal must tell which one of the two was altered; anything less would let a stream go on that lost an event.
fn owner(conn: &Connection, row: &Row<'_>, tips: &HashMap<i64, Tip>) -> rusqlite::Result<Option<Tip>> {
    let (claimed, prev) = (row.get::<_, i64>(1).ok(), row.get::<_, i64>(4).ok());
    let claimed = claimed.map(|stream| tip(conn, stream, tips)).transpose()?;
    if claimed.is_some_and(|tip| Some(tip.last) == prev) {
        return Ok(claimed);
    }
    let linked = match prev.map(|prev| heads::frame(conn, prev)).transpose()?.flatten() {
        Some(frame) => Some(tip(conn, frame.stream, tips)?),
        None => None,
    };
    let Some((read, seal)) = unsealed(row) else { return Ok(None) };
    let fits = |tip: &Tip| {
        let stream = tip.stream.unwrap_or_default();
        Header { stream, ..read }.seal() == seal || Header { stream, prev: tip.last, ..read }.seal() == seal
    };
    Ok([claimed, linked].into_iter().flatten().find(fits))
}

/// Where a stream stands before the row that is looked at.
fn tip(conn: &Connection, stream: i64, tips: &HashMap<i64, Tip>) -> rusqlite::Result<Tip> {
    let none = Tip { stream: Some(stream), seq: 0, hash: Digest::default(), last: 0, nth: 0, ended: false };
    match tips.get(&stream) {
        Some(tip) => Ok(*tip),
        None => Ok(heads::listed(conn, stream)?.unwrap_or(none)),
    }
}

/// The columns as they stand, and the seal that does not fit them.
fn unsealed(row: &Row<'_>) -> Option<(Header, i64)> {
    let number = |column| row.get::<_, i64>(column).ok();
    let header = Header {
        id: number(0)?,
        stream: number(1).unwrap_or_default(),
        first: number(2)? as u64,
        count: number(3)? as u64,
        prev: number(4).unwrap_or_default(),
        nth: number(5)? as u64,
        ended: number(6)? != 0,
        hash: Digest(row.get(7).ok()?),
    };
    Some((header, number(8)?))
}
