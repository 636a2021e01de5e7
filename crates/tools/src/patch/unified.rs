//! Unified diffs, as git and diff write them and as models write them from memory.
//!
//! Knows nothing of the files they are about. Start at [`parse`].
//!
//! A hunk's counts hold when its lines agree with them; otherwise it reaches as far as its lines look like a hunk's.

use super::hunk::{Act, Hunk, Line};
use super::{Bad, Section, line_name};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Is there anything in it that begins one?
pub(super) fn is_one(lines: &[&str]) -> bool {
    lines.iter().any(|line| line.starts_with("diff --git "))
        || lines.windows(2).any(|pair| pair[0].starts_with("--- ") && pair[1].starts_with("+++ "))
}

/// The files it is about, in its order.
pub(super) fn parse(lines: &[&str]) -> Result<Vec<Section>, Bad> {
    let mut at = 0;
    let mut sections = Vec::new();
    while at < lines.len() {
        if starts_file(lines, at) {
            let mut head = Head::default();
            at = head.read(lines, at)?;
            let (hunks, next) = hunks(lines, at)?;
            sections.push(head.section(hunks, at)?);
            at = next;
            continue;
        }
        let stray = !sections.is_empty() && lines[at].starts_with(['+', '-']) && lines[at].trim_end() != "--";
        if stray || lines[at].starts_with("@@ -") {
            return Err(Bad::at(at, "this line belongs to no hunk; a file begins with `--- ` and `+++ `"));
        }
        at += 1;
    }
    Ok(sections)
}

fn starts_file(lines: &[&str], at: usize) -> bool {
    lines[at].starts_with("diff --git ") || starts_names(lines, at)
}

fn starts_names(lines: &[&str], at: usize) -> bool {
    lines[at].starts_with("--- ") && lines.get(at + 1).is_some_and(|next| next.starts_with("+++ "))
}

/// What stands above the hunks of a file. Names are as they stand there.
#[derive(Default)]
struct Head {
    /// After `diff --git`.
    both: Option<(OsString, OsString)>,
    /// After `---` and `+++`.
    names: Option<(OsString, OsString)>,
    from: Option<OsString>,
    to: Option<OsString>,
    copy: bool,
    created: bool,
    deleted: bool,
    executable: Option<bool>,
}

impl Head {
    /// Reads all lines of it; where the hunks begin.
    fn read(&mut self, lines: &[&str], start: usize) -> Result<usize, Bad> {
        let mut at = start;
        while at < lines.len() {
            let line = lines[at].trim_end_matches('\r');
            if starts_names(lines, at) {
                let name = |line: &str| stamped(line).ok_or_else(|| Bad::at(at, "no file is named here"));
                self.names = Some((name(&line[4..])?, name(&lines[at + 1][4..])?));
                return Ok(at + 2);
            }
            let known = match line.split_once(' ') {
                Some(("diff", rest)) if at == start => {
                    self.both = rest.strip_prefix("--git ").and_then(both_names);
                    true
                }
                Some(("diff", _)) => return Ok(at),
                _ => self.extended(line).map_err(|why| Bad::at(at, why))?,
            };
            if !known {
                return Ok(at);
            }
            at += 1;
        }
        Ok(at)
    }

    /// A line of git's own between `diff --git` and the names.
    fn extended(&mut self, line: &str) -> Result<bool, String> {
        let mode = |text: &str| match text {
            "100644" | "100664" => Ok(Some(false)),
            "100755" => Ok(Some(true)),
            "120000" => Err("symbolic links cannot be patched; use shell".to_owned()),
            "160000" => Err("submodules cannot be patched; use shell".to_owned()),
            other => Err(format!("`{other}` is no mode of a file")),
        };
        let starts = |prefix: &str| line.strip_prefix(prefix);
        if let Some(text) = starts("new file mode ") {
            (self.created, self.executable) = (true, mode(text)?);
        } else if let Some(text) = starts("deleted file mode ") {
            mode(text)?;
            self.deleted = true;
        } else if let Some(text) = starts("old mode ") {
            mode(text)?;
        } else if let Some(text) = starts("new mode ") {
            self.executable = mode(text)?;
        } else if let Some(text) = starts("rename from ").or(starts("copy from ")) {
            (self.from, self.copy) = (Some(unquoted(text)), line.starts_with("copy"));
        } else if let Some(text) = starts("rename to ").or(starts("copy to ")) {
            self.to = Some(unquoted(text));
        } else if starts("GIT binary patch").or(starts("Binary files ")).is_some() {
            return Err("binary files cannot be patched".to_owned());
        } else {
            return Ok(["index ", "similarity index ", "dissimilarity index "]
                .iter()
                .any(|p| line.starts_with(p)));
        }
        Ok(true)
    }

