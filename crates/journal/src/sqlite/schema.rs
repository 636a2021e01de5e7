//! The file: its tables, its settings, its migrations.
//!
//! Knows nothing of what runs over it. Start at [`STEPS`], then [`open`].

use super::error;
use contract::journal::Error;
use contract::limits;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The store's one file in its directory.
pub(crate) const FILE: &str = "kapell.db";
/// Directory of large blobs.
pub(crate) const BLOBS: &str = "blobs";
/// Directory of copies made before a migration.
pub(crate) const BACKUPS: &str = "backups";
/// Held while a store is opened or migrated, so that two processes do not do it at once.
const LOCK: &str = "kapell.lock";
/// Locked shared by every process that may write to the store, for as long as it may.
const PRESENT: &str = "kapell.open";
/// "KAPL" in the file's header: tells our file from another program's.
const APPLICATION: i32 = 0x4b41_504c;
/// Bytes of a page. Every commit writes the last page of the log, and most the first page of the file, into the
/// write-ahead log: smaller ones write less, larger ones waste less at their ends.
pub(crate) const PAGE_BYTES: usize = 2048;
/// Prepared statements a connection keeps.
const STATEMENTS: usize = 64;
/// Page cache of a connection, KiB.
const CACHE_KIB: i64 = 4 * 1024;
/// Pause between two tries for the lock file.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// One migration: what brings a store to `version`.
pub(crate) struct Step {
    pub(crate) version: u32,
    pub(crate) sql: &'static str,
    /// What lets a connection that may not write read an older store as if the step had been taken; `None` = nothing does.
    pub(crate) view: Option<&'static str>,
}

/// All migrations, oldest first. A released step never changes.
///
/// One append is one row of `log`, appended by rowid, and in the common case the only page a commit dirties.
/// `heads` is complete up to row `flushed.log`; what came later is found by scanning the log from there.
/// `marks` is the sparse index: every 64th frame of a stream. There is no index per stream on the log.
/// A `seal` is a short hash over the rest of its row, where no other hash covers it.
/// `codec` says how `records` stand there (`body.rs`): 0, as they are, in every row of the first schema.
pub(crate) const STEPS: &[Step] = &[FIRST, PACKED];

const PACKED: Step = Step {
    version: 2,
    sql: "ALTER TABLE log ADD COLUMN codec INTEGER NOT NULL DEFAULT 0;",
    view: Some("CREATE TEMP VIEW log AS SELECT *, 0 AS codec FROM main.log;"),
};

