//! The rules both stores share: what a batch may hold, what a lease permits, when it has lapsed.
//! Knows no store. Start at [`check`].

use contract::intent::Wish;
use contract::journal::{Append, Batch, Error};
use contract::{Digest, Fence, StreamId, Timestamp, limits};
use std::collections::BTreeSet;

/// The chain hash before a stream's first event: the digest of its name.
pub fn genesis(stream: StreamId) -> Digest {
    Digest::of(stream.to_string().as_bytes())
}

/// What a store knows of a session's lease when it judges an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) fence: Fence,
    /// False after a release: then nobody may write.
    pub(crate) held: bool,
}

/// Refuses a batch that no state of the store could accept.
pub(crate) fn check(batch: &Batch) -> Result<(), Error> {
    let mut streams = BTreeSet::new();
    for append in &batch.appends {
        if !streams.insert(append.stream) {
            return Err(Error::Invalid(format!("{} stands twice in one batch", append.stream)));
        }
        if let Some(large) = append.records.iter().find(|record| record.len() > limits::RECORD_BYTES) {
            return Err(Error::Invalid(format!(
                "a record for {} has {} bytes; {} are allowed",
                append.stream,
                large.len(),
                limits::RECORD_BYTES
            )));
        }
    }
    let mut rows = BTreeSet::new();
    if let Some(row) = batch.consume.iter().find(|row| !rows.insert(**row)) {
        return Err(Error::Invalid(format!("inbox row {row} is consumed twice in one batch")));
    }
    check_blobs(&batch.blobs)
}

/// Refuses blobs beyond the limit.
pub(crate) fn check_blobs(blobs: &[Vec<u8>]) -> Result<(), Error> {
    match blobs.iter().find(|blob| blob.len() > limits::BLOB_BYTES) {
        Some(large) => Err(Error::Invalid(format!(
            "a blob has {} bytes; {} are allowed",
            large.len(),
            limits::BLOB_BYTES
        ))),
        None => Ok(()),
    }
}

/// May this append be made under what is known of the lease? A session nobody ever leased may only be opened.
pub(crate) fn fence(append: &Append, lease: Option<Held>) -> Result<(), Error> {
    let StreamId::Session(session) = append.stream else { return Ok(()) };
    let permitted = match lease {
        None => append.expected == 0 && append.fence.is_none(),
        Some(lease) => lease.held && append.fence == Some(lease.fence),
    };
    if permitted || contract::planted!(NoFencing) { Ok(()) } else { Err(Error::Fenced { session }) }
}

/// Has a lease until `until` lapsed at `now`? One that ends absurdly far ahead was granted before the clock
/// went backwards: a living holder would have renewed it within a third of its time.
pub(crate) fn lapsed(until: Timestamp, now: Timestamp) -> bool {
    until <= now || until > now.plus(2 * limits::LEASE_MS)
}

/// How many intents may wait in an inbox for this one to be taken.
pub(crate) fn inbox_bound(wish: &Wish) -> usize {
    match wish {
        Wish::Cancel => limits::MAILBOX_INTENTS + limits::MAILBOX_RESERVED,
        _ => limits::MAILBOX_INTENTS,
    }
}

/// The answer to a submission beyond the bound.
pub(crate) fn inbox_full(session: contract::SessionId, waiting: usize) -> Error {
    Error::Busy(format!("session {session} has {waiting} intents waiting"))
}
