//! Where values stand in a text of JSON, so that one of them can be replaced and the rest stay byte for byte.
//!
//! Only for text that is known to be JSON: what is broken gives nothing, never a wrong place. Start at [`members`].

use std::ops::Range;

/// The end of the value that begins here.
fn end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0usize, at);
            loop {
                match text.get(at)? {
                    b'"' => at = string_end(text, at)? - 1,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            Some(text[at..].iter().position(ends).map_or(text.len(), |length| at + length))
        }
    }
}

fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn space(text: &[u8], at: usize) -> usize {
    text[at.min(text.len())..]
        .iter()
        .position(|byte| !byte.is_ascii_whitespace())
        .map_or(text.len(), |n| at + n)
}

/// The elements of the array that begins here.
pub(super) fn elements(text: &[u8], start: usize) -> Option<Vec<Range<usize>>> {
    let mut all = Vec::new();
    let mut at = space(text, start + usize::from(text.get(start)? == &b'['));
    if text.get(start)? != &b'[' {
        return None;
    }
    while text.get(at)? != &b']' {
        let stop = end(text, at)?;
        all.push(at..stop);
        at = space(text, stop);
        if text.get(at)? == &b',' {
            at = space(text, at + 1);
        }
    }
    Some(all)
}

/// Names and values of the object that begins here: name, where it begins, where its value stands.
pub(super) fn members(text: &[u8], start: usize) -> Option<Vec<(String, usize, Range<usize>)>> {
    if text.get(start)? != &b'{' {
        return None;
    }
    let mut all = Vec::new();
    let mut at = space(text, start + 1);
    while text.get(at)? != &b'}' {
        let stop = string_end(text, at)?;
        let name = serde_json::from_slice(text.get(at..stop)?).ok()?;
        let colon = space(text, stop);
        if text.get(colon)? != &b':' {
            return None;
        }
        let value = space(text, colon + 1);
        let value = value..end(text, value)?;
        let next = space(text, value.end);
        all.push((name, at, value));
        at = if text.get(next)? == &b',' { space(text, next + 1) } else { next };
    }
    Some(all)
}

/// Where the text itself begins.
pub(super) fn start(text: &[u8]) -> usize {
    space(text, 0)
}

/// The white space before this place, if it is alone in its line.
pub(super) fn indent(text: &str, at: usize) -> Option<&str> {
    let line = text[..at].rfind('\n')? + 1;
    let before = &text[line..at];
    before.bytes().all(|byte| byte.is_ascii_whitespace()).then_some(before)
}
