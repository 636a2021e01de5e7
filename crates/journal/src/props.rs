//! What must hold of frames and envelopes for any bytes at all: called by the fuzz targets and by the tests.
//!
//! Knows no SQL. Not part of a build that ships. Start at [`frame`].

use crate::{blob, body, frame};
use contract::Digest;

/// A count, then the bytes of a frame: they are so many records, which pack to the same bytes, or nothing.
pub fn frame(bytes: &[u8]) {
    let Some((count, packed)) = bytes.split_first() else { return };
    let before = Digest::of(b"before");
    if let Some(records) = frame::unpack(packed, u64::from(*count)) {
        assert_eq!(records.len(), usize::from(*count));
        let owned: Vec<Vec<u8>> = records.iter().map(|record| record.to_vec()).collect();
        assert_eq!(frame::join(&owned), packed);
        let chain = records.iter().fold(before, |hash, record| Digest::chain(&hash, record));
        assert_eq!(frame::chain(&owned, before), chain);
        assert!(frame::unpack(packed, u64::from(*count) + 1).is_none());
        assert!(packed.is_empty() || frame::unpack(&packed[..packed.len() - 1], u64::from(*count)).is_none());
    }
    // Any bytes can be a record.
    let alone = frame::join(&[bytes.to_vec()]);
    assert_eq!(frame::unpack(&alone, 1), Some(vec![bytes]));
}

/// A codec, then the bytes of a row's records: what was packed, or damage, and never more memory than the bytes can stand
/// for. Any bytes can be packed, and are never more in the row than they were.
pub fn body(bytes: &[u8]) {
    let Some((codec, packed)) = bytes.split_first() else { return };
    if let Some(plain) = body::unpack(i64::from(*codec), packed.to_vec()) {
        // A byte of a block is at most 255 of shortened bytes, and 17 of those are 38.
        assert!(plain.len() <= packed.len().saturating_mul(255 * 3));
        same(&plain);
    }
    same(bytes);
}

fn same(plain: &[u8]) {
    let (codec, packed) = body::pack(plain.to_vec());
    assert!(packed.len() <= plain.len());
    assert_eq!(body::unpack(codec, packed).as_deref(), Some(plain));
}

/// The bytes of an envelope: what was put in, or damage, and never more memory than the bytes can stand for. Any
/// bytes come out of an envelope as they went in.
pub fn envelope(bytes: &[u8]) {
    if let Ok(raw) = blob::unpack(bytes) {
        assert!(raw.len() <= bytes.len().saturating_mul(256));
        assert_eq!(blob::open(Digest::of(&raw), bytes).as_ref(), Ok(&raw));
        assert!(blob::open(Digest::of(b"another"), bytes).is_err() || raw == b"another");
    }
    let packed = blob::pack(bytes);
    assert!(packed.len() <= bytes.len() + 9);
    assert_eq!(blob::unpack(&packed).as_deref(), Ok(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_keep_the_properties() {
        corpus::replay("frame", frame);
        corpus::replay("envelope", envelope);
        corpus::replay("body", body);
        // Those of records are texts as they are in rows.
        corpus::replay("record", body);
    }

    /// What stands in records, whole and in pieces, and what does not.
    fn part() -> impl Strategy<Value = Vec<u8>> {
        let text = prop_oneof![
            "\"[0-9a-f]{64}\"",
            "\"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\"",
            "\"?[0-9a-fA-F-]{34,66}\"?",
            Just("\",\"attempt\":1,\"end\":{\"done\":{\"ran\":".to_owned()),
            "[\"\\x01-\\x04a-z]{0,9}",
        ];
        prop_oneof![text.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..30)]
    }

    proptest! {
        #![proptest_config(corpus::cases(400))]

        #[test]
        fn frames_of_records(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..9), flip in any::<prop::sample::Index>(), bit in 0u8..8) {
            let packed = frame::join(&records);
            let mut bytes = [&[records.len() as u8][..], &packed].concat();
            prop_assert_eq!(frame::unpack(&packed, records.len() as u64).unwrap(), records);
            frame(&bytes);
            let at = flip.index(bytes.len());
            bytes[at] ^= 1 << bit;
            frame(&bytes);
        }

        #[test]
        fn bodies(parts in prop::collection::vec(part(), 0..40), flip in any::<prop::sample::Index>(), bit in 0u8..8) {
            let plain = parts.concat();
            same(&plain);
            let (codec, packed) = body::pack(plain);
            let mut bytes = [&[codec as u8][..], &packed].concat();
            body(&bytes);
            let at = flip.index(bytes.len());
            bytes[at] ^= 1 << bit;
            body(&bytes);
        }

        #[test]
        fn damaged_envelopes(raw in prop::collection::vec(0u8..4, 0..3000), flip in any::<prop::sample::Index>(), bit in 0u8..8) {
            envelope(&raw);
            let mut packed = blob::pack(&raw);
            let at = flip.index(packed.len());
            packed[at] ^= 1 << bit;
            envelope(&packed);
        }
    }
}
