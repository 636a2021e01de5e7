//! Text in goals and conversations of sessions, newest first.
//!
//! Reads blobs that events name; knows no index. Start at [`search`].

use crate::app::Wired;
use crate::cmd::events::mentioned;
use crate::exit::Failure;
use crate::pick::short;
use crate::show::{clean, headline};
use contract::journal::Journal;
use contract::port::Blobs;
use contract::{Digest, SessionId, StreamId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;

/// Sessions that are looked into.
const SESSIONS: usize = 200;
/// Records read at once.
const PAGE: usize = 1_000;
/// A larger text is left out.
const TEXT_BYTES: u64 = 1 << 20;
/// Bytes that are looked through in one call.
const TOTAL_BYTES: u64 = 64 << 20;
/// Characters shown before and behind a hit.
const AROUND: usize = 80;

struct Found {
    words: String,
    limit: usize,
    hits: Vec<Value>,
    read: u64,
}

/// Hits with a piece of the text around each.
pub(in crate::cmd) async fn search(wired: &Wired, query: &str, limit: usize) -> Result<Value, Failure> {
    let mut found = Found { words: query.to_lowercase(), limit, hits: Vec::new(), read: 0 };
    let listed = wired.store.sessions(false).await?;
    let mut searched = 0;
    for listed in listed.iter().take(SESSIONS) {
        if found.is_full() {
            break;
        }
        searched += 1;
        found.session(wired, listed.session).await?;
    }
    Ok(json!({"hits": found.hits, "searched": searched, "sessions": listed.len()}))
}

impl Found {
    fn is_full(&self) -> bool {
        self.hits.len() >= self.limit || self.read >= TOTAL_BYTES
    }

    async fn session(&mut self, wired: &Wired, session: SessionId) -> Result<(), Failure> {
        let (mut after, mut seen) = (0, BTreeSet::new());
        loop {
            let page = wired.store.read(StreamId::Session(session), after, PAGE).await?;
            for stored in &page {
                after = stored.seq;
                let mut digests: Vec<Digest> = Vec::new();
                mentioned(&stored.bytes, &mut digests);
                for digest in digests {
                    if self.is_full() {
                        return Ok(());
                    }
                    if seen.insert(digest) {
                        self.blob(wired, session, stored.seq, digest).await;
                    }
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Hashes of other things look the same: what is no blob, or no text, is passed over.
    async fn blob(&mut self, wired: &Wired, session: SessionId, seq: u64, digest: Digest) {
        let Ok(blob) = wired.store.open(digest).await else { return };
        let mut bytes = Vec::new();
        if blob.take(TEXT_BYTES + 1).read_to_end(&mut bytes).is_err() {
            return;
        }
        self.read += bytes.len() as u64;
        let Ok(text) = String::from_utf8(bytes) else { return };
        if text.len() as u64 > TEXT_BYTES {
            return;
        }
        if let Some(piece) = piece(&text, &self.words) {
            let goal = match crate::pick::spec(&*wired.store, session).await {
                Ok(Some(spec)) => headline(&*wired.store, spec.goal).await,
                _ => String::new(),
            };
            self.hits.push(json!({
                "session_id": session.to_string(), "short": short(session), "event": seq, "goal": goal,
                "text": clean::line(&piece),
            }));
        }
    }
}

/// The first place where the words stand, and what stands around them. The words are in small letters.
fn piece(text: &str, words: &str) -> Option<String> {
    let small = text.to_lowercase();
    let at = small[..small.find(words)?].chars().count();
    let from = at.saturating_sub(AROUND);
    let upto = at + words.chars().count() + AROUND;
    Some(text.chars().skip(from).take(upto - from).collect())
}

#[cfg(test)]
mod tests {
    use super::piece;

    #[test]
    fn a_piece_around_the_first_place() {
        assert_eq!(piece("one Two three", "two").as_deref(), Some("one Two three"));
        assert_eq!(piece("one", "two"), None);
        let long = format!("{}É needle{}", "x".repeat(200), "y".repeat(200));
        let piece = piece(&long, "é needle").unwrap();
        assert!(piece.contains("É needle") && piece.chars().count() == 8 + 160, "{piece}");
    }
}
