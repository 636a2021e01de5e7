//! What the tests of the SQLite store share.
//! Start anywhere.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use contract::journal::{Append, Batch, Error, Head, Journal, Lease};
use contract::{Seq, SessionId, StreamId, Timestamp};
use journal::conformance::block_on;
use journal::{Options, Sqlite};
use std::path::Path;

pub fn open(dir: &Path) -> Sqlite {
    Sqlite::open(dir, Options::default()).unwrap()
}

pub fn session(n: u64) -> SessionId {
    SessionId::v7(n, u128::from(n))
}

pub fn tree(n: u64) -> StreamId {
    StreamId::Tree(session(n))
}

/// Records of a size that occurs, each telling its stream and number.
pub fn batch(stream: StreamId, expected: Seq, count: u64) -> Batch {
    let record =
        |seq| format!("{{\"v\":1,\"seq\":{seq},\"event\":\"{stream} {}\"}}", "x".repeat(150)).into_bytes();
    let records = (expected + 1..=expected + count).map(record).collect();
    let append = Append { stream, expected, fence: None, records, ended: false };
    Batch { appends: vec![append], ..Batch::default() }
}

pub fn append(store: &Sqlite, stream: StreamId, expected: Seq, count: u64) -> Result<Head, Error> {
    block_on(store.append(batch(stream, expected, count))).map(|heads| heads[0])
}

pub fn lease(store: &Sqlite, n: u64) -> Lease {
    block_on(store.acquire(session(n), "engine".into(), Timestamp(0), false)).unwrap().unwrap()
}

/// SplitMix64: numbers that look random and are the same every time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
