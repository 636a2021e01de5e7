//! The store in one SQLite file: one thread writes, a few read, any process may have it open.
//!
//! Knows nothing of what records say. Start at [`Sqlite::open`]; a write goes through `writer.rs`, a read
//! through `reader.rs`.

mod append;
mod audit;
mod blobs;
mod error;
mod heads;
mod inbox;
mod leases;
mod reader;
mod schema;
mod seat;
mod snapshots;
mod upkeep;
mod verify;
mod wounds;
mod writer;

pub use audit::{Audit, Leased};
pub use blobs::{Mark, Swept};
pub use upkeep::Stats;

use crate::blob::Packed;
use crate::notify::Notify;
use crate::oneshot::{self, Answer};
use crate::queue::{Queue, Refused};
use crate::rules;
use append::Prepared;
use contract::intent::Intent;
use contract::journal::{
    Batch, Error, Grown, Head, Journal, Lease, Listed, Mail, Snapshot, Stored, Submitted, Verified,
};
use contract::port::Blobs;
use contract::tool::Spooled;
use contract::{BoxFuture, Digest, Fault, Seq, SessionId, StreamId, Timestamp, limits};
use error::Stop;
use heads::Heads;
use reader::{Query, Reader};
use seat::{Seat, Written};
use std::fs::File;
use std::future::Future;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use writer::{Task, Tx, Writer};

/// How a store is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Bytes the database file may grow to; beyond it writes answer [`Error::Full`]. `None` = what the disk holds.
    pub max_bytes: Option<u64>,
}

/// A store in a directory. Dropping it finishes what is queued.
pub struct Sqlite {
    dir: PathBuf,
    /// `None` when opened for reading.
    writes: Option<Arc<Seat>>,
    queries: Arc<Queue<Query>>,
    changed: Notify,
    writer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    /// Locked shared as long as this store may be written through here; `None` when opened for reading.
    present: Option<File>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the store in `dir`, making it where there is none and bringing an older one to the newest schema.
    /// Several processes may have it open. Blocks.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        let conn = schema::open(dir, schema::STEPS)?;
        if let Some(most) = options.max_bytes {
            let page: i64 =
                conn.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(error::sql)?;
            let pages = most / page.unsigned_abs();
            conn.pragma_update(None, "max_page_count", pages as i64).map_err(error::sql)?;
        }
        let mut store = Self::reading(dir, || schema::another(&dir.join(schema::FILE)))?;
        store.present = Some(schema::present(dir)?);
        let seat = Arc::new(Seat::new(Writer::new(conn, dir.to_owned(), store.changed.clone())));
        store.writes = Some(Arc::clone(&seat));
        store.writer = Some(spawn("journal-write", move || seat.run())?);
        Ok(store)
    }

    /// Opens the store in `dir` for reading only: nothing in the directory is changed, every write is refused.
    /// Blocks.
    pub fn open_read_only(dir: &Path) -> Result<Self, Error> {
        Self::reading(dir, || schema::open_read_only(dir))
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self) -> PathBuf {
        self.dir.join(schema::FILE)
    }

    /// A store with its readers.
    fn reading(dir: &Path, connect: impl Fn() -> Result<rusqlite::Connection, Error>) -> Result<Self, Error> {
        let queries = Arc::new(Queue::new(limits::JOURNAL_QUEUE));
        let mut store = Self {
            dir: dir.to_owned(),
            writes: None,
            queries: Arc::clone(&queries),
            changed: Notify::default(),
            writer: None,
            readers: Vec::new(),
            present: None,
        };
        for _ in 0..limits::JOURNAL_READERS {
            let blobs = dir.join(schema::BLOBS);
            let reader = Reader { conn: connect()?, heads: Heads::default(), blobs };
            let queries = Arc::clone(&queries);
            store.readers.push(spawn("journal-read", move || reader::run(reader, queries))?);
        }
        Ok(store)
    }

    /// Queues a write; the answer comes after its transaction's fsync. Whoever first awaits it may find itself doing it.
    fn write<T: Send + 'static>(
        &self,
        weight: usize,
        run: impl FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<Written<T>, Error> {
        let Some(writes) = &self.writes else {
            return Err(Error::ReadOnly(format!("{} was opened for reading", self.dir.display())));
        };
        let (reply, answer) = oneshot::channel();
        writes.queue.put(Box::new(Task { weight, run, result: None, reply })).map_err(refused)?;
        Ok(Written::new(answer, Arc::clone(writes)))
    }

    /// Queues a read.
    fn query<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Reader) -> T + Send + 'static,
    ) -> Result<Answer<T>, Error> {
        let (reply, answer) = oneshot::channel();
        let query = Query(Box::new(move |reader| reply.send(run(reader))));
        self.queries.push(query).map_err(refused)?;
        Ok(answer)
    }

    /// Queues a read over one unchanging view.
    fn view<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Reader) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        answer(self.query(move |reader| reader.view(run)))
    }
}

impl Sqlite {
    /// [`Journal::verify`], telling now and then how many rows it has read, and of how many.
    pub fn verify_told(
        &self,
        mut told: impl FnMut(u64, u64) + Send + 'static,
    ) -> BoxFuture<'static, Result<Verified, Error>> {
        answer(self.query(move |reader| reader.verify(&mut told)))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.queries.close();
        self.readers.drain(..).for_each(join);
        // The writer last: the last connection to close merges the write-ahead log, and readers cannot.
        if let Some(writes) = &self.writes {
            writes.queue.close();
        }
        self.writer.take().into_iter().for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    // A waker that drops the last handle does so on one of these threads, which cannot wait for itself.
    if thread.thread().id() != thread::current().id() {
        // A thread that panicked has closed its queue; there is nothing more to clean up.
        let _ = thread.join();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| Error::Io(format!("the thread {name} could not be started: {error}")))
}

