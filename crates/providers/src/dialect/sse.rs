//! Server-sent events out of bytes, however they are cut (WHATWG HTML, section 9.2).
//!
//! Knows no connection and no JSON. `id` and `retry` mean nothing here: nothing is resumed. Start at [`Lines::push`].

use contract::{Fault, Kind};

/// Longest line, and most data of one event, bytes. A reply's text may have 10 MB in all; an event is a piece of one.
pub const EVENT_BYTES: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its `event` field; empty = none.
    pub name: String,
    /// Its `data` lines.
    pub data: String,
}

/// Bytes that are not a whole event yet.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed right behind it ends no second line.
    returned: bool,
    /// Nothing was read yet: a byte order mark may stand here.
    started: bool,
    event: Event,
    any: bool,
}

impl Lines {
    /// Takes the next bytes; every event that is whole now is added to `events`. Bytes that are not UTF-8 become
    /// replacement characters, but only once their line is complete: a character cut by the network is not damaged.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Fault> {
        let mut rest = bytes;
        if self.returned && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        if !bytes.is_empty() {
            self.returned = false;
        }
        while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
            if self.line.is_empty() && at <= EVENT_BYTES {
                self.end_of_line(&rest[..at], events)?;
            } else {
                self.keep(&rest[..at])?;
                let line = std::mem::take(&mut self.line);
                self.end_of_line(&line, events)?;
            }
            let pair = rest[at] == b'\r' && rest.get(at + 1) == Some(&b'\n');
            self.returned = rest[at] == b'\r' && at + 1 == rest.len();
            rest = &rest[at + 1 + usize::from(pair)..];
        }
        self.keep(rest)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.line.len() + bytes.len() > EVENT_BYTES {
            return Err(too_long());
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_of_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), Fault> {
        let text = String::from_utf8_lossy(line);
        let text = if self.started { &text[..] } else { text.strip_prefix('\u{feff}').unwrap_or(&text) };
        self.started = true;
        if text.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.any) {
                events.push(event);
            }
            return Ok(());
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.event.data.len() + value.len() > EVENT_BYTES {
                    return Err(too_long());
                }
                if std::mem::replace(&mut self.any, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        Ok(())
    }
}

fn too_long() -> Fault {
    let megabytes = EVENT_BYTES / (1024 * 1024);
    Fault::new(
        Kind::Permanent,
        "stream-line",
        format!("the server sent a line of more than {megabytes} MB: this is no stream of events"),
    )
    .hint("check the provider's base_url: kapell auth PROVIDER")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let (mut lines, mut events) = (Lines::default(), Vec::new());
        chunks.iter().for_each(|chunk| lines.push(chunk, &mut events).unwrap());
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    #[test]
    fn fields_comments_and_line_ends() {
        let text = "\u{feff}event: a\ndata: one\ndata:two\n\n: ping\n\ndata\n\nid: 7\nretry: 3\ndata:  x:y\r\n\r\nevent: lost\n\n";
        let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        assert_eq!(read(&[text.as_bytes()]), [pair("a", "one\ntwo"), pair("", ""), pair("", " x:y")]);
        assert_eq!(
            read(&[b"data: 1\r", b"\ndata: 2\r\r", b"data: 3\r", b"\r"]),
            [pair("", "1\n2"), pair("", "3")]
        );
    }

    #[test]
    fn an_event_without_its_empty_line_is_none() {
        assert!(read(&[b"data: half\n"]).is_empty());
    }

    #[test]
    fn cutting_changes_nothing() {
        let text = "data: žluťoučký 🐎\r\ndata: kůň\n\nevent: e\r\ndata: \u{feff}\r\r".as_bytes();
        let whole = read(&[text]);
        assert_eq!(whole[0].1, "žluťoučký 🐎\nkůň");
        for at in 0..=text.len() {
            assert_eq!(read(&[&text[..at], b"", &text[at..]]), whole, "cut at {at}");
        }
        assert_eq!(read(&text.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let (mut lines, mut events) = (Lines::default(), Vec::new());
        let piece = vec![b'x'; 1024 * 1024];
        let pushed = (0..).map(|_| lines.push(&piece, &mut events)).take_while(Result::is_ok).count();
        assert_eq!(pushed, EVENT_BYTES / piece.len());
        let fault = lines.push(&piece, &mut events).unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("stream-line", Kind::Permanent));
        let mut many = Lines::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        assert!((0..64).any(|_| many.push(&line, &mut events).is_err()), "many lines are one event too");
    }
}
