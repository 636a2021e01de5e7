//! Looking at what the port does not show: every lease, every waiting intent, which blobs there are. For `verify`.
//!
//! Changes nothing; reads row by row, so that a large store needs no memory. Start at [`Sqlite::audit`].

use super::error;
use super::inbox;
use super::leases;
use super::schema;
use super::{Sqlite, blobs};
use contract::intent::Intent;
use contract::journal::Error;
use contract::{Digest, Fault, Fence, SessionId, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use std::path::PathBuf;

/// A connection of its own to a store. Every call blocks.
#[derive(Debug)]
pub struct Audit {
    conn: Connection,
    blobs: PathBuf,
}

/// A lease, given back or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The session.
    pub session: SessionId,
    /// Who holds it; `None` after a release.
    pub owner: Option<String>,
    /// The newest fence that was given out.
    pub fence: Fence,
    /// When it lapses.
    pub until: Timestamp,
}

impl Sqlite {
    /// A look at the store beside what the port tells.
    pub fn audit(&self) -> Result<Audit, Error> {
        Ok(Audit { conn: schema::open_read_only(self.dir())?, blobs: self.dir().join(schema::BLOBS) })
    }
}

impl Audit {
    /// The number of a blob, when it is stored: from 1 to [`Audit::blobs`], and its own.
    pub fn blob(&self, digest: Digest) -> Result<Option<u64>, Error> {
        self.conn
            .prepare_cached("SELECT id FROM blobs WHERE digest = ?1")
            .and_then(|mut find| find.query_row([digest.0], |row| row.get::<_, i64>(0)).optional())
            .map(|id| id.map(i64::unsigned_abs))
            .map_err(error::sql)
    }

    /// Is a blob what its address says? Its digest is recomputed.
    pub fn check_blob(&self, digest: Digest) -> Result<(), Fault> {
        blobs::check(&self.conn, &self.blobs, digest)
    }

    /// The highest number of a blob.
    pub fn blobs(&self) -> Result<u64, Error> {
        self.conn
            .query_row("SELECT coalesce(max(id), 0) FROM blobs", [], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
            .map_err(error::sql)
    }

    /// How many blobs have a number for which this is false, and their uncompressed bytes.
    pub fn blobs_outside(&self, mut inside: impl FnMut(u64) -> bool) -> Result<(u64, u64), Error> {
        let mut sum = (0, 0);
        let mut run = || -> rusqlite::Result<()> {
            let mut statement = self.conn.prepare("SELECT id, size FROM blobs")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if !inside(row.get::<_, i64>(0)?.unsigned_abs()) {
                    sum = (sum.0 + 1, sum.1 + row.get::<_, i64>(1)?.unsigned_abs());
                }
            }
            Ok(())
        };
        run().map_err(error::sql)?;
        Ok(sum)
    }

    /// Every lease that is what was written.
    pub fn leases(&self, mut f: impl FnMut(Leased)) -> Result<(), Error> {
        leases::each(&self.conn, |session, row| {
            let owner = (!row.owner.is_empty()).then_some(row.owner);
            f(Leased { session, owner, fence: row.fence, until: row.until });
        })
        .map_err(error::sql)
    }

    /// Sessions whose leases are not what was written; `None` where not even whose it is can be read.
    pub fn damaged_leases(&self) -> Result<Vec<Option<SessionId>>, Error> {
        leases::damaged(&self.conn).map_err(error::sql)
    }

    /// Every intent that waits, oldest first; those that cannot be understood as what is wrong with them.
    pub fn mail(&self, mut f: impl FnMut(SessionId, Result<Intent, String>)) -> Result<(), Error> {
        inbox::each(&self.conn, &mut f).map_err(error::sql)
    }
}
