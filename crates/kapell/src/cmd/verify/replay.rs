//! Folds streams from their first event on, and compares snapshots and blobs with what they should be.
//!
//! Holds one page of records, never a stream. Start at [`Replay::session`].

use crate::app::Wired;
use crate::cmd::events::mentioned;
use crate::exit::Failure;
use crate::refs;
use contract::event::{Event, LedgerEvent};
use contract::journal::{Damage, Error, Journal, Snapshot};
use contract::{Digest, Fence, Seq, SessionId, StreamId};
use engine::store;
use journal::Audit;
use kernel::Session;
use kernel::fsm::Phase;
use kernel::ledger::Ledger;
use std::collections::{BTreeMap, BTreeSet};

/// Blobs that are missing are named up to here; then only that there are more.
const NAMED: usize = 100;
/// Bits in a word.
const BITS: u64 = 64;

/// What the rest of a verification wants to know of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) ended: bool,
    /// The newest lease it was held under.
    pub(super) fence: Fence,
}

/// What replaying gave.
pub(super) struct Replayed {
    pub(super) damage: Vec<Damage>,
    pub(super) known: BTreeMap<SessionId, Known>,
    pub(super) events: u64,
    pub(super) ledgers: u64,
    /// Snapshots that agree with the fold.
    pub(super) agree: u64,
    /// References to blobs that are there.
    pub(super) present: u64,
    /// By number: blobs that a record mentions in any way.
    pub(super) mentioned: Bits,
}

/// A set of small numbers.
#[derive(Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Puts a number in; true when it is new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / BITS) as usize, 1 << (number % BITS));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.0.get((number / BITS) as usize).is_some_and(|word| word & (1 << (number % BITS)) != 0)
    }
}

/// A replay under way.
pub(super) struct Replay<'a> {
    wired: &'a Wired,
    audit: &'a Audit,
    /// Streams whose damage is on record already.
    told: BTreeSet<String>,
    done: Replayed,
}