const FIRST: Step = Step {
    version: 1,
    sql: "
CREATE TABLE log (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    nth INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    hash BLOB NOT NULL,
    records BLOB NOT NULL
) STRICT;
CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE heads (
    stream INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    last INTEGER NOT NULL,
    nth INTEGER NOT NULL,
    ended INTEGER NOT NULL
) STRICT;
CREATE INDEX heads_open ON heads (stream) WHERE ended = 0;
CREATE TABLE flushed (one INTEGER PRIMARY KEY CHECK (one = 1), log INTEGER NOT NULL) STRICT;
INSERT INTO flushed VALUES (1, 0);
CREATE TABLE marks (
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE inbox (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    session BLOB NOT NULL,
    intent TEXT NOT NULL,
    seal INTEGER NOT NULL
) STRICT;
CREATE INDEX inbox_session ON inbox (session);
CREATE TABLE inbox_keys (
    session BLOB NOT NULL,
    key TEXT NOT NULL,
    row INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (session, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    bytes BLOB
) STRICT;
CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    head BLOB NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (stream, seq)
) STRICT;
CREATE TABLE leases (
    session BLOB PRIMARY KEY,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    until INTEGER NOT NULL,
    seal INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
",
    view: None,
};

/// The newest schema of these steps.
pub(crate) fn newest(steps: &[Step]) -> u32 {
    steps.last().map_or(0, |step| step.version)
}

/// Makes the directory what it must be, opens the file for writing and brings it to the newest schema.
pub(crate) fn open(dir: &Path, steps: &[Step]) -> Result<Connection, Error> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| error::io(&path, &error)
    };
    for path in [dir.to_owned(), dir.join(BLOBS)] {
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(at(&path))?;
    }
    let file = dir.join(FILE);
    let _lock = lock(&dir.join(LOCK))?;
    // Made before SQLite makes it, so that it never exists with wider permissions; the log files inherit them.
    OpenOptions::new().append(true).create(true).mode(0o600).open(&file).map_err(at(&file))?;
    narrow(dir, 0o700);
    narrow(&file, 0o600);
    keep_log(dir)?;
    let mut conn = connect(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if version(&conn, newest(steps))? == 0 {
        keep_names(dir)?;
        // Of a file that has no page yet; an older store keeps the size it has.
        conn.pragma_update(None, "page_size", PAGE_BYTES as i64).map_err(error::sql)?;
    }
    conn.pragma_update(None, "journal_mode", "WAL").map_err(error::sql)?;
    conn.pragma_update(None, "synchronous", "FULL").map_err(error::sql)?;
    // The writer checkpoints by itself, after it has answered, and minds the errors.
    conn.pragma_update(None, "wal_autocheckpoint", 0).map_err(error::sql)?;
    migrate(&mut conn, dir, steps)?;
    crate::blob::sync_dir(dir).map_err(at(dir))?;
    Ok(conn)
}

/// A process that was killed between writing a commit and its fsync leaves a log that reads as whole. Who opens the store
/// next would tell of what a power cut can still take back: it is made durable before anybody reads it.
fn keep_log(dir: &Path) -> Result<(), Error> {
    let path = wal(dir);
    let kept = match File::open(&path) {
        Ok(file) if file.metadata().is_ok_and(|meta| meta.len() > 0) => {
            file.sync_data().and_then(|()| crate::blob::sync_dir(dir))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    match kept {
        Err(error) if !BEYOND_US.contains(&error.kind()) => Err(error::io(&path, &error)),
        _ => Ok(()),
    }
}

/// A store is no safer than the name of the directory it is in: while it is new, the directories above it are synced too,
/// since nobody knows which of them were made for it. A directory that may not be read or cannot be synced is passed over.
fn keep_names(dir: &Path) -> Result<(), Error> {
    for above in dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        match crate::blob::sync_dir(above) {
            Err(error) if !BEYOND_US.contains(&error.kind()) => return Err(error::io(above, &error)),
            _ => {}
        }
    }
    Ok(())
}

/// Opens the file for reading, an older one as it stands. Where the directory cannot be written and no log is pending, as it stands.
pub(crate) fn open_read_only(dir: &Path) -> Result<Connection, Error> {
    let file = dir.join(FILE);
    fs::metadata(&file).map_err(|error| error::io(&file, &error))?;
    keep_log(dir)?;
    let known = newest(STEPS);
    let found = match connect(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|conn| version(&conn, known).map(|found| (conn, found)))
    {
        Err(Error::ReadOnly(why)) => {
            let pending = fs::metadata(wal(dir)).is_ok_and(|wal| wal.len() > 0);
            if pending {
                return Err(Error::ReadOnly(format!(
                    "{} has an unmerged write-ahead log and its directory cannot be written ({why}); copy the directory to a writable place and read it there",
                    file.display()
                )));
            }
            let conn = connect(&immutable(&file), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let found = version(&conn, known)?;
            (conn, found)
        }
        other => other?,
    };
    let (conn, found) = found;
    for step in STEPS.iter().filter(|step| step.version > found) {
        let view = step.view.ok_or_else(|| {
            Error::ReadOnly(format!(
                "{} has schema {found}; opening it once for writing brings it to {known}",
                file.display()
            ))
        })?;
        conn.execute_batch(view).map_err(error::sql)?;
    }
    Ok(conn)
}

/// One more connection for reading to a store this process has open.
pub(crate) fn another(file: &Path) -> Result<Connection, Error> {
    connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Where the write-ahead log is.
pub(crate) fn wal(dir: &Path) -> PathBuf {
    dir.join(format!("{FILE}-wal"))
}

pub(crate) fn connect(file: &Path, access: OpenFlags) -> Result<Connection, Error> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(file, flags).map_err(error::sql)?;
    conn.busy_timeout(Duration::from_millis(limits::JOURNAL_BUSY_MS)).map_err(error::sql)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "cache_size", -CACHE_KIB).map_err(error::sql)?;
    conn.pragma_update(None, "trusted_schema", false).map_err(error::sql)?;
    Ok(conn)
}

/// The schema found; a newer one and another program's file are refused.
pub(crate) fn version(conn: &Connection, known: u32) -> Result<u32, Error> {
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(error::sql);
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(error::sql)?;
    if application != i64::from(APPLICATION) && (tables > 0 || found != 0) {
        return Err(Error::Corrupt(format!("{FILE} is not a store of Kapell")));
    }
    let found = u32::try_from(found).map_err(|_| Error::Corrupt(format!("schema number {found}")))?;
    if found > known {
        return Err(Error::Newer { found, known });
    }
    Ok(found)
}

/// Each step in a transaction of its own; a copy of the file first, when there is anything to lose.
fn migrate(conn: &mut Connection, dir: &Path, steps: &[Step]) -> Result<(), Error> {
    let found = version(conn, newest(steps))?;
    if found > 0 && found < newest(steps) {
        let backups = dir.join(BACKUPS);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&backups)
            .map_err(|error| error::io(&backups, &error))?;
        super::upkeep::copy(conn, &backups.join(format!("schema-{found}.db")))?;
    }
    for step in steps.iter().filter(|step| step.version > found) {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error::sql)?;
        tx.execute_batch(step.sql).map_err(error::sql)?;
        tx.pragma_update(None, "application_id", APPLICATION).map_err(error::sql)?;
        tx.pragma_update(None, "user_version", step.version).map_err(error::sql)?;
        tx.commit().map_err(error::sql)?;
    }
    Ok(())
}

