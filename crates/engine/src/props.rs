//! What must hold of stories and snapshots for any input at all: called by the fuzz targets and by the tests.
//!
//! Knows no store and no task. Not part of a build that ships. Start at [`story`].

use crate::store::Wrapped;
use contract::event::LedgerEvent;
use contract::record::{self, Record};
use contract::{Event, SessionId, Timestamp};
use kernel::ledger::Ledger;
use kernel::{Session, view};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Records, one per line; what is no record is passed over. The fold takes each or refuses it, twice alike; a snapshot
/// anywhere and the rest is the whole; and the views can show any of it.
pub fn story(bytes: &[u8]) {
    let lines = || bytes.split(|byte| *byte == b'\n').take(300);
    let events: Vec<Record<Event>> = lines().filter_map(|line| record::decode(line).ok()).collect();
    let id = SessionId(5);
    let taken: Vec<&Record<Event>> =
        folded(Session::new(id), &events, |state, record| state.apply(record.at, &record.event).is_ok());
    let fold = |from: Session, part: &[&Record<Event>]| {
        part.iter().fold(from, |mut state, record| {
            assert!(state.apply(record.at, &record.event).is_ok(), "taken once, refused again");
            state
        })
    };
    let whole = fold(Session::new(id), &taken);
    let mut head = Session::new(id);
    for cut in 0..=taken.len() {
        assert_eq!(fold(thawed(&head), &taken[cut..]), whole, "a snapshot after {cut} events");
        head = fold(head, &taken[cut..taken.len().min(cut + 1)]);
    }
    shown(id, &whole, &events);
    let ledger: Vec<Record<LedgerEvent>> = lines().filter_map(|line| record::decode(line).ok()).collect();
    let taken = folded(Ledger::new(id), &ledger, |state, record| state.apply(&record.event).is_ok());
    let mut whole = Ledger::new(id);
    for record in &taken {
        whole = thawed(&whole);
        assert!(whole.apply(&record.event).is_ok(), "taken once, refused again");
    }
    drop(view::cost(&ledger, [(id, events.as_slice())]));
}

/// The records that a state takes, one after the other; one it refuses leaves it as it was.
fn folded<S: Clone, E>(
    mut state: S,
    records: &[Record<E>],
    apply: fn(&mut S, &Record<E>) -> bool,
) -> Vec<&Record<E>> {
    let take = |record: &&Record<E>| {
        let mut tried = state.clone();
        let taken = apply(&mut tried, record);
        if taken {
            state = tried;
        }
        taken
    };
    records.iter().filter(take).collect()
}

fn shown(id: SessionId, state: &Session, events: &[Record<Event>]) {
    for now in [Timestamp(0), Timestamp(1_795_154_844_123), Timestamp::MAX] {
        drop((view::waits(state, now), state.status(now), state.not_before(now)));
        drop((view::why(id, events, now), view::board([state], now)));
    }
    drop(view::transcript(events));
}

/// The same state, after it was a snapshot.
fn thawed<T: Serialize + DeserializeOwned + PartialEq + Debug>(state: &T) -> T {
    let json = serde_json::to_vec(&Wrapped { schema: kernel::session::SCHEMA, state }).unwrap();
    let thawed: Wrapped<T> = serde_json::from_slice(&json).unwrap();
    assert_eq!(&thawed.state, state, "a snapshot says something else");
    thawed.state
}

/// The bytes of a snapshot: a state, which reads as the same when it is written again, or no snapshot.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(Wrapped { state, .. }) = serde_json::from_slice::<Wrapped<Session>>(bytes) {
        thawed(&state);
    }
    if let Ok(Wrapped { state, .. }) = serde_json::from_slice::<Wrapped<Ledger>>(bytes) {
        thawed(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn committed_inputs_keep_the_properties() {
        corpus::replay("story", story);
        corpus::replay("snapshot", snapshot);
    }

    /// Every record of the committed stories.
    fn records() -> Vec<Vec<u8>> {
        let stories = corpus::inputs("story").into_iter();
        stories
            .flat_map(|(_, text)| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
            .collect()
    }

    proptest! {
        #![proptest_config(corpus::cases(60))]

        #[test]
        fn records_in_any_order(picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
            let records = records();
            let story: Vec<Vec<u8>> = picks.iter().map(|pick| pick.get(&records).clone()).collect();
            super::story(&story.join(&b'\n'));
        }

        #[test]
        fn stories_with_holes(gone in prop::collection::vec(any::<prop::sample::Index>(), 0..6), twice in any::<prop::sample::Index>()) {
            let mut records = records();
            for hole in &gone {
                records.remove(hole.index(records.len()));
            }
            let again = twice.get(&records).clone();
            records.insert(twice.index(records.len()), again);
            records.truncate(120);
            super::story(&records.join(&b'\n'));
        }
    }
}
