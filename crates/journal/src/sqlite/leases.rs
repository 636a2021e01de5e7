//! Leases: who may execute a session. The fence survives a release and is never used twice.
//!
//! Knows nothing of OS locks and processes; whoever forces a lease has proved its owner dead. Start at [`Tx::acquire`].

use super::error::{self, Stop};
use super::inbox::key;
use super::writer::Tx;
use crate::frame;
use crate::rules::{self, Held};
use contract::journal::{Error, Lease};
use contract::{Fence, SessionId, Timestamp, limits};
use rusqlite::{Connection, OptionalExtension};

/// A lease as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Empty after a release.
    pub(crate) owner: String,
    pub(crate) fence: Fence,
    pub(crate) until: Timestamp,
}

impl Row {
    pub(crate) fn held(&self) -> Held {
        Held { fence: self.fence, held: !self.owner.is_empty() }
    }

    fn lease(self, session: SessionId) -> Lease {
        Lease { session, owner: self.owner, fence: self.fence, until: self.until }
    }

    fn seal(&self, session: SessionId) -> i64 {
        let (fence, until) = (self.fence.to_le_bytes(), self.until.0.to_le_bytes());
        frame::seal(&[&key(session), self.owner.as_bytes(), &fence, &until])
    }

    fn is(&self, lease: &Lease) -> bool {
        self.owner == lease.owner && self.fence == lease.fence
    }
}

impl Tx<'_> {
    /// The lease of a session, if it ever had one.
    pub(crate) fn lease(&mut self, session: SessionId) -> Result<Option<Row>, Stop> {
        if let Some(row) = self.leases.get(&session) {
            return Ok(row.clone());
        }
        if self.leases.len() >= limits::JOURNAL_HEADS_KEPT {
            self.leases.clear();
        }
        let row = read(self.conn, session).map_err(Stop::checking)?;
        self.leases.insert(session, row.clone());
        Ok(row)
    }

    /// Takes a free or lapsed lease, or any when forced; else says who holds it.
    pub(crate) fn acquire(
        &mut self,
        session: SessionId,
        owner: &str,
        now: Timestamp,
        force: bool,
    ) -> Result<Result<Lease, Lease>, Stop> {
        let fence = match self.lease(session)? {
            None => 1,
            Some(row) if force || row.owner.is_empty() || rules::lapsed(row.until, now) => row.fence + 1,
            Some(row) => return Ok(Err(row.lease(session))),
        };
        let row = Row { owner: owner.to_owned(), fence, until: now.plus(limits::LEASE_MS) };
        self.store_lease(session, row.clone())?;
        Ok(Ok(row.lease(session)))
    }

    /// Prolongs those that are still theirs.
    pub(crate) fn renew(&mut self, leases: &[Lease], now: Timestamp) -> Result<Vec<Lease>, Stop> {
        let mut renewed = Vec::with_capacity(leases.len());
        for lease in leases {
            if let Some(row) = self.lease(lease.session)?.filter(|row| row.is(lease)) {
                let row = Row { until: now.plus(limits::LEASE_MS), ..row };
                self.store_lease(lease.session, row.clone())?;
                renewed.push(row.lease(lease.session));
            }
        }
        Ok(renewed)
    }

    /// Gives a lease back; one that changed hands is not the caller's to give.
    pub(crate) fn release(&mut self, lease: &Lease) -> Result<(), Stop> {
        match self.lease(lease.session)?.filter(|row| row.is(lease)) {
            Some(row) => self.store_lease(lease.session, Row { owner: String::new(), ..row })?,
            None => return Ok(()),
        }
        // The session comes to rest: a commit is due anyway, and from here on the end of its log is accounted for.
        Ok(self.heads.flush(self.conn)?)
    }

    fn store_lease(&mut self, session: SessionId, row: Row) -> Result<(), Stop> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO leases (session, owner, fence, until, seal) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((
                key(session),
                &row.owner,
                row.fence as i64,
                row.until.0 as i64,
                row.seal(session),
            ))?;
        self.leases.insert(session, Some(row));
        Ok(())
    }
}

/// Who holds a session.
pub(crate) fn holder(conn: &Connection, session: SessionId) -> Result<Option<Lease>, Error> {
    let row = read(conn, session)?.filter(|row| !row.owner.is_empty());
    Ok(row.map(|row| row.lease(session)))
}

fn read(conn: &Connection, session: SessionId) -> Result<Option<Row>, Error> {
    let found = conn
        .prepare_cached("SELECT session, owner, fence, until, seal FROM leases WHERE session = ?1")
        .and_then(|mut statement| statement.query_row([key(session)], |row| Ok(sound(row))).optional())
        .map_err(error::sql)?;
    match found {
        None => Ok(None),
        Some(Some((_, row))) => Ok(Some(row)),
        Some(None) => Err(Error::Corrupt(format!("the lease of session {session} is not what was written"))),
    }
}

/// Whose rows are not what was written; `None` where not even that can be read.
pub(crate) fn damaged(conn: &Connection) -> rusqlite::Result<Vec<Option<SessionId>>> {
    let mut statement = conn.prepare("SELECT session, owner, fence, until, seal FROM leases")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if sound(row).is_none() {
            found.push(row.get(0).ok().map(|bytes| SessionId(u128::from_be_bytes(bytes))));
        }
    }
    Ok(found)
}

/// Every sound row, one by one.
pub(crate) fn each(conn: &Connection, mut f: impl FnMut(SessionId, Row)) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare("SELECT session, owner, fence, until, seal FROM leases ORDER BY session")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some((session, found)) = sound(row) {
            f(session, found);
        }
    }
    Ok(())
}

fn sound(row: &rusqlite::Row<'_>) -> Option<(SessionId, Row)> {
    let session = SessionId(u128::from_be_bytes(row.get(0).ok()?));
    let found = Row {
        owner: row.get(1).ok()?,
        fence: row.get::<_, i64>(2).ok()? as u64,
        until: Timestamp(row.get::<_, i64>(3).ok()? as u64),
    };
    (row.get::<_, i64>(4).ok()? == found.seal(session)).then_some((session, found))
}