    fn section(self, hunks: Vec<Hunk>, at: usize) -> Result<Section, Bad> {
        // Whatever stands before them, as git can be told; of another file they would go to the wrong one.
        let of_another = |name: &OsString, is: &Option<OsString>| {
            is.as_ref().is_some_and(|is| !name.as_bytes().ends_with(is.as_bytes()))
        };
        if self
            .names
            .as_ref()
            .is_some_and(|(old, new)| of_another(old, &self.from) || of_another(new, &self.to))
        {
            return Err(Bad::at(
                at.saturating_sub(1),
                "this is not the file above; begin each one with `diff --git`",
            ));
        }
        let (old, new) = match (self.names, self.both) {
            // What git says plainly needs no prefix guessed away.
            _ if self.from.is_some() && self.to.is_some() => (self.from, self.to),
            (Some((old, new)), _) => sides(old, new),
            (None, Some((old, new))) => {
                let (old, new) = sides(old, new);
                (old.filter(|_| !self.created), new.filter(|_| !self.deleted))
            }
            (None, None) => (None, None),
        };
        if old.is_none() && new.is_none() {
            return Err(Bad::at(at, "no file is named above"));
        }
        let path = |name: Option<OsString>| name.map(PathBuf::from);
        let empty = hunks.is_empty() && self.executable.is_none() && old == new;
        if empty {
            return Err(Bad::at(at, "there is no hunk; one begins with `@@ -LINE,COUNT +LINE,COUNT @@`"));
        }
        Ok(Section { old: path(old), new: path(new), copy: self.copy, executable: self.executable, hunks })
    }
}

/// The two names without what git puts before them; none where a side is `/dev/null`.
fn sides(old: OsString, new: OsString) -> (Option<OsString>, Option<OsString>) {
    let there = |name: OsString| (name != "/dev/null").then(|| name.into_vec());
    let (old, new) = (there(old), there(new));
    let is =
        |name: &Option<Vec<u8>>, prefix: &[u8]| name.as_ref().is_none_or(|name| name.starts_with(prefix));
    let prefixed = is(&old, b"a/") && is(&new, b"b/");
    let bare = |name: Vec<u8>| OsString::from_vec(if prefixed { name[2..].to_vec() } else { name });
    (old.map(bare), new.map(bare))
}

/// A name as it stands after `---`, without the time that may follow it.
fn stamped(text: &str) -> Option<OsString> {
    let text = text.trim_end_matches('\r');
    let text = text.split('\t').next().unwrap_or(text).trim();
    (!text.is_empty()).then(|| unquoted(text))
}

/// The two names of `diff --git a/NAME b/NAME`.
fn both_names(text: &str) -> Option<(OsString, OsString)> {
    if let Some(rest) = text.strip_prefix('"') {
        let end = closing(rest)?;
        let (old, new) = (&text[..end + 2], rest[end + 1..].trim());
        return Some((unquoted(old), unquoted(new)));
    }
    if let Some((old, new)) = text.split_once(" \"") {
        return Some((old.into(), unquoted(&format!("\"{new}"))));
    }
    // Both are one name behind their prefixes, unless it is a rename, which says so itself.
    let middle = text.len() / 2;
    let same = text.is_char_boundary(middle) && text.as_bytes().get(middle) == Some(&b' ');
    let (old, new) = if same { (&text[..middle], &text[middle + 1..]) } else { text.split_once(" b/")? };
    let new = if same { new.to_owned() } else { format!("b/{new}") };
    Some((old.into(), new.into()))
}

/// Where the text in quotes ends.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    })
}

/// A name as git writes one with odd bytes, `"a\303\244"`; any other as the tools of Kapell write it.
fn unquoted(text: &str) -> OsString {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return line_name(text);
    };
    let mut out = Vec::new();
    let mut rest = inner.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let [next, ..] = after else {
            out.push(*first);
            break;
        };
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let octal = |digits: &[u8]| {
            let digits = digits.get(..3)?;
            digits.iter().try_fold(0u32, |value, digit| {
                matches!(digit, b'0'..=b'7').then(|| value * 8 + u32::from(digit - b'0'))
            })
        };
        if let Some(byte) = octal(after).and_then(|value| u8::try_from(value).ok()) {
            out.push(byte);
            rest = &after[3..];
            continue;
        }
        rest = &after[1..];
        out.push(match next {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            other => *other,
        });
    }
    OsString::from_vec(out)
}

