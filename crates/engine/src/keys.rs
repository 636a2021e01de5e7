//! What holds up the calls under one key of a provider, and a person's word that it be tried all the same.
//!
//! Knows the Journal port and the key's ledger; waits and calls are the sessions' own. Start at [`lift`].

use crate::store;
use contract::journal::{Append, Batch, Class, Error, Journal};
use contract::quota::QuotaEvent;
use contract::{QuotaId, StreamId, Timestamp, record};
use kernel::further::Book;
use kernel::quota::Quota;

/// Times another process's write is answered by reading again.
const TRIES: u32 = 32;
/// Why, on record.
const WHY: &str = "a person wants it tried now";

/// The limits of the key of this name.
pub async fn quota(journal: &dyn Journal, name: &str) -> Result<Quota, Error> {
    match store::book(journal, StreamId::Quota(QuotaId::of(name))).await? {
        Book::Quota(quota) => Ok(*quota),
        Book::Project(_) => Err(Error::Corrupt("a key's ledger is a project's".into())),
    }
}

/// Puts on record that calls under this key are to be tried now. False: nobody has ever called under it.
pub async fn lift(journal: &dyn Journal, name: &str, now: Timestamp) -> Result<bool, Error> {
    let stream = StreamId::Quota(QuotaId::of(name));
    let mut tries = 0;
    loop {
        let known = quota(journal, name).await?;
        if known.seq == 0 {
            return Ok(false);
        }
        let records = vec![record::encode(known.seq + 1, now, &QuotaEvent::Lifted { why: WHY.to_owned() })];
        let append = Append { stream, expected: known.seq, fence: None, records, ended: false };
        tries += 1;
        match journal.append(Batch { appends: vec![append], ..Batch::default() }).await {
            Ok(_) => return Ok(true),
            Err(error) if error.class() == Class::Retry && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}
