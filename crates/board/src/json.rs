//! JSON by its places: what stands where, so that one value can be replaced and every other byte stays.
//!
//! Knows no schema. Scalars are judged by `serde_json`. Start at [`parse`]; changes are [`Edit`]s.

use crate::{Bad, bad};
use serde_json::Value;
use std::ops::Range;

/// Deeper is refused.
const DEPTH: usize = 100;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Object(Vec<Member>),
    Array(Vec<Node>),
    Scalar,
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) key: String,
    /// With its quotes.
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn members(&self) -> &[Member] {
        if let Kind::Object(members) = &self.kind { members } else { &[] }
    }

    /// The member that counts: of several with one name the last.
    pub(crate) fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().rev().find(|member| member.key == key)
    }

    pub(crate) fn items(&self) -> Option<&[Node]> {
        if let Kind::Array(items) = &self.kind { Some(items) } else { None }
    }

    /// The value, as others read it.
    pub(crate) fn value(&self, text: &str) -> Value {
        serde_json::from_str(&text[self.span.clone()]).unwrap_or(Value::Null)
    }
}

/// What stands where in a text that is one JSON value.
pub(crate) fn parse(text: &str) -> Result<Node, Bad> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut reader = Reader { text, at: start };
    let node = reader.value(0)?;
    reader.blank();
    match reader.at == text.len() {
        true => Ok(node),
        false => Err(reader.wrong("there is more after the value")),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, Bad> {
        if depth > DEPTH {
            return Err(self.wrong("nested too deep"));
        }
        self.blank();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => self.string().map(|_| Kind::Scalar)?,
            Some(_) => self.plain()?,
            None => return Err(self.wrong("a value is missing")),
        };
        Ok(Node { span: start..self.at, kind })
    }

    fn object(&mut self, depth: usize) -> Result<Kind, Bad> {
        let mut members = Vec::new();
        self.at += 1;
        loop {
            self.blank();
            match self.peek() {
                Some(b'}') if members.is_empty() => break,
                Some(b'"') => {
                    let start = self.at;
                    let key = self.string()?;
                    let key_span = start..self.at;
                    self.blank();
                    self.past(b':')?;
                    members.push(Member { key, key_span, value: self.value(depth + 1)? });
                }
                _ => return Err(self.wrong("a name in quotes is missing")),
            }
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.wrong("`,` or `}` is missing")),
            }
        }
        self.at += 1;
        Ok(Kind::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Kind, Bad> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.blank();
            if self.peek() == Some(b']') && items.is_empty() {
                break;
            }
            items.push(self.value(depth + 1)?);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.wrong("`,` or `]` is missing")),
            }
        }
        self.at += 1;
        Ok(Kind::Array(items))
    }

    fn string(&mut self) -> Result<String, Bad> {
        let start = self.at;
        let mut escaped = false;
        for (at, byte) in self.text.bytes().enumerate().skip(start + 1) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.at = at + 1;
                    let read = serde_json::from_str(&self.text[start..self.at]);
                    return read.map_err(|_| self.wrong("a text that is none"));
                }
                _ => {}
            }
        }
        Err(self.wrong("a text has no end"))
    }

    fn plain(&mut self) -> Result<Kind, Bad> {
        let start = self.at;
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        self.at += self.text.as_bytes()[start..].iter().take_while(|byte| word(byte)).count();
        match serde_json::from_str::<Value>(&self.text[start..self.at]) {
            Ok(_) => Ok(Kind::Scalar),
            Err(_) => Err(Reader { text: self.text, at: start }.wrong("not a value")),
        }
    }

    fn blank(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn past(&mut self, byte: u8) -> Result<(), Bad> {
        if self.peek() != Some(byte) {
            return Err(self.wrong(&format!("`{}` is missing", byte as char)));
        }
        self.at += 1;
        Ok(())
    }

    fn wrong(&self, what: &str) -> Bad {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        bad(format!("not JSON: {what} (line {line}, column {column})"))
    }
}

/// Put this in the place of that.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) at: Range<usize>,
    pub(crate) new: String,
}

/// The text with the edits made; they do not overlap.
pub(crate) fn edited(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        out.push_str(&text[from..edit.at.start]);
        out.push_str(&edit.new);
        from = edit.at.end;
    }
    out.push_str(&text[from..]);
    out
}

/// One more at the end of an object or array, written as its last one is. `own` is the member or item without comma.
pub(crate) fn appended(text: &str, of: &Node, last: Option<Range<usize>>, own: &str) -> Edit {
    match last {
        Some(last) => {
            let lead = lead(text, last.start);
            Edit { at: last.end..last.end, new: format!(",{lead}{}", indented(own, &lead)) }
        }
        None => {
            let before = &text[..of.span.start];
            let start = before.rfind('\n').map_or(0, |at| at + 1);
            let blank: String = before[start..].chars().take_while(|c| *c == ' ' || *c == '\t').collect();
            let line = format!("{}{blank}", if text.contains("\r\n") { "\r\n" } else { "\n" });
            let inner = format!("{line}  ");
            let (open, close) = (&text[of.span.start..=of.span.start], &text[of.span.end - 1..of.span.end]);
            Edit { at: of.span.clone(), new: format!("{open}{inner}{}{line}{close}", indented(own, &inner)) }
        }
    }
}

/// Takes a member or item out, with its comma.
pub(crate) fn removed(text: &str, all: &[Range<usize>], nth: usize, of: &Node) -> Edit {
    match (nth.checked_sub(1).map(|before| &all[before]), all.get(nth + 1)) {
        (Some(before), _) => Edit { at: before.end..all[nth].end, new: String::new() },
        (None, Some(after)) => Edit { at: all[nth].start..after.start, new: String::new() },
        (None, None) => {
            let (open, close) = (&text[of.span.start..=of.span.start], &text[of.span.end - 1..of.span.end]);
            Edit { at: of.span.clone(), new: format!("{open}{close}") }
        }
    }
}

/// What stands between the line's beginning and a place in it, with the line break before; one blank where the line
/// does not begin there.
fn lead(text: &str, at: usize) -> String {
    let before = &text[..at];
    let start = before.rfind('\n');
    let blank = &before[start.map_or(0, |start| start + 1)..];
    match start {
        Some(start) if blank.bytes().all(|byte| byte == b' ' || byte == b'\t') => {
            let line = if before[..start].ends_with('\r') { "\r\n" } else { "\n" };
            format!("{line}{blank}")
        }
        Some(_) | None => {
            let indent: String = blank.chars().take_while(|c| *c == ' ' || *c == '\t').collect();
            // The line began with something else: only a blank belongs between.
            if indent.len() == blank.len() { "\n".to_owned() + &indent } else { " ".to_owned() }
        }
    }
}

/// Several lines of JSON, moved to where the first one stands.
fn indented(json: &str, lead: &str) -> String {
    if lead.contains('\n') { json.replace('\n', lead) } else { json.replace('\n', "") }
}

/// A value as these files are written: two blanks to a level.
pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
