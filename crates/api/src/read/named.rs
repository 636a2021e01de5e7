//! Which texts a session names: what another session said is that session's. Its records are read once, and after that only
//! what came since.
//!
//! A cache that may be dropped at any time. Start at [`Named::has`].

use crate::feed::{missing, texts};
use crate::problem::Refused;
use contract::journal::Journal;
use contract::{Digest, Seq, SessionId, StreamId};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Records read at once.
const PAGE: usize = 500;
/// Sessions whose texts are known.
const SESSIONS: usize = 16;
/// Texts that are known of all of them; 32 bytes each, and as much around.
const TEXTS: usize = 400_000;

/// What is known of one session.
#[derive(Debug, Default)]
struct Known {
    /// The number of the last record that was read.
    upto: Seq,
    named: HashSet<Digest>,
    /// When it was last asked for, by count.
    asked: u64,
}

/// By session.
#[derive(Debug, Default)]
pub(crate) struct Named(Mutex<(u64, BTreeMap<SessionId, Known>)>);

impl Named {
    /// Does a record of this session name it?
    pub(crate) async fn has(
        &self,
        journal: &dyn Journal,
        id: SessionId,
        digest: Digest,
    ) -> Result<bool, Refused> {
        let mut known = self.take(id);
        let found = read_on(journal, id, digest, &mut known).await;
        self.keep(id, known);
        found
    }

    /// Nobody else has it meanwhile: who asks for the same session then reads it for itself.
    fn take(&self, id: SessionId) -> Known {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.0 += 1;
        let asked = all.0;
        Known { asked, ..all.1.remove(&id).unwrap_or_default() }
    }

    fn keep(&self, id: SessionId, known: Known) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = &mut all.1;
        if all.get(&id).is_none_or(|other| other.upto < known.upto) {
            all.insert(id, known);
        }
        let texts =
            |all: &BTreeMap<SessionId, Known>| all.values().map(|known| known.named.len()).sum::<usize>();
        while all.len() > SESSIONS || (all.len() > 1 && texts(all) > TEXTS) {
            let oldest = all.iter().min_by_key(|(_, known)| known.asked).map(|(id, _)| *id);
            let Some(oldest) = oldest else { return };
            all.remove(&oldest);
        }
    }
}

async fn read_on(
    journal: &dyn Journal,
    id: SessionId,
    digest: Digest,
    known: &mut Known,
) -> Result<bool, Refused> {
    while !known.named.contains(&digest) {
        let page =
            journal.read(StreamId::Session(id), known.upto, PAGE).await.map_err(|error| error.fault())?;
        let Some(last) = page.last() else {
            return if known.upto == 0 { Err(missing(id).into()) } else { Ok(false) };
        };
        known.upto = last.seq;
        for stored in &page {
            known.named.extend(texts::digests(&stored.bytes));
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_the_longest_stays() {
        let named = Named::default();
        let known = |named: &Named, n: u128, upto: Seq| {
            let mut known = named.take(SessionId(n));
            known.upto = upto;
            named.keep(SessionId(n), known);
        };
        (0..20).for_each(|n| known(&named, n, 5));
        let upto = |n: u128| named.0.lock().unwrap().1.get(&SessionId(n)).map(|known| known.upto);
        assert!(upto(3).is_none() && upto(4) == Some(5) && upto(19) == Some(5));
        let (one, mut two) = (named.take(SessionId(19)), named.take(SessionId(19)));
        two.upto = 9;
        named.keep(SessionId(19), two);
        named.keep(SessionId(19), one);
        assert_eq!(upto(19), Some(9));
    }
}
