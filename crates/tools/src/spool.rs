//! A program's whole output: in memory while it is short, in a file when it is not, and its both ends beyond a limit.
//! Knows nothing of what it says (`output` reads it) or where files go afterwards. Start at [`Spool::push`].
//!
//! Every byte passes once, so that memory stays flat however much comes. What the disk does not take, or has no room
//! for, is left out of the middle, and a line there says how much.

use contract::digest::Hasher;
use contract::limits::{OUTPUT_DISK_BYTES, OUTPUT_KEEP_BYTES, OUTPUT_LOOK_BYTES, OUTPUT_MEMORY_BYTES};
use contract::tool::Spooled;
use contract::{Digest, SessionId};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where long outputs go, and how much of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A directory of the disk that blobs are on.
    pub dir: PathBuf,
    /// Bytes of one output that are kept.
    pub most: u64,
}

impl Place {
    /// In this directory, as much as is usual.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), most: OUTPUT_DISK_BYTES }
    }

    /// Files that a dead process has left of this session's outputs.
    pub fn left(&self, session: SessionId) -> Vec<PathBuf> {
        let ours = |path: &PathBuf| owner(path) == Some(session);
        self.files().into_iter().filter(ours).collect()
    }

    /// Every file, with the session it belongs to.
    pub fn all(&self) -> Vec<(SessionId, PathBuf)> {
        self.files().into_iter().filter_map(|path| Some((owner(&path)?, path))).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }
}

fn owner(path: &Path) -> Option<SessionId> {
    path.file_name()?.to_str()?.split_once('.')?.0.parse().ok()
}

/// A whole output.
#[derive(Debug)]
pub(crate) enum Whole {
    Bytes(Vec<u8>),
    File(Spooled),
    /// It could not be kept, for this reason.
    Lost(String),
}

impl Whole {
    /// Its address, or why it has none.
    pub(crate) fn digest(&self) -> Result<Digest, &str> {
        match self {
            Self::Bytes(bytes) => Ok(Digest::of(bytes)),
            Self::File(file) => Ok(file.digest),
            Self::Lost(why) => Err(why),
        }
    }
}

/// An output while it comes.
#[derive(Debug)]
pub(crate) struct Spool {
    place: Option<Place>,
    session: SessionId,
    total: u64,
    /// The beginning, until it is too long for memory.
    head: Vec<u8>,
    file: Option<Open>,
    /// Nothing more is added to the beginning.
    closed: bool,
    /// Its end, once the beginning is closed.
    tail: VecDeque<u8>,
}

/// The file it goes to. Removed when it is given up.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    written: u64,
    /// Bytes after which the disk is looked at again.
    look: u64,
}

/// Room for the end of an output, beyond what is kept of its beginning.
const TAIL: usize = OUTPUT_KEEP_BYTES / 2;
/// Names differ also within one session.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Spool {
    pub(crate) fn new(place: Option<Place>, session: SessionId) -> Self {
        Self { place, session, total: 0, head: Vec::new(), file: None, closed: false, tail: VecDeque::new() }
    }

    /// Bytes there were, kept or not.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Some of it.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let rest = if self.closed { bytes } else { self.begin(bytes) };
        if !rest.is_empty() {
            self.closed = true;
            let rest = &rest[rest.len().saturating_sub(TAIL)..];
            let over = (self.tail.len() + rest.len()).saturating_sub(TAIL);
            self.tail.drain(..over);
            self.tail.extend(rest);
        }
    }

    /// Adds to the beginning; what does not go there.
    fn begin<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if self.file.is_none() {
            let room = if self.place.is_some() { OUTPUT_MEMORY_BYTES } else { OUTPUT_KEEP_BYTES - TAIL };
            if self.head.len() + bytes.len() <= room {
                self.head.extend_from_slice(bytes);
                return &[];
            }
            self.file = self.place.as_ref().and_then(|place| Open::new(place, self.session, &self.head).ok());
            if self.file.is_none() {
                let (now, rest) =
                    bytes.split_at((OUTPUT_KEEP_BYTES - TAIL - self.head.len()).min(bytes.len()));
                self.head.extend_from_slice(now);
                return rest;
            }
            self.head = Vec::new();
        }
        let most = self.place.as_ref().map_or(0, |place| place.most.saturating_sub(TAIL as u64));
        let Some(file) = &mut self.file else { return bytes };
        let room = most.saturating_sub(file.written).min(bytes.len() as u64);
        let (now, rest) = bytes.split_at(usize::try_from(room).unwrap_or(bytes.len()));
        // A disk without room ends the beginning where it is: a piece goes there whole, or not.
        if file.push(now) { rest } else { bytes }
    }

    /// All of it, a file synced. Blocks.
    pub(crate) fn finish(mut self) -> io::Result<Whole> {
        let tail = std::mem::take(&mut self.tail);
        let Some(mut open) = self.file.take() else {
            let mut bytes = std::mem::take(&mut self.head);
            bytes.extend(left_out(self.total - bytes.len() as u64 - tail.len() as u64));
            bytes.extend(tail);
            return Ok(Whole::Bytes(bytes));
        };
        let gap = left_out(self.total - open.written - tail.len() as u64);
        let (front, back) = tail.as_slices();
        let ended = [&gap, front, back].into_iter().try_for_each(|piece| open.write(piece));
        if let Err(error) = ended.and_then(|()| open.file.sync_all()) {
            open.give_up();
            return Err(error);
        }
        let Open { path, hasher, written, .. } = open;
        Ok(Whole::File(Spooled { path, digest: hasher.digest(), bytes: written }))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.give_up();
        }
    }
}

