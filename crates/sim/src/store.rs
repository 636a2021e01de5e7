//! One process's handle on the store, and what goes wrong between the two: the same over memory and over SQLite.
//!
//! Knows the Journal port and rates; not what is written. Notes down every write for the oracle. Start at [`Handle`].

use crate::rng::Rng;
use crate::swarm::{Backend, Fault as Trouble, Swarm, Without};
use contract::intent::Intent;
use contract::journal::{
    Batch, Error, Grown, Head, Journal, Lease, Listed, Mail, Snapshot, Stored, Submitted, Verified,
};
use contract::port::Blobs;
use contract::{BoxFuture, Digest, Fault, Fence, Seq, SessionId, StreamId, Timestamp};
use journal::{Memory, Options, Sqlite, Tear};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Medium {
    Memory(Memory),
    Sqlite(PathBuf),
}

impl Medium {
    /// An empty store; `dir` is where SQLite's would be.
    pub(crate) fn new(backend: Backend, dir: impl FnOnce() -> PathBuf) -> Self {
        match backend {
            Backend::Memory => Self::Memory(Memory::new()),
            Backend::Sqlite => Self::Sqlite(dir()),
        }
    }

    fn open(&self) -> Result<Inner, Error> {
        Ok(match self {
            Self::Memory(memory) => Inner::Memory(memory.peer()),
            Self::Sqlite(dir) => Inner::Sqlite(Sqlite::open(dir, Options::default())?),
        })
    }
}

enum Inner {
    Memory(Memory),
    Sqlite(Sqlite),
}

/// What a process did to the store, in order.
#[derive(Debug)]
pub(crate) enum Note {
    /// These streams may have moved; a session's under this lease.
    Tried(Vec<(StreamId, Option<Fence>)>),
    /// The process died with this on its way: all of it is there, or nothing.
    Doubt { batch: Box<Batch>, durable: bool },
    /// A session changed hands.
    Granted(SessionId, Fence),
    /// The store said no, and why.
    Refused(Error),
    /// Power is gone.
    PowerCut,
}

#[derive(Debug)]
struct Process {
    rng: Rng,
    rates: Rates,
    health: Health,
    notes: Vec<Note>,
    met: Vec<Trouble>,
}

/// How often what fails, per hundred thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    append: u64,
    read: u64,
    submit: u64,
    without: Without,
}

impl Rates {
    pub(crate) fn of(swarm: &Swarm, without: Without) -> Self {
        Self { append: swarm.append, read: swarm.read, submit: swarm.submit, without }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Up,
    /// Writes are refused, reads are not.
    Failed,
    Dead,
}

/// A process's handle.
pub(crate) struct Handle {
    inner: Inner,
    process: Arc<Mutex<Process>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("health", &self.health()).finish_non_exhaustive()
    }
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    Box::pin(std::future::ready(value))
}

fn dead() -> Error {
    Error::Closed("the process has died".into())
}

/// What the errors made here begin with: others are the kernel's or the store's own.
pub(crate) const INJECTED: &str = "injected";

