//! What is durable, and the rules over it. Ordered maps only, so that a run replays byte for byte.
//!
//! Start at [`State::append`].

use crate::rules::{self, Held, genesis};
use contract::intent::Intent;
use contract::journal::{
    Append, Batch, Damage, Error, Grown, Head, Lease, Listed, Mail, Snapshot, Stored, Submitted, Verified,
};
use contract::{Digest, Fence, Seq, SessionId, StreamId, Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A store's whole content.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    streams: BTreeMap<StreamId, Stream>,
    /// Which stream grew to which number, append by append.
    log: Vec<(StreamId, Seq)>,
    inbox: BTreeMap<u64, (SessionId, String)>,
    keys: BTreeMap<(SessionId, String), u64>,
    pub(super) blobs: BTreeMap<Digest, Arc<[u8]>>,
    snapshots: BTreeMap<StreamId, BTreeMap<Seq, Snapshot>>,
    leases: BTreeMap<SessionId, Row>,
    /// Rows the inbox has had.
    rows: u64,
    /// What a power cut would leave, when that is less than this.
    #[cfg(planted)]
    synced: Option<Box<State>>,
}

#[derive(Debug, Clone, Default)]
struct Stream {
    records: Vec<Stored>,
    ended: bool,
}

#[derive(Debug, Clone)]
struct Row {
    /// Empty after a release.
    owner: String,
    fence: Fence,
    until: Timestamp,
}

impl Row {
    fn lease(&self, session: SessionId) -> Lease {
        Lease { session, owner: self.owner.clone(), fence: self.fence, until: self.until }
    }
}

