//! What an append does inside its transaction: check everything, then write everything.
//!
//! Knows nothing of commits and fsync. Start at [`Tx::append`].

use super::error::{self, Stop};
use super::heads::Tip;
use super::inbox;
use super::writer::Tx;
use crate::blob::Packed;
use crate::body;
use crate::frame::{self, Header};
use crate::rules;
use contract::intent::Intent;
use contract::journal::{Append, Batch, Error, Head};
use contract::tool::Spooled;
use contract::{Digest, limits};

/// A batch whose costly parts (hashing, compressing, encoding) were done by who asked.
#[derive(Debug)]
pub(crate) struct Prepared {
    appends: Vec<Append>,
    /// Codec and bytes of each append's records, as their row has them.
    bodies: Vec<(i64, Vec<u8>)>,
    blobs: Vec<Packed>,
    submit: Vec<(Intent, String)>,
    consume: Vec<u64>,
}

impl Prepared {
    pub(crate) fn new(batch: Batch) -> Self {
        let encoded = |intent: Intent| {
            let json = inbox::encode(&intent);
            (intent, json)
        };
        Self {
            bodies: batch.appends.iter().map(|append| body::pack(frame::join(&append.records))).collect(),
            appends: batch.appends,
            blobs: batch.blobs.iter().map(|raw| Packed::new(raw)).collect(),
            submit: batch.submit.into_iter().map(encoded).collect(),
            consume: batch.consume,
        }
    }

    /// Bytes it will write, roughly.
    pub(crate) fn weight(&self) -> usize {
        let records: usize = self.bodies.iter().map(|(_, bytes)| bytes.len()).sum();
        let blobs: usize = self.blobs.iter().map(|blob| blob.bytes.len()).sum();
        let intents: usize = self.submit.iter().map(|(_, json)| json.len()).sum();
        records + blobs + intents
    }
}