/// Says that somebody who writes is here, until the file is dropped. Waits no longer than a sweep takes its mark.
pub(crate) fn present(dir: &Path) -> Result<File, Error> {
    let path = dir.join(PRESENT);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let locked = file.and_then(|file| file.lock_shared().map(|()| file));
    locked.map_err(|error| error::io(&path, &error))
}

/// Takes the lock file, waiting as long as a write would.
fn lock(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| error::io(path, &error))?;
    let until = Instant::now() + Duration::from_millis(limits::JOURNAL_BUSY_MS);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Busy(format!("another process holds {}", path.display())));
            }
            Err(TryLockError::Error(error)) => return Err(error::io(path, &error)),
        }
    }
}

/// What a sync may answer that is no failure of the store's disk: of a directory above it, or of a store that this process
/// may only read.
const BEYOND_US: [ErrorKind; 4] = [
    ErrorKind::PermissionDenied,
    ErrorKind::InvalidInput,
    ErrorKind::Unsupported,
    ErrorKind::ReadOnlyFilesystem,
];

/// Takes group's and others' permissions away where they have any. Not being the owner is no error here:
/// whether the file can be used shows when it is used.
fn narrow(path: &Path, mode: u32) {
    if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
        let _ = fs::set_permissions(path, Permissions::from_mode(mode));
    }
}

/// The path as an SQLite URI that promises nobody changes the file.
fn immutable(file: &Path) -> PathBuf {
    let mut uri = b"file:".to_vec();
    for &byte in file.as_os_str().as_bytes() {
        match byte {
            b'?' | b'#' | b'%' => uri.extend_from_slice(format!("%{byte:02x}").as_bytes()),
            other => uri.push(other),
        }
    }
    uri.extend_from_slice(b"?immutable=1");
    PathBuf::from(OsString::from_vec(uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE: &[Step] =
        &[FIRST, PACKED, Step { version: 3, sql: "CREATE TABLE extra (x INTEGER) STRICT;", view: None }];

    fn user_version(conn: &Connection) -> i64 {
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_old_store_is_copied_and_brought_forward() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), STEPS).unwrap());
        assert_eq!(user_version(&open(dir.path(), MORE).unwrap()), 3);
        let copy =
            connect(&dir.path().join("backups/schema-2.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        assert_eq!(user_version(&copy), 2);
    }

    #[test]
    fn a_failed_step_leaves_the_old_schema() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), STEPS).unwrap());
        let sql = "CREATE TABLE extra (x INTEGER) STRICT; CREATE TABLE log (x);";
        let broken = [FIRST, PACKED, Step { version: 3, sql, view: None }];
        assert!(open(dir.path(), &broken).is_err());
        let conn = open(dir.path(), STEPS).unwrap();
        assert_eq!(user_version(&conn), 2);
        assert!(conn.prepare("SELECT * FROM extra").is_err());
    }

    #[test]
    fn a_newer_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), MORE).unwrap());
        assert_eq!(open(dir.path(), STEPS).unwrap_err(), Error::Newer { found: 3, known: 2 });
        assert_eq!(open_read_only(dir.path()).unwrap_err(), Error::Newer { found: 3, known: 2 });
    }

    #[test]
    fn an_older_store_is_read_as_it_stands_where_a_view_can_make_it_newer() {
        let dir = tempfile::tempdir().unwrap();
        let old = open(dir.path(), &[FIRST]).unwrap();
        old.execute_batch("INSERT INTO log VALUES (1, 1, 1, 0, 0, 1, 0, 0, x'00', x'01')").unwrap();
        drop(old);
        let conn = open_read_only(dir.path()).unwrap();
        let row = conn.query_row("SELECT records, codec FROM log WHERE id = 1", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        });
        assert_eq!(row, Ok((vec![1], 0)));
        drop(conn);
        assert_eq!(user_version(&open(dir.path(), &[FIRST]).unwrap()), 1, "nothing was changed");
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), &[]).unwrap());
        assert!(matches!(open_read_only(dir.path()), Err(Error::ReadOnly(_))));
    }

    #[test]
    fn another_programs_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Connection::open(dir.path().join(FILE)).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(open(dir.path(), STEPS), Err(Error::Corrupt(_))));
        fs::write(dir.path().join(FILE), "this is no database, whatever its name says".repeat(100)).unwrap();
        assert!(matches!(open(dir.path(), STEPS), Err(Error::Corrupt(_))));
    }

    #[test]
    fn a_store_nobody_can_write_next_to_is_read_as_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("50% #1?");
        drop(open(&odd, STEPS).unwrap());
        let conn = connect(&immutable(&odd.join(FILE)), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        assert_eq!(version(&conn, newest(STEPS)), Ok(newest(STEPS)));
    }

    #[test]
    fn many_processes_may_open_a_fresh_store_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| open(dir.path(), STEPS).unwrap());
            }
        });
    }
}