fn refused(refused: Refused) -> Error {
    match refused {
        Refused::Full => Error::Busy(format!("{} requests wait already", limits::JOURNAL_QUEUE)),
        Refused::Closed => gone(),
    }
}

fn gone() -> Error {
    Error::Closed("its thread has ended".into())
}

/// What was queued, as the port has it. `None` of an answer: the thread is gone.
fn answer<T: Send + 'static>(
    queued: Result<impl Future<Output = Option<Result<T, Error>>> + Send + 'static, Error>,
) -> BoxFuture<'static, Result<T, Error>> {
    Box::pin(async move { queued?.await.unwrap_or_else(|| Err(gone())) })
}

impl Blobs for Sqlite {
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        let queued = self.query(move |reader| reader.blob(digest));
        Box::pin(async move {
            let answer = queued.map_err(|error| error.fault())?.await;
            answer.unwrap_or_else(|| Err(gone().fault()))
        })
    }

    fn open(&self, digest: Digest) -> BoxFuture<'_, Result<Box<dyn BufRead + Send>, Fault>> {
        let queued = self.query(move |reader| reader.open_blob(digest));
        Box::pin(async move {
            let answer = queued.map_err(|error| error.fault())?.await;
            answer.unwrap_or_else(|| Err(gone().fault()))
        })
    }

    fn adopt(&self, file: Spooled) -> BoxFuture<'_, Result<(), Fault>> {
        // As a file it is renamed, not written.
        let adopted = answer(self.write(0, move |tx| tx.adopt(&file)));
        Box::pin(async move { adopted.await.map_err(|error| error.fault()) })
    }
}

impl Journal for Sqlite {
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Vec<Head>, Error>> {
        answer(rules::check(&batch).and_then(|()| {
            let prepared = Prepared::new(batch);
            self.write(prepared.weight(), move |tx| tx.append(&prepared))
        }))
    }

    fn head(&self, stream: StreamId) -> BoxFuture<'_, Result<Head, Error>> {
        self.view(move |reader| reader.head(stream))
    }

    fn read(&self, stream: StreamId, after: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, Error>> {
        self.view(move |reader| reader.read(stream, after, limit))
    }

    fn sessions(&self, unfinished_only: bool) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        self.view(move |reader| reader.sessions(unfinished_only))
    }

    fn place(&self) -> BoxFuture<'_, Result<u64, Error>> {
        answer(self.query(|reader| reader.place()))
    }

    fn grown(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Grown>, Error>> {
        answer(self.query(move |reader| reader.grown(after, limit)))
    }

    fn submit(&self, intent: Intent) -> BoxFuture<'_, Result<Submitted, Error>> {
        let json = inbox::encode(&intent);
        answer(self.write(json.len(), move |tx| tx.submit(&intent, &json)))
    }

    fn inbox(&self, session: SessionId) -> BoxFuture<'_, Result<Vec<Mail>, Error>> {
        answer(self.query(move |reader| reader.inbox(session)))
    }

    fn inbox_sessions(&self) -> BoxFuture<'_, Result<Vec<SessionId>, Error>> {
        answer(self.query(|reader| reader.inbox_sessions()))
    }

    fn put(&self, blobs: Vec<Vec<u8>>) -> BoxFuture<'_, Result<(), Error>> {
        answer(rules::check_blobs(&blobs).and_then(|()| {
            let packed: Vec<Packed> = blobs.iter().map(|raw| Packed::new(raw)).collect();
            let weight = packed.iter().map(|blob| blob.bytes.len()).sum();
            self.write(weight, move |tx| tx.put_all(&packed))
        }))
    }

    fn acquire(
        &self,
        session: SessionId,
        owner: String,
        now: Timestamp,
        force: bool,
    ) -> BoxFuture<'_, Result<Result<Lease, Lease>, Error>> {
        answer(self.write(0, move |tx| tx.acquire(session, &owner, now, force)))
    }

    fn renew(&self, leases: Vec<Lease>, now: Timestamp) -> BoxFuture<'_, Result<Vec<Lease>, Error>> {
        answer(self.write(0, move |tx| tx.renew(&leases, now)))
    }

    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), Error>> {
        answer(self.write(0, move |tx| tx.release(&lease)))
    }

    fn holder(&self, session: SessionId) -> BoxFuture<'_, Result<Option<Lease>, Error>> {
        answer(self.query(move |reader| reader.holder(session)))
    }

    fn snapshot(&self, stream: StreamId, snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>> {
        let (hash, packed) = (snapshots::hash(stream, &snapshot), crate::blob::pack(&snapshot.json));
        answer(self.write(packed.len(), move |tx| tx.keep(stream, &snapshot, hash, &packed)))
    }

    fn snapshots(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Snapshot>, Error>> {
        self.view(move |reader| reader.snapshots(stream))
    }

    fn verify(&self) -> BoxFuture<'_, Result<Verified, Error>> {
        self.verify_told(|_, _| {})
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.changed.changed()
    }
}
