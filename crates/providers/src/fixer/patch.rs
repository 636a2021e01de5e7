//! Changes to texts: parts that belong together, which of them can go in at once, and how a
//! changed text is said to the edit tool.
//!
//! Knows texts, not Rust and not diagnostics. Start at [`Fix`] and [`edits`].

use std::collections::BTreeMap;
use std::ops::Range;

/// Texts of files by path.
pub(crate) type Texts = BTreeMap<String, String>;

/// A change whose parts go in together or not at all. Ranges are bytes of the texts it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fix {
    /// The lint or error it answers.
    pub code: String,
    /// File, range and new text, sorted, not overlapping.
    pub parts: Vec<Part>,
}

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    /// The file.
    pub file: String,
    /// Where its text is replaced: start and end in bytes.
    pub at: (usize, usize),
    /// By what.
    pub new: String,
}

impl Fix {
    /// A fix of these parts; `None` when they overlap or change nothing.
    pub(crate) fn new(code: &str, mut parts: Vec<Part>, texts: &Texts) -> Option<Self> {
        parts.sort();
        parts.dedup();
        let sound = parts.windows(2).all(|pair| !clash(&pair[0], &pair[1]));
        let changes = parts.iter().any(|part| {
            texts.get(&part.file).and_then(|text| text.get(part.range())).is_some_and(|old| old != part.new)
        });
        (sound && changes).then(|| Self { code: code.into(), parts })
    }

    /// True when both cannot go in at once.
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        self.parts.iter().any(|a| other.parts.iter().any(|b| clash(a, b)))
    }

    /// What stays the same when other lines move: the lines it changes and what it makes of them.
    pub(crate) fn key(&self, texts: &Texts) -> String {
        let mut key = self.code.clone();
        for part in &self.parts {
            let text = texts.get(&part.file).map_or("", String::as_str);
            let lines = whole_lines(text, part.range());
            let column = part.at.0 - lines.start;
            key.push_str(&format!("|{}:{}@{column}>{}", part.file, &text[lines], part.new));
        }
        key
    }
}

impl Part {
    /// The bytes it replaces.
    pub(crate) fn range(&self) -> Range<usize> {
        self.at.0..self.at.1
    }
}

/// Two insertions at one point clash too: their order would be a guess.
fn clash(a: &Part, b: &Part) -> bool {
    a.file == b.file && a != b && (a.at == b.at || (a.at.0 < b.at.1 && b.at.0 < a.at.1))
        || (a.file == b.file && a == b && a.at.0 == a.at.1)
}

/// Those of `fixes` that can go in together, the first of two that clash, each change once.
pub(crate) fn compatible(fixes: Vec<Fix>) -> Vec<Fix> {
    let mut kept: Vec<Fix> = Vec::new();
    for fix in fixes {
        if !kept.iter().any(|known| known.parts == fix.parts || known.clashes(&fix)) {
            kept.push(fix);
        }
    }
    kept
}

/// The texts with these fixes in. Fixes must be compatible with one another.
pub(crate) fn applied<'a>(texts: &Texts, fixes: impl IntoIterator<Item = &'a Fix>) -> Texts {
    let mut parts: Vec<&Part> = fixes.into_iter().flat_map(|fix| &fix.parts).collect();
    parts.sort();
    parts.dedup();
    let mut changed = texts.clone();
    for part in parts.into_iter().rev() {
        if let Some(text) = changed.get_mut(&part.file).filter(|text| text.get(part.range()).is_some()) {
            text.replace_range(part.range(), &part.new);
        }
    }
    changed
}

/// The lines (from 1) a fix touches in the texts it and its companions are already in, with a line
/// on either side: an error may point just beside its cause.
pub(crate) fn lines_after(fix: &Fix, all: &[&Fix], after: &Texts) -> Vec<(String, Range<usize>)> {
    let lines = |part: &Part| {
        let before =
            all.iter().flat_map(|fix| &fix.parts).filter(|other| other.file == part.file && *other < part);
        let moved: isize = before.map(|other| other.new.len() as isize - other.range().len() as isize).sum();
        let text = after.get(&part.file)?;
        let start = part.at.0.checked_add_signed(moved)?;
        let line = |at: usize| 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
        Some((part.file.clone(), line(start).saturating_sub(1)..line(start + part.new.len()) + 2))
    };
    fix.parts.iter().filter_map(lines).collect()
}

