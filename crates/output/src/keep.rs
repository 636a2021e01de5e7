//! The lines worth keeping of an output of any length: both ends, and what matters in between, in bounded memory.
//!
//! Knows classes, no words and no tools. Start at [`Keep::push`]; what is shown of it is chosen in `shown.rs`.

use crate::weigh::{self, Class};
use std::collections::{HashSet, VecDeque};

/// Bytes kept of each end.
const END_BYTES: usize = 32 * 1024;
/// Bytes of errors kept from the first on, and again up to the last.
const ERROR_BYTES: usize = 128 * 1024;
/// Bytes of everything else that matters, likewise.
const LESSER_BYTES: usize = 32 * 1024;
/// Bytes of one line that are kept.
const LINE_BYTES: usize = 1_000;
/// Kinds of trouble that are remembered, to tell a new one from one more.
const KINDS: usize = 16 * 1024;
/// Lines before a beginning of trouble that may explain it.
const BEFORE: usize = 2;
/// Rank of one more that differs by its numbers only.
const LIKE: u8 = 60;
/// Rank of what was there before, word for word.
const AGAIN: u8 = 4;

/// A kept line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place among all lines.
    pub(crate) seq: u64,
    /// Its number in the raw output.
    pub(crate) number: u64,
    pub(crate) text: String,
    pub(crate) class: Class,
    /// How much it matters; 0 is not at all.
    pub(crate) rank: u8,
}

/// Lines from the first on, and the last ones; what lies between is lost when there is too much.
#[derive(Debug)]
struct Shelf {
    first: Vec<Entry>,
    last: VecDeque<Entry>,
    first_room: usize,
    last_bytes: usize,
    room: usize,
}

impl Shelf {
    fn new(room: usize) -> Self {
        Self { first: Vec::new(), last: VecDeque::new(), first_room: room, last_bytes: 0, room }
    }

    fn push(&mut self, entry: Entry) {
        let size = entry.text.len() + size_of::<Entry>();
        if self.last.is_empty() && size <= self.first_room {
            self.first_room -= size;
            self.first.push(entry);
            return;
        }
        self.last_bytes += size;
        self.last.push_back(entry);
        while self.last_bytes > self.room {
            let Some(gone) = self.last.pop_front() else { break };
            self.last_bytes -= gone.text.len() + size_of::<Entry>();
        }
    }

    fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.first.into_iter().chain(self.last)
    }
}

/// Trouble that goes on.
#[derive(Debug, Clone, Copy)]
struct Block {
    class: Class,
    depth: u8,
    /// Lines that do not look like a continuation and are taken all the same.
    loose: u8,
    blanks: u8,
    again: bool,
}

/// What is kept.
#[derive(Debug)]
pub(crate) struct Keep {
    ends: Shelf,
    sure: Shelf,
    strong: Shelf,
    lesser: Shelf,
    block: Option<Block>,
    before: VecDeque<Entry>,
    kinds: HashSet<u64>,
    last_kind: u64,
    seq: u64,
    /// Everything, while it is little.
    pub(crate) whole: Option<String>,
    whole_room: usize,
    /// Lines of trouble no parser knew, each kind once.
    pub(crate) troubles: u64,
    /// Bytes of clean text.
    pub(crate) bytes: u64,
}

