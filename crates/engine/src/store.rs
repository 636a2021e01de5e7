//! Reading sessions and ledgers back: newest sound snapshot, then the events after it.
//!
//! Knows the Journal port and the fold. Start at [`session`].

use contract::journal::{Error, Journal, Snapshot};
use contract::record::{self, DecodeError, Record, Storable};
use contract::{Seq, SessionId, StreamId, limits};
use kernel::Session;
use kernel::further::Book;
use kernel::ledger::Ledger;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Records read at once.
const PAGE: usize = 2_000;

/// What a snapshot holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wrapped<T> {
    pub(crate) schema: u32,
    pub(crate) state: T,
}

/// The session as the journal has it; `None` when there is no such session.
pub async fn session(journal: &dyn Journal, id: SessionId) -> Result<Option<Session>, Error> {
    let stream = StreamId::Session(id);
    let mut state = newest(journal, stream, |s: &Session| s.seq).await?.unwrap_or_else(|| Session::new(id));
    let after = state.seq;
    each(journal, stream, after, |record, _| {
        state.apply(record.at, &record.event).map_err(|e| broken(stream, record.seq, &e))
    })
    .await?;
    Ok((state.seq > 0).then_some(state))
}

/// The ledger of a tree as the journal has it.
pub async fn ledger(journal: &dyn Journal, root: SessionId) -> Result<Ledger, Error> {
    let stream = StreamId::Tree(root);
    let mut ledger = newest(journal, stream, |l: &Ledger| l.seq).await?.unwrap_or_else(|| Ledger::new(root));
    let after = ledger.seq;
    each(journal, stream, after, |record, _| {
        ledger.apply(&record.event).map_err(|e| broken(stream, record.seq, &e))
    })
    .await?;
    Ok(ledger)
}

/// A ledger that sessions of many trees share, as the journal has it.
pub async fn book(journal: &dyn Journal, stream: StreamId) -> Result<Book, Error> {
    let none = || Error::Corrupt(format!("{stream} is no shared ledger"));
    let book = match newest(journal, stream, Book::seq).await? {
        Some(book) => book,
        None => Book::new(stream).ok_or_else(none)?,
    };
    forward(journal, stream, book).await
}

/// The same, from what was read of it before, when that is not long ago.
pub async fn book_since(journal: &dyn Journal, stream: StreamId, old: Book) -> Result<Book, Error> {
    let head = journal.head(stream).await?.seq;
    match head.checked_sub(old.seq()) {
        Some(news) if news <= limits::SNAPSHOT_SHARED_EVENTS => forward(journal, stream, old).await,
        _ => book(journal, stream).await,
    }
}

async fn forward(journal: &dyn Journal, stream: StreamId, mut book: Book) -> Result<Book, Error> {
    let after = book.seq();
    match &mut book {
        Book::Quota(quota) => {
            each(journal, stream, after, |record, _| {
                quota.apply(record.at, &record.event).map_err(|e| broken(stream, record.seq, &e))
            })
            .await?;
        }
        Book::Project(project) => {
            each(journal, stream, after, |record, _| {
                project.apply(record.at, &record.event).map_err(|e| broken(stream, record.seq, &e))
            })
            .await?;
        }
    }
    Ok(book)
}

/// Keeps a snapshot of such a ledger, so that reading it stays fast however many calls there were.
pub async fn snapshot_book(journal: &dyn Journal, stream: StreamId) -> Result<(), Error> {
    // From the journal, not from memory: what is decided and not committed must not stand under its head's hash.
    let book = book(journal, stream).await?;
    snapshot(journal, stream, book.seq(), &book).await
}

/// Every record of a stream, in order.
pub async fn records<E: Storable>(journal: &dyn Journal, stream: StreamId) -> Result<Vec<Record<E>>, Error> {
    let mut all = Vec::new();
    each(journal, stream, 0, |record, _| {
        all.push(record);
        Ok(())
    })
    .await?;
    Ok(all)
}

/// Hands over the records of a stream after `after`, one by one, with their bytes. Only a page of them is in memory.
pub async fn each<E: Storable>(
    journal: &dyn Journal,
    stream: StreamId,
    after: Seq,
    mut f: impl FnMut(Record<E>, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut after = after;
    loop {
        let page = journal.read(stream, after, PAGE).await?;
        for stored in &page {
            if stored.seq != after + 1 && !contract::planted!(ReplayHole) {
                let why = format!("{stream}: event {} comes after event {after}", stored.seq);
                return Err(Error::Corrupt(why));
            }
            f(decode(stream, stored.seq, &stored.bytes)?, &stored.bytes)?;
            after = stored.seq;
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// A stored record as an event, with damage and newer versions named.
pub fn decode<E: Storable>(stream: StreamId, seq: Seq, bytes: &[u8]) -> Result<Record<E>, Error> {
    record::decode(bytes).map_err(|error| match error {
        DecodeError::Newer(found) => Error::Newer { found, known: record::VERSION },
        DecodeError::Malformed(why) => Error::Corrupt(format!("event {seq} of {stream}: {why}")),
    })
}

/// The error for an event that the fold refuses.
pub fn broken(stream: StreamId, seq: Seq, error: &kernel::Illegal) -> Error {
    Error::Corrupt(format!("event {seq} of {stream} does not fit what came before: {error}"))
}

/// The session in a snapshot; `None` when it is of another schema.
pub fn session_in(snapshot: &Snapshot) -> Option<Session> {
    folded(snapshot)
}

/// The ledger in a snapshot; `None` when it is of another schema.
pub fn ledger_in(snapshot: &Snapshot) -> Option<Ledger> {
    folded(snapshot)
}

fn folded<T: DeserializeOwned>(snapshot: &Snapshot) -> Option<T> {
    let Wrapped { schema, state } = serde_json::from_slice(&snapshot.json).ok()?;
    (schema == kernel::session::SCHEMA).then_some(state)
}

/// The newest snapshot that is sound, of this schema, and of this very history.
async fn newest<T: DeserializeOwned>(
    journal: &dyn Journal,
    stream: StreamId,
    seq: fn(&T) -> Seq,
) -> Result<Option<T>, Error> {
    for snapshot in journal.snapshots(stream).await? {
        let Some(state) = folded(&snapshot) else { continue };
        let same = journal.read(stream, snapshot.seq.saturating_sub(1), 1).await?;
        let same =
            same.first().is_some_and(|stored| stored.seq == snapshot.seq && stored.hash == snapshot.head);
        if seq(&state) == snapshot.seq && (same || contract::planted!(AnySnapshot)) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// Keeps a snapshot of a fold that stands at the stream's head. A cache: when it cannot be written, nothing is lost.
pub async fn snapshot<T: Serialize>(
    journal: &dyn Journal,
    stream: StreamId,
    seq: Seq,
    state: &T,
) -> Result<(), Error> {
    let head = journal.head(stream).await?;
    if head.seq != seq || seq == 0 {
        return Ok(());
    }
    let wrapped = Wrapped { schema: kernel::session::SCHEMA, state };
    let json = serde_json::to_vec(&wrapped).map_err(|error| Error::Corrupt(error.to_string()))?;
    journal.snapshot(stream, Snapshot { seq, head: head.hash, json }).await
}
