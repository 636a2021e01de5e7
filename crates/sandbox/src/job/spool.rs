//! Output on disk by sequence number: the number of a byte in all a job ever wrote, from 0 on.
//! Knows nothing of jobs. Start at [`Spool::push`] and [`read`], which any process may call meanwhile.
//!
//! Segments of one size, each named by its first byte's number; the oldest go when there are more than may be kept.

use contract::limits::{JOB_KEEP_BYTES, JOB_SEGMENT_BYTES};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const SUFFIX: &str = "out";

/// Where a job's output goes.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    segment: u64,
    keep: u64,
    end: u64,
    open: Option<File>,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Number of its first byte. Later than asked for when what was asked for is not kept any more.
    pub from: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Number of the byte after the last one there is.
    pub end: u64,
}

impl Spool {
    pub(crate) fn create(dir: &Path) -> io::Result<Self> {
        Self::sized(dir, JOB_SEGMENT_BYTES, JOB_KEEP_BYTES)
    }

    fn sized(dir: &Path, segment: u64, keep: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), segment, keep, end: 0, open: None })
    }

    /// Number of the next byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let into = self.end % self.segment;
            if into == 0 || self.open.is_none() {
                let first = self.end - into;
                self.open = Some(File::options().create(true).append(true).open(name(&self.dir, first))?);
                self.forget(first);
            }
            let room = usize::try_from(self.segment - into).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            if let Some(file) = &mut self.open {
                file.write_all(now)?;
            }
            self.end += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Removes what is too old, now that a segment begins here.
    fn forget(&self, first: u64) {
        let Some(oldest) = (first + self.segment).checked_sub(self.keep) else { return };
        for start in segments(&self.dir).into_iter().filter(|start| start + self.segment <= oldest) {
            // What cannot be removed now is tried again with the next segment.
            let _later = fs::remove_file(name(&self.dir, start));
        }
    }
}

/// At most this many bytes from this number on.
pub fn read(dir: &Path, from: u64, most: usize) -> io::Result<Piece> {
    let all = segments(dir);
    let first = all.first().copied().unwrap_or(0);
    let end = match all.last() {
        Some(last) => last + fs::metadata(name(dir, *last))?.len(),
        None => 0,
    };
    let from = from.clamp(first, end);
    let mut bytes = Vec::new();
    for start in &all {
        let at = from + bytes.len() as u64;
        let next = all.iter().find(|other| *other > start).copied().unwrap_or(end);
        if at < *start || at >= next || bytes.len() >= most {
            continue;
        }
        let mut file = File::open(name(dir, *start))?;
        file.seek(SeekFrom::Start(at - start))?;
        let room = (most - bytes.len()) as u64;
        file.take(room.min(next - at)).read_to_end(&mut bytes)?;
    }
    Ok(Piece { from, bytes, end })
}

fn name(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}")).with_extension(SUFFIX)
}

/// First numbers of the segments there are, in order.
fn segments(dir: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let first = |path: PathBuf| {
        let ours = path.extension().is_some_and(|end| end == SUFFIX);
        path.file_stem()?.to_str()?.parse().ok().filter(|_| ours)
    };
    let mut found: Vec<u64> = entries.flatten().filter_map(|entry| first(entry.path())).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_can_be_read_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::sized(dir.path(), 10, 1_000).unwrap();
        assert_eq!(read(dir.path(), 5, 100).unwrap(), Piece { from: 0, bytes: Vec::new(), end: 0 });
        let all: Vec<u8> = (0..95).collect();
        for chunk in all.chunks(7) {
            spool.push(chunk).unwrap();
        }
        assert_eq!(spool.end(), 95);
        for from in 0..=95_usize {
            for most in [0, 1, 9, 10, 11, 200] {
                let piece = read(dir.path(), from as u64, most).unwrap();
                let expected = &all[from..(from + most).min(95)];
                assert_eq!((piece.from, piece.bytes.as_slice(), piece.end), (from as u64, expected, 95));
            }
        }
        assert_eq!(read(dir.path(), 1_000, 10).unwrap(), Piece { from: 95, bytes: Vec::new(), end: 95 });
    }

    #[test]
    fn only_the_newest_is_kept_and_what_is_gone_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::sized(dir.path(), 10, 30).unwrap();
        let all: Vec<u8> = (0..=254).collect();
        spool.push(&all).unwrap();
        assert!(fs::read_dir(dir.path()).unwrap().count() <= 4);
        let piece = read(dir.path(), 0, 1_000).unwrap();
        assert!(piece.from >= 220 && piece.end == 255, "{piece:?}");
        assert_eq!(piece.bytes, all[usize::try_from(piece.from).unwrap()..]);
    }
}