fn left_out(bytes: u64) -> Vec<u8> {
    if bytes == 0 { Vec::new() } else { format!("\n[... {bytes} bytes were not kept ...]\n").into_bytes() }
}

impl Open {
    fn new(place: &Place, session: SessionId, head: &[u8]) -> io::Result<Self> {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&place.dir)?;
        let name = format!("{session}.{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = place.dir.join(name);
        let file = File::options().create_new(true).write(true).mode(0o600).open(&path)?;
        let mut open = Self { path, file, hasher: Hasher::default(), written: 0, look: 0 };
        if !has_room(&open.file) {
            open.give_up();
            return Err(io::ErrorKind::StorageFull.into());
        }
        open.look = OUTPUT_LOOK_BYTES;
        match open.write(head) {
            Ok(()) => Ok(open),
            Err(error) => {
                open.give_up();
                Err(error)
            }
        }
    }

    /// False: the disk took not all of it, or has no room for more.
    fn push(&mut self, bytes: &[u8]) -> bool {
        if self.written >= self.look {
            if !has_room(&self.file) {
                return false;
            }
            self.look = self.written + OUTPUT_LOOK_BYTES;
        }
        self.write(bytes).is_ok()
    }

    /// All of these bytes, or none.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        if let Err(error) = written {
            self.file.set_len(self.written)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.written))?;
            return Err(error);
        }
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn give_up(&self) {
        // What cannot be removed now is removed when the session is taken up again, or by `gc`.
        let _later = std::fs::remove_file(&self.path);
    }
}

/// A disk is left some room: a twentieth, but a gigabyte at most.
const SPARE: u64 = 1024 * 1024 * 1024;

fn has_room(file: &File) -> bool {
    let Ok(disk) = rustix::fs::fstatvfs(file) else { return true };
    let [free, all] = [disk.f_bavail, disk.f_blocks].map(|blocks| blocks.saturating_mul(disk.f_frsize));
    free > (all / 20).min(SPARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(7);

    fn bytes(whole: Whole) -> Vec<u8> {
        match whole {
            Whole::Bytes(bytes) => bytes,
            Whole::File(file) => {
                let bytes = std::fs::read(&file.path).unwrap();
                assert_eq!((file.digest, file.bytes), (Digest::of(&bytes), bytes.len() as u64));
                bytes
            }
            Whole::Lost(why) => panic!("{why}"),
        }
    }

    fn noise(count: usize) -> Vec<u8> {
        (0..count.div_ceil(32)).flat_map(|n| Digest::of(&n.to_le_bytes()).0).take(count).collect()
    }

    #[test]
    fn every_byte_is_kept_whatever_the_pieces() {
        let dir = tempfile::tempdir().unwrap();
        for (count, step) in [(0, 1), (1000, 7), (OUTPUT_MEMORY_BYTES, 65_536), (3_000_001, 65_536)] {
            let all = noise(count);
            let mut spool = Spool::new(Some(Place::new(dir.path().join("spool"))), SESSION);
            all.chunks(step).for_each(|piece| spool.push(piece));
            assert_eq!(spool.total(), count as u64);
            let whole = spool.finish().unwrap();
            assert_eq!(matches!(whole, Whole::File(_)), count > OUTPUT_MEMORY_BYTES);
            assert!(bytes(whole) == all, "{count}");
        }
    }

    #[test]
    fn beyond_the_limit_both_ends_are_kept_and_the_gap_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let all = noise(30_000_000);
        let most = 20_000_000;
        for place in [None, Some(Place { dir: dir.path().into(), most })] {
            let head = place.as_ref().map_or(OUTPUT_KEEP_BYTES - TAIL, |_| most as usize - TAIL);
            let mut spool = Spool::new(place, SESSION);
            all.chunks(65_536).for_each(|piece| spool.push(piece));
            let kept = bytes(spool.finish().unwrap());
            let gap = left_out((all.len() - head - TAIL) as u64);
            let expected = [&all[..head], &gap, &all[all.len() - TAIL..]].concat();
            assert!(kept == expected, "{} {}", kept.len(), expected.len());
        }
    }

    #[test]
    fn what_is_given_up_leaves_no_file_and_a_place_that_cannot_be_is_done_without() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        let mut spool = Spool::new(Some(place.clone()), SESSION);
        spool.push(&noise(2_000_000));
        assert_eq!(place.left(SESSION).len(), 1);
        assert_eq!((place.left(SessionId(8)).len(), place.all()[0].0), (0, SESSION));
        drop(spool);
        assert_eq!(place.left(SESSION).len(), 0);
        let mut spool = Spool::new(Some(Place::new("/proc/nowhere")), SESSION);
        let all = noise(2_000_000);
        all.chunks(65_536).for_each(|piece| spool.push(piece));
        assert!(bytes(spool.finish().unwrap()) == all);
    }
}
