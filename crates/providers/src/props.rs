//! What must hold of scripts, of the compiler's messages, of changes to texts, and of what goes to and comes from
//! providers, for any input at all: called by the fuzz targets and by the tests.
//!
//! An input of several parts has them between record separators (0x1e). Not part of a build that ships. Start at
//! [`script`].

use crate::Script;
use crate::dialect::rules::{check, rows};
use crate::dialect::sse::Lines;
use crate::fixer::diag::{self, Place, Trust};
use crate::fixer::patch::{self, Fix, Part, Texts};
use contract::limits::{CALLS_RECORDED, SENTENCE_BYTES};
use contract::model::{Broken, Image, Message, Private, Reply, Request, ToolSpec, ToolUse};
use serde_json::json;
use std::collections::HashSet;

/// Separates the parts of an input.
const BETWEEN: char = '\u{1e}';

/// A script can be played, or its mistake names the line.
pub fn script(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Script::parse(&text, "play.toml") {
        Ok(script) => script.plays(),
        Err(fault) => {
            assert!(fault.code == "script-invalid" && !fault.hint.is_empty());
            assert!(fault.what.len() <= SENTENCE_BYTES);
            let line = fault.what.strip_prefix("play.toml:").and_then(|rest| rest.split_once(':'));
            let line: usize = line.and_then(|(line, _)| line.parse().ok()).unwrap_or_default();
            assert!((1..=text.split('\n').count()).contains(&line), "{}", fault.what);
        }
    }
}

/// Whatever a compiler prints: places lie inside the project, parts of one advice do not meet when it may be applied
/// without looking, and what is said twice is one finding.
pub fn compiler(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let findings = diag::parse(&text);
    let inside = |place: &Place| {
        assert!(!place.file.starts_with('/') && place.file.split('/').all(|part| part != ".."), "{place:?}");
    };
    for diag in &findings.diags {
        diag.at.iter().for_each(inside);
        assert!(!diag.targets.is_empty() && diag.targets.is_subset(&findings.targets));
        for advice in &diag.advice {
            assert!(!advice.parts.is_empty());
            advice.parts.iter().for_each(|(place, _)| inside(place));
            let apart = advice.parts.windows(2).all(|pair| pair[0].0 != pair[1].0);
            assert!(advice.trust == Trust::Human || apart);
        }
        drop((diag.line(), diag.kind()));
    }
    let twice = diag::parse(&format!("{text}\n{text}"));
    let whole = text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert!(!whole || twice.diags == findings.diags, "said twice is not said once");
    drop(findings.broken());
}

