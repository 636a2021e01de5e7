//! What a power cut leaves of a batch that was being written: its bytes, cut off or damaged anywhere, read back.
//!
//! Knows frames, not what records say. The same checks as over the rows of the database: seal, chain hash, no hole, all
//! or nothing. Start at [`Tear`] and [`survivors`].

use crate::frame::{self, Header};
use contract::journal::{Append, Batch, Head};
use contract::{Digest, ProjectId, QuotaId, SessionId, StreamId};

/// How the bytes on their way to the disk were left. Places are thousandths of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Nothing from here on reached the disk.
    Cut(u16),
    /// One bit is wrong.
    Flip {
        /// Where.
        at: u16,
        /// Which bit of the byte.
        bit: u8,
    },
    /// One sector was never written: what came after it was.
    Sector(u16),
}

/// Bytes the disk writes at once.
const SECTOR: usize = 512;

/// The batch as bytes: a frame per stream, and last what makes it whole.
fn image(batch: &Batch, head: impl Fn(StreamId) -> Head) -> Vec<u8> {
    let mut bytes = Vec::new();
    for append in &batch.appends {
        let records = frame::join(&append.records);
        let hash = frame::chain(&append.records, head(append.stream).hash);
        let header = header(append.expected + 1, append.records.len() as u64, append.ended, hash);
        bytes.extend(stream_bytes(append.stream));
        bytes.extend(header.first.to_le_bytes());
        bytes.extend(header.count.to_le_bytes());
        bytes.push(u8::from(header.ended));
        bytes.extend(header.hash.0);
        bytes.extend(header.seal().to_le_bytes());
        bytes.extend((records.len() as u64).to_le_bytes());
        bytes.extend(records);
    }
    let rest = format!("{:?}{:?}", batch.submit, batch.consume);
    bytes.extend([END; 17]);
    bytes.extend((batch.appends.len() as u64).to_le_bytes());
    bytes.extend((rest.len() as u64).to_le_bytes());
    bytes.extend(rest.as_bytes());
    bytes.extend(seal(batch.appends.len() as u64, rest.as_bytes()).to_le_bytes());
    bytes
}

/// Stands where a stream's name would: no frame follows.
const END: u8 = 0xff;

fn header(first: u64, count: u64, ended: bool, hash: Digest) -> Header {
    Header { id: 0, stream: 0, first, count, prev: 0, nth: 0, ended, hash }
}

fn seal(frames: u64, rest: &[u8]) -> i64 {
    frame::seal(&[&frames.to_le_bytes(), rest])
}

fn stream_bytes(stream: StreamId) -> [u8; 17] {
    let (kind, id) = match stream {
        StreamId::Session(SessionId(id)) => (0, id),
        StreamId::Tree(SessionId(id)) => (1, id),
        StreamId::Quota(QuotaId(id)) => (2, id),
        StreamId::Project(ProjectId(id)) => (3, id),
        StreamId::Board(ProjectId(id)) => (4, id),
        StreamId::Loop(ProjectId(id)) => (5, id),
    };
    let mut bytes = [kind; 17];
    bytes[1..].copy_from_slice(&id.to_be_bytes());
    bytes
}

/// What is found of the batch after the power came back; nothing at all, unless a rule is broken.
pub(super) fn survivors(batch: &Batch, tear: Tear, head: impl Fn(StreamId) -> Head) -> Vec<Append> {
    let mut bytes = image(batch, &head);
    let at = |place: u16| bytes.len() * usize::from(place.min(999)) / 1_000;
    match tear {
        Tear::Cut(place) => {
            let at = at(place);
            bytes.truncate(at);
        }
        Tear::Flip { at: place, bit } => {
            let at = at(place);
            bytes[at] ^= 1 << (bit % 8);
        }
        Tear::Sector(place) => {
            let from = at(place) / SECTOR * SECTOR;
            let to = (from + SECTOR).min(bytes.len());
            bytes[from..to].fill(0);
        }
    }
    read_back(&bytes, batch, head).unwrap_or_default()
}

/// The frames in these bytes, when they are whole; `None` when anything is missing or is not what was written.
fn read_back(bytes: &[u8], batch: &Batch, head: impl Fn(StreamId) -> Head) -> Option<Vec<Append>> {
    let mut left = bytes;
    let mut found = Vec::new();
    let mut holes = 0;
    loop {
        let name: [u8; 17] = take(&mut left)?;
        if name == [END; 17] {
            break;
        }
        let append = batch.appends.iter().find(|append| stream_bytes(append.stream) == name)?;
        let (first, count) = (u64::from_le_bytes(take(&mut left)?), u64::from_le_bytes(take(&mut left)?));
        let ended = take::<1>(&mut left)? != [0];
        let header = header(first, count, ended, Digest(take(&mut left)?));
        let sealed = i64::from_le_bytes(take(&mut left)?) == header.seal();
        let (records, rest) = left.split_at_checked(u64::from_le_bytes(take(&mut left)?) as usize + 8)?;
        left = rest;
        let before = head(append.stream);
        let mut stored = Vec::new();
        let sound = sealed
            && header.first == before.seq + 1
            && frame::unfold(&header, &records[8..], before.hash, &mut stored).is_some();
        if !sound {
            // Nothing after a hole is replayed.
            if !contract::planted!(ReplayHole) {
                return None;
            }
            holes += 1;
            continue;
        }
        let records = stored.into_iter().map(|stored| stored.bytes).collect();
        found.push(Append { records, ended, expected: before.seq, ..append.clone() });
    }
    let frames = u64::from_le_bytes(take(&mut left)?);
    let length = u64::from_le_bytes(take(&mut left)?) as usize;
    let (rest, sealed) = left.split_at_checked(length)?;
    let whole = sealed == seal(frames, rest).to_le_bytes() && frames == found.len() as u64 + holes;
    whole.then_some(found)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let append = |stream, record: &[u8]| Append {
            stream,
            expected: 0,
            fence: None,
            records: vec![record.to_vec(), b"{\"more\":1}".to_vec()],
            ended: false,
        };
        let session = append(StreamId::Session(SessionId(7)), &[b'a'; 700]);
        let tree = append(StreamId::Tree(SessionId(7)), b"{}");
        Batch { appends: vec![session, tree], consume: vec![3], ..Batch::default() }
    }

    fn head(stream: StreamId) -> Head {
        Head { seq: 0, hash: crate::rules::genesis(stream) }
    }

    #[test]
    fn undamaged_bytes_are_the_batch() {
        let found = read_back(&image(&batch(), head), &batch(), head).unwrap();
        let records: Vec<_> = found.iter().map(|append| &append.records).collect();
        assert_eq!(records, batch().appends.iter().map(|append| &append.records).collect::<Vec<_>>());
    }

    #[test]
    fn whatever_is_cut_flipped_or_missing_nothing_of_it_is_replayed() {
        for place in 0..1_000 {
            assert!(survivors(&batch(), Tear::Cut(place), head).is_empty(), "cut at {place}");
            assert!(survivors(&batch(), Tear::Sector(place), head).is_empty(), "no sector at {place}");
            for bit in 0..8 {
                let flip = Tear::Flip { at: place, bit };
                assert!(survivors(&batch(), flip, head).is_empty(), "bit {bit} at {place}");
            }
        }
    }
}
