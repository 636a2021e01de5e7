//! Looking after the file: backup, compaction, figures for `doctor`. All of it blocks and uses a connection of its own.
//!
//! Start at [`Sqlite::backup`].

use super::Sqlite;
use super::error;
use super::schema;
use crate::blob;
use contract::Digest;
use contract::journal::Error;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Free pages are given back when they are at least one part in this many.
const FREE_PART: i64 = 4;
/// All pages in one step, so that no writer makes the copy start again.
const ALL_PAGES: i32 = -1;

/// Figures about a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Schema of the file.
    pub schema: u32,
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Bytes of the write-ahead log's file.
    pub wal_bytes: u64,
    /// Bytes inside the file that hold nothing.
    pub free_bytes: u64,
    /// Streams.
    pub streams: u64,
    /// Frames: appends to a stream.
    pub frames: u64,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes, uncompressed.
    pub blob_bytes: u64,
    /// Blobs that are files of their own.
    pub blob_files: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Intents that wait.
    pub inbox: u64,
    /// Sessions that were ever leased.
    pub leases: u64,
}

impl Sqlite {
    /// Copies the store, while it is used, into the directory `to`, which must not hold a store yet. The copy is a
    /// store of its own; it has been read back when this returns.
    pub fn backup(&self, to: &Path) -> Result<(), Error> {
        let failed = |path: &Path, error: std::io::Error| error::io(path, &error);
        let (file, blobs) = (to.join(schema::FILE), to.join(schema::BLOBS));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&blobs)
            .map_err(|error| failed(&blobs, error))?;
        if file.exists() {
            return Err(Error::Invalid(format!("{} exists; a backup replaces nothing", file.display())));
        }
        // Blobs first copied by name could miss one; copied after the file they are all there, since only a sweep
        // removes any. A copy that a sweep overtook is found out below and not kept.
        let unfinished = to.join(format!(".new-{}", schema::FILE));
        copy(&schema::another(&self.file())?, &unfinished)?;
        let conn =
            Connection::open_with_flags(&unfinished, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(error::sql)?;
        for digest in files(&conn).map_err(error::sql)? {
            let own = self.dir().join(schema::BLOBS);
            let damaged = |why: &str| Error::Corrupt(format!("blob {digest} cannot be copied: {why}"));
            if blob::raw(&own, digest).map_err(|why| damaged(&why))?.is_some() {
                let source = blob::raw_path(&own, digest);
                blob::copy_raw(&source, &blobs, digest).map_err(|error| failed(&blobs, error))?;
                continue;
            }
            let source = blob::path(&own, digest);
            let bytes = fs::read(&source).map_err(|error| failed(&source, error))?;
            blob::open(digest, &bytes).map_err(damaged)?;
            let packed = blob::Packed { digest, size: bytes.len(), bytes };
            blob::write_file(&blobs, &packed).map_err(|error| failed(&blobs, error))?;
        }
        drop(conn);
        blob::sync_dir(&blobs).map_err(|error| failed(&blobs, error))?;
        fs::rename(&unfinished, &file).map_err(|error| failed(&file, error))?;
        blob::sync_dir(to).map_err(|error| failed(to, error))
    }

    /// Merges the write-ahead log and, where it is worth it, rebuilds the file without its free pages.
    pub fn compact(&self) -> Result<(), Error> {
        let conn = schema::connect(&self.file(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let pragma = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(error::sql);
        pragma("PRAGMA wal_checkpoint(TRUNCATE)")?;
        let (free, all) = (pragma("PRAGMA freelist_count")?, pragma("PRAGMA page_count")?);
        if free > 0 && free * FREE_PART >= all {
            // Not auto_vacuum: its pointer pages would be dirtied by nearly every commit.
            conn.execute_batch("VACUUM").map_err(error::sql)?;
            pragma("PRAGMA wal_checkpoint(TRUNCATE)")?;
        }
        Ok(())
    }

    /// Figures about the store.
    pub fn stats(&self) -> Result<Stats, Error> {
        let conn = schema::open_read_only(self.dir())?;
        let number = |sql: &str| {
            conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|n| n as u64).map_err(error::sql)
        };
        let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        Ok(Stats {
            schema: number("PRAGMA user_version")? as u32,
            file_bytes: size(&self.file()),
            wal_bytes: size(&schema::wal(self.dir())),
            free_bytes: number("PRAGMA freelist_count")? * number("PRAGMA page_size")?,
            streams: number("SELECT count(*) FROM streams")?,
            frames: number("SELECT coalesce(max(id), 0) FROM log")?,
            blobs: number("SELECT count(*) FROM blobs")?,
            blob_bytes: number("SELECT coalesce(sum(size), 0) FROM blobs")?,
            blob_files: number("SELECT count(*) FROM blobs WHERE bytes IS NULL")?,
            snapshots: number("SELECT count(*) FROM snapshots")?,
            inbox: number("SELECT count(*) FROM inbox")?,
            leases: number("SELECT count(*) FROM leases")?,
        })
    }
}

/// Blobs that are files of their own.
fn files(conn: &Connection) -> rusqlite::Result<Vec<Digest>> {
    conn.prepare("SELECT digest FROM blobs WHERE bytes IS NULL")?
        .query_map([], |row| Ok(Digest(row.get(0)?)))?
        .collect()
}

/// A copy of the database file, made while it is used, read back and synced. Replaces an earlier copy of that name.
pub(crate) fn copy(from: &Connection, to: &Path) -> Result<(), Error> {
    let failed = |error: std::io::Error| error::io(to, &error);
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to).map_err(failed)?;
    let mut copy = Connection::open(to).map_err(error::sql)?;
    let step = Backup::new(from, &mut copy).and_then(|backup| backup.step(ALL_PAGES)).map_err(error::sql)?;
    if step != StepResult::Done {
        return Err(Error::Busy(format!("the copy to {} could not be finished", to.display())));
    }
    // The copy is marked as one with a write-ahead log; alone in its file it is safer to move about.
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(error::sql)?;
    let found: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(error::sql)?;
    if found != "ok" {
        return Err(Error::Corrupt(format!("the copy {} is not sound: {found}", to.display())));
    }
    copy.close().map_err(|(_, error)| error::sql(error))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(failed)
}