impl Tx<'_> {
    /// All of the batch or, with `Refuse`, nothing of it. Checks first, so that a refusal needs no undoing.
    pub(crate) fn append(&mut self, batch: &Prepared) -> Result<Vec<Head>, Stop> {
        let tips = batch.appends.iter().map(|append| self.admit(append)).collect::<Result<Vec<_>, _>>()?;
        for &row in &batch.consume {
            if !inbox::waits(self.conn, row)? {
                return Err(Stop::Refuse(self.gone(batch, row)?));
            }
        }
        for blob in &batch.blobs {
            self.put(blob)?;
        }
        let mut heads = Vec::with_capacity(tips.len());
        for ((append, body), tip) in batch.appends.iter().zip(&batch.bodies).zip(tips) {
            heads.push(self.write(append, body, tip)?);
        }
        for (intent, json) in &batch.submit {
            inbox::insert(self.conn, intent, json)?;
        }
        for &row in &batch.consume {
            inbox::remove(self.conn, row)?;
        }
        self.news = true;
        Ok(heads)
    }

    /// The stream's tip, when this append may follow it.
    fn admit(&mut self, append: &Append) -> Result<Tip, Stop> {
        if let contract::StreamId::Session(session) = append.stream {
            let lease = self.lease(session)?;
            rules::fence(append, lease.as_ref().map(|row| row.held())).map_err(Stop::Refuse)?;
        }
        let tip = self.heads.tip(self.conn, append.stream).map_err(Stop::checking)?;
        self.heads.sound(append.stream, &tip).map_err(Stop::Refuse)?;
        if tip.seq == append.expected {
            return Ok(tip);
        }
        let (stream, expected, found) = (append.stream, append.expected, tip.seq);
        Err(Stop::Refuse(Error::Conflict { stream, expected, found }))
    }

    fn write(&mut self, append: &Append, (codec, records): &(i64, Vec<u8>), tip: Tip) -> Result<Head, Stop> {
        if append.records.is_empty() {
            return Ok(tip.head());
        }
        let stream = match tip.stream {
            Some(number) => number,
            None => {
                self.conn
                    .prepare_cached("INSERT INTO streams (name) VALUES (?1)")?
                    .execute([append.stream.to_string()])?;
                let number = self.conn.last_insert_rowid();
                self.heads.name(append.stream, number);
                number
            }
        };
        let hash = frame::chain(&append.records, tip.hash);
        let header = Header {
            id: self.heads.next_row(),
            stream,
            first: tip.seq + 1,
            count: append.records.len() as u64,
            prev: tip.last,
            nth: tip.nth + 1,
            ended: append.ended,
            hash,
        };
        self.conn
            .prepare_cached(
                "INSERT INTO log (id, stream, first, count, prev, nth, ended, seal, hash, records, codec)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute((
                header.id,
                header.stream,
                header.first as i64,
                header.count as i64,
                header.prev,
                header.nth as i64,
                header.ended,
                header.seal(),
                header.hash.0,
                records,
                codec,
            ))?;
        if header.nth.is_multiple_of(limits::JOURNAL_MARK_FRAMES) {
            self.conn
                .prepare_cached("INSERT INTO marks (stream, seq, frame) VALUES (?1, ?2, ?3)")?
                .execute((stream, header.first as i64, header.id))?;
        }
        self.heads.advance(&header);
        Ok(Head { seq: header.last(), hash })
    }

    /// A row of the inbox that somebody consumed before: a conflict of the session it was for, so that nothing is
    /// applied twice.
    fn gone(&mut self, batch: &Prepared, row: u64) -> Result<Error, Stop> {
        let Some(session) = inbox::owner(self.conn, row)? else {
            return Ok(Error::Invalid(format!("inbox row {row} never existed")));
        };
        let stream = contract::StreamId::Session(session);
        let found = self.heads.tip(self.conn, stream).map_err(Stop::checking)?.seq;
        let own = batch.appends.iter().find(|append| append.stream == stream);
        Ok(Error::Conflict { stream, expected: own.map_or(found, |append| append.expected), found })
    }

    /// Stores a blob once. True when it was there before.
    pub(crate) fn put(&mut self, blob: &Packed) -> Result<bool, Stop> {
        let mut known = self.conn.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?;
        if known.exists([blob.digest.0])? {
            return Ok(true);
        }
        let bytes = if blob.is_file() {
            crate::blob::write_file(self.blobs, blob)
                .map_err(|error| error::file(&crate::blob::path(self.blobs, blob.digest), &error))?;
            self.files = true;
            None
        } else {
            Some(&blob.bytes)
        };
        self.conn
            .prepare_cached("INSERT INTO blobs (digest, size, bytes) VALUES (?1, ?2, ?3)")?
            .execute((blob.digest.0, blob.size as i64, bytes))?;
        Ok(false)
    }

    /// Stores blobs by themselves. One that is there already counts as new, so that a sweep under way keeps it
    /// though no record mentions it yet.
    pub(crate) fn put_all(&mut self, blobs: &[Packed]) -> Result<(), Stop> {
        for blob in blobs {
            if self.put(blob)? {
                self.renew_blob(blob.digest)?;
            }
        }
        Ok(())
    }

    fn renew_blob(&mut self, digest: Digest) -> Result<(), Stop> {
        self.conn
            .prepare_cached("UPDATE blobs SET id = (SELECT max(id) + 1 FROM blobs) WHERE digest = ?1")?
            .execute([digest.0])?;
        Ok(())
    }

    /// Takes over a file as a blob; likewise.
    pub(crate) fn adopt(&mut self, file: &Spooled) -> Result<(), Stop> {
        if let Err(error) = file.path.symlink_metadata()
            && error.kind() == std::io::ErrorKind::NotFound
        {
            // Its session was claimed again and what was left over is gone: nothing is wrong with the store.
            return Err(Stop::Refuse(Error::Invalid(format!("{}: {error}", file.path.display()))));
        }
        let mut known = self.conn.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?;
        if known.exists([file.digest.0])? {
            drop(known);
            std::fs::remove_file(&file.path).map_err(|error| error::file(&file.path, &error))?;
            return self.renew_blob(file.digest);
        }
        crate::blob::adopt(self.blobs, file).map_err(|error| error::file(&file.path, &error))?;
        self.files = true;
        self.conn
            .prepare_cached("INSERT INTO blobs (digest, size, bytes) VALUES (?1, ?2, NULL)")?
            .execute((file.digest.0, file.bytes as i64))?;
        Ok(())
    }
}