impl<'a> Replay<'a> {
    /// `told`: damage that need not be told again.
    pub(super) fn new(wired: &'a Wired, audit: &'a Audit, told: &[Damage]) -> Result<Self, Failure> {
        let mut mentioned_bits = Bits::default();
        // What waits in an inbox is mentioned, too.
        let mut failed = None;
        audit.mail(|_, mail| {
            let text = match mail {
                Ok(intent) => serde_json::to_vec(&intent).unwrap_or_default(),
                Err(text) => text.into_bytes(),
            };
            let mut digests = BTreeSet::new();
            mentioned(&text, &mut digests);
            for digest in digests {
                match audit.blob(digest) {
                    Ok(number) => drop(number.map(|number| mentioned_bits.insert(number))),
                    Err(error) => failed = Some(error),
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let told = told.iter().map(|damage| damage.what.clone()).collect();
        let done = Replayed {
            damage: Vec::new(),
            known: BTreeMap::new(),
            events: 0,
            ledgers: 0,
            agree: 0,
            present: 0,
            mentioned: mentioned_bits,
        };
        Ok(Self { wired, audit, told, done })
    }

    /// What came of it.
    pub(super) fn end(self) -> Replayed {
        self.done
    }

    /// One session, and its tree's ledger when it is the root, or when it is all that is looked at (`alone`): then its
    /// blobs are read, too.
    pub(super) async fn session(&mut self, id: SessionId, alone: bool) -> Result<(), Failure> {
        let stream = StreamId::Session(id);
        let mut snapshots = self.snapshots(stream, store::session_in).await?;
        let (mut state, mut fence) = (Session::new(id), 0);
        let (mut damage, mut agree) = (Vec::new(), 0);
        let (audit, done) = (self.audit, &mut self.done);
        let read = store::each::<Event>(&*self.wired.store, stream, 0, |record, bytes| {
            state.apply(record.at, &record.event).map_err(|e| store::broken(stream, record.seq, &e))?;
            if let Event::Started { fence: started, .. } = &record.event {
                fence = fence.max(*started);
            }
            done.events += 1;
            done.blobs(audit, stream, record.seq, &record.event, bytes, alone)?;
            compare(stream, snapshots.remove(&record.seq), &state, &mut agree, &mut damage);
            Ok(())
        });
        let read = read.await;
        self.done.agree += agree;
        self.done.damage.extend(damage);
        self.found(stream, read)?;
        let known = Known { ended: state.phase == Phase::Ended, fence: fence.max(state.fence) };
        self.done.known.insert(id, known);
        match alone || state.root() == id {
            true => self.ledger(state.root()).await,
            false => Ok(()),
        }
    }

    async fn ledger(&mut self, root: SessionId) -> Result<(), Failure> {
        let stream = StreamId::Tree(root);
        let mut snapshots = self.snapshots(stream, store::ledger_in).await?;
        let mut ledger = Ledger::new(root);
        let (mut damage, mut agree) = (Vec::new(), 0);
        let read = store::each::<LedgerEvent>(&*self.wired.store, stream, 0, |record, _| {
            ledger.apply(&record.event).map_err(|e| store::broken(stream, record.seq, &e))?;
            compare(stream, snapshots.remove(&record.seq), &ledger, &mut agree, &mut damage);
            Ok(())
        });
        let read = read.await;
        self.done.ledgers += 1;
        self.done.agree += agree;
        self.done.damage.extend(damage);
        self.found(stream, read)?;
        if !ledger.sound() {
            let problem = "more is settled or reserved than its cap allows".into();
            self.done.damage.push(Damage { what: stream.to_string(), seq: None, problem });
        }
        Ok(())
    }

    /// Snapshots by their event; those of another schema are not used by anybody.
    async fn snapshots<T>(
        &self,
        stream: StreamId,
        folded: fn(&Snapshot) -> Option<T>,
    ) -> Result<BTreeMap<Seq, T>, Failure> {
        let kept = self.wired.store.snapshots(stream).await?;
        Ok(kept.iter().filter_map(|snapshot| Some((snapshot.seq, folded(snapshot)?))).collect())
    }

    /// Damage is a finding, once; anything else that keeps a stream from being read is an error.
    fn found(&mut self, stream: StreamId, read: Result<(), Error>) -> Result<(), Failure> {
        match read {
            Ok(()) => Ok(()),
            Err(Error::Corrupt(problem)) => {
                if self.told.insert(stream.to_string()) {
                    self.done.damage.push(Damage { what: stream.to_string(), seq: None, problem });
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Replayed {
    /// What a record refers to must be there; what it mentions in any way is no orphan.
    fn blobs(
        &mut self,
        audit: &Audit,
        stream: StreamId,
        seq: Seq,
        event: &Event,
        bytes: &[u8],
        read: bool,
    ) -> Result<(), Error> {
        let mut digests = BTreeSet::new();
        mentioned(bytes, &mut digests);
        let referred: BTreeSet<Digest> = refs::event(event).into_iter().collect();
        for digest in digests {
            let number = audit.blob(digest)?;
            let new = number.is_some_and(|number| self.mentioned.insert(number));
            if !referred.contains(&digest) {
                continue;
            }
            let problem = match number {
                None => Some(format!("event {seq} of {stream} refers to it, and it is not there")),
                Some(_) if read && new => audit.check_blob(digest).err().map(|fault| fault.what),
                Some(_) => None,
            };
            match problem {
                None => self.present += u64::from(new),
                Some(problem) if self.damage.len() < NAMED => {
                    self.damage.push(Damage { what: format!("blob {digest}"), seq: None, problem });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn compare<T: PartialEq>(
    stream: StreamId,
    snapshot: Option<T>,
    fold: &T,
    agree: &mut u64,
    damage: &mut Vec<Damage>,
) {
    match snapshot {
        None => {}
        Some(snapshot) if snapshot == *fold => *agree += 1,
        Some(_) => {
            let (what, problem) =
                (format!("snapshot of {stream}"), "it does not agree with the events".into());
            damage.push(Damage { what, seq: None, problem });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_numbers_has_what_was_put_in() {
        let mut bits = Bits::default();
        for number in [0, 1, 63, 64, 1_000] {
            assert!(!bits.has(number) && bits.insert(number) && bits.has(number) && !bits.insert(number));
        }
        assert!(!bits.has(2) && !bits.has(999) && !bits.has(1_000_000));
    }
}
