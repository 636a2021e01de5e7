//! What must hold of the words and records for any input at all: called by the fuzz targets and, with the committed
//! inputs and with random ones, by the tests.
//!
//! Knows nothing of stores. Not part of a build that ships. Start at [`record`].

use crate::event::LedgerEvent;
use crate::intent::Intent;
use crate::record::{DecodeError, Record, Storable, decode, encode};
use crate::{ActionId, Amount, Digest, Event, Fault, Kind, SessionId, StreamId, Timestamp, limits, text};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// Any bytes are a record, of a newer version or malformed; a record says the same when it is written again, and
/// whatever a later version added to it is ignored.
pub fn record(bytes: &[u8]) {
    stored::<Event>(bytes);
    stored::<LedgerEvent>(bytes);
}

fn stored<E: Storable + PartialEq + Debug>(bytes: &[u8]) {
    match decode::<E>(bytes) {
        Ok(record) => {
            let written = encode(record.seq, record.at, &record.event);
            assert!(
                written.len() <= 6 * bytes.len() + 1024,
                "{} bytes became {}",
                bytes.len(),
                written.len()
            );
            let again = decode::<E>(&written);
            assert_eq!(again.as_ref(), Ok(&record), "written again it says something else");
            assert_eq!(encode(record.seq, record.at, &record.event), written);
            extended(bytes, &record);
        }
        Err(DecodeError::Newer(version)) => assert!(version > crate::record::VERSION),
        Err(malformed) => assert!(malformed.to_string().starts_with("not a record: ")),
    }
}

/// A later version's optional fields, in the envelope and in the event, change nothing for this one.
fn extended<E: Storable + PartialEq + Debug>(bytes: &[u8], record: &Record<E>) {
    let Ok(Value::Object(mut envelope)) = serde_json::from_slice::<Value>(bytes) else { return };
    let new = serde_json::json!({"since": 2, "also": [null, 1.5, "text"]});
    if let Some(Value::Object(variants)) = envelope.get_mut("event") {
        for fields in variants.values_mut().filter_map(Value::as_object_mut) {
            fields.insert("zz-of-a-later-version".to_owned(), new.clone());
        }
    }
    envelope.insert("zz-of-a-later-version".to_owned(), new);
    let bytes = Value::Object(envelope).to_string();
    assert_eq!(decode::<E>(bytes.as_bytes()).as_ref(), Ok(record), "an unknown field changed the meaning");
}

/// What waits in an inbox: the same after it was written again.
pub fn intent(bytes: &[u8]) {
    same_again::<Intent>(bytes);
    same_again::<Fault>(bytes);
    same_again::<Amount>(bytes);
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&value).unwrap();
        assert_eq!(serde_json::from_slice::<T>(&written).unwrap(), value);
    }
}

/// Names and moments: what is read has one spelling, which reads as the same again.
pub fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    one_spelling::<SessionId>(&text, false);
    one_spelling::<StreamId>(&text, false);
    one_spelling::<ActionId>(&text, true);
    one_spelling::<Digest>(&text, false);
    one_spelling::<Timestamp>(&text, true);
}

fn one_spelling<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str, exact: bool) {
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            assert!(shown == text || !exact && shown.eq_ignore_ascii_case(text), "{text} reads as {shown}");
            assert!(shown.parse::<T>().is_ok_and(|again| again == value));
        }
        Err(error) => assert!(error.to_string().len() <= 400, "{error}"),
    }
}

/// Foreign text is harmless when it is clean, has an end when it goes on record, and is then as it stays.
pub fn cleaning(bytes: &[u8]) {
    let foreign = String::from_utf8_lossy(bytes);
    let clean = text::clean(&foreign);
    harmless(&clean);
    assert!(clean.len() <= foreign.len());
    assert_eq!(text::clean(&clean), clean, "cleaning twice is not cleaning once");
    for limit in [0, 1, 7, 64, limits::SENTENCE_BYTES] {
        let bounded = text::bounded(&foreign, limit);
        harmless(&bounded);
        assert!(bounded.len() <= limit, "{} bytes of {limit}", bounded.len());
        assert_eq!(text::bounded(&bounded, limit), bounded);
    }
    let fault = Fault::new(Kind::Permanent, &foreign, foreign.clone()).hint(foreign.clone());
    for part in [&fault.code, &fault.what, &fault.hint] {
        harmless(part);
        assert!(part.len() <= limits::SENTENCE_BYTES);
    }
    let known = ["edit", "read", "shell"];
    assert!(text::nearest(&foreign, known).is_none_or(|near| known.contains(&near)));
}

