//! What of a reply only its producer may see again, and where in the reply it stood.
//!
//! A reply's text and calls are neutral and stand in the message; this keeps the order they came in, the producer's own
//! blocks between them (thinking, encrypted reasoning) and the marks on them (signatures). Stored as `Private.blocks`:
//! a list of `{"own": BLOCK}`, `{"text": BYTES, "mark": MARK}` and `{"call": N, "mark": MARK}`, where the N-th call is
//! meant and `mark` is optional. Start at [`Layout`] (writing) and [`pieces`] (reading).

use super::thread::{Call, Said};
use serde_json::{Value, json};

/// The order of a reply as it comes in.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pieces: Vec<Value>,
    /// Is there anything that the neutral message does not say?
    matters: bool,
    calls: u64,
}

impl Layout {
    /// A block of the producer's own.
    pub(crate) fn own(&mut self, block: Value) {
        self.matters = true;
        self.pieces.push(json!({ "own": block }));
    }

    /// The block before, when nothing came after it.
    pub(crate) fn last_own(&mut self) -> Option<&mut Value> {
        self.pieces.last_mut()?.get_mut("own")
    }

    /// A block of the producer's own, in front of everything else.
    pub(crate) fn first_own(&mut self, block: Value) {
        self.matters = true;
        self.pieces.insert(0, json!({ "own": block }));
    }

    /// So many bytes of text. Unmarked text joins unmarked text.
    pub(crate) fn text(&mut self, bytes: usize, mark: Option<Value>) {
        let last = self.pieces.last_mut().filter(|last| mark.is_none() && last.get("mark").is_none());
        match last.and_then(|last| last.get_mut("text")) {
            Some(before) => *before = json!(before.as_u64().unwrap_or(0) + bytes as u64),
            None if bytes == 0 && mark.is_none() => {}
            None => self.push(json!({ "text": bytes }), mark),
        }
    }

    /// So many bytes more of text with this mark: joins the text before when that has the same.
    pub(crate) fn more(&mut self, bytes: usize, mark: Option<Value>) {
        let last = self.pieces.last_mut().filter(|last| mark.is_some() && last.get("mark") == mark.as_ref());
        match last.and_then(|last| last.get_mut("text")) {
            Some(before) => *before = json!(before.as_u64().unwrap_or(0) + bytes as u64),
            None => self.text(bytes, mark),
        }
    }

    /// So many bytes at the beginning of the text are no part of it.
    pub(crate) fn less(&mut self, mut bytes: usize) {
        for piece in &mut self.pieces {
            let Some(own) = piece.get("text").and_then(Value::as_u64) else { continue };
            let taken = own.min(bytes as u64);
            piece["text"] = json!(own - taken);
            bytes -= taken as usize;
        }
    }

    /// The next call.
    pub(crate) fn call(&mut self, mark: Option<Value>) {
        let piece = json!({ "call": self.calls });
        self.calls += 1;
        self.push(piece, mark);
    }

    fn push(&mut self, mut piece: Value, mark: Option<Value>) {
        if let Some(mark) = mark {
            self.matters = true;
            piece["mark"] = mark;
        }
        self.pieces.push(piece);
    }

    /// As the message keeps it; nothing when the neutral message says it all.
    pub(crate) fn kept(self) -> Vec<Value> {
        if self.matters { self.pieces } else { Vec::new() }
    }
}

