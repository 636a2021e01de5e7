//! FORMATS.md is true: its examples are decoded, its hashes recomputed, its defaults compared with the source.
//!
//! Knows the page's fenced blocks by their second word (`json record`). Its TOML is read by the crates that read TOML.

use contract::record::{self, Record};
use contract::{Digest, Event};
use serde_json::Value;

const PAGE: &str = include_str!("../FORMATS.md");
const LIMITS: &str = include_str!("../src/limits.rs");

/// The block that opens with this line, without its last newline.
fn block(opening: &str) -> &'static str {
    let from = PAGE.find(&format!("```{opening}\n")).unwrap_or_else(|| panic!("no block `{opening}`"));
    let body = &PAGE[from + opening.len() + 4..];
    body[..body.find("\n```").expect("an end of the block")].trim_end()
}

/// The page states this hash in a table row about this subject.
fn states(subject: &str, digest: &Digest) {
    let row = PAGE.lines().find(|line| line.starts_with(&format!("| {subject} |")));
    let row = row.unwrap_or_else(|| panic!("no row about {subject}"));
    assert!(row.contains(&digest.to_string()), "write {digest} into the row about {subject}");
}

#[test]
fn the_record_decodes_and_is_what_would_be_written() {
    let text = block("json record");
    let Record { seq, at, event } = record::decode::<Event>(text.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(record::encode(seq, at, &event)).unwrap(), text);
}

#[test]
fn the_hashes_are_right() {
    let stream = "session/01a1f791-19db-7000-8000-000000000000";
    let genesis = Digest::of(stream.as_bytes());
    states(&format!("`{stream}`"), &genesis);
    states("after the record", &Digest::chain(&genesis, block("json record").as_bytes()));
    states("`Looking.`", &Digest::of(b"Looking."));
    states("the object above", &Digest::of(block("json approval").as_bytes()));
    let land = format!("land {}", "b".repeat(40));
    states(&format!("`{land}`"), &Digest::of(land.as_bytes()));
}

#[test]
fn the_approval_content_is_compact_and_sorted() {
    let text = block("json approval");
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(value.to_string(), text);
}

#[test]
fn the_stream_begins_with_init_and_ends_with_one_result() {
    let records: Vec<Value> =
        block("jsonl stream").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &records[0];
    assert_eq!((&first["type"], &first["subtype"]), (&"system".into(), &"init".into()));
    let results: Vec<usize> = (0..records.len()).filter(|at| records[*at]["type"] == "result").collect();
    assert_eq!(results, [records.len() - 1]);
    for record in &records {
        assert_eq!(record["session_id"], first["session_id"], "{record}");
    }
    let event = records.iter().find(|record| record["type"] == "event").expect("an event");
    record::decode::<Event>(event["record"].to_string().as_bytes()).unwrap();
}

#[test]
fn the_defaults_are_those_of_the_source() {
    let section = PAGE.split("## 10. Defaults").nth(1).expect("the table of defaults");
    let table = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 20, "the table is no longer found");
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let constant = LIMITS.lines().find(|line| line.starts_with(&format!("pub const {}: ", cells[1])));
        let constant = constant.unwrap_or_else(|| panic!("there is no limit {}: remove its row", cells[1]));
        let value = constant.split(" = ").nth(1).expect("a value").trim_end_matches(';');
        assert_eq!(cells[2], value, "bring the row of {} up to date", cells[1]);
    }
}