/// A text, the same text changed: the edits lead from one to the other, each piece standing once; and the parts of a
/// fix touch their own places and nothing else.
pub fn patches(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split(BETWEEN);
    let (from, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Some(edits) = patch::edits(from, to) {
        let mut text = from.to_owned();
        for edit in &edits {
            assert_eq!(text.matches(&edit.old).count(), 1, "{edit:?}");
            text = text.replacen(&edit.old, &edit.new, 1);
        }
        assert_eq!(text, to);
    }
    fixes(from, to, &parts.collect::<Vec<_>>());
}

/// Each place is two characters whose values say where it begins and how long it is.
fn fixes(text: &str, new: &str, places: &[&str]) {
    let texts = Texts::from([("f".to_owned(), text.to_owned())]);
    let part = |place: &&str| {
        let mut numbers = place.chars().map(|c| c as usize % (text.len() + 1));
        let start = text.floor_char_boundary(numbers.next().unwrap_or(0));
        let end = text.floor_char_boundary((start + numbers.next().unwrap_or(0)).min(text.len()));
        Part { file: "f".into(), at: (start, end), new: new.into() }
    };
    let parts: Vec<Part> = places.iter().take(8).map(part).collect();
    let Some(fix) = Fix::new("lint", parts, &texts) else { return };
    let mut wanted = String::new();
    let mut at = 0;
    for part in &fix.parts {
        assert!(part.at.0 >= at, "parts overlap: {:?}", fix.parts);
        wanted.push_str(&text[at..part.at.0]);
        wanted.push_str(&part.new);
        at = part.at.1;
    }
    wanted.push_str(&text[at..]);
    let after = patch::applied(&texts, [&fix]);
    assert_eq!(after["f"], wanted);
    assert!(!fix.key(&texts).is_empty());
    for (_, lines) in patch::lines_after(&fix, &[&fix], &after) {
        assert!(
            lines.start < lines.end && lines.end <= wanted.split('\n').count() + 2,
            "{lines:?} of {wanted:?}"
        );
    }
    assert_eq!(patch::compatible(vec![fix.clone(), fix.clone()]), [fix]);
}

/// Which dialect reads, then what the server sends: whatever that is, the answer is the same in whatever pieces it comes,
/// a reply's calls have ids of their own, and a failure says something.
pub fn stream(bytes: &[u8]) {
    let Some((row, bytes)) = bytes.split_first() else { return };
    answer(usize::from(*row), bytes);
}

/// As [`stream`], read by this row.
pub(crate) fn answer(row: usize, bytes: &[u8]) {
    let whole = read(row, &mut std::iter::once(bytes));
    assert_eq!(read(row, &mut bytes.chunks(1)), whole, "in single bytes");
    assert_eq!(read(row, &mut bytes.chunks(7)), whole, "in pieces");
    match whole {
        Ok(reply) => {
            let ids: HashSet<&str> = reply.calls.iter().map(|call| call.id.as_str()).collect();
            assert!(ids.len() == reply.calls.len() && !ids.contains(""), "{ids:?}");
            assert!(reply.calls.len() <= CALLS_RECORDED);
        }
        Err(broken) => assert!(!broken.fault.what.is_empty() && broken.usage.is_some()),
    }
}

fn read(row: usize, chunks: &mut dyn Iterator<Item = &[u8]>) -> Result<Reply, Broken> {
    let rows = rows();
    let row = rows[row % rows.len()];
    let mut decoder = row.codec.decoder(&request(&row.options().id, Vec::new()), &row.options());
    let (mut lines, mut events) = (Lines::default(), Vec::new());
    for chunk in chunks {
        let pushed = lines.push(chunk, &mut events);
        for event in events.drain(..) {
            match decoder.event(&event) {
                Ok(progress) if progress.done => return decoder.finish(None),
                Ok(_) => {}
                Err(fault) => return decoder.finish(Some(fault)),
            }
        }
        if let Err(fault) = pushed {
            return decoder.finish(Some(fault));
        }
    }
    decoder.finish(None)
}

fn request(model: &str, messages: Vec<Message>) -> Request {
    let schema = json!({"type": "object", "properties": {"path": {"type": ["string", "null"]}}});
    let tool = |name: &str| ToolSpec { name: name.into(), description: "d".into(), schema: schema.clone() };
    Request {
        model: model.into(),
        system: "s".into(),
        messages,
        tools: vec![tool("read"), tool("a.b/c")],
        max_tokens: 9,
        ordinal: 1,
        key: "session/1.1".into(),
    }
}

/// Every byte is a message or a call, three bits of it what kind: any conversation at all goes out valid by the rules of
/// every dialect.
pub fn conversation(bytes: &[u8]) {
    const WORDS: [&str; 6] = ["", " ", "a", "b c", "{", "é\u{0}\"\\"];
    for row in rows() {
        let id = row.options().id;
        let mut messages: Vec<Message> = Vec::new();
        for byte in bytes.iter().take(200) {
            let word = WORDS[usize::from(byte >> 3) % WORDS.len()];
            let own = |blocks| Some(Private { producer: id.clone(), blocks });
            let args =
                [json!({"p": word}), json!(word), json!(null), json!([1])][usize::from(byte >> 6)].clone();
            match (byte & 7, messages.last_mut()) {
                (0, _) => messages.push(Message::User { text: word.into() }),
                (1, _) => messages.push(Message::said(word, Vec::new())),
                (2, _) => {
                    let blocks = json!([{"own": (row.thought)(word)}, {"text": byte >> 5}, {"call": 0}]);
                    messages.push(Message::Assistant {
                        text: word.into(),
                        calls: Vec::new(),
                        private: own(blocks),
                    });
                }
                (3 | 4, Some(Message::Assistant { calls, .. })) => {
                    calls.push(ToolUse { id: word.into(), tool: word.into(), args });
                }
                (5, Some(Message::Tool { images, .. })) => {
                    let media_type = if byte >> 6 == 0 { "image/png" } else { "x" }.into();
                    images.push(Image { media_type, bytes: vec![*byte] });
                }
                _ => messages.push(Message::result(word, byte >> 7 == 0, word)),
            }
        }
        check(&row, &row.codec.encode(&request(&id, messages), &row.options()).body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_keep_the_properties() {
        corpus::replay("script", script);
        corpus::replay("compiler", compiler);
        corpus::replay("patches", patches);
        corpus::replay("stream", stream);
        corpus::replay("conversation", conversation);
    }

    fn message() -> impl Strategy<Value = String> {
        let span = (
            prop::sample::select(vec!["src/a.rs", "/etc/passwd", "../b.rs", "<macro>"]),
            1usize..4,
            "[a-c]{0,3}",
        );
        let span = span.prop_map(|(file, line, new)| {
            format!(r#"{{"file_name":"{file}","line_start":{line},"line_end":{line},"column_start":1,"column_end":2,"is_primary":true,"suggested_replacement":"{new}","suggestion_applicability":"MachineApplicable","expansion":null}}"#)
        });
        let spans = prop::collection::vec(span, 0..4).prop_map(|spans| spans.join(","));
        let parts = (
            spans.clone(),
            spans,
            prop::sample::select(vec!["error", "warning", "note"]),
            prop::sample::select(vec!["path+file:///p#x@0.1.0", "registry+x#y@1.0.0"]),
            any::<bool>(),
        );
        parts.prop_map(|(own, child, level, package, fold)| {
            let line = format!(r#"{{"reason":"compiler-message","package_id":"{package}","target":{{"kind":["lib"],"name":"x"}},"message":{{"message":"m","code":{{"code":"unused_mut"}},"level":"{level}","spans":[{own}],"children":[{{"message":"help","code":null,"level":"help","spans":[{child}],"children":[]}}]}}}}"#);
            if fold { line.replacen(",\"", ",\n\"", 3) } else { line }
        })
    }

    proptest! {
        #![proptest_config(corpus::cases(300))]

        #[test]
        fn messages_are_read(messages in prop::collection::vec(message(), 0..5), noise in ".{0,20}", cut in any::<prop::sample::Index>()) {
            let mut text = format!("{noise}\n{}", messages.join("\n"));
            compiler(text.as_bytes());
            text.truncate(text.floor_char_boundary(cut.index(text.len())));
            compiler(text.as_bytes());
        }

        #[test]
        fn changes_are_exact(from in "[abé]{0,3}(\n[ab]{0,2}){0,6}\n?", to in "[abcé]{0,3}(\n[abc]{0,2}){0,6}\n?", places in prop::collection::vec("[\u{0}-\u{1d}]{2}", 0..5)) {
            patches(format!("{from}\u{1e}{to}\u{1e}{}", places.join("\u{1e}")).as_bytes());
        }

        #[test]
        fn scripts_are_played_or_refused(text in "(\\[\\[turn\\]\\]\n|\\[model\\]\n|\\[\\[turn.call\\]\\]\n|tool = \"t\"\n|text = \"[a{}ln]{0,8}\"\n|repeat = [0-9]{1,10}\n|delay_ms = [0-9]{1,19}\n|stop = \"(end-turn|x)\"\n|usage = \\{ input = [0-9]{1,20} \\}\n|context_tokens = -?[0-9]{1,19}\n|price_(in|out)put_usd_per_mtok = (-?[0-9]{1,3}\\.[0-9]{1,12}|nan|inf|1e300)\n|error = \\{ kind = \"(transient|y)\", retry_after_ms = [0-9]{1,19} \\}\n){0,9}") {
            script(text.as_bytes());
        }
    }
}
