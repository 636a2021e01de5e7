//! Streams that arrive in any pieces, and end anywhere.

use super::*;
use contract::Kind;
use proptest::prelude::*;

/// However the network cuts it, characters and line ends included, it is the same stream.
#[test]
fn cutting_a_stream_in_two_at_every_byte_changes_nothing() {
    for row in rows() {
        for case in CASES {
            let bytes = stream(&row, case);
            let whole = events(&bytes);
            let in_chunks = |chunks: &mut dyn Iterator<Item = &[u8]>| {
                let (mut lines, mut events) = (Lines::default(), Vec::new());
                chunks.for_each(|chunk| lines.push(chunk, &mut events).expect("short"));
                events
            };
            // Cuts inside text of a kilobyte, which is every kind of line each dialect has.
            for at in 0..bytes.len().min(1024) {
                let (head, tail) = bytes.split_at(at);
                assert_eq!(in_chunks(&mut [head, tail].into_iter()), whole, "{} {case} at {at}", row.name);
            }
            assert_eq!(in_chunks(&mut bytes.chunks(1)), whole, "{} {case} byte by byte", row.name);
        }
    }
}

/// Cut at every byte: no panic, no call that was not whole, the text as far as it came.
#[test]
fn a_stream_that_ends_anywhere_gives_no_half_call() {
    for row in rows() {
        for case in CASES {
            let bytes = stream(&row, case);
            let all = events(&bytes);
            let (_, whole) = decoded(&row, &all);
            let (mut lines, mut met) = (Lines::default(), Vec::new());
            let mut before = usize::MAX;
            for at in 0..=bytes.len() {
                // Where no event ended since the last byte there is nothing new to read.
                if met.len() != before {
                    before = met.len();
                    assert_eq!(met, all[..met.len()], "{} {case} at {at}", row.name);
                    ends(&row, case, &met, &whole);
                }
                if let Some(byte) = bytes.get(at) {
                    lines.push(&[*byte], &mut met).expect("short");
                }
            }
        }
    }
}

fn ends(row: &Row, case: &str, events: &[Event], whole: &Result<Reply, Broken>) {
    let place = format!("{} {case} after {} events", row.name, events.len());
    let (shown, cut) = decoded(row, events);
    match (cut, whole) {
        // What came after the end of the reply counts what it cost.
        (Ok(cut), Ok(whole)) => {
            assert_eq!((&cut.text, &cut.calls, cut.stop), (&whole.text, &whole.calls, whole.stop), "{place}");
            assert!(cut.usage == whole.usage || cut.usage.estimated, "{place}");
        }
        (Ok(_), Err(broken)) => panic!("{place}: a reply out of {}", broken.fault),
        (Err(cut), whole) => {
            let text = whole.as_ref().map_or_else(|broken| &broken.text, |reply| &reply.text);
            assert!(text.starts_with(&cut.text) && cut.text.starts_with(&shown), "{place}: {:?}", cut.text);
            let ended = whole.as_ref().err().map(|broken| broken.fault.code.as_str());
            let code = cut.fault.code.as_str();
            assert!(code == "stream-cut" || Some(code) == ended, "{place}: {}", cut.fault);
            assert!(code != "stream-cut" || cut.fault.kind == Kind::Transient, "{place}");
            assert!(cut.usage.is_some_and(|usage| usage.estimated), "{place}");
        }
    }
}

/// A stream of this row with some of its bytes changed, left out or said again.
fn damaged() -> impl Strategy<Value = (usize, usize, Vec<(prop::sample::Index, u8, u8)>)> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0u8..4);
    (0..rows().len(), 0..CASES.len(), prop::collection::vec(change, 0..6))
}

proptest! {
    #![proptest_config(corpus::cases(400))]

    #[test]
    fn random_chunks_change_nothing(row in 0..rows().len(), case in 0..CASES.len(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let bytes = stream(&rows()[row], CASES[case]);
        let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len())).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let (mut lines, mut met) = (Lines::default(), Vec::new());
        at.windows(2).for_each(|pair| lines.push(&bytes[pair[0]..pair[1]], &mut met).expect("short"));
        prop_assert_eq!(decoded(&rows()[row], &met), decoded(&rows()[row], &events(&bytes)));
    }

    #[test]
    fn a_damaged_stream_does_no_harm((row, case, changes) in damaged()) {
        let mut bytes = stream(&rows()[row], CASES[case]);
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.extend_from_within(at..(at + 200).min(bytes.len())),
            }
        }
        crate::props::answer(row, &bytes);
    }
}
