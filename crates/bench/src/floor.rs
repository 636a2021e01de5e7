//! What the disk and a bare SQLite can do here and now. Every other figure is a share of these.
//!
//! Knows the shape of what a run wrote, nothing of how. Start at [`bare_commits`] and [`bare_group`].

use anyhow::Result;
use rusqlite::{Connection, OpenFlags};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends of 4 KiB with fdatasync, per second.
pub(crate) fn fdatasync_rate(dir: &Path, time: Duration) -> Result<f64> {
    let mut file = std::fs::File::create(dir.join("floor"))?;
    let block = [7_u8; 4096];
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// What a run left in the log of its store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Rows of the log.
    pub(crate) rows: i64,
    /// Bytes in the column of records.
    pub(crate) bytes: i64,
    /// Bytes of those records before they were packed into rows.
    pub(crate) payload: u64,
}

impl Shape {
    /// One row of that many bytes per step.
    pub(crate) fn one_row(bytes: usize) -> Self {
        Self { rows: 1, bytes: bytes as i64, payload: bytes as u64 }
    }

    /// Of the store in `dir`; `payload` was counted by whoever read the records back.
    pub(crate) fn of(dir: &Path, payload: u64) -> Result<Self> {
        let db = Connection::open_with_flags(dir.join("kapell.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let (rows, bytes) =
            db.query_row("SELECT count(*), coalesce(sum(length(records)), 0) FROM log", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok(Self { rows, bytes, payload })
    }

    fn row_bytes(&self) -> usize {
        (self.bytes / self.rows.max(1)) as usize
    }
}

fn open(path: &Path, tables: &str) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")?;
    db.execute_batch(tables)?;
    Ok(db)
}

/// Commits per second of one insert each, WAL and synchronous=FULL, nothing else: no index, no second column.
pub(crate) fn bare_commits(dir: &Path, bytes: usize, time: Duration) -> Result<f64> {
    let db = open(&dir.join("bare.db"), "CREATE TABLE log(id INTEGER PRIMARY KEY, body BLOB);")?;
    let body = vec![7_u8; bytes];
    let mut insert = db.prepare("INSERT INTO log(body) VALUES (?1)")?;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        insert.execute([&body])?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Frames of a stream between two entries of the sparse index, and frames between two updates of the heads: as the
/// store has them.
const MARK: i64 = contract::limits::JOURNAL_MARK_FRAMES as i64;
const HEADS: i64 = contract::limits::JOURNAL_HEADS_FRAMES as i64;

/// Steps per second of a bare loop that writes what `group` sessions' steps write, one commit for all of them: the
/// store's own tables, rows of the run's own number and size, the sparse index and the table of heads as often as the
/// store writes them, SQLite's own checkpoints. What it does not do: decide, encode, hash, answer anybody.
pub(crate) fn bare_group(
    dir: &Path,
    shape: Shape,
    steps: u64,
    sessions: usize,
    time: Duration,
) -> Result<f64> {
    let mut db = open(&dir.join(format!("group-{sessions}.db")), TABLES)?;
    let (steps, group) = (steps as i64, sessions as i64);
    let (body, hash) = (vec![7_u8; shape.row_bytes()], [7_u8; 32]);
    let (began, mut done, mut row, mut flushed) = (Instant::now(), 0_i64, 0_i64, 0_i64);
    while began.elapsed() < time {
        let commit = db.transaction()?;
        done += group;
        let mut insert = commit.prepare_cached(
            "INSERT INTO log (id, stream, first, count, prev, nth, ended, seal, hash, records, codec)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1)",
        )?;
        let mut mark = commit.prepare_cached("INSERT INTO marks (stream, seq, frame) VALUES (?1, ?2, ?3)")?;
        let mut head = commit.prepare_cached(
            "INSERT OR REPLACE INTO heads (stream, seq, hash, last, nth, ended) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
        )?;
        // As many rows as the run wrote for that many steps: a step is one row, and its part of the ledger's.
        while row * steps < done * shape.rows {
            row += 1;
            let (stream, nth) = (row % group, row / group);
            let seq = nth * 3;
            let seal = row.wrapping_mul(0x1e37_79b9_7f4a_7c15);
            insert.execute((row, stream, seq, 3, (row - group).max(0), nth, 0, seal, hash, &body))?;
            if nth % MARK == MARK - 1 {
                mark.execute((stream, seq, row))?;
            }
        }
        if row - flushed >= HEADS {
            for stream in 0..group.min(row - flushed) {
                head.execute((stream, row, hash, row, row))?;
            }
            flushed = row;
        }
        drop((insert, mark, head));
        commit.commit()?;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

/// The tables of the store that a step touches.
const TABLES: &str = "
CREATE TABLE log (id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
    prev INTEGER NOT NULL, nth INTEGER NOT NULL, ended INTEGER NOT NULL, seal INTEGER NOT NULL, hash BLOB NOT NULL,
    records BLOB NOT NULL, codec INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE heads (stream INTEGER PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, last INTEGER NOT NULL,
    nth INTEGER NOT NULL, ended INTEGER NOT NULL) STRICT;
CREATE INDEX heads_open ON heads (stream) WHERE ended = 0;
CREATE TABLE marks (stream INTEGER NOT NULL, seq INTEGER NOT NULL, frame INTEGER NOT NULL,
    PRIMARY KEY (stream, seq)) STRICT, WITHOUT ROWID;
";
