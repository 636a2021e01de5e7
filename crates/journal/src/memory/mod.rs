//! The in-memory twin: the same rules without a disk, with a crash and a fault wherever a test wants one.
//!
//! Every future is ready at its first poll, so that a single-threaded simulator can drive it. Start at [`Memory`].

mod state;
mod tear;

pub use tear::Tear;

use crate::notify::Notify;
use crate::rules;
use contract::intent::Intent;
use contract::journal::{
    Batch, Error, Grown, Head, Journal, Lease, Listed, Mail, Snapshot, Stored, Submitted, Verified,
};
use contract::port::Blobs;
use contract::tool::Spooled;
use contract::{BoxFuture, Digest, Fault, Seq, SessionId, StreamId, Timestamp};
use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What kind of write a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `append`.
    Append,
    /// `submit`.
    Submit,
    /// `put`.
    Put,
    /// `acquire`, `renew`, `release`.
    Lease,
    /// `snapshot`.
    Snapshot,
}

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inject {
    /// The process dies before anything is durable.
    Lost,
    /// The process dies after it is durable, before anybody is told.
    ReplyLost,
    /// Refused, nothing changed: an append by `Conflict`, anything else as `Busy`.
    Conflict,
    /// The disk fails; nothing more is written. Whether this write is on it, only a restart shows.
    Io {
        /// It is.
        durable: bool,
    },
    /// No space; nothing changed, later writes may pass.
    Full,
}

/// Decides what goes wrong: called for every write of a process with its number (1, 2, 3 ...).
pub type Faults = dyn FnMut(u64, Op) -> Option<Inject> + Send;

/// One process's handle on a store in memory. Clones are the same process.
#[derive(Clone)]
pub struct Memory {
    durable: Arc<Mutex<State>>,
    process: Arc<Mutex<Process>>,
    changed: Notify,
}

#[derive(Default)]
struct Process {
    health: Health,
    writes: u64,
    faults: Option<Box<Faults>>,
}

#[derive(Debug, Default)]
enum Health {
    #[default]
    Up,
    /// Writes are refused, reads are not.
    Failed,
    Dead,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let process = lock(&self.process);
        f.debug_struct("Memory").field("health", &process.health).field("writes", &process.writes).finish()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// A first process over an empty store.
    pub fn new() -> Self {
        Self::over(Arc::default())
    }

    fn over(durable: Arc<Mutex<State>>) -> Self {
        Self { durable, process: Arc::default(), changed: Notify::default() }
    }

    /// Another process over the same store.
    #[must_use]
    pub fn peer(&self) -> Self {
        Self::over(Arc::clone(&self.durable))
    }

    /// This process dies: whatever it asks from now on is refused. The answer is its successor over what was durable.
    #[must_use]
    pub fn crash(&self) -> Self {
        lock(&self.process).health = Health::Dead;
        self.peer()
    }

    /// The power fails, for every process over this store, while this was being written (if anything was). Handles
    /// go on to work, over what the disk has kept: whose process died is the caller's to say.
    pub fn cut_power(&self, torn: Option<(&Batch, Tear)>) {
        let mut state = lock(&self.durable);
        #[cfg(planted)]
        state.lose_unsynced();
        let Some((batch, tear)) = torn else { return };
        if batch.appends.iter().all(|append| state.head(append.stream).seq == append.expected) {
            let found = tear::survivors(batch, tear, |stream| state.head(stream));
            for append in &found {
                state.write(append);
            }
        }
    }