/// The hunks from here on, and where they end.
fn hunks(lines: &[&str], start: usize) -> Result<(Vec<Hunk>, usize), Bad> {
    let (mut at, mut hunks) = (start, Vec::new());
    while let Some(header) = lines.get(at).filter(|line| line.starts_with("@@")) {
        let counts = Counts::read(header);
        let found = counts.and_then(|counts| counted(lines, at + 1, counts));
        let (body, next) = match found {
            Some(found) => found,
            None => {
                let end = (at + 1..lines.len()).find(|at| ends_hunk(lines, *at)).unwrap_or(lines.len());
                (loose(lines, at + 1, end)?, end)
            }
        };
        if body.is_empty() {
            return Err(Bad::at(at, "this hunk has no lines"));
        }
        let adds = body.iter().all(|line| line.act == Act::In);
        // A hunk without old lines names the line before it; any other its first one.
        let before = |counts: Counts| if adds { counts.line } else { counts.line.saturating_sub(1) };
        hunks.push(Hunk { at: counts.map(before), lines: body, ..Hunk::default() });
        at = next;
    }
    Ok((hunks, at))
}

#[derive(Clone, Copy)]
struct Counts {
    line: usize,
    old: usize,
    new: usize,
}

impl Counts {
    /// `@@ -LINE,COUNT +LINE,COUNT @@`; nothing where it does not say so.
    fn read(header: &str) -> Option<Self> {
        let (old, rest) = header.strip_prefix("@@ -")?.split_once(" +")?;
        let new = rest.split_once(" @@")?.0;
        // Beyond these there is no line.
        let number = |text: &str| text.parse::<u32>().ok().map(|number| number as usize);
        let side = |text: &str| match text.split_once(',') {
            Some((line, count)) => Some((number(line)?, number(count)?)),
            None => Some((number(text)?, 1)),
        };
        let ((line, old), (_, new)) = (side(old)?, side(new)?);
        Some(Self { line, old, new })
    }
}

/// The lines that the counts speak of, if they are there and nothing that looks like more of them follows.
fn counted(lines: &[&str], start: usize, counts: Counts) -> Option<(Vec<Line>, usize)> {
    let (mut at, mut old, mut new) = (start, 0, 0);
    let mut body: Vec<Line> = Vec::new();
    while old < counts.old || new < counts.new {
        let text = lines.get(at)?;
        if text.starts_with('\\') {
            body.last_mut()?.ended = false;
        } else {
            let line = line(text)?;
            old += usize::from(line.act != Act::In);
            new += usize::from(line.act != Act::Out);
            body.push(line);
        }
        at += 1;
    }
    if lines.get(at).is_some_and(|line| line.starts_with('\\')) {
        body.last_mut()?.ended = false;
        at += 1;
    }
    let more = |line: &&str| line.starts_with(['+', '-', ' ']) && line.trim_end() != "--";
    let ends = at >= lines.len() || ends_hunk(lines, at) || !more(&lines[at]);
    (old == counts.old && new == counts.new && ends).then_some((body, at))
}

/// Does something else begin here?
fn ends_hunk(lines: &[&str], at: usize) -> bool {
    lines[at].starts_with("@@")
        || lines[at].starts_with("```")
        || starts_file(lines, at)
        || lines[at] == "-- "
}

/// All lines up to there. Empty ones at the end belong to nothing.
fn loose(lines: &[&str], start: usize, end: usize) -> Result<Vec<Line>, Bad> {
    let mut body: Vec<Line> = Vec::new();
    let used = lines[start..end].iter().rposition(|line| !line.trim_end_matches('\r').is_empty());
    for (at, text) in lines.iter().enumerate().take(used.map_or(start, |used| start + used + 1)).skip(start) {
        match (text.starts_with('\\'), body.last_mut()) {
            (true, Some(last)) => last.ended = false,
            (true, None) => {}
            (false, _) => body.push(
                line(text).ok_or_else(|| Bad::at(at, "a line of a hunk begins with a space, `+` or `-`"))?,
            ),
        }
    }
    Ok(body)
}

/// A line of a hunk by its first character. Who drops the space of an empty line means it.
pub(super) fn line(text: &str) -> Option<Line> {
    let act = match text.bytes().next() {
        Some(b' ') => Act::Keep,
        Some(b'-') => Act::Out,
        Some(b'+') => Act::In,
        None | Some(b'\r') => return Some(Line::new(Act::Keep, text)),
        Some(_) => return None,
    };
    Some(Line::new(act, &text[1..]))
}
