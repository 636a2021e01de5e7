//! `cargo xtask context`: context building over the transcripts of the data set. The work is in `crates/bench`.

use anyhow::Result;

/// Takes no arguments; the data set is found by `KAPELL_DATA`.
pub(crate) fn run(_: &[String]) -> Result<()> {
    crate::programs::run("bench", false, &["context".to_owned(), crate::data()?.display().to_string()])
}
