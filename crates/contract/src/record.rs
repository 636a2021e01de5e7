//! How an event becomes stored bytes and back. Versions, upcasting, and nothing else.
//!
//! A record is one JSON object: `{"v":1,"seq":7,"at":"2026-11-20T06:07:24.123Z","event":{...}}`.
//! The bytes are written once and hashed as they are; decoding accepts every older version.

use crate::{Seq, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Version of the records this binary writes.
pub const VERSION: u32 = 1;

/// A decoded record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<E> {
    /// Number in its stream.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
    /// The event.
    pub event: E,
}

#[derive(Serialize, Deserialize)]
struct Wire<E> {
    v: u32,
    seq: Seq,
    at: Timestamp,
    event: E,
}

#[derive(Deserialize)]
struct Peek {
    v: u32,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Written by a newer Kapell.
    Newer(u32),
    /// Not a record at all.
    Malformed(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(found) => write!(f, "record version {found} is newer than {VERSION}"),
            Self::Malformed(why) => write!(f, "not a record: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Kinds of events that can be stored.
pub trait Storable: Serialize + DeserializeOwned {
    /// Brings an event of an older version to the next one. Pure; called for each version in between.
    fn upcast(version: u32, event: Value) -> Value;
}

/// Most records fit into this, bytes.
const USUAL_BYTES: usize = 512;

/// The bytes of a record.
pub fn encode<E: Storable>(seq: Seq, at: Timestamp, event: &E) -> Vec<u8> {
    let wire = Wire { v: VERSION, seq, at, event };
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    // Types of this crate have string keys only and no failing serialisers.
    serde_json::to_writer(&mut bytes, &wire)
        .unwrap_or_else(|error| unreachable!("an event does not serialise: {error}"));
    bytes
}

/// The bytes of several, numbered from `before + 1` on.
pub fn encode_all<E: Storable>(before: Seq, at: Timestamp, events: &[E]) -> Vec<Vec<u8>> {
    (before + 1..).zip(events).map(|(seq, event)| encode(seq, at, event)).collect()
}

/// The record in these bytes, upcast to the current version.
pub fn decode<E: Storable>(bytes: &[u8]) -> Result<Record<E>, DecodeError> {
    let malformed = |error: serde_json::Error| DecodeError::Malformed(error.to_string());
    // The common case first: a current record in one pass.
    if let Ok(Wire { v: VERSION, seq, at, event }) = serde_json::from_slice::<Wire<E>>(bytes) {
        return Ok(Record { seq, at, event });
    }
    let Peek { v } = serde_json::from_slice(bytes).map_err(malformed)?;
    if v > VERSION {
        return Err(DecodeError::Newer(v));
    }
    let Wire { seq, at, event, .. } = serde_json::from_slice::<Wire<Value>>(bytes).map_err(malformed)?;
    let event = (v..VERSION).fold(event, |event, version| E::upcast(version, event));
    Ok(Record { seq, at, event: serde_json::from_value(event).map_err(malformed)? })
}
