//! `cargo xtask bench steps|resume|turns`: figures beside floors of the same run. The work is in `crates/bench`.

use anyhow::Result;

/// Always optimised; `turns` also needs the optimised binary.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut args = args.to_vec();
    if args.first().is_some_and(|arg| arg == "turns") {
        let binary = crate::programs::build("kapell", true)?;
        args.insert(1, binary.display().to_string());
    }
    crate::programs::run("bench", true, &args)
}
