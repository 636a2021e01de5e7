//! Makes a large store in `DIR/data`: `cargo run --release -p journal --example big -- DIR [EVENTS] [SESSIONS]`.
//!
//! For `KAPELL_HOME=DIR kapell verify`, which must not need more memory for it than for a small one. Start at `main`.

use contract::event::Event;
use contract::journal::{Append, Batch, Journal};
use contract::{Digest, Fence, Seq, SessionId, StreamId, Timestamp, record};
use journal::conformance::block_on;
use journal::{Options, Sqlite};
use std::path::PathBuf;

/// A session's first event, as it is stored.
const OPENED: &[u8] = include_bytes!("../../contract/tests/golden/v1/opened-bare.json");
/// Events of one append.
const AT_ONCE: u64 = 5;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().expect("a directory to make it in"));
    let number = |text: Option<String>, usual| text.and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (events, sessions) = (number(args.next(), 1_000_000), number(args.next(), 10));
    let store = Sqlite::open(&dir.join("data"), Options::default()).expect("a store");
    block_on(store.put(vec![b"a goal".to_vec()])).expect("a blob");
    for session in 1..=sessions {
        let id = SessionId::v7(session, u128::from(session));
        append(&store, id, 0, None, vec![opened()]);
        let lease = block_on(store.acquire(id, "big".into(), Timestamp(0), false))
            .expect("a store")
            .expect("a lease");
        let mut pending = Vec::new();
        for after in (1..events / sessions).step_by(AT_ONCE as usize) {
            let said = |seq| Event::Garbled { why: format!("event {seq} {}", "x".repeat(150)) };
            let records = (after + 1..=after + AT_ONCE).map(said).collect();
            pending.push(store.append(batch(id, after, Some(lease.fence), records)));
            if pending.len() == 1_000 {
                pending.drain(..).for_each(|done| drop(block_on(done).expect("appended")));
            }
        }
        pending.into_iter().for_each(|done| drop(block_on(done).expect("appended")));
        block_on(store.release(lease)).expect("released");
    }
}

fn opened() -> Event {
    let mut first = record::decode::<Event>(OPENED).expect("a record of this version").event;
    if let Event::Opened { spec } = &mut first {
        spec.goal = Digest::of(b"a goal");
        spec.parent = None;
    }
    first
}

fn append(store: &Sqlite, id: SessionId, after: Seq, fence: Option<Fence>, events: Vec<Event>) {
    block_on(store.append(batch(id, after, fence, events))).expect("appended");
}

fn batch(id: SessionId, after: Seq, fence: Option<Fence>, events: Vec<Event>) -> Batch {
    let records =
        (after + 1..).zip(&events).map(|(seq, event)| record::encode(seq, Timestamp(seq), event)).collect();
    let append = Append { stream: StreamId::Session(id), expected: after, fence, records, ended: false };
    Batch { appends: vec![append], ..Batch::default() }
}
