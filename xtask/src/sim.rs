//! `cargo xtask sim`: the simulator over many seeds, each twice. Start at [`run`]; the work is in `crates/sim`.

use anyhow::Result;

/// `--seeds N`, `--from N`, `--seed S`, `--steps N`, `--plants`: handed on as they are.
pub(crate) fn run(args: &[String]) -> Result<()> {
    crate::programs::run("sim", false, args)
}
