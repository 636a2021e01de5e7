//! A frame: the records of one append to one stream, as one row of the log.
//!
//! Layout of the record bytes: for each record its length (4 bytes, little endian), then the record as given. How they
//! stand in the row is `body.rs`.
//! Knows no SQL. Start at [`Frame`].

use contract::journal::Stored;
use contract::{Digest, Seq};

/// Everything in a row of the log but the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its place in the log.
    pub(crate) id: i64,
    /// The stream's number in the store.
    pub(crate) stream: i64,
    /// Number of its first event.
    pub(crate) first: Seq,
    /// How many events it holds.
    pub(crate) count: u64,
    /// The stream's frame before this one; 0 = none.
    pub(crate) prev: i64,
    /// How many frames the stream has, this one included.
    pub(crate) nth: u64,
    /// After this frame the stream has ended.
    pub(crate) ended: bool,
    /// Chain hash after its last event.
    pub(crate) hash: Digest,
}

impl Header {
    /// Number of its last event.
    pub(crate) fn last(&self) -> Seq {
        self.first + self.count - 1
    }

    /// Short hash over the header, so that a flipped bit in a column outside the chain is noticed too.
    pub(crate) fn seal(&self) -> i64 {
        let mut hasher = blake3::Hasher::new();
        for field in [self.id, self.stream, self.prev] {
            hasher.update(&field.to_le_bytes());
        }
        for field in [self.first, self.count, self.nth, u64::from(self.ended)] {
            hasher.update(&field.to_le_bytes());
        }
        hasher.update(&self.hash.0);
        short(&hasher.finalize())
    }
}

/// The first 8 bytes of a hash, as SQLite's integer.
fn short(hash: &blake3::Hash) -> i64 {
    let bytes = hash.as_bytes();
    i64::from_le_bytes(std::array::from_fn(|i| bytes[i]))
}

/// Short hash over the parts of a row, so that a damaged one is not taken for another.
pub(crate) fn seal(parts: &[&[u8]]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    short(&hasher.finalize())
}

/// The record bytes of a frame.
pub(crate) fn join(records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.iter().map(|record| record.len() + 4).sum());
    for record in records {
        // `rules::check` bounds a record far below 4 GiB.
        bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
        bytes.extend_from_slice(record);
    }
    bytes
}

/// The chain hash after these records.
pub(crate) fn chain(records: &[Vec<u8>], before: Digest) -> Digest {
    records.iter().fold(before, |hash, record| Digest::chain(&hash, record))
}

/// The records in these bytes, or `None` when they do not add up.
pub(crate) fn unpack(mut bytes: &[u8], count: u64) -> Option<Vec<&[u8]>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        records.push(record);
        bytes = rest;
    }
    (bytes.is_empty() && records.len() as u64 == count).then_some(records)
}

/// Appends a frame's records and gives the chain hash after them; `None` when they are not what was hashed.
pub(crate) fn unfold(
    header: &Header,
    records: &[u8],
    before: Digest,
    out: &mut Vec<Stored>,
) -> Option<Digest> {
    let mut hash = before;
    for (seq, bytes) in (header.first..).zip(unpack(records, header.count)?) {
        hash = Digest::chain(&hash, bytes);
        out.push(Stored { seq, bytes: bytes.to_vec(), hash });
    }
    (hash == header.hash || contract::planted!(SkipChain)).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_the_hash_is_the_chain() {
        let records = vec![b"one".to_vec(), Vec::new(), b"three".to_vec()];
        let bytes = join(&records);
        assert_eq!(unpack(&bytes, 3).unwrap(), records);
        let header = Header {
            id: 1,
            stream: 1,
            first: 1,
            count: 3,
            prev: 0,
            nth: 1,
            ended: false,
            hash: chain(&records, Digest::default()),
        };
        let mut stored = Vec::new();
        assert_eq!(unfold(&header, &bytes, Digest::default(), &mut stored), Some(header.hash));
        assert!(stored.iter().map(|event| &event.bytes).eq(&records));
        assert!(unfold(&header, &bytes, header.hash, &mut stored).is_none(), "another history");
    }

    #[test]
    fn a_cut_or_padded_frame_is_refused() {
        let bytes = join(&[b"one".to_vec(), b"two".to_vec()]);
        for cut in 0..bytes.len() {
            assert!(unpack(&bytes[..cut], 2).is_none(), "cut at {cut}");
        }
        assert!(unpack(&[&bytes[..], b"x"].concat(), 2).is_none());
        assert!(unpack(&bytes, 1).is_none());
    }

    #[test]
    fn every_field_is_sealed() {
        let header = Header {
            id: 9,
            stream: 2,
            first: 5,
            count: 3,
            prev: 4,
            nth: 2,
            ended: false,
            hash: Digest::of(b"x"),
        };
        let altered = [
            Header { id: 10, ..header },
            Header { stream: 3, ..header },
            Header { first: 6, ..header },
            Header { count: 4, ..header },
            Header { prev: 5, ..header },
            Header { nth: 3, ..header },
            Header { ended: true, ..header },
            Header { hash: Digest::of(b"y"), ..header },
        ];
        assert!(altered.iter().all(|other| other.seal() != header.seal()));
    }
}