impl State {
    /// All of the batch or nothing.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<Vec<Head>, Error> {
        batch.appends.iter().try_for_each(|append| self.admit(append))?;
        batch.consume.iter().try_for_each(|row| self.waits(batch, *row))?;
        self.put(&batch.blobs);
        let heads = batch.appends.iter().map(|append| self.write(append)).collect();
        for intent in &batch.submit {
            self.leave(intent.session, &intent.key, encode(intent));
        }
        for row in &batch.consume {
            self.inbox.remove(row);
        }
        Ok(heads)
    }

    fn admit(&self, append: &Append) -> Result<(), Error> {
        if let StreamId::Session(session) = append.stream {
            let held = |row: &Row| Held { fence: row.fence, held: !row.owner.is_empty() };
            rules::fence(append, self.leases.get(&session).map(held))?;
        }
        let found = self.head(append.stream).seq;
        if found == append.expected || contract::planted!(NoExpected) {
            return Ok(());
        }
        Err(Error::Conflict { stream: append.stream, expected: append.expected, found })
    }

    fn waits(&self, batch: &Batch, row: u64) -> Result<(), Error> {
        if self.inbox.contains_key(&row) {
            return Ok(());
        }
        let Some(((session, _), _)) = self.keys.iter().find(|(_, known)| **known == row) else {
            return Err(Error::Invalid(format!("inbox row {row} never existed")));
        };
        let stream = StreamId::Session(*session);
        let found = self.head(stream).seq;
        let own = batch.appends.iter().find(|append| append.stream == stream);
        Err(Error::Conflict { stream, expected: own.map_or(found, |append| append.expected), found })
    }

    pub(super) fn write(&mut self, append: &Append) -> Head {
        let mut head = self.head(append.stream);
        if append.records.is_empty() {
            return head;
        }
        let stream = self.streams.entry(append.stream).or_default();
        for bytes in &append.records {
            head = Head { seq: head.seq + 1, hash: Digest::chain(&head.hash, bytes) };
            stream.records.push(Stored { seq: head.seq, bytes: bytes.clone(), hash: head.hash });
        }
        stream.ended = append.ended;
        self.log.push((append.stream, head.seq));
        head
    }

    pub(super) fn place(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn grown(&self, after: u64, limit: usize) -> Vec<Grown> {
        let after = usize::try_from(after).unwrap_or(usize::MAX).min(self.log.len());
        let places = (after as u64 + 1..).zip(&self.log[after..]);
        places.take(limit).map(|(place, &(stream, seq))| Grown { place, stream, seq }).collect()
    }

    pub(super) fn head(&self, stream: StreamId) -> Head {
        match self.streams.get(&stream).and_then(|stream| stream.records.last()) {
            Some(last) => Head { seq: last.seq, hash: last.hash },
            None => Head { seq: 0, hash: genesis(stream) },
        }
    }

    pub(super) fn read(&self, stream: StreamId, after: Seq, limit: usize) -> Vec<Stored> {
        let records = self.streams.get(&stream).map_or(&[][..], |stream| &stream.records);
        let after = usize::try_from(after).unwrap_or(usize::MAX).min(records.len());
        records[after..].iter().take(limit).cloned().collect()
    }

    pub(super) fn sessions(&self, unfinished_only: bool) -> Vec<Listed> {
        let listed = |(id, stream): (&StreamId, &Stream)| match id {
            StreamId::Session(session) => {
                Some(Listed { session: *session, head: self.head(*id), ended: stream.ended })
            }
            StreamId::Tree(_)
            | StreamId::Quota(_)
            | StreamId::Project(_)
            | StreamId::Board(_)
            | StreamId::Loop(_) => None,
        };
        let all = self.streams.iter().rev().filter_map(listed);
        all.filter(|listed| !(unfinished_only && listed.ended)).collect()
    }

    pub(super) fn submit(&mut self, intent: &Intent) -> Result<Submitted, Error> {
        let known = self.keys.contains_key(&(intent.session, intent.key.clone()));
        if known && !contract::planted!(ForgetDedupe) {
            return Ok(Submitted::Repeat);
        }
        let waiting = self.inbox.values().filter(|(session, _)| *session == intent.session).count();
        if waiting >= rules::inbox_bound(&intent.wish) {
            return Err(rules::inbox_full(intent.session, waiting));
        }
        self.leave(intent.session, &intent.key, encode(intent));
        Ok(Submitted::New)
    }

    /// Adds to an inbox unless the key was there before.
    pub(super) fn leave(&mut self, session: SessionId, key: &str, json: String) {
        let key = (session, key.to_owned());
        if !self.keys.contains_key(&key) || contract::planted!(ForgetDedupe) {
            self.rows += 1;
            self.keys.insert(key, self.rows);
            self.inbox.insert(self.rows, (session, json));
        }
    }

    pub(super) fn inbox(&self, session: SessionId) -> Vec<Mail> {
        let own = self.inbox.iter().filter(|(_, (owner, _))| *owner == session);
        let decode = |json| serde_json::from_str(json).map_err(|error| error.to_string());
        own.map(|(row, (_, json))| Mail { row: *row, intent: decode(json) }).collect()
    }

    pub(super) fn inbox_sessions(&self) -> Vec<SessionId> {
        let sessions: BTreeSet<_> = self.inbox.values().map(|(session, _)| *session).collect();
        sessions.into_iter().collect()
    }

    pub(super) fn put(&mut self, blobs: &[Vec<u8>]) {
        for raw in blobs {
            self.blobs.entry(Digest::of(raw)).or_insert_with(|| raw.as_slice().into());
        }
    }

    pub(super) fn acquire(
        &mut self,
        session: SessionId,
        owner: String,
        now: Timestamp,
        force: bool,
    ) -> Result<Lease, Lease> {
        let fence = match self.leases.get(&session) {
            None => 1,
            Some(row) if force || row.owner.is_empty() || rules::lapsed(row.until, now) => row.fence + 1,
            Some(row) => return Err(row.lease(session)),
        };
        let row = Row { owner, fence, until: now.plus(limits::LEASE_MS) };
        let lease = row.lease(session);
        self.leases.insert(session, row);
        Ok(lease)
    }

    /// The row of a lease that has not changed hands.
    fn own(&mut self, lease: &Lease) -> Option<&mut Row> {
        let row = self.leases.get_mut(&lease.session)?;
        (row.owner == lease.owner && row.fence == lease.fence).then_some(row)
    }

    pub(super) fn renew(&mut self, leases: Vec<Lease>, now: Timestamp) -> Vec<Lease> {
        let mut renew = |lease: Lease| {
            let row = self.own(&lease)?;
            row.until = now.plus(limits::LEASE_MS);
            Some(row.lease(lease.session))
        };
        leases.into_iter().filter_map(&mut renew).collect()
    }

    pub(super) fn release(&mut self, lease: &Lease) {
        if let Some(row) = self.own(lease) {
            row.owner.clear();
        }
    }

    pub(super) fn holder(&self, session: SessionId) -> Option<Lease> {
        self.leases.get(&session).filter(|row| !row.owner.is_empty()).map(|row| row.lease(session))
    }

    pub(super) fn keep(&mut self, stream: StreamId, snapshot: Snapshot) -> Result<(), Error> {
        let (expected, found) = (snapshot.seq, self.head(stream).seq);
        if expected > found || found == 0 {
            return Err(Error::Conflict { stream, expected, found });
        }
        let kept = self.snapshots.entry(stream).or_default();
        kept.insert(snapshot.seq, snapshot);
        while kept.len() > limits::SNAPSHOTS_KEPT as usize {
            kept.pop_first();
        }
        Ok(())
    }

    pub(super) fn snapshots(&self, stream: StreamId) -> Vec<Snapshot> {
        self.snapshots.get(&stream).into_iter().flat_map(|kept| kept.values().rev().cloned()).collect()
    }

    /// The planted bug of answering before the sync: everything since the last write of leases can still be lost.
    #[cfg(planted)]
    pub(super) fn mark_unsynced(&mut self, op: super::Op) {
        if op == super::Op::Lease {
            self.synced = None;
        } else if contract::planted!(AckBeforeSync) && self.synced.is_none() {
            self.synced = Some(Box::new(self.clone()));
        }
    }

    #[cfg(planted)]
    pub(super) fn lose_unsynced(&mut self) {
        if let Some(synced) = self.synced.take() {
            *self = *synced;
        }
    }

    pub(super) fn verify(&self) -> Verified {
        let mut found = Verified { blobs: self.blobs.len() as u64, ..Verified::default() };
        for (id, stream) in &self.streams {
            found.streams += 1;
            found.events += stream.records.len() as u64;
            let mut hash = genesis(*id);
            let broken = stream.records.iter().find(|stored| {
                hash = Digest::chain(&hash, &stored.bytes);
                hash != stored.hash
            });
            found.damage.extend(broken.map(|stored| Damage {
                what: id.to_string(),
                seq: Some(stored.seq),
                problem: "its bytes are not what was written".into(),
            }));
        }
        for (stream, snapshots) in &self.snapshots {
            found.snapshots += snapshots.len() as u64;
            for snapshot in snapshots.values() {
                let event = self.read(*stream, snapshot.seq.saturating_sub(1), 1);
                if event.first().is_some_and(|event| event.seq == snapshot.seq && event.hash != snapshot.head)
                {
                    found.damage.push(Damage {
                        what: format!("snapshot of {stream}"),
                        seq: Some(snapshot.seq),
                        problem: "it is of another history".into(),
                    });
                }
            }
        }
        found
    }
}

fn encode(intent: &Intent) -> String {
    // The contract's types have string keys only and no failing serialisers.
    serde_json::to_string(intent)
        .unwrap_or_else(|error| unreachable!("an intent does not serialise: {error}"))
}
