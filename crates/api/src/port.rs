//! What this surface may ask Kapell: closed lists of things to look at and to wish, each answered by one JSON document or
//! refused.
//!
//! Start at [`Host`].

use crate::page::Page;
use crate::problem::Refused;
use crate::read::Look;
use crate::term::Line;
use crate::write::order::{Order, Terminal};
use crate::write::wish::{Decision, Wish};
use contract::{BoxFuture, Digest, SessionId, Timestamp};
use serde_json::Value;

/// Answers for the surface. Sessions, inbox and leases are its matter.
pub trait Host: Send + Sync + 'static {
    /// Looks at something. Dropping the future ends the looking.
    fn read(&self, read: Read) -> BoxFuture<'static, Result<Value, Refused>>;

    /// Leaves a wish. What was begun goes on when the future is dropped; the same key again begins nothing anew.
    fn act(&self, act: Act, key: Key) -> BoxFuture<'static, Result<Value, Refused>>;

    /// Looks at a terminal, or at a background command, and types at it. `after`: the number of the byte that the client
    /// has not seen yet; what follows it is shown, if that is not too much, else a screen.
    fn attach(
        &self,
        session: SessionId,
        job: String,
        after: Option<u64>,
    ) -> BoxFuture<'static, Result<Line, Refused>>;

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
    /// Anything else that only reads what sessions left.
    Look(Look),
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

/// Something to be done by those who may: each becomes an intent, or a new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A new session; answered by its row.
    Open(Box<Order>),
    /// A wish for a session; answered by what became of it.
    Wish {
        /// For whom.
        session: SessionId,
        /// What.
        wish: Wish,
        /// Dropped when nobody took it within this time.
        ttl_ms: Option<u64>,
    },
    /// A yes or no to what waits there or below; answered by what became of it.
    Decide {
        /// Where.
        session: SessionId,
        /// To which.
        approval: String,
        /// Which.
        decision: Decision,
    },
    /// A terminal for a person in a session's workspace; answered by how it is once it runs.
    OpenTerminal {
        /// Whose.
        session: SessionId,
        /// What and how large.
        terminal: Terminal,
    },
    /// The end of a background command; answered by how it is then.
    StopJob {
        /// Whose.
        session: SessionId,
        /// Which.
        job: String,
    },
}

/// What makes a repeat of a request harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Begins with `http/`.
    pub text: String,
    /// Of the body it came with.
    pub body: Digest,
    /// The client chose it, and may come again with it.
    pub given: bool,
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
