//! What this surface may ask Kapell: a closed list of things to look at, each answered by one JSON document or refused.
//!
//! Start at [`Host`].

use crate::page::Page;
use crate::problem::Refused;
use contract::{BoxFuture, Timestamp};
use serde_json::Value;

/// Answers for the surface. Sessions, inbox and leases are its matter.
pub trait Host: Send + Sync + 'static {
    /// Looks at something. Dropping the future ends the looking.
    fn read(&self, read: Read) -> BoxFuture<'static, Result<Value, Refused>>;

    /// The clock's now.
    fn now(&self) -> Timestamp;

    /// Fresh random bits.
    fn random(&self) -> u128;
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Does it work? Refused with what is wrong when it does not.
    Ready,
    /// A page of sessions, newest first.
    Sessions(Filter, Page),
    /// The page for Prometheus, as a text.
    Metrics,
    /// Points of measures for charts.
    Series {
        /// Which; `None` = all. With `*` at its end: all that begin so.
        name: Option<String>,
        /// From this moment on.
        since: Timestamp,
        /// So much time stands behind each point, milliseconds; 0 = the least there is.
        step_ms: u64,
    },
}

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this state.
    pub state: Option<String>,
    /// Opened for this repository.
    pub repo: Option<String>,
    /// The one of this name: its id, the end of it, or `last`.
    pub name: Option<String>,
}
