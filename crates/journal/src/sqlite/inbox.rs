//! The inbox: what anybody left for a session. Each (session, key) is taken once, for ever.
//!
//! Knows nothing of leases; who may consume is checked where records are appended. Start at [`Tx::submit`].

use super::error::Stop;
use super::writer::Tx;
use crate::frame;
use crate::rules;
use contract::SessionId;
use contract::intent::Intent;
use contract::journal::{Mail, Submitted};
use rusqlite::{Connection, OptionalExtension};

/// A session as a key in a table.
pub(crate) fn key(session: SessionId) -> [u8; 16] {
    session.0.to_be_bytes()
}

/// The stored form of an intent.
pub(crate) fn encode(intent: &Intent) -> String {
    // The contract's types have string keys only and no failing serialisers.
    serde_json::to_string(intent)
        .unwrap_or_else(|error| unreachable!("an intent does not serialise: {error}"))
}

/// The seal of a row of the inbox.
pub(crate) fn seal(session: [u8; 16], json: &str) -> i64 {
    frame::seal(&[&session, json.as_bytes()])
}

/// The seal of a key and the row it once had.
pub(crate) fn key_seal(session: [u8; 16], key: &str, row: i64) -> i64 {
    frame::seal(&[&session, key.as_bytes(), &row.to_le_bytes()])
}

impl Tx<'_> {
    /// Leaves an intent from outside; refused as busy beyond the bound.
    pub(crate) fn submit(&mut self, intent: &Intent, json: &str) -> Result<Submitted, Stop> {
        if known(self.conn, intent)? {
            return Ok(Submitted::Repeat);
        }
        let waiting: i64 = self
            .conn
            .prepare_cached("SELECT count(*) FROM inbox WHERE session = ?1")?
            .query_row([key(intent.session)], |row| row.get(0))?;
        let waiting = waiting as usize;
        if waiting >= rules::inbox_bound(&intent.wish) {
            return Err(Stop::Refuse(rules::inbox_full(intent.session, waiting)));
        }
        insert(self.conn, intent, json)?;
        self.news = true;
        Ok(Submitted::New)
    }
}

/// Adds an intent unless its key was there before.
pub(crate) fn insert(conn: &Connection, intent: &Intent, json: &str) -> rusqlite::Result<()> {
    if known(conn, intent)? {
        return Ok(());
    }
    let session = key(intent.session);
    conn.prepare_cached("INSERT INTO inbox (session, intent, seal) VALUES (?1, ?2, ?3)")?.execute((
        session,
        json,
        seal(session, json),
    ))?;
    let row = conn.last_insert_rowid();
    conn.prepare_cached("INSERT INTO inbox_keys (session, key, row, seal) VALUES (?1, ?2, ?3, ?4)")?
        .execute((session, &intent.key, row, key_seal(session, &intent.key, row)))?;
    Ok(())
}

fn known(conn: &Connection, intent: &Intent) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM inbox_keys WHERE session = ?1 AND key = ?2")?
        .exists((key(intent.session), &intent.key))
}

/// Is this row still to be consumed?
pub(crate) fn waits(conn: &Connection, row: u64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM inbox WHERE row = ?1")?.exists([row as i64])
}

/// Consumes a row; its key stays.
pub(crate) fn remove(conn: &Connection, row: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM inbox WHERE row = ?1")?.execute([row as i64])?;
    Ok(())
}

/// Whose inbox a row was in. Reads the whole table: only an error asks.
pub(crate) fn owner(conn: &Connection, row: u64) -> rusqlite::Result<Option<SessionId>> {
    let session: Option<[u8; 16]> = conn
        .query_row("SELECT session FROM inbox_keys WHERE row = ?1", [row as i64], |row| row.get(0))
        .optional()?;
    Ok(session.map(|bytes| SessionId(u128::from_be_bytes(bytes))))
}

/// What waits for a session, oldest first.
pub(crate) fn list(conn: &Connection, session: SessionId) -> rusqlite::Result<Vec<Mail>> {
    let session = key(session);
    conn.prepare_cached("SELECT row, intent, seal FROM inbox WHERE session = ?1 ORDER BY row")?
        .query_map([session], |row| {
            let json: String = row.get(1)?;
            let sound = row.get::<_, i64>(2)? == seal(session, &json);
            Ok(Mail { row: row.get::<_, i64>(0)? as u64, intent: decode(&json, sound) })
        })?
        .collect()
}

/// Every row that waits, in order.
pub(crate) fn each(
    conn: &Connection,
    f: &mut dyn FnMut(SessionId, Result<Intent, String>),
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("SELECT session, intent, seal FROM inbox ORDER BY row")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (session, json): ([u8; 16], String) = (row.get(0)?, row.get(1)?);
        let sound = row.get::<_, i64>(2)? == seal(session, &json);
        f(SessionId(u128::from_be_bytes(session)), decode(&json, sound));
    }
    Ok(())
}

fn decode(json: &str, sound: bool) -> Result<Intent, String> {
    if !sound {
        return Err("the stored intent is damaged".into());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// Sessions with something waiting.
pub(crate) fn sessions(conn: &Connection) -> rusqlite::Result<Vec<SessionId>> {
    conn.prepare_cached("SELECT DISTINCT session FROM inbox ORDER BY session")?
        .query_map([], |row| Ok(SessionId(u128::from_be_bytes(row.get(0)?))))?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Timestamp;
    use contract::intent::{Source, Wish};

    #[test]
    fn what_cannot_be_understood_is_handed_out_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let conn = super::super::schema::open(dir.path(), super::super::schema::STEPS).unwrap();
        let session = SessionId(1);
        let (source, wish) = (Source::User, Wish::Continue);
        let at = Timestamp(1);
        let intent = |key: &str| Intent {
            id: session,
            session,
            source,
            wish: wish.clone(),
            key: key.into(),
            at,
            ttl_ms: None,
        };
        let newer = encode(&intent("a")).replace("user", "telepathy");
        insert(&conn, &intent("a"), &newer).unwrap();
        insert(&conn, &intent("b"), &encode(&intent("b"))).unwrap();
        insert(&conn, &intent("c"), &encode(&intent("c"))).unwrap();
        conn.execute("UPDATE inbox SET intent = replace(intent, 'continue', 'cancel') WHERE row = 3", [])
            .unwrap();
        let mail = list(&conn, session).unwrap();
        assert!(mail[0].intent.as_ref().unwrap_err().contains("telepathy"));
        assert_eq!(mail[1].intent, Ok(intent("b")));
        assert!(mail[2].intent.as_ref().unwrap_err().contains("damaged"));
    }
}