impl Keep {
    /// Remembers all of it up to so many bytes.
    pub(crate) fn new(whole_room: usize) -> Self {
        Self {
            ends: Shelf::new(END_BYTES),
            sure: Shelf::new(ERROR_BYTES),
            strong: Shelf::new(ERROR_BYTES),
            lesser: Shelf::new(LESSER_BYTES),
            block: None,
            before: VecDeque::new(),
            kinds: HashSet::new(),
            last_kind: 0,
            seq: 0,
            whole: Some(String::new()),
            whole_room,
            troubles: 0,
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, text: &str, number: u64, class: Class) {
        self.seq += 1;
        self.bytes += text.len() as u64 + 1;
        if let Some(whole) = &mut self.whole {
            if whole.len() + text.len() < self.whole_room {
                whole.push_str(text);
                whole.push('\n');
            } else {
                self.whole = None;
            }
        }
        let kind = kind(text, false);
        let repeats = kind == self.last_kind && class <= Class::Plain;
        self.last_kind = kind;
        let class = if repeats { Class::Noise } else { class };
        let rank = self.rank(text, class, kind);
        let entry = Entry { seq: self.seq, number, text: cut(text), class, rank };
        if rank > AGAIN {
            let shelf = match class {
                Class::Sure => &mut self.sure,
                _ if self.block.is_some_and(|block| block.class >= Class::Strong) => &mut self.strong,
                _ => &mut self.lesser,
            };
            if class >= Class::Strong {
                for (distance, before) in self.before.drain(..).rev().enumerate() {
                    let top = if before.class == Class::Noise { 40 } else { 120 };
                    let rank = top - 10 * u8::try_from(distance).unwrap_or(0);
                    shelf.push(Entry { rank, ..before });
                }
            }
            shelf.push(entry.clone());
            self.before.clear();
        } else if !text.trim().is_empty() {
            if self.before.len() == BEFORE {
                self.before.pop_front();
            }
            self.before.push_back(entry.clone());
        }
        self.ends.push(entry);
    }

    /// How much a line matters, by its class and by what goes on; nothing matters twice.
    fn rank(&mut self, text: &str, class: Class, kind: u64) -> u8 {
        let rank = self.rank_of(text, class, kind);
        let matters = rank > AGAIN && !text.trim().is_empty();
        if matters && !self.is_new(self::kind(text, true)) { AGAIN } else { rank }
    }

    fn is_new(&mut self, kind: u64) -> bool {
        !self.kinds.contains(&kind) && (self.kinds.len() >= KINDS || self.kinds.insert(kind))
    }

    fn rank_of(&mut self, text: &str, class: Class, kind: u64) -> u8 {
        let (top, loose) = match class {
            Class::Sure => (230, 4),
            Class::Strong => (200, 6),
            Class::Weak => (90, 2),
            Class::Warning => (70, 1),
            Class::Plain | Class::Noise => return self.goes_on(text, class),
        };
        let inside = self.block.is_some_and(|block| block.class > class && block.loose > 0);
        if inside {
            return self.goes_on(text, class).max(top);
        }
        let again = !self.is_new(kind);
        if !again && class == Class::Strong {
            self.troubles += 1;
        }
        self.block = Some(Block { class, depth: 0, loose, blanks: 0, again });
        if again { top.min(LIKE) } else { top }
    }

    /// A line that is no trouble by itself.
    fn goes_on(&mut self, text: &str, class: Class) -> u8 {
        let Some(block) = &mut self.block else { return 0 };
        let blank = text.trim().is_empty();
        let follows = !blank && weigh::follows(text);
        let deepest = if block.class >= Class::Strong { 60 } else { 12 };
        if blank {
            block.blanks += 1;
        } else {
            block.blanks = 0;
        }
        let goes_on = match (blank, follows, class) {
            (true, ..) => block.blanks < 2,
            (_, true, _) => true,
            (_, _, Class::Noise) => false,
            _ => {
                block.loose = block.loose.saturating_sub(1);
                block.loose > 0
            }
        };
        block.depth += 1;
        if !goes_on || block.depth >= deepest {
            if class != Class::Noise || blank {
                self.block = None;
            }
            return 0;
        }
        if block.again {
            return LIKE.saturating_sub(block.depth.saturating_mul(5)).max(AGAIN);
        }
        match block.class {
            Class::Sure | Class::Strong => 198_u8.saturating_sub(block.depth.saturating_mul(2)),
            Class::Weak => 85_u8.saturating_sub(block.depth.saturating_mul(5)),
            _ => 66_u8.saturating_sub(block.depth.saturating_mul(4)),
        }
    }

    /// All that was kept, in the order it came.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        let shelves = [self.sure, self.strong, self.lesser, self.ends];
        let mut entries: Vec<Entry> = shelves.into_iter().flat_map(Shelf::into_entries).collect();
        // The same line may lie on two shelves: the higher rank counts.
        entries.sort_by_key(|entry| (entry.seq, std::cmp::Reverse(entry.rank)));
        entries.dedup_by_key(|entry| entry.seq);
        entries
    }

    /// How many lines came.
    pub(crate) fn lines(&self) -> u64 {
        self.seq
    }
}

/// Both ends of a line that is too long.
fn cut(text: &str) -> String {
    if text.len() <= LINE_BYTES {
        return text.to_owned();
    }
    let (head, tail) = (LINE_BYTES * 2 / 3, LINE_BYTES / 3 - 40);
    let (head, tail) = (text.floor_char_boundary(head), text.ceil_char_boundary(text.len() - tail));
    format!("{} [... {} bytes ...] {}", &text[..head], tail - head, &text[tail..])
}

/// A line's kind: what it says, with or without its numbers (FNV-1a).
fn kind(text: &str, numbers: bool) -> u64 {
    let counts = |byte: &u8| numbers || !byte.is_ascii_digit();
    text.bytes()
        .take(LINE_BYTES)
        .filter(counts)
        .fold(0xcbf2_9ce4_8422_2325 ^ u64::from(numbers), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
