//! Messages of a server, cut out of what it writes and read no further than they are bounded.
//! Knows no transport and no method. Start at [`Lines`] and [`read`].

use serde_json::Value;

/// Bytes of one message. A picture fits, a flood does not.
pub(crate) const FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Messages in one batch, as the revision of 2025-03-26 has them.
const BATCH: usize = 100;

/// Lines out of pieces, of which none is longer than a message may be.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    held: Vec<u8>,
}

/// A message that is longer than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Lines {
    /// Takes a piece, and gives away the lines that end in it.
    pub(crate) fn push(&mut self, mut piece: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            if self.held.len() + line.len() > FRAME_BYTES {
                return Err(TooLong);
            }
            if self.held.is_empty() {
                each(line);
            } else {
                self.held.extend_from_slice(line);
                each(&std::mem::take(&mut self.held));
            }
            piece = rest;
        }
        if self.held.len() + piece.len() > FRAME_BYTES {
            self.held = Vec::new();
            return Err(TooLong);
        }
        self.held.extend_from_slice(piece);
        Ok(())
    }
}

/// What a message is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    /// The answer to what was asked under this number.
    Answer(u64, Answer),
    /// It asks something under this id.
    Asked(Value, String),
    /// It tells something.
    Told(String),
}

/// What a server answers: a result, or an error in its own words.
pub(crate) type Answer = Result<Value, Refusal>;

/// An error that a server answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// JSON-RPC's number.
    pub(crate) code: i64,
    /// Its words, as they came.
    pub(crate) message: String,
}

/// The messages in these bytes; what is none is left out.
pub(crate) fn read(bytes: &[u8]) -> Vec<Frame> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Array(batch)) => batch.into_iter().take(BATCH).filter_map(frame).collect(),
        Ok(value) => frame(value).into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

fn frame(mut value: Value) -> Option<Frame> {
    let object = value.as_object_mut()?;
    let id = object.get("id").filter(|id| !id.is_null()).cloned();
    if let Some(method) = object.get("method").and_then(Value::as_str) {
        let method = method.to_owned();
        return Some(match id {
            Some(id) => Frame::Asked(id, method),
            None => Frame::Told(method),
        });
    }
    let id = id?.as_u64()?;
    if let Some(error) = object.get("error") {
        let message = error["message"].as_str().unwrap_or("no reason is given").to_owned();
        return Some(Frame::Answer(id, Err(Refusal { code: error["code"].as_i64().unwrap_or(0), message })));
    }
    Some(Frame::Answer(id, Ok(object.remove("result")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let (mut lines, mut got, mut fits) = (Lines::default(), Vec::new(), true);
        for piece in pieces {
            fits &=
                lines.push(piece, &mut |line| got.push(String::from_utf8_lossy(line).into_owned())).is_ok();
        }
        (got, fits)
    }

    #[test]
    fn lines_come_out_of_any_pieces() {
        assert_eq!(lines(&[b"a\nb", b"c\n", b"", b"\nd"]).0, ["a", "bc", ""]);
        let long = vec![b'x'; FRAME_BYTES / 2 + 1];
        assert!(!lines(&[&long, &long]).1, "a line without an end is not held");
        let ends: Vec<u8> = long.iter().copied().chain([b'\n']).collect();
        assert!(!lines(&[&long, &ends]).1);
        assert!(lines(&[&ends, &ends]).1);
    }

    #[test]
    fn messages_are_told_apart_and_noise_is_none() {
        for (text, is) in [
            (r#"{"id":1,"result":{}}"#, vec![Frame::Answer(1, Ok(json!({})))]),
            (
                r#"{"id":2,"error":{"code":-1,"message":"no"}}"#,
                vec![Frame::Answer(2, Err(Refusal { code: -1, message: "no".into() }))],
            ),
            (r#"{"id":"a","method":"roots/list"}"#, vec![Frame::Asked(json!("a"), "roots/list".into())]),
            (r#"[{"method":"x"},3,{"id":1}]"#, vec![Frame::Told("x".into())]),
            ("Listening on port 3", vec![]),
            (r#"{"id":-1,"result":1}"#, vec![]),
            (r#"{"id":1.5,"result":1}"#, vec![]),
            ("\u{feff}{}", vec![]),
        ] {
            assert_eq!(read(text.as_bytes()), is, "{text}");
        }
        assert!(read("[".repeat(100_000).as_bytes()).is_empty(), "depth is bounded");
    }
}
