//! `cargo xtask model`: every order of workers, stores and people within bounds. Start at [`run`]; the work is in
//! `crates/model`.

use anyhow::Result;

/// `--plants`, `--seconds N`, `--depth N`: handed on as they are.
pub(crate) fn run(args: &[String]) -> Result<()> {
    crate::programs::run("model", false, args)
}