/// The smallest range of whole lines around a range, the last line's end included.
pub(crate) fn whole_lines(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text[..range.start].rfind('\n').map_or(0, |i| i + 1);
    // A range that ends right after a line's end does not reach into the next line.
    let last =
        if range.end > range.start && text[..range.end].ends_with('\n') { range.end - 1 } else { range.end };
    let end = text[last..].find('\n').map_or(text.len(), |i| last + i + 1);
    start..end
}

/// An edit as the edit tool takes it: `old` occurs exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The text to find.
    pub old: String,
    /// What stands there afterwards.
    pub new: String,
}

/// The edits that turn one text into the other, each `old` unique in the text it meets, whether the
/// edits are applied one after another or all to the original. `None`: rewrite the file instead.
pub(crate) fn edits(from: &str, to: &str) -> Option<Vec<Edit>> {
    let hunks = hunks(from, to);
    let mut edits: Vec<Edit> = Vec::new();
    let mut last_end = 0;
    for (old, new) in hunks {
        let (old, new) = unique(from, to, old, new, last_end)?;
        last_end = old.end;
        let (old, new) = bare(&from[old], &to[new]);
        edits.push(Edit { old: old.into(), new: new.into() });
    }
    let mut text = from.to_owned();
    for edit in &edits {
        let at = text.find(&edit.old).filter(|&at| only_at(&text, &edit.old, at))?;
        text.replace_range(at..at + edit.old.len(), &edit.new);
    }
    (text == to).then_some(edits)
}

/// Changed stretches as byte ranges of whole lines in both texts.
fn hunks(from: &str, to: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let a: Vec<&str> = from.split_inclusive('\n').collect();
    let b: Vec<&str> = to.split_inclusive('\n').collect();
    let starts = |lines: &[&str]| {
        let mut at = 0;
        let mut starts = vec![0];
        starts.extend(lines.iter().map(|line| {
            at += line.len();
            at
        }));
        starts
    };
    let (from_at, to_at) = (starts(&a), starts(&b));
    similar::capture_diff_slices(similar::Algorithm::Myers, &a, &b)
        .into_iter()
        .filter(|op| op.tag() != similar::DiffTag::Equal)
        .map(|op| {
            let (old, new) = (op.old_range(), op.new_range());
            (from_at[old.start]..from_at[old.end], to_at[new.start]..to_at[new.end])
        })
        .collect()
}

/// Both without the line end they share: whether a file's last line has one does not show in its
/// numbered lines, nor which kind it is.
fn bare<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    match (old.strip_suffix('\n'), new.strip_suffix('\n')) {
        (Some(old), Some(new)) => (old, new),
        _ => (old, new),
    }
}

/// Does `piece` stand at `at` and nowhere else, not even overlapping itself?
fn only_at(text: &str, piece: &str, at: usize) -> bool {
    let after = at + piece.chars().next().map_or(1, char::len_utf8);
    text.find(piece) == Some(at) && text.get(after..).is_some_and(|rest| !rest.contains(piece))
}