fn harmless(text: &str) {
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || text::is_hidden(c);
    assert!(!text.contains(bad), "{text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_keep_the_properties() {
        corpus::replay("record", record);
        corpus::replay("intent", intent);
        corpus::replay("ids", names);
        corpus::replay("cleaning", cleaning);
    }

    /// Each object in it once without each of its fields.
    fn lacking(value: &Value) -> Vec<Value> {
        let mut all = Vec::new();
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let mut without = fields.clone();
                    without.remove(name);
                    all.push(Value::Object(without));
                    for inner in lacking(inner) {
                        let mut other = fields.clone();
                        other.insert(name.clone(), inner);
                        all.push(Value::Object(other));
                    }
                }
            }
            Value::Array(items) => {
                for (at, inner) in items.iter().enumerate() {
                    for inner in lacking(inner) {
                        let mut other = items.clone();
                        other[at] = inner;
                        all.push(Value::Array(other));
                    }
                }
            }
            _ => {}
        }
        all
    }

    /// A field that is not there has its default, which is the same when it is written and read again, or it is
    /// missed; it never becomes another event.
    fn defaults<E: Storable + PartialEq + Debug>(stored: &[u8]) -> usize {
        let Ok(record) = decode::<E>(stored) else { return 0 };
        let kind = |event: &E| {
            serde_json::to_value(event).map(|json| match json {
                Value::Object(variant) => variant.keys().next().cloned(),
                name => name.as_str().map(str::to_owned),
            })
        };
        let mut taken = 0;
        for lacking in lacking(&serde_json::from_slice(stored).unwrap()) {
            match decode::<E>(lacking.to_string().as_bytes()) {
                Ok(other) => {
                    assert_eq!(kind(&other.event).unwrap(), kind(&record.event).unwrap());
                    assert_eq!(decode(&encode(other.seq, other.at, &other.event)).as_ref(), Ok(&other));
                    taken += 1;
                }
                Err(DecodeError::Malformed(why)) => assert!(!why.is_empty()),
                Err(newer) => panic!("{newer}"),
            }
        }
        taken
    }

    #[test]
    fn missing_fields_are_defaults_or_missed() {
        let files = corpus::inputs("record");
        let taken: usize =
            files.iter().map(|(_, bytes)| defaults::<Event>(bytes) + defaults::<LedgerEvent>(bytes)).sum();
        assert!(taken > 100, "only {taken} fields are optional");
    }

    /// Text with what terminals obey, and with cuts everywhere.
    fn hostile() -> impl Strategy<Value = String> {
        let pieces = [
            "\u{1b}",
            "\u{1b}[",
            "\u{1b}]0;",
            "\u{9b}",
            "\u{9d}",
            "\u{7}",
            "\u{1b}\\",
            "\r",
            "\n",
            "\u{202e}",
            "m",
            "31",
            "é",
        ];
        let piece = prop_oneof![
            3 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
            1 => ".{0,8}",
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(corpus::cases(300))]

        #[test]
        fn any_text_is_cleaned(text in hostile(), times in 1usize..40) {
            cleaning(text.repeat(times).as_bytes());
        }

        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            record(&bytes);
            intent(&bytes);
            names(&bytes);
            cleaning(&bytes);
        }

        #[test]
        fn every_moment_can_be_stored_and_read(ms in prop_oneof![any::<u64>(), 0..300_000_000_000_000u64], more in any::<u64>()) {
            let at = Timestamp(ms).plus(more);
            prop_assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
            prop_assert!(Timestamp(ms).to_string().parse::<Timestamp>().is_ok());
        }

        #[test]
        fn names_that_are_nearly_right(text in "[0-9+-]{1,5}-[0-3][0-9]-[0-3][0-9]T[0-2][0-9]:[0-9]{2}:[0-6][0-9]\\.[0-9+]{3}Z|[+0-9]{1,12}\\.[+0-9]{1,3}|(session|tree)/[0-9a-fA-F]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}") {
            names(text.as_bytes());
        }
    }
}