    /// A first process over a copy of what is durable now.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::over(Arc::new(Mutex::new(lock(&self.durable).clone())))
    }

    /// From now on this decides what goes wrong in this process.
    pub fn set_faults(&self, faults: impl FnMut(u64, Op) -> Option<Inject> + Send + 'static) {
        lock(&self.process).faults = Some(Box::new(faults));
    }

    /// Writes this process has asked for so far.
    pub fn writes(&self) -> u64 {
        lock(&self.process).writes
    }

    /// Leaves something in an inbox that this binary may not understand, as a newer one would.
    pub fn submit_raw(&self, session: SessionId, key: &str, json: &str) {
        lock(&self.durable).leave(session, key, json.to_owned());
        self.changed.notify();
    }

    /// One write: the fault planned for it, or the thing itself.
    fn write<T>(
        &self,
        op: Op,
        conflict: impl FnOnce(&State) -> Error,
        run: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut process = lock(&self.process);
        match process.health {
            Health::Up => {}
            Health::Failed => return Err(Error::Closed("an earlier write failed".into())),
            Health::Dead => return Err(dead()),
        }
        process.writes += 1;
        let number = process.writes;
        let fault = process.faults.as_mut().and_then(|faults| faults(number, op));
        let mut state = lock(&self.durable);
        #[cfg(planted)]
        state.mark_unsynced(op);
        match fault {
            None => run(&mut state),
            Some(Inject::Conflict) => Err(conflict(&state)),
            Some(Inject::Full) => Err(Error::Full(format!("injected at write {number}"))),
            Some(Inject::Lost) => {
                process.health = Health::Dead;
                Err(dead())
            }
            Some(Inject::ReplyLost) => {
                process.health = Health::Dead;
                // The process is dead: nobody is there to learn how it went.
                let _ = run(&mut state);
                Err(dead())
            }
            Some(Inject::Io { durable }) => {
                process.health = Health::Failed;
                if durable {
                    // Refused or done: the caller is told of the disk either way.
                    let _ = run(&mut state);
                }
                Err(Error::Io(format!("injected at write {number}")))
            }
        }
    }

    /// A write that brings news when it succeeds.
    fn publish<T>(
        &self,
        op: Op,
        conflict: impl FnOnce(&State) -> Error,
        run: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let result = self.write(op, conflict, run);
        if result.is_ok() {
            self.changed.notify();
        }
        result
    }

    fn read_state<T>(&self, run: impl FnOnce(&State) -> T) -> Result<T, Error> {
        if matches!(lock(&self.process).health, Health::Dead) {
            return Err(dead());
        }
        Ok(run(&lock(&self.durable)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dead() -> Error {
    Error::Closed("the process has crashed".into())
}

fn busy(_: &State) -> Error {
    Error::Busy("injected".into())
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    Box::pin(std::future::ready(value))
}

impl Blobs for Memory {
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        let found = self.read_state(|state| state.blobs.get(&digest).cloned());
        ready(match found {
            Ok(Some(bytes)) => Ok(bytes.to_vec()),
            Ok(None) => Err(crate::blob::fault(digest, "blob-missing", "it was never stored here")),
            Err(error) => Err(error.fault()),
        })
    }

    fn adopt(&self, file: Spooled) -> BoxFuture<'_, Result<(), Fault>> {
        let failed = |error: std::io::Error| Error::Io(format!("{}: {error}", file.path.display()));
        let adopted = std::fs::read(&file.path).map_err(failed).and_then(|bytes| {
            self.write(Op::Put, busy, |state| {
                state.put(&[bytes]);
                Ok(())
            })?;
            std::fs::remove_file(&file.path).map_err(failed)
        });
        ready(adopted.map_err(|error| error.fault()))
    }
}

impl Journal for Memory {
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Vec<Head>, Error>> {
        let conflict = |state: &State| match batch.appends.first() {
            Some(append) => Error::Conflict {
                stream: append.stream,
                expected: append.expected,
                found: state.head(append.stream).seq,
            },
            None => busy(state),
        };
        ready(
            rules::check(&batch)
                .and_then(|()| self.publish(Op::Append, conflict, |state| state.append(&batch))),
        )
    }

    fn head(&self, stream: StreamId) -> BoxFuture<'_, Result<Head, Error>> {
        ready(self.read_state(|state| state.head(stream)))
    }

    fn read(&self, stream: StreamId, after: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, Error>> {
        ready(self.read_state(|state| state.read(stream, after, limit)))
    }

    fn sessions(&self, unfinished_only: bool) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        ready(self.read_state(|state| state.sessions(unfinished_only)))
    }

    fn place(&self) -> BoxFuture<'_, Result<u64, Error>> {
        ready(self.read_state(State::place))
    }

    fn grown(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Grown>, Error>> {
        ready(self.read_state(|state| state.grown(after, limit)))
    }

    fn submit(&self, intent: Intent) -> BoxFuture<'_, Result<Submitted, Error>> {
        ready(self.publish(Op::Submit, busy, |state| state.submit(&intent)))
    }

    fn inbox(&self, session: SessionId) -> BoxFuture<'_, Result<Vec<Mail>, Error>> {
        ready(self.read_state(|state| state.inbox(session)))
    }

    fn inbox_sessions(&self) -> BoxFuture<'_, Result<Vec<SessionId>, Error>> {
        ready(self.read_state(State::inbox_sessions))
    }

    fn put(&self, blobs: Vec<Vec<u8>>) -> BoxFuture<'_, Result<(), Error>> {
        ready(rules::check_blobs(&blobs).and_then(|()| {
            self.write(Op::Put, busy, |state| {
                state.put(&blobs);
                Ok(())
            })
        }))
    }

    fn acquire(
        &self,
        session: SessionId,
        owner: String,
        now: Timestamp,
        force: bool,
    ) -> BoxFuture<'_, Result<Result<Lease, Lease>, Error>> {
        ready(self.write(Op::Lease, busy, |state| Ok(state.acquire(session, owner, now, force))))
    }

    fn renew(&self, leases: Vec<Lease>, now: Timestamp) -> BoxFuture<'_, Result<Vec<Lease>, Error>> {
        ready(self.write(Op::Lease, busy, |state| Ok(state.renew(leases, now))))
    }

    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), Error>> {
        ready(self.write(Op::Lease, busy, |state| {
            state.release(&lease);
            Ok(())
        }))
    }

    fn holder(&self, session: SessionId) -> BoxFuture<'_, Result<Option<Lease>, Error>> {
        ready(self.read_state(|state| state.holder(session)))
    }

    fn snapshot(&self, stream: StreamId, snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>> {
        ready(self.write(Op::Snapshot, busy, |state| state.keep(stream, snapshot)))
    }

    fn snapshots(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Snapshot>, Error>> {
        ready(self.read_state(|state| state.snapshots(stream)))
    }

    fn verify(&self) -> BoxFuture<'_, Result<Verified, Error>> {
        ready(self.read_state(State::verify))
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.changed.changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::journal::Append;
    use std::task::{Context, Poll, Waker};

    const STREAM: StreamId = StreamId::Tree(SessionId(1));

    /// The answer at the first poll: a simulator has no second.
    fn at_once<T>(mut future: BoxFuture<'_, T>) -> T {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("not ready at the first poll"),
        }
    }

    fn append(journal: &Memory, expected: Seq) -> Result<Vec<Head>, Error> {
        let records = vec![b"{}".to_vec()];
        let append = Append { stream: STREAM, expected, fence: None, records, ended: false };
        at_once(journal.append(Batch { appends: vec![append], ..Batch::default() }))
    }

    fn seq(journal: &Memory) -> Seq {
        at_once(journal.head(STREAM)).unwrap().seq
    }

    /// What a write answers under a fault, whether the process lives on, and what its successor finds.
    fn under(fault: Inject) -> (Result<Vec<Head>, Error>, bool, Seq) {
        let journal = Memory::new();
        append(&journal, 0).unwrap();
        journal.set_faults(move |write, op| (write == 2 && op == Op::Append).then_some(fault));
        let answer = append(&journal, 1);
        let next = journal.peer();
        let at = seq(&next);
        (answer, append(&journal, at).is_ok(), at)
    }

    #[test]
    fn every_fault_does_what_its_name_says() {
        let closed = |answer: &Result<_, Error>| matches!(answer, Err(Error::Closed(_)));
        let (answer, lives, found) = under(Inject::Lost);
        assert!(closed(&answer) && !lives && found == 1);
        let (answer, lives, found) = under(Inject::ReplyLost);
        assert!(closed(&answer) && !lives && found == 2);
        let (answer, lives, found) = under(Inject::Conflict);
        assert!(matches!(answer, Err(Error::Conflict { found: 1, .. })) && lives && found == 1);
        let (answer, lives, found) = under(Inject::Full);
        assert!(matches!(answer, Err(Error::Full(_))) && lives && found == 1);
        for durable in [false, true] {
            let (answer, lives, found) = under(Inject::Io { durable });
            assert!(matches!(answer, Err(Error::Io(_))) && !lives);
            assert_eq!(found, 1 + u64::from(durable));
        }
    }

    #[test]
    fn a_dead_process_is_refused_everything_and_a_fork_goes_its_own_way() {
        let journal = Memory::new();
        append(&journal, 0).unwrap();
        let fork = journal.fork();
        let next = journal.crash();
        assert!(at_once(journal.head(STREAM)).is_err() && append(&journal, 1).is_err());
        append(&next, 1).unwrap();
        assert_eq!((seq(&next), seq(&fork)), (2, 1));
    }

    #[test]
    fn what_cannot_be_understood_is_handed_out_as_such() {
        let journal = Memory::new();
        journal.submit_raw(SessionId(1), "k", r#"{"source":"telepathy"}"#);
        assert!(at_once(journal.inbox(SessionId(1))).unwrap()[0].intent.is_err());
    }
}
