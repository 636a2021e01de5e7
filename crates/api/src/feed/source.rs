//! What the feed asks of the program it runs in: sessions as they were folded, who holds them, and words for people.
//!
//! Start at [`Source`].

use contract::journal::Journal;
use contract::{BoxFuture, Digest, Fault, SessionId, Timestamp};
use kernel::Session;
use serde_json::Value;
use std::sync::Arc;

/// Answers without deciding anything.
pub trait Source: Send + Sync + 'static {
    /// The store.
    fn journal(&self) -> Arc<dyn Journal>;
    /// A session as the journal has it, from a snapshot where there is one; `None` when there is no such session.
    fn look(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, Fault>>;
    /// Does a living process execute it?
    fn held(&self, id: SessionId) -> bool;
    /// The first line of a stored text; what is wrong with it when it cannot be read.
    fn headline(&self, text: Digest) -> BoxFuture<'_, String>;
    /// What this session asks a person now, as `sessions show --json` has it in `waiting`.
    fn asked<'a>(&'a self, state: &'a Session) -> BoxFuture<'a, Vec<Value>>;
    /// The wall clock.
    fn now(&self) -> Timestamp;
}
