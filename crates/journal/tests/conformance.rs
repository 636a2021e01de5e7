//! The conformance suite over both stores.

use journal::conformance::{Store, check};
use journal::{Memory, Options, Sqlite};
use std::sync::Arc;

#[test]
fn memory_conforms() {
    check(|| {
        let journal = Memory::new();
        Store { peer: Arc::new(journal.peer()), journal: Arc::new(journal), keep: Box::new(()) }
    });
}

#[test]
fn sqlite_conforms() {
    check(|| {
        let dir = tempfile::tempdir().unwrap();
        let open = || Arc::new(Sqlite::open(dir.path(), Options::default()).unwrap());
        Store { journal: open(), peer: open(), keep: Box::new(dir) }
    });
}
