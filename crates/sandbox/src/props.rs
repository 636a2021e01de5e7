//! What must hold of captured output and of what goes over the warden's socket, for any input at all: called by the
//! fuzz targets and by the tests.
//!
//! Knows no process. Not part of a build that ships. Start at [`capture`].

use crate::capture::{Captured, Lines};
use crate::wire::{PREFIX, Spawn};
use contract::limits::{PROGRESS_LINE_BYTES, PROGRESS_LINES};

/// A limit, the length of pieces, then output: in pieces or whole it is kept alike, within the limit, and the lines
/// passed on are the same wherever it was cut.
pub fn capture(bytes: &[u8]) {
    let [keep, piece, output @ ..] = bytes else { return };
    let (keep, piece) = (usize::from(*keep), usize::from(*piece).max(1));
    let whole = kept(keep, [output]);
    let pieces = kept(keep, output.chunks(piece));
    assert_eq!(whole, pieces, "cut at every {piece}");
    assert_eq!(whole.total(), output.len() as u64);
    assert_eq!(whole.dropped(), output.len().saturating_sub(keep) as u64);
    let all = whole.into_bytes();
    if output.len() <= keep {
        assert_eq!(all, output);
    } else {
        let (head, tail) = (keep / 2, keep - keep / 2);
        assert!(all.starts_with(&output[..head]) && all.ends_with(&output[output.len() - tail..]));
        assert!(all.len() <= keep + 64);
    }
    let ends = output.iter().filter(|byte| **byte == b'\n').count();
    let lines = passed_on([output]);
    assert!(lines.iter().all(|line| line.len() <= 3 * PROGRESS_LINE_BYTES));
    assert!(lines.len() <= PROGRESS_LINES + 1);
    if ends < PROGRESS_LINES {
        assert_eq!(passed_on(output.chunks(piece)), lines, "cut at every {piece}");
    }
}

fn kept<'a>(keep: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Captured {
    let mut captured = Captured::new(keep);
    pieces.into_iter().for_each(|piece| captured.push(piece));
    captured
}

fn passed_on<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut lines, mut seen) = (Lines::default(), Vec::new());
    pieces.into_iter().for_each(|piece| lines.push(piece, |line| seen.push(line.to_owned())));
    lines.finish(|line| seen.push(line.to_owned()));
    seen
}

/// What a warden is told to start is that, or nothing.
pub fn wire(bytes: &[u8]) {
    if let Some(spawn) = Spawn::decode(bytes) {
        let written = spawn.encode();
        assert_eq!(Spawn::decode(&written[PREFIX..]), Some(spawn));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_keep_the_properties() {
        corpus::replay("capture", capture);
        corpus::replay("wire", wire);
    }

    #[test]
    fn every_cut_gives_the_same() {
        let text = "one\n\u{e9}two\r\n\n\u{1f980}three".as_bytes();
        for keep in 0..=40 {
            for piece in 1..=40 {
                capture(&[&[keep, piece], text].concat());
            }
        }
    }

    proptest! {
        #![proptest_config(corpus::cases(400))]

        #[test]
        fn output_is_kept_alike(input in prop::collection::vec(any::<u8>(), 0..2000), lines in "([a-z]{0,9}\n){0,99}[a-z]{0,9}", piece in any::<u8>()) {
            capture(&input);
            capture(&[&[200, piece], lines.as_bytes()].concat());
        }

        #[test]
        fn long_lines_are_kept_alike(piece in any::<u8>(), length in 3000usize..12_000) {
            capture(&[&[9, piece], vec![b'x'; length].as_slice()].concat());
        }

        #[test]
        fn what_is_to_be_started_comes_over(texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 3..9), argc in 1usize..9) {
            let mut bytes = Vec::new();
            let mut put = |text: &[u8]| {
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text);
            };
            put(&texts[0]);
            // Limits of memory and processes.
            put(b"7");
            put(b"0");
            put(&texts[1]);
            // No plan.
            put(b"0");
            put(argc.to_string().as_bytes());
            texts[2..].iter().for_each(|text| put(text));
            wire(&bytes);
            let whole = argc <= texts.len() - 2 && (texts.len() - 2 - argc) % 2 == 0;
            prop_assert_eq!(Spawn::decode(&bytes).is_some(), whole);
        }
    }
}