/// One piece of a reply, in the order the producer gave it.
#[derive(Debug)]
pub(crate) enum Piece<'s> {
    /// A block of the producer's own, as it came.
    Own(&'s Value),
    /// Text, and the mark on it.
    Text(&'s str, Option<&'s Value>),
    /// A call, and the mark on it.
    Call(&'s Call<'s>, Option<&'s Value>),
}

/// The pieces of a reply. When the kept order does not fit the message any more (it was shortened or cleaned since),
/// own blocks come first, then the text without marks, then the calls with theirs.
pub(crate) fn pieces<'s>(said: &'s Said<'s>) -> Vec<Piece<'s>> {
    let kept = said.blocks.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    fitting(said, kept).unwrap_or_else(|| sorted(said, kept))
}

fn fitting<'s>(said: &'s Said<'s>, kept: &'s [Value]) -> Option<Vec<Piece<'s>>> {
    let (mut text, mut calls) = (said.text, said.calls.iter());
    let mut pieces = Vec::with_capacity(kept.len());
    for piece in kept {
        let mark = piece.get("mark");
        if let Some(block) = piece.get("own") {
            pieces.push(Piece::Own(block));
        } else if let Some(bytes) = piece.get("text").and_then(Value::as_u64) {
            let (head, tail) = text.split_at_checked(usize::try_from(bytes).ok()?)?;
            pieces.push(Piece::Text(head, mark));
            text = tail;
        } else {
            pieces.push(Piece::Call(calls.next()?, mark));
        }
    }
    (text.is_empty() && calls.next().is_none()).then_some(pieces)
}

fn sorted<'s>(said: &'s Said<'s>, kept: &'s [Value]) -> Vec<Piece<'s>> {
    let own = kept.iter().filter_map(|piece| piece.get("own")).map(Piece::Own);
    let text = (!said.text.is_empty()).then_some(Piece::Text(said.text, None));
    let mut marks = kept.iter().filter(|piece| piece.get("call").is_some()).map(|piece| piece.get("mark"));
    let calls = said.calls.iter().map(|call| Piece::Call(call, marks.next().flatten()));
    own.chain(text).chain(calls).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::pairs::paired;
    use crate::dialect::thread::{Thread, Turn};
    use contract::model::{Message, Private, Request, ToolUse};

    fn shown(text: &str, calls: usize, producer: &str) -> Vec<String> {
        let private = Some(Private { producer: producer.into(), blocks: Value::Array(layout().kept()) });
        let call = |n: usize| ToolUse { id: format!("c{n}"), tool: "t".into(), args: json!({}) };
        let calls: Vec<ToolUse> = (0..calls).map(call).collect();
        let message = Message::Assistant { text: text.into(), calls, private };
        let request = Request {
            model: "p/m".into(),
            system: String::new(),
            messages: vec![Message::User { text: "x".into() }, message],
            tools: Vec::new(),
            max_tokens: 1,
            ordinal: 0,
            key: String::new(),
        };
        let paired = paired(&request.messages);
        let thread = Thread::of(&paired, &request);
        let Some(Turn::Model(said)) = thread.turns.get(1) else { panic!("no reply") };
        let show = |piece| match piece {
            Piece::Own(block) => format!("own {block}"),
            Piece::Text(text, mark) => format!("text {text} {}", mark.is_some()),
            Piece::Call(call, mark) => format!("call {} {}", call.id, mark.is_some()),
        };
        pieces(said).into_iter().map(show).collect()
    }

    fn layout() -> Layout {
        let mut layout = Layout::default();
        layout.own(json!("think"));
        layout.text(2, None);
        layout.text(1, None);
        layout.call(Some(json!("s")));
        layout.text(1, Some(json!("t")));
        layout.call(None);
        layout
    }

    #[test]
    fn the_order_comes_back() {
        assert_eq!(
            shown("abcd", 2, "p/m"),
            [r#"own "think""#, "text abc false", "call c0 true", "text d true", "call c1 false"]
        );
    }

    #[test]
    fn a_changed_message_keeps_own_blocks_and_marks_of_calls() {
        for (text, calls) in [("ab", 2), ("abcde", 2), ("abcd", 1), ("abcd", 3), ("aéé", 2)] {
            let shown = shown(text, calls, "p/m");
            assert_eq!(shown[0], r#"own "think""#);
            assert_eq!(shown[1], format!("text {text} false"));
            assert_eq!(shown[2], "call c0 true");
            assert_eq!(shown.len(), 2 + calls);
        }
    }

    #[test]
    fn nobody_else_sees_any_of_it() {
        assert_eq!(shown("abcd", 1, "p/other"), ["text abcd false", "call c0 false"]);
    }

    #[test]
    fn what_the_message_says_itself_is_not_kept() {
        let mut layout = Layout::default();
        layout.text(3, None);
        layout.call(None);
        assert!(layout.kept().is_empty());
    }
}
