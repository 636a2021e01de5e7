//! A store as it is found: opened by the journal itself, verified, folded, and put into words that can be compared.
//!
//! Knows the ports, not the disk. Start at [`look`].

use anyhow::{Context, Result, bail, ensure};
use contract::event::{Event, LedgerEvent};
use contract::journal::Journal;
use contract::port::Blobs;
use contract::{Digest, SessionId, StreamId};
use journal::Sqlite;
use journal::conformance::block_on;
use kernel::Session;
use kernel::ledger::Ledger;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Records read at once.
const PAGE: usize = 10_000;
/// Hex digits of a digest.
const DIGITS: usize = 64;

/// All that a store holds, in words: two with the same face hold the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Face {
    /// Each stream's last event, with its chain hash: the whole history.
    pub(crate) heads: BTreeMap<String, (u64, String)>,
    /// Inbox, leases, snapshots, and how many blobs of what size.
    pub(crate) rest: Vec<String>,
}

/// The journal as it was at the end, for comparing.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// The one session's events.
    pub(crate) events: Vec<Vec<u8>>,
    /// Records of every stream.
    pub(crate) streams: BTreeMap<String, Vec<Vec<u8>>>,
    /// Blobs that records mention.
    pub(crate) blobs: BTreeSet<Digest>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// For comparing with another.
    pub(crate) face: Face,
    /// Events of the session, by number.
    pub(crate) events: usize,
}

/// The finished store, as it stands.
pub(crate) fn truth(data: &Path) -> Result<Truth> {
    let store = Sqlite::open_read_only(data)?;
    let mut truth = Truth::default();
    for listed in block_on(store.sessions(false))? {
        for stream in streams(listed.session) {
            let records = records(&store, stream)?;
            for digest in records.iter().flat_map(|record| mentions(record)) {
                if block_on(store.blob(digest)).is_ok() {
                    truth.blobs.insert(digest);
                }
            }
            truth.streams.insert(stream.to_string(), records);
        }
        ensure!(truth.events.is_empty(), "more than one session");
        let own = StreamId::Session(listed.session).to_string();
        truth.events = truth.streams.get(&own).cloned().unwrap_or_default();
    }
    ensure!(!truth.events.is_empty(), "the recorded run left no session");
    Ok(truth)
}

fn streams(session: SessionId) -> [StreamId; 2] {
    [StreamId::Session(session), StreamId::Tree(session)]
}

fn records(store: &Sqlite, stream: StreamId) -> Result<Vec<Vec<u8>>> {
    let stored = block_on(store.read(stream, 0, PAGE))?;
    for (at, one) in stored.iter().enumerate() {
        ensure!(one.seq == at as u64 + 1, "{stream}: event {} stands where {} should", one.seq, at + 1);
    }
    Ok(stored.into_iter().map(|stored| stored.bytes).collect())
}

/// Everything that reads like a digest.
fn mentions(bytes: &[u8]) -> Vec<Digest> {
    let runs = bytes.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() == DIGITS);
    runs.filter_map(|run| std::str::from_utf8(run).ok()?.parse().ok()).collect()
}

/// Opens a store as the next process would, and checks it: structure, hashes, chains (I2), that it holds nothing but a
/// beginning of what was written, that every blob is there, and that state is the fold, with and without snapshots (I3).
pub(crate) fn look(data: &Path, truth: &Truth) -> Result<Found> {
    let store = Sqlite::open(data, journal::Options::default()).context("it cannot be opened")?;
    let verified = block_on(store.verify())?;
    if let Some(damage) = verified.damage.first() {
        bail!("verify: {} {:?}: {}", damage.what, damage.seq, damage.problem);
    }
    let mut found = Found::default();
    for listed in block_on(store.sessions(false))? {
        for stream in streams(listed.session) {
            let own = records(&store, stream)?;
            let whole = truth.streams.get(&stream.to_string()).context("a stream that never was")?;
            ensure!(
                own.len() <= whole.len() && own[..] == whole[..own.len()],
                "{stream} is not what was written"
            );
            for digest in own.iter().flat_map(|record| mentions(record)) {
                if truth.blobs.contains(&digest) {
                    block_on(store.blob(digest))
                        .map_err(|fault| anyhow::anyhow!("{stream}: {}", fault.what))?;
                }
            }
            if matches!(stream, StreamId::Session(_)) {
                found.events = own.len();
            }
            let head = block_on(store.head(stream))?;
            found.face.heads.insert(stream.to_string(), (head.seq, head.hash.to_string()));
            for snapshot in block_on(store.snapshots(stream))? {
                found.face.rest.push(format!(
                    "snapshot {stream} {} {}",
                    snapshot.seq,
                    Digest::of(&snapshot.json)
                ));
            }
        }
        folds(&store, listed.session)?;
        for mail in block_on(store.inbox(listed.session))? {
            let intent = mail.intent.map_err(|why| anyhow::anyhow!("inbox row {}: {why}", mail.row))?;
            found.face.rest.push(format!("mail {} {}", mail.row, intent.key));
        }
        let lease = block_on(store.holder(listed.session))?;
        found.face.rest.push(format!("lease {lease:?}"));
    }
    let stats = store.stats()?;
    found.face.rest.push(format!(
        "{} blobs of {} bytes, {} files; {} leases; {} intents",
        stats.blobs, stats.blob_bytes, stats.blob_files, stats.leases, stats.inbox
    ));
    Ok(found)
}

/// State by the newest snapshot is state by all events.
fn folds(store: &Sqlite, id: SessionId) -> Result<()> {
    let mut session = Session::new(id);
    for record in block_on(engine::store::records::<Event>(store, StreamId::Session(id)))? {
        session.apply(record.at, &record.event).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let quick = block_on(engine::store::session(store, id))?;
    ensure!(quick.unwrap_or_else(|| Session::new(id)) == session, "a snapshot leads to another state");
    let mut ledger = Ledger::new(id);
    for record in block_on(engine::store::records::<LedgerEvent>(store, StreamId::Tree(id)))? {
        ledger.apply(&record.event).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let quick = block_on(engine::store::ledger(store, id))?;
    ensure!(quick == ledger && ledger.sound(), "the ledger by its snapshot is another, or is not sound");
    Ok(())
}
