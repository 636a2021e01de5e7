//! What must hold of every text, however odd: a file nobody changed is as it was, a change leaves all else.
//!
//! Not part of a build that ships. Start at [`any_text`].

use crate::{Memory, Schedules, Timing, memory, modes, timing, todo};
use serde_json::{Map, Value, json};

/// Any bytes are read by every format without panic, and what a format holds is what it was given.
pub fn any_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    todo::items(&text);
    drop(modes::read(&text));
    let mut memory = Memory::parse(&text);
    assert_eq!(memory.text(), text);
    memory.entries();
    let before = memory.lines();
    if memory.add(memory::SECTIONS[0], "2026-01-01T00:00:00Z", "m", "c", "said").is_ok() {
        assert!(memory.lines() > before);
        memory.make_room(10);
    }
    let parsed = Timing::parse(bytes);
    let row: [String; 9] = std::array::from_fn(|at| format!("{at}\t{text}"));
    let more = [&text, parsed.appended(&row).as_str()].concat();
    let again = Timing::parse(more.as_bytes());
    assert_eq!(again.rows.len(), parsed.rows.len() + 1, "one row more");
    let signs = |c: char| matches!(c, '\u{2409}' | '\u{2424}' | '\u{240d}');
    if !text.contains(signs) {
        assert_eq!(again.rows.last().map(|row| &row.columns), Some(&row));
    }
    assert_eq!(again.rows[..parsed.rows.len()], parsed.rows[..], "and all others as they were");
    assert_eq!(again.odd, parsed.odd);
    schedules(&text);
}

/// What is JSON to others is read here, too, and stays to the byte; setting a field and taking it out again is no change.
fn schedules(text: &str) {
    let Ok(mut all) = Schedules::parse(text) else { return };
    assert_eq!(all.text(), text);
    let reads = serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}'));
    assert!(reads.is_ok(), "read here and nowhere else: {text:?}");
    let before = all.all();
    let fields: Map<String, Value> =
        [("name".to_owned(), json!("n\"\n")), ("mode".to_owned(), json!("m"))].into_iter().collect();
    let id = "an id of nobody";
    all.create(id, &fields).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    let created = all.all();
    assert_eq!(created[..before.len()], before[..]);
    assert_eq!(created[before.len()].text("name"), "n\"\n");
    let once = all.text().to_owned();
    let set = |value: Value| [("timeInterval".to_owned(), value)].into_iter().collect::<Map<_, _>>();
    let done = all.update(id, &set(json!(5))).and_then(|()| all.update(id, &set(Value::Null)));
    assert_eq!(done, Ok(()));
    assert_eq!(all.text(), once);
    assert_eq!(all.delete(id), Ok(true));
    assert_eq!(all.all(), before);
}

/// The columns of the file, for whoever makes rows up.
pub const COLUMNS: usize = timing::COLUMNS.len();

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIECES: &[&str] = &[
        "{\"schedules\": [",
        "{\"schedules\":[]}",
        "{\"id\": \"1\"",
        ", \"active\": false",
        "\"time_interval\": 5",
        "}",
        "]",
        ",",
        "\n  ",
        "\r\n",
        "\t",
        "# Non-Obvious Implementation Patterns",
        "# x",
        "## [2026-01-01T00:00:00Z] [m] - [c]",
        "- Finding: a",
        "- **Insight**: b",
        "- [ ] do",
        "- [x] done",
        "customModes:",
        "  - slug: a-b",
        "timestamp",
        "&a",
        "*a",
        "\u{feff}",
        "\u{fffd}",
        "null",
        "1e9",
        "\\u12",
        "\"",
        "é",
    ];

    proptest! {
        #![proptest_config(corpus::cases(300))]

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            any_text(&bytes);
        }

        #[test]
        fn pieces_of_these_files(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..20)) {
            any_text(pieces.concat().as_bytes());
        }

        #[test]
        fn schedules_of_every_layout(blank in "[ \n\t]{0,4}", members in proptest::collection::vec("[a-z]{1,6}", 0..5), items in 0..4usize) {
            let object = |at: usize| {
                let own = members.iter().map(|name| format!("{blank}\"{name}\":{blank}[{at}]"));
                let all: Vec<String> = std::iter::once(format!("{blank}\"id\": \"{at}\"")).chain(own).collect();
                format!("{{{}{blank}}}", all.join(","))
            };
            let list: Vec<String> = (0..items).map(object).collect();
            let text = format!("{blank}{{{blank}\"schedules\"{blank}:{blank}[{blank}{}{blank}]{blank}}}{blank}", list.join(","));
            schedules(&text);
        }
    }
}
