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

/// Characters of a UUID.
const UUID: usize = 36;

impl SessionId {
    /// The text, without the detour through a formatter: it stands in nearly every record.
    fn text(&self) -> [u8; UUID] {
        let mut text = [b'-'; UUID];
        let places = (0..UUID).filter(|at| ![8, 13, 18, 23].contains(at));
        let nibbles = self.0.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (place, nibble) in places.zip(nibbles) {
            text[place] = b"0123456789abcdef"[usize::from(nibble)];
        }
        text
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ascii(&self.text()))
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(ascii(&self.text()))
    }
}

/// Digits and dashes that were put there one by one.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Writes a number's decimal digits in front of `end`; where they begin.
pub(crate) fn decimal(mut n: u64, text: &mut [u8], end: usize) -> usize {
    let mut at = end;
    loop {
        at -= 1;
        text[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return at;
        }
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

impl ActionId {
    /// Calls `f` with the text.
    fn with_text<R>(&self, f: impl FnOnce(&str) -> R) -> R {
        // Twice ten digits and the dot.
        let mut text = [b'.'; 21];
        let dot = decimal(self.step.into(), &mut text, 21) - 1;
        text[dot] = b'.';
        let from = decimal(self.turn.into(), &mut text, dot);
        f(ascii(&text[from..]))
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl Serialize for ActionId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| s.serialize_str(text))
    }
}

impl FromStr for ActionId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Self, BadId> {
        let parse = || {
            let (turn, step) = s.split_once('.')?;
            // One spelling only: no sign, no leading zero.
            let plain = |n: &str| n == "0" || n.starts_with(|c: char| ('1'..='9').contains(&c));
            (plain(turn) && plain(step))
                .then_some(Self { turn: turn.parse().ok()?, step: step.parse().ok()? })
        };
        parse().ok_or_else(|| BadId(s.chars().take(64).collect()))
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

macro_rules! from_text {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
from_text!(SessionId, ActionId, StreamId, QuotaId);

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
    /// The limits of one key at one provider, named by the digest of its name.
    Quota(QuotaId),
    /// What the sessions on one project spend together, named by the digest of its directory.
    Project(ProjectId),
    /// What surfaces changed in a project's own files, named by the digest of its directory.
    Board(ProjectId),
    /// What the loop of a project did, named by the digest of its directory.
    Loop(ProjectId),
}

macro_rules! digest_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// The id of what goes by this name: 128 bits of the name's digest.
            pub fn of(name: &str) -> Self {
                let digest = crate::Digest::of(name.as_bytes()).0;
                Self(u128::from_be_bytes(std::array::from_fn(|at| digest[at])))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(s: &str) -> Result<Self, BadId> {
                let plain = s.len() == 32 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                let parsed = u128::from_str_radix(s, 16).ok().filter(|_| plain);
                parsed.map(Self).ok_or_else(|| BadId(s.chars().take(64).collect()))
            }
        }
    )*};
}
digest_ids! {
    /// The name of a [`crate::model::Quota`] as a stream carries it, in hexadecimal digits.
    QuotaId
    /// The directory of a project as a stream carries it, in hexadecimal digits.
    ProjectId
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session/{id}"),
            Self::Tree(id) => write!(f, "tree/{id}"),
            Self::Quota(id) => write!(f, "quota/{id}"),
            Self::Project(id) => write!(f, "project/{id}"),
            Self::Board(id) => write!(f, "board/{id}"),
            Self::Loop(id) => write!(f, "loop/{id}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Self, BadId> {
        match s.split_once('/') {
            Some(("session", id)) => Ok(Self::Session(id.parse()?)),
            Some(("tree", id)) => Ok(Self::Tree(id.parse()?)),
            Some(("quota", id)) => Ok(Self::Quota(id.parse()?)),
            Some(("project", id)) => Ok(Self::Project(id.parse()?)),
            Some(("board", id)) => Ok(Self::Board(id.parse()?)),
            Some(("loop", id)) => Ok(Self::Loop(id.parse()?)),
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
    fn a_quota_is_named_by_its_digest_and_round_trips() {
        let stream = StreamId::Quota(QuotaId::of("anthropic/1a2b"));
        assert_eq!(stream.to_string().parse::<StreamId>().unwrap(), stream);
        let project = StreamId::Project(ProjectId::of("anthropic/1a2b"));
        assert_eq!(project.to_string().parse::<StreamId>().unwrap(), project);
        let board = StreamId::Board(ProjectId::of("anthropic/1a2b"));
        assert_eq!(board.to_string().parse::<StreamId>().unwrap(), board);
        let looping = StreamId::Loop(ProjectId::of("anthropic/1a2b"));
        assert_eq!(looping.to_string().parse::<StreamId>().unwrap(), looping);
        assert_ne!(stream, StreamId::Quota(QuotaId::of("anthropic/1a2c")));
        for bad in
            ["quota/12", "quota/+0000000000000000000000000000001", "quota/0000000000000000000000000000000G"]
        {
            assert!(bad.parse::<StreamId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_action_reads_as_turn_and_step() {
        for (turn, step, text) in
            [(0, 0, "0.0"), (1, 20, "1.20"), (u32::MAX, u32::MAX, "4294967295.4294967295")]
        {
            let id = ActionId { turn, step };
            assert_eq!(id.to_string(), text);
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
            assert_eq!(text.parse::<ActionId>().unwrap(), id);
        }
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