impl Handle {
    /// A process's own; with these rates things go wrong.
    pub(crate) fn open(medium: &Medium, rng: Rng, rates: Rates) -> Result<Arc<Self>, Error> {
        let process = Process { rng, rates, health: Health::Up, notes: Vec::new(), met: Vec::new() };
        Ok(Arc::new(Self { inner: medium.open()?, process: Arc::new(Mutex::new(process)) }))
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn below(&self) -> &dyn Journal {
        match &self.inner {
            Inner::Memory(memory) => memory,
            Inner::Sqlite(sqlite) => sqlite,
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.process().health
    }

    /// Nothing it asks for is done any more.
    pub(crate) fn kill(&self) {
        self.process().health = Health::Dead;
    }

    /// From now on nothing goes wrong by itself.
    pub(crate) fn calm(&self) {
        self.process().rates = Rates::default();
    }

    /// What it did since the last call, and what went wrong.
    pub(crate) fn take_notes(&self) -> (Vec<Note>, Vec<Trouble>) {
        let mut process = self.process();
        (std::mem::take(&mut process.notes), std::mem::take(&mut process.met))
    }

    /// The power fails without anything on its way.
    pub(crate) fn cut_power(&self) {
        if let Inner::Memory(memory) = &self.inner {
            memory.cut_power(None);
        }
    }

    /// Leaves something in an inbox that is no intent, where the store lets us.
    pub(crate) fn submit_raw(&self, session: SessionId, key: &str) {
        if let Inner::Memory(memory) = &self.inner {
            memory.submit_raw(session, key, "{\"source\":\"somebody\"}");
        }
    }

    fn writable(&self) -> Result<(), Error> {
        match self.health() {
            Health::Up => Ok(()),
            Health::Failed => Err(Error::Closed("an earlier write failed".into())),
            Health::Dead => Err(dead()),
        }
    }

    fn readable(&self) -> Result<(), Error> {
        let mut process = self.process();
        if process.health == Health::Dead {
            return Err(dead());
        }
        let rate = process.rates.read;
        let hit = rate > 0 && process.rng.rarely(rate);
        if !hit || process.rates.without.has(Trouble::ReadError) {
            return Ok(());
        }
        process.met.push(Trouble::ReadError);
        let why = format!("{INJECTED}: cannot be read now");
        Err(if process.rng.chance(500) { Error::Io(why) } else { Error::Corrupt(why) })
    }

    /// Does a write of this kind go wrong, and how?
    fn fate(&self, rate: impl Fn(&Rates) -> u64, faults: &[Trouble]) -> Option<(Trouble, Rng)> {
        let mut process = self.process();
        let rate = rate(&process.rates);
        if rate == 0 || !process.rng.rarely(rate) {
            return None;
        }
        let (fault, rng) = (process.rng.of(faults), Rng::new(process.rng.next()));
        if process.rates.without.has(fault) {
            return None;
        }
        process.met.push(fault);
        Some((fault, rng))
    }

    fn die(&self, note: Note) {
        let mut process = self.process();
        process.health = Health::Dead;
        process.notes.push(note);
    }

    /// The write is (or is not) made, and nobody learns of it.
    fn unheard(&self, batch: Batch, durable: bool) -> BoxFuture<'static, Result<Vec<Head>, Error>> {
        self.die(Note::Doubt { batch: Box::new(batch.clone()), durable });
        if !durable {
            return ready(Err(dead()));
        }
        let written = self.below().append(batch);
        Box::pin(async move {
            // The process is dead: nobody is there to learn how it went.
            let _ = written.await;
            Err(dead())
        })
    }

    fn tear(&self, batch: Batch, tear: Tear) -> BoxFuture<'static, Result<Vec<Head>, Error>> {
        if let Inner::Memory(memory) = &self.inner {
            memory.cut_power(Some((&batch, tear)));
        }
        self.die(Note::Doubt { batch: Box::new(batch), durable: false });
        self.process().notes.push(Note::PowerCut);
        ready(Err(dead()))
    }

    fn fail(
        &self,
        fault: Trouble,
        rng: &mut Rng,
        batch: Batch,
    ) -> BoxFuture<'static, Result<Vec<Head>, Error>> {
        let why = || format!("{INJECTED}: {fault:?}");
        match fault {
            Trouble::CommitLost => self.unheard(batch, false),
            Trouble::ReplyLost => self.unheard(batch, true),
            Trouble::TornTail => self.tear(batch, Tear::Cut(rng.below(1_000) as u16)),
            Trouble::LostSector => self.tear(batch, Tear::Sector(rng.below(1_000) as u16)),
            Trouble::BitFlip => {
                let (at, bit) = (rng.below(1_000) as u16, rng.below(8) as u8);
                self.tear(batch, Tear::Flip { at, bit })
            }
            Trouble::Io => {
                let durable = rng.chance(500);
                let done = self.unheard(batch, durable);
                self.process().health = Health::Failed;
                let error = Error::Io(why());
                Box::pin(async move {
                    // Refused or done: the caller is told of the disk either way.
                    let _ = done.await;
                    Err(error)
                })
            }
            Trouble::Conflict => {
                let stale = |append: &contract::journal::Append| Error::Conflict {
                    stream: append.stream,
                    expected: append.expected,
                    found: append.expected,
                };
                ready(Err(batch.appends.first().map_or_else(|| Error::Busy(why()), stale)))
            }
            Trouble::Full => ready(Err(Error::Full(why()))),
            Trouble::ReadOnly => ready(Err(Error::ReadOnly(why()))),
            Trouble::Newer => ready(Err(Error::Newer { found: 9, known: 1 })),
            _ => ready(Err(Error::Invalid(why()))),
        }
    }
}

const APPEND: [Trouble; 11] = [
    Trouble::CommitLost,
    Trouble::ReplyLost,
    Trouble::TornTail,
    Trouble::BitFlip,
    Trouble::LostSector,
    Trouble::Io,
    Trouble::Conflict,
    Trouble::Full,
    Trouble::ReadOnly,
    Trouble::Newer,
    Trouble::TooLarge,
];

impl Blobs for Handle {
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        match &self.inner {
            Inner::Memory(memory) => memory.blob(digest),
            Inner::Sqlite(sqlite) => sqlite.blob(digest),
        }
    }

    fn open(&self, digest: Digest) -> BoxFuture<'_, Result<Box<dyn std::io::BufRead + Send>, Fault>> {
        match &self.inner {
            Inner::Memory(memory) => memory.open(digest),
            Inner::Sqlite(sqlite) => sqlite.open(digest),
        }
    }

    fn adopt(&self, file: contract::tool::Spooled) -> BoxFuture<'_, Result<(), Fault>> {
        match &self.inner {
            Inner::Memory(memory) => memory.adopt(file),
            Inner::Sqlite(sqlite) => sqlite.adopt(file),
        }
    }
}

