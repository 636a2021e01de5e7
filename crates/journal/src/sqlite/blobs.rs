//! Reading blobs out of rows and files, and sweeping out those nobody refers to.
//!
//! Start at [`read`] and [`Sqlite::sweep_blobs`].

use super::Sqlite;
use super::error;
use super::heads::Heads;
use super::schema;
use crate::blob::{self, Name};
use crate::body;
use contract::journal::Error;
use contract::{Digest, Fault, Kind, limits};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use std::collections::HashSet;
use std::fs::{self, TryLockError};
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

/// A moment of the store. What was stored or referred to after it, no sweep that goes by it takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    blob: i64,
    log: i64,
}

/// What a sweep took away (or would).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
    /// Files that belonged to no blob.
    pub files: u64,
}

/// Hex digits of a digest.
const DIGITS: usize = 64;

/// A blob as it was found, and found to be what its address says.
enum Found {
    Bytes(Vec<u8>),
    /// Without envelope, at its beginning.
    File(fs::File),
}

/// The bytes at this address.
pub(crate) fn read(conn: &Connection, blobs: &Path, digest: Digest) -> Result<Vec<u8>, Fault> {
    let mut file = match find(conn, blobs, digest)? {
        Found::Bytes(bytes) => return Ok(bytes),
        Found::File(file) => file,
    };
    let failed = |error: std::io::Error| blob::fault(digest, "blob-missing", &format!("its file: {error}"));
    let size = file.metadata().map_err(failed)?.len();
    if size > limits::BLOB_BYTES as u64 {
        let what = format!("blob {digest} has {size} bytes, too many to be read at once");
        let fault = Fault::new(Kind::Permanent, "blob-large", what);
        return Err(
            fault.hint(format!("the tools read and search, with the path blob:{digest}, go through it"))
        );
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The same to be read piece by piece.
pub(crate) fn open(
    conn: &Connection,
    blobs: &Path,
    digest: Digest,
) -> Result<Box<dyn BufRead + Send>, Fault> {
    Ok(match find(conn, blobs, digest)? {
        Found::Bytes(bytes) => Box::new(Cursor::new(bytes)),
        Found::File(file) => Box::new(BufReader::with_capacity(limits::BLOB_ROW_BYTES, file)),
    })
}

/// Is it what its address says?
pub(crate) fn check(conn: &Connection, blobs: &Path, digest: Digest) -> Result<(), Fault> {
    find(conn, blobs, digest).map(drop)
}

fn find(conn: &Connection, blobs: &Path, digest: Digest) -> Result<Found, Fault> {
    let row: Option<Option<Vec<u8>>> = conn
        .prepare_cached("SELECT bytes FROM blobs WHERE digest = ?1")
        .and_then(|mut statement| statement.query_row([digest.0], |row| row.get(0)).optional())
        .map_err(|error| error::sql(error).fault())?;
    let packed = match row {
        None => return Err(blob::fault(digest, "blob-missing", "it was never stored here")),
        Some(Some(bytes)) => bytes,
        Some(None) => {
            let raw = blob::raw(blobs, digest).map_err(|why| blob::fault(digest, "blob-damaged", &why))?;
            match raw {
                Some(file) => return Ok(Found::File(file)),
                None => fs::read(blob::path(blobs, digest))
                    .map_err(|error| blob::fault(digest, "blob-missing", &format!("its file: {error}")))?,
            }
        }
    };
    let bytes = blob::open(digest, &packed).map_err(|why| blob::fault(digest, "blob-damaged", why))?;
    Ok(Found::Bytes(bytes))
}

impl Sqlite {
    /// The present moment, to be taken before the set of live digests for [`Sqlite::sweep_blobs`] is computed.
    /// `Busy` while another process may write: it may have stored a blob that it will mention only later. `Corrupt`
    /// where a record is damaged: nobody knows what it mentions. Blocks.
    pub fn mark(&self) -> Result<Mark, Error> {
        let Some(present) = &self.present else {
            return Err(Error::ReadOnly(format!("{} was opened for reading", self.dir().display())));
        };
        let failed = |error: std::io::Error| error::io(self.dir(), &error);
        present.unlock().map_err(failed)?;
        // Alone for this moment: whoever wrote before is gone, and what it never mentioned nobody will.
        let marked = match present.try_lock() {
            Ok(()) => self.moment(),
            Err(TryLockError::WouldBlock) => Err(Error::Busy("another kapell has it open".into())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        };
        present.unlock().and_then(|()| present.lock_shared()).map_err(failed)?;
        marked
    }

    fn moment(&self) -> Result<Mark, Error> {
        let conn = schema::another(&self.file())?;
        let mut heads = Heads::default();
        heads.catch_up(&conn)?;
        heads.whole()?;
        conn.query_row(
            "SELECT coalesce((SELECT max(id) FROM blobs), 0), coalesce((SELECT max(id) FROM log), 0)",
            [],
            |row| Ok(Mark { blob: row.get(0)?, log: row.get(1)? }),
        )
        .map_err(error::sql)
    }

    /// Removes blobs outside `live` that were stored up to `mark` and that no record appended since mentions.
    /// Other processes may run meanwhile. Blocks.
    pub fn sweep_blobs(&self, live: &HashSet<Digest>, mark: Mark, dry_run: bool) -> Result<Swept, Error> {
        let mut conn = schema::connect(&self.file(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut swept = Swept::default();
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error::sql)?;
        // What another version has written meanwhile may mention blobs in ways unknown here.
        let (found, known) = (schema::version(&tx, u32::MAX)?, schema::newest(schema::STEPS));
        if found != known {
            return Err(Error::Newer { found, known });
        }
        for (id, size) in unreferenced(&tx, live, mark)? {
            swept.blobs += 1;
            swept.bytes += size;
            if !dry_run {
                tx.execute("DELETE FROM blobs WHERE id = ?1", [id]).map_err(error::sql)?;
            }
        }
        if dry_run {
            return Ok(swept);
        }
        tx.commit().map_err(error::sql)?;
        // Files go only after their rows are durably gone, and under the write lock: every writer places a file and
        // its row inside one transaction, so a file without a row is nobody's.
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error::sql)?;
        swept.files = remove_orphans(&tx, &self.dir().join(schema::BLOBS))?;
        tx.rollback().map_err(error::sql)?;
        Ok(swept)
    }
}

/// Row and size of every blob nobody refers to.
fn unreferenced(conn: &Connection, live: &HashSet<Digest>, mark: Mark) -> Result<Vec<(i64, u64)>, Error> {
    let mentioned = since(conn, mark.log).map_err(error::sql)?;
    let mentioned =
        mentioned.ok_or_else(|| Error::Corrupt(format!("a row of the log after {} is damaged", mark.log)))?;
    outside(conn, |digest| live.contains(digest) || mentioned.contains(digest), mark).map_err(error::sql)
}

/// What records appended after this row mention; `None` when one of them is damaged, or another version's.
fn since(conn: &Connection, row: i64) -> rusqlite::Result<Option<HashSet<Digest>>> {
    let mut mentioned = HashSet::new();
    let mut statement = conn.prepare("SELECT records, codec FROM log WHERE id > ?1")?;
    let mut rows = statement.query([row])?;
    while let Some(row) = rows.next()? {
        let Some(records) = body::unpack(row.get(1)?, row.get(0)?) else { return Ok(None) };
        mentions(&records, &mut mentioned);
    }
    Ok(Some(mentioned))
}

fn outside(
    conn: &Connection,
    kept: impl Fn(&Digest) -> bool,
    mark: Mark,
) -> rusqlite::Result<Vec<(i64, u64)>> {
    let mut found = Vec::new();
    let mut statement = conn.prepare("SELECT id, size, digest FROM blobs WHERE id <= ?1")?;
    let mut rows = statement.query([mark.blob])?;
    while let Some(row) = rows.next()? {
        let digest = Digest(row.get(2)?);
        if !kept(&digest) {
            found.push((row.get(0)?, row.get::<_, i64>(1)? as u64));
        }
    }
    Ok(found)
}

/// Everything that reads like a digest.
fn mentions(bytes: &[u8], found: &mut HashSet<Digest>) {
    for run in bytes.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() == DIGITS) {
        found.extend(std::str::from_utf8(run).ok().and_then(|text| text.parse::<Digest>().ok()));
    }
}

fn remove_orphans(conn: &Connection, blobs: &Path) -> Result<u64, Error> {
    let failed = |error: std::io::Error| error::io(blobs, &error);
    let mut removed = 0;
    let mut known =
        conn.prepare("SELECT 1 FROM blobs WHERE digest = ?1 AND bytes IS NULL").map_err(error::sql)?;
    for entry in fs::read_dir(blobs).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let orphan = match blob::name(&entry.file_name().to_string_lossy()) {
            Name::Blob(digest) => !known.exists([digest.0]).map_err(error::sql)?,
            Name::Unfinished => true,
            Name::Foreign => false,
        };
        if orphan {
            fs::remove_file(entry.path()).map_err(failed)?;
            removed += 1;
        }
    }
    Ok(removed)
}
