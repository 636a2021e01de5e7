//! One place of one file that a patch changes: where it fits, and what stands there afterwards.
//!
//! Knows neither formats nor files. Start at [`apply`].
//!
//! Where a hunk names its line and fits there exactly, it goes there. Anywhere else, and with any difference but that
//! of line ends, it goes only where it fits in exactly one place: a guess that is wrong would be an edit nobody asked
//! for. Lines that are kept are always the file's own.

use super::near;
use std::cell::Cell;
use std::fmt;

/// What is done with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// It stays.
    Keep,
    /// It goes.
    Out,
    /// It comes.
    In,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) act: Act,
    /// Without the end.
    pub(crate) text: Vec<u8>,
    /// False: the patch says that the file ends here, without a newline.
    pub(crate) ended: bool,
}

impl Line {
    pub(crate) fn new(act: Act, text: &str) -> Self {
        Self { act, text: text.into(), ended: true }
    }
}

/// Lines that stand together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hunk {
    /// How many lines of the file stand before it, if it says so.
    pub(crate) at: Option<usize>,
    /// Lines that stand somewhere before it, outermost first.
    pub(crate) anchors: Vec<String>,
    /// Its last line is the file's last.
    pub(crate) last: bool,
    pub(crate) lines: Vec<Line>,
}

impl Hunk {
    fn old(&self) -> impl Iterator<Item = &Line> + Clone {
        self.lines.iter().filter(|line| line.act != Act::In)
    }
}

/// How alike two lines have to be; each one takes more for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alike {
    Exactly,
    /// But for line ends.
    Ends,
    /// But for white space at the end.
    Trailing,
    /// But for an indentation that is the same for all lines.
    Indented,
}

const LEVELS: [Alike; 4] = [Alike::Exactly, Alike::Ends, Alike::Trailing, Alike::Indented];

/// How much further in the file's lines stand than the patch's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Shift {
    #[default]
    None,
    Further(Vec<u8>),
    Less(Vec<u8>),
}

/// Where a hunk goes.
#[derive(Debug)]
struct Place {
    at: usize,
    alike: Alike,
    shift: Shift,
}

/// A file after its hunks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) bytes: Vec<u8>,
    /// What was not as the patch says, for the model.
    pub(crate) notes: Vec<String>,
}

/// The lines of a file, each with its end.
pub(crate) fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Does every line end with CRLF, and is there one at all?
pub(crate) fn has_only_crlf(bytes: &[u8]) -> bool {
    let mut ends = memchr::memchr_iter(b'\n', bytes).peekable();
    ends.peek().is_some() && ends.all(|at| at > 0 && bytes[at - 1] == b'\r')
}

/// All hunks or none: every one that does not fit is named, with what stands there instead.
pub(crate) fn apply(bytes: &[u8], hunks: &[Hunk]) -> Result<Applied, Vec<String>> {
    let file = lines(bytes);
    let end: &[u8] = if has_only_crlf(bytes) { b"\r\n" } else { b"\n" };
    let (mut out, mut refused) = (Applied::default(), Vec::new());
    let (mut done, mut offset) = (0, 0isize);
    let left = Cell::new(near::WORTH);
    for (number, hunk) in (1..).zip(hunks) {
        let name = Name { number, all: hunks.len(), hunk };
        let place = match place(&file, hunk, done, offset, &left) {
            Ok(place) => place,
            Err(why) => {
                refused.push(format!("{name}{why}"));
                continue;
            }
        };
        if let Some(at) = hunk.at {
            offset = place.at as isize - at as isize;
        }
        out.notes.extend(note(&name, &place));
        file[done..place.at].iter().for_each(|line| push(&mut out.bytes, line, end));
        done = place.at + put(&mut out.bytes, &file, hunk, &place, end);
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    file[done..].iter().for_each(|line| push(&mut out.bytes, line, end));
    Ok(out)
}

/// Names a hunk among several.
struct Name<'a> {
    number: usize,
    all: usize,
    hunk: &'a Hunk,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.all, self.hunk.at) {
            (1, _) => Ok(()),
            (all, Some(at)) => write!(f, "hunk {} of {all} (for line {}): ", self.number, at + 1),
            (all, None) => write!(f, "hunk {} of {all}: ", self.number),
        }
    }
}