/// Takes in neighbouring lines, below and above in turn, until the old text occurs once.
fn unique(
    from: &str,
    to: &str,
    mut old: Range<usize>,
    mut new: Range<usize>,
    floor: usize,
) -> Option<(Range<usize>, Range<usize>)> {
    let mut below = true;
    let once = |old: &Range<usize>, new: &Range<usize>| {
        let piece = bare(&from[old.clone()], &to[new.clone()]).0;
        !piece.is_empty() && only_at(from, piece, old.start)
    };
    while !once(&old, &new) {
        let grown_below =
            from[old.end..].split_inclusive('\n').next().filter(|_| below || old.start <= floor);
        let above = &from[floor.min(old.start)..old.start];
        match grown_below {
            // A line that is changed itself belongs to the next hunk.
            Some(line) if to[new.end..].starts_with(line) => {
                (old.end, new.end) = (old.end + line.len(), new.end + line.len());
            }
            _ => {
                let line = above.split_inclusive('\n').next_back()?;
                if !to[..new.start].ends_with(line) {
                    return None;
                }
                (old.start, new.start) = (old.start - line.len(), new.start - line.len());
            }
        }
        below = !below;
    }
    Some((old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Texts {
        Texts::from([("f".to_owned(), text.to_owned())])
    }

    fn fix(parts: &[(usize, usize, &str)], text: &str) -> Option<Fix> {
        let part = |&(start, end, new): &(usize, usize, &str)| Part {
            file: "f".into(),
            at: (start, end),
            new: new.into(),
        };
        Fix::new("l", parts.iter().map(part).collect(), &texts(text))
    }

    #[test]
    fn parts_go_in_together_and_clashes_wait() {
        let text = "try!(try!(a))";
        let outer = fix(&[(0, 5, ""), (12, 13, "?")], text).unwrap();
        let inner = fix(&[(5, 10, ""), (11, 12, "?")], text).unwrap();
        let late = fix(&[(3, 7, "x")], text).unwrap();
        let kept = compatible(vec![outer.clone(), inner, late, outer]);
        assert_eq!(kept.len(), 2);
        assert_eq!(applied(&texts(text), &kept)["f"], "a??");
        assert_eq!(fix(&[(0, 3, "try")], text), None);
        assert_eq!(fix(&[(0, 3, "x"), (2, 4, "y")], text), None);
    }

    #[test]
    fn insertions_at_one_point_clash() {
        let one = fix(&[(1, 1, "x")], "ab").unwrap();
        let two = fix(&[(1, 1, "y")], "ab").unwrap();
        assert!(one.clashes(&two));
    }

    fn check(from: &str, to: &str) -> Vec<Edit> {
        let edits = edits(from, to).expect("edits");
        let mut at_once = from.to_owned();
        for edit in edits.iter().rev() {
            assert_eq!(from.matches(&edit.old).count(), 1, "{edit:?}");
            let at = from.find(&edit.old).unwrap();
            at_once.replace_range(at..at + edit.old.len(), &edit.new);
        }
        assert_eq!(at_once, to);
        edits
    }

    #[test]
    fn edits_are_unique_and_small() {
        assert_eq!(check("a\nb\nc\n", "a\nB\nc\n").len(), 1);
        let two = check("x\ny\nx\ny\nx\nend\n", "x\ny\nx\ny\nX\nend\n");
        assert_eq!(two, [Edit { old: "x\nend".into(), new: "X\nend".into() }]);
        check("a\nb\n", "a\nnew\nb\n");
        check("a\nb\nc\n", "a\nc\n");
        check("last", "LAST");
        check("same\nsame\nsame\n", "same\nSAME\nsame\n");
        assert_eq!(edits("a\n", "a\n"), Some(vec![]));
    }

    #[test]
    fn whole_lines_end_with_their_line_end() {
        let text = "ab\ncd\nef";
        assert_eq!(whole_lines(text, 4..4), 3..6);
        assert_eq!(whole_lines(text, 0..3), 0..3);
        assert_eq!(whole_lines(text, 7..8), 6..8);
        assert_eq!(whole_lines(text, 1..4), 0..6);
    }

    proptest::proptest! {
        #[test]
        fn edits_lead_to_the_wanted_text(from in "[ab]{0,3}(\n[ab]{0,2}){0,9}\n?", to in "[abc]{0,3}(\n[abc]{0,2}){0,9}\n?") {
            if let Some(edits) = edits(&from, &to) {
                let mut text = from.clone();
                for edit in &edits {
                    proptest::prop_assert_eq!(text.matches(&edit.old).count(), 1);
                    text = text.replacen(&edit.old, &edit.new, 1);
                }
                proptest::prop_assert_eq!(text, to);
            }
        }
    }
}
