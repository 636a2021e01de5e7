//! The Journal port: streams, inbox, blobs, snapshots, leases. One append is all or nothing.

use crate::intent::Intent;
use crate::{BoxFuture, Digest, Fault, Fence, Kind, Seq, SessionId, StreamId, Timestamp};
use std::fmt;

/// Events for one stream.
#[derive(Debug, Clone)]
pub struct Append {
    /// Which stream.
    pub stream: StreamId,
    /// Its last sequence number as the writer knows it.
    pub expected: Seq,
    /// The lease under which a session's stream is written; must be the newest. Trees have none.
    pub fence: Option<Fence>,
    /// Encoded records (`record::encode`), numbered `expected + 1` onwards. These bytes are hashed as they are.
    pub records: Vec<Vec<u8>>,
    /// After this append the session is over (or, false, it is open).
    pub ended: bool,
}

/// Everything that becomes durable together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Appends, at most one per stream.
    pub appends: Vec<Append>,
    /// Blobs the records refer to: durable no later than the records.
    pub blobs: Vec<Vec<u8>>,
    /// Intents left for other sessions. A repeated key is dropped silently.
    pub submit: Vec<Intent>,
    /// Inbox rows that these records account for.
    pub consume: Vec<u64>,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Number of its last event.
    pub seq: Seq,
    /// Chain hash of its last event.
    pub hash: Digest,
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub seq: Seq,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its chain hash.
    pub hash: Digest,
}

/// A row of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Row number, for `Batch::consume`.
    pub row: u64,
    /// The intent, or what could not be understood (an unknown source, a newer version).
    pub intent: Result<Intent, String>,
}

/// The answer to a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// It is in the inbox.
    New,
    /// The same (session, key) was there before; the first one counts.
    Repeat,
}

/// A lease on a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The session.
    pub session: SessionId,
    /// Who holds it: one name per engine.
    pub owner: String,
    /// Grows with each change of hands.
    pub fence: Fence,
    /// When it lapses unless renewed.
    pub until: Timestamp,
}

/// A snapshot: a cache of a fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event it contains.
    pub seq: Seq,
    /// Chain hash of that event: a snapshot of another history is not used.
    pub head: Digest,
    /// JSON with a schema version; hashed whole by the store.
    pub json: Vec<u8>,
}

/// A stream in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The session.
    pub session: SessionId,
    /// Its head.
    pub head: Head,
    /// True when it has ended.
    pub ended: bool,
}

/// What a stream grew by in one append. A hint for who follows many streams: what was written is read from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grown {
    /// Its place in the store's log; grows from commit to commit.
    pub place: u64,
    /// Which stream.
    pub stream: StreamId,
    /// Number of its last event then.
    pub seq: Seq,
}

/// One finding of [`Journal::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The stream, blob or table.
    pub what: String,
    /// From this event on, where it applies.
    pub seq: Option<Seq>,
    /// What is wrong.
    pub problem: String,
}

/// What a verification looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Streams read.
    pub streams: u64,
    /// Events whose chain was recomputed.
    pub events: u64,
    /// Blobs whose digest was recomputed.
    pub blobs: u64,
    /// Snapshots whose hash was recomputed.
    pub snapshots: u64,
    /// What is wrong; empty = all is well.
    pub damage: Vec<Damage>,
}

/// What can go wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Somebody else appended: reload and decide again.
    Conflict {
        /// Which stream.
        stream: StreamId,
        /// Where the writer thought it was.
        expected: Seq,
        /// Where it is.
        found: Seq,
    },
    /// The lease changed hands: stop executing this session.
    Fenced {
        /// The session.
        session: SessionId,
    },
    /// No space left (or over quota). Nothing was acknowledged.
    Full(String),
    /// The store cannot be written.
    ReadOnly(String),
    /// The disk failed.
    Io(String),
    /// What is stored is not what was written.
    Corrupt(String),
    /// Written by a newer Kapell.
    Newer {
        /// Schema found.
        found: u32,
        /// Newest schema this binary knows.
        known: u32,
    },
    /// Another process holds the store's lock too long.
    Busy(String),
    /// The writer is gone; after a write error nothing more is taken.
    Closed(String),
    /// The request breaks a rule of the port (a stream twice in a batch, a record too large).
    Invalid(String),
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Reload and try again.
    Retry,
    /// This request only.
    Reject,
    /// Stop the session; the store or an invariant is broken.
    Stop,
}