fn note(name: &Name<'_>, place: &Place) -> Option<String> {
    let how = match place.alike {
        Alike::Exactly | Alike::Ends => None,
        Alike::Trailing => Some("white space at line ends differs"),
        Alike::Indented => Some("indentation differs"),
    };
    let moved = name.hunk.at.filter(|at| *at != place.at).map(|at| format!(", not {}", at + 1));
    if how.is_none() && moved.is_none() {
        return None;
    }
    let (line, moved) = (place.at + 1, moved.unwrap_or_default());
    let how = how.map(|how| format!("; {how}")).unwrap_or_default();
    Some(format!("{name}put at line {line}{moved}{how}"))
}

/// Where the hunk goes, from this line on.
fn place(
    file: &[&[u8]],
    hunk: &Hunk,
    from: usize,
    offset: isize,
    left: &Cell<usize>,
) -> Result<Place, String> {
    let count = hunk.old().count();
    if count == 0 {
        return insertion(file, hunk, from, offset);
    }
    let said = hunk.at.and_then(|at| at.checked_add_signed(offset)).filter(|at| *at >= from);
    for alike in LEVELS {
        let fits = |at: usize| fits(file, hunk, at, alike, left).map(|shift| Place { at, alike, shift });
        let sure = alike <= Alike::Ends;
        if let Some(place) = said.filter(|_| sure).and_then(fits) {
            return Ok(place);
        }
        let last = file.len().checked_sub(count).filter(|at| *at >= from);
        if let Some(place) = last.filter(|_| hunk.last && sure).and_then(fits) {
            return Ok(place);
        }
        let Some(last) = last else { break };
        let mut found: Vec<Place> = (from..=last).filter_map(fits).collect();
        if left.get() == 0 {
            return Err(
                "it fits almost everywhere and is long: give fewer lines, and ones that differ".to_owned()
            );
        }
        if found.len() > 1 && !hunk.anchors.is_empty() {
            found = anchored(file, hunk, from, found);
        }
        match found.len() {
            0 => {}
            1 => return found.pop().ok_or_else(String::new),
            n => {
                let at: Vec<String> =
                    found.iter().take(near::PLACES).map(|p| (p.at + 1).to_string()).collect();
                let more = if n > near::PLACES { " ..." } else { "" };
                return Err(format!(
                    "it fits in {n} places (lines {}{more}): give more lines around it",
                    at.join(", ")
                ));
            }
        }
    }
    let wanted: Vec<&[u8]> = hunk.old().map(|line| line.text.as_slice()).collect();
    Err(format!("it fits nowhere{}", near::instead(file, &wanted, from, said)))
}

/// A hunk that only adds.
fn insertion(file: &[&[u8]], hunk: &Hunk, from: usize, offset: isize) -> Result<Place, String> {
    let place = |at| Place { at, alike: Alike::Exactly, shift: Shift::None };
    if let Some(at) = hunk.at {
        let at = at.checked_add_signed(offset).filter(|at| (from..=file.len()).contains(at));
        return at.map(place).ok_or_else(|| format!("there is no such line: the file has {}", file.len()));
    }
    if hunk.anchors.is_empty() {
        return Ok(place(file.len()));
    }
    let after = after_anchors(file, &hunk.anchors, from);
    match after[..] {
        [at] => Ok(place(at)),
        [] => Err(format!("the line `{}` is not there", hunk.anchors.join("` or `"))),
        _ => Err(format!(
            "the line `{}` is there {} times: give lines around it",
            hunk.anchors.join("`, `"),
            after.len()
        )),
    }
}

/// Of several places those that come first after the lines the hunk names.
fn anchored(file: &[&[u8]], hunk: &Hunk, from: usize, found: Vec<Place>) -> Vec<Place> {
    let after = after_anchors(file, &hunk.anchors, from);
    if after.is_empty() {
        return found;
    }
    // All of them stand in the order of the file.
    let first =
        |after: &usize| found.get(found.partition_point(|place| place.at < *after)).map(|place| place.at);
    let firsts: Vec<usize> = after.iter().filter_map(first).collect();
    found.into_iter().filter(|place| firsts.binary_search(&place.at).is_ok()).collect()
}

/// The lines that follow these, each of which stands somewhere after the one before.
fn after_anchors(file: &[&[u8]], anchors: &[String], from: usize) -> Vec<usize> {
    let is = |line: &[u8], anchor: &str| line.trim_ascii() == anchor.trim().as_bytes();
    let Some((last, before)) = anchors.split_last() else { return Vec::new() };
    let mut start = from;
    for anchor in before {
        match file[start..].iter().position(|line| is(line, anchor)) {
            Some(at) => start += at + 1,
            None => return Vec::new(),
        }
    }
    (start..file.len()).filter(|at| is(file[*at], last)).map(|at| at + 1).collect()
}

