//! `cargo xtask context`: context building over the transcripts of the data set. The work is in `crates/bench`.

use anyhow::Result;
use std::path::PathBuf;

/// Takes no arguments; the data set is found by `KAPELL_DATA`.
pub(crate) fn run(_: &[String]) -> Result<()> {
    let usual = || crate::root().map(|root| root.join("../shared/data"));
    let dir = std::env::var_os("KAPELL_DATA").map_or_else(usual, |dir| Ok(PathBuf::from(dir)))?;
    crate::programs::run("bench", false, &["context".to_owned(), dir.display().to_string()])
}
