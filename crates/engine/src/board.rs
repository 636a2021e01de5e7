//! What surfaces changed in a project's own files, put on record where every process reads it.
//!
//! Knows the Journal port, not the files. Start at [`record`].

use contract::board::BoardEvent;
use contract::journal::{Append, Batch, Class, Error, Journal};
use contract::{ProjectId, Seq, StreamId, Timestamp, record};

/// Times another process's write is answered by reading again.
const TRIES: u32 = 32;

/// One more fact about the project in this directory; its number.
pub async fn record(
    journal: &dyn Journal,
    repo: &str,
    event: &BoardEvent,
    now: Timestamp,
) -> Result<Seq, Error> {
    record_with(journal, repo, event, &[], now).await
}

/// The same, with the texts that it names.
pub async fn record_with(
    journal: &dyn Journal,
    repo: &str,
    event: &BoardEvent,
    blobs: &[Vec<u8>],
    now: Timestamp,
) -> Result<Seq, Error> {
    let stream = StreamId::Board(ProjectId::of(repo));
    let mut tries = 0;
    loop {
        let seq = journal.head(stream).await?.seq;
        let records = vec![record::encode(seq + 1, now, event)];
        let append = Append { stream, expected: seq, fence: None, records, ended: false };
        tries += 1;
        match journal.append(Batch { appends: vec![append], blobs: blobs.to_vec(), ..Batch::default() }).await
        {
            Ok(_) => return Ok(seq + 1),
            Err(error) if error.class() == Class::Retry && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}
