//! What the shim wrote down, as a list of operations in the order in which they took effect.
//!
//! Knows the shim's format (`note` in xtask/shim/shim.c), not what a disk makes of it. Start at [`read`].

use anyhow::{Context, Result, bail};
use std::path::Path;

/// One thing that was done to a file or a name.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    /// Full path at that moment.
    pub(crate) path: String,
    /// What was done.
    pub(crate) what: What,
}

/// What can be done.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Bytes at an offset of the file with this inode.
    Write { inode: u64, at: u64, bytes: Vec<u8> },
    /// Cut or extended to a length.
    Truncate { inode: u64, size: u64 },
    /// fsync or fdatasync of a file, or of a directory.
    Sync { inode: u64 },
    /// A new file, with this inode.
    Create { inode: u64 },
    /// A new directory.
    MakeDir,
    /// A name taken away.
    Unlink,
    /// Renamed to `path` from here.
    Rename { from: String },
}

/// Bytes of a record's head: kind, inode, number, length of the bytes, length of the path.
const HEAD: usize = 1 + 8 + 8 + 4 + 4;

/// Reads a whole record.
pub(crate) fn read(path: &Path) -> Result<Vec<Op>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut rest = bytes.as_slice();
    let mut ops = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(HEAD).context("the record is cut short")?;
        let number = |at: usize, len: usize| {
            head[at..at + len].iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte))
        };
        let (inode, value, len, name) = (number(1, 8), number(9, 8), number(17, 4), number(21, 4));
        let (name, after) = after.split_at_checked(name as usize).context("the record is cut short")?;
        let (data, after) = after.split_at_checked(len as usize).context("the record is cut short")?;
        rest = after;
        let what = match head[0] {
            b'w' => What::Write { inode, at: value, bytes: data.to_vec() },
            b't' => What::Truncate { inode, size: value },
            b's' => What::Sync { inode },
            b'c' => What::Create { inode },
            b'm' => What::MakeDir,
            b'u' => What::Unlink,
            b'r' => What::Rename { from: String::from_utf8_lossy(data).into_owned() },
            other => bail!("operation {} is of an unknown kind {other}", ops.len()),
        };
        ops.push(Op { path: String::from_utf8_lossy(name).into_owned(), what });
    }
    Ok(ops)
}

/// The directory a path is in.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
