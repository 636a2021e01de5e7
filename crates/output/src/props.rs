//! What must hold of every output at all: called by the fuzz target and by the tests.
//!
//! Not part of a build that ships. Start at [`digest`].

use crate::{Custom, Event, Options, Reader, Written};

/// Two bytes of limit, one of step, then a command up to a line end, then an output. Read in pieces it comes to the same
/// as read at once; what is shown is harmless and within its limit; nothing panics.
pub fn digest(bytes: &[u8]) {
    let Some(([low, high, step], rest)) = bytes.split_first_chunk::<3>() else { return };
    let limit = 256 + usize::from(u16::from_le_bytes([*low, *high]) % 8192);
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (command, raw) =
        (String::from_utf8_lossy(&rest[..end]).into_owned(), rest.get(end + 1..).unwrap_or_default());
    let read = |step: usize| {
        let mut reader = Reader::new(Options { command: command.clone(), limit, ..Options::default() });
        let mut events = Vec::new();
        raw.chunks(step.max(1)).for_each(|piece| reader.push(piece, &mut |event| events.push(event)));
        let digest = reader.finish(&mut |event| events.push(event));
        (digest, events)
    };
    let (whole, events) = read(raw.len());
    assert_eq!(read(usize::from(*step)), (whole.clone(), events.clone()), "the pieces made a difference");
    assert!(whole.text.len() <= limit, "{} bytes of {limit}", whole.text.len());
    assert!(!whole.text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')));
    let found = events.iter().filter(|event| matches!(event, Event::Finding(_))).count();
    assert!(found >= whole.findings.len() && whole.errors + whole.warnings == found as u64);
    let clean = |text: &str| !text.contains(char::is_control);
    assert!(whole.findings.iter().all(|finding| clean(&finding.message.replace('\t', " "))));
}

/// Two lines: a pattern and an output's line. A pattern that is taken parses any line without a panic.
pub fn template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, line) = text.split_once('\n').unwrap_or((&text, ""));
    let written = Written { name: "fuzz".into(), command: Vec::new(), patterns: vec![pattern.to_owned()] };
    let (custom, bad) = Custom::new(vec![written]);
    assert!(bad.len() <= 1);
    let options = Options { command: "fuzz".into(), custom: custom.into(), ..Options::default() };
    let mut reader = Reader::new(options);
    reader.push(line.as_bytes(), &mut |_| ());
    reader.finish(&mut |_| ());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_hold() {
        corpus::replay("digest", digest);
        corpus::replay("template", template);
    }

    /// Pieces of what tools print, and of what breaks readers.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("error[E0425]: cannot find value\n --> src/a.rs:1:2\n".as_bytes().to_vec()),
            Just(b"warning: unused\n".to_vec()),
            Just(b"test a::b ... FAILED\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n".to_vec()),
            Just(b"  at some.Frame(File.java:12)\n".to_vec()),
            Just(b"\x1b[31mred\x1b]0;title\x07\n".to_vec()),
            Just(b"10%\r20%\r\r\n".to_vec()),
            Just(b"{\"reason\":\"compiler-message\",\"message\":{\"level\":\"error\",\"message\":\"m\",\"spans\":[]}}\n".to_vec()),
            Just("  ✕ näme (3 ms)\n● a › b\n".as_bytes().to_vec()),
            Just(b"src/a.ts\n  1:2  error  message  rule\n\n".to_vec()),
            Just(b"FAILED: \nException: \n\n\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..60),
            "[a-zA-Z0-9 :/.()-]{0,80}\n".prop_map(String::into_bytes),
        ];
        prop::collection::vec((piece, 1_usize..40), 0..30)
            .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, times)| piece.repeat(times)).collect())
    }

    proptest! {
        #![proptest_config(corpus::cases(64))]

        #[test]
        fn outputs_are_digested(head in any::<[u8; 3]>(), command in "(cargo test|npm ci|git diff|cat x|)", raw in pieces()) {
            digest(&[&head[..], command.as_bytes(), b"\n", &raw].concat());
        }

        #[test]
        fn patterns_are_taken_or_refused(pattern in "(\\(\\?<message>|\\(\\?<test>|\\(|\\)|\\.\\*|a|\\+|\\{9\\}|\\||\\[a-z\\]){0,12}", line in ".{0,40}") {
            template(format!("{pattern}\n{line}").as_bytes());
        }
    }
}
