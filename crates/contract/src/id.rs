//! Identifiers. All are values: who makes one passes in the time and the random bits.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Number of an event in its stream: 1, 2, 3 ... ; 0 means "before the first".
pub type Seq = u64;

/// Fencing number of a lease. Grows by one whenever a session changes hands.
pub type Fence = u64;

/// A UUID version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits. Sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

impl SessionId {
    /// Makes an id from a time and 74 usable random bits of `random`.
    pub fn v7(unix_ms: u64, random: u128) -> Self {
        let time = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
        let rand_a = (random >> 64 & 0xfff) << 64;
        let rand_b = random & 0x3fff_ffff_ffff_ffff;
        Self(time | 0x7 << 76 | rand_a | 0b10 << 62 | rand_b)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let h = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not what it should name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadId(pub String);

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a valid id", self.0)
    }
}

impl std::error::Error for BadId {}

impl FromStr for SessionId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Self, BadId> {
        let bad = || BadId(s.chars().take(64).collect());
        let bytes = s.as_bytes();
        if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|&i| bytes[i] != b'-') {
            return Err(bad());
        }
        let hex: String = s.chars().filter(|&c| c != '-').collect();
        if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        u128::from_str_radix(&hex, 16).map(Self).map_err(|_| bad())
    }
}

/// An intent is named like a session.
pub type IntentId = SessionId;

/// Turn and step of an action inside its session, written `turn.step`. Steps count through the
/// whole session, so that (session, turn, step) is the action's key (O3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ActionId {
    /// Grows with each input that opens a turn.
    pub turn: u32,
    /// Grows with each action.
    pub step: u32,
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.turn, self.step)
    }
}

impl FromStr for ActionId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Self, BadId> {
        let parse = || {
            let (turn, step) = s.split_once('.')?;
            Some(Self { turn: turn.parse().ok()?, step: step.parse().ok()? })
        };
        parse().ok_or_else(|| BadId(s.chars().take(64).collect()))
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(SessionId, ActionId, StreamId);

/// A model's own name for a tool call; unique inside one model message only.
pub type CallId = String;

/// Names an approval inside its session: `a` and the number of the event that asked.
pub type ApprovalId = String;

/// Names a question inside its session: `q` and the number of the event that asked.
pub type QuestionId = String;

/// What events are appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// The facts of one session.
    Session(SessionId),
    /// The budget of a whole tree, named by its root session.
    Tree(SessionId),
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session/{id}"),
            Self::Tree(id) => write!(f, "tree/{id}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Self, BadId> {
        match s.split_once('/') {
            Some(("session", id)) => Ok(Self::Session(id.parse()?)),
            Some(("tree", id)) => Ok(Self::Tree(id.parse()?)),
            _ => Err(BadId(s.chars().take(64).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_is_a_version_7_uuid_and_round_trips() {
        let id = SessionId::v7(0x0193_4567_89ab, u128::MAX);
        let text = id.to_string();
        assert_eq!(text, "01934567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(text.parse::<SessionId>().unwrap(), id);
        assert_eq!(serde_json::from_str::<SessionId>(&format!("\"{text}\"")).unwrap(), id);
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(SessionId::v7(1, u128::MAX) < SessionId::v7(2, 0));
    }

    #[test]
    fn bad_ids_are_refused() {
        for bad in ["", "x", "01934567-89ab-7fff-bfff-fffffffffff", "01934567+89ab-7fff-bfff-ffffffffffff"] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
        for bad in ["", "1", "1.", "a.b", "1.2.3"] {
            assert!(bad.parse::<ActionId>().is_err(), "{bad}");
        }
        assert!("ledger/x".parse::<StreamId>().is_err());
    }
}
