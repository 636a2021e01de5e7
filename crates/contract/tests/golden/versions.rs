//! Versions of records: newer ones are refused, older ones are brought up, nonsense is named.
//!
//! Knows [`record`] only. `Pet` stands for a type that changed its shape since version 0.

use contract::Event;
use contract::Timestamp;
use contract::record::{self, DecodeError, Storable, VERSION};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Today's shape. In version 0 it was `{"dog":"Rex"}`, the weight was unknown and written as kilograms since.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pet {
    name: String,
    grams: Option<u64>,
    /// Versions it came through, oldest first.
    #[serde(default)]
    through: Vec<u32>,
}

impl Storable for Pet {
    fn upcast(version: u32, mut event: Value) -> Value {
        if version == 0 {
            event = json!({"name": event["dog"], "grams": event["kilos"].as_u64().map(|kilos| kilos * 1000)});
        }
        let through = event["through"].as_array().cloned().unwrap_or_default();
        event["through"] = through.into_iter().chain([json!(version)]).collect();
        event
    }
}

fn bytes(version: u32, event: &Value) -> Vec<u8> {
    let record = json!({"v": version, "seq": 7, "at": "2026-11-20T06:07:24.123Z", "event": event});
    serde_json::to_vec(&record).unwrap()
}

#[test]
fn an_older_record_is_brought_up_version_by_version() {
    let record = record::decode::<Pet>(&bytes(0, &json!({"dog": "Rex", "kilos": 30}))).unwrap();
    let through: Vec<u32> = (0..VERSION).collect();
    assert_eq!(record.event, Pet { name: "Rex".into(), grams: Some(30_000), through });
    assert_eq!((record.seq, record.at), (7, Timestamp(1_795_154_844_123)));
}

#[test]
fn a_current_record_is_taken_as_it_is() {
    let event = json!({"name": "Rex", "grams": null, "through": []});
    let record = record::decode::<Pet>(&bytes(VERSION, &event)).unwrap();
    assert_eq!(record.event, Pet { name: "Rex".into(), grams: None, through: Vec::new() });
}

#[test]
fn an_older_record_that_does_not_come_up_is_named() {
    let error = record::decode::<Pet>(&bytes(0, &json!({"cat": "Tom"}))).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
}

#[test]
fn a_newer_record_is_refused_even_when_it_looks_familiar() {
    let event = json!({"name": "Rex", "grams": 1, "through": []});
    let error = record::decode::<Pet>(&bytes(VERSION + 1, &event)).unwrap_err();
    assert_eq!(error, DecodeError::Newer(VERSION + 1));
    let unknown = record::decode::<Event>(&bytes(VERSION + 9, &json!({"not-yet-invented": 1}))).unwrap_err();
    assert_eq!(unknown, DecodeError::Newer(VERSION + 9));
}

#[test]
fn nonsense_is_refused_and_says_so() {
    let good = record::encode(1, Timestamp(0), &Event::Cut { items: 1, bytes: 2 });
    assert!(record::decode::<Event>(&good).is_ok());
    let cut = &good[..good.len() - 1];
    let longer = [good.as_slice(), b"{}"].concat();
    let flipped = String::from_utf8(good.clone()).unwrap().replace("cut", "cup").into_bytes();
    let no_version = br#"{"seq":1,"at":"1970-01-01T00:00:00.000Z","event":{"cut":{"items":1,"bytes":2}}}"#;
    let bad_time = br#"{"v":1,"seq":1,"at":"yesterday","event":{"cut":{"items":1,"bytes":2}}}"#;
    let negative =
        br#"{"v":1,"seq":-1,"at":"1970-01-01T00:00:00.000Z","event":{"cut":{"items":1,"bytes":2}}}"#;
    for bad in
        [b"".as_slice(), b"{}", b"null", b"\xff\xfe", cut, &longer, &flipped, no_version, bad_time, negative]
    {
        let error = record::decode::<Event>(bad).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{}: {error}", String::from_utf8_lossy(bad));
    }
}
