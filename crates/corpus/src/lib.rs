//! What every crate's properties share: the committed inputs the fuzzers found, and how many random cases are tried.
//!
//! Knows no property: those stand in each crate's `props.rs`, where the fuzz targets call them too. For tests only.
//! Start at [`replay`].

use proptest::test_runner::Config;
use std::path::{Path, PathBuf};

/// Where the inputs of a fuzz target are kept.
fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// The committed inputs of a fuzz target, sorted by file.
pub fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = directory(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", dir.display())).path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no input in {}", dir.display());
    let read = |file: PathBuf| {
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (file, bytes)
    };
    files.into_iter().map(read).collect()
}

/// Feeds every committed input of a fuzz target to its property; says which file it was when that panics. Also tries
/// what no corpus holds for long: nothing, and one byte of every value.
pub fn replay(target: &str, property: fn(&[u8])) {
    for (file, bytes) in inputs(target) {
        let named = Named(&file);
        property(&bytes);
        drop(named);
    }
    property(b"");
    (0..=u8::MAX).for_each(|byte| property(&[byte]));
}

/// Names its file when the property panics over it.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // tidy: allow(print): a failing test tells its reader which input it was
            eprintln!("the input was {}", self.0.display());
        }
    }
}

/// Random cases of a property: a few every day, `PROPTEST_CASES` of them when that is set.
pub fn cases(everyday: u32) -> Config {
    Config { cases: asked().unwrap_or(everyday), failure_persistence: None, ..Config::default() }
}

/// Is this the long form, in which lists of data are gone through as a whole?
pub fn long() -> bool {
    asked().is_some()
}

fn asked() -> Option<u32> {
    // tidy: allow(env): the same variable proptest itself reads, which a fixed number would override
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok())
}
