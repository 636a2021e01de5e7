//! The loop of a project over the journal: its fold, and facts that are added only to the fold they were decided upon.
//!
//! Knows the Journal port; no file, no time zone, no surface. A slot is claimed here, by an append that expects the very
//! fold it was found due in: of any number of processes one wins, and the others decide again. Start at [`commit`].

use crate::store;
use contract::journal::{Append, Batch, Class, Error, Journal};
use contract::looping::LoopEvent;
use contract::{ProjectId, StreamId, Timestamp, record};
use kernel::looping::Loop;

/// Times another process's write is answered by reading and deciding again.
const TRIES: u32 = 64;

/// The stream of the project in this directory.
pub fn stream(repo: &str) -> StreamId {
    StreamId::Loop(ProjectId::of(repo))
}

/// Brings the fold up to what the journal holds.
pub async fn catch_up(journal: &dyn Journal, repo: &str, known: &mut Loop) -> Result<(), Error> {
    let stream = stream(repo);
    if journal.head(stream).await?.seq == known.seq {
        return Ok(());
    }
    let after = known.seq;
    store::each(journal, stream, after, |record, _| {
        known.apply(record.at, &record.event).map_err(|e| store::broken(stream, record.seq, &e))
    })
    .await
}

/// Adds what `decide` makes of the fold, once nobody else has written in between; what was added. `blobs` are durable
/// with it. After an error the fold is what the journal held when it was last read.
pub async fn commit(
    journal: &dyn Journal,
    repo: &str,
    known: &mut Loop,
    now: Timestamp,
    blobs: Vec<Vec<u8>>,
    mut decide: impl FnMut(&Loop) -> Vec<LoopEvent> + Send,
) -> Result<Vec<LoopEvent>, Error> {
    let stream = stream(repo);
    let mut tries = 0;
    loop {
        catch_up(journal, repo, known).await?;
        let events = decide(known);
        if events.is_empty() {
            return Ok(events);
        }
        // What the fold refuses would stand in the way of every reader for ever.
        let mut next = known.clone();
        for event in &events {
            next.apply(now, event).map_err(|illegal| Error::Invalid(illegal.to_string()))?;
        }
        let records = record::encode_all(known.seq, now, &events);
        let append = Append { stream, expected: known.seq, fence: None, records, ended: false };
        tries += 1;
        let batch = Batch { appends: vec![append], blobs: blobs.clone(), ..Batch::default() };
        match journal.append(batch).await {
            Ok(_) => {
                *known = next;
                return Ok(events);
            }
            Err(error) if error.class() == Class::Retry && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
