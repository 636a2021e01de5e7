//! What the disk and a bare SQLite can do here and now. Every other figure is a share of these.

use anyhow::Result;
use rusqlite::Connection;
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

fn open(path: &Path) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE log(id INTEGER PRIMARY KEY, body BLOB);")?;
    Ok(db)
}

/// Commits per second of one insert each, WAL and synchronous=FULL, nothing else.
pub(crate) fn bare_commits(dir: &Path, bytes: usize, time: Duration) -> Result<f64> {
    let db = open(&dir.join("bare.db"))?;
    let body = vec![7_u8; bytes];
    let mut insert = db.prepare("INSERT INTO log(body) VALUES (?1)")?;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        insert.execute([&body])?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Inserts per second when `group` of them share a commit.
pub(crate) fn bare_group(dir: &Path, bytes: usize, group: usize, time: Duration) -> Result<f64> {
    let mut db = open(&dir.join(format!("group-{group}.db")))?;
    let body = vec![7_u8; bytes];
    let (began, mut count) = (Instant::now(), 0_u64);
    while began.elapsed() < time {
        let commit = db.transaction()?;
        {
            let mut insert = commit.prepare_cached("INSERT INTO log(body) VALUES (?1)")?;
            for _ in 0..group {
                insert.execute([&body])?;
            }
        }
        commit.commit()?;
        count += group as u64;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
