//! Which of the kept lines are shown, within a limit: what matters first, then the tail, then the head.
//!
//! Knows no tool and no words. Start at [`text`].

use crate::keep::Entry;
use crate::weigh::Class;
use std::collections::BTreeSet;

/// How much may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes at most, what stands for the rest included.
    pub(crate) limit: usize,
    /// Bytes that the two ends may take where nothing in them matters.
    pub(crate) ends: usize,
    /// Percent of that for the head.
    pub(crate) head: usize,
}

/// Bytes for which there is room from the start.
const FIRST_BYTES: usize = 64 * 1024;
/// Bytes that stand for lines left out.
const GAP_BYTES: usize = 40;

/// The chosen lines in their order; what is left out between them is told by its line numbers.
pub(crate) fn text(entries: &[Entry], lines: u64, room: Room) -> String {
    let chosen = choose(entries, room);
    let mut out = String::with_capacity(room.limit.min(FIRST_BYTES));
    let mut next = 1;
    let (mut seq, mut blank) = (0, false);
    for entry in entries.iter().filter(|entry| chosen.contains(&entry.seq)) {
        if entry.seq > seq + 1 && entry.number > next {
            gap(&mut out, next, entry.number - 1);
        }
        // Of several blank lines one is enough.
        let is_blank = entry.text.trim().is_empty();
        if !(is_blank && blank) {
            out.push_str(&entry.text);
            out.push('\n');
        }
        (next, seq, blank) = (entry.number + 1, entry.seq, is_blank);
    }
    if next <= lines {
        gap(&mut out, next, lines);
    }
    out
}

fn gap(out: &mut String, from: u64, to: u64) {
    if from == to {
        out.push_str(&format!("[... line {from} ...]\n"));
    } else {
        out.push_str(&format!("[... lines {from}-{to} ...]\n"));
    }
}

/// The sequence numbers of what is shown.
fn choose(entries: &[Entry], room: Room) -> BTreeSet<u64> {
    let mut chosen =
        Chosen { entries, picked: vec![false; entries.len()], left: room.limit.saturating_sub(GAP_BYTES) };
    let head = room.ends * room.head / 100;
    let tail = room.ends - head;
    // A fair part of both ends first: what a tool says last is what it comes to.
    let from_end = || (0..entries.len()).rev();
    let used = chosen.take(from_end(), tail / 2);
    let begun = chosen.take(0..entries.len(), head / 2);
    let mut ranked: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].rank > 0).collect();
    let (count, middle) = (ranked.len(), ranked.len() / 2);
    let place: Vec<usize> = (0..count).map(|at| if at < middle { at } else { count - 1 - at }).collect();
    let mut order: Vec<usize> = (0..count).collect();
    // Among equals the first and the last ones go before those between.
    order.sort_by_key(|at| (std::cmp::Reverse(entries[ranked[*at]].rank), place[*at]));
    ranked = order.into_iter().map(|at| ranked[at]).collect();
    for at in ranked {
        chosen.pick(at);
    }
    chosen.take(from_end(), tail.saturating_sub(used));
    chosen.take(0..entries.len(), head.saturating_sub(begun));
    chosen.mend();
    let picked = chosen.picked;
    entries.iter().zip(picked).filter(|(_, picked)| *picked).map(|(entry, _)| entry.seq).collect()
}

struct Chosen<'a> {
    entries: &'a [Entry],
    picked: Vec<bool>,
    left: usize,
}

impl Chosen<'_> {
    /// Takes a line if there is room; `false` when there was none.
    fn pick(&mut self, at: usize) -> bool {
        if self.picked[at] {
            return true;
        }
        let beside = |other: Option<usize>| {
            other.is_some_and(|other| {
                self.picked.get(other) == Some(&true)
                    && self.entries[other].seq.abs_diff(self.entries[at].seq) == 1
            })
        };
        let gap = if beside(at.checked_sub(1)) || beside(Some(at + 1)) { 0 } else { GAP_BYTES };
        let cost = self.entries[at].text.len() + 1 + gap;
        if cost > self.left {
            return false;
        }
        self.left -= cost;
        self.picked[at] = true;
        true
    }

    /// Takes single short lines between chosen ones: to tell that they are left out is no shorter.
    fn mend(&mut self) {
        for at in 1..self.entries.len().saturating_sub(1) {
            let alone = self.picked[at - 1] && self.picked[at + 1] && !self.picked[at];
            let next_to = self.entries[at + 1].seq - self.entries[at - 1].seq == 2;
            if alone && next_to && self.entries[at].text.len() <= 2 * GAP_BYTES {
                self.pick(at);
            }
        }
    }

    /// Takes lines that are not noise, in this order, up to so many bytes; returns how many it took.
    fn take(&mut self, order: impl Iterator<Item = usize>, bytes: usize) -> usize {
        let mut used = 0;
        for at in order {
            let entry = &self.entries[at];
            if self.picked[at] || entry.class == Class::Noise {
                continue;
            }
            let size = entry.text.len() + 1;
            if used + size > bytes || !self.pick(at) {
                break;
            }
            used += size;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(of: impl Iterator<Item = (u64, u8)>) -> Vec<Entry> {
        of.map(|(seq, rank)| {
            let class = if rank > 0 { Class::Strong } else { Class::Plain };
            Entry { seq, number: seq, text: format!("line {seq}"), class, rank }
        })
        .collect()
    }

    #[test]
    fn what_matters_comes_first_and_gaps_are_named() {
        let entries = entries((1..=1000).map(|n| (n, if n == 500 { 200 } else { 0 })));
        let text = text(&entries, 1000, Room { limit: 400, ends: 100, head: 30 });
        assert!(text.contains("\nline 500\n") && text.contains("\nline 1000\n"), "{text}");
        assert!(
            text.starts_with("line 1\n") && text.contains("-499 ...]\nline 500\n[... lines 501-"),
            "{text}"
        );
        assert!(text.len() <= 400);
    }

    #[test]
    fn nothing_is_larger_than_its_limit() {
        let entries = entries((1..=400).map(|n| (n, u8::try_from(n % 250).unwrap())));
        for limit in [100, 333, 1000, 5000] {
            let text = text(&entries, 400, Room { limit, ends: limit / 2, head: 20 });
            assert!(text.len() <= limit, "{} of {limit}", text.len());
        }
    }
}
