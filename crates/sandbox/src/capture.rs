//! A program's output in bounded memory: all of it up to a limit, then its head and its tail.
//! Knows nothing of processes. Start at [`Captured`].

use contract::limits::{PROGRESS_LINE_BYTES, PROGRESS_LINES};
use std::collections::VecDeque;

/// What a program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    keep: usize,
}

impl Captured {
    pub(crate) fn new(keep: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), total: 0, keep }
    }

    /// Bytes the program wrote, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that were not kept: they lie between the first half of the limit and the last.
    pub fn dropped(&self) -> u64 {
        self.total - self.head.len() as u64 - self.tail.len() as u64
    }

    /// What was kept; where bytes were dropped, a line says how many.
    pub fn into_bytes(self) -> Vec<u8> {
        let dropped = self.dropped();
        let mut bytes = self.head;
        if dropped > 0 {
            bytes.extend(format!("\n[... {dropped} bytes were not kept ...]\n").into_bytes());
        }
        bytes.extend(self.tail);
        bytes
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(self.keep / 2 - self.head.len()));
        self.head.extend_from_slice(first);
        let room = self.keep - self.keep / 2;
        let rest = &rest[rest.len().saturating_sub(room)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(room);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }
}

/// Cuts output into lines for progress. Lossy on purpose: a flood passes a few lines of every piece.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        let mut rest = bytes;
        for _ in 0..PROGRESS_LINES {
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                return self.hold(rest);
            };
            self.hold(&rest[..end]);
            line(&String::from_utf8_lossy(&std::mem::take(&mut self.open)));
            rest = &rest[end + 1..];
        }
        let last = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.hold(&rest[last..]);
    }

    /// Passes on a last line without an end.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.open.is_empty() {
            line(&String::from_utf8_lossy(&std::mem::take(&mut self.open)));
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = PROGRESS_LINE_BYTES.saturating_sub(self.open.len());
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_all_up_to_the_limit_and_then_both_ends() {
        for step in [1, 3, 7, 100] {
            for total in 0..40_usize {
                let all: Vec<u8> = (0..total).map(|n| n as u8 + b'0').collect();
                let mut captured = Captured::new(10);
                all.chunks(step).for_each(|chunk| captured.push(chunk));
                assert_eq!(captured.total(), total as u64);
                assert_eq!(captured.dropped(), total.saturating_sub(10) as u64);
                let bytes = captured.into_bytes();
                if total <= 10 {
                    assert_eq!(bytes, all);
                } else {
                    assert!(
                        bytes.starts_with(&all[..5]) && bytes.ends_with(&all[total - 5..]),
                        "{step} {total}"
                    );
                }
            }
        }
    }

    #[test]
    fn lines_are_cut_wherever_the_pieces_are() {
        let text = b"one\n\ntwo\r\n\xffthree";
        for step in 1..text.len() {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            text.chunks(step).for_each(|chunk| lines.push(chunk, |line| seen.push(line.to_owned())));
            lines.finish(|line| seen.push(line.to_owned()));
            assert_eq!(seen, ["one", "", "two\r", "\u{fffd}three"]);
        }
    }

    #[test]
    fn a_flood_passes_a_few_lines_and_no_long_ones() {
        let (mut lines, mut count) = (Lines::default(), 0);
        lines.push(&b"x\n".repeat(10_000), |_| count += 1);
        assert_eq!(count, PROGRESS_LINES);
        let mut longest = 0;
        lines.push(&vec![b'x'; 10 * PROGRESS_LINE_BYTES], |_| ());
        lines.finish(|line| longest = line.len());
        assert_eq!(longest, PROGRESS_LINE_BYTES);
    }
}
