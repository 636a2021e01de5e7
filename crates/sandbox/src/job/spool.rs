//! Output on disk by sequence number: the number of a byte in all a job ever wrote, from 0 on.
//! Knows nothing of jobs. Start at [`Spool::push`] and [`read`], which any process may call meanwhile.
//!
//! Segments of one size, each named by its first byte's number; the oldest go when there are more than may be kept.

use contract::limits::JOB_SEGMENT_BYTES;
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
    /// The segment that is written to, and the number of its first byte.
    open: Option<(u64, File)>,
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

impl Piece {
    /// Where more follows, only up to the last end of a line, or else of a character: what is read next goes on there.
    #[must_use]
    pub fn lines(mut self) -> Self {
        if self.from + (self.bytes.len() as u64) < self.end {
            let line = self.bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
            let open = self.bytes.utf8_chunks().last().map_or(0, |last| last.invalid().len());
            let character = self.bytes.len() - if open < 4 { open } else { 0 };
            self.bytes.truncate(line.or(Some(character).filter(|at| *at > 0)).unwrap_or(self.bytes.len()));
        }
        self
    }
}

impl Spool {
    /// The newest of it is kept, this many bytes.
    pub(crate) fn create(dir: &Path, keep: u64) -> io::Result<Self> {
        Self::sized(dir, JOB_SEGMENT_BYTES, keep)
    }

    fn sized(dir: &Path, segment: u64, keep: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), segment, keep, end: 0, open: None })
    }

    /// Number of the next byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Failing, it has lost the rest of them: they keep their numbers, and what comes after begins a segment.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let after = self.end + bytes.len() as u64;
        let pushed = self.append(bytes);
        if pushed.is_err() {
            (self.end, self.open) = (after, None);
        }
        pushed
    }

    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let begun = self.open.as_ref().map(|(first, _)| *first);
            let first = begun.filter(|first| self.end - first < self.segment).unwrap_or(self.end);
            if begun != Some(first) {
                let file = File::options().create(true).append(true).open(name(&self.dir, first))?;
                self.open = Some((first, file));
                self.forget(first);
            }
            let room = usize::try_from(self.segment - (self.end - first)).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            if let Some((_, file)) = &mut self.open {
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
    let mut from = from.clamp(first, end);
    let mut bytes = Vec::new();
    for start in &all {
        let at = from + bytes.len() as u64;
        let next = all.iter().find(|other| *other > start).copied().unwrap_or(end);
        if at < *start || at >= next || bytes.len() >= most {
            continue;
        }
        // What follows could not be written: the next segment is what there is.
        if bytes.is_empty() && at >= start + fs::metadata(name(dir, *start))?.len() {
            from = next;
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
    fn what_a_full_disk_takes_keeps_its_numbers_and_nothing_else_moves() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::sized(dir.path(), 10, 1_000).unwrap();
        spool.push(b"01234").unwrap();
        let full = || File::options().write(true).open("/dev/full").unwrap();
        spool.open = Some((0, full()));
        assert!(spool.push(b"56").is_err());
        spool.push(b"789").unwrap();
        spool.open = Some((7, full()));
        assert!(spool.push(b"abcdefghijklmnop").is_err());
        spool.push(b"q").unwrap();
        assert_eq!(spool.end(), 27);
        for (from, found, bytes) in
            [(0, 0, "01234"), (5, 7, "789"), (6, 7, "789"), (8, 8, "89"), (10, 26, "q")]
        {
            let piece = read(dir.path(), from, 100).unwrap();
            let expected = Piece { from: found, bytes: bytes.into(), end: 27 };
            assert_eq!(piece, expected, "{from}");
        }
    }

    #[test]
    fn a_piece_that_goes_on_ends_with_a_line_or_a_character() {
        for (bytes, end, kept) in [
            (&b"one\ntwo"[..], 9, &b"one\n"[..]),
            (b"one\ntwo", 7, b"one\ntwo"),
            ("ab\u{fc}".as_bytes(), 9, "ab\u{fc}".as_bytes()),
            (b"ab\xc3", 9, b"ab"),
            (b"ab\xf0\x9f\x98", 9, b"ab"),
            (b"\xc3", 9, b"\xc3"),
            (b"", 9, b""),
        ] {
            let piece = Piece { from: 0, bytes: bytes.to_vec(), end }.lines();
            assert_eq!((piece.bytes.as_slice(), piece.end), (kept, end), "{bytes:?}");
        }
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
