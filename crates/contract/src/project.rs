//! Facts about what the sessions on one project spend together: caps, and what is held and settled under them.
//!
//! Shared by every process of the installation. Knows no prices. Start at [`ProjectEvent`].

use crate::record::Storable;
use crate::{ActionId, Amount, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a person allows all sessions on a project together, in money and tokens. Hours, days and months are UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caps {
    /// In an hour.
    #[serde(skip_serializing_if = "Amount::is_unlimited")]
    pub hour: Amount,
    /// In a day.
    #[serde(skip_serializing_if = "Amount::is_unlimited")]
    pub day: Amount,
    /// In a month.
    #[serde(skip_serializing_if = "Amount::is_unlimited")]
    pub month: Amount,
    /// In all.
    #[serde(skip_serializing_if = "Amount::is_unlimited")]
    pub project: Amount,
}

impl Caps {
    /// No cap at all.
    pub const NONE: Self = Self {
        hour: Amount::UNLIMITED,
        day: Amount::UNLIMITED,
        month: Amount::UNLIMITED,
        project: Amount::UNLIMITED,
    };
}

impl Default for Caps {
    fn default() -> Self {
        Self::NONE
    }
}

/// A fact in a project's ledger. It begins with the first cap: what was spent before is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectEvent {
    /// These caps hold from here on. The first event, and again whenever a person changes them.
    Capped {
        /// They.
        caps: Caps,
        /// The project's directory; its digest is the stream's name.
        repo: String,
    },
    /// Taken out of the caps before a model call starts.
    Reserved {
        /// Whose.
        session: SessionId,
        /// For which action.
        action: ActionId,
        /// How much.
        amount: Amount,
    },
    /// What the call has cost; the reservation is gone. Counts for the hour, day and month of the reservation.
    Settled {
        /// Whose.
        session: SessionId,
        /// Which action.
        action: ActionId,
        /// How much; more than was reserved when more was billed.
        used: Amount,
    },
}

impl Storable for ProjectEvent {
    fn upcast(_version: u32, event: Value) -> Value {
        event
    }
}
