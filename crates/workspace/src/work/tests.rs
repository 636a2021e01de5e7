//! A disk that fails in the middle of a savepoint.
//!
//! Knows the session's directory only, no git. Start at the one test.

use super::*;
use crate::object::{Format, Fresh, Store};
use crate::session::{Facts, Home};

#[test]
fn what_could_not_be_made_durable_is_stored_anew() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path(), SessionId(7));
    for path in [home.git.join("objects"), home.tree.clone()] {
        std::fs::create_dir_all(path).unwrap();
    }
    std::fs::write(home.tree.join("file"), "work").unwrap();
    let facts = Facts {
        repo: dir.path().into(),
        common: dir.path().into(),
        bare: false,
        format: Format::Sha1.name().into(),
        base: "0".repeat(40),
        base_tree: "0".repeat(40),
        target: None,
        author: None,
        notes: Vec::new(),
        borrowed: Vec::new(),
        work: None,
        landed: None,
        landing: None,
        left: None,
    };
    let mut open = Open { home, facts, image: None, last: None, fresh: Fresh::default() };
    let (tree, store) = (open.home.tree.clone(), open.store());
    let image =
        |store: &Store| Some(Image::new(tree.clone(), Vec::new(), store.clone(), Table::default(), 1 << 20));
    open.image = image(&store);
    // The first of them cannot be synced, and with another one the disk has failed too.
    let path = open.home.git.join("objects/00/none");
    open.fresh.lock().unwrap().insert(path);
    assert!(open.save_as("refs/kapell/save/1.1", "1.1").is_err());
    let lost = image(&Store::new(&open.home.git, Format::Sha1)).unwrap().take().unwrap().tree;
    let name = lost.to_string();
    let (head, tail) = name.split_at(2);
    std::fs::remove_file(open.home.git.join("objects").join(head).join(tail)).unwrap();
    // What `imaged` does before the next one.
    open.image = open.image.take().or_else(|| image(&store));
    open.save_as("refs/kapell/save/1.2", "1.2").unwrap();
    assert!(store.loose(&lost).unwrap().is_some(), "the savepoint names it");
}
