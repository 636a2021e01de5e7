//! Recomputes everything: the file's structure, every chain, the indexes over it, blobs, snapshots, the inbox.
//!
//! Damage to one stream is named once and does not keep the others from being checked. Start at [`Reader::verify`].

use super::error;
use super::heads::{self, FRAME};
use super::reader::Reader;
use super::snapshots;
use super::{inbox, leases};
use crate::blob;
use crate::frame::{self, Header};
use contract::journal::{Damage, Error, Stored, Verified};
use contract::{Digest, Seq, SessionId, StreamId, limits};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Findings after which a verification says no more: the first ones tell what happened.
const FINDINGS: usize = 1_000;
/// Findings of SQLite's own check that are passed on.
const STRUCTURE_FINDINGS: usize = 20;
/// Rows between two words about how far it is.
const TELL_ROWS: i64 = 1_024;

/// What a stream looked like while its frames went by.
struct Trail {
    name: Option<StreamId>,
    seq: Seq,
    hash: Digest,
    last: i64,
    nth: u64,
    ended: bool,
    broken: bool,
    /// The state as the table of heads should have it: after the last frame it accounts for.
    flushed: Option<Flushed>,
}

/// A row of the table of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flushed {
    seq: Seq,
    hash: Digest,
    last: i64,
    nth: u64,
    ended: bool,
}

struct Check<'a> {
    conn: &'a Connection,
    told: &'a mut dyn FnMut(u64, u64),
    flushed: i64,
    trails: BTreeMap<i64, Trail>,
    marks: BTreeSet<(i64, Seq, i64)>,
    /// Stream and event of snapshots, with the chain hash they claim.
    claims: BTreeMap<(i64, Seq), Digest>,
    found: Verified,
}

impl Reader {
    /// Looks at everything. A store that cannot be read at all is an error; anything less is a finding.
    pub(crate) fn verify(&mut self, told: &mut dyn FnMut(u64, u64)) -> Result<Verified, Error> {
        // Before the view: it reads every page, and a view that long would keep the write-ahead log from merging.
        let structure = structure(&self.conn);
        self.conn.execute_batch("BEGIN").map_err(error::sql)?;
        let found = self.check(structure, told);
        // Nothing was written; ending the view can only fail where reading failed before.
        let _ = self.conn.execute_batch("ROLLBACK");
        found.map_err(error::sql)
    }

    fn check(&self, structure: Vec<Damage>, told: &mut dyn FnMut(u64, u64)) -> rusqlite::Result<Verified> {
        let conn = &self.conn;
        let mut check = Check {
            conn,
            told,
            flushed: 0,
            trails: BTreeMap::new(),
            marks: BTreeSet::new(),
            claims: BTreeMap::new(),
            found: Verified { damage: structure, ..Verified::default() },
        };
        check.part("flushed", |check| {
            check.flushed = conn.query_row("SELECT log FROM flushed", [], |row| row.get(0))?;
            Ok(())
        });
        check.part("streams", Check::streams);
        check.part("snapshots", Check::snapshots);
        check.part("log", Check::log);
        check.beyond();
        check.part("heads", Check::heads);
        check.part("marks", Check::marks);
        check.part("blobs", |check| check.blobs(&self.blobs));
        check.part("inbox", Check::inbox);
        check.part("leases", Check::leases);
        Ok(check.found)
    }
}