impl Error {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Conflict { .. } | Self::Busy(_) => Class::Retry,
            Self::Newer { .. } => Class::Reject,
            _ => Class::Stop,
        }
    }

    /// As a fault for people, with what to type next.
    pub fn fault(&self) -> Fault {
        let (kind, code, hint) = match self {
            Self::Conflict { .. } => (Kind::Transient, "store-conflict", "try again"),
            Self::Fenced { .. } => (
                Kind::Permanent,
                "store-fenced",
                "another kapell runs this session; follow it with `kapell events --follow`",
            ),
            Self::Full(_) => (
                Kind::UserFixable,
                "disk-full",
                "free some space (`kapell gc --dry-run` shows what can go), then `kapell resume`",
            ),
            Self::ReadOnly(_) => (
                Kind::UserFixable,
                "store-read-only",
                "make the state directory writable, or point KAPELL_HOME elsewhere",
            ),
            Self::Io(_) => (Kind::Permanent, "store-io", "check the disk, then run `kapell verify`"),
            Self::Corrupt(_) => (
                Kind::Permanent,
                "store-corrupt",
                "run `kapell verify`; the damaged part is quarantined, never replayed",
            ),
            Self::Newer { .. } => {
                (Kind::UserFixable, "store-newer", "update kapell; this store was written by a newer one")
            }
            Self::Busy(_) => {
                (Kind::Transient, "store-busy", "try again; another process writes for very long")
            }
            Self::Closed(_) => (Kind::Permanent, "store-closed", "restart kapell"),
            Self::Invalid(_) => (Kind::Permanent, "store-invalid", "report this as a bug of kapell"),
        };
        Fault::new(kind, code, self.to_string()).hint(hint)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { stream, expected, found } => {
                write!(f, "{stream} is at event {found}, not {expected}")
            }
            Self::Fenced { session } => write!(f, "session {session} is held by another process"),
            Self::Full(why) => write!(f, "the disk of the store is full: {why}"),
            Self::ReadOnly(why) => write!(f, "the store cannot be written: {why}"),
            Self::Io(why) => write!(f, "reading or writing the store failed: {why}"),
            Self::Corrupt(why) => write!(f, "the store is damaged: {why}"),
            Self::Newer { found, known } => {
                write!(f, "the store has schema {found}; this kapell knows {known}")
            }
            Self::Busy(why) => write!(f, "the store is locked: {why}"),
            Self::Closed(why) => write!(f, "the store takes no more writes: {why}"),
            Self::Invalid(why) => write!(f, "the store refuses a request that breaks its rules: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// The port.
pub trait Journal: crate::port::Blobs + fmt::Debug {
    /// Makes a batch durable, all or nothing; resolves after fsync. The new heads in the order of `appends`.
    /// The work is queued at the call, in order, before the future is first polled.
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Vec<Head>, Error>>;
    /// Where a stream stands; seq 0 when it does not exist.
    fn head(&self, stream: StreamId) -> BoxFuture<'_, Result<Head, Error>>;
    /// Records after `after`, in order, at most `limit`, chain verified. Stops with `Corrupt` at damage.
    fn read(&self, stream: StreamId, after: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, Error>>;
    /// Sessions, newest first.
    fn sessions(&self, unfinished_only: bool) -> BoxFuture<'_, Result<Vec<Listed>, Error>>;
    /// The place in the store's log of the newest append, whoever made it; 0 = none yet.
    fn place(&self) -> BoxFuture<'_, Result<u64, Error>>;
    /// What streams grew by after this place of the store's log, in the order of the commits, at most `limit`.
    fn grown(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Grown>, Error>>;
    /// Leaves an intent in a session's inbox; durable when it resolves.
    fn submit(&self, intent: Intent) -> BoxFuture<'_, Result<Submitted, Error>>;
    /// What waits in a session's inbox, oldest first.
    fn inbox(&self, session: SessionId) -> BoxFuture<'_, Result<Vec<Mail>, Error>>;
    /// Sessions that have something in their inbox.
    fn inbox_sessions(&self) -> BoxFuture<'_, Result<Vec<SessionId>, Error>>;
    /// Stores blobs by themselves (a goal, before its session exists).
    fn put(&self, blobs: Vec<Vec<u8>>) -> BoxFuture<'_, Result<(), Error>>;
    /// Takes a free or lapsed lease with the next fence, or says who holds it.
    fn acquire(
        &self,
        session: SessionId,
        owner: String,
        now: Timestamp,
        force: bool,
    ) -> BoxFuture<'_, Result<Result<Lease, Lease>, Error>>;
    /// Prolongs leases; those that changed hands are left out of the answer.
    fn renew(&self, leases: Vec<Lease>, now: Timestamp) -> BoxFuture<'_, Result<Vec<Lease>, Error>>;
    /// Gives a lease back.
    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), Error>>;
    /// Who holds a session now.
    fn holder(&self, session: SessionId) -> BoxFuture<'_, Result<Option<Lease>, Error>>;
    /// Keeps a snapshot; older ones beyond `limits::SNAPSHOTS_KEPT` go.
    fn snapshot(&self, stream: StreamId, snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>>;
    /// Snapshots that are sound, newest first.
    fn snapshots(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Snapshot>, Error>>;
    /// Recomputes every hash.
    fn verify(&self) -> BoxFuture<'_, Result<Verified, Error>>;
    /// Resolves when this process has appended or submitted something since the call (others are seen by polling).
    fn changed(&self) -> BoxFuture<'static, ()>;
}
