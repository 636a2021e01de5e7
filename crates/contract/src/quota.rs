//! Facts about one key at one provider, shared by every session of the installation: calls that begin and that end.
//!
//! One event at each end of a call; limits, breaker and back-off are a fold of these. Start at [`QuotaEvent`].

use crate::model::{Meter, Rates};
use crate::record::Storable;
use crate::{ActionId, SessionId, Timestamp, is_default};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fact in a quota's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaEvent {
    /// What a person declares that the provider allows. The first event; again when a newer session knows better.
    Declared {
        /// The quota's name; its digest is the stream's.
        name: String,
        /// The declared limits.
        #[serde(default, skip_serializing_if = "is_default")]
        rates: Rates,
        /// The session that was opened with them.
        by: SessionId,
    },
    /// A call begins.
    Taken {
        /// Whose.
        session: SessionId,
        /// Which action.
        action: ActionId,
        /// Tokens it can use at most.
        tokens: u64,
        /// From here on it no longer counts as under way, whatever became of it.
        until: Timestamp,
    },
    /// A call ended.
    Settled {
        /// Whose.
        session: SessionId,
        /// Which action.
        action: ActionId,
        /// Tokens it has used.
        tokens: u64,
        /// How it ended, as far as it tells of the provider.
        end: CallEnd,
        /// What the answer told about the limits.
        #[serde(default, skip_serializing_if = "is_default")]
        meter: Meter,
    },
    /// The first of one process's line waits: its place counts in the lines of all of them.
    Queued {
        /// Whose.
        session: SessionId,
        /// Where it stands: who has less goes first.
        rank: u64,
        /// Tokens its call can use at most.
        tokens: u64,
        /// From here on it no longer counts: who lives has taken a call by then, or stands here anew.
        until: Timestamp,
    },
    /// A person wants it tried now: back-offs are over, what was told is forgotten, an open breaker lets a call try.
    Lifted {
        /// Who wanted it and why, for people.
        why: String,
    },
}

/// What the end of a call tells about its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallEnd {
    /// It answers.
    Answered,
    /// A limit was hit.
    Limited {
        /// Earliest moment for another try, milliseconds from then, when it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// It is unwell, or cannot be reached.
    Down {
        /// Earliest moment for another try, milliseconds from then, when it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// It refuses this call or this key, which says nothing about its health.
    Refused,
    /// Nobody knows: it was cancelled, or its process died.
    Unknown,
}

impl Storable for QuotaEvent {
    fn upcast(_version: u32, event: Value) -> Value {
        event
    }
}