impl Journal for Handle {
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Vec<Head>, Error>> {
        if let Err(error) = self.writable() {
            return ready(Err(error));
        }
        if let Some((fault, mut rng)) = self.fate(|rates| rates.append, &APPEND) {
            return self.fail(fault, &mut rng, batch);
        }
        let streams = batch.appends.iter().map(|append| (append.stream, append.fence)).collect();
        self.process().notes.push(Note::Tried(streams));
        let (written, process) = (self.below().append(batch), Arc::clone(&self.process));
        Box::pin(async move {
            let done = written.await;
            if let Err(error) = &done {
                let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
                process.notes.push(Note::Refused(error.clone()));
            }
            done
        })
    }

    fn head(&self, stream: StreamId) -> BoxFuture<'_, Result<Head, Error>> {
        if let Err(error) = self.readable() {
            return ready(Err(error));
        }
        self.below().head(stream)
    }

    fn read(&self, stream: StreamId, after: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, Error>> {
        if let Err(error) = self.readable() {
            return ready(Err(error));
        }
        self.below().read(stream, after, limit)
    }

    fn sessions(&self, unfinished_only: bool) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        self.below().sessions(unfinished_only)
    }

    fn place(&self) -> BoxFuture<'_, Result<u64, Error>> {
        self.below().place()
    }

    fn grown(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Grown>, Error>> {
        self.below().grown(after, limit)
    }

    fn submit(&self, intent: Intent) -> BoxFuture<'_, Result<Submitted, Error>> {
        if let Err(error) = self.writable() {
            return ready(Err(error));
        }
        let Some((_, mut rng)) = self.fate(|rates| rates.submit, &[Trouble::SubmitError]) else {
            return self.below().submit(intent);
        };
        let error = rng.pick(&[Error::Busy(INJECTED.into()), Error::Full(INJECTED.into())]).cloned();
        let error = error.unwrap_or_else(dead);
        if rng.chance(500) {
            return ready(Err(error));
        }
        let done = self.below().submit(intent);
        Box::pin(async move {
            // It is there, and nobody learns of it.
            let _ = done.await;
            Err(error)
        })
    }

    fn inbox(&self, session: SessionId) -> BoxFuture<'_, Result<Vec<Mail>, Error>> {
        if let Err(error) = self.readable() {
            return ready(Err(error));
        }
        self.below().inbox(session)
    }

    fn inbox_sessions(&self) -> BoxFuture<'_, Result<Vec<SessionId>, Error>> {
        if let Err(error) = self.readable() {
            return ready(Err(error));
        }
        self.below().inbox_sessions()
    }

    fn put(&self, blobs: Vec<Vec<u8>>) -> BoxFuture<'_, Result<(), Error>> {
        self.below().put(blobs)
    }

    fn acquire(
        &self,
        session: SessionId,
        owner: String,
        now: Timestamp,
        force: bool,
    ) -> BoxFuture<'_, Result<Result<Lease, Lease>, Error>> {
        if let Err(error) = self.writable() {
            return ready(Err(error));
        }
        if self.fate(|rates| rates.read, &[Trouble::LeaseError]).is_some() {
            return ready(Err(Error::Busy(INJECTED.into())));
        }
        Box::pin(async move {
            let answer = self.below().acquire(session, owner, now, force).await?;
            if let Ok(lease) = &answer {
                self.process().notes.push(Note::Granted(session, lease.fence));
            }
            Ok(answer)
        })
    }

    fn renew(&self, leases: Vec<Lease>, now: Timestamp) -> BoxFuture<'_, Result<Vec<Lease>, Error>> {
        if let Err(error) = self.writable() {
            return ready(Err(error));
        }
        if self.fate(|rates| rates.read, &[Trouble::LeaseError]).is_some() {
            return ready(Err(Error::Busy(INJECTED.into())));
        }
        self.below().renew(leases, now)
    }

    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), Error>> {
        if let Err(error) = self.writable() {
            return ready(Err(error));
        }
        self.below().release(lease)
    }

    fn holder(&self, session: SessionId) -> BoxFuture<'_, Result<Option<Lease>, Error>> {
        self.below().holder(session)
    }

    fn snapshot(&self, stream: StreamId, snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>> {
        if let Err(error) = self.writable() {
            return ready(Err(error));
        }
        self.below().snapshot(stream, snapshot)
    }

    fn snapshots(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Snapshot>, Error>> {
        self.below().snapshots(stream)
    }

    fn verify(&self) -> BoxFuture<'_, Result<Verified, Error>> {
        self.below().verify()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.below().changed()
    }
}
