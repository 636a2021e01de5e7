//! Leases: who may execute a session. The fence survives a release and is never used twice. A row that is not what was
//! written gives nobody authority: it counts as lapsed, and whoever may force it gets a fence far above it.
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
        let row = match read(self.conn, session).map_err(Stop::Abort)? {
            Found::Nothing => None,
            Found::Sound(row) => Some(row),
            Found::Damaged { .. } => return Err(Stop::Refuse(damage(session))),
        };
        self.leases.insert(session, row.clone());
        Ok(row)
    }

    /// The fence that follows on what is stored of a session's lease.
    fn next_fence(
        &mut self,
        session: SessionId,
        now: Timestamp,
        force: bool,
    ) -> Result<Result<Fence, Lease>, Stop> {
        let row = match self.lease(session) {
            // Whoever forces it has proved that nobody executes the session; what is left is to be above all fences.
            Err(Stop::Refuse(_)) if force => match read(self.conn, session).map_err(Stop::Abort)? {
                Found::Damaged { fence } => return Ok(Ok(beyond(fence))),
                Found::Nothing => None,
                Found::Sound(row) => Some(row),
            },
            read => read?,
        };
        Ok(match row {
            None => Ok(1),
            Some(row) if force || row.owner.is_empty() || rules::lapsed(row.until, now) => Ok(row.fence + 1),
            Some(row) => Err(row.lease(session)),
        })
    }

    /// Takes a free or lapsed lease, or any when forced, a damaged one too; else says who holds it.
    pub(crate) fn acquire(
        &mut self,
        session: SessionId,
        owner: &str,
        now: Timestamp,
        force: bool,
    ) -> Result<Result<Lease, Lease>, Stop> {
        let fence = match self.next_fence(session, now, force)? {
            Ok(fence) => fence,
            Err(held) => return Ok(Err(held)),
        };
        let row = Row { owner: owner.to_owned(), fence, until: now.plus(limits::LEASE_MS) };
        self.store_lease(session, row.clone())?;
        Ok(Ok(row.lease(session)))
    }

    /// Prolongs those that are still theirs.
    pub(crate) fn renew(&mut self, leases: &[Lease], now: Timestamp) -> Result<Vec<Lease>, Stop> {
        let mut renewed = Vec::with_capacity(leases.len());
        for lease in leases {
            let row = match self.lease(lease.session) {
                // Lost, and no reason to lose the others.
                Err(Stop::Refuse(_)) => None,
                read => read?,
            };
            if let Some(row) = row.filter(|row| row.is(lease)) {
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
    Ok(match read(conn, session)? {
        Found::Sound(row) if !row.owner.is_empty() => Some(row.lease(session)),
        _ => None,
    })
}

/// What is stored of a session's lease.
enum Found {
    Nothing,
    Sound(Row),
    /// Not what was written; its fence as it stands there.
    Damaged {
        fence: Fence,
    },
}

fn read(conn: &Connection, session: SessionId) -> Result<Found, Error> {
    let read = |row: &rusqlite::Row<'_>| {
        let fence = row.get::<_, i64>(2).unwrap_or_default().unsigned_abs();
        Ok(sound(row).map_or(Found::Damaged { fence }, |(_, row)| Found::Sound(row)))
    };
    conn.prepare_cached("SELECT session, owner, fence, until, seal FROM leases WHERE session = ?1")
        .and_then(|mut statement| statement.query_row([key(session)], read).optional())
        .map(|found| found.unwrap_or(Found::Nothing))
        .map_err(error::sql)
}

fn damage(session: SessionId) -> Error {
    Error::Corrupt(format!("the lease of session {session} is not what was written"))
}

/// Fences from one repair to the next: more than any session is ever taken over.
const LEAP: Fence = 1 << 20;
/// Fences stay below this; what reads higher was damaged upwards.
const HIGHEST: Fence = 1 << 40;

/// A fence above all that can have been given out, going by one that may have been altered.
fn beyond(fence: Fence) -> Fence {
    (fence % HIGHEST / LEAP + 1) * LEAP
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::block_on;
    use crate::sqlite::{Options, Sqlite, schema};
    use contract::StreamId;
    use contract::journal::{Append, Batch, Journal};

    const SESSION: SessionId = SessionId(7);

    fn damaged(dir: &std::path::Path, column: &str) -> Sqlite {
        let conn = Connection::open(dir.join(schema::FILE)).unwrap();
        assert_eq!(conn.execute(&format!("UPDATE leases SET {column}"), []).unwrap(), 1);
        drop(conn);
        Sqlite::open(dir, Options::default()).unwrap()
    }

    fn append(store: &Sqlite, expected: u64, fence: Fence) -> Result<u64, Error> {
        let stream = StreamId::Session(SESSION);
        let records = vec![b"{}".to_vec()];
        let append = Append { stream, expected, fence: Some(fence), records, ended: false };
        block_on(store.append(Batch { appends: vec![append], ..Batch::default() })).map(|heads| heads[0].seq)
    }

    #[test]
    fn a_damaged_lease_is_nobodys_and_is_replaced_by_who_may_force_it() {
        for column in ["owner = 'another'", "fence = fence + 1", "fence = 0", "until = 1", "seal = 3"] {
            let dir = tempfile::tempdir().unwrap();
            let store = Sqlite::open(dir.path(), Options::default()).unwrap();
            let take = |store: &Sqlite, force| {
                block_on(store.acquire(SESSION, "engine".into(), Timestamp(1), force))
            };
            let old = take(&store, false).unwrap().unwrap();
            append(&store, 0, old.fence).unwrap();
            drop(store);
            let store = damaged(dir.path(), column);
            assert_eq!(block_on(store.holder(SESSION)), Ok(None), "{column}");
            assert_eq!(block_on(store.renew(vec![old.clone()], Timestamp(2))), Ok(vec![]), "{column}");
            assert!(matches!(append(&store, 1, old.fence), Err(Error::Corrupt(_))), "{column}");
            assert!(matches!(take(&store, false), Err(Error::Corrupt(_))), "{column}");
            let new = take(&store, true).unwrap().unwrap();
            assert!(new.fence > old.fence + 1, "{column}: {}", new.fence);
            assert!(matches!(append(&store, 1, old.fence), Err(Error::Fenced { .. })), "{column}");
            assert_eq!(append(&store, 1, new.fence), Ok(2), "{column}");
            assert_eq!(block_on(store.verify()).unwrap().damage, [], "{column}");
            let next = take(&store, true).unwrap().unwrap();
            assert_eq!(next.fence, new.fence + 1, "{column}");
        }
    }

    #[test]
    fn a_fence_after_damage_is_above_every_one_there_was() {
        for given in [1, 2, 77, LEAP - 2, LEAP + 5] {
            // Bits above what any session reaches between two repairs, and upwards, change nothing for the worse.
            for bit in (0..20).chain(40..63) {
                assert!(beyond(given ^ (1 << bit)) > given, "{given}, bit {bit}");
            }
        }
        assert!(beyond(u64::MAX / 2) < HIGHEST * 2);
    }
}