/// Does the old side of the hunk stand here?
fn fits(file: &[&[u8]], hunk: &Hunk, at: usize, alike: Alike, left: &Cell<usize>) -> Option<Shift> {
    let there = file.get(at..)?;
    let mut shift = None;
    let mut there = there.iter();
    for line in hunk.old() {
        left.set(left.get().checked_sub(1)?);
        let is = there.next()?;
        let same = match alike {
            Alike::Exactly => {
                is.strip_suffix(b"\n").map_or((*is, false), |text| (text, true)) == (&line.text, line.ended)
            }
            Alike::Ends => bare(is) == bare(&line.text),
            Alike::Trailing => is.trim_ascii_end() == line.text.trim_ascii_end(),
            Alike::Indented => indented(is, &line.text, &mut shift),
        };
        if !same {
            return None;
        }
    }
    let shift = shift.unwrap_or_default();
    // What comes in has to have the indentation that is taken from it.
    let takes = |line: &Line| match &shift {
        Shift::Less(much) => line.text.starts_with(much) || line.text.trim_ascii().is_empty(),
        _ => true,
    };
    hunk.lines.iter().filter(|line| line.act == Act::In).all(takes).then_some(shift)
}

/// Without its end, whichever.
fn bare(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Are they the same but for a shift that is that of all lines before?
fn indented(is: &[u8], said: &[u8], shift: &mut Option<Shift>) -> bool {
    let (text, wanted) = (is.trim_ascii(), said.trim_ascii());
    if text != wanted {
        return false;
    }
    if text.is_empty() {
        return true;
    }
    let indent = |line: &[u8]| line[..line.len() - line.trim_ascii_start().len()].to_vec();
    let (file, patch) = (indent(is), indent(said));
    let own = if file == patch {
        Shift::None
    } else if let Some(more) = file.strip_suffix(patch.as_slice()) {
        Shift::Further(more.to_vec())
    } else if let Some(less) = patch.strip_suffix(file.as_slice()) {
        Shift::Less(less.to_vec())
    } else {
        return false;
    };
    *shift.get_or_insert_with(|| own.clone()) == own
}

/// Appends a line; one without an end that is not the last gets one.
fn push(out: &mut Vec<u8>, line: &[u8], end: &[u8]) {
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(end);
    }
    out.extend_from_slice(line);
}

/// Appends the new side of the hunk; how many lines of the file it stands for.
fn put(out: &mut Vec<u8>, file: &[&[u8]], hunk: &Hunk, place: &Place, end: &[u8]) -> usize {
    let count = hunk.old().count();
    // In a file of CRLF, lines that nothing around them tells about end like all others.
    let silent = count == 0 && !hunk.lines.iter().any(|line| line.text.ends_with(b"\r"));
    let as_said = place.alike == Alike::Exactly && !(silent && end == b"\r\n");
    let mut at = place.at;
    for line in &hunk.lines {
        match line.act {
            Act::Out => at += 1,
            Act::Keep => {
                push(out, file[at], end);
                at += 1;
            }
            Act::In if as_said => {
                push(out, &line.text, end);
                out.extend_from_slice(if line.ended { b"\n" } else { b"" });
            }
            Act::In => {
                let text = shifted(bare(&line.text), &place.shift);
                push(out, &text, end);
                out.extend_from_slice(if line.ended { end } else { b"" });
            }
        }
    }
    // Who forgets that the last line has no end does not want one.
    let unended = file.last().is_some_and(|line| !line.ends_with(b"\n"));
    let comes_last = hunk.lines.last().is_some_and(|line| line.act == Act::In);
    if !as_said && count > 0 && at == file.len() && unended && comes_last && out.ends_with(end) {
        out.truncate(out.len() - end.len());
    }
    count
}

fn shifted(text: &[u8], shift: &Shift) -> Vec<u8> {
    match shift {
        _ if text.trim_ascii().is_empty() => text.to_vec(),
        Shift::None => text.to_vec(),
        Shift::Further(more) => [more, text].concat(),
        Shift::Less(less) => text.strip_prefix(less.as_slice()).unwrap_or(text).to_vec(),
    }
}
