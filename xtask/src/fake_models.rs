//! `cargo xtask fake-models`: a server that speaks as models do and breaks on request. The work is in `crates/fake`.

use anyhow::Result;

pub(crate) fn run(args: &[String]) -> Result<()> {
    crate::programs::run("fake", false, args)
}