/// SQLite's own check of its structure.
fn structure(conn: &Connection) -> Vec<Damage> {
    let run = || -> rusqlite::Result<Vec<String>> {
        conn.prepare(&format!("PRAGMA integrity_check({STRUCTURE_FINDINGS})"))?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let problems = run().unwrap_or_else(|error| vec![error.to_string()]);
    let damage = |problem: String| Damage { what: "database".into(), seq: None, problem };
    problems.into_iter().filter(|problem| problem != "ok").map(damage).collect()
}

impl Check<'_> {
    /// One part of the check; when it cannot go on, that is a finding.
    fn part(&mut self, what: &str, run: impl FnOnce(&mut Self) -> rusqlite::Result<()>) {
        if let Err(error) = run(self) {
            self.say(what, None, format!("cannot be read: {error}"));
        }
    }

    fn say(&mut self, what: impl Into<String>, seq: Option<Seq>, problem: impl Into<String>) {
        if self.found.damage.len() < FINDINGS {
            self.found.damage.push(Damage { what: what.into(), seq, problem: problem.into() });
        }
    }

    fn tell(&mut self, row: i64, last: i64) {
        if row % TELL_ROWS == 0 {
            (self.told)(row.unsigned_abs(), last.unsigned_abs());
        }
    }

    fn streams(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare("SELECT id, name FROM streams")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (number, name): (i64, String) = (row.get(0)?, row.get(1)?);
            match name.parse() {
                Ok(name) => {
                    self.trails.insert(number, Trail::new(Some(name)));
                    self.found.streams += 1;
                }
                Err(_) => self.say("streams", None, format!("row {number} has no stream's name")),
            }
        }
        Ok(())
    }

    /// Row by row, each looked up by itself, so that one unreadable page hides no other.
    fn log(&mut self) -> rusqlite::Result<()> {
        let last: i64 = self.conn.query_row("SELECT coalesce(max(id), 0) FROM log", [], |row| row.get(0))?;
        let mut statement = self.conn.prepare(FRAME)?;
        for id in 1..=last {
            self.tell(id, last);
            let read = |row: &Row<'_>| Ok((heads::header(row), heads::records(row)?));
            match statement.query_row([id], read).optional() {
                Ok(Some((Some(header), records))) => self.frame(&header, records.as_deref()),
                Ok(Some((None, _))) => self.unsound(id)?,
                Ok(None) => self.say("log", None, format!("row {id} is missing")),
                Err(error) => self.say("log", None, format!("row {id} cannot be read: {error}")),
            }
        }
        if last < self.flushed {
            self.say("log", None, format!("its end is missing: row {last} is the last of {}", self.flushed));
        }
        Ok(())
    }

    /// A row whose header is damaged, with whose it says it is.
    fn unsound(&mut self, id: i64) -> rusqlite::Result<()> {
        let claims: (Option<i64>, Option<i64>) =
            self.conn.query_row("SELECT stream, first FROM log WHERE id = ?1", [id], |row| {
                Ok((row.get(0).ok(), row.get(1).ok()))
            })?;
        let what = claims.0.map_or_else(|| "log".into(), |stream| self.label(stream));
        let seq = claims.1.and_then(|first| u64::try_from(first).ok());
        self.say(what, seq, format!("row {id} of the log is not what was written"));
        Ok(())
    }

    fn frame(&mut self, header: &Header, records: Option<&[u8]>) {
        let trail = self.trails.entry(header.stream).or_insert_with(|| Trail::new(None));
        if trail.broken {
            return;
        }
        let mut stored = Vec::new();
        let mut unfold = |before| frame::unfold(header, records?, before, &mut stored);
        let problem = match trail.name {
            None => Some("its stream has no name"),
            Some(_) if header.first != trail.seq + 1 || header.prev != trail.last => {
                Some("events before it are missing or out of order")
            }
            Some(_) if header.nth != trail.nth + 1 => Some("frames before it are missing"),
            Some(_) if unfold(trail.hash).is_none() => Some("its bytes are not what was written"),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            trail.broken = true;
            let (what, seq) = (trail.label(header.stream), trail.seq + 1);
            return self.say(what, Some(seq), problem);
        }
        trail.follow(header, self.flushed);
        if header.nth.is_multiple_of(limits::JOURNAL_MARK_FRAMES) {
            self.marks.insert((header.stream, header.first, header.id));
        }
        self.found.events += header.count;
        self.claimed(header.stream, &stored);
    }

    /// Snapshots of these events must know the same history.
    fn claimed(&mut self, stream: i64, stored: &[Stored]) {
        for event in stored {
            if self.claims.remove(&(stream, event.seq)).is_some_and(|head| head != event.hash) {
                let what = format!("snapshot of {}", self.label(stream));
                self.say(what, Some(event.seq), "it is of another history");
            }
        }
    }

    /// Snapshots of events that are not there: they were once, and somebody acted on them.
    fn beyond(&mut self) {
        for (stream, seq) in std::mem::take(&mut self.claims).into_keys() {
            let Some(trail) = self.trails.get(&stream).filter(|trail| !trail.broken && seq > trail.seq)
            else {
                continue;
            };
            let (what, last) = (trail.label(stream), trail.seq);
            self.say(what, Some(last + 1), format!("its end is missing: there is a snapshot of event {seq}"));
        }
    }

    fn label(&self, stream: i64) -> String {
        self.trails.get(&stream).map_or_else(|| format!("stream {stream}"), |trail| trail.label(stream))
    }

    fn heads(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare("SELECT stream, seq, hash, last, nth, ended FROM heads")?;
        let mut rows = statement.query([])?;
        let mut present = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let stream = row.get(0)?;
            present.insert(stream);
            let is = Flushed {
                seq: row.get::<_, i64>(1)? as u64,
                hash: Digest(row.get(2)?),
                last: row.get(3)?,
                nth: row.get::<_, i64>(4)? as u64,
                ended: row.get(5)?,
            };
            let trail = self.trails.get(&stream);
            if trail.is_none_or(|trail| !trail.broken && trail.flushed != Some(is)) {
                self.say(self.label(stream), Some(is.seq), "its head does not match the log");
            }
        }
        let missing = |(number, trail): (&i64, &Trail)| {
            (trail.flushed.is_some() && !trail.broken && !present.contains(number))
                .then(|| trail.label(*number))
        };
        for label in self.trails.iter().filter_map(missing).collect::<Vec<_>>() {
            self.say(label, None, "its head is missing");
        }
        Ok(())
    }

    fn marks(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare("SELECT stream, seq, frame FROM marks")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mark = (row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?);
            let broken = self.trails.get(&mark.0).is_some_and(|trail| trail.broken);
            if !self.marks.remove(&mark) && !broken {
                self.say(self.label(mark.0), Some(mark.1), "the sparse index does not match the log");
            }
        }
        for (stream, seq, _) in std::mem::take(&mut self.marks) {
            self.say(self.label(stream), Some(seq), "an entry of the sparse index is missing");
        }
        Ok(())
    }

    fn snapshots(&mut self) -> rusqlite::Result<()> {
        let streams: Vec<(i64, StreamId)> =
            self.trails.iter().filter_map(|(number, trail)| Some((*number, trail.name?))).collect();
        for (number, stream) in streams {
            for snapshot in snapshots::list(self.conn, stream, number)? {
                self.found.snapshots += 1;
                match snapshot {
                    Some(sound) => {
                        self.claims.insert((number, sound.seq), sound.head);
                    }
                    None => self.say(format!("snapshot of {stream}"), None, "it is not what was written"),
                }
            }
        }
        Ok(())
    }

    fn blobs(&mut self, dir: &std::path::Path) -> rusqlite::Result<()> {
        let last: i64 =
            self.conn.query_row("SELECT coalesce(max(id), 0) FROM blobs", [], |row| row.get(0))?;
        let mut statement =
            self.conn.prepare("SELECT id, digest, bytes FROM blobs WHERE id > ?1 ORDER BY id LIMIT 1")?;
        let mut id = 0;
        while id < last {
            self.tell(id, last);
            let read = |row: &Row<'_>| {
                Ok((row.get::<_, i64>(0)?, Digest(row.get(1)?), row.get::<_, Option<Vec<u8>>>(2)?))
            };
            let (digest, bytes) = match statement.query_row([id], read) {
                Ok((found, digest, bytes)) => {
                    id = found;
                    (digest, bytes)
                }
                Err(error) => {
                    id += 1;
                    self.say("blobs", None, format!("row {id} cannot be read: {error}"));
                    continue;
                }
            };
            self.found.blobs += 1;
            let opened = match bytes {
                Some(bytes) => blob::open(digest, &bytes).map_err(str::to_owned).map(drop),
                None => match blob::raw(dir, digest) {
                    Ok(None) => fs::read(blob::path(dir, digest))
                        .map_err(|error| format!("its file: {error}"))
                        .and_then(|bytes| blob::open(digest, &bytes).map_err(str::to_owned))
                        .map(drop),
                    raw => raw.map(drop),
                },
            };
            if let Err(problem) = opened {
                self.say(format!("blob {digest}"), None, problem);
            }
        }
        Ok(())
    }

    fn inbox(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare(
            "SELECT i.row, i.session, i.intent, i.seal,
                    EXISTS (SELECT 1 FROM inbox_keys k WHERE k.session = i.session AND k.row = i.row)
             FROM inbox i",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (number, session, json): (i64, [u8; 16], String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if row.get::<_, i64>(3)? != inbox::seal(session, &json) {
                let session = SessionId(u128::from_be_bytes(session));
                self.say(
                    "inbox",
                    None,
                    format!("row {number}, for session {session}, is not what was written"),
                );
            }
            if !row.get::<_, bool>(4)? {
                self.say("inbox", None, format!("the key of row {number} is missing"));
            }
        }
        let mut last = 0;
        let mut statement = self.conn.prepare("SELECT session, key, row, seal FROM inbox_keys")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (session, key, number): ([u8; 16], String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            last = last.max(number);
            if row.get::<_, i64>(3)? != inbox::key_seal(session, &key, number) {
                self.say("inbox", None, format!("the key `{key}` is not what was written"));
            }
        }
        let given: Option<i64> = self
            .conn
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'", [], |row| row.get(0))
            .optional()?;
        if given.unwrap_or(0) < last {
            self.say("inbox", None, "row numbers would be given out twice");
        }
        Ok(())
    }

    fn leases(&mut self) -> rusqlite::Result<()> {
        for session in leases::damaged(self.conn)? {
            let whose = session.map_or("one row".into(), |session| format!("the row of session {session}"));
            self.say("leases", None, format!("{whose} is not what was written"));
        }
        Ok(())
    }
}

impl Trail {
    fn new(name: Option<StreamId>) -> Self {
        let hash = name.map(crate::rules::genesis).unwrap_or_default();
        Self { name, seq: 0, hash, last: 0, nth: 0, ended: false, broken: false, flushed: None }
    }

    fn follow(&mut self, frame: &Header, flushed: i64) {
        (self.seq, self.hash, self.last) = (frame.last(), frame.hash, frame.id);
        (self.nth, self.ended) = (frame.nth, frame.ended);
        if frame.id <= flushed {
            let Self { seq, hash, last, nth, ended, .. } = *self;
            self.flushed = Some(Flushed { seq, hash, last, nth, ended });
        }
    }

    fn label(&self, number: i64) -> String {
        self.name.map_or_else(|| format!("stream {number}"), |name| name.to_string())
    }
}
